package devenv

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestFolderIsHeldByOneProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	// flock is held by the open file, so that a second open in this process stands for another process.
	if _, err := OpenFolder(dir); err == nil || !strings.Contains(err.Error(), "in use by process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("a second start: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := OpenFolder(dir)
	if err != nil {
		t.Fatalf("after the first ended: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestFolderKeepsSecretsAndPorts(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	secrets := f.Secrets()
	if err := f.KeepPort("console", 4711); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f.Secrets() != secrets || f.Port("console") != 4711 {
		t.Error("the second start does not continue with the first's secrets and ports")
	}
	info, err := os.Stat(f.statePath())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the state is %v, others can read it", info.Mode())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestFolderSaysWhatIsWrong(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(closed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(filepath.Join(closed, "data")); err == nil || strings.Count(err.Error(), closed) != 1 {
		t.Errorf("a folder that cannot be made: %v", err)
	}
	damaged := t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "state.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenFolder(damaged); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged state: %v", err)
	}
}

func TestCheckLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:0": true, "[::1]:1": true, "127.9.9.9:1": true,
		"0.0.0.0:8080": false, ":8080": false, "10.0.0.1:1": false, "example.test:1": false, "127.0.0.1": false, "localhost.evil.test:1": false,
	} {
		if got := CheckLoopback(addr) == nil; got != want {
			t.Errorf("CheckLoopback(%q) accepts: %v, want %v", addr, got, want)
		}
	}
}
