package accounts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// RecordStart records config.changed, with names only, when the configuration differs from the
// last start's. What is kept of a value is a hash keyed with a keyset of the vault, so a value
// cannot be guessed from the database. The first start of all is a baseline and records nothing.
// Hash and event are stored together: when the event cannot be written, the next start tries again.
func (s *Service) RecordStart(ctx context.Context, config map[string]string) error {
	now := make(map[string]string, len(config))
	for name, value := range config {
		now[name] = hex.EncodeToString(s.cfg.Vault.HashToken([]byte("configuration\x00" + name + "\x00" + value)))
	}
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encoding the configuration's digests: %w", err)
	}
	err = pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var stored []byte
		if err := tx.QueryRow(ctx, `SELECT config::text FROM installation FOR UPDATE`).Scan(&stored); err != nil {
			return err
		}
		var before map[string]string
		if err := json.Unmarshal(stored, &before); err != nil {
			return fmt.Errorf("reading the last start's digests: %w", err)
		}
		if maps.Equal(before, now) {
			return nil
		}
		if _, err := tx.Exec(ctx, `UPDATE installation SET config = $1`, string(text)); err != nil {
			return err
		}
		if len(before) == 0 {
			return nil
		}
		return s.recordLast(ctx, tx, singleEvent(installation(KindConfig), JobActor("start"), ActConfigChanged, configChange(before, now)))
	})
	if err != nil {
		return dbError("recording the start", err)
	}
	return nil
}

// configChange names what was added, taken away and set to something else.
func configChange(before, now map[string]string) audit.Change {
	change := audit.Change{}
	for name, digest := range now {
		switch was, known := before[name]; {
		case !known:
			change[name] = [2]any{nil, audit.Redacted}
		case was != digest:
			change[name] = [2]any{audit.Redacted, audit.Redacted}
		}
	}
	for name := range before {
		if _, known := now[name]; !known {
			change[name] = [2]any{audit.Redacted, nil}
		}
	}
	return change
}
