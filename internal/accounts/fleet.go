package accounts

import (
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
	"quartermaster/internal/cloudapi"
)

const (
	fleetLimit    = 100
	maxFleetLimit = 500
	// maxWords and maxFilter bound what is searched for.
	maxWords  = 8
	maxFilter = 200
	// firstClustersLimit is how many clusters the account page shows.
	firstClustersLimit = 20
	// staleIntervals is after how many of the longest intervals without success a snapshot is stale.
	staleIntervals = 3
)

// syncColumns tell how fresh the snapshot of an account is: a accounts, r refresh, $1 the age
// past which it is stale.
const syncColumns = `
	r.ok_at, CASE WHEN r.failed_at > coalesce(r.ok_at, '-infinity') THEN r.failed_at END AS failed_at, coalesce(r.error, '') AS error,
	coalesce(r.vanished, 0) AS vanished,
	(NOT a.enabled OR coalesce(r.failures, 0) > 0 OR coalesce(r.ok_at, r.created_at, a.created_at) < clock_timestamp() - $1::interval) AS stale`

// staleAfter is the age past which a snapshot is stale.
func (s *Service) staleAfter() time.Duration {
	return staleIntervals * max(s.cfg.PollMax, s.cfg.PollMin)
}

// syncRow is syncColumns with the account and its number of clusters.
type syncRow struct {
	ID       uuid.UUID
	OKAt     *time.Time `db:"ok_at"`
	FailedAt *time.Time
	Error    string
	Vanished int
	Stale    bool
	Clusters int
}

// addSync fills in how fresh each account's snapshot is and how many clusters are known.
func (s *Service) addSync(ctx context.Context, accounts []Account) error {
	return s.addSyncFrom(ctx, s.cfg.DB, accounts)
}

func (s *Service) addSyncFrom(ctx context.Context, db querier, accounts []Account) error {
	ids := make([]uuid.UUID, len(accounts))
	for i, a := range accounts {
		ids[i] = a.ID
	}
	rows, err := db.Query(ctx, `
		SELECT a.id, `+syncColumns+`, c.clusters
		FROM accounts a
		LEFT JOIN refresh r ON r.account_id = a.id AND r.kind = 'clusters'
		CROSS JOIN LATERAL (SELECT `+capped("c.account_id = a.id AND c.gone_at IS NULL")+` AS clusters) c
		WHERE a.id = ANY($2)`, s.staleAfter(), ids)
	if err != nil {
		return dbError("reading how fresh accounts are", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[syncRow])
	if err != nil {
		return dbError("reading how fresh accounts are", err)
	}
	for _, row := range stored {
		i := slices.Index(ids, row.ID)
		accounts[i].Sync = Sync{OKAt: row.OKAt, FailedAt: row.FailedAt, Error: row.Error, Stale: row.Stale, Vanished: row.Vanished}
		accounts[i].Clusters = row.Clusters
	}
	return nil
}

// countVisible counts anew in accounts of whose clusters the member may not read all: nobody learns how
// many clusters others have, nor what went wrong with them.
func (s *Service) countVisible(ctx context.Context, by audit.Actor, accounts []Account) error {
	rights := s.rights(by)
	var at []int
	var partly []Account
	for i, a := range accounts {
		if !rights.Allows(ActClusterRead.Needs, accountTarget(a.ref()).access()) {
			at, partly = append(at, i), append(partly, a)
			accounts[i].Clusters, accounts[i].Sync = 0, a.Sync.ofSome()
		}
	}
	if len(partly) == 0 {
		return nil
	}
	err := pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		in, err := s.fleetAccounts(ctx, tx, s.visible(by, ActClusterRead))
		if err != nil {
			return err
		}
		return countEach(ctx, tx, partly, in)
	})
	if err != nil {
		return dbError("counting clusters", err)
	}
	for n, i := range at {
		accounts[i].Clusters = partly[n].Clusters
	}
	return nil
}

func (s *Service) withVisibleCount(ctx context.Context, by audit.Actor, a Account) (Account, error) {
	one := []Account{a}
	err := s.countVisible(ctx, by, one)
	return one[0], err
}

