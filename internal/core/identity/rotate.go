package identity

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// sealer says how the values of a sealed column are sealed.
type sealer struct {
	purpose string // of the derived key
	// context returns the context of a value, from the texts of its row; see meta.SealedColumn.
	context func(row []string) (string, error)
}

// sealers has the sealer of each column of meta.SealedColumns, by its table. A test compares the two.
var sealers = map[string]sealer{
	"access_keys": {sealPurpose, func(row []string) (string, error) { return row[0], nil }},
	"sessions":    {sealPurpose, func(row []string) (string, error) { return row[0], nil }},
	"secrets": {foreignPurpose, func(row []string) (string, error) {
		r, err := registryOf(row[0], row[1])
		return meta.Secret{Registry: r, Name: row[2], Suffix: row[3]}.ARN(), err
	}},
	"webhooks": {boxed(webhookPurpose), func(row []string) (string, error) {
		r, err := registryOf(row[0], row[1])
		return r.String() + "/" + row[2], err
	}},
	"integrations": {foreignPurpose, func(row []string) (string, error) {
		account, err := name.ParseAccount(row[0])
		return meta.Integration{Account: account, Name: row[1]}.ARN(), err
	}},
	"objects": {foreignPurpose, func(row []string) (string, error) {
		account, err := name.ParseAccount(row[0])
		return meta.Object{Account: account, Kind: row[1], Name: row[2]}.ARN(), err
	}},
	"config_repositories": {foreignPurpose, func(row []string) (string, error) {
		account, err := name.ParseAccount(row[0])
		return meta.ConfigRepositoryARN(account), err
	}},
	"applications": {foreignPurpose, func(row []string) (string, error) {
		account, err := name.ParseAccount(row[0])
		return meta.Application{Account: account, Slug: row[1]}.ARN(), err
	}},
	"customers":    {foreignPurpose, func(row []string) (string, error) { return meta.Customer{ID: row[0]}.SealContext(), nil }},
	"license_root": {foreignPurpose, func([]string) (string, error) { return meta.LicenseRootContext, nil }},
	"kept_keys":    {boxed(keptPurpose), func(row []string) (string, error) { return keptContext(row[0], row[1]), nil }},
}

func registryOf(account, region string) (r name.Registry, err error) {
	var err1, err2 error
	r.Account, err1 = name.ParseAccount(account)
	r.Region, err2 = name.ParseRegion(region)
	return r, errors.Join(err1, err2)
}

// sealsColumn reports whether the key of a purpose seals the values of a column.
func sealsColumn(purpose string) bool {
	for _, s := range sealers {
		if s.purpose == purpose {
			return true
		}
	}
	return false
}

// reseal returns a function that seals a value of a sealed column with another master key.
func (k *Keyring) reseal(to *Keyring) (func(table string, row []string, sealed []byte) ([]byte, error), error) {
	type pair struct{ from, to cipher.AEAD }
	pairs := map[string]pair{}
	for _, s := range sealers {
		from, err1 := k.aead(s.purpose)
		to, err2 := to.aead(s.purpose)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		pairs[s.purpose] = pair{from, to}
	}
	return func(table string, row []string, sealed []byte) ([]byte, error) {
		s, known := sealers[table]
		if !known {
			return nil, fmt.Errorf("how the table %s is sealed is not known", table)
		}
		where, err := s.context(row)
		if err != nil {
			return nil, err
		}
		plain, err := openWith(pairs[s.purpose].from, sealed, where)
		if err != nil {
			return nil, fmt.Errorf("it does not open with the present master key (delete it, or bring back the key that sealed it): %w", err)
		}
		return sealWith(pairs[s.purpose].to, plain, where), nil
	}, nil
}

// maxKept is how long the keys of docker passwords and session tokens are kept after the master key was replaced. Sessions of
// GetSessionToken live longest.
const maxKept = 36 * time.Hour

// keptKey is a key that was derived from an earlier master key, for what clients hold.
type keptKey struct {
	purpose string
	aead    cipher.AEAD
	until   time.Time
}

func keptContext(purpose, masterKey string) string { return purpose + " of " + masterKey }

// keep returns the keys of a Keyring that are kept when another one replaces it, sealed for the database.
func (k *Keyring) keep(to *Keyring, until time.Time) (all []meta.KeptKey, err error) {
	box, err := to.Box(keptPurpose)
	if err != nil {
		return nil, err
	}
	for _, purpose := range []string{tokenPurpose, sessionPurpose} {
		all = append(all, meta.KeptKey{Purpose: purpose, MasterKey: k.ID(), ExpiresAt: until,
			Sealed: box.Seal(k.derive(purpose), keptContext(purpose, k.ID()))})
	}
	return all, nil
}

