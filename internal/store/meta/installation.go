package meta

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// Installation returns the id of the installation that the database belongs to, "" before ClaimInstallation.
func (s *Store) Installation(ctx context.Context) (id string, err error) {
	err = s.read.row(ctx, `SELECT id FROM installation WHERE one = 1`, nil, &id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return id, err
}

// ClaimInstallation stores the id of the installation if the database has none, and returns the stored one: two
// processes that start at the same time get the same id.
func (s *Store) ClaimInstallation(ctx context.Context, id string) (stored string, err error) {
	err = s.write.do(ctx, func(t *tx) error {
		if _, err := t.exec(`INSERT INTO installation (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING`, id); err != nil {
			return err
		}
		_, err := t.one(`SELECT id FROM installation WHERE one = 1`, nil, &stored)
		return err
	})
	return stored, err
}

// SchemaVersion returns the version of the schema that this program creates.
func SchemaVersion() int {
	newest := 0
	files, err := fs.ReadDir(migrations, "migrations")
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		if n, nerr := strconv.Atoi(number); err == nil && nerr == nil {
			newest = max(newest, n)
		}
	}
	return newest
}
