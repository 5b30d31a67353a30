package dbtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Space is a small filesystem of its own that can be filled, for tests of a disk that is full.
type Space struct{ dir string }

// Tablespace makes a tablespace of so many bytes on a filesystem of its own. Call it before New, so that the databases
// in it end before it does. Only root on Linux can mount one; elsewhere the test is not run.
func (s *Server) Tablespace(t testing.TB, name string, size int) *Space {
	t.Helper()
	space, location := s.space(t, size)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.server.exec(ctx, `CREATE TABLESPACE `+name+` LOCATION '`+location+`'`, `GRANT CREATE ON TABLESPACE `+name+` TO `+ownerRole); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Start(t)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.server.exec(ctx, `DROP TABLESPACE `+name); err != nil {
			t.Errorf("dropping the tablespace: %v", err)
		}
	})
	return space
}

// SmallWAL moves the write-ahead log of the server to a filesystem of so many bytes.
func (s *Server) SmallWAL(t testing.TB, size int) *Space {
	t.Helper()
	space, location := s.space(t, size)
	s.Stop(t)
	wal := filepath.Join(s.postgres.DataDir, "pg_wal")
	if out, err := exec.Command("cp", "-Rp", wal+"/.", location).CombinedOutput(); err != nil {
		t.Fatalf("moving the write-ahead log: %v: %s", err, out)
	}
	if err := errors.Join(os.RemoveAll(wal), os.Symlink(location, wal)); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	t.Cleanup(func() { s.Stop(t) }) // before the filesystem goes
	return space
}

// space mounts a small filesystem with a folder for the server in it.
func (s *Server) space(t testing.TB, size int) (space *Space, location string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT RUN: only root can mount a small filesystem for a disk that is full")
	}
	base, err := cacheFolder()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(base, "space-")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=0700", size), "tmpfs", dir).CombinedOutput(); err != nil {
		_ = os.Remove(dir)
		t.Skipf("NOT RUN: a small filesystem for a disk that is full cannot be mounted here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("unmounting the small filesystem: %v: %s", err, out)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	location = filepath.Join(dir, "data")
	if err := os.Mkdir(location, 0o700); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(s.postgres.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := errors.Join(os.Chown(dir, int(owner.Uid), int(owner.Gid)), os.Chown(location, int(owner.Uid), int(owner.Gid))); err != nil {
		t.Fatal(err)
	}
	return &Space{dir: dir}, location
}

// Fill leaves no room in the space.
func (s *Space) Fill(t testing.TB) {
	t.Helper()
	f, err := os.Create(filepath.Join(s.dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 4<<10)
	for err == nil {
		_, err = f.Write(piece)
	}
	if errors.Is(err, io.ErrShortWrite) {
		err = syscall.ENOSPC
	}
	if closed := f.Close(); !errors.Is(err, syscall.ENOSPC) || closed != nil {
		t.Fatalf("filling the small filesystem: %v, %v", err, closed)
	}
}

// Empty makes room again.
func (s *Space) Empty(t testing.TB) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.dir, "filler")); err != nil {
		t.Fatal(err)
	}
}
