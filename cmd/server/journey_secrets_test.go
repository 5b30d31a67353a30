package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi/sandbox"
	"quartermaster/internal/devenv"
)

// noSecretAnywhere looks for every secret of the stage in everything it left behind: each value of
// each table, the database's files, what the program wrote, its metrics and every page.
func noSecretAnywhere(t *testing.T, st *stage) {
	secrets := st.secrets(t)
	searched := 0
	search := func(where string, content []byte) {
		searched += len(content)
		for _, s := range secrets {
			for _, spelling := range s.spellings {
				if bytes.Contains(content, spelling) {
					t.Errorf("%s holds %s", where, s.name)
				}
			}
		}
		if token := webToken.Find(content); token != nil {
			t.Errorf("%s holds a web token: %.40s...", where, token)
		}
	}
	st.searchTables(t, search)
	st.searchFiles(t, search)

	output := st.output.String()
	const announced = "  management key  "
	if strings.Count(output, st.about.Spare.ManagementKey) != 1 || !strings.Contains(output, announced+st.about.Spare.ManagementKey) {
		t.Errorf("the spare key should be written once, to whoever started dev; it is there %d times", strings.Count(output, st.about.Spare.ManagementKey))
	}
	search("what the program wrote", []byte(strings.Replace(output, announced+st.about.Spare.ManagementKey, "", 1)))

	metrics := newVisitor(t, "").get(st.about.MetricsURL)
	if metrics.status != http.StatusOK || !strings.Contains(metrics.body, "qm_http_requests_total") {
		t.Errorf("the metrics answer %d", metrics.status)
	}
	search("the metrics", []byte(metrics.body))
	pages := st.crawl(t, admin)
	for _, p := range pages {
		search("the page "+p.url.RequestURI(), []byte(p.body))
	}
	v := st.visitor(t, admin)
	for seq := range st.events(t, "true") {
		if seq%7 == 0 { // a sample; their bytes were searched in the table
			search("an event's page", []byte(v.get(fmt.Sprintf("/audit/events/%d", seq+1)).body))
		}
	}
	t.Logf("%d bytes searched for %d secrets", searched, len(secrets))
}

// webToken matches a JSON Web Token, such as an ID token.
var webToken = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`)

// secret is something that must not be found, in the forms it might be found in.
type secret struct {
	name      string
	spellings [][]byte
}

func newSecret(name, value string) secret {
	s := secret{name: name}
	if len(value) < 16 {
		panic("a secret of " + name + " too short to be looked for")
	}
	for _, v := range []string{
		value, base64.StdEncoding.EncodeToString([]byte(value)), base64.RawURLEncoding.EncodeToString([]byte(value)), hex.EncodeToString([]byte(value)),
		strings.ReplaceAll(value, "|", "%7C"),
	} {
		s.spellings = append(s.spellings, []byte(v))
	}
	return s
}

// secrets returns all management keys, whole and without their public part, the secrets of dev,
// and the tokens of all sessions.
func (st *stage) secrets(t *testing.T) []secret {
	t.Helper()
	all := []secret{newSecret("a stranger's key", strangerKey), newSecret("the spare key", st.about.Spare.ManagementKey)}
	box, err := sandbox.New(sandbox.Config{Seed: devSeed})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range box.Fixtures() {
		_, half, ok := strings.Cut(f.ManagementKey, "|")
		if !ok || len(half) < 20 {
			t.Fatalf("the key of %s has another form than this test knows", f.Name)
		}
		all = append(all, newSecret("the key of "+f.Name, f.ManagementKey), newSecret("the secret half of the key of "+f.Name, half))
	}
	if !slices.ContainsFunc(box.Fixtures(), func(f sandbox.Fixture) bool { return f.ManagementKey == st.about.Spare.ManagementKey }) {
		t.Fatal("the fixtures are not those of dev")
	}
	raw, err := os.ReadFile(filepath.Join(st.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Secrets devenv.Secrets }
	if err := json.Unmarshal(raw, &state); err != nil {
		t.Fatal(err)
	}
	all = append(all, newSecret("the client secret", state.Secrets.ClientSecret), newSecret("the key encryption key", strings.TrimPrefix(state.Secrets.KEK, "base64:")),
		newSecret("the sandbox's control token", state.Secrets.ControlToken))
	st.shown.mu.Lock()
	defer st.shown.mu.Unlock()
	for i, key := range st.shown.secrets {
		all = append(all, newSecret(fmt.Sprintf("database key %d", i), key))
		if parts := strings.Split(key, "."); len(parts) == 3 {
			all = append(all, newSecret(fmt.Sprintf("the signature of database key %d", i), parts[2]))
		}
	}
	st.sessions.mu.Lock()
	defer st.sessions.mu.Unlock()
	for _, key := range st.pasted {
		all = append(all, newSecret("a pasted key", key))
	}
	for member, v := range st.sessions.by {
		cookies := v.http.Jar.Cookies(mustURL(st.about.URL))
		for _, c := range cookies {
			if strings.HasPrefix(c.Name, "qm_session_") {
				all = append(all, newSecret("the session of "+member, c.Value))
			}
		}
	}
	if len(all) < 15 {
		t.Fatalf("only %d secrets are known", len(all))
	}
	return all
}

// searchTables gives every value of every table to search, bytes as they are.
func (st *stage) searchTables(t *testing.T, search func(string, []byte)) {
	t.Helper()
	owner := openPool(t, st.about.MigrateDatabaseURL)
	rows, err := owner.Query(t.Context(), `SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(tables) < 10 {
		t.Fatalf("only the tables %v", tables)
	}
	binary := regexp.MustCompile(`\\+x([0-9a-f]+)`)
	for _, table := range tables {
		rows, err := owner.Query(t.Context(), `SELECT t::text FROM `+table+` t`)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		for _, line := range lines {
			content.WriteString(line + "\n")
			for _, found := range binary.FindAllStringSubmatch(line, -1) {
				decoded, err := hex.DecodeString(found[1])
				if err != nil {
					t.Fatal(err)
				}
				content.Write(append(decoded, '\n'))
			}
		}
		search("the table "+table, content.Bytes())
	}
}

// searchFiles gives every file in dev's folder to search but those that are there to keep secrets.
func (st *stage) searchFiles(t *testing.T, search func(string, []byte)) {
	t.Helper()
	keepers := []string{devFile, "state.json", "sandbox.json", "provider-key.pem"}
	files := 0
	err := filepath.WalkDir(st.dir, func(path string, entry fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // Postgres removes files as it goes
		}
		if err != nil || !entry.Type().IsRegular() || filepath.Dir(path) == st.dir && slices.Contains(keepers, entry.Name()) {
			return err
		}
		content, err := os.ReadFile(path)
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil {
			return err
		}
		files++
		search("the file "+strings.TrimPrefix(path, st.dir), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files were found", files)
	}
}
