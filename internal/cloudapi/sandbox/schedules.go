package sandbox

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// schedule makes backups of a cluster whenever it comes round.
type schedule struct {
	id        uuid.UUID
	cluster   string
	text      string // what cron was read from
	cron      cron
	display   string // may be empty
	retention time.Duration
	made      time.Time
	deleted   time.Time // when its deletion began; zero: it did not
	backups   int       // how many it has made; those that nobody can see any more count where it matters
	fails     time.Time // at which of its times the backup of the seed fails
	status    enumValue // that was set; zero: it follows from its cluster
}

// statusIn is its status among the clusters of its account.
func (sch *schedule) statusIn(a *account) enumValue {
	if sch.status != 0 {
		return sch.status
	}
	if c := a.clusters[sch.cluster]; c != nil {
		switch c.phase {
		case phaseFailedToSync:
			return scheduleFailedToSync
		case phaseNotFound:
			return scheduleNotFound
		}
	}
	return scheduleActive
}

// idle reports whether it makes no backups, because somebody said so or because it is not where it should be.
func (sch *schedule) idle() bool {
	return !sch.deleted.IsZero() || sch.status == scheduleDisabled || sch.status == scheduleNotFound
}

func (sch *schedule) message(a *account) msg {
	m := msg{
		"id": sch.id.String(), "created_at": sch.made, "account_id": a.id, "cluster_id": sch.cluster, "schedule": sch.text, "status": sch.statusIn(a),
	}
	if sch.retention > 0 {
		m["retention_period"] = sch.retention
	}
	if sch.display != "" {
		m["display_name"] = sch.display
	}
	if !sch.deleted.IsZero() {
		m["deleted_at"] = sch.deleted
	}
	return m
}

// settleBackups brings schedules and backups of an account up to now. It comes before its clusters, because what a schedule did
// depends on the phases they were in. Between two calls nobody did anything, so a cluster was in its present phase and then in the one
// that ends it. What it costs grows with what there is to see at the end and not with the time between.
func (s *Sandbox) settleBackups(a *account, now time.Time) {
	scale := s.cfg.TimeScale
	before := len(a.backups)
	for _, c := range a.clusters {
		if c.failBackups > 0 {
			a.failNext(c, now)
		}
	}
	for _, sch := range a.schedules {
		if c := a.clusters[sch.cluster]; c != nil && !sch.idle() && c.phase != phaseDeleting {
			s.comeRound(a, sch, c, now)
		}
	}
	added := len(a.backups) > before
	a.backups = slices.DeleteFunc(a.backups, func(b *backup) bool { return b.gone(now, scale) })
	a.schedules = slices.DeleteFunc(a.schedules, func(sch *schedule) bool { return deletionEnded(sch.deleted, now, scale) })
	if added {
		a.sortBackups()
	}
	if a.settled = later(a.settled, now); len(a.failing) > 0 {
		a.failing = nil
	}
}

// comeRound makes the backups of a schedule since the account was settled: the latest that its retention and keptBackups leave.
func (s *Sandbox) comeRound(a *account, sch *schedule, c *cluster, now time.Time) {
	times := s.moments[:0] // the latest first
	for at := range sch.cron.backwards(later(a.settled, sch.made), now, sch.made) {
		if times = append(times, at); len(times) == keptBackups {
			break
		}
	}
	if s.moments = times; len(times) == 0 {
		return
	}
	sch.backups += len(times)
	a.backups = slices.DeleteFunc(a.backups, func(b *backup) bool { return b.schedule == sch.id && b.nth <= sch.backups-keptBackups })
	for i, at := range times {
		if sch.retention > 0 && !now.Before(at.Add(sch.retention)) {
			break
		}
		b := s.newBackup(sch.backupID(at), c, c.phaseAt(at), at)
		b.schedule, b.nth, b.display, b.retention = sch.id, sch.backups-i, sch.display, sch.retention
		if _, works := c.backsUp(c.phaseAt(at)); works && (at.Equal(sch.fails) || a.failing[failure{sch.id, at.UnixNano()}]) {
			b.status = backupFailed
		}
		a.backups = append(a.backups, b)
	}
}

// backupID is the id of the backup that a schedule makes at a moment: the same whenever it is computed.
func (sch *schedule) backupID(at time.Time) uuid.UUID {
	return derivedID("backup", sch.id.String(), at.UTC().Format(time.RFC3339Nano))
}