// clusterColumns belong to ClusterRow: a accounts, c clusters, r refresh, $1 the age past which a
// snapshot is stale.
const clusterColumns = `
	a.id AS account_id, a.name AS account_name, a.environment, a.generation, c.cluster_id, c.name, c.phase, c.reason, c.cloud, c.region,
	c.version, c.nodes_up, c.nodes, c.package, c.ram_mib, c.cpu_milli, c.disk_mib, c.created_at, c.gone_at,
	CASE WHEN c.missing_at IS NULL AND c.gone_at IS NULL THEN greatest(c.seen_at, r.ok_at) ELSE c.seen_at END AS seen_at,
	(c.missing_at IS NOT NULL OR NOT a.enabled OR coalesce(r.failures, 0) > 0
		OR coalesce(r.ok_at, r.created_at, a.created_at) < clock_timestamp() - $1::interval) AS stale`

const clusterTables = `
	FROM clusters c
	JOIN accounts a ON a.id = c.account_id
	LEFT JOIN refresh r ON r.account_id = a.id AND r.kind = 'clusters'`

// firstClusters returns the first clusters of an account, by name.
func (s *Service) firstClusters(ctx context.Context, accountID uuid.UUID) ([]ClusterRow, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+clusterColumns+clusterTables+`
		WHERE c.account_id = $2 AND c.gone_at IS NULL
		ORDER BY lower(c.name) COLLATE "C", c.cluster_id LIMIT $3`, s.staleAfter(), accountID, firstClustersLimit)
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	clusters, err := pgx.CollectRows(rows, pgx.RowToStructByName[ClusterRow])
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	return clusters, nil
}

// order is a way to sort the fleet. by is an SQL expression that is never null and begins an index;
// cast is its type. Rows that are equal in it follow by name, account and cluster id. A descending
// list is the ascending one backwards, so that one index does for both.
type order struct{ by, cast string }

const byName = `lower(c.name) COLLATE "C"`

// What is sorted by and filtered by, too, as its index begins.
const (
	orderPhase   = `c.phase COLLATE "C"`
	orderCloud   = `c.cloud COLLATE "C"`
	orderRegion  = `c.region COLLATE "C"`
	orderVersion = `c.version_order`
)

// orderNamed returns one of the orders there are, by name when there is no such order. What a
// browser sends never becomes SQL. Accounts and environments are not columns of a cluster: the list is
// read one stretch of accounts after the other, and in each by name.
func orderNamed(sort string) (string, order) {
	switch sort {
	case sortAccount, sortEnvironment:
		return sort, order{by: byName, cast: "text"}
	case "phase":
		return sort, order{by: orderPhase, cast: "text"}
	case "cloud":
		return sort, order{by: orderCloud, cast: "text"}
	case "region":
		return sort, order{by: orderRegion, cast: "text"}
	case "version":
		return sort, order{by: orderVersion, cast: "text"}
	case "nodes":
		return sort, order{by: `c.nodes`, cast: "integer"}
	case "package":
		return sort, order{by: `c.ram_mib`, cast: "bigint"}
	case "created":
		return sort, order{by: `coalesce(c.created_at, 'epoch'::timestamptz)`, cast: "timestamptz"}
	}
	return "name", order{by: byName, cast: "text"}
}

const (
	sortAccount     = "account"
	sortEnvironment = "environment"
)

// cursor is the place after the last row of a page. It is sealed with a keyed hash and good only
// for the query that it came from.
type cursor struct {
	Query   string    `json:"q"`           // digest of filters and order
	Text    string    `json:"t,omitempty"` // what the list is sorted by, or
	Number  int64     `json:"n,omitempty"` // a number, or microseconds of a time
	Name    string    `json:"m"`
	Account uuid.UUID `json:"a"`
	Cluster string    `json:"c"`
}

const cursorSealBytes = 16

func (s *Service) encodeCursor(c cursor) (string, error) {
	body, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encoding a cursor: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(append(s.keyedHash(forCursor, string(body))[:cursorSealBytes], body...)), nil
}

// decodeCursor returns ErrBadCursor for everything but a cursor that encodeCursor made for this query.
func (s *Service) decodeCursor(text, query string) (cursor, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) <= cursorSealBytes || len(sealed) > 16<<10 {
		return cursor{}, ErrBadCursor
	}
	body := sealed[cursorSealBytes:]
	if !hmac.Equal(s.keyedHash(forCursor, string(body))[:cursorSealBytes], sealed[:cursorSealBytes]) {
		return cursor{}, ErrBadCursor
	}
	var c cursor
	if err := json.Unmarshal(body, &c); err != nil || c.Query != query {
		return cursor{}, ErrBadCursor
	}
	return c, nil
}

