package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/html"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/access"
	"quartermaster/internal/cloudapi"
	"quartermaster/internal/cloudapi/sandbox"
)

// upstreamRows are the rows of /admin/upstream by account, and their words.
func upstreamRows(t *testing.T, w *httptest.ResponseRecorder) (breaker, words map[string]string) {
	t.Helper()
	wantStatus(t, w, http.StatusOK)
	root, err := html.Parse(strings.NewReader(w.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	breaker, words = map[string]string{}, map[string]string{}
	for n := range root.Descendants() {
		attributes := map[string]string{}
		for _, a := range n.Attr {
			attributes[a.Key] = a.Val
		}
		if attributes["data-testid"] != "upstream-row" {
			continue
		}
		var text strings.Builder
		for inner := range n.Descendants() {
			if inner.Type == html.TextNode {
				text.WriteString(inner.Data + " ")
			}
		}
		id := attributes["data-account"]
		breaker[id], words[id] = attributes["data-breaker"], strings.Join(strings.Fields(text.String()), " ")
	}
	return breaker, words
}

// TestUpstreamPage: an account that is well and one that fails, each with its state, the budget it used, its counts, its
// kinds and its latest errors with upstream's trace id; what upstream says is text; who may not read the clusters is not told it.
func TestUpstreamPage(t *testing.T) {
	box, err := sandbox.New(sandbox.Config{Seed: 4, Accounts: 2, Clusters: 4})
	if err != nil {
		t.Fatal(err)
	}
	var bad atomic.Value // the id at Qdrant Cloud of the account that fails
	bad.Store("nobody")
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.URL.Path, bad.Load().(string)) {
			box.Handler().ServeHTTP(w, r)
			return
		}
		w.Header().Set("X-Qd-Request-Id", "trace-of-"+strings.TrimPrefix(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/'):], "/"))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"code":13,"message":"<script>alert('orders')</script>"}`)
	}))
	t.Cleanup(api.Close)
	at, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	c, db := newFullConsoleAt(t, at, 5)
	ids := map[string]string{} // by the id at Qdrant Cloud
	for _, f := range box.Fixtures() {
		account, err := c.accounts.Create(t.Context(), accounts.JobActor("test"), accounts.NewAccount{
			Generation: cloudapi.Generation(f.Generation), Key: cloudapi.NewSecret([]byte(f.ManagementKey)),
			Name: f.Name, Environment: accounts.Environment(f.Environment), Owner: "Platform team",
		})
		if err != nil {
			t.Fatal(err)
		}
		ids[account.CloudAccountID] = account.ID.String()
	}
	health := func() map[string]accounts.AccountHealth {
		t.Helper()
		page, err := c.accounts.UpstreamHealth(t.Context(), accounts.JobActor("test"), accounts.AccountsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]accounts.AccountHealth{}
		for _, a := range page.Accounts {
			all[a.Account.ID.String()] = a
		}
		return all
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.accounts.Run(ctx) }()
	waitFor(t, time.Minute, "every kind of both accounts to be read", func() bool {
		var read int
		return db.Pool.QueryRow(ctx, `SELECT count(*) FROM refresh WHERE ok_at IS NOT NULL`).Scan(&read) == nil && read == 8
	})
	failing := box.Fixtures()[1].CloudAccountID
	bad.Store(failing)
	ill := ids[failing]
	var well string
	for cloud, id := range ids {
		if cloud != failing {
			well = id
		}
	}
	waitFor(t, time.Minute, "the calls of the account that fails to rest", func() bool {
		_, err := db.Pool.Exec(ctx, `UPDATE refresh SET next_at = clock_timestamp() WHERE account_id = $1`, ill)
		var failed int // kinds
		return err == nil && health()[ill].Health.Breaker == cloudapi.Open &&
			db.Pool.QueryRow(ctx, `SELECT count(*) FROM refresh WHERE account_id = $1 AND failures > 0 AND lease_until IS NULL`, ill).Scan(&failed) == nil && failed >= 3
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	admin := c.as("admins")
	first := admin.visit(pathUpstream)
	breaker, words := upstreamRows(t, first)
	known := health()
	if len(words) != 2 || breaker[well] != "closed" || breaker[ill] != "open" && breaker[ill] != "half_open" { // it rests for some seconds
		t.Fatalf("breakers %v of %v", breaker, words)
	}
	if strings.Contains(first.Body.String(), "<script>alert") {
		t.Error("what upstream says is no text")
	}
	h := known[ill].Health
	for _, want := range []string{
		known[ill].Account.Name, fmt.Sprintf("%d failures in a row", h.Failures), " of 300", fmt.Sprintf("%d of %d", h.Failed, h.Requests),
		"keys ", "alerts ", "backups ", "The keys were not read: <script>alert('orders')</script>", "<script>alert('orders')</script>",
		h.Recent[0].Op + ": unavailable, HTTP 500", "trace " + h.Recent[0].TraceID, fmt.Sprintf("%d earlier error", len(h.Recent)-1),
	} {
		if breaker[ill] == "half_open" && strings.Contains(want, "in a row") {
			want = "The next call finds out"
		}
		if !strings.Contains(words[ill], want) {
			t.Errorf("the account that fails: no %q in %s", want, words[ill])
		}
	}
	h = known[well].Health
	for _, want := range []string{known[well].Account.Name, "Answering", " of 300", fmt.Sprintf("0 of %d", h.Requests), "keys ", "alerts ", "backups ", "none"} {
		if !strings.Contains(words[well], want) {
			t.Errorf("the account that is well: no %q in %s", want, words[well])
		}
	}
	if h.Requests == 0 || strings.Contains(words[well], "were not read") {
		t.Errorf("the account that is well: %d requests, %s", h.Requests, words[well])
	}

	// Narrowed.
	if _, words := upstreamRows(t, admin.visit(pathUpstream+"?state="+stateTrouble)); len(words) != 1 || words[ill] == "" {
		t.Errorf("those that need a look: %v", words)
	}
	if _, words := upstreamRows(t, admin.visit(pathUpstream+"?q="+known[well].Account.CloudAccountID)); len(words) != 1 || words[well] == "" {
		t.Errorf("by its id: %v", words)
	}

	// Who may read the account and not its clusters.
	reads := c.as("readers")
	role, err := c.accounts.CreateRole(t.Context(), accounts.JobActor("test"), accounts.NewRole{Name: "account reader", Permissions: []string{access.ReadAccount}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.accounts.CreateGrant(t.Context(), accounts.JobActor("test"), accounts.NewGrant{
		SubjectKind: accounts.SubjectMember, Subject: c.idp.URL + "|subject-readers", Role: role.ID, ScopeKind: "account", Scope: ill, Reason: "test",
	}); err != nil {
		t.Fatal(err)
	}
	reader := reads.visit(pathUpstream)
	_, words = upstreamRows(t, reader)
	if len(words) != 1 || !strings.Contains(words[ill], notToldOfClusters) || !strings.Contains(words[ill], "HTTP 500") {
		t.Errorf("who may not read the clusters is shown %v", words)
	}
	if body := reader.Body.String(); strings.Contains(body, "orders") || strings.Contains(body, "trace-of-") {
		t.Errorf("who may not read the clusters is told what upstream said of them: %s", words[ill])
	}
	wantStatus(t, c.as("strangers").visit(pathUpstream), http.StatusForbidden)
}
