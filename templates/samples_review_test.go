package templates

import (
	"time"

	"github.com/a-h/templ"
)

// reviewPages are the pages of an access review: under way, none, past, wrong, empty.
func reviewPages() map[string]templ.Component {
	review := sampleReviewView()
	none := sampleReviewView()
	none.Open, none.Rows, none.Total, none.Narrowed, none.Next, none.Last = nil, nil, 0, true, "", nil
	past := sampleReviewView()
	past.Past, past.Open, past.Moment, past.At = true, nil, before(40*day), "2026-10-14"
	past.Config = []ReviewConfigView{{At: before(12 * day), Names: "QM_ADMIN_GROUPS, QM_VIEWER_GROUPS"}}
	stale := sampleReviewView()
	stale.Page.StepUp = &StepUp{Href: "/login?step_up=1&return_to=%2Fadmin%2Freview", After: "10 minutes"}
	stale.Page.ReviewDue, stale.Last.Overdue = before(3*day), true
	reader := sampleReviewView()
	reader.MayDecide, reader.WhyNot, reader.AtError, reader.At = false, "You need grants:manage on everything.", "Give a day as in 2027-01-31, or a day with a time as in 2027-01-31T14:30.", "yesterday"
	reader.Problem = "Choose at least one line."
	crumbs := []Link{{"Access review", "/admin/review"}}
	revoke := ReviewRevokeView{
		Page: samplePage("Revoke this grant?", "review-revoke", "admin"), Crumbs: crumbs, Row: sampleReviewRows()[2], Action: "/admin/review/lines/g2/revoke", Back: "/admin/review",
		Keys: &Link{"Keys that Vera Viewer may have", "/admin/members/1/keys"},
	}
	wrong := revoke
	wrong.Row.Own, wrong.Reason, wrong.Errors = true, "…", map[string]string{"reason": "At most 400 characters."}
	sign := ReviewSignView{
		Page: samplePage("Sign off the access review", "review-sign", "admin"), Crumbs: crumbs, Lines: 412, Own: 1, Due: "2027-02-21", Back: "/admin/review",
		Open: ReviewOpenView{StartedAt: before(2 * day), StartedBy: "Olga Operator", Kept: 412, Revoked: 17},
	}
	undecided := sign
	undecided.Open.Undecided, undecided.Open.Kept, undecided.Undecided = 3, 409, "/admin/review?undecided=on"
	signWrong := sign
	signWrong.Errors = map[string]string{"note": "At most 400 characters.", "due_on": "Give a day after today, within two years."}
	signed := SignedView{Page: samplePage("Reviews that were signed off", "review-signed", "admin"), Tabs: sampleReviewTabs(2), Rows: []SignedRow{*sampleSigned(), *sampleSigned()}}
	noneSigned := signed
	noneSigned.Rows = nil
	people := ReviewMembersView{
		Page: samplePage("Members in the review", "review-members", "admin"), Tabs: sampleReviewTabs(1), Total: 1000, All: 1204, Next: "/admin/review/members?after=x", Clear: "/admin/review/members",
		Rows: []ReviewPersonRow{
			{Name: "Vera Viewer", Email: "vera@example.test", Subject: "vera", Href: "/admin/review/members/1", Groups: []string{"viewers", "search-team"}, MoreGroups: 9998, Roles: []string{"operator", "viewer"}, Lines: 3, LastSignIn: before(3 * time.Hour)},
			{Name: "Bo Blocked", Subject: "a-subject-without-any-space-0123456789-0123456789-0123456789", Href: "/admin/review/members/2", Blocked: true, LastSignIn: before(40 * day)},
		},
	}
	nobody := people
	nobody.Rows, nobody.Total, nobody.Text, nobody.Next = nil, 0, "no-such", ""
	rights := ReviewRightsView{
		Page: samplePage("Vera Viewer", "review-rights", "admin"), Crumbs: crumbs, Heading: "Vera Viewer", Lead: "What follows from their own grants and from those of their groups, in each account and cluster.",
		Action: "/admin/review/members/1", OfOne: true, Groups: []string{"viewers", "search-team"}, Rows: sampleReviewRows()[:3], More: 4,
		Places: []ReviewPlaceRow{
			{Where: "This console", Permissions: sampleReviewPermissions()},
			{Where: "Account Search production", WhereHref: "/admin/review/accounts/1", Permissions: sampleReviewPermissions()},
			{Where: "Account Search production, clusters labelled team=search", WhereHref: "/admin/review/accounts/1", Permissions: sampleReviewPermissions()[:1]},
		},
	}
	account := rights
	account.OfOne, account.Heading, account.Past, account.Moment = false, "Search production", true, before(40*day)
	account.Places = []ReviewPlaceRow{{Who: "Vera Viewer", WhoHref: "/admin/review/members/1", Where: "Account Search production", Permissions: sampleReviewPermissions()}}
	nothing := rights
	nothing.Places, nothing.Rows, nothing.Groups, nothing.More = nil, nil, nil, 0
	return map[string]templ.Component{
		"review": Review(review), "review-none": Review(none), "review-past": Review(past), "review-stale": Review(stale), "review-reader": Review(reader),
		"review-revoke": ReviewRevoke(revoke), "review-revoke-wrong": ReviewRevoke(wrong), "review-sign": ReviewSign(sign), "review-sign-undecided": ReviewSign(undecided),
		"review-sign-wrong": ReviewSign(signWrong), "review-signed": SignedReviews(signed), "review-none-signed": SignedReviews(noneSigned),
		"review-members": ReviewMembers(people), "review-members-none": ReviewMembers(nobody), "review-member": ReviewRights(rights), "review-account": ReviewRights(account),
		"review-nothing": ReviewRights(nothing), "review-signed-one": SignedReview(sampleSignedReview(true)), "review-signed-other": SignedReview(sampleSignedReview(false)),
	}
}

