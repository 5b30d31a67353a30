package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// TestAlertsAndKeyRadarPages over HTTP: what upstream says is text and nothing else, the navigation counts what fires, also the
// parts alone answer, and who may read nothing is refused.
func TestAlertsAndKeyRadarPages(t *testing.T) {
	c, db := newFullConsole(t)
	account := uuid.NewString()
	for _, statement := range []string{
		`INSERT INTO accounts (id, generation, cloud_account_id, upstream_name, owner_email, name, environment, owner, note, enabled, created_at, created_by, created_by_issuer, created_by_subject, updated_at)
			VALUES ('` + account + `', 'current', 'x', '', '', '<i>Search</i>', 'production', '', '', true, now(), 't', 'quartermaster', 't', now())`,
		`INSERT INTO clusters (account_id, cluster_id, name, phase, reason, cloud, region, version, version_order, nodes_up, nodes, package_id, package, ram_mib, cpu_milli,
			disk_mib, endpoint, labels, search, raw, digest, seen_at, changed_at)
			VALUES ('` + account + `', 'c-1', '<b>orders</b>', 'HEALTHY', '', 'aws', 'eu', 'v1', 'v1', 1, 1, 'p', 'p', 1, 1, 1, '', '{}', 'orders', '{}', '\x00', now(), now())`,
		`INSERT INTO cluster_alerts (account_id, cluster_id, alert_id, type, severity, rank, state, title, description, since)
			VALUES ('` + account + `', 'c-1', 'a', 'OOM', 'CRITICAL', 3, 'FIRING', '<script>alert(1)</script>', '"><img src=x>', now())`,
		`INSERT INTO database_keys (account_id, admin, key_id, name, mark, clusters, access, created_by, expires_at, seen_at)
			VALUES ('` + account + `', false, 'k', '<u>ingest</u>', '"><', '{c-1}', '{<s>}', '<maker>', now() - interval '1 day', now())`,
	} {
		if _, err := db.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	viewer := c.as("viewers")
	for path, row := range map[string]string{pathAlerts: "alert-row", pathRadar: "radar-row"} {
		w := viewer.visit(path)
		wantStatus(t, w, http.StatusOK)
		text := w.Body.String()
		if strings.Count(text, `data-testid="`+row+`"`) != 1 || !strings.Contains(text, `href="/accounts/`+account+`/clusters/c-1`) {
			t.Errorf("%s\n%s", path, text)
		}
		for _, raw := range []string{"<script>alert", "<img", "<b>orders", "<u>ingest", "<s>", "<maker>", "<i>Search"} {
			if strings.Contains(text, raw) {
				t.Errorf("%s: %s is not text", path, raw)
			}
		}
		if !strings.Contains(text, `data-testid="firing">1<`) {
			t.Errorf("%s: the navigation does not count the alert that fires", path)
		}
		part := viewer.request(http.MethodGet, path+"?q=nothing-like-it", "")
		part.Header.Set("HX-Request", "true")
		answer := viewer.send(part)
		wantStatus(t, answer, http.StatusOK)
		if text := answer.Body.String(); strings.Contains(text, "<html") || strings.Contains(text, row) || !strings.Contains(text, "Nothing matches") {
			t.Errorf("%s as a part:\n%s", path, text)
		}
		wantStatus(t, viewer.visit(path+"?after=x"), http.StatusBadRequest)
		wantStatus(t, viewer.visit(path+"?q=%25&account=x&state=x&end=x&severity=x"), http.StatusOK)
		wantStatus(t, c.as("strangers").visit(path), http.StatusForbidden)
	}
	if text := viewer.visit(pathHome).Body.String(); !strings.Contains(text, `data-testid="firing">1<`) {
		t.Error("the fleet's navigation does not count the alert")
	}
}
