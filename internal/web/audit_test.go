package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/templates"
)

// TestCheckOfTheLog asks for a check as each role: who may read the log may have it checked, and the
// check is on record.
func TestCheckOfTheLog(t *testing.T) {
	c, db := newFullConsole(t)
	for group, want := range map[string]int{"admins": 200, "auditors": 200, "operators": 403, "viewers": 403} {
		b := c.as(group)
		wantStatus(t, b.visit("/audit/verify"), want)
		w := b.post("/audit/verify", "event=")
		wantStatus(t, w, want)
		body := w.Body.String()
		if want == http.StatusForbidden {
			if !strings.Contains(body, "audit:read") {
				t.Errorf("%s: the refusal does not name the right:\n%s", group, body)
			}
			continue
		}
		for _, word := range []string{`data-result="ok"`, "The whole log adds up", "Last chain value"} {
			if !strings.Contains(body, word) {
				t.Errorf("%s: the page lacks %q:\n%s", group, word, body)
			}
		}
	}
	var checks int
	err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE act = 'audit.verify' AND outcome = 'ok'`).Scan(&checks)
	if err != nil || checks != 2 {
		t.Errorf("%d checks recorded, want 2 (%v)", checks, err)
	}
}

// TestEventPageProves has one page tell who did it, that this event is as recorded, and that the
// whole log is.
func TestEventPageProves(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("auditors")
	w := b.post("/audit/verify", "event=1")
	wantStatus(t, w, http.StatusOK)
	body := w.Body.String()
	for _, word := range []string{`id="audit-event"`, "Member auditors", "carried out", "session.login", "This event is what was recorded", "The whole log adds up"} {
		if !strings.Contains(body, word) {
			t.Errorf("the page lacks %q", word)
		}
	}
	for form, want := range map[string]int{"event=999": 404, "event=-1": 404, "event=x": 404, "event=1%2F..%2F2": 404} {
		if w := b.post("/audit/verify", form); w.Code != want {
			t.Errorf("%s: %d, want %d", form, w.Code, want)
		}
	}
}

// TestCheckFindsAChange alters the log as only the database's superuser can, and has it checked.
func TestCheckFindsAChange(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("auditors")
	super, err := pgx.Connect(t.Context(), db.SuperURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = super.Close(context.Background()) }()
	if _, err := super.Exec(t.Context(), `SET session_replication_role = replica`); err != nil {
		t.Fatal(err)
	}
	changed, err := super.Exec(t.Context(), `UPDATE audit.events SET body = convert_to(replace(convert_from(body, 'UTF8'), 'Member auditors', 'Member admins'), 'UTF8') WHERE seq = 1`)
	if err != nil || changed.RowsAffected() != 1 {
		t.Fatalf("altering event 1: %v, %v", changed, err)
	}
	w := b.post("/audit/verify", "event=1")
	wantStatus(t, w, http.StatusOK)
	for _, word := range []string{`data-result="problems"`, "does not add up in 1 place", `data-seq="1"`, `href="/audit/events/1"`, "This event does not add up"} {
		if !strings.Contains(w.Body.String(), word) {
			t.Errorf("the page lacks %q:\n%s", word, w.Body)
		}
	}
}

// TestCheckEndsInTime proves that a log that cannot be read in time is said to be too long, and not
// to be whole.
func TestCheckEndsInTime(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("auditors")
	c.checkTime = time.Nanosecond
	w := b.post("/audit/verify", "event=1")
	wantStatus(t, w, http.StatusServiceUnavailable)
	body := w.Body.String()
	if !strings.Contains(body, `data-result="too-long"`) || !strings.Contains(body, "quartermaster audit verify") || strings.Contains(body, "adds up.") {
		t.Errorf("the page is\n%s", body)
	}
	c.checkTime = checkTime
	wantStatus(t, b.post("/audit/verify", "event="), http.StatusOK)
}

func TestOneCheckAtATime(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("auditors")
	c.checking.Lock()
	w := b.post("/audit/verify", "event=")
	wantStatus(t, w, http.StatusConflict)
	if !strings.Contains(w.Body.String(), "being checked already") {
		t.Errorf("the page is\n%s", w.Body)
	}
	c.checking.Unlock()
	wantStatus(t, b.post("/audit/verify", "event="), http.StatusOK)
}

// TestSecretsOfChanges proves that no secret is said to have been there before its thing was made,
// or to be there after it is gone.
func TestSecretsOfChanges(t *testing.T) {
	for act, want := range map[string][2]string{
		accounts.ActAccountCreate.Name: {"", audit.Redacted}, accounts.ActAccountDelete.Name: {audit.Redacted, ""}, accounts.ActAccountEnable.Name: {audit.Redacted, audit.Redacted},
	} {
		d := audit.Detail{Operation: audit.Operation{Stored: audit.Stored{Event: audit.Event{
			Act: act, Change: audit.Change{"management_key": {audit.Redacted, audit.Redacted}},
		}}}}
		got := eventView(templates.Page{}, d).Changes
		if len(got) != 1 || got[0].Before != want[0] || got[0].After != want[1] {
			t.Errorf("%s: %+v, want %q", act, got, want)
		}
	}
}

func TestTookText(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "less than 1 ms", 12*time.Millisecond + 9: "12 ms", 1234 * time.Millisecond: "1.2 s", 30 * time.Second: "30.0 s"} {
		if got := tookText(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
