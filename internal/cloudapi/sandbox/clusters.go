package sandbox

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// currentCalls are the rpcs of the current API that are served, by name without "qdrant.cloud.".
func currentCalls() map[string]rpc {
	return map[string]rpc{
		"cluster.v1.ClusterService/ListClusters":            (*request).listClusters,
		"cluster.v1.ClusterService/GetCluster":              (*request).getCluster,
		"cluster.v1.ClusterService/GetClusterDownscaleRisk": (*request).downscaleRisk,
		"cluster.v1.ClusterService/CreateCluster":           (*request).createCluster,
		"cluster.v1.ClusterService/CreateClusterFromBackup": (*request).createClusterFromBackup,
		"cluster.v1.ClusterService/UpdateCluster":           (*request).updateCluster,
		"cluster.v1.ClusterService/DeleteCluster":           (*request).deleteCluster,
		"cluster.v1.ClusterService/RestartCluster":          (*request).restartCluster,
		"cluster.v1.ClusterService/SuspendCluster":          (*request).suspendCluster,
		"cluster.v1.ClusterService/UnsuspendCluster":        (*request).unsuspendCluster,
		"cluster.v1.ClusterService/EnableClusterJwtRbac":    (*request).enableJWT,
		"cluster.v1.ClusterService/SuggestClusterName":      (*request).suggestClusterName,
		"cluster.v1.ClusterService/ListQdrantReleases":      (*request).listReleases,
		"cluster.v1.ClusterService/GetQdrantRelease":        (*request).getRelease,

		"account.v1.AccountService/ListAccounts":        (*request).listAccounts,
		"account.v1.AccountService/GetAccount":          (*request).getAccount,
		"account.v1.AccountService/UpdateAccount":       (*request).updateAccount,
		"account.v1.AccountService/ListAccountInvites":  (*request).listInvites,
		"account.v1.AccountService/GetAccountInvite":    (*request).getInvite,
		"account.v1.AccountService/DeleteAccountInvite": (*request).deleteInvite,
		"account.v1.AccountService/ListAccountMembers":  (*request).listMembers,
		"account.v1.AccountService/GetAccountMember":    (*request).getMember,
		"account.v1.AccountService/SuggestCompanies":    (*request).suggestCompanies,

		"auth.v1.AuthService/ListManagementKeys":  (*request).listManagementKeys,
		"auth.v1.AuthService/CreateManagementKey": (*request).createManagementKey,
		"auth.v1.AuthService/DeleteManagementKey": (*request).deleteManagementKey,

		"iam.v1.IAMService/ListUsers":                (*request).listUsers,
		"iam.v1.IAMService/ListPermissions":          (*request).listPermissions,
		"iam.v1.IAMService/ListRoles":                (*request).listRoles,
		"iam.v1.IAMService/GetRole":                  (*request).getRole,
		"iam.v1.IAMService/ListEffectivePermissions": (*request).listEffectivePermissions,
		"iam.v1.IAMService/ListUserRoles":            (*request).listUserRoles,
		"iam.v1.IAMService/ListRoleUsers":            (*request).listRoleUsers,

		"booking.v1.BookingService/ListPackages":         (*request).listPackages,
		"booking.v1.BookingService/GetPackage":           (*request).getPackage,
		"booking.v1.BookingService/ListGlobalPackages":   (*request).listPackages,
		"booking.v1.BookingService/GetQuote":             (*request).getQuote,
		"booking.v1.BookingService/GetBackupQuote":       (*request).getBackupQuote,
		"booking.v1.BookingService/ListInferenceModels":  (*request).listInferenceModels,
		"booking.v1.BookingService/ListStorageTierTypes": (*request).listStorageTiers,

		"platform.v1.PlatformService/ListGlobalCloudProviders":       (*request).listProviders,
		"platform.v1.PlatformService/ListCloudProviders":             (*request).listProviders,
		"platform.v1.PlatformService/ListGlobalCloudProviderRegions": (*request).listRegions,
		"platform.v1.PlatformService/GetGlobalCloudProviderRegion":   (*request).getRegion,
		"platform.v1.PlatformService/ListCloudProviderRegions":       (*request).listRegions,
		"platform.v1.PlatformService/GetCloudProviderRegion":         (*request).getRegion,

		"quota.v1.QuotaService/GetAccountQuotas": (*request).getQuotas,

		"cluster.auth.v1.DatabaseApiKeyService/ListDatabaseApiKeys":  (*request).listDatabaseKeysV1,
		"cluster.auth.v1.DatabaseApiKeyService/CreateDatabaseApiKey": (*request).createDatabaseKeyV1,
		"cluster.auth.v1.DatabaseApiKeyService/DeleteDatabaseApiKey": (*request).deleteDatabaseKeyV1,
		"cluster.auth.v2.DatabaseApiKeyService/ListDatabaseApiKeys":  (*request).listDatabaseKeysV2,
		"cluster.auth.v2.DatabaseApiKeyService/CreateDatabaseApiKey": (*request).createDatabaseKeyV2,
		"cluster.auth.v2.DatabaseApiKeyService/DeleteDatabaseApiKey": (*request).deleteDatabaseKeyV2,

		"monitoring.v1.MonitoringService/GetClusterSummaryMetrics":   (*request).summaryMetrics,
		"monitoring.v1.MonitoringService/GetClusterUsageMetrics":     (*request).usageMetrics,
		"monitoring.v1.MonitoringService/GetClusterLogs":             (*request).clusterLogs,
		"monitoring.v1.MonitoringService/GetClusterEvents":           (*request).clusterEvents,
		"monitoring.v1.MonitoringService/GetClusterInferenceMetrics": (*request).inferenceMetrics,
		"monitoring.v1.MonitoringService/ListClusterAlerts":          (*request).listAlerts,

		"cluster.backup.v1.BackupService/ListBackups":          (*request).listBackups,
		"cluster.backup.v1.BackupService/GetBackup":            (*request).getBackup,
		"cluster.backup.v1.BackupService/CreateBackup":         (*request).createBackup,
		"cluster.backup.v1.BackupService/UpdateBackup":         (*request).updateBackup,
		"cluster.backup.v1.BackupService/DeleteBackup":         (*request).deleteBackup,
		"cluster.backup.v1.BackupService/ListBackupRestores":   (*request).listRestores,
		"cluster.backup.v1.BackupService/RestoreBackup":        (*request).restoreBackup,
		"cluster.backup.v1.BackupService/ListBackupSchedules":  (*request).listSchedules,
		"cluster.backup.v1.BackupService/GetBackupSchedule":    (*request).getSchedule,
		"cluster.backup.v1.BackupService/CreateBackupSchedule": (*request).createSchedule,
		"cluster.backup.v1.BackupService/UpdateBackupSchedule": (*request).updateSchedule,
		"cluster.backup.v1.BackupService/DeleteBackupSchedule": (*request).deleteSchedule,
	}
}

