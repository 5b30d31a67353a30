package accounts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"quartermaster/internal/accounts/access"
)

const (
	// CountCap is up to how many clusters are counted. A count above it says that there are more.
	CountCap = 2000
	// maxChoices bounds the values of a filter that are offered.
	maxChoices = 500
	// fewAccounts is up to how many accounts' clusters the fleet counts by account.
	fewAccounts = 20
)

// capped makes a count of what the conditions match, up to one more than the cap.
func capped(on string) string { return cappedFrom("clusters c", on) }

func cappedFrom(from, on string) string {
	return `(SELECT count(*) FROM (SELECT FROM ` + from + ` WHERE ` + on + ` LIMIT ` + strconv.Itoa(CountCap+1) + `) counted)`
}

// planned has Postgres plan a statement with its values at hand, because which index is best differs from
// one filter to the next. Without values the plan that it keeps is as good, and planning costs more than
// reading a page does.
func planned(values []any) []any {
	if len(values) == 0 {
		return nil
	}
	return append([]any{pgx.QueryExecModeCacheDescribe}, values...)
}

// countFleet counts what matches and what may be seen at all, reads the values that filters offer, and where
// accounts are few, counts the clusters of each.
func countFleet(ctx context.Context, tx pgx.Tx, page *FleetPage, in fleetAccounts, q FleetQuery, found matches) error {
	sum := in.sum
	if in.everything {
		var err error
		if sum, err = sumUpAll(ctx, tx); err != nil {
			return err
		}
	}
	page.All = sum.all
	few := len(in.all) <= fewAccounts
	if sum.all <= CountCap {
		page.Choices = sum.choices
		for i, a := range page.Accounts {
			if few {
				page.Accounts[i].Clusters = sum.clusters[a.ID]
			}
		}
	} else {
		if few {
			if err := countEach(ctx, tx, page.Accounts, in); err != nil {
				return err
			}
		}
		if err := readChoices(ctx, tx, page, in); err != nil {
			return err
		}
	}
	for _, a := range in.all {
		if !slices.Contains(page.Choices.Environments, string(a.Environment)) {
			page.Choices.Environments = append(page.Choices.Environments, string(a.Environment))
		}
	}
	page.Choices.sort()
	switch {
	case q.After == "" && page.Next == "":
		page.Total = len(page.Rows)
	case !q.narrowed():
		page.Total = page.All
	case found.known:
		page.Total = len(found.places)
	default:
		on := &conditions{}
		from := on.countedFrom(in, in.among(q))
		on.matches(q)
		if err := tx.QueryRow(ctx, `SELECT `+cappedFrom(from, on.String()), planned(on.arguments)...).Scan(&page.Total); err != nil {
			return fmt.Errorf("counting clusters: %w", err)
		}
	}
	return nil
}

// fleetSum is what may be seen at all, up to the cap.
type fleetSum struct {
	all      int               // at most one more than the cap, when what follows is not complete
	clusters map[uuid.UUID]int // by account
	choices  FleetChoices
	// places are where the rows stand of the clusters that a scope picks one by one, by account. Rows stay where they
	// are for as long as the transaction that read it. Places are complete, whatever the cap.
	places map[uuid.UUID][]pgtype.TID
}

// summed are the columns of what is summed up.
const summed = `c.account_id, c.phase, c.cloud, c.region, c.version, c.version_order`

// sumUpAll sums up every cluster there is.
func sumUpAll(ctx context.Context, tx pgx.Tx) (fleetSum, error) {
	return sumUp(ctx, tx, `'{}'::tid[]`, `WITH seen AS (SELECT `+summed+` FROM clusters c WHERE c.gone_at IS NULL LIMIT `+strconv.Itoa(CountCap+1)+`)`)
}

