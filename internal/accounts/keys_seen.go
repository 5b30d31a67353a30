package accounts

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

// Database keys are listed account by account, and what somebody made or deleted past this console is told by comparing, as for
// clusters (see outside.go). A key cannot be changed, only made and deleted, and the log names the keys of our own acts, so
// this is simpler:
//
//   - A key that is new in a listing is ours when an outcome in the log names it. While an act is open that makes keys in its
//     cluster, it may be that act's: it is not stored, and looked at again.
//   - A key that is missing is ours when an outcome tells that it was deleted, and left alone while such an act is open. It counts
//     as deleted only when two listings in a row do not have it, or, when more than half are missing at once, for a
//     while. Where its clusters are gone, too, it went with them, and that is told of them.
//   - A key that is listed and cannot be read is not missing. While one is listed of which not even the id can be read, none is.
//
// Attempts are in the log before upstream is called, and the log is read after the listing: so no key of ours is taken for
// somebody else's. The first listing is where comparing begins.

const (
	// massMissing is how long more than half of an account's keys must be missing to count as deleted.
	massMissing = 15 * time.Minute
	// maxKeysTold bounds the keys that one event names.
	maxKeysTold = 50
	// maxKeyEvents is how many clusters a key opens of which each has an event of its own. What opens more is told of the account.
	maxKeyEvents = 100
	// maxListedKeys bounds a listing. Past it it is not believed.
	maxListedKeys = 50_000
)

// seenKey is a key as database_keys has it.
type seenKey struct {
	Admin     bool
	KeyID     string
	Name      string
	Mark      string
	Clusters  []string
	Access    []string
	CreatedBy string
	CreatedAt *time.Time
	ExpiresAt *time.Time
	MissingAt *time.Time `json:"-"`
	More      int        `db:"-"` // so many clusters it opens besides; known only of what was just listed
}

// keyAt tells keys of an account apart.
type keyAt struct {
	admin bool
	id    string
}

func (k seenKey) at() keyAt { return keyAt{k.Admin, k.KeyID} }

func (k seenKey) kind() string {
	if k.Admin {
		return KindAdminKey
	}
	return KindKey
}

// told is what an event calls the key.
func (k seenKey) told() string {
	if k.Admin {
		return k.Mark + "…"
	}
	return k.Name + " (…" + k.Mark + ")"
}

func seenKeyOf(k cloudapi.DatabaseKey) seenKey {
	seen := seenKey{
		Admin: k.Admin, KeyID: plain(k.ID), Name: plain(k.Name), Mark: plain(KeyMark(k)), CreatedBy: plain(k.CreatedBy), More: k.More,
		CreatedAt: seenMoment(k.CreatedAt), ExpiresAt: seenMoment(k.ExpiresAt), Clusters: []string{}, Access: []string{},
	}
	for _, id := range k.Clusters {
		seen.Clusters = append(seen.Clusters, plain(id))
	}
	slices.Sort(seen.Clusters)
	for _, line := range accessLines(k.Access) {
		seen.Access = append(seen.Access, plain(line))
	}
	return seen
}

// same reports whether the key is stored like this already.
func (k seenKey) same(o seenKey) bool {
	return o.MissingAt == nil && k.Name == o.Name && k.Mark == o.Mark && slices.Equal(k.Clusters, o.Clusters) && slices.Equal(k.Access, o.Access) &&
		k.CreatedBy == o.CreatedBy && sameMoment(k.CreatedAt, o.CreatedAt) && sameMoment(k.ExpiresAt, o.ExpiresAt)
}