// digest names the query that a cursor belongs to. The limit is not part of it.
func (s *Service) digest(q FleetQuery, sort string, desc bool) (string, error) {
	body, err := json.Marshal([]any{q.Text, q.Account, q.Environment, q.Phase, q.Cloud, q.Region, q.Version, sort, desc})
	if err != nil {
		return "", fmt.Errorf("encoding the query: %w", err)
	}
	return hex.EncodeToString(s.keyedHash(forCursor, string(body))[:8]), nil
}

// conditions collects SQL conditions and their arguments.
type conditions struct {
	sql       []string
	arguments []any
}

// where adds a condition in which each ? stands for one of the arguments.
func (c *conditions) where(sql string, arguments ...any) {
	for _, a := range arguments {
		c.arguments = append(c.arguments, a)
		sql = strings.Replace(sql, "?", "$"+strconv.Itoa(len(c.arguments)), 1)
	}
	c.sql = append(c.sql, sql)
}

func (c *conditions) String() string { return strings.Join(c.sql, "\n\t\tAND ") }

// fleetAccounts are the accounts of a scope: those that lie in it, and those of which it lists clusters.
type fleetAccounts struct {
	all        []Account // by name
	everything bool
	whole      map[uuid.UUID]bool // all of whose clusters are in the scope
	sum        fleetSum           // of all that may be seen; not read when that is everything
}

// fleetAccounts reads the accounts of a scope as the fleet needs them, which is without their keys. What
// the scope picks by labels are the clusters that have them now, as the snapshots have them.
func (s *Service) fleetAccounts(ctx context.Context, tx pgx.Tx, scope access.Scope) (fleetAccounts, error) {
	in := fleetAccounts{everything: scope.Everything, whole: map[uuid.UUID]bool{}}
	if !in.everything {
		var err error
		if in.sum, err = sumUpScope(ctx, tx, scope); err != nil {
			return in, err
		}
	}
	listed := slices.Collect(maps.Keys(in.sum.clusters))
	rows, err := tx.Query(ctx, `
		SELECT a.id, a.generation, a.name, a.environment, a.enabled, a.environment = ANY($2) OR a.id = ANY($3) AS whole, `+syncColumns+`
		FROM accounts a
		LEFT JOIN refresh r ON r.account_id = a.id AND r.kind = 'clusters'
		WHERE $4 OR a.environment = ANY($2) OR a.id = ANY($3) OR a.id = ANY($5)
		ORDER BY lower(a.name), a.id`, s.staleAfter(), nonNil(scope.Environments), nonNil(scope.Accounts), scope.Everything, nonNil(listed))
	if err != nil {
		return in, fmt.Errorf("reading accounts: %w", err)
	}
	stored, err := collectMany[fleetAccountRow](rows)
	if err != nil {
		return in, fmt.Errorf("reading accounts: %w", err)
	}
	in.all = make([]Account, len(stored))
	for i, row := range stored {
		in.all[i] = Account{
			ID: row.ID, Generation: row.Generation, Name: row.Name, Environment: row.Environment, Enabled: row.Enabled,
			Sync: Sync{OKAt: row.OKAt, FailedAt: row.FailedAt, Error: row.Error, Stale: row.Stale, Vanished: row.Vanished},
		}
		in.whole[row.ID] = scope.Everything || row.Whole
		if !in.whole[row.ID] {
			in.all[i].Sync = in.all[i].Sync.ofSome()
		}
	}
	return in, nil
}

type fleetAccountRow struct {
	ID          uuid.UUID
	Generation  cloudapi.Generation
	Name        string
	Environment Environment
	Enabled     bool
	Whole       bool
	OKAt        *time.Time `db:"ok_at"`
	FailedAt    *time.Time
	Error       string
	Vanished    int
	Stale       bool
}

// ofSome is how fresh the account is for one who may see some of its clusters: what went wrong may be told of others.
func (s Sync) ofSome() Sync {
	s.Vanished = 0
	if s.Error != "" {
		s.Error = ""
		if s.Stale {
			s.Error = "Its last refresh failed."
		}
	}
	return s
}

// hides reports whether one with the rights may not open the page of an account of which they see clusters.
func hides(rights access.Rights, a Account) bool {
	return !rights.Allows(ActAccountRead.Needs, accountTarget(a.ref()).access())
}

