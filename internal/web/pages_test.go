package web

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
	"quartermaster/templates"
)

func TestFleetQueryTidy(t *testing.T) {
	account := uuid.NewString()
	for _, test := range []struct {
		name    string
		query   fleetQuery
		address string
		notes   int
	}{
		{"nothing", fleetQuery{}, "/clusters", 0},
		{"everything", fleetQuery{Text: " a&b ", Account: account, Phase: "HEALTHY", Sort: "nodes", Dir: "desc", After: "x"}, "/clusters?account=" + account + "&after=x&dir=desc&phase=HEALTHY&q=a%26b&sort=nodes", 0},
		{"no account", fleetQuery{Account: "1 OR 1=1"}, "/clusters", 1},
		{"no column", fleetQuery{Sort: "evil", Dir: "desc", After: "x"}, "/clusters", 1},
		{"no direction", fleetQuery{Sort: "name", Dir: "up", After: "x"}, "/clusters?sort=name", 1},
		{"a phase that nobody knows is kept", fleetQuery{Phase: "<script>"}, "/clusters?phase=%3Cscript%3E", 0},
	} {
		notes := test.query.tidy()
		if got := test.query.address(); got != test.address || len(notes) != test.notes {
			t.Errorf("%s: %s with %d notes, want %s with %d", test.name, got, len(notes), test.address, test.notes)
		}
	}
}

func TestFleetColumns(t *testing.T) {
	columns := fleetQuery{Text: "x", Sort: "nodes", Dir: "asc", After: "cursor"}.columns()
	sorts := map[string]templates.Sort{}
	for _, c := range columns {
		for _, s := range c.Sorts {
			sorts[s.Label] = s
		}
	}
	for label, want := range map[string]templates.Sort{
		"Nodes":  {Label: "Nodes", Href: "/clusters?dir=desc&q=x&sort=nodes", Order: "ascending"},
		"Name":   {Label: "Name", Href: "/clusters?dir=asc&q=x&sort=name"},
		"Cloud":  {Label: "Cloud", Href: "/clusters?dir=asc&q=x&sort=cloud"},
		"Region": {Label: "Region", Href: "/clusters?dir=asc&q=x&sort=region"},
	} {
		if got := sorts[label]; got != want {
			t.Errorf("%s: %+v, want %+v", label, got, want)
		}
	}
	if got := (fleetQuery{}).columns()[0].Sorts[0]; got.Order != "ascending" {
		t.Errorf("without a choice the first column is %+v", got)
	}
}

// TestFleetFilterKeepsUnknown proves that a page shows what it is narrowed by, also when nothing
// there has that value.
func TestFleetFilterKeepsUnknown(t *testing.T) {
	got := filterSelect("phase", "Phase", "Any", []string{"HEALTHY"}, "GONE", templates.Words)
	want := []templates.Choice{{Value: "HEALTHY", Label: "Healthy"}, {Value: "GONE", Label: "Gone", Selected: true}}
	if diff := cmp.Diff(want, got.Choices); diff != "" {
		t.Error(diff)
	}
}

func TestReadMoment(t *testing.T) {
	for _, test := range []struct {
		text string
		end  bool
		want string
	}{
		{"2026-11-23", false, "2026-11-23T00:00:00Z"},
		{"2026-11-23", true, "2026-11-23T23:59:59.999999Z"},
		{"2026-11-23T14:30", false, "2026-11-23T14:30:00Z"},
		{"2026-11-23T14:30", true, "2026-11-23T14:30:59.999999Z"},
		{" 2026-11-23T14:30:05 ", false, "2026-11-23T14:30:05Z"},
		{"2026-11-23T14:30:05+02:00", false, "2026-11-23T12:30:05Z"},
	} {
		got, err := readMoment(test.text, test.end)
		if err != nil || got.Format(time.RFC3339Nano) != test.want {
			t.Errorf("readMoment(%q, %v) = %v, %v, want %s", test.text, test.end, got, err, test.want)
		}
	}
	for _, text := range []string{"yesterday", "2026-31-31", "2026-11-23T25:00", "1", "23.11.2026"} {
		if got, err := readMoment(text, false); err == nil {
			t.Errorf("readMoment(%q) = %v, want an error", text, got)
		}
	}
	if got, err := readMoment("", true); err != nil || !got.IsZero() {
		t.Errorf("nothing given is %v, %v", got, err)
	}
}

func TestAuditQuery(t *testing.T) {
	if _, invalid, err := (auditQuery{From: "x", To: "y"}).query(); err != nil || len(invalid) != 2 {
		t.Errorf("two bad dates: %v, %v", invalid, err)
	}
	if _, invalid, err := (auditQuery{From: "2026-02-02", To: "2026-02-01"}).query(); err != nil || invalid["to"] == "" {
		t.Errorf("an end before the beginning: %v, %v", invalid, err)
	}
	for _, after := range []string{"-1", "0", "x", "9223372036854775808"} {
		if _, _, err := (auditQuery{After: after}).query(); err == nil {
			t.Errorf("the place %q was taken", after)
		}
	}
	got, invalid, err := (auditQuery{Text: " a ", From: "2026-02-01", To: "2026-02-01", After: "12"}).query()
	if err != nil || len(invalid) > 0 || got.Text != "a" || got.After != 12 || got.To.Sub(got.From) != 24*time.Hour-time.Microsecond {
		t.Errorf("a good query: %+v, %v, %v", got, invalid, err)
	}
}

