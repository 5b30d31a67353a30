package accounts

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5"
)

// collectMany is pgx.CollectRows with pgx.RowToStructByName for queries of many rows: it looks for
// the fields once a query and not once a row, which for a hundred rows costs more than reading them.
// Every column needs a field and every field a column, of the same name but for underscores and case,
// or named by a tag db.
func collectMany[T any](rows pgx.Rows) ([]T, error) {
	defer rows.Close()
	var fields [][]int
	out := []T{}
	var targets []any
	for rows.Next() {
		if fields == nil {
			var err error
			if fields, err = fieldsOf(reflect.TypeFor[T](), rows); err != nil {
				return nil, err
			}
			targets = make([]any, len(fields))
		}
		var row T
		out = append(out, row)
		value := reflect.ValueOf(&out[len(out)-1]).Elem()
		for i, index := range fields {
			targets[i] = value.FieldByIndex(index).Addr().Interface()
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, fmt.Errorf("reading a row: %w", err)
		}
	}
	return out, rows.Err()
}

// fieldsOf returns the field of each column.
func fieldsOf(t reflect.Type, rows pgx.Rows) ([][]int, error) {
	byName := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, tagged := f.Tag.Lookup("db")
		if !tagged {
			name = f.Name
		}
		byName[foldColumn(name)] = f.Index
	}
	columns := rows.FieldDescriptions()
	if len(columns) != len(byName) {
		return nil, fmt.Errorf("%s has %d fields for %d columns", t, len(byName), len(columns))
	}
	fields := make([][]int, len(columns))
	for i, c := range columns {
		index, ok := byName[foldColumn(c.Name)]
		if !ok {
			return nil, fmt.Errorf("%s has no field for the column %s", t, c.Name)
		}
		fields[i] = index
	}
	return fields, nil
}

func foldColumn(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
