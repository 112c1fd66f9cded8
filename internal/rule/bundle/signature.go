package bundle

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/license"
)

// Kind is what is signed.
type Kind string

// The kinds.
const (
	OfStatement Kind = "statement"
	OfPart      Kind = "part"
	OfInventory Kind = "inventory"
	OfAirgap    Kind = "airgap"
)

// Message returns what is signed for a document: its kind and its digest.
func Message(k Kind, digest string) []byte {
	return []byte("ecrin bundle\n" + string(k) + "\n" + digest + "\n")
}

// Signature is the signature of a document with the key that verifies it, as JSON in a file.
type Signature struct {
	Algorithm   string `json:"algorithm"` // of the constants below
	PublicKey   string `json:"publicKey"` // PEM
	Signature   []byte `json:"signature"`
	RootKeyID   string `json:"rootKeyId,omitempty"`   // of the key that has endorsed PublicKey
	Endorsement []byte `json:"endorsement,omitempty"` // signature of PublicKey by the root key
}

// The algorithms.
const (
	RSA     = "rsa-pss-sha256" // keys of applications, as in licences
	Ed25519 = "ed25519"
)

// Encode returns the file of a signature.
func (s Signature) Encode() ([]byte, error) { return json.MarshalIndent(s, "", " ") }

// ParseSignature parses the file of a signature. Errors: it is none.
func ParseSignature(b []byte) (Signature, error) {
	var s Signature
	if len(b) > MaxSignature {
		return s, fmt.Errorf("a signature has at most %d bytes", MaxSignature)
	}
	if err := decode(b, &s); err != nil {
		return s, fmt.Errorf("the signature: %w", err)
	}
	return s, nil
}

// Why a document is not accepted.
var (
	ErrUnsigned   = errors.New("it is not signed")
	ErrUnknownKey = errors.New("it is signed by a key that is not trusted here")
	ErrRevoked    = errors.New("it is signed by a key that is revoked")
	ErrSignature  = errors.New("its signature is wrong: it is damaged, or was changed")
)

// Keys are those that a receiver trusts. The zero value trusts none.
type Keys struct {
	roots, applications []*rsa.PublicKey
	vendors             []*rsa.PublicKey // all root keys that were added; roots has those that no licence has narrowed
	own                 []ed25519.PublicKey
	revoked             map[string]bool
}

// Empty reports whether no key is trusted.
func (k *Keys) Empty() bool { return len(k.roots)+len(k.applications)+len(k.own) == 0 }

// Add trusts a public key in PEM: the root key of a vendor, with all keys of applications that it has endorsed, or the key of an exporter.
//
// Errors: it is neither.
func (k *Keys) Add(text string) error {
	if own, err := parseEd25519(text); err == nil {
		k.own = append(k.own, own)
		return nil
	}
	root, err := license.ParsePublicPEM(text)
	if err != nil {
		return err
	}
	k.roots, k.vendors = append(k.roots, root), append(k.vendors, root)
	return nil
}

// AddLicense trusts the key of the application of a licence. If keys were added before, the root key of a vendor among them has to verify
// the licence; without any key, the caller says by this that the licence is right.
//
// Errors: the file is no licence; keys were added, and none of them is the root key that has signed it.
func (k *Keys) AddLicense(text []byte) error {
	const next = "name the key of the vendor of the licence, which `ecrin license key` prints at the vendor's server"
	if len(k.vendors)+len(k.own) == 0 {
		key, err := license.ApplicationKey(text, nil)
		if err == nil {
			k.applications = append(k.applications, key)
		}
		return err
	}
	if len(k.vendors) == 0 {
		return errors.New("the licence is not verified: the keys that are named are those of exporters, who sign no licences: " + next)
	}
	var all error
	for _, root := range k.vendors {
		key, err := license.ApplicationKey(text, root)
		if err == nil {
			// The licence narrows the trust to its application: the root key alone would trust all of the vendor.
			k.applications = append(k.applications, key)
			k.roots = slices.DeleteFunc(k.roots, func(one *rsa.PublicKey) bool { return one.Equal(root) })
			return nil
		}
		all = errors.Join(all, err)
	}
	return fmt.Errorf("%w: %s", all, next)
}

