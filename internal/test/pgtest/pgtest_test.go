package pgtest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
)

func setting(t *testing.T, url, name string) (value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if err := c.QueryRow(ctx, `SELECT current_setting($1)`, name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// All settings that make commits durable are on.
func TestServerIsDurable(t *testing.T) {
	t.Parallel()
	url := pgtest.Start(t).NewDatabase(t)
	for name, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"server_encoding": "UTF8", "listen_addresses": ""} {
		if got := setting(t, url, name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestStopKillPause(t *testing.T) {
	t.Parallel()
	s := pgtest.New(t)
	s.Exec(t, "postgres", `CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (7)`)
	s.Kill()
	if _, err := pgx.Connect(t.Context(), s.URL("postgres")); err == nil {
		t.Error("after Kill: got a connection, want none")
	}
	s.Start(t)
	s.Exec(t, "postgres", `INSERT INTO t VALUES (8)`)
	s.Restart(t)
	s.Exec(t, "postgres", `SELECT 1 / count(*) FROM t WHERE n = 7`) // division by zero if the row is lost
	resume := s.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if c, err := pgx.Connect(ctx, s.URL("postgres")); err == nil {
		t.Error("while the server is paused: got a connection, want none")
		_ = c.Close(t.Context())
	}
	resume()
	s.Exec(t, "postgres", `SELECT 1`)
	s.Stop()
	if _, err := os.Stat(s.Socket()); err == nil {
		t.Error("after Stop: the socket exists, want none")
	}
}
