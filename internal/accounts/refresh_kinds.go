package accounts

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/cloudapi"
)

// What is read of an account next to its clusters. Each kind has rows in refresh, workers and waits of its own: one that
// fails, hangs or lacks a permission delays neither the clusters nor another kind.
const (
	kindClusters = "clusters"
	kindKeys     = "keys"
	kindAlerts   = "alerts"
	kindBackups  = "backups"
)

// otherKind is one of them besides clusters.
type otherKind struct {
	name        string
	generations []cloudapi.Generation // that have it
	needs       func(cloudapi.Generation) cloudapi.Op
	// read reads and stores what is due in a leased account, and says when the next is.
	read func(ctx context.Context, l lease, up *link) (time.Duration, error)
}

const (
	// kindWorkers refresh accounts of one kind whose last refresh went well, kindTroubled the others, and kindSlow those
	// that take long.
	kindWorkers  = 3
	kindTroubled = 1
	kindSlow     = 8
	// besideClusters is how often at most an account of a kind is read while clusters are behind.
	besideClusters = time.Second
	// planEvery is how often it is looked whether each account has a row for each kind that it has.
	planEvery = time.Minute
)

func (s *Service) otherKinds() []otherKind {
	return []otherKind{
		{kindKeys, []cloudapi.Generation{cloudapi.Current, cloudapi.PAV1}, func(g cloudapi.Generation) cloudapi.Op { return *readKeysOf(g).Op(g) }, s.refreshKeys},
		{kindAlerts, []cloudapi.Generation{cloudapi.Current}, func(cloudapi.Generation) cloudapi.Op { return cloudapi.OpListClusterAlerts }, s.refreshAlerts},
		{kindBackups, []cloudapi.Generation{cloudapi.Current}, func(cloudapi.Generation) cloudapi.Op { return cloudapi.OpListBackups }, s.refreshBackups},
	}
}

// planKinds makes what accounts do not have yet due: of those that another release registered, and of those that were moved to
// an API that has more.
func (s *Service) planKinds(ctx context.Context) error {
	return s.planKindsOf(ctx, s.cfg.DB, uuid.NullUUID{})
}

// planKindsOf is planKinds for one account.
func (s *Service) planKindsOf(ctx context.Context, db executor, account uuid.NullUUID) error {
	for _, k := range s.otherKinds() {
		if _, err := db.Exec(ctx, `
			INSERT INTO refresh (account_id, kind, created_at, next_at)
			SELECT a.id, $1, clock_timestamp(), clock_timestamp() FROM accounts a
			WHERE a.enabled AND a.generation = ANY($2) AND ($3::uuid IS NULL OR a.id = $3) AND NOT EXISTS (SELECT FROM refresh f WHERE f.account_id = a.id AND f.kind = $1)
			ON CONFLICT ON CONSTRAINT refresh_pkey DO NOTHING`, k.name, k.generations, account); err != nil {
			return fmt.Errorf("planning to read %s: %w", k.name, err)
		}
	}
	return nil
}

// baselineKinds forgets what was read of an account through another API, so that the next read is where comparing begins.
func baselineKinds(batch *pgx.Batch, accountID uuid.UUID) {
	batch.Queue(`
		UPDATE refresh SET lease_until = NULL, lease_owner = '', ok_at = NULL, digest = NULL, failures = 0, error = '', next_at = clock_timestamp()
		WHERE account_id = $1 AND kind <> 'clusters'`, accountID)
	for _, table := range []string{"database_keys", "backups", "backup_schedules", "cluster_backups"} {
		batch.Queue(`DELETE FROM `+table+` WHERE account_id = $1`, accountID)
	}
}

// kindOwner begins what this process is called in leases of kinds besides clusters: takeBack must not take those.
func (s *Service) kindOwner() string { return s.cfg.Owner + "#" }

// leaseKind is lease for one kind of those next to clusters, of accounts whose clusters were read: these go first.
func (s *Service) leaseKind(ctx context.Context, k otherKind, troubled bool, n int) ([]lease, error) {
	return s.leaseDue(ctx, k.name, s.kindOwner()+k.name+"/", leaseOther, troubled, n, k.generations)
}

// turn orders what is due when there are more than there are workers: how late something is counts double where the account
// is one of production, double where something in it is not well, and fourfold where somebody looks. Everything grows late and
// has its turn. f names the rows of refresh, a their accounts; the others are expressions.
func turn(f, unhealthy, everything, environments, accounts string) string {
	return `(1 + greatest(extract(epoch FROM clock_timestamp() - ` + f + `.next_at), 0))
		* CASE WHEN a.environment = 'production' THEN 2 ELSE 1 END
		* CASE WHEN ` + unhealthy + ` THEN 2 ELSE 1 END
		* CASE WHEN ` + everything + `::boolean OR a.environment = ANY(` + environments + `::text[]) OR a.id = ANY(` + accounts + `::uuid[]) THEN 4 ELSE 1 END DESC, ` + f + `.next_at`
}

