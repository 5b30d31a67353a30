package accounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// storedCluster is a snapshot with all that the cluster page needs of it.
type storedCluster struct {
	ClusterRow
	Raw []byte
}

// clusterByRef returns the snapshot of a cluster whoever asks; ErrNotFound when there is none to show.
func (s *Service) clusterByRef(ctx context.Context, ref ClusterRef) (storedCluster, error) {
	if !wellFormed(ref.ClusterID, maxSnapshotText) {
		return storedCluster{}, ErrNotFound
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+clusterColumns+`, c.raw`+clusterTables+`
		WHERE c.account_id = $2 AND c.cluster_id = $3 AND (c.gone_at IS NULL OR c.gone_at > now() - $4::interval AND c.gone_at < now() + $4::interval)`,
		s.staleAfter(), ref.AccountID, ref.ClusterID, s.cfg.GoneFor)
	if err != nil {
		return storedCluster{}, dbError("reading the cluster", err)
	}
	stored, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[storedCluster])
	if errors.Is(err, pgx.ErrNoRows) {
		return storedCluster{}, ErrNotFound
	}
	if err != nil {
		return storedCluster{}, dbError("reading the cluster", err)
	}
	return stored, nil
}

// Cluster returns one cluster from its snapshot; ErrNotFound when it does not exist or may not be read.
func (s *Service) Cluster(ctx context.Context, by audit.Actor, ref ClusterRef) (ClusterDetail, error) {
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return ClusterDetail{}, err
	}
	account, on := known.account, known.on
	if err := s.read(ctx, by, ActClusterRead, on); err != nil {
		return ClusterDetail{}, err
	}
	stored, err := s.clusterByRef(ctx, ref)
	if err != nil {
		return ClusterDetail{}, err
	}
	cluster, err := cloudapi.DecodeCluster(account.Generation, stored.Raw)
	if err != nil {
		return ClusterDetail{}, fmt.Errorf("decoding the stored cluster: %w", err)
	}
	one := []Account{account}
	if err := s.addSync(ctx, one); err != nil {
		return ClusterDetail{}, err
	}
	one[0].Hidden = hides(s.rights(by), account)
	if !s.rights(by).Allows(ActClusterRead.Needs, accountTarget(account.ref()).access()) {
		one[0].Sync = one[0].Sync.ofSome()
	}
	detail := ClusterDetail{
		Account: one[0], Cluster: cluster, Row: stored.ClusterRow, SeenAt: stored.SeenAt, Gone: stored.GoneAt != nil,
		Offers: s.offers(by, on, stored.Phase, account.Key),
	}
	if detail.Account, err = s.withVisibleCount(ctx, by, detail.Account); err != nil {
		return ClusterDetail{}, err
	}
	detail.Backups = Offer{Act: ActClusterDelete.Name, Offered: true}
	if missing := s.rights(by).Missing(access.Needs(access.DeleteBackups), on.access()); missing != "" {
		detail.Backups.Offered, detail.Backups.Reason = false, fmt.Sprintf("You need %s here.", missing)
	}
	if detail.Gone {
		detail.ShownUntil = stored.GoneAt.Add(s.cfg.GoneFor)
		withdraw(detail.Offers)
	}
	if detail.Pending, err = s.pendingActs(ctx, on); err != nil {
		return ClusterDetail{}, err
	}
	return detail, nil
}

// pendingActs lists what was begun on a cluster and has no outcome yet, oldest first.
func (s *Service) pendingActs(ctx context.Context, on target) ([]PendingAct, error) {
	open, err := s.cfg.Log.PendingFor(ctx, on.Kind, on.ID)
	if err != nil {
		return nil, dbError("reading open operations", err)
	}
	var pending []PendingAct
	for _, o := range open {
		// Another account's cluster may have the same id; upstream does not promise otherwise.
		if o.Attempt.Account.ID != on.Account.ID.String() {
			continue
		}
		since, _ := s.cameAbout(o.Attempt)
		pending = append(pending, PendingAct{
			Act: o.Attempt.Act, By: o.Attempt.Actor.Name, Since: since, Unknown: s.ageOf(o.Attempt) > s.cfg.UnknownAfter,
		})
	}
	return pending, nil
}