// derivedID is a UUID, version 4 by its form, that follows from words.
func derivedID(words ...string) (u uuid.UUID) {
	copy(u[:], seedBytes(0, words...))
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// failure is a backup of a schedule that shall fail.
type failure struct {
	schedule uuid.UUID
	at       int64 // Unix time in nanoseconds
}

// failNext finds those of a cluster's scheduled backups up to now that POST /_sandbox/backups lets fail: the first ones.
func (a *account) failNext(c *cluster, now time.Time) {
	var next []failure
	for _, sch := range a.schedules {
		if sch.cluster != c.id || sch.idle() || c.phase == phaseDeleting {
			continue
		}
		found := 0
		for at := range sch.cron.forwards(later(a.settled, sch.made), now, sch.made) {
			if _, works := c.backsUp(c.phaseAt(at)); !works {
				if c.until.IsZero() || !at.Before(c.until) {
					break // nor does it later on
				}
				continue
			}
			next = append(next, failure{sch.id, at.UnixNano()})
			if found++; found == c.failBackups {
				break
			}
		}
	}
	slices.SortFunc(next, func(x, y failure) int {
		return cmp.Or(cmp.Compare(x.at, y.at), slices.Compare(x.schedule[:], y.schedule[:]))
	})
	next = next[:min(len(next), c.failBackups)]
	c.failBackups -= len(next)
	for _, f := range next {
		if a.failing == nil {
			a.failing = map[failure]bool{}
		}
		a.failing[f] = true
	}
}

// phaseAt is the phase of a cluster at a moment since it was settled.
func (c *cluster) phaseAt(at time.Time) enumValue {
	switch {
	case at.Before(c.since):
		return phaseHealthy // only in the past that a seed makes up
	case !c.until.IsZero() && !at.Before(c.until):
		phase, _ := c.next()
		return phase
	}
	return c.phase
}

func (r *request) listSchedules() (msg, error) {
	var items []*schedule
	for _, sch := range r.account.schedules {
		if r.wants("cluster_id", sch.cluster) {
			items = append(items, sch)
		}
	}
	slices.SortFunc(items, func(x, y *schedule) int { return cmp.Or(x.made.Compare(y.made), slices.Compare(x.id[:], y.id[:])) })
	return listed(r, items, "cluster.backup.v1.ListBackupSchedulesRequest",
		func(sch *schedule) string { return pageKey(sch.made, sch.id.String()) },
		func(sch *schedule) msg { return sch.message(r.account) })
}

func (r *request) schedule(id string) (*schedule, error) {
	if u, err := uuid.Parse(id); err == nil {
		for _, sch := range r.account.schedules {
			if sch.id == u {
				return sch, nil
			}
		}
	}
	return nil, notFound("backup schedule", id)
}

func (r *request) scheduleAnswer(sch *schedule) msg {
	return msg{"backup_schedule": sch.message(r.account)}
}

func (r *request) getSchedule() (msg, error) {
	sch, err := r.schedule(r.in.str("backup_schedule_id"))
	if err != nil {
		return nil, err
	}
	if !strings.EqualFold(sch.cluster, r.in.str("cluster_id")) {
		return nil, notFound("backup schedule", r.in.str("backup_schedule_id"))
	}
	return r.scheduleAnswer(sch), nil
}

// apply takes over from a message what can be changed of a schedule.
func (sch *schedule) apply(asked msg) error {
	when, err := parseCron(asked.str("schedule"))
	if err != nil {
		return invalidField("backup_schedule.schedule", "value is no schedule: %s", err)
	}
	sch.cron, sch.text, sch.display = when, asked.str("schedule"), asked.str("display_name")
	sch.retention, _ = asked["retention_period"].(time.Duration)
	return nil
}

func (r *request) createSchedule() (msg, error) {
	asked := r.in.sub("backup_schedule")
	c := r.account.clusters[strings.ToLower(asked.str("cluster_id"))]
	if c == nil {
		return nil, notFound("cluster", asked.str("cluster_id"))
	}
	if err := r.checkBackups(c); err != nil {
		return nil, err
	}
	if c.phase == phaseDeleting {
		return nil, wrongPhase(c, "backed up")
	}
	sch := &schedule{id: uuid.New(), cluster: c.id, made: r.now.Truncate(time.Microsecond)}
	if err := sch.apply(asked); err != nil {
		return nil, err
	}
	r.account.schedules = append(r.account.schedules, sch)
	r.changed()
	return r.scheduleAnswer(sch), nil
}

// updateSchedule replaces when a schedule comes round, how long its backups are kept and what they are called. Backups that were made
// stay as they are.
func (r *request) updateSchedule() (msg, error) {
	asked := r.in.sub("backup_schedule")
	sch, err := r.schedule(asked.str("id"))
	switch {
	case err != nil:
		return nil, err
	case !strings.EqualFold(asked.str("cluster_id"), sch.cluster):
		return nil, invalidField("backup_schedule.cluster_id", "the cluster of a backup schedule cannot be changed")
	case !sch.deleted.IsZero():
		return nil, refuse(codeFailedPrecondition, "backup schedule %s is being deleted", sch.id)
	}
	if err := r.checkEntitled(); err != nil {
		return nil, err
	}
	if err := sch.apply(asked); err != nil {
		return nil, err
	}
	r.changed()
	return r.scheduleAnswer(sch), nil
}

// deleteSchedule begins to delete a schedule, and the backups it made where the request says so.
func (r *request) deleteSchedule() (msg, error) {
	sch, err := r.schedule(r.in.str("backup_schedule_id"))
	if err != nil {
		return nil, err
	}
	if !sch.deleted.IsZero() {
		return nil, refuse(codeFailedPrecondition, "backup schedule %s is being deleted already", sch.id)
	}
	var its []*backup
	for _, b := range r.account.backups {
		if r.in.flag("delete_backups") && b.schedule == sch.id && b.deleted.IsZero() {
			if err := r.notRestoring(b); err != nil {
				return nil, err
			}
			its = append(its, b)
		}
	}
	sch.deleted = r.now.Truncate(time.Microsecond)
	for _, b := range its {
		b.deleted = sch.deleted
	}
	r.changed()
	return msg{}, nil
}
