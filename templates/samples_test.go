package templates

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/a-h/templ"
)

var sampleNow = time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)

func before(d time.Duration) time.Time { return sampleNow.Add(-d) }

func beforePtr(d time.Duration) *time.Time {
	t := before(d)
	return &t
}

const day = 24 * time.Hour

func samplePage(title, id, section string) Page {
	return Page{
		Title: title, BodyID: id, Section: section, Now: sampleNow,
		Member: &Member{Name: "Olga Operator", Email: "olga@example.test", Roles: []string{"operator", "auditor"}, MayAudit: true, MayManage: true, Admin: []Link{{"Groups", "/admin/groups"}}},
	}
}

// samplePages are all pages of the console as a team would meet them: full, empty and wrong.
func samplePages() map[string]templ.Component {
	signedOut := Page{Title: "Sign in", BodyID: "sign-in", Now: sampleNow}
	denied := samplePage("No access yet", "no-rights", "")
	denied.Member = &Member{Name: "Nora Nobody", Email: "nobody@example.test"}
	failed := ErrorView{
		Page: samplePage("Qdrant Cloud does not answer", "error", ""), Status: 503, Heading: "Qdrant Cloud does not answer",
		Detail: "Nothing was changed. What is known is still shown on the other pages.", Reason: "upstream request timeout",
		RequestID: "019aafc2-7d1c-7b1e-9a11-0d7f4a1c2b3d", RetryPath: "/clusters",
	}
	lost := failed
	lost.Page = Page{Title: "Not found", BodyID: "error", Now: sampleNow}
	lost.Status, lost.Heading, lost.Detail, lost.Reason, lost.RetryPath, lost.SignIn = 404, "There is nothing here", "The address is wrong, or it is not for you.", "", "", true

	flashed := sampleFleet(sampleRows(), sampleStrip())
	flashed.Page.Flash = "Account added. Its clusters appear as soon as Qdrant Cloud has answered."
	flashed.Page.Dev = true
	flashed.Gone, flashed.GoneMore = sampleGoneRows(), 14
	none := sampleFleet(nil, sampleStrip())
	none.Filter.Active, none.Filter.Text, none.Total, none.All = true, "no-such-cluster", 0, 34
	none.Notes = []string{"The list cannot be sorted by what the address says, so it is sorted by name."}
	fresh := sampleFleet(nil, nil)
	fresh.All, fresh.MayAdd = 0, true
	asking := sampleFleet(nil, nil)
	asking.All, asking.MayAdd, asking.Contact = 0, false, []string{"platform-admins", "admin@example.test"}
	waiting := sampleFleet(nil, sampleStrip()[:1])
	waiting.All = 0

	pages := map[string]templ.Component{
		"sign-in":           SignIn(SignInView{Page: signedOut, Provider: "login.example.test", Href: "/login?go=1"}),
		"sign-in-down":      SignIn(SignInView{Page: signedOut, Provider: "login.example.test", ProviderDown: true, Message: "You are signed out.", RequestID: "019aafc2-7d1c-7b1e-9a11-0d7f4a1c2b3d"}),
		"no-rights":         NoRights(NoRightsView{Page: denied, Again: "/clusters", GroupClaim: "groups", Problems: []string{"The identity provider left groups out of the ID token because there are too many of them: it sent _claim_names instead."}, Mapping: Mapping{Nothing: []MappingRow{{What: "group", Value: "sales"}, {What: "e-mail address", Value: "nobody@example.test", Why: "No grant names it."}}}, MoreClaims: 3, Contact: []string{"platform-admins", "admin@example.test"}, Claims: []Pair{{"email", "nobody@example.test"}, {"groups", "sales, everyone"}, {"sub", "8f14e45f"}}}),
		"error":             ErrorPage(failed),
		"error-signed-out":  ErrorPage(lost),
		"fleet":             Fleet(flashed),
		"fleet-no-match":    Fleet(none),
		"fleet-no-account":  Fleet(fresh),
		"fleet-ask":         Fleet(asking),
		"fleet-waiting":     Fleet(waiting),
		"cluster":           Cluster(sampleCluster()),
		"cluster-troubled":  Cluster(sampleTroubledCluster()),
		"cluster-gone":      Cluster(sampleGoneCluster()),
		"cluster-legacy":    Cluster(sampleLegacyCluster()),
		"restart":           Confirm(sampleRestart()),
		"delete-cluster":    Confirm(sampleDelete(nil)),
		"delete-wrong":      Confirm(sampleDelete(map[string]string{"confirm": "This is not the cluster's name.", "delete_backups": "Choose whether the backups are deleted."})),
		"update":            ClusterUpdate(sampleUpdate(nil)),
		"update-wrong":      ClusterUpdate(sampleUpdate(map[string]string{"": "Nothing in the form differs from what the cluster has.", "labels": "Line 2: write key=value.", "package_id": "Choose one of the packages that this cluster can have.", "restart_policy": "Choose one of the list."})),
		"update-review":     ClusterReview(sampleReview()),
		"update-smaller":    ClusterReview(sampleSmaller()),
		"update-stale":      ClusterStale(sampleStale()),
		"update-done":       ClusterStale(sampleStaleDone()),
		"accounts":          Accounts(AccountsView{Page: samplePage("Accounts", "accounts-index", "accounts"), MayAdd: true, Rows: sampleAccountRows(), Total: 4, All: 4}),
		"accounts-many":     Accounts(sampleManyAccounts(sampleAccountRows())),
		"accounts-no-match": Accounts(sampleManyAccounts(nil)),
		"fleet-many":        Fleet(sampleManyClusters()),
		"accounts-none":     Accounts(AccountsView{Page: samplePage("Accounts", "accounts-index", "accounts"), MayAdd: true}),
		"account":           Account(sampleAccount()),
		"account-refused":   Account(sampleRefusedAccount()),
		"account-new":       AccountForm(AccountFormView{Page: samplePage("Add an account", "account-new", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}}, FormToken: "t0k3n", Generation: "current"}),
		"account-new-wrong": AccountForm(sampleWrongForm()),
		"account-choose":    AccountForm(sampleChooseForm()),
		"account-edit":      AccountEdit(sampleAccountEdit()),
		"account-changed":   AccountEdit(sampleAccountChanged()),
		"account-key":       AccountKey(sampleAccountKey(false)),
		"account-key-wrong": AccountKey(sampleWrongKey()),
		"account-mint":      AccountMint(sampleAccountKey(true)),
		"old-key":           AccountOldKey(sampleOldKeyPage()),
		"old-key-unseen":    AccountOldKey(sampleUnseenKeyPage()),
		"old-key-legacy":    AccountOldKey(sampleLegacyOldKeyPage()),
		"switch":            AccountSwitch(sampleSwitch()),
		"switch-differs":    AccountSwitch(sampleSwitchThatDiffers()),
		"switch-blocked":    AccountSwitch(AccountSwitchView{Page: samplePage("Move Legacy vectors", "account-switch", "accounts"), Self: "/accounts/3", Blocked: "The key does not open this account."}),
		"cluster-new":       ClusterForm(sampleClusterForm()),
		"cluster-new-wrong": ClusterForm(sampleWrongClusterForm()),
		"cluster-new-none":  ClusterForm(sampleUnreadClusterForm()),
		"cluster-new-where": ClusterAccounts(sampleClusterAccounts()),
		"audit":             Audit(sampleAudit()),
		"audit-none":        Audit(sampleEmptyAudit()),
		"event":             Event(sampleEvent()),
		"event-broken":      Event(sampleBrokenEvent()),
		"log-check":         LogCheck(LogCheckView{Page: samplePage("Check of the log", "audit-verify", "audit"), Crumbs: []Link{{"Audit", "/audit"}}}),
		"log-check-tables":  LogCheck(sampleTablesCheck()),
		"log-check-known":   LogCheck(sampleKnownRows()),
		"log-check-long":    LogCheck(LogCheckView{Page: samplePage("Check of the log", "audit-verify", "audit"), Check: &CheckView{TooLong: true, Took: "30.0 s"}}),
		"audit-part":        Audit(samplePartOfAudit()),
		"event-part":        Event(samplePartOfEvent()),
		"history":           History(sampleHistory()),
		"outside":           Outside(sampleOutside()),
		"outside-empty":     Outside(sampleNoOutside()),
		"outside-nothing":   Outside(sampleOutsideMatchesNothing()),
		"outside-change":    OutsideChange(sampleOutsideChange()),
		"outside-note":      OutsideChange(sampleOutsideNoteMissing()),
		"outside-no-right":  OutsideChange(sampleOutsideNotOffered()),
		"outside-done":      OutsideChange(sampleOutsideAcknowledged()),
		"history-none":      History(sampleNoHistory()),
		"history-end":       History(sampleHistoryEnd()),
		"cluster-only":      Cluster(sampleClusterOnly()),
		"fleet-cluster":     Fleet(sampleFleetOfOneCluster()),
		"me":                Me(sampleMe()),
		"groups":            Groups(sampleGroups()),
		"group":             Group(sampleGroup()),
		"group-nothing":     Group(GroupView{Page: samplePage("Group sales", "group-show", "admin"), Crumbs: []Link{{"Groups", "/admin/groups"}}, Group: "sales", GiveHref: "/admin/grants/new?subject=sales", SeesMembers: true}),
		"groups-none":       Groups(GroupsView{Page: samplePage("Groups", "admin-groups", "admin"), Claim: "groups"}),
		"claims":            ClaimsTry(sampleClaimsTry()),
		"claims-wrong":      ClaimsTry(ClaimsTryView{Page: samplePage("What would somebody get?", "admin-groups-try", "admin"), Crumbs: []Link{{"Groups", "/admin/groups"}}, Claim: "groups", Form: ClaimsForm{Pasted: "{", Error: "This is not JSON: it ends too early."}}),
		"packages":          Packages(samplePackages()),
		"packages-none":     Packages(PackagesView{Page: samplePage("Packages and prices", "packages-index", "packages"), Failure: "The account is disabled: its key is not used.", Invalid: map[string]string{"ram": "Give a number, as in 16 or 0.5."}, MinRAM: "much"}),
	}
	maps.Copy(pages, keyPages())
	maps.Copy(pages, grantPages())
	maps.Copy(pages, stepUpSamples())
	maps.Copy(pages, memberPages())
	maps.Copy(pages, reviewPages())
	maps.Copy(pages, upstreamPages())
	maps.Copy(pages, alertPages())
	maps.Copy(pages, backupPages())
	return pages
}

