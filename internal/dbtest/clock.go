package dbtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Clock is the clock of a private server. The test's own goes on as it is.
type Clock struct{ path string }

// NewServerWithClock starts a private server whose clock can be turned while it runs. It needs libfaketime; without it the
// test is not run.
func NewServerWithClock(t testing.TB) (*Server, *Clock) {
	t.Helper()
	library := faketime()
	if library == "" {
		t.Skip("NOT RUN: libfaketime is not installed (Debian: apt-get install faketime), so Postgres' clock cannot be turned")
	}
	base, err := cacheFolder()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, "clock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil { // the server's account must read the file in it
		t.Fatal(err)
	}
	c := &Clock{path: filepath.Join(dir, "offset")}
	c.Turn(t, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return newServerIn(ctx, t, serverSettings(), "LD_PRELOAD="+library, "FAKETIME_TIMESTAMP_FILE="+c.path, "FAKETIME_NO_CACHE=1",
		// What Postgres measures waits with goes on as it is, as it does when a machine's clock is set.
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", "NO_FAKE_STAT=1"), c
}

// Turn sets the server's clock so far ahead of this process's, or back when ahead is below zero.
func (c *Clock) Turn(t testing.TB, ahead time.Duration) {
	t.Helper()
	// Put in place as a whole: the server reads it at every look at its clock.
	fresh := c.path + ".new"
	if err := os.WriteFile(fresh, fmt.Appendf(nil, "%+d\n", int64(ahead/time.Second)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, c.path); err != nil {
		t.Fatal(err)
	}
}

func faketime() string {
	for _, pattern := range []string{"/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1"} {
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			return found[0]
		}
	}
	return ""
}
