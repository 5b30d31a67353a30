package accounts

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
)

const (
	// defaultGoneFor is how long a cluster that is gone is shown where configuration says nothing.
	defaultGoneFor = 7 * 24 * time.Hour
	// maxGoneRows is how many of them the fleet lists.
	maxGoneRows = 20
	// goneReason is why nothing can be done with one.
	goneReason = "Qdrant Cloud does not know this cluster any more."
)

// fleetGone adds the clusters that are gone to the first page of the fleet. They stand apart from the list, whose pages
// and counts are of what there is. A query for a phase has none: they are in no phase any more. One that went in the future is
// of a clock that was ahead.
func (s *Service) fleetGone(ctx context.Context, tx pgx.Tx, page *FleetPage, scope access.Scope, q FleetQuery) error {
	if q.After != "" || q.Phase != "" || q.Environment != "" && !slices.Contains(Environments, Environment(q.Environment)) {
		return nil
	}
	// Mostly there are none, and then nobody's rights need to be gone into.
	var some bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM clusters WHERE gone_at > now() - $1::interval AND gone_at < now() + $1::interval)`, s.cfg.GoneFor).Scan(&some); err != nil || !some {
		return err
	}
	on := &conditions{arguments: []any{s.staleAfter()}}
	on.where("c.gone_at > now() - ?::interval AND c.gone_at < now() + ?::interval", s.cfg.GoneFor, s.cfg.GoneFor)
	if err := on.within(scope); err != nil {
		return err
	}
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		on.where("c.account_id = ? AND ?::boolean", id, err == nil)
	}
	if q.Environment != "" {
		on.where("a.environment = ?", q.Environment)
	}
	on.matches(q)
	rows, err := tx.Query(ctx, `SELECT `+clusterColumns+clusterTables+`
		WHERE `+on.String()+`
		ORDER BY c.gone_at DESC, c.account_id, c.cluster_id LIMIT `+strconv.Itoa(maxGoneRows+1), planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("reading clusters that are gone: %w", err)
	}
	if page.Gone, err = collectMany[ClusterRow](rows); err != nil {
		return fmt.Errorf("reading clusters that are gone: %w", err)
	}
	if len(page.Gone) <= maxGoneRows {
		return nil
	}
	page.Gone = page.Gone[:maxGoneRows]
	var all int
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT `+clusterColumns+clusterTables+` WHERE `+on.String()+` LIMIT `+strconv.Itoa(CountCap+1)+`) counted`,
		planned(on.arguments)...).Scan(&all); err != nil {
		return fmt.Errorf("counting clusters that are gone: %w", err)
	}
	page.GoneMore = all - maxGoneRows
	return nil
}

// within adds the condition that a cluster c of an account a lies in the scope, as its labels were last seen. It is for
// statements that read few clusters anyway: no index is begun by it.
func (c *conditions) within(scope access.Scope) error {
	if scope.Everything {
		return nil
	}
	enough, err := enoughLabels(scope.Labels)
	if err != nil {
		return err
	}
	accounts, clusters := make([]string, len(scope.Clusters)), make([]string, len(scope.Clusters))
	for i, ref := range scope.Clusters {
		accounts[i], clusters[i] = ref.AccountID.String(), ref.ClusterID
	}
	c.where(`(a.environment = ANY(?::text[]) OR a.id = ANY(?::uuid[])
			OR (c.account_id, c.cluster_id) IN (SELECT * FROM unnest(?::uuid[], ?::text[]))
			OR c.labels @> ANY(?::text[]::jsonb[]))`,
		nonNil(scope.Environments), nonNil(scope.Accounts), accounts, clusters, nonNil(enough))
	return nil
}
