package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
)

// authenticates is what a message authentication code is over: the parts in their order, told apart
// whatever stands in them.
func authenticates(parts ...any) []byte {
	says, err := json.Marshal(parts)
	if err != nil {
		panic("accounts: " + err.Error()) // only texts, numbers, booleans and lists of them are given
	}
	return says
}

// microseconds of a time as rows keep them; nil for none.
func microseconds(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	at := t.UnixMicro()
	return &at
}

// accountStanding is what is certain of an account: what its rights and its API follow from.
type accountStanding struct {
	AccountID      uuid.UUID
	Version        int
	CloudAccountID string
	Generation     string
	Environment    string
	WrittenAt      time.Time
	MAC            []byte `db:"mac"`
}

const standingColumns = `account_id, version, cloud_account_id, generation, environment, written_at, mac`

func (r accountStanding) place() vault.RowID {
	return vault.RowID{Table: "account_standings", ID: r.AccountID, Field: "mac", Version: r.Version}
}

func (r accountStanding) says() []byte {
	return authenticates(r.CloudAccountID, r.Generation, r.Environment, r.WrittenAt.UnixMicro())
}

func (r accountStanding) verifies(v *vault.Vault) bool { return v.Verify(r.place(), r.says(), r.MAC) }

// of reports whether the account's own row says the same.
func (r accountStanding) of(a Account) bool {
	return r.AccountID == a.ID && r.CloudAccountID == a.CloudAccountID && r.Generation == string(a.Generation) && r.Environment == string(a.Environment)
}

// lastStanding returns what was last made certain of an account; ErrNotFound when nothing was.
func lastStanding(ctx context.Context, db querier, id uuid.UUID) (accountStanding, error) {
	rows, err := db.Query(ctx, `SELECT `+standingColumns+` FROM account_standings WHERE account_id = $1 ORDER BY version DESC LIMIT 1`, id)
	if err != nil {
		return accountStanding{}, fmt.Errorf("reading what is certain of the account: %w", err)
	}
	last, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[accountStanding])
	if errors.Is(err, pgx.ErrNoRows) {
		return accountStanding{}, ErrNotFound
	}
	if err != nil {
		return accountStanding{}, fmt.Errorf("reading what is certain of the account: %w", err)
	}
	return last, nil
}

