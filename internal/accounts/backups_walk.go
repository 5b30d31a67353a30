package accounts

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"quartermaster/internal/cloudapi"
)

// The list of clusters by their backups reads what it shows and little more. Where what is asked for is few clusters, these are looked at
// and sorted. Else the list is gone through in its order, which an index has piece by piece: cluster_backups.standing says how a
// cluster stands, and each standing is a piece, in which those come first whose last backup is oldest.

// The bits of cluster_backups.standing; below zero the cluster is offered no backups.
const (
	standsUnscheduled = 1 << iota
	standsOverdue
	standsFailed
	standsNone

	standsUnable = -1 // upstream offers none
	mostStanding = standsNone | standsFailed | standsOverdue | standsUnscheduled
)

// The places in the list of what is not among the worries.
const (
	worryFine    = 1
	worryUnable  = 0
	worryUnknown = -1 // not listed yet, or of an API without backups
	mostWorry    = 9
)

// worryOf is the place in the list of a cluster that stands so: the higher, the sooner; the CASE of judgedClusters.from says the same. Without the right on schedules nothing follows
// from them.
func worryOf(standing int, production, scheduled bool) int64 {
	ifProduction := func(worry int64) int64 {
		if production {
			return worry + 1
		}
		return worry
	}
	switch {
	case standing < 0:
		return worryUnable
	case standing&standsNone != 0 && production:
		return mostWorry
	case standing&standsFailed != 0:
		return ifProduction(7)
	case scheduled && standing&standsOverdue != 0:
		return ifProduction(5)
	case standing&standsNone != 0:
		return 4
	case scheduled && standing&standsUnscheduled != 0:
		return ifProduction(2)
	}
	return worryFine
}

// standsAs reports whether a cluster that stands so is in a state.
func standsAs(state BackupState, standing int, scheduled bool) bool {
	has := func(bit int) bool { return standing >= 0 && standing&bit != 0 }
	switch state {
	case "":
		return true
	case BackupsNone:
		return has(standsNone)
	case BackupsFailed:
		return has(standsFailed)
	case BackupsOverdue:
		return scheduled && has(standsOverdue)
	case BackupsUnscheduled:
		return scheduled && has(standsUnscheduled)
	case BackupsFine:
		return worryOf(standing, false, scheduled) == worryFine
	case BackupsUnable:
		return standing < 0
	}
	return false
}

// scheduledOf is the condition that the member may read the schedules of a cluster.
func (j judgedClusters) scheduledOf(on *conditions, account, cluster string) string {
	of := &conditions{arguments: on.arguments}
	of.where("true")
	of.at(j.scheduled, account, cluster)
	on.arguments = of.arguments
	return "(" + of.String() + ")"
}

// among are the ids of the accounts that a query asks for, those with the current API by themselves; ok is false when nothing can match.
func (j judgedClusters) among(q BackupsQuery) (current, production, legacy []uuid.UUID, ok bool) {
	var account uuid.UUID
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		if err != nil {
			return nil, nil, nil, false
		}
		account = id
	}
	current, production, legacy = []uuid.UUID{}, []uuid.UUID{}, []uuid.UUID{}
	for _, a := range j.accounts {
		switch {
		case q.Account != "" && a.ID != account || q.Environment != "" && string(a.Environment) != q.Environment:
		case a.Generation != cloudapi.Current:
			legacy = append(legacy, a.ID)
		case a.Environment == Production:
			current, production = append(current, a.ID), append(production, a.ID)
		default:
			current = append(current, a.ID)
		}
	}
	return current, production, legacy, len(current)+len(legacy) > 0
}

// find returns where the clusters are that a query asks for, whatever their state; few is false when they are more than are counted,
// and then not all of them are returned.
func (j judgedClusters) find(ctx context.Context, tx pgx.Tx, q BackupsQuery) (places []pgtype.TID, few bool, err error) {
	current, _, legacy, ok := j.among(q)
	if !ok {
		return nil, true, nil
	}
	on := &conditions{}
	on.where("c.gone_at IS NULL")
	if q.Account != "" || q.Environment != "" {
		on.where("c.account_id = ANY(?::uuid[])", slices.Concat(current, legacy))
	}
	on.at(j.in, "c.account_id", "c.cluster_id")
	on.matchesText(q.Text)
	rows, err := tx.Query(ctx, `SELECT c.ctid FROM clusters c WHERE `+on.String()+` LIMIT `+strconv.Itoa(CountCap+1), planned(on.arguments)...)
	if err != nil {
		return nil, false, fmt.Errorf("looking for clusters with backups: %w", err)
	}
	if places, err = pgx.CollectRows(rows, pgx.RowTo[pgtype.TID]); err != nil {
		return nil, false, fmt.Errorf("looking for clusters with backups: %w", err)
	}
	return places, len(places) <= CountCap, nil
}

