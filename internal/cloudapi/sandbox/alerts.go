package sandbox

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Numbers of ClusterAlertType.
const (
	alertDisk       enumValue = 1
	alertMemory     enumValue = 2
	alertRecovery   enumValue = 5
	alertUnhealthy  enumValue = 6
	alertThrottled  enumValue = 8
	alertKeyExpires enumValue = 9
	alertNoSLA      enumValue = 10
)

// Numbers of ClusterAlertSeverity and of ClusterAlertState.
const (
	severityInfo     enumValue = 1
	severityWarning  enumValue = 2
	severityCritical enumValue = 3

	alertFiring   enumValue = 1
	alertResolved enumValue = 2
)

const (
	// alertKept is how long a resolved alert stays listed.
	alertKept = 3 * day
	// keyWarning is how long before its end a key is warned of.
	keyWarning = 7 * day
)

// trouble is what a phase in which something is wrong fires.
type trouble struct {
	alert enumValue
	words string
}

var troubles = map[enumValue]trouble{
	phaseNotReady:        {alertUnhealthy, "Not all nodes of the cluster are ready."},
	phaseFailedToUpdate:  {alertUnhealthy, "The last update of the cluster failed."},
	phaseFailedToResume:  {alertUnhealthy, "The cluster could not be resumed."},
	phaseFailedToSuspend: {alertUnhealthy, "The cluster could not be suspended."},
	phaseFailedToSync:    {alertUnhealthy, "The state of the cluster cannot be read."},
	phaseRecoveryMode:    {alertRecovery, "The cluster runs in recovery mode: data can be deleted and not read."},
}

// ailment is a trouble that is over.
type ailment struct {
	Phase int32     `json:"phase"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until"`
}

// listAlerts lists the alerts of a cluster, the newest first.
func (r *request) listAlerts() (msg, error) {
	c, err := r.cluster()
	if err != nil {
		return nil, err
	}
	alerts := slices.DeleteFunc(c.alerts(r.account, r.now, r.catalogue), func(a msg) bool {
		return r.in.has("state") && r.in.enum("state") != 0 && a.enum("state") != r.in.enum("state")
	})
	slices.SortFunc(alerts, func(a, b msg) int {
		return cmp.Or(b.when("last_firing_at").Compare(a.when("last_firing_at")), cmp.Compare(a.str("id"), b.str("id")))
	})
	return msg{"alerts": anys(alerts)}, nil
}

// alerts are those of a cluster at now.
func (c *cluster) alerts(a *account, now time.Time, cat *catalogue) []msg {
	var out []msg
	fires := now.Truncate(time.Minute)
	// An alert keeps its id while it fires and afterwards, and has another one when it fires again.
	add := func(what string, began time.Time, kind, severity enumValue, title, description string, until time.Time) {
		alert := msg{
			"id": derivedID("alert", c.id, what, began.UTC().Format(time.RFC3339Nano)).String(), "type": kind, "severity": severity, "title": cutRunes(title, 80), "description": cutRunes(description, 300),
			"last_firing_at": fires, "state": alertFiring,
		}
		if !until.IsZero() {
			if now.Sub(until) > alertKept {
				return
			}
			alert["last_firing_at"], alert["state"] = until, alertResolved
		}
		out = append(out, alert)
	}
	ails := func(phase enumValue, began, until time.Time) {
		if of, is := troubles[phase]; is {
			title := "Cluster is unhealthy"
			if of.alert == alertRecovery {
				title = "Cluster is in recovery mode"
			}
			add(fmt.Sprint("phase ", of.alert), began, of.alert, severityCritical, title, of.words, until)
		}
	}
	ails(c.phase, c.ailsSince(), time.Time{})
	ails(enumValue(c.ailed.Phase), c.ailed.Since, c.ailed.Until)
	if release, ok := cat.release(c.running.Version); ok && release.flag("end_of_life") {
		add("version", c.createdAt, alertNoSLA, severityInfo, "Version is not covered by the SLA", "The cluster runs "+c.running.Version+", which is at its end of life.", time.Time{})
	}
	for _, k := range ordered(a.keysV2) {
		ends := k.when("expires_at")
		if k.str("cluster_id") != c.id || !k.has("expires_at") || ends.Sub(now) > keyWarning {
			continue
		}
		until := time.Time{}
		if !ends.After(now) {
			until = ends
		}
		add("key "+k.str("id"), ends, alertKeyExpires, severityWarning, "API key is about to expire",
			fmt.Sprintf("The API key %q ends on %s.", k.str("name"), ends.Format(time.DateOnly)), until)
	}
	for _, f := range c.fired {
		add(fmt.Sprint("fired ", f.Type), f.Since, f.Type, f.Severity, f.Title, f.Description, f.Until)
	}
	if kind, severity, title, until, some := c.shortage(now); some {
		_, began, _ := c.shortTime(now)
		add(fmt.Sprint("load ", kind), began, kind, severity, title, "Usage was above 90 % for ten minutes.", until)
	}
	return out
}

// ailsSince is when the trouble that a cluster is in began.
func (c *cluster) ailsSince() time.Time {
	if c.ailing.IsZero() {
		return c.since
	}
	return c.ailing
}

// firedAlert is an alert that POST /_sandbox/alerts fired, at most one of each type.
type firedAlert struct {
	Type        enumValue `json:"type"`
	Severity    enumValue `json:"severity"`
	Title       string    `json:"title"`
	Description string    `json:"description"`
	Since       time.Time `json:"since"`
	Until       time.Time `json:"until,omitzero"`
}