// sumUpScope sums up the clusters of a scope: those of whole accounts, and of others those that it lists and those that
// its selectors pick, as the snapshots have them now. OFFSET 0 keeps Postgres to one look into an index for each account
// and each set of labels: how many there are it does not know, and it would rather read the whole table.
func sumUpScope(ctx context.Context, tx pgx.Tx, scope access.Scope) (fleetSum, error) {
	accounts, clusters := make([]uuid.UUID, len(scope.Clusters)), make([]string, len(scope.Clusters))
	for i, ref := range scope.Clusters {
		accounts[i], clusters[i] = ref.AccountID, ref.ClusterID
	}
	enough, err := enoughLabels(scope.Labels)
	if err != nil {
		return fleetSum{}, err
	}
	return sumUp(ctx, tx, `array_agg(place)`, `
		WITH seen AS (
			(SELECT c.* FROM accounts a, LATERAL (
				SELECT `+summed+`, c.ctid AS place FROM clusters c WHERE c.gone_at IS NULL AND c.account_id = a.id OFFSET 0
			) c WHERE a.environment = ANY($1) OR a.id = ANY($2) LIMIT `+strconv.Itoa(CountCap+1)+`)
			UNION
			SELECT `+summed+`, c.ctid FROM clusters c
			WHERE c.gone_at IS NULL AND (c.account_id, c.cluster_id) IN (SELECT * FROM unnest($3::uuid[], $4::text[]))
			UNION
			SELECT c.* FROM unnest($5::text[]) asked (labels), LATERAL (
				SELECT `+summed+`, c.ctid FROM clusters c
				WHERE c.gone_at IS NULL AND c.labels @> asked.labels::jsonb OFFSET 0
			) c)`,
		nonNil(scope.Environments), nonNil(scope.Accounts), accounts, clusters, nonNil(enough))
}

// sumUp sums up the rows of seen: how many there are, how many of each account, which values occur, and places.
func sumUp(ctx context.Context, tx pgx.Tx, places, seen string, arguments ...any) (sum fleetSum, err error) {
	rows, err := tx.Query(ctx, seen+`
		SELECT account_id, phase, cloud, region, CASE WHEN GROUPING(version_order) = 0 THEN min(version) END, count(*),
			CASE WHEN GROUPING(account_id) = 0 THEN `+places+` END
		FROM seen GROUP BY GROUPING SETS ((account_id), (phase), (cloud), (region), (version_order))`, arguments...)
	if err != nil {
		return sum, fmt.Errorf("summing up clusters: %w", err)
	}
	sum.clusters, sum.places = map[uuid.UUID]int{}, map[uuid.UUID][]pgtype.TID{}
	var account *uuid.UUID
	values := make([]*string, 4)
	var n int
	var standing []pgtype.TID
	lists := sum.choices.lists()
	if _, err := pgx.ForEachRow(rows, []any{&account, &values[0], &values[1], &values[2], &values[3], &n, &standing}, func() error {
		if account != nil {
			sum.clusters[*account] = n
			sum.places[*account] = slices.Clone(standing)
			sum.all += n
		}
		for i, value := range values {
			if value != nil && *value != "" {
				*lists[i] = append(*lists[i], *value)
			}
		}
		return nil
	}); err != nil {
		return sum, fmt.Errorf("summing up clusters: %w", err)
	}
	sum.choices.sort()
	for _, values := range lists {
		*values = (*values)[:min(len(*values), maxChoices)]
	}
	sum.all = min(sum.all, CountCap+1)
	return sum, nil
}

