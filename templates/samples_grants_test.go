package templates

import (
	"time"

	"github.com/a-h/templ"
)

func grantsPage(title, id string) Page {
	p := samplePage(title, id, "admin")
	p.Member.Admin = []Link{{"Grants", "/admin/grants"}, {"Roles", "/admin/roles"}, {"Access", "/admin/access"}, {"Groups", "/admin/groups"}}
	return p
}

// grantPages are the pages of grants and roles as an administrator would meet them.
func grantPages() map[string]templ.Component {
	unverified := sampleGrants(sampleGrantRows())
	unverified.Page.Unverified = &UnverifiedView{Rows: 3, LogHref: "/audit?act=rights.unverified"}
	narrowed := sampleGrants(nil)
	narrowed.Filter.Active, narrowed.Filter.Text, narrowed.Filter.Only = true, "no such thing", []string{"on the cluster search-main"}
	narrowed.Page.Unverified = &UnverifiedView{Rows: 1}
	refused := ErrorView{
		Page: samplePage("You may not do this", "error", ""), Status: 403, Heading: "You may not do this",
		Detail: "It needs the right delete:clusters, which you do not hold here.", RequestID: "019aafc2-7d1c-7b1e-9a11-0d7f4a1c2b3d", Refusal: sampleRefusal(),
	}
	bare := refused
	bare.Refusal = &RefusalView{Missing: []Pair{{"accounts:manage", ""}}}
	stale := sampleGrantForm("group", "cluster")
	stale.Page.StepUp = &StepUp{Href: "/login?step_up=1", After: "10 min", Since: beforePtr(time.Hour)}
	staleRole := sampleRoleForm(nil)
	staleRole.Page.StepUp = &StepUp{Href: "/login?step_up=1", After: "10 min", Untold: true}
	return map[string]templ.Component{
		"grant-new-stale":   GrantForm(stale),
		"role-new-stale":    RoleForm(staleRole),
		"grants":            Grants(sampleGrants(sampleGrantRows())),
		"grants-unverified": Grants(unverified),
		"grants-no-match":   Grants(narrowed),
		"grants-none":       Grants(sampleGrants(nil)),
		"grant":             Grant(sampleGrant()),
		"grant-ended":       Grant(sampleEndedGrant()),
		"grant-end":         Confirm(sampleGrantEnd(nil)),
		"grant-end-wrong":   Confirm(sampleGrantEnd(map[string]string{"reason": "Say why."})),
		"grant-new":         GrantForm(sampleGrantForm("group", "cluster")),
		"grant-new-member":  GrantForm(sampleGrantForm("member", "labels")),
		"grant-new-address": GrantForm(sampleGrantForm("email", "everything")),
		"grant-new-wrong":   GrantForm(sampleWrongGrantForm()),
		"grant-new-nothing": GrantForm(GrantFormView{Page: grantsPage("Give a right", "grant-new"), Back: "/admin/grants", CannotAll: "You hold no right that you could give to others."}),
		"roles":             Roles(sampleRoles()),
		"role":              Role(sampleRole()),
		"role-builtin":      Role(sampleBuiltInRole()),
		"role-withheld":     Role(sampleWithheldRole()),
		"roles-withheld":    Roles(sampleWithheldRoles()),
		"role-new":          RoleForm(sampleRoleForm(nil)),
		"role-wrong":        RoleForm(sampleRoleForm(map[string]string{"": "This form was too old.", "name": "A role is called so already.", "permissions": "You do not hold delete:clusters everywhere."})),
		"access-found":      Access(AccessView{Page: grantsPage("Access", "access-ask"), Heading: "Access", Accounts: []Choice{{Value: "1", Label: "Search production"}}, Typed: "search", MoreFound: true, Found: []FoundPlace{{Name: "Search production", Href: "/admin/access?account=1", ID: "0193"}, {Name: "product-search-eu", Href: "/admin/access?account=1&cluster=2", ID: "2f6c", Cluster: true, Account: "Search production"}}}),
		"access-not-found":  Access(AccessView{Page: grantsPage("Access", "access-ask"), Heading: "Access", Clusters: 3, Typed: "no-such", NotFound: "No account or cluster that you may ask about has this ID, or this in its name."}),
		"access":            Access(AccessView{Page: grantsPage("Access", "access-ask"), Heading: "Access", SeesGrants: true, Environments: []Choice{{Value: "production", Label: "production"}}, Groups: []string{"platform-admins", "search-team"}, TypedGroup: "serach-team", NoGroup: "No grant and no sign-in that you may see names a group exactly like this, letter case included.", Accounts: []Choice{{Value: "1", Label: "Search production"}}, People: []SubjectView{sampleGrantRows()[3].Who}, MorePeople: Link{"All members", "/admin/members"}}),
		"access-who":        Access(sampleHolders()),
		"access-nobody":     Access(AccessView{Page: grantsPage("Who can touch search-main?", "access-who"), Heading: "Who can touch search-main?", Asked: true, GiveHref: "/admin/grants/new"}),
		"access-what":       Access(sampleReach()),
		"access-nothing":    Access(AccessView{Page: grantsPage("What can Nora Nobody touch?", "access-what"), Heading: "What can Nora Nobody touch?", Asked: true, Who: &SubjectView{Kind: "member", Name: "Nora Nobody"}, GiveHref: "/admin/grants/new", Notes: []string{"Nora Nobody is blocked: nothing of this counts."}}),
		"refused":           ErrorPage(refused),
		"why-not":           WhyNot(WhyNotView{Page: grantsPage("Restart cluster: why may I not?", "why-not"), Refusal: sampleRefusal(), Back: &Link{"Back to the cluster", "/accounts/1/clusters/2"}}),
		"why-not-nothing":   WhyNot(WhyNotView{Page: grantsPage("Restart cluster: why may I not?", "why-not")}),
		"refused-bare":      ErrorPage(bare),
	}
}