// sampleManyAccounts is one page of a list that goes on.
func sampleManyAccounts(rows []AccountRow) AccountsView {
	return AccountsView{
		Page: samplePage("Accounts", "accounts-index", "accounts"), MayAdd: true, Rows: rows, Total: 140, All: 1200, First: "/accounts?q=search", Next: "/accounts?after=x&q=search",
		Filter: AccountsFilter{Shown: true, Text: "search", State: Select{Name: "state", Label: "State", Any: "Any", Choices: []Choice{{Value: "trouble", Label: "Needs a look", Selected: true}}}},
	}
}

// sampleManyClusters is a fleet of a hundred accounts, forty of which need a look.
func sampleManyClusters() FleetView {
	var strip []AccountStrip
	for i := range 100 {
		a := AccountStrip{ID: fmt.Sprint(i), Name: fmt.Sprintf("Search unit %d", i+1), Href: "/accounts/1", OKAt: beforePtr(time.Duration(i) * time.Second)}
		switch {
		case i < 20:
			a.Error, a.Stale = "Qdrant Cloud did not answer in time.", true
		case i < 32:
			a.Error = fmt.Sprintf("Qdrant Cloud refuses the key: token %d revoked.", i)
		case i < 36:
			a.Disabled = true
		case i < 38:
			a.Vanished = 12
		case i < 40:
			a.Stale, a.OKAt = true, nil
		}
		strip = append(strip, a)
	}
	v := sampleFleet(sampleRows(), strip)
	v.Total, v.All, v.SlowSearch = CountCap+1, CountCap+1, "The text search has no index, so it reads every cluster: run quartermaster migrate up."
	return v
}

func sampleFleet(rows []FleetRow, strip []AccountStrip) FleetView {
	choice := func(values ...string) (out []Choice) {
		for _, v := range values {
			out = append(out, Choice{Value: v, Label: Words(v)})
		}
		return out
	}
	var columns []Column
	for i, labels := range [][]string{{"Name"}, {"Phase"}, {"Account"}, {"Environment"}, {"Cloud", "Region"}, {"Version"}, {"Nodes"}, {"Package, each node"}, {"Created"}} {
		c := Column{Numeric: i > 4}
		for _, l := range labels {
			c.Sorts = append(c.Sorts, Sort{Label: l, Href: "/clusters?sort=x"})
		}
		if i == 0 {
			c.Sorts[0].Order = "ascending"
		}
		columns = append(columns, c)
	}
	return FleetView{
		Page: samplePage("Clusters", "clusters-index", "clusters"), Self: "/clusters?sort=name", Clear: "/clusters", Columns: columns, Rows: rows, Accounts: strip,
		Total: len(rows), All: 134, Next: "/clusters?after=abc", MayAdd: true,
		Filter: FleetFilter{Selects: []Select{
			{Name: "account", Label: "Account", Any: "Any", Choices: choice("Search production", "Recommendations")},
			{Name: "environment", Label: "Environment", Any: "Any", Choices: choice("production", "staging", "development")},
			{Name: "phase", Label: "Phase", Any: "Any", Choices: choice("HEALTHY", "NOT_READY", "SUSPENDED")},
			{Name: "cloud", Label: "Cloud", Any: "Any", Choices: choice("aws", "gcp", "azure", "hybrid")},
			{Name: "region", Label: "Region", Any: "Any", Choices: choice("eu-central-1", "us-east4")},
			{Name: "version", Label: "Version", Any: "Any", Choices: choice("v1.15.4", "v1.16.0")},
		}, Hidden: []Pair{{"sort", "name"}}},
	}
}

