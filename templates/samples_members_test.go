package templates

import (
	"time"

	"github.com/a-h/templ"
)

// memberPages are the pages about members: full, empty, blocked and wrong.
func memberPages() map[string]templ.Component {
	list := MembersView{Page: samplePage("Members", "members-index", "admin"), State: sampleMemberStates(), Rows: sampleMemberRows(), Total: 1204, All: 1204, Next: "/admin/members?after=7b1e9a110d7f4a1c"}
	none := list
	none.Rows, none.Total, none.Text, none.Next = nil, 0, "no-such-member", ""
	member := sampleMember()
	blocked := sampleMember()
	blocked.Row = sampleMemberRows()[2]
	blocked.Page.Title = blocked.Row.Name
	blocked.Sessions, blocked.Offers = nil, []Offer{{Label: "Unblock", Href: "/admin/members/3/unblock", Offered: true}}
	blocked.Holds = blocked.Holds[:1]
	withheld := blocked
	withheld.Row.Block = BlockView{Withheld: true}
	nobody := sampleMember()
	nobody.Row = sampleMemberRows()[3]
	nobody.Groups, nobody.GroupCount, nobody.Holds, nobody.Sessions, nobody.Events = nil, 0, nil, nil, nil
	self := sampleMember()
	self.Offers = []Offer{{Label: "Block", Danger: true, Reason: "You cannot block yourself. Another administrator can."}}
	self.Row.Self = true
	act := MemberActView{
		Page: samplePage("Block Vera Viewer", "member-block", "admin"), Crumbs: []Link{{"Members", "/admin/members"}, {"Vera Viewer", "/admin/members/1"}},
		Lead:    "Vera Viewer is kept out of this console until somebody unblocks them.",
		Points:  []string{"Their 2 sessions end at once, with the next request each makes.", "They cannot sign in, whatever their identity provider says of them."},
		Warning: "3 keys that they made or pasted here may go on working at Qdrant Cloud. The next page lists them, to be rotated or deleted.",
		Action:  "/admin/members/1/block", Button: "Block member", Danger: true, Back: "/admin/members/1", Needed: true, Confirm: "vera@example.test",
	}
	wrong := act
	wrong.Typed = "vera"
	wrong.Errors = map[string]string{"reason": "Say why, for whoever reads it in the log later.", "confirm": "This is not the member’s e-mail address or name, as it is written above."}
	unblock := MemberActView{
		Page: samplePage("Unblock Bo Blocked", "member-unblock", "admin"), Crumbs: act.Crumbs, Lead: "Bo Blocked may sign in again.",
		Points: []string{"What they may do then follows from their groups at that sign-in, and from the grants that they hold."},
		Action: "/admin/members/3/unblock", Button: "Unblock member", Back: "/admin/members/3",
	}
	keys := MemberKeysView{
		Page: samplePage("Keys that Bo Blocked may have", "member-keys", "admin"), Crumbs: act.Crumbs[:1], Tabs: sampleMemberTabs(1), Row: sampleMemberRows()[2],
		Open: sampleSeenKeys()[:4], Closed: sampleSeenKeys()[4:], Hidden: 2, More: true,
	}
	noKeys := keys
	noKeys.Row, noKeys.Open, noKeys.Closed, noKeys.Hidden, noKeys.More = sampleMemberRows()[0], nil, nil, 0, false
	glass := list
	glass.BreakGlass = sampleBreakGlass()
	ofGroup := list
	ofGroup.Group, ofGroup.GroupIssuer = "cn=search,ou=groups,ou=a-rather-long-organisational-unit,dc=example,dc=test", "https://login.example.test"
	use := BreakGlassUseView{
		Page: samplePage("Break-glass link of root@console-1", "break-glass-use", "admin"), Crumbs: act.Crumbs[:1], Row: sampleBreakGlass()[0], Stand: 2, Others: 3, LogHref: "/audit?member=x",
		Left: []BreakGlassLeftRow{
			{What: "Blocked", Name: "Vera Viewer", Href: "/admin/members/1", At: before(time.Minute), LogHref: "/audit/events/9", Stands: true, Now: "blocked", Undo: Link{"Unblock", "/admin/members/1/unblock"}},
			{What: "Gave", Name: "operator for group night on account Search production", Href: "/admin/grants/1", At: before(2 * time.Minute), Stands: true, Now: "in force", Undo: Link{"Take it back", "/admin/grants/1/delete"}},
			{What: "Made the role", Name: "night watch", At: before(3 * time.Minute), Now: "removed since"},
		},
	}
	unused := use
	unused.Row, unused.Left, unused.Stand, unused.Others, unused.LogHref = sampleBreakGlass()[1], nil, 0, 0, ""
	return map[string]templ.Component{
		"members-break-glass": Members(glass), "members-of-group": Members(ofGroup), "break-glass-use": BreakGlassUse(use), "break-glass-unused": BreakGlassUse(unused),
		"members": Members(list), "members-none": Members(none), "member": MemberPage(member), "member-blocked": MemberPage(blocked), "member-nothing": MemberPage(nobody),
		"member-self": MemberPage(self), "member-block": MemberAct(act), "member-block-wrong": MemberAct(wrong), "member-unblock": MemberAct(unblock),
		"member-keys": MemberKeys(keys), "member-no-keys": MemberKeys(noKeys), "member-withheld": MemberPage(withheld),
	}
}

