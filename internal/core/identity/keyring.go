package identity

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Keyring holds the keys that are derived from an installation's master key. Each purpose has its own key, so that a
// value made for one purpose is not valid for another.
type Keyring struct {
	seal, token, session, message, foreign cipher.AEAD
	master                                 []byte
	kept                                   []keptKey // of earlier master keys
}

// The purposes of the keys that seal values of the database, see sealers.
const (
	sealPurpose    = "seal access key secrets"
	foreignPurpose = "secrets of other services"
	webhookPurpose = "webhooks"
	keptPurpose    = "kept keys"
)

// The purposes of the keys that seal what clients hold. They are kept for a while when the master key is replaced.
const (
	tokenPurpose   = "docker tokens"
	sessionPurpose = "session tokens"
)

// MasterKeyVariable is the environment variable for the master key, as an alternative to the file.
const MasterKeyVariable = "ECRIN_MASTER_KEY"

// NextKeyVariable is the environment variable for the key that replaces the master key.
const NextKeyVariable = "ECRIN_NEW_MASTER_KEY"

const masterBytes = 32

// published reports whether a key is a known example or one repeated byte, and therefore no secret. It compares the
// bytes, since base64 has several spellings of the same bytes.
func published(key []byte) bool {
	return string(key) == "0123456789abcdef0123456789abcdef" || bytes.Count(key, key[:1]) == len(key)
}

// LoadKeyring returns the Keyring of a master key, which is 32 bytes in base64: fromEnv unless it is "", otherwise the
// file DIR/master.key. With create, a missing file is made with a random key; without, it is an error. Known example
// keys, and a file that other users can read, are errors.
func LoadKeyring(dir, fromEnv string, create bool) (*Keyring, error) {
	if fromEnv != "" {
		return ParseKeyring(fromEnv, "the variable "+MasterKeyVariable)
	}
	return loadKeyFile(filepath.Join(dir, KeyFile), create)
}

// KeyFile is the name of the file in the data directory that has the master key.
const KeyFile = "master.key"

// loadKeyFile returns the Keyring of a file. With create, a missing file is made with a random key.
func loadKeyFile(source string, create bool) (*Keyring, error) {
	b, err := os.ReadFile(source)
	if errors.Is(err, fs.ErrNotExist) && create {
		key := make([]byte, masterBytes)
		rand.Read(key) // never fails: crypto/rand ends the program instead
		b = []byte(base64.StdEncoding.EncodeToString(key) + "\n")
		err = durable.WriteFile(source, b, 0o600)
	}
	if info, serr := os.Stat(source); err == nil && serr == nil && tooOpen(info) {
		return nil, fmt.Errorf("the master key in %s has mode %04o, so that other users can read it: chmod 600 %s", source,
			info.Mode().Perm(), source)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the master key (put back your copy of it, or give it in %s): %w", MasterKeyVariable, err)
	}
	return ParseKeyring(string(b), source)
}

// ParseKeyring returns the Keyring of a master key, which is 32 bytes in base64. source says where it is from, for errors.
//
// Errors: another form, a known example.
func ParseKeyring(text, source string) (*Keyring, error) {
	master, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(master) != masterBytes {
		return nil, fmt.Errorf("the master key in %s is not 32 bytes in base64: make one with `openssl rand -base64 32`", source)
	}
	if published(master) {
		return nil, fmt.Errorf("the master key in %s is a published example: make one with `openssl rand -base64 32`", source)
	}
	return newKeyring(master)
}

// ID returns the id of the master key, 16 hexadecimal digits. It says nothing about the key.
func (k *Keyring) ID() string { return hex.EncodeToString(k.derive("id of the master key")[:8]) }

func newKeyring(master []byte) (*Keyring, error) {
	k := &Keyring{master: master}
	var err1, err2, err3, err4, err5 error
	k.seal, err1 = k.aead(sealPurpose)
	k.token, err2 = k.aead(tokenPurpose)
	k.session, err3 = k.aead(sessionPurpose)
	k.message, err4 = k.aead("messages")
	k.foreign, err5 = k.aead(foreignPurpose)
	return k, errors.Join(err1, err2, err3, err4, err5)
}

