package accounts

import (
	"strings"
	"testing"
	"time"

	"quartermaster/internal/dbtest"
)

func TestCollectMany(t *testing.T) {
	db := dbtest.New(t)
	type inner struct {
		SomeName string
		RAMMiB   int64 `db:"ram_mib"`
	}
	type outer struct {
		inner
		At *time.Time
	}
	query := func(sql string) ([]outer, error) {
		t.Helper()
		rows, err := db.Pool.Query(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		return collectMany[outer](rows)
	}
	got, err := query(`SELECT n AS ram_mib, CASE WHEN n > 1 THEN 'epoch'::timestamptz END AS at, 'name ' || n AS some_name FROM generate_series(1, 3) n`)
	if err != nil || len(got) != 3 || got[0].SomeName != "name 1" || got[0].At != nil || got[2].RAMMiB != 3 || got[1].At == nil || !got[1].At.Equal(time.Unix(0, 0)) {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := query(`SELECT 1 AS ram_mib, NULL::timestamptz AS at, '' AS some_name WHERE false`); err != nil || got == nil || len(got) != 0 {
		t.Errorf("no rows: %#v, %v", got, err)
	}
	for sql, want := range map[string]string{
		`SELECT 1 AS ram_mib, '' AS some_name`:                                                     "has 3 fields for 2 columns",
		`SELECT 1 AS ram_mib, '' AS some_name, 1 AS other`:                                         "no field for the column other",
		`SELECT 'x' AS ram_mib, '' AS some_name, NULL::timestamptz AS at`:                          "reading a row",
		`SELECT 1 / (2 - n) AS ram_mib, '' AS some_name, now() AS at FROM generate_series(1, 3) n`: "division by zero",
	} {
		if _, err := query(sql); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", sql, err, want)
		}
	}
}