// MayOpenAccount reports whether the member may open the page of an account; for links.
func (s *Service) MayOpenAccount(by audit.Actor, id uuid.UUID, environment Environment) bool {
	return !hides(s.rights(by), Account{ID: id, Environment: environment})
}

// among are the accounts that a query is narrowed to.
func (in fleetAccounts) among(q FleetQuery) []Account {
	id, err := uuid.Parse(q.Account)
	return slices.DeleteFunc(slices.Clone(in.all), func(a Account) bool {
		return q.Environment != "" && string(a.Environment) != q.Environment || q.Account != "" && (err != nil || a.ID != id)
	})
}

// of adds the condition that a cluster is one of these accounts' and lies in the scope. Where that is
// no condition none is added: the database then chooses freely which index to read.
func (c *conditions) of(in fleetAccounts, these []Account) {
	c.where("c.gone_at IS NULL")
	if len(these) == 0 {
		c.where("false")
		return
	}
	if in.everything && len(these) == len(in.all) {
		return
	}
	whole, places := in.divided(these)
	switch {
	case len(whole) == len(these):
		c.where("c.account_id = ANY(?::uuid[])", idsOf(these))
	default:
		c.where("(c.account_id = ANY(?::uuid[]) OR c.ctid = ANY(?::tid[]))", idsOf(whole), places)
	}
}

// wholeTable is what most statements select from.
const wholeTable = "clusters c"

// countedFrom is of for statements that count: it returns what to select from as c. Clusters that the scope
// picks one by one are fetched from where they stand. Left to itself Postgres reads the whole table, because it
// takes that for cheaper, which it is not while they are as few as are counted.
func (c *conditions) countedFrom(in fleetAccounts, these []Account) string {
	whole, places := in.divided(these)
	if len(places) == 0 || len(places) > CountCap {
		c.of(in, these)
		return wholeTable
	}
	c.where("c.gone_at IS NULL")
	c.arguments = append(c.arguments, idsOf(whole), places)
	n := len(c.arguments)
	return fmt.Sprintf(`(SELECT * FROM clusters WHERE account_id = ANY($%d::uuid[])
		UNION ALL
		SELECT standing.* FROM unnest($%d::tid[]) picked (place), LATERAL (SELECT * FROM clusters WHERE ctid = picked.place OFFSET 0) standing) c`, n-1, n)
}

// divided are the accounts of these all of whose clusters are in the scope, and the places of those that it
// picks in the others.
func (in fleetAccounts) divided(these []Account) (whole []Account, places []pgtype.TID) {
	if in.everything {
		return these, nil
	}
	for _, a := range these {
		if in.whole[a.ID] {
			whole = append(whole, a)
		} else {
			places = append(places, in.sum.places[a.ID]...)
		}
	}
	return whole, places
}

func idsOf(accounts []Account) []uuid.UUID {
	ids := make([]uuid.UUID, len(accounts))
	for i, a := range accounts {
		ids[i] = a.ID
	}
	return ids
}

// nonNil keeps a nil slice from becoming SQL's null, with which no condition is true or false.
func nonNil[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}

// matches adds the filters on clusters. A value that cannot be in the database matches nothing.
func (c *conditions) matches(q FleetQuery) {
	version := q.Version
	if version != "" {
		version = versionOrder(version) // spellings of one version are one
	}
	for _, filter := range []struct{ column, value, asked string }{
		{orderPhase, q.Phase, q.Phase}, {orderCloud, q.Cloud, q.Cloud}, {orderRegion, q.Region, q.Region}, {orderVersion, version, q.Version},
	} {
		switch {
		case filter.asked == "":
		case !wellFormed(filter.asked, maxSnapshotText):
			c.where("false")
		default:
			c.where(filter.column+" = ?", filter.value)
		}
	}
	c.matchesText(q.Text)
}

// matchesText adds the text search on clusters.
func (c *conditions) matchesText(text string) {
	if !wellFormed(text, maxFilter) {
		c.where("false")
		return
	}
	short := IsShortText(text)
	words := strings.Fields(strings.ToLower(text))
	words = words[:min(len(words), maxWords)]
	// Where rows are read one by one, the shortest is the quickest to look for.
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, word := range words {
		switch {
		case short:
			c.where(byName+" LIKE ?", escapeLike(word)+"%")
		case utf8.RuneCountInString(word) < anywhereFrom:
			c.where("strpos(c.search, ?) > 0", word) // the index is of no use for it, and Postgres is not to think so
		default:
			c.where("c.search LIKE ?", "%"+escapeLike(word)+"%")
		}
	}
}

