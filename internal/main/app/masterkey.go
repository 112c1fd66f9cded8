package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// masterKeyWork looks every masterKeyEvery whether another process has replaced the master key of a PostgreSQL database.
const (
	masterKeyWork  = "master_key"
	masterKeyEvery = 5 * time.Second
)

// loadKeys returns the Keyring of a data directory for a database. With create, a missing key is made. If a rotation was killed between
// its transaction and the change of the file, the file is changed now.
//
// Errors: the key is not the one that seals the values of the database.
func loadKeys(ctx context.Context, m *meta.Store, dir, fromEnv string, create bool) (*identity.Keyring, error) {
	want, since, err := m.MasterKey(ctx)
	if err != nil {
		return nil, err
	}
	next, err := identity.NextKeyring(dir, false)
	if err != nil {
		return nil, err
	}
	if next != nil && want != "" && next.ID() == want && fromEnv == "" {
		if err := identity.UseNextKeyring(dir); err != nil {
			return nil, fmt.Errorf("making the new master key the one of the data directory: %w", err)
		}
	}
	keys, err := identity.LoadKeyring(dir, fromEnv, create)
	if err != nil {
		return nil, err
	}
	if want != "" && keys.ID() != want {
		source := filepath.Join(dir, identity.KeyFile)
		if fromEnv != "" {
			source = identity.MasterKeyVariable
		}
		return nil, fmt.Errorf("the master key is not the one that this data directory was made with, bring that one back: "+
			"the database is sealed with the master key %s since %s, and %s has %s", want, since.Format(time.RFC3339), source, keys.ID())
	}
	return keys, keys.LoadKept(ctx, m)
}

// recordKey stores the id of the master key in the database, and in the marker of the data directory, from which backups have it.
func (a *App) recordKey(ctx context.Context, keys *identity.Keyring) error {
	if err := a.meta.RecordMasterKey(ctx, keys.ID()); err != nil {
		return err
	}
	return markKey(a.config.Data, keys.ID())
}

func markKey(dir, id string) error {
	marker, err := ReadMarker(dir)
	if err != nil || marker.MasterKey == id {
		return err
	}
	marker.MasterKey = id
	return WriteMarker(dir, marker)
}

// checkKey returns an error if another process has replaced the master key.
func (a *App) checkKey(id string) func(context.Context) error {
	return func(ctx context.Context) error {
		have, _, err := a.meta.MasterKey(ctx)
		if err == nil && have != id {
			err = fmt.Errorf("the master key of the database was replaced by %s: start this server again with it", have)
		}
		return err
	}
}

// Rotation is how RotateMasterKey replaces the master key.
type Rotation struct {
	Present   string // the present one, if it is not in the data directory; see identity.MasterKeyVariable
	Key       string // the new one, 32 bytes in base64; "" for a random one
	EndTokens bool   // end all docker passwords and temporary credentials
	Progress  func(table string, values int)

	// AfterStep, for tests, is called after each durable step: "key" (the new key is in its file), "database", "file".
	AfterStep func(step string)
}

// Rotated is the result of RotateMasterKey.
type Rotated struct {
	Before, MasterKey string         // ids
	Values            map[string]int // number of values that were sealed again, by table; nil if an earlier call has done it
	File              string         // with the new key; "" if it is only in the environment
}

// RotateMasterKey replaces the master key of an installation whose servers are stopped. It can be repeated after it was killed at any
// moment: a new key that has sealed the database is used, and not replaced by another one.
//
// Errors have no code: a server uses the data directory or the database; the present key is not the one of the database; the new key
// is not usable; a sealed value does not open.
func RotateMasterKey(ctx context.Context, c config.Checked, r Rotation) (out Rotated, err error) {
	step := func(s string) {
		if r.AfterStep != nil {
			r.AfterStep(s)
		}
	}
	if marker, merr := ReadMarker(c.Data); merr != nil || marker.Installation == "" {
		return out, errors.Join(merr, fmt.Errorf("the data directory %s has not been used by a server", c.Data))
	}
	if err := checkDatabaseFile(c); err != nil {
		return out, err
	}
	m, err := openMeta(ctx, c, time.Now)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	others, err := m.OtherProcesses(ctx)
	if err == nil && others > 0 {
		err = fmt.Errorf("another ecrin is connected to the database (%d connections): stop all servers first", others)
	}
	if err != nil {
		return out, err
	}
	fromEnv := r.Present
	var to *identity.Keyring
	if r.Key != "" {
		if to, err = identity.ParseKeyring(r.Key, identity.NextKeyVariable); err != nil {
			return out, err
		}
	} else if fromEnv != "" {
		return out, fmt.Errorf("the master key is in %s: give the new one in %s, and keep a copy of it", identity.MasterKeyVariable,
			identity.NextKeyVariable)
	}
	finish := func() error {
		if fromEnv == "" {
			out.File = filepath.Join(c.Data, identity.KeyFile)
			if err := identity.UseNextKeyring(c.Data); err != nil {
				return err
			}
			step("file")
		}
		return markKey(c.Data, out.MasterKey)
	}
	want, _, err := m.MasterKey(ctx)
	if err != nil {
		return out, err
	}
	// After a kill: the database has the new key already.
	if next, err := identity.NextKeyring(c.Data, false); err != nil {
		return out, err
	} else if next != nil && want != "" && next.ID() == want && fromEnv == "" {
		out.Before, out.MasterKey = "", want
		return out, finish()
	}
	if to != nil && to.ID() == want {
		out.MasterKey = want
		return out, nil
	}
	from, err := loadKeys(ctx, m, c.Data, fromEnv, false)
	if err != nil {
		return out, err
	}
	if err := identity.New(m, from, time.Now, identity.Options{}).CheckMasterKey(ctx); err != nil {
		return out, err
	}
	if err := m.RecordMasterKey(ctx, from.ID()); err != nil {
		return out, err
	}
	switch {
	case fromEnv != "": // the new key is written to no file either
	case to != nil:
		err = identity.PutNextKeyring(c.Data, r.Key)
	default:
		to, err = identity.NextKeyring(c.Data, true)
	}
	if err != nil {
		return out, err
	}
	step("key")
	out.Before, out.MasterKey = from.ID(), to.ID()
	out.Values, err = identity.Rotate(ctx, m, from, to, time.Now(), identity.Rotation{EndTokens: r.EndTokens, Progress: r.Progress})
	if err != nil {
		return out, fmt.Errorf("nothing was changed: %w", err)
	}
	step("database")
	return out, finish()
}
