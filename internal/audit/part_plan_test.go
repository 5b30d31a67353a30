package audit

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/dbtest"
)

// partLargeLog fills a log with n events of others. Sixty of the account "mine" and ten of keys of its cluster c1 are at
// the very beginning, which is the worst place for who reads the newest first.
func partLargeLog(t *testing.T, db *dbtest.DB, n int) {
	t.Helper()
	var bodies [][]byte
	for i := range n {
		e := Event{ID: uuid.Must(uuid.NewV7()), Act: "cluster.restart", Phase: PhaseSingle, Outcome: OK, Actor: Actor{Issuer: "i", Subject: "ada", Name: "Ada"}}
		e.Account, e.Target = Ref{ID: fmt.Sprint("other-", i%50), Name: "Other"}, Target{Kind: "cluster", ID: fmt.Sprint("c", i%1000)}
		switch {
		case i < 60:
			e.Account.ID, e.Target.ID = "mine", "c1"
		case i < 70:
			e.Account.ID, e.Target, e.Change = "mine", Target{Kind: "key", ID: "k"}, Change{"cluster_id": {nil, "c1"}}
		case i%20 == 0:
			e.Target, e.Change = Target{Kind: "key", ID: strconv.Itoa(i)}, Change{"cluster_id": {nil, "c1"}}
		}
		if bodies = append(bodies, Encode(e)); len(bodies) == 1000 || i == n-1 {
			if _, err := db.Pool.Exec(t.Context(), `SELECT audit.append($1)`, bodies); err != nil {
				t.Fatal(err)
			}
			bodies = nil
		}
	}
	owner, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(t.Context()) //nolint:errcheck // the test has what it wanted
	if _, err := owner.Exec(t.Context(), `ANALYZE audit.events`); err != nil {
		t.Fatal(err)
	}
}

// partPlan is what EXPLAIN ANALYZE tells of a node.
type partPlan struct {
	Relation string     `json:"Relation Name"`
	Rows     float64    `json:"Actual Rows"`
	Loops    float64    `json:"Actual Loops"`
	Removed  float64    `json:"Rows Removed by Filter"`
	Recheck  float64    `json:"Rows Removed by Index Recheck"`
	Plans    []partPlan `json:"Plans"`
}

// events counts the rows of the log that were looked at.
func (p partPlan) events() (n float64) {
	if len(p.Relation) > 7 && p.Relation[:7] == "events_" {
		n = p.Loops * (p.Rows + p.Removed + p.Recheck)
	}
	for _, below := range p.Plans {
		n += below.events()
	}
	return n
}

// TestPartReadsOnlyItsOwn: in a log of many events of others a page of a part looks at hardly more than its own, whatever
// is searched for. Each query runs once more with the time it takes; PART_EVENTS sets the size of the log.
func TestPartReadsOnlyItsOwn(t *testing.T) {
	db := dbtest.New(t)
	n := 20_000
	if text := os.Getenv("PART_EVENTS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	partLargeLog(t, db, n)
	l := &Log{db: db.Pool, unknownAfter: time.Minute}
	mine, cluster := &Part{Accounts: []string{"mine"}}, &Part{Clusters: []Cluster{{"mine", "c1"}}}
	many := &Part{}
	for i := range 1000 {
		many.Accounts = append(many.Accounts, fmt.Sprint("none-", i))
	}
	many.Accounts = append(many.Accounts, "mine")
	for name, q := range map[string]Query{
		"account":             {Part: mine},
		"account, search":     {Part: mine, Text: "nothing has this"},
		"account, member":     {Part: mine, Member: "ada"},
		"account, pending":    {Part: mine, Outcome: "pending"},
		"account, unknown":    {Part: mine, Outcome: "unknown"},
		"account, act":        {Part: mine, Act: "cluster.restart"},
		"account, denied":     {Part: mine, Outcome: "denied"},
		"account, target":     {Part: mine, TargetKind: "cluster", TargetID: "c1"},
		"account, from":       {Part: mine, From: time.Now().Add(-time.Hour)},
		"cluster":             {Part: cluster},
		"cluster, search":     {Part: cluster, Text: "nothing has this"},
		"nothing":             {Part: &Part{}},
		"one that is not":     {Part: &Part{Accounts: []string{"nobody"}}},
		"a thousand accounts": {Part: many},
		"a page further down": {Part: mine, After: 40},
	} {
		where, args := l.conditions(q)
		args["limit"] = 51
		var text []byte
		if err := db.Pool.QueryRow(t.Context(), `EXPLAIN (ANALYZE, FORMAT JSON) `+pageOf(q.Part.among(q, where, args)), args).Scan(&text); err != nil {
			t.Fatal(name, err)
		}
		var plans []struct{ Plan partPlan }
		if err := json.Unmarshal(text, &plans); err != nil {
			t.Fatal(err)
		}
		best := time.Hour
		for range 5 {
			began := time.Now()
			if _, err := l.List(t.Context(), q); err != nil {
				t.Fatal(name, err)
			}
			best = min(best, time.Since(began))
		}
		looked := plans[0].Plan.events()
		t.Logf("%s: %.0f events of %d in %v", name, looked, n, best.Round(10*time.Microsecond))
		if best > 100*time.Millisecond {
			t.Errorf("%s takes %v", name, best)
		}
		if looked > 400 {
			t.Errorf("%s looks at %.0f of %d events:\n%s", name, looked, n, text)
		}
	}
}