func notFound(kind, id string) error { return refuse(codeNotFound, "%s %s not found", kind, id) }

// settle brings all that an account owns up to now, and drops the clusters whose deletion is done. It is called before anything
// reads or changes an account: nothing happens to accounts that nobody looks at, however far the clock is moved.
func (s *Sandbox) settle(a *account, now time.Time) {
	s.settleBackups(a, now)
	for id, c := range a.clusters {
		if !c.settle(now) {
			s.drop(a, c)
			delete(a.clusters, id)
		}
	}
}

// drop removes what belonged to a deleted cluster.
func (s *Sandbox) drop(a *account, c *cluster) {
	for id, k := range a.keysV2 {
		if k.str("cluster_id") == c.id {
			delete(a.keysV2, id)
		}
	}
	for id, k := range a.keysV1 {
		rest := slices.DeleteFunc(slices.Clone(k.list("cluster_ids")), func(v any) bool { return v == c.id })
		if len(rest) == 0 {
			delete(a.keysV1, id)
		} else {
			a.keysV1[id] = k.with("cluster_ids", rest)
		}
	}
	a.schedules = slices.DeleteFunc(a.schedules, func(sch *schedule) bool { return sch.cluster == c.id })
	if c.dropsData {
		a.backups = slices.DeleteFunc(a.backups, func(b *backup) bool { return b.of == c })
	}
	s.changed()
}

// cluster finds the cluster a request names.
func (r *request) cluster() (*cluster, error) {
	id := r.in.str("cluster_id")
	if c := r.account.clusters[strings.ToLower(id)]; c != nil {
		return c, nil
	}
	return nil, notFound("cluster", id)
}

// sortedClusters are an account's clusters, oldest first.
func (a *account) sortedClusters() []*cluster {
	out := make([]*cluster, 0, len(a.clusters))
	for _, c := range a.clusters {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *cluster) int {
		return cmp.Or(a.createdAt.Compare(b.createdAt), cmp.Compare(a.id, b.id))
	})
	return out
}

