package accounts

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
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
func capped(on string) string {
	return `(SELECT count(*) FROM (SELECT FROM clusters c WHERE ` + on + ` LIMIT ` + strconv.Itoa(CountCap+1) + `) counted)`
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

// countFleet counts what matches and what may be seen at all, and where accounts are few, the clusters
// of each.
func countFleet(ctx context.Context, tx pgx.Tx, page *FleetPage, in fleetAccounts, q FleetQuery) error {
	count := func(these []Account, q FleetQuery) (n int, err error) {
		on := &conditions{}
		on.of(in, these)
		on.matches(q)
		err = tx.QueryRow(ctx, `SELECT `+capped(on.String()), planned(on.arguments)...).Scan(&n)
		if err != nil {
			err = fmt.Errorf("counting clusters: %w", err)
		}
		return n, err
	}
	var err error
	if len(in.all) <= fewAccounts {
		if page.All, err = countEach(ctx, tx, page.Accounts, in); err != nil {
			return err
		}
	} else if page.All, err = count(in.all, FleetQuery{}); err != nil {
		return err
	}
	switch {
	case q.After == "" && page.Next == "":
		page.Total = len(page.Rows)
	case !q.narrowed():
		page.Total = page.All
	default:
		page.Total, err = count(in.among(q), q)
	}
	return err
}

// countEach counts the clusters of each account that may be seen, and returns the capped sum.
func countEach(ctx context.Context, tx pgx.Tx, accounts []Account, in fleetAccounts) (int, error) {
	on := &conditions{}
	on.of(in, accounts)
	on.where("c.account_id = counted_account.id")
	on.arguments = append(on.arguments, idsOf(accounts))
	rows, err := tx.Query(ctx, `SELECT `+capped(on.String())+` FROM unnest($`+strconv.Itoa(len(on.arguments))+`::uuid[])
		WITH ORDINALITY counted_account (id, place) ORDER BY place`, on.arguments...)
	if err != nil {
		return 0, fmt.Errorf("counting clusters by account: %w", err)
	}
	counts, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return 0, fmt.Errorf("counting clusters by account: %w", err)
	}
	sum := 0
	for i, n := range counts {
		accounts[i].Clusters = n
		sum += n
	}
	return min(sum, CountCap+1), nil
}

// filterChoice is a filter whose values are offered: the column shown and the expression that begins its index.
type filterChoice struct{ column, by string }

var filterChoices = []filterChoice{
	{"phase", `c.phase COLLATE "C"`}, {"cloud", `c.cloud COLLATE "C"`}, {"region", `c.region COLLATE "C"`}, {"version", "c.version_order"},
}

// readChoices reads the values that occur in what may be seen. Few clusters are read through; of many,
// the index is asked for one value after the other, and whether it occurs in the scope.
func readChoices(ctx context.Context, tx pgx.Tx, page *FleetPage, in fleetAccounts) error {
	on := &conditions{}
	on.of(in, in.all)
	statement := `SELECT c.phase, c.cloud, c.region, CASE WHEN GROUPING(c.version_order) = 0 THEN min(c.version) END
		FROM clusters c WHERE ` + on.String() + ` GROUP BY GROUPING SETS ((c.phase), (c.cloud), (c.region), (c.version_order))`
	if page.All > CountCap {
		each := make([]string, len(filterChoices))
		for i, c := range filterChoices {
			columns := []string{"NULL", "NULL", "NULL", "NULL"}
			columns[i] = `(SELECT c.` + c.column + ` FROM clusters c WHERE ` + c.by + ` = v.value AND ` + on.String() + ` LIMIT 1)`
			each[i] = `SELECT ` + strings.Join(columns, ", ") + ` FROM (
			WITH RECURSIVE values AS (
				(SELECT ` + c.by + ` AS value FROM clusters c WHERE c.gone_at IS NULL ORDER BY ` + c.by + ` LIMIT 1)
				UNION ALL
				SELECT (SELECT ` + c.by + ` FROM clusters c WHERE c.gone_at IS NULL AND ` + c.by + ` > last.value ORDER BY ` + c.by + ` LIMIT 1)
				FROM values last WHERE last.value IS NOT NULL
			) SELECT value FROM values WHERE value IS NOT NULL LIMIT ` + strconv.Itoa(maxChoices) + `) v`
		}
		statement = strings.Join(each, "\nUNION ALL\n")
	}
	rows, err := tx.Query(ctx, statement, planned(on.arguments)...)
	if err != nil {
		return fmt.Errorf("reading the choices: %w", err)
	}
	choices := []*[]string{&page.Choices.Phases, &page.Choices.Clouds, &page.Choices.Regions, &page.Choices.Versions}
	values := make([]*string, len(choices))
	if _, err := pgx.ForEachRow(rows, []any{&values[0], &values[1], &values[2], &values[3]}, func() error {
		for i, value := range values {
			if value != nil && *value != "" && len(*choices[i]) < maxChoices {
				*choices[i] = append(*choices[i], *value)
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("reading the choices: %w", err)
	}
	for _, a := range in.all {
		if !slices.Contains(page.Choices.Environments, string(a.Environment)) {
			page.Choices.Environments = append(page.Choices.Environments, string(a.Environment))
		}
	}
	page.Choices.sort()
	return nil
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
