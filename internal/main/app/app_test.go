package app_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
)

func open(t *testing.T, dir string) (*app.App, error) {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen = dir, []string{"127.0.0.1:0"}
	checked, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	return app.New(t.Context(), checked, slog.New(slog.DiscardHandler), time.Now)
}

// A data directory whose master key is missing does not receive a new key: a new key could not unseal anything, and the
// operator could mistake it for the original.
func TestNoNewMasterKeyBesideOldData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "master.key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "master key") {
		t.Errorf("start without the master key: got %v, want an error that names it", err)
	}
	if _, err := os.Stat(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new master key was written: %v", err)
	}
}

func TestSecondServerOnOneDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := open(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := open(t, dir); err == nil || !strings.Contains(err.Error(), "in use by another ecrin") {
		t.Errorf("a second server: got %v, want an error that says that another ecrin uses the directory", err)
	}
}

func TestBusyAddressLeavesNoDataDirectory(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	c := config.Default()
	c.Data, c.Listen = filepath.Join(t.TempDir(), "data"), []string{busy.Addr().String()}
	checked, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := app.New(t.Context(), checked, slog.New(slog.DiscardHandler), time.Now); err == nil ||
		!strings.Contains(err.Error(), "--listen") {
		t.Errorf("start on a busy address: got %v, want an error that names --listen", err)
	}
	if _, err := os.Stat(c.Data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory was created: %v", err)
	}
}
