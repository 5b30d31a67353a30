package cloudapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// alertsAnswer is an answer that lists these alerts.
func alertsAnswer(t *testing.T, alerts ...map[string]any) http.HandlerFunc {
	t.Helper()
	body, err := json.Marshal(map[string]any{"alerts": alerts})
	if err != nil {
		t.Fatal(err)
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body) //nolint:errcheck // the client tells
	}
}

// TestAlertsThatFireAreKeptFirst: of more alerts than are kept, those that are resolved go first, and it is told when that is not
// enough, or something cannot be read.
func TestAlertsThatFireAreKeptFirst(t *testing.T) {
	alert := func(id string, state any) map[string]any {
		return map[string]any{"id": id, "type": 1, "severity": 3, "state": state}
	}
	many := func(n int, state any) (list []map[string]any) {
		for i := range n {
			list = append(list, alert(fmt.Sprintf("a-%04d", i), state))
		}
		return list
	}
	for name, c := range map[string]struct {
		list             []map[string]any
		kept, firing     int
		unread, unclear  int
		whole, firstOpen bool
	}{
		"the last of 501 fires": {append(many(500, "CLUSTER_ALERT_STATE_RESOLVED"), alert("z", "CLUSTER_ALERT_STATE_FIRING")), 500, 1, 0, 0, true, true},
		"501 fire":              {many(501, "CLUSTER_ALERT_STATE_FIRING"), 500, 500, 1, 0, false, true},
		"an id has a blank":     {[]map[string]any{alert("a", "CLUSTER_ALERT_STATE_FIRING"), alert("b c", "CLUSTER_ALERT_STATE_FIRING")}, 1, 1, 0, 1, false, true},
		"an unknown state":      {append(many(500, "CLUSTER_ALERT_STATE_RESOLVED"), alert("z", "CLUSTER_ALERT_STATE_MUTED")), 500, 1, 0, 0, true, true},
		"none":                  {nil, 0, 0, 0, 0, true, false},
	} {
		u := newUpstream(t, alertsAnswer(t, c.list...))
		got, err := NewCurrentAPI(u.conn(Current)).Alerts(t.Context(), "c")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		firing := 0
		for _, a := range got.Alerts {
			if a.State != AlertResolved {
				firing++
			}
		}
		if len(got.Alerts) != c.kept || firing != c.firing || got.Unread != c.unread || got.Unreadable != c.unclear || got.Whole() != c.whole || c.firstOpen && got.Alerts[0].State == AlertResolved {
			t.Errorf("%s: %d kept, %d of them firing, %d unread, %d unreadable", name, len(got.Alerts), firing, got.Unread, got.Unreadable)
		}
	}
}

// TestUnknownValuesLookLikeThemselves: a value that is not known here cannot turn the text around it, or be without end.
func TestUnknownValuesLookLikeThemselves(t *testing.T) {
	u := newUpstream(t, alertsAnswer(t, map[string]any{"id": "a", "state": "\u202eGNIRIF", "severity": strings.Repeat("W", 5000), "type": "a\x00b"}))
	got, err := NewCurrentAPI(u.conn(Current)).Alerts(t.Context(), "c")
	if err != nil || len(got.Alerts) != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	a := got.Alerts[0]
	if strings.ContainsRune(a.State, '\u202e') || !strings.Contains(a.State, "202e") || len(a.Severity) > maxEnum || strings.Contains(a.Type, "\x00") {
		t.Errorf("state %q, severity of %d bytes, type %q", a.State, len(a.Severity), a.Type)
	}
}
