package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/schema"
)

// migrateUp brings roles and schema up.
func (p *program) migrateUp(ctx context.Context) error {
	forDev := p.line.Migrate.Up.ForDev
	config := schema.Config{OwnerURL: p.settings.MigrateDatabaseURL, AppURL: p.settings.DatabaseURL, DevMade: forDev}
	var before schema.State
	if err := p.onDatabase(ctx, config.OwnerURL, func(pool *pgxpool.Pool) (err error) {
		if err = checkMakerFirst(ctx, pool, forDev); err != nil {
			return err
		}
		before, err = schema.Status(ctx, pool)
		return err
	}); err != nil {
		return err
	}
	if err := schema.Up(ctx, config); err != nil {
		return err
	}
	// Somebody else may have been first meanwhile.
	if err := p.onDatabase(ctx, config.OwnerURL, func(pool *pgxpool.Pool) error { return checkMaker(ctx, pool, forDev) }); err != nil {
		return err
	}
	if before.Version < before.Wanted {
		p.say("brought the schema from version %d to %d\n", before.Version, before.Wanted)
	} else {
		p.say("the schema needed nothing\n")
	}
	same, err := config.SameUser()
	if err != nil {
		return err
	}
	if same {
		p.complain("warning: QM_DATABASE_URL and QM_MIGRATE_DATABASE_URL name one user, so the console can change its own audit log\n")
	}
	if err := p.onDatabase(ctx, config.OwnerURL, func(pool *pgxpool.Pool) error {
		slow, err := schema.SlowSearch(ctx, pool)
		if slow != "" {
			p.complain("note: %s\n", slow)
		}
		return err
	}); err != nil {
		return err
	}
	return p.printStatus(ctx, config.OwnerURL)
}

// migrateDown takes migrations back.
func (p *program) migrateDown(ctx context.Context) error {
	steps, err := strconv.Atoi(p.line.Migrate.Down.Steps)
	if err != nil || steps < 1 {
		return &configError{problems{"--steps: " + strconv.Quote(printable(p.line.Migrate.Down.Steps)) + " is not a number above zero"}}
	}
	config := schema.Config{OwnerURL: p.settings.MigrateDatabaseURL}
	if err := p.checkSteps(ctx, config.OwnerURL, steps); err != nil {
		return err
	}
	if err := schema.Down(ctx, config, steps); err != nil {
		return err
	}
	return p.printStatus(ctx, config.OwnerURL)
}

// checkSteps refuses to take back more than there is, before anything is taken back.
func (p *program) checkSteps(ctx context.Context, address string, steps int) error {
	return p.onDatabase(ctx, address, func(pool *pgxpool.Pool) error {
		state, err := schema.Status(ctx, pool)
		if err != nil {
			return err
		}
		if steps > state.Version {
			return fmt.Errorf("--steps is %d, and the database has only %d migrations to take back; nothing was changed", steps, state.Version)
		}
		return nil
	})
}

// migrateStatus says which schema there is. It fails when this program does not work on it.
func (p *program) migrateStatus(ctx context.Context) error {
	if err := p.printStatus(ctx, p.settings.DatabaseURL); err != nil {
		return err
	}
	return p.onDatabase(ctx, p.settings.DatabaseURL, func(pool *pgxpool.Pool) error { return schema.Check(ctx, pool) })
}

func (p *program) printStatus(ctx context.Context, address string) error {
	return p.onDatabase(ctx, address, func(pool *pgxpool.Pool) error {
		state, err := schema.Status(ctx, pool)
		if err != nil {
			return err
		}
		p.say("schema version %d, this program needs %d\n", state.Version, state.Wanted)
		if state.Newer() && state.Works() {
			p.say("a newer program made it, and this one works on it\n")
		}
		return nil
	})
}

// onDatabase runs f with connections of its own.
func (p *program) onDatabase(ctx context.Context, address string, f func(*pgxpool.Pool) error) error {
	pool, err := pgxpool.New(ctx, address)
	if err != nil {
		return errors.New("the database address cannot be used to connect") // pgx repeats the address
	}
	defer pool.Close()
	return f(pool)
}
