package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/accounts/vault"
	"quartermaster/internal/audit"
	"quartermaster/internal/devenv"
	"quartermaster/internal/schema"
	"quartermaster/internal/web"
)

// breakGlassProblems says what is wrong with the command line before the database is asked.
func (p *program) breakGlassProblems() problems {
	var found problems
	if p.line.Breakglass.Dev {
		for _, name := range []string{"QM_BASE_URL", "QM_DATABASE_URL", "QM_DATABASE_URL_FILE", "QM_KEK", "QM_KEK_FILE"} {
			if p.env.get(name) != "" || p.given[name] {
				found.add("%s is set, but --dev takes it from the folder of dev; unset it, or leave --dev away", name)
			}
		}
	} else if !p.given["QM_DATABASE_URL"] && !p.given["QM_DATABASE_URL_FILE"] {
		found.add("they are those of serve; for the console of make run add --dev, which finds them in its folder")
	}
	if strings.TrimSpace(p.line.Breakglass.Reason) == "" {
		found.add("--reason is needed by breakglass: it is recorded, and everybody who is signed in sees it")
	}
	return found
}

// fromDev takes from the folder of dev what breakglass needs: the addresses from dev.json, and the key. Nothing in
// the folder is written, so that it may be in use.
func (p *program) fromDev() error {
	s := &p.settings
	secrets, err := devenv.ReadSecrets(s.DevDir)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(s.DevDir, devFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dev is not running in %s, which holds no %s; start it with make run, and try again", s.DevDir, devFile)
	}
	if err != nil {
		return fmt.Errorf("reading what dev wrote: %w", err)
	}
	var about devDescription
	if err := json.Unmarshal(raw, &about); err != nil {
		return fmt.Errorf("reading %s of %s: %w", devFile, s.DevDir, err)
	}
	if s.BaseURL, err = url.Parse(about.URL); err != nil {
		return fmt.Errorf("reading %s of %s: %w", devFile, s.DevDir, err)
	}
	if s.KEK, err = vault.ParseKEK(secrets.KEK); err != nil {
		return fmt.Errorf("the key in %s cannot be used: %w", s.DevDir, err)
	}
	s.DatabaseURL, s.KEKSource = about.DatabaseURL, "the key in "+s.DevDir
	return nil
}

// breakGlass prints a link that signs an administrator in without the identity provider. The link goes to the
// standard output alone, once it is recorded.
func (p *program) breakGlass(ctx context.Context) error {
	if p.line.Breakglass.Dev {
		if err := p.fromDev(); err != nil {
			return err
		}
	}
	s := p.settings
	return p.onDatabase(ctx, s.DatabaseURL, func(pool *pgxpool.Pool) error {
		if err := schema.Check(ctx, pool); err != nil {
			if p.line.Breakglass.Dev {
				return fmt.Errorf("%w (is dev running in %s?)", err, s.DevDir)
			}
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
