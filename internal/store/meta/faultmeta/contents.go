package faultmeta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
)

// Contents are the rows of a database, each with its table, and how often it is there.
type Contents map[string]int

// Read returns the contents of the database of a data directory, except some tables. It reads beside the store, without
// faults.
//
// Errors: those of the database.
func Read(ctx context.Context, dir string, except ...string) (Contents, error) {
	path := url.URL{Path: filepath.Join(dir, "ecrin.db")}
	dsn := url.URL{Scheme: "file", Opaque: path.EscapedPath(), RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	all, err := read(ctx, db, except)
	return all, errors.Join(err, db.Close())
}

func read(ctx context.Context, db *sql.DB, except []string) (Contents, error) {
	tx, err := db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() // it changes nothing
	all := Contents{}
	var tables []string
	err = each(ctx, tx, `SELECT name FROM sqlite_master WHERE type = 'table'`, func(row []any) {
		if name := fmt.Sprint(row[0]); !strings.HasPrefix(name, "sqlite_") && !slices.Contains(except, name) {
			tables = append(tables, name)
		}
	})
	for _, table := range tables {
		err = errors.Join(err, each(ctx, tx, `SELECT * FROM "`+table+`"`, func(row []any) { all[table+" "+fmt.Sprintf("%q", row)]++ }))
	}
	return all, err
}

func each(ctx context.Context, tx *sql.Tx, query string, row func([]any)) error {
	rows, err := tx.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row(values)
	}
	return rows.Err()
}

// Since describes the change from earlier contents: for each table the number of rows that are gone and of those that are
// new. A row that was changed is one of each. The text is "" if nothing has changed.
func (c Contents) Since(earlier Contents) string {
	type change struct{ gone, added int }
	changes := map[string]change{}
	for row, n := range c {
		table, _, _ := strings.Cut(row, " ")
		d := changes[table]
		d.added += max(n-earlier[row], 0)
		changes[table] = d
	}
	for row, n := range earlier {
		table, _, _ := strings.Cut(row, " ")
		d := changes[table]
		d.gone += max(n-c[row], 0)
		changes[table] = d
	}
	var all []string
	for table, d := range changes {
		if d != (change{}) {
			all = append(all, fmt.Sprintf("%s -%d +%d", table, d.gone, d.added))
		}
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
