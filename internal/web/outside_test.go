package web

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
)

// TestOutsideIsListedAndAcknowledged over HTTP, as different members.
func TestOutsideIsListedAndAcknowledged(t *testing.T) {
	c, db := newFullConsole(t)
	var seq int64
	body := audit.Encode(audit.Event{
		ID: uuid.Must(uuid.NewV7()), Act: accounts.ActClusterChangedOutside.Name, Phase: audit.PhaseSingle, Outcome: audit.OK, Actor: accounts.JobActor("refresh"),
		Account: audit.Ref{ID: uuid.NewString(), Name: "Search"}, Target: audit.Target{Kind: accounts.KindCluster, ID: "c-1", Name: "orders-2"},
		Change: audit.Change{"name": {"orders", "orders-2"}},
	})
	if err := db.Pool.QueryRow(t.Context(), `SELECT audit.append($1)`, [][]byte{body}).Scan(&seq); err != nil {
		t.Fatal(err)
	}
	page := pathOutside + "/" + strconv.FormatInt(seq, 10)
	auditor := c.as("auditors")
	list := auditor.visit(pathOutside + "?state=open")
	wantStatus(t, list, http.StatusOK)
	if text := list.Body.String(); !strings.Contains(text, `href="`+page+`"`) || !strings.Contains(text, "orders-2") || !strings.Contains(text, `data-acknowledged="false"`) {
		t.Errorf("list\n%s", text)
	}
	one := auditor.visit(page)
	wantStatus(t, one, http.StatusOK)
	if text := one.Body.String(); strings.Contains(text, "/acknowledge") || !strings.Contains(text, "write:clusters") {
		t.Error("who may not acknowledge it is offered the form, or not told why not")
	}
	post := func(b *browser, note string) int {
		return b.post(page+"/acknowledge", url.Values{"note": {note}}.Encode()).Code
	}
	if got := post(auditor, "seen"); got != http.StatusForbidden {
		t.Errorf("an auditor acknowledges: %d", got)
	}
	admin := c.as("admins")
	if got := post(admin, " "); got != http.StatusUnprocessableEntity {
		t.Errorf("without a note: %d", got)
	}
	for range 2 {
		if got := post(admin, "Planned <b>"); got != http.StatusSeeOther {
			t.Errorf("acknowledging: %d", got)
		}
	}
	var events int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE act = 'cluster.acknowledge_outside' AND outcome = 'ok'`).Scan(&events); err != nil || events != 1 {
		t.Errorf("%d events, %v", events, err)
	}
	if text := admin.visit(pathOutside).Body.String(); !strings.Contains(text, "Planned &lt;b&gt;") || !strings.Contains(text, `data-acknowledged="true"`) {
		t.Error("the list does not tell the note")
	}
	if text := admin.visit(pathOutside + "?state=open").Body.String(); strings.Contains(text, "outside-row") {
		t.Error("it is still open")
	}

	// What is no change made outside has no page here, like what does not exist.
	for _, other := range []string{pathOutside + "/" + strconv.FormatInt(seq+1, 10), pathOutside + "/999999", pathOutside + "/x", pathOutside + "/0"} {
		wantStatus(t, admin.visit(other), http.StatusNotFound)
	}
	wantStatus(t, admin.visit(pathOutside+"?after=x"), http.StatusBadRequest)
	wantStatus(t, c.as("viewers").visit(pathOutside), http.StatusForbidden)
}
