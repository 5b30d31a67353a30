package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"quartermaster/internal/audit"
)

// StateReport is what comparing the tables with the log has found.
type StateReport struct {
	Accounts, Keys, Grants, Roles, Blocks int   // rows compared
	Last                                  int64 // number of the newest event that was replayed
	Problems                              []StateProblem
	More                                  int // problems beyond those listed

	withheld *withheld
}

// OK reports whether every row is explained by the log.
func (r StateReport) OK() bool { return len(r.Problems) == 0 }

// Rows is how many rows were compared.
func (r StateReport) Rows() int { return r.Accounts + r.Keys + r.Grants + r.Roles + r.Blocks }

// StateProblem is one row that the log does not explain, or one that it says is there and is not.
type StateProblem struct {
	Kind  string // KindAccount, KindManagementKey, KindGrant, KindRole, KindMember; KindAudit: the log itself does not add up
	ID    string
	Name  string
	What  string // stays the same for as long as it is the same that is wrong
	Event int64  // the newest event that speaks of it; 0 when none does
	held  *heldRow
}

// String is what is wrong, with the event that speaks of it.
func (p StateProblem) String() string {
	if p.Event == 0 {
		return p.What
	}
	return fmt.Sprintf("%s (event %d)", p.What, p.Event)
}

// Withheld reports whether the row counts for nothing, because the log takes back what it says.
func (p StateProblem) Withheld() bool { return p.held != nil }

const maxStateProblems = 200

// takenBack is a problem with a row that says more than the log leaves of it.
func (r *StateReport) takenBack(kind, id, name string, event int64, what string, row heldRow) {
	r.problem(kind, id, name, event, what)
	if r.More == 0 {
		r.Problems[len(r.Problems)-1].held = &row
	}
}

func (r *StateReport) problem(kind, id, name string, event int64, what string) {
	if len(r.Problems) == maxStateProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, StateProblem{Kind: kind, ID: id, Name: name, What: what, Event: event})
}

// VerifyState replays the log and compares the accounts, management keys, grants, roles and blocks in
// the tables with it, as they were at one moment. It needs no key and no right but to read, so that it rests on
// nothing that the program which wrote the rows could have been made to do; it is worth as much as the
// log, which is verified apart. A difference is no error: the report names each row.
//
// The tables are read in one short transaction, and the log after it in as many statements as it takes, up to the
// event that was the newest then: no lock and no snapshot is held meanwhile. What is kept in memory grows with the
// things that there are and ever were, and not with what was done to them. A log of 200,000 events, of which 4,000 were about
// grants, took 1.6 s and 10 MiB on two busy processors.
//
// It goes by the database's own answers. A superuser of Postgres who alters tables and log alike is
// found by a chain value that was kept elsewhere.
func VerifyState(ctx context.Context, db *pgxpool.Pool) (StateReport, error) {
	var t stateTables
	err := pgx.BeginTxFunc(ctx, db, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		t = stateTables{}
		return t.read(ctx, tx)
	})
	if err != nil {
		return StateReport{}, fmt.Errorf("reading the tables to compare: %w", err)
	}
	l := newLedger()
	// Who signed in, and with how many groups, explains no row.
	acts := slices.DeleteFunc(ledgerActs(), func(name string) bool { return name == ActSessionLogin.Name })
	if err := audit.ReplayTo(ctx, db, acts, t.last, func(e audit.Stored) error {
		l.apply(e)
		return nil
	}); err != nil {
		return StateReport{}, fmt.Errorf("comparing the tables with the log: %w", err)
	}
	r := StateReport{Last: t.last, withheld: nothingHeld()}
	for _, compare := range []func(stateTables, *ledger, *StateReport){compareAccounts, compareKeys, compareGrants, compareRoles, compareBlocks} {
		compare(t, l, &r)
	}
	return r, nil
}

// stateTables are the rows that are compared, and the newest event of the same moment.
type stateTables struct {
	last     int64
	accounts []stateAccount
	keys     []stateKey
	grants   []stateGrant
	roles    []roleRow
	blocks   []memberStanding
}

type stateAccount struct {
	ID                                            uuid.UUID `db:"id"`
	Name, Environment, Generation, CloudAccountID string
	Enabled                                       bool
	Standing                                      int // the newest version of what is certain of it; 0: nothing is
}

