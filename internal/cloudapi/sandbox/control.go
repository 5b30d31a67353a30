package sandbox

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Control serves the control surface described in the package comment. Every request needs
// Authorization: Bearer with Config.ControlToken; without a token configured all are refused.
func (s *Sandbox) Control() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"POST /_sandbox/faults":    s.controlFaultAdd,
		"GET /_sandbox/faults":     s.controlFaultList,
		"DELETE /_sandbox/faults":  s.controlFaultClear,
		"POST /_sandbox/random":    s.controlRandom,
		"GET /_sandbox/calls":      s.controlCalls,
		"DELETE /_sandbox/calls":   s.controlCallsReset,
		"POST /_sandbox/clock":     s.controlClock,
		"POST /_sandbox/keys":      s.controlKeys,
		"POST /_sandbox/account":   s.controlAccount,
		"POST /_sandbox/backups":   s.controlBackups,
		"POST /_sandbox/alerts":    s.controlAlerts,
		"POST /_sandbox/catalogue": s.controlCatalogue,
		"POST /_sandbox/outside":   s.controlOutside,
		"POST /_sandbox/spelling":  s.controlSpelling,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) { s.control(w, req, handle) })
	}
	want := sha256.Sum256([]byte("Bearer " + s.cfg.ControlToken))
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		got := sha256.Sum256([]byte(req.Header.Get("Authorization")))
		if s.cfg.ControlToken == "" || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			s.writeControl(w, http.StatusUnauthorized, map[string]string{"error": "the control token is missing or wrong"})
			return
		}
		mux.ServeHTTP(w, req)
	})
}

// controlError is a refusal of the control surface.
type controlError struct {
	status int
	text   string
}

func (e *controlError) Error() string { return e.text }

func refuseControl(format string, args ...any) error {
	return &controlError{http.StatusUnprocessableEntity, fmt.Sprintf(format, args...)}
}

func (s *Sandbox) control(w http.ResponseWriter, req *http.Request, handle func(*http.Request) (any, error)) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	if err != nil {
		s.writeControl(w, http.StatusBadRequest, map[string]string{"error": "reading the body: " + err.Error()})
		return
	}
	req.Body = io.NopCloser(bytes.NewReader(body)) // read whole, so that nobody waits for it under the lock
	out, err := s.locked(req, handle)
	var refusal *controlError
	switch {
	case errors.As(err, &refusal):
		s.writeControl(w, refusal.status, map[string]string{"error": refusal.text})
	case err != nil:
		s.writeControl(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	case out == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		s.writeAnswer(w, answer{status: http.StatusOK, contentType: jsonType, body: out})
	}
}

// locked runs a handler and encodes what it returns, nil for nothing, under the lock: what it returns
// may point into the state. The lock is let go even when the handler panics.
func (s *Sandbox) locked(req *http.Request, handle func(*http.Request) (any, error)) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := handle(req)
	if err != nil || out == nil {
		return nil, err
	}
	return json.Marshal(out)
}

func (s *Sandbox) writeControl(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	s.writeAnswer(w, answer{status: status, contentType: jsonType, body: body})
}

// readControl reads a JSON body strictly: unknown fields and trailing text are refused.
func readControl(req *http.Request, v any) error {
	dec := json.NewDecoder(req.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("reading the body: there is text after the document")
	}
	return nil
}

func (s *Sandbox) controlFaultAdd(req *http.Request) (any, error) {
	var f fault
	if err := readControl(req, &f); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, refuseControl("%s", err)
	}
	if f.Account != "" && s.accounts[f.Account] == nil {
		return nil, refuseControl("there is no account %s", f.Account)
	}
	if f.Operation != "" && !slices.ContainsFunc(s.routes, func(r *route) bool { return r.op.Name == f.Operation }) {
		return nil, refuseControl("there is no operation %s", f.Operation)
	}
	s.faults = append(s.faults, &f)
	return nil, nil
}

func (s *Sandbox) controlFaultList(*http.Request) (any, error) {
	return map[string]any{"faults": append([]*fault{}, s.faults...)}, nil
}

func (s *Sandbox) controlFaultClear(*http.Request) (any, error) {
	s.faults, s.random = nil, nil
	return nil, nil
}

func (s *Sandbox) controlCalls(*http.Request) (any, error) {
	recent := s.calls.recent[max(0, len(s.calls.recent)-keptCalls):]
	list := make([]call, len(recent))
	for i, c := range recent {
		list[i] = *c
	}
	byAccount := map[string]map[string]int{}
	for account, ops := range s.calls.byAccount {
		byAccount[account] = map[string]int{}
		for op, n := range ops {
			byAccount[account][op] = n
		}
	}
	return map[string]any{"total": s.calls.total, "mutating": s.calls.mutating, "accounts": byAccount, "recent": list}, nil
}

