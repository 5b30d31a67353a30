package accounts

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// TestWhoCanTouchAnEnvironment: those who reach all of it and those who reach a part are told apart, nobody is told of
// who reaches none of it, and only who oversees all of it may ask.
func TestWhoCanTouchAnEnvironment(t *testing.T) {
	f := newGrantsField(t)
	one := f.prod.String() + "/" + f.prodAt.clusters[1].ID
	for _, subject := range []string{"carl", "dora", "erik", "fred"} {
		f.grantee(t, subject)
	}
	f.give(t, f.admin, SubjectMember, "carl", "key-manager", access.ScopeCluster, one)
	f.give(t, f.admin, SubjectMember, "dora", "viewer", access.ScopeEnvironment, "production")
	f.give(t, f.admin, SubjectMember, "erik", "viewer", access.ScopeEnvironment, "staging")
	f.prodAt.add(1)
	f.refresh(t, f.svc, f.prod)
	gone := f.prodAt.clusters[2].ID
	f.give(t, f.admin, SubjectMember, "fred", "viewer", access.ScopeCluster, f.prod.String()+"/"+gone)
	if _, err := f.svc.cfg.DB.Exec(t.Context(), `UPDATE clusters SET gone_at = now() WHERE cluster_id = $1`, gone); err != nil {
		t.Fatal(err)
	}
	f.give(t, f.admin, SubjectGroup, "searchers", "viewer", access.ScopeLabels, "team=search")
	f.give(t, f.admin, SubjectGroup, "nowhere", "viewer", access.ScopeLabels, "team=nobody-has-this")
	holders, err := f.svc.WhoCanIn(t.Context(), f.admin, Production)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range holders {
		line := h.Kind + " " + h.Name
		if h.Part {
			line += " (part)"
		}
		for _, g := range h.Grants {
			line += ", " + g.Role.ID
		}
		got = append(got, line)
	}
	want := []string{
		"member Name of carl (part), key-manager", "member Name of dora, viewer", "member Name of otto (part), account-admin",
		"group admins, platform-admin", "group searchers (part), viewer", "group viewers, viewer",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}

	if _, err := f.svc.WhoCanIn(t.Context(), f.admin, "moon"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an environment that there is not: %v", err)
	}
	for name, by := range map[string]audit.Actor{"who manages one account of it": f.accountAdm, "a viewer": viewer()} {
		if _, err := f.svc.WhoCanIn(t.Context(), by, Production); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if all := f.svc.EnvironmentsToAsk(by); len(all) > 0 {
			t.Errorf("%s is offered %v", name, all)
		}
	}
	if !slices.Equal(f.svc.EnvironmentsToAsk(f.admin), Environments) {
		t.Errorf("the admin is offered %v", f.svc.EnvironmentsToAsk(f.admin))
	}
}

// TestWhatAGroupCanTouch: all of it for who oversees everything, what lies where they give rights for others, and nothing
// of a group that they see no grant of, which is as one that there is not.
func TestWhatAGroupCanTouch(t *testing.T) {
	f := newGrantsField(t)
	one := f.prod.String() + "/" + f.prodAt.clusters[1].ID
	f.grantee(t, "carl", "searchers", "seen-only")
	f.give(t, f.admin, SubjectGroup, "searchers", "key-manager", access.ScopeCluster, one)
	f.give(t, f.admin, SubjectGroup, "searchers", "viewer", access.ScopeAccount, f.dev.String())
	f.give(t, f.admin, SubjectGroup, "elsewhere", "viewer", access.ScopeAccount, f.dev.String())
	what := func(by audit.Actor, group string) []string {
		t.Helper()
		a, err := f.svc.GroupCan(t.Context(), by, "", group)
		if err != nil {
			t.Fatal(err)
		}
		lines := grantLines(a.Grants)
		for _, s := range a.Scopes {
			lines = append(lines, fmt.Sprintf("%s: %v", s.Name, slices.Contains(s.Permissions, access.WriteAPIKeys)))
		}
		return append(lines, fmt.Sprintf("seen %v, part %v", !a.FirstSeen.IsZero() && !a.LastSeen.IsZero(), a.Partial))
	}
	if diff := cmp.Diff([]string{
		"group searchers: key manager on cluster cluster-001 of account Search", "group searchers: viewer on account Ads",
		"account Ads: false", "cluster cluster-001 of account Search: true", "seen true, part false",
	}, what(f.admin, "searchers")); diff != "" {
		t.Errorf("all of it (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"group searchers: key manager on cluster cluster-001 of account Search", "cluster cluster-001 of account Search: true", "seen false, part true",
	}, what(f.accountAdm, "searchers")); diff != "" {
		t.Errorf("as one account's (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"seen true, part false"}, what(f.admin, "seen-only")); diff != "" {
		t.Errorf("one that gives nothing (-want +got)\n%s", diff)
	}
	if got := what(f.admin, "viewers"); len(got) < 2 || got[0] != "group viewers: viewer on everything (from configuration, QM_VIEWER_GROUPS)" {
		t.Errorf("one of the configuration: %q", got)
	}
	for name, ask := range map[string]struct {
		by    audit.Actor
		group string
	}{
		"nobody names it": {f.admin, "no-such"}, "another spelling": {f.admin, "Searchers"}, "none": {f.admin, ""},
		"one of others": {f.accountAdm, "elsewhere"}, "one that was only seen": {f.accountAdm, "seen-only"}, "one of the configuration, in part": {f.accountAdm, "viewers"}, "missing, in part": {f.accountAdm, "no-such"},
	} {
		if _, err := f.svc.GroupCan(t.Context(), ask.by, "", ask.group); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.svc.GroupCan(t.Context(), viewer(), "", "searchers"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("for a viewer: %v", err)
	}
}
