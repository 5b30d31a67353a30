package web

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

var reviewTicks = regexp.MustCompile(`name="line" value="([^"]+)"`)

// TestReviewOnPages goes from the beginning of a review to its sign-off, without scripts.
func TestReviewOnPages(t *testing.T) {
	c, _ := newFullConsole(t)
	b := c.as("admins")
	w := b.visit(pathReview)
	wantStatus(t, w, http.StatusOK)
	for _, want := range []string{"No review is under way", "QM_ADMIN_GROUPS", "Begin a review", "No review was ever signed off"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	wantStatus(t, b.visit(pathReviewSign), http.StatusConflict)
	wantStatus(t, b.post(pathReview+"/start", ""), http.StatusSeeOther)
	w = b.visit(pathReview + "?undecided=on")
	var lines []string
	for _, m := range reviewTicks.FindAllStringSubmatch(w.Body.String(), -1) {
		lines = append(lines, m[1])
	}
	wantSaid(t, w, "Keep the ticked lines")
	if len(lines) != 4 {
		t.Fatalf("%d lines can be kept: %s", len(lines), w.Body)
	}
	wantStatus(t, b.post(pathReview+"/keep", url.Values{"back": {pathReview}}.Encode()), http.StatusUnprocessableEntity)
	wantStatus(t, b.post(pathReviewSign, url.Values{"due_on": {""}}.Encode()), http.StatusConflict)
	for back, want := range map[string]string{
		"https://evil.example/admin/review": pathReview, "//evil.example" + pathReview: pathReview, "/clusters": pathReview, pathReview + "?undecided=on&x=y": pathReview + "?undecided=on",
	} {
		w := b.post(pathReview+"/keep", url.Values{"line": lines, "note": {"<b>fine</b>"}, "back": {back}}.Encode())
		if wantStatus(t, w, http.StatusSeeOther); w.Header().Get("Location") != want {
			t.Errorf("from %s back to %q", back, w.Header().Get("Location"))
		}
	}
	w = b.visit(pathReview)
	wantSaid(t, w, `ends in <code>QM_ADMIN_GROUPS</code> only`)
	if strings.Contains(w.Body.String(), "Keep the ticked lines") {
		t.Error("there is nothing left to tick, and a button for it")
	}
	if body := w.Body.String(); !strings.Contains(body, "0 lines to decide,") || !strings.Contains(body, "&lt;b&gt;fine") || strings.Contains(body, "<b>fine") {
		t.Errorf("after keeping all: %s", body)
	}
	wantStatus(t, b.visit(pathReview+"/lines/00000000-0000-7000-8000-000000000001/revoke"), http.StatusNotFound)
	wantStatus(t, b.post(pathReview+"/lines/00000000-0000-7000-8000-000000000001/revoke", "reason=x"), http.StatusNotFound)
	wantStatus(t, b.post(pathReviewSign, url.Values{"due_on": {"never"}}.Encode()), http.StatusUnprocessableEntity)
	w = b.post(pathReviewSign, url.Values{"note": {"All well."}, "due_on": {c.clock.Now().AddDate(0, 0, 30).Format(time.DateOnly)}}.Encode())
	if wantStatus(t, w, http.StatusSeeOther); !strings.HasPrefix(w.Header().Get("Location"), pathReviewSigned+"/") {
		t.Errorf("signed off, and sent to %q", w.Header().Get("Location"))
	}
	at := w.Header().Get("Location")
	one := b.visit(at)
	wantStatus(t, one, http.StatusOK)
	wantSaid(t, one, "Access review of ", "admins", "platform admin", "everything", "Kept", "Member admins", "&lt;b&gt;fine", "All well.", at+"/export")
	if strings.Contains(one.Body.String(), "are not all") || strings.Count(one.Body.String(), `data-testid="decided-line"`) != 4 {
		t.Errorf("the lines of the review: %s", one.Body)
	}
	resp := b.ask(c.listening(), http.MethodGet, at+"/export")
	if file, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || strings.Count(string(file), `"kept"`) != 4 {
		t.Errorf("its file: %d %s (%v)", resp.StatusCode, file, err)
	}
	wantStatus(t, b.visit(pathReviewSigned+"/none"), http.StatusNotFound)
	wantStatus(t, b.visit(pathReviewSigned+"/00000000-0000-7000-8000-000000000001/export"), http.StatusNotFound)
	wantStatus(t, c.as("operators").visit(at), http.StatusForbidden)
	b = c.as("admins")
	w = b.visit(pathReviewSigned)
	if body := w.Body.String(); !strings.Contains(body, "All well.") || !strings.Contains(body, "Member admins") {
		t.Errorf("past reviews: %s", body)
	}
	for target, status := range map[string]int{
		pathReview + "?at=2020-01-31": 422, pathReview + "?at=yesterday": 422, pathReview + "?at=2999-01-01": 422, pathReview + "?at=" + c.clock.Now().Format(time.DateOnly): 200, pathReview + "?after=x": 400, pathReviewMembers: 200, pathReviewMembers + "?at=2020-01-31": 422,
		pathReviewMembers + "/none": 404, pathReview + "/accounts/none": 404, pathReview + "?member=%00": 400,
	} {
		wantStatus(t, b.visit(target), status)
	}
	// Before the log begins nothing is known, which is not that nobody had rights.
	for _, target := range []string{pathReview, pathReviewMembers} {
		w := b.visit(target + "?at=2020-01-31")
		wantSaid(t, w, "That is before the log begins", "The log begins at 20", "it is not that nobody could do anything")
		if strings.Contains(w.Body.String(), "<table") {
			t.Errorf("%s shows a table of then: %s", target, w.Body)
		}
	}
	if resp := b.ask(c.listening(), http.MethodGet, pathReviewExport+"?format=csv&at=2020-01-31"); resp.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("an export of then: %d", resp.StatusCode)
	}
	c.clock.advance(time.Minute)
	begins := regexp.MustCompile(`href="(/admin/review\?at=[^"]+)">As of when the log begins`).FindStringSubmatch(b.visit(pathReview + "?at=2020-01-31").Body.String())
	if w := b.visit(begins[1]); !strings.Contains(w.Body.String(), "Nothing can be decided here") || strings.Contains(w.Body.String(), `name="line"`) {
		t.Errorf("a date in the past: %s", w.Body)
	}
	if w := b.visit(pathGroups); strings.Contains(w.Body.String(), "An access review was due on") {
		t.Error("it is overdue at once")
	}
}