// alertWords are the severity, title and description of an alert that is fired without them, by the number of its type.
var alertWords = []firedAlert{
	alertDisk:       {Severity: severityWarning, Title: "Disk is over-utilised", Description: "Usage was above 90 % for ten minutes."},
	alertMemory:     {Severity: severityWarning, Title: "Memory is over-utilised", Description: "Usage was above 90 % for ten minutes."},
	3:               {Severity: severityCritical, Title: "Out of disk", Description: "A node has no disk left and takes no more writes."},
	4:               {Severity: severityCritical, Title: "Out of memory", Description: "A node used more memory than it has and was stopped."},
	alertRecovery:   {Severity: severityCritical, Title: "Cluster is in recovery mode", Description: "One or more nodes run in recovery mode."},
	alertUnhealthy:  {Severity: severityCritical, Title: "Cluster is unhealthy", Description: "Not all nodes of the cluster are ready."},
	7:               {Severity: severityWarning, Title: "Too many collections", Description: "The cluster has more collections than is good for it."},
	alertThrottled:  {Severity: severityInfo, Title: "CPU is throttled", Description: "Usage was above 90 % for ten minutes."},
	alertKeyExpires: {Severity: severityWarning, Title: "API key is about to expire", Description: "An API key of the cluster ends soon."},
	alertNoSLA:      {Severity: severityInfo, Title: "Version is not covered by the SLA", Description: "The cluster runs a version at its end of life."},
	11:              {Severity: severityWarning, Title: "Disk hotspot", Description: "One node uses much more disk than the others."},
	12:              {Severity: severityWarning, Title: "Memory hotspot", Description: "One node uses much more memory than the others."},
	13:              {Severity: severityInfo, Title: "CPU hotspot", Description: "One node uses much more CPU than the others."},
}

// controlAlerts fires an alert of a cluster, or resolves one that was fired.
func (s *Sandbox) controlAlerts(req *http.Request) (any, error) {
	var in struct {
		Account     string `json:"account"`
		Cluster     string `json:"cluster"`
		Type        string `json:"type"`
		Severity    string `json:"severity"`
		Title       string `json:"title"`
		Description string `json:"description"`
		Resolved    bool   `json:"resolved"`
	}
	if err := readControl(req, &in); err != nil {
		return nil, err
	}
	a := s.accounts[in.Account]
	if a == nil {
		return nil, refuseControl("there is no account %q", in.Account)
	}
	s.settle(a, s.now())
	c := a.clusters[in.Cluster]
	if c == nil {
		return nil, refuseControl("the account has no cluster %q", in.Cluster)
	}
	kind, err := s.statusNumber("monitoring.v1.ClusterAlertType", "CLUSTER_ALERT_TYPE_", in.Type)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(c.fired, func(f firedAlert) bool { return f.Type == kind })
	if in.Resolved {
		if i < 0 || !c.fired[i].Until.IsZero() {
			return nil, refuseControl("no alert %s was fired", in.Type)
		}
		c.fired[i].Until = s.now()
		s.changed()
		return nil, nil
	}
	alert := alertWords[kind]
	alert.Type, alert.Since = kind, s.now()
	alert.Title, alert.Description = cmp.Or(strings.ToValidUTF8(in.Title, "\uFFFD"), alert.Title), cmp.Or(strings.ToValidUTF8(in.Description, "\uFFFD"), alert.Description)
	if in.Severity != "" {
		if alert.Severity, err = s.statusNumber("monitoring.v1.ClusterAlertSeverity", "CLUSTER_ALERT_SEVERITY_", in.Severity); err != nil {
			return nil, err
		}
	}
	if i >= 0 {
		c.fired = slices.Delete(c.fired, i, i+1)
	}
	c.fired = append(c.fired, alert)
	s.changed()
	return nil, nil
}

// shortTime is of what a cluster is short at times, which about one in four is, and the last such time that began before now.
func (c *cluster) shortTime(now time.Time) (kind enumValue, began, ended time.Time) {
	h := fnv.New32a()
	h.Write([]byte("load " + c.id)) // a hash never fails
	n := h.Sum32()
	if n%4 != 0 {
		return 0, time.Time{}, time.Time{}
	}
	every := 5*time.Hour + time.Duration(n/16%180)*time.Minute
	lasts := 20*time.Minute + time.Duration(n/64%20)*time.Minute
	began = now.Add(-time.Duration(n%997) * time.Minute).Truncate(every).Add(time.Duration(n%997) * time.Minute)
	return []enumValue{alertMemory, alertDisk, alertThrottled}[n/4%3], began, began.Add(lasts)
}

// shortage is what about one cluster in four is short of for half an hour, several times a day; until is zero while it is.
func (c *cluster) shortage(now time.Time) (kind, severity enumValue, title string, until time.Time, some bool) {
	kind, began, ended := c.shortTime(now)
	if kind == 0 || len(c.nodes(now)) == 0 || c.phase == phaseCreating || c.phase == phaseSuspended || c.phase == phaseResuming {
		return 0, 0, "", time.Time{}, false
	}
	severity, title = severityWarning, "Memory is over-utilised"
	switch kind {
	case alertDisk:
		title = "Disk is over-utilised"
	case alertThrottled:
		severity, title = severityInfo, "CPU is throttled"
	}
	if !now.Before(ended) {
		until = ended
	}
	return kind, severity, title, until, began.After(c.createdAt)
}

func cutRunes(s string, most int) string {
	runes := []rune(s)
	return string(runes[:min(len(runes), most)])
}