// hostileGrantPages are the same with the text in every place that shows text.
func hostileGrantPages(text string) map[string]templ.Component {
	return map[string]templ.Component{
		"grants": filled(text, Grants), "grant": filled(text, Grant), "grant-new": filled(text, GrantForm), "roles": filled(text, Roles), "role": filled(text, Role),
		"role-new": filled(text, RoleForm), "access": filled(text, Access), "group": filled(text, Group), "refused": filled(text, ErrorPage), "why-not": filled(text, WhyNot),
	}
}

func sampleGrants(rows []GrantRow) GrantsView {
	choice := func(name, label, all string, choices ...Choice) Select {
		return Select{Name: name, Label: label, Any: all, Choices: choices}
	}
	v := GrantsView{Page: grantsPage("Grants", "grants-index"), Rows: rows, Total: len(rows), May: true, Waiting: 1, WaitingHref: "/admin/grants?state=pending"}
	v.Filter = GrantsFilter{
		State:       choice("state", "State", "", Choice{Value: "live", Label: "In force", Selected: true}, Choice{Value: "all", Label: "All"}),
		SubjectKind: choice("subject_kind", "To", "Anybody", Choice{Value: "group", Label: "Groups"}),
		Role:        choice("role", "Role", "Any", Choice{Value: "viewer", Label: "viewer"}),
		Kind:        choice("scope_kind", "Where", "Anywhere", Choice{Value: "cluster", Label: "Clusters"}),
		Hidden:      []Pair{{"scope", "0192/c1"}},
	}
	if len(rows) > 3 {
		v.Total, v.Next, v.First = 1204, "/admin/grants?after=x", "/admin/grants"
	}
	return v
}