func (k *Keyring) derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k.master, nil, "ecrin "+purpose, 32)
	if err != nil {
		panic("identity: " + err.Error()) // only for impossible lengths
	}
	return key
}

func (k *Keyring) aead(purpose string) (cipher.AEAD, error) { return newAEAD(k.derive(purpose)) }

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("making a cipher: %w", err)
	}
	return cipher.NewGCM(block)
}

// MAC authenticates data for a purpose: page tokens, direct addresses of layers.
func (k *Keyring) MAC(purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, k.derive(purpose))
	h.Write(data)
	return h.Sum(nil)
}

// sealWith encrypts plain with a new random nonce and returns the nonce and the ciphertext. The result opens only with
// the same context.
func sealWith(a cipher.AEAD, plain []byte, context string) []byte {
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	rand.Read(nonce)
	return a.Seal(nonce, nonce, plain, []byte(context))
}

func openWith(a cipher.AEAD, sealed []byte, context string) ([]byte, error) {
	if len(sealed) < a.NonceSize() {
		return nil, errors.New("sealed value is too short")
	}
	return a.Open(nil, sealed[:a.NonceSize()], sealed[a.NonceSize():], []byte(context))
}

// Box seals values of one purpose for the database. It is safe for concurrent use.
type Box struct{ aead cipher.AEAD }

// Box returns the Box of a purpose.
//
// Errors: the purpose belongs to no sealed column that a new master key would find; the cipher cannot be made.
func (k *Keyring) Box(purpose string) (Box, error) {
	if !sealsColumn(boxed(purpose)) {
		return Box{}, fmt.Errorf("no column of meta.SealedColumns is sealed for the purpose %q", purpose)
	}
	a, err := k.aead(boxed(purpose))
	return Box{a}, err
}

// boxed returns the purpose from which the key of a Box is derived.
func boxed(purpose string) string { return "seal " + purpose }

// Seal returns a value sealed. It opens only with the same context, such as the name of what the value belongs to.
func (b Box) Seal(plain []byte, context string) []byte { return sealWith(b.aead, plain, context) }

// Open returns the value that Seal has sealed.
//
// Errors: another key or context, or the value was changed.
func (b Box) Open(sealed []byte, context string) ([]byte, error) {
	return openWith(b.aead, sealed, context)
}

// sealSecret seals an access key's secret for the database.
func (k *Keyring) sealSecret(keyID string, s secret.String) []byte {
	return sealWith(k.seal, []byte(s.Reveal()), keyID)
}

func (k *Keyring) openSecret(keyID string, sealed []byte) (secret.String, error) {
	b, err := openWith(k.seal, sealed, keyID)
	if err != nil {
		return secret.String{}, fmt.Errorf("unsealing the secret of %s (was the master key changed?): %w", keyID, err)
	}
	return secret.New(string(b)), nil
}

// SealForeign seals credentials for another service for the database. They open only with the same context, which names them.
func (k *Keyring) SealForeign(context string, s secret.String) []byte {
	return sealWith(k.foreign, []byte(s.Reveal()), context)
}

// OpenForeign opens what SealForeign has sealed.
//
// Errors: one without a code, if another master key or another context has sealed it, or it has changed.
func (k *Keyring) OpenForeign(context string, sealed []byte) (secret.String, error) {
	b, err := openWith(k.foreign, sealed, context)
	if err != nil {
		return secret.String{}, fmt.Errorf("unsealing %s (was the master key changed?): %w", context, err)
	}
	return secret.New(string(b)), nil
}

// OperatorKeyID is the access key id of the installation's operator, for calls of ecrin's own operations. Its secret is
// derived from the master key and not stored. The key belongs to no account.
const OperatorKeyID = "AKIAECRINOPERATOR000"

// OperatorSecret returns the secret of the access key OperatorKeyID.
func (k *Keyring) OperatorSecret() secret.String {
	return secret.New(base64.RawURLEncoding.EncodeToString(k.derive("operator")))
}
