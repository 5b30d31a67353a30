package accounts

import (
	"cmp"
	"context"
	"crypto/hmac"
	"encoding/base64"
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
		SELECT a.id, `+syncColumns+`, coalesce(c.clusters, 0) AS clusters
		FROM accounts a
		LEFT JOIN refresh r ON r.account_id = a.id AND r.kind = 'clusters'
		LEFT JOIN (SELECT account_id, count(*) AS clusters FROM clusters WHERE gone_at IS NULL AND account_id = ANY($2) GROUP BY account_id) c
			ON c.account_id = a.id
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

// clusterColumns belong to clusterRow: a accounts, c clusters, r refresh, $1 the age past which a
// snapshot is stale.
const clusterColumns = `
	a.id AS account_id, a.name AS account_name, a.environment, a.generation, c.cluster_id, c.name, c.phase, c.reason, c.cloud, c.region,
	c.version, c.nodes_up, c.nodes, c.package, c.ram_mib, c.cpu_milli, c.disk_mib, c.created_at,
	CASE WHEN c.missing_at IS NULL AND c.gone_at IS NULL THEN greatest(c.seen_at, r.ok_at) ELSE c.seen_at END AS seen_at,
	(c.missing_at IS NOT NULL OR NOT a.enabled OR coalesce(r.failures, 0) > 0
		OR coalesce(r.ok_at, r.created_at, a.created_at) < clock_timestamp() - $1::interval) AS stale`

const clusterTables = `
	FROM clusters c
	JOIN accounts a ON a.id = c.account_id
	LEFT JOIN refresh r ON r.account_id = a.id AND r.kind = 'clusters'`

// clusterRow is ClusterRow as read from the database.
type clusterRow struct {
	AccountID   uuid.UUID
	AccountName string
	Environment Environment
	Generation  cloudapi.Generation
	ClusterID   string
	Name        string
	Phase       cloudapi.Phase
	Reason      string
	Cloud       string
	Region      string
	Version     string
	NodesUp     int
	Nodes       int
	Package     string
	RAMMiB      int64 `db:"ram_mib"`
	CPUMilli    int64 `db:"cpu_milli"`
	DiskMiB     int64 `db:"disk_mib"`
	CreatedAt   *time.Time
	SeenAt      time.Time
	Stale       bool
}

// firstClusters returns the first clusters of an account, by name.
func (s *Service) firstClusters(ctx context.Context, accountID uuid.UUID) ([]ClusterRow, error) {
	rows, err := s.cfg.DB.Query(ctx, `SELECT `+clusterColumns+clusterTables+`
		WHERE c.account_id = $2 AND c.gone_at IS NULL
		ORDER BY lower(c.name) COLLATE "C", c.cluster_id LIMIT $3`, s.staleAfter(), accountID, firstClustersLimit)
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[clusterRow])
	if err != nil {
		return nil, dbError("reading the account's clusters", err)
	}
	clusters := make([]ClusterRow, len(stored))
	for i, row := range stored {
		clusters[i] = ClusterRow(row)
	}
	return clusters, nil
}

// order is a way to sort the fleet. by is an SQL expression that is never null; rows that are
// equal in it follow by name, account and cluster id, always ascending.
type order struct {
	by      string
	numeric bool // bigint; otherwise text, compared byte by byte
}

// orderNamed returns one of the orders there are, by name when there is no such order. What a
// browser sends never becomes SQL.
func orderNamed(sort string) (string, order) {
	switch sort {
	case "account":
		return sort, order{by: `lower(a.name) COLLATE "C"`}
	case "environment":
		return sort, order{by: `array_position(ARRAY['production', 'staging', 'development', 'other'], a.environment)::bigint`, numeric: true}
	case "phase":
		return sort, order{by: `c.phase COLLATE "C"`}
	case "cloud":
		return sort, order{by: `c.cloud COLLATE "C"`}
	case "region":
		return sort, order{by: `c.region COLLATE "C"`}
	case "version":
		return sort, order{by: `c.version_order`}
	case "nodes":
		return sort, order{by: `c.nodes::bigint`, numeric: true}
	case "package":
		return sort, order{by: `c.ram_mib`, numeric: true}
	case "created":
		return sort, order{by: `coalesce((extract(epoch FROM c.created_at) * 1000000)::bigint, 0)`, numeric: true}
	}
	return "name", order{by: `lower(c.name) COLLATE "C"`}
}

// cursor is the place after the last row of a page. It is sealed with a keyed hash and good only
// for the query that it came from.
type cursor struct {
	Query   string    `json:"q"` // digest of filters and order
	Text    string    `json:"t,omitempty"`
	Number  int64     `json:"n,omitempty"`
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
		sql = strings.Replace(sql, "?", fmt.Sprintf("$%d", len(c.arguments)), 1)
	}
	c.sql = append(c.sql, sql)
}