func sampleGrantRows() []GrantRow {
	soon := sampleNow.Add(6 * day)
	return []GrantRow{
		{Who: SubjectView{Kind: "group", Name: "platform-admins"}, Role: "platform admin", RoleHref: "/admin/roles/platform-admin", Where: PlaceView{Kind: "everything"}, Configured: true, Variable: "QM_ADMIN_GROUPS", State: "live"},
		{Who: SubjectView{Kind: "email", Name: "admin@example.test"}, Role: "platform admin", Where: PlaceView{Kind: "everything"}, Configured: true, Variable: "QM_ADMIN_EMAILS", State: "live"},
		{ID: "0193-1", Href: "/admin/grants/0193-1", Who: SubjectView{Kind: "group", Name: "search-team"}, Role: "viewer", RoleHref: "/admin/roles/viewer", Where: PlaceView{Kind: "cluster", Name: "search-main of account Search production", Href: "/accounts/1/clusters/c"}, ExpiresAt: &soon, Reason: "OPS-1412: look into the slow queries of last week", GivenAt: before(day), GivenBy: "Ada Admin", State: "live"},
		{ID: "0193-2", Href: "/admin/grants/0193-2", Who: SubjectView{Kind: "member", Name: "Olga Operator", Detail: "olga@example.test", Href: "/admin/access?issuer=i&subject=s"}, Role: "key manager", Where: PlaceView{Kind: "labels", Name: "team in (ads,search),tier=gold"}, Reason: "Rotates the keys of the team", GivenAt: before(40 * day), GivenBy: "Ada Admin", State: "live"},
		{ID: "0193-3", Href: "/admin/grants/0193-3", Who: SubjectView{Kind: "email", Name: "new.colleague@example.test"}, Role: "operator", Where: PlaceView{Kind: "environment", Name: "staging"}, Reason: "Starts on Monday", GivenAt: before(time.Hour), GivenBy: "Ada Admin", State: "pending"},
		{ID: "0193-4", Href: "/admin/grants/0193-4", Who: SubjectView{Kind: "member", Name: "Nora Nobody", Detail: "8f14e45fceea167a5a36dedd4bea2543"}, Role: "operator", Where: PlaceView{Kind: "account", Name: "Search production", Href: "/accounts/1"}, ExpiresAt: beforePtr(2 * day), Reason: "Incident 77", GivenAt: before(9 * day), GivenBy: "Ada Admin", State: "expired"},
		{ID: "0193-5", Href: "/admin/grants/0193-5", Who: SubjectView{Kind: "group", Name: "contractors"}, Role: "viewer", Where: PlaceView{Kind: "cluster", Name: "9b2e4f64-5b42-4d2e-a0f7-d4f9a4d6a000"}, Reason: "Trial", GivenAt: before(90 * day), GivenBy: "Ada Admin", State: "ended", EndedAt: beforePtr(3 * day), EndedBy: "Ada Admin", EndReason: "Trial is over"},
	}
}

func samplePermissions() []PermissionGroup {
	return []PermissionGroup{{"account at Qdrant Cloud", []string{"read"}}, {"API keys", []string{"read", "write", "delete"}}, {"clusters", []string{"read"}}, {"logs of clusters", []string{"read"}}}
}

func sampleGrant() GrantView {
	return GrantView{
		Page: grantsPage("search-team: viewer on cluster search-main", "grant-show"), Crumbs: []Link{{"Admin", "/admin/grants"}, {"Grants", "/admin/grants"}}, Grant: sampleGrantRows()[2],
		Description: "Looks at accounts, clusters, keys and backups, and changes nothing.", Permissions: samplePermissions(),
		Offers: []Offer{{Label: "Take it back", Href: "/admin/grants/0193-1/delete", Danger: true, Offered: true}}, LogHref: "/audit?q=0193-1",
	}
}

func sampleEndedGrant() GrantView {
	v := sampleGrant()
	v.Grant = sampleGrantRows()[6]
	v.Offers = []Offer{{Label: "Take it back", Reason: "It has ended already."}}
	return v
}

func sampleGrantEnd(wrong map[string]string) ConfirmView {
	return ConfirmView{
		Page: grantsPage("Take this right back?", "grant-delete"), Crumbs: []Link{{"Grants", "/admin/grants"}}, Lead: "The group search-team loses viewer on cluster search-main in Search production.",
		Points: []string{"It acts at the next request of everyone it reaches.", "What they may do through other grants stays."}, Action: "/admin/grants/0193-1/delete", Back: "/admin/grants/0193-1",
		Button: "Take it back", Danger: true, Fields: []Field{{Name: "reason", Label: "Why?", Required: true, Value: "x"}}, Errors: wrong,
	}
}