type stateKey struct {
	ID, AccountID, Prefix string
	InUse                 bool
}

type stateGrant struct {
	grantRow
	Ended bool
}

func (t *stateTables) read(ctx context.Context, tx pgx.Tx) error {
	if err := tx.QueryRow(ctx, `SELECT seq FROM audit.head`).Scan(&t.last); err != nil {
		return err
	}
	return errors.Join(
		collect(ctx, tx, &t.accounts, `
			SELECT id, name, environment, generation, cloud_account_id, enabled,
				coalesce((SELECT max(s.version) FROM account_standings s WHERE s.account_id = a.id), 0) AS standing
			FROM accounts a ORDER BY id`),
		collect(ctx, tx, &t.keys, `SELECT id::text AS id, account_id::text AS account_id, prefix, retired_at IS NULL AS in_use FROM management_keys ORDER BY id`),
		collect(ctx, tx, &t.grants, `SELECT `+grantColumns+`, ended_at IS NOT NULL AS ended FROM grants ORDER BY id`),
		collect(ctx, tx, &t.roles, newestRoles),
		collect(ctx, tx, &t.blocks, newestMemberStandings))
}

func collect[T any](ctx context.Context, tx pgx.Tx, into *[]T, query string) error {
	rows, err := tx.Query(ctx, query)
	if err != nil {
		return err
	}
	*into, err = pgx.CollectRows(rows, pgx.RowToStructByName[T])
	return err
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

func compareAccounts(t stateTables, l *ledger, r *StateReport) {
	there := map[string]bool{}
	for _, row := range t.accounts {
		r.Accounts++
		id := row.ID.String()
		there[id] = true
		a := l.accounts[id]
		rights := map[string]any{"environment": row.Environment, "generation": row.Generation, "cloud_account_id": row.CloudAccountID}
		switch {
		case a == nil:
			r.problem(KindAccount, id, row.Name, 0, "no event registers it")
		case a.removedSeq > 0:
			r.takenBack(KindAccount, id, row.Name, a.removedSeq, "an event removed it, and it is there", heldRow{version: row.Standing})
			r.withheld.accounts[row.ID] = row.Standing
		case differs(a.values, rights) != "":
			// What rights and the use of its key follow from: the row from before an event may be there again.
			r.takenBack(KindAccount, id, row.Name, a.seq, "not as the events say: "+differs(a.values, rights), heldRow{version: row.Standing})
			r.withheld.accounts[row.ID] = row.Standing
		default:
			if d := differs(a.values, map[string]any{"name": row.Name, "enabled": row.Enabled}); d != "" {
				r.problem(KindAccount, id, row.Name, a.seq, "not as the events say: "+d)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.accounts)) {
		if a := l.accounts[id]; !there[id] && a.removedSeq == 0 {
			r.problem(KindAccount, id, a.text("name"), a.seq, "the events say that it is registered, and it is not there")
		}
	}
}

func compareKeys(t stateTables, l *ledger, r *StateReport) {
	inUse := map[string]bool{} // accounts that have one
	for _, row := range t.keys {
		r.Keys++
		key, account := l.keys[row.ID], l.accounts[row.AccountID]
		inUse[row.AccountID] = inUse[row.AccountID] || row.InUse
		switch {
		case key == nil:
			r.problem(KindManagementKey, row.ID, row.Prefix, 0, "no event stores it")
		case key.account != row.AccountID:
			r.problem(KindManagementKey, row.ID, row.Prefix, key.seq, "an event stores it for another account")
		case row.InUse && account != nil && account.key != row.ID:
			r.problem(KindManagementKey, row.ID, row.Prefix, account.seq, "it is in use, and the events put another key in its place")
		}
	}
	for _, row := range t.accounts {
		if a := l.accounts[row.ID.String()]; a != nil && a.removedSeq == 0 && !inUse[row.ID.String()] {
			r.problem(KindManagementKey, a.key, row.Name, a.seq, "the events put it to use, and its account has no key in use")
		}
	}
}

func compareGrants(t stateTables, l *ledger, r *StateReport) {
	there := map[string]bool{}
	for _, row := range t.grants {
		r.Grants++
		id := row.ID.String()
		there[id] = true
		g := l.grants[id]
		if g == nil {
			r.problem(KindGrant, id, row.Subject, 0, "no event gives it")
			continue
		}
		if d := differs(g.values, grantValues(row.grantRow)); d != "" {
			r.problem(KindGrant, id, row.Subject, g.seq, "not as the event says that gives it: "+d)
		}
		switch {
		case g.endedSeq > 0 && !row.Ended:
			r.takenBack(KindGrant, id, row.Subject, g.endedSeq, "an event ended it, and its row says that it has not ended", heldRow{})
			r.withheld.grants[row.ID] = true
		case g.endedSeq == 0 && row.Ended:
			r.problem(KindGrant, id, row.Subject, g.seq, "it has ended, and no event says so")
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.grants)) {
		if g := l.grants[id]; !there[id] {
			r.problem(KindGrant, id, g.text("subject"), g.seq, "an event gives it, and it is not there")
		}
	}
}

func compareRoles(t stateTables, l *ledger, r *StateReport) {
	there := map[string]bool{}
	for _, row := range t.roles {
		r.Roles++
		id := row.ID.String()
		there[id] = true
		role := l.roles[id]
		switch {
		case role == nil:
			r.problem(KindRole, id, row.Name, 0, "no event makes it")
		case role.deletedSeq > 0 && !row.Deleted:
			r.takenBack(KindRole, id, row.Name, role.deletedSeq, "an event removed it, and it is there", heldRow{version: row.Version})
			r.withheld.roles[id] = row.Version
		case role.deletedSeq == 0 && row.Deleted:
			r.problem(KindRole, id, row.Name, role.seq, "it is removed, and no event says so")
		case !row.Deleted:
			slices.Sort(row.Permissions)
			d := differs(role.values, map[string]any{"name": row.Name, "permissions": row.Permissions})
			said := role.list("permissions")
			switch {
			case slices.ContainsFunc(row.Permissions, func(p string) bool { return !slices.Contains(said, p) }):
				r.takenBack(KindRole, id, row.Name, role.seq, "more than the events leave of it: "+d, heldRow{version: row.Version})
				r.withheld.roles[id] = row.Version
			case d != "":
				r.problem(KindRole, id, row.Name, role.seq, "not as the events say: "+d)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(l.roles)) {
		if role := l.roles[id]; !there[id] {
			r.problem(KindRole, id, role.text("name"), role.seq, "an event makes it, and it is not there")
		}
	}
}

func compareBlocks(t stateTables, l *ledger, r *StateReport) {
	there := map[principal]bool{}
	for _, row := range t.blocks {
		r.Blocks++
		who := principal{row.Issuer, row.Subject}
		there[who] = true
		switch m := l.members[who]; {
		case m == nil || m.blockedSeq == 0:
			r.problem(KindMember, row.ID.String(), row.Subject, 0, "no event blocks or unblocks the member")
		case m.blocked && !row.Blocked:
			r.takenBack(KindMember, row.ID.String(), row.Subject, m.blockedSeq, "an event blocked the member, and the newest row does not", heldRow{row.Version, row.Issuer, row.Subject})
			r.withheld.blocked[who] = row.Version
		case m.blocked != row.Blocked:
			r.problem(KindMember, row.ID.String(), row.Subject, m.blockedSeq, "an event unblocked the member, and the newest row blocks")
		}
	}
	missing := slices.DeleteFunc(slices.Collect(maps.Keys(l.members)), func(who principal) bool { return l.members[who].blockedSeq == 0 || there[who] })
	slices.SortFunc(missing, func(a, b principal) int {
		return cmp.Or(strings.Compare(a.issuer, b.issuer), strings.Compare(a.name, b.name))
	})
	for _, who := range missing {
		m := l.members[who]
		if m.blocked {
			r.takenBack(KindMember, who.name, who.name, m.blockedSeq, "an event blocked the member, and no row does; provider "+who.issuer, heldRow{0, who.issuer, who.name})
			r.withheld.blocked[who] = 0
		} else {
			r.problem(KindMember, who.name, who.name, m.blockedSeq, "an event unblocked the member, and no row says so; provider "+who.issuer)
		}
	}
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
