package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/accounts"
	"quartermaster/internal/audit"
	"quartermaster/internal/schema"
)

// auditVerify walks the log, in the database or in an export, and fails when it does not add up.
func (p *program) auditVerify(ctx context.Context) error {
	progress := func(seq int64) { p.complain("checked up to event %d\n", seq) }
	if path := p.line.Audit.Verify.File; path != "" {
		if p.line.Audit.Verify.State {
			return errors.New("--state compares the database with its log; an export file has no tables to compare")
		}
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("opening the export: %w", err)
		}
		report, err := audit.VerifyExport(f, progress)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return p.printReport(report)
	}
	return p.onDatabase(ctx, p.settings.DatabaseURL, func(pool *pgxpool.Pool) error {
		if err := schema.Check(ctx, pool); err != nil {
			return err
		}
		report, err := audit.Verify(ctx, pool, 1, progress)
		if err != nil {
			return err
		}
		told := p.printReport(report)
		if !p.line.Audit.Verify.State {
			return told
		}
		state, err := accounts.VerifyState(ctx, pool)
		if err != nil {
			return err // also when the log does not add up: what was not compared must not go under
		}
		return errors.Join(told, p.printState(state))
	})
}

// printState says what comparing the tables with the log has found, and fails when a row is not explained.
func (p *program) printState(r accounts.StateReport) error {
	p.say("%d accounts, %d management keys, %d grants, %d roles and %d blocks compared with the log\n", r.Accounts, r.Keys, r.Grants, r.Roles, r.Blocks)
	if r.OK() {
		p.say("The log explains every row.\n")
		return nil
	}
	for _, problem := range r.Problems {
		p.say("PROBLEM with %s %s (%q): %s\n", problem.Kind, problem.ID, problem.Name, problem)
	}
	if r.More > 0 {
		p.say("and %d more\n", r.More)
	}
	return errToldAlready
}

func (p *program) printReport(r audit.Report) error {
	p.say("%d events, %d to %d, checked in %s\n", r.Events, r.First, r.Last, r.Took.Round(time.Millisecond))
	p.say("chain %x\n", r.LastChain)
	if r.OK() {
		p.say("The log is whole and unchanged, as far as it can tell by itself. Keep the chain value elsewhere to notice a log that was made anew.\n")
		return nil
	}
	for _, problem := range r.Problems {
		p.say("PROBLEM at event %d: %s\n", problem.Seq, problem.What)
	}
	if r.More > 0 {
		p.say("and %d more\n", r.More)
	}
	return errToldAlready
}

// auditExport records that the log is taken away, and by whom, before it writes the first line.
func (p *program) auditExport(ctx context.Context) error {
	return p.onDatabase(ctx, p.settings.DatabaseURL, func(pool *pgxpool.Pool) error {
		if err := schema.Check(ctx, pool); err != nil {
			return err
		}
		// Made first, so that the log does not tell of an export that had nowhere to go.
		out, done, err := p.exportTarget()
		if err != nil {
			return err
		}
		if err := p.recordExport(ctx, pool); err != nil {
			return errors.Join(err, done(), p.dropExport())
		}
		events, err := audit.Export(ctx, pool, out, 1, 0)
		if err := errors.Join(err, done()); err != nil {
			return err
		}
		p.complain("%d events exported\n", events)
		return nil
	})
}

func (p *program) recordExport(ctx context.Context, pool *pgxpool.Pool) error {
	log, err := audit.Open(ctx, audit.Config{DatabaseURL: p.settings.DatabaseURL, DB: pool})
	if err != nil {
		return fmt.Errorf("opening the audit log: %w", err)
	}
	defer log.Close()
	var change audit.Change
	if reason := strings.TrimSpace(p.line.Audit.Export.Reason); reason != "" {
		change = audit.Change{"reason": {nil, reason}}
	}
	_, err = log.Append(ctx, audit.Event{
		Act: accounts.ActAuditExport.Name, Phase: audit.PhaseSingle, Outcome: audit.OK,
		Actor:  cliActor(),
		Target: audit.Target{Kind: "audit", Name: "audit log"},
		Change: change,
	})
	if err != nil {
		return fmt.Errorf("the export cannot be recorded in the log, so nothing is exported: %w", err)
	}
	return nil
}

// cliActor is whoever runs the program at a command line: the operating system's user and the host.
func cliActor() audit.Actor {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return audit.Actor{Issuer: accounts.InternalIssuer, Subject: "cli:" + name + "@" + host, Name: name + "@" + host, Via: audit.ViaCLI}
}

// exportTarget opens what the export goes to. A file is made for its owner only and never
// overwritten.
func (p *program) exportTarget() (w io.Writer, done func() error, err error) {
	path := p.line.Audit.Export.Output
	if path == "" {
		return p.stdout, func() error { return nil }, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("making the export file: %w", err)
	}
	return f, f.Close, nil
}

// dropExport removes the file that exportTarget made and nothing was written to.
func (p *program) dropExport() error {
	path := p.line.Audit.Export.Output
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("removing the empty export file: %w", err)
	}
	return nil
}
