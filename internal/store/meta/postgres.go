package meta

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// PostgreSQL says how a database in a PostgreSQL server is opened.
type PostgreSQL struct {
	// URL is the address, postgres://USER:PASSWORD@HOST/NAME; its query takes the parameters of libpq, such as sslmode.
	URL secret.String
	// Dir is the data directory. It is locked, and keeps the id by which this process finds its audit lines again.
	Dir string
	Now func() time.Time
	// Patience is how long one statement may take in the server; half as much later the connection is given up. A write waits as
	// long for a connection that was lost. Zero is 10 s.
	Patience time.Duration
}

const (
	// postgresReaders is how many reads run at once; the writer and Refresh have a connection each besides.
	postgresReaders = 8
	// defaultPatience bounds what a server that hangs does to a request.
	defaultPatience = 10 * time.Second
	// minPostgreSQL is the oldest version of the server, as it numbers them: client_connection_check_interval is new in it.
	minPostgreSQL = 140000
	// migrationLock is the key of the advisory lock by which one process at a time changes the schema: "ecri".
	migrationLock = 0x65637269
	// maxMigration is how long the start waits for another process that changes the schema, and for its own changes.
	maxMigration = 10 * time.Minute
	// nodeFile is the file in the data directory with the id of the process.
	nodeFile = "node"
)

// OpenPostgreSQL opens a database in a PostgreSQL server and brings its schema up to date. Several processes may have it open at
// once, each with a data directory of its own; Refresh lets one see what the others have changed. Two that start at once wait for
// each other's migrations.
//
// Errors have no code, are for who starts the server, and never contain the password: the directory cannot be made, read or
// locked, or another process uses it; the address cannot be read; the server cannot be reached or refuses the user; the database
// does not exist; the server is older than PostgreSQL 14 or a standby; the database does not order text by bytes (locale C), or
// its encoding is not UTF8; a newer ecrin has changed its schema; the user may not create tables, or a migration fails; ctx ends.
func OpenPostgreSQL(ctx context.Context, o PostgreSQL) (*Store, error) {
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	config, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := newStore(postgresDialect, lock, o.Now)
	fail := func(err error) (*Store, error) {
		return nil, errors.Join(fmt.Errorf("opening the database %s of the PostgreSQL server %s: %w", config.Database, config.Host, advise(scrub(err, config.Password))), s.Close())
	}
	if s.node, err = nodeID(o.Dir); err != nil {
		return fail(err)
	}
	if err := prepareDatabase(ctx, *config); err != nil {
		return fail(err)
	}
	patient(config, o.Patience)
	limit := o.Patience * 3 / 2 // the server's own limits come first, for their errors say more
	s.epochs, err = newFollower(newLink(*config, limit), s.drop)
	if err != nil {
		return fail(err)
	}
	s.write = newPostgresWriter(newLink(*config, limit), s.node, o.Now, s.epochs.committed)
	reader, _ := openDB(*config)
	s.read = newPool(reader, postgresReaders)
	s.read.limit, s.read.utf8, s.read.lost, s.read.code = limit, true, lost, unreadable
	return s, nil
}

// openDB makes a pool of connections, none of which is made now.
func openDB(config pgx.ConnConfig) (*sql.DB, *dialer) {
	d := &dialer{Connector: stdlib.GetConnector(config), password: config.Password}
	return sql.OpenDB(d), d
}

// parseURL reads an address. The errors of the parser are not shown: they may repeat what they cannot read.
func parseURL(url secret.String) (*pgx.ConnConfig, error) {
	text := url.Reveal()
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return nil, errors.New("the address of the database must begin with postgres://")
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, errors.New("the address of the database cannot be read: want postgres://USER:PASSWORD@HOST/NAME, with special characters of user and password as %XX")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "ecrin"
	}
	return config, nil
}

// patient bounds what the server does for a statement, and how long it keeps the locks of a client that is gone. What the
// address sets stays.
func patient(config *pgx.ConnConfig, patience time.Duration) {
	limit := strconv.FormatInt(patience.Milliseconds(), 10)
	for name, value := range map[string]string{
		"statement_timeout": limit, "lock_timeout": limit, "idle_in_transaction_session_timeout": limit,
		"client_connection_check_interval": "1000",
		// Every statement has an index for its answer and its order (TestPlans). The planner knows nothing of a table that was made
		// just now: it would read or sort all of it, and keep that plan while the table grows.
		"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_sort": "off",
		"plan_cache_mode": "force_generic_plan", "jit": "off",
	} {
		if config.RuntimeParams[name] == "" {
			config.RuntimeParams[name] = value
		}
	}
}

// prepareDatabase checks that the database is one that can be used, and brings its schema up to date, alone.
func prepareDatabase(ctx context.Context, config pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, maxMigration)
	defer cancel()
	config.RuntimeParams = map[string]string{"application_name": config.RuntimeParams["application_name"], "statement_timeout": "0", "lock_timeout": "0"}
	db, _ := openDB(config)
	defer db.Close()
	if err := usable(ctx, db); err != nil {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, migrationLock); err != nil {
		return fmt.Errorf("waiting for the lock of the schema: %w", err)
	}
	err = migrate(ctx, db, postgresDialect)
	if _, uerr := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, migrationLock); uerr != nil && err == nil {
		err = fmt.Errorf("releasing the lock of the schema: %w", uerr)
	}
	return err
}

// usable checks what cannot be changed by a migration.
func usable(ctx context.Context, db *sql.DB) error {
	var version int
	var standby, readOnly, ordered bool
	var collation, encoding string
	err := db.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
			'B' < 'a' AND 'Z' < '_' AND 'a.b' < 'a0' AND 'a b' < 'aa' AND 'z' < 'é', datcollate, pg_encoding_to_char(encoding)
		FROM pg_database WHERE datname = current_database()`).Scan(&version, &standby, &readOnly, &ordered, &collation, &encoding)
	switch {
	case err != nil:
		return err
	case version < minPostgreSQL:
		return fmt.Errorf("the server has version %d.%d: PostgreSQL 14 or newer is needed", version/10000, version%10000)
	case standby:
		return errors.New("the server is a standby, which can only be read: give the address of the primary server (with several hosts, add target_session_attrs=read-write)")
	case readOnly:
		return errors.New("the database can only be read (default_transaction_read_only is on): turn that off for the user or the database")
	case !ordered || encoding != "UTF8":
		return fmt.Errorf("the database has the locale %s and the encoding %s, and ecrin needs texts in UTF8 that are ordered by their bytes: make another database with CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'", collation, encoding)
	}
	return nil
}

// nodeID reads the id of the process from its data directory, where the first start writes it.
func nodeID(dir string) (string, error) {
	path := filepath.Join(dir, nodeFile)
	text, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(text)); err == nil && id != "" {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("reading the id of this process: %w", err)
	}
	id := randomID()
	if err := durable.WriteFile(path, []byte(id+"\n"), 0o600); err != nil {
		return "", fmt.Errorf("writing the id of this process: %w", err)
	}
	return id, nil
}

func randomID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

var postgresDialect = dialect{schema: goose.DialectPostgres, failed: fromPostgres, written: unwritten}

// unwritten gives the errors of a write their code.
func unwritten(err error) error {
	if text := unavailable(err); text != "" {
		return fault.Unavailable.New("%s: nothing was stored", text).Because(err)
	}
	return err
}

// unreadable gives the errors of a read their code.
func unreadable(err error) error {
	if text := unavailable(err); text != "" {
		return fault.Unavailable.New("%s", text).Because(err)
	}
	return err
}