// anywhereFrom is how many letters a text has at least that is found anywhere. The index knows three of them wherever
// they are; a shorter one would be looked for in every row, and found in most.
const anywhereFrom = 3

// IsShortText reports whether a search is found at the beginning of names only: each of its words has one or two letters
// or digits. Beside a longer word, and with other signs, short ones are found anywhere.
func IsShortText(text string) bool {
	words := strings.Fields(text)
	return len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool {
		return utf8.RuneCountInString(word) >= anywhereFrom || strings.ContainsFunc(word, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	})
}

// escapeLike makes text stand for itself in a LIKE pattern.
func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

// narrowed reports whether the query filters at all.
func (q FleetQuery) narrowed() bool {
	return q.Text+q.Account+q.Environment+q.Phase+q.Cloud+q.Region+q.Version != ""
}

// Fleet returns clusters of every account the member may read, from snapshots only, as they were
// at one moment. ErrBadCursor when After is no cursor of this query, ErrUnavailable.
func (s *Service) Fleet(ctx context.Context, by audit.Actor, q FleetQuery) (FleetPage, error) {
	rights := s.rights(by)
	page, err := s.fleet(ctx, rights.Visible(ActClusterRead.Needs), q)
	page.Accounts = slices.Clone(page.Accounts) // the page is shared
	for i, a := range page.Accounts {
		page.Accounts[i].Hidden = hides(rights, a)
	}
	if err == nil && q.Text != "" && s.cfg.SlowSearch != nil && rights.Allows(ActAccountCreate.Needs, access.Target{}) {
		if page.SlowSearch, err = s.cfg.SlowSearch(ctx, s.cfg.DB); err != nil {
			return FleetPage{}, dbError("looking for the index of the text search", err)
		}
	}
	return page, err
}

// fleet is Fleet for one who sees the scope.
func (s *Service) fleet(ctx context.Context, scope access.Scope, q FleetQuery) (FleetPage, error) {
	sort, o := orderNamed(q.Sort)
	list := fleetList{order: o, sort: sort, desc: q.Dir == "desc", limit: fleetLimit}
	if q.Limit > 0 {
		list.limit = min(q.Limit, maxFleetLimit)
	}
	var err error
	if list.query, err = s.digest(q, sort, list.desc); err != nil {
		return FleetPage{}, err
	}
	if q.After != "" {
		at, err := s.decodeCursor(q.After, list.query)
		if err != nil {
			return FleetPage{}, err
		}
		list.after = &at
	}
	if scope.None() {
		return FleetPage{}, nil
	}
	// Whoever may see the same and asks the same, is answered the same: those who look at the fleet all ask when something
	// changes.
	labels := make([]string, len(scope.Labels))
	for i, l := range scope.Labels {
		labels[i] = l.String()
	}
	key, err := json.Marshal([]any{scope.Everything, scope.Environments, scope.Accounts, scope.Clusters, labels, q})
	if err != nil {
		return FleetPage{}, fmt.Errorf("encoding the query: %w", err)
	}
	got, err := s.fleetReads.do(ctx, string(key), func(ctx context.Context) (fleetRead, error) {
		page, err := s.readFleet(ctx, scope, q, list)
		return fleetRead{page, scope}, err
	})
	if err == nil && !reflect.DeepEqual(got.scope, scope) {
		// Whatever the key forgot of the scope, nobody is given what another one may see.
		got.page, err = s.readFleet(ctx, scope, q, list)
	}
	if err != nil {
		return FleetPage{}, dbError("reading the fleet", err)
	}
	return got.page, nil
}

// fleetRead is a page with the scope that it was read for.
type fleetRead struct {
	page  FleetPage
	scope access.Scope
}

