package client

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// ErrAnotherServer is the error if the server at the address does not hold the master key of the data directory. Nothing
// has been sent to it.
var ErrAnotherServer = errors.New("another program answers at the server's address")

// Prove makes the server at an address prove that it holds the master key, and returns the value for identity.OnceHeader
// of the next request. The proof is bound to the address, so that no other program can get it from the true server.
//
// Errors: ErrAnotherServer, those of the connection.
func Prove(ctx context.Context, h *http.Client, address string, keys *identity.Keyring) (once string, err error) {
	challenge := make([]byte, 32)
	rand.Read(challenge) // never returns an error
	text := hex.EncodeToString(challenge)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address+app.ProofPath+"?"+url.Values{"challenge": {text}}.Encode(), nil)
	if err != nil {
		return "", err
	}
	resp, err := h.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var p app.Proof
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return "", fmt.Errorf("reading the server's proof: %w", err)
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &p) != nil || !hmac.Equal(p.Proof, keys.ServerProof(text, address, p.Once)) {
		return "", fmt.Errorf("%w %s: it cannot prove that it holds the master key of the data directory", ErrAnotherServer, address)
	}
	return p.Once, nil
}

// stale reports whether a server's description was left behind: it was written since this machine started, its process is
// gone, and nobody has the data directory locked. What it cannot tell is decided by Prove.
func stale(dir string, r app.Running) bool {
	if r.Boot == "" || r.Boot != app.BootID() || !ended(r.PID) {
		return false // of another machine, of an earlier start, or alive
	}
	// In a container the process may only look gone: its lock is seen from everywhere.
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	return durable.TryLock(f) == nil // closing releases it
}

// transportError explains why a server could not be reached.
func (c *Client) transportError(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) && c.remote != nil:
		return fmt.Errorf("%w at %s: nothing accepts connections there; compare the address with what `ecrin serve` prints",
			ErrNotRunning, c.Server.URL)
	case errors.As(err, new(*tls.CertificateVerificationError)) && c.remote != nil:
		return fmt.Errorf("calling the server at %s: %w; name its CA in AWS_CA_BUNDLE or in ca_bundle of the profile (`ecrin trust print` prints it)",
			c.Server.URL, err)
	case errors.Is(err, ErrAnotherServer):
		return fmt.Errorf("%w; if the server was killed, start it again with `ecrin serve`", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s, although the data directory says so (was it killed?): start it again with `ecrin serve`",
			ErrNotRunning, c.Server.URL)
	case strings.Contains(err.Error(), "malformed HTTP"):
		return fmt.Errorf("%w %s: %w", ErrAnotherServer, c.Server.URL, err)
	}
	return fmt.Errorf("calling the server at %s: %w", c.Server.URL, err)
}
