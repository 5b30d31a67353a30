package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// legacyRequest is one call of pa/v1 while it is served; the lock is held.
type legacyRequest struct {
	*request
	params map[string]string
	query  url.Values
	body   []byte
}

// legacyCall serves one operation of pa/v1. It returns what becomes the JSON body; nil is 204.
type legacyCall func(r *legacyRequest) (any, error)

// legacyCalls are the ten operations of pa/v1 by operationId.
func legacyCalls() map[string]legacyCall {
	return map[string]legacyCall{
		"list_clusters":  (*legacyRequest).listClusters,
		"create_cluster": (*legacyRequest).createCluster,
		"get_cluster":    (*legacyRequest).getCluster,
		"update_cluster": (*legacyRequest).updateCluster,
		"delete_cluster": (*legacyRequest).deleteCluster,
		"get_packages":   (*legacyRequest).getPackages,
		"list_api_keys":  (*legacyRequest).listKeys,
		"create_api_key": (*legacyRequest).createKey,
		"update_api_key": (*legacyRequest).updateKey,
		"delete_api_key": (*legacyRequest).deleteKey,
	}
}

// legacyPermissions are asked by analogy with the current API [I]; pa/v1 documents none.
func legacyPermissions(operation string) []string {
	switch operation {
	case "list_clusters", "get_cluster":
		return []string{"read:clusters"}
	case "create_cluster", "update_cluster":
		return []string{"write:clusters"}
	case "delete_cluster":
		return []string{"delete:clusters"}
	case "list_api_keys":
		return []string{"read:api_keys"}
	case "create_api_key", "update_api_key":
		return []string{"write:api_keys"}
	case "delete_api_key":
		return []string{"delete:api_keys"}
	}
	return nil
}

// detail is one entry of FastAPI's 422.
type detail struct {
	Loc []any  `json:"loc"`
	Msg string `json:"msg"`
	Typ string `json:"type"`
}

// legacyInvalid is FastAPI's HTTPValidationError.
type legacyInvalid []detail

func (legacyInvalid) Error() string { return "validation error" }

func wrong(typ, text string, loc ...any) legacyInvalid { return legacyInvalid{{loc, text, typ}} }

func (s *Sandbox) serveLegacy(route *route, params map[string]string, req *http.Request, body []byte, key *managementKey, authErr error) answer {
	out, err := s.runLegacy(route, params, req, body, key, authErr)
	var violations legacyInvalid
	switch {
	case errors.As(err, &violations):
		return legacyJSON(http.StatusUnprocessableEntity, map[string]any{"detail": violations})
	case err != nil:
		return s.errorAnswer(err, true)
	case out == nil:
		return answer{status: http.StatusNoContent}
	}
	return legacyJSON(http.StatusOK, out)
}

func (s *Sandbox) runLegacy(route *route, params map[string]string, req *http.Request, body []byte, key *managementKey, authErr error) (any, error) {
	if authErr != nil {
		return nil, authErr
	}
	if id, ok := params["account_id"]; ok && !isUUID(id) {
		return nil, wrong("uuid_parsing", "Input should be a valid UUID", "path", "account_id")
	}
	op := route.op
	op.Permissions = legacyPermissions(op.Name)
	if err := allowed(op, key, params); err != nil {
		return nil, err
	}
	if id, ok := params["cluster_id"]; ok && !isUUID(id) {
		return nil, wrong("uuid_parsing", "Input should be a valid UUID", "path", "cluster_id")
	}
	r := &legacyRequest{request: &request{Sandbox: s, op: op, key: key, account: s.accounts[key.AccountID], now: s.now()}, params: params, query: req.URL.Query(), body: body}
	s.settle(r.account, r.now)
	return route.legacy(r)
}

func legacyJSON(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{status: http.StatusInternalServerError, contentType: jsonType, body: []byte(`{"detail":"Internal Server Error"}`)}
	}
	return answer{status: status, contentType: jsonType, body: body}
}

