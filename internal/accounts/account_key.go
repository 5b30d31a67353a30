package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// An account has a key that works at every moment of a replacement: the old one is retired in the
// transaction that stores the new one, after the new one was tried, and only then it can be deleted
// upstream. What is lost when the console dies in between is at most the secret of a key that was
// made and is not used; the reconciler finds that key, and the account's page shows it.

// ReplacementKey is a management key that a member pastes in place of the one in use.
type ReplacementKey struct {
	Key       cloudapi.Secret
	FormToken string
}

// UnusedKeyError says that a management key was made upstream and is not used here. The account has the
// key that it had, and the new one is among its old keys, or will be.
type UnusedKeyError struct{ Reason string }

func (e *UnusedKeyError) Error() string {
	return "a management key was made and is not used: " + e.Reason
}

// AskKey makes the token of a form that puts another key in place of the account's: for
// ActAccountKey one that is pasted, for ActManagementKeyCreate one that is made here. Who may not is
// refused, and that is recorded; *ConflictError when it is not offered now.
func (s *Service) AskKey(ctx context.Context, by audit.Actor, act Act, id uuid.UUID) (AccountDetail, string, error) {
	d, err := s.AskAccount(ctx, by, act, id)
	if err != nil {
		return AccountDetail{}, "", err
	}
	token, err := s.FormToken(ctx, by, act.Name)
	return d, token, err
}

// ReplaceKey puts a pasted key in place of the one in use, and returns the id of the old one, which
// stays valid upstream. The new key must open the same account upstream and may not be the one in use.
// A disabled account takes a key, too: so it is repaired.
//
// The attempt is recorded before the key is tried; the new key, the end of the old one and the outcome
// are stored in one transaction. *InvalidError tells what is wrong with the key; *ConflictError that
// the account has got another key meanwhile. With a form token already used it returns what the first
// call did.
func (s *Service) ReplaceKey(ctx context.Context, by audit.Actor, id uuid.UUID, n ReplacementKey) (old uuid.UUID, err error) {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return uuid.Nil, err
	}
	on := accountTarget(account.ref())
	if err := s.authorize(ctx, by, ActAccountKey, on); err != nil {
		return uuid.Nil, err
	}
	if already, err := s.formResult(ctx, by, ActAccountKey, n.FormToken); err != nil || already != "" {
		return parsedResult(already, err)
	}
	c, err := s.keyCandidate(ctx, by, account, n.Key)
	if err != nil {
		return uuid.Nil, err
	}

	attempt := on.event(by, ActAccountKey)
	attempt.Change = accountChange(&account, &c.Account)
	outcome, end, err := s.begin(ctx, attempt)
	if err != nil {
		return uuid.Nil, err
	}
	defer end()
	found, calls, err := s.probe(ctx, by, account.Generation, account.CloudAccountID, c.key)
	outcome.Upstream = upstreamOf(outcome.Upstream, calls)
	if err != nil {
		err = atKey(err)
		outcome.Reason = formReason(err)
		s.appendOutcome(ctx, outcome)
		return uuid.Nil, err
	}
	c.Key.Permissions, c.Key.ProbedAt = found.permissions, found.at

	already, err := s.storeReplacement(ctx, by, account, c, n.FormToken, outcome)
	switch {
	case already != "":
		outcome.Reason = "The same form was sent twice; the first one replaced the key."
		s.appendOutcome(ctx, outcome)
		return parsedResult(already, nil)
	case err == nil:
		s.refreshing.nudge()
		return account.Key.ID, nil
	case unsettled(err):
		return uuid.Nil, err
	default:
		outcome.Reason = formReason(err)
		s.appendOutcome(ctx, outcome)
		return uuid.Nil, err
	}
}

// keyCandidate is the account with the pasted key in it, sealed and not yet tried.
func (s *Service) keyCandidate(ctx context.Context, by audit.Actor, account Account, pasted cloudapi.Secret) (candidate, error) {
	c := candidate{Account: account}
	c.Key = ManagementKey{ID: s.newID(), Provenance: "pasted", Permissions: account.Key.Permissions, AddedAt: s.now(), AddedBy: nameOf(by)}
	problem, err := s.sealKey(&c, pasted)
	if err != nil {
		return candidate{}, err
	}
	if problem == "" {
		same, err := s.isStoredKey(ctx, account.Key.ID, c.key)
		if err != nil {
			return candidate{}, err
		}
		if same {
			problem = "This is the key in use."
		}
	}
	if problem != "" {
		return candidate{}, invalidField("management_key", problem)
	}
	return c, nil
}

// atKey puts what is wrong with a key to the field of the key, in a form that asks for nothing else.
func atKey(err error) error {
	if invalid, ok := errors.AsType[*InvalidError](err); ok && invalid.Fields["cloud_account_id"] != "" {
		return invalidField("management_key", invalid.Fields["cloud_account_id"])
	}
	return err
}

