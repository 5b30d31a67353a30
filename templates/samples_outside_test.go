package templates

import "time"

var outsideTabs = []Tab{{Label: "Log", Href: "/audit"}, {Label: "Changed outside", Href: "/audit/outside", Current: true}}

func sampleOutside() OutsideView {
	v := sampleNoOutside()
	row := func(what string, ago time.Duration, changes ...ChangeView) OutsideRow {
		return OutsideRow{
			Seq: 200 - int64(ago/time.Minute), Href: "/audit/outside/197", What: what, Cluster: "search-main", ClusterHref: "/accounts/1/clusters/c", Account: "Search production",
			NoticedAt: before(ago), Changes: changes,
		}
	}
	v.Rows = []OutsideRow{
		row("changed", 40*time.Second, ChangeView{"nodes", "3", "5"}, ChangeView{"package_id", "7c9f4b60-2222-4333-8444-555555555555", "8d0a5c71-2222-4333-8444-555555555555"}),
		row("changed", 5*time.Minute, ChangeView{"name", "search-main", "search-main-2026"}),
		row("created", time.Hour, ChangeView{"name", "", "tmp-load-test"}, ChangeView{"nodes", "", "1"}, ChangeView{"package_id", "", "7c9f4b60-2222-4333-8444-555555555555"}, ChangeView{"version", "", "v1.17.2"}),
		row("deleted", 3*day, ChangeView{"labels", "env=production, team=a-long-name-of-a-team-that-wraps", ""}, ChangeView{"name", "tmp-load-test", ""}),
	}
	sum := row("more changed", time.Hour, ChangeView{"changes_not_told", "", "3412"}, ChangeView{"of_clusters", "", "orders, checkout-eu, recommendations-canary"})
	sum.Cluster, sum.Reason = "Several clusters", "Since 2026-11-30T12:00:00Z more was changed than the 1000 changes an hour that the log tells one by one."
	v.Rows = append(v.Rows, sum)
	v.Rows = append(v.Rows, row("keys changed", 4*day, ChangeView{"keys_deleted", "nightly reindex (…x8Kq1Z)", ""}, ChangeView{"keys_made", "", "mobile app (…0aTTbw), data science (…Wm2_-q)"}))
	v.Rows[0].Reason = "An act of this console whose outcome is not known was to change nodes as well."
	v.Rows[3].Acknowledged = &AcknowledgedView{By: "Olga Operator", Email: "olga@example.test", Note: "Planned: the load test has ended.", At: before(2 * day), Href: "/audit/events/198"}
	v.Next = "/audit/outside?after=12"
	return v
}

func sampleNoOutside() OutsideView {
	return OutsideView{
		Page: samplePage("Changed outside", "audit-outside", "audit"), Tabs: outsideTabs,
		Account: Select{Name: "account", Label: "Account", Any: "Any", Choices: []Choice{{Value: "1", Label: "Search production"}}},
		State:   Select{Name: "state", Label: "Acknowledged", Any: "Any", Choices: []Choice{{Value: "open", Label: "Not yet"}}},
	}
}

func sampleOutsideMatchesNothing() OutsideView {
	v := sampleNoOutside()
	v.Active, v.Part, v.First = true, true, "/audit/outside"
	return v
}

func sampleOutsideChange() OutsideChangeView {
	return OutsideChangeView{
		Page:   samplePage("search-main was changed outside", "audit-outside-change", "audit"),
		Crumbs: []Link{{"Audit", "/audit"}, {"Changed outside", "/audit/outside"}}, Change: sampleOutside().Rows[0],
		EventHref: "/audit/events/197", HistoryHref: "/accounts/1/clusters/c/history", Action: "/audit/outside/197/acknowledge",
	}
}

func sampleOutsideNoteMissing() OutsideChangeView {
	v := sampleOutsideChange()
	v.Errors = map[string]string{"note": "Say in a few words what it was, or that you know of it."}
	return v
}

func sampleOutsideNotOffered() OutsideChangeView {
	v := sampleOutsideChange()
	v.Action, v.Reason = "", "You need write:clusters on the cluster."
	return v
}

func sampleOutsideAcknowledged() OutsideChangeView {
	v := sampleOutsideChange()
	v.Change, v.Action = sampleOutside().Rows[3], ""
	return v
}
