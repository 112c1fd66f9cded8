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

// PostgreSQL is the configuration of a database in a PostgreSQL server.
type PostgreSQL struct {
	// URL is the address, postgres://USER:PASSWORD@HOST/NAME; its query takes the parameters of libpq, such as sslmode.
	URL secret.String
	// Dir is the data directory. It is locked, and holds the id by which this process finds its audit lines after a
	// restart.
	Dir string
	Now func() time.Time
	// Timeout limits one statement in the server; after 1.5 times as long the connection is closed. A write waits
	// equally long for a lost connection. Zero means 10 s.
	Timeout time.Duration
}

const (
	// maxPostgresReaders is how many reads run at once. The writer and Refresh have one more connection each.
	maxPostgresReaders = 8
	// defaultTimeout limits how long a request waits for a server that does not answer.
	defaultTimeout = 10 * time.Second
	// minPostgreSQL is the oldest supported version, as the server numbers it: the first with
	// client_connection_check_interval.
	minPostgreSQL = 140000
	// migrationLock is the key of the advisory lock that lets one process at a time change the schema: "ecri" in
	// ASCII.
	migrationLock = 0x65637269
	// maxMigration limits the wait for another process that changes the schema, together with this process's own
	// changes.
	maxMigration = 10 * time.Minute
	// nodeFile is the name of the file in the data directory that holds the id of the process.
	nodeFile = "node"
)

// OpenPostgreSQL opens a database in a PostgreSQL server and brings its schema up to date. Several processes may have
// it open, each with its own data directory; Refresh makes the changes of the others visible. Processes that start at
// the same time migrate the schema one after the other.
//
// Errors have no code, are written for the operator of the server, and never contain the password: the directory
// cannot be created, read or locked, or another process uses it; the address is invalid; the server cannot be reached
// or refuses the user; the database does not exist; the server is older than PostgreSQL 14 or a standby; the database
// does not order text by bytes (locale C), or its encoding is not UTF8; the schema was changed by a newer ecrin; the
// user may not create tables, or a migration fails; ctx ends.
func OpenPostgreSQL(ctx context.Context, o PostgreSQL) (*Store, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	config, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "ecrin " + randomID()[:8] // tells processes apart, see OtherProcesses
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	s := newStore(postgresDialect, lock, o.Now)
	fail := func(err error) (*Store, error) {
		return nil, errors.Join(fmt.Errorf("opening the database %s of the PostgreSQL server %s: %w", config.Database,
			config.Host, advise(scrub(err, config.Password))), s.Close())
	}
	if s.place, err = placeOf(o.Dir); err != nil {
		return fail(err)
	}
	if s.node, err = nodeID(o.Dir); err != nil {
		return fail(err)
	}
	if err := prepareDatabase(ctx, *config); err != nil {
		return fail(err)
	}
	setTimeouts(config, o.Timeout)
	limit := o.Timeout * 3 / 2 // longer than the limits in the server, whose errors say more
	s.epochs, err = newFollower(newLink(*config, limit), s.drop)
	if err != nil {
		return fail(err)
	}
	s.write = newPostgresWriter(newLink(*config, limit), s.node, s.place, o.Now, s.sealedBy, s.epochs.committed)
	reader, _ := openDB(*config)
	s.read = newPool(reader, maxPostgresReaders)
	s.read.limit, s.read.utf8, s.read.lost, s.read.code = limit, true, lost, unreadable
	return s, nil
}

// openDB returns a pool of connections, without connecting.
func openDB(config pgx.ConnConfig) (*sql.DB, *dialer) {
	d := &dialer{Connector: stdlib.GetConnector(config), password: config.Password}
	return sql.OpenDB(d), d
}

// parseURL parses an address. It does not return the parser's errors, which may repeat parts of the address.
func parseURL(url secret.String) (*pgx.ConnConfig, error) {
	text := url.Reveal()
	if !strings.HasPrefix(text, "postgres://") && !strings.HasPrefix(text, "postgresql://") {
		return nil, errors.New("the address of the database must begin with postgres://")
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil,
			errors.New("the address of the database cannot be read: want postgres://USER:PASSWORD@HOST/NAME, with special characters of user and password as %XX")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	return config, nil
}

// setTimeouts limits how long the server runs a statement, and how long it keeps the locks of a client that has
// disconnected. Parameters that the address sets are not changed.
func setTimeouts(config *pgx.ConnConfig, timeout time.Duration) {
	limit := strconv.FormatInt(timeout.Milliseconds(), 10)
	for name, value := range map[string]string{
		"statement_timeout": limit, "lock_timeout": limit, "idle_in_transaction_session_timeout": limit,
		"client_connection_check_interval": "1000",
		// Every statement has an index for its rows and their order (TestPlansOfPostgreSQL). The planner has no statistics of a
		// new table: it would read or sort the whole table, and keep that plan while the table grows.
		"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off", "enable_sort": "off",
		"plan_cache_mode": "force_generic_plan", "jit": "off",
	} {
		if config.RuntimeParams[name] == "" {
			config.RuntimeParams[name] = value
		}
	}
}

// prepareDatabase checks that the database can be used, and brings its schema up to date while it holds the lock.
func prepareDatabase(ctx context.Context, config pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, maxMigration)
	defer cancel()
	config.RuntimeParams = map[string]string{"application_name": config.RuntimeParams["application_name"],
		"statement_timeout": "0", "lock_timeout": "0"}
	db, _ := openDB(config)
	defer db.Close()
	if err := checkDatabase(ctx, db); err != nil {
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

// checkDatabase checks the properties of the server and the database that a migration cannot change.
func checkDatabase(ctx context.Context, db *sql.DB) error {
	var version int
	var standby, readOnly, ordered bool
	var collation, encoding string
	err := db.QueryRowContext(ctx,
		`SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
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
		return fmt.Errorf("the database has the locale %s and the encoding %s: make one with TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'",
			collation, encoding)
	}
	return nil
}

// nodeID returns the id of the process from its data directory. The first call creates it.
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

// unwritten adds a code to errors of a write.
func unwritten(err error) error {
	if text := unavailable(err); text != "" {
		return fault.Unavailable.New("%s: nothing was stored", text).Because(err)
	}
	return err
}

// unreadable adds a code to errors of a read.
func unreadable(err error) error {
	if text := unavailable(err); text != "" {
		return fault.Unavailable.New("%s", text).Because(err)
	}
	return err
}
