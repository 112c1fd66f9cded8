package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// SealedColumn is a column whose values are sealed with the master key. Every column of bytes is either in the list of SealedColumns or
// in that of the test of it, and package identity knows how each is sealed, so that a change of the master key cannot leave one out.
type SealedColumn struct {
	Table, Column string

	keys  int    // number of texts at the beginning of each row that are its key
	read  string // returns the rows after a key, in the order of the keys: texts, then the sealed value
	write string // sets the sealed value of the row with a key
}

var sealedColumns = []SealedColumn{
	{
		Table: "access_keys", Column: "sealed_secret", keys: 1,
		read:  `SELECT id, sealed_secret FROM access_keys WHERE id > $1 ORDER BY id LIMIT $2`,
		write: `UPDATE access_keys SET sealed_secret = $2 WHERE id = $1`,
	},
	{
		Table: "sessions", Column: "sealed_secret", keys: 1,
		read:  `SELECT access_key, sealed_secret FROM sessions WHERE access_key > $1 ORDER BY access_key LIMIT $2`,
		write: `UPDATE sessions SET sealed_secret = $2 WHERE access_key = $1`,
	},
	{
		Table: "secrets", Column: "sealed", keys: 3,
		read: `SELECT account, region, name, suffix, sealed FROM secrets WHERE (account, region, name) > ($1, $2, $3)
			ORDER BY account, region, name LIMIT $4`,
		write: `UPDATE secrets SET sealed = $4 WHERE account = $1 AND region = $2 AND name = $3`,
	},
	{
		Table: "webhooks", Column: "sealed", keys: 3,
		read: `SELECT account, region, name, sealed FROM webhooks WHERE (account, region, name) > ($1, $2, $3)
			ORDER BY account, region, name LIMIT $4`,
		write: `UPDATE webhooks SET sealed = $4 WHERE account = $1 AND region = $2 AND name = $3`,
	},
	{
		Table: "integrations", Column: "sealed", keys: 2,
		read: `SELECT account, name, sealed FROM integrations WHERE (account, name) > ($1, $2)
			ORDER BY account, name LIMIT $3`,
		write: `UPDATE integrations SET sealed = $3 WHERE account = $1 AND name = $2`,
	},
	{
		Table: "objects", Column: "sealed", keys: 3,
		read: `SELECT account, kind, name, sealed FROM objects WHERE (account, kind, name) > ($1, $2, $3)
			ORDER BY account, kind, name LIMIT $4`,
		write: `UPDATE objects SET sealed = $4 WHERE account = $1 AND kind = $2 AND name = $3`,
	},
	{
		Table: "config_repositories", Column: "sealed", keys: 1,
		read:  `SELECT account, sealed FROM config_repositories WHERE account > $1 ORDER BY account LIMIT $2`,
		write: `UPDATE config_repositories SET sealed = $2 WHERE account = $1`,
	},
	{
		Table: "applications", Column: "sealed", keys: 2,
		read: `SELECT account, slug, sealed FROM applications WHERE (account, slug) > ($1, $2)
			ORDER BY account, slug LIMIT $3`,
		write: `UPDATE applications SET sealed = $3 WHERE account = $1 AND slug = $2`,
	},
	{
		Table: "customers", Column: "sealed", keys: 1,
		read:  `SELECT id, sealed FROM customers WHERE id > $1 ORDER BY id LIMIT $2`,
		write: `UPDATE customers SET sealed = $2 WHERE id = $1`,
	},
	{
		Table: "license_root", Column: "sealed", keys: 1,
		read:  `SELECT purpose, sealed FROM license_root WHERE purpose > $1 ORDER BY purpose LIMIT $2`,
		write: `UPDATE license_root SET sealed = $2 WHERE purpose = $1`,
	},
	{
		Table: "kept_keys", Column: "sealed", keys: 2,
		read: `SELECT purpose, master_key, sealed FROM kept_keys WHERE (purpose, master_key) > ($1, $2)
			ORDER BY purpose, master_key LIMIT $3`,
		write: `UPDATE kept_keys SET sealed = $3 WHERE purpose = $1 AND master_key = $2`,
	},
}