// Revoke refuses keys by their ids, which are in the lines of a text. What follows # in a line is a remark.
//
// Errors: a line is no id.
func (k *Keys) Revoke(list string) error {
	if k.revoked == nil {
		k.revoked = map[string]bool{}
	}
	for n, line := range strings.Split(list, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if raw, err := hex.DecodeString(line); err != nil || len(raw) != 16 || strings.ToLower(line) != line {
			return fmt.Errorf("line %d of the revoked keys is no id of a key, which has 32 hexadecimal digits", n+1)
		}
		k.revoked[line] = true
	}
	return nil
}

// Verify verifies the signature of a document and returns the id of its key. Nothing of the document is looked at.
//
// Errors: ErrUnsigned, ErrUnknownKey, ErrRevoked, ErrSignature, each with the id of the key if there is one.
func (k *Keys) Verify(kind Kind, document, signature []byte) (id string, err error) {
	if len(bytes.TrimSpace(signature)) == 0 {
		return "", ErrUnsigned
	}
	s, err := ParseSignature(signature)
	if err != nil || len(s.Signature) == 0 {
		return "", fmt.Errorf("%w (%w)", ErrUnsigned, cmpErr(err))
	}
	message := Message(kind, Digest(document))
	if s.Algorithm == Ed25519 {
		return k.verifyOwn(s, message)
	}
	if s.Algorithm != RSA {
		return "", fmt.Errorf("%w: the algorithm %q is not known", ErrUnsigned, s.Algorithm)
	}
	key, err := license.ParsePublicPEM(s.PublicKey)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrSignature, err)
	}
	if id, err = license.KeyID(key); err != nil {
		return "", err
	}
	if k.revoked[id] || k.revoked[s.RootKeyID] {
		return id, fmt.Errorf("%w: %s", ErrRevoked, id)
	}
	d := license.Detached{PublicKey: s.PublicKey, Signature: s.Signature, Endorsement: s.Endorsement}
	if err := d.Verify(message); err != nil {
		return id, ErrSignature
	}
	for _, one := range k.applications {
		if one.Equal(key) {
			return id, nil
		}
	}
	for _, root := range k.roots {
		if by, err := license.KeyID(root); err == nil && !k.revoked[by] && d.Endorsed(root) == nil {
			return id, nil
		}
	}
	return id, fmt.Errorf("%w: %s", ErrUnknownKey, id)
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("the signature is empty")
	}
	return err
}

func (k *Keys) verifyOwn(s Signature, message []byte) (string, error) {
	key, err := parseEd25519(s.PublicKey)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrSignature, err)
	}
	id := keyID(key)
	if k.revoked[id] {
		return id, fmt.Errorf("%w: %s", ErrRevoked, id)
	}
	if !ed25519.Verify(key, message, s.Signature) {
		return id, ErrSignature
	}
	for _, one := range k.own {
		if one.Equal(key) {
			return id, nil
		}
	}
	return id, fmt.Errorf("%w: %s", ErrUnknownKey, id)
}

// OwnKey is a key that signs exports and inventories.
type OwnKey struct{ private ed25519.PrivateKey }

// NewOwnKey makes a key.
func NewOwnKey() (OwnKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return OwnKey{private}, err
}

// PEM returns the private key as text.
func (k OwnKey) PEM() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// ParseOwnKey is the inverse of PEM. Errors: the text is none of it.
func ParseOwnKey(text string) (OwnKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return OwnKey{}, errors.New("the key is not in PEM form")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return OwnKey{}, fmt.Errorf("the key: %w", err)
	}
	private, ok := k.(ed25519.PrivateKey)
	if !ok {
		return OwnKey{}, errors.New("the key is none of Ed25519")
	}
	return OwnKey{private}, nil
}

// Public returns the public half in PEM.
func (k OwnKey) Public() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), err
}

// ID returns the id of the key: 32 hexadecimal digits.
func (k OwnKey) ID() string { return keyID(k.private.Public().(ed25519.PublicKey)) }

// Sign signs a document by its kind and digest.
func (k OwnKey) Sign(kind Kind, digest string) (Signature, error) {
	public, err := k.Public()
	return Signature{Algorithm: Ed25519, PublicKey: public, Signature: ed25519.Sign(k.private, Message(kind, digest))}, err
}

func parseEd25519(text string) (ed25519.PublicKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the public key is not in PEM form")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the public key: %w", err)
	}
	own, ok := k.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the public key is none of Ed25519")
	}
	return own, nil
}

func keyID(k ed25519.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return ""
	}
	h := sha256.Sum256(der)
	return hex.EncodeToString(h[:16])
}
