package cloudapi

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"time"
)

// maxAlerts bounds the alerts of one cluster that are read.
const maxAlerts = 500

// The severities and states of an Alert.
const (
	AlertInfo     = "INFO"
	AlertWarning  = "WARNING"
	AlertCritical = "CRITICAL"

	AlertFiring   = "FIRING"
	AlertResolved = "RESOLVED"
)

// Alert is something that upstream finds wrong, or found wrong, with a cluster.
type Alert struct {
	ID           string
	Type         string // such as DISK_OVERUTILIZED; may be one that is not known here
	Severity     string // AlertInfo, AlertWarning, AlertCritical, or one that is not known here
	Title        string
	Description  string
	LastFiringAt time.Time // zero: not told
	State        string    // AlertFiring, AlertResolved, or one that is not known here
}

// Alerts returns the alerts of a cluster, firing and resolved.
func (api *CurrentAPI) Alerts(ctx context.Context, cluster string) ([]Alert, error) {
	alerts, err := listOf(ctx, api.conn, OpListClusterAlerts, Params{"cluster_id": cluster}, nil, "alerts", func(n node) (Alert, error) {
		id := n.text("id")
		if !isIdentifier(id) {
			return Alert{}, errors.New("an alert has no id")
		}
		return Alert{
			ID: id, Type: n.enum("type", enumAlertType), Severity: n.enum("severity", enumAlertSeverity), State: n.enum("state", enumAlertState),
			Title: n.words("title"), Description: n.words("description"), LastFiringAt: n.time("lastFiringAt"),
		}, nil
	})
	return alerts[:min(len(alerts), maxAlerts)], err
}

// Alerts is not in pa/v1.
func (*LegacyAPI) Alerts(context.Context, string) ([]Alert, error) {
	return nil, lacks("Alerts", "alerts")
}

// Backup is a copy of a cluster's data, as far as lists need it.
type Backup struct {
	ID, Cluster string
	Name        string // the given one, else the generated
	Status      string // SUCCEEDED, RUNNING, FAILED, ..., or one that is not known here
	Schedule    string // that it was made by; empty: by hand
	CreatedAt   time.Time
	DeletedAt   time.Time // zero: it is there
}

// BackupPage is one page of a listing of backups; Next is empty on the last.
type BackupPage struct {
	Backups []Backup
	Next    string
}

// Backups returns a page of at most 250 backups of all of the account's clusters; an empty token asks for the first. A backup that
// cannot be read is left out. A page is Malformed that gives its own token, holds a backup of another account, or of whose
// backups not one can be read.
func (api *CurrentAPI) Backups(ctx context.Context, pageToken string) (BackupPage, error) {
	query := url.Values{"pageSize": {strconv.Itoa(pageSize)}}
	if pageToken != "" {
		query.Set("pageToken", pageToken)
	}
	answer, err := api.conn.Do(ctx, OpListBackups, nil, query, nil)
	if err != nil {
		return BackupPage{}, err
	}
	read := reading[Backup]{decode: api.conn.backup}
	rest, err := members(answer.Body, "items", read.add)
	if err == nil {
		err = read.failure()
	}
	page := BackupPage{Backups: read.items}
	if err == nil {
		page.Next, err = nextPage(rest)
	}
	if err == nil && page.Next != "" && page.Next == pageToken {
		err = errors.New("the page names itself as the next")
	}
	if err != nil {
		return BackupPage{}, api.conn.misshapen(OpListBackups, answer, err)
	}
	return page, nil
}

// Backups is not in pa/v1.
func (*LegacyAPI) Backups(context.Context, string) (BackupPage, error) {
	return BackupPage{}, lacks("Backups", "list of backups")
}

func (c *Conn) backup(n node) (Backup, error) {
	id, err := n.id()
	if err != nil {
		return Backup{}, err
	}
	if err := c.ownAccount(n.text("accountId")); err != nil {
		return Backup{}, errors.New("a backup belongs to another account")
	}
	b := Backup{
		ID: id, Cluster: n.text("clusterId"), Name: n.words("displayName"), Status: n.enum("status", enumBackupStatus),
		Schedule: n.text("backupScheduleId"), CreatedAt: n.time("createdAt"), DeletedAt: n.time("deletedAt"),
	}
	if b.Name == "" {
		b.Name = n.words("name")
	}
	if !isIdentifier(b.Cluster) {
		return Backup{}, errors.New("a backup names no cluster")
	}
	return b, nil
}