func (s *Sandbox) controlCallsReset(*http.Request) (any, error) {
	s.calls = newCallLog()
	return nil, nil
}

func (s *Sandbox) controlClock(req *http.Request) (any, error) {
	var in struct {
		Advance string `json:"advance"`
	}
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	d, err := time.ParseDuration(in.Advance)
	if err != nil || d < 0 || d > 10*365*day {
		return nil, refuseControl("advance must be a duration from 0s to ten years, such as 1h")
	}
	s.state.offset += d
	s.changed()
	return map[string]any{"now": s.now()}, nil
}

func (s *Sandbox) controlKeys(req *http.Request) (any, error) {
	var in struct {
		Account     string   `json:"account"`
		Permissions []string `json:"permissions"`
		Revoke      string   `json:"revoke"`
	}
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	if in.Revoke != "" {
		k := s.keys[hashKey(in.Revoke)]
		if k == nil {
			return nil, refuseControl("there is no such key")
		}
		s.revoke(k)
		return nil, nil
	}
	a := s.accounts[in.Account]
	if a == nil {
		return nil, refuseControl("there is no account %q", in.Account)
	}
	if in.Permissions == nil {
		in.Permissions = allPermissions()
	}
	for _, p := range in.Permissions {
		if !slices.Contains(allPermissions(), p) {
			return nil, refuseControl("there is no permission %q", p)
		}
	}
	k, secret := s.mint(a, in.Permissions)
	return map[string]any{"id": k.ID, "management_key": secret}, nil
}

func (s *Sandbox) controlSpelling(req *http.Request) (any, error) {
	var in Spelling
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	if err := in.check(); err != nil {
		return nil, refuseControl("%s", err)
	}
	s.spelling = in
	return nil, nil
}

// outside is a change somebody else makes.
type outside struct {
	Act     string            `json:"act"`
	Account string            `json:"account"`
	Cluster string            `json:"cluster"`
	Name    string            `json:"name"`
	Labels  map[string]string `json:"labels"`
	Nodes   uint64            `json:"nodes"`
	Package string            `json:"package"` // package name, such as mx4
	Region  string            `json:"region"`
	Cloud   string            `json:"cloud_provider"`
	Version string            `json:"version"`
	Phase   string            `json:"phase"`
	Reason  *string           `json:"reason"`
	Node    *int              `json:"node"`
	Message string            `json:"message"`
	Key     string            `json:"key"`  // id of a management key, or of a database key
	Days    int               `json:"days"` // how long a database key or a backup lives; 0: for ever
	Backup  string            `json:"backup"`
	Plan    string            `json:"schedule"` // id of a backup schedule, or when a new one comes round
	Cron    string            `json:"cron"`     // when a schedule comes round from now on
	Backups bool              `json:"delete_backups"`
	At      bool              `json:"at_once"` // delete without passing through DELETING
}

func (s *Sandbox) controlOutside(req *http.Request) (any, error) {
	var in outside
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	a := s.accounts[in.Account]
	if a == nil {
		return nil, refuseControl("there is no account %q", in.Account)
	}
	now := s.now()
	s.settle(a, now)
	r := &request{Sandbox: s, account: a, now: now}
	out, err := r.outside(in)
	var refusal *statusError
	if errors.As(err, &refusal) {
		return nil, refuseControl("%s", refusal.message)
	}
	if err == nil {
		s.changed()
		s.cfg.Logger.Debug("changed from outside", slog.String("act", in.Act), slog.String("cluster", in.Cluster))
	}
	return out, err
}