func sampleRows() []FleetRow {
	phases := []string{"HEALTHY", "HEALTHY", "UPDATING", "HEALTHY", "NOT_READY", "SUSPENDED", "HEALTHY", "FAILED_TO_UPDATE", "CREATING", "RECOVERY_MODE", "HEALTHY", "HEALTHY", "HEALTHY", "UNKNOWN", "HEALTHY", "DELETING"}
	names := []string{"search-main", "search-replica-eu", "recommend-embeddings", "catalog-prod", "chat-memory", "old-experiments", "docs-rag", "ads-ranking", "new-tenant-0042", "fraud-vectors", "images-clip-large", "support-bot", "geo-lookup", "edge-hybrid-01", "this-is-a-cluster-name-as-long-as-the-cloud-api-ever-allows-64ch", "tmp-load-test"}
	clouds := [][2]string{{"aws", "eu-central-1"}, {"gcp", "us-east4"}, {"azure", "westeurope"}, {"hybrid", "3f0c1b1e-7a51-4a58-9a0e-2f6f5b0d6f11"}}
	var rows []FleetRow
	for i, name := range names {
		cloud := clouds[i%4]
		r := FleetRow{
			AccountID: fmt.Sprintf("0192-%d", i%3), AccountName: []string{"Search production", "Recommendations", "Legacy vectors"}[i%3], AccountHref: "/accounts/0192",
			Environment: []string{"production", "staging", "development"}[i%3], ClusterID: fmt.Sprintf("c-%02d", i), Name: name, Href: "/accounts/0192/clusters/c1",
			Phase: phases[i], Cloud: cloud[0], Region: cloud[1], Version: []string{"v1.16.0", "v1.15.4", "v1.9.0"}[i%3], Package: fmt.Sprintf("mx%d", 1<<(i%6)), NodesUp: i%5 + 1, Nodes: i%5 + 1,
			RAM: MiB(int64(1024 << (i % 6))), CPU: CPU(int64(500 << (i % 5))), Disk: MiB(int64(4096 << (i % 7))), CreatedAt: before(time.Duration(i*i*7+1) * 11 * time.Hour), SeenAt: before(9 * time.Second),
		}
		if r.Phase == "NOT_READY" {
			r.NodesUp, r.Reason = r.Nodes-1, "1 of 5 nodes is not ready: out of memory"
		}
		if r.Phase == "SUSPENDED" {
			r.NodesUp = 0
		}
		if i%3 == 2 {
			r.Legacy, r.Stale = true, "Qdrant Cloud refuses the account's key: token revoked."
		}
		rows = append(rows, r)
	}
	return rows
}

func sampleGoneRows() []FleetRow {
	rows := []FleetRow{sampleRows()[15], sampleRows()[3], sampleRows()[14]}
	for i := range rows {
		rows[i].GoneAt = before(time.Duration(i*i) * 40 * time.Hour)
	}
	rows[1].AccountHref = ""
	return rows
}

func sampleGoneCluster() ClusterView {
	v := sampleCluster()
	v.Gone, v.GoneAt, v.ShownUntil, v.Every = true, before(2*day), sampleNow.Add(5*day), ""
	for i := range v.Offers {
		v.Offers[i] = Offer{Label: v.Offers[i].Label, Reason: "Qdrant Cloud does not know this cluster any more."}
	}
	return v
}

func sampleStrip() []AccountStrip {
	return []AccountStrip{
		{ID: "1", Name: "Search production", Href: "/accounts/1", Clusters: 18, OKAt: beforePtr(12 * time.Second)},
		{ID: "2", Name: "Recommendations", Href: "/accounts/2", Clusters: 9, OKAt: beforePtr(31 * time.Second)},
		{ID: "3", Name: "Legacy vectors", Href: "/accounts/3", Clusters: 5, Legacy: true, OKAt: beforePtr(3 * time.Hour), Error: "Qdrant Cloud refuses the key: token revoked.", Stale: true},
		{ID: "4", Name: "Playground", Href: "/accounts/4", Clusters: 2, Disabled: true, OKAt: beforePtr(6 * day)},
	}
}

