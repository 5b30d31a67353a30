package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"quartermaster/internal/cloudapi"
)

// notOfRequests are message rules of the definitions that the sandbox does not apply, because
// they stand on answers, which it makes itself.
func notOfRequests() map[string]string {
	return map[string]string{
		"account.v1.AccountInvite":         "only in answers; CreateAccountInvite is for users",
		"cluster.v1.CreateClusterResponse": "an answer; tests read the state in it",
		"cluster.v1.UpdateClusterResponse": "an answer; tests read the state in it",
		"iam.v1.Role":                      "only in answers; changing roles is not served",
		"iam.v1.User":                      "only in answers",
	}
}

// TestEveryMessageRuleIsImplementedOrNamed goes through all CEL rules of the tables.
func TestEveryMessageRuleIsImplementedOrNamed(t *testing.T) {
	s, err := newSchema()
	if err != nil {
		t.Fatal(err)
	}
	checks, named := messageChecks(), notOfRequests()
	for name, m := range s.messages {
		for _, r := range m.rules {
			implemented := checks[name+"/"+r.id] != nil
			if _, excused := named[name]; implemented == excused {
				t.Errorf("%s/%s: implemented %v, named as not %v", name, r.id, implemented, excused)
			}
			delete(checks, name+"/"+r.id)
		}
		for _, f := range m.fields {
			if f.rules.cel == "" {
				continue
			}
			id := name + "." + f.name + "/" + f.rules.cel
			if checks[id] == nil {
				t.Errorf("%s is not implemented", id)
			}
			delete(checks, id)
		}
	}
	for id := range checks {
		t.Errorf("%s is implemented but no rule of the definitions", id)
	}
}

// example makes a request message that fulfils all rules, every field set.
func example(t *messageType, skip func(string) bool, path string) msg {
	m := msg{}
	groups := map[string]bool{}
	for _, f := range t.fields {
		at := path + f.name
		if skip(at) || groups[f.oneof] {
			continue
		}
		groups[f.oneof] = f.oneof != ""
		var v any
		if f.message != nil {
			v = example(f.message, skip, at+".")
		} else {
			rules := &f.rules
			if rules.items != nil {
				rules = rules.items
			}
			v = rules.sample(f)
		}
		if f.repeated {
			v = []any{v}
		}
		m[f.name] = v
	}
	if t.name == "cluster.v1.Toleration" {
		m["operator"], m["effect"] = enumValue(2), tolerationNoExecute
	}
	return m
}

// samples are texts of which one fulfils any rule of the tables.
func samples() []string {
	return []string{
		"abcdef", "v1.17.2", "203.0.113.0/24", "US", "https://example.test/", "person@example.test", "0b1c6f60-4f0e-4b52-8bb0-1a2f3b9c9d10",
		"example.test", "free", "0 2 * * *",
	}
}

func (r *fieldRules) sample(f *field) any {
	good := func(v any) bool { return len(r.scalar(nil, "", f, v)) == 0 }
	var candidates []any
	switch {
	case f.enum != nil:
		candidates = []any{enumValue(1)}
	case f.typ == "bool":
		candidates = []any{true}
	case f.name == "until": // after since
		candidates = []any{time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)}
	case f.typ == "timestamp":
		candidates = []any{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	case f.typ == "duration":
		candidates = []any{2 * day}
	case f.typ == "mask":
		candidates = []any{[]string{"name"}}
	case strings.HasPrefix(f.typ, "u"):
		candidates = []any{uint64(5)}
	case strings.HasPrefix(f.typ, "int"):
		candidates = []any{int64(5)}
	case f.name == "id": // message rules want these two to look like what they are
		candidates = []any{"0b1c6f60-4f0e-4b52-8bb0-1a2f3b9c9d10"}
	case f.name == "owner_email":
		candidates = []any{"person@example.test"}
	default:
		for _, s := range samples() {
			candidates = append(candidates, s)
		}
	}
	for _, c := range candidates {
		if good(c) {
			return c
		}
	}
	panic("no sample for " + f.name)
}

// breakage is one way to break one rule.
type breakage struct {
	path, rule string
	value      any // nil: leave the field out
}

