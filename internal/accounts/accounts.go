package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/text/unicode/norm"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// accountRow is an account with its key in use, as read from the database.
type accountRow struct {
	ID             uuid.UUID  `db:"id"`
	Generation     string     `db:"generation"`
	CloudAccountID string     `db:"cloud_account_id"`
	UpstreamName   string     `db:"upstream_name"`
	OwnerEmail     string     `db:"owner_email"`
	Name           string     `db:"name"`
	Environment    string     `db:"environment"`
	Owner          string     `db:"owner"`
	Note           string     `db:"note"`
	RotateBy       *time.Time `db:"rotate_by"`
	Enabled        bool       `db:"enabled"`
	CreatedAt      time.Time  `db:"created_at"`
	CreatedBy      string     `db:"created_by"`
	KeyID          uuid.UUID  `db:"key_id"`
	Prefix         string     `db:"prefix"`
	Provenance     string     `db:"provenance"`
	Permissions    []string   `db:"permissions"`
	ProbedAt       *time.Time `db:"probed_at"`
	AddedAt        time.Time  `db:"added_at"`
	AddedBy        string     `db:"added_by"`
	Refused        string     `db:"refused"`
	UpstreamID     string     `db:"upstream_id"`
}

// selectAccounts reads accountRow; a WHERE clause may follow. The sealed key is not among its columns.
const selectAccounts = `
	SELECT a.id, a.generation, a.cloud_account_id, a.upstream_name, a.owner_email, a.name, a.environment, a.owner, a.note,
		a.rotate_by, a.enabled, a.created_at, a.created_by, k.id AS key_id, k.prefix, k.provenance, k.permissions,
		k.probed_at, k.added_at, k.added_by, k.refused, k.upstream_id
	FROM accounts a
	JOIN management_keys k ON k.account_id = a.id AND k.retired_at IS NULL`

func (r accountRow) account() Account {
	return Account{
		ID: r.ID, Generation: cloudapi.Generation(r.Generation), CloudAccountID: r.CloudAccountID, UpstreamName: r.UpstreamName,
		OwnerEmail: r.OwnerEmail, Name: r.Name, Environment: Environment(r.Environment), Owner: r.Owner, Note: r.Note,
		RotateBy: r.RotateBy, Enabled: r.Enabled, CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy,
		Key: ManagementKey{
			ID: r.KeyID, Prefix: r.Prefix, Provenance: r.Provenance, Permissions: r.Permissions, ProbedAt: r.ProbedAt,
			AddedAt: r.AddedAt, AddedBy: r.AddedBy, Refused: r.Refused, UpstreamID: r.UpstreamID,
		},
	}
}

// ref is the account as acts need it.
func (a Account) ref() accountRef {
	return accountRef{
		ID: a.ID, Name: a.Name, Environment: a.Environment, Generation: a.Generation, CloudAccountID: a.CloudAccountID,
		Enabled: a.Enabled, KeyID: a.Key.ID,
	}
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// executor is the same, for statements that return no rows.
type executor interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// accountByID returns an account whoever asks, without its Sync; ErrNotFound when there is none.
// With lock the row is locked against every other change until the transaction ends.
func accountByID(ctx context.Context, db querier, id uuid.UUID, lock bool) (Account, error) {
	if lock {
		// In a statement of its own: one that waits for the lock still sees the key in use from before it waited.
		rows, err := db.Query(ctx, `SELECT id FROM accounts WHERE id = $1 FOR UPDATE`, id)
		if err != nil {
			return Account{}, dbError("locking the account", err)
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return Account{}, dbError("locking the account", err)
		}
	}
	rows, err := db.Query(ctx, selectAccounts+` WHERE a.id = $1`, id)
	if err != nil {
		return Account{}, dbError("reading the account", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[accountRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return Account{}, ErrNotFound
	}
	if err != nil {
		return Account{}, dbError("reading the account", err)
	}
	return row.account(), nil
}

// List returns the accounts the member may read, by name.
func (s *Service) List(ctx context.Context, by audit.Actor) ([]Account, error) {
	scope := s.visible(by, ActAccountRead)
	if scope.None() {
		return nil, nil
	}
	accounts, err := s.accountsIn(ctx, scope)
	if err != nil {
		return nil, err
	}
	if err := s.addSync(ctx, accounts); err != nil {
		return nil, err
	}
	return accounts, s.countVisible(ctx, by, accounts)
}

// accountsIn returns the accounts of a scope, by name and without their Sync. An account of which
// the scope lists only clusters is not in it.
func (s *Service) accountsIn(ctx context.Context, scope access.Scope) ([]Account, error) {
	rows, err := s.cfg.DB.Query(ctx, selectAccounts+`
		WHERE $1::boolean OR a.environment = ANY($2::text[]) OR a.id = ANY($3::uuid[])
		ORDER BY lower(a.name), a.id`, scope.Everything, scope.Environments, scope.Accounts)
	if err != nil {
		return nil, dbError("listing accounts", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[accountRow])
	if err != nil {
		return nil, dbError("listing accounts", err)
	}
	accounts := make([]Account, len(found))
	for i, row := range found {
		accounts[i] = row.account()
	}
	return accounts, nil
}

// Account returns one account; ErrNotFound when it does not exist or may not be read.
func (s *Service) Account(ctx context.Context, by audit.Actor, id uuid.UUID) (AccountDetail, error) {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return AccountDetail{}, err
	}
	on := accountTarget(account.ref())
	if err := s.read(ctx, by, ActAccountRead, on); err != nil {
		return AccountDetail{}, err
	}
	one := []Account{account}
	if err := s.addSync(ctx, one); err != nil {
		return AccountDetail{}, err
	}
	if err := s.countVisible(ctx, by, one); err != nil {
		return AccountDetail{}, err
	}
	detail := AccountDetail{
		Account: one[0],
		Offers:  s.offers(by, on, "", account.Key),
		NotAble: keyLacks(account.Key, usedOfKeys(account.Generation)),
		Legacy:  account.Generation == cloudapi.PAV1,
	}
	if detail.OldKeys, err = s.oldKeys(ctx, account); err != nil {
		return AccountDetail{}, err
	}
	if s.rights(by).Allows(ActClusterRead.Needs, on.access()) {
		if detail.Snapshot, err = s.firstClusters(ctx, account.ID); err != nil {
			return AccountDetail{}, err
		}
	}
	return detail, nil
}

// usedOfKeys lists the upstream permissions that the console's acts need of a key, sorted.
func usedOfKeys(g cloudapi.Generation) []string {
	var used []string
	for _, act := range Acts() {
		if op := act.Op(g); op != nil {
			used = append(used, requiredOfKey(act, *op)...)
		}
	}
	slices.Sort(used)
	return slices.Compact(used)
}

// Disable stops every use of the account's key. Its clusters stay, marked stale.
func (s *Service) Disable(ctx context.Context, by audit.Actor, id uuid.UUID) error {
	return s.setEnabled(ctx, by, ActAccountDisable, id, false)
}

// Enable is the reverse of Disable. The account is refreshed at once.
func (s *Service) Enable(ctx context.Context, by audit.Actor, id uuid.UUID) error {
	if err := s.setEnabled(ctx, by, ActAccountEnable, id, true); err != nil {
		return err
	}
	s.refreshing.nudge()
	return nil
}

// setEnabled stores the flag and its event together. When it is so already nothing changes and
// nothing is recorded.
func (s *Service) setEnabled(ctx context.Context, by audit.Actor, act Act, id uuid.UUID, enabled bool) error {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, by, act, accountTarget(account.ref())); err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		before, err := accountByID(ctx, tx, id, true)
		if err != nil || before.Enabled == enabled {
			return err
		}
		after := before
		after.Enabled = enabled
		if _, err := tx.Exec(ctx, `UPDATE accounts SET enabled = $2, updated_at = $3 WHERE id = $1`, id, enabled, s.now()); err != nil {
			return err
		}
		if enabled {
			if err := s.scheduleRefresh(ctx, tx, id); err != nil {
				return err
			}
		}
		if err := notifyClusters(ctx, tx, id); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(accountTarget(after.ref()), by, act, accountChange(&before, &after)))
	})
	if err != nil {
		return dbError(act.Name, err)
	}
	return nil
}

