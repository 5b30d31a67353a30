package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// backupFile, scheduleFile and restoreFile are the layout of backups, schedules and restores on disk.
type backupFile struct {
	ID        uuid.UUID       `json:"id"`
	Cluster   string          `json:"cluster"`
	Of        *formerCluster  `json:"of,omitempty"` // where the cluster is there no more
	Config    json.RawMessage `json:"configuration"`
	Schedule  uuid.UUID       `json:"schedule,omitzero"`
	Nth       int             `json:"nth,omitempty"`
	Display   string          `json:"display_name,omitempty"`
	Retention time.Duration   `json:"retention_ns,omitempty"`
	Made      time.Time       `json:"made"`
	Ends      time.Time       `json:"ends"`
	Deleted   time.Time       `json:"deleted,omitzero"`
	Status    enumValue       `json:"status"`
}

// formerCluster is what backups still say of a cluster that was deleted.
type formerCluster struct {
	Name     string    `json:"name"`
	Provider string    `json:"provider"`
	Region   string    `json:"region"`
	Created  time.Time `json:"created"`
}

type scheduleFile struct {
	ID        uuid.UUID     `json:"id"`
	Cluster   string        `json:"cluster"`
	Schedule  string        `json:"schedule"`
	Display   string        `json:"display_name,omitempty"`
	Retention time.Duration `json:"retention_ns,omitempty"`
	Made      time.Time     `json:"made"`
	Deleted   time.Time     `json:"deleted,omitzero"`
	Backups   int           `json:"backups,omitempty"`
	Fails     time.Time     `json:"fails,omitzero"`
	Status    enumValue     `json:"status,omitempty"`
}

type restoreFile struct {
	ID      uuid.UUID `json:"id"`
	Cluster uuid.UUID `json:"cluster"`
	Backup  uuid.UUID `json:"backup"`
	Made    time.Time `json:"made"`
	Ends    time.Time `json:"ends"`
	Status  enumValue `json:"status"`
}

func (s *Sandbox) encodeBackups(a *account, out *accountFile) {
	out.Settled = a.settled
	for _, b := range a.backups {
		f := backupFile{
			ID: b.id, Cluster: b.of.id, Config: s.encodeMessage("cluster.v1.ClusterConfiguration", b.config), Schedule: b.schedule, Nth: b.nth, Display: b.display,
			Retention: b.retention, Made: b.made, Ends: b.ends, Deleted: b.deleted, Status: b.status,
		}
		if a.clusters[b.of.id] == nil {
			f.Of = &formerCluster{b.of.name(), b.of.provider(), b.of.region(), b.of.createdAt}
		}
		out.Backups = append(out.Backups, f)
	}
	for _, sch := range a.schedules {
		out.Schedules = append(out.Schedules, scheduleFile{
			ID: sch.id, Cluster: sch.cluster, Schedule: sch.text, Display: sch.display, Retention: sch.retention, Made: sch.made, Deleted: sch.deleted,
			Backups: sch.backups, Fails: sch.fails, Status: sch.status,
		})
	}
	for _, x := range a.restores {
		out.Restores = append(out.Restores, restoreFile{x.id, x.cluster, x.backup, x.made, x.ends, x.status})
	}
}

