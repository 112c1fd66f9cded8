package outside_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/gittest"
)

// An integration with a repository by ssh is tested by the list of its branches. A failure has a text and a cure, and neither an answer nor
// a list of integrations has the private key.
func TestIntegrationWithGitBySSH(t *testing.T) {
	t.Parallel()
	key, user := gittest.NewKey(t)
	otherKey, _ := gittest.NewKey(t)
	_, host := gittest.NewKey(t)
	_, otherHost := gittest.NewKey(t)
	address := gittest.ServeSSH(t, host, user.PublicKey())
	known := knownhosts.Line([]string{address}, host.PublicKey()) + "\n"
	wrong := knownhosts.Line([]string{address}, otherHost.PublicKey()) + "\n"
	dir, empty := bare(t, true), bare(t, false)
	gitRun(t, dir, "branch", "dev", "main")
	n := near(t, nil)
	at := "ssh://git@" + address
	for _, c := range []struct{ label, url, key, known, found, code, message, cure string }{
		{"ssh", at + dir, key, known, "2 branches: dev, main", "", "", ""},
		{"empty", at + empty, key, known, "the repository is empty", "", "", ""},
		{"key", at + dir, otherKey, known, "", "AccessDenied", "does not accept the private key for the user git", "public half"},
		{"host", at + dir, key, wrong, "", "AccessDenied", "the key of the host is not one of those that are known", "known hosts again"},
		{"path", at + "/nowhere/c.git", key, known, "", "NotFound", "does not show the repository", "check the path"},
	} {
		in := ecrintypes.CreateIntegrationRequest{IntegrationName: c.label, Kind: "GIT", Provider: "git", Url: c.url, PrivateKey: c.key,
			KnownHosts: c.known}
		made := add(t, n, in)
		if made.Url != c.url || made.KnownHosts != c.known || made.RegistryHost != address || strings.Contains(shown(made), "PRIVATE") {
			t.Errorf("%s: got %s", c.label, shown(made))
		}
		got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: c.label})
		one := last(t, got)
		if got.Passed != (c.cure == "") || !strings.Contains(one.Found, c.found) || one.Code != c.code ||
			!strings.Contains(one.Message, c.message) || !strings.Contains(one.Cure, c.cure) || strings.Contains(shown(got), "PRIVATE") {
			t.Errorf("%s: got %s, want %q, %q, %q, %q", c.label, shown(got), c.found, c.code, c.message, c.cure)
		}
	}
	for what, in := range map[string]ecrintypes.CreateIntegrationRequest{
		"no key":                 {Url: at + dir, KnownHosts: known},
		"keys of another host":   {Url: "ssh://git@127.0.0.1:1/c.git", PrivateKey: key, KnownHosts: known},
		"no known hosts":         {Url: at + dir, PrivateKey: key},
		"a password":             {Url: at + dir, PrivateKey: key, KnownHosts: known, Password: "x"},
		"a branch":               {Url: at + dir + "?ref=main", PrivateKey: key, KnownHosts: known},
		"a folder":               {Url: at + dir + "/charts", PrivateKey: key, KnownHosts: known},
		"a key for https":        {Url: "https://git.invalid/a.git", Username: "u", Password: "x", PrivateKey: key},
		"a path of this machine": {Url: "file://" + dir},
	} {
		in.IntegrationName, in.Kind, in.Provider = "bad", "GIT", "git"
		if err := call(t, n, "CreateIntegration", in, &ecrintypes.IntegrationResponse{}); code(err) != "InvalidParameterException" {
			t.Errorf("%s: got %v, want InvalidParameterException", what, err)
		}
	}
	moved := ecrintypes.UpdateIntegrationRequest{IntegrationName: "ssh", KnownHosts: wrong}
	if err := call(t, n, "UpdateIntegration", moved, &ecrintypes.IntegrationResponse{}); code(err) != "InvalidParameterException" {
		t.Errorf("other known hosts with the stored key: got %v, want InvalidParameterException", err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	for label, verb := range map[string][]string{"key": {"update", "key"},
		"new": {"add", "new", "--kind", "git", "--provider", "git", "--at", at + dir}} {
		var out bytes.Buffer
		status := cli.Run(t.Context(), cli.Env{Args: append(append([]string{"integration"}, verb...), "--known-hosts", hosts, "--data", n.Dir),
			In: strings.NewReader(key), Out: &out, Err: &out, Lookup: func(string) (string, bool) { return "", false }})
		if got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: label}); status != 0 || !got.Passed {
			t.Errorf("%s: got %d %s, %s, want a test that passes", verb[0], status, out.String(), shown(got))
		}
	}
}

// An integration with a repository of the machine of the server needs the operator's permission for its path, also when it is tested.
func TestIntegrationWithGitOfThisMachine(t *testing.T) {
	t.Parallel()
	dir, other := bare(t, true), bare(t, true)
	n := near(t, allow(dir))
	in := ecrintypes.CreateIntegrationRequest{IntegrationName: "here", Kind: "GIT", Provider: "git", Url: "file://" + dir}
	add(t, n, in)
	got := test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "here"})
	if one := last(t, got); !got.Passed || one.Found != "1 branch: main" {
		t.Errorf("got %s, want the branch main", shown(got))
	}
	in.IntegrationName, in.Url = "other", "file://"+other
	if err := call(t, n, "CreateIntegration", in, &ecrintypes.IntegrationResponse{}); code(err) != "InvalidParameterException" {
		t.Errorf("another path: got %v, want InvalidParameterException", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	got = test(t, n, ecrintypes.TestIntegrationRequest{IntegrationName: "here"})
	if one := last(t, got); got.Passed || one.Code != "NotFound" || !strings.Contains(one.Message, "git init --bare") || one.Cure == "" {
		t.Errorf("without the repository: got %s, want NotFound", shown(got))
	}
}
