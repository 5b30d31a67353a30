package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts/vault"
)

// neededWait bounds the look into the database for the key that is missing. A start that fails anyhow must not
// hang on it.
const neededWait = 3 * time.Second

// kekError says of a key that opens nothing where it came from, which one it is and which is needed.
func kekError(s Settings, err error) error {
	if wrong, ok := errors.AsType[*vault.WrongKEKError](err); ok {
		return fmt.Errorf("%s: %w", s.KEKSource, wrong)
	}
	return fmt.Errorf("opening the sealing keys with %s (fingerprint %s): %w", s.KEKSource, s.KEK.Fingerprint(), err)
}

// keysFingerprint prints what errors, check and the database call QM_KEK.
func (p *program) keysFingerprint(context.Context) error {
	p.say("%s\n", p.settings.KEK.Fingerprint())
	return nil
}

// nameNeededKEK adds to what is wrong with QM_KEK which key the database was made with, so that it can
// be found among several. Where the database cannot tell, nothing is added.
func (p *program) nameNeededKEK(ctx context.Context, s Settings, found problems) {
	if s.DatabaseURL == "" {
		return
	}
	needed := ""
	for i, told := range found {
		if !strings.HasPrefix(told, "QM_KEK") {
			continue
		}
		if needed == "" {
			ctx, cancel := context.WithTimeout(ctx, neededWait)
			defer cancel()
			if err := p.onDatabase(ctx, s.DatabaseURL, func(pool *pgxpool.Pool) (err error) {
				needed, err = vault.NeededKEK(ctx, pool)
				return err
			}); err != nil || needed == "" {
				return
			}
		}
		found[i] = told + "; the database needs the key with fingerprint " + needed
	}
}