func (r *request) outside(in outside) (any, error) {
	switch in.Act {
	case "create_cluster":
		return r.outsideCreate(in)
	case "revoke_key":
		k := r.account.managementKeys[in.Key]
		if k == nil {
			return nil, refuseControl("the account has no key %q", in.Key)
		}
		r.revoke(k)
		return nil, nil
	case "create_cluster_from_backup":
		return r.outsideFromBackup(in)
	}
	c := r.account.clusters[in.Cluster]
	if c == nil {
		return nil, refuseControl("the account has no cluster %q", in.Cluster)
	}
	switch in.Act {
	case "rename":
		return nil, r.outsideSpec(c, c.spec.with("name", in.Name))
	case "labels":
		var list []any
		for _, key := range slices.Sorted(maps.Keys(in.Labels)) {
			list = append(list, msg{"key": key, "value": in.Labels[key]})
		}
		spec := c.spec.clone()
		spec.set(r.schema.messages["cluster.v1.Cluster"].byName["labels"], list)
		return nil, r.outsideSpec(c, spec)
	case "scale":
		config := c.config().clone()
		if in.Nodes > 0 {
			config["number_of_nodes"] = in.Nodes
		}
		if in.Package != "" {
			config["package_id"] = idOf("package", c.provider(), in.Package)
		}
		return nil, r.outsideSpec(c, c.spec.with("configuration", config))
	case "upgrade":
		return nil, r.outsideSpec(c, c.spec.with("configuration", c.config().with("version", in.Version)))
	case "delete_cluster":
		if in.At {
			c.dropsData = in.Backups
			r.vanish(c)
			return nil, nil
		}
		return nil, r.beginDelete(c, in.Backups)
	case "phase":
		return nil, r.outsidePhase(c, in)
	case "node_not_ready":
		return nil, r.outsideNode(c, in)
	case "create_key":
		return r.outsideKey(c, in)
	case "delete_key":
		return nil, r.outsideKeyDelete(c, in.Key)
	case "create_backup", "create_schedule":
		return r.outsideBackup(c, in)
	case "rename_backup":
		return r.outsideRename(in)
	case "update_schedule":
		return r.outsideSchedule(in)
	case "delete_backup":
		return r.sent(msg{"backup_id": in.Backup}).deleteBackup()
	case "delete_schedule":
		return r.sent(msg{"backup_schedule_id": in.Plan, "delete_backups": in.Backups}).deleteSchedule()
	case "restore_backup":
		return r.sent(msg{"backup_id": in.Backup}).restoreBackup()
	}
	return nil, refuseControl("act must be rename, labels, scale, upgrade, create_cluster, delete_cluster, phase, node_not_ready, create_key, delete_key, revoke_key, " +
		"create_backup, rename_backup, delete_backup, restore_backup, create_cluster_from_backup, create_schedule, update_schedule or delete_schedule")
}

// sent is the request as if somebody had sent a message with it.
func (r *request) sent(in msg) *request {
	out := *r
	out.in = in
	return &out
}

// outsideBackup makes a backup or a schedule of a cluster.
func (r *request) outsideBackup(c *cluster, in outside) (any, error) {
	asked := msg{"account_id": r.account.id, "cluster_id": c.id, "display_name": in.Name}
	if in.Days != 0 {
		asked["retention_period"] = time.Duration(in.Days) * day
	}
	name, serve, t := "backup", (*request).createBackup, r.schema.messages["cluster.backup.v1.CreateBackupRequest"]
	if in.Act == "create_schedule" {
		asked["schedule"] = in.Plan
		name, serve, t = "backup_schedule", (*request).createSchedule, r.schema.messages["cluster.backup.v1.CreateBackupScheduleRequest"]
	}
	out, err := r.asked(t, msg{name: asked}, serve)
	if err != nil {
		return nil, err
	}
	return map[string]string{strings.TrimPrefix(name, "backup_"): out.sub(name).str("id")}, nil
}

// asked serves a request of somebody else as the API would.
func (r *request) asked(t *messageType, in msg, serve rpc) (msg, error) {
	if violations := r.validator.validate(t, in); len(violations) > 0 {
		return nil, invalid(violations)
	}
	return serve(r.sent(in))
}

func (r *request) outsideRename(in outside) (any, error) {
	b, err := r.backup(in.Backup)
	if err != nil {
		return nil, err
	}
	asked := msg{"account_id": r.account.id, "id": b.id.String(), "cluster_id": b.of.id, "name": b.name(), "display_name": in.Name}
	_, err = r.asked(r.schema.messages["cluster.backup.v1.UpdateBackupRequest"], msg{"backup": asked}, (*request).updateBackup)
	return msg{}, err
}

// outsideSchedule changes what it names of a schedule; days of 0 leave the retention as it is.
func (r *request) outsideSchedule(in outside) (any, error) {
	sch, err := r.schedule(in.Plan)
	if err != nil {
		return nil, err
	}
	asked := sch.message(r.account)
	if in.Cron != "" {
		asked["schedule"] = in.Cron
	}
	if in.Name != "" {
		asked["display_name"] = in.Name
	}
	if in.Days != 0 {
		asked["retention_period"] = time.Duration(in.Days) * day
	}
	_, err = r.asked(r.schema.messages["cluster.backup.v1.UpdateBackupScheduleRequest"], msg{"backup_schedule": asked}, (*request).updateSchedule)
	return msg{}, err
}

