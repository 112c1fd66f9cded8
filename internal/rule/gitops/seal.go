package gitops

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Sealer encrypts secrets for one controller of Sealed Secrets.
type Sealer struct {
	key *rsa.PublicKey
	end time.Time
}

// minKey is the size in bits of the smallest key that is used.
const minKey = 2048

// NewSealer returns the sealer of a certificate, as kubeseal --fetch-cert prints it: PEM. Of several certificates the first is used.
//
// Errors: one for the owner of the certificate.
func NewSealer(certificate string) (*Sealer, error) {
	block, _ := pem.Decode([]byte(certificate))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("must be a certificate in PEM, as kubeseal --fetch-cert prints it")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, errors.New("must be a certificate of X.509")
	}
	key, ok := c.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minKey {
		return nil, fmt.Errorf("must be the certificate of an RSA key of at least %d bits", minKey)
	}
	return &Sealer{key, c.NotAfter}, nil
}

// Expired reports whether the certificate has ended. The controller still has its key then, but the owner of the cluster expects that
// nothing more is sealed with it.
func (s *Sealer) Expired(now time.Time) bool { return now.After(s.end) }

// End returns when the certificate ends.
func (s *Sealer) End() time.Time { return s.end }

// Seal encrypts a secret, so that only the controller opens it, and only as a value of the secret of this namespace and name.
//
// Source: docs/developer/crypto.md of bitnami-labs/sealed-secrets: two bytes with the length of the following, the session key by RSA-OAEP
// with SHA-256 and the label NAMESPACE/NAME, and the text by AES-256-GCM with that key and a nonce of zeros, which no other text has.
func (s *Sealer) Seal(random io.Reader, namespace, label string, text secret.String) (string, error) {
	session := make([]byte, 32)
	if _, err := io.ReadFull(random, session); err != nil {
		return "", fmt.Errorf("making a session key: %w", err)
	}
	hidden, err := rsa.EncryptOAEP(sha256.New(), random, s.key, session, []byte(namespace+"/"+label))
	if err != nil {
		return "", fmt.Errorf("encrypting a session key: %w", err)
	}
	block, err := aes.NewCipher(session)
	if err != nil {
		return "", fmt.Errorf("encrypting a secret: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return "", fmt.Errorf("encrypting a secret: %w", err)
	}
	out := binary.BigEndian.AppendUint16(nil, uint16(len(hidden)))
	out = append(out, hidden...)
	return base64.StdEncoding.EncodeToString(gcm.Seal(out, make([]byte, gcm.NonceSize()), []byte(text.Reveal()), nil)), nil
}