func (c *conditions) String() string { return strings.Join(c.sql, "\n\t\tAND ") }

func (c *conditions) clone() *conditions {
	return &conditions{sql: slices.Clone(c.sql), arguments: slices.Clone(c.arguments)}
}

// inScope adds the condition that a cluster lies in the scope.
func (c *conditions) inScope(scope access.Scope) {
	if scope.Everything {
		return
	}
	accounts := make([]uuid.UUID, len(scope.Clusters))
	clusters := make([]string, len(scope.Clusters))
	for i, ref := range scope.Clusters {
		accounts[i], clusters[i] = ref.AccountID, ref.ClusterID
	}
	c.where(`(a.environment = ANY(?::text[]) OR a.id = ANY(?::uuid[])
			OR (c.account_id, c.cluster_id) IN (SELECT * FROM unnest(?::uuid[], ?::text[])))`,
		nonNil(scope.Environments), nonNil(scope.Accounts), accounts, clusters)
}

// nonNil keeps a nil slice from becoming SQL's null, with which no condition is true or false.
func nonNil[T any](in []T) []T {
	if in == nil {
		return []T{}
	}
	return in
}

// matches adds the query's filters. A value that cannot be in the database matches nothing.
func (c *conditions) matches(q FleetQuery) {
	if q.Account != "" {
		id, err := uuid.Parse(q.Account)
		if err != nil {
			c.where("false")
			return
		}
		c.where("a.id = ?", id)
	}
	for _, filter := range []struct{ column, value string }{
		{"a.environment", q.Environment}, {"c.phase", q.Phase}, {"c.cloud", q.Cloud}, {"c.region", q.Region}, {"c.version", q.Version},
	} {
		switch {
		case filter.value == "":
		case !wellFormed(filter.value, maxSnapshotText):
			c.where("false")
		default:
			c.where(filter.column+" = ?", filter.value)
		}
	}
	if !wellFormed(q.Text, maxFilter) {
		c.where("false")
		return
	}
	for i, word := range strings.Fields(strings.ToLower(q.Text)) {
		if i == maxWords {
			break
		}
		c.where("c.search LIKE ?", "%"+escapeLike(word)+"%")
	}
}

// escapeLike makes text stand for itself in a LIKE pattern.
func escapeLike(text string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text)
}

// after adds the condition that a row comes after the cursor.
func (c *conditions) after(o order, desc bool, at cursor) {
	value, cast, than := any(at.Text), "text", ">"
	if o.numeric {
		value, cast = at.Number, "bigint"
	}
	if desc {
		than = "<"
	}
	c.where(fmt.Sprintf(`(%[1]s %[2]s ?::%[3]s OR %[1]s = ?::%[3]s
			AND (lower(c.name) COLLATE "C", c.account_id, c.cluster_id) > (?::text, ?::uuid, ?::text))`, o.by, than, cast),
		value, value, at.Name, at.Account, at.Cluster)
}

// Fleet returns clusters of every account the member may read, from snapshots only, as they were
// at one moment. ErrBadCursor when After is no cursor of this query, ErrUnavailable.
func (s *Service) Fleet(ctx context.Context, by audit.Actor, q FleetQuery) (FleetPage, error) {
	return s.fleet(ctx, s.visible(by, ActClusterRead), q)
}

