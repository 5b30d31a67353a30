package accounts

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
)

// reach is a scope as lists of what is kept beside clusters need it: whole accounts, and single clusters of others, as labels
// were last seen.
type reach struct {
	everything bool
	accounts   []uuid.UUID
	clusterOf  []uuid.UUID // the accounts of clusters
	clusters   []string
}

// reachOf reads what a scope reaches now.
func reachOf(ctx context.Context, tx pgx.Tx, scope access.Scope) (reach, error) {
	p := reach{everything: scope.Everything, accounts: nonNil(scope.Accounts), clusterOf: []uuid.UUID{}, clusters: []string{}}
	if p.everything || scope.None() {
		return p, nil
	}
	if len(scope.Environments) > 0 {
		rows, err := tx.Query(ctx, `SELECT id FROM accounts WHERE environment = ANY($1)`, scope.Environments)
		if err != nil {
			return p, fmt.Errorf("reading the accounts of environments: %w", err)
		}
		of, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return p, fmt.Errorf("reading the accounts of environments: %w", err)
		}
		p.accounts = append(append([]uuid.UUID{}, p.accounts...), of...)
	}
	scope, err := withLabelled(ctx, tx, scope)
	if err != nil {
		return p, err
	}
	for _, c := range scope.Clusters {
		p.clusterOf, p.clusters = append(p.clusterOf, c.AccountID), append(p.clusters, c.ClusterID)
	}
	return p, nil
}

// at adds the condition that a row with an account and a cluster is among the reach.
func (c *conditions) at(p reach, account, cluster string) {
	if p.everything {
		return
	}
	c.where(`(`+account+` = ANY(?::uuid[]) OR (`+account+`, `+cluster+`) IN (SELECT * FROM unnest(?::uuid[], ?::text[])))`, p.accounts, p.clusterOf, p.clusters)
}
