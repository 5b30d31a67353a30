package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/cloudapi"
)

// Config is what New wants to know. Every field may stay zero but ControlToken, without which
// the control surface refuses everybody.
type Config struct {
	// Seed makes the content: the same seed and clock make the same accounts, clusters and keys.
	Seed int64
	// StatePath is a file that keeps the state from one start to the next, mode 0600. A file that
	// exists wins over Seed, Accounts and Clusters. Empty: memory only.
	StatePath string
	// Accounts and Clusters ask for generated content of that size instead of the seeded four
	// accounts; both zero keeps the four.
	Accounts, Clusters int
	// Logger receives what goes wrong inside; nil discards it. Keys are never logged.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now. POST /_sandbox/clock moves ahead of it.
	Now func() time.Time
	// ControlToken is the bearer token of the control surface.
	ControlToken string
	// TimeScale makes phases pass that many times faster; zero is 1.
	TimeScale float64
	// Spelling is how answers are written; the zero value leaves unset fields out.
	Spelling Spelling
}

// Fixture is an account of the seed, for programs that start with some accounts registered.
type Fixture struct {
	Name           string
	Generation     string // current or pa-v1
	CloudAccountID string
	ManagementKey  string // every permission of the account; the same in every start from one seed
	Environment    string // production, staging, development
	Registered     bool   // meant to be registered from the start
	Spare          bool   // meant to be added by hand
}

// Sandbox is one stand-in for the Cloud API. Its methods may be called from any goroutine.
type Sandbox struct {
	cfg       Config
	schema    *schema
	validator *validator
	catalogue *catalogue
	routes    routes
	secret    []byte // signs page tokens; new at each start, so tokens do not outlive it

	mu       sync.Mutex
	state    *state
	keys     map[string]*managementKey // by hash
	accounts map[string]*account
	fixtures []Fixture
	calls    callLog
	faults   []*fault
	random   *randomFaults // nil: nothing happens at random
	spelling Spelling
	dirty    bool
	saving   *time.Timer
	lock     *os.File // of the state file; nil without one
	closed   bool
	moments  []time.Time // room for comeRound
}

// New returns a sandbox with its content made or loaded. A state file that cannot be read, or that
// another sandbox uses, is an error that names the file.
func New(cfg Config) (*Sandbox, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.TimeScale <= 0 {
		cfg.TimeScale = 1
	}
	if err := cfg.Spelling.check(); err != nil {
		return nil, fmt.Errorf("sandbox spelling: %w", err)
	}
	sch, err := newSchema()
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		cfg: cfg, schema: sch, validator: newValidator(), catalogue: newCatalogue(), spelling: cfg.Spelling,
		secret: randomBytes(32), calls: newCallLog(),
	}
	if s.routes, err = s.newRoutes(cloudapi.Operations()); err != nil {
		return nil, err
	}
	if cfg.StatePath != "" {
		if s.lock, err = lockState(cfg.StatePath); err != nil {
			return nil, err
		}
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	return s, nil
}

// unlock lets another sandbox have the state file.
func (s *Sandbox) unlock() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// open loads the state or makes it from the seed.
func (s *Sandbox) open() error {
	st, err := s.load()
	switch {
	case errors.Is(err, errNoState):
		seeder := newSeeder(s.cfg.Seed, s.cfg.Now().UTC().Truncate(time.Second), s.catalogue, s.cfg.TimeScale)
		st = seeder.state(s.cfg.Accounts, s.cfg.Clusters)
		s.dirty = true
	case err != nil:
		return err
	}
	s.state = st
	s.accounts, s.keys = st.accounts, map[string]*managementKey{}
	for _, a := range st.accounts {
		for _, k := range a.managementKeys {
			s.keys[k.Hash] = k
		}
	}
	s.fixtures = fixturesOf(st)
	if s.dirty {
		return s.save()
	}
	return nil
}

// Fixtures returns the accounts of the seed with their keys.
func (s *Sandbox) Fixtures() []Fixture {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Fixture(nil), s.fixtures...)
}

// Close saves the state. Requests that are still being served finish, but changes after Close
// are not saved.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.saving != nil {
		s.saving.Stop()
	}
	return errors.Join(s.save(), s.unlock())
}

// Handler serves both API generations: /api/... and /pa/v1/....
func (s *Sandbox) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// now is the sandbox's clock. The caller holds the lock.
func (s *Sandbox) now() time.Time { return s.cfg.Now().UTC().Add(s.state.offset) }

// changed remembers that the state wants saving and does so within a second. The caller holds
// the lock.
func (s *Sandbox) changed() {
	s.dirty = true
	if s.cfg.StatePath == "" || s.closed || s.saving != nil {
		return
	}
	s.saving = time.AfterFunc(500*time.Millisecond, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.saving = nil
		if s.closed {
			return
		}
		if err := s.save(); err != nil {
			s.cfg.Logger.LogAttrs(context.Background(), slog.LevelError, "saving the sandbox's state failed", slog.Any("error", err))
		}
	})
}

// newID returns a fresh random UUID.
func newID() string { return uuid.NewString() }

// newTraceID returns 32 hexadecimal digits, as a trace id of W3C Trace Context has.
func newTraceID() string { return hex.EncodeToString(randomBytes(16)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) //nolint:errcheck // crypto/rand.Read never returns an error
	return b
}