func (r *request) listClusters() (msg, error) {
	provider, region := r.in.str("cloud_provider_id"), r.in.str("cloud_provider_region_id")
	all := r.account.sortedClusters()
	all = slices.DeleteFunc(all, func(c *cluster) bool {
		return r.in.has("cloud_provider_id") && c.provider() != provider || r.in.has("cloud_provider_region_id") && c.region() != region
	})
	keys := make([]string, len(all))
	for i, c := range all {
		keys[i] = pageKey(c.createdAt, c.id)
	}
	from, to, out, err := r.page(keys, "cluster.v1.ListClustersRequest")
	if err != nil {
		return nil, err
	}
	items := make([]any, 0, to-from)
	for _, c := range all[from:to] {
		items = append(items, c.resource(r.account.id, r.now, r.catalogue))
	}
	out["items"] = items
	return out, nil
}

// page cuts a listing as page_size and page_token ask and returns the answer's paging fields.
// Tokens are signed, name the last item given out, and are bound to the other parameters.
func (r *request) page(keys []string, t string) (from, to int, out msg, err error) {
	out = msg{}
	if !r.in.has("page_size") && !r.in.has("page_token") {
		return 0, len(keys), out, nil
	}
	others := r.in.clone()
	delete(others, "page_token")
	binding := string(r.schema.messages[t].appendJSON([]byte(t), others, Spelling{}))
	if r.in.has("page_token") {
		last, ok := r.openToken(binding, r.in.str("page_token"))
		if !ok {
			return 0, 0, nil, invalidField("page_token", "the page token is not valid, or other parameters have changed since it was given")
		}
		from, _ = slices.BinarySearch(keys, last)
		if from < len(keys) && keys[from] == last {
			from++
		}
	}
	to = len(keys)
	if r.in.has("page_size") {
		to = min(from+int(r.in.int("page_size")), len(keys))
	}
	out["total_size"] = int64(len(keys))
	if to < len(keys) && to > from {
		out["next_page_token"] = r.sealToken(binding, keys[to-1])
	}
	return from, to, out, nil
}

func (s *Sandbox) sealToken(binding, last string) string {
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "%d:%s%s", len(binding), binding, last)
	return base64.RawURLEncoding.EncodeToString(append(mac.Sum(nil)[:16], last...))
}

func (s *Sandbox) openToken(binding, token string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(raw) < 16 {
		return "", false
	}
	last := string(raw[16:])
	return last, hmac.Equal([]byte(s.sealToken(binding, last)), []byte(token))
}

func (r *request) getCluster() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	return r.clusterAnswer(c), nil
}

func (r *request) clusterAnswer(c *cluster) msg {
	return msg{"cluster": c.resource(r.account.id, r.now, r.catalogue)}
}

func (r *request) downscaleRisk() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	target := r.catalogue.packages[strings.ToLower(r.in.str("package_id"))]
	if target == nil || !r.catalogue.offered(target, c.provider(), c.region()) {
		return nil, notFound("package", r.in.str("package_id"))
	}
	risk := msg{"resource": enumValue(1), "status": enumValue(1)}
	used := c.between(15, 75) // per cent of the memory of today's package, the same at every call
	size := r.catalogue.packages[c.running.Package]
	switch {
	case size != nil && target.ramGiB >= size.ramGiB: // nothing is reduced
	case c.phase != phaseHealthy || size == nil:
		risk["status"], risk["reason"] = enumValue(3), "Memory usage cannot be measured while the cluster is not healthy."
	case float64(size.ramGiB)*float64(used)/100 > float64(target.ramGiB)*0.8:
		risk["status"] = enumValue(2)
		risk["reason"] = fmt.Sprintf("The nodes use %.1f GiB of memory, package %s has %d GiB.", float64(size.ramGiB)*float64(used)/100, target.name, target.ramGiB)
	}
	return msg{"downscale_risks": []any{risk}}, nil
}

func (r *request) createCluster() (msg, error) {
	spec := r.in.sub("cluster").clone()
	delete(spec, "account_id")
	c, err := r.newCluster(newID(), spec)
	if err != nil {
		return nil, err
	}
	return r.clusterAnswer(c), nil
}

