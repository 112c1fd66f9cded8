package gitops_test

import (
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/gitops"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

func external(string) (gitops.Target, error) {
	return gitops.Target{Namespace: "x", External: gitops.External{Kind: "SecretStore", Store: "vault", Prefix: "p/"}}, nil
}

// The names of integrations and of runtimes become names of objects and of folders, and nothing else.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, runtime string
		ok            bool
	}{
		{"prod", "", true}, {"a.b-c", "west/blue", true}, {"a_b", "", false}, {"a..b", "", false}, {"a.-b", "", false}, {"-a", "", false},
		{"prod", "a/../b", false}, {"prod", "a//b", false}, {"prod", "..", false}, {"prod", "a/.git/b", false}, {"prod", "a/.GIT", false},
		{strings.Repeat("a", 254), "", false},
	} {
		i := gitops.Integration{Name: c.name, Type: "registry.ecr", Secret: map[string]secret.String{"k": secret.New("v")}}
		if c.runtime != "" {
			i.Runtimes = []string{c.runtime}
		}
		files, err := gitops.Files(i, external, rand.Reader)
		if (err == nil) != c.ok {
			t.Errorf("%q for %q: got %v and %v, want ok %t", c.name, c.runtime, slices.Collect(maps.Keys(files)), err, c.ok)
		}
		for path, content := range files {
			if !strings.HasPrefix(path, "resources/") || strings.Contains(path, "..") || strings.Contains(string(content), "kind: Secret\n") {
				t.Errorf("%q for %q: got %s with\n%s", c.name, c.runtime, path, content)
			}
		}
	}
	for label, ok := range map[string]bool{"delivery": true, "a-1": true, "": false, "A": false, "a.b": false,
		strings.Repeat("a", 64): false} {
		if err := gitops.CheckNamespace(label); (err == nil) != ok {
			t.Errorf("the namespace %q: got %v, want ok %t", label, err, ok)
		}
	}
}

func TestSealerRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := gitops.NewSealer(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}