func sampleCluster() ClusterView {
	yes := []Offer{
		{Label: "Change", Href: "/accounts/1/clusters/c/update", Offered: true},
		{Label: "Restart", Href: "/accounts/1/clusters/c/restart", Offered: true},
		{Label: "Suspend", Href: "/accounts/1/clusters/c/suspend", Offered: true},
		{Label: "Delete", Href: "/accounts/1/clusters/c/delete", Offered: true, Danger: true},
	}
	return ClusterView{
		WhoCanHref: "/admin/access?account=1",
		Page:       samplePage("search-main", "cluster-show", "clusters"), Self: "/accounts/1/clusters/c", Crumbs: []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}},
		Name: "search-main", ID: "7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa", Phase: "HEALTHY", Every: "15s", SeenAt: before(8 * time.Second), Offers: yes,
		AccountName: "Search production", AccountHref: "/accounts/1", Environment: "production", CloudAccountID: "1d5c1f36-3bd1-4a2d-91a1-3c2f6a1b7e55",
		Cloud: "aws", Region: "eu-central-1", CreatedAt: before(212 * day), CostAllocationLabel: "team-search", Labels: []Pair{{"team", "search"}, {"tier", "gold"}},
		Endpoint: "https://7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa.eu-central-1-0.aws.cloud.qdrant.io", RESTPort: 6333, GRPCPort: 6334,
		RESTURL:    "https://7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa.eu-central-1-0.aws.cloud.qdrant.io:6333",
		GRPCTarget: "7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa.eu-central-1-0.aws.cloud.qdrant.io:6334",
		Version:    "v1.15.4", WantedVersion: "v1.15.4", NodesUp: 3, Nodes: 3, RestartedAt: before(9 * day), JWT: "Enabled: database keys can be limited to collections",
		Package: "mx3-gpx3", PackageID: "4d0f1b1f-0a61-41a4-8f0a-9df1b3b14b1c", RAM: "32 GiB", CPU: "8 vCPU", Disk: "128 GiB", AdditionalDiskGiB: 64,
		AllowedIPs: []string{"203.0.113.0/24", "198.51.100.7/32"}, ModifiedAt: before(9 * day),
		Settings: []Pair{{"databaseConfiguration.collection.replicationFactor", "2"}, {"databaseConfiguration.service.enableTls", "true"}, {"rebalanceStrategy", "BY_COUNT_AND_SIZE"}},
		Resources: []ResourceView{
			{"ram", "GiB", 32, 0, 0, 6.4, 25.6},
			{"cpu", "cores", 8, 0, 0, 1.6, 6.4},
			{"disk", "GiB", 128, 0, 64, 0, 192},
		},
		NodeRows: []NodeView{
			{Name: "qdrant-7c9f4b60-0", State: "HEALTHY", Version: "v1.15.4", Zone: "eu-central-1a", Endpoint: "https://node-0.7c9f.eu-central-1-0.aws.cloud.qdrant.io", StartedAt: before(9 * day)},
			{Name: "qdrant-7c9f4b60-1", State: "HEALTHY", Version: "v1.15.4", Zone: "eu-central-1b", Endpoint: "https://node-1.7c9f.eu-central-1-0.aws.cloud.qdrant.io", StartedAt: before(9 * day)},
			{Name: "qdrant-7c9f4b60-2", State: "HEALTHY", Version: "v1.15.4", Zone: "eu-central-1c", Endpoint: "https://node-2.7c9f.eu-central-1-0.aws.cloud.qdrant.io", StartedAt: before(9 * day)},
		},
		Capabilities: []CapabilityView{{"disk_expansion", "ENABLED", ""}, {"backup", "ENABLED", ""}, {"scalability_info", "DISABLED", "The package is the largest there is."}},
		Raw:          "{\n  \"id\": \"7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa\",\n  \"name\": \"search-main\"\n}",
	}
}

func sampleTroubledCluster() ClusterView {
	v := sampleCluster()
	v.Name, v.Page.Title, v.Phase, v.Reason, v.Moving, v.Every = "chat-memory", "chat-memory", "NOT_READY", "1 of 3 nodes is not ready", false, "2s"
	v.NodesUp, v.WantedVersion = 2, "v1.16.0"
	v.Stale = "Qdrant Cloud did not answer in time."
	v.Pending = []PendingView{{Act: "cluster.restart", By: "Olga Operator", Since: before(14 * time.Second)}, {Act: "cluster.suspend", By: "Ada Admin", Since: before(7 * time.Minute), Unknown: true}}
	v.NodeRows[1].State, v.NodeRows[1].NotReady, v.NodeRows[1].Actions = "UNHEALTHY", []Pair{{"CONTAINER_RESTARTING", "the container restarted 5 times in 10 minutes"}, {"OUT_OF_MEMORY", "the process used more memory than the node has"}}, []string{"Scale the cluster up to a package with more memory", "Move vectors to disk"}
	v.Offers = []Offer{
		{Label: "Restart", Reason: "You need write:clusters here.", Why: "/me/why?act=cluster.restart&account=1&cluster=2"},
		{Label: "Suspend", Reason: "You need write:clusters here."},
		{Label: "Delete", Reason: "You need delete:clusters here.", Danger: true},
	}
	return v
}

func sampleLegacyCluster() ClusterView {
	return ClusterView{
		Page: samplePage("old-vectors", "cluster-show", "clusters"), Self: "/accounts/3/clusters/c", Crumbs: []Link{{"Clusters", "/clusters"}, {"Legacy vectors", "/accounts/3"}},
		Name: "old-vectors", ID: "aa01", Phase: "SUSPENDED", Every: "15s", SeenAt: before(40 * time.Second), AccountName: "Legacy vectors", AccountHref: "/accounts/3",
		Environment: "other", CloudAccountID: "9b2d", Legacy: true, Cloud: "gcp", Region: "us-east4", NodesUp: 0, Nodes: 1, RAM: "–", CPU: "–", Disk: "–",
		Offers: []Offer{
			{Label: "Restart", Reason: "The legacy pa/v1 API has no restart."},
			{Label: "Resume", Post: true, Primary: true, Href: "/accounts/3/clusters/c/unsuspend", Offered: true},
			{Label: "Delete", Href: "/accounts/3/clusters/c/delete", Offered: true, Danger: true},
		},
	}
}

func sampleRestart() ConfirmView {
	return ConfirmView{
		Page: samplePage("Restart search-main", "cluster-restart", "clusters"), Crumbs: []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}, {"search-main", "/accounts/1/clusters/c"}},
		Lead: "Every node of the cluster search-main in Search production is restarted.", Points: []string{"Its data stays.", "Collections with one replica do not answer while their node restarts."},
		Action: "/accounts/1/clusters/c/restart", Button: "Restart cluster", Back: "/accounts/1/clusters/c", Kind: "cluster",
	}
}

func sampleDelete(wrong map[string]string) ConfirmView {
	return ConfirmView{
		Page: samplePage("Delete search-main", "cluster-delete", "clusters"), Crumbs: []Link{{"Clusters", "/clusters"}, {"Search production", "/accounts/1"}, {"search-main", "/accounts/1/clusters/c"}},
		Lead: "The cluster search-main in Search production is deleted with all its collections.", Points: []string{"Whatever uses its endpoint stops working at once.", "Its database keys stop working."},
		Warning: "A deleted cluster cannot be brought back. Only a backup can, and only if you keep the backups.",
		Action:  "/accounts/1/clusters/c/delete", Button: "Delete cluster", Danger: true, Confirm: "search-main", Kind: "cluster", Back: "/accounts/1/clusters/c", Errors: wrong,
		Radios: []Radios{{Name: "delete_backups", Legend: "What about its backups?", Error: wrong["delete_backups"], Focus: wrong != nil, Choices: []Choice{
			{Value: "no", Label: "Keep the backups", Hint: "They stay in the account, and are charged for."},
			{Value: "yes", Label: "Delete the backups, too", Hint: "Nothing of the cluster remains."},
		}}},
	}
}

