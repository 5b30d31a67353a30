package accounts

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// Config is what a Service needs. All fields are required unless they say otherwise.
type Config struct {
	DB           *pgxpool.Pool
	Log          *audit.Log
	Cloud        *cloudapi.Client
	Vault        *vault.Vault
	Rights       access.Configured // grants from configuration
	Logger       *slog.Logger
	SessionIdle  time.Duration    // QM_SESSION_IDLE
	SessionMax   time.Duration    // QM_SESSION_MAX
	StepUpAfter  time.Duration    // QM_STEP_UP_AFTER; optional, 10 minutes when zero
	UnknownAfter time.Duration    // QM_AUDIT_UNKNOWN_AFTER
	PollMin      time.Duration    // QM_POLL_MIN
	PollMax      time.Duration    // QM_POLL_MAX
	UpstreamRPS  float64          // QM_UPSTREAM_RPS, of which reading alerts takes a share; no limit when zero
	GoneFor      time.Duration    // QM_GONE_FOR; optional, 7 days when zero
	StateAfter   time.Duration    // QM_STATE_CHECK_AFTER; optional, 1 minute when zero
	StateEvery   time.Duration    // QM_STATE_CHECK_EVERY; optional, 24 hours when zero
	Owner        string           // names this process in leases; optional, random when empty
	Now          func() time.Time // optional, time.Now when nil
	Tracer       trace.Tracer     // optional: refreshes are not traced when nil
	// Warnings are what the audit page must say of how the console is set up, each one sentence,
	// e.g. that the owner's database credentials are in this process. Optional.
	Warnings []string
	// CheckSchema says whether this program works on the schema; Ready asks it. Optional.
	CheckSchema func(ctx context.Context, db *pgxpool.Pool) error
	// SlowSearch says why the text search has no index, one sentence; empty when it has one. Optional.
	SlowSearch func(ctx context.Context, db *pgxpool.Pool) (string, error)
}

// Service is the domain: every use of a management key, every right, every event goes through it.
type Service struct {
	cfg     Config
	denials denials
	beside  beside // refusals that are being recorded without anybody waiting
	// underway are the operations this process has begun and not ended, which its reconciler
	// leaves alone however long they take.
	underway      sync.Map
	searches      searches
	verifying     sync.Mutex    // held while the whole log is read
	exporting     chan struct{} // holds one for each export that runs
	recheck       time.Duration // how often a long answer asks whether its right still holds
	signIns       signInFailures
	refreshing    refreshing
	outsideBudget int // see the constant
	turns         *turns
	attention     attention
	fleetReads    sharedReads[fleetRead]
	labelled      atomic.Pointer[[]uuid.UUID] // see findLabelled
	keyrings      keyrings
	firing        firingCounts
	firingReads   sharedReads[firingCount]
	standing      standingCounts
	breakGlass    breakGlassLook
	keeper        rightsKeeper
	state         stateWatch
	hub           *hub
	metrics       *metrics
}

// New returns a Service. It starts nothing; Run does.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.StepUpAfter == 0 {
		cfg.StepUpAfter = defaultStepUpAfter
	}
	if cfg.GoneFor == 0 {
		cfg.GoneFor = defaultGoneFor
	}
	if cfg.StateAfter == 0 {
		cfg.StateAfter = defaultStateAfter
	}
	if cfg.StateEvery == 0 {
		cfg.StateEvery = defaultStateEvery
	}
	if cfg.Owner == "" {
		cfg.Owner = uuid.NewString()
	}
	return &Service{
		cfg: cfg, metrics: newMetrics(), hub: newHub(), exporting: make(chan struct{}, exportsAtOnce), recheck: recheckEvery, outsideBudget: outsideBudget, turns: newTurns(cfg.DB),
		refreshing: refreshing{
			random: rand.Float64, wake: make(chan struct{}, 1), settleOwn: settleOwn,
			heavy: make(chan struct{}, heavyTurns(cfg.DB)), turnWait: turnWait, alerts: rate.NewLimiter(alertsASecond, maxAlertsRound),
			largeLists: make(chan struct{}, largeLists),
		},
	}
}
