package audit

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Part is a part of the log. What it does not name is not in it: the zero Part holds no event, and events
// of no account, such as sign-ins, are in no part.
//
// Whether an event is in a part is decided where events are found and not afterwards, so that neither a
// page's length nor its place, nor how long a search takes, tells of events outside. Their numbers are
// not hidden: numbers have no gaps, so a reader of a part sees that there are others, and how many.
type Part struct {
	Accounts []string // ids; all events of these accounts, of removed ones too
	// Clusters are single ones: the events about each, and about keys of which every cluster that the event
	// names is among them. What is told of a key cannot be told in part, because its leaf is over all of it.
	Clusters []Cluster
}

// Cluster names a cluster as events do. Ids are unique only within an account.
type Cluster struct {
	Account string `json:"account"`
	ID      string `json:"id"`
}

// Covers reports whether everything in the other part is in this one.
func (p Part) Covers(other Part) bool {
	for _, id := range other.Accounts {
		if !slices.Contains(p.Accounts, id) {
			return false
		}
	}
	for _, c := range other.Clusters {
		if !slices.Contains(p.Accounts, c.Account) && !slices.Contains(p.Clusters, c) {
			return false
		}
	}
	return true
}

// Holds reports whether an event is in the part, as the log decides it where it reads; nil holds all.
func (p *Part) Holds(e Event) bool {
	switch {
	case p == nil:
		return true
	case e.Account.ID == "":
		return false
	case slices.Contains(p.Accounts, e.Account.ID):
		return true
	case e.Target.Kind == "cluster":
		return e.Target.ID != "" && slices.Contains(p.Clusters, Cluster{e.Account.ID, e.Target.ID})
	case e.Target.Kind != "key" && e.Target.Kind != "admin_key":
		return false
	}
	named := 0
	for _, sides := range [][2]any{e.Change["cluster_id"], e.Change["cluster_ids"]} {
		for _, side := range sides {
			if side == nil {
				continue
			}
			list, ok := side.([]any)
			if !ok {
				list = []any{side}
			}
			for _, id := range list {
				if text, ok := id.(string); !ok || !slices.Contains(p.Clusters, Cluster{e.Account.ID, text}) {
					return false
				}
				named++
			}
		}
	}
	return named > 0
}

// How events tell of clusters. A part of the log rests on it, so it is as final as what is stored.
const (
	isCluster = `e.target_kind = 'cluster'`
	isKey     = `e.target_kind IN ('key', 'admin_key')`
	// keyClusters are the clusters that an event about a key names, before or after it.
	keyClusters = `(
		SELECT named #>> '{}' AS id FROM jsonb_path_query(convert_from(e.body, 'UTF8')::jsonb, '$.change.cluster_id[*]') named WHERE named <> 'null'
		UNION ALL
		SELECT named #>> '{}' FROM jsonb_path_query(convert_from(e.body, 'UTF8')::jsonb, '$.change.cluster_ids[*][*]') named WHERE named <> 'null')`
	partClusters = `SELECT * FROM unnest(@part_cluster_accounts::text[], @part_clusters::text[])`
	// keyWithin is the condition that the clusters named are in the part, all of them, and at least one; keyTouches that any is.
	keyWithin  = `(SELECT count(*) > 0 AND bool_and((e.account_id, named.id) IN (` + partClusters + `)) FROM ` + keyClusters + ` named)`
	keyTouches = `(SELECT coalesce(bool_or((e.account_id, named.id) IN (` + partClusters + `)), false) FROM ` + keyClusters + ` named)`
)

// arguments adds those that the conditions of a part name. An id that the log would not have as it is
// matches nothing: cut, it might be that of another.
func (p Part) arguments(args pgx.NamedArgs) {
	whole := slices.DeleteFunc(slices.Sorted(slices.Values(p.Accounts)), func(id string) bool { return id == "" || visible(id, maxName) != id })
	whole = slices.Compact(whole)
	accounts, clusters, keyAccounts := []string{}, []string{}, []string{}
	for _, c := range p.Clusters {
		if c.Account == "" || c.ID == "" || visible(c.Account, maxName) != c.Account || visible(c.ID, maxName) != c.ID || slices.Contains(whole, c.Account) {
			continue
		}
		accounts, clusters = append(accounts, c.Account), append(clusters, c.ID)
		if !slices.Contains(keyAccounts, c.Account) {
			keyAccounts = append(keyAccounts, c.Account)
		}
	}
	if whole == nil {
		whole = []string{}
	}
	args["part_accounts"], args["part_cluster_accounts"], args["part_clusters"], args["part_key_accounts"] = whole, accounts, clusters, keyAccounts
}