func sampleAccountRows() []AccountRow {
	past := before(3 * day)
	soon := sampleNow.Add(60 * day)
	return []AccountRow{
		{ID: "1", Name: "Search production", Href: "/accounts/1", CloudAccountID: "1d5c1f36-3bd1-4a2d-91a1-3c2f6a1b7e55", Environment: "production", Owner: "Search platform", Enabled: true, Clusters: 18, ClustersHref: "/clusters?account=1", KeyPrefix: "eyJhbGci", RotateBy: &soon, OKAt: beforePtr(12 * time.Second)},
		{ID: "2", Name: "Recommendations", Href: "/accounts/2", CloudAccountID: "55e1f20b-3f9a-4c26-a26d-93b0b8d8f0f1", Environment: "staging", Enabled: true, Clusters: 1204, ClustersHref: "/clusters?account=2", KeyPrefix: "eyJpc3Mi", RotateBy: &past, OKAt: beforePtr(31 * time.Second)},
		{ID: "3", Name: "Legacy vectors", Href: "/accounts/3", CloudAccountID: "9b2d3a44-11f0-4c07-8a53-f07cbe1b2f67", Environment: "other", Owner: "data-team@example.test", Legacy: true, Enabled: true, Clusters: 5, ClustersHref: "/clusters?account=3", KeyPrefix: "h9Jk", KeyRefused: "token revoked", OKAt: beforePtr(3 * time.Hour)},
		{ID: "4", Name: "Playground", Href: "/accounts/4", CloudAccountID: "c0ffee00-0000-4000-8000-000000000004", Environment: "development", Clusters: 2, ClustersHref: "/clusters?account=4", KeyPrefix: "eyJraWQi", OKAt: beforePtr(6 * day)},
	}
}

func sampleAccount() AccountView {
	soon := sampleNow.Add(60 * day)
	return AccountView{
		WhoCanHref: "/admin/access?account=1",
		Page:       samplePage("Search production", "account-show", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}}, ID: "019aafc2-7d1c-7b1e-9a11-0d7f4a1c2b3d",
		Name: "Search production", CloudAccountID: "1d5c1f36-3bd1-4a2d-91a1-3c2f6a1b7e55", UpstreamName: "ACME Search", OwnerEmail: "billing@example.test", Environment: "production",
		Owner: "Search platform", Note: "Paid from the search budget.\nAsk before adding clusters.", RotateBy: &soon, Enabled: true, CreatedAt: before(40 * day), CreatedBy: "Ada Admin",
		Offers: []Offer{{Label: "Edit", Href: "/accounts/1/edit", Offered: true}, {Label: "Disable", Post: true, Href: "/accounts/1/disable", Offered: true}, {Label: "Remove", Href: "/accounts/1/delete", Offered: true, Danger: true}},
		Key:    sampleKey(), KeyOffers: []Offer{{Label: "Replace the key", Href: "/accounts/1/key", Offered: true}, {Label: "Mint a key here", Href: "/accounts/1/key/mint", Reason: "The account's management key lacks write:management_keys."}},
		OldKeys:     sampleOldKeys(),
		KeyProbedAt: beforePtr(2 * time.Hour),
		Permissions: []PermissionGroup{{"API keys", []string{"read"}}, {"clusters", []string{"read", "write", "delete"}}}, PermsTold: true, NotOffered: []Pair{{"Delete management key", "The key lacks delete:management_keys and read:management_keys."}},
		OKAt: beforePtr(12 * time.Second), Clusters: 18, ClustersHref: "/clusters?account=1", Rows: sampleRows()[:5],
	}
}

func sampleRefusedAccount() AccountView {
	v := sampleAccount()
	v.Name, v.Legacy, v.PermsTold, v.Permissions = "Legacy vectors", true, false, nil
	v.NotOffered = []Pair{{"Restart cluster", "The legacy pa/v1 API has no restart."}, {"Read key, create key, rotate key, delete key", "The legacy pa/v1 API has no keys with a name or an end, only admin keys."}}
	v.Page.Legacy = &LegacyNotice{Contact: []string{"platform-admins", "admin@example.test"}}
	v.OldKeys = nil
	v.KeyRefused, v.Error, v.FailedAt, v.OKAt, v.Stale = "token revoked.", "Qdrant Cloud refuses the key.", beforePtr(20*time.Second), beforePtr(3*time.Hour), true
	v.Vanished = 4
	v.Offers = []Offer{{Label: "Disable", Reason: "You need accounts:manage here."}, {Label: "Remove", Reason: "You need accounts:manage here.", Danger: true}}
	v.Rows = nil
	return v
}

func sampleKey() KeyView {
	return KeyView{Prefix: "eyJhbGci", AddedAt: before(40 * day), AddedBy: "Ada Admin"}
}

func sampleOldKeys() []OldKeyView {
	return []OldKeyView{
		{KeyView: KeyView{Prefix: "9f0b4d6a", AddedAt: before(400 * day), AddedBy: "Ada Admin"}, ID: "k1", Href: "/accounts/1/key/old/k1/delete", RetiredAt: before(40 * day), Lost: []string{"delete:backups", "write:management_keys"}},
		{KeyView: KeyView{Prefix: "2b3a4c5d6e7f", Minted: true, Unseen: true, AddedAt: before(2 * day), AddedBy: "Ada Admin"}, ID: "k2", Href: "/accounts/1/key/old/k2/delete", RetiredAt: before(2 * day)},
	}
}

func sampleAccountEdit() AccountEditView {
	return AccountEditView{
		Page: samplePage("Edit Search production", "account-edit", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}, {"Search production", "/accounts/1"}}, Self: "/accounts/1",
		Revision: strings.Repeat("ab", 32), Name: "Search production", Env: "production", Owner: "Search platform", Note: "Paid from the search budget.", RotateBy: "2027-01-31",
	}
}

func sampleAccountChanged() AccountEditView {
	v := sampleAccountEdit()
	v.Errors = map[string]string{"": "Somebody changed the account after you opened this form.", "rotate_by": "Give a day after today."}
	v.Changed = []ChangedField{{"Responsible", "Platform", "Search platform"}, {"Note", "", "Paid from the search budget."}}
	return v
}

func sampleAccountKey(minting bool) AccountKeyView {
	v := AccountKeyView{
		Page: samplePage("Replace the key of Search production", "account-key", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}, {"Search production", "/accounts/1"}}, Self: "/accounts/1",
		FormToken: "t0k3n", Name: "Search production", Key: sampleKey(), Other: Offer{Href: "/accounts/1/key/mint", Offered: true}, Enabled: true,
	}
	if minting {
		v.Page = samplePage("Mint a key for Search production", "account-mint", "accounts")
		v.Key.Minted, v.Other.Href = true, "/accounts/1/key"
	}
	return v
}

func sampleWrongKey() AccountKeyView {
	v := sampleAccountKey(false)
	v.Errors, v.KeyAgain, v.Enabled = map[string]string{"management_key": "The key does not open this account."}, true, false
	v.Other = Offer{Reason: "The account is disabled: its key is not used."}
	return v
}

