package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// keysLife is how long an account's list of database keys is used before it is asked for again.
const keysLife = 10 * time.Second

// keyList is what one account answered about its database keys, of all its clusters. Secrets are in
// no listing, so there is none in here.
type keyList struct {
	keys []cloudapi.DatabaseKey // those with a name first, then admin keys
	// adminsFailed says why the admin keys are not among them. They come from an API that upstream gives
	// up, and must not take the others with them.
	adminsFailed string
	unreadable   []unreadableKey // listed, too
}

// unreadableKey is a key of which the console cannot tell what it opens.
type unreadableKey struct {
	admin bool
	cloudapi.UnreadableKey
}

// add adds what an answer of one kind lists.
func (l *keyList) add(admin bool, of cloudapi.KeyListing) {
	l.keys = append(l.keys, of.Keys...)
	for _, k := range of.Unreadable {
		l.unreadable = append(l.unreadable, unreadableKey{admin, k})
	}
}

// ringAt names a list: another key or another API of the account may be shown other keys.
type ringAt struct {
	account    uuid.UUID
	key        uuid.UUID
	generation cloudapi.Generation
}

// keyrings remembers the lists of accounts for ten seconds, unless something is done in the account
// meanwhile: here, or by another replica, of which the log tells.
type keyrings struct {
	mu    sync.Mutex
	rings map[ringAt]*keyring
}

// keyring is one list. Whoever reads it from upstream holds the turn, so that it is read once however
// many ask; everything else is guarded by the keyrings' lock.
type keyring struct {
	turn    chan struct{} // of capacity one
	list    keyList
	until   time.Time
	seq     int64 // of the account's last event before the list was read
	version int   // how often it was dropped
}

func (r *keyrings) at(at ringAt, now time.Time) *keyring {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.rings) >= maxCatalogues {
		maps.DeleteFunc(r.rings, func(_ ringAt, ring *keyring) bool { return !fresh(now, ring.until, keysLife) })
	}
	if r.rings == nil || len(r.rings) >= maxCatalogues {
		r.rings = map[ringAt]*keyring{}
	}
	ring := r.rings[at]
	if ring == nil {
		ring = &keyring{turn: make(chan struct{}, 1)}
		r.rings[at] = ring
	}
	return ring
}

// known returns the list that is remembered. seq is of the account's last event.
func (r *keyrings) known(ring *keyring, now time.Time, seq int64) (list keyList, version int, usable bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ring.list, ring.version, fresh(now, ring.until, keysLife) && ring.seq == seq
}

// keep stores a list unless it was dropped since version: then it may have been read before the
// change that dropped it.
func (r *keyrings) keep(ring *keyring, version int, list keyList, seq int64, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ring.version == version {
		ring.list, ring.seq, ring.until = list, seq, until
	}
}

// drop forgets what is known of an account's keys.
func (r *keyrings) drop(account uuid.UUID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, ring := range r.rings {
		if at.account == account {
			ring.version++
			ring.until = time.Time{}
		}
	}
}

// databaseKeys lists the keys of all clusters of an account, for a member who was authorised before.
// Errors are those of connect and of the Cloud API.
func (s *Service) databaseKeys(ctx context.Context, by audit.Actor, a Account) (keyList, error) {
	ring := s.keyrings.at(ringAt{account: a.ID, key: a.Key.ID, generation: a.Generation}, s.now())
	select {
	case ring.turn <- struct{}{}:
		defer func() { <-ring.turn }()
	case <-ctx.Done():
		return keyList{}, fmt.Errorf("waiting for the list of keys: %w", ctx.Err())
	}
	seq, err := s.cfg.Log.LastOf(ctx, a.ID.String())
	if err != nil {
		return keyList{}, dbError("looking for acts in the account", err)
	}
	list, version, usable := s.keyrings.known(ring, s.now(), seq)
	if usable {
		return list, nil
	}
	up, err := s.connect(ctx, a.ID, by.RequestID)
	if err != nil {
		return keyList{}, err
	}
	list, err = readKeys(ctx, up.cloud, a.Generation)
	s.noteKey(ctx, up, err)
	if err != nil {
		return keyList{}, fmt.Errorf("listing keys: %w", err)
	}
	s.keyrings.keep(ring, version, list, seq, s.now().Add(keysLife))
	return list, nil
}

func readKeys(ctx context.Context, up cloud, g cloudapi.Generation) (keyList, error) {
	var list keyList
	if g == cloudapi.PAV1 {
		admins, err := up.AdminKeys(ctx, "")
		list.add(true, admins)
		return list, err
	}
	named, err := up.DatabaseKeys(ctx, "")
	if err != nil {
		return keyList{}, err
	}
	list.add(false, named)
	if admins, err := up.AdminKeys(ctx, ""); err != nil {
		list.adminsFailed = reasonOf(err)
	} else {
		list.add(true, admins)
	}
	return list, nil
}

// keysChanged forgets what is known of an account's keys, and has them read again soon. A failure is logged: they are read in
// their turn.
func (s *Service) keysChanged(ctx context.Context, account uuid.UUID) {
	s.keyrings.drop(account)
	ctx, cancel := detached(ctx, snapshotTimeout)
	defer cancel()
	if _, err := s.cfg.DB.Exec(ctx, `UPDATE refresh SET next_at = least(next_at, clock_timestamp()) WHERE account_id = $1 AND kind = $2`, account, kindKeys); err != nil {
		s.cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "refresh of keys not brought forward", slog.String("account", account.String()), slog.Any("error", err))
	}
}