// screen is what somebody looks at: what members may read who have a page open that is told of changes.
type screen struct {
	everything   bool
	environments []string
	accounts     []uuid.UUID
}

// onScreen is what is on screen at this process. Of those who see clusters by their labels it is known in which accounts these
// were when findLabelled last looked.
func (s *Service) onScreen() screen {
	all := s.hub.union()
	if all.Everything {
		return screen{everything: true}
	}
	look := screen{environments: all.Environments, accounts: all.Accounts}
	if labelled := s.labelled.Load(); len(all.Labels) > 0 && labelled != nil {
		look.accounts = slices.Concat(look.accounts, *labelled)
	}
	return look
}

const (
	labelledEvery = 10 * time.Second
	// maxLabelled bounds the accounts in which clusters are that somebody sees by their labels. Where they are more, the rest
	// has its turn like any other.
	maxLabelled = 1000
)

// findLabelled finds the accounts of the clusters that those with a page open may see by their labels.
func (s *Service) findLabelled(ctx context.Context) error {
	accounts := []uuid.UUID{}
	if labels := s.hub.union().Labels; len(labels) > 0 { // none when all is on screen
		enough, err := enoughLabels(labels)
		if err != nil {
			return err
		}
		rows, err := s.cfg.DB.Query(ctx, `
			SELECT DISTINCT c.account_id FROM unnest($1::text[]) asked (labels),
				LATERAL (SELECT c.account_id FROM clusters c WHERE c.gone_at IS NULL AND c.labels @> asked.labels::jsonb OFFSET 0) c LIMIT $2`, enough, maxLabelled)
		if err != nil {
			return fmt.Errorf("finding what is seen by labels: %w", err)
		}
		if accounts, err = pgx.CollectRows(rows, pgx.RowTo[uuid.UUID]); err != nil {
			return fmt.Errorf("finding what is seen by labels: %w", err)
		}
	}
	s.labelled.Store(&accounts)
	return nil
}

// kindPlaces is how many accounts more of a kind may be read now, of which the last one was begun at a time. While clusters wait
// for their turn, which are what people look at first, it is one a second at most.
func (s *Service) kindPlaces(slots chan struct{}, last time.Time) int {
	switch {
	case !s.refreshing.behind.Load():
		return cap(slots) - len(slots)
	case time.Since(last) < besideClusters:
		return 0
	}
	return 1 - len(slots)
}

// kindLoop reads one kind of all accounts until ctx ends, and returns when all reading has ended.
func (s *Service) kindLoop(ctx context.Context, k otherKind) {
	var running sync.WaitGroup
	defer running.Wait()
	steady, troubled, slow := make(chan struct{}, kindWorkers), make(chan struct{}, kindTroubled), make(chan struct{}, kindSlow)
	free := make(chan struct{}, 1)
	moved := func() {
		select {
		case free <- struct{}{}:
		default:
		}
	}
	last := map[bool]time.Time{} // of those that fail, and of the others: neither takes the other's turn
	dispatch := func(slots chan struct{}, failing bool) error {
		n := s.kindPlaces(slots, last[failing])
		if n <= 0 {
			return nil
		}
		leases, err := s.leaseKind(ctx, k, failing, n)
		if err != nil {
			return err
		}
		for _, l := range leases {
			slots <- struct{}{}
			last[failing] = time.Now()
			running.Go(func() {
				l.course = (&stages{slow: slow}).begin(slots, moved)
				defer l.course.end()
				_ = l.course.ask(ctx) // from the place it has
				s.refreshKind(ctx, k, l)
			})
		}
		return nil
	}
	s.rounds(ctx, k.name, free, func(tick time.Duration) (time.Duration, error) {
		return tick, errors.Join(dispatch(steady, false), dispatch(troubled, true))
	})
}

