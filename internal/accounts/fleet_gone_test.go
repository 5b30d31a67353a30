package accounts

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// goneNames are the names of the clusters that the fleet shows as gone.
func (s *stage) goneNames(by audit.Actor, q FleetQuery) []string {
	s.t.Helper()
	page, err := s.svc.Fleet(s.t.Context(), by, q)
	if err != nil {
		s.t.Fatal(err)
	}
	names := []string{}
	for _, row := range page.Gone {
		if row.GoneAt == nil {
			s.t.Errorf("%s is listed as gone and has no time", row.Name)
		}
		names = append(names, row.Name)
	}
	for _, row := range page.Rows {
		if slices.Contains(names, row.Name) {
			s.t.Errorf("%s is listed among those that are there, too", row.Name)
		}
	}
	return names
}

// TestGoneForSevenDays: a cluster that somebody deleted elsewhere stays on the fleet and on its page for seven days, marked,
// and every act on it is refused with the reason and without a call. After that it is as if it had never been.
func TestGoneForSevenDays(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	ref := s.made(account, "doomed", "mx1", 1)
	admin := s.signedIn("admins")
	if names := s.goneNames(admin, FleetQuery{}); len(names) != 0 {
		t.Fatalf("gone before anything went: %q", names)
	}
	s.outside(account, ref, map[string]any{"act": "delete_cluster", "at_once": true})
	s.snapshot()

	days := func(n string) {
		s.exec(s.db.AppURL, `UPDATE clusters SET gone_at = clock_timestamp() - $2::interval WHERE cluster_id = $1`, ref.ClusterID, n)
	}
	for _, age := range []string{"0", "6 days 23 hours 59 minutes"} {
		days(age)
		if names := s.goneNames(admin, FleetQuery{}); !slices.Equal(names, []string{"doomed"}) {
			t.Fatalf("gone for %s: the fleet shows %q", age, names)
		}
		detail, err := s.svc.Cluster(t.Context(), admin, ref)
		if err != nil || !detail.Gone || detail.Row.GoneAt == nil || !detail.ShownUntil.Equal(detail.Row.GoneAt.Add(s.svc.cfg.GoneFor)) {
			t.Fatalf("gone for %s: the page says %+v, %v", age, detail.Gone, err)
		}
		for name, offer := range detail.Offers {
			if offer.Offered || offer.Reason != goneReason {
				t.Errorf("%s is offered: %+v", name, offer)
			}
		}
		if _, err := s.svc.ClusterHistory(t.Context(), admin, ref, ""); err != nil {
			t.Errorf("its history: %v", err)
		}
	}

	_, mutating := s.calls()
	for name, act := range s.goneActs(admin, ref) {
		t.Run(name, func(t *testing.T) {
			before := len(s.events())
			err := act()
			if conflict, ok := errors.AsType[*ConflictError](err); !ok || conflict.Reason != goneReason {
				t.Errorf("refused with %v", err)
			}
			if after := len(s.events()); after != before {
				t.Errorf("%d events were written", after-before)
			}
			// Who may not do it is told so, gone or not.
			if err := s.goneActs(member("viewers"), ref)[name](); !isForbidden(err) {
				t.Errorf("a viewer is refused with %v", err)
			}
		})
	}
	if _, now := s.calls(); now != mutating {
		t.Errorf("%d changing calls were sent", now-mutating)
	}

	days("7 days 1 second")
	if names := s.goneNames(admin, FleetQuery{}); len(names) != 0 {
		t.Errorf("after seven days the fleet shows %q", names)
	}
	if _, err := s.svc.Cluster(t.Context(), admin, ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("after seven days its page answers %v", err)
	}
	for name, act := range s.goneActs(admin, ref) {
		if err := act(); !errors.Is(err, ErrNotFound) {
			t.Errorf("after seven days %s answers %v", name, err)
		}
	}
	// Somebody makes it known again: it is there again.
	s.exec(s.db.AppURL, `UPDATE clusters SET gone_at = NULL WHERE cluster_id = $1`, ref.ClusterID)
	if _, err := s.svc.Cluster(t.Context(), admin, ref); err != nil {
		t.Errorf("there again: %v", err)
	}
}

