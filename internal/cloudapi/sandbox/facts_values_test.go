package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFactsTimesAreWrittenAsProtojsonDoes: with no fraction or one of 3, 6 or 9 digits, and so are durations.
func TestFactsTimesAreWrittenAsProtojsonDoes(t *testing.T) {
	for at, want := range map[time.Duration]string{
		0: "05Z", 500 * time.Millisecond: "05.500Z", 123400 * time.Microsecond: "05.123400Z", 10 * time.Nanosecond: "05.000000010Z", 120 * time.Millisecond: "05.120Z",
	} {
		moment := time.Date(2026, 9, 1, 12, 0, 5, int(at), time.UTC)
		if got := string((&field{typ: "timestamp"}).appendJSON(nil, moment, Spelling{})); got != `"2026-09-01T12:00:`+want+`"` {
			t.Errorf("%s: %s", at, got)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 15*time.Second + 500*time.Millisecond: "15.500s", time.Microsecond: "0.000001s", time.Nanosecond: "0.000000001s", 86400 * time.Second: "86400s",
		-1500 * time.Millisecond: "-1.500s", -time.Millisecond: "-0.001s", 123400 * time.Microsecond: "0.123400s",
	} {
		if got := string((&field{typ: "duration"}).appendJSON(nil, d, Spelling{})); got != `"`+want+`"` {
			t.Errorf("%s: %s", d, got)
		}
	}
	b := setup(t)
	b.clock = b.clock.Add(123400 * time.Microsecond)
	f := b.fixture(0)
	valid := regexp.MustCompile(`^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}|\d{6}|\d{9}))?Z|-?\d+(\.(\d{3}|\d{6}|\d{9}))?s)$`)
	looks := regexp.MustCompile(`"(\d{4}-\d\d-\d\dT[^"]*|-?[\d.]+s)"`)
	id := b.clusterNamed(f, "support-assistant")
	b.makeBackup(f, id, "of-odd-size", nil).want(t, 200)
	b.clock = b.clock.Add(time.Hour)
	for _, path := range []string{backupsPath(f), schedulesPath(f), clustersPath(f), keysPath(f, 2), "/api/monitoring/v1/accounts/" + f.CloudAccountID + "/cluster/" + id + "/logs"} {
		found := looks.FindAllStringSubmatch(string(b.call(f, "GET", path, nil).want(t, 200).body), -1)
		if len(found) == 0 {
			t.Errorf("%s: no times", path)
		}
		for _, match := range found {
			if !valid.MatchString(match[1]) {
				t.Errorf("%s: %s", path, match[1])
			}
		}
	}
}

// TestFactsStandardCrontab: ranges with steps, and ranges in lists.
func TestFactsStandardCrontab(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "support-assistant")
	for line, want := range map[string]string{
		"0-30/10 * * * *": "12:10 12:20 12:30 13:00 13:10", "0 8-18/4,20 * * *": "16:00 20:00 08:00 12:00 16:00", "15,45-50/5 12 * * *": "12:15 12:45 12:50 12:15 12:45",
		"5/20 * * * *": "12:05 12:25 12:45 13:05 13:25",
	} {
		b.makeSchedule(f, id, line, nil).want(t, 200)
		c, err := parseCron(line)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for at := range c.forwards(b.clock, b.clock.AddDate(0, 0, 3), b.clock) {
			if got = append(got, at.Format("15:04")); len(got) == 5 {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", line, got, want)
		}
	}
	for _, line := range []string{"1-2-3 * * * *", "1, * * * *", ",1 * * * *", "1-/2 * * * *", "5-1/2 * * * *", "1/2/3 * * * *", "1--2 * * * *", "+1 * * * *", "1-+2 * * * *", "1/+2 * * * *"} {
		if _, err := parseCron(line); err == nil {
			t.Errorf("%q is read", line)
		}
	}
}

// TestFactsOfSingleCalls.
func TestFactsOfSingleCalls(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	account := "/api/account/v1/accounts/" + f.CloudAccountID
	environment := b.accounts[f.CloudAccountID].clusters[b.clusterNamed(f, "legal-archive")].region()
	t.Run("no inference models for hybrid", func(t *testing.T) {
		got := b.call(f, "GET", "/api/booking/v1/accounts/"+f.CloudAccountID+"/inference-models?cloudProviderId=hybrid&cloudProviderRegionId="+environment, nil)
		if got.status != 400 || text(got, "details", 0, "fieldViolations", 0, "field") != "cloud_provider_id" {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("forwarded headers are always trusted on managed clusters", func(t *testing.T) {
		audit := map[string]any{"enabled": true, "trustForwardedHeaders": false}
		spec := edit(newCluster("trusting"), "configuration.databaseConfiguration", map[string]any{"auditLogging": audit})
		made := b.create(f, spec).want(t, 200)
		if got := made.get("cluster", "configuration", "databaseConfiguration", "auditLogging"); fmt.Sprint(got) != "map[enabled:true]" {
			t.Errorf("managed: %v", got)
		}
		id := b.clusterNamed(f, "legal-archive")
		b.update(f, id, map[string]any{"configuration": map[string]any{"databaseConfiguration": map[string]any{"auditLogging": audit}}}, "configuration.databaseConfiguration.auditLogging").want(t, 200)
		if got := b.cluster(f, id).get("cluster", "configuration", "databaseConfiguration", "auditLogging", "trustForwardedHeaders"); got != false {
			t.Errorf("hybrid: %v", got)
		}
	})
	t.Run("only owners change the settings of an account", func(t *testing.T) {
		a := b.accounts[f.CloudAccountID]
		a.resource = a.resource.with("settings", msg{"mfa_required": true})
		owner := b.call(f, "GET", account, nil).want(t, 200).get("account", "externalOwnerId")
		replaced := b.call(f, "PUT", account, map[string]any{"account": map[string]any{"name": "Without settings", "externalOwnerId": owner}}).want(t, 200)
		if replaced.get("account", "settings", "mfaRequired") != true || replaced.get("account", "name") != "Without settings" {
			t.Errorf("replaced without settings: %s", replaced.body)
		}
		named := b.call(f, "PUT", account, map[string]any{"account": map[string]any{"name": "Named settings"}, "updateMask": "name,settings"}).want(t, 200)
		if named.get("account", "settings", "mfaRequired") != true {
			t.Errorf("the mask names settings that are not there: %s", named.body)
		}
		b.call(f, "PUT", account, map[string]any{"account": map[string]any{"name": "Other settings", "externalOwnerId": owner, "settings": map[string]any{}}}).want(t, 403)
	})
	t.Run("numbers of enums in a query", func(t *testing.T) {
		path := "/api/monitoring/v1/accounts/" + f.CloudAccountID + "/cluster/" + b.clusterNamed(f, "recommendations-us") + "/alerts?state="
		b.call(f, "GET", path+"CLUSTER_ALERT_STATE_FIRING", nil).want(t, 200)
		b.lax = true // the definitions have names only; the gateway takes numbers
		b.call(f, "GET", path+"1", nil).want(t, 200)
		for _, number := range []string{"99", "-1", "4294967297"} {
			b.call(f, "GET", path+number, nil).want(t, 400)
		}
		b.lax = false
	})
}

// TestFactsEveryAlertOccurs: each type, firing and resolved, as it was asked for, and kept.
func TestFactsEveryAlertOccurs(t *testing.T) {
	b := setup(t)
	f := b.fixture(0)
	id := b.clusterNamed(f, "product-search-eu")
	path := "/api/monitoring/v1/accounts/" + f.CloudAccountID + "/cluster/" + id + "/alerts"
	named := func(kind string) (out []string) {
		list := b.call(f, "GET", path, nil).want(t, 200)
		items, _ := list.get("alerts").([]any)
		for i := range items {
			if text(list, "alerts", i, "type") == kind {
				out = append(out, text(list, "alerts", i, "state")+" "+text(list, "alerts", i, "severity")+" "+text(list, "alerts", i, "title"))
			}
		}
		return out
	}
	for kind, number := range b.schema.enums["monitoring.v1.ClusterAlertType"].numbers {
		if number == 0 {
			continue
		}
		before := len(named(kind))
		fire := map[string]any{"account": f.CloudAccountID, "cluster": id, "type": strings.TrimPrefix(kind, "CLUSTER_ALERT_TYPE_")}
		b.ctl("POST", "alerts", fire)
		got := named(kind)
		if len(got) != before+1 || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "CLUSTER_ALERT_STATE_FIRING ") && len(s) > 60 }) {
			t.Errorf("%s: %v", kind, got)
		}
		data, err := b.encodeState()
		if err != nil {
			t.Fatal(err)
		}
		again, err := b.decodeState(data)
		if err != nil {
			t.Fatal(err)
		}
		if fired := again.accounts[f.CloudAccountID].clusters[id].fired; len(fired) == 0 || fired[len(fired)-1].Type != enumValue(number) {
			t.Errorf("%s is not kept: %v", kind, fired)
		}
		fire["resolved"] = true
		b.ctl("POST", "alerts", fire)
		if got := named(kind); !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "CLUSTER_ALERT_STATE_RESOLVED ") }) {
			t.Errorf("%s when it is resolved: %v", kind, got)
		}
	}
	b.clock = b.clock.Add(alertKept + time.Hour)
	if got := named("CLUSTER_ALERT_TYPE_OOD"); len(got) != 0 {
		t.Errorf("after three days: %v", got)
	}
	worse := map[string]any{"account": f.CloudAccountID, "cluster": id, "type": "OOD", "severity": "INFO", "title": "Made up", "description": "For a test."}
	b.ctl("POST", "alerts", worse)
	if got := named("CLUSTER_ALERT_TYPE_OOD"); !slices.Equal(got, []string{"CLUSTER_ALERT_STATE_FIRING CLUSTER_ALERT_SEVERITY_INFO Made up"}) {
		t.Errorf("worded: %v", got)
	}
	for _, in := range []map[string]any{{"type": "NONE"}, {"type": "OOD", "severity": "LETHAL"}, {"type": "OOM", "resolved": true}, {"cluster": newID(), "type": "OOD"}, {"account": "x", "type": "OOD"}} {
		asked := map[string]any{"account": f.CloudAccountID, "cluster": id}
		for name, v := range in {
			asked[name] = v
		}
		if got := b.send(b.control.URL, "Bearer control-token", "POST", "/_sandbox/alerts", asked); got.status != 422 {
			t.Errorf("%v: %d %s", in, got.status, got.body)
		}
	}
}

