package devenv

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Secrets are made at the first start in a folder and kept: without them the sealed keys and the
// sessions of that folder's database would be lost. They protect nothing but development data.
type Secrets struct {
	KEK          string `json:"kek"` // as QM_KEK takes it
	ClientSecret string `json:"client_secret"`

	ControlToken string `json:"sandbox_control_token"`
}

// state is state.json of a data folder.
type state struct {
	Secrets Secrets        `json:"secrets"`
	Ports   map[string]int `json:"ports"` // by listener name, the port that was last used
}

// Folder is the data folder of a development installation, locked by this process. The lock is
// the kernel's, so that a killed process leaves none behind.
type Folder struct {
	Path  string // absolute
	lock  *os.File
	state state
}

// OpenFolder makes the folder when it does not exist, locks it and reads what earlier starts
// left. Its errors are single sentences for people.
func OpenFolder(path string) (*Folder, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s: %w", path, err)
	}
	// 0711, not 0700: Postgres runs under another account when dev is started as root, and must pass
	// through. Every file in here is 0600.
	if err := os.MkdirAll(path, 0o711); err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be made (%w); open it to this account, or set QM_DEV_DIR to another folder", path, cause(err))
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be written (%w); open it to this account, or set QM_DEV_DIR to another folder", path, cause(err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		held, readErr := os.ReadFile(lock.Name())
		closeErr := lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			who := "another process"
			if pid := strings.TrimSpace(string(held)); readErr == nil && pid != "" {
				who = "process " + pid
			}
			return nil, fmt.Errorf("the data folder %s is in use by %s; stop that one first, or set QM_DEV_DIR to another folder", path, who)
		}
		return nil, errors.Join(fmt.Errorf("locking %s: %w", lock.Name(), err), closeErr)
	}
	f := &Folder{Path: path, lock: lock}
	if err := f.claim(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

// ReadSecrets returns the secrets of a folder without locking it, for who works beside a running dev. Its errors are
// single sentences for people.
func ReadSecrets(path string) (Secrets, error) {
	f := &Folder{Path: path}
	raw, err := os.ReadFile(f.statePath())
	if errors.Is(err, fs.ErrNotExist) {
		return Secrets{}, fmt.Errorf("%s is no data folder of dev; set QM_DEV_DIR to the one that dev has, or run this where make run was started", path)
	}
	if err != nil {
		return Secrets{}, fmt.Errorf("the data folder %s cannot be read: %w", path, cause(err))
	}
	if err := json.Unmarshal(raw, &f.state); err != nil {
		return Secrets{}, fmt.Errorf("%s is damaged: %w", f.statePath(), err)
	}
	return f.state.Secrets, nil
}

// claim writes our pid into the lock file and reads or makes the state.
func (f *Folder) claim() error {
	if err := f.lock.Truncate(0); err != nil {
		return fmt.Errorf("writing %s: %w", f.lock.Name(), err)
	}
	if _, err := f.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("writing %s: %w", f.lock.Name(), err)
	}
	raw, err := os.ReadFile(f.statePath())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.state = state{Secrets: newSecrets(), Ports: map[string]int{}}
		return f.save()
	case err != nil:
		return fmt.Errorf("the data folder %s cannot be read: %w", f.Path, cause(err))
	}
	if err := json.Unmarshal(raw, &f.state); err != nil {
		return fmt.Errorf("%s is damaged (%w); remove the folder to start anew", f.statePath(), err)
	}
	if s := f.state.Secrets; s.KEK == "" || s.ClientSecret == "" || s.ControlToken == "" {
		return fmt.Errorf("%s is incomplete; remove the folder to start anew", f.statePath())
	}
	if f.state.Ports == nil {
		f.state.Ports = map[string]int{}
	}
	return nil
}

func newSecrets() Secrets {
	return Secrets{
		KEK:          "base64:" + base64.StdEncoding.EncodeToString(randomBytes(32)),
		ClientSecret: hex.EncodeToString(randomBytes(24)),
		ControlToken: hex.EncodeToString(randomBytes(24)),
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // crypto/rand.Read never fails: it ends the program instead
	return b
}

// Secrets returns the folder's secrets.
func (f *Folder) Secrets() Secrets { return f.state.Secrets }

// Port returns the port that the named listener used last; 0 when it never did.
func (f *Folder) Port(listener string) int { return f.state.Ports[listener] }

// KeepPort remembers the port of the named listener.
func (f *Folder) KeepPort(listener string, port int) error {
	if f.state.Ports[listener] == port {
		return nil
	}
	f.state.Ports[listener] = port
	return f.save()
}

// File returns the path of a file in the folder.
func (f *Folder) File(name string) string { return filepath.Join(f.Path, name) }

// Close gives the folder free.
func (f *Folder) Close() error {
	if err := f.lock.Close(); err != nil {
		return fmt.Errorf("unlocking %s: %w", f.Path, err)
	}
	return nil
}

func (f *Folder) statePath() string { return f.File("state.json") }

func (f *Folder) save() error {
	raw, err := json.MarshalIndent(f.state, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the state of %s: %w", f.Path, err)
	}
	return WriteFile(f.statePath(), append(raw, '\n'))
}

// WriteFile writes a file that only its owner can read, whole or not at all.
func WriteFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // made 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, cause(err))
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, cause(err)), os.Remove(tmp.Name()))
	}
	return nil
}

// cause leaves the path out of an error whose sentence already names it.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