// What pa/v1 says for a refusal: the codes are those an older revision of it lists.
const (
	legacyBadToken    = "E1013 Invalid auth token"
	legacyNoCluster   = "E1015 Cluster not found"
	legacyClusters    = "E1018 Cluster limit reached"
	legacyFree        = "E1019 Free cluster limit reached"
	legacyNoRegion    = "E1021 No region cluster available yet"
	legacyPayment     = "E1022 Payment details missing or outdated"
	legacyScaling     = "E1024 Invalid cluster scaling values"
	legacyVersion     = "E1039 Invalid Qdrant version"
	legacyNotEntitled = "E1040 Account is not entitled to do the requested action"
	legacyDownscale   = "E1043 Downscaling not supported"
)

// legacyWords gives a refusal the words that pa/v1 has for it.
func legacyWords(words string, err error) error {
	var refusal *statusError
	if errors.As(err, &refusal) {
		refusal.legacy = words
	}
	return err
}

// legacyError words a refusal as pa/v1 would. What has a code there is a text with it under the
// status of the current API; anything else that is invalid is FastAPI's list with 422.
func legacyError(e *statusError) answer {
	if e.legacy != "" {
		return legacyJSON(e.code.httpStatus(), map[string]any{"detail": e.legacy})
	}
	if e.code == codeInvalidArgument {
		details := legacyInvalid{}
		for _, v := range e.violations {
			details = append(details, detail{legacyPlace(v.Field), v.Description, "value_error"})
		}
		if len(details) == 0 {
			details = wrong("value_error", e.message, "body")
		}
		return legacyJSON(http.StatusUnprocessableEntity, map[string]any{"detail": details})
	}
	return legacyJSON(e.code.httpStatus(), map[string]any{"detail": e.message})
}

// legacyPlace is where in a body of pa/v1 a field of the current API stands, an element for each step.
func legacyPlace(field string) []any {
	place := []any{"body"}
	steps := strings.Split(strings.TrimPrefix(field, "cluster."), ".")
	for i, step := range steps {
		name, index, _ := strings.Cut(strings.TrimSuffix(step, "]"), "[")
		switch name {
		case "", "cluster":
			continue
		case "cloud_provider_id":
			name = "cloud_provider"
		case "cloud_provider_region_id":
			name = "cloud_region"
		case "package_id":
			place = append(place, "node_configuration")
		case "additional_resources": // of which there is the disk only
			return append(place, "node_configuration", "resource_configurations")
		case "database_configuration":
			name = "qdrant_configuration"
		case "annotations":
			return append(place, "cluster_annotations") // a map there
		case "node_selector":
			return append(place, name)
		}
		place = append(place, name)
		if n, err := strconv.Atoi(index); err == nil {
			place = append(place, n)
		}
		if i+2 == len(steps) && slices.Contains([]string{"api_key", "read_only_api_key", "cert", "key"}, name) {
			place = append(place, "secretKeyRef")
		}
	}
	return place
}

// legacyRegions are the regions the pa/v1 enum knows. Clusters elsewhere cannot be told there.
func legacyRegions() []string {
	return []string{
		"us-east-1", "us-west-1", "us-west-2", "us-east4", "eastus", "eu-central", "eu-central-1", "eu-west-2", "europe-west3",
		"germanywestcentral", "uksouth", "ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "southeastasia", legacyPrivate,
	}
}

// legacyPrivate is pa/v1's word for hybrid cloud, as provider and as region.
const legacyPrivate = "private"

func (c *cluster) legacyVisible() bool {
	return c.provider() == providerHybrid || slices.Contains(legacyRegions(), c.region())
}

