package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// OldKey is a management key of an account that is not in use here and still valid upstream, as far as
// is known.
type OldKey struct {
	ManagementKey
	RetiredAt time.Time
	// Unseen marks a key that was made here and whose secret nobody has.
	Unseen bool
	// Lost are the permissions that it has and the key in use has not.
	Lost []string
	Gone bool
}

// oldKeyRow is a key that is not in use, as read from the database.
type oldKeyRow struct {
	ID          uuid.UUID
	Prefix      string
	Provenance  string
	Permissions []string
	AddedAt     time.Time
	AddedBy     string
	UpstreamID  string
	RetiredAt   time.Time
	Unseen      bool
	Gone        bool
}

// selectOldKeys reads oldKeyRow of one account; more conditions and an order may follow.
const selectOldKeys = `
	SELECT id, prefix, provenance, permissions, added_at, added_by, upstream_id, retired_at, octet_length(sealed) = 0 AS unseen, gone_at IS NOT NULL AS gone
	FROM management_keys WHERE account_id = $1 AND retired_at IS NOT NULL`

func (r oldKeyRow) oldKey(inUse ManagementKey) OldKey {
	key := ManagementKey{
		ID: r.ID, Prefix: r.Prefix, Provenance: r.Provenance, Permissions: r.Permissions, AddedAt: r.AddedAt, AddedBy: r.AddedBy, UpstreamID: r.UpstreamID,
	}
	return OldKey{ManagementKey: key, RetiredAt: r.RetiredAt, Unseen: r.Unseen, Gone: r.Gone, Lost: permissionsLost(key, inUse)}
}

