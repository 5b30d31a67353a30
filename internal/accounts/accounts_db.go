package accounts

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"quartermaster/internal/cloudapi"
)

// dbError wraps an error of Postgres with what was being done; it is ErrUnavailable when the
// database cannot be reached.
func dbError(doing string, err error) error {
	return fmt.Errorf("%s: %w", doing, unavailable(err))
}

// violates reports whether err is a violation of the named constraint.
func violates(err error, constraint string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.ConstraintName == constraint
}

// accountRefRow is the part of an account that acts need, as read from the database.
type accountRefRow struct {
	ID             uuid.UUID `db:"id"`
	Name           string    `db:"name"`
	Environment    string    `db:"environment"`
	Generation     string    `db:"generation"`
	CloudAccountID string    `db:"cloud_account_id"`
	Enabled        bool      `db:"enabled"`
	KeyID          uuid.UUID `db:"key_id"`
}

// loadAccount returns an account for an act, whoever asks; ErrNotFound when there is none.
func (s *Service) loadAccount(ctx context.Context, id uuid.UUID) (accountRef, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT a.id, a.name, a.environment, a.generation, a.cloud_account_id, a.enabled, k.id AS key_id
		FROM accounts a
		JOIN management_keys k ON k.account_id = a.id AND k.retired_at IS NULL
		WHERE a.id = $1`, id)
	if err != nil {
		return accountRef{}, dbError("reading the account", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[accountRefRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return accountRef{}, ErrNotFound
	}
	if err != nil {
		return accountRef{}, dbError("reading the account", err)
	}
	return accountRef{
		ID: row.ID, Name: row.Name, Environment: Environment(row.Environment), Generation: cloudapi.Generation(row.Generation),
		CloudAccountID: row.CloudAccountID, Enabled: row.Enabled, KeyID: row.KeyID,
	}, nil
}
