package sandbox

import (
	"fmt"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// violation is one broken rule of a request, by protovalidate's rule ids (string.min_len) or the
// id of the message's own rule (update_cluster.id_present).
type violation struct {
	Field       string `json:"field"`
	Description string `json:"description"`
	Rule        string `json:"reason"`
}

// messageCheck decides a message rule; true is fulfilled.
type messageCheck func(m msg) bool

// validator applies the rules of the schema to requests, as the server does with protovalidate.
type validator struct {
	checks map[string]messageCheck // by message/rule id; field rules by message.field/rule id
}

func newValidator() *validator { return &validator{checks: messageChecks()} }

// validate returns every broken rule of m.
func (v *validator) validate(t *messageType, m msg) []violation {
	return v.message(nil, "", t, m)
}

func (v *validator) message(out []violation, path string, t *messageType, m msg) []violation {
	for _, r := range t.rules {
		if check := v.checks[t.name+"/"+r.id]; check != nil && !check(m) {
			out = append(out, violation{strings.TrimSuffix(path, "."), r.message, r.id})
		}
	}
	for _, f := range t.fields {
		out = v.field(out, path+f.name, t, f, m)
	}
	return out
}

func (v *validator) field(out []violation, path string, t *messageType, f *field, m msg) []violation {
	value, set := m[f.name]
	r := &f.rules
	if r.required && !set {
		return append(out, violation{path, "value is required", "required"})
	}
	if f.repeated {
		list, _ := value.([]any)
		if r.minItems != nil && len(list) < *r.minItems {
			out = append(out, violation{path, fmt.Sprintf("value must contain at least %d item(s)", *r.minItems), "repeated.min_items"})
		}
		if r.maxItems != nil && len(list) > *r.maxItems {
			out = append(out, violation{path, fmt.Sprintf("value must contain no more than %d item(s)", *r.maxItems), "repeated.max_items"})
		}
		for i, item := range list {
			at := path + "[" + strconv.Itoa(i) + "]"
			if sub, ok := item.(msg); ok {
				out = v.message(out, at+".", f.message, sub)
			} else if r.items != nil {
				out = r.items.scalar(out, at, f, item)
			}
		}
		return out
	}
	if sub, ok := value.(msg); ok {
		return v.message(out, path+".", f.message, sub)
	}
	if !set && f.tracksPresence() {
		return out
	}
	if r.cel != "" {
		if check := v.checks[t.name+"."+f.name+"/"+r.cel]; check != nil && !check(m) {
			out = append(out, violation{path, "if set, " + f.name + " must be a valid email address", r.cel})
		}
	}
	return r.scalar(out, path, f, value)
}

// scalar applies the rules of one value; nil is the zero value.
func (r *fieldRules) scalar(out []violation, path string, f *field, value any) []violation {
	add := func(rule, description string, args ...any) {
		out = append(out, violation{path, fmt.Sprintf(description, args...), rule})
	}
	switch {
	case f.enum != nil:
		n, _ := value.(enumValue)
		if _, known := f.enum.names[int32(n)]; r.definedOnly && !known {
			add("enum.defined_only", "value must be one of the defined enum values")
		}
		if r.nonZero && n == 0 {
			add("enum.not_in", "value must not be in list [0]")
		}
	case f.typ == "string":
		s, _ := value.(string)
		r.text(add, s)
	case f.typ == "duration":
		d, _ := value.(time.Duration)
		if r.minDuration != nil && d < *r.minDuration || r.maxDuration != nil && d > *r.maxDuration {
			add("duration.gte_lte", "value must be greater than or equal to %v and less than or equal to %v", *r.minDuration, *r.maxDuration)
		}
	default:
		r.number(add, f.typ, asFloat(value))
	}
	return out
}

func asFloat(value any) float64 {
	switch n := value.(type) {
	case int64:
		return float64(n)
	case uint64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

// number applies bounds. protovalidate names one rule for a pair of bounds: int32.gt_lte.
func (r *fieldRules) number(add func(string, string, ...any), typ string, n float64) {
	var low, words []string
	bad := false
	bound := func(name, word string, limit *float64, broken bool) {
		if limit == nil {
			return
		}
		low, words = append(low, name), append(words, word+" "+strconv.FormatFloat(*limit, 'f', -1, 64))
		bad = bad || broken
	}
	bound("gt", "greater than", r.gt, r.gt != nil && n <= *r.gt)
	bound("gte", "greater than or equal to", r.gte, r.gte != nil && n < *r.gte)
	bound("lte", "less than or equal to", r.lte, r.lte != nil && n > *r.lte)
	if bad {
		add(typ+"."+strings.Join(low, "_"), "value must be %s", strings.Join(words, " and "))
	}
}

func (r *fieldRules) text(add func(string, string, ...any), s string) {
	length := utf8.RuneCountInString(s)
	if r.length != nil && length != *r.length {
		add("string.len", "value length must be %d characters", *r.length)
	}
	if r.minLen != nil && length < *r.minLen {
		add("string.min_len", "value length must be at least %d characters", *r.minLen)
	}
	if r.maxLen != nil && length > *r.maxLen {
		add("string.max_len", "value length must be at most %d characters", *r.maxLen)
	}
	if r.pattern != nil && !r.pattern.MatchString(s) {
		add("string.pattern", "value does not match regex pattern `%s`", r.pattern)
	}
	if r.in != nil && !slices.Contains(r.in, s) {
		add("string.in", "value must be in list [%s]", strings.Join(r.in, ", "))
	}
	wellKnown := []struct {
		on    bool
		name  string
		what  string
		valid func(string) bool
	}{
		{r.uuid, "uuid", "UUID", isUUID},
		{r.email, "email", "email address", isEmail},
		{r.uri, "uri", "URI", isURI},
		{r.ipPrefix, "ip_prefix", "IP prefix", func(s string) bool { p, err := netip.ParsePrefix(s); return err == nil && p == p.Masked() }},
		{r.ipv4Prefix, "ipv4_prefix", "IPv4 prefix", isIPv4Prefix},
	}
	for _, k := range wellKnown {
		switch {
		case !k.on:
		case s == "":
			add("string."+k.name+"_empty", "value is empty, which is not a valid %s", k.what)
		case !k.valid(s):
			add("string."+k.name, "value must be a valid %s", k.what)
		}
	}
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
				return false
			}
		}
	}
	return true
}

