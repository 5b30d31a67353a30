package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reader walks a JSON body of pa/v1 and collects what is wrong with it, as pydantic does.
type reader struct {
	problems legacyInvalid
}

func (p *reader) wrong(loc []any, typ, text string) {
	p.problems = append(p.problems, detail{append([]any{"body"}, loc...), text, typ})
}

// node is a value of the body with its place.
type node struct {
	*reader
	loc   []any
	value any  // nil: absent or null
	null  bool // it is there as null, which is wrong unless orNull allows it
}

func (n node) at(name any, v any) node {
	return node{n.reader, append(slices.Clone(n.loc), name), v, false}
}

// get returns a member of an object.
func (n node) get(name string) node {
	o, _ := n.value.(map[string]any)
	v, there := o[name]
	member := n.at(name, v)
	member.null = there && v == nil
	return member
}

// orNull is for what may be null: then it is as if it were not there.
func (n node) orNull() node {
	n.null = false
	return n
}

// absent reports whether there is no value. Where that is a null that may not be, it is wrong in the way that a value of another type is.
func (n node) absent(typ, text string) bool {
	if n.null {
		n.wrong(n.loc, typ, text)
	}
	return n.value == nil
}

// object reports whether the value is an object; anything else is wrong.
func (n node) object() bool {
	const typ, text = "model_attributes_type", "Input should be a valid dictionary or object to extract fields from"
	if n.absent(typ, text) {
		return false
	}
	if _, ok := n.value.(map[string]any); !ok {
		n.wrong(n.loc, typ, text)
		return false
	}
	return true
}

func (n node) needed() node {
	if n.value == nil && !n.null {
		n.wrong(n.loc, "missing", "Field required")
	}
	return n
}

func (n node) text() (string, bool) {
	const typ, text = "string_type", "Input should be a valid string"
	if n.absent(typ, text) {
		return "", false
	}
	s, ok := n.value.(string)
	if !ok {
		n.wrong(n.loc, typ, text)
	}
	return s, ok
}

func (n node) uuid() (string, bool) {
	s, ok := n.text()
	if ok && !isUUID(s) {
		n.wrong(n.loc, "uuid_parsing", "Input should be a valid UUID")
		return "", false
	}
	return strings.ToLower(s), ok
}

// timestamp checks a date and time that is read but not used.
func (n node) timestamp() {
	if s, ok := n.text(); ok {
		if _, err := time.Parse(time.RFC3339Nano, s); err != nil {
			n.wrong(n.loc, "datetime_from_date_parsing", "Input should be a valid datetime or date")
		}
	}
}

func (n node) enum(values ...string) (int, bool) {
	s, ok := n.text()
	if !ok {
		return 0, false
	}
	i := slices.Index(values, s)
	if i < 0 {
		n.wrong(n.loc, "enum", "Input should be '"+strings.Join(values, "', '")+"'")
	}
	return i, i >= 0
}

func (n node) integer() (int64, bool) {
	const typ, text = "int_type", "Input should be a valid integer"
	if n.absent(typ, text) {
		return 0, false
	}
	number, ok := n.value.(json.Number)
	if !ok {
		n.wrong(n.loc, typ, text)
		return 0, false
	}
	v, err := strconv.ParseInt(integral(number.String()), 10, 64)
	if err != nil {
		n.wrong(n.loc, "int_parsing", "Input should be a valid integer, unable to parse string as an integer")
		return 0, false
	}
	return v, true
}

func (n node) boolean() (bool, bool) {
	const typ, text = "bool_type", "Input should be a valid boolean"
	if n.absent(typ, text) {
		return false, false
	}
	v, ok := n.value.(bool)
	if !ok {
		n.wrong(n.loc, typ, text)
	}
	return v, ok
}

func (n node) list() []node {
	const typ, text = "list_type", "Input should be a valid list"
	if n.absent(typ, text) {
		return nil
	}
	list, ok := n.value.([]any)
	if !ok {
		n.wrong(n.loc, typ, text)
	}
	out := make([]node, len(list))
	for i, v := range list {
		out[i] = n.at(i, v)
	}
	return out
}

// texts reads a list of strings.
func (n node) texts() []any {
	var out []any
	for _, item := range n.list() {
		if s, ok := item.text(); ok {
			out = append(out, s)
		}
	}
	return out
}

// pairs reads a map of strings as KeyValue messages in the order of their keys.
func (n node) pairs() []any {
	if !n.object() {
		return nil
	}
	o, _ := n.value.(map[string]any)
	var out []any
	for _, key := range slices.Sorted(maps.Keys(o)) {
		if s, ok := n.get(key).text(); ok {
			out = append(out, msg{"key": key, "value": s})
		}
	}
	return out
}

// plain turns the ordered objects of readJSON into maps; the last of a doubled name wins, as in
// Python.
func plain(v any) any {
	switch v := v.(type) {
	case object:
		m := make(map[string]any, len(v))
		for _, kv := range v {
			m[kv.name] = plain(kv.value)
		}
		return m
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plain(item)
		}
		return out
	}
	return v
}