func (r *request) outsideFromBackup(in outside) (any, error) {
	asked := msg{"account_id": r.account.id, "backup_id": in.Backup, "cluster_name": in.Name}
	out, err := r.asked(r.schema.messages["cluster.v1.CreateClusterFromBackupRequest"], asked, (*request).createClusterFromBackup)
	if err != nil {
		return nil, err
	}
	return map[string]string{"cluster": out.sub("cluster").str("id")}, nil
}

// backupConditions is what POST /_sandbox/backups sets.
type backupConditions struct {
	Account  string `json:"account"`
	Cluster  string `json:"cluster"`
	Backups  *int   `json:"fail_backups"`
	Restores *int   `json:"fail_restores"`
	Backup   string `json:"backup"` // id of what gets the status
	Schedule string `json:"schedule"`
	Restore  string `json:"restore"`
	Status   string `json:"status"`
}

// controlBackups lets the next backups or restores of a cluster fail, or gives one of them, or a schedule, a status.
func (s *Sandbox) controlBackups(req *http.Request) (any, error) {
	var in backupConditions
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	a := s.accounts[in.Account]
	if a == nil {
		return nil, refuseControl("there is no account %q", in.Account)
	}
	s.settle(a, s.now())
	if in.Backup+in.Schedule+in.Restore+in.Status != "" {
		return nil, s.controlStatus(a, in)
	}
	c := a.clusters[in.Cluster]
	if c == nil {
		return nil, refuseControl("the account has no cluster %q", in.Cluster)
	}
	for _, n := range []*int{in.Backups, in.Restores} {
		if n != nil && (*n < 0 || *n > keptBackups) {
			return nil, refuseControl("fail_backups and fail_restores must be from 0 to %d", keptBackups)
		}
	}
	if in.Backups != nil {
		c.failBackups = *in.Backups
	}
	if in.Restores != nil {
		c.failRestores = *in.Restores
	}
	s.changed()
	return map[string]int{"fail_backups": c.failBackups, "fail_restores": c.failRestores}, nil
}

// outsideSpec checks a changed specification as the API would and applies it.
func (r *request) outsideSpec(c *cluster, spec msg) error {
	spec = spec.with("account_id", r.account.id)
	if violations := r.validator.validate(r.schema.messages["cluster.v1.Cluster"], spec); len(violations) > 0 {
		return invalid(violations)
	}
	delete(spec, "account_id")
	return r.applySpec(c, spec)
}

func (r *request) outsideCreate(in outside) (any, error) {
	provider, region := cmp.Or(in.Cloud, providerAWS), cmp.Or(in.Region, "eu-central-1")
	config := msg{"number_of_nodes": max(in.Nodes, 1), "package_id": idOf("package", provider, cmp.Or(in.Package, "mx1"))}
	if in.Version != "" {
		config["version"] = in.Version
	}
	spec := msg{"account_id": r.account.id, "name": in.Name, "cloud_provider_id": provider, "cloud_provider_region_id": region, "configuration": config}
	if violations := r.validator.validate(r.schema.messages["cluster.v1.Cluster"], spec); len(violations) > 0 {
		return nil, invalid(violations)
	}
	delete(spec, "account_id")
	c, err := r.newCluster(newID(), spec)
	if err != nil {
		return nil, err
	}
	return map[string]string{"cluster": c.id}, nil
}

// outsidePhase puts a cluster into a phase. Without phase only the reason changes. A phase that
// ends by itself does so after its usual time; the others stay.
func (r *request) outsidePhase(c *cluster, in outside) error {
	if in.Phase != "" {
		phase, ok := phaseNumber(in.Phase)
		if !ok {
			return refuseControl("there is no phase %q", in.Phase)
		}
		c.enter(phase, "", r.now, r.cfg.TimeScale)
		if phase == phaseHealthy {
			c.sick = nil
		}
	}
	if in.Reason != nil {
		c.reason = strings.ToValidUTF8(*in.Reason, "\uFFFD")
	}
	return nil
}

func (r *request) outsideNode(c *cluster, in outside) error {
	if in.Node == nil || *in.Node < 0 || *in.Node >= c.running.Nodes {
		return refuseControl("node must be from 0 to %d", c.running.Nodes-1)
	}
	sick := map[int]msg{*in.Node: {
		"condition": enumValue(4), "condition_message": cmp.Or(in.Message, "Readiness probe failed: HTTP probe failed with statuscode: 503"),
	}}
	for i, info := range c.sick {
		if i != *in.Node {
			sick[i] = info
		}
	}
	if c.phase == phaseHealthy || c.phase == phaseNotReady {
		c.enter(phaseNotReady, fmt.Sprintf("%d of %d nodes are not ready.", len(sick), c.running.Nodes), r.now, r.cfg.TimeScale)
	}
	c.sick = sick
	return nil
}