// breakages lists a way to break every rule of a field.
func (f *field) breakages(path string) []breakage {
	var out []breakage
	if f.rules.required {
		out = append(out, breakage{path, "required", nil})
	}
	if n := f.rules.minItems; n != nil && *n > 0 {
		out = append(out, breakage{path, "repeated.min_items", nil})
	}
	if n := f.rules.maxItems; n != nil {
		out = append(out, breakage{path, "repeated.max_items", *n + 1})
	}
	if f.rules.items != nil {
		for _, b := range f.rules.items.breakages(f, path) {
			out = append(out, breakage{b.path + "[0]", b.rule, []any{b.value}})
		}
	}
	return append(out, f.rules.breakages(f, path)...)
}

func (r *fieldRules) breakages(f *field, path string) []breakage {
	var out []breakage
	add := func(rule string, value any) { out = append(out, breakage{path, rule, value}) }
	if f.enum != nil {
		if r.definedOnly {
			add("enum.defined_only", enumValue(99))
		}
		if r.nonZero {
			add("enum.not_in", enumValue(0))
		}
		return out
	}
	for rule, on := range map[string]bool{"uuid": r.uuid, "email": r.email, "uri": r.uri, "ip_prefix": r.ipPrefix, "ipv4_prefix": r.ipv4Prefix} {
		if on {
			add("string."+rule, "not one")
		}
	}
	if r.minLen != nil && *r.minLen > 0 {
		add("string.min_len", strings.Repeat("a", *r.minLen-1))
	}
	if r.maxLen != nil {
		add("string.max_len", strings.Repeat("a", *r.maxLen+1))
	}
	if r.length != nil {
		add("string.len", strings.Repeat("A", *r.length+1))
	}
	if r.pattern != nil && !r.pattern.MatchString("\x01!") { // Toleration.value has a pattern that fits every text
		add("string.pattern", "\x01!")
	}
	if r.in != nil {
		add("string.in", "none of them")
	}
	if r.minDuration != nil {
		add("duration.gte_lte", *r.minDuration-time.Second)
	}
	if r.maxDuration != nil {
		add("duration.gte_lte", *r.maxDuration+time.Second)
	}
	number := func(v float64) any {
		if strings.HasPrefix(f.typ, "u") {
			return uint64(v)
		}
		return int64(v)
	}
	var names []string
	for _, b := range []struct {
		name string
		on   bool
	}{{"gt", r.gt != nil}, {"gte", r.gte != nil}, {"lte", r.lte != nil}} {
		if b.on {
			names = append(names, b.name)
		}
	}
	id := f.typ + "." + strings.Join(names, "_")
	switch {
	case r.gt != nil:
		add(id, number(*r.gt))
	case r.gte != nil && (*r.gte > 0 || !strings.HasPrefix(f.typ, "u")): // an unsigned number is never below zero
		add(id, number(*r.gte-1))
	}
	if r.lte != nil {
		add(id, number(*r.lte+1))
	}
	return out
}

// put returns m with the value at a dotted path replaced; list items are item 0.
func put(m msg, path string, value any) msg {
	first, rest, nested := strings.Cut(path, ".")
	out := m.clone()
	switch {
	case nested:
		switch v := out[first].(type) {
		case msg:
			out[first] = put(v, rest, value)
		case []any:
			out[first] = []any{put(v[0].(msg), rest, value)}
		}
	case value == nil:
		delete(out, first)
	default:
		if n, ok := value.(int); ok { // so many items
			list, _ := out[first].([]any)
			out[first] = slices.Repeat(list, n)
		} else {
			out[first] = value
		}
	}
	return out
}

// request sends a request message the way the gateway's REST mapping says.
func (b *bench) message(f Fixture, r *route, m msg) reply {
	b.t.Helper()
	path := r.op.Path
	for strings.Contains(path, "{") {
		from, to := strings.Index(path, "{"), strings.Index(path, "}")
		var v any = m
		for _, name := range strings.Split(path[from+1:to], ".") {
			sub, _ := v.(msg)
			v = sub[name]
		}
		path = path[:from] + url.PathEscape(fmt.Sprint(v)) + path[to+1:]
	}
	if r.op.Body {
		return b.call(f, r.op.Method, path, string(r.in.appendJSON(nil, m, Spelling{})))
	}
	query := url.Values{}
	flatten(query, "", r.in, m)
	for name := range query {
		if strings.Contains(r.op.Path, "{"+snake(name)+"}") {
			query.Del(name)
		}
	}
	return b.call(f, r.op.Method, path+"?"+query.Encode(), nil)
}