// oldKeys lists the account's old keys that are not gone, the latest first.
func (s *Service) oldKeys(ctx context.Context, account Account) ([]OldKey, error) {
	rows, err := s.cfg.DB.Query(ctx, selectOldKeys+` AND gone_at IS NULL ORDER BY retired_at DESC, id DESC`, account.ID)
	if err != nil {
		return nil, dbError("reading old keys", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[oldKeyRow])
	if err != nil {
		return nil, dbError("reading old keys", err)
	}
	keys := make([]OldKey, len(found))
	for i, row := range found {
		keys[i] = row.oldKey(account.Key)
	}
	return keys, nil
}

// oldKey returns one old key of the account, also when it is gone.
func oldKey(ctx context.Context, db querier, account Account, id uuid.UUID, lock bool) (OldKey, error) {
	sql := selectOldKeys + ` AND id = $2`
	if lock {
		sql += ` FOR UPDATE`
	}
	rows, err := db.Query(ctx, sql, account.ID, id)
	if err != nil {
		return OldKey{}, dbError("reading an old key", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[oldKeyRow])
	if errors.Is(err, pgx.ErrNoRows) {
		return OldKey{}, ErrNotFound
	}
	if err != nil {
		return OldKey{}, dbError("reading an old key", err)
	}
	return row.oldKey(account.Key), nil
}

// AskOldKey reads an old key for the page that asks before it is deleted upstream, for those who may
// delete it; others are refused, and that is recorded. Where deleting is not possible from here the
// offer says why. ErrNotFound for one that is not known, or gone.
func (s *Service) AskOldKey(ctx context.Context, by audit.Actor, id, key uuid.UUID) (AccountDetail, OldKey, error) {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return AccountDetail{}, OldKey{}, err
	}
	if err := s.authorize(ctx, by, ActManagementKeyDelete, accountTarget(account.ref())); err != nil {
		return AccountDetail{}, OldKey{}, err
	}
	d, err := s.Account(ctx, by, id)
	if err != nil {
		return AccountDetail{}, OldKey{}, err
	}
	i := slices.IndexFunc(d.OldKeys, func(k OldKey) bool { return k.ID == key })
	if i < 0 {
		return AccountDetail{}, OldKey{}, ErrNotFound
	}
	return d, d.OldKeys[i], nil
}

// DeleteOldKey deletes an old key upstream with the key in use, and forgets it. confirm must be its
// first characters. Which of upstream's keys it is must be certain, and it may not be the one in use:
// else *ConflictError, and nothing is deleted. One that is gone already is left alone.
func (s *Service) DeleteOldKey(ctx context.Context, by audit.Actor, id, key uuid.UUID, confirm string) error {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	on := accountTarget(account.ref())
	if err := s.authorize(ctx, by, ActManagementKeyDelete, on); err != nil {
		return err
	}
	old, err := oldKey(ctx, s.cfg.DB, account, key, false)
	if err != nil || old.Gone {
		return err
	}
	if reason := s.notOffered(by, ActManagementKeyDelete, on, "", account.Key); reason != "" {
		return &ConflictError{Reason: reason}
	}
	if strings.TrimSpace(confirm) != old.Prefix {
		return invalidField("confirm", "These are not the key’s first characters.")
	}
	change := audit.Change{"management_key_prefix": {old.Prefix, nil}}
	if old.UpstreamID != "" {
		change["upstream_key_id"] = [2]any{old.UpstreamID, nil}
	}
	return s.perform(ctx, by, operation{
		act: ActManagementKeyDelete, intended: change,
		on: target{Account: account.ref(), Kind: KindManagementKey, ID: old.ID.String(), Name: old.Prefix},
	}, func(ctx context.Context, up *link) (done, error) {
		if up.keyID != account.Key.ID {
			return done{}, &ConflictError{Reason: "The account’s key was changed meanwhile. Look at it again."}
		}
		listed, err := up.cloud.ManagementKeys(ctx)
		if err != nil {
			return done{}, fmt.Errorf("listing management keys: %w", err)
		}
		found, err := listedOldKey(listed, old.ManagementKey, account.Key)
		if err != nil {
			return done{}, err
		}
		if err := s.stillInUse(ctx, account); err != nil {
			return done{}, err
		}
		if err := up.cloud.DeleteManagementKey(ctx, found.ID); err != nil {
			return done{}, fmt.Errorf("deleting the old key: %w", err)
		}
		return done{
			change: audit.Change{"management_key_prefix": {old.Prefix, nil}, "upstream_key_id": {found.ID, nil}},
			keep: func(ctx context.Context, tx pgx.Tx) ([]audit.Event, error) {
				return nil, s.forgetOldKey(ctx, tx, old.ID)
			},
		}, nil
	})
}

// stillInUse waits for a replacement of the key that is being stored, and is *ConflictError when the
// account has another key by then. A later one finds the attempt to delete, see beingDeleted.
func (s *Service) stillInUse(ctx context.Context, account Account) error {
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		now, err := accountByID(ctx, tx, account.ID, true)
		if err == nil && now.Key.ID != account.Key.ID {
			err = &ConflictError{Reason: "The account’s key was changed meanwhile. Look at it again."}
		}
		return err
	})
	if err != nil {
		return dbError("looking at the key in use", err)
	}
	return nil
}

// beingDeleted is *ConflictError when an old key that begins like the candidate's is being deleted
// upstream, or may have been: an account whose key goes away has none that works. The caller holds the
// account's lock.
func (s *Service) beingDeleted(ctx context.Context, tx pgx.Tx, c candidate) error {
	rows, err := tx.Query(ctx, selectOldKeys, c.ID)
	if err != nil {
		return fmt.Errorf("reading old keys: %w", err)
	}
	old, err := pgx.CollectRows(rows, pgx.RowToStructByName[oldKeyRow])
	if err != nil {
		return fmt.Errorf("reading old keys: %w", err)
	}
	for _, k := range old {
		if !strings.HasPrefix(k.Prefix, c.Key.Prefix) && !strings.HasPrefix(c.Key.Prefix, k.Prefix) {
			continue
		}
		open, err := s.cfg.Log.PendingFor(ctx, KindManagementKey, k.ID.String())
		if err != nil {
			return fmt.Errorf("reading open operations: %w", err)
		}
		if slices.ContainsFunc(open, func(o audit.OpenOperation) bool { return o.Attempt.Act == ActManagementKeyDelete.Name }) {
			return &ConflictError{Reason: "A key that begins like this one is being deleted at Qdrant Cloud, or may have been. Look at the account again in a moment."}
		}
	}
	return nil
}