func sampleOldKeyPage() OldKeyPage {
	return OldKeyPage{
		Page: samplePage("Delete an old key of Search production", "account-old-key", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}, {"Search production", "/accounts/1"}}, Self: "/accounts/1",
		Name: "Search production", InUse: sampleKey(), Old: sampleOldKeys()[0], Delete: Offer{Href: "/accounts/1/key/old/k1/delete", Offered: true},
		Dismiss: "/accounts/1/key/old/k1/dismiss", Overdue: beforePtr(3 * day), EditHref: "/accounts/1/edit",
	}
}

func sampleUnseenKeyPage() OldKeyPage {
	v := sampleOldKeyPage()
	v.Old, v.Overdue = sampleOldKeys()[1], nil
	v.Typed, v.Errors = "2b3a", map[string]string{"confirm": "These are not the key’s first characters."}
	return v
}

func sampleLegacyOldKeyPage() OldKeyPage {
	v := sampleOldKeyPage()
	v.Page.Legacy = &LegacyNotice{SwitchHref: "/accounts/1/switch"}
	v.Delete = Offer{Reason: "The legacy pa/v1 API cannot delete a management key. Delete it in Qdrant's own console."}
	return v
}

func sampleSwitch() AccountSwitchView {
	return AccountSwitchView{
		Page: samplePage("Move Legacy vectors to the current API", "account-switch", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}, {"Legacy vectors", "/accounts/3"}}, Self: "/accounts/3",
		Name: "Legacy vectors", UpstreamName: "ACME Legacy", OwnerEmail: "billing@example.test",
		Rows: []SwitchRow{{ID: "7c9f4b60-58a0-4f6e-8d0c-0d27a5b2f9aa", Legacy: "old-vectors", Current: "old-vectors", InLegacy: true, InCurrent: true}},
		Seen: strings.Repeat("cd", 32),
	}
}

func sampleSwitchThatDiffers() AccountSwitchView {
	v := sampleSwitch()
	v.NotAble, v.LegacyError = []string{"delete:clusters"}, "upstream request timeout."
	v.Rows = append([]SwitchRow{
		{ID: "0d27a5b2-58a0-4f6e-8d0c-7c9f4b60f9aa", Legacy: "only-there", InLegacy: true}, {ID: "f9aa0d27-58a0-4f6e-8d0c-7c9f4b60a5b2", Current: "only-here", InCurrent: true},
		{ID: "a5b20d27-58a0-4f6e-8d0c-7c9f4b60f9aa", Legacy: "before", Current: "this-is-a-cluster-name-as-long-as-the-cloud-api-ever-allows-64ch", InLegacy: true, InCurrent: true},
	}, v.Rows...)
	v.Differences, v.Errors = 3, map[string]string{"accepted": "Say that the differences are in order."}
	return v
}

func sampleWrongForm() AccountFormView {
	return AccountFormView{
		Page: samplePage("Add an account", "account-new", "accounts"), Crumbs: []Link{{"Accounts", "/accounts"}}, FormToken: "t0k3n", Generation: "pa-v1", CloudID: "not-a-uuid", Name: "Legacy",
		Env: "production", RotateBy: "2020-01-01", KeyAgain: true,
		Errors: map[string]string{"management_key": "Qdrant Cloud refuses this key: token revoked.", "cloud_account_id": "The legacy API does not tell the account's id: give it.", "rotate_by": "Give a day after today."},
	}
}

func sampleChooseForm() AccountFormView {
	v := sampleWrongForm()
	v.Generation, v.KeyAgain, v.CloudID = "current", true, ""
	v.Errors = map[string]string{"cloud_account_id": "Choose one of the accounts that the key opens."}
	v.Choices = []Choice{{Value: "1d5c", Label: "ACME Search", Hint: "1d5c1f36-3bd1-4a2d-91a1-3c2f6a1b7e55"}, {Value: "55e1", Label: "ACME Recommendations", Hint: "55e1f20b-3f9a-4c26-a26d-93b0b8d8f0f1"}}
	return v
}

var sampleActor = ActorView{
	Name: "Olga Operator", Email: "olga@example.test", Subject: "8f14e45f-ceea", Issuer: "https://login.example.test", Roles: []string{"operator"}, Via: "browser",
	Session: "5f2a9c0d7be14431", IP: "203.0.113.24", UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0",
}

func sampleAudit() AuditView {
	v := sampleEmptyAudit()
	v.Warnings = []string{"The database owner's credentials are in the running process: whoever takes it over could change this log."}
	v.Next = "/audit?after=4"
	job := ActorView{Subject: "poller", Issuer: "quartermaster", Via: "job"}
	row := func(seq int64, act, outcome, kind, name string, actor ActorView) AuditRow {
		return AuditRow{Seq: seq, Href: fmt.Sprintf("/audit/events/%d", seq), RecordedAt: before(time.Duration(200-seq) * time.Minute), Act: act, Outcome: outcome, Actor: actor, Account: "Search production", TargetKind: kind, TargetName: name, TargetHref: "/accounts/1"}
	}
	v.Rows = []AuditRow{
		row(199, "cluster.restart", "pending", "cluster", "search-main", sampleActor),
		row(197, "cluster.delete", "ok", "cluster", "tmp-load-test", sampleActor),
		row(194, "cluster.suspend", "denied", "cluster", "catalog-prod", ActorView{Name: "Vera Viewer", Email: "viewer@example.test", IP: "203.0.113.7", Via: "browser"}),
		row(190, "account.create", "failed", "account", "Legacy vectors", sampleActor),
		row(182, "session.login", "ok", "session", "", sampleActor),
		row(120, "cluster.suspend", "unknown", "cluster", "chat-memory", sampleActor),
		row(44, "config.changed", "ok", "config", "", job),
	}
	v.Exports = []Offer{{Label: "Export as CSV", Href: "/audit/export?format=csv", Offered: true}, {Label: "Export as NDJSON", Href: "/audit/export?format=ndjson", Offered: true}}
	v.Rows[2].Reason, v.Rows[2].Count = "It needs write:clusters.", 7
	v.Rows[3].Reason = "Qdrant Cloud refuses the key: token revoked."
	v.Rows[5].Inferred = true
	return v
}

func sampleEmptyAudit() AuditView {
	return AuditView{Page: samplePage("Audit", "audit-index", "audit"), Filter: AuditFilter{
		Account: Select{Name: "account", Label: "Account", Any: "Any", Choices: []Choice{{Value: "1", Label: "Search production"}}},
		Act:     Select{Name: "act", Label: "Act", Any: "Any", Choices: []Choice{{Value: "cluster.restart", Label: "cluster.restart"}}},
		Outcome: Select{Name: "outcome", Label: "Outcome", Any: "Any", Choices: []Choice{{Value: "ok", Label: "ok"}}},
		From:    "2026-31-31", Errors: map[string]string{"from": "Give a day as in 2027-01-31."},
	}, Exports: []Offer{{Label: "Export as CSV", Reason: "You need audit:export here."}, {Label: "Export as NDJSON", Reason: "You need audit:export here."}}}
}