func sampleReviewTabs(current int) []Tab {
	tabs := []Tab{{Label: "Grants", Href: "/admin/review"}, {Label: "Members", Href: "/admin/review/members"}, {Label: "Signed off", Href: "/admin/review/signed"}}
	tabs[current].Current = true
	return tabs
}

func sampleReviewPermissions() []PermissionGroup {
	return []PermissionGroup{{Kind: "Clusters", Verbs: []string{"read", "write", "delete"}}, {Kind: "API keys", Verbs: []string{"read"}}}
}

func sampleSigned() *SignedRow {
	return &SignedRow{
		Seq: "8412", Href: "/audit/events/8412", StartedAt: before(95 * day), AsOf: before(93 * day), SignedAt: before(93 * day), StartedBy: "Olga Operator", SignedBy: "Ada Admin",
		Note: "Quarterly review; ticket SEC-2201.", DueOn: before(3 * day), Lines: 398, Kept: 398, Revoked: 21, Own: 1, AsOfHref: "/admin/review?at=2026-08-22", Page: "/admin/review/signed/1",
	}
}

func sampleReviewRows() []ReviewRow {
	soon, used := sampleNow.Add(6*day), before(3*time.Hour)
	return []ReviewRow{
		{Key: "configured-1", Token: "configured-1.aa", Kind: "group", Name: "platform-admins", Members: []Link{{"Ada Admin", "/admin/review/members/3"}, {"Olga Operator", "/admin/review/members/4"}}, More: 3, Role: "platform admin", Permissions: sampleReviewPermissions(), Where: "everything", Source: "QM_ADMIN_GROUPS", LastUse: &used, Own: true, Decided: &ReviewDecidedView{At: before(time.Hour), By: "Grace Auditor", Note: "Checked with the team lead.", Own: true}},
		{Key: "g1", Token: "g1.bb", Kind: "group", Name: "search-team", None: "nobody who has signed in", Role: "operator", Permissions: sampleReviewPermissions(), Where: "environment staging", GrantedBy: "Olga Operator", Reason: "The team runs its staging clusters itself.", Since: before(200 * day), Revoke: "/admin/review/lines/g1/revoke", Changed: "Somebody has come into the group since it was kept."},
		{Key: "g2", Token: "g2.cc", Kind: "member", Name: "Vera Viewer", Href: "/admin/review/members/1", Role: "key manager", Permissions: sampleReviewPermissions(), Where: "cluster catalogue-embeddings-europe of account Search production", GrantedBy: "Olga Operator", Reason: "On call this week.", Since: before(day), ExpiresAt: &soon, LastUse: &used, Revoke: "/admin/review/lines/g2/revoke"},
		{Key: "g3", Token: "g3.dd", Kind: "address", Name: "later-with-a-long-address-that-goes-on-and-on@example.test", Pending: true, Role: "a role that was deleted", Where: "clusters labelled team=search,tier in (gold,silver)", GrantedBy: "Ada Admin", Reason: "Starts in December.", Since: before(9 * day), Revoke: "/admin/review/lines/g3/revoke", Decided: &ReviewDecidedView{At: before(time.Hour), By: "Grace Auditor"}},
	}
}

func sampleReviewView() ReviewView {
	return ReviewView{
		Page: samplePage("Access review", "review-index", "admin"), Tabs: sampleReviewTabs(0), Rows: sampleReviewRows(), Total: 412, All: 412, Members: 1204, Next: "/admin/review?after=x",
		Self: "/admin/review", Clear: "/admin/review", Chosen: []string{"g1.bb"}, MayDecide: true, Moment: sampleNow,
		Gone:    sampleDecided()[1:2],
		Open:    &ReviewOpenView{StartedAt: before(2 * day), StartedBy: "Olga Operator", Undecided: 210, Kept: 202, Revoked: 4},
		Last:    sampleSigned(),
		Account: Select{Name: "account", Label: "Account", Any: "Any", Choices: []Choice{{Value: "1", Label: "Search production"}}},
		Role:    Select{Name: "role", Label: "Role", Any: "Any", Choices: []Choice{{Value: "operator", Label: "operator"}}},
		Offers:  []Offer{{Label: "Export as CSV", Href: "/admin/review/export?format=csv", Offered: true}, {Label: "Export as JSON", Href: "/admin/review/export?format=json", Offered: true}},
	}
}

func sampleDecided() []DecidedRow {
	return []DecidedRow{
		{Key: "configured-1", Kind: "group", Name: "platform-admins", Role: "platform admin", Where: "everything", At: before(93 * day), By: "Grace Auditor", Note: "Checked with the team lead.", Own: true},
		{Key: "g4", Kind: "member", Name: "Vera Viewer", Href: "/admin/review/members/1", Role: "operator", Where: "cluster catalogue-embeddings-europe of account Search production", Revoked: true, At: before(93 * day), By: "Ada Admin", Note: "Moved to another team."},
		{Key: "configured-2", Gives: "viewer for group everyone on everything", At: before(93 * day), By: "Ada Admin"},
	}
}

func sampleSignedReview(whole bool) SignedReviewView {
	v := SignedReviewView{
		Page: samplePage("Access review of 2026-08-20", "review-signed-one", "admin"), Crumbs: []Link{{"Access review", "/admin/review"}, {"Signed off", "/admin/review/signed"}},
		Row: *sampleSigned(), Rows: sampleDecided(), Whole: whole, Offers: []Offer{{Label: "Export as CSV", Href: "/admin/review/signed/1/export", Offered: true}},
	}
	if !whole {
		v.Offers = []Offer{{Label: "Export as CSV", Reason: "You need audit:export on everything."}}
	}
	return v
}
