package accounts

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// radarLimit is how many keys a page has.
const radarLimit = 100

// KeyEnd is when a key ends, as the radar sorts keys.
type KeyEnd string

// When keys end.
const (
	KeyExpired   KeyEnd = "expired"
	KeyEndsWeek  KeyEnd = "week"  // within seven days
	KeyEndsMonth KeyEnd = "month" // within thirty, and not within seven
	KeyEndsLater KeyEnd = "later"
	KeyEndsNever KeyEnd = "never"
)

// KeyEnds lists them, the most urgent first.
var KeyEnds = []KeyEnd{KeyExpired, KeyEndsWeek, KeyEndsMonth, KeyEndsLater, KeyEndsNever}

// RadarQuery is what /keys may be asked. Zero values do not filter.
type RadarQuery struct {
	Text    string // in the key's name, characters or maker, and in the name of its cluster
	End     KeyEnd
	Account string // id
	After   string // opaque, from RadarPage.Next; ErrBadCursor when it is not
}

// RadarKey is a database key of clusters that the member may read.
type RadarKey struct {
	AccountID   uuid.UUID
	AccountName string
	Environment Environment
	Admin       bool
	KeyID       string
	Name        string // empty of an admin key
	Mark        string // the characters of its secret that upstream shows
	Access      []string
	CreatedAt   *time.Time
	ExpiresAt   *time.Time // nil: never
	Missing     bool       // the last listing did not have it; nothing is concluded
	ReadAt      *time.Time // when the account's keys were last listed
	Stale       bool       // the last listing failed, or is long ago

	End     KeyEnd
	Opens   []OpenedCluster // those that the member may read; of more than 50 the first 5
	Hidden  int             // how many more it opens, as upstream lists them: of more than 50 also those that went
	Creator string          // who made it, as far as known: our member, else upstream's e-mail
	Here    bool            // made with this console

	Clusters  []string
	CreatedBy string
}

// ReadTrouble is an account of which something beside its clusters could not be read.
type ReadTrouble struct {
	AccountID uuid.UUID
	Name      string
	Error     string     // in words for people; empty for a member who may not see all of the account
	OKAt      *time.Time // nil: never
}

// RadarPage is one page of keys, by when they end.
type RadarPage struct {
	Keys     []RadarKey
	Next     string         // empty on the last page
	Counts   map[KeyEnd]int // of all that the member may see; more than CountCap: so many at least
	Accounts []Account      // to choose from; without their keys
	Trouble  []ReadTrouble
	OldestAt *time.Time // when the accounts' keys were listed that were listed longest ago
}

// radarNeeds is what a member must hold on a cluster to see its keys here.
var radarNeeds = access.Needs(access.ReadAPIKeys, access.ReadClusters)

// KeyRadar lists the database keys of all clusters that the member may read, from what was last listed of each account, by when
// they end. ErrBadCursor when After is no cursor of this query, ErrRateLimited, ErrUnavailable.
func (s *Service) KeyRadar(ctx context.Context, by audit.Actor, q RadarQuery) (RadarPage, error) {
	body, err := json.Marshal([]any{"keys", q.Text, q.End, q.Account})
	if err != nil {
		return RadarPage{}, fmt.Errorf("encoding the query: %w", err)
	}
	query, at := hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8]), cursor{}
	if q.After != "" {
		if at, err = s.decodeCursor(q.After, query); err != nil {
			return RadarPage{}, err
		}
	}
	rights := s.rights(by)
	scope := rights.Visible(radarNeeds)
	if scope.None() {
		return RadarPage{}, nil
	}
	ctx, done, err := s.turns.listing(ctx, by)
	if err != nil {
		return RadarPage{}, err
	}
	defer done()
	var page RadarPage
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page = RadarPage{Counts: map[KeyEnd]int{}}
		in, err := reachOf(ctx, tx, scope)
		if err != nil {
			return err
		}
		accounts, err := s.fleetAccounts(ctx, tx, scope)
		if err != nil {
			return err
		}
		page.Accounts = accounts.all
		var now time.Time
		if err := tx.QueryRow(ctx, `SELECT now()`).Scan(&now); err != nil {
			return err
		}
		if err := s.radarKeys(ctx, tx, &page, in, q, at, query, now); err != nil {
			return err
		}
		for _, end := range KeyEnds {
			if page.Counts[end], err = countKeys(ctx, tx, in, end, now); err != nil {
				return err
			}
		}
		if err := openedOnRadar(ctx, tx, &page, rights, in); err != nil {
			return err
		}
		page.Trouble, page.OldestAt, err = s.readTrouble(ctx, tx, kindKeys, accounts)
		return err
	})
	if err != nil {
		return RadarPage{}, dbError("reading keys", err)
	}
	return page, s.radarMakers(ctx, &page)
}