func sampleEvent() EventView {
	return EventView{
		Page: samplePage("Event 197, cluster.delete", "audit-event", "audit"), Crumbs: []Link{{"Audit", "/audit"}}, Seq: 197, ID: "019aafc2-7d1c-7b1e-9a11-0d7f4a1c2b3d", Act: "cluster.delete",
		Phase: "outcome", Outcome: "ok", At: before(3 * time.Minute), RecordedAt: before(3 * time.Minute), Operation: "019aafc2-7d1c-7b1e-9a11-000000000001", RequestID: "019aafc2-7d1c-7b1e-9a11-000000000002",
		Actor: sampleActor, AccountID: "1", AccountName: "Search production", TargetKind: "cluster", TargetID: "7c9f4b60", TargetName: "tmp-load-test",
		RPC: "qdrant.cloud.cluster.v1.ClusterService/DeleteCluster", KeyID: "k1", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", UpstreamStatus: 200, LatencyMS: 184,
		Changes:  []ChangeView{{"delete_backups", "", "false"}, {"name", "tmp-load-test", ""}, {"nodes", "3", ""}},
		Verified: true, Leaf: strings.Repeat("ab", 32), Chain: strings.Repeat("cd", 32), Body: "{\n  \"act\": \"cluster.delete\"\n}",
		Check:  &CheckView{Events: 12345, First: 1, Last: 12345, Chain: strings.Repeat("ef", 32), At: sampleNow, Took: "214 ms"},
		Others: []EventRow{{Seq: 196, Href: "/audit/events/196", Phase: "attempt", RecordedAt: before(3 * time.Minute)}, {Seq: 197, Href: "/audit/events/197", Phase: "outcome", Outcome: "ok", RecordedAt: before(3 * time.Minute), Current: true}, {Seq: 203, Href: "/audit/events/203", Phase: "settled", Outcome: "ok", RecordedAt: before(2 * time.Minute)}},
	}
}

// sampleTablesCheck is a whole log beside tables that somebody altered.
func sampleTablesCheck() LogCheckView {
	tables := sampleUnexplained()
	tables.Accounts, tables.Keys, tables.Grants, tables.Roles, tables.Blocks, tables.At, tables.Took = 12, 14, 320, 1, 3, sampleNow, "96 ms"
	v := LogCheckView{Page: samplePage("Check of the log", "audit-verify", "audit"), Crumbs: []Link{{"Audit", "/audit"}}, Check: sampleEvent().Check}
	v.Check.Tables = &tables
	return v
}

// sampleKnownRows is the page before a check, with what the console found by itself.
func sampleKnownRows() LogCheckView {
	tables := sampleUnexplained()
	v := LogCheckView{Page: samplePage("Check of the log", "audit-verify", "audit"), Crumbs: []Link{{"Audit", "/audit"}}, Known: &tables}
	v.Page.Unverified = &UnverifiedView{Rows: 1, Unexplained: 3, LogHref: "/audit?act=rights.unverified", CheckHref: "/audit/verify"}
	return v
}

func sampleUnexplained() TablesView {
	return TablesView{More: 2, Problems: []UnexplainedRow{
		{Kind: "account", Name: "Search production", What: "not as the events say: enabled", Seq: 120, Href: "/audit/events/120"},
		{Kind: "grant", Name: "a-very-long-group-name-of-an-identity-provider-that-does-not-break", What: "an event ended it, and its row says that it has not ended", Seq: 121, Href: "/audit/events/121", Withheld: true},
		{Kind: "management key", Name: "mk_7f3a", What: "no event stores it"},
	}}
}

func sampleBrokenEvent() EventView {
	v := sampleEvent()
	v.Check = &CheckView{Events: 196, First: 1, Last: 197, Chain: strings.Repeat("ef", 32), At: sampleNow, Took: "14 ms", More: 2, Problems: []ProblemView{
		{Seq: 120, Href: "/audit/events/120", What: "event 120 is missing"}, {Seq: 197, Href: "/audit/events/197", What: "body, time or number are not those that were recorded: the leaf does not fit"},
	}}
	v.Verified, v.Proof, v.Outcome, v.Reason, v.Inferred, v.Changes = false, "the leaf does not fit the body", "failed", "The cluster was not there any more.", true, nil
	v.Parent, v.Count = v.Operation, 3
	return v
}