// SealedColumns returns the columns with sealed values. A table has at most one.
func SealedColumns() []SealedColumn { return slices.Clone(sealedColumns) }

// MasterKey returns the id of the master key that seals the values of the database, and since when. The id is "" until RecordMasterKey.
func (s *Store) MasterKey(ctx context.Context) (id string, since time.Time, err error) {
	var at int64
	err = s.read.row(ctx, `SELECT master_key, master_key_since FROM installation WHERE one = 1`, nil, &id, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return "", time.Time{}, nil
	}
	return id, fromMicros(at), err
}

// RecordMasterKey stores the id of the master key if the database has none, and makes this process write sealed values only while the
// database has this id.
//
// Errors: fault.Unavailable (the database has another one).
func (s *Store) RecordMasterKey(ctx context.Context, id string) error {
	s.sealedBy.Store(&id)
	return s.write.do(ctx, func(t *tx) error {
		if _, err := t.exec(`UPDATE installation SET master_key = $1, master_key_since = $2 WHERE one = 1 AND master_key = ''`,
			id, micros(s.now())); err != nil {
			return err
		}
		return t.checkMasterKey(id)
	})
}

// checkMasterKey returns an error if the values of the database are sealed with another master key.
func (t *tx) checkMasterKey(want string) error {
	var have string
	found, err := t.one(`SELECT master_key FROM installation WHERE one = 1`, nil, &have)
	if err == nil && found && have != want {
		err = fault.Unavailable.New("the master key was replaced while this server ran: start it again with the new one, %s", have)
	}
	return err
}

// fence refuses a statement that writes a sealed value after another process has replaced the master key: nobody could open the
// value. With SQLite the lock of the data directory excludes other processes.
func (t *tx) fence(text string) error {
	if t.keyChecked || t.sealedBy == nil || !writesSealed(text) {
		return nil
	}
	want := t.sealedBy.Load()
	if want == nil {
		return nil
	}
	t.keyChecked = true // the transaction excludes other writes
	return t.checkMasterKey(*want)
}

// writesSealed reports whether a statement writes a sealed value.
func writesSealed(text string) bool {
	rest, writes := strings.CutPrefix(text, "UPDATE"+" ")
	if !writes {
		rest, writes = strings.CutPrefix(text, "INSERT"+" INTO ")
	}
	table, rest, _ := strings.Cut(rest, " ")
	return writes && slices.ContainsFunc(sealedColumns, func(c SealedColumn) bool {
		return c.Table == table && strings.Contains(rest, c.Column)
	})
}

// KeptKey is a key that was derived from an earlier master key. See the table kept_keys.
type KeptKey struct {
	Purpose   string
	MasterKey string
	Sealed    []byte
	ExpiresAt time.Time
}

// KeptKeys returns the kept keys, some of which may have expired.
func (s *Store) KeptKeys(ctx context.Context) (all []KeptKey, err error) {
	err = s.read.rows(ctx, `SELECT purpose, master_key, sealed, expires_at FROM kept_keys ORDER BY purpose, master_key`,
		nil, func(scan func(...any) error) error {
			var k KeptKey
			var expires int64
			err := scan(&k.Purpose, &k.MasterKey, &k.Sealed, &expires)
			k.ExpiresAt = fromMicros(expires)
			all = append(all, k)
			return err
		})
	return all, err
}

// Resealing replaces the master key of a database.
type Resealing struct {
	From, To string // ids of the master keys

	// Value returns a sealed value sealed with the new key. row has the texts of the row by which the column of a table is read: the
	// key of the row first.
	Value func(table string, row []string, sealed []byte) ([]byte, error)
	// Keep are the derived keys of the master key that is replaced, sealed with the new one.
	Keep []KeptKey
	// EndTokens deletes all docker tokens, sessions and kept keys.
	EndTokens bool
	// Line, if not nil, returns the audit line of the change, which is stored in its transaction.
	Line func(values map[string]int) []byte
	// Progress, if not nil, is called with the number of values of a table that are sealed so far. It is called again from the
	// beginning if the transaction is repeated.
	Progress func(table string, values int)
}