const keyEndColumn = `coalesce(k.expires_at, 'infinity'::timestamptz)`

// opening adds the condition that a key k opens a cluster that is there and lies in the reach. The first part of it finds
// the keys by an index, the second decides.
func (c *conditions) opening(in reach) {
	if !in.everything {
		c.where(`(k.account_id = ANY(?::uuid[]) OR k.clusters && ?::text[])`, in.accounts, in.clusters)
	}
	c.opensOne(in)
}

// opensOne adds the condition that a key k opens a cluster that is there, lies in the reach, and is as the other conditions say. Its
// clusters are looked up one by one: Postgres would go through all those of the account for each key.
func (c *conditions) opensOne(in reach, other ...string) {
	opened := &conditions{arguments: c.arguments, sql: other}
	opened.where("c.account_id = k.account_id AND c.cluster_id = opened.id AND c.gone_at IS NULL")
	opened.at(in, "c.account_id", "c.cluster_id")
	c.arguments = opened.arguments
	c.sql = append(c.sql, `EXISTS (SELECT FROM unnest(k.clusters) opened (id), LATERAL (SELECT FROM clusters c WHERE `+opened.String()+` OFFSET 0) c)`)
}

// ends adds the condition on when a key ends.
func (c *conditions) ends(end KeyEnd, now time.Time) bool {
	const day = 24 * time.Hour
	switch end {
	case "":
	case KeyExpired:
		c.where(keyEndColumn+` <= ?`, now)
	case KeyEndsWeek:
		c.where(keyEndColumn+` > ? AND `+keyEndColumn+` <= ?`, now, now.Add(7*day))
	case KeyEndsMonth:
		c.where(keyEndColumn+` > ? AND `+keyEndColumn+` <= ?`, now.Add(7*day), now.Add(30*day))
	case KeyEndsLater:
		c.where(keyEndColumn+` > ? AND `+keyEndColumn+` < 'infinity'`, now.Add(30*day))
	case KeyEndsNever:
		c.where(keyEndColumn + ` = 'infinity'`)
	default:
		return false
	}
	return true
}

// endOfKey is when a key ends, seen from now.
func endOfKey(at *time.Time, now time.Time) KeyEnd {
	switch {
	case at == nil:
		return KeyEndsNever
	case !at.After(now):
		return KeyExpired
	case !at.After(now.AddDate(0, 0, 7)):
		return KeyEndsWeek
	case !at.After(now.AddDate(0, 0, 30)):
		return KeyEndsMonth
	}
	return KeyEndsLater
}

