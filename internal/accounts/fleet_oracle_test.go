package accounts

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
)

// oracleRow is a cluster as the oracle reads it, without any of the fleet's SQL.
type oracleRow struct {
	ref                                                       ClusterRef
	account, environment, name, phase, cloud, region, version string
	search                                                    string
	nodes                                                     int
	ram                                                       int64
	created                                                   int64
	labels                                                    map[string]string
}

func (o oracleRow) value(sort string) any {
	switch sort {
	case "account":
		return strings.ToLower(o.account)
	case "environment":
		return slices.Index(Environments, Environment(o.environment))
	case "phase":
		return o.phase
	case "cloud":
		return o.cloud
	case "region":
		return o.region
	case "version":
		return versionOrder(o.version)
	case "nodes":
		return o.nodes
	case "package":
		return int(o.ram)
	case "created":
		return int(o.created)
	}
	return strings.ToLower(o.name)
}

// compareValues compares two of the same sort.
func compareValues(a, b any) int {
	if s, ok := a.(string); ok {
		return strings.Compare(s, b.(string))
	}
	return cmp.Compare(a.(int), b.(int))
}

// TestScopedFleetEqualsOracle: for random scopes, filters, sorts and page sizes, the pages hold each row once and
// in order, and totals, counts and choices are those of a plain reading of the whole table. A failure prints the query and
// the scope.
func TestScopedFleetEqualsOracle(t *testing.T) {
	for _, many := range []int{7, 30} {
		t.Run(fmt.Sprint(many), func(t *testing.T) { scopedFleetEqualsOracle(t, many) })
	}
}

