package web

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts"
)

// TestRowsThatTheLogDoesNotExplainAreTold: a grant that ended and that the database's owner has live again is told on every
// page to those who may look into it, listed on the page that checks the log, and gone when it has ended again.
func TestRowsThatTheLogDoesNotExplainAreTold(t *testing.T) {
	c, db := newFullConsole(t)
	auditor := c.as("auditors")
	job := accounts.JobActor("test")
	g, err := c.accounts.CreateGrant(t.Context(), job, accounts.NewGrant{SubjectKind: "group", Subject: "crew", Role: "viewer", ScopeKind: "everything", Reason: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.accounts.EndGrant(t.Context(), job, g.ID, ""); err != nil {
		t.Fatal(err)
	}
	w := auditor.post("/audit/verify", "event=")
	wantStatus(t, w, http.StatusOK)
	wantSaid(t, w, `data-testid="tables-check" data-result="ok"`, "The log explains every row.", "1 grant, ")
	owner, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.Background()) }()
	if _, err := owner.Exec(t.Context(), `ALTER TABLE grants DISABLE TRIGGER USER; UPDATE grants SET ended_at = NULL; ALTER TABLE grants ENABLE TRIGGER USER`); err != nil {
		t.Fatal(err)
	}
	w = auditor.post("/audit/verify", "event=")
	wantStatus(t, w, http.StatusOK)
	wantSaid(t, w, "The whole log adds up.", `data-testid="tables-check" data-result="problems"`, "The log does not explain 1 row.", "An event ended it", "It counts for nothing.")
	wantSaid(t, auditor.visit("/audit?act=audit.verify&outcome=failed"), "1 rows that the log does not explain")

	const told = "1 row is not as the log says"
	runUntil(t, c, func() bool { return strings.Contains(auditor.visit("/clusters").Body.String(), told) })
	wantSaid(t, auditor.visit("/clusters"), `href="/audit?act=rights.unverified"`, `href="/audit/verify"`)
	wantSaid(t, c.as("admins").visit("/me"), told)
	if strings.Contains(c.as("viewers").visit("/clusters").Body.String(), "as the log says") {
		t.Error("a viewer is told")
	}
	wantSaid(t, auditor.visit("/audit/verify"), "found this when it last did", "An event ended it", `href="/audit/events/`)
	wantSaid(t, auditor.visit("/audit?act=rights.unverified"), `data-act="rights.unverified"`, "The log does not explain it: an event ended it")

	if err := c.accounts.EndGrant(t.Context(), job, g.ID, "Again."); err != nil {
		t.Fatal(err)
	}
	wantSaid(t, auditor.post("/audit/verify", "event="), "The log explains every row.")
	runUntil(t, c, func() bool { return !strings.Contains(auditor.visit("/clusters").Body.String(), told) })
	wantSaid(t, auditor.visit("/audit/verify"), "Every event is read again")
}

// runUntil lets the console's jobs run until it is so.
func runUntil(t *testing.T, c *console, ok func() bool) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		_ = c.accounts.Run(ctx)
	}()
	defer func() {
		stop()
		<-ran
	}()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the console never came to it")
		}
	}
}