// legacyPhase is ClusterStateSchema.phase; DELETING has no word there.
func (c *cluster) legacyPhase() string {
	switch {
	case c.phase == phaseUpdating && c.restarting:
		return "Restarting"
	case c.phase == phaseUpdating && c.restore != nil:
		return "Restoring"
	case c.phase == phaseFailedToUpdate && c.reason == restoreFailedReason:
		return "FailedToRestore"
	case c.phase == phaseDeleting:
		return ""
	}
	var b strings.Builder
	for _, word := range strings.Split(phaseName(c.phase), "_") {
		b.WriteString(word[:1] + strings.ToLower(word[1:]))
	}
	return b.String()
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func nullableTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// legacyCluster is a cluster as ClusterSchema.
func (r *legacyRequest) legacyCluster(c *cluster) map[string]any {
	state := c.state(r.now, r.catalogue)
	host := strings.TrimPrefix(state.sub("endpoint").str("url"), "https://")
	st := map[string]any{
		"endpoint": nullable(host), "nodes_up": state.uint("nodes_up"), "reason": nullable(c.reason),
		"restarted_at": nullableTime(c.restartedAt), "version": nullable(state.str("version")),
	}
	if phase := c.legacyPhase(); phase != "" {
		st["phase"] = phase
	}
	if c.phase == phaseHealthy && r.account.backingUp(c, r.now) {
		st["phase"] = "BackupRunning"
	}
	out := map[string]any{
		"id": c.id, "created_at": nullableTime(c.createdAt), "account_id": r.account.id, "name": c.name(), "cloud_provider": c.provider(),
		"cloud_region": c.region(), "private_region_id": nil, "marked_for_deletion_at": nullableTime(c.deletedAt), "url": nullable(state.sub("endpoint").str("url")),
		"configuration": r.legacyConfig(c), "resources": legacyResources(state.sub("resources")), "state": st,
	}
	if c.provider() == providerHybrid {
		out["cloud_provider"], out["cloud_region"], out["private_region_id"] = legacyPrivate, legacyPrivate, c.region()
	}
	return out
}

func legacyResources(m msg) map[string]any {
	out := map[string]any{}
	for name, factor := range map[string]float64{"cpu": 1000, "ram": 1, "disk": 1} { // cpu in thousandths
		one := m.sub(name)
		number := func(field string) int64 { v, _ := one[field].(float64); return int64(v * factor) }
		out[name] = map[string]any{"base": number("base"), "complimentary": number("complimentary"), "extra": number("additional")}
	}
	return out
}

func (r *legacyRequest) legacyConfig(c *cluster) map[string]any {
	config := c.config()
	node := map[string]any{"package_id": config.str("package_id")}
	if disk := config.sub("additional_resources").uint("disk"); disk > 0 {
		node["resource_configurations"] = []any{map[string]any{"amount": disk, "resource_type": "disk", "resource_unit": "Gi"}}
	}
	out := map[string]any{
		"id": idOf("configuration", c.id), "created_at": nullableTime(config.when("last_modified_at")),
		"number_of_nodes": config.uint("number_of_nodes"), "version": nullable(config.str("version")), "node_configuration": node,
	}
	if ranges := config.list("allowed_ip_source_ranges"); len(ranges) > 0 {
		out["allowed_ip_source_ranges"] = ranges
	}
	if db := config.sub("database_configuration"); len(db) > 0 {
		out["qdrant_configuration"] = legacyDatabase(db, c.jwt)
	}
	for field, name := range map[string]string{"node_selector": "node_selector", "annotations": "cluster_annotations"} {
		if list := config.list(field); len(list) > 0 {
			m := map[string]string{}
			for _, kv := range list {
				pair, _ := kv.(msg)
				m[pair.str("key")] = pair.str("value")
			}
			out[name] = m
		}
	}
	if tolerations := legacyTolerations(config.list("tolerations")); len(tolerations) > 0 {
		out["tolerations"] = tolerations
	}
	return out
}

func legacyTolerations(list []any) []any {
	var out []any
	for _, item := range list {
		t, _ := item.(msg)
		m := map[string]any{"key": nullable(t.str("key")), "operator": "Equal", "value": nullable(t.str("value")), "effect": nil, "toleration_seconds": nil}
		if t.enum("operator") == tolerationExists {
			m["operator"] = "Exists"
		}
		if e := int(t.enum("effect")); e > 0 && e < 4 {
			m["effect"] = legacyEffects()[e]
		}
		if t.has("toleration_seconds") {
			m["toleration_seconds"] = t.uint("toleration_seconds")
		}
		out = append(out, m)
	}
	return out
}

func legacyEffects() []string { return []string{"", "NoSchedule", "PreferNoSchedule", "NoExecute"} }

func legacyDatabase(db msg, jwt bool) map[string]any {
	out := map[string]any{}
	if collection := db.sub("collection"); collection != nil {
		m := map[string]any{"replication_factor": nil, "write_consistency_factor": nil}
		if collection.has("replication_factor") {
			m["replication_factor"] = collection.uint("replication_factor")
		}
		if collection.has("write_consistency_factor") {
			m["write_consistency_factor"] = collection.int("write_consistency_factor")
		}
		if vectors := collection.sub("vectors"); vectors != nil {
			m["vectors"] = map[string]any{"on_disk": nil}
			if vectors.has("on_disk") {
				m["vectors"] = map[string]any{"on_disk": vectors.flag("on_disk")}
			}
		}
		out["collection"] = m
	}
	if level := int(db.enum("log_level")); level > 0 {
		out["log_level"] = legacyLevels()[level]
	}
	ref := func(m msg) map[string]any {
		return map[string]any{"secretKeyRef": map[string]any{"name": m.str("name"), "key": m.str("key")}}
	}
	service := map[string]any{"jwt_rbac": jwt}
	for _, name := range []string{"api_key", "read_only_api_key"} {
		if of := db.sub("service"); of.has(name) {
			service[name] = ref(of.sub(name))
		}
	}
	if of := db.sub("service"); of.has("enable_tls") {
		service["enable_tls"] = of.flag("enable_tls")
	}
	out["service"] = service
	if tls := db.sub("tls"); tls != nil {
		out["tls"] = map[string]any{"cert": ref(tls.sub("cert")), "key": ref(tls.sub("key"))}
	}
	return out
}

func legacyLevels() []string { return []string{"", "TRACE", "DEBUG", "INFO", "WARN", "ERROR", "OFF"} }

func (r *legacyRequest) listClusters() (any, error) {
	out := []any{}
	for _, c := range r.account.sortedClusters() {
		if want := r.query.Get("private_region_id"); want != "" && (c.provider() != providerHybrid || c.region() != want) {
			continue
		}
		if c.legacyVisible() {
			out = append(out, r.legacyCluster(c))
		}
	}
	return out, nil
}

// cluster finds the cluster of the path.
func (r *legacyRequest) cluster() (*cluster, error) {
	c := r.account.clusters[strings.ToLower(r.params["cluster_id"])]
	if c == nil || !c.legacyVisible() {
		return nil, legacyWords(legacyNoCluster, notFound("cluster", r.params["cluster_id"]))
	}
	return c, nil
}

func (r *legacyRequest) getCluster() (any, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	return r.legacyCluster(c), nil
}

func (r *legacyRequest) createCluster() (any, error) {
	id := newID()
	if r.query.Has("cluster_id") {
		id = strings.ToLower(r.query.Get("cluster_id"))
		if !isUUID(id) {
			return nil, wrong("uuid_parsing", "Input should be a valid UUID", "query", "cluster_id")
		}
		for _, a := range r.accounts {
			if a.clusters[id] != nil {
				return nil, refuse(codeAlreadyExists, "a cluster with this id exists already")
			}
		}
	}
	spec, err := r.readCluster(nil)
	if err != nil {
		return nil, err
	}
	c, err := r.newCluster(id, spec)
	if err != nil {
		return nil, err
	}
	return r.legacyCluster(c), nil
}

func (r *legacyRequest) updateCluster() (any, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	spec, err := r.readCluster(c)
	if err != nil {
		return nil, err
	}
	if err := r.applySpec(c, spec); err != nil {
		return nil, err
	}
	return r.legacyCluster(c), nil
}

func (r *legacyRequest) deleteCluster() (any, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	backups := false
	if v := r.query.Get("delete_backups"); v != "" {
		if backups, err = strconv.ParseBool(strings.ToLower(v)); err != nil {
			return nil, wrong("bool_parsing", "Input should be a valid boolean, unable to interpret input", "query", "delete_backups")
		}
	}
	return nil, r.beginDelete(c, backups)
}

func (r *legacyRequest) getPackages() (any, error) {
	var missing legacyInvalid
	for name, known := range map[string][]string{"provider": {providerAWS, providerGCP, providerAzure, legacyPrivate}, "region": legacyRegions()} {
		switch {
		case !r.query.Has(name):
			missing = append(missing, detail{[]any{"query", name}, "Field required", "missing"})
		case !slices.Contains(known, r.query.Get(name)):
			missing = append(missing, detail{[]any{"query", name}, "Input should be '" + strings.Join(known, "', '") + "'", "enum"})
		}
	}
	if len(missing) > 0 {
		slices.SortFunc(missing, func(a, b detail) int { return strings.Compare(fmt.Sprint(a.Loc), fmt.Sprint(b.Loc)) })
		return nil, missing
	}
	provider, region := r.query.Get("provider"), r.query.Get("region")
	if provider == legacyPrivate {
		provider = providerHybrid
	}
	out := []any{}
	for _, p := range r.catalogue.ordered {
		if p.status != packageActive || !r.catalogue.offered(p, provider, region) {
			continue
		}
		one := func(kind, unit string, amount int64) any {
			return map[string]any{"amount": amount, "resource_type": kind, "resource_unit": unit}
		}
		p = r.catalogue.priced(p, region)
		out = append(out, map[string]any{
			"id": p.id, "name": p.name, "currency": "usd", "unit_int_price_per_hour": p.price,
			"resource_configurations": []any{one("ram", "Gi", p.ramGiB), one("cpu", "m", p.cpuMilli), one("disk", "Gi", p.diskGiB)},
		})
	}
	return out, nil
}

// legacyKey is a version 1 database key as ApiKeySchema.
func legacyKey(k msg) map[string]any {
	return map[string]any{
		"id": k.str("id"), "created_at": nullableTime(k.when("created_at")), "cluster_ids": k.list("cluster_ids"), "prefix": nullable(k.str("prefix")), "token": nil,
	}
}

func (r *legacyRequest) listKeys() (any, error) {
	want := strings.ToLower(r.query.Get("cluster_id"))
	if want != "" && !isUUID(want) {
		return nil, wrong("uuid_parsing", "Input should be a valid UUID", "query", "cluster_id")
	}
	out := []any{}
	for _, k := range ordered(r.account.keysV1) {
		if want == "" || opens(k, want) {
			out = append(out, legacyKey(k))
		}
	}
	return out, nil
}

func (r *legacyRequest) createKey() (any, error) {
	ids, err := r.readKey()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if c := r.account.clusters[fmt.Sprint(id)]; c != nil && !c.legacyVisible() {
			return nil, legacyWords(legacyNoCluster, notFound("cluster", c.id))
		}
	}
	k, token, err := r.newKeyV1(ids)
	if err != nil {
		return nil, err
	}
	out := legacyKey(k)
	out["token"] = token
	return out, nil
}

