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

// countFleet counts what matches and what may be seen at all, reads the values that filters offer, and where
// accounts are few, counts the clusters of each.
func countFleet(ctx context.Context, tx pgx.Tx, page *FleetPage, in fleetAccounts, q FleetQuery) error {
	whole, err := sumUp(ctx, tx, page, in)
	if err != nil {
		return err
	}
	if !whole {
		if len(in.all) <= fewAccounts {
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
	default:
		on := &conditions{}
		on.of(in, in.among(q))
		on.matches(q)
		if err := tx.QueryRow(ctx, `SELECT `+capped(on.String()), planned(on.arguments)...).Scan(&page.Total); err != nil {
			return fmt.Errorf("counting clusters: %w", err)
		}
	}
	return nil
}

// sumUp reads what may be seen once, up to the cap: how many clusters there are, how many of each
// account, and which values occur. When there are more than the cap, whole is false and only their number
// is known.
func sumUp(ctx context.Context, tx pgx.Tx, page *FleetPage, in fleetAccounts) (whole bool, err error) {
	on := &conditions{}
	on.of(in, in.all)
	rows, err := tx.Query(ctx, `WITH seen AS (
			SELECT c.account_id, c.phase, c.cloud, c.region, c.version, c.version_order FROM clusters c
			WHERE `+on.String()+` LIMIT `+strconv.Itoa(CountCap+1)+`)
		SELECT account_id, phase, cloud, region, CASE WHEN GROUPING(version_order) = 0 THEN min(version) END, count(*)
		FROM seen GROUP BY GROUPING SETS ((account_id), (phase), (cloud), (region), (version_order))`, planned(on.arguments)...)
	if err != nil {
		return false, fmt.Errorf("summing up clusters: %w", err)
	}
	var account *uuid.UUID
	values := make([]*string, 4)
	var n int
	of := map[uuid.UUID]int{}
	choices := FleetChoices{}
	lists := choices.lists()
	if _, err := pgx.ForEachRow(rows, []any{&account, &values[0], &values[1], &values[2], &values[3], &n}, func() error {
		if account != nil {
			of[*account] = n
			page.All += n
		}
		for i, value := range values {
			if value != nil && *value != "" {
				*lists[i] = append(*lists[i], *value)
			}
		}
		return nil
	}); err != nil {
		return false, fmt.Errorf("summing up clusters: %w", err)
	}
	if page.All > CountCap {
		return false, nil
	}
	choices.sort()
	for _, values := range lists {
		*values = (*values)[:min(len(*values), maxChoices)]
	}
	page.Choices = choices
	if len(in.all) <= fewAccounts {
		for i, a := range page.Accounts {
			page.Accounts[i].Clusters = of[a.ID]
		}
	}
	return true, nil
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
