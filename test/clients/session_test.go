package clients_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A session is the environment of one user: a separate home folder, and the variables of `ecrin env` and of the
// CA.
type session struct {
	t    *testing.T
	s    *server
	home string
	env  []string
}

// newSession returns a session for the root user of the default account.
func newSession(t *testing.T, s *server) *session {
	t.Helper()
	home := t.TempDir()
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return kv == insideEnv+"="+workDir })
	env = append(env,
		"HOME="+home, "TMPDIR="+mkdir(t, home, "tmp"), "XDG_RUNTIME_DIR="+mkdir(t, home, "run"),
		"DOCKER_CONFIG="+mkdir(t, home, ".docker"), "DOCKER_BUILDKIT=0",
		"REGISTRY_AUTH_FILE="+filepath.Join(home, "auth.json"),
		"AWS_PAGER=", "AWS_CLI_AUTO_PROMPT=off",
	)
	for k, v := range s.root(t, account) {
		// With the real names, no endpoint needs to be set: that is the purpose of this server.
		if k != "AWS_ENDPOINT_URL" || s.plain {
			env = append(env, k+"="+v)
		}
	}
	if !s.plain {
		env = append(env, "SSL_CERT_FILE="+s.bundle, "AWS_CA_BUNDLE="+s.bundle)
	}
	write(t, filepath.Join(home, ".config/containers/policy.json"), `{"default":[{"type":"insecureAcceptAnything"}]}`)
	return &session{t: t, s: s, home: home, env: env}
}

// cmd returns a command in this session.
func (s *session) cmd(name string, args ...string) *call {
	return &call{t: s.t, name: name, args: args, env: s.env, dir: s.home}
}

// path returns the path of a file in the home folder of this session.
func (s *session) path(name string) string { return filepath.Join(s.home, name) }

// password returns a docker password for the default registry.
func (s *session) password() string {
	s.t.Helper()
	return s.s.password(s.t, account, region)
}

// host returns the host of the default registry.
func (s *session) host() string { return s.s.host(account, region) }

// repo creates a repository in the default registry and returns its name as clients use it.
func (s *session) repo(name string) string {
	s.t.Helper()
	s.s.createRepo(s.t, name)
	return s.s.ref(name)
}

// ifPlain returns the options that a client needs only for plain HTTP.
func (s *session) ifPlain(args ...string) []string {
	if s.s.plain {
		return args
	}
	return nil
}

// storeLogin writes the credentials that `docker login` writes, without a request to the registry.
func (s *session) storeLogin(password string) {
	s.t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte("AWS:" + password))
	write(s.t, s.path(".docker/config.json"), toJSON(s.t, map[string]any{
		"auths": map[string]any{s.host(): map[string]string{"auth": auth}},
	}))
}

// words returns a command line of single words and lists.
func words(parts ...any) []string {
	var all []string
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			all = append(all, p)
		case []string:
			all = append(all, p...)
		}
	}
	return all
}

func mkdir(t *testing.T, parts ...string) string {
	t.Helper()
	dir := filepath.Join(parts...)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fromJSON decodes the output of a client.
func fromJSON[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("unexpected JSON (%v): %s", err, text)
	}
	return v
}
