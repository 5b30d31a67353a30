package accounts

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// grantLines is a list of grants in words.
func grantLines(grants []Grant) []string {
	var lines []string
	for _, g := range grants {
		state := ""
		switch {
		case g.Configured:
			state = " (" + g.Source + ")"
		case g.EndedAt != nil:
			state = " (ended)"
		case g.Expired:
			state = " (expired)"
		case g.Pending:
			state = " (pending)"
		}
		lines = append(lines, g.SubjectKind+" "+g.SubjectName+": "+g.Role.Name+" on "+g.ScopeName+state)
	}
	return lines
}

func TestGrantsListed(t *testing.T) {
	f := newGrantsField(t)
	wait := func() { f.clock.advance(time.Second) }
	wait()
	f.give(t, f.admin, SubjectGroup, "ads", "operator", access.ScopeAccount, f.dev.String())
	wait()
	f.give(t, f.admin, SubjectMember, "new@example.test", "viewer", access.ScopeCluster, f.prod.String()+"/"+f.prodAt.clusters[1].ID)
	wait()
	f.give(t, f.admin, SubjectGroup, "lab", "key-manager", access.ScopeLabels, "team=search")
	wait()
	gone := f.give(t, f.admin, SubjectGroup, "gone", "viewer", access.ScopeEnvironment, "production")
	if err := f.svc.EndGrant(t.Context(), f.admin, gone.ID, ""); err != nil {
		t.Fatal(err)
	}
	wait()
	if _, err := f.svc.CreateGrant(t.Context(), f.admin, NewGrant{
		SubjectKind: SubjectGroup, Subject: "brief", Role: "viewer", ScopeKind: "everything", ExpiresAt: "2026-11-23T09:01", Reason: "a minute",
	}); err != nil {
		t.Fatal(err)
	}
	f.clock.advance(time.Hour)

	configured := []string{
		"group admins: platform admin on everything (from configuration, QM_ADMIN_GROUPS)",
		"group viewers: viewer on everything (from configuration, QM_VIEWER_GROUPS)",
	}
	var (
		otto    = "member Name of otto: account admin on account Search"
		ads     = "group ads: operator on account Ads"
		pending = "email new@example.test: viewer on cluster cluster-001 of account Search (pending)"
		lab     = "group lab: key manager on clusters labelled team=search"
		ended   = "group gone: viewer on environment production (ended)"
		expired = "group brief: viewer on everything (expired)"
	)
	for name, tt := range map[string]struct {
		by   audit.Actor
		q    GrantQuery
		want []string
	}{
		"live":                  {f.admin, GrantQuery{}, append(slices.Clone(configured), lab, ads, otto)},
		"pending":               {f.admin, GrantQuery{State: GrantsPending}, []string{pending}},
		"expired":               {f.admin, GrantQuery{State: GrantsExpired}, []string{expired}},
		"ended":                 {f.admin, GrantQuery{State: GrantsEnded}, []string{ended}},
		"all":                   {f.admin, GrantQuery{State: GrantsAll}, append(slices.Clone(configured), expired, ended, lab, pending, ads, otto)},
		"of a role":             {f.admin, GrantQuery{State: GrantsAll, Role: "viewer"}, []string{configured[1], expired, ended, pending}},
		"of groups":             {f.admin, GrantQuery{SubjectKind: SubjectGroup}, append(slices.Clone(configured), lab, ads)},
		"of one":                {f.admin, GrantQuery{SubjectKind: SubjectMember, Subject: "otto"}, []string{otto}},
		"of a scope":            {f.admin, GrantQuery{ScopeKind: "account", Scope: f.dev.String()}, []string{ads}},
		"by text":               {f.admin, GrantQuery{Text: "ACCOUNT name search"}, []string{otto}},
		"by a variable":         {f.admin, GrantQuery{Text: "qm_admin"}, configured[:1]},
		"as one account's":      {f.accountAdm, GrantQuery{State: GrantsAll}, []string{pending, otto}},
		"another's, as theirs":  {f.accountAdm, GrantQuery{State: GrantsAll, Subject: "ads"}, nil},
		"another's, searched":   {f.accountAdm, GrantQuery{State: GrantsAll, Text: "qm_admin"}, nil},
		"another's, by its end": {f.accountAdm, GrantQuery{State: GrantsEnded}, nil},
	} {
		page, err := f.svc.Grants(t.Context(), tt.by, tt.q)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, grantLines(page.Grants)); diff != "" || page.Total != len(tt.want) || page.Next != "" {
			t.Errorf("%s: total %d, next %q (-want +got)\n%s", name, page.Total, page.Next, diff)
		}
	}
	for what, err := range map[string]error{
		"list": func() error { _, err := f.svc.Grants(t.Context(), viewer(), GrantQuery{}); return err }(),
		"one":  func() error { _, err := f.svc.Grant(t.Context(), viewer(), gone.ID); return err }(),
		"form": func() error { _, err := f.svc.GrantForm(t.Context(), viewer()); return err }(),
	} {
		if forbidden, ok := errors.AsType[*ForbiddenError](err); !ok || forbidden.Missing != access.GrantsManage {
			t.Errorf("%s for a viewer: %v", what, err)
		}
	}
	_, hidden := f.svc.Grant(t.Context(), f.accountAdm, gone.ID)
	_, missing := f.svc.Grant(t.Context(), f.accountAdm, uuid.New())
	if !errors.Is(hidden, ErrNotFound) || !errors.Is(missing, ErrNotFound) || hidden.Error() != missing.Error() {
		t.Errorf("told apart: %v and %v", hidden, missing)
	}
	hidden, missing = f.svc.EndGrant(t.Context(), f.accountAdm, gone.ID, ""), f.svc.EndGrant(t.Context(), f.accountAdm, uuid.New(), "")
	if !errors.Is(hidden, ErrNotFound) || !errors.Is(missing, ErrNotFound) {
		t.Errorf("ending told apart: %v and %v", hidden, missing)
	}
}