// checked decides whether the account may have a cluster like this, by the catalogue, its quotas and
// its payment details, and returns the whole configuration. old is the cluster being updated, or nil.
func (r *request) checked(spec msg, old *cluster) (msg, error) {
	if err := r.checkEntitled(); err != nil {
		return nil, err
	}
	config, err := r.checkSpec(spec, old)
	if err != nil {
		return nil, err
	}
	if err := r.checkQuota(config, old); err != nil {
		return nil, err
	}
	return config, r.checkPayment(spec, config, old)
}

// newCluster checks a specification and begins to create it.
func (r *request) newCluster(id string, spec msg) (*cluster, error) {
	config, err := r.checked(spec, nil)
	if err != nil {
		return nil, err
	}
	spec = spec.with("configuration", config.with("last_modified_at", r.now.Truncate(time.Microsecond)))
	c := &cluster{id: id, createdAt: r.now.Truncate(time.Microsecond), spec: spec, jwt: spec.str("cloud_provider_id") != providerHybrid || hybridSecret(config)}
	c.running = c.asked()
	c.enter(phaseCreating, "", r.now, r.cfg.TimeScale)
	r.account.clusters[c.id] = c
	r.changed()
	return c, nil
}

// hybridSecret reports whether a database secret is given, from which a hybrid cluster's JWT
// setting is inferred.
func hybridSecret(config msg) bool {
	return config.sub("database_configuration").sub("service").has("api_key")
}

func (r *request) updateCluster() (msg, error) {
	in := r.in.sub("cluster")
	c := r.account.clusters[strings.ToLower(in.str("id"))]
	if c == nil {
		return nil, notFound("cluster", in.str("id"))
	}
	spec := in.clone()
	for _, readOnly := range []string{"id", "account_id", "created_at", "deleted_at", "state"} {
		delete(spec, readOnly) // accepted and ignored: the official command line sends them
	}
	if err := r.applySpec(c, spec); err != nil {
		return nil, err
	}
	return r.clusterAnswer(c), nil
}

// applySpec replaces a cluster's specification and starts what the difference asks for.
func (r *request) applySpec(c *cluster, spec msg) error {
	config, err := r.checked(spec, c)
	if err != nil {
		return err
	}
	old := c.config().clone()
	modified := old.when("last_modified_at")
	delete(old, "last_modified_at")
	delete(config, "last_modified_at")
	same := r.sameConfig(old, config)
	if c.phase == phaseDeleting || !same && !updatable(c.phase) {
		return wrongPhase(c, "updated")
	}
	if !same {
		modified = r.now.Truncate(time.Microsecond)
	}
	c.spec = spec.with("configuration", config.with("last_modified_at", modified))
	if c.provider() == providerHybrid {
		c.jwt = hybridSecret(config)
	}
	r.changed()
	if same || c.phase == phaseSuspended {
		if c.phase == phaseSuspended {
			c.running = c.asked()
		}
		return nil
	}
	asked := c.asked()
	switch {
	case asked.Nodes != c.running.Nodes || asked.Package != c.running.Package || asked.DiskGiB != c.running.DiskGiB:
		c.enter(phaseScaling, "", r.now, r.cfg.TimeScale)
	case asked.Version != c.running.Version:
		c.enter(phaseUpgrading, "", r.now, r.cfg.TimeScale)
	default:
		c.enter(phaseUpdating, "", r.now, r.cfg.TimeScale)
	}
	c.sick = nil
	return nil
}

func (r *request) sameConfig(a, b msg) bool {
	t := r.schema.messages["cluster.v1.ClusterConfiguration"]
	return string(t.appendJSON(nil, a, Spelling{})) == string(t.appendJSON(nil, b, Spelling{}))
}

// updatable are the phases in which a configuration may change.
func updatable(phase enumValue) bool {
	switch phase {
	case phaseHealthy, phaseNotReady, phaseRecoveryMode, phaseSuspended, phaseFailedToUpdate, phaseFailedToSync:
		return true
	}
	return false
}

func wrongPhase(c *cluster, act string) error {
	return refuse(codeFailedPrecondition, "cluster %s cannot be %s while it is in phase %s", c.id, act, phaseName(c.phase))
}

func (r *request) deleteCluster() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	if r.in.flag("force") && c.provider() == providerHybrid { // managed clusters ignore it
		c.dropsData = c.dropsData || r.in.flag("delete_backups")
		r.vanish(c)
		return msg{}, nil
	}
	if err := r.beginDelete(c, r.in.flag("delete_backups")); err != nil {
		return nil, err
	}
	return msg{}, nil
}

