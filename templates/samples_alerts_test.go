package templates

import (
	"time"

	"github.com/a-h/templ"
)

func alertPages() map[string]templ.Component {
	none := sampleAlerts()
	none.Rows, none.Next, none.Firing, none.Failing, none.Unread = nil, "", 0, 0, 34
	none.Page.Member.Firing, none.OldestAt = 0, time.Time{}
	match := none
	match.Active, match.Text = true, "no such alert"
	noKeys := sampleRadar()
	noKeys.Rows, noKeys.Next, noKeys.Trouble = nil, "", nil
	noMatch := noKeys
	noMatch.Active, noMatch.End = true, "week"
	noMatch.Ends = append([]RadarEnd{}, noKeys.Ends...)
	noMatch.Ends[1].Current = true
	return map[string]templ.Component{
		"alerts": Alerts(sampleAlerts()), "alerts-none": Alerts(none), "alerts-no-match": Alerts(match),
		"radar": KeyRadar(sampleRadar()), "radar-none": KeyRadar(noKeys), "radar-no-match": KeyRadar(noMatch),
	}
}

var attentionTabs = []Tab{{Label: "Alerts", Href: "/alerts", Current: true}, {Label: "Key radar", Href: "/keys"}, {Label: "Backups", Href: "/backups"}}

func sampleAlerts() AlertsView {
	long := "The disk of node 2 is 91 % full. At the present rate it is full in about three days; a larger package or more nodes give it room. without-any-space-in-it-0123456789-0123456789-0123456789-0123456789"
	page := samplePage("Alerts", "alerts-index", "alerts")
	page.Member.Counts, page.Member.Firing = true, FiringCap+1
	row := func(severity, title string, firing bool, ago time.Duration) AlertRow {
		r := AlertRow{
			Severity: severity, Firing: firing, State: pick(firing, "FIRING", "RESOLVED"), Title: title, Cluster: "search-main", ClusterHref: "/accounts/1/clusters/c", ClusterID: "c",
			Account: "Search production", AccountHref: "/accounts/1", Environment: "production", Since: before(ago), ReadAt: before(40 * time.Second),
		}
		if !firing {
			r.LastFiringAt = before(ago + 3*time.Minute)
		}
		return r
	}
	v := AlertsView{
		Page: page, Tabs: attentionTabs, Self: "/alerts", Firing: 4, Resolved: CountCap + 1, Clusters: 134, Unread: 1, Failing: 2, OldestAt: before(7 * time.Minute), Next: "/alerts?after=x",
		Selects: []Select{
			{Name: "state", Label: "State", Any: "Any", Choices: []Choice{{Value: "FIRING", Label: "Firing"}, {Value: "RESOLVED", Label: "Resolved"}}},
			{Name: "severity", Label: "Severity", Any: "Any", Choices: []Choice{{Value: "CRITICAL", Label: "Critical"}, {Value: "WARNING", Label: "Warning"}, {Value: "INFO", Label: "Info"}}},
			{Name: "account", Label: "Account", Any: "Any", Choices: []Choice{{Value: "1", Label: "Search production"}}},
		},
		Rows: []AlertRow{
			row("CRITICAL", "Cluster is unhealthy", true, 4*time.Minute), row("WARNING", "Disk is over-utilised", true, 3*time.Hour), row("INFO", "", true, 9*day),
			row("", "Something new", true, time.Minute), row("WARNING", "API key is about to expire", false, 2*time.Hour),
		},
	}
	v.Rows[1].Description, v.Rows[1].Failed = long, true
	v.Rows[1].Cluster = "this-is-a-cluster-name-as-long-as-the-cloud-api-ever-allows-64ch"
	v.Rows[2].Type, v.Rows[2].AccountHref, v.Rows[2].Environment = "CLUSTER_VERSION_IS_NOT_COVERED_BY_SLA", "", "staging"
	return v
}

func sampleRadar() RadarView {
	page := samplePage("Key radar", "keys-index", "alerts")
	page.Member.Counts, page.Member.Firing = true, 3
	row := func(name, mark string, ends time.Duration) RadarRow {
		r := RadarRow{
			ID: "7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa", Name: name, Mark: mark, Opens: []Link{{"search-main", "/accounts/1/clusters/c/keys"}}, Access: []string{"manage everything"},
			Creator: "Olga Operator", Here: true, CreatedAt: before(80 * day), Account: "Search production", AccountHref: "/accounts/1", Environment: "production", ReadAt: before(40 * time.Second),
		}
		if ends != 0 {
			r.ExpiresAt = sampleNow.Add(ends)
		}
		return r
	}
	v := RadarView{
		Page: page, Tabs: []Tab{{Label: "Alerts", Href: "/alerts"}, {Label: "Key radar", Href: "/keys", Current: true}, {Label: "Backups", Href: "/backups"}}, Self: "/keys", OldestAt: before(2 * time.Minute), Next: "/keys?after=x",
		Account: Select{Name: "account", Label: "Account", Any: "Any", Choices: []Choice{{Value: "1", Label: "Search production"}}},
		Trouble: []RadarTrouble{{Name: "Recommendations", Href: "/accounts/2", Error: "The account's key lacks read:api_keys."}, {Name: "Legacy vectors", OKAt: before(3 * time.Hour)}},
		Rows: []RadarRow{
			row("nightly reindex", "x8Kq1Z", -9*day), row("mobile app", "0aTTbw", 20*time.Hour), row("data science", "Wm2_-q", 5*day), row("support widget", "ab12cd", 24*day),
			row("web frontend", "9f9f9f", 62*day), row("ingest pipeline", "zzzzzz", 0), row("", "qd_admin", 0),
		},
	}
	for i, label := range []string{"Expired", "In 7 days", "In 30 days", "Later", "Never"} {
		v.Ends = append(v.Ends, RadarEnd{Label: label, Href: "/keys?end=x", Keys: i * 700, Tone: RadarTones([]string{"expired", "week", "month", "later", "never"}[i])})
	}
	v.Rows[2].Access, v.Rows[2].Creator, v.Rows[2].Here = []string{"events=read", "features_v2=read-write", "a_collection_with_a_name_as_long_as_a_name_of_a_collection_may_be_which_is_long=read-write"}, "", false
	v.Rows[3].Creator, v.Rows[3].Here, v.Rows[3].Stale = "henrik.solberg@northwind-retail.example.test", false, true
	v.Rows[4].Missing = true
	v.Rows[6].Admin, v.Rows[6].Hidden = true, 2
	v.Rows[6].Opens = append(v.Rows[6].Opens, Link{"search-replica-eu", "/accounts/1/clusters/d/keys"})
	v.Rows[5].AccountHref = ""
	return v
}
