package cloudapi

import (
	"context"
	"errors"
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
