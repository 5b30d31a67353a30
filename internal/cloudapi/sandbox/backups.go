package sandbox

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Numbers of BackupStatus, BackupRestoreStatus and BackupScheduleStatus.
const (
	backupRunning      enumValue = 1
	backupSkipped      enumValue = 2
	backupFailed       enumValue = 3
	backupSucceeded    enumValue = 4
	backupFailedToSync enumValue = 5
	backupUnknown      enumValue = 7

	restoreRunning   enumValue = 1
	restoreFailed    enumValue = 2
	restoreSucceeded enumValue = 3

	scheduleActive       enumValue = 1
	scheduleFailedToSync enumValue = 2
	scheduleNotFound     enumValue = 3
	scheduleDisabled     enumValue = 4
)

const (
	// keptBackups is how many backups a schedule has at the most: whatever their retention, the oldest goes when one more is made.
	keptBackups = 400
	// deletionTakes is how long a backup or a schedule is listed after its deletion began, at time scale 1.
	deletionTakes = 5 * time.Second
)

// backup is one backup. Its message is made when somebody reads it: it is small, because a fleet has very many.
type backup struct {
	id        uuid.UUID
	of        *cluster      // as it is, or last was
	config    msg           // of the cluster at the time
	schedule  uuid.UUID     // zero: made by hand
	nth       int           // of its schedule's
	display   string        // what people call it
	retention time.Duration // zero: for ever
	made      time.Time
	ends      time.Time // of the work
	deleted   time.Time // when its deletion began; zero: it did not
	status    enumValue // when the work has ended
}

// statusAt is its status at a moment. While nobody reports from where its cluster is it is not known, whatever it was.
func (b *backup) statusAt(now time.Time) enumValue {
	switch {
	case b.of.silent():
		return backupUnknown
	case now.Before(b.ends):
		return backupRunning
	}
	return b.status
}

// gone reports whether its retention or its deletion has ended. A deletion waits for an agent that is silent.
func (b *backup) gone(now time.Time, scale float64) bool {
	return b.retention > 0 && !now.Before(b.made.Add(b.retention)) || deletionEnded(b.deleted, now, scale) && !b.of.silent()
}

func deletionEnded(began, now time.Time, scale float64) bool {
	return !began.IsZero() && !now.Before(began.Add(scaled(deletionTakes, scale)))
}

// scaled is how long something takes that usually takes d.
func scaled(d time.Duration, scale float64) time.Duration { return time.Duration(float64(d) / scale) }

// restore is one restore of a backup.
type restore struct {
	id, cluster, backup uuid.UUID
	made, ends          time.Time
	status              enumValue // when the work has ended
}

func (x *restore) message(account string, now time.Time) msg {
	status := x.status
	if now.Before(x.ends) {
		status = restoreRunning
	}
	return msg{
		"id": x.id.String(), "created_at": x.made, "account_id": account, "cluster_id": x.cluster.String(), "backup_id": x.backup.String(), "status": status,
	}
}

// diskGiB is the disk of all nodes of a configuration.
func diskGiB(config msg, size *pkg) int64 {
	perNode := int64(config.sub("additional_resources").uint("disk"))
	if size != nil {
		perNode += size.diskGiB
	}
	return perNode * int64(max(config.uint("number_of_nodes"), 1))
}

// backupGiB is how large a backup of a cluster with a configuration is: what its collections take of the disk, which is the same
// share at every call.
func (c *cluster) backupGiB(config msg, cat *catalogue) int64 {
	return max(diskGiB(config, cat.packages[config.str("package_id")])*int64(c.between(20, 70))/100, 1)
}

// backupTakes is how long a backup of so many GiB takes at time scale 1. A restore takes as long.
func backupTakes(gib int64) time.Duration {
	return min(15*time.Second+time.Duration(gib)*500*time.Millisecond, 2*time.Hour)
}

// name is the one that the platform gives it.
func (b *backup) name() string {
	return fmt.Sprintf("qdrant-%.8s-%s-%.4s", b.of.id, b.made.Format("20060102-150405"), b.id.String())
}

