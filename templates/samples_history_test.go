package templates

import "time"

var historyTabs = []Tab{{Label: "Overview", Href: "/accounts/1/clusters/c"}, {Label: "Keys", Href: "/accounts/1/clusters/c/keys"}, {Label: "Backups", Href: "/accounts/1/clusters/c/backups"}, {Label: "History", Href: "/accounts/1/clusters/c/history", Current: true}}

func sampleHistory() HistoryView {
	v := sampleNoHistory()
	row := func(act, outcome, by string, ago time.Duration, changes ...ChangeView) HistoryRow {
		return HistoryRow{Act: act, Outcome: outcome, By: by, Email: "olga@example.test", Via: "browser", At: before(ago), Changes: changes}
	}
	v.Rows = []HistoryRow{
		row("cluster.restart", "pending", "Olga Operator", 20*time.Second, ChangeView{"phase", "HEALTHY", "RESTARTING"}),
		row("key.create", "ok", "Olga Operator", time.Hour, ChangeView{"name", "", "ingest"}, ChangeView{"access", "", "reads and writes the collections products, products-2026-with-a-long-name"}, ChangeView{"expires_at", "", "2027-02-21T09:00:00Z"}, ChangeView{"postfix", "", "7Hq2Lw"}),
		row("cluster.update", "failed", "Max Manager", 5*time.Hour, ChangeView{"version", "v1.15.4", "v1.16.0"}),
		row("admin_key.create", "unknown", "Olga Operator", day, ChangeView{"cluster_ids", "", "search-main, 2 more"}),
		row("cluster.changed_outside", "ok", "refresh", 3*day, ChangeView{"nodes", "3", "5"}),
		row("cluster.create", "ok", "Olga Operator", 40*day),
	}
	v.Rows[1].Key, v.Rows[1].Href = "ingest", "/audit/events/190"
	v.Rows[2].Reason = "Qdrant Cloud refuses the version: it cannot be had any more."
	v.Rows[3].Key, v.Rows[3].Inferred = "0-pbrvzv…", true
	v.Rows[4].Email, v.Rows[4].Via = "", "job"
	v.Next = "/accounts/1/clusters/c/history?after=x"
	v.Untold = &UntoldView{Changes: 312, FirstAt: before(3 * day), LastAt: before(2 * time.Hour)}
	return v
}

func sampleNoHistory() HistoryView {
	return HistoryView{
		Page: samplePage("History of search-main", "cluster-history", "clusters"), Cluster: "search-main", Tabs: historyTabs,
		Crumbs: []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}, {"search-main", "/accounts/1/clusters/c"}},
	}
}

func sampleHistoryEnd() HistoryView {
	v := sampleNoHistory()
	v.Gone, v.Legacy, v.First = true, true, "/accounts/1/clusters/c/history"
	return v
}

func samplePartOfAudit() AuditView {
	v := sampleAudit()
	v.Part, v.Warnings, v.Rows = true, nil, v.Rows[:4]
	return v
}

func samplePartOfEvent() EventView {
	v := sampleEvent()
	v.Part, v.Check = true, nil
	return v
}

// sampleClusterOnly is the page of a cluster for somebody who may see this cluster, and not its account.
func sampleClusterOnly() ClusterView {
	v := sampleCluster()
	v.AccountHref, v.Crumbs = "", []Link{{"Clusters", "/clusters"}, {"Search production", ""}}
	return v
}

func sampleFleetOfOneCluster() FleetView {
	rows, strip := sampleRows()[:1], sampleStrip()[:1]
	rows[0].AccountHref, strip[0].Href = "", ""
	return sampleFleet(rows, strip)
}
