package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// RestartCluster restarts a cluster. *ConflictError when its phase or API generation does not allow it.
func (s *Service) RestartCluster(ctx context.Context, by audit.Actor, ref ClusterRef) error {
	return s.actOnCluster(ctx, by, ActClusterRestart, ref, clusterAct{
		intended: func(c actedCluster) audit.Change {
			return audit.Change{"phase": {string(c.phase), string(cloudapi.PhaseRestarting)}}
		},
		call: func(ctx context.Context, up cloud) error { return up.RestartCluster(ctx, ref.ClusterID) },
	})
}

// SuspendCluster suspends a cluster.
func (s *Service) SuspendCluster(ctx context.Context, by audit.Actor, ref ClusterRef) error {
	return s.actOnCluster(ctx, by, ActClusterSuspend, ref, clusterAct{
		intended: func(c actedCluster) audit.Change {
			return audit.Change{"phase": {string(c.phase), string(cloudapi.PhaseSuspended)}}
		},
		call: func(ctx context.Context, up cloud) error { return up.SuspendCluster(ctx, ref.ClusterID) },
	})
}

// UnsuspendCluster resumes a cluster.
func (s *Service) UnsuspendCluster(ctx context.Context, by audit.Actor, ref ClusterRef) error {
	return s.actOnCluster(ctx, by, ActClusterUnsuspend, ref, clusterAct{
		intended: func(c actedCluster) audit.Change {
			return audit.Change{"phase": {string(c.phase), string(cloudapi.PhaseHealthy)}}
		},
		call: func(ctx context.Context, up cloud) error { return up.UnsuspendCluster(ctx, ref.ClusterID) },
	})
}

// DeleteCluster deletes a cluster and, when chosen, its backups. *InvalidError when the name typed
// is not the cluster's or nothing was chosen about the backups; nothing is sent upstream then. A
// cluster that upstream gave no name is confirmed with its id. Deleting the backups, too, is another
// right: who may not is refused, and the cluster stays.
func (s *Service) DeleteCluster(ctx context.Context, by audit.Actor, ref ClusterRef, d ClusterDeletion) error {
	act := ActClusterDelete
	if d.DeleteBackups != nil && *d.DeleteBackups {
		act = withBackups(act)
	}
	return s.actOnCluster(ctx, by, act, ref, clusterAct{
		check: func(c actedCluster) error {
			invalid := map[string]string{}
			wanted := c.name
			if strings.TrimSpace(wanted) == "" {
				wanted = ref.ClusterID
			}
			if d.Confirm != wanted {
				invalid["confirm"] = "This is not the cluster's name."
			}
			if d.DeleteBackups == nil {
				invalid["delete_backups"] = "Choose what becomes of the backups."
			}
			if len(invalid) > 0 {
				return &InvalidError{Fields: invalid}
			}
			return nil
		},
		intended: func(c actedCluster) audit.Change {
			return audit.Change{"name": {c.name, nil}, "phase": {string(c.phase), string(cloudapi.PhaseDeleting)}, "delete_backups": {nil, *d.DeleteBackups}}
		},
		call: func(ctx context.Context, up cloud) error {
			return up.DeleteCluster(ctx, ref.ClusterID, *d.DeleteBackups)
		},
	})
}

// withBackups is the deletion of a cluster together with its backups.
func withBackups(act Act) Act {
	act.Needs.All = append(slices.Clone(act.Needs.All), access.DeleteBackups)
	return act
}

// clusterAct is what differs between the acts on a cluster.
type clusterAct struct {
	check    func(actedCluster) error // of the form, after the right; nil for none
	intended func(actedCluster) audit.Change
	call     func(context.Context, cloud) error
}

// actedCluster is a cluster as the last snapshot has it, with its account.
type actedCluster struct {
	account Account
	on      target
	name    string
	phase   cloudapi.Phase
	gone    bool // and still shown
}

// actOnCluster leads one act on a cluster through perform. Upstream is read first, so that the
// decision does not rest on a snapshot, and again afterwards, so that the page shows what became
// of it without waiting for the next refresh.
func (s *Service) actOnCluster(ctx context.Context, by audit.Actor, act Act, ref ClusterRef, do clusterAct) error {
	known, err := s.clusterFor(ctx, by, act, ref)
	if err != nil {
		return err
	}
	if do.check != nil {
		if err := do.check(known); err != nil {
			return err
		}
	}
	var after *cloudapi.Cluster
	called, gone := false, false
	intended := do.intended(known)
	op := operation{act: act, on: known.on, intended: intended}
	err = s.perform(ctx, by, op, func(ctx context.Context, up *link) (done, error) {
		called = true
		before, err := up.cloud.Cluster(ctx, ref.ClusterID)
		if err != nil {
			return done{}, fmt.Errorf("reading the cluster: %w", err)
		}
		after = &before
		if err := s.stillMay(by, op, before); err != nil {
			return done{}, err
		}
		if reason := phaseForbids(act, before.State.Phase); reason != "" {
			return done{}, &ConflictError{Reason: reason}
		}
		if do.check != nil && before.Name != known.name {
			return done{}, &ConflictError{Reason: "The cluster has another name by now. Look at it again."}
		}
		if err := do.call(ctx, up.cloud); err != nil {
			return done{}, fmt.Errorf("%s: %w", act.Name, err)
		}
		again, err := up.cloud.Cluster(ctx, ref.ClusterID)
		switch e, ok := cloudapi.AsError(err); {
		case err == nil:
			after = &again
			return done{change: clusterChange(intended, before, again)}, nil
		case ok && e.Kind == cloudapi.NotFound:
			after, gone = nil, true
		default:
			// The act is done; what became of it the next refresh tells.
			after = nil
			s.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "cluster not read after an act",
				slog.String("act", act.Name), slog.String("account", ref.AccountID.String()), slog.String("cluster", ref.ClusterID), slog.Any("error", err))
		}
		return done{change: intended}, nil
	})
	if called {
		s.keepSnapshot(ctx, ref, after, gone)
	}
	return err
}