// backupPiece is a piece of the list: clusters of some accounts that stand so, among them those of which the member may read schedules, or
// those of which not, or both.
type backupPiece struct {
	standing        int
	accounts        []uuid.UUID
	shown, notShown bool
}

// pieces are those of one place in the list, in no order.
func (j judgedClusters) pieces(worry int64, state BackupState, production, others []uuid.UUID) (pieces []backupPiece) {
	shown := j.scheduled.everything || len(j.scheduled.accounts)+len(j.scheduled.clusters) > 0
	for standing := standsUnable; standing <= mostStanding; standing++ {
		for _, of := range []struct {
			production bool
			accounts   []uuid.UUID
		}{{true, production}, {false, others}} {
			fits := func(scheduled bool) bool {
				return worryOf(standing, of.production, scheduled) == worry && standsAs(state, standing, scheduled)
			}
			piece := backupPiece{standing: standing, accounts: of.accounts, shown: shown && fits(true), notShown: !j.scheduled.everything && fits(false)}
			if len(of.accounts) > 0 && (piece.shown || piece.notShown) {
				pieces = append(pieces, piece)
			}
		}
	}
	return pieces
}

// walk returns where the next so many clusters of the list are, by place and within it.
func (j judgedClusters) walk(ctx context.Context, tx pgx.Tx, q BackupsQuery, at cursor, n int) (places []pgtype.TID, err error) {
	current, production, legacy, _ := j.among(q)
	others := slices.DeleteFunc(slices.Clone(current), func(id uuid.UUID) bool { return slices.Contains(production, id) })
	worry := int64(mostWorry)
	if at.Query != "" {
		worry = min(at.Number, mostWorry)
	}
	for ; worry >= worryUnknown && len(places) < n; worry-- {
		on := &conditions{}
		var parts []string
		if worry == worryUnknown {
			parts = j.unknown(on, q, at, current, legacy, n-len(places))
		}
		for _, piece := range j.pieces(worry, q.State, production, others) {
			parts = append(parts, j.part(on, piece, q, at, worry, n-len(places)))
		}
		more, err := readParts(ctx, tx, on, parts, n-len(places))
		if err != nil {
			return nil, err
		}
		places = append(places, more...)
	}
	return places, nil
}