func sampleBreakGlass() []BreakGlassRow {
	row := BreakGlassRow{
		Href: "/admin/break-glass/1", User: "root", Host: "console-1.prod.example.test", Reason: "The provider is down since 09:10, ticket 4711.", PrintedAt: before(9 * time.Minute), UsableUntil: before(-time.Minute),
		UsedAt: beforePtr(8 * time.Minute), State: "live", Until: beforePtr(-52 * time.Minute), IP: "192.0.2.7", Browser: "Firefox on Linux", LastSeen: beforePtr(time.Minute), End: "/break-glass/1/end",
	}
	usable := BreakGlassRow{Href: "/admin/break-glass/2", User: "deploy", Host: "console-2", Reason: "Kept ready.", PrintedAt: before(time.Minute), UsableUntil: before(-9 * time.Minute), State: "usable"}
	ended := BreakGlassRow{Href: "/admin/break-glass/3", User: "root", Reason: "Drill", PrintedAt: before(9 * day), UsableUntil: before(9 * day), UsedAt: beforePtr(9 * day), State: "ended", Until: beforePtr(9 * day)}
	unused := BreakGlassRow{Href: "/admin/break-glass/4", User: "root", Host: "console-1", Reason: "Drill", PrintedAt: before(40 * day), UsableUntil: before(40 * day), State: "unused"}
	return []BreakGlassRow{row, usable, ended, unused}
}

func sampleMemberStates() Select {
	return Select{Name: "state", Label: "State", Any: "Any", Choices: []Choice{{Value: "signed-in", Label: "Signed in now"}, {Value: "active", Label: "Signed in within 30 days"}, {Value: "quiet", Label: "Not for 30 days"}, {Value: "blocked", Label: "Blocked", Selected: true}}}
}

func sampleMemberTabs(current int) []Tab {
	tabs := []Tab{{Label: "Access and sessions", Href: "/admin/members/1"}, {Label: "Keys they may have", Href: "/admin/members/1/keys"}}
	tabs[current].Current = true
	return tabs
}

func sampleMemberRows() []MemberRow {
	return []MemberRow{
		{ID: "1", Href: "/admin/members/1", Name: "Vera Viewer", Email: "vera@example.test", EmailVerified: true, Subject: "8f14e45f-vera", Groups: []string{"viewers", "search-team", "everyone"}, MoreGroups: 9997, FirstSeen: before(400 * day), LastSeen: before(3 * time.Minute), Sessions: 2, Roles: []string{"viewer", "operator in 2 places"}},
		{ID: "2", Href: "/admin/members/2", Name: "Olga Operator", Email: "olga@example.test", EmailVerified: true, Subject: "olga", Groups: []string{"platform-admins"}, FirstSeen: before(20 * day), LastSeen: before(time.Minute), Sessions: 1, Roles: []string{"platform admin"}, Self: true},
		{ID: "3", Href: "/admin/members/3", Name: "Bo Blocked", Email: "bo@example.test", Subject: "bo", Groups: []string{"operators"}, FirstSeen: before(90 * day), LastSeen: before(31 * day), Roles: []string{"operator"}, Blocked: true, Block: BlockView{Since: before(2 * day), By: "Olga Operator", Reason: "Left the team on Friday; ticket SEC-1042."}},
		{ID: "4", Href: "/admin/members/4", Name: "a-subject-that-is-long-and-has-no-space-" + "x0123456789x0123456789x0123456789x0123456789", Subject: "a-subject-that-is-long-and-has-no-space-x0123456789x0123456789x0123456789", FirstSeen: before(3 * time.Hour), LastSeen: before(3 * time.Hour)},
		{ID: "5", Href: "/admin/members/5", Name: "Fay Forged", Email: "fay@example.test", EmailVerified: true, Subject: "fay", Groups: []string{"viewers"}, FirstSeen: before(9 * day), LastSeen: before(8 * day), Roles: []string{"viewer"}, Blocked: true, Block: BlockView{Unverified: true}},
	}
}

