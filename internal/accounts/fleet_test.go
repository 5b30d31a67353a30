package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// fill gives the account n clusters that differ in everything, without upstream.
func (r *rig) fill(t testing.TB, account uuid.UUID, n int) {
	t.Helper()
	r.exec(t, `
		INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id,
			package, ram_mib, cpu_milli, disk_mib, endpoint, labels, search, created_at, raw, digest, seen_at, changed_at)
		SELECT $1, gen_random_uuid()::text, 'Name-' || (i * 7919 % 997), (ARRAY['HEALTHY', 'SCALING', 'SUSPENDED', 'NOT_READY'])[i % 4 + 1], '',
			(ARRAY['aws', 'gcp', 'azure', 'hybrid'])[i % 4 + 1], 'region-' || i % 5, v.version, v.sorted, i % 4, i % 13, 'p',
			'mx' || i % 6, (i % 6) * 1024, 1000, 4096, '', '{}', lower('Name-' || (i * 7919 % 997)),
			CASE WHEN i % 10 > 0 THEN timestamptz '2025-01-01' + i * interval '1 hour' END, '{}', '\x00', now(), now()
		FROM generate_series(1, $2) i
		JOIN (VALUES (0, 'v1.9.0', $3), (1, 'v1.10.2', $4), (2, '', $5)) v (k, version, sorted) ON v.k = i % 3`,
		account, n, versionOrder("v1.9.0"), versionOrder("v1.10.2"), versionOrder(""))
	r.exec(t, `UPDATE refresh SET ok_at = now()`)
}

// everyRow walks all pages of a query.
func everyRow(t testing.TB, r *rig, q FleetQuery) []ClusterRow {
	t.Helper()
	var all []ClusterRow
	for range 1000 {
		page, err := r.svc.Fleet(t.Context(), viewer(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Rows...)
		if page.Next == "" {
			return all
		}
		q.After = page.Next
	}
	t.Fatal("the pages do not end")
	return nil
}

func (r ClusterRow) ref() ClusterRef { return ClusterRef{r.AccountID, r.ClusterID} }

func TestEverySortPagesThroughAllRowsOnce(t *testing.T) {
	r := newRig(t)
	names := []string{"beta", "Alpha", "Ünïcode"}
	for i, name := range names {
		id, _ := r.account(t, name, Environments[i])
		r.fill(t, id, 14)
	}
	keys := map[string]func(a, b ClusterRow) int{
		"name": func(a, b ClusterRow) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) },
		"account": func(a, b ClusterRow) int {
			return strings.Compare(strings.ToLower(a.AccountName), strings.ToLower(b.AccountName))
		},
		"environment": func(a, b ClusterRow) int {
			return slices.Index(Environments, a.Environment) - slices.Index(Environments, b.Environment)
		},
		"phase":   func(a, b ClusterRow) int { return cmp.Compare(a.Phase, b.Phase) },
		"cloud":   func(a, b ClusterRow) int { return cmp.Compare(a.Cloud, b.Cloud) },
		"region":  func(a, b ClusterRow) int { return cmp.Compare(a.Region, b.Region) },
		"version": func(a, b ClusterRow) int { return cmp.Compare(versionOrder(a.Version), versionOrder(b.Version)) },
		"nodes":   func(a, b ClusterRow) int { return cmp.Compare(a.Nodes, b.Nodes) },
		"package": func(a, b ClusterRow) int { return cmp.Compare(a.RAMMiB, b.RAMMiB) },
		"created": func(a, b ClusterRow) int {
			at := func(r ClusterRow) int64 {
				if r.CreatedAt == nil {
					return 0
				}
				return r.CreatedAt.UnixMicro()
			}
			return cmp.Compare(at(a), at(b))
		},
	}
	for sort, compare := range keys {
		for _, dir := range []string{"asc", "desc"} {
			for _, limit := range []int{5, 42} {
				t.Run(fmt.Sprint(sort, " ", dir, " ", limit), func(t *testing.T) {
					rows := everyRow(t, r, FleetQuery{Sort: sort, Dir: dir, Limit: limit})
					seen := map[ClusterRef]bool{}
					for _, row := range rows {
						seen[row.ref()] = true
					}
					if len(rows) != 42 || len(seen) != 42 {
						t.Fatalf("%d rows, %d of them distinct, want 42", len(rows), len(seen))
					}
					if !slices.IsSortedFunc(rows, func(a, b ClusterRow) int {
						if dir == "desc" {
							a, b = b, a
						}
						return compare(a, b)
					}) {
						t.Error("the rows are not in order")
					}
				})
			}
		}
	}
}

