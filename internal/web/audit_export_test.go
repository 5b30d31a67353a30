package web

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/internal/dbtest"
)

// listening serves the console as the program does: with the limits of HTTPServer, which a recorder
// does not have.
func (c *console) listening() string {
	c.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	server.Config = c.HTTPServer("")
	server.Start()
	c.t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// ask sends a request of the browser to an address where the console listens.
func (b *browser) ask(address, method, target string) *http.Response {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+address+target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Host = b.base.host
	for _, cookie := range b.jar.Cookies(b.at) {
		r.AddCookie(cookie)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// manyEvents fills the log with n events of one act.
func manyEvents(t *testing.T, db *dbtest.DB, n int) {
	t.Helper()
	for from := 0; from < n; from += 1000 {
		var bodies [][]byte
		for range min(1000, n-from) {
			bodies = append(bodies, audit.Encode(audit.Event{ID: uuid.Must(uuid.NewV7()), Act: "test.many", Phase: audit.PhaseSingle, Outcome: audit.OK, Reason: strings.Repeat("x", 2000)}))
		}
		if _, err := db.Pool.Exec(t.Context(), `SELECT audit.append($1)`, bodies); err != nil {
			t.Fatal(err)
		}
	}
}

func exportsRecorded(t *testing.T, db *dbtest.DB, outcome string) (n int) {
	t.Helper()
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE act = 'audit.export' AND outcome = $1`, outcome).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestExport(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("auditors")
	address := c.listening()
	resp := b.ask(address, http.MethodGet, "/audit/export?format=csv&act=session.login&outcome=ok&member=auditors")
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	day := c.clock.Now().UTC().Format("20060102T150405Z")
	for name, want := range map[string]string{
		"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": "attachment; filename=quartermaster-audit-" + day + ".csv",
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	records, err := csv.NewReader(resp.Body).ReadAll()
	if err != nil || len(records) != 2 || records[0][0] != "seq" || records[1][0] != "1" {
		t.Errorf("%v, %v", records, err)
	}
	resp = b.ask(address, http.MethodGet, "/audit/export?format=ndjson&act=session.login")
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.Header.Get("Content-Type") != "application/x-ndjson" || strings.Count(string(text), "\n") != 2 || !strings.Contains(string(text), `{"end":true`) {
		t.Errorf("%s, %v: %s", resp.Header.Get("Content-Type"), err, text)
	}
	if n := exportsRecorded(t, db, "ok"); n != 2 {
		t.Errorf("%d exports are recorded, want 2", n)
	}
	resp = b.ask(address, http.MethodHead, "/audit/export?format=csv")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("HEAD: %d %v", resp.StatusCode, resp.Header)
	}
	if n := exportsRecorded(t, db, "ok"); n != 2 {
		t.Error("a HEAD, which takes nothing away, is recorded as an export")
	}
}

func TestWhoMayExport(t *testing.T) {
	c, db := newFullConsole(t)
	for _, group := range []string{"viewers", "operators"} {
		b := c.as(group)
		for _, query := range []string{"?format=csv", "?format=csv&x=1", ""} { // a wrong address tells no more
			w := b.visit("/audit/export" + query)
			wantStatus(t, w, http.StatusForbidden)
			if !strings.Contains(w.Body.String(), "audit:export") || w.Header().Get("Content-Disposition") != "" {
				t.Errorf("%s: %v\n%s", group, w.Header(), w.Body)
			}
		}
	}
	if n := exportsRecorded(t, db, "denied"); n != 2 {
		t.Errorf("%d refusals are recorded, want one a member", n)
	}
	if n := exportsRecorded(t, db, "ok"); n != 0 {
		t.Errorf("%d exports are recorded", n)
	}
}

func TestExportsThatMakeNoSense(t *testing.T) {
	c, db := newFullConsole(t)
	b, address := c.as("auditors"), c.listening()
	for query, want := range map[string]int{
		"":                           422,
		"?format=":                   422,
		"?format=xlsx":               422,
		"?format=CSV":                422,
		"?format=csv&format=ndjson":  400,
		"?format=csv&from=yesterday": 422,
		"?format=csv&from=2026-02-02&to=2026-02-01": 422,
		"?format=csv&outcome=okay":                  422,
		"?format=csv&account=x":                     422,
		"?format=csv&q=" + strings.Repeat("a", 201): 422,
		"?format=csv&outcom=ok":                     400,
		"?format=csv&after=3":                       400,
		"?format=csv&q=%00":                         400,
		"?format=csv&q=%ff":                         400,
		"?format=csv&q=%zz":                         400,
		"?format=csv;q=a":                           400,
	} {
		resp := b.ask(address, http.MethodGet, "/audit/export"+query)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || !strings.Contains(string(body), `id="error"`) || resp.Header.Get("Content-Disposition") != "" {
			t.Errorf("%s: %d %v, %v, want %d as a page", query, resp.StatusCode, resp.Header, err, want)
		}
	}
	if n := exportsRecorded(t, db, "ok"); n != 0 {
		t.Errorf("%d exports are recorded", n)
	}
}

func TestAnExportThatCannotBeRecorded(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("auditors")
	owner, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.Background()) }()
	if _, err := owner.Exec(t.Context(), `REVOKE EXECUTE ON FUNCTION audit.append(bytea[]) FROM quartermaster_app`); err != nil {
		t.Fatal(err)
	}
	resp := b.ask(c.listening(), http.MethodGet, "/audit/export?format=csv")
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Content-Disposition") != "" || strings.Contains(string(body), "session.login") {
		t.Errorf("%d %v %v:\n%s", resp.StatusCode, resp.Header, err, body)
	}
}

// TestExportIsOffered proves that the page's links carry its filter and leave its place in the list
// behind, and that a search that is not right has none.
func TestExportIsOffered(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("auditors")
	w := b.visit("/audit?q=a%26b&outcome=ok&from=2026-11-01&after=5")
	wantStatus(t, w, http.StatusOK)
	for _, format := range []string{"csv", "ndjson"} {
		if link := `href="/audit/export?format=` + format + `&amp;from=2026-11-01&amp;outcome=ok&amp;q=a%26b"`; !strings.Contains(w.Body.String(), link) {
			t.Errorf("the page has no link %s:\n%s", link, w.Body)
		}
	}
	w = b.visit("/audit?from=x")
	wantStatus(t, w, http.StatusUnprocessableEntity)
	if strings.Contains(w.Body.String(), "/audit/export") || !strings.Contains(w.Body.String(), "there is nothing to export") {
		t.Errorf("a search that is not right is offered as an export:\n%s", w.Body)
	}
	for _, o := range exportOffers(auditQuery{}, true, accounts.Offer{Reason: "You need audit:export here."}) {
		if o.Offered || o.Reason != "You need audit:export here." {
			t.Errorf("without the right: %+v", o)
		}
	}
}

// TestExportsHaveTheirOwnTime proves that the times meant for pages do not cut an export short.
func TestExportsHaveTheirOwnTime(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("auditors")
	manyEvents(t, db, 5000) // more than the buffers of a connection hold
	server := httptest.NewUnstartedServer(nil)
	server.Config = c.HTTPServer("")
	server.Config.WriteTimeout = 300 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	resp := b.ask(server.Listener.Addr().String(), http.MethodGet, "/audit/export?format=ndjson&act=test.many")
	lines, last, started := 0, "", time.Now()
	for scanner := bufio.NewScanner(resp.Body); scanner.Scan(); lines++ {
		if last = scanner.Text(); lines%1000 == 0 {
			time.Sleep(150 * time.Millisecond) // a slow reader is what is tried
		}
	}
	if lines != 5001 || !strings.HasPrefix(last, `{"end":true`) || time.Since(started) < server.Config.WriteTimeout {
		t.Errorf("a slow reader got %d lines in %s, the last %.100s", lines, time.Since(started), last)
	}
	for path, want := range map[string]time.Duration{pathAuditExport: c.exportTime, pathAudit: requestTime, "": requestTime} {
		ctx := c.echo.NewContext(c.request(http.MethodGet, "/", ""), httptest.NewRecorder())
		ctx.SetPath(path)
		if got := c.timeOf(ctx); got != want {
			t.Errorf("%q has %s, want %s", path, got, want)
		}
	}
}

// TestAReaderWhoStopsIsCutOff proves that one who takes nothing is let go, after the time of a piece
// or of the whole, with an answer that does not look whole and a line in the console's own log.
func TestAReaderWhoStopsIsCutOff(t *testing.T) {
	for name, set := range map[string]func(*console){
		"the time of a piece":   func(c *console) { c.exportStall = 200 * time.Millisecond },
		"the time of the whole": func(c *console) { c.exportTime = 300 * time.Millisecond; c.exportStall = 100 * time.Millisecond },
	} {
		t.Run(name, func(t *testing.T) {
			c, db := newFullConsole(t)
			b := c.as("auditors")
			manyEvents(t, db, 5000)
			set(c)
			conn, err := net.Dial("tcp", c.listening())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			r := b.request(http.MethodGet, "/audit/export?format=csv&act=test.many", "")
			for _, cookie := range b.jar.Cookies(b.at) {
				r.AddCookie(cookie)
			}
			if err := r.Write(conn); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(20 * time.Second); !strings.Contains(c.logs.String(), `"route":"/audit/export"`); time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the export goes on")
				}
			}
			if logs := c.logs.String(); !strings.Contains(logs, "sending an export of the log") && !strings.Contains(logs, "exporting the log") {
				t.Errorf("the log does not say why it ended:\n%s", logs)
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), r)
			if err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if err == nil || n == 0 {
				t.Errorf("%d bytes look whole", n)
			}
			if n := exportsRecorded(t, db, "ok"); n != 1 {
				t.Errorf("%d exports are recorded, want one", n)
			}
		})
	}
}

// TestAnAnswerThatBreaksOffIsCut has an export fail under way for a reason of the database's.
func TestAnAnswerThatBreaksOffIsCut(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("auditors")
	manyEvents(t, db, 5000)
	resp := b.ask(c.listening(), http.MethodGet, "/audit/export?format=csv&act=test.many")
	super := connectElsewhere(t, db.SuperURL)
	if _, err := super.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, db.Name); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%d bytes, %v, want an answer without its end", n, err)
	}
}
