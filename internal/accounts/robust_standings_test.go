package accounts

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
)

// TestRobustForgedBlocksAreLiftedThroughTheConsole: whoever has the console's database password can block every
// administrator by writing rows, and no row is such that the console could not follow it. Who comes by a break-glass
// link lets the administrators in again.
func TestRobustForgedBlocksAreLiftedThroughTheConsole(t *testing.T) {
	for name, versions := range map[string][]int{
		"the next version":            {1},
		"the highest version":         {math.MaxInt32},
		"versions up to the highest":  {1, 2, 3, math.MaxInt32 - 1, math.MaxInt32},
		"one that leaves a gap":       {2},
		"a gap after what was stored": {1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			signIn(t, r, vera())
			for _, version := range versions {
				err := r.insertStandingBySQL(t, version, true, []byte("forged"))
				t.Logf("version %d: %v", version, err)
			}
			if err := r.insertStandingBySQL(t, value[int](t, r, `SELECT coalesce(max(version), 0) + 1 FROM member_standings`), true, []byte("forged")); err != nil {
				t.Fatal(err) // so that there is a block to lift
			}
			if _, err := r.svc.SignIn(t.Context(), browser(), vera()); !errors.Is(err, ErrBlocked) {
				t.Fatalf("a forged block: %v, want ErrBlocked", err)
			}
			_, glass := useLink(t, r.svc, breakGlassLink(t, r.svc))
			if err := r.svc.Unblock(t.Context(), glass, vera().Issuer, vera().Subject, "Forged."); err != nil {
				t.Fatalf("who comes by a break-glass link cannot unblock: %v", err)
			}
			signIn(t, r, vera())
			if left := r.svc.UnverifiedRows(); len(left) != 0 {
				t.Errorf("the banner still tells of %v", left)
			}
			if report, err := VerifyState(t.Context(), r.db.Pool); err != nil || !report.OK() {
				t.Errorf("tables and log: %+v, %v", report.Problems, err)
			}
		})
	}
}

// TestRobustVersionsAreTakenInTurn: of everything that is written in versions the next one follows the last, also by the
// hand of the owner.
func TestRobustVersionsAreTakenInTurn(t *testing.T) {
	r := newRig(t)
	id := uuid.New()
	for table, insert := range map[string]string{
		"member_standings":  `INSERT INTO member_standings (` + memberStandingColumns + `) SELECT gen_random_uuid(), $1::text, 's', n, true, '', now(), '', '', '', '' FROM unnest($2::int[]) n`,
		"account_standings": `INSERT INTO account_standings (` + standingColumns + `) SELECT $1::uuid, n, '', '', '', now(), '' FROM unnest($2::int[]) n`,
		"roles":             `INSERT INTO roles (` + roleColumns + `) SELECT $1::uuid, n, 'r', '', '{}', false, now(), '', '', '', '' FROM unnest($2::int[]) n`,
	} {
		put := func(versions ...int) error {
			_, err := r.db.Pool.Exec(t.Context(), insert, id.String(), versions)
			return err
		}
		for _, tt := range []struct {
			versions []int
			refused  string // code
		}{
			{[]int{2}, "23514"}, {[]int{math.MaxInt32}, "23514"}, {[]int{1}, ""}, {[]int{1}, "23505"}, {[]int{3}, "23514"}, {[]int{2, 4}, "23514"},
			{[]int{2, 3, 4}, ""}, {[]int{math.MaxInt32}, "23514"}, {[]int{3}, "23505"}, {[]int{5}, ""},
		} {
			err := put(tt.versions...)
			refused, _ := errors.AsType[*pgconn.PgError](err)
			if tt.refused == "" && err != nil || tt.refused != "" && (refused == nil || refused.Code != tt.refused) {
				t.Errorf("%s, versions %v: %v, want code %q", table, tt.versions, err, tt.refused)
			}
		}
		if n := value[int](t, r, fmt.Sprintf(`SELECT max(version) FROM %s`, table)); n != 5 {
			t.Errorf("%s: the last version is %d", table, n)
		}
	}
}