// key finds the key of the path.
func (r *legacyRequest) databaseKey() (msg, error) {
	if k := r.account.keysV1[strings.ToLower(r.params["api_key_id"])]; k != nil {
		return k, nil
	}
	return nil, refuse(codeNotFound, "API key not found")
}

// updateKey changes nothing: the clusters of a key are fixed and every other field is read-only.
func (r *legacyRequest) updateKey() (any, error) {
	k, err := r.databaseKey()
	if err != nil {
		return nil, err
	}
	ids, err := r.readKey()
	if err != nil {
		return nil, err
	}
	if !sameClusters(k, ids) {
		return nil, wrong("value_error", "cluster_ids cannot be changed after creation", "body", "cluster_ids")
	}
	return legacyKey(k), nil
}

// sameClusters reports whether ids name the clusters of a key, in any order.
func sameClusters(k msg, ids []any) bool {
	for _, id := range k.list("cluster_ids") {
		if !slices.Contains(ids, id) {
			return false
		}
	}
	return !slices.ContainsFunc(ids, func(id any) bool { return !opens(k, fmt.Sprint(id)) })
}

func (r *legacyRequest) deleteKey() (any, error) {
	k, err := r.databaseKey()
	if err != nil {
		return nil, err
	}
	delete(r.account.keysV1, k.str("id"))
	r.changed()
	return nil, nil
}