func TestClusterOffers(t *testing.T) {
	offers := map[string]accounts.Offer{}
	for _, a := range []accounts.Act{accounts.ActClusterUpdate, accounts.ActClusterRestart, accounts.ActClusterSuspend, accounts.ActClusterUnsuspend, accounts.ActClusterDelete} {
		offers[a.Name] = accounts.Offer{Act: a.Name, Offered: true}
	}
	labels := func(phase cloudapi.Phase, gone bool) (out []string) {
		d := accounts.ClusterDetail{Offers: offers, Gone: gone, Cluster: cloudapi.Cluster{State: cloudapi.State{Phase: phase}}}
		for _, o := range clusterOffers(accounts.ClusterRef{}, d) {
			out = append(out, o.Label)
		}
		return out
	}
	if diff := cmp.Diff([]string{"Change", "Restart", "Suspend", "Delete"}, labels(cloudapi.PhaseHealthy, false)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Change", "Restart", "Resume", "Delete"}, labels(cloudapi.PhaseSuspended, false)); diff != "" {
		t.Error(diff)
	}
	if got := labels(cloudapi.PhaseHealthy, true); got != nil {
		t.Errorf("a cluster that is gone is offered %v", got)
	}
}

func TestRefreshEvery(t *testing.T) {
	at := func(phase cloudapi.Phase, gone bool, pending ...accounts.PendingAct) string {
		return refreshEvery(accounts.ClusterDetail{Gone: gone, Pending: pending, Cluster: cloudapi.Cluster{State: cloudapi.State{Phase: phase}}})
	}
	for _, test := range []struct{ got, want string }{
		{at(cloudapi.PhaseHealthy, false), refreshResting},
		{at(cloudapi.PhaseUpdating, false), refreshMoving},
		{at(cloudapi.PhaseHealthy, false, accounts.PendingAct{}), refreshMoving},
		{at(cloudapi.PhaseHealthy, false, accounts.PendingAct{Unknown: true}), refreshResting},
		{at(cloudapi.PhaseUpdating, true), ""},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

func TestDeletionNeedsAnAnswer(t *testing.T) {
	for answer, want := range map[string]string{"yes": "true", "no": "false", "": "none", "true": "none", "YES": "none"} {
		got := "none"
		if c := (clusterDeletionForm{DeleteBackups: answer}).choice(); c != nil {
			got = map[bool]string{true: "true", false: "false"}[*c]
		}
		if got != want {
			t.Errorf("%q means %s, want %s", answer, got, want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, test := range []struct{ got, want string }{
		{portURL("https://a.example", 6333), "https://a.example:6333"},
		{portURL("https://a.example:1/x", 6333), "https://a.example:6333/x"},
		{portURL("", 6333), ""},
		{portURL("::", 6333), "::"},
		{portHost("https://[::1]", 6334), "[::1]:6334"},
		{portHost("https://a.example", 0), "https://a.example"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

func TestTargetPath(t *testing.T) {
	account := uuid.New()
	for _, test := range []struct {
		event audit.Event
		want  string
	}{
		{audit.Event{Target: audit.Target{Kind: accounts.KindAccount, ID: account.String()}}, "/accounts/" + account.String()},
		{audit.Event{Account: audit.Ref{ID: account.String()}, Target: audit.Target{Kind: accounts.KindCluster, ID: "a/../b"}}, "/accounts/" + account.String() + "/clusters/a%2F..%2Fb"},
		{audit.Event{Account: audit.Ref{ID: "javascript:x"}, Target: audit.Target{Kind: accounts.KindCluster, ID: "c"}}, ""},
		{audit.Event{Target: audit.Target{Kind: accounts.KindAccount, ID: "../../logout"}}, ""},
		{audit.Event{Target: audit.Target{Kind: accounts.KindSession, ID: account.String()}}, ""},
	} {
		if got := targetPath(test.event); got != test.want {
			t.Errorf("%+v leads to %q, want %q", test.event.Target, got, test.want)
		}
	}
}

func TestChangeText(t *testing.T) {
	for _, test := range []struct {
		value any
		want  string
	}{
		{nil, ""}, {"a", "a"}, {true, "true"}, {float64(3), "3"}, {[]any{"a", float64(1), nil}, "a, 1, "}, {[]string{"a", "b"}, "a, b"}, {"<b>", "<b>"}, {map[string]any{"a": "<"}, `{"a":"<"}`},
	} {
		if got := changeText(test.value); got != test.want {
			t.Errorf("%v reads %q, want %q", test.value, got, test.want)
		}
	}
}

func TestPermissionGroups(t *testing.T) {
	got := permissionGroups([]string{"accounts:manage", "delete:clusters", "read:backup_schedules", "read:clusters", "write:clusters", "odd"})
	want := []templates.PermissionGroup{
		{Kind: "accounts in this console", Verbs: []string{"manage"}}, {Kind: "backup schedules", Verbs: []string{"read"}},
		{Kind: "clusters", Verbs: []string{"read", "write", "delete"}}, {Kind: "odd", Verbs: []string{"yes"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestBrowserName(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0 Safari/537.36": "Chrome on Linux",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1":           "Safari on iPhone",
		"Mozilla/5.0 (Windows NT 10.0) Chrome/142.0 Safari/537.36 Edg/142.0":                                "Edge on Windows",
		"": "Unknown browser", "curl/8.5": "curl",
	} {
		if got := browserName(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

func TestStaleReason(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		account accounts.Account
		want    string
	}{
		{accounts.Account{Enabled: true, Sync: accounts.Sync{OKAt: &now}}, ""},
		{accounts.Account{Sync: accounts.Sync{Error: "x"}}, "The account is disabled, so it is not asked."},
		{accounts.Account{Enabled: true, Sync: accounts.Sync{Error: "It did not answer", Stale: true}}, "It did not answer."},
		{accounts.Account{Enabled: true, Sync: accounts.Sync{Stale: true}}, "The account has not given a complete answer for a while."},
	} {
		if got := staleReason(test.account); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}