// TestFactsListsThatAreShort: half a page that names no next one, and a list without items, of both generations.
func TestFactsListsThatAreShort(t *testing.T) {
	b := setup(t)
	b.lax = true // a list that must not be empty is
	current, legacy := b.fixture(0), b.fixture(2)
	count := func(r reply) int {
		var list []json.RawMessage
		if json.Unmarshal(r.body, &list) == nil {
			return len(list)
		}
		for _, name := range []string{"items", "alerts", "permissions"} {
			if items, ok := r.get(name).([]any); ok {
				return len(items)
			}
		}
		return 0
	}
	for _, c := range []struct {
		f         Fixture
		operation string
		path      string
	}{
		{current, "ListClusters", clustersPath(current) + "?pageSize=6"}, {current, "ListBackups", backupsPath(current)}, {current, "ListEffectivePermissions", "/api/iam/v1/accounts/" + current.CloudAccountID + "/effective-permissions"},
		{legacy, "list_clusters", legacyPath(legacy) + "/clusters"},
	} {
		whole := b.call(c.f, "GET", c.path, nil).want(t, 200)
		for kind, want := range map[string]int{"half_page": count(whole) / 2, "empty_list": 0} {
			b.ctl("POST", "faults", map[string]any{"operation": c.operation, "kind": kind, "times": 1})
			got := b.call(c.f, "GET", c.path, nil).want(t, 200)
			if count(got) != want || got.get("nextPageToken") != nil || got.get("totalSize") != nil {
				t.Errorf("%s of %s: %d items, want %d: %.300s", kind, c.operation, count(got), want, got.body)
			}
			if after := b.call(c.f, "GET", c.path, nil); string(after.body) != string(whole.body) && c.operation != "ListClusters" {
				t.Errorf("%s of %s goes on", kind, c.operation)
			}
		}
	}
	b.ctl("POST", "faults", map[string]any{"operation": "GetCluster", "kind": "half_page", "times": 1})
	id := b.clusterNamed(current, "product-search-eu")
	if got := b.cluster(current, id).want(t, 200); text(got, "cluster", "id") != id {
		t.Errorf("an answer without a list: %s", got.body)
	}
	b.ctl("POST", "random", map[string]any{"seed": 1, "share": 1, "kinds": []string{"empty_list"}})
	if got := b.call(current, "GET", clustersPath(current), nil).want(t, 200); count(got) != 0 {
		t.Errorf("at random: %.300s", got.body)
	}
}