func flatten(query url.Values, at string, t *messageType, m msg) {
	for _, f := range t.fields {
		switch v := m[f.name].(type) {
		case nil:
		case msg:
			flatten(query, at+f.json+".", f.message, v)
		case []any:
			for _, item := range v {
				query.Add(at+f.json, fmt.Sprint(item))
			}
		case time.Time:
			query.Add(at+f.json, v.Format(time.RFC3339))
		default:
			query.Add(at+f.json, fmt.Sprint(v))
		}
	}
}

// TestEveryFieldRuleRefuses sends, for every rule of every field of every request that is served,
// a request that breaks it and is right otherwise, and wants 400 with the rule's id at the field.
func TestEveryFieldRuleRefuses(t *testing.T) {
	b := setup(t)
	b.lax = true // these requests are wrong on purpose
	f := b.fixture(0)
	broken := 0
	for _, r := range b.routes {
		if r.serve == nil {
			continue
		}
		base := requestExample(r, f)
		if v := b.validator.validate(r.in, base); len(v) > 0 {
			t.Errorf("the example for %s breaks %+v", r.op.Name, v)
			continue
		}
		var walk func(*messageType, string, msg)
		walk = func(mt *messageType, at string, base msg) {
			for _, field := range mt.fields {
				path := at + field.name
				if readOnlyParts(path) {
					continue
				}
				base := base
				if field.oneof != "" { // the example has the first of a group
					base = choose(mt, field, at, base)
				}
				for _, br := range field.breakages(path) {
					if unsendable(r.op, br) {
						continue
					}
					broken++
					refused(t, b.message(f, r, put(base, strings.TrimSuffix(br.path, "[0]"), br.value)), r.op.Name, br)
				}
				if field.message != nil {
					walk(field.message, path+".", base)
				}
			}
		}
		walk(r.in, "", base)
	}
	if broken < 200 {
		t.Errorf("only %d rules were broken", broken)
	}
}

// choose returns a request with one field of a oneof set and the others of its group left out.
func choose(mt *messageType, chosen *field, at string, base msg) msg {
	for _, f := range mt.fields {
		if f.oneof == chosen.oneof {
			base = put(base, at+f.name, nil)
		}
	}
	if chosen.message == nil {
		return put(base, at+chosen.name, chosen.rules.sample(chosen))
	}
	return put(base, at+chosen.name, example(chosen.message, readOnlyParts, at+chosen.name+"."))
}

// readOnlyParts are fields that requests do not carry: the state of a cluster is refused whole on
// create and ignored on update, and what is read-only of a database key is refused.
func readOnlyParts(path string) bool {
	return slices.Contains([]string{
		"cluster.state", "cluster.created_at", "cluster.deleted_at", "database_api_key.id", "database_api_key.created_at",
		"database_api_key.created_by_email", "database_api_key.prefix", "database_api_key.postfix", "database_api_key.key",
		"backup.created_at", "backup.deleted_at", "backup.status", "backup.backup_duration", "backup.backup_schedule_id", "backup.cluster_info", "backup.price",
		"backup_schedule.created_at", "backup_schedule.deleted_at", "backup_schedule.status",
	}, path)
}

// unsendable are broken values that cannot be sent: a path parameter is never missing or empty,
// and the message it belongs to is therefore never missing.
func unsendable(op cloudapi.Op, b breakage) bool {
	return strings.Contains(op.Path, "{"+b.path+"}") && (b.value == nil || b.value == "") || strings.Contains(op.Path, "{"+b.path+".") && b.value == nil
}

// requestExample is a request of a route that is right, for a fixture's account.
func requestExample(r *route, f Fixture) msg {
	base := example(r.in, readOnlyParts, "")
	delete(base, "update_mask")
	switch r.op.Name {
	case "CreateCluster":
		delete(base.sub("cluster"), "id")
	case "CreateBackup":
		delete(base.sub("backup"), "id")
		delete(base.sub("backup"), "name")
	case "CreateBackupSchedule":
		delete(base.sub("backup_schedule"), "id")
	}
	for _, path := range []string{"account_id", "cluster.account_id", "account.id", "management_key.account_id", "database_api_key.account_id", "backup.account_id", "backup_schedule.account_id"} {
		if strings.Contains(r.op.Path, "{"+path+"}") {
			base = put(base, path, f.CloudAccountID)
		}
	}
	return base
}