// message is the cluster.backup.v1.Backup at a moment.
func (b *backup) message(account string, now time.Time, cat *catalogue) msg {
	info := msg{
		"name": b.of.name(), "cloud_provider_id": b.of.provider(), "cloud_provider_region_id": b.of.region(), "configuration": b.config, "created_at": b.of.createdAt,
	}
	status := b.statusAt(now)
	m := msg{
		"id": b.id.String(), "created_at": b.made, "account_id": account, "cluster_id": b.of.id, "status": status, "cluster_info": info, "name": b.name(),
	}
	m["display_name"] = cmp.Or(b.display, m.str("name"))
	if size := cat.packages[b.config.str("package_id")]; size != nil {
		amount := func(v int64, unit string) msg { return msg{"amount": min(v, math.MaxInt32), "unit": unit} }
		if best := cat.restoring(size, b.of.region()); best != nil {
			info["restore_package_id"] = best.id
		}
		resources := msg{
			"cpu": amount(size.cpuMilli, "m"), "ram": amount(size.ramGiB, "Gi"),
			"disk": amount(size.diskGiB+int64(b.config.sub("additional_resources").uint("disk")), "Gi"),
		}
		if size.gpuMilli > 0 {
			resources["gpu"] = amount(size.gpuMilli, "m")
		}
		info["resources_summary"] = resources
	}
	if b.schedule != uuid.Nil {
		m["backup_schedule_id"] = b.schedule.String()
	}
	if b.retention > 0 {
		m["retention_period"] = b.retention
	}
	if !b.deleted.IsZero() {
		m["deleted_at"] = b.deleted
	}
	if status == backupSucceeded || status == backupFailed {
		m["backup_duration"] = b.ends.Sub(b.made)
	}
	if status == backupSucceeded {
		perHour := b.of.backupGiB(b.config, cat) * backupPrice
		m["price"] = msg{
			"currency": "USD", "original_price_per_hour": perHour, "discounted_price_per_hour": perHour,
			"original_price_per_month": perHour * 730, "discounted_price_per_month": perHour * 730,
		}
	}
	return m
}

// backsUp is what becomes of a backup of a cluster that is in a phase: its status, and whether it takes its time. A hybrid cluster whose
// agent is silent goes on making backups, of which the agent tells later.
func (c *cluster) backsUp(phase enumValue) (status enumValue, works bool) {
	switch phase {
	case phaseUnknown:
		if c.provider() == providerHybrid {
			return backupSucceeded, true
		}
		return backupFailedToSync, false
	case phaseHealthy, phaseNotReady, phaseRecoveryMode, phaseManualMaintenance, phaseUpdating, phaseScaling, phaseUpgrading, phaseFailedToUpdate, phaseFailedToSuspend:
		return backupSucceeded, true
	case phaseFailedToSync:
		return backupFailedToSync, false
	}
	return backupSkipped, false // there is no suitable target
}

// newBackup returns a backup of a cluster that began at a moment at which the cluster was in a phase.
func (s *Sandbox) newBackup(id uuid.UUID, c *cluster, phase enumValue, at time.Time) *backup {
	b := &backup{id: id, of: c, config: c.config(), made: at, ends: at}
	works := false
	if b.status, works = c.backsUp(phase); works {
		takes := scaled(backupTakes(c.backupGiB(b.config, s.catalogue)), s.cfg.TimeScale)
		b.ends = at.Add(max(takes.Truncate(time.Millisecond), time.Millisecond))
	}
	return b
}

// sortBackups puts an account's backups into the order that listings have.
func (a *account) sortBackups() {
	slices.SortFunc(a.backups, func(x, y *backup) int {
		return cmp.Or(x.made.Compare(y.made), slices.Compare(x.id[:], y.id[:]))
	})
}

// breakOff ends the backups of a cluster that are running: they failed.
func (a *account) breakOff(c *cluster, now time.Time) {
	for _, b := range a.backups {
		if b.of == c && now.Before(b.ends) {
			b.ends, b.status = now, backupFailed
		}
	}
}

// backingUp reports whether a backup of a cluster is running.
func (a *account) backingUp(c *cluster, now time.Time) bool {
	return slices.ContainsFunc(a.backups, func(b *backup) bool { return b.of == c && now.Before(b.ends) })
}

// listed serves a paged listing, filtered already: when and as what each item was made, and the message of one.
func listed[T any](r *request, items []T, requestType string, key func(T) string, message func(T) msg) (msg, error) {
	keys := make([]string, len(items))
	for i, item := range items {
		keys[i] = key(item)
	}
	from, to, out, err := r.page(keys, requestType)
	if err != nil {
		return nil, err
	}
	list := make([]any, 0, to-from)
	for _, item := range items[from:to] {
		list = append(list, message(item))
	}
	out["items"] = list
	return out, nil
}