func countKeys(ctx context.Context, tx pgx.Tx, in reach, end KeyEnd, now time.Time) (n int, err error) {
	on := &conditions{}
	on.ends(end, now)
	on.opening(in)
	if err := tx.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM database_keys k WHERE `+on.String()+` LIMIT `+strconv.Itoa(CountCap+1)+`) counted`,
		planned(on.arguments)...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting keys: %w", err)
	}
	return n, nil
}

// matchesKey adds the filters; false when nothing can match.
func (c *conditions) matchesKey(q RadarQuery, in reach) bool {
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		if err != nil {
			return false
		}
		c.where("k.account_id = ?", id)
	}
	if !wellFormed(q.Text, maxFilter) {
		return false
	}
	for i, word := range strings.Fields(strings.ToLower(q.Text)) {
		if i == maxWords {
			break
		}
		like := "%" + escapeLike(word) + "%"
		named := &conditions{arguments: append(c.arguments, like)}
		mark := "$" + strconv.Itoa(len(named.arguments))
		named.opensOne(in, "lower(c.name) LIKE "+mark) // the name of a cluster that they may not read finds nothing
		c.arguments = named.arguments
		c.sql = append(c.sql, `(lower(k.name) LIKE `+mark+` OR lower(k.mark) LIKE `+mark+` OR lower(k.created_by) LIKE `+mark+` OR `+named.String()+`)`)
	}
	return true
}

// radarKeys reads one page, and one key more to learn whether another follows.
func (s *Service) radarKeys(ctx context.Context, tx pgx.Tx, page *RadarPage, in reach, q RadarQuery, at cursor, query string, now time.Time) error {
	on := &conditions{arguments: []any{s.staleAfter()}}
	on.opening(in)
	if !on.ends(q.End, now) || !on.matchesKey(q, in) {
		return nil
	}
	if q.After != "" {
		on.where(`(`+keyEndColumn+`, k.account_id, k.admin, k.key_id) > (?::text::timestamptz, ?::uuid, ?::boolean, ?::text)`, at.Text, at.Account, at.Number == 1, at.Name)
	}
	rows, err := tx.Query(ctx, `
		SELECT k.account_id, a.name AS account_name, a.environment, k.admin, k.key_id, k.name, k.mark, k.access, k.created_at, k.expires_at,
			k.missing_at IS NOT NULL AS missing, r.ok_at AS read_at, k.clusters, k.created_by,
			NOT a.enabled OR coalesce(r.failures, 0) > 0 OR coalesce(r.ok_at, '-infinity') < clock_timestamp() - $1::interval AS stale
		FROM database_keys k JOIN accounts a ON a.id = k.account_id
		LEFT JOIN refresh r ON r.account_id = k.account_id AND r.kind = 'keys'
		WHERE `+on.String()+`
		ORDER BY `+keyEndColumn+`, k.account_id, k.admin, k.key_id LIMIT `+strconv.Itoa(radarLimit+1), planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("listing keys: %w", err)
	}
	type row struct {
		AccountID   uuid.UUID
		AccountName string
		Environment Environment
		Admin       bool
		KeyID       string
		Name        string
		Mark        string
		Access      []string
		CreatedAt   *time.Time
		ExpiresAt   *time.Time
		Missing     bool
		ReadAt      *time.Time
		Clusters    []string
		CreatedBy   string
		Stale       bool
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return fmt.Errorf("listing keys: %w", err)
	}
	if len(found) > radarLimit {
		found = found[:radarLimit]
		last := found[radarLimit-1]
		place := cursor{Query: query, Text: "infinity", Account: last.AccountID, Name: last.KeyID}
		if last.ExpiresAt != nil {
			place.Text = last.ExpiresAt.UTC().Format(time.RFC3339Nano)
		}
		if last.Admin {
			place.Number = 1
		}
		if page.Next, err = s.encodeCursor(place); err != nil {
			return err
		}
	}
	for _, r := range found {
		page.Keys = append(page.Keys, RadarKey{
			AccountID: r.AccountID, AccountName: r.AccountName, Environment: r.Environment, Admin: r.Admin, KeyID: r.KeyID, Name: r.Name, Mark: r.Mark,
			Access: r.Access, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, Missing: r.Missing, ReadAt: r.ReadAt, Stale: r.Stale,
			End: endOfKey(r.ExpiresAt, now), Creator: r.CreatedBy, Clusters: r.Clusters, CreatedBy: r.CreatedBy,
		})
	}
	return nil
}

const (
	// manyOpened is up to how many clusters of a key are looked at one by one; of one that opens more, firstNamed are named.
	manyOpened = 50
	firstNamed = 5
)

// firstOpened leaves of keys that open many clusters the first few that the member may read, and counts the others.
func firstOpened(ctx context.Context, tx pgx.Tx, page *RadarPage, in reach) error {
	var accounts []uuid.UUID
	var admin []bool
	var ids []string
	type key struct {
		account uuid.UUID
		admin   bool
		id      string
	}
	at := map[key]int{}
	for i, k := range page.Keys {
		if len(k.Clusters) > manyOpened {
			accounts, admin, ids = append(accounts, k.AccountID), append(admin, k.Admin), append(ids, k.KeyID)
			at[key{k.AccountID, k.Admin, k.KeyID}] = i
			page.Keys[i].Hidden, page.Keys[i].Clusters = len(k.Clusters), nil
		}
	}
	if len(ids) == 0 {
		return nil
	}
	on := &conditions{arguments: []any{accounts, admin, ids}}
	on.where("c.account_id = k.account_id AND c.cluster_id = ANY(k.clusters) AND c.gone_at IS NULL")
	on.at(in, "c.account_id", "c.cluster_id")
	rows, err := tx.Query(ctx, `
		SELECT k.account_id, k.admin, k.key_id, c.cluster_id
		FROM unnest($1::uuid[], $2::boolean[], $3::text[]) p (account_id, admin, key_id) JOIN database_keys k USING (account_id, admin, key_id),
			LATERAL (SELECT c.cluster_id FROM clusters c WHERE `+on.String()+` ORDER BY c.cluster_id LIMIT `+strconv.Itoa(firstNamed)+`) c`, planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("reading the clusters of keys: %w", err)
	}
	var of key
	var cluster string
	if _, err := pgx.ForEachRow(rows, []any{&of.account, &of.admin, &of.id, &cluster}, func() error {
		k := &page.Keys[at[of]]
		k.Clusters = append(k.Clusters, cluster)
		k.Hidden--
		return nil
	}); err != nil {
		return fmt.Errorf("reading the clusters of keys: %w", err)
	}
	return nil
}

// openedOnRadar names the clusters of keys that the member may read, and counts the others. Of those that are gone nothing is told.
func openedOnRadar(ctx context.Context, tx pgx.Tx, page *RadarPage, rights access.Rights, in reach) error {
	if err := firstOpened(ctx, tx, page, in); err != nil {
		return err
	}
	var accounts []uuid.UUID
	var clusters []string
	for _, k := range page.Keys {
		for _, id := range k.Clusters {
			accounts, clusters = append(accounts, k.AccountID), append(clusters, id)
		}
	}
	if len(clusters) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, `
		SELECT c.account_id, c.cluster_id, c.name, c.labels, c.gone_at IS NOT NULL AS gone FROM clusters c
		WHERE (c.account_id, c.cluster_id) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))`, accounts, clusters)
	if err != nil {
		return fmt.Errorf("reading the clusters of keys: %w", err)
	}
	type row struct {
		AccountID uuid.UUID
		ClusterID string
		Name      string
		Labels    map[string]string
		Gone      bool
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return fmt.Errorf("reading the clusters of keys: %w", err)
	}
	known := map[access.ClusterRef]row{}
	for _, r := range found {
		known[access.ClusterRef{AccountID: r.AccountID, ClusterID: r.ClusterID}] = r
	}
	for i := range page.Keys {
		k := &page.Keys[i]
		for _, id := range k.Clusters {
			c, there := known[access.ClusterRef{AccountID: k.AccountID, ClusterID: id}]
			on := access.Target{AccountID: k.AccountID, Environment: string(k.Environment), ClusterID: id, Labels: c.Labels}
			switch {
			case c.Gone:
			case !rights.Allows(radarNeeds, on):
				k.Hidden++
			case there:
				k.Opens = append(k.Opens, OpenedCluster{ID: id, Name: named(c.Name, id)})
			default:
				k.Opens = append(k.Opens, OpenedCluster{ID: id, Name: id})
			}
		}
		slices.SortFunc(k.Opens, func(a, b OpenedCluster) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	}
	return nil
}

// readTrouble are the accounts of which a kind of what is read beside clusters could not be read, as far as the member may see
// them, and how old the oldest reading is. Accounts of a generation that has no such thing are left out.
func (s *Service) readTrouble(ctx context.Context, tx pgx.Tx, kind string, in fleetAccounts) (trouble []ReadTrouble, oldest *time.Time, err error) {
	kinds := s.otherKinds()
	k := kinds[slices.IndexFunc(kinds, func(k otherKind) bool { return k.name == kind })]
	rows, err := tx.Query(ctx, `
		SELECT a.id, r.ok_at, coalesce(r.error, '') AS error,
			coalesce(r.failures, 0) > 0 OR coalesce(r.error, '') <> '' OR coalesce(r.ok_at, r.created_at, a.created_at) < clock_timestamp() - $2::interval AS trouble
		FROM accounts a LEFT JOIN refresh r ON r.account_id = a.id AND r.kind = $3 WHERE a.enabled AND a.id = ANY($1) AND a.generation = ANY($4)`,
		idsOf(in.all), s.staleAfter(), kind, k.generations)
	if err != nil {
		return nil, nil, fmt.Errorf("reading how fresh %s are: %w", kind, err)
	}
	type row struct {
		ID      uuid.UUID
		OKAt    *time.Time `db:"ok_at"`
		Error   string
		Trouble bool
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[row])
	if err != nil {
		return nil, nil, fmt.Errorf("reading how fresh %s are: %w", kind, err)
	}
	state := map[uuid.UUID]row{}
	for _, r := range found {
		state[r.ID] = r
		if r.OKAt != nil && (oldest == nil || r.OKAt.Before(*oldest)) {
			oldest = r.OKAt
		}
	}
	for _, a := range in.all {
		r := state[a.ID]
		if !r.Trouble {
			continue
		}
		one := ReadTrouble{AccountID: a.ID, Name: a.Name, OKAt: r.OKAt}
		if in.whole[a.ID] {
			one.Error = r.Error
		}
		trouble = append(trouble, one)
	}
	return trouble, oldest, nil
}

// radarMakers adds who made a key here, from the log.
func (s *Service) radarMakers(ctx context.Context, page *RadarPage) error {
	if len(page.Keys) == 0 {
		return nil
	}
	var ids []string
	at := map[string][]int{}
	place := func(account, kind, id string) string { return account + " " + kind + " " + id }
	for i, k := range page.Keys {
		ids = append(ids, k.KeyID)
		key := place(k.AccountID.String(), seenKey{Admin: k.Admin}.kind(), k.KeyID)
		at[key] = append(at[key], i)
	}
	made, err := s.cfg.Log.DoneTo(ctx, []string{KindKey, KindAdminKey}, []string{ActKeyCreate.Name, ActKeyRotate.Name, ActAdminKeyCreate.Name}, ids)
	if err != nil {
		return dbError("reading who made keys", err)
	}
	for _, e := range made {
		for _, i := range at[place(e.Account.ID, e.Target.Kind, e.Target.ID)] {
			page.Keys[i].Here, page.Keys[i].Creator = true, cmp.Or(e.Actor.Name, e.Actor.Email, e.Actor.Subject)
		}
	}
	return nil
}