func parsedResult(result string, err error) (uuid.UUID, error) {
	if err != nil {
		return uuid.Nil, err
	}
	id, err := uuid.Parse(result)
	if err != nil {
		return uuid.Nil, fmt.Errorf("reading what a form token made: %w", err)
	}
	return id, nil
}

// storeReplacement stores the new key in place of the old one, with the outcome. already is what the
// same form has done meanwhile; then nothing is written.
func (s *Service) storeReplacement(ctx context.Context, by audit.Actor, account Account, c candidate, token string, outcome audit.Event) (already string, err error) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var err error
		if already, err = s.useFormToken(ctx, tx, by, ActAccountKey.Name, token); err != nil {
			return err
		}
		if already != "" {
			return errMadeAlready
		}
		if err := s.swapKey(ctx, tx, account, c); err != nil {
			return err
		}
		if err := s.finishFormToken(ctx, tx, token, account.Key.ID.String()); err != nil {
			return err
		}
		outcome.Outcome, outcome.Change = audit.OK, replacement(account, c)
		return s.recordLast(ctx, tx, outcome)
	})
	switch {
	case err == nil, errors.Is(err, errMadeAlready):
		return already, nil
	default:
		return "", dbError("replacing the key", err)
	}
}

// replacement is what the log says of a key that was put in place of another.
func replacement(account Account, c candidate) audit.Change {
	change := accountChange(&account, &c.Account)
	if lost := permissionsLost(account.Key, c.Key); len(lost) > 0 {
		change["management_key_permissions_lost"] = [2]any{lost, nil}
	}
	return change
}

// permissionsLost lists what the old key may do and the new one may not, as far as upstream tells.
func permissionsLost(old, now ManagementKey) []string {
	return slices.DeleteFunc(slices.Clone(old.Permissions), now.May)
}

