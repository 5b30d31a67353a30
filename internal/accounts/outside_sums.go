package accounts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
)

// The log only grows, and whoever owns an account upstream, or upstream itself, decides how often its clusters change. So an
// account has a budget of events an hour. What is beyond is counted, in the transaction that stores what was read, and told a
// few minutes later in one event about the account: how many changes, and of which clusters. Each such cluster keeps a note of its own,
// for those who may read it and not the account. So the log stays readable, and nothing is lost without a word.
//
// Locks are taken in this order: what was read, then outside_sums, then the log.

const (
	// outsideBudget is how many events about changes made outside an account may have in an hour.
	outsideBudget = 1000
	outsideHour   = time.Hour
	// sumEvery is how long after one sum the next is told at the earliest; the first is told at once.
	sumEvery = 10 * time.Minute
	// spareBudget is which part of the budget settings of clusters may not use: whoever changes many of them must not thereby make or delete
	// a cluster or a key without an event.
	spareBudget = 5
	// sumsEvery is how often it is looked whether one is due.
	sumsEvery = 5 * time.Second
	// maxSummedClusters bounds the clusters that one sum names.
	maxSummedClusters = 50
)

// Fields of a sum.
const (
	changeUntold         = "changes_not_told"
	changeUntoldClusters = "of_clusters"
)

// withinBudget returns those of the changes that may have an event of their own, and counts the others. Clusters that come and go
// are told first, then what concerns most.
func (s *Service) withinBudget(ctx context.Context, tx pgx.Tx, account Account, found []outsideEvent) ([]outsideEvent, error) {
	found = slices.Clone(found)
	rank := func(e outsideEvent) int {
		for _, weighty := range []string{"exists", "keys_made", "keys_deleted"} {
			if _, is := e.change[weighty]; is {
				return 0
			}
		}
		return 1
	}
	slices.SortStableFunc(found, func(a, b outsideEvent) int { return cmp.Compare(rank(a), rank(b)) })
	var told int
	if err := tx.QueryRow(ctx, `
		INSERT INTO outside_sums AS o (account_id, account_name, hour_from, told) VALUES ($1, $2, clock_timestamp(), 0)
		ON CONFLICT ON CONSTRAINT outside_sums_pkey DO UPDATE SET account_name = excluded.account_name,
			told = CASE WHEN o.hour_from BETWEEN excluded.hour_from - $3::interval AND excluded.hour_from THEN o.told ELSE 0 END,
			hour_from = CASE WHEN o.hour_from BETWEEN excluded.hour_from - $3::interval AND excluded.hour_from THEN o.hour_from ELSE excluded.hour_from END
		RETURNING told`, account.ID, account.Name, outsideHour).Scan(&told); err != nil {
		return nil, fmt.Errorf("counting changes made outside: %w", err)
	}
	settings := slices.IndexFunc(found, func(e outsideEvent) bool { return rank(e) > 0 })
	if settings < 0 {
		settings = len(found)
	}
	n := min(max(s.outsideBudget-told, 0), settings)
	if n == settings {
		n += min(max(s.outsideBudget-s.outsideBudget/spareBudget-told-n, 0), len(found)-settings)
	}
	single, untold := found[:n], found[n:]
	if _, err := tx.Exec(ctx, `UPDATE outside_sums SET told = told + $2 WHERE account_id = $1`, account.ID, n); err != nil {
		return nil, fmt.Errorf("counting changes made outside: %w", err)
	}
	noted := map[string]int{}
	for _, e := range single {
		for _, id := range e.about {
			noted[id]++
		}
	}
	var names []string
	for _, e := range untold {
		if e.id == "" {
			names = append(names, fmt.Sprintf("%d clusters that one key opens", len(e.about)))
			for _, id := range e.about {
				noted[id]++
			}
			continue
		}
		names = append(names, named(e.name, e.id))
		noted[e.id]++
	}
	if len(untold) > 0 {
		if _, err := tx.Exec(ctx, `
			UPDATE outside_sums SET untold = untold + $2, untold_from = coalesce(untold_from, clock_timestamp()),
				untold_clusters = ARRAY(SELECT name FROM (
					SELECT name, min(place) AS place FROM unnest(untold_clusters || $3::text[]) WITH ORDINALITY AS u (name, place) GROUP BY name) once ORDER BY place LIMIT $4)
			WHERE account_id = $1`, account.ID, len(untold), names, maxSummedClusters+1); err != nil {
			return nil, fmt.Errorf("counting changes made outside: %w", err)
		}
	}
	return single, noteUntold(ctx, tx, account.ID, noted)
}

