// Package credential gets credentials for registries from one source, for any number of targets: docker, kubelet, containerd, pull
// secrets of a cluster, files, and commands.
package credential

import (
	"context"
	"encoding/base64"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Credential is a user name and a password for one registry.
type Credential struct {
	Host      string // HOST or HOST:PORT
	Username  string // AWS for tokens of ECR and ecrin
	Password  secret.String
	From      time.Time // when it was got
	ExpiresAt time.Time // zero if it does not end
}

// Source gets credentials.
type Source interface {
	// Credential returns new credentials for a host, HOST or HOST:PORT.
	//
	// Errors: [ErrNone] (the source is not for this host), and those of the calls that it makes.
	Credential(ctx context.Context, host string) (Credential, error)
}

// longest is the time after which a credential is renewed that lives longer than twice as long. Tokens of ECR live 12 hours.
const longest = 6 * time.Hour

// RenewAt returns when a credential is to be replaced: after half of the life that it had when it was got, and after 6 hours at most; the
// zero time if it does not end.
func (c Credential) RenewAt() time.Time {
	if c.ExpiresAt.IsZero() {
		return time.Time{}
	}
	return c.From.Add(min(longest, max(0, c.ExpiresAt.Sub(c.From)/2)))
}

// Auth returns the member auth of an entry of a docker configuration: user name and password, joined by a colon, in base64.
func (c Credential) Auth() secret.String {
	return secret.New(base64.StdEncoding.EncodeToString([]byte(c.Username + ":" + c.Password.Reveal())))
}