// fleet is Fleet for one who sees the scope.
func (s *Service) fleet(ctx context.Context, scope access.Scope, q FleetQuery) (FleetPage, error) {
	sort, o := orderNamed(q.Sort)
	desc := q.Dir == "desc"
	query, err := s.digest(q, sort, desc)
	if err != nil {
		return FleetPage{}, err
	}
	seen := &conditions{}
	seen.where("c.gone_at IS NULL")
	seen.inScope(scope)
	matching := seen.clone()
	matching.matches(q)
	onPage := &conditions{arguments: []any{s.staleAfter()}}
	onPage.where("c.gone_at IS NULL")
	onPage.inScope(scope)
	onPage.matches(q)
	if q.After != "" {
		at, err := s.decodeCursor(q.After, query)
		if err != nil {
			return FleetPage{}, err
		}
		onPage.after(o, desc, at)
	}
	if scope.None() {
		return FleetPage{}, nil
	}
	limit := fleetLimit
	if q.Limit > 0 {
		limit = min(q.Limit, maxFleetLimit)
	}

	var page FleetPage
	err = pgx.BeginTxFunc(ctx, s.cfg.DB, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		page = FleetPage{}
		if err := s.fleetRows(ctx, tx, &page, query, o, desc, onPage, limit); err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM clusters c JOIN accounts a ON a.id = c.account_id WHERE `+matching.String(), matching.arguments...).
			Scan(&page.Total); err != nil {
			return fmt.Errorf("counting clusters: %w", err)
		}
		if err := tx.QueryRow(ctx, `
			SELECT count(*), coalesce(array_agg(DISTINCT a.environment), '{}'), coalesce(array_agg(DISTINCT c.phase), '{}'),
				coalesce(array_agg(DISTINCT c.cloud), '{}'), coalesce(array_agg(DISTINCT c.region), '{}'),
				coalesce(array_agg(DISTINCT c.version), '{}')
			FROM clusters c JOIN accounts a ON a.id = c.account_id WHERE `+seen.String(), seen.arguments...).
			Scan(&page.All, &page.Choices.Environments, &page.Choices.Phases, &page.Choices.Clouds, &page.Choices.Regions, &page.Choices.Versions); err != nil {
			return fmt.Errorf("reading the choices: %w", err)
		}
		page.Choices.sort()
		page.Accounts, err = s.accountsWithClustersIn(ctx, tx, scope)
		return err
	})
	if err != nil {
		return FleetPage{}, dbError("reading the fleet", err)
	}
	return page, nil
}

// sort puts the choices in the order in which people expect them, and leaves out what is not known.
func (c *FleetChoices) sort() {
	slices.SortFunc(c.Environments, func(a, b string) int {
		return cmp.Compare(slices.Index(Environments, Environment(a)), slices.Index(Environments, Environment(b)))
	})
	slices.SortFunc(c.Versions, func(a, b string) int { return strings.Compare(versionOrder(a), versionOrder(b)) })
	for _, values := range []*[]string{&c.Phases, &c.Clouds, &c.Regions} {
		slices.Sort(*values)
	}
	for _, values := range []*[]string{&c.Phases, &c.Clouds, &c.Regions, &c.Versions} {
		*values = slices.DeleteFunc(*values, func(v string) bool { return v == "" })
	}
}

// fleetRow is a row of the fleet with its place in the order.
type fleetRow struct {
	clusterRow
	SortText   string
	SortNumber int64
	SortName   string
}

// fleetRows reads one page, and one row more to learn whether another page follows.
func (s *Service) fleetRows(ctx context.Context, tx pgx.Tx, page *FleetPage, query string, o order, desc bool, on *conditions, limit int) error {
	text, number, direction := o.by, "0::bigint", "ASC"
	if o.numeric {
		text, number = "''", o.by
	}
	if desc {
		direction = "DESC"
	}
	rows, err := tx.Query(ctx, `SELECT `+clusterColumns+`, `+text+` AS sort_text, `+number+` AS sort_number, lower(c.name) COLLATE "C" AS sort_name`+
		clusterTables+`
		WHERE `+on.String()+`
		ORDER BY `+o.by+` `+direction+`, lower(c.name) COLLATE "C", c.account_id, c.cluster_id
		LIMIT `+strconv.Itoa(limit+1), on.arguments...)
	if err != nil {
		return fmt.Errorf("reading clusters: %w", err)
	}
	stored, err := collectMany[fleetRow](rows)
	if err != nil {
		return fmt.Errorf("reading clusters: %w", err)
	}
	if len(stored) > limit {
		stored = stored[:limit]
		last := stored[limit-1]
		if page.Next, err = s.encodeCursor(cursor{
			Query: query, Text: last.SortText, Number: last.SortNumber, Name: last.SortName, Account: last.AccountID, Cluster: last.ClusterID,
		}); err != nil {
			return err
		}
	}
	page.Rows = make([]ClusterRow, len(stored))
	for i, row := range stored {
		page.Rows[i] = ClusterRow(row.clusterRow)
	}
	return nil
}

// accountsWithClustersIn returns the accounts that lie in the scope, or of which a cluster does, by name.
func (s *Service) accountsWithClustersIn(ctx context.Context, tx pgx.Tx, scope access.Scope) ([]Account, error) {
	ids := slices.Clone(nonNil(scope.Accounts))
	for _, ref := range scope.Clusters {
		ids = append(ids, ref.AccountID)
	}
	rows, err := tx.Query(ctx, selectAccounts+`
		WHERE $1 OR a.environment = ANY($2) OR a.id = ANY($3)
		ORDER BY lower(a.name), a.id`, scope.Everything, nonNil(scope.Environments), ids)
	if err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByName[accountRow])
	if err != nil {
		return nil, fmt.Errorf("reading accounts: %w", err)
	}
	accounts := make([]Account, len(stored))
	for i, row := range stored {
		accounts[i] = row.account()
	}
	return accounts, s.addSyncFrom(ctx, tx, accounts)
}