// noteUntold notes at clusters that changes of theirs are told of the account only.
func noteUntold(ctx context.Context, tx pgx.Tx, account uuid.UUID, noted map[string]int) error {
	if len(noted) == 0 {
		return nil
	}
	ids, changes := make([]string, 0, len(noted)), make([]int, 0, len(noted))
	for id, n := range noted {
		ids, changes = append(ids, id), append(changes, n)
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO outside_untold AS o (account_id, cluster_id, changes, first_at, last_at)
		SELECT $1, u.id, u.changes, clock_timestamp(), clock_timestamp() FROM unnest($2::text[], $3::integer[]) AS u (id, changes)
		WHERE EXISTS (SELECT FROM clusters c WHERE c.account_id = $1 AND c.cluster_id = u.id) ORDER BY u.id
		ON CONFLICT ON CONSTRAINT outside_untold_pkey DO UPDATE SET changes = least(o.changes::bigint + excluded.changes, 2000000000), last_at = excluded.last_at`, account, ids, changes); err != nil {
		return fmt.Errorf("noting changes made outside: %w", err)
	}
	return nil
}

// tellSums records the sums that are due, each in the transaction that sets its count back, and forgets counts that say nothing
// any more.
func (s *Service) tellSums(ctx context.Context) error {
	rows, err := s.cfg.DB.Query(ctx, `SELECT account_id FROM outside_sums WHERE untold > 0 AND `+sumIsDue+` ORDER BY account_id`, sumEvery)
	if err != nil {
		return fmt.Errorf("looking for sums of changes made outside: %w", err)
	}
	due, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil {
		return fmt.Errorf("looking for sums of changes made outside: %w", err)
	}
	var failed error
	for _, id := range due {
		failed = errors.Join(failed, s.tellSum(ctx, id))
	}
	if _, err := s.cfg.DB.Exec(ctx, `DELETE FROM outside_sums WHERE untold = 0 AND `+sumIsDue+` AND hour_from < clock_timestamp() - $2::interval`, sumEvery, outsideHour); err != nil {
		failed = errors.Join(failed, fmt.Errorf("forgetting counts of changes made outside: %w", err))
	}
	return failed
}

const sumIsDue = `(summed_at IS NULL OR summed_at NOT BETWEEN clock_timestamp() - $1::interval AND clock_timestamp())`

// tellSum records one sum, unless another replica just did.
func (s *Service) tellSum(ctx context.Context, accountID uuid.UUID) error {
	ctx, cancel := detached(ctx, storeTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		var name string
		var untold int
		var from time.Time
		var clusters []string
		err := tx.QueryRow(ctx, `SELECT account_name, untold, untold_from, untold_clusters FROM outside_sums
			WHERE account_id = $2 AND untold > 0 AND `+sumIsDue+` FOR UPDATE SKIP LOCKED`, sumEvery, accountID).Scan(&name, &untold, &from, &clusters)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `
			UPDATE outside_sums SET untold = 0, untold_from = NULL, untold_clusters = '{}', summed_at = clock_timestamp() WHERE account_id = $1`, accountID); err != nil {
			return err
		}
		if len(clusters) > maxSummedClusters {
			clusters = append(clusters[:maxSummedClusters], "and others")
		}
		e := singleEvent(accountTarget(accountRef{ID: accountID, Name: name}), JobActor("refresh"), ActAccountChangedOutside,
			audit.Change{changeUntold: {nil, untold}, changeUntoldClusters: {nil, clusters}})
		e.ID = uuid.Must(uuid.NewV7())
		e.Reason = fmt.Sprintf("Since %s more was changed than the %d changes an hour that the log tells one by one.", timeText(from), s.outsideBudget)
		return s.recordLast(ctx, tx, e)
	})
	if err != nil {
		return fmt.Errorf("telling a sum of changes made outside: %w", err)
	}
	return nil
}

// forgetUntold deletes the notes of clusters that are not known any more.
func (s *Service) forgetUntold(ctx context.Context) error {
	if _, err := s.cfg.DB.Exec(ctx, `
		DELETE FROM outside_untold o WHERE NOT EXISTS (SELECT FROM clusters c WHERE c.account_id = o.account_id AND c.cluster_id = o.cluster_id)`); err != nil {
		return fmt.Errorf("deleting notes of clusters long gone: %w", err)
	}
	return nil
}

// UntoldChanges says that changes of a cluster, or of its keys, were noticed of which its own history tells nothing.
type UntoldChanges struct {
	Changes         int
	FirstAt, LastAt time.Time
}

// untoldOf returns what was noted at a cluster; nil when nothing was.
func (s *Service) untoldOf(ctx context.Context, ref ClusterRef) (*UntoldChanges, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT changes, first_at, last_at FROM outside_untold WHERE account_id = $1 AND cluster_id = $2`, ref.AccountID, ref.ClusterID)
	if err != nil {
		return nil, dbError("reading what was not told of a cluster", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[UntoldChanges])
	if err != nil {
		return nil, dbError("reading what was not told of a cluster", err)
	}
	if len(found) == 0 {
		return nil, nil //nolint:nilnil // nothing was
	}
	return &found[0], nil
}