// refreshKind reads one kind of a leased account and stores it, or stores why that failed. It gives the lease back in
// every case; where that fails the lease runs out.
func (s *Service) refreshKind(ctx context.Context, k otherKind, l lease) {
	var next time.Duration
	err := s.traced(ctx, k.name, l, func(ctx context.Context) (err error) {
		next, err = s.readKind(ctx, k, l)
		return err
	})
	switch {
	case err == nil:
		s.metrics.refreshes.WithLabelValues(k.name, "ok").Inc()
		err = s.storeKind(ctx, k, l, `failures = 0, next_at = clock_timestamp() + $4::interval`, s.jittered(next))
	case errors.Is(err, errLeaseLost):
		return
	case ctx.Err() != nil || conflicting(err): // the console stops, or the account was disabled
		err = s.storeKind(ctx, k, l, `failures = failures`)
	case errors.Is(err, errBusy):
		s.metrics.refreshes.WithLabelValues(k.name, "busy").Inc()
		err = s.storeKind(ctx, k, l, `next_at = clock_timestamp() + $4::interval`, s.jittered(s.cfg.PollMin)) // behind those that were not tried
	default:
		s.metrics.refreshes.WithLabelValues(k.name, "failed").Inc()
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refresh failed", slog.String("kind", k.name), slog.String("account", l.AccountID.String()),
			slog.Int("failures", l.Failures+1), slog.Any("error", err))
		// What one lacks the right for is not soon there; the others are asked again as clusters are.
		wait := s.waitAfter(err, l.Failures+1)
		if _, lacks := errors.AsType[*lackingError](err); lacks {
			wait = s.cfg.PollMax
		}
		err = s.storeKind(ctx, k, l, `failed_at = clock_timestamp(), failures = failures + 1, digest = NULL, error = $5, next_at = clock_timestamp() + $4::interval`,
			s.jittered(wait), cut(kindWords(err), maxSnapshotText))
	}
	if err != nil && !errors.Is(err, errLeaseLost) {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refresh not stored", slog.String("kind", k.name), slog.String("account", l.AccountID.String()), slog.Any("error", err))
	}
}

func conflicting(err error) bool {
	_, is := errors.AsType[*ConflictError](err)
	return is
}

// lackingError is a read that is not tried, because the account's key is known not to be allowed it.
type lackingError struct{ permissions []string }

func (e *lackingError) Error() string { return "the key lacks " + strings.Join(e.permissions, " and ") }

// kindWords says for people why something besides clusters could not be read.
func kindWords(err error) string {
	if lacks, ok := errors.AsType[*lackingError](err); ok {
		return "The account's key lacks " + strings.Join(lacks.permissions, " and ") + "."
	}
	if refused, ok := cloudapi.AsError(err); ok && refused.Kind == cloudapi.Forbidden {
		return "The key may not read this: " + refused.Public()
	}
	return refreshWords(err)
}

// readKind connects and reads. What panics is an error, also in goroutines that the reading guards: one account's nonsense must not end
// the refreshes of the others.
func (s *Service) readKind(ctx context.Context, k otherKind, l lease) (next time.Duration, err error) {
	err = guarded(ctx, func(ctx context.Context) (err error) {
		next, err = s.readKindOf(ctx, k, l)
		return err
	})
	if broken, did := errors.AsType[*panicError](err); did {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelError, "refresh panicked", slog.String("kind", k.name), slog.String("account", l.AccountID.String()),
			slog.Any("panic", broken.value), slog.String("stack", broken.stack))
		err = &listingError{"The console failed on the answer; its log tells more."}
	}
	return next, err
}

func (s *Service) readKindOf(ctx context.Context, k otherKind, l lease) (next time.Duration, err error) {
	reading, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	up, err := s.connectTo(reading, l.AccountID, l.Generation, inBackground, s.newID().String())
	if err != nil {
		return 0, err
	}
	account, err := accountByID(reading, s.cfg.DB, l.AccountID, false)
	if err != nil {
		return 0, err
	}
	if lacking := keyLacks(account.Key, k.needs(l.Generation).Permissions); len(lacking) > 0 {
		return 0, &lackingError{lacking}
	}
	next, err = k.read(reading, l, up)
	// That the key may not do this one thing is told with it, and is no refusal of the key.
	if refused, ok := cloudapi.AsError(err); ok && refused.Kind == cloudapi.Unauthenticated {
		s.noteKey(reading, up, err)
	}
	return next, err
}

// storeKind gives the lease back and sets what else there is to set, of which the arguments are $4 and so on.
func (s *Service) storeKind(ctx context.Context, k otherKind, l lease, set string, arguments ...any) error {
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	done, err := s.cfg.DB.Exec(ctx, `UPDATE refresh SET lease_until = NULL, lease_owner = '', `+set+` WHERE account_id = $1 AND kind = $2 AND lease_owner = $3`,
		append([]any{l.AccountID, k.name, l.Owner}, arguments...)...)
	if err != nil {
		return fmt.Errorf("storing a refresh of %s: %w", k.name, err)
	}
	if done.RowsAffected() == 0 {
		return errLeaseLost
	}
	return nil
}

// digestOf is the same for the same things in the same order.
func digestOf(things any) ([]byte, error) {
	text, err := json.Marshal(things)
	if err != nil {
		return nil, fmt.Errorf("encoding what was read: %w", err)
	}
	sum := sha256.Sum256(text)
	return sum[:], nil
}