func scopedFleetEqualsOracle(t *testing.T, many int) {
	r := newRig(t)
	seed := uint64(time.Now().UnixNano())
	t.Log("seed", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	labelSets := []string{
		`{}`, `{}`, `{"team": "search"}`, `{"team": "ads"}`, `{"team": "search", "tier": "gold"}`, `{"tier": "gold"}`, `{"team": "Search"}`, `{"team": ""}`,
		`{"team": "search ", "tier": "silver"}`, `{"search": "team"}`, `{"team": "search,ads"}`,
	}
	var ids []uuid.UUID
	for i := range many {
		id, _ := r.account(t, []string{"unit ", "Unit ", "ÜNIT ", "_%"}[random.IntN(4)]+fmt.Sprint(i), Environments[random.IntN(len(Environments))])
		ids = append(ids, id)
		n := random.IntN(9)
		for range n {
			pick := func(values ...string) string { return values[random.IntN(len(values))] }
			name := pick("a", "A", "b", "Same", "same", "_x", "%", `\`, "é", "É", "", "z z")
			version := pick("v1.9.0", "1.9.0", "v1.10.2", "", "v1.10", "weird", "V1.9")
			created := []any{nil, time.Unix(0, 0), time.Unix(1700000000, 123456000), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)}[random.IntN(5)]
			var gone any
			if random.IntN(6) == 0 {
				gone = time.Now()
			}
			r.exec(t, `
				INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id,
					package, ram_mib, cpu_milli, disk_mib, endpoint, labels, search, created_at, raw, digest, seen_at, changed_at, gone_at)
				VALUES ($1, $2, $3, $4, '', $5, $6, $7, $8, 1, $9, 'p', 'mx', $10, 1, 1, '', $13, lower($3), $11, '{}', '\x00', now(), now(), $12)
				ON CONFLICT DO NOTHING`,
				id, pick("c1", "c2", "c3", "C1", "_", "%", "é", "zz", "c10"), name, pick("HEALTHY", "healthy", "SCALING", "", "SUSPENDED"), pick("aws", "AWS", "gcp", ""),
				pick("r1", "R1", "r2", "", "é"), version, versionOrder(version), random.IntN(3), int64(random.IntN(3)*1024), created, gone,
				labelSets[random.IntN(len(labelSets))])
		}
	}
	var all []oracleRow
	rows, err := r.db.Pool.Query(t.Context(), `SELECT c.account_id, c.cluster_id, a.name, a.environment, c.name, c.phase, c.cloud, c.region, c.version, c.search, c.nodes, c.ram_mib, c.created_at, lower(c.name), c.labels
		FROM clusters c JOIN accounts a ON a.id = c.account_id WHERE c.gone_at IS NULL`)
	if err != nil {
		t.Fatal(err)
	}
	lower := map[string]string{}
	for rows.Next() {
		var o oracleRow
		var at *time.Time
		var low string
		if err := rows.Scan(&o.ref.AccountID, &o.ref.ClusterID, &o.account, &o.environment, &o.name, &o.phase, &o.cloud, &o.region, &o.version, &o.search, &o.nodes, &o.ram, &at, &low, &o.labels); err != nil {
			t.Fatal(err)
		}
		if at != nil {
			o.created = at.UnixMicro()
		}
		lower[o.name] = low
		all = append(all, o)
	}
	for range 150 {
		scope := access.Scope{Everything: random.IntN(8) == 0}
		if !scope.Everything {
			for _, e := range Environments {
				if random.IntN(4) == 0 {
					scope.Environments = append(scope.Environments, string(e))
				}
			}
			for _, id := range ids {
				if random.IntN(5) == 0 {
					scope.Accounts = append(scope.Accounts, id)
				}
			}
			for _, o := range all {
				if random.IntN(6) == 0 {
					scope.Clusters = append(scope.Clusters, access.ClusterRef(o.ref))
				}
			}
			if random.IntN(3) == 0 {
				scope.Environments, scope.Accounts = nil, nil
			}
			for _, text := range []string{"team=search", "team in (search,ads)", "tier=gold", "team=search,tier=gold", "team=nobody", "team in (ads,Search),tier in (gold,silver)"} {
				if random.IntN(6) == 0 {
					l, err := access.ParseSelector(text)
					if err != nil {
						t.Fatal(err)
					}
					scope.Labels = append(scope.Labels, l)
				}
			}
			if random.IntN(4) == 0 {
				scope.Clusters = nil
			}
		}
		q := FleetQuery{Sort: append(slices.Clone(everySort), "", "nonsense")[random.IntN(len(everySort)+2)], Limit: 1 + random.IntN(12)}
		if random.IntN(2) == 0 {
			q.Dir = "desc"
		}
		some := func(f func()) {
			if random.IntN(5) == 0 {
				f()
			}
		}
		anyOf := all[random.IntN(len(all))]
		some(func() {
			q.Text = []string{"same", "_", "%", `\`, "É", "z", "a", "z z", "%%", "sa", "am", "me"}[random.IntN(12)]
		})
		some(func() { q.Account = ids[random.IntN(len(ids))].String() })
		some(func() { q.Environment = anyOf.environment })
		some(func() { q.Phase = anyOf.phase })
		some(func() { q.Cloud = anyOf.cloud })
		some(func() { q.Region = anyOf.region })
		some(func() { q.Version = anyOf.version })
		var visible, want []oracleRow
		for _, o := range all {
			if !scope.Covers(access.Target{AccountID: o.ref.AccountID, Environment: o.environment, ClusterID: o.ref.ClusterID, Labels: o.labels}) {
				continue
			}
			visible = append(visible, o)
			ok := (q.Account == "" || q.Account == o.ref.AccountID.String()) && (q.Environment == "" || q.Environment == o.environment) &&
				(q.Phase == "" || q.Phase == o.phase) && (q.Cloud == "" || q.Cloud == o.cloud) && (q.Region == "" || q.Region == o.region) &&
				(q.Version == "" || versionOrder(q.Version) == versionOrder(o.version))
			for _, w := range strings.Fields(strings.ToLower(q.Text)) {
				ok = ok && (strings.Contains(o.search, w) && !IsShortText(q.Text) || IsShortText(q.Text) && strings.HasPrefix(lower[o.name], w))
			}
			if ok {
				want = append(want, o)
			}
		}
		slices.SortFunc(want, func(a, b oracleRow) int {
			n := compareValues(a.value(q.Sort), b.value(q.Sort))
			if q.Sort == "name" || q.Sort == "" || q.Sort == "nonsense" {
				n = strings.Compare(lower[a.name], lower[b.name])
			}
			rest := []int{strings.Compare(lower[a.name], lower[b.name]), strings.Compare(a.ref.AccountID.String(), b.ref.AccountID.String())}
			if q.Sort == "account" {
				slices.Reverse(rest)
			}
			n = cmp.Or(n, rest[0], rest[1], strings.Compare(a.ref.ClusterID, b.ref.ClusterID))
			if q.Dir == "desc" {
				n = -n
			}
			return n
		})
		label := fmt.Sprintf("%+v in %+v", q, scope)
		var got []ClusterRow
		var last FleetPage
		for n := 0; ; n++ {
			page, err := r.svc.fleet(t.Context(), scope, q)
			if err != nil {
				t.Fatal(label, err)
			}
			if capTo(page.Total) != capTo(len(want)) || capTo(page.All) != capTo(len(visible)) {
				t.Fatalf("%s page %d: total %d all %d, want %d %d", label, n, page.Total, page.All, len(want), len(visible))
			}
			got = append(got, page.Rows...)
			last = page
			if q.After = page.Next; q.After == "" {
				break
			}
			if n > 1000 {
				t.Fatal(label, "endless")
			}
		}
		if !slices.EqualFunc(got, want, func(a ClusterRow, b oracleRow) bool { return a.ref() == b.ref && a.AccountName == b.account }) {
			t.Fatalf("%s:\n got %v\nwant %v", label, refsOf(got), want)
		}
		// Accounts and what is counted of each.
		for _, a := range last.Accounts {
			n, covered := 0, scope.Covers(access.Target{AccountID: a.ID, Environment: string(a.Environment)}) || slices.ContainsFunc(scope.Clusters, func(c access.ClusterRef) bool { return c.AccountID == a.ID })
			covered = covered || slices.ContainsFunc(visible, func(o oracleRow) bool { return o.ref.AccountID == a.ID })
			for _, o := range visible {
				if o.ref.AccountID == a.ID {
					n++
				}
			}
			if !covered || len(last.Accounts) <= fewAccounts && capTo(a.Clusters) != capTo(n) || len(last.Accounts) > fewAccounts && a.Clusters != 0 {
				t.Fatalf("%s: account %s counts %d, want %d, covered %v", label, a.Name, a.Clusters, n, covered)
			}
		}
		for what, c := range map[string]struct {
			got []string
			of  func(oracleRow) string
		}{
			"phase": {last.Choices.Phases, func(o oracleRow) string { return o.phase }}, "cloud": {last.Choices.Clouds, func(o oracleRow) string { return o.cloud }},
			"region": {last.Choices.Regions, func(o oracleRow) string { return o.region }}, "version": {last.Choices.Versions, func(o oracleRow) string { return versionOrder(o.version) }},
		} {
			wants := map[string]bool{}
			for _, o := range visible {
				if o.value(what).(string) != "" && !(what == "version" && o.version == "") {
					wants[c.of(o)] = true
				}
			}
			gots := map[string]bool{}
			for _, v := range c.got {
				if what == "version" {
					v = versionOrder(v)
				}
				gots[v] = true
			}
			if fmt.Sprint(wants) != fmt.Sprint(gots) {
				t.Fatalf("%s: %s choices %v want %v", label, what, gots, wants)
			}
		}
	}
}

func refsOf(rows []ClusterRow) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprint(r.AccountName, "/", r.ClusterID, "/", r.Name))
	}
	return out
}

// capTo is what a count of n reads.
func capTo(n int) int { return min(n, CountCap+1) }
