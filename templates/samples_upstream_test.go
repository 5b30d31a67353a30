package templates

import (
	"time"

	"github.com/a-h/templ"
)

func upstreamPages() map[string]templ.Component {
	v := UpstreamView{Page: grantsPage("Upstream", "upstream-index"), Rows: sampleUpstreamRows(), Total: 6, All: 6}
	v.Page.Member.Admin = append(v.Page.Member.Admin, Link{"Upstream", "/admin/upstream"})
	many := v
	many.Shown, many.Text, many.Total, many.All, many.Next = true, "search", 140, 1200, "/admin/upstream?after=x&q=search"
	many.State = Select{Name: "state", Label: "State", Any: "Any", Choices: []Choice{{Value: "trouble", Label: "Needs a look", Selected: true}}}
	none := many
	none.Rows, none.Total, none.Next = nil, 0, ""
	first := UpstreamView{Page: v.Page}
	scoped := v
	scoped.Page = samplePage("Upstream", "upstream-index", "admin")
	scoped.Page.Member.Admin = nil
	scoped.Rows, scoped.Total, scoped.All = v.Rows[:1], 1, 1
	return map[string]templ.Component{
		"upstream": Upstream(v), "upstream-many": Upstream(many), "upstream-no-match": Upstream(none), "upstream-none": Upstream(first), "upstream-scoped": Upstream(scoped),
	}
}

func sampleUpstreamRows() []UpstreamRow {
	long := "a gateway said: <html> upstream connect error or disconnect/reset before headers. reset reason: connection-termination-without-any-space-in-it-" + "x0123456789x0123456789x0123456789x0123456789"
	rows := []UpstreamRow{
		{ID: "1", Name: "Search production", Href: "/accounts/1", Enabled: true, OKAt: beforePtr(12 * time.Second), Called: true, Breaker: "closed", LastMinute: 14, MostAMinute: 300, Requests: 12345, Failed: 3, AnsweredAt: before(12 * time.Second), UnderWay: 1},
		{ID: "2", Name: "Recommendations", Href: "/accounts/2", Enabled: true, OKAt: beforePtr(9 * time.Minute), Stale: true, Error: "Qdrant Cloud did not answer in time.", Called: true, Breaker: "open", RetryAt: before(-40 * time.Second), InARow: 7, LastMinute: 3, MostAMinute: 300, Requests: 410, Failed: 31, AnsweredAt: before(9 * time.Minute),
			Recent: []UpstreamFailure{
				{At: before(20 * time.Second), Op: "ListClusters", Kind: "unavailable", Words: "Qdrant Cloud did not answer in time."},
				{At: before(80 * time.Second), Op: "GetCluster", Kind: "unavailable", Status: 503, Words: long, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
				{At: before(90 * time.Second), Op: "ListClusters", Kind: "rate_limited", Status: 429, Words: "Qdrant Cloud asks to slow down."},
			}},
		{ID: "3", Name: "Legacy vectors", Href: "/accounts/3", Legacy: true, Enabled: true, OKAt: beforePtr(3 * time.Hour), Stale: true, Called: true, Breaker: "half_open", InARow: 5, Requests: 77, Failed: 15, AnsweredAt: before(3 * time.Hour),
			Recent: []UpstreamFailure{{At: before(4 * time.Minute), Op: "list_clusters", Kind: "unavailable", Status: 500, Words: "Qdrant Cloud cannot be reached or is failing."}}},
		{ID: "4", Name: "Refused", Href: "/accounts/4", Enabled: true, KeyRefused: "The key was revoked.", Called: true, Breaker: "closed", Requests: 9, LastMinute: 1, MostAMinute: 300, AnsweredAt: before(time.Minute),
			Recent: []UpstreamFailure{{At: before(time.Minute), Op: "ListClusters", Kind: "unauthenticated", Status: 401, Words: "The key was revoked."}}},
		{ID: "5", Name: "an-account-whose-name-is-long-and-has-no-space-at-all-" + "x0123456789x0123456789x0123456789", Href: "/accounts/5", Enabled: true, OKAt: beforePtr(time.Minute), Called: true, Breaker: "closed", InARow: 2, LastMinute: 290, MostAMinute: 300, Requests: 99, Failed: 2, AnsweredAt: before(time.Minute), UnderWay: 12, Waiting: 48,
			Recent: []UpstreamFailure{{At: before(2 * time.Second), Op: "RestartCluster", Kind: "unavailable", Words: "Qdrant Cloud cannot be reached or is failing."}}},
		{ID: "6", Name: "Archive", Href: "/accounts/6", OKAt: beforePtr(48 * time.Hour), Stale: true},
	}
	rows[0].Beside = []UpstreamKind{{Kind: "keys", OKAt: before(20 * time.Second)}, {Kind: "alerts", OKAt: before(4 * time.Second)}, {Kind: "backups", OKAt: before(50 * time.Second)}}
	rows[1].Beside = []UpstreamKind{{Kind: "keys", OKAt: before(9 * time.Minute), Failing: true, Error: "Qdrant Cloud did not answer in time."}, {Kind: "alerts", OKAt: before(9 * time.Minute)}, {Kind: "backups", OKAt: before(time.Minute), Error: "Schedules could not be listed: The account's key lacks read:backup_schedules."}}
	rows[2].Beside = []UpstreamKind{{Kind: "keys"}}
	return rows
}