// outsideKey makes a database key as a person in Qdrant's own console does: it bears their address.
func (r *request) outsideKey(c *cluster, in outside) (any, error) {
	if in.Days < 0 || in.Days > 36500 {
		return nil, refuseControl("days must be from 0 to 36500")
	}
	asked := msg{"account_id": r.account.id, "cluster_id": c.id, "name": in.Name}
	if in.Days > 0 {
		asked["expires_at"] = r.now.Add(time.Duration(in.Days) * day).Truncate(time.Microsecond)
	}
	if violations := r.validator.validate(r.schema.messages["cluster.auth.v2.DatabaseApiKey"], asked); len(violations) > 0 {
		return nil, invalid(violations)
	}
	k, _, err := r.newKeyV2(asked)
	if err != nil {
		return nil, err
	}
	r.account.keysV2[k.str("id")] = k.with("created_by_email", r.account.resource.str("owner_email"))
	return map[string]string{"key": k.str("id")}, nil
}

// outsideKeyDelete deletes a database key of either version that opens a cluster.
func (r *request) outsideKeyDelete(c *cluster, id string) error {
	if k := r.account.keysV2[id]; k != nil && k.str("cluster_id") == c.id {
		delete(r.account.keysV2, id)
		return nil
	}
	if k := r.account.keysV1[id]; k != nil && opens(k, c.id) {
		delete(r.account.keysV1, id)
		return nil
	}
	return refuseControl("cluster %s has no key %q", c.id, id)
}

// controlStatus gives a backup, a schedule or a restore a status. RUNNING lasts for a quarter of a minute, and ACTIVE lets a
// schedule's status follow from its cluster again.
func (s *Sandbox) controlStatus(a *account, in backupConditions) error {
	r, now := &request{Sandbox: s, account: a, now: s.now()}, s.now()
	until := now.Add(scaled(15*time.Second, s.cfg.TimeScale))
	switch {
	case in.Backup != "" && in.Schedule == "" && in.Restore == "":
		b, err := r.backup(in.Backup)
		if err != nil {
			return refuseControl("%s", err)
		}
		status, err := s.statusNumber("cluster.backup.v1.BackupStatus", "BACKUP_STATUS_", in.Status)
		switch {
		case err != nil:
			return err
		case status == backupUnknown && b.of.provider() != providerHybrid:
			return refuseControl("a backup of a managed cluster is never UNKNOWN")
		case status == backupRunning:
			b.status, b.ends = backupSucceeded, until
		default:
			b.status, b.ends = status, earlier(b.ends, now)
		}
	case in.Schedule != "" && in.Backup == "" && in.Restore == "":
		sch, err := r.schedule(in.Schedule)
		if err != nil {
			return refuseControl("%s", err)
		}
		status, err := s.statusNumber("cluster.backup.v1.BackupScheduleStatus", "BACKUP_SCHEDULE_STATUS_", in.Status)
		if err != nil {
			return err
		}
		if sch.status = status; status == scheduleActive {
			sch.status = 0
		}
	case in.Restore != "" && in.Backup == "" && in.Schedule == "":
		i := slices.IndexFunc(a.restores, func(x *restore) bool { return x.id.String() == in.Restore })
		if i < 0 {
			return refuseControl("the account has no restore %q", in.Restore)
		}
		x := a.restores[i]
		switch status, err := s.statusNumber("cluster.backup.v1.BackupRestoreStatus", "BACKUP_RESTORE_STATUS_", in.Status); {
		case err != nil:
			return err
		case status == restoreRunning:
			x.status, x.ends = restoreSucceeded, until
		default:
			x.status, x.ends = status, earlier(x.ends, now)
		}
		if c := a.clusters[x.cluster.String()]; c != nil && c.restore == x {
			c.until = x.ends // the cluster is as long at it
		}
	default:
		return refuseControl("a status is that of one backup, schedule or restore")
	}
	s.changed()
	return nil
}

// statusNumber is the number of a status by its name with or without its prefix.
func (s *Sandbox) statusNumber(enum, prefix, name string) (enumValue, error) {
	n := s.schema.enums[enum].numbers[prefix+strings.TrimPrefix(name, prefix)]
	if n == 0 {
		return 0, refuseControl("there is no status %q", name)
	}
	return enumValue(n), nil
}
