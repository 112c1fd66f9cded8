package meta

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// LicenseRoot is the root key of the installation, which signs the keys of applications.
type LicenseRoot struct {
	Sealed    []byte // private key, sealed with LicenseRootContext
	PublicKey string // PEM
}

// LicenseRootContext is the context with which the root key is sealed.
const LicenseRootContext = "license root"

// LicenseRoot returns the root key. Errors: fault.ObjectNotFound (there is none yet).
func (s *Store) LicenseRoot(ctx context.Context) (k LicenseRoot, err error) {
	err = s.read.row(ctx, `SELECT sealed, public_key FROM license_root WHERE purpose = 'licenses'`, nil, &k.Sealed, &k.PublicKey)
	if errors.Is(err, sql.ErrNoRows) {
		err = fault.ObjectNotFound.New("the installation has no key for licences yet")
	}
	return k, err
}

// PutLicenseRoot stores the root key if there is none. It returns the one that is stored, which another process may have made.
func (s *Store) PutLicenseRoot(ctx context.Context, k LicenseRoot) (LicenseRoot, error) {
	err := s.write.do(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO license_root (purpose, sealed, public_key, created_at) VALUES ('licenses', $1, $2, $3)
			ON CONFLICT (purpose) DO NOTHING`,
			k.Sealed, k.PublicKey, micros(s.now()))
		return err
	})
	if err != nil {
		return LicenseRoot{}, err
	}
	return s.LicenseRoot(ctx)
}