// countEach counts the clusters of each account that may be seen.
func countEach(ctx context.Context, tx pgx.Tx, accounts []Account, in fleetAccounts) error {
	on := &conditions{}
	on.of(in, accounts)
	on.where("c.account_id = counted_account.id")
	on.arguments = append(on.arguments, idsOf(accounts))
	rows, err := tx.Query(ctx, `SELECT `+capped(on.String())+` FROM unnest($`+strconv.Itoa(len(on.arguments))+`::uuid[])
		WITH ORDINALITY counted_account (id, place) ORDER BY place`, on.arguments...)
	if err != nil {
		return fmt.Errorf("counting clusters by account: %w", err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return fmt.Errorf("counting clusters by account: %w", err)
	}
	for i, n := range counts {
		accounts[i].Clusters = n
	}
	return nil
}

// filterChoice is a filter whose values are offered: the column shown and the expression that begins its index.
type filterChoice struct{ column, by string }

var filterChoices = []filterChoice{
	{"phase", `c.phase COLLATE "C"`}, {"cloud", `c.cloud COLLATE "C"`}, {"region", `c.region COLLATE "C"`}, {"version", "c.version_order"},
}

// readChoices asks the indexes for one value after the other, and whether it occurs in the scope. That is quick as long
// as there are few values at all. Where there are more than are offered, what occurs only outside the scope must take
// no place: then the clusters of the scope are read instead.
func readChoices(ctx context.Context, tx pgx.Tx, page *FleetPage, in fleetAccounts) error {
	on := &conditions{}
	on.of(in, in.all)
	each := make([]string, len(filterChoices))
	for i, c := range filterChoices {
		each[i] = `SELECT ` + strconv.Itoa(i) + `, (SELECT c.` + c.column + ` FROM clusters c WHERE ` + c.by + ` = v.value AND ` + on.String() + ` LIMIT 1) FROM (
			WITH RECURSIVE values AS (
				(SELECT ` + c.by + ` AS value FROM clusters c WHERE c.gone_at IS NULL ORDER BY ` + c.by + ` LIMIT 1)
				UNION ALL
				SELECT (SELECT ` + c.by + ` FROM clusters c WHERE c.gone_at IS NULL AND ` + c.by + ` > last.value ORDER BY ` + c.by + ` LIMIT 1)
				FROM values last WHERE last.value IS NOT NULL
			) SELECT value FROM values WHERE value IS NOT NULL LIMIT ` + strconv.Itoa(maxChoices+1) + `) v`
	}
	walked, found, err := choicesOf(ctx, tx, strings.Join(each, "\nUNION ALL\n"), on)
	if err != nil {
		return err
	}
	lists := page.Choices.lists()
	for i, c := range filterChoices {
		if walked[i] > maxChoices && !in.everything {
			_, all, err := choicesOf(ctx, tx, `SELECT `+strconv.Itoa(i)+`, shown FROM (
				SELECT DISTINCT ON (`+c.by+`) c.`+c.column+` AS shown FROM clusters c WHERE `+on.String()+` ORDER BY `+c.by+`
				LIMIT `+strconv.Itoa(maxChoices+1)+`) v`, on)
			if err != nil {
				return err
			}
			found[i] = all[i]
		}
		*lists[i] = found[i][:min(len(found[i]), maxChoices)]
	}
	return nil
}

// choicesOf reads the values that a statement gives for each filter, and how many rows it had for it, with those that have
// no value to offer.
func choicesOf(ctx context.Context, tx pgx.Tx, statement string, on *conditions) (rows [4]int, values [4][]string, err error) {
	read, err := tx.Query(ctx, statement, planned(on.arguments)...)
	if err != nil {
		return rows, values, fmt.Errorf("reading the choices: %w", err)
	}
	var filter int
	var value *string
	if _, err := pgx.ForEachRow(read, []any{&filter, &value}, func() error {
		rows[filter]++
		if value != nil && *value != "" {
			values[filter] = append(values[filter], *value)
		}
		return nil
	}); err != nil {
		return rows, values, fmt.Errorf("reading the choices: %w", err)
	}
	return rows, values, nil
}

// lists are those that filterChoices names, in its order.
func (c *FleetChoices) lists() []*[]string {
	return []*[]string{&c.Phases, &c.Clouds, &c.Regions, &c.Versions}
}

// sort puts the choices in the order in which people expect them.
func (c *FleetChoices) sort() {
	slices.SortFunc(c.Environments, func(a, b string) int {
		return cmp.Compare(slices.Index(Environments, Environment(a)), slices.Index(Environments, Environment(b)))
	})
	slices.SortFunc(c.Versions, func(a, b string) int { return strings.Compare(versionOrder(a), versionOrder(b)) })
	for _, values := range []*[]string{&c.Phases, &c.Clouds, &c.Regions} {
		slices.Sort(*values)
	}
}