func sampleMe() MeView {
	return MeView{
		Page: samplePage("Your access", "me-show", "me"), Name: "Olga Operator", Email: "olga@example.test", Subject: "8f14e45f-ceea", Issuer: "https://login.example.test",
		Roles: []string{"operator", "auditor"}, Verified: true, Groups: 1203, GroupClaim: "realm_access.roles", GroupPath: "realm_access → roles", Problems: []string{"2 values in realm_access.roles are not text (but a number, an object, a list or null), and count for nothing."}, Mapping: sampleMapping(), SignedInAt: before(3 * time.Hour), AuthTime: beforePtr(5 * time.Hour),
		Permissions: []PermissionGroup{{"clusters", []string{"read", "write", "delete"}}, {"backups", []string{"read"}}, {"audit", []string{"read", "export"}}},
		Claims:      []Pair{{"email", "olga@example.test"}, {"groups", "ops, auditors, everyone"}},
		Sessions: []SessionRow{
			{ID: "s1", Current: true, Browser: "Chrome on Linux", UserAgent: sampleActor.UserAgent, IP: "203.0.113.24", CreatedAt: before(3 * time.Hour), LastSeenAt: before(2 * time.Second), ExpiresAt: sampleNow.Add(9 * time.Hour)},
			{ID: "s2", Browser: "Safari on iPhone", UserAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1", IP: "198.51.100.9", CreatedAt: before(11 * time.Hour), LastSeenAt: before(4 * time.Hour), ExpiresAt: sampleNow.Add(time.Hour)},
		},
	}
}

func sampleMapping() Mapping {
	return Mapping{
		Giving: []MappingRow{
			{What: "group", Value: "ops", Gives: []Giving{{Role: "operator", Where: "everything", Source: "from configuration, QM_OPERATOR_GROUPS"}, {Role: "viewer", Where: "everything", Source: "from configuration, QM_VIEWER_GROUPS"}}},
			{What: "group", Value: "cn=auditors,ou=groups,ou=a-rather-long-organisational-unit,dc=example,dc=test", Gives: []Giving{{Role: "auditor", Where: "everything", Source: "from configuration, QM_AUDITOR_GROUPS"}}},
		},
		Nothing: []MappingRow{{What: "group", Value: "everyone", Why: "No grant names it."}, {What: "group", Value: "/engineering/search/relevance-and-ranking", Why: "No grant names it."}, {What: "e-mail address", Value: "olga@example.test", Why: "No grant names it."}},
		More:    1198,
	}
}

func sampleGroups() GroupsView {
	gives := []Giving{{Role: "viewer", Where: "everything", Source: "from configuration, QM_VIEWER_GROUPS"}}
	return GroupsView{
		Page: samplePage("Groups", "admin-groups", "admin"), Claim: "groups", Total: 3, All: 412, Text: "e", Next: "/admin/groups?after=x", Full: true, Providers: true,
		Rows: []SeenGroup{
			{Issuer: "https://login.example.test", Value: "engineering", Href: "/admin/groups/show?group=engineering", Gives: gives, Members: 1203, FirstSeen: before(90 * day), LastSeen: before(time.Minute)},
			{Issuer: "https://login.example.test", Value: "cn=auditors,ou=groups,ou=a-rather-long-organisational-unit,dc=example,dc=test", Gives: append(gives, Giving{Role: "operator", Where: "everything", Source: "from configuration, QM_OPERATOR_GROUPS"}), Members: 1, FirstSeen: before(3 * day), LastSeen: before(2 * day)},
			{Issuer: "https://login.example.test", Value: "sales", FirstSeen: before(3 * day), LastSeen: before(2 * day)},
		},
		Troubles:  []string{"Of 3 of 1,203 members the provider left groups out, because they are in too many."},
		NeverSeen: []SeenGroup{{Value: "platform-admin", Gives: []Giving{{Role: "admin", Where: "everything", Source: "from configuration, QM_ADMIN_GROUPS"}}}},
	}
}

// sampleGroup is a group of a long name, of which the reader sees a part.
func sampleGroup() GroupView {
	rows, long := sampleGrantRows(), "cn=auditors,ou=groups,ou=a-rather-long-organisational-unit,dc=example,dc=test"
	return GroupView{
		Page: samplePage("Group "+long, "group-show", "admin"), Crumbs: []Link{{"Groups", "/admin/groups"}}, Group: long, Issuer: "https://other.example.test", Partial: true,
		FirstSeen: before(90 * day), LastSeen: before(time.Minute), Reach: []ReachView{{rows[2].Where, samplePermissions()}, {rows[3].Where, samplePermissions()[:2]}}, Grants: rows[2:5],
		SeesMembers: true, MemberCount: 1203, AllMembers: "/admin/members?group=auditors",
		Members: []MemberRow{{Name: "Nora Nobody", Email: "nora@example.test", Href: "/admin/members/1", LastSeen: before(time.Hour), Blocked: true}, {Name: "Olga", Subject: "00u1x2y3", Href: "/admin/members/2", LastSeen: before(2 * day)}},
	}
}

func sampleClaimsTry() ClaimsTryView {
	return ClaimsTryView{
		Page: samplePage("What would somebody get?", "admin-groups-try", "admin"), Crumbs: []Link{{"Groups", "/admin/groups"}}, Claim: "groups",
		Form: ClaimsForm{Pasted: `{"groups": ["ops", 7]}`},
		Result: &ClaimsResult{
			Refused: []string{"iss is https://other.example.test, and this console trusts https://login.example.test only."}, Problems: []string{"1 value in groups is not text (but a number, an object, a list or null), and counts for nothing."},
			Email: "olga@example.test", Groups: 1203, Roles: []string{"operator"}, Permissions: []PermissionGroup{{"clusters", []string{"read", "write", "delete"}}}, Mapping: sampleMapping(),
		},
	}
}

func samplePackages() PackagesView {
	return PackagesView{
		Page: samplePage("Packages and prices", "packages-index", "packages"), Clear: "/packages", All: 34, Provider: "aws", GPU: true,
		Filter: FleetFilter{Selects: []Select{
			{Name: "account", Label: "Account", Choices: []Choice{{Value: "1", Label: "Search Production", Selected: true}}},
			{Name: "cloud_provider", Label: "Provider", Choices: []Choice{{Value: "aws", Label: "aws", Selected: true}}},
			{Name: "region", Label: "Region", Any: "All", Choices: []Choice{{Value: "eu-central-1", Label: "eu-central-1"}}},
		}},
		Columns: []Column{
			{Sorts: []Sort{{Label: "Package", Href: "/packages?sort=package"}}}, {Sorts: []Sort{{Label: "Region", Href: "/packages?sort=region"}}}, {Sorts: []Sort{{Label: "Tier"}}},
			{Sorts: []Sort{{Label: "RAM", Href: "/packages?sort=ram"}}, Numeric: true}, {Sorts: []Sort{{Label: "CPU", Href: "/packages?sort=cpu"}}, Numeric: true},
			{Sorts: []Sort{{Label: "Disk", Href: "/packages?sort=disk"}}, Numeric: true}, {Sorts: []Sort{{Label: "GPU", Href: "/packages?sort=gpu"}}, Numeric: true},
			{Sorts: []Sort{{Label: "An hour", Href: "/packages?sort=price&dir=desc", Order: "ascending"}}, Numeric: true}, {Sorts: []Sort{{Label: "A month"}}, Numeric: true},
			{Sorts: []Sort{{Label: "Extra GiB, a month"}}, Numeric: true}, {Sorts: []Sort{{Label: "Other regions"}}},
		},
		Notes:  []string{"The packages of eu-west-2 cannot be shown: Qdrant Cloud did not answer in time."},
		Create: Offer{Offered: true},
		Rows: []PackageRow{
			{ID: "p1", Name: "free2", Region: "eu-central-1", RegionName: "Frankfurt", RAM: "1 GiB", CPU: "0.5 vCPU", Disk: "4 GiB", Free: true, Hour: "$0.00", Month: "$0.00", Against: "the same price", Create: "/accounts/1/clusters/new?package_id=p1"},
			{ID: "p2", Name: "mx8-premium", Tier: "PREMIUM", MultiAZ: true, Region: "us-east-1", RegionName: "N. Virginia", RAM: "32 GiB", CPU: "4 vCPU", Disk: "128 GiB", Hour: "$0.56544", Month: "$412.77", ExtraDisk: "$0.11", Against: "cheapest", Cheapest: true, Create: "/accounts/1/clusters/new?package_id=p2"},
			{ID: "p3", Name: "gpu1", Tier: "STANDARD", Region: "ap-southeast-2", RegionName: "Sydney", RAM: "32 GiB", CPU: "8 vCPU", Disk: "128 GiB", GPU: "1 × 16 GiB", Hour: "$0.982", Month: "$716.86", Against: "+12.5 %", Create: "/accounts/1/clusters/new?package_id=p3"},
		},
	}
}
