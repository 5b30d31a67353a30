package cloudapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// maxAlerts bounds the alerts of one cluster that are kept of an answer.
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

// AlertList is what upstream lists as alerts of a cluster.
type AlertList struct {
	Alerts []Alert // at most 500: those that fire before those that are resolved
	// Unreadable is how many more were listed that cannot be read, and Unread how many that fire and are more than are kept. While
	// there are any, it does not follow from an alert's absence that it does not fire.
	Unreadable, Unread int
}

// Whole reports whether everything that fires is among the alerts.
func (l AlertList) Whole() bool { return l.Unreadable+l.Unread == 0 }

// Alerts returns the alerts of a cluster, firing and resolved.
func (api *CurrentAPI) Alerts(ctx context.Context, cluster string) (AlertList, error) {
	answer, err := api.conn.Do(ctx, OpListClusterAlerts, Params{"cluster_id": cluster}, nil, nil)
	if err != nil {
		return AlertList{}, err
	}
	read := reading[Alert]{decode: func(n node) (Alert, error) {
		id := n.text("id")
		if !isIdentifier(id) {
			return Alert{}, errors.New("an alert has no id")
		}
		return Alert{
			ID: id, Type: n.enum("type", enumAlertType), Severity: n.enum("severity", enumAlertSeverity), State: n.enum("state", enumAlertState),
			Title: n.words("title"), Description: n.words("description"), LastFiringAt: n.time("lastFiringAt"),
		}, nil
	}}
	listed := 0
	if _, err = members(answer.Body, "alerts", func(raw json.RawMessage) error { listed++; return read.add(raw) }); err == nil {
		err = read.failure()
	}
	if err != nil {
		return AlertList{}, api.conn.misshapen(OpListClusterAlerts, answer, err)
	}
	list := AlertList{Alerts: read.items, Unreadable: listed - len(read.items)}
	slices.SortStableFunc(list.Alerts, func(a, b Alert) int {
		if resolved := a.State == AlertResolved; resolved != (b.State == AlertResolved) {
			if resolved {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	if len(list.Alerts) > maxAlerts {
		for _, a := range list.Alerts[maxAlerts:] {
			if a.State != AlertResolved {
				list.Unread++
			}
		}
		list.Alerts = slices.Clone(list.Alerts[:maxAlerts])
	}
	return list, nil
}

// Alerts is not in pa/v1.
func (*LegacyAPI) Alerts(context.Context, string) (AlertList, error) {
	return AlertList{}, lacks("Alerts", "alerts")
}
