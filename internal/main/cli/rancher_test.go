package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// K1: somebody adds the entry of a registry (address, email none, user AWS, password), and a host of the environment pulls with it; 12
// hours later the registry says that the token has expired.
func TestK1RegistryEntryIsPulledWith(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	s := apptest.Start(t, apptest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "v1", ocitest.NewImage(1, 100))
	dir := t.TempDir()
	password, docker := filepath.Join(dir, "password"), filepath.Join(dir, "config.json")
	if err := os.WriteFile(password, []byte(root.Password(t)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The host has another registry, too, whose entry stays.
	if err := os.WriteFile(docker, []byte(`{"auths":{"quay.io":{"auth":"eDp5"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "rancher", "add", "staging", "--host", "node1", "--data", s.Dir)
	must(t, "rancher", "registry", "staging", "https://"+s.Running.Address, "--secret-file", password, "--data", s.Dir)
	must(t, "rancher", "dockerconfig", "staging", "node1", "--file", docker, "--data", s.Dir)

	pull := func() *ocitest.Answer {
		t.Helper()
		text, err := os.ReadFile(docker)
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Auths map[string]struct{ Auth string }
		}
		if err := json.Unmarshal(text, &c); err != nil || c.Auths["quay.io"].Auth != "eDp5" {
			t.Fatalf("the configuration of docker is %s, %v, want the entry of quay.io in it", text, err)
		}
		both, err := base64.StdEncoding.DecodeString(c.Auths[s.Running.Address].Auth)
		if err != nil || !strings.HasPrefix(string(both), "AWS:") {
			t.Fatalf("got the credential %q, %v, want one of AWS for %s", both, err, s.Running.Address)
		}
		return ocitest.Client{Base: s.URL, HTTP: s.HTTP, Password: string(both[4:])}.Repo("team/app").Manifest(t, "v1")
	}
	pull().Want(t, 200)
	ahead.Store(int64(12*time.Hour - time.Minute))
	pull().Want(t, 200)
	ahead.Store(int64(12*time.Hour + time.Minute))
	if got := pull(); got.Status != 403 && got.Status != 401 || !strings.Contains(string(got.Body), "expired") {
		t.Errorf("12 hours later: got %d %s, want 401 or 403 and that the token has expired", got.Status, got.Body)
	}

	// A password that is set again replaces the other. (The clock of the SDK, which gets it, is not moved.)
	ahead.Store(0)
	if err := os.WriteFile(password, []byte(root.Password(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	must(t, "rancher", "registry", "staging", s.Running.Address, "--secret-file", password, "--data", s.Dir)
	must(t, "rancher", "dockerconfig", "staging", "node1", "--file", docker, "--data", s.Dir)
	pull().Want(t, 200)

	// Nothing but dockerconfig, for a host of the environment, has the password.
	text, err := os.ReadFile(password)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"show", "staging"}, {"show", "staging", "--json"}, {"list", "--json"}} {
		code, out, errs := run(t, append([]string{"rancher", "--data", s.Dir}, args...)...)
		if code != 0 || strings.Contains(out+errs, string(text)) || strings.Contains(out, "secretValue") || !strings.Contains(out, "staging") {
			t.Errorf("%v: got %d %s %s, want the environment without a secret", args, code, out, errs)
		}
	}
	if code, _, errs := run(t, "rancher", "dockerconfig", "staging", "node2", "--file", docker, "--data", s.Dir); code == 0 ||
		!strings.Contains(errs, "has no host node2") {
		t.Errorf("a host of another environment: got %d %s", code, errs)
	}
}
