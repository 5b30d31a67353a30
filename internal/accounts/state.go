package accounts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/audit"
)

// StateReport is what comparing the tables with the log has found.
type StateReport struct {
	Accounts, Keys, Grants, Roles, Blocks int // rows compared
	Problems                              []StateProblem
	More                                  int // problems beyond those listed
}

// OK reports whether every row is explained by the log.
func (r StateReport) OK() bool { return len(r.Problems) == 0 }

// StateProblem is one row that the log does not explain, or one that it says is there and is not.
type StateProblem struct {
	Kind string // KindAccount, KindManagementKey, KindGrant, KindRole, KindMember
	ID   string
	Name string
	What string
}

const maxStateProblems = 200

func (r *StateReport) problem(kind, id, name, format string, args ...any) {
	if len(r.Problems) == maxStateProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, StateProblem{Kind: kind, ID: id, Name: name, What: fmt.Sprintf(format, args...)})
}

// VerifyState replays the log and compares the accounts, management keys, grants, roles and blocks in
// the tables with it, at one moment. It needs no key and no right but to read, so that it rests on
// nothing that the program which wrote the rows could have been made to do; it is worth as much as the
// log, which is verified apart. A difference is no error: the report names each row.
//
// It goes by the database's own answers. A superuser of Postgres who alters tables and log alike is
// found by a chain value that was kept elsewhere.
func VerifyState(ctx context.Context, db *pgxpool.Pool) (StateReport, error) {
	var r StateReport
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		r = StateReport{}
		l, err := replay(ctx, tx, time.Time{})
		if err != nil {
			return err
		}
		for _, compare := range []func(context.Context, pgx.Tx, *ledger, *StateReport) error{compareAccounts, compareKeys, compareGrants, compareRoles, compareBlocks} {
			if err := compare(ctx, tx, l, &r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return StateReport{}, fmt.Errorf("comparing the tables with the log: %w", err)
	}
	return r, nil
}

// replay makes the ledger of what the log said until a time; the zero time is now.
func replay(ctx context.Context, tx pgx.Tx, until time.Time) (*ledger, error) {
	l := newLedger()
	err := audit.Replay(ctx, tx, ledgerActs(), until, func(e audit.Stored) error {
		l.apply(e)
		return nil
	})
	return l, err
}

// differs names the fields in which a row is not what the log says.
func differs(said values, row map[string]any) string {
	var differing []string
	for name, is := range row {
		was := said[name]
		if list, ok := is.([]string); ok {
			if slices.Equal(said.list(name), list) {
				continue
			}
		} else if fmt.Sprint(orEmpty(was)) == fmt.Sprint(orEmpty(is)) {
			continue
		}
		differing = append(differing, name)
	}
	slices.Sort(differing)
	return strings.Join(differing, ", ")
}

// orEmpty makes one of what the log leaves out and of what is empty.
func orEmpty(v any) any {
	if v == nil {
		return ""
	}
	return v
}

func compareAccounts(ctx context.Context, tx pgx.Tx, l *ledger, r *StateReport) error {
	rows, err := tx.Query(ctx, `SELECT id::text, name, environment, generation, cloud_account_id, enabled FROM accounts ORDER BY id`)
	if err != nil {
		return err
	}
	there := map[string]bool{}
	var id, name, environment, generation, cloudAccount string
	var enabled bool
	_, err = pgx.ForEachRow(rows, []any{&id, &name, &environment, &generation, &cloudAccount, &enabled}, func() error {
		r.Accounts++
		there[id] = true
		a := l.accounts[id]
		switch {
		case a == nil:
			r.problem(KindAccount, id, name, "no event registers it")
		case a.removedSeq > 0:
			r.problem(KindAccount, id, name, "event %d removed it, and it is there", a.removedSeq)
		default:
			if d := differs(a.values, map[string]any{
				"name": name, "environment": environment, "generation": generation, "cloud_account_id": cloudAccount, "enabled": enabled,
			}); d != "" {
				r.problem(KindAccount, id, name, "%s not as event %d and those before it say", d, a.seq)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for id, a := range l.accounts {
		if !there[id] && a.removedSeq == 0 {
			r.problem(KindAccount, id, a.text("name"), "event %d says it is registered, and it is not there", a.seq)
		}
	}
	return nil
}

func compareKeys(ctx context.Context, tx pgx.Tx, l *ledger, r *StateReport) error {
	rows, err := tx.Query(ctx, `SELECT id::text, account_id::text, prefix, retired_at IS NULL FROM management_keys ORDER BY id`)
	if err != nil {
		return err
	}
	var id, account, prefix string
	var inUse bool
	_, err = pgx.ForEachRow(rows, []any{&id, &account, &prefix, &inUse}, func() error {
		r.Keys++
		key := l.keys[id]
		switch {
		case key == nil:
			r.problem(KindManagementKey, id, prefix, "no event stores it")
		case key.account != account:
			r.problem(KindManagementKey, id, prefix, "event %d stores it for another account", key.seq)
		case inUse && l.accounts[account] != nil && l.accounts[account].key != id:
			r.problem(KindManagementKey, id, prefix, "it is in use, and event %d put another key in its place", l.accounts[account].seq)
		}
		return nil
	})
	return err
}

func compareGrants(ctx context.Context, tx pgx.Tx, l *ledger, r *StateReport) error {
	rows, err := tx.Query(ctx, `SELECT `+grantColumns+`, ended_at IS NOT NULL AS ended FROM grants ORDER BY id`)
	if err != nil {
		return err
	}
	type row struct {
		grantRow
		Ended bool
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, row := range stored {
		r.Grants++
		id := row.ID.String()
		there[id] = true
		g := l.grants[id]
		if g == nil {
			r.problem(KindGrant, id, row.Subject, "no event gives it")
			continue
		}
		if d := differs(g.values, grantValues(row.grantRow)); d != "" {
			r.problem(KindGrant, id, row.Subject, "%s not as event %d says", d, g.seq)
		}
		switch {
		case g.endedSeq > 0 && !row.Ended:
			r.problem(KindGrant, id, row.Subject, "event %d ended it, and it counts", g.endedSeq)
		case g.endedSeq == 0 && row.Ended:
			r.problem(KindGrant, id, row.Subject, "it has ended, and no event says so")
		}
	}
	for id, g := range l.grants {
		if !there[id] {
			r.problem(KindGrant, id, g.text("subject"), "event %d gives it, and it is not there", g.seq)
		}
	}
	return nil
}

func compareRoles(ctx context.Context, tx pgx.Tx, l *ledger, r *StateReport) error {
	rows, err := tx.Query(ctx, `SELECT DISTINCT ON (id) `+roleColumns+` FROM roles ORDER BY id, version DESC`)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[roleRow])
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, row := range stored {
		r.Roles++
		id := row.ID.String()
		there[id] = true
		role := l.roles[id]
		switch {
		case role == nil:
			r.problem(KindRole, id, row.Name, "no event makes it")
		case role.deletedSeq > 0 != row.Deleted:
			r.problem(KindRole, id, row.Name, "whether it is deleted is not as event %d says", max(role.deletedSeq, role.seq))
		case !row.Deleted:
			slices.Sort(row.Permissions)
			if d := differs(role.values, map[string]any{"name": row.Name, "permissions": row.Permissions}); d != "" {
				r.problem(KindRole, id, row.Name, "%s not as event %d says", d, role.seq)
			}
		}
	}
	for id, role := range l.roles {
		if !there[id] {
			r.problem(KindRole, id, role.text("name"), "event %d makes it, and it is not there", role.seq)
		}
	}
	return nil
}

func compareBlocks(ctx context.Context, tx pgx.Tx, l *ledger, r *StateReport) error {
	rows, err := tx.Query(ctx, `SELECT DISTINCT ON (issuer, subject) `+memberStandingColumns+` FROM member_standings ORDER BY issuer, subject, version DESC`)
	if err != nil {
		return err
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[memberStanding])
	if err != nil {
		return err
	}
	there := map[principal]bool{}
	for _, row := range stored {
		r.Blocks++
		who := principal{row.Issuer, row.Subject}
		there[who] = true
		switch m := l.members[who]; {
		case m == nil || m.blockedSeq == 0:
			r.problem(KindMember, row.ID.String(), row.Subject, "no event blocks or unblocks the member")
		case m.blocked != row.Blocked:
			r.problem(KindMember, row.ID.String(), row.Subject, "whether the member is blocked is not as event %d says", m.blockedSeq)
		}
	}
	for who, m := range l.members {
		if m.blockedSeq > 0 && !there[who] {
			r.problem(KindMember, "", who.name, "event %d says whether the member is blocked, and no row does", m.blockedSeq)
		}
	}
	return nil
}

// grantValues are the fields of a grant as the log has them.
func grantValues(row grantRow) map[string]any {
	v := map[string]any{
		"subject_kind": row.SubjectKind, "issuer": row.Issuer, "subject": row.Subject, "role": row.Role,
		"scope_kind": row.ScopeKind, "scope": row.Scope, "reason": row.Reason, "expires_at": "", "bound_from": "",
	}
	if row.ExpiresAt != nil {
		v["expires_at"] = row.ExpiresAt.UTC().Format(time.RFC3339Nano)
	}
	if row.BoundFrom != nil {
		v["bound_from"] = row.BoundFrom.String()
	}
	return v
}
