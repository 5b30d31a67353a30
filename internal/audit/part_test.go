package audit_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/audit"
)

// partOracle says whether an event is in a part, without any of the log's SQL.
func partOracle(p *audit.Part, e audit.Event) bool {
	if p == nil {
		return true
	}
	if e.Account.ID == "" {
		return false
	}
	if slices.Contains(p.Accounts, e.Account.ID) {
		return true
	}
	if e.Target.Kind == "cluster" {
		return e.Target.ID != "" && slices.Contains(p.Clusters, audit.Cluster{Account: e.Account.ID, ID: e.Target.ID})
	}
	if e.Target.Kind != "key" && e.Target.Kind != "admin_key" {
		return false
	}
	named := partNamed(e)
	return len(named) > 0 && !slices.ContainsFunc(named, func(id string) bool {
		return !slices.Contains(p.Clusters, audit.Cluster{Account: e.Account.ID, ID: id})
	})
}

// partNamed are the clusters that the change of an event names.
func partNamed(e audit.Event) (named []string) {
	for _, side := range e.Change["cluster_id"] {
		if id, ok := side.(string); ok {
			named = append(named, id)
		}
	}
	for _, side := range e.Change["cluster_ids"] {
		switch list := side.(type) {
		case []string:
			named = append(named, list...)
		case []any:
			for _, id := range list {
				named = append(named, id.(string))
			}
		}
	}
	return named
}

// partEvents makes events of every kind, in accounts a, b and c, with operations of several events and open ones.
func partEvents(random *rand.Rand, n int) []audit.Event {
	pick := func(values ...string) string { return values[random.IntN(len(values))] }
	var out []audit.Event
	for range n {
		e := audit.Event{Act: pick("act.one", "act.two"), Phase: audit.PhaseSingle, Outcome: audit.Outcome(pick("ok", "denied", "failed"))}
		e.Actor = audit.Actor{Issuer: "i", Subject: pick("ada", "bob"), Name: pick("Ada", "Bob")}
		if random.IntN(6) > 0 {
			e.Account = audit.Ref{ID: pick("a", "b", "c"), Name: "Account"}
			e.Target = audit.Target{Kind: pick("account", "cluster", "cluster", "key", "key", "admin_key", "management_key"), ID: pick("k1", "k2", "c1", "c2", "c3", "")}
			if e.Target.Kind == "cluster" {
				e.Target.ID = pick("c1", "c2", "c3", "")
			}
		} else {
			e.Target = audit.Target{Kind: pick("session", "audit", "cluster", "key"), ID: pick("c1", "")}
		}
		switch random.IntN(6) {
		case 0:
			e.Change = audit.Change{"cluster_id": {nil, pick("c1", "c2", "c3")}}
		case 1:
			e.Change = audit.Change{"cluster_id": {pick("c1", "c2"), nil}, "name": {nil, "c1"}}
		case 2:
			e.Change = audit.Change{"cluster_ids": {nil, []string{"c1", pick("c1", "c2", "c3")}}}
		case 3:
			e.Change = audit.Change{"cluster_ids": {[]string{pick("c1", "c2")}, []string{pick("c1", "c2", "c3")}}, "cluster_id": {nil, "c1"}}
		case 4:
			e.Change = audit.Change{"name": {"c1", "c1"}}
		}
		if random.IntN(3) == 0 {
			e.Phase, e.Outcome, e.Operation = audit.PhaseAttempt, "", uuid.Must(uuid.NewV7())
			out = append(out, e)
			if random.IntN(3) == 0 {
				continue // stays open
			}
			e.Phase, e.Outcome = audit.PhaseOutcome, audit.OK
		}
		out = append(out, e)
	}
	return out
}