// singleEvent is an event that says all there is to say of a change that is made with it.
func singleEvent(on target, by audit.Actor, act Act, change audit.Change) audit.Event {
	e := on.event(by, act)
	e.Phase, e.Outcome, e.Change = audit.PhaseSingle, audit.OK, change
	return e
}

// Remove forgets the account, its sealed key and its snapshots; its events stay. With
// DeleteKeyUpstream the key is first deleted at Qdrant, an operation of its own; when that fails the
// account stays.
func (s *Service) Remove(ctx context.Context, by audit.Actor, id uuid.UUID, r AccountRemoval) error {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, by, ActAccountDelete, accountTarget(account.ref())); err != nil {
		return err
	}
	if norm.NFC.String(r.Confirm) != norm.NFC.String(account.Name) { // keyboards compose letters in different ways
		return &InvalidError{Fields: map[string]string{"confirm": "This is not the account's name."}}
	}
	if r.DeleteKeyUpstream {
		if err := s.deleteKeyUpstream(ctx, by, account); err != nil {
			return err
		}
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		before, err := accountByID(ctx, tx, id, true)
		if err != nil {
			return err
		}
		if before.Name != account.Name || before.Key.ID != account.Key.ID {
			return &ConflictError{Reason: "The account was changed meanwhile. Look at it again."}
		}
		if err := certifyRemoved(ctx, tx, s.cfg.Vault, id, s.now()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM accounts WHERE id = $1`, id); err != nil {
			return err
		}
		if err := notifyClusters(ctx, tx, id); err != nil {
			return err
		}
		return s.recordLast(ctx, tx, singleEvent(accountTarget(before.ref()), by, ActAccountDelete, accountChange(&before, nil)))
	})
	if err != nil {
		return dbError(ActAccountDelete.Name, err)
	}
	s.cfg.Cloud.Forget(id.String())
	return nil
}

// deleteKeyUpstream deletes the account's own key at Qdrant. Which one of upstream's keys it is can
// only be told by its first characters; when that is not certain nothing is deleted.
func (s *Service) deleteKeyUpstream(ctx context.Context, by audit.Actor, account Account) error {
	on := target{Account: account.ref(), Kind: KindManagementKey, ID: account.Key.ID.String(), Name: account.Key.Prefix}
	intended := audit.Change{"management_key_prefix": {account.Key.Prefix, nil}}
	return s.perform(ctx, by, operation{act: ActManagementKeyDelete, on: on, intended: intended}, func(ctx context.Context, up *link) (done, error) {
		keys, err := up.cloud.ManagementKeys(ctx)
		if err != nil {
			return done{}, fmt.Errorf("listing management keys: %w", err)
		}
		key, err := listedKey(keys, account.Key, "Remove the account without deleting its key.")
		if err != nil {
			return done{}, err
		}
		if err := up.cloud.DeleteManagementKey(ctx, key.ID); err != nil {
			return done{}, fmt.Errorf("deleting the management key: %w", err)
		}
		return done{change: audit.Change{"management_key_prefix": {account.Key.Prefix, nil}, "upstream_key_id": {key.ID, nil}}}, nil
	})
}