func TestGrantsArePaged(t *testing.T) {
	f := newGrantsField(t)
	want := map[string]bool{}
	for i := range 2*grantsLimit + 30 {
		if i%7 == 0 {
			f.clock.advance(time.Microsecond) // several of the same microsecond
		}
		name := fmt.Sprintf("group %03d", i)
		want[name] = true
		row := grantRow{
			ID: uuid.New(), SubjectKind: SubjectGroup, Issuer: grantsIssuer, Subject: name, Role: "viewer", ScopeKind: "account", Scope: f.prod.String(),
			Reason: "r", CreatedAt: f.svc.now(), GrantedBy: "x",
		}
		f.exec(t, `INSERT INTO grants (`+grantColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, NULL, $9, $10, '', '', $11)`,
			row.ID, row.SubjectKind, row.Issuer, row.Subject, row.Role, row.ScopeKind, row.Scope, row.Reason, row.CreatedAt, row.GrantedBy, f.svc.cfg.Vault.MAC(row.place(), row.says()))
	}
	pages := 0
	q := GrantQuery{Role: "viewer"}
	for {
		page, err := f.svc.Grants(t.Context(), f.accountAdm, q)
		if err != nil {
			t.Fatal(err)
		}
		pages++
		if page.Total != 2*grantsLimit+30 {
			t.Errorf("page %d: total %d", pages, page.Total)
		}
		for _, g := range page.Grants {
			if !want[g.Subject] {
				t.Errorf("%s is there twice, or should not be", g.Subject)
			}
			delete(want, g.Subject)
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
	}
	if pages != 3 || len(want) != 0 {
		t.Errorf("%d pages, %d left out", pages, len(want))
	}
	q.State = GrantsAll
	if _, err := f.svc.Grants(t.Context(), f.accountAdm, q); q.After != "" && !errors.Is(err, ErrBadCursor) {
		t.Errorf("the place of another list: %v", err)
	}
}

func TestGrantFormOffersWhatLiesInOnesScope(t *testing.T) {
	f := newGrantsField(t)
	f.grantee(t, "stranger", "strangers")
	f.give(t, f.admin, SubjectGroup, "searchers", "viewer", access.ScopeAccount, f.prod.String())
	f.give(t, f.admin, SubjectGroup, "adsmen", "viewer", access.ScopeAccount, f.dev.String())
	form, err := f.svc.GrantForm(t.Context(), f.accountAdm)
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, r := range form.Roles {
		roles = append(roles, r.ID)
	}
	got := []any{roles, form.Everything, form.Environments, form.Accounts, len(form.Clusters), form.Members, form.Groups}
	want := []any{
		[]string{"viewer", "operator", "key-manager", "account-admin", "auditor"}, false, []Environment(nil), []GrantPlace{{Scope: f.prod.String(), Name: "Search"}}, 2,
		[]GrantMember(nil), []string{"searchers"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("an account's (-want +got)\n%s", diff)
	}
	for _, c := range form.Clusters {
		if !strings.HasPrefix(c.Scope, f.prod.String()+"/") || c.AccountName != "Search" {
			t.Errorf("cluster %+v", c)
		}
	}
	form, err = f.svc.GrantForm(t.Context(), f.admin)
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, m := range form.Members {
		members = append(members, m.Subject)
	}
	got = []any{len(form.Roles), form.Everything, form.Environments, len(form.Accounts), len(form.Clusters), members, form.Groups, form.FormToken != ""}
	want = []any{6, true, Environments, 2, 4, []string{grantsIssuer + "|otto", grantsIssuer + "|stranger"}, []string{"adsmen", "ops", "searchers", "strangers", "viewers"}, true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("everybody's (-want +got)\n%s", diff)
	}
}

func TestWhoCanAndWhatCan(t *testing.T) {
	f := newGrantsField(t)
	one := f.prod.String() + "/" + f.prodAt.clusters[1].ID
	carl := f.grantee(t, "carl", "searchers")
	f.give(t, f.admin, SubjectMember, "carl", "key-manager", access.ScopeCluster, one)
	f.give(t, f.admin, SubjectGroup, "searchers", "viewer", access.ScopeLabels, "team=search")
	f.give(t, f.admin, SubjectMember, "waiting@example.test", "viewer", access.ScopeCluster, one)
	f.give(t, f.admin, SubjectMember, "carl", "viewer", access.ScopeAccount, f.dev.String())
	who := func(by audit.Actor, ref ClusterRef) []string {
		t.Helper()
		holders, err := f.svc.WhoCan(t.Context(), by, ref)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, h := range holders {
			line := fmt.Sprintf("%s %s", h.Kind, h.Name)
			if h.Part {
				line += " (part)"
			}
			for _, g := range h.Grants {
				line += ", " + g.Role.ID
			}
			lines = append(lines, line)
		}
		return lines
	}
	configured := []string{"group admins, platform-admin", "group viewers, viewer"}
	account := ClusterRef{AccountID: f.prod}
	if diff := cmp.Diff([]string{"member Name of carl (part), key-manager", "member Name of otto, account-admin", configured[0], "group searchers (part), viewer", configured[1]},
		who(f.accountAdm, account)); diff != "" {
		t.Errorf("the account (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(append([]string{"member Name of carl, key-manager", "member Name of otto, account-admin"}, configured...),
		who(f.accountAdm, ClusterRef{f.prod, f.prodAt.clusters[1].ID})); diff != "" {
		t.Errorf("a cluster (-want +got)\n%s", diff)
	}
	if _, err := f.svc.WhoCan(t.Context(), f.accountAdm, ClusterRef{AccountID: f.dev}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an account of others: %v", err)
	}
	if _, err := f.svc.WhoCan(t.Context(), viewer(), account); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("for a viewer: %v", err)
	}
	if f.svc.MayAskWhoCan(t.Context(), carl, account) || !f.svc.MayAskWhoCan(t.Context(), f.accountAdm, account) {
		t.Error("the link")
	}

	what := func(by audit.Actor) []string {
		t.Helper()
		a, err := f.svc.WhatCan(t.Context(), by, grantsIssuer, "carl")
		if err != nil {
			t.Fatal(err)
		}
		lines := grantLines(a.Grants)
		for _, s := range a.Scopes {
			lines = append(lines, fmt.Sprintf("%s: %v", s.Name, slices.Contains(s.Permissions, access.WriteAPIKeys)))
		}
		return append(lines, fmt.Sprintf("%v %v %s", a.Groups, a.Partial, a.Name))
	}
	if diff := cmp.Diff([]string{
		"member Name of carl: key manager on cluster cluster-001 of account Search", "member Name of carl: viewer on account Ads", "group searchers: viewer on clusters labelled team=search",
		"account Ads: false", "cluster cluster-001 of account Search: true", "clusters labelled team=search: false", "[searchers] false Name of carl",
	}, what(f.admin)); diff != "" {
		t.Errorf("all of it (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{
		"member Name of carl: key manager on cluster cluster-001 of account Search", "cluster cluster-001 of account Search: true", "[] true Name of carl",
	}, what(f.accountAdm)); diff != "" {
		t.Errorf("as one account's (-want +got)\n%s", diff)
	}
	f.grantee(t, "stranger")
	_, hidden := f.svc.WhatCan(t.Context(), f.accountAdm, grantsIssuer, "stranger")
	_, missing := f.svc.WhatCan(t.Context(), f.accountAdm, grantsIssuer, "nobody")
	if !errors.Is(hidden, ErrNotFound) || !errors.Is(missing, ErrNotFound) {
		t.Errorf("told apart: %v and %v", hidden, missing)
	}
	if _, err := f.svc.WhatCan(t.Context(), carl, grantsIssuer, "otto"); err == nil || errors.Is(err, ErrNotFound) {
		t.Errorf("for who manages nothing: %v", err)
	}
}

func TestWhyMay(t *testing.T) {
	f := newGrantsField(t)
	carl := f.grantee(t, "carl")
	f.give(t, f.admin, SubjectMember, "carl", "viewer", access.ScopeAccount, f.prod.String())
	cluster := ClusterRef{f.prod, f.prodAt.clusters[0].ID}
	why, err := f.svc.WhyMay(t.Context(), carl, "cluster.read", cluster)
	if err != nil || !why.Allowed || why.Missing != "" || why.Where != "cluster cluster-000 of account Search" {
		t.Fatalf("%+v, %v", why, err)
	}
	if diff := cmp.Diff([]string{"member Name of carl: viewer on account Search"}, grantLines(why.Grants)); diff != "" || why.Grants[0].GrantedBy != "Name of ada" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	f.role("rotator of a secret team", access.ReadClusters, access.WriteAPIKeys, access.DeleteAPIKeys)
	why, err = f.svc.WhyMay(t.Context(), carl, "key.rotate", cluster)
	if err != nil || why.Allowed || why.Missing != "write:api_keys and delete:api_keys" || !why.GiversHidden || len(why.Givers) != 0 || len(why.Grants) != 0 {
		t.Fatalf("%+v, %v", why, err)
	}
	var roles []string
	for _, r := range why.Roles {
		roles = append(roles, r.ID)
	}
	if diff := cmp.Diff([]string{"operator", "key-manager", "account-admin", "platform-admin"}, roles); diff != "" || !slices.Equal(why.Held, access.Effective(access.Viewer().Permissions, access.ScopeCluster)) {
		t.Errorf("held %v (-want +got)\n%s", why.Held, diff)
	}
	why, err = f.svc.WhyMay(t.Context(), f.accountAdm, "member.block", ClusterRef{})
	if err != nil || why.Allowed || why.Missing != access.MembersManage || !why.GiversHidden {
		t.Errorf("%+v, %v", why, err)
	}
	// Who may see it is told whom to ask.
	f.give(t, f.admin, SubjectMember, "carl", f.role("granter", access.GrantsManage), access.ScopeAccount, f.prod.String())
	if err := f.svc.freshRights(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.role("destroyer", access.DeleteClusters)
	why, err = f.svc.WhyMay(t.Context(), carl, "cluster.delete", cluster)
	var givers []string
	for _, h := range why.Givers {
		givers = append(givers, h.Name)
	}
	if why.Roles[0].ID != "operator" || len(why.Roles) != 4 {
		t.Errorf("roles %v", why.Roles)
	}
	if diff := cmp.Diff([]string{"Name of carl", "Name of otto", "admins"}, givers); diff != "" || err != nil || why.GiversHidden {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
	_, hidden := f.svc.WhyMay(t.Context(), carl, "cluster.delete", ClusterRef{f.dev, f.devAt.clusters[0].ID})
	_, missing := f.svc.WhyMay(t.Context(), carl, "cluster.delete", ClusterRef{f.dev, uuid.NewString()})
	if !errors.Is(hidden, ErrNotFound) || !errors.Is(missing, ErrNotFound) {
		t.Errorf("told apart: %v and %v", hidden, missing)
	}
	f.svc.flushDenials(t.Context(), true)
}

func TestRoleIsStoredAndRecorded(t *testing.T) {
	f := newGrantsField(t)
	token, err := f.svc.FormToken(t.Context(), f.admin, ActRoleCreate.Name)
	if err != nil {
		t.Fatal(err)
	}
	form := NewRole{Name: " Restarter ", Description: "Restarts.\r\nNothing else.", Permissions: []string{access.WriteClusters, access.ReadClusters, access.WriteClusters}, FormToken: token}
	role, err := f.svc.CreateRole(t.Context(), f.admin, form)
	if err != nil {
		t.Fatal(err, fieldsOfInvalid(err))
	}
	if again, err := f.svc.CreateRole(t.Context(), f.admin, form); err != nil || again.ID != role.ID {
		t.Errorf("the form sent again: %v, %v", again.ID, err)
	}
	want := RoleDetail{
		Role:    access.Role{ID: role.ID, Name: "Restarter", Description: "Restarts.\nNothing else.", Permissions: []string{access.ReadClusters, access.WriteClusters}},
		Version: 1, WrittenAt: f.clock.now, WrittenBy: "Name of ada", MayEdit: true, MayDelete: true, MayGive: true,
	}
	if diff := cmp.Diff(want, role); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	edit := RoleEdit{Version: 1, Name: "Restarter", Description: "Restarts.\nNothing else.", Permissions: []string{access.ReadClusters}}
	for range 2 { // a second post changes and records nothing
		if err := f.svc.EditRole(t.Context(), f.admin, role.ID, edit); err != nil {
			t.Fatal(err)
		}
	}
	edit.Permissions, edit.Name = []string{access.ReadAccount}, "Reader"
	stale, ok := errors.AsType[*RoleChangedError](f.svc.EditRole(t.Context(), f.admin, role.ID, edit))
	if !ok || stale.Now.Version != 2 || !slices.Equal(stale.Now.Permissions, []string{access.ReadClusters}) {
		t.Errorf("stale: %+v", stale)
	}
	if err := f.svc.DeleteRole(t.Context(), f.admin, role.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.svc.DeleteRole(t.Context(), f.admin, role.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted again: %v", err)
	}
	var got []audit.Event
	for _, act := range []Act{ActRoleCreate, ActRoleEdit, ActRoleDelete} {
		got = append(got, f.events(t, act.Name)...)
	}
	event := func(act string, change audit.Change) audit.Event {
		return audit.Event{Act: act, Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: f.admin, Target: audit.Target{Kind: "role", ID: role.ID, Name: "Restarter"}, Change: change}
	}
	both, one := []any{access.ReadClusters, access.WriteClusters}, []any{access.ReadClusters}
	wantEvents := []audit.Event{
		event("role.create", audit.Change{"name": {nil, "Restarter"}, "description": {nil, `Restarts.\u000aNothing else.`}, "permissions": {nil, both}, "version": {nil, json.Number("1")}}),
		event("role.edit", audit.Change{"permissions": {both, one}, "version": {json.Number("1"), json.Number("2")}}),
		event("role.delete", audit.Change{"name": {"Restarter", nil}, "description": {`Restarts.\u000aNothing else.`, nil}, "permissions": {one, nil}, "version": {json.Number("2"), json.Number("3")}}),
	}
	if diff := cmp.Diff(wantEvents, got, plainEvent()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestRolesAreCheckedAndBuiltInOnesStay(t *testing.T) {
	f := newGrantsField(t)
	id := f.role("Helper", access.ReadClusters)
	other := f.role("Other", access.ReadClusters)
	for name, problem := range map[string]bool{
		"helper": true, "HELPER": true, "Platform Admin": true, "platform-admin": true, "KEY manager": true, "": true, " ": true, "a\nb": true, strings.Repeat("n", 65): true,
		"Hélper": false, strings.Repeat("n", 64): false, id: true,
	} {
		if _, err := f.svc.CreateRole(t.Context(), f.admin, NewRole{Name: name, Permissions: []string{access.ReadClusters}}); (fieldsOfInvalid(err)["name"] != "") != problem {
			t.Errorf("%q: %v", name, err)
		}
		if err := f.svc.EditRole(t.Context(), f.admin, other, RoleEdit{Version: 1, Name: name, Permissions: []string{access.ReadClusters}}); problem && fieldsOfInvalid(err)["name"] == "" {
			t.Errorf("renamed to %q: %v", name, err)
		}
	}
	for _, permissions := range [][]string{nil, {"read:everything"}, {access.ReadClusters, ""}, {"Read:Clusters"}} {
		if _, err := f.svc.CreateRole(t.Context(), f.admin, NewRole{Name: "n", Permissions: permissions}); fieldsOfInvalid(err)["permissions"] == "" {
			t.Errorf("%q: %v", permissions, err)
		}
	}
	for _, role := range access.BuiltIn() {
		if _, ok := errors.AsType[*ConflictError](f.svc.EditRole(t.Context(), f.admin, role.ID, RoleEdit{Name: "x", Permissions: []string{access.ReadClusters}})); !ok {
			t.Errorf("%s was edited", role.ID)
		}
		if _, ok := errors.AsType[*ConflictError](f.svc.DeleteRole(t.Context(), f.admin, role.ID)); !ok {
			t.Errorf("%s was deleted", role.ID)
		}
	}
	roles, err := f.svc.Roles(t.Context(), f.accountAdm)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range roles {
		if r.MayEdit || r.MayDelete || r.WhyNot == "" || r.WhyNotDelete == "" || r.MayGive != (r.ID != "platform-admin") {
			t.Errorf("for an account's admin: %+v", r)
		}
		if want := map[string]int{"account-admin": 1}[r.ID]; r.Uses != want {
			t.Errorf("%s: %d uses", r.Name, r.Uses)
		}
	}
	for what, err := range map[string]error{
		"create": func() error {
			_, err := f.svc.CreateRole(t.Context(), f.accountAdm, NewRole{Name: "n", Permissions: []string{access.ReadClusters}})
			return err
		}(),
		"delete": f.svc.DeleteRole(t.Context(), f.accountAdm, id),
		"list":   func() error { _, err := f.svc.Roles(t.Context(), viewer()); return err }(),
	} {
		if _, ok := errors.AsType[*ForbiddenError](err); !ok {
			t.Errorf("%s without the right: %v", what, err)
		}
	}
}