// vanish deletes a cluster at once.
func (r *request) vanish(c *cluster) {
	r.account.breakOff(c, r.now)
	c.breakRestore(r.now)
	r.drop(r.account, c)
	delete(r.account.clusters, c.id)
	c.phase, c.until = 0, time.Time{} // what its backups say of it waits for nobody
}

func (r *request) beginDelete(c *cluster, dropsData bool) error {
	if c.phase == phaseDeleting {
		return wrongPhase(c, "deleted")
	}
	r.account.breakOff(c, r.now)
	c.dropsData, c.deletedAt = dropsData, r.now.Truncate(time.Microsecond)
	waits := c.silent()
	if c.enter(phaseDeleting, "", r.now, r.cfg.TimeScale); waits {
		c.until = time.Time{}
	}
	r.changed()
	return nil
}

func (r *request) restartCluster() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	switch c.phase {
	case phaseHealthy, phaseNotReady, phaseRecoveryMode, phaseFailedToUpdate, phaseFailedToSync:
	default:
		return nil, wrongPhase(c, "restarted")
	}
	c.enter(phaseUpdating, "Restarting nodes one by one.", r.now, r.cfg.TimeScale)
	c.restarting, c.restartedAt, c.sick = true, r.now.Truncate(time.Microsecond), nil
	c.lasts(r.now, r.cfg.TimeScale)
	r.changed()
	return msg{}, nil
}

func (r *request) suspendCluster() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	switch c.phase {
	case phaseHealthy, phaseNotReady, phaseRecoveryMode, phaseFailedToSuspend, phaseFailedToUpdate:
	default:
		return nil, wrongPhase(c, "suspended")
	}
	r.account.breakOff(c, r.now)
	c.enter(phaseSuspending, "", r.now, r.cfg.TimeScale)
	r.changed()
	return msg{}, nil
}

func (r *request) unsuspendCluster() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	if c.phase != phaseSuspended && c.phase != phaseFailedToResume {
		return nil, wrongPhase(c, "unsuspended")
	}
	c.enter(phaseResuming, "", r.now, r.cfg.TimeScale)
	c.sick = nil
	r.changed()
	return msg{}, nil
}

func (r *request) enableJWT() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	switch {
	case c.provider() == providerHybrid:
		return nil, refuse(codeFailedPrecondition, "JWT RBAC can be enabled in managed cloud environments only")
	case c.jwt:
		return nil, refuse(codeFailedPrecondition, "JWT RBAC is enabled already")
	case olderVersion(c.running.Version, "v1.9.0"):
		return nil, refuse(codeFailedPrecondition, "JWT RBAC needs version 1.9 or later")
	case c.phase != phaseHealthy:
		return nil, wrongPhase(c, "changed to JWT RBAC")
	}
	c.enter(phaseUpdating, "", r.now, r.cfg.TimeScale)
	c.jwt = true
	r.changed()
	return msg{}, nil
}

// suggestClusterName returns a name no cluster of the account has.
func (r *request) suggestClusterName() (msg, error) {
	first := []string{"amber", "brisk", "calm", "deft", "eager", "fair", "keen", "lucid", "nimble", "plain", "quiet", "steady"}
	second := []string{"falcon", "harbor", "island", "lantern", "maple", "meadow", "otter", "pine", "river", "summit", "valley", "willow"}
	taken := map[string]bool{}
	for _, c := range r.account.clusters {
		taken[c.name()] = true
	}
	roll := randomBytes(2)
	name := first[int(roll[0])%len(first)] + "-" + second[int(roll[1])%len(second)]
	for n, candidate := 2, name; ; n++ {
		if !taken[candidate] {
			return msg{"name": candidate}, nil
		}
		candidate = fmt.Sprintf("%s-%d", name, n)
	}
}

// listReleases returns all releases, or what a cluster may be updated to: newer ones that are
// neither withdrawn nor at their end.
func (r *request) listReleases() (msg, error) {
	if !r.in.has("cluster_id") {
		return msg{"items": anys(r.catalogue.releases)}, nil
	}
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	var items []any
	for _, release := range r.catalogue.releases {
		if olderVersion(c.running.Version, release.str("version")) && !release.flag("end_of_life") && !release.flag("unavailable") {
			items = append(items, release)
		}
	}
	return msg{"items": items}, nil
}

func (r *request) getRelease() (msg, error) {
	for _, release := range r.catalogue.releases {
		if release.str("version") == r.in.str("version") {
			return msg{"release": release}, nil
		}
	}
	return nil, notFound("release", r.in.str("version"))
}
