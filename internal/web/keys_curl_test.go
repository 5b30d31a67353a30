package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hostileEndpoints are what upstream could tell as an endpoint, to have a shell do something.
var hostileEndpoints = []string{
	`'; touch x`, `https://host'; touch x; '`, `https://host/'; touch x; '`, "https://host\ntouch x", "https://host\r\ntouch x\r\n", `https://$(touch x)`, "https://`touch x`",
	`https://host:6333/$(touch x)`, `https://host" && touch x && "`, `https://host;touch x`, `https://host|touch x`, `https://host&touch x`, `https://host/?q=';touch x;'`, `https://host#';touch x;'`,
	`https://user:pass@host`, `https://host\'; touch x`, `https://-oProxyCommand=touch x`, `https://--output=x`, `https://host:$(touch x)`, `https://host:99999`, `http://host`, `javascript:alert(1)`,
	`file:///etc/passwd`, `https://`, ``, `https://[::1]`, `https://h%27%3Btouch%20x`, `https://höst`, `https://host/path`, "https://host\x00", `HTTPS://host';touch x;'`, `//host`, `https:host`,
}

// runIn runs a command line in a shell, in a folder of its own where curl writes down what it is given.
// It returns what the folder holds afterwards, and what curl was given.
func runIn(t *testing.T, shell, line, typed string) (files []string, curl string) {
	t.Helper()
	dir, bin := t.TempDir(), t.TempDir()
	told := filepath.Join(bin, "told")
	fake := "#!/bin/sh\n{ for a in \"$@\"; do printf 'arg %s\\n' \"$a\"; done; cat; } > " + told + "\n"
	if err := os.WriteFile(filepath.Join(bin, "curl"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), shell, "-c", line)
	command.Dir, command.Stdin = dir, strings.NewReader(typed+"\n")
	command.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	output, err := command.CombinedOutput()
	if _, failed := err.(*exec.ExitError); err != nil && !failed { //nolint:errorlint // as exec returns it
		t.Fatalf("%s: %v", shell, err)
	}
	if strings.Contains(string(output), typed) {
		t.Errorf("%s shows what was typed: %s", shell, output)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		files = append(files, e.Name())
	}
	given, err := os.ReadFile(told)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return files, string(given)
}

// TestTheCommandAsksForTheKey runs the line as a member would: curl gets the address and the header, and
// the key is in no argument.
func TestTheCommandAsksForTheKey(t *testing.T) {
	line := curlCommand("https://3e1f-a.eu-central-1-0.aws.cloud.qdrant.io", 6333)
	if !strings.Contains(line, "read -rs ") {
		t.Errorf("the line does not ask in secret: %s", line)
	}
	const key = `eyJ'"$(touch x)\n.payload.` + "`touch y`" + `%s\t`
	files, curl := runIn(t, "bash", line, key)
	want := "arg --header\narg @-\narg https://3e1f-a.eu-central-1-0.aws.cloud.qdrant.io:6333/collections\napi-key: " + key + "\n"
	if curl != want || len(files) > 0 {
		t.Errorf("curl was given\n%s\nwant\n%s\nfiles %v", curl, want, files)
	}
	// A sh without read -s gives up and sends nothing.
	if files, curl := runIn(t, "sh", line, key); curl != "" && curl != want || len(files) > 0 {
		t.Errorf("in sh curl was given %q, files %v", curl, files)
	}
}

// TestTheCommandIsSafe runs whatever comes of hostile endpoints, and shows that a shell makes nothing of them.
func TestTheCommandIsSafe(t *testing.T) {
	for _, endpoint := range hostileEndpoints {
		for _, port := range []int{0, 6333, -1, 70000} {
			line := curlCommand(endpoint, port)
			if line == "" {
				continue
			}
			for _, shell := range []string{"sh", "bash"} {
				if files, curl := runIn(t, shell, line, "k3y"); len(files) > 0 || strings.Contains(curl, "touch") {
					t.Errorf("%s, endpoint %q: files %v, curl %q", shell, endpoint, files, curl)
				}
			}
		}
		if line := curlCommand(endpoint, 6333); line != "" {
			t.Errorf("the endpoint %q gets into a command: %s", endpoint, line)
		}
	}
}

func TestOrdinaryEndpoints(t *testing.T) {
	for _, tt := range []struct {
		endpoint string
		port     int
		want     string
	}{
		{"https://a.example.test", 6333, "https://a.example.test:6333"},
		{"https://a.example.test/", 0, "https://a.example.test"},
		{"https://a.example.test:8443", 0, "https://a.example.test:8443"},
		{"https://a.example.test:8443", 6333, "https://a.example.test:6333"},
		{"HTTPS://A.Example.Test", 6333, "https://A.Example.Test:6333"},
	} {
		if got, ok := ordinaryAddress(tt.endpoint, tt.port); !ok || got != tt.want {
			t.Errorf("%s, port %d: %q, %v; want %q", tt.endpoint, tt.port, got, ok, tt.want)
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, endpoint := range hostileEndpoints {
		f.Add(endpoint, 6333)
	}
	f.Add("https://a.example.test", 6333)
	f.Fuzz(func(t *testing.T, endpoint string, port int) {
		address, ok := ordinaryAddress(endpoint, port)
		if !ok {
			return
		}
		rest, https := strings.CutPrefix(address, "https://")
		if !https || strings.Trim(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") != "" {
			t.Errorf("%q came through as %q", endpoint, address)
		}
	})
}