func (r *legacyRequest) readBody() (node, error) {
	doc, err := readJSON(r.body)
	if err != nil {
		return node{}, wrong("json_invalid", "JSON decode error", "body")
	}
	return node{reader: &reader{}, value: plain(doc)}, nil
}

// readKey reads an ApiKeySchema and returns its clusters.
func (r *legacyRequest) readKey() ([]any, error) {
	body, err := r.readBody()
	if err != nil {
		return nil, err
	}
	var ids []any
	if body.needed().object() {
		body.get("id").orNull().uuid() // read-only, as the next three: ignored, yet they must be what they are
		body.get("created_at").orNull().timestamp()
		body.get("prefix").orNull().text()
		body.get("token").orNull().text()
		field := body.get("cluster_ids").needed()
		for _, item := range field.list() {
			if id, ok := item.uuid(); ok {
				ids = append(ids, id)
			}
		}
		if field.value != nil && len(body.problems) == 0 && len(ids) == 0 {
			field.wrong(field.loc, "too_short", "List should have at least 1 item after validation, not 0")
		}
	}
	if len(body.problems) > 0 {
		return nil, body.problems
	}
	return ids, nil
}

// readCluster reads a ClusterSchema into a cluster.v1.Cluster specification. With old it is an
// update: read-only fields are ignored, and what pa/v1 cannot say (labels and the newer settings) or
// the body leaves out of what is optional stays as it is.
func (r *legacyRequest) readCluster(old *cluster) (msg, error) {
	body, err := r.readBody()
	if err != nil {
		return nil, err
	}
	if !body.needed().object() {
		return nil, body.problems
	}
	spec := msg{}
	if old != nil {
		spec = old.spec.clone()
	}
	body.get("id").orNull().uuid() // read-only, as the next three: ignored, yet they must be what they are
	body.get("created_at").orNull().timestamp()
	body.get("marked_for_deletion_at").orNull().timestamp()
	body.get("url").orNull().text()
	if id, ok := body.get("account_id").needed().uuid(); ok && id != r.account.id {
		body.wrong([]any{"account_id"}, "value_error", "account_id must be the account of the path")
	}
	if name, ok := body.get("name").needed().text(); ok {
		spec["name"] = name
	}
	r.readPlace(body, spec, old)
	if field := body.get("configuration").needed(); field.object() {
		spec["configuration"] = readLegacyConfig(field, spec.sub("configuration"))
	}
	if len(body.problems) > 0 {
		return nil, body.problems
	}
	check := spec.with("account_id", r.account.id)
	if violations := r.validator.validate(r.schema.messages["cluster.v1.Cluster"], check); len(violations) > 0 {
		return nil, invalid(violations)
	}
	return spec, nil
}

// readPlace reads provider and region; private is hybrid, with its environment beside it.
func (r *legacyRequest) readPlace(body node, spec msg, old *cluster) {
	providers := []string{providerAWS, providerGCP, providerAzure, legacyPrivate}
	environment, hasEnvironment := body.get("private_region_id").orNull().uuid()
	i, hasProvider := body.get("cloud_provider").enum(providers...)
	region, hasRegion := body.get("cloud_region").enum(legacyRegions()...)
	if old != nil && !hasProvider && !hasRegion && !hasEnvironment {
		return // immutable, so leaving them out changes nothing
	}
	if hasEnvironment || hasProvider && providers[i] == legacyPrivate {
		if !hasEnvironment {
			body.get("private_region_id").orNull().needed()
		}
		if hasProvider && providers[i] != legacyPrivate {
			body.wrong([]any{"cloud_provider"}, "value_error", "a cluster with a private_region_id is private")
		}
		if hasRegion && legacyRegions()[region] != legacyPrivate {
			body.wrong([]any{"cloud_region"}, "value_error", "a cluster with a private_region_id is private")
		}
		spec["cloud_provider_id"], spec["cloud_provider_region_id"] = providerHybrid, environment
		return
	}
	body.get("cloud_provider").needed()
	body.get("cloud_region").needed()
	if hasProvider && hasRegion {
		spec["cloud_provider_id"], spec["cloud_provider_region_id"] = providers[i], legacyRegions()[region]
	}
}

// readLegacyConfig reads a ClusterConfigurationSchema over an old configuration. Lists and maps that
// are left out stay, because Terraform's provider knows none of them but the disk; empty ones clear.
func readLegacyConfig(in node, old msg) msg {
	config := old.clone()
	delete(config, "last_modified_at")
	if n, ok := in.get("number_of_nodes").needed().integer(); ok {
		if n < 0 || n > math.MaxUint32 {
			in.wrong([]any{"configuration", "number_of_nodes"}, "greater_than_equal", "Input should be greater than or equal to 1")
		}
		config["number_of_nodes"] = uint64(max(n, 0))
	}
	if version, ok := in.get("version").orNull().text(); ok {
		config["version"] = version
	}
	if field := in.get("node_configuration").needed(); field.object() {
		readLegacyNode(field, config)
	}
	for name, target := range map[string]string{"node_selector": "node_selector", "cluster_annotations": "annotations"} {
		field := in.get(name)
		if pairs := field.pairs(); field.value != nil {
			config.replace(target, pairs)
		}
	}
	field := in.get("allowed_ip_source_ranges")
	if ranges := field.texts(); field.value != nil {
		config.replace("allowed_ip_source_ranges", ranges)
	}
	field = in.get("tolerations")
	if tolerations := readLegacyTolerations(field); field.value != nil {
		config.replace("tolerations", tolerations)
	}
	if field := in.get("qdrant_configuration"); field.object() {
		if db := readLegacyDatabase(field, config.sub("database_configuration")); len(db) > 0 {
			config["database_configuration"] = db
		}
	}
	return config
}