func TestPagingIsStableWhileRowsChange(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "One", Production)
	r.fill(t, id, 60)
	q := FleetQuery{Sort: "nodes", Limit: 10}
	untouched := map[ClusterRef]bool{}
	for i, row := range everyRow(t, r, q) {
		if i%3 != 0 {
			untouched[row.ref()] = true
		}
	}
	seen := map[ClusterRef]int{}
	for i := range 100 {
		page, err := r.svc.Fleet(t.Context(), viewer(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range page.Rows {
			seen[row.ref()]++
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
		// The very row that the cursor was made from goes, another moves, new ones come.
		last := page.Rows[len(page.Rows)-1].ref()
		if !untouched[last] {
			r.exec(t, `UPDATE clusters SET gone_at = now() WHERE account_id = $1 AND cluster_id = $2`, last.AccountID, last.ClusterID)
		}
		first := page.Rows[0].ref()
		if !untouched[first] {
			r.exec(t, `UPDATE clusters SET nodes = $3 WHERE account_id = $1 AND cluster_id = $2`, first.AccountID, first.ClusterID, 12-i)
		}
		r.fill(t, id, 5)
	}
	for ref := range untouched {
		if seen[ref] != 1 {
			t.Errorf("a row that did not change was shown %d times", seen[ref])
		}
	}
}

func TestCursorIsGoodOnlyForItsQuery(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "One", Production)
	r.fill(t, id, 30)
	q := FleetQuery{Sort: "region", Limit: 5}
	page, err := r.svc.Fleet(t.Context(), viewer(), q)
	if err != nil || page.Next == "" {
		t.Fatal(err)
	}
	bad := func(name string, q FleetQuery) {
		t.Helper()
		if _, err := r.svc.Fleet(t.Context(), viewer(), q); !errors.Is(err, ErrBadCursor) {
			t.Errorf("%s: %v, want ErrBadCursor", name, err)
		}
	}
	for name, change := range map[string]func(*FleetQuery){
		"another sort":      func(q *FleetQuery) { q.Sort = "nodes" },
		"another direction": func(q *FleetQuery) { q.Dir = "desc" },
		"another filter":    func(q *FleetQuery) { q.Phase = "HEALTHY" },
		"another text":      func(q *FleetQuery) { q.Text = "name" },
	} {
		other := q
		other.After = page.Next
		change(&other)
		bad(name, other)
	}
	for i := range len(page.Next) {
		for _, c := range "A_" {
			tampered := page.Next[:i] + string(c) + page.Next[i+1:]
			if tampered != page.Next {
				q.After = tampered
				bad("tampered at "+fmt.Sprint(i), q)
			}
		}
	}
	for _, text := range []string{"x", "'", "\x00", page.Next + "A", page.Next[1:], strings.Repeat("A", 1<<20)} {
		q.After = text
		bad("nonsense", q)
	}
	q.After = page.Next
	q.Limit = 9
	if _, err := r.svc.Fleet(t.Context(), viewer(), q); err != nil {
		t.Errorf("another limit: %v", err)
	}
	// No rights: the cursor is still judged, so that an answer does not depend on what is visible.
	q.After = "x"
	if _, err := r.svc.Fleet(t.Context(), audit.Actor{Issuer: "i", Subject: "s"}, q); !errors.Is(err, ErrBadCursor) {
		t.Errorf("without rights: %v, want ErrBadCursor", err)
	}
}

func TestFleetFilters(t *testing.T) {
	r := newRig(t)
	one, at := r.account(t, "One", Production)
	two, atTwo := r.account(t, "Two", Staging)
	at.add(4)
	atTwo.add(2)
	at.set(func(a *scriptedAccount) {
		a.clusters[0].Name, a.clusters[0].Labels = "100%_sure", map[string]string{"team": "Search Core"}
		a.clusters[1].Name, a.clusters[1].Phase = "100xysure", "CLUSTER_PHASE_SUSPENDED"
		a.clusters[2].Provider, a.clusters[2].Region, a.clusters[2].Version = "gcp", "europe-west3", "v1.9.0"
	})
	r.refresh(t, r.svc, one, two)
	short := at.clusters[3].ID[:8]
	for name, try := range map[string]struct {
		q    FleetQuery
		want int
	}{
		"nothing":               {FleetQuery{}, 6},
		"account":               {FleetQuery{Account: one.String()}, 4},
		"no account's id":       {FleetQuery{Account: uuid.NewString()}, 0},
		"nonsense as account":   {FleetQuery{Account: "' OR true --"}, 0},
		"environment":           {FleetQuery{Environment: "staging"}, 2},
		"unknown environment":   {FleetQuery{Environment: "moon"}, 0},
		"phase":                 {FleetQuery{Phase: "SUSPENDED"}, 1},
		"cloud":                 {FleetQuery{Cloud: "gcp"}, 1},
		"region":                {FleetQuery{Region: "europe-west3"}, 1},
		"version":               {FleetQuery{Version: "v1.9.0"}, 1},
		"NUL as version":        {FleetQuery{Version: "\x00"}, 0},
		"ill-formed as phase":   {FleetQuery{Phase: "\xff"}, 0},
		"name, another case":    {FleetQuery{Text: "CLUSTER-0"}, 4},
		"percent is no wild":    {FleetQuery{Text: "100%"}, 1},
		"underscore is no wild": {FleetQuery{Text: "%_s"}, 1},
		"backslash":             {FleetQuery{Text: `\`}, 0},
		"id":                    {FleetQuery{Text: short}, 1},
		"label":                 {FleetQuery{Text: "team=search"}, 1},
		"words in any order":    {FleetQuery{Text: "core sure"}, 1},
		"endpoint":              {FleetQuery{Text: short + " cloud.qdrant.io"}, 1},
		"NUL as text":           {FleetQuery{Text: "a\x00"}, 0},
		"two letters begin":     {FleetQuery{Text: "CL"}, 4},
		"two letters elsewhere": {FleetQuery{Text: "su"}, 0},
		"two and a sign":        {FleetQuery{Text: "_su"}, 1},
		"two beside a word":     {FleetQuery{Text: "core su"}, 1},
		"long text":             {FleetQuery{Text: strings.Repeat("a", 5000)}, 0},
		"several":               {FleetQuery{Account: one.String(), Cloud: "aws", Text: "100"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := r.svc.Fleet(t.Context(), viewer(), try.q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Rows) != try.want || page.Total != try.want || page.All != 6 {
				t.Errorf("%d rows, total %d, all %d; want %d, %d, 6", len(page.Rows), page.Total, page.All, try.want, try.want)
			}
		})
	}
	page, err := r.svc.Fleet(t.Context(), viewer(), FleetQuery{Sort: "name; DROP TABLE clusters", Dir: "sideways"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(page.Rows, func(a, b ClusterRow) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("an unknown sort does not sort by name")
	}
	want := FleetChoices{
		Environments: []string{"production", "staging"}, Phases: []string{"HEALTHY", "SUSPENDED"}, Clouds: []string{"aws", "gcp"},
		Regions: []string{"eu-central-1", "europe-west3"}, Versions: []string{"v1.9.0", "v1.15.4"},
	}
	if diff := gocmp.Diff(want, page.Choices); diff != "" {
		t.Errorf("choices (-want +got):\n%s", diff)
	}
	if len(page.Accounts) != 2 || page.Accounts[0].Clusters != 4 || page.Accounts[1].Clusters != 2 || page.Accounts[0].Sync.OKAt == nil {
		t.Errorf("accounts: %+v", page.Accounts)
	}
}

func TestFleetShowsOnlyTheScope(t *testing.T) {
	r := newRig(t)
	ids := map[string]uuid.UUID{}
	for name, environment := range map[string]Environment{"prod": Production, "stage": Staging, "dev": Development} {
		ids[name], _ = r.account(t, name, environment)
		r.fill(t, ids[name], 4)
	}
	one := ClusterRef{ids["prod"], value[string](t, r, `SELECT min(cluster_id) FROM clusters WHERE account_id = $1`, ids["prod"])}
	for name, try := range map[string]struct {
		scope    access.Scope
		clusters int
		accounts []string
	}{
		"nowhere":                          {access.Scope{}, 0, nil},
		"everything":                       {access.Scope{Everything: true}, 12, []string{"dev", "prod", "stage"}},
		"environment":                      {access.Scope{Environments: []string{"staging"}}, 4, []string{"stage"}},
		"account":                          {access.Scope{Accounts: []uuid.UUID{ids["dev"]}}, 4, []string{"dev"}},
		"cluster":                          {access.Scope{Clusters: []access.ClusterRef{{AccountID: one.AccountID, ClusterID: one.ClusterID}}}, 1, []string{"prod"}},
		"all of them":                      {access.Scope{Environments: []string{"staging"}, Accounts: []uuid.UUID{ids["dev"]}, Clusters: []access.ClusterRef{{AccountID: one.AccountID, ClusterID: one.ClusterID}}}, 9, []string{"dev", "prod", "stage"}},
		"other's cluster under my account": {access.Scope{Clusters: []access.ClusterRef{{AccountID: ids["dev"], ClusterID: one.ClusterID}}}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			page, err := r.svc.fleet(t.Context(), try.scope, FleetQuery{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, a := range page.Accounts {
				names = append(names, a.Name)
			}
			if len(page.Rows) != try.clusters || page.Total != try.clusters || page.All != try.clusters {
				t.Errorf("%d rows, total %d, all %d; want %d", len(page.Rows), page.Total, page.All, try.clusters)
			}
			if diff := gocmp.Diff(try.accounts, names); diff != "" {
				t.Errorf("accounts (-want +got):\n%s", diff)
			}
			if len(page.Choices.Environments) > len(try.accounts) {
				t.Errorf("choices tell of %v", page.Choices.Environments)
			}
		})
	}
}

func TestStaleRows(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "One", Production)
	r.fill(t, id, 1)
	stale := func() bool {
		page, err := r.svc.Fleet(t.Context(), viewer(), FleetQuery{})
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("%d rows, %v", len(page.Rows), err)
		}
		if page.Rows[0].Stale != page.Accounts[0].Sync.Stale {
			t.Error("the row and its account do not agree")
		}
		return page.Rows[0].Stale
	}
	if stale() {
		t.Error("stale although just refreshed")
	}
	owner, err := pgx.Connect(t.Context(), r.db.OwnerURL) // the app role may not change when a refresh was set up
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.WithoutCancel(t.Context())) //nolint:errcheck // the database goes with the test
	for name, change := range map[string]string{
		"failed":              `UPDATE refresh SET failures = 1, failed_at = now(), error = 'x'`,
		"three intervals ago": `UPDATE refresh SET ok_at = now() - interval '181 seconds'`,
		"never, and old":      `UPDATE refresh SET ok_at = NULL, created_at = now() - interval '181 seconds'`,
		"disabled":            `UPDATE accounts SET enabled = false`,
	} {
		if _, err := owner.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if !stale() {
			t.Errorf("%s: not stale", name)
		}
		r.exec(t, `UPDATE refresh SET failures = 0, ok_at = now(), error = ''`)
		r.exec(t, `UPDATE accounts SET enabled = true`)
	}
	if stale() {
		t.Error("still stale")
	}
}

func TestClusterPage(t *testing.T) {
	r := newRig(t)
	id, at := r.account(t, "One", Production)
	other, _ := r.account(t, "Two", Production)
	at.add(2)
	at.set(func(a *scriptedAccount) { a.clusters[0].Labels = map[string]string{"team": "search"} })
	r.refresh(t, r.svc, id)
	ref := ClusterRef{id, at.clusters[0].ID}
	detail, err := r.svc.Cluster(t.Context(), viewer(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if detail.Cluster.Name != "cluster-000" || detail.Cluster.State.Phase != cloudapi.PhaseHealthy || len(detail.Cluster.Labels) != 1 ||
		detail.Row.Name != "cluster-000" || detail.Account.Name != "One" || detail.Account.Sync.OKAt == nil || detail.Gone || len(detail.Pending) != 0 {
		t.Errorf("detail: %+v", detail)
	}
	if offer := detail.Offers["cluster.restart"]; offer.Offered || offer.Reason == "" {
		t.Errorf("a viewer is offered a restart: %+v", offer)
	}

	stranger := audit.Actor{Issuer: "https://idp.example.test", Subject: "x", Groups: []string{"strangers"}, Via: audit.ViaBrowser}
	for name, try := range map[string]struct {
		by  audit.Actor
		ref ClusterRef
	}{
		"not readable":          {stranger, ref},
		"unknown cluster":       {viewer(), ClusterRef{id, uuid.NewString()}},
		"unknown account":       {viewer(), ClusterRef{uuid.New(), ref.ClusterID}},
		"another account's":     {viewer(), ClusterRef{other, ref.ClusterID}},
		"NUL":                   {viewer(), ClusterRef{id, "\x00"}},
		"ill-formed":            {viewer(), ClusterRef{id, "\xff"}},
		"unknown, not readable": {stranger, ClusterRef{id, "nothing"}},
	} {
		if _, err := r.svc.Cluster(t.Context(), try.by, try.ref); !errors.Is(err, ErrNotFound) || err.Error() != ErrNotFound.Error() {
			t.Errorf("%s: %v, want exactly ErrNotFound", name, err)
		}
	}

	attempt := audit.Event{
		Act: ActClusterRestart.Name, Phase: audit.PhaseAttempt, Operation: uuid.New(), Actor: audit.Actor{Name: "Olga Operator"},
		Account: audit.Ref{ID: id.String(), Name: "One"}, Target: audit.Target{Kind: KindCluster, ID: ref.ClusterID, Name: "cluster-000"},
	}
	// The age of an attempt goes by the clock of the console that made it.
	r.clock.mu.Lock()
	r.clock.now = time.Now().UTC()
	r.clock.mu.Unlock()
	elsewhere := attempt
	elsewhere.Operation, elsewhere.Account.ID = uuid.New(), other.String()
	for _, e := range []audit.Event{attempt, elsewhere} {
		if _, err := r.log.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	recorded := value[time.Time](t, r, `SELECT recorded_at FROM audit.events ORDER BY seq DESC LIMIT 1`)
	for _, step := range []struct {
		age     time.Duration
		unknown bool
	}{{time.Minute, false}, {3 * time.Minute, true}} {
		r.clock.mu.Lock()
		r.clock.now = recorded.Add(step.age)
		r.clock.mu.Unlock()
		if detail, err = r.svc.Cluster(t.Context(), viewer(), ref); err != nil {
			t.Fatal(err)
		}
		if len(detail.Pending) != 1 || detail.Pending[0].By != "Olga Operator" || detail.Pending[0].Unknown != step.unknown {
			t.Errorf("pending after %v: %+v", step.age, detail.Pending)
		}
	}

	if err := r.svc.storeGone(t.Context(), id, ref.ClusterID); err != nil {
		t.Fatal(err)
	}
	if detail, err = r.svc.Cluster(t.Context(), viewer(), ref); err != nil || !detail.Gone {
		t.Fatalf("gone: %v, %v", detail.Gone, err)
	}
	for act, offer := range detail.Offers {
		if offer.Offered {
			t.Errorf("%s is offered on a cluster that is gone", act)
		}
	}
}

// Five thousand clusters: not a benchmark, but a query that went wrong by an order shows.
func TestLargeFleet(t *testing.T) {
	r := newRig(t)
	for i := range 20 {
		id, _ := r.account(t, fmt.Sprint("Account ", i), Environments[i%4])
		r.fill(t, id, 250)
	}
	r.exec(t, `UPDATE clusters SET search = search || ' needle' WHERE ctid IN (SELECT ctid FROM clusters LIMIT 3)`)
	for _, q := range []FleetQuery{{}, {Sort: "version", Dir: "desc"}, {Text: "needle"}, {Phase: "HEALTHY", Sort: "created"}} {
		began := time.Now()
		page, err := r.svc.Fleet(within(t), viewer(), q)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v: %d rows of %d in %v", q, len(page.Rows), page.Total, time.Since(began))
		if page.All != CountCap+1 || len(page.Accounts) != 20 || len(page.Rows) != min(fleetLimit, page.Total) {
			t.Errorf("%+v: %d rows, total %d, all %d, %d accounts", q, len(page.Rows), page.Total, page.All, len(page.Accounts))
		}
	}
}

// Both lists look for the same number of words, however long an address may be.
func TestListsLookForAFewWords(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "One", Production)
	r.fill(t, id, 1)
	text := strings.Repeat("n ", maxWords) + "nowhere"
	fleet, err := r.svc.Fleet(t.Context(), viewer(), FleetQuery{Text: text})
	if err != nil || fleet.Total != 1 {
		t.Errorf("%d clusters, %v", fleet.Total, err)
	}
	page, err := r.svc.AccountsPage(t.Context(), viewer(), AccountsQuery{Text: text})
	if err != nil || page.Total != 1 {
		t.Errorf("%d accounts, %v", page.Total, err)
	}
}

// TestFleetIsSharedWithEquals: those who ask at the same moment are given what they may see themselves, whatever kind of scope they see by.
func TestFleetIsSharedWithEquals(t *testing.T) {
	r := newRig(t)
	scopes := map[string]access.Scope{}
	for _, team := range []string{"search", "ads"} {
		environment := map[string]Environment{"search": Production, "ads": Staging}[team]
		id, _ := r.account(t, team, environment)
		r.fill(t, id, 20)
		r.exec(t, `UPDATE clusters SET name = $2 || '-' || name, labels = jsonb_build_object('team', $2::text) WHERE account_id = $1`, id, team)
		var cluster string
		if err := r.db.Pool.QueryRow(t.Context(), `SELECT min(cluster_id) FROM clusters WHERE account_id = $1`, id).Scan(&cluster); err != nil {
			t.Fatal(err)
		}
		selector, err := access.ParseSelector("team=" + team)
		if err != nil {
			t.Fatal(err)
		}
		scopes[team+" by labels"] = access.Scope{Labels: []access.Selector{selector}}
		scopes[team+" by account"] = access.Scope{Accounts: []uuid.UUID{id}}
		scopes[team+" by cluster"] = access.Scope{Clusters: []access.ClusterRef{{AccountID: id, ClusterID: cluster}}}
		scopes[team+" by environment"] = access.Scope{Environments: []string{string(environment)}}
	}
	var asking sync.WaitGroup
	for who, scope := range scopes {
		team, _, _ := strings.Cut(who, " ")
		for range 4 {
			asking.Go(func() {
				for range 25 {
					page, err := r.svc.fleet(t.Context(), scope, FleetQuery{})
					if err != nil || len(page.Rows) == 0 {
						t.Errorf("%s: %d rows, %v", who, len(page.Rows), err)
						return
					}
					for _, row := range page.Rows {
						if !strings.HasPrefix(row.Name, team+"-") {
							t.Errorf("%s is given %s", who, row.Name)
							return
						}
					}
				}
			})
		}
	}
	asking.Wait()
}