// refreshKeys lists the database keys of an account, tells of those that somebody made or deleted elsewhere, and stores them.
func (s *Service) refreshKeys(ctx context.Context, l lease, up *link) (time.Duration, error) {
	list, err := readKeys(ctx, up.cloud, l.Generation)
	if err != nil {
		return 0, err
	}
	if len(list.keys) > maxListedKeys {
		return 0, &listingError{"Qdrant Cloud listed more keys than the console takes."}
	}
	read := keyReadingOf(list)
	inOrder := slices.SortedFunc(maps.Values(read.listed), func(a, b seenKey) int {
		return cmp.Or(cmp.Compare(a.kind(), b.kind()), cmp.Compare(a.KeyID, b.KeyID))
	})
	if read.digest, err = digestOf([]any{inOrder, read.words(), read.namedIDs()}); err != nil {
		return 0, err
	}
	var before []byte
	if err := s.cfg.DB.QueryRow(ctx, `SELECT digest FROM refresh WHERE account_id = $1 AND kind = $2`, l.AccountID, kindKeys).Scan(&before); err != nil {
		return 0, fmt.Errorf("reading the digest of the keys: %w", err)
	}
	if bytes.Equal(before, read.digest) {
		_, err := s.cfg.DB.Exec(ctx, `UPDATE refresh SET ok_at = $4 WHERE account_id = $1 AND kind = $2 AND lease_owner = $3`, l.AccountID, kindKeys, l.Owner, l.StartedAt)
		if err != nil {
			return 0, fmt.Errorf("storing that keys are as they were: %w", err)
		}
		return s.cfg.PollMax, nil
	}
	known, err := s.knownKeys(ctx, l.AccountID)
	if err != nil {
		return 0, err
	}
	judged, err := s.judgeKeys(ctx, l, up, read, known)
	if err != nil {
		return 0, err
	}
	if err := s.storeKeys(ctx, l, read, judged); err != nil {
		return 0, err
	}
	if judged.waits {
		return s.cfg.PollMin, nil
	}
	return s.cfg.PollMax, nil
}

// keyReading is what one reading found.
type keyReading struct {
	listed     map[keyAt]seenKey
	unread     string         // why admin keys are not among them; empty: they are
	unreadable []string       // why keys cannot be read that are listed besides
	named      map[keyAt]bool // those of them of which the id can be read
	cut        int            // so many keys name more clusters than are kept
	digest     []byte
}

func keyReadingOf(list keyList) keyReading {
	read := keyReading{listed: map[keyAt]seenKey{}, named: map[keyAt]bool{}, unread: list.adminsFailed}
	for _, k := range list.keys {
		seen := seenKeyOf(k)
		read.listed[seen.at()] = seen
		if k.More > 0 {
			read.cut++
		}
	}
	for _, k := range list.unreadable {
		read.unreadable = append(read.unreadable, k.Reason)
		if k.ID != "" {
			read.named[keyAt{k.admin, plain(k.ID)}] = true
		}
	}
	return read
}

func (r keyReading) namedIDs() []string {
	ids := []string{}
	for at := range r.named {
		ids = append(ids, at.id)
	}
	slices.Sort(ids)
	return ids
}

// lacks reports whether a key that is known is missing from what was read.
func (r keyReading) lacks(k seenKey) bool {
	if _, listed := r.listed[k.at()]; listed || r.named[k.at()] {
		return false
	}
	return len(r.named) == len(r.unreadable) // else it may be any of those
}