func sampleGrantForm(kind, scope string) GrantFormView {
	v := GrantFormView{
		Page: grantsPage("Give a right", "grant-new"), Crumbs: []Link{{"Grants", "/admin/grants"}}, Action: "/admin/grants", Self: "/admin/grants/new", Back: "/admin/grants", FormToken: "t0k3n",
		SubjectKind: kind, Role: "viewer", ScopeKind: scope, Lasts: "7d", Reason: "OPS-1412",
		Kinds: []Choice{
			{Value: "everything", Label: "Everything", Selected: scope == "everything"}, {Value: "environment", Label: "An environment"}, {Value: "account", Label: "An account"},
			{Value: "cluster", Label: "One cluster", Selected: scope == "cluster"}, {Value: "labels", Label: "Clusters by label", Selected: scope == "labels"},
		},
		Roles: []Choice{
			{Value: "viewer", Label: "viewer", Hint: "Looks at accounts, clusters, keys and backups, and changes nothing.", Selected: true},
			{Value: "operator", Label: "operator", Hint: "Works on clusters: makes, changes and deletes them, their keys and backups."},
			{Value: "0193", Label: "Search on call", Hint: "Restarts clusters and reads their logs."},
		},
		Places:  []PlaceGroup{{"Search production", []Choice{{Value: "1/c", Label: "search-main", Selected: true}, {Value: "1/d", Label: "search-replay"}}}, {"Staging", []Choice{{Value: "2/e", Label: "search-main"}}}},
		Endings: []Choice{{Value: "", Label: "No end"}, {Value: "1d", Label: "1 day"}, {Value: "7d", Label: "1 week", Selected: true}},
		More:    true,
	}
	if scope == "cluster" {
		v.Scope = "1/c"
	}
	switch kind {
	case "group":
		v.Subject, v.Subjects = "search-team", []Choice{{Value: "search-team"}, {Value: "platform-admins"}}
	case "member":
		v.Subjects = []Choice{{Value: "https://idp.example.test|8f14", Label: "Olga Operator, olga@example.test", Selected: true}}
	}
	return v
}

func sampleWrongGrantForm() GrantFormView {
	v := sampleGrantForm("group", "cluster")
	v.Scope, v.Places = "3/gone", nil
	v.Errors = map[string]string{"": "You may not give what you do not hold.", "form_token": "Too old."}
	for _, f := range grantFields() {
		v.Errors[f] = "This is not right."
	}
	return v
}

func sampleRoles() RolesView {
	row := func(id, name, what string, n, uses int) RoleRow {
		return RoleRow{ID: id, Name: name, Href: "/admin/roles/" + id, Description: what, BuiltIn: true, Permissions: n, Uses: uses, UsesHref: "/admin/grants?role=" + id, CopyHref: "/admin/roles/new?from=" + id}
	}
	own := row("0193", "Search on call", "Restarts clusters and reads their logs.", 14, 3)
	own.BuiltIn, own.WrittenAt, own.WrittenBy = false, before(3*day), "Ada Admin"
	return RolesView{Page: grantsPage("Roles", "roles-index"), MayDo: true, Rows: []RoleRow{
		row("viewer", "viewer", "Looks at accounts, clusters, keys and backups, and changes nothing.", 17, 12), row("operator", "operator", "Works on clusters: makes, changes and deletes them, their keys and backups.", 24, 4),
		row("platform-admin", "platform admin", "Does everything.", 58, 2), own,
	}}
}

func sampleGrid(edit bool, base string) PermissionGrid {
	g := PermissionGrid{Verbs: []string{"read", "write", "delete", "restore"}, Edit: edit, Base: base}
	cell := func(name string, held, inBase bool) PermissionCell {
		return PermissionCell{Name: name, Says: "Allows " + name + ".", Held: held, InBase: inBase}
	}
	for _, r := range []struct{ kind, label string }{{"account", "account at Qdrant Cloud"}, {"api_keys", "API keys"}, {"backups", "backups"}, {"clusters", "clusters"}} {
		row := PermissionRow{Kind: r.label}
		for i, verb := range g.Verbs {
			c := cell(verb+":"+r.kind, i < 2, i < 1 || r.kind == "backups")
			if verb == "restore" && r.kind != "backups" {
				c = PermissionCell{}
			}
			row.Cells = append(row.Cells, c)
		}
		g.Rows = append(g.Rows, row)
	}
	g.Rows = append(g.Rows, PermissionRow{Kind: "payment information", Cells: []PermissionCell{cell("read:payment_information", false, false), {}, {}, {}}})
	for i, name := range []string{"accounts:manage", "audit:export", "audit:read", "grants:manage", "keys:rotate", "logs:read", "members:manage"} {
		c := cell(name, i == 5, i == 2)
		if i == 4 {
			c.Closed = "You do not hold it."
		}
		g.Own = append(g.Own, c)
	}
	return g
}