// readParts merges what the parts select.
func readParts(ctx context.Context, tx pgx.Tx, on *conditions, parts []string, n int) ([]pgtype.TID, error) {
	if len(parts) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT place FROM (`+strings.Join(parts, " UNION ALL ")+`) part ORDER BY last_ok, account_id, cluster_id LIMIT `+strconv.Itoa(n), planned(on.arguments)...)
	if err != nil {
		return nil, fmt.Errorf("going through clusters by their backups: %w", err)
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.TID])
	if err != nil {
		return nil, fmt.Errorf("going through clusters by their backups: %w", err)
	}
	return places, nil
}

const lastOK = `coalesce(b.last_ok_at, '-infinity'::timestamptz)`

// part selects the first n of a piece that come after a place.
func (j judgedClusters) part(on *conditions, piece backupPiece, q BackupsQuery, at cursor, worry int64, n int) string {
	inside := &conditions{arguments: on.arguments}
	inside.where("c.account_id = b.account_id AND c.cluster_id = b.cluster_id AND c.gone_at IS NULL")
	inside.matchesText(q.Text)
	outside := &conditions{arguments: inside.arguments}
	outside.where("b.standing = " + strconv.Itoa(piece.standing))
	outside.where("b.account_id = ANY(?::uuid[])", piece.accounts)
	outside.at(j.in, "b.account_id", "b.cluster_id")
	if piece.shown != piece.notShown && !j.scheduled.everything {
		may := j.scheduledOf(outside, "b.account_id", "b.cluster_id")
		if piece.notShown {
			may = "NOT " + may
		}
		outside.sql = append(outside.sql, may)
	}
	if at.Query != "" && at.Number == worry {
		outside.where(`(`+lastOK+`, b.account_id, b.cluster_id) > (?::text::timestamptz, ?::uuid, ?::text)`, at.Text, at.Account, at.Cluster)
	}
	on.arguments = outside.arguments
	return `(SELECT ` + lastOK + ` AS last_ok, b.account_id, b.cluster_id, c.place FROM cluster_backups b,
			LATERAL (SELECT c.ctid AS place FROM clusters c WHERE ` + inside.String() + ` OFFSET 0) c
			WHERE ` + outside.String() + ` ORDER BY ` + lastOK + `, b.account_id, b.cluster_id LIMIT ` + strconv.Itoa(n) + `)`
}

// unknown selects the first n clusters after a place of which nothing is known: those that were not listed yet, and those of an
// API without backups.
func (j judgedClusters) unknown(on *conditions, q BackupsQuery, at cursor, current, legacy []uuid.UUID, n int) (parts []string) {
	for _, of := range []struct {
		accounts []uuid.UUID
		lacking  bool
		states   []BackupState
	}{{current, true, []BackupState{""}}, {legacy, false, []BackupState{"", BackupsUnable}}} {
		if len(of.accounts) == 0 || !slices.Contains(of.states, q.State) {
			continue
		}
		inside := &conditions{arguments: on.arguments}
		inside.where("c.gone_at IS NULL AND c.account_id = ANY(?::uuid[])", of.accounts)
		inside.at(j.in, "c.account_id", "c.cluster_id")
		inside.matchesText(q.Text)
		if of.lacking {
			inside.where("NOT EXISTS (SELECT FROM cluster_backups b WHERE b.account_id = c.account_id AND b.cluster_id = c.cluster_id)")
		}
		if at.Query != "" && at.Number == worryUnknown {
			inside.where(`(c.account_id, c.cluster_id) > (?::uuid, ?::text)`, at.Account, at.Cluster)
		}
		on.arguments = inside.arguments
		parts = append(parts, `(SELECT '-infinity'::timestamptz AS last_ok, c.account_id, c.cluster_id, c.ctid AS place FROM clusters c
			WHERE `+inside.String()+` ORDER BY c.account_id, c.cluster_id LIMIT `+strconv.Itoa(n)+`)`)
	}
	return parts
}

// count counts how the clusters of the reach stand, whatever is asked for.
func (j judgedClusters) count(ctx context.Context, tx pgx.Tx, page *BackupsPage) error {
	page.Counts = map[BackupState]int{}
	for _, state := range BackupStates {
		page.Counts[state] = 0
	}
	current, _, legacy, ok := j.among(BackupsQuery{})
	if !ok {
		return nil
	}
	on := &conditions{}
	on.where("b.account_id = ANY(?::uuid[])", current)
	on.at(j.in, "b.account_id", "b.cluster_id")
	scheduled := j.scheduledOf(on, "b.account_id", "b.cluster_id")
	rows, err := tx.Query(ctx, `SELECT b.standing, `+scheduled+`, count(*) FROM cluster_backups b WHERE `+on.String()+`
		AND NOT EXISTS (SELECT FROM clusters c WHERE c.gone_at IS NOT NULL AND c.account_id = b.account_id AND c.cluster_id = b.cluster_id) GROUP BY 1, 2`, planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("counting clusters by their backups: %w", err)
	}
	var standing, n, listed int
	var may bool
	if _, err := pgx.ForEachRow(rows, []any{&standing, &may, &n}, func() error {
		listed += n
		for _, state := range BackupStates {
			if standsAs(state, standing, may) {
				page.Counts[state] += n
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("counting clusters by their backups: %w", err)
	}
	on = &conditions{}
	on.where("c.gone_at IS NULL")
	on.at(j.in, "c.account_id", "c.cluster_id")
	on.arguments = append(on.arguments, legacy)
	var all, old int
	if err := tx.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE c.account_id = ANY($`+strconv.Itoa(len(on.arguments))+`::uuid[])) FROM clusters c WHERE `+on.String(),
		planned(on.arguments)...).Scan(&all, &old); err != nil {
		return fmt.Errorf("counting clusters: %w", err)
	}
	page.Counts[BackupsUnable] += old
	page.Unread = all - old - listed
	return nil
}