// DismissOldKey forgets an old key that a member says is gone upstream, and records that with it. One
// that is gone already is left alone.
func (s *Service) DismissOldKey(ctx context.Context, by audit.Actor, id, key uuid.UUID) error {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return err
	}
	if err := s.authorize(ctx, by, ActManagementKeyDismiss, accountTarget(account.ref())); err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		old, err := oldKey(ctx, tx, account, key, true)
		if err != nil || old.Gone {
			return err
		}
		if err := s.forgetOldKey(ctx, tx, old.ID); err != nil {
			return err
		}
		on := target{Account: account.ref(), Kind: KindManagementKey, ID: old.ID.String(), Name: old.Prefix}
		return s.recordLast(ctx, tx, singleEvent(on, by, ActManagementKeyDismiss, audit.Change{"management_key_prefix": {old.Prefix, nil}}))
	})
	if err != nil {
		return dbError(ActManagementKeyDismiss.Name, err)
	}
	return nil
}

func (s *Service) forgetOldKey(ctx context.Context, tx pgx.Tx, id uuid.UUID) error {
	if _, err := tx.Exec(ctx, `UPDATE management_keys SET gone_at = $2 WHERE id = $1 AND retired_at IS NOT NULL AND gone_at IS NULL`, id, s.now()); err != nil {
		return fmt.Errorf("forgetting an old key: %w", err)
	}
	return nil
}

// listedOldKey finds an old key among upstream's, and makes sure that it is not the one in use.
func listedOldKey(listed []cloudapi.ManagementKey, old, inUse ManagementKey) (cloudapi.ManagementKey, error) {
	found, err := listedKey(listed, old, "If it is, say so.")
	if err != nil {
		return cloudapi.ManagementKey{}, err
	}
	if isListed(found, inUse) {
		return cloudapi.ManagementKey{}, &ConflictError{Reason: "The key that Qdrant Cloud lists under these characters may be the one in use, so it is not deleted."}
	}
	return found, nil
}

// listedKey finds a key of ours among upstream's. When that is not certain it is *ConflictError; gone
// says what to do when upstream lists none like it.
func listedKey(listed []cloudapi.ManagementKey, key ManagementKey, gone string) (cloudapi.ManagementKey, error) {
	found := keysLike(listed, key)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return cloudapi.ManagementKey{}, &ConflictError{Reason: "Qdrant Cloud lists no key that begins like this one; it may be deleted already. " + gone}
	default:
		return cloudapi.ManagementKey{}, &ConflictError{Reason: "Qdrant Cloud lists several keys that begin like this one, so it is not certain which to delete. Delete it in Qdrant’s own console."}
	}
}

// keysLike returns those of upstream's keys that are, or may be, the given key of ours.
func keysLike(listed []cloudapi.ManagementKey, key ManagementKey) []cloudapi.ManagementKey {
	var like []cloudapi.ManagementKey
	for _, k := range listed {
		if isListed(k, key) {
			like = append(like, k)
		}
	}
	return like
}

// isListed reports whether a key of upstream's list is, or may be, the given key of ours. Where the id
// is known it decides; else the first characters, and how many of them upstream tells is not
// documented, so the shorter text decides.
func isListed(listed cloudapi.ManagementKey, key ManagementKey) bool {
	if key.UpstreamID != "" {
		return strings.EqualFold(listed.ID, key.UpstreamID)
	}
	return min(len(listed.Prefix), len(key.Prefix)) >= fewestCharacters &&
		(strings.HasPrefix(listed.Prefix, key.Prefix) || strings.HasPrefix(key.Prefix, listed.Prefix))
}

// fewestCharacters of a key are enough to go by; fewer are not.
const fewestCharacters = 4