// swapKey retires the key in use and puts the candidate's in its place, in the caller's transaction.
// *ConflictError, with nothing written, when the account's key or API is not the one that was read, or
// the candidate's key is being deleted.
func (s *Service) swapKey(ctx context.Context, tx pgx.Tx, account Account, c candidate) error {
	now, err := accountByID(ctx, tx, account.ID, true)
	if err != nil {
		return err
	}
	if now.Key.ID != account.Key.ID || now.Generation != account.Generation {
		return &ConflictError{Reason: "The account’s key or API was changed meanwhile. Look at it again."}
	}
	if err := s.beingDeleted(ctx, tx, c); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE management_keys SET retired_at = $2 WHERE id = $1`, account.Key.ID, s.now()); err != nil {
		return fmt.Errorf("retiring the old key: %w", err)
	}
	if err := insertKey(ctx, tx, c); err != nil {
		return fmt.Errorf("storing the new key: %w", err)
	}
	return s.scheduleRefresh(ctx, tx, account.ID)
}

// MintKey has upstream make a management key, puts it in place of the one in use, and returns the id
// of the old one, which stays valid upstream. Nobody sees the new key's secret: it is sealed as it
// comes. The new key is tried before the old one is retired.
//
// Two operations are recorded: management_key.create, and as a part of it account.key.
// *UnusedKeyError when a key was made that could not be put into use; it is then among the account's
// old keys. A form token makes one key at most.
func (s *Service) MintKey(ctx context.Context, by audit.Actor, id uuid.UUID, token string) (old uuid.UUID, err error) {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return uuid.Nil, err
	}
	on := accountTarget(account.ref())
	if err := s.authorize(ctx, by, ActManagementKeyCreate, on); err != nil {
		return uuid.Nil, err
	}
	if reason := s.notOffered(by, ActManagementKeyCreate, on, "", account.Key); reason != "" {
		return uuid.Nil, &ConflictError{Reason: reason}
	}
	m := minting{Service: s, by: by, account: account, operation: s.newID()}
	result, again, err := s.once(ctx, by, ActManagementKeyCreate, token, m.operation, func() (string, error) { return m.make(ctx) })
	switch {
	case err != nil:
		return uuid.Nil, err
	case m.unusable != nil:
		return uuid.Nil, m.unusable
	case again && result == "":
		return uuid.Nil, &ConflictError{Reason: "This form was sent before, and whether a key was made is not known yet. The account’s page shows it as soon as it is found."}
	}
	s.refreshing.nudge()
	return parsedResult(result, nil)
}

// minting is one key on its way from upstream to its row.
type minting struct {
	*Service
	by        audit.Actor
	account   Account
	operation uuid.UUID
	candidate candidate
	made      *cloudapi.ManagementKey // what upstream says it made; nil: nothing yet
	unusable  error                   // *UnusedKeyError: why it is not put into use
}

// make returns the id of the key that was in use. From the moment on in which upstream made a key it
// returns no error: then the form that asked for it has made something.
func (m *minting) make(ctx context.Context) (old string, err error) {
	c := candidate{Account: m.account}
	c.Key = ManagementKey{ID: m.newID(), Provenance: "minted", AddedAt: m.now(), AddedBy: nameOf(m.by)}
	m.candidate = c
	err = m.perform(ctx, m.by, operation{
		id: m.operation, act: ActManagementKeyCreate,
		on:       target{Account: m.account.ref(), Kind: KindManagementKey, ID: c.Key.ID.String()},
		intended: audit.Change{"management_key_id": {nil, c.Key.ID.String()}, "management_key_provenance": {nil, "minted"}},
	}, m.call)
	if m.made == nil {
		return "", err
	}
	if err != nil {
		m.refuse(ctx, err)
	}
	return m.account.Key.ID.String(), nil
}

// call makes the key, seals it and tries it. Whatever fails after it was made is no failure of making it.
func (m *minting) call(ctx context.Context, up *link) (done, error) {
	if up.keyID != m.account.Key.ID {
		return done{}, &ConflictError{Reason: "The account’s key was changed meanwhile. Look at it again."}
	}
	made, secret, err := up.cloud.CreateManagementKey(ctx)
	if err != nil {
		return done{}, fmt.Errorf("making a management key: %w", err)
	}
	m.made = &made
	if err := m.ready(ctx, secret); err != nil {
		m.refuse(ctx, err)
	}
	key := m.candidate.Key
	return done{
		id: key.ID.String(), name: key.Prefix, keep: m.keep,
		change: audit.Change{
			"management_key_id": {nil, key.ID.String()}, "management_key_provenance": {nil, "minted"},
			"management_key_prefix": {nil, key.Prefix}, "upstream_key_id": {nil, made.ID},
		},
	}, nil
}

// ready seals the secret and asks upstream what the key opens.
func (m *minting) ready(ctx context.Context, secret cloudapi.Secret) error {
	c := &m.candidate
	c.Key.UpstreamID, c.Key.Prefix = m.made.ID, shown(m.made.Prefix, 64)
	problem, err := m.sealKey(c, secret)
	if err != nil {
		return err
	}
	if problem != "" {
		return invalidField("management_key", problem)
	}
	found, _, err := m.probe(ctx, m.by, m.account.Generation, m.account.CloudAccountID, c.key)
	if err != nil {
		return atKey(err)
	}
	c.Key.Permissions, c.Key.ProbedAt = found.permissions, found.at
	return nil
}

func (m *minting) refuse(ctx context.Context, err error) {
	m.unusable = &UnusedKeyError{Reason: formReason(err)}
	m.cfg.Logger.WarnContext(ctx, "a management key was made and is not used", "account", m.account.ID.String(), "operation", m.operation.String(), "error", err)
}

// keep puts the key into use, in the transaction that records that it was made. A key that cannot be
// put into use is kept without its secret, so that the account's page shows it.
func (m *minting) keep(ctx context.Context, tx pgx.Tx) ([]audit.Event, error) {
	if m.unusable == nil {
		err := m.swapKey(ctx, tx, m.account, m.candidate)
		if _, conflict := errors.AsType[*ConflictError](err); conflict {
			m.refuse(ctx, err)
		} else if err != nil {
			return nil, err
		}
	}
	replaced := singleEvent(accountTarget(m.account.ref()), m.by, ActAccountKey, replacement(m.account, m.candidate))
	replaced.Parent = m.operation
	if refused, ok := errors.AsType[*UnusedKeyError](m.unusable); ok {
		replaced.Outcome, replaced.Reason, replaced.Change = audit.Failed, refused.Reason, nil
		if err := m.insertUnseen(ctx, tx, m.account.ID, m.candidate.Key); err != nil {
			return nil, err
		}
	}
	return []audit.Event{replaced}, nil
}

// insertUnseen keeps a key that exists upstream and whose secret is nowhere. One that is known already
// stays as it is.
func (s *Service) insertUnseen(ctx context.Context, tx pgx.Tx, accountID uuid.UUID, key ManagementKey) error {
	if _, err := tx.Exec(ctx, `
		INSERT INTO management_keys (id, account_id, prefix, sealed, provenance, added_at, added_by, upstream_id, retired_at)
		VALUES ($1, $2, $3, '', 'minted', $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		key.ID, accountID, key.Prefix, key.AddedAt, key.AddedBy, key.UpstreamID, s.now()); err != nil {
		return fmt.Errorf("keeping a key that nobody has seen: %w", err)
	}
	return nil
}
