package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/store/blob/fsblob"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// MarkerFile is the name of the file in the data directory with the id of the installation to which the directory
// belongs.
const MarkerFile = "installation.json"

// Marker is the content of MarkerFile.
type Marker struct {
	Installation string `json:"installation"` // 32 lower-case hexadecimal digits
	Schema       int    `json:"schema"`       // version of the schema of the database at the last start

	MasterKey string `json:"masterKey,omitempty"` // id of the master key at the last start
}

// ReadMarker returns the marker of a data directory. It is zero if the directory has no marker.
func ReadMarker(dir string) (Marker, error) {
	var m Marker
	text, err := os.ReadFile(filepath.Join(dir, MarkerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, fmt.Errorf("reading %s: %w", filepath.Join(dir, MarkerFile), err)
	}
	return m, nil
}

// inUse reports whether a server has used a data directory: whether it has a marker, a blob, or lines of the audit
// trail. A master key alone does not count, because the operator may have put it there before the first start.
func inUse(dir string) (bool, error) {
	for _, pattern := range []string{MarkerFile, "blobs/sha256/*", "blobs/sha512/*", AuditFolder + "/*.ndjson"} {
		found, err := filepath.Glob(filepath.Join(quoteGlob(dir), pattern))
		if len(found) > 0 || err != nil {
			return true, err
		}
	}
	return false, nil
}

// quoteGlob returns a path as a pattern that matches only this path.
func quoteGlob(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return string(b)
}

// lost returns the error for a data directory that has lost its database. what describes the database.
func lost(dir, what string) error {
	return fmt.Errorf("the data directory %s has been in use, but %s: restore the database from a backup; or start a new installation in this directory, without the old accounts and repositories, with --new", dir, what)
}

// checkDatabaseFile refuses a data directory that a server has used and whose SQLite database is missing or empty. It
// must be called before the database is opened, because that would create the database and delete the rest of its log.
func checkDatabaseFile(c config.Checked) error {
	if c.New || c.Database.Reveal() != "" {
		return nil
	}
	path := filepath.Join(c.Data, "ecrin.db")
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() > 0:
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("opening the database: %w", err)
	}
	if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
		return lost(c.Data, "ecrin.db is missing or empty although ecrin.db-wal exists")
	}
	used, err := inUse(c.Data)
	if err == nil && used {
		err = lost(c.Data, "ecrin.db is missing or empty")
	}
	return err
}

// claim checks that the database belongs to the data directory, and records the installation in both. A database
// without accounts in a directory with data means that the database was lost.
func (a *App) claim(ctx context.Context, accounts int) error {
	dir := a.config.Data
	marker, err := ReadMarker(dir)
	if err != nil {
		return err
	}
	id, err := a.meta.Installation(ctx)
	if err != nil {
		return err
	}
	if !a.config.New {
		used, err := inUse(dir)
		switch {
		case err != nil:
			return err
		case id == "" && accounts == 0 && used:
			return lost(dir, "its database is empty")
		case id != "" && marker.Installation != "" && id != marker.Installation:
			return lost(dir, fmt.Sprintf("its database belongs to the installation %s, not to %s", id, marker.Installation))
		}
	}
	if id == "" {
		id = marker.Installation
		if a.config.New || id == "" {
			id = newInstallation()
		}
		if id, err = a.meta.ClaimInstallation(ctx, id); err != nil {
			return err
		}
	}
	now := Marker{Installation: id, Schema: SchemaVersion(), MasterKey: marker.MasterKey}
	if now == marker {
		return nil
	}
	return WriteMarker(dir, now)
}

// WriteMarker writes the marker of a data directory.
func WriteMarker(dir string, m Marker) error {
	text, err := json.Marshal(m)
	if err == nil {
		err = durable.WriteFile(filepath.Join(dir, MarkerFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", MarkerFile, err)
	}
	return nil
}

// newInstallation returns a new id of an installation.
func newInstallation() string {
	var id [16]byte
	rand.Read(id[:]) // never returns an error
	return hex.EncodeToString(id[:])
}

// PinBlobs keeps a server that runs on the data directory from deleting blobs until release is called or the process ends. It
// waits for another pin.
//
// Errors: the error of ctx; the directory cannot be written.
func PinBlobs(ctx context.Context, data string) (release func(), err error) {
	return fsblob.Pin(ctx, filepath.Join(data, BlobsFolder))
}

// SchemaVersion returns the version of the schema to which this program brings a database.
func SchemaVersion() int { return meta.SchemaVersion() }
