package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// lookForKey tells whether a management key was deleted. If it was the one in use it cannot be used to
// ask, and that is the answer.
func (s *Service) lookForKey(ctx context.Context, o audit.OpenOperation, up *link) (verdict, error) {
	listed, err := up.cloud.ManagementKeys(ctx)
	own := o.Attempt.Target.ID == up.keyID.String()
	if e, ok := cloudapi.AsError(err); ok && own && e.Kind == cloudapi.Unauthenticated {
		return verdict{outcome: audit.OK, reason: "Upstream does not accept the key any more."}, err
	}
	if err != nil {
		return verdict{}, fmt.Errorf("listing management keys: %w", err)
	}
	key := ManagementKey{Prefix: o.Attempt.Target.Name}
	key.UpstreamID, _ = o.Attempt.Change["upstream_key_id"][0].(string)
	if like := keysLike(listed, key); len(like) == 1 {
		return verdict{outcome: audit.Failed, reason: "Upstream still lists the key."}, nil
	}
	old, err := uuid.Parse(o.Attempt.Target.ID)
	if err != nil {
		return verdict{outcome: audit.Unknown, reason: "The attempt names no key."}, nil //nolint:nilerr // the attempt is what is wrong
	}
	if own || !tellsAbsence(listed, key) {
		return verdict{outcome: audit.Unknown, reason: "Upstream lists no key or several that begin like this one."}, nil
	}
	return verdict{
		outcome: audit.OK, reason: "Upstream does not list the key any more.",
		keep: func(ctx context.Context, tx pgx.Tx) ([]audit.Event, error) { return nil, s.forgetOldKey(ctx, tx, old) },
	}, nil
}

// tellsAbsence reports whether it follows from the list that upstream has the key no more.
func tellsAbsence(listed []cloudapi.ManagementKey, key ManagementKey) bool {
	if len(keysLike(listed, key)) > 0 {
		return false
	}
	return key.UpstreamID != "" || len(key.Prefix) >= fewestCharacters &&
		!slices.ContainsFunc(listed, func(k cloudapi.ManagementKey) bool { return len(k.Prefix) < fewestCharacters })
}

// lookForMintedKey tells whether a management key was made whose secret was lost: one that upstream made
// while the call may have run, and that no row with a secret is about. Such a key is kept as one that
// nobody has seen, for people to delete.
func (s *Service) lookForMintedKey(ctx context.Context, o audit.OpenOperation, up *link) (verdict, error) {
	listed, err := up.cloud.ManagementKeys(ctx)
	if err != nil {
		return verdict{}, fmt.Errorf("listing management keys: %w", err)
	}
	sealed, err := s.sealedKeys(ctx, up.account.ID)
	if err != nil {
		return verdict{}, err
	}
	attempted, told := s.cameAbout(o.Attempt)
	if !told {
		return verdict{outcome: audit.Unknown, reason: clockReason}, nil
	}
	from, to := attempted.Add(-clockSkew), attempted.Add(appendTimeout+callTimeout+clockSkew)
	found := slices.DeleteFunc(listed, func(k cloudapi.ManagementKey) bool {
		return k.CreatedAt.Before(from) || k.CreatedAt.After(to) ||
			slices.ContainsFunc(sealed, func(known ManagementKey) bool { return isListed(k, known) })
	})
	if len(found) == 0 {
		return verdict{outcome: audit.Failed, reason: "Upstream lists no key that was made then."}, nil
	}
	v := verdict{outcome: audit.OK, reason: "Upstream lists a key that was made then. Nobody has seen its secret.", change: audit.Change{}}
	for name, values := range o.Attempt.Change {
		v.change[name] = values
	}
	if len(found) == 1 {
		v.change["upstream_key_id"], v.change["management_key_prefix"] = [2]any{nil, found[0].ID}, [2]any{nil, found[0].Prefix}
	} else {
		v.outcome, v.reason = audit.Unknown, fmt.Sprintf("Upstream lists %d keys that were made then, and nobody has seen their secrets.", len(found))
	}
	v.keep = func(ctx context.Context, tx pgx.Tx) ([]audit.Event, error) {
		return nil, s.keepUnseen(ctx, tx, o, up.account.ID, found)
	}
	return v, nil
}

// keepUnseen keeps the keys that were found to be made by an operation. The row of a single one has the
// id that the operation has given it.
func (s *Service) keepUnseen(ctx context.Context, tx pgx.Tx, o audit.OpenOperation, accountID uuid.UUID, found []cloudapi.ManagementKey) error {
	for _, k := range found {
		id, err := uuid.Parse(o.Attempt.Target.ID)
		if err != nil || len(found) > 1 {
			id = s.newID()
		}
		key := ManagementKey{ID: id, Prefix: shown(k.Prefix, 64), AddedAt: k.CreatedAt, AddedBy: nameOf(o.Attempt.Actor), UpstreamID: strings.TrimSpace(k.ID)}
		if err := s.insertUnseen(ctx, tx, accountID, key); err != nil {
			return err
		}
	}
	return nil
}

// sealedKeys lists the keys of the account whose secret is here, used or not.
func (s *Service) sealedKeys(ctx context.Context, accountID uuid.UUID) ([]ManagementKey, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT prefix, upstream_id FROM management_keys WHERE account_id = $1 AND octet_length(sealed) > 0`, accountID)
	if err != nil {
		return nil, dbError("reading known keys", err)
	}
	keys, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (k ManagementKey, err error) {
		return k, row.Scan(&k.Prefix, &k.UpstreamID)
	})
	if err != nil {
		return nil, dbError("reading known keys", err)
	}
	return keys, nil
}