func readLegacyNode(in node, config msg) {
	if id, ok := in.get("package_id").needed().uuid(); ok {
		config["package_id"] = id
	}
	resources := in.get("resource_configurations")
	if resources.value != nil {
		delete(config, "additional_resources")
	}
	for i, item := range resources.list() {
		if !item.object() {
			continue
		}
		amount, ok := item.get("amount").needed().integer()
		kind, known := item.get("resource_type").needed().enum("cpu", "ram", "disk", "snapshot", "complimentary_disk")
		unit, unitKnown := item.get("resource_unit").needed().enum("Gi", "m")
		if !ok || !known || !unitKnown {
			continue
		}
		if kind == 2 && unit != 0 {
			item.wrong(item.get("resource_unit").loc, "value_error", "disk is in Gi")
			continue
		}
		if kind != 2 || i > 0 || amount < 0 || amount > math.MaxUint32 {
			item.wrong(item.loc, "value_error", "only one additional resource is supported: disk in Gi")
			continue
		}
		if amount > 0 {
			config["additional_resources"] = msg{"disk": uint64(amount)}
		}
	}
}

func readLegacyTolerations(in node) []any {
	var out []any
	for _, item := range in.list() {
		if !item.object() {
			continue
		}
		t := msg{}
		if operator, ok := item.get("operator").needed().enum("Exists", "Equal"); ok {
			t["operator"] = enumValue(operator + 1)
		}
		for _, name := range []string{"key", "value"} {
			if s, ok := item.get(name).orNull().text(); ok {
				t[name] = s
			}
		}
		if effect, ok := item.get("effect").orNull().enum(legacyEffects()[1:]...); ok {
			t["effect"] = enumValue(effect + 1)
		}
		seconds := item.get("toleration_seconds").orNull()
		if n, ok := seconds.integer(); ok {
			if n < 0 {
				seconds.wrong(seconds.loc, "greater_than_equal", "Input should be greater than or equal to 0")
			}
			t["toleration_seconds"] = uint64(max(n, 0))
		}
		out = append(out, t)
	}
	return out
}

func readLegacyDatabase(in node, old msg) msg {
	db := old.clone()
	if field := in.get("collection"); field.object() {
		collection := msg{}
		if n, ok := field.get("replication_factor").orNull().integer(); ok {
			collection["replication_factor"] = uint64(max(n, 0))
		}
		if n, ok := field.get("write_consistency_factor").orNull().integer(); ok {
			collection["write_consistency_factor"] = n
		}
		if vectors := field.get("vectors"); vectors.object() {
			collection["vectors"] = msg{}
			if onDisk, ok := vectors.get("on_disk").orNull().boolean(); ok {
				collection["vectors"] = msg{"on_disk": onDisk}
			}
		}
		db["collection"] = collection
	}
	if level, ok := in.get("log_level").orNull().text(); ok {
		i := slices.Index(legacyLevels(), strings.ToUpper(level))
		if i < 1 {
			in.wrong([]any{"configuration", "qdrant_configuration", "log_level"}, "value_error", fmt.Sprintf("unknown log level %q", level))
		}
		db["log_level"] = enumValue(max(i, 0))
	}
	reference := func(in node) msg {
		ref := in.get("secretKeyRef").needed()
		if !ref.object() {
			return msg{}
		}
		name, _ := ref.get("name").needed().text()
		key, _ := ref.get("key").needed().text()
		return msg{"name": name, "key": key}
	}
	if field := in.get("service"); field.object() {
		service := msg{}
		for _, name := range []string{"api_key", "read_only_api_key"} {
			if key := field.get(name); key.object() {
				service[name] = reference(key)
			}
		}
		if tls, ok := field.get("enable_tls").orNull().boolean(); ok {
			service["enable_tls"] = tls
		}
		field.get("jwt_rbac").orNull().boolean() // read-only here; the current API has a call for it
		if len(service) > 0 {
			db["service"] = service
		}
	}
	if field := in.get("tls"); field.object() {
		tls := msg{}
		for _, name := range []string{"cert", "key"} {
			if ref := field.get(name); ref.object() {
				tls[name] = reference(ref)
			}
		}
		if len(tls) > 0 {
			db["tls"] = tls
		}
	}
	return db
}