func (s *Service) knownKeys(ctx context.Context, accountID uuid.UUID) (map[keyAt]seenKey, error) {
	rows, err := s.cfg.DB.Query(ctx, `
		SELECT admin, key_id, name, mark, clusters, access, created_by, created_at, expires_at, missing_at FROM database_keys WHERE account_id = $1`, accountID)
	if err != nil {
		return nil, fmt.Errorf("reading known keys: %w", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[seenKey])
	if err != nil {
		return nil, fmt.Errorf("reading known keys: %w", err)
	}
	known := make(map[keyAt]seenKey, len(stored))
	for _, k := range stored {
		known[k.at()] = k
	}
	return known, nil
}

// judgedKeys is what is concluded from a listing.
type judgedKeys struct {
	write   []seenKey // new, or different
	missing []seenKey // for the first time
	deleted []seenKey
	events  []outsideEvent
	undone  bool // something is looked at again with the next listing
	waits   bool // and that soon
}

// judgeKeys compares a listing with what is known.
func (s *Service) judgeKeys(ctx context.Context, l lease, up *link, read keyReading, known map[keyAt]seenKey) (judgedKeys, error) {
	var judged judgedKeys
	var fresh, missing []seenKey
	alive := 0
	for at, k := range read.listed {
		was, stored := known[at]
		switch {
		case !stored:
			fresh = append(fresh, k)
		case !k.same(was):
			judged.write = append(judged.write, k)
		}
	}
	for _, k := range known {
		if k.Admin && read.unread != "" {
			continue
		}
		alive++
		if read.lacks(k) {
			missing = append(missing, k)
		}
	}
	if l.OKAt == nil {
		judged.write = append(judged.write, fresh...)
		judged.deleted = missing
		return judged, nil
	}
	if len(fresh)+len(missing) == 0 {
		return judged, nil
	}
	own, err := s.ownKeys(ctx, l.AccountID, fresh, missing)
	if err != nil {
		return judged, err
	}
	made, deleted := []seenKey{}, []seenKey{}
	for _, k := range fresh {
		switch {
		case own.made[k.at()]:
			judged.write = append(judged.write, k)
		case own.mayMake(k) || own.justDeleted[k.at()]:
			judged.waits = true
		default:
			made = append(made, k)
		}
	}
	mass := len(missing) >= 3 && 2*len(missing) > alive
	for _, k := range missing {
		switch {
		case own.deleted[k.at()]:
			judged.deleted = append(judged.deleted, k)
		case own.mayDelete[k.at()]:
			judged.waits = true
		case k.MissingAt == nil:
			judged.missing, judged.waits = append(judged.missing, k), true
		case mass && l.StartedAt.Sub(*k.MissingAt) < massMissing && l.StartedAt.After(*k.MissingAt):
			judged.undone = true
		default:
			deleted = append(deleted, k)
		}
	}
	return judged, s.tellOfKeys(ctx, l, up, &judged, made, deleted)
}

// ownActs is what the log tells of acts of ours on keys.
type ownActs struct {
	made, deleted map[keyAt]bool
	mayDelete     map[keyAt]bool // an act is open
	justDeleted   map[keyAt]bool // upstream may still list it
	making        map[string]bool
	unclear       bool // too much is open to tell
}

// mayMake reports whether an act is open that may have made the key.
func (o ownActs) mayMake(k seenKey) bool {
	return o.unclear || slices.ContainsFunc(k.Clusters, func(id string) bool { return o.making[id] })
}

// ownKeys asks the log which of the keys acts of ours made or deleted. What is open is asked for first: what ends meanwhile is
// then found among the outcomes.
func (s *Service) ownKeys(ctx context.Context, accountID uuid.UUID, fresh, missing []seenKey) (ownActs, error) {
	own := ownActs{made: map[keyAt]bool{}, deleted: map[keyAt]bool{}, mayDelete: map[keyAt]bool{}, justDeleted: map[keyAt]bool{}, making: map[string]bool{}}
	open, err := s.cfg.Log.OpenOperations(ctx, 0, 0)
	if err != nil {
		return own, dbError("looking for open acts on keys", err)
	}
	own.unclear = len(open) >= maxOpenLooked
	for _, o := range open {
		a := o.Attempt
		if a.Account.ID != accountID.String() || a.Target.Kind != KindKey && a.Target.Kind != KindAdminKey {
			continue
		}
		if a.Target.ID != "" {
			own.mayDelete[keyAt{a.Target.Kind == KindAdminKey, a.Target.ID}] = true
		}
		if makesKey(a.Act) {
			own.making[changedTo(a.Change, changeCluster)] = true
			for _, id := range changedToList(a.Change, changeClusters) {
				own.making[id] = true
			}
		}
	}
	if own.unclear {
		for _, k := range missing {
			own.mayDelete[k.at()] = true
		}
	}
	ids := map[string][]string{}
	for _, k := range slices.Concat(fresh, missing) {
		ids[k.kind()] = append(ids[k.kind()], k.KeyID)
	}
	var now time.Time // of the clock that the log goes by
	if err := s.cfg.DB.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now); err != nil {
		return own, dbError("reading the clock", err)
	}
	for kind, of := range ids {
		done, err := s.cfg.Log.OutcomesOf(ctx, accountID.String(), kind, of)
		if err != nil {
			return own, dbError("reading the history of keys", err)
		}
		for _, e := range done {
			at := keyAt{kind == KindAdminKey, e.Target.ID}
			switch {
			case makesKey(e.Act):
				own.made[at] = true
			case e.Act == ActKeyDelete.Name || e.Act == ActAdminKeyDelete.Name:
				own.deleted[at], own.made[at] = true, false
				own.justDeleted[at] = !elapsed(now, e.RecordedAt, s.refreshing.settleOwn)
			}
		}
	}
	return own, nil
}

