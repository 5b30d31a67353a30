package accounts

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"quartermaster/internal/cloudapi"
)

// alertList answers each cluster's alerts with the same list.
type alertList struct {
	mu     sync.Mutex
	alerts []map[string]any
}

func (l *alertList) set(alerts ...map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alerts = alerts
}

func oneAlert(id, state string) map[string]any {
	return map[string]any{"id": id, "type": "CLUSTER_ALERT_TYPE_OOM", "severity": "CLUSTER_ALERT_SEVERITY_CRITICAL", "title": "Out of memory", "state": "CLUSTER_ALERT_STATE_" + state}
}

// newAlertListRig is a rig with one account of one cluster, whose alerts are the list; poll reads them.
func newAlertListRig(t *testing.T) (r *rig, list *alertList, poll func()) {
	t.Helper()
	r, list = newRig(t), &alertList{}
	others, mux := r.up.server.Config.Handler, http.NewServeMux()
	mux.HandleFunc(cloudapi.OpListClusterAlerts.Method+" "+cloudapi.OpListClusterAlerts.Path, func(w http.ResponseWriter, _ *http.Request) {
		list.mu.Lock()
		defer list.mu.Unlock()
		answer(w, http.StatusOK, map[string]any{"alerts": list.alerts})
	})
	mux.Handle("/", others)
	r.up.server.Config.Handler = mux
	id, at := r.account(t, "One", Production)
	at.add(1)
	r.refresh(t, r.svc, id)
	return r, list, func() {
		t.Helper()
		r.exec(t, `UPDATE refresh SET next_at = now() WHERE kind = 'alerts'`)
		r.exec(t, `UPDATE cluster_reads SET next_at = now()`)
		if _, err := r.svc.readKindOnce(t.Context(), kindAlerts); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAlertsThatAreNotReadAreNotResolved: an alert that is missing where the list is not whole, because it is too long or something
// in it cannot be read, fires still, and that is told; once the list is whole it is resolved.
func TestAlertsThatAreNotReadAreNotResolved(t *testing.T) {
	r, list, poll := newAlertListRig(t)
	state := func() string {
		return value[string](t, r, `SELECT state FROM cluster_alerts WHERE alert_id = 'z-known'`)
	}
	told := func() string { return value[string](t, r, `SELECT error FROM cluster_reads`) }
	many := func(state string) (all []map[string]any) {
		for i := range 500 {
			all = append(all, oneAlert(fmt.Sprintf("a-%04d", i), state))
		}
		return all
	}
	list.set(append(many("RESOLVED"), oneAlert("z-known", "FIRING"))...)
	poll()
	if got := state(); got != "FIRING" || told() != "" {
		t.Fatalf("the 501st of a list is %s, %q", got, told())
	}
	list.set(append(many("FIRING"), oneAlert("z-known", "FIRING"))...)
	poll()
	if got := state(); got != "FIRING" || !strings.Contains(told(), "could not read 1 ") {
		t.Errorf("past what is kept it is %s, %q", got, told())
	}
	list.set(oneAlert("z-known", "FIRING"))
	poll()
	list.set(oneAlert("a-0000", "RESOLVED"), oneAlert("z known", "FIRING"))
	poll()
	if got := state(); got != "FIRING" {
		t.Errorf("with an id that cannot be read it is %s", got)
	}
	page, err := r.svc.Alerts(t.Context(), viewer(), AlertsQuery{State: cloudapi.AlertFiring})
	if err != nil || page.Failing != 1 || len(page.Alerts) != 1 || !page.Alerts[0].Failed || page.Alerts[0].AlertID != "z-known" {
		t.Errorf("the page does not say so: %d failing, %+v, %v", page.Failing, page.Alerts, err)
	}
	list.set(oneAlert("a-0000", "RESOLVED"))
	poll()
	if got := state(); got != "RESOLVED" || told() != "" {
		t.Errorf("once the list is whole it is %s, %q", got, told())
	}
}

// TestAlertsOfManyIDsAreBounded: upstream may name its alerts anew at each reading, and in lists that are not whole: what is stored of a
// cluster stays bounded, and what is listed is there.
func TestAlertsOfManyIDsAreBounded(t *testing.T) {
	r, list, poll := newAlertListRig(t)
	for round := range 12 {
		var alerts []map[string]any
		for i := range 400 {
			alerts = append(alerts, oneAlert(fmt.Sprintf("a-%d-%d", round, i), "FIRING"))
		}
		if round%3 == 1 {
			alerts = append(alerts, oneAlert("no id", "FIRING"))
		}
		list.set(alerts...)
		poll()
		if n := value[int](t, r, `SELECT count(*) FROM cluster_alerts`); n > 500+maxUnlisted+maxResolved {
			t.Fatalf("%d alerts are stored after %d readings", n, round+1)
		}
		if n := value[int](t, r, `SELECT count(*) FROM cluster_alerts WHERE state = 'FIRING' AND starts_with(alert_id, $1)`, fmt.Sprintf("a-%d-", round)); n != 400 {
			t.Fatalf("%d of 400 that are listed are stored", n)
		}
	}
	poll()
	if n := value[int](t, r, `SELECT count(*) FROM cluster_alerts WHERE state = 'RESOLVED'`); n != maxResolved {
		t.Errorf("%d are kept that are resolved", n)
	}
}

// TestUnknownAlertsAreNotOverlooked: a severity that is not known here is sorted as the worst, and a state that is not known as one that fires.
func TestUnknownAlertsAreNotOverlooked(t *testing.T) {
	r, list, poll := newAlertListRig(t)
	novel, muted := oneAlert("novel", "FIRING"), oneAlert("muted", "MUTED")
	novel["severity"] = 9
	list.set(oneAlert("critical", "FIRING"), novel, muted, oneAlert("over", "RESOLVED"))
	poll()
	page, err := r.svc.Alerts(t.Context(), viewer(), AlertsQuery{})
	if err != nil || len(page.Alerts) != 4 || page.Firing != 3 || page.Resolved != 1 || page.Alerts[0].AlertID != "novel" || page.Alerts[3].AlertID != "over" {
		t.Errorf("%d firing, %d resolved, %+v, %v", page.Firing, page.Resolved, page.Alerts, err)
	}
	if n, err := r.svc.FiringAlertsNow(t.Context(), viewer(), 99); err != nil || n != 3 {
		t.Errorf("the navigation counts %d, %v", n, err)
	}
	if page, err := r.svc.Alerts(t.Context(), viewer(), AlertsQuery{State: cloudapi.AlertFiring}); err != nil || len(page.Alerts) != 3 {
		t.Errorf("%d are found as firing, %v", len(page.Alerts), err)
	}
}