// condition is that the event e is in the part, for events that are found by their number.
func (p *Part) condition(args pgx.NamedArgs) string {
	if p == nil {
		return "true"
	}
	p.arguments(args)
	return `(e.account_id = ANY(@part_accounts::text[])
		OR ` + isCluster + ` AND (e.account_id, e.target_id) IN (` + partClusters + `)
		OR ` + isKey + ` AND e.account_id = ANY(@part_key_accounts::text[]) AND ` + keyWithin + `)`
}

// among is the condition that e is among what a query asks for, as far as it is in the part. A part is
// read with a limit, which args must hold.
func (p *Part) among(q Query, where []string, args pgx.NamedArgs) string {
	if p == nil {
		return strings.Join(where, " AND ")
	}
	in := *p
	if q.Account != "" { // the others have nothing to give
		in.Accounts = slices.DeleteFunc(slices.Clone(in.Accounts), func(id string) bool { return id != q.Account })
		in.Clusters = slices.DeleteFunc(slices.Clone(in.Clusters), func(c Cluster) bool { return c.Account != q.Account })
	}
	return in.newest(where, args)
}

// newest is the condition that e is among the first @limit events of the part that meet the others, newest
// first. They are looked for account by account and cluster by cluster, each in the order of an index, so
// that what a page costs does not grow with what others have in the log.
func (p Part) newest(where []string, args pgx.NamedArgs) string {
	p.arguments(args)
	return newestOf(where,
		source{`unnest(@part_accounts::text[]) AS mine (account)`, `e.account_id = mine.account`},
		source{fromClusters, ofCluster},
		source{fromKeyAccounts, ofKeyAccount + ` AND ` + keyWithin},
	)
}

// source is where events are looked for: once for each row of from, those that belong to it.
type source struct{ from, belong string }

const (
	fromClusters    = `unnest(@part_cluster_accounts::text[], @part_clusters::text[]) AS mine (account, cluster)`
	ofCluster       = isCluster + ` AND e.target_id = mine.cluster AND e.account_id = mine.account`
	fromKeyAccounts = `unnest(@part_key_accounts::text[]) AS mine (account)`
	ofKeyAccount    = `e.account_id = mine.account AND ` + isKey
)

func newestOf(where []string, sources ...source) string {
	each := make([]string, len(sources))
	for i, s := range sources {
		each[i] = `SELECT one.seq FROM ` + s.from + ` CROSS JOIN LATERAL (
				SELECT e.seq FROM audit.events e LEFT JOIN audit.open_operations o ON o.seq = e.seq
				WHERE ` + s.belong + ` AND ` + strings.Join(where, " AND ") + `
				ORDER BY e.seq DESC LIMIT @limit
			) one`
	}
	return `e.seq = ANY (ARRAY(
			SELECT found.seq FROM (` + strings.Join(each, "\n\t\t\tUNION\n\t\t\t") + `) found
			ORDER BY found.seq DESC LIMIT @limit
		))`
}

// ClusterHistory gives one page of what was done to a cluster and to keys that open it, or tried and not
// done: operations as List has them, but for refusals of members who lacked the right. A key of several
// clusters is told in whole: whoever shows it must leave out the clusters that a reader may not see.
func (l *Log) ClusterHistory(ctx context.Context, c Cluster, after int64, limit int) (Page, error) {
	where, args := l.conditions(Query{After: after})
	where = append(where, `e.outcome <> 'denied'`)
	Part{Clusters: []Cluster{c}}.arguments(args)
	within := func() string {
		return newestOf(where, source{fromClusters, ofCluster}, source{fromKeyAccounts, ofKeyAccount + ` AND ` + keyTouches})
	}
	page, err := l.page(ctx, limit, args, within)
	if err != nil {
		return Page{}, fmt.Errorf("reading the history of a cluster: %w", err)
	}
	return page, nil
}
