package accounts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const (
	// formTokenLife is how long a form may lie open in a browser.
	formTokenLife = 12 * time.Hour
	// formTokenKept is how long a used token still answers with what its first post made.
	formTokenKept = 48 * time.Hour
	// maxOpenForms bounds the unused tokens of a session; past it the oldest go.
	maxOpenForms = 100
)

// FormToken makes a single-use token for a form that makes something. It works only in the
// session it was made in, for that act, for twelve hours. ErrNoSession when the session has ended.
func (s *Service) FormToken(ctx context.Context, by audit.Actor, act string) (string, error) {
	token, hash := s.newToken(forForm)
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		stored, err := tx.Exec(ctx, `
			INSERT INTO form_tokens (token_hash, session_id, act, created_at)
			SELECT $1, id, $2, $3 FROM sessions WHERE mark = $4 AND issuer = $5 AND subject = $6 AND ended_at IS NULL`,
			hash, act, s.now(), by.Session, by.Issuer, by.Subject)
		if err != nil {
			return err
		}
		if stored.RowsAffected() == 0 {
			return ErrNoSession
		}
		_, err = tx.Exec(ctx, `
			DELETE FROM form_tokens WHERE token_hash IN (
				SELECT f.token_hash FROM form_tokens f JOIN sessions ON sessions.id = f.session_id
				WHERE sessions.mark = $1 AND f.used_at IS NULL ORDER BY f.created_at DESC, f.token_hash OFFSET $2)`,
			by.Session, maxOpenForms)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("making a form token: %w", unavailable(err))
	}
	return token, nil
}

// useFormToken takes the token of a form inside the transaction that makes what the form asks for.
// already is what the first post with this token made, empty for the first one; a second post that
// comes while the first is in its transaction waits for it. *InvalidError with field form_token
// when the token is unknown, too old, of another session or for another act. A first use must end
// in finishFormToken in the same transaction.
func (s *Service) useFormToken(ctx context.Context, tx pgx.Tx, by audit.Actor, act, token string) (already string, err error) {
	refused := &InvalidError{Fields: map[string]string{"form_token": "This form is too old. Open it again and send it once more."}}
	hash, ok := s.tokenHash(forForm, token)
	if !ok {
		return "", refused
	}
	var usedAt *time.Time
	var createdAt time.Time
	err = tx.QueryRow(ctx, `
		SELECT f.used_at, f.created_at, f.result FROM form_tokens f JOIN sessions ON sessions.id = f.session_id
		WHERE f.token_hash = $1 AND f.act = $2 AND sessions.mark = $3 AND sessions.issuer = $4 AND sessions.subject = $5
		FOR UPDATE OF f`, hash, act, by.Session, by.Issuer, by.Subject).Scan(&usedAt, &createdAt, &already)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", refused
	}
	if err != nil {
		return "", fmt.Errorf("taking a form token: %w", err)
	}
	if usedAt != nil {
		return already, nil
	}
	if s.now().Sub(createdAt) > formTokenLife {
		return "", refused
	}
	return "", nil
}

// finishFormToken stores what the form made, for a second post of it. result must not be empty.
func (s *Service) finishFormToken(ctx context.Context, tx pgx.Tx, token, result string) error {
	hash, ok := s.tokenHash(forForm, token)
	if !ok || result == "" {
		return errors.New("finishing a form token: no token or no result")
	}
	finished, err := tx.Exec(ctx, `UPDATE form_tokens SET used_at = $2, result = $3 WHERE token_hash = $1 AND used_at IS NULL`, hash, s.now(), result)
	if err != nil {
		return fmt.Errorf("finishing a form token: %w", err)
	}
	if finished.RowsAffected() != 1 {
		return errors.New("finishing a form token: it was not taken")
	}
	return nil
}

// madeByForm is useFormToken for what has an id of ours: it returns what the first post of the form made, and the nil id
// when nothing yet, or when no form was sent. formMade follows in the same transaction.
func (s *Service) madeByForm(ctx context.Context, tx pgx.Tx, by audit.Actor, act Act, token string) (uuid.UUID, error) {
	if token == "" {
		return uuid.Nil, nil
	}
	already, err := s.useFormToken(ctx, tx, by, act.Name, token)
	if err != nil || already == "" {
		return uuid.Nil, err
	}
	return uuid.Parse(already)
}

// formMade is finishFormToken with what the form made; it does nothing when no form was sent.
func (s *Service) formMade(ctx context.Context, tx pgx.Tx, token string, made uuid.UUID) error {
	if token == "" {
		return nil
	}
	return s.finishFormToken(ctx, tx, token, made.String())
}

// formResult only looks at a form's token, for who must ask upstream before the transaction that takes
// it: it returns what the form has made, empty when nothing yet. *InvalidError as useFormToken.
func (s *Service) formResult(ctx context.Context, by audit.Actor, act Act, token string) (string, error) {
	tx, err := s.cfg.DB.Begin(ctx)
	if err != nil {
		return "", dbError("looking at the form token", err)
	}
	already, err := s.useFormToken(ctx, tx, by, act.Name, token)
	if rollback := tx.Rollback(context.WithoutCancel(ctx)); rollback != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "form token not let go", slog.Any("error", rollback))
	}
	if err != nil {
		return "", dbError("looking at the form token", err)
	}
	return already, nil
}

// begun marks what a form has begun upstream and what has no answer yet; the operation's id follows.
const begun = "begun:"

// once does what a form asks for upstream at most once, however often the form is sent. The token is
// taken before: make may then be called, and never again with this token unless it failed so that
// nothing can have been done. result is what make returned, at this post or at an earlier one, which
// again tells. It is empty at a later post while the first is still under way, or when its answer was
// lost: then nobody knows yet, and the operation tells. make must use op as its operation's id.
//
// *InvalidError with field form_token as for every form.
func (s *Service) once(ctx context.Context, by audit.Actor, act Act, token string, op uuid.UUID, make func() (result string, err error)) (result string, again bool, err error) {
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if result, err = s.useFormToken(ctx, tx, by, act.Name, token); err != nil || result != "" {
			return err
		}
		return s.finishFormToken(ctx, tx, token, begun+op.String())
	})
	if err != nil {
		return "", false, dbError("taking a form token", err)
	}
	if result != "" {
		if strings.HasPrefix(result, begun) {
			result = ""
		}
		return result, true, nil
	}
	result, err = make()
	switch {
	case err == nil:
		s.endForm(ctx, op, result)
	case !mayBeDone(err):
		s.endForm(ctx, op, "")
	}
	return result, false, err
}

// endForm stores what the form of an operation has made, or with nothing made lets it be sent again.
// When that fails a second post finds the operation still under way, and makes nothing.
func (s *Service) endForm(ctx context.Context, op uuid.UUID, result string) {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	if _, err := s.cfg.DB.Exec(ctx, `
		UPDATE form_tokens SET result = $2, used_at = CASE WHEN $2 = '' THEN NULL ELSE used_at END WHERE result = $1`, begun+op.String(), result); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "what a form made not kept", slog.String("operation", op.String()), slog.Any("error", err))
	}
}

// mayBeDone reports whether an act that ended in err may have been carried out all the same.
func mayBeDone(err error) bool {
	upstream, ok := cloudapi.AsError(err)
	return ok && upstream.Op.Mutates && lost(upstream)
}
