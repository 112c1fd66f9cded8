package credential_test

import (
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// TestRenewAt: a credential is renewed after half of the life that it has left when it is got, and after 6 hours at most.
func TestRenewAt(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 28, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct{ life, want time.Duration }{
		{12 * time.Hour, 6 * time.Hour}, {36 * time.Hour, 6 * time.Hour}, {time.Hour, 30 * time.Minute}, {time.Minute, 30 * time.Second},
		{-time.Hour, 0},
	} {
		if got := (credential.Credential{From: from, ExpiresAt: from.Add(c.life)}).RenewAt(); !got.Equal(from.Add(c.want)) {
			t.Errorf("a life of %s: got %s, want %s after it was got", c.life, got.Sub(from), c.want)
		}
	}
	if got := (credential.Credential{From: from}).RenewAt(); !got.IsZero() {
		t.Errorf("a credential without an end: got %s, want no time", got)
	}
}

// TestAuth: the entry of a docker configuration is user name and password in base64.
func TestAuth(t *testing.T) {
	t.Parallel()
	if got := (credential.Credential{Username: "AWS", Password: secret.New("x")}).Auth().Reveal(); got != "QVdTOng=" {
		t.Errorf("got %q, want QVdTOng=", got)
	}
}