// clusterFor returns a cluster for an act that the member may do, and that the account's API and key
// allow. Otherwise the error is that of authorize, or *ConflictError.
func (s *Service) clusterFor(ctx context.Context, by audit.Actor, act Act, ref ClusterRef) (actedCluster, error) {
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return actedCluster{}, err
	}
	if err := s.authorize(ctx, by, act, known.on); err != nil {
		return actedCluster{}, err
	}
	known.account.Hidden = hides(s.rights(by), known.account)
	if known.gone {
		return actedCluster{}, &ConflictError{Reason: goneReason}
	}
	if reason := notPossible(act, known.account.ref()); reason != "" {
		return actedCluster{}, &ConflictError{Reason: reason}
	}
	if lacking := keyLacks(known.account.Key, requiredOfKey(act, *act.Op(known.account.Generation))); len(lacking) > 0 {
		return actedCluster{}, &ConflictError{Reason: fmt.Sprintf("The account's management key lacks %s.", strings.Join(lacking, " and "))}
	}
	return known, nil
}

// keepSnapshot stores what an act has read. When that fails the next refresh stores it.
func (s *Service) keepSnapshot(ctx context.Context, ref ClusterRef, after *cloudapi.Cluster, gone bool) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	var err error
	switch {
	case gone:
		err = s.storeGone(ctx, ref.AccountID, ref.ClusterID)
	case after != nil:
		err = s.storeCluster(ctx, ref.AccountID, *after)
	}
	if err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "snapshot not kept after an act",
			slog.String("account", ref.AccountID.String()), slog.String("cluster", ref.ClusterID), slog.Any("error", err))
	}
	s.refreshSoon(ctx, ref.AccountID)
}

// clusterChange is what an act did, as far as the cluster shows it already.
func clusterChange(intended audit.Change, before, after cloudapi.Cluster) audit.Change {
	change := audit.Change{}
	for name, values := range intended {
		change[name] = values
	}
	change["phase"] = [2]any{string(before.State.Phase), string(after.State.Phase)}
	if !after.State.RestartedAt.Equal(before.State.RestartedAt) {
		change["restarted_at"] = [2]any{timeOrNil(before.State.RestartedAt), timeOrNil(after.State.RestartedAt)}
	}
	return change
}

func timeOrNil(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}

// loadCluster returns a cluster from its snapshot whoever asks; ErrNotFound when there is none, or it has been gone for
// longer than gone clusters are shown. It reads as
// much for one that does not exist as for one that the actor may not see, so that the time tells nothing.
func (s *Service) loadCluster(ctx context.Context, ref ClusterRef) (actedCluster, error) {
	if !wellFormed(ref.ClusterID, maxSnapshotText) {
		return actedCluster{}, ErrNotFound
	}
	var phase, labels string
	var known actedCluster
	var err error
	if known.account, err = accountByID(ctx, s.cfg.DB, ref.AccountID, false); err != nil && !errors.Is(err, ErrNotFound) {
		return actedCluster{}, err
	}
	err = s.cfg.DB.QueryRow(ctx, `
		SELECT name, phase, labels::text, gone_at IS NOT NULL FROM clusters
		WHERE account_id = $1 AND cluster_id = $2 AND (gone_at IS NULL OR gone_at > now() - $3::interval AND gone_at < now() + $3::interval)`,
		ref.AccountID, ref.ClusterID, s.cfg.GoneFor).Scan(&known.name, &phase, &labels, &known.gone)
	if errors.Is(err, pgx.ErrNoRows) {
		return actedCluster{}, ErrNotFound
	}
	if err != nil {
		return actedCluster{}, dbError("reading the cluster", err)
	}
	if known.account.ID == uuid.Nil { // it came between the two
		return actedCluster{}, ErrNotFound
	}
	known.phase = cloudapi.Phase(phase)
	known.on = target{Account: known.account.ref(), Kind: KindCluster, ID: ref.ClusterID, Name: known.name}
	if err := json.Unmarshal([]byte(labels), &known.on.Labels); err != nil {
		return actedCluster{}, fmt.Errorf("reading the cluster's labels: %w", err)
	}
	return known, nil
}