// LoadKept adds the keys of earlier master keys that the database keeps, so that the docker passwords and session tokens of clients
// stay valid. It must be called before the Keyring is used by others.
//
// Errors: the database cannot be read; a key was sealed with another master key.
func (k *Keyring) LoadKept(ctx context.Context, m *meta.Store) error {
	all, err := m.KeptKeys(ctx)
	if err != nil {
		return err
	}
	box, err := k.Box(keptPurpose)
	if err != nil {
		return err
	}
	for _, one := range all {
		key, err := box.Open(one.Sealed, keptContext(one.Purpose, one.MasterKey))
		if err != nil {
			return fmt.Errorf("unsealing the kept key of %s of the master key %s: %w", one.Purpose, one.MasterKey, err)
		}
		a, err := newAEAD(key)
		if err != nil {
			return err
		}
		k.kept = append(k.kept, keptKey{one.Purpose, a, one.ExpiresAt})
	}
	return nil
}

// openHeld opens what a client holds: a value that the present key of the purpose has sealed, or a kept one.
func (k *Keyring) openHeld(present cipher.AEAD, purpose string, sealed []byte, where string, now time.Time) ([]byte, error) {
	plain, err := openWith(present, sealed, where)
	if err == nil {
		return plain, nil
	}
	for _, one := range k.kept {
		if one.purpose == purpose && now.Before(one.until) {
			if plain, kerr := openWith(one.aead, sealed, where); kerr == nil {
				return plain, nil
			}
		}
	}
	return nil, err
}

// Rotation is how the master key of an installation is replaced.
type Rotation struct {
	EndTokens bool // end all docker passwords and temporary credentials
	Progress  func(table string, values int)
}

// Rotate seals everything in a database with another master key, in one transaction, which also stores an audit line. It returns the number
// of values of each table. No server may use the database.
//
// Errors have no code: a value does not open; the database cannot be written. Nothing has changed then.
func Rotate(ctx context.Context, m *meta.Store, from, to *Keyring, now time.Time, r Rotation) (map[string]int, error) {
	for _, c := range meta.SealedColumns() {
		if _, known := sealers[c.Table]; !known {
			return nil, fmt.Errorf("how %s.%s is sealed is not known", c.Table, c.Column)
		}
	}
	value, err := from.reseal(to)
	if err != nil {
		return nil, err
	}
	line := func(values map[string]int) []byte { return rotationLine(from.ID(), to.ID(), values, r.EndTokens, now) }
	in := meta.Resealing{From: from.ID(), To: to.ID(), Value: value, EndTokens: r.EndTokens, Line: line, Progress: r.Progress}
	if !r.EndTokens {
		if in.Keep, err = from.keep(to, now.Add(maxKept)); err != nil {
			return nil, err
		}
	}
	return m.Reseal(ctx, in)
}

// rotationLine returns the audit line of a rotation. It has the ids of the keys, which are not secret.
func rotationLine(from, to string, values map[string]int, ended bool, now time.Time) []byte {
	var sealed, details audit.Params
	for _, table := range slices.Sorted(maps.Keys(values)) {
		sealed.Int(table, int64(values[table]))
	}
	details.String("before", from)
	details.String("masterKey", to)
	details.Object("valuesSealed", sealed)
	details.Bool("tokensEnded", ended)
	record := audit.Record{
		EventID: audit.NewID(), Time: now, Source: "ecrin", Name: "RotateMasterKey", Type: audit.TypeServiceEvent,
		Identity: audit.Identity{Type: audit.Unknown, PrincipalID: "operator", ARN: operatorARN}, UserAgent: "ecrin key rotate", Service: details,
	}
	return record.AppendLines(nil)
}

// NextKeyFile is the name of the file in the data directory that has the next master key while Rotate runs.
const NextKeyFile = KeyFile + ".next"

// NextKeyring returns the Keyring of the next master key of a data directory, which is made if there is none and create is true. It is
// nil if there is none otherwise.
//
// Errors: those of LoadKeyring.
func NextKeyring(dir string, create bool) (*Keyring, error) {
	path := filepath.Join(dir, NextKeyFile)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) && !create {
		return nil, nil
	}
	return loadKeyFile(path, create)
}

// PutNextKeyring makes a given key the next master key of a data directory.
func PutNextKeyring(dir, key string) error {
	return durable.WriteFile(filepath.Join(dir, NextKeyFile), []byte(key+"\n"), 0o600)
}

// UseNextKeyring makes the next master key of a data directory its master key. The earlier one is no longer in the directory.
func UseNextKeyring(dir string) error {
	return durable.Rename(filepath.Join(dir, NextKeyFile), filepath.Join(dir, KeyFile))
}