func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && a.Name == "" && !strings.ContainsAny(s, "<>\" ")
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != ""
}

// isIPv4Prefix wants the host bits to be zero, as protovalidate's ipv4_prefix does.
func isIPv4Prefix(s string) bool {
	p, err := netip.ParsePrefix(s)
	return err == nil && p.Addr().Is4() && p == p.Masked()
}

// messageChecks implements the message rules (CEL) of the requests the sandbox decodes, by
// message and rule id. messages.json gives the rules' ids and texts, not their expressions; where
// the text leaves a choice the rule holds for an unset value.
func messageChecks() map[string]messageCheck {
	uuidOrUnset := func(name string) messageCheck {
		return func(m msg) bool { return m.str(name) == "" || isUUID(m.str(name)) }
	}
	noneOf := func(resource string, names ...string) messageCheck {
		return func(m msg) bool {
			for _, name := range names {
				if m.sub(resource).has(name) {
					return false
				}
			}
			return true
		}
	}
	hybridRegionIsUUID := func(m msg) bool {
		return m.str("cloud_provider_id") != providerHybrid || !m.has("cloud_provider_region_id") || isUUID(m.str("cloud_provider_region_id"))
	}
	regionUnlessHybrid := func(m msg) bool {
		return m.str("cloud_provider_id") == providerHybrid || m.str("cloud_provider_region_id") != ""
	}
	modifiedAfterCreated := func(m msg) bool {
		return !m.has("created_at") || m.has("last_modified_at") && !m.when("last_modified_at").Before(m.when("created_at"))
	}
	scopes := func(m msg, scope string) int {
		n := 0
		for _, item := range m.list("access_rules") {
			if rule, _ := item.(msg); rule.has(scope) {
				n++
			}
		}
		return n
	}
	setWithID := func(part string) messageCheck {
		return func(m msg) bool { return m.str("id") == "" || m.str(part) != "" }
	}
	untilAfterSince := func(m msg) bool { return !m.has("since") || !m.has("until") || m.when("until").After(m.when("since")) }
	displayName := func(resource string) messageCheck {
		return func(m msg) bool { return matches(`^[a-zA-Z0-9_-]{4,64}$`, m.sub(resource).str("display_name")) }
	}
	return map[string]messageCheck{
		"account.v1.Account/account.id":               uuidOrUnset("id"),
		"account.v1.Account/account.last_modified_at": modifiedAfterCreated,
		"account.v1.Account/account.owner_email": func(m msg) bool {
			return m.str("owner_email") == "" || isEmail(m.str("owner_email"))
		},
		"account.v1.UpdateAccountRequest/update_account.id_present": func(m msg) bool { return m.sub("account").str("id") != "" },

		"auth.v1.ManagementKey/management_key.id":     uuidOrUnset("id"),
		"auth.v1.ManagementKey/management_key.prefix": setWithID("prefix"),

		"booking.v1.GetBackupQuoteRequest/get_backup_quote.cloud_provider_region_id_present":         regionUnlessHybrid,
		"booking.v1.GetPackageRequest/list_packages.cloud_provider_region_id_present":                regionUnlessHybrid,
		"booking.v1.GetQuoteRequest/get_quote.cloud_provider_region_id_present":                      regionUnlessHybrid,
		"booking.v1.ListGlobalPackagesRequest/list_global_packages.cloud_provider_region_id_present": regionUnlessHybrid,
		"booking.v1.ListPackagesRequest/list_packages.cloud_provider_region_id_present":              regionUnlessHybrid,

		"cluster.auth.v1.CreateDatabaseApiKeyRequest/create_database_api_key.no_read_only_fields": noneOf("database_api_key",
			"id", "created_at", "prefix", "key"),
		"cluster.auth.v1.DatabaseApiKey/database_api_key.id":     uuidOrUnset("id"),
		"cluster.auth.v1.DatabaseApiKey/database_api_key.prefix": setWithID("prefix"),
		"cluster.auth.v2.CreateDatabaseApiKeyRequest/create_database_api_key.no_read_only_fields": noneOf("database_api_key",
			"id", "created_at", "created_by_email", "postfix", "key"),
		"cluster.auth.v2.DatabaseApiKey/database_api_key.id":      uuidOrUnset("id"),
		"cluster.auth.v2.DatabaseApiKey/database_api_key.postfix": setWithID("postfix"),
		"cluster.auth.v2.DatabaseApiKey/database_api_key.no_mixed_global_and_collection": func(m msg) bool {
			return scopes(m, "global_access") == 0 || scopes(m, "collection_access") == 0
		},
		"cluster.auth.v2.DatabaseApiKey/database_api_key.only_one_global_access": func(m msg) bool {
			return scopes(m, "global_access") <= 1
		},
		"cluster.auth.v2.DatabaseApiKey.created_by_email/database_api_key.created_by_email": func(m msg) bool {
			return m.str("created_by_email") == "" || isEmail(m.str("created_by_email"))
		},

		"cluster.backup.v1.Backup/cluster.id":                            uuidOrUnset("id"),
		"cluster.backup.v1.Backup/backup.name":                           setWithID("name"),
		"cluster.backup.v1.Backup/backup.display_name":                   setWithID("display_name"),
		"cluster.backup.v1.BackupSchedule/backup_schedule.id":            uuidOrUnset("id"),
		"cluster.backup.v1.ClusterInfo/cluster.cloud_provider_region_id": hybridRegionIsUUID,
		"cluster.backup.v1.CreateBackupRequest/create_backup.no_read_only_fields": noneOf("backup",
			"id", "created_at", "name", "status", "deleted_at", "backup_duration", "backup_schedule_id", "cluster_info", "price"),
		"cluster.backup.v1.CreateBackupRequest/create_backup.display_name_rule": displayName("backup"),
		"cluster.backup.v1.CreateBackupScheduleRequest/create_backup_schedule.no_read_only_fields": noneOf("backup_schedule",
			"id", "created_at", "deleted_at", "status"),
		"cluster.backup.v1.CreateBackupScheduleRequest/create_backup_schedule.display_name_rule": displayName("backup_schedule"),
		"cluster.backup.v1.UpdateBackupRequest/update_backup.id_present":                         func(m msg) bool { return m.sub("backup").str("id") != "" },
		"cluster.backup.v1.UpdateBackupRequest/update_backup.display_name_rule":                  displayName("backup"),
		"cluster.backup.v1.UpdateBackupScheduleRequest/update_backup_schedule.id_present": func(m msg) bool {
			return m.sub("backup_schedule").str("id") != ""
		},

		"cluster.v1.Cluster/cluster.id":                       uuidOrUnset("id"),
		"cluster.v1.Cluster/cluster.cloud_provider_region_id": hybridRegionIsUUID,
		"cluster.v1.CreateClusterRequest/create_cluster.no_read_only_fields": noneOf("cluster",
			"id", "created_at", "deleted_at", "state"),
		"cluster.v1.UpdateClusterRequest/update_cluster.id_present": func(m msg) bool { return m.sub("cluster").str("id") != "" },
		"cluster.v1.ListClustersRequest/list_clusters.cloud_provider_id_present": func(m msg) bool {
			return !m.has("cloud_provider_region_id") || m.has("cloud_provider_id")
		},
		"cluster.v1.ListClustersRequest/cluster.cloud_provider_region_id": hybridRegionIsUUID,
		"cluster.v1.Toleration/toleration.value_for_exists": func(m msg) bool {
			return m.enum("operator") != tolerationExists || m.str("value") == ""
		},
		"cluster.v1.Toleration/toleration.value_for_equal": func(m msg) bool {
			return m.enum("operator") == tolerationExists || m.str("value") != ""
		},
		"cluster.v1.Toleration/toleration.key_format_when_present": func(m msg) bool {
			return m.str("key") == "" || isQualifiedName(m.str("key"))
		},
		"cluster.v1.Toleration/toleration.key_empty_requires_exists": func(m msg) bool {
			return m.str("key") != "" || m.enum("operator") == tolerationExists
		},
		"cluster.v1.Toleration/toleration.seconds_only_for_noexecute": func(m msg) bool {
			return !m.has("toleration_seconds") || m.enum("effect") == tolerationNoExecute
		},

		"monitoring.v1.GetClusterEventsRequest/get_cluster_events.until_gt_since":                      untilAfterSince,
		"monitoring.v1.GetClusterInferenceMetricsRequest/get_cluster_inference_metrics.until_gt_since": untilAfterSince,
		"monitoring.v1.GetClusterLogsRequest/get_cluster_logs.until_gt_since":                          untilAfterSince,
		"monitoring.v1.GetClusterUsageMetricsRequest/get_cluster_usage_metrics.until_gt_since":         untilAfterSince,
	}
}

// Numbers of TolerationOperator and TolerationEffect.
const (
	tolerationExists    enumValue = 1
	tolerationNoExecute enumValue = 3
)

// isQualifiedName is a Kubernetes qualified name: an optional DNS prefix of 253 and a name of 63.
func isQualifiedName(s string) bool {
	name := s
	if prefix, rest, ok := strings.Cut(s, "/"); ok {
		if len(prefix) > 253 || !matches(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`, prefix) {
			return false
		}
		name = rest
	}
	return len(name) <= 63 && matches(`^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$`, name)
}

func matches(pattern, s string) bool {
	ok, err := regexp.MatchString(pattern, s)
	return err == nil && ok
}