// sealedPage is the number of sealed values that are read at once.
const sealedPage = 500

// Reseal replaces the master key: it seals every sealed value again, in one transaction, so that after an interruption the database has
// either the old key or the new one. It returns the number of values of each table. Other processes may not use the database meanwhile;
// their writes of sealed values are refused afterwards.
//
// Errors: fault.TargetChanged (the database has another key than From); those of Value.
func (s *Store) Reseal(ctx context.Context, r Resealing) (values map[string]int, err error) {
	err = s.write.doMany(ctx, 1000, func(t *tx) error {
		values = map[string]int{}
		now := micros(s.now())
		n, err := t.exec(`UPDATE installation SET master_key = $1, master_key_since = $2 WHERE one = 1 AND master_key = $3`, r.To, now, r.From)
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.TargetChanged.New("the values of the database are not sealed with the master key %s", r.From)
		}
		t.keyChecked = true // this transaction replaces it
		t.touch(scope{kind: scopeEverything})
		expired := now
		if r.EndTokens {
			expired = math.MaxInt64
			if _, err := t.exec(`DELETE FROM tokens`); err != nil {
				return err
			}
			if _, err := t.exec(`DELETE FROM sessions`); err != nil {
				return err
			}
		}
		if _, err := t.exec(`DELETE FROM kept_keys WHERE expires_at <= $1`, expired); err != nil {
			return err
		}
		for _, c := range sealedColumns {
			if values[c.Table], err = t.reseal(c, r); err != nil {
				return err
			}
		}
		for _, k := range r.Keep {
			if _, err := t.exec(`INSERT INTO kept_keys (purpose, master_key, sealed, expires_at) VALUES ($1, $2, $3, $4)`,
				k.Purpose, k.MasterKey, k.Sealed, micros(k.ExpiresAt)); err != nil {
				return err
			}
		}
		if r.Line != nil {
			t.emit(r.Line(values))
		}
		return nil
	})
	return values, err
}

// sealedRow is a row with a sealed value.
type sealedRow struct {
	texts  []string
	sealed []byte
}

// reseal seals the values of a column again, and returns their number.
func (t *tx) reseal(c SealedColumn, r Resealing) (n int, err error) {
	after := make([]any, c.keys, c.keys+1)
	for i := range after {
		after[i] = ""
	}
	for {
		page, err := t.sealedRows(c, append(slices.Clone(after), sealedPage))
		if err != nil || len(page) == 0 {
			return n, err
		}
		for _, row := range page {
			fresh, err := r.Value(c.Table, row.texts, row.sealed)
			if err != nil {
				return n, fmt.Errorf("sealing again the row %q of the table %s: %w", row.texts[:c.keys], c.Table, err)
			}
			for i := range after {
				after[i] = row.texts[i]
			}
			if _, err := t.exec(c.write, append(slices.Clone(after), fresh)...); err != nil {
				return n, err
			}
			n++
		}
		if r.Progress != nil {
			r.Progress(c.Table, n)
		}
	}
}

func (t *tx) sealedRows(c SealedColumn, from args) (page []sealedRow, err error) {
	list, _, _ := strings.Cut(c.read, " FROM ")
	texts := strings.Count(list, ",") // the last one is the sealed value
	err = t.rows(t.ctx, c.read, from, func(scan func(...any) error) error {
		row := sealedRow{texts: make([]string, texts)}
		dest := make([]any, 0, texts+1)
		for i := range row.texts {
			dest = append(dest, &row.texts[i])
		}
		err := scan(append(dest, &row.sealed)...)
		page = append(page, row)
		return err
	})
	return page, err
}
