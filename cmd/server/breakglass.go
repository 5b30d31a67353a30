package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/schema"
	"quartermaster/internal/web"
)

// breakGlassProblems says what is wrong with the command line before the database is asked.
func (p *program) breakGlassProblems() problems {
	var found problems
	if strings.TrimSpace(p.line.Breakglass.Reason) == "" {
		found.add("--reason is needed by breakglass: it is recorded, and everybody who is signed in sees it")
	}
	return found
}

// breakGlass prints a link that signs an administrator in without the identity provider. The link goes to the
// standard output alone, once it is recorded.
func (p *program) breakGlass(ctx context.Context) error {
	s := p.settings
	return p.onDatabase(ctx, s.DatabaseURL, func(pool *pgxpool.Pool) error {
		if err := schema.Check(ctx, pool); err != nil {
			return err
		}
		sealing, err := vault.Open(ctx, pool, s.KEK, accounts.AdoptAccounts)
		if err != nil {
			return kekError(s, err)
		}
		log, err := audit.Open(ctx, audit.Config{DatabaseURL: s.DatabaseURL, DB: pool})
		if err != nil {
			return fmt.Errorf("opening the audit log: %w", err)
		}
		defer log.Close()
		service := accounts.New(accounts.Config{DB: pool, Log: log, Vault: sealing, Logger: newLogger(p.command, s, p.stderr)})
		link, err := service.MakeBreakGlassLink(ctx, cliActor(), p.line.Breakglass.Reason)
		if invalid, ok := errors.AsType[*accounts.InvalidError](err); ok {
			return &usageError{fmt.Errorf("--reason: %s", invalid.Fields["reason"])}
		}
		if err != nil {
			return fmt.Errorf("no link was made: %w", err)
		}
		p.complain("This link signs in an administrator, once, until %s. Whoever has it can use it.\n", link.ExpiresAt.Format("15:04:05 UTC"))
		p.say("%s\n", s.BaseURL.String()+web.BreakGlassPath(link.Token))
		return nil
	})
}
