package accounts

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
)

// choicesFleet is two accounts with more clusters each than are summed up at once. Those of the first have few values, which come
// late in every order; those of the second have more values than are offered, and earlier ones.
func choicesFleet(t *testing.T) (r *rig, mine, theirs uuid.UUID) {
	r = newRig(t)
	mine, _ = r.account(t, "Mine", Staging)
	theirs, _ = r.account(t, "Theirs", Production)
	r.fill(t, mine, CountCap+50)
	r.fill(t, theirs, CountCap+50)
	r.exec(t, `UPDATE clusters SET phase = 'Z' || (n % 3), cloud = 'z' || (n % 2), region = 'z' || lpad((n % 450)::text, 4, '0'), version = 'v9.' || (n % 5), version_order = '9.' || (n % 5)
		FROM (SELECT cluster_id AS id, row_number() OVER () AS n FROM clusters WHERE account_id = $1) c WHERE account_id = $1 AND cluster_id = c.id`, mine)
	r.exec(t, `UPDATE clusters SET phase = 'A' || n, cloud = 'a' || n, region = 'a' || n, version = 'v1.' || n, version_order = '1.' || n
		FROM (SELECT cluster_id AS id, row_number() OVER () AS n FROM clusters WHERE account_id = $1) c WHERE account_id = $1 AND cluster_id = c.id`, theirs)
	r.exec(t, `ANALYZE clusters`)
	return r, mine, theirs
}

// TestChoicesOfALargeScope: what filters offer are the values of the scope, all of them as long as those are no more than are
// offered, however many there are outside; and nothing from outside.
func TestChoicesOfALargeScope(t *testing.T) {
	r, mine, _ := choicesFleet(t)
	var refs []access.ClusterRef
	rows, err := r.db.Pool.Query(t.Context(), `SELECT cluster_id FROM clusters WHERE account_id = $1`, mine)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		ref := access.ClusterRef{AccountID: mine}
		if err := rows.Scan(&ref.ClusterID); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	want := FleetChoices{Environments: []string{"staging"}, Phases: []string{"Z0", "Z1", "Z2"}, Clouds: []string{"z0", "z1"}, Versions: []string{"v9.0", "v9.1", "v9.2", "v9.3", "v9.4"}}
	for n := range 450 {
		want.Regions = append(want.Regions, fmt.Sprintf("z%04d", n))
	}
	for name, scope := range map[string]access.Scope{
		"account": {Accounts: []uuid.UUID{mine}}, "environment": {Environments: []string{"staging"}}, "clusters": {Clusters: refs},
	} {
		best := time.Hour
		for range 3 {
			began := time.Now()
			page, err := r.svc.fleet(t.Context(), scope, FleetQuery{})
			if err != nil {
				t.Fatal(err)
			}
			best = min(best, time.Since(began))
			got := page.Choices
			if !slices.Equal(got.Phases, want.Phases) || !slices.Equal(got.Clouds, want.Clouds) || !slices.Equal(got.Versions, want.Versions) ||
				!slices.Equal(got.Regions, want.Regions) || !slices.Equal(got.Environments, want.Environments) {
				t.Fatalf("%s: %+v", name, got)
			}
		}
		t.Log(name, best)
	}
	page, err := r.svc.fleet(t.Context(), access.Scope{Everything: true}, FleetQuery{})
	if err != nil || len(page.Choices.Phases) != maxChoices || page.Choices.Phases[0] != "A1" {
		t.Errorf("everything: %d phases from %s, %v", len(page.Choices.Phases), page.Choices.Phases[0], err)
	}
}

// TestCountsAroundTheCap: counts and choices are right when a fleet grows past what is counted and shrinks again.
func TestCountsAroundTheCap(t *testing.T) {
	r := newRig(t)
	few, _ := r.account(t, "Few", Production)
	many, _ := r.account(t, "Many", Staging)
	r.fill(t, few, 10)
	for _, step := range []struct {
		what string
		do   func()
		all  int
	}{
		{"few", func() {}, 10},
		{"grown", func() { r.fill(t, many, CountCap) }, CountCap + 1},
		{"many", func() {}, CountCap + 1},
		{"shrunk", func() { r.exec(t, `DELETE FROM clusters WHERE account_id = $1`, many) }, 10},
		{"few again", func() {}, 10},
	} {
		step.do()
		page, err := r.svc.fleet(t.Context(), access.Scope{Everything: true}, FleetQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if page.All != step.all || page.Total != step.all || page.Accounts[0].Clusters != 10 || len(page.Choices.Phases) == 0 {
			t.Errorf("%s: %d clusters, %d match, %d of the first account, phases %q; want %d", step.what, page.All, page.Total, page.Accounts[0].Clusters, page.Choices.Phases, step.all)
		}
	}
}