// pageKey orders what was made at a moment as listings do, by time and id.
func pageKey(made time.Time, id string) string {
	return made.UTC().Format("2006-01-02T15:04:05.000000000") + id
}

// wants reports whether a listing that is narrowed by a field wants an item whose field has that value.
func (r *request) wants(field, value string) bool {
	return !r.in.has(field) || strings.EqualFold(r.in.str(field), value)
}

func (r *request) listBackups() (msg, error) {
	var items []*backup
	for _, b := range r.account.backups {
		if r.wants("cluster_id", b.of.id) && (!r.in.has("backup_schedule_id") || b.schedule != uuid.Nil && r.wants("backup_schedule_id", b.schedule.String())) {
			items = append(items, b)
		}
	}
	return listed(r, items, "cluster.backup.v1.ListBackupsRequest",
		func(b *backup) string { return pageKey(b.made, b.id.String()) },
		func(b *backup) msg { return b.message(r.account.id, r.now, r.catalogue) })
}

func (r *request) listRestores() (msg, error) {
	var items []*restore
	for _, x := range r.account.restores {
		if r.wants("cluster_id", x.cluster.String()) {
			items = append(items, x)
		}
	}
	slices.SortFunc(items, func(x, y *restore) int {
		return cmp.Or(x.made.Compare(y.made), slices.Compare(x.id[:], y.id[:]))
	})
	return listed(r, items, "cluster.backup.v1.ListBackupRestoresRequest",
		func(x *restore) string { return pageKey(x.made, x.id.String()) },
		func(x *restore) msg { return x.message(r.account.id, r.now) })
}

// backup finds the backup that a request names by a field of a message.
func (r *request) backup(id string) (*backup, error) {
	if u, err := uuid.Parse(id); err == nil {
		for _, b := range r.account.backups {
			if b.id == u {
				return b, nil
			}
		}
	}
	return nil, notFound("backup", id)
}

func (r *request) backupAnswer(b *backup) msg {
	return msg{"backup": b.message(r.account.id, r.now, r.catalogue)}
}

func (r *request) getBackup() (msg, error) {
	b, err := r.backup(r.in.str("backup_id"))
	if err != nil {
		return nil, err
	}
	return r.backupAnswer(b), nil
}

// checkBackups refuses backups of clusters that can have none, and what would cost more while payment details are missing.
func (r *request) checkBackups(c *cluster) error {
	if err := r.checkEntitled(); err != nil {
		return err
	}
	if size := r.catalogue.packages[c.config().str("package_id")]; size != nil && size.free {
		return refuse(codeFailedPrecondition, "cluster %s is a free cluster: free clusters have no backups", c.id)
	}
	if r.account.paymentMissing {
		return refuse(codeFailedPrecondition, "Payment details missing or outdated")
	}
	return nil
}

func (r *request) createBackup() (msg, error) {
	asked := r.in.sub("backup")
	c := r.account.clusters[strings.ToLower(asked.str("cluster_id"))]
	if c == nil {
		return nil, notFound("cluster", asked.str("cluster_id"))
	}
	if err := r.checkBackups(c); err != nil {
		return nil, err
	}
	if _, works := c.backsUp(c.phase); !works || c.silent() {
		return nil, wrongPhase(c, "backed up")
	}
	b := r.newBackup(uuid.New(), c, c.phase, r.now.Truncate(time.Microsecond))
	b.display = asked.str("display_name")
	b.retention, _ = asked["retention_period"].(time.Duration)
	if c.failBackups > 0 {
		c.failBackups--
		b.status = backupFailed
	}
	r.account.backups = append(r.account.backups, b)
	r.account.sortBackups()
	r.changed()
	return r.backupAnswer(b), nil
}

// updateBackup changes what a backup is called; every other field is ignored.
func (r *request) updateBackup() (msg, error) {
	b, err := r.backup(r.in.sub("backup").str("id"))
	if err != nil {
		return nil, err
	}
	if !b.deleted.IsZero() {
		return nil, refuse(codeFailedPrecondition, "backup %s is being deleted", b.id)
	}
	b.display = r.in.sub("backup").str("display_name")
	r.changed()
	return r.backupAnswer(b), nil
}