func TestReviewExportIsAFile(t *testing.T) {
	c, db := newFullConsole(t)
	b := c.as("auditors")
	address := c.listening()
	for format, media := range map[string]string{"csv": "text/csv; charset=utf-8", "json": "application/json"} {
		resp := b.ask(address, http.MethodGet, pathReviewExport+"?format="+format)
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", format, resp.StatusCode, err)
		}
		if got := resp.Header.Get("Content-Type"); got != media || !strings.HasPrefix(resp.Header.Get("Content-Disposition"), "attachment; filename=quartermaster-access-") {
			t.Errorf("%s: %q %q", format, got, resp.Header.Get("Content-Disposition"))
		}
		if format == "json" && !json.Valid(body) || format == "csv" && !strings.HasPrefix(string(body), `"as_of","grant_id"`) {
			t.Errorf("%s: %s", format, body)
		}
	}
	for _, query := range []string{"", "?format=xml", "?format=csv&at=never"} {
		wantStatus(t, b.visit(pathReviewExport+query), http.StatusUnprocessableEntity)
	}
	wantStatus(t, b.visit(pathReviewExport+"?format=csv&fromat=x"), http.StatusBadRequest)
	wantStatus(t, c.as("viewers").visit(pathReviewExport+"?format=csv"), http.StatusForbidden)
	var n int
	if err := db.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.events WHERE act = 'review.export' AND outcome = 'ok'`).Scan(&n); err != nil || n != 2 {
		t.Errorf("%d exports on record, %v", n, err)
	}
}

// TestReviewIsForSome: who may look does not see what decides, and who may not look sees nothing.
func TestReviewIsForSome(t *testing.T) {
	c, _ := newFullConsole(t)
	wantStatus(t, c.as("admins").post(pathReview+"/start", ""), http.StatusSeeOther)
	auditor, operator := c.as("auditors"), c.as("operators")
	w := auditor.visit(pathReview)
	wantStatus(t, w, http.StatusOK)
	if strings.Contains(w.Body.String(), `name="line"`) || !strings.Contains(w.Body.String(), "You can look, and not decide") || !strings.Contains(w.Body.String(), `href="/admin/review"`) {
		t.Errorf("an auditor: %s", w.Body)
	}
	for _, post := range []string{"/start", "/keep", "/sign", "/lines/x/revoke"} {
		wantStatus(t, auditor.post(pathReview+post, "line=x"), http.StatusForbidden)
		wantStatus(t, operator.post(pathReview+post, "line=x"), http.StatusForbidden)
	}
	for _, get := range []string{"", "/sign", "/signed", "/members", "/members/x", "/accounts/x", "/lines/x/revoke"} {
		wantStatus(t, operator.visit(pathReview+get), http.StatusForbidden)
	}
}