// TestPartEqualsOracle: for random parts and queries, the pages, the exports and the single events are those that a plain
// reading of the whole log and a plain rule give.
func TestPartEqualsOracle(t *testing.T) {
	b := setup(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 7))
	for _, e := range partEvents(random, 300) {
		b.append(t, e)
	}
	whole := b.list(t, audit.Query{Limit: 500, UnknownAfter: time.Hour}).Operations
	if len(whole) < 200 || len(whole) == 500 {
		t.Fatalf("%d operations", len(whole))
	}
	last := whole[0].Seq
	for range 60 {
		var part *audit.Part
		if random.IntN(10) > 0 {
			part = &audit.Part{}
			for _, account := range []string{"a", "b", "c", "gone", ""} {
				if random.IntN(4) == 0 {
					part.Accounts = append(part.Accounts, account)
				}
				for _, cluster := range []string{"c1", "c2", "c3", ""} {
					if random.IntN(4) == 0 {
						part.Clusters = append(part.Clusters, audit.Cluster{Account: account, ID: cluster})
					}
				}
			}
		}
		q := audit.Query{Part: part, Limit: 4 + random.IntN(30), UnknownAfter: time.Hour}
		if random.IntN(3) == 0 {
			q.Text = []string{"ada", "act.one", "c1"}[random.IntN(3)]
		}
		if random.IntN(4) == 0 {
			q.Account = []string{"a", "b"}[random.IntN(2)]
		}
		if random.IntN(4) == 0 {
			q.Outcome = []string{"ok", "denied", "pending"}[random.IntN(3)]
		}
		var want []int64
		for _, o := range whole {
			if !partOracle(part, o.Event) || q.Account != "" && o.Account.ID != q.Account || q.Outcome != "" && o.Status != q.Outcome {
				continue
			}
			text := strings.ToLower(o.ID.String() + "\n" + o.Operation.String() + "\n" + o.Act + "\n" + o.Actor.Subject + "\n" + o.Actor.Name + "\n" + o.Account.ID + "\n" + o.Account.Name + "\n" + o.Target.ID)
			if q.Text != "" && !strings.Contains(text, q.Text) {
				continue
			}
			want = append(want, o.Seq)
		}
		label := fmt.Sprintf("%+v in %+v", q, part)
		var got []int64
		paged := q
		for {
			page := b.list(t, paged)
			for _, o := range page.Operations {
				got = append(got, o.Seq)
			}
			if page.Next == 0 {
				break
			}
			if page.Next != got[len(got)-1] {
				t.Fatalf("%s: the place of the next page, %d, is not that of the last row %d", label, page.Next, got[len(got)-1])
			}
			paged.After = page.Next
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s (-want +got):\n%s", label, diff)
		}
		operations, end := exportedLines(t, b.exportOperations(t, q, audit.NDJSON))
		var exported []int64
		for _, o := range operations {
			exported = append(exported, o.Seq)
		}
		if diff := cmp.Diff(want, exported); diff != "" {
			t.Fatalf("%s exported (-want +got):\n%s", label, diff)
		}
		if (part == nil) != (end.LogSeq == last) || (part == nil) != (end.LogChain != "") {
			t.Fatalf("%s ends with %+v", label, end)
		}
		for range 20 {
			seq := 1 + random.Int64N(last+2)
			d, err := b.log.GetIn(t.Context(), seq, part)
			all, allErr := b.log.Get(t.Context(), seq)
			if allErr == nil && part.Holds(all.Event) != partOracle(part, all.Event) {
				t.Fatalf("%s: event %d %+v: held %v", label, seq, all.Event, part.Holds(all.Event))
			}
			if wanted := allErr == nil && partOracle(part, all.Event); wanted != (err == nil) || err != nil && !errors.Is(err, audit.ErrNoEvent) {
				t.Fatalf("%s: event %d %+v: %v, want it %v", label, seq, all.Event, err, wanted)
			}
			if err == nil && len(d.Others) > len(all.Others) || slices.ContainsFunc(d.Others, func(o audit.Stored) bool { return !partOracle(part, o.Event) }) {
				t.Fatalf("%s: the others of event %d: %+v", label, seq, d.Others)
			}
		}
	}
}

// TestPartIsBuiltIntoTheExport: an export of a part says that it is one, each of its events can be
// proven by its leaf, and it does not pass as one of the whole log.
func TestPartIsBuiltIntoTheExport(t *testing.T) {
	b := setup(t)
	for _, account := range []string{"a", "b", "a"} {
		e := single("test.one")
		e.Account.ID = account
		b.append(t, e)
	}
	part := &audit.Part{Accounts: []string{"a"}}
	text := b.exportOperations(t, audit.Query{Part: part}, audit.NDJSON)
	operations, _ := exportedLines(t, text)
	for _, o := range operations {
		if stored := b.get(t, o.Seq); fmt.Sprintf("%x", stored.Leaf) != o.Leaf || string(stored.Body) != string(o.Body) {
			t.Errorf("event %d has leaf %s in the export and %x in the log", o.Seq, o.Leaf, stored.Leaf)
		}
	}
	var end struct {
		End  bool
		Part struct {
			Accounts []string
			Note     string
		}
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || !end.End || !slices.Equal(end.Part.Accounts, []string{"a"}) || !strings.Contains(end.Part.Note, "part of the log") {
		t.Errorf("%v: the last line is %s", err, lines[len(lines)-1])
	}
	for _, q := range []audit.Query{{Part: part}, {Part: &audit.Part{}}} { // also when it has no rows
		records, err := csv.NewReader(strings.NewReader(string(b.exportOperationsAs(t, q)))).ReadAll()
		if err != nil || records[0][len(records[0])-1] != "part_of_the_log" {
			t.Fatalf("%v: %v", err, records)
		}
		for _, r := range records[1:] {
			if !strings.Contains(r[len(r)-1], "part of the log") {
				t.Errorf("a line does not say that it is of a part: %v", r)
			}
		}
	}
	if strings.Contains(string(b.exportOperationsAs(t, audit.Query{})), "part_of_the_log") {
		t.Error("an export of the whole log says that it is a part")
	}
}

func (b *bundle) exportOperationsAs(t *testing.T, q audit.Query) []byte {
	t.Helper()
	return b.exportOperations(t, q, audit.CSV)
}

// TestPartClusterHistory: what was done or tried to a cluster and to the keys that open it, and nothing else.
func TestPartClusterHistory(t *testing.T) {
	b := setup(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	for _, e := range partEvents(rand.New(rand.NewPCG(seed, 8)), 480) {
		b.append(t, e)
	}
	whole := b.list(t, audit.Query{Limit: 500}).Operations
	var want []int64
	for _, o := range whole {
		about := o.Target.Kind == "cluster" && o.Target.ID == "c1" ||
			(o.Target.Kind == "key" || o.Target.Kind == "admin_key") && slices.Contains(partNamed(o.Event), "c1")
		if o.Account.ID == "a" && about && o.Outcome != audit.Denied {
			want = append(want, o.Seq)
		}
	}
	var got []int64
	for after := int64(0); ; {
		page, err := b.log.ClusterHistory(t.Context(), audit.Cluster{Account: "a", ID: "c1"}, after, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Operations {
			got = append(got, o.Seq)
		}
		if after = page.Next; after == 0 {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if len(want) < 8 {
		t.Errorf("%d operations are about the cluster, too few to fill two pages", len(want))
	}
}