// decodeBackups reads backups, schedules and restores of an account whose clusters have been read. A file of before these had a layout
// of their own has them as messages, and does not say up to when they are settled: that is then.
func (s *Sandbox) decodeBackups(a *account, af accountFile, now time.Time) error {
	a.settled = af.Settled
	if a.settled.IsZero() {
		a.settled = now
		if err := s.messagesOfBackups(&af); err != nil {
			return err
		}
	}
	former := map[string]*cluster{}
	for _, f := range af.Backups {
		c := a.clusters[f.Cluster]
		if c == nil {
			c = former[f.Cluster]
		}
		if c == nil {
			if f.Of == nil || !isUUID(f.Cluster) {
				return fmt.Errorf("backup %s is of no cluster", f.ID)
			}
			c = &cluster{id: f.Cluster, createdAt: f.Of.Created, spec: msg{
				"name": f.Of.Name, "cloud_provider_id": f.Of.Provider, "cloud_provider_region_id": f.Of.Region,
			}}
			former[f.Cluster] = c
		}
		config, err := s.decodeMessage("cluster.v1.ClusterConfiguration", f.Config)
		if err != nil {
			return fmt.Errorf("backup %s: %w", f.ID, err)
		}
		a.backups = append(a.backups, &backup{
			id: f.ID, of: c, config: config, schedule: f.Schedule, nth: f.Nth, display: f.Display, retention: f.Retention, made: f.Made, ends: f.Ends,
			deleted: f.Deleted, status: f.Status,
		})
	}
	for _, f := range af.Schedules {
		when, err := parseCron(f.Schedule)
		if err != nil {
			return fmt.Errorf("backup schedule %s: %w", f.ID, err)
		}
		if a.clusters[f.Cluster] == nil {
			return fmt.Errorf("backup schedule %s is of no cluster", f.ID)
		}
		a.schedules = append(a.schedules, &schedule{
			id: f.ID, cluster: f.Cluster, text: f.Schedule, cron: when, display: f.Display, retention: f.Retention, made: f.Made, deleted: f.Deleted,
			backups: f.Backups, fails: f.Fails, status: f.Status,
		})
	}
	for _, f := range af.Restores {
		x := &restore{f.ID, f.Cluster, f.Backup, f.Made, f.Ends, f.Status}
		a.restores = append(a.restores, x)
		if c := a.clusters[f.Cluster.String()]; c != nil && x.ends.Equal(c.until) && (c.phase == phaseUpdating || c.phase == phaseCreating) {
			c.restore = x
		}
	}
	a.sortBackups()
	return nil
}

// messagesOfBackups turns the messages of an older file into today's layout.
func (s *Sandbox) messagesOfBackups(af *accountFile) error {
	each := func(name, message string, take func(m msg, id uuid.UUID) error) error {
		var list []json.RawMessage
		if raw, ok := af.Messages[name]; ok {
			if err := json.Unmarshal(raw, &list); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		for _, raw := range list {
			m, err := s.decodeMessage(message, raw)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			id, err := uuid.Parse(m.str("id"))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			if err := take(m, id); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		return nil
	}
	retention := func(m msg) time.Duration { d, _ := m["retention_period"].(time.Duration); return d }
	return errors.Join(
		each("backups", "cluster.backup.v1.Backup", func(m msg, id uuid.UUID) error {
			info := m.sub("cluster_info")
			takes, _ := m["backup_duration"].(time.Duration)
			schedule, _ := uuid.Parse(m.str("backup_schedule_id")) // none: made by hand
			af.Backups = append(af.Backups, backupFile{
				ID: id, Cluster: m.str("cluster_id"), Config: s.encodeMessage("cluster.v1.ClusterConfiguration", info.sub("configuration")), Schedule: schedule,
				Of:      &formerCluster{info.str("name"), info.str("cloud_provider_id"), info.str("cloud_provider_region_id"), info.when("created_at")},
				Display: m.str("display_name"), Retention: retention(m), Made: m.when("created_at"), Ends: m.when("created_at").Add(takes), Status: m.enum("status"),
			})
			return nil
		}),
		each("schedules", "cluster.backup.v1.BackupSchedule", func(m msg, id uuid.UUID) error {
			af.Schedules = append(af.Schedules, scheduleFile{
				ID: id, Cluster: m.str("cluster_id"), Schedule: m.str("schedule"), Display: m.str("display_name"), Retention: retention(m), Made: m.when("created_at"),
			})
			return nil
		}),
		each("restores", "cluster.backup.v1.BackupRestore", func(m msg, id uuid.UUID) error {
			of, err := uuid.Parse(m.str("cluster_id"))
			from, err2 := uuid.Parse(m.str("backup_id"))
			af.Restores = append(af.Restores, restoreFile{id, of, from, m.when("created_at"), m.when("created_at"), m.enum("status")})
			return errors.Join(err, err2)
		}),
	)
}