// goneActs are acts on the cluster, each as a member does it.
func (s *stage) goneActs(by audit.Actor, ref ClusterRef) map[string]func() error {
	yes := true
	return map[string]func() error{
		"restart": func() error { return s.svc.RestartCluster(s.t.Context(), by, ref) },
		"suspend": func() error { return s.svc.SuspendCluster(s.t.Context(), by, ref) },
		"delete": func() error {
			return s.svc.DeleteCluster(s.t.Context(), by, ref, ClusterDeletion{Confirm: "doomed", DeleteBackups: &yes})
		},
		"the form to delete": func() error {
			_, err := s.svc.AskCluster(s.t.Context(), by, ActClusterDelete, ref)
			return err
		},
		"the form to change": func() error {
			_, err := s.svc.AskClusterUpdate(s.t.Context(), by, ref)
			return err
		},
		"change": func() error {
			return s.svc.UpdateCluster(s.t.Context(), by, ref, ClusterUpdateForm{})
		},
		"make a key": func() error {
			_, err := s.svc.CreateKey(s.t.Context(), by, ref, NewKey{})
			return err
		},
	}
}

// TestGoneIsShownOnlyToWhoMayRead: the fleet's list of what is gone is narrowed by rights as the fleet is.
func TestGoneIsShownOnlyToWhoMayRead(t *testing.T) {
	s := newStage(t)
	account := s.register(s.current(), "Search")
	mine := s.labelled(account, "mine", map[string]string{"team": "mine"})
	theirs := s.labelled(account, "theirs", map[string]string{"team": "theirs"})
	s.exec(s.db.AppURL, `UPDATE clusters SET gone_at = clock_timestamp() WHERE cluster_id = ANY($1)`, []string{mine.ClusterID, theirs.ClusterID})
	by := member("nobody")
	selector, err := access.ParseSelector("team=mine")
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]struct {
		scope access.Scope
		q     FleetQuery
		want  []string
	}{
		"nothing":         {access.Scope{}, FleetQuery{}, []string{}},
		"everything":      {access.Scope{Everything: true}, FleetQuery{}, []string{"mine", "theirs"}},
		"environment":     {access.Scope{Environments: []string{string(Staging)}}, FleetQuery{}, []string{"mine", "theirs"}},
		"another":         {access.Scope{Environments: []string{string(Production)}}, FleetQuery{}, []string{}},
		"account":         {access.Scope{Accounts: []uuid.UUID{account.ID}}, FleetQuery{}, []string{"mine", "theirs"}},
		"cluster":         {access.Scope{Clusters: []access.ClusterRef{access.ClusterRef(mine)}}, FleetQuery{}, []string{"mine"}},
		"labels":          {access.Scope{Labels: []access.Selector{selector}}, FleetQuery{}, []string{"mine"}},
		"text":            {access.Scope{Everything: true}, FleetQuery{Text: "THEIRS"}, []string{"theirs"}},
		"an account":      {access.Scope{Everything: true}, FleetQuery{Account: account.ID.String()}, []string{"mine", "theirs"}},
		"no account":      {access.Scope{Everything: true}, FleetQuery{Account: "\x00"}, []string{}},
		"another account": {access.Scope{Everything: true}, FleetQuery{Account: uuid.NewString()}, []string{}},
		"no environment":  {access.Scope{Everything: true}, FleetQuery{Environment: "\x00"}, []string{}},
		"in no phase":     {access.Scope{Everything: true}, FleetQuery{Phase: "HEALTHY"}, []string{}},
		"the environment": {access.Scope{Everything: true}, FleetQuery{Environment: "staging"}, []string{"mine", "theirs"}},
		"hostile text":    {access.Scope{Everything: true}, FleetQuery{Text: "\x00%"}, []string{}},
	} {
		s.scopedTo(by, one.scope, access.ReadClusters)
		got := s.goneNames(by, one.q)
		slices.Sort(got)
		if !slices.Equal(got, one.want) {
			t.Errorf("%s: %q, want %q", name, got, one.want)
		}
	}
}

// TestManyGoneAreCounted: the list of what is gone is short, and says how many more there are.
func TestManyGoneAreCounted(t *testing.T) {
	r := newRig(t)
	id, _ := r.account(t, "One", Production)
	r.fill(t, id, 50)
	r.exec(t, `UPDATE clusters SET gone_at = clock_timestamp() - interval '1 hour'`)
	page, err := r.svc.Fleet(t.Context(), viewer(), FleetQuery{})
	if err != nil || len(page.Rows) != 0 || len(page.Gone) != maxGoneRows || page.GoneMore != 50-maxGoneRows {
		t.Errorf("%d rows, %d gone and %d more, %v", len(page.Rows), len(page.Gone), page.GoneMore, err)
	}
	if got := fmt.Sprint(page.Total, page.All); got != "0 0" {
		t.Errorf("what is gone is counted among what is there: %s", got)
	}
}