func sampleRole() RoleView {
	own := sampleRoles().Rows[3]
	return RoleView{
		Page: grantsPage("Search on call", "role-show"), Crumbs: []Link{{"Roles", "/admin/roles"}}, Role: own, Version: 3, Grid: sampleGrid(false, ""),
		Offers:  []Offer{{Label: "Copy", Href: own.CopyHref, Offered: true}, {Label: "Edit", Href: own.Href + "/edit", Offered: true}, {Label: "Remove", Reason: "3 grants give it. Take them back first."}},
		Differs: &RoleDifference{Other: "viewer", OtherHref: "/admin/roles/viewer", Added: []Pair{{"write:clusters", "Make and change clusters"}, {"logs:read", "Read logs"}}, Lacking: []Pair{{"read:api_keys", "See keys"}}},
		Compare: Select{Name: "compare", Label: "Compare with", Choices: []Choice{{Value: "viewer", Label: "viewer", Selected: true}, {Value: "operator", Label: "operator"}}},
		Uses:    sampleGrantRows()[2:4], More: true,
	}
}

func sampleWithheldRole() RoleView {
	v := sampleRole()
	v.Role.Withheld = true
	return v
}

func sampleWithheldRoles() RolesView {
	v := sampleRoles()
	v.Rows = append(v.Rows, sampleWithheldRole().Role)
	return v
}

func sampleBuiltInRole() RoleView {
	v := sampleRole()
	v.Role, v.Uses, v.More, v.Page = sampleRoles().Rows[0], nil, false, grantsPage("viewer", "role-show")
	v.Differs = &RoleDifference{Other: "viewer", OtherHref: "/admin/roles/viewer"}
	v.Offers = []Offer{{Label: "Copy", Href: v.Role.CopyHref, Offered: true}, {Label: "Edit", Reason: "Built-in roles never change. Copy it."}, {Label: "Remove", Reason: "Built-in roles never change. Copy it."}}
	return v
}

func sampleRoleForm(wrong map[string]string) RoleFormView {
	v := RoleFormView{
		Page: grantsPage("New role", "role-new"), Crumbs: []Link{{"Roles", "/admin/roles"}}, Action: "/admin/roles", Button: "Make role", Back: "/admin/roles", FormToken: "t0k3n", From: "viewer", FromName: "viewer",
		Name: "Search on call", Description: "Restarts clusters and reads their logs.", Grid: sampleGrid(true, "viewer"), Errors: wrong,
	}
	if wrong != nil {
		v.Page, v.Version, v.Uses, v.UsesHref, v.Button, v.From, v.Grid.Base = grantsPage("Change Search on call", "role-edit"), "3", 3, "/admin/grants?role=0193", "Save role", "", ""
	}
	return v
}

func sampleHolders() AccessView {
	rows := sampleGrantRows()
	return AccessView{
		Page: grantsPage("Who can touch search-main?", "access-who"), Crumbs: []Link{{"Clusters", "/clusters"}, {"search-main", "/accounts/1/clusters/c"}}, Asked: true,
		Heading: "Who can touch search-main?", Lead: "Everyone whom a grant that counts now reaches here.", GiveHref: "/admin/grants/new?scope_kind=cluster&scope=1/c",
		Holders: []HolderView{
			{Who: rows[0].Who, Grants: rows[:1], Permissions: samplePermissions(), Few: []string{"Looks", "changes clusters", "deletes clusters", "makes keys", "gives rights"}},
			{Who: rows[2].Who, Grants: rows[2:3], Permissions: samplePermissions()},
			{Who: rows[3].Who, Grants: rows[3:5], Permissions: samplePermissions(), Few: []string{"Makes keys"}, Part: true, Blocked: true},
		},
	}
}

func sampleReach() AccessView {
	rows := sampleGrantRows()
	return AccessView{
		Page: grantsPage("What can Olga Operator touch?", "access-what"), Asked: true, Heading: "What can Olga Operator touch?", Who: &rows[3].Who,
		Lead: "olga@example.test, known to https://idp.example.test. Last seen signing in 3 h ago with 4 groups.", GiveHref: "/admin/grants/new",
		Grants: rows[2:5], Reach: []ReachView{{rows[2].Where, samplePermissions()}, {rows[3].Where, samplePermissions()[:2]}},
	}
}

func sampleRefusal() *RefusalView {
	return &RefusalView{
		Missing: []Pair{{"delete:clusters", "Delete clusters, with what they hold."}, {"grants:manage", ""}}, Where: "cluster search-main in Search production",
		Roles: []Pair{{"operator", "Works on clusters: makes, changes and deletes them, their keys and backups."}, {"platform admin", "Does everything."}},
		Held:  samplePermissions(), Ask: []string{"platform-admins", "Ada Admin"},
	}
}
