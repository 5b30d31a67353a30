package accounts

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/cloudapi"
)

// keyPlace is where the sealed key of a row lives; the seal is bound to it. A stored key is never
// changed, so its version stays 1: another key is another row.
func keyPlace(keyID uuid.UUID) vault.RowID {
	return vault.RowID{Table: "management_keys", ID: keyID, Field: "sealed", Version: 1}
}

// link is an open connection to one account's Cloud API with the key the console holds.
type link struct {
	conn    *cloudapi.Conn
	cloud   cloud
	account accountRef
	keyID   uuid.UUID

	// What the key's row said when the link was made.
	refused  string
	probedAt *time.Time
}

// connect unseals the account's key for one request. It is the only way to a key: perform uses it
// for acts, and jobs and pages that ask upstream what there is use it to read. ErrNotFound when there
// is no such account, *ConflictError when it is disabled. It calls no upstream and keeps no pooled
// connection.
func (s *Service) connect(ctx context.Context, accountID uuid.UUID, requestID string) (*link, error) {
	return s.connectFor(ctx, accountID, toAct, requestID)
}

// purpose is what a connection is for, which decides who goes first where an account's calls have to wait.
type purpose int

const (
	toAct        purpose = iota // a person waits, and acts, or is authorised by what is read
	toShow                      // a person looks: equal reads at the same time are one call
	inBackground                // nobody waits
)

// connectFor is connect for a purpose.
func (s *Service) connectFor(ctx context.Context, accountID uuid.UUID, what purpose, requestID string) (*link, error) {
	return s.connectTo(ctx, accountID, "", what, requestID)
}

// connectTo is connectFor to a generation of the API, which may be another than the account's; empty for
// the account's.
func (s *Service) connectTo(ctx context.Context, accountID uuid.UUID, generation cloudapi.Generation, what purpose, requestID string) (*link, error) {
	registered, err := accountByID(ctx, s.cfg.DB, accountID, false)
	if err != nil {
		return nil, err
	}
	account := registered.ref()
	if !account.Enabled {
		return nil, &ConflictError{Reason: disabledReason}
	}
	if err := s.certain(ctx, registered); err != nil {
		return nil, err
	}
	var sealed []byte
	up := &link{account: account, keyID: account.KeyID}
	err = s.cfg.DB.QueryRow(ctx, `SELECT sealed, refused, probed_at FROM management_keys WHERE id = $1 AND retired_at IS NULL`, account.KeyID).
		Scan(&sealed, &up.refused, &up.probedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, dbError("reading the sealed key", err)
	}
	plain, err := s.cfg.Vault.Open(vault.ManagementKeys, keyPlace(account.KeyID), sealed)
	if err != nil {
		return nil, fmt.Errorf("unsealing key %s of account %s: %w", account.KeyID, account.ID, err)
	}
	key := cloudapi.NewSecret(plain)
	clear(plain)
	if generation == "" {
		generation = account.Generation
	}
	up.account.Generation = generation
	cfg := cloudapi.ConnConfig{
		Generation: generation, CloudAccountID: account.CloudAccountID, Key: key,
		RequestID: requestID, Budget: account.ID.String(), Background: what == inBackground, Share: what == toShow,
	}
	if what == inBackground {
		cfg.Decoding = s.mayDecode
	}
	up.conn = s.cfg.Cloud.Connect(cfg)
	up.cloud = cloudOf(generation, up.conn)
	return up, nil
}

// cloudOf returns the API of the generation over the connection.
func cloudOf(g cloudapi.Generation, conn *cloudapi.Conn) cloud {
	if g == cloudapi.PAV1 {
		return cloudapi.NewLegacyAPI(conn)
	}
	return cloudapi.NewCurrentAPI(conn)
}

// isStoredKey reports whether the secret is that of a stored key. A stored key that does not open any
// more is no other key's.
func (s *Service) isStoredKey(ctx context.Context, keyID uuid.UUID, key cloudapi.Secret) (bool, error) {
	var sealed []byte
	if err := s.cfg.DB.QueryRow(ctx, `SELECT sealed FROM management_keys WHERE id = $1`, keyID).Scan(&sealed); err != nil {
		return false, dbError("reading the sealed key", err)
	}
	plain, err := s.cfg.Vault.Open(vault.ManagementKeys, keyPlace(keyID), sealed)
	if errors.Is(err, vault.ErrSealed) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("unsealing key %s: %w", keyID, err)
	}
	defer clear(plain)
	return subtle.ConstantTimeCompare(plain, key.Reveal()) == 1, nil
}

const disabledReason = "The account is disabled: its key is not used."

// noteKey keeps what a call told about the key: refused with upstream's reason when the call was
// answered with unauthenticated or forbidden, working again when it succeeded. A failure to keep
// it is logged; the next call tells again.
func (s *Service) noteKey(ctx context.Context, up *link, err error) {
	reason, told := keyRefused(err)
	if !told || reason == up.refused {
		return
	}
	if _, err := s.cfg.DB.Exec(ctx, `UPDATE management_keys SET refused = $2 WHERE id = $1`, up.keyID, reason); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "state of a key not kept",
			slog.String("key", up.keyID.String()), slog.Any("error", err))
		return
	}
	up.refused = reason
}

// probeEvery is how old what is known of a key's permissions may get.
const probeEvery = 10 * time.Minute

// probeAgain reads what the key may do, when that was last read too long ago: people change roles
// upstream. It is called by the job that refreshes; a failure is logged and the next refresh tries again.
func (s *Service) probeAgain(ctx context.Context, up *link) {
	now := s.now()
	if up.account.Generation != cloudapi.Current || up.probedAt != nil && !elapsed(now, *up.probedAt, probeEvery) {
		return
	}
	permissions, err := up.cloud.Permissions(ctx)
	if err == nil {
		_, err = s.cfg.DB.Exec(ctx, `UPDATE management_keys SET permissions = $2, probed_at = $3 WHERE id = $1`, up.keyID, sortedOnce(permissions), now)
	}
	if err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "permissions of a key not read", slog.String("key", up.keyID.String()), slog.Any("error", err))
		return
	}
	up.probedAt = &now
}

// keyRefused returns what a call tells about the key: upstream's reason for refusing it, or empty
// when it worked. told is false when the call says nothing about the key. Forbidden on one
// operation is no refusal of the key as such, but people must see it all the same.
func keyRefused(err error) (reason string, told bool) {
	if err == nil {
		return "", true
	}
	e, ok := cloudapi.AsError(err)
	if !ok {
		return "", false
	}
	switch e.Kind {
	case cloudapi.Unauthenticated, cloudapi.Forbidden:
		return e.Public(), true
	case cloudapi.NotFound, cloudapi.Invalid, cloudapi.Conflict:
		return "", true // upstream let the key in
	}
	return "", false
}