func sampleMember() MemberView {
	until := sampleNow.Add(6 * day)
	return MemberView{
		Page: samplePage("Vera Viewer", "member-show", "admin"), Crumbs: []Link{{"Members", "/admin/members"}}, Tabs: sampleMemberTabs(0), Row: sampleMemberRows()[0],
		Issuer: "https://login.example.test/realms/company", Groups: []string{"viewers", "search-team", "everyone"}, GroupCount: 10_000, GroupClaim: "groups",
		Offers: []Offer{{Label: "Block", Href: "/admin/members/1/block", Danger: true, Offered: true}}, MayEnd: true,
		Holds: []HeldView{
			{Role: "viewer", RoleHref: "/admin/roles/viewer", Grant: Link{"Its row in the grants", "/admin/grants?role=viewer"}, Where: "Everything", Source: "from configuration, QM_VIEWER_GROUPS", Via: "viewers"},
			{Role: "operator", Where: "Environment", Scope: "staging", Source: "granted by Olga Operator", Via: "search-team"},
			{Role: "key manager", Where: "Cluster", Scope: "Search production / catalogue-embeddings-europe", Source: "granted by Olga Operator", ExpiresAt: &until},
			{Role: "operator", Where: "Clusters with", Scope: "team=search, tier in (gold,silver)", Source: "granted by Olga Operator", Via: "search-team"},
		},
		Sessions: []SessionRow{
			{ID: "s1", Browser: "Firefox on Linux", UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", IP: "192.0.2.7", CreatedAt: before(2 * time.Hour), LastSeenAt: before(3 * time.Minute), ExpiresAt: before(-10 * time.Hour)},
			{ID: "s2", Browser: "Safari on iPhone", UserAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/605.1", IP: "2001:db8:85a3::8a2e:370:7334", CreatedAt: before(5 * time.Hour), LastSeenAt: before(20 * time.Minute), ExpiresAt: before(-7 * time.Hour)},
		},
		MoreSession: 3,
		Events: []MemberEventView{
			{Seq: "8812", Href: "/audit/events/8812", At: before(2 * time.Hour), What: "Signed in", Status: "ok", IP: "192.0.2.7", Browser: "Firefox on Linux", UserAgent: "Mozilla/5.0"},
			{Seq: "8790", Href: "/audit/events/8790", At: before(30 * time.Hour), What: "Sessions ended", Status: "ok", By: "Olga Operator", IP: "192.0.2.9", Browser: "Chrome on Windows"},
			{Seq: "8711", At: before(40 * time.Hour), What: "Sign-in", Status: "denied", Reason: "The member is blocked.", IP: "192.0.2.7", Browser: "Firefox on Linux"},
		},
	}
}

func sampleSeenKeys() []SeenKeyView {
	soon, ended := sampleNow.Add(20*day), before(3*day)
	cluster := "/accounts/1/clusters/c1/keys"
	return []SeenKeyView{
		{ID: "k1", Name: "ingest pipeline", Kind: "Database key", Account: "Search production", AccountHref: "/accounts/1", Cluster: "catalogue", ClusterHref: cluster, Got: "made by them", At: before(10 * day), State: "there", EndsAt: &soon, Links: []Link{{"Rotate", cluster + "/k1/rotate"}, {"Delete", cluster + "/k1/delete"}}},
		{ID: "m1", Name: "a1b2c3d4…", Kind: "Management key", Account: "Search production", AccountHref: "/accounts/1", Got: "pasted by them", At: before(80 * day), State: "there", InUse: true, Links: []Link{{"Replace", "/accounts/1/key"}}},
		{ID: "m0", Name: "z9y8x7w6…", Kind: "Management key", Account: "Search production", AccountHref: "/accounts/1", Got: "pasted by them", At: before(100 * day), State: "retired", Links: []Link{{"Delete", "/accounts/1/key/old/m0/delete"}}},
		{ID: "m2", Name: "q5q5q5q5…", Kind: "Management key", Account: "An account that was removed", Got: "pasted by them", At: before(200 * day), State: "unknown"},
		{ID: "k2", Name: "evaluation-with-a-name-that-goes-on-and-on-and-on", Kind: "Database key", Account: "Search production", AccountHref: "/accounts/1", Cluster: "catalogue", ClusterHref: cluster, Got: "made by them in a rotation", At: before(20 * day), State: "deleted", ClosedAt: &ended, ClosedBy: "Olga Operator"},
		{ID: "k3", Name: "demo", Kind: "Database key", Account: "Search production", AccountHref: "/accounts/1", Cluster: "demo", Got: "made by them", At: before(30 * day), State: "ended", EndsAt: &ended},
		{ID: "k4", Name: "eyJhbGci…", Kind: "Admin key", Account: "Legacy vectors", AccountHref: "/accounts/3", Cluster: "reports", Got: "made by them", At: before(40 * day), State: "lost"},
		{ID: "k5", Name: "lost answer", Kind: "Database key", Account: "Search production", AccountHref: "/accounts/1", Cluster: "catalogue", ClusterHref: cluster, Got: "made by them", At: before(50 * day), State: "unseen"},
	}
}