// refused wants a rule named at its field.
func refused(t *testing.T, got reply, op string, br breakage) {
	t.Helper()
	details, _ := got.get("details", 0, "fieldViolations").([]any)
	for _, d := range details {
		v, _ := d.(map[string]any)
		field, _ := v["field"].(string)
		field = strings.ReplaceAll(field, "[0]", "")
		if v["reason"] == br.rule && field == strings.TrimSuffix(br.path, "[0]") {
			if got.status != http.StatusBadRequest {
				t.Errorf("%s, %s at %s: status %d", op, br.rule, br.path, got.status)
			}
			return
		}
	}
	if br.rule == "enum.defined_only" && got.status == http.StatusBadRequest && strings.HasPrefix(text(got, "message"), "parsing field \""+br.path+"\"") {
		return // in a query the gateway refuses it before any rule
	}
	t.Errorf("%s was sent %s = %#v: want the rule %s, got %d %.500s", op, br.path, br.value, br.rule, got.status, got.body)
}

// TestEveryMessageRuleRefuses breaks each message rule that the sandbox implements.
func TestEveryMessageRuleRefuses(t *testing.T) {
	b := setup(t)
	b.lax = true
	f := b.fixture(0)
	routes := map[string]*route{}
	for _, r := range b.routes {
		if r.in != nil {
			routes[strings.TrimSuffix(r.in.name, "Request")] = r
		}
	}
	toleration := func(m msg) map[string]any { return map[string]any{"cluster.configuration.tolerations": []any{m}} }
	scopes := func(rules ...string) map[string]any {
		var list []any
		for _, rule := range rules {
			scope := msg{"access_type": enumValue(1)}
			if rule == "collection_access" {
				scope["collection_name"] = "products"
			}
			list = append(list, msg{rule: scope})
		}
		return map[string]any{"database_api_key.access_rules": list}
	}
	keyV1, keyV2 := "cluster.auth.v1.CreateDatabaseApiKey", "cluster.auth.v2.CreateDatabaseApiKey"
	type broken struct {
		call string
		set  map[string]any
	}
	cases := map[string]broken{
		"account.v1.Account/account.id":                                                              {"account.v1.UpdateAccount", nil}, // the path always sets it: see below
		"account.v1.Account/account.last_modified_at":                                                {"account.v1.UpdateAccount", map[string]any{"account.last_modified_at": time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"account.v1.Account/account.owner_email":                                                     {"account.v1.UpdateAccount", map[string]any{"account.owner_email": "nobody"}},
		"account.v1.UpdateAccountRequest/update_account.id_present":                                  {"account.v1.UpdateAccount", nil},
		"auth.v1.ManagementKey/management_key.id":                                                    {"auth.v1.CreateManagementKey", map[string]any{"management_key.id": "nonsense"}},
		"auth.v1.ManagementKey/management_key.prefix":                                                {"auth.v1.CreateManagementKey", map[string]any{"management_key.id": f.CloudAccountID, "management_key.prefix": nil}},
		"booking.v1.GetBackupQuoteRequest/get_backup_quote.cloud_provider_region_id_present":         {"booking.v1.GetBackupQuote", map[string]any{"cloud_provider_region_id": nil}},
		"booking.v1.GetPackageRequest/list_packages.cloud_provider_region_id_present":                {"booking.v1.GetPackage", map[string]any{"cloud_provider_region_id": nil}},
		"booking.v1.GetQuoteRequest/get_quote.cloud_provider_region_id_present":                      {"booking.v1.GetQuote", map[string]any{"cloud_provider_region_id": nil}},
		"booking.v1.ListGlobalPackagesRequest/list_global_packages.cloud_provider_region_id_present": {"booking.v1.ListGlobalPackages", map[string]any{"cloud_provider_region_id": nil}},
		"booking.v1.ListPackagesRequest/list_packages.cloud_provider_region_id_present":              {"booking.v1.ListPackages", map[string]any{"cloud_provider_region_id": nil}},
		"cluster.v1.Cluster/cluster.id":                                                              {"cluster.v1.CreateCluster", map[string]any{"cluster.id": "nonsense"}},
		"cluster.v1.Cluster/cluster.cloud_provider_region_id":                                        {"cluster.v1.CreateCluster", map[string]any{"cluster.cloud_provider_id": "hybrid", "cluster.cloud_provider_region_id": "eu-central-1"}},
		"cluster.v1.CreateClusterRequest/create_cluster.no_read_only_fields":                         {"cluster.v1.CreateCluster", map[string]any{"cluster.created_at": time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}},
		"cluster.v1.UpdateClusterRequest/update_cluster.id_present":                                  {"cluster.v1.UpdateCluster", nil},
		"cluster.v1.ListClustersRequest/list_clusters.cloud_provider_id_present":                     {"cluster.v1.ListClusters", map[string]any{"cloud_provider_id": nil}},
		"cluster.v1.ListClustersRequest/cluster.cloud_provider_region_id":                            {"cluster.v1.ListClusters", map[string]any{"cloud_provider_id": "hybrid"}},
		"cluster.v1.Toleration/toleration.value_for_exists":                                          {"cluster.v1.CreateCluster", toleration(msg{"key": "a", "operator": tolerationExists, "value": "b"})},
		"cluster.v1.Toleration/toleration.value_for_equal":                                           {"cluster.v1.CreateCluster", toleration(msg{"key": "a"})},
		"cluster.v1.Toleration/toleration.key_format_when_present":                                   {"cluster.v1.CreateCluster", toleration(msg{"key": "a b", "value": "c"})},
		"cluster.v1.Toleration/toleration.key_empty_requires_exists":                                 {"cluster.v1.CreateCluster", toleration(msg{"value": "c"})},
		"cluster.v1.Toleration/toleration.seconds_only_for_noexecute":                                {"cluster.v1.CreateCluster", toleration(msg{"key": "a", "value": "c", "toleration_seconds": uint64(5)})},

		"cluster.auth.v1.CreateDatabaseApiKeyRequest/create_database_api_key.no_read_only_fields":      {keyV1, map[string]any{"database_api_key.key": "chosen"}},
		"cluster.auth.v1.DatabaseApiKey/database_api_key.id":                                           {keyV1, map[string]any{"database_api_key.id": "nonsense"}},
		"cluster.auth.v1.DatabaseApiKey/database_api_key.prefix":                                       {keyV1, map[string]any{"database_api_key.id": f.CloudAccountID}},
		"cluster.auth.v2.CreateDatabaseApiKeyRequest/create_database_api_key.no_read_only_fields":      {keyV2, map[string]any{"database_api_key.key": "chosen"}},
		"cluster.auth.v2.DatabaseApiKey/database_api_key.id":                                           {keyV2, map[string]any{"database_api_key.id": "nonsense"}},
		"cluster.auth.v2.DatabaseApiKey/database_api_key.postfix":                                      {keyV2, map[string]any{"database_api_key.id": f.CloudAccountID}},
		"cluster.auth.v2.DatabaseApiKey/database_api_key.only_one_global_access":                       {keyV2, scopes("global_access", "global_access")},
		"cluster.auth.v2.DatabaseApiKey/database_api_key.no_mixed_global_and_collection":               {keyV2, scopes("global_access", "collection_access")},
		"monitoring.v1.GetClusterEventsRequest/get_cluster_events.until_gt_since":                      {"monitoring.v1.GetClusterEvents", map[string]any{"since": time.Date(2026, 9, 1, 2, 0, 0, 0, time.UTC), "until": time.Date(2026, 9, 1, 1, 0, 0, 0, time.UTC)}},
		"monitoring.v1.GetClusterInferenceMetricsRequest/get_cluster_inference_metrics.until_gt_since": {"monitoring.v1.GetClusterInferenceMetrics", map[string]any{"since": time.Date(2026, 9, 1, 2, 0, 0, 0, time.UTC), "until": time.Date(2026, 9, 1, 1, 0, 0, 0, time.UTC)}},
		"monitoring.v1.GetClusterLogsRequest/get_cluster_logs.until_gt_since":                          {"monitoring.v1.GetClusterLogs", map[string]any{"since": time.Date(2026, 9, 1, 2, 0, 0, 0, time.UTC), "until": time.Date(2026, 9, 1, 1, 0, 0, 0, time.UTC)}},
		"monitoring.v1.GetClusterUsageMetricsRequest/get_cluster_usage_metrics.until_gt_since":         {"monitoring.v1.GetClusterUsageMetrics", map[string]any{"since": time.Date(2026, 9, 1, 2, 0, 0, 0, time.UTC), "until": time.Date(2026, 9, 1, 1, 0, 0, 0, time.UTC)}},
		"cluster.backup.v1.Backup/cluster.id":                                                          {"cluster.backup.v1.UpdateBackup", map[string]any{"backup.id": "nonsense"}},
		"cluster.backup.v1.Backup/backup.name":                                                         {"cluster.backup.v1.UpdateBackup", map[string]any{"backup.name": nil}},
		"cluster.backup.v1.Backup/backup.display_name":                                                 {"cluster.backup.v1.UpdateBackup", map[string]any{"backup.display_name": nil}},
		"cluster.backup.v1.BackupSchedule/backup_schedule.id":                                          {"cluster.backup.v1.UpdateBackupSchedule", map[string]any{"backup_schedule.id": "nonsense"}},
		"cluster.backup.v1.ClusterInfo/cluster.cloud_provider_region_id":                               {"cluster.backup.v1.UpdateBackup", map[string]any{"backup.cluster_info": msg{"name": "abcdef", "cloud_provider_id": "hybrid", "cloud_provider_region_id": "abc"}}},
		"cluster.backup.v1.CreateBackupRequest/create_backup.no_read_only_fields":                      {"cluster.backup.v1.CreateBackup", map[string]any{"backup.name": "chosen"}},
		"cluster.backup.v1.CreateBackupRequest/create_backup.display_name_rule":                        {"cluster.backup.v1.CreateBackup", map[string]any{"backup.display_name": "two words"}},
		"cluster.backup.v1.CreateBackupScheduleRequest/create_backup_schedule.no_read_only_fields":     {"cluster.backup.v1.CreateBackupSchedule", map[string]any{"backup_schedule.status": scheduleActive}},
		"cluster.backup.v1.CreateBackupScheduleRequest/create_backup_schedule.display_name_rule":       {"cluster.backup.v1.CreateBackupSchedule", map[string]any{"backup_schedule.display_name": nil}},
		"cluster.backup.v1.UpdateBackupRequest/update_backup.id_present":                               {"cluster.backup.v1.UpdateBackup", nil},
		"cluster.backup.v1.UpdateBackupRequest/update_backup.display_name_rule":                        {"cluster.backup.v1.UpdateBackup", map[string]any{"backup.display_name": "abc"}},
		"cluster.backup.v1.UpdateBackupScheduleRequest/update_backup_schedule.id_present":              {"cluster.backup.v1.UpdateBackupSchedule", nil},
		"cluster.auth.v2.DatabaseApiKey.created_by_email/database_api_key.created_by_email":            {keyV2, map[string]any{"database_api_key.created_by_email": "nobody"}},
	}
	for rule := range messageChecks() {
		if _, ok := cases[rule]; !ok {
			t.Errorf("nothing breaks %s", rule)
		}
	}
	for rule, c := range cases {
		r := routes[c.call]
		_, id, _ := strings.Cut(rule, "/")
		if c.set == nil {
			// A path parameter cannot be left out, so these are asked of the rule itself.
			if messageChecks()[rule](msg{"id": "nonsense", "account": msg{}, "cluster": msg{}, "backup": msg{}, "backup_schedule": msg{}}) {
				t.Errorf("%s allows what it must not", rule)
			}
			continue
		}
		base := requestExample(r, f)
		for path, v := range c.set {
			base = put(base, path, v)
		}
		got := b.message(f, r, base)
		details, _ := got.get("details", 0, "fieldViolations").([]any)
		if got.status != http.StatusBadRequest || !slices.ContainsFunc(details, func(d any) bool { return d.(map[string]any)["reason"] == id }) {
			t.Errorf("%s: got %d %s", rule, got.status, got.body)
		}
	}
}