// readFleet reads one page of the fleet in one transaction.
func (s *Service) readFleet(ctx context.Context, scope access.Scope, q FleetQuery, list fleetList) (FleetPage, error) {
	var page FleetPage
	err := pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page = FleetPage{}
		in, err := s.fleetAccounts(ctx, tx, scope)
		if err != nil {
			return err
		}
		page.Accounts = in.all
		list.few = !in.everything && in.sum.all <= CountCap
		if !list.few {
			if list.found, err = findMatches(ctx, tx, in, q); err != nil {
				return err
			}
		}
		if err := s.fleetRows(ctx, tx, &page, list, in, q); err != nil {
			return err
		}
		if err := s.fleetGone(ctx, tx, &page, scope, q); err != nil {
			return err
		}
		return countFleet(ctx, tx, &page, in, q, list.found)
	})
	if err != nil {
		return FleetPage{}, dbError("reading the fleet", err)
	}
	return page, nil
}

// fleetList is how one page of the list is read.
type fleetList struct {
	order order
	sort  string
	desc  bool
	limit int
	query string // digest, for cursors
	after *cursor
	few   bool // what may be seen is no more than is counted, and is read at once
	found matches
}

// matches are the places of those rows that the filters of a query match, up to one more than are counted. Rows stay where
// they are for as long as the transaction that read it.
type matches struct {
	known  bool // they were looked for
	places []pgtype.TID
}

func (m matches) few() bool { return m.known && len(m.places) <= CountCap }

func (m matches) many() bool { return m.known && len(m.places) > CountCap }

// findMatches looks for what a query matches before anything is sorted. Whether that is few or many rows decides how the
// list is best read, and Postgres does not know it: it takes matches for spread evenly over the list, and filters for
// independent of each other. So it would read nearly all of the list where those with a word in their names stand together at
// its end, or where a region is not the cloud's.
func findMatches(ctx context.Context, tx pgx.Tx, in fleetAccounts, q FleetQuery) (matches, error) {
	if !q.narrowed() {
		return matches{}, nil
	}
	on := &conditions{}
	if from := on.countedFrom(in, in.among(q)); from != wholeTable {
		return matches{}, nil // few, and picked one by one
	}
	on.matches(q)
	rows, err := tx.Query(ctx, `SELECT c.ctid FROM `+wholeTable+` WHERE `+on.String()+` LIMIT `+strconv.Itoa(CountCap+1), planned(on.arguments)...)
	if err != nil {
		return matches{}, fmt.Errorf("looking for matches: %w", err)
	}
	places, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.TID])
	if err != nil {
		return matches{}, fmt.Errorf("looking for matches: %w", err)
	}
	return matches{known: true, places: places}, nil
}

// inOrder reports whether an index has what the query matches in the order of the list: what a single filter matches, by
// name or by what is filtered, and the beginnings of names, by name.
func (l fleetList) inOrder(q FleetQuery) bool {
	filters := 0
	for _, value := range []string{q.Phase, q.Cloud, q.Region, q.Version, q.Text} {
		if value != "" {
			filters++
		}
	}
	if filters > 1 {
		return false
	}
	filtered := map[string]string{orderPhase: q.Phase, orderCloud: q.Cloud, orderRegion: q.Region, orderVersion: q.Version}[l.order.by] != ""
	return filtered || l.order.by == byName && (q.Text == "" || IsShortText(q.Text))
}

// fleetRow is a row of the fleet as the clusters table has it, with its place in the order.
type fleetRow struct {
	AccountID  uuid.UUID
	ClusterID  string
	Name       string
	Phase      cloudapi.Phase
	Reason     string
	Cloud      string
	Region     string
	Version    string
	NodesUp    int
	Nodes      int
	Package    string
	RAMMiB     int64 `db:"ram_mib"`
	CPUMilli   int64 `db:"cpu_milli"`
	DiskMiB    int64 `db:"disk_mib"`
	CreatedAt  *time.Time
	SeenAt     time.Time
	Missing    bool
	SortText   string
	SortNumber int64
	SortName   string
}

const fleetRowColumns = `c.account_id, c.cluster_id, c.name, c.phase, c.reason, c.cloud, c.region, c.version, c.nodes_up, c.nodes, c.package,
	c.ram_mib, c.cpu_milli, c.disk_mib, c.created_at, c.seen_at, c.missing_at IS NOT NULL AS missing, ` + byName + ` AS sort_name`

