package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts/vault"
)

// TestKeyMissingOrWrong starts the console with every key but the right one. Each start ends with one sentence that names the
// variable, the file and the key that is needed, and leaves the database as it was.
func TestKeyMissingOrWrong(t *testing.T) {
	s := prepareServe(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	right, wrong := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	needs, has := vault.NewKEK([32]byte(right)).Fingerprint(), vault.NewKEK([32]byte(wrong)).Fingerprint()
	good := file("kek", right)
	s.start(s.with(nil, "QM_KEK", "file://"+good))
	v := s.signInAs(t, admin)

	// A console that runs does not need the file any more.
	if err := os.Rename(good, good+".away"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/readyz", "/clusters", "/accounts/new"} {
		if got := v.get(path); got.status != http.StatusOK {
			t.Errorf("without the file %s answers %d", path, got.status)
		}
	}
	s.signInAs(t, admin) // which hashes and seals
	s.stop()

	before := keysetsOf(t, s.env["QM_MIGRATE_DATABASE_URL"])
	away := filepath.Join(dir, "none")
	open := file("open", right)
	if err := os.Chmod(open, 0o644); err != nil { // which is what the test is about
		t.Fatal(err)
	}
	wrongFile, wrongText := file("wrong", wrong), file("wrong-text", []byte("base64:"+base64.StdEncoding.EncodeToString(wrong)+"\n"))
	need := "the database needs the key with fingerprint " + needs
	opens := fmt.Sprintf("the stored keysets need the key encryption key with fingerprint %s; the one given has %s", needs, has)
	for name, test := range map[string]struct {
		variable, value string
		code            int
		says            []string
	}{
		"missing":           {"QM_KEK", "file://" + good, exitMisused, []string{"QM_KEK", good, "no such file", need}},
		"missing, in text":  {"QM_KEK_FILE", away, exitMisused, []string{"QM_KEK_FILE", away, "no such file", need}},
		"a folder":          {"QM_KEK", "file://" + dir, exitMisused, []string{"QM_KEK", dir, "not a regular file", need}},
		"open to everyone":  {"QM_KEK", "file://" + open, exitMisused, []string{"QM_KEK", open, "chmod 600", need}},
		"empty":             {"QM_KEK", "file://" + file("empty", nil), exitMisused, []string{"QM_KEK", dir + "/empty", "holds 0 bytes", need}},
		"empty, in text":    {"QM_KEK_FILE", file("empty-text", nil), exitMisused, []string{"QM_KEK_FILE", dir + "/empty-text", "is empty", need}},
		"31 bytes":          {"QM_KEK", "file://" + file("short", right[:31]), exitMisused, []string{"QM_KEK", dir + "/short", "holds 31 bytes", "must hold 32 bytes", need}},
		"31 bytes, in text": {"QM_KEK_FILE", file("short-text", []byte("base64:"+base64.StdEncoding.EncodeToString(right[:31]))), exitMisused, []string{"QM_KEK_FILE", dir + "/short-text", "31 bytes", need}},
		"wrong":             {"QM_KEK", "file://" + wrongFile, exitFailed, []string{"QM_KEK", wrongFile, opens}},
		"wrong, in text":    {"QM_KEK_FILE", wrongText, exitFailed, []string{"QM_KEK_FILE", wrongText, opens}},
		"none":              {"QM_KEK", "", exitMisused, []string{"QM_KEK is needed by", need}},
	} {
		env := s.with([]string{"QM_KEK"}, test.variable, test.value)
		for _, command := range []string{"serve", "check"} {
			got := runProgram(t, env, command)
			told := got.stdout + got.stderr
			if got.code != test.code {
				t.Errorf("%s: %s ends with code %d, want %d: %s", name, command, got.code, test.code, told)
			}
			for _, want := range test.says {
				if !strings.Contains(told, want) {
					t.Errorf("%s: %s does not say %q:\n%s", name, command, want, told)
				}
			}
			if test.code == exitMisused && strings.Count(got.stderr, "\n  - ") != 1 || strings.Count(told, "fingerprint "+needs) != 1 {
				t.Errorf("%s: %s does not say it once:\n%s", name, command, told)
			}
			for _, secret := range []string{base64.StdEncoding.EncodeToString(wrong), string(wrong), base64.StdEncoding.EncodeToString(right)[:40]} {
				if strings.Contains(told, secret) {
					t.Errorf("%s: %s prints a key:\n%s", name, command, told)
				}
			}
		}
	}
	if after := keysetsOf(t, s.env["QM_MIGRATE_DATABASE_URL"]); after != before {
		t.Errorf("keysets were changed:\n%s\nbefore:\n%s", after, before)
	}

	// The right key after the wrong ones, and its name without a database.
	env := s.with(nil, "QM_KEK", "file://"+good+".away")
	if got := runProgram(t, env, "check"); got.code != exitOK || !strings.Contains(got.stdout, "opens the sealing keys; its fingerprint is "+needs) {
		t.Errorf("check with the right key: %d: %s%s", got.code, got.stdout, got.stderr)
	}
	for value, want := range map[string]string{"file://" + good + ".away": needs, "file://" + wrongFile: has} {
		if got := runProgram(t, environment{"QM_KEK=" + value}, "keys", "fingerprint"); got.code != exitOK || got.stdout != want+"\n" {
			t.Errorf("keys fingerprint of %s: %d: %s%s", value, got.code, got.stdout, got.stderr)
		}
	}
	s.start(env)
	if got := v.get("/clusters"); got.status != http.StatusOK || got.bodyID() != "clusters-index" {
		t.Errorf("with the right key again the member's session is gone: %d at %s", got.status, got.url)
	}
}

// TestKeyUnreadable: root reads everything, so the program runs as somebody else.
func TestKeyUnreadable(t *testing.T) {
	path := filepath.Join(dataFolder(t), "kek")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 32), 0o200); err != nil {
		t.Fatal(err)
	}
	program := exec.Command(binary(t), "keys", "fingerprint")
	program.Env = []string{"QM_KEK=file://" + path}
	if os.Geteuid() == 0 {
		if os.Getenv("TEST_BINARY") != "" {
			program.Path = copyForOthers(t, program.Path)
		}
		program.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := program.CombinedOutput()
	if program.ProcessState == nil || program.ProcessState.ExitCode() != exitMisused || !strings.Contains(string(out), path+": permission denied") || !strings.Contains(string(out), "QM_KEK") {
		t.Errorf("%v: %s", err, out)
	}
}

// keysetsOf is everything that is stored of the sealing keys.
func keysetsOf(t *testing.T, address string) (text string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if err := pool.QueryRow(t.Context(), `SELECT string_agg(k::text, E'\n' ORDER BY purpose) FROM keysets k`).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}