// mayHaveGoneWith reports whether the key may have gone because its clusters did: none of them is known to be there, and upstream was not
// asked for all. A key stays as long as one of its clusters does.
func (k seenKey) mayHaveGoneWith(clusters map[string]keyCluster) bool {
	return !slices.ContainsFunc(k.Clusters, func(id string) bool { return clusters[id].asked && !clusters[id].gone }) &&
		slices.ContainsFunc(k.Clusters, func(id string) bool { return !clusters[id].asked && !clusters[id].gone })
}

// maxOpenLooked is how many open operations the log gives at once.
const maxOpenLooked = 500

// tellOfKeys makes the events about keys that somebody else made or deleted, one for each of their clusters. A key that opens many is
// told of the account, and noted at the clusters.
func (s *Service) tellOfKeys(ctx context.Context, l lease, up *link, judged *judgedKeys, made, deleted []seenKey) error {
	if len(made)+len(deleted) == 0 {
		return nil
	}
	clusters, err := s.keyClusters(ctx, l, up, deleted, slices.Concat(made, deleted))
	if err != nil {
		return err
	}
	wished, err := s.wishedKeys(ctx, l.AccountID, made)
	if err != nil {
		return err
	}
	type both struct {
		made, deleted []string
		reason        string
	}
	of := map[string]*both{}
	// tell reports whether the key's events fit among those of this refresh. They always do when they are the first. Of keys that
	// do not fit nothing is stored, so that the next refresh tells of them.
	tell := func(k seenKey, field string, into func(*both) *[]string) bool {
		there := slices.DeleteFunc(slices.Clone(k.Clusters), func(id string) bool { return clusters[id].gone })
		wide := len(there) > maxKeyEvents
		more := 1
		if !wide {
			more = len(slices.DeleteFunc(slices.Clone(there), func(id string) bool { return of[id] != nil }))
		}
		if before := len(of) + len(judged.events); before > 0 && before+more > maxOutsideEvents {
			judged.waits = true
			return false
		}
		if wide {
			sides := [2]any{nil, []string{fmt.Sprintf("%s opens %d clusters", k.told(), len(there)+k.More)}}
			if field == "keys_deleted" {
				sides = [2]any{sides[1], nil}
			}
			judged.events = append(judged.events, outsideEvent{change: audit.Change{field: sides}, about: there, reason: wished[k.at()]})
			return true
		}
		for _, id := range there {
			if of[id] == nil {
				of[id] = &both{}
			}
			names := into(of[id])
			*names = append(*names, k.told())
			of[id].reason = cmp.Or(of[id].reason, wished[k.at()])
		}
		return true
	}
	for _, k := range made {
		if tell(k, "keys_made", func(b *both) *[]string { return &b.made }) {
			judged.write = append(judged.write, k)
		}
	}
	for _, k := range deleted {
		// Clusters are missed within minutes, mostly; then the keys are no question any more.
		if k.mayHaveGoneWith(clusters) && k.MissingAt != nil && l.StartedAt.Sub(*k.MissingAt) < massMissing && l.StartedAt.After(*k.MissingAt) {
			judged.undone = true
			continue
		}
		if tell(k, "keys_deleted", func(b *both) *[]string { return &b.deleted }) {
			judged.deleted = append(judged.deleted, k)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(of)) {
		change := audit.Change{}
		if names := of[id].made; len(names) > 0 {
			change["keys_made"] = [2]any{nil, someKeys(names)}
		}
		if names := of[id].deleted; len(names) > 0 {
			change["keys_deleted"] = [2]any{someKeys(names), nil}
		}
		judged.events = append(judged.events, outsideEvent{id: id, name: clusters[id].name, reason: of[id].reason, change: change})
	}
	return nil
}

// wishedKeys says of keys that seem to be somebody else's which of them an act of ours may have made after all, because it asked for a key of
// that name in that cluster and nobody knows how it ended.
func (s *Service) wishedKeys(ctx context.Context, accountID uuid.UUID, made []seenKey) (map[keyAt]string, error) {
	wished := map[keyAt]string{}
	for _, kind := range []string{KindKey, KindAdminKey} {
		of := slices.DeleteFunc(slices.Clone(made), func(k seenKey) bool { return k.kind() != kind })
		if len(of) == 0 {
			continue
		}
		since := s.now()
		for _, k := range of {
			if k.CreatedAt != nil && k.CreatedAt.Before(since) {
				since = *k.CreatedAt
			}
		}
		unknown, err := s.cfg.Log.UnknownSince(ctx, accountID.String(), kind, since.Add(-clockSkew))
		if err != nil {
			return nil, dbError("looking for acts whose outcome is not known", err)
		}
		for _, k := range of {
			if slices.ContainsFunc(unknown, func(o audit.Stored) bool { return makesKey(o.Act) && mayHaveMade(o.Event, k) }) {
				wished[k.at()] = "An act of this console asked for a key of this name, and its outcome is not known."
			}
		}
	}
	return wished, nil
}

// mayHaveMade reports whether an attempt asks for a key of this name in one of its clusters.
func mayHaveMade(attempt audit.Event, k seenKey) bool {
	clusters := append(changedToList(attempt.Change, changeClusters), changedTo(attempt.Change, changeCluster))
	return slices.ContainsFunc(clusters, func(id string) bool { return id != "" && slices.Contains(k.Clusters, id) }) &&
		(k.Admin || attempt.Target.Name == k.Name)
}

func someKeys(names []string) []string {
	slices.Sort(names)
	if more := len(names) - maxKeysTold; more > 0 {
		names = append(slices.Clone(names[:maxKeysTold]), fmt.Sprintf("%d more", more))
	}
	return names
}

// keyCluster is a cluster that a key opens, or opened.
type keyCluster struct {
	name  string
	gone  bool // or going
	asked bool // upstream was, in this refresh
}

// keyClusters are the clusters of keys. Upstream is asked for those of deleted keys that are there as far as is known: a
// cluster that goes takes its keys along, and may not have been missed yet. Of those it asks for maxLookups at most; the others are not asked.
func (s *Service) keyClusters(ctx context.Context, l lease, up *link, deleted, all []seenKey) (map[string]keyCluster, error) {
	var ids []string
	for _, k := range all {
		ids = append(ids, k.Clusters...)
	}
	rows, err := s.cfg.DB.Query(ctx, `SELECT cluster_id, name, gone_at IS NOT NULL OR phase = $3 FROM clusters WHERE account_id = $1 AND cluster_id = ANY($2)`,
		l.AccountID, ids, string(cloudapi.PhaseDeleting))
	if err != nil {
		return nil, fmt.Errorf("reading the clusters of keys: %w", err)
	}
	clusters := map[string]keyCluster{}
	var id string
	var c keyCluster
	if _, err := pgx.ForEachRow(rows, []any{&id, &c.name, &c.gone}, func() error {
		clusters[id] = c
		return nil
	}); err != nil {
		return nil, fmt.Errorf("reading the clusters of keys: %w", err)
	}
	asked := 0
	for _, k := range deleted {
		for _, id := range k.Clusters {
			if clusters[id].gone || clusters[id].asked {
				continue
			}
			if asked == maxLookups {
				return clusters, nil
			}
			asked++
			now, err := up.cloud.Cluster(ctx, id)
			switch refused, ok := cloudapi.AsError(err); {
			case err == nil:
				clusters[id] = keyCluster{name: plain(now.Name), gone: now.State.Phase == cloudapi.PhaseDeleting, asked: true}
			case ok && refused.Kind == cloudapi.NotFound:
				clusters[id] = keyCluster{name: clusters[id].name, gone: true, asked: true}
			default: // it cannot be told, so nothing is concluded yet
				return nil, err
			}
		}
	}
	return clusters, nil
}

// storeKeys stores what was concluded in one transaction, with the events as its last statement.
func (s *Service) storeKeys(ctx context.Context, l lease, read keyReading, judged judgedKeys) error {
	ctx, cancel := context.WithTimeout(ctx, snapshotTimeout)
	defer cancel()
	changed := map[string]bool{}
	batch := &pgx.Batch{}
	slices.SortFunc(judged.write, func(a, b seenKey) int { return cmp.Or(cmp.Compare(a.kind(), b.kind()), cmp.Compare(a.KeyID, b.KeyID)) })
	for _, k := range judged.write {
		batch.Queue(`
			INSERT INTO database_keys (account_id, admin, key_id, name, mark, clusters, access, created_by, created_at, expires_at, seen_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
			ON CONFLICT ON CONSTRAINT database_keys_pkey DO UPDATE SET name = excluded.name, mark = excluded.mark, clusters = excluded.clusters,
				access = excluded.access, created_by = excluded.created_by, created_at = excluded.created_at, expires_at = excluded.expires_at,
				seen_at = excluded.seen_at, missing_at = NULL`,
			l.AccountID, k.Admin, k.KeyID, k.Name, k.Mark, k.Clusters, k.Access, k.CreatedBy, k.CreatedAt, k.ExpiresAt, l.StartedAt)
	}
	each := func(keys []seenKey, statement string, arguments ...any) {
		admin, ids := make([]bool, len(keys)), make([]string, len(keys))
		for i, k := range keys {
			admin[i], ids[i] = k.Admin, k.KeyID
		}
		if len(keys) > 0 {
			batch.Queue(statement+` WHERE account_id = $1 AND (admin, key_id) IN (SELECT * FROM unnest($2::boolean[], $3::text[]))`,
				append([]any{l.AccountID, admin, ids}, arguments...)...)
		}
	}
	for at := range read.named { // listed, though it cannot be read: what is missing is missing from two lists in a row
		batch.Queue(`UPDATE database_keys SET missing_at = NULL WHERE account_id = $1 AND admin = $2 AND key_id = $3 AND missing_at IS NOT NULL`, l.AccountID, at.admin, at.id)
	}
	each(judged.missing, `UPDATE database_keys SET missing_at = $4`, l.StartedAt)
	each(judged.deleted, `DELETE FROM database_keys`)
	for _, k := range slices.Concat(judged.write, judged.deleted) {
		for _, id := range k.Clusters {
			changed[id] = true
		}
	}
	digest := read.digest
	if judged.waits || judged.undone {
		digest = nil
	}
	batch.Queue(`UPDATE refresh SET ok_at = $3, digest = $4, error = $5 WHERE account_id = $1 AND kind = $2`, l.AccountID, kindKeys, l.StartedAt, digest, cut(read.words(), maxSnapshotText))
	err := pgx.BeginFunc(ctx, s.cfg.DB, func(tx pgx.Tx) error {
		if err := holdLease(ctx, tx, kindKeys, l); err != nil {
			return err
		}
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return fmt.Errorf("storing keys: %w", err)
		}
		if len(changed) > 0 || l.OKAt == nil || l.Failures > 0 {
			if err := notifyClusters(ctx, tx, l.AccountID, slices.Sorted(maps.Keys(changed))...); err != nil {
				return err
			}
		}
		return s.recordOutside(ctx, tx, l, ActClusterKeysOutside, judged.events)
	})
	if err != nil {
		return fmt.Errorf("storing the list of keys: %w", err)
	}
	return nil
}

// words say for people what of the keys could not be read.
func (r keyReading) words() string {
	var all []string
	if r.unread != "" {
		all = append(all, "Admin keys could not be listed: "+r.unread)
	}
	if n := len(r.unreadable); n > 0 {
		all = append(all, fmt.Sprintf("The console could not read %d of the keys that Qdrant Cloud listed, so these are not shown, and they may open any cluster: %s.", n, strings.TrimSuffix(r.unreadable[0], ".")))
	}
	if r.cut > 0 {
		all = append(all, fmt.Sprintf("Of %d admin keys not all clusters are shown that they open: they open more than the console takes of one, or name some in a way that it cannot read.", r.cut))
	}
	return strings.Join(all, " ")
}