// row is the row with what its account tells.
func (r fleetRow) row(a Account) ClusterRow {
	seen := r.SeenAt
	if !r.Missing && a.Sync.OKAt != nil && a.Sync.OKAt.After(seen) {
		seen = *a.Sync.OKAt
	}
	return ClusterRow{
		AccountID: a.ID, AccountName: a.Name, Environment: a.Environment, Generation: a.Generation, ClusterID: r.ClusterID, Name: r.Name,
		Phase: r.Phase, Reason: r.Reason, Cloud: r.Cloud, Region: r.Region, Version: r.Version, NodesUp: r.NodesUp, Nodes: r.Nodes,
		Package: r.Package, RAMMiB: r.RAMMiB, CPUMilli: r.CPUMilli, DiskMiB: r.DiskMiB, CreatedAt: r.CreatedAt, SeenAt: seen,
		Stale: r.Missing || a.Sync.Stale,
	}
}

// fleetRows reads one page, and one row more to learn whether another page follows.
func (s *Service) fleetRows(ctx context.Context, tx pgx.Tx, page *FleetPage, list fleetList, in fleetAccounts, q FleetQuery) error {
	var stored []fleetRow
	for part := range list.stretches(in.among(q)) {
		on := &conditions{}
		on.of(in, part.accounts)
		if !list.found.few() { // those match
			on.matches(q)
		}
		read, err := list.read(ctx, tx, part, on, list.inOrder(q), list.limit+1-len(stored))
		if err != nil {
			return fmt.Errorf("reading clusters: %w", err)
		}
		if stored = append(stored, read...); len(stored) > list.limit {
			break
		}
	}
	byID := make(map[uuid.UUID]Account, len(in.all))
	for _, a := range in.all {
		byID[a.ID] = a
	}
	if len(stored) > list.limit {
		stored = stored[:list.limit]
		last := stored[list.limit-1]
		at := cursor{Query: list.query, Text: last.SortText, Number: last.SortNumber, Name: last.SortName, Account: last.AccountID, Cluster: last.ClusterID}
		switch list.sort {
		case sortAccount:
			at.Text = strings.ToLower(byID[last.AccountID].Name)
		case sortEnvironment:
			at.Number = int64(slices.Index(Environments, byID[last.AccountID].Environment))
		}
		var err error
		if page.Next, err = s.encodeCursor(at); err != nil {
			return err
		}
	}
	page.Rows = make([]ClusterRow, len(stored))
	for i, r := range stored {
		page.Rows[i] = r.row(byID[r.AccountID])
	}
	return nil
}

// stretch is a part of the list that is read by itself: the clusters of some accounts.
type stretch struct {
	accounts  []Account
	byAccount bool // first by the accounts as they are listed here
	after     *cursor
}

// firstAccounts is of how many accounts the first stretch is when the list is sorted by account; each
// stretch is of four times as many as the one before.
const firstAccounts = 8

// stretches cuts the list into what is read one after the other, from the cursor on.
func (l fleetList) stretches(among []Account) iter.Seq[stretch] {
	switch l.sort {
	case sortEnvironment:
		return l.environments(among)
	case sortAccount:
		return l.accountsInTurn(among)
	}
	return func(yield func(stretch) bool) { yield(stretch{accounts: among, after: l.after}) }
}

func (l fleetList) environments(among []Account) iter.Seq[stretch] {
	last := len(Environments) - 1
	return func(yield func(stretch) bool) {
		for i := range Environments {
			rank := i
			if l.desc {
				rank = last - i
			}
			part := stretch{}
			if l.after != nil {
				if before := int64(rank) < l.after.Number; int64(rank) != l.after.Number && before != l.desc {
					continue
				} else if int64(rank) == l.after.Number {
					part.after = l.after
				}
			}
			for _, a := range among {
				if a.Environment == Environments[rank] {
					part.accounts = append(part.accounts, a)
				}
			}
			if len(part.accounts) > 0 && !yield(part) {
				return
			}
		}
	}
}

func (l fleetList) accountsInTurn(among []Account) iter.Seq[stretch] {
	place := func(a Account, name string, id uuid.UUID) int {
		if l.desc {
			return -a.place(name, id)
		}
		return a.place(name, id)
	}
	turn := slices.SortedFunc(slices.Values(among), func(a, b Account) int { return place(a, strings.ToLower(b.Name), b.ID) })
	return func(yield func(stretch) bool) {
		rest := turn
		if l.after != nil {
			rest = slices.DeleteFunc(slices.Clone(turn), func(a Account) bool { return place(a, l.after.Text, l.after.Account) < 0 })
		}
		n := firstAccounts
		if l.few || l.found.few() {
			n = len(rest)
		}
		for after := l.after; len(rest) > 0; after, n = nil, 4*n {
			n = min(n, len(rest))
			part := stretch{accounts: rest[:n], byAccount: true, after: after}
			if after != nil && rest[0].ID != after.Account { // it was removed meanwhile
				part.after = nil
			}
			if !yield(part) {
				return
			}
			rest = rest[n:]
		}
	}
}

