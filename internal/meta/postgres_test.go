package meta_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/pressly/goose/v3"

	"github.com/ecrin-dev/ecrin/internal/meta"
)

// The schema and every statement are understood by PostgreSQL as they stand: one text for both databases.
func TestPostgreSQLUnderstandsEveryStatement(t *testing.T) {
	t.Parallel()
	db := postgreSQL(t)
	files, err := fs.Sub(meta.Migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatalf("the migrations: %v", err)
	}
	for _, text := range statements(t) {
		st, err := db.PrepareContext(t.Context(), text)
		if err != nil {
			t.Errorf("%s\n%v", text, err)
			continue
		}
		_ = st.Close()
	}
	var have []string
	rows, err := db.QueryContext(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE 'goose%' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		have = append(have, one)
	}
	want := tables(t)
	slices.Sort(want)
	if err := rows.Err(); err != nil || !slices.Equal(have, want) {
		t.Errorf("tables: got %q, %v, want %q", have, err, want)
	}
}

// postgreSQL starts a server of its own on a Unix socket, without a network port, and ends it with the test.
func postgreSQL(t *testing.T) *sql.DB {
	t.Helper()
	bin := postgreSQLPrograms(t)
	dir, err := os.MkdirTemp("", "ecrin-pg") // not t.TempDir: the path of a socket has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // neither program runs as root
		uid, gid := unprivileged(t)
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
		if err := os.Chown(dir, int(uid), int(gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "ecrin", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	var log bytes.Buffer
	server := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.SysProcAttr, server.Dir, server.Stdout, server.Stderr = attr, dir, &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	db, err := sql.Open("pgx", "host="+dir+" user=ecrin dbname=postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = db.Close()
		_ = server.Process.Signal(syscall.SIGINT) // the fast way to stop
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for db.PingContext(ctx) != nil {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the server ended: %v\n%s", err, log.String())
		case <-ctx.Done():
			t.Fatal("the server does not answer within 30 s")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return db
}

func postgreSQLPrograms(t *testing.T) (bin string) {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			found = append(found, real)
		}
	}
	if len(found) == 0 {
		t.Skip("PostgreSQL is not installed here (no initdb): that it understands the schema and the statements was not shown")
	}
	return filepath.Dir(found[len(found)-1])
}

func unprivileged(t *testing.T) (uid, gid uint32) {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		return uint32(uid), uint32(gid)
	}
	t.Fatal("PostgreSQL does not run as root, and there is no user postgres or nobody")
	return 0, 0
}