// certify makes certain what the account's row says, where that is not certain already. It belongs
// into the transaction that writes the row, and its caller has locked or made it.
func certify(ctx context.Context, tx pgx.Tx, v *vault.Vault, a Account, now time.Time) error {
	last, err := lastStanding(ctx, tx, a.ID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err == nil && last.of(a) && last.verifies(v) {
		return nil
	}
	return insertStanding(ctx, tx, v, standingOf(a, last.Version+1, now))
}

// standingOf is what the account's row says, as a version of what is certain.
func standingOf(a Account, version int, now time.Time) accountStanding {
	return accountStanding{
		AccountID: a.ID, Version: version, CloudAccountID: a.CloudAccountID,
		Generation: string(a.Generation), Environment: string(a.Environment), WrittenAt: now.UTC().Truncate(time.Microsecond),
	}
}

func insertStanding(ctx context.Context, tx pgx.Tx, v *vault.Vault, next accountStanding) error {
	if _, err := tx.Exec(ctx, `INSERT INTO account_standings (`+standingColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		next.AccountID, next.Version, next.CloudAccountID, next.Generation, next.Environment, next.WrittenAt, v.MAC(next.place(), next.says())); err != nil {
		return fmt.Errorf("making certain what the account is: %w", err)
	}
	return nil
}

// certifyRemoved makes certain that the account is no more, in the transaction that removes its row: a row that
// somebody writes anew says what no row may say by then, so it is of no environment, and its key is not used.
func certifyRemoved(ctx context.Context, tx pgx.Tx, v *vault.Vault, id uuid.UUID, now time.Time) error {
	last, err := lastStanding(ctx, tx, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	return insertStanding(ctx, tx, v, accountStanding{AccountID: id, Version: last.Version + 1, WrittenAt: now})
}

// certifyGeneration makes certain that the account is of another generation, and nothing else of it.
func (s *Service) certifyGeneration(ctx context.Context, tx pgx.Tx, a Account) error {
	last, err := lastStanding(ctx, tx, a.ID)
	if errors.Is(err, ErrNotFound) || err == nil && !last.verifies(s.cfg.Vault) {
		return &ConflictError{Reason: alteredReason}
	}
	if err != nil {
		return err
	}
	last.Version++
	last.Generation, last.WrittenAt = string(a.Generation), s.now()
	return insertStanding(ctx, tx, s.cfg.Vault, last)
}

// certify is the function certify, and makes certain anew what the log takes back.
func (s *Service) certify(ctx context.Context, tx pgx.Tx, a Account) error {
	if last, err := lastStanding(ctx, tx, a.ID); err == nil && s.keeper.withheld.Load().account(a.ID, last.Version) {
		return insertStanding(ctx, tx, s.cfg.Vault, standingOf(a, last.Version+1, s.now()))
	}
	return certify(ctx, tx, s.cfg.Vault, a, s.now())
}

// AdoptAccounts makes certain what the rows of all accounts say. It is for vault.Open, which calls it
// once, when the database comes from a release without message authentication codes.
func AdoptAccounts(ctx context.Context, tx pgx.Tx, v *vault.Vault) error {
	rows, err := tx.Query(ctx, selectAccounts+` ORDER BY a.id FOR UPDATE OF a`)
	if err != nil {
		return fmt.Errorf("adopting accounts: %w", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[accountRow])
	if err != nil {
		return fmt.Errorf("adopting accounts: %w", err)
	}
	for _, row := range stored {
		if err := certify(ctx, tx, v, row.account(), time.Now()); err != nil {
			return fmt.Errorf("adopting accounts: %w", err)
		}
	}
	return nil
}

// explainAltered adds to a change what is made certain by saving an account whose row somebody altered,
// so that it is no silent consequence of saving something else.
func (s *Service) explainAltered(ctx context.Context, tx pgx.Tx, before Account, change audit.Change) error {
	last, err := lastStanding(ctx, tx, before.ID)
	missing := errors.Is(err, ErrNotFound)
	if err != nil && !missing {
		return err
	}
	verifies := !missing && last.verifies(s.cfg.Vault)
	held := s.keeper.withheld.Load().account(before.ID, last.Version)
	if verifies && last.of(before) && !held {
		return nil
	}
	change["verified"] = [2]any{false, true}
	if held { // the log says something else: from here on it says this
		for name, is := range map[string]any{"environment": before.Environment, "generation": before.Generation, "cloud_account_id": before.CloudAccountID} {
			if _, edited := change[name]; !edited {
				change[name] = [2]any{nil, is}
			}
		}
		return nil
	}
	if !verifies {
		return nil
	}
	for name, was := range map[string][2]string{
		"environment": {last.Environment, string(before.Environment)}, "generation": {last.Generation, string(before.Generation)},
		"cloud_account_id": {last.CloudAccountID, before.CloudAccountID},
	} {
		if now, edited := change[name]; was[0] != was[1] && edited {
			change[name] = [2]any{was[0], now[1]}
		} else if was[0] != was[1] {
			change[name] = [2]any{was[0], was[1]}
		}
	}
	return nil
}

const alteredReason = "What the database says of this account was not written by this console, or was altered since: nothing is done with its key. An administrator looks at it, and saves it again if it is right."

// certain refuses to work with an account whose row was altered. It is asked before the key is
// unsealed, so that a key never goes to another API than the one it was given for.
func (s *Service) certain(ctx context.Context, a Account) error {
	last, err := lastStanding(ctx, s.cfg.DB, a.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return &ConflictError{Reason: alteredReason}
	case err != nil:
		return dbError("reading what is certain of the account", err)
	case s.keeper.withheld.Load().account(a.ID, last.Version), !last.verifies(s.cfg.Vault), last.CloudAccountID != a.CloudAccountID, last.Generation != string(a.Generation):
		return &ConflictError{Reason: alteredReason}
	}
	return nil
}
