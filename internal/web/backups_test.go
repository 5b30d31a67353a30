package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// TestBackupPages over HTTP: what upstream says is text and nothing else, the parts alone answer, queries are checked, and who may
// read nothing is refused; a cluster that is not there answers as one that may not be read.
func TestBackupPages(t *testing.T) {
	c, db := newFullConsole(t)
	account := uuid.NewString()
	for _, statement := range []string{
		`INSERT INTO accounts (id, generation, cloud_account_id, upstream_name, owner_email, name, environment, owner, note, enabled, created_at, created_by, created_by_issuer, created_by_subject, updated_at)
			VALUES ('` + account + `', 'current', 'x', '', '', '<i>Search</i>', 'production', '', '', true, now(), 't', 'quartermaster', 't', now())`,
		`INSERT INTO management_keys (id, account_id, prefix, sealed, provenance, added_at, added_by) VALUES ('` + uuid.NewString() + `', '` + account + `', '', '\x00', 'pasted', now(), 't')`,
		`INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id, package, ram_mib, cpu_milli,
			disk_mib, endpoint, labels, search, raw, digest, seen_at, changed_at)
			VALUES ('` + account + `', 'c-1', '<b>orders</b>', 'HEALTHY', '', 'aws', 'eu', 'v1', 'v1', 1, 1, 'p', 'p', 1, 1, 1, '', '{}', 'orders', '{"id":"c-1","name":"<b>orders</b>"}', '\x00', now(), now())`,
		`INSERT INTO refresh (account_id, kind, created_at, next_at, ok_at, error) VALUES ('` + account + `', 'backups', now(), now(), now(), '<em>words</em>')`,
		`INSERT INTO backups (account_id, backup_id, cluster_id, name, stored_as, status, schedule_id, created_at)
			VALUES ('` + account + `', 'b-1', 'c-1', '<u>nightly</u>', '"><img src=x>', '<s>', 's-1', now())`,
		`INSERT INTO backup_schedules (account_id, schedule_id, cluster_id, name, cron, status, watched_at)
			VALUES ('` + account + `', 's-1', 'c-1', '<u>nightly</u>', '<script>alert(1)</script>', '<s>', now())`,
		`INSERT INTO cluster_backups (account_id, cluster_id, cluster_digest, last_status, running, schedules) VALUES ('` + account + `', 'c-1', '\x00', '<s>', 0, 0)`,
	} {
		if _, err := db.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	viewer, tab := c.as("viewers"), "/accounts/"+account+"/clusters/c-1/backups"
	for path, row := range map[string]string{pathBackups: "backups-row", tab: "backup-row"} {
		w := viewer.visit(path)
		wantStatus(t, w, http.StatusOK)
		text := w.Body.String()
		if strings.Count(text, `data-testid="`+row+`"`) != 1 || !strings.Contains(text, `href="`+tab) {
			t.Errorf("%s\n%s", path, text)
		}
		for _, raw := range []string{"<script>alert", "<img", "<b>orders", "<u>nightly", "<s>", "<em>words", "<i>Search"} {
			if strings.Contains(text, raw) {
				t.Errorf("%s: %s is not text", path, raw)
			}
		}
		part := viewer.request(http.MethodGet, path, "")
		part.Header.Set("HX-Request", "true")
		answer := viewer.send(part)
		wantStatus(t, answer, http.StatusOK)
		if text := answer.Body.String(); strings.Contains(text, "<html") || !strings.Contains(text, row) {
			t.Errorf("%s as a part:\n%s", path, text)
		}
		wantStatus(t, viewer.visit(path+"?after=x"), http.StatusBadRequest)
		wantStatus(t, c.as("strangers").visit(path), http.StatusForbidden)
	}
	wantSaid(t, viewer.visit(pathBackups+"?q=%25&account=x&state=x&environment=x"), "Nothing matches")
	wantSaid(t, viewer.visit(pathBackups+"?state=none"), `data-testid="backups-row"`, "No backup", "No schedule")
	wantSaid(t, viewer.visit(pathAlerts), `href="/backups"`)
	missing := strings.Replace(tab, "c-1", "c-2", 1)
	wantStatus(t, viewer.visit(missing), http.StatusNotFound)
	wantStatus(t, viewer.visit(strings.Replace(tab, account, uuid.NewString(), 1)), http.StatusNotFound)
}