// read returns the first rows of a stretch.
func (l fleetList) read(ctx context.Context, tx pgx.Tx, part stretch, on *conditions, inOrder bool, limit int) ([]fleetRow, error) {
	text, number := "''", "0::bigint"
	keys, casts := []string{byName, "c.account_id", "c.cluster_id"}, []string{"text", "uuid", "text"}
	if l.order.by != byName {
		keys, casts = append([]string{l.order.by}, keys...), append([]string{l.order.cast}, casts...)
		switch l.order.cast {
		case "text":
			text = l.order.by
		case "timestamptz":
			number = `(extract(epoch FROM ` + l.order.by + `) * 1000000)::bigint`
		default:
			number = l.order.by + "::bigint"
		}
	}
	if part.byAccount {
		keys, casts = []string{byName, "c.cluster_id"}, []string{"text", "text"}
	}
	direction, than := " ASC", ">"
	if l.desc {
		direction, than = " DESC", "<"
	}
	begins := "true" // where the page begins
	if part.after != nil {
		marks := make([]string, len(casts))
		for i, cast := range casts {
			marks[i] = "?::" + cast
		}
		// A comparison of rows, which an index can begin at.
		from := "(" + strings.Join(keys, ", ") + ") " + than + " (" + strings.Join(marks, ", ") + ")"
		if part.byAccount {
			on.where("(c.account_id <> ?::uuid OR "+from+")", part.after.Account, part.after.Name, part.after.Cluster)
		} else {
			on.where(from, l.values(part.after)...)
			begins = on.sql[len(on.sql)-1]
		}
	}
	by := strings.Join(keys, direction+", ") + direction
	if part.byAccount {
		// The accounts are in the order of the list already, in which direction that ever is.
		on.arguments = append(on.arguments, idsOf(part.accounts))
		by = "array_position($" + strconv.Itoa(len(on.arguments)) + "::uuid[], c.account_id), " + by
	}
	if l.found.few() {
		on.arguments = append(on.arguments, l.found.places)
	}
	read := func(from string) ([]fleetRow, error) {
		rows, err := tx.Query(ctx, `SELECT `+fleetRowColumns+`, `+text+` AS sort_text, `+number+` AS sort_number FROM `+from+`
			WHERE `+on.String()+`
			ORDER BY `+by+` LIMIT `+strconv.Itoa(limit), planned(on.arguments)...)
		if err != nil {
			return nil, err
		}
		return collectMany[fleetRow](rows)
	}
	switch {
	case l.found.few():
		// Fetched from where they stand, as in countedFrom.
		return read(fmt.Sprintf(`unnest($%d::tid[]) found (place), LATERAL (SELECT * FROM clusters WHERE ctid = found.place OFFSET 0) c`, len(on.arguments)))
	case l.found.many() && !part.byAccount && !inOrder:
		// Matches are likely among the first rows of the list. Where they are not, all of them are sorted: OFFSET 0
		// keeps Postgres from reading the list to its end instead.
		rows, err := read(`(SELECT * FROM clusters c WHERE c.gone_at IS NULL AND ` + begins + ` ORDER BY ` + by + ` LIMIT ` + strconv.Itoa(likelyAmong) + `) c`)
		if err != nil || len(rows) == limit {
			return rows, err
		}
		return read(`(SELECT * FROM clusters c WHERE ` + on.String() + ` OFFSET 0) c`)
	}
	return read(wholeTable)
}

// likelyAmong is among how many rows of the list a page of what matches is looked for, before all of it is sorted.
const likelyAmong = 2000

// values are those of the row that the cursor is at, as the order's keys are listed.
func (l fleetList) values(at *cursor) []any {
	rest := []any{at.Name, at.Account, at.Cluster}
	switch {
	case l.order.by == byName:
		return rest
	case l.order.cast == "text":
		return append([]any{at.Text}, rest...)
	case l.order.cast == "timestamptz":
		return append([]any{time.UnixMicro(at.Number)}, rest...)
	}
	return append([]any{at.Number}, rest...)
}
