package accounts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

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
	UnknownAfter time.Duration    // QM_AUDIT_UNKNOWN_AFTER
	PollMin      time.Duration    // QM_POLL_MIN
	PollMax      time.Duration    // QM_POLL_MAX
	Owner        string           // names this process in leases; optional, random when empty
	Now          func() time.Time // optional, time.Now when nil
	// Warnings are what the audit page must say of how the console is set up, each one sentence,
	// e.g. that the owner's database credentials are in this process. Optional.
	Warnings []string
}

// Service is the domain: every use of a management key, every right, every event goes through it.
type Service struct {
	cfg     Config
	denials denials
	// underway are the operations this process has begun and not ended, which the reconciler
	// leaves alone however long they take.
	underway sync.Map
	signIns  signInFailures
}

// New returns a Service. It starts nothing; Run does.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}
}

// Run refreshes snapshots, reconciles open operations and cleans up until ctx ends. It returns
// when everything it started has ended.
func (s *Service) Run(ctx context.Context) error { panic("stub") }

// Fleet returns clusters of every account the member may read, from snapshots only.
func (s *Service) Fleet(ctx context.Context, by audit.Actor, q FleetQuery) (FleetPage, error) {
	panic("stub")
}

// Cluster returns one cluster from its snapshot; ErrNotFound when it does not exist or may not be read.
func (s *Service) Cluster(ctx context.Context, by audit.Actor, ref ClusterRef) (ClusterDetail, error) {
	panic("stub")
}

// RestartCluster restarts a cluster. *ConflictError when its phase or API generation does not allow it.
func (s *Service) RestartCluster(ctx context.Context, by audit.Actor, ref ClusterRef) error {
	panic("stub")
}

// SuspendCluster suspends a cluster.
func (s *Service) SuspendCluster(ctx context.Context, by audit.Actor, ref ClusterRef) error {
	panic("stub")
}

// UnsuspendCluster resumes a cluster.
func (s *Service) UnsuspendCluster(ctx context.Context, by audit.Actor, ref ClusterRef) error {
	panic("stub")
}

// DeleteCluster deletes a cluster and, when chosen, its backups.
func (s *Service) DeleteCluster(ctx context.Context, by audit.Actor, ref ClusterRef, d ClusterDeletion) error {
	panic("stub")
}

// SearchLog lists operations, newest first. Records audit.search once per query and session.
func (s *Service) SearchLog(ctx context.Context, by audit.Actor, q audit.Query) (audit.Page, error) {
	panic("stub")
}

// LogEvent returns one event with the other events of its operation.
func (s *Service) LogEvent(ctx context.Context, by audit.Actor, seq int64) (audit.Detail, error) {
	panic("stub")
}

// VerifyLog checks the whole chain and returns what was found.
func (s *Service) VerifyLog(ctx context.Context, by audit.Actor) (audit.Report, error) { panic("stub") }

// AuditWarnings are what the audit page must warn of, e.g. owner credentials in this process.
func (s *Service) AuditWarnings() []string { panic("stub") }

// RecordStart records config.changed, with names only, when the configuration differs from the last start's.
func (s *Service) RecordStart(ctx context.Context, config map[string]string) error { panic("stub") }

// Ready reports whether Postgres answers, the schema fits and the vault is open.
func (s *Service) Ready(ctx context.Context) error { panic("stub") }