// deleteBackup begins a deletion; with force, which managed clusters ignore, it ends at once.
func (r *request) deleteBackup() (msg, error) {
	b, err := r.backup(r.in.str("backup_id"))
	if err != nil {
		return nil, err
	}
	if r.in.flag("force") && b.of.provider() == providerHybrid {
		r.account.backups = slices.DeleteFunc(r.account.backups, func(other *backup) bool { return other == b })
		r.changed()
		return msg{}, nil
	}
	if !b.deleted.IsZero() {
		return nil, refuse(codeFailedPrecondition, "backup %s is being deleted already", b.id)
	}
	if err := r.notRestoring(b); err != nil {
		return nil, err
	}
	b.deleted = r.now.Truncate(time.Microsecond)
	r.changed()
	return msg{}, nil
}

// notRestoring refuses to delete a backup that is being restored.
func (r *request) notRestoring(b *backup) error {
	if slices.ContainsFunc(r.account.restores, func(x *restore) bool { return x.backup == b.id && r.now.Before(x.ends) }) {
		return refuse(codeFailedPrecondition, "backup %s is being restored", b.id)
	}
	return nil
}

// restorable finds a backup that can be restored.
func (r *request) restorable() (*backup, error) {
	b, err := r.backup(r.in.str("backup_id"))
	switch {
	case err != nil:
		return nil, err
	case !b.deleted.IsZero():
		return nil, refuse(codeFailedPrecondition, "backup %s is being deleted", b.id)
	case b.statusAt(r.now) != backupSucceeded:
		return nil, refuse(codeFailedPrecondition, "backup %s has not succeeded", b.id)
	}
	return b, nil
}

// restoringReason and restoreFailedReason are what a cluster says of a restore: the current API has no phases for it.
const (
	restoringReason     = "A backup is being restored."
	restoreFailedReason = "Restoring a backup failed."
)

// restoreBackup puts the data of a backup back into the cluster it was made of.
func (r *request) restoreBackup() (msg, error) {
	if err := r.checkEntitled(); err != nil {
		return nil, err
	}
	b, err := r.restorable()
	if err != nil {
		return nil, err
	}
	c := r.account.clusters[b.of.id]
	if c == nil {
		return nil, refuse(codeFailedPrecondition, "cluster %s does not exist any more: create a cluster from the backup", b.of.id)
	}
	switch c.phase {
	case phaseHealthy, phaseNotReady, phaseRecoveryMode, phaseFailedToUpdate:
	default:
		return nil, wrongPhase(c, "restored")
	}
	c.enter(phaseUpdating, restoringReason, r.now, r.cfg.TimeScale)
	c.sick, c.until = nil, r.now.Add(scaled(backupTakes(c.backupGiB(b.config, r.catalogue)), r.cfg.TimeScale))
	r.restoring(c, b)
	return msg{}, nil
}

// restoring records a restore that ends with the present phase of a cluster. Those of its backups fail that POST /_sandbox/backups lets
// fail, into whichever cluster.
func (r *request) restoring(c *cluster, b *backup) {
	id, _ := uuid.Parse(c.id) // every cluster's is one
	x := &restore{id: uuid.New(), cluster: id, backup: b.id, made: r.now.Truncate(time.Microsecond), ends: c.until, status: restoreSucceeded}
	if b.of.failRestores > 0 {
		b.of.failRestores--
		x.status = restoreFailed
	}
	c.restore = x
	r.account.restores = append(r.account.restores, x)
	r.changed()
}

// createClusterFromBackup makes a cluster like the one that was backed up, with the package that the backup names for it.
func (r *request) createClusterFromBackup() (msg, error) {
	b, err := r.restorable()
	if err != nil {
		return nil, err
	}
	config := b.config.clone()
	delete(config, "last_modified_at")
	size := r.catalogue.packages[config.str("package_id")]
	best := r.catalogue.restoring(size, b.of.region())
	if best == nil {
		return nil, refuse(codeFailedPrecondition, "no package of region %s can hold backup %s", b.of.region(), b.id)
	}
	if best != size {
		config["package_id"] = best.id
		disk := size.diskGiB + int64(config.sub("additional_resources").uint("disk")) - best.diskGiB
		if delete(config, "additional_resources"); disk > 0 {
			config["additional_resources"] = msg{"disk": uint64(disk)}
		}
	}
	if release, ok := r.catalogue.release(config.str("version")); !ok || release.flag("end_of_life") || release.flag("unavailable") {
		delete(config, "version")
	}
	c, err := r.newCluster(newID(), msg{
		"name": r.in.str("cluster_name"), "cloud_provider_id": b.of.provider(), "cloud_provider_region_id": b.of.region(), "configuration": config,
	})
	if err != nil {
		return nil, err
	}
	r.restoring(c, b)
	return r.clusterAnswer(c), nil
}
