package cli_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// containersConf returns the files of buildah by the variables that name them, with a storage in a folder.
func containersConf(dir string) map[string]string {
	return map[string]string{
		"CONTAINERS_STORAGE_CONF":    "[storage]\ndriver = \"vfs\"\ngraphroot = \"" + dir + "/graph\"\nrunroot = \"" + dir + "/run\"\n",
		"CONTAINERS_REGISTRIES_CONF": "unqualified-search-registries = []\n",
		"CONTAINERS_CONF":            "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n",
	}
}

// containers lets buildah work in a test: with a storage of its own, also inside of a container.
func containers(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for variable, text := range containersConf(dir) {
		writeFile(t, filepath.Join(dir, variable), text)
		t.Setenv(variable, filepath.Join(dir, variable))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("buildah", "rmi", "--all", "--force").CombinedOutput(); err != nil {
			t.Logf("buildah rmi: %v: %s", err, out)
		}
	})
}

// R7: a Dockerfile that names a registry without an integration is not built, and the registry is named; with an integration, buildah pulls
// the base image and pushes the result with the tags of the commit and the branch.
func TestR7Build(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Skip("buildah is not in PATH: make clients installs it")
	}
	containers(t)
	far := apptest.Start(t, apptest.Options{})
	front, ca := withTLS(t, far.URL)
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.EgressAllow, c.EgressCA = []string{"127.0.0.1/32"}, ca }})
	there, root := far.Root(t), s.Root(t).In("eu-west-2")
	add := func(args ...string) {
		t.Helper()
		if code, _, errs := run(t, append(args, "--data", s.Dir)...); code != 0 {
			t.Fatalf("ecrin %q: %s", args, errs)
		}
	}
	add("cluster", "add", "staging", "--region", "eu-west-2", "--principal", root.ID)
	dir := application(t, strings.Replace(voting, "has_repo: true, ports", "has_repo: true, build: {context: vote}, ports", 1))
	host, own := strings.TrimPrefix(front, "https://"), strings.TrimPrefix(s.URL, "http://")
	base := there.CreateRepository(t, "team/base")
	pushTree(t, base, "1", "/etc/base", "from the base")
	writeFile(t, filepath.Join(dir, "vote", "Dockerfile"), "ARG TAG=0\nFROM "+host+"/team/base:${TAG} AS base\nFROM scratch\n"+
		"COPY --from=base /etc/base /base\nCOPY own /own\n")
	writeFile(t, filepath.Join(dir, "vote", "own"), "own")
	add("application", "create", dir)
	ask := []string{"application", "build", "vote", dir, "--data", s.Dir, "--registry", own + "/" + root.ID + "/eu-west-2", "--plain-http",
		"--commit", "0a1b2c3", "--branch", "feature/x", "--build-arg", "TAG=1", "--isolation", "chroot"}
	code, out, errs := run(t, ask...)
	if code != 1 || out != "" || !strings.Contains(errs, host) || !strings.Contains(errs, "Account Settings > Integrations") ||
		!strings.Contains(errs, "line 2") {
		t.Fatalf("without an integration: got %d, %s, %s", code, out, errs)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, there.Secret)
	add("integration", "add", "far", "--kind", "ecrin", "--endpoint", front, "--registry-id", there.ID, "--region", there.Region,
		"--access-key-id", there.KeyID, "--secret-file", secret)
	code, out, errs = run(t, append(ask, "--json", "--dry-run")...)
	var got struct {
		Plan struct {
			Bases  []string
			Logins []struct{ Registry, By string }
		}
		Tags []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 {
		t.Fatalf("--dry-run: got %d, %s, %s", code, out, errs)
	}
	if l := got.Plan.Logins; len(l) != 2 || l[0].Registry != host || l[0].By != "the integration far" || l[1].Registry != own ||
		!slices.Equal(got.Tags, []string{"0a1b2c3", "feature-x"}) {
		t.Errorf("the plan: got %+v", got)
	}
	if code, out, errs = run(t, ask...); code != 0 {
		t.Fatalf("build: got %d, %s, %s", code, out, errs)
	}
	repo := root.Docker(t).Repo("org/voting/vote")
	digest := repo.Manifest(t, "0a1b2c3").Want(t, http.StatusOK).Header.Get("Docker-Content-Digest")
	if other := repo.Manifest(t, "feature-x").Want(t, http.StatusOK).Header.Get("Docker-Content-Digest"); digest == "" || other != digest {
		t.Errorf("the tags: got %s and %s, want one image", digest, other)
	}
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "ecrin-build-*")); err != nil || len(left) > 0 {
		t.Errorf("logins are left in %q, %v", left, err)
	}
	// Who may not have the token is told what its policy needs.
	writeFile(t, filepath.Join(dir, "vote", "Dockerfile"), "RUN x")
	if code, _, errs := run(t, ask...); code != 1 || !strings.Contains(errs, "no FROM") {
		t.Errorf("without FROM: got %d, %s", code, errs)
	}
	writeFile(t, filepath.Join(dir, "vote", "Dockerfile"), "FROM ${BASE}")
	if code, _, errs := run(t, ask...); code != 1 || !strings.Contains(errs, "has no value") {
		t.Errorf("without a value: got %d, %s", code, errs)
	}
}

// withTLS returns the address with TLS of a server without, and the file of its authority.
func withTLS(t *testing.T, address string) (front, ca string) {
	t.Helper()
	to, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}})
	t.Cleanup(s.Close)
	ca = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.URL, ca
}

// pushTree pushes an image that has one file.
func pushTree(t *testing.T, r ocitest.Repo, tag, name, text string) {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, filepath.FromSlash(name)), text)
	layer, err := exec.Command("tar", "-C", dir, "-cf", "-", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	diff := ocitest.SHA256(layer)
	config := []byte(`{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["` + diff + `"]}}`)
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType,
		Config: ptr(ocitest.Describe("application/vnd.oci.image.config.v1+json", config)),
		Layers: []ocitest.Descriptor{ocitest.Describe("application/vnd.oci.image.layer.v1.tar", layer)}}
	r.PutBlob(t, layer)
	r.PutBlob(t, config)
	r.PutManifest(t, tag, ocitest.ImageType, m.JSON()).Want(t, http.StatusCreated)
}

func ptr[T any](v T) *T { return &v }

// R8: the host of a registry has neither a scheme nor a path; the accepted form is said.
func TestR8RegistryHost(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	secret := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(secret, []byte("secret"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run(t, "cloud", "add", "aws", "--region", "eu-west-1", "--access-key-id", "AKIAAAAAAAAAAAAAAAAA",
		"--secret-file", secret,
		"--data", s.Dir); code != 0 {
		t.Fatal(errs)
	}
	const good = puller + ".dkr.ecr.eu-west-1.amazonaws.com"
	for _, bad := range []string{"https://" + good, good + "/", good + "/team/app", "4999999999999.dkr.ecr.eu-west-1.amazonaws.com",
		"ghcr.io", ""} {
		code, _, errs := run(t, "application", "registry", "add", bad, "--cloud", "aws", "--data", s.Dir)
		if code != 1 || !strings.Contains(errs, "ACCOUNT.dkr.ecr.REGION.amazonaws.com, without https:// and without a path") {
			t.Errorf("%q: got %d, %s", bad, code, errs)
		}
	}
	code, out, errs := run(t, "application", "registry", "add", good, "--cloud", "aws", "--data", s.Dir, "--json")
	if code != 0 || !strings.Contains(out, `"registryHost": "`+good+`"`) {
		t.Errorf("got %d, %s, %s", code, out, errs)
	}
}

// A stand-in for buildctl notes its arguments, its configuration and who may read it, and fails if it is told to.
const standInBuildctl = `#!/bin/sh
set -e
out=$(dirname "$0")/seen
mkdir -p "$out"
printf '%s\n' "$@" >"$out/args"
cp "$DOCKER_CONFIG/config.json" "$out/config.json"
stat -c '%a' "$DOCKER_CONFIG" "$DOCKER_CONFIG/config.json" >"$out/modes"
echo "$DOCKER_CONFIG" >"$out/folder"
[ ! -e "$out/fail" ]
`

// buildctl is started where there is no buildah: with the command line of BuildKit, and a configuration that has the logins of the
// Dockerfile and of the push, and no others, readable for its owner only, which is gone afterwards, also if it fails.
func TestBuildctl(t *testing.T) {
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t).In("eu-west-2")
	add := func(args ...string) {
		t.Helper()
		if code, _, errs := run(t, append(args, "--data", s.Dir)...); code != 0 {
			t.Fatalf("ecrin %q: %s", args, errs)
		}
	}
	add("cluster", "add", "staging", "--region", "eu-west-2", "--principal", root.ID)
	dir := application(t, strings.Replace(voting, "has_repo: true, ports",
		"has_repo: true, build: {context: vote, dockerfile: vote/Dockerfile.prod, target: run, args: [VERSION=1]}, ports", 1))
	own := strings.TrimPrefix(s.URL, "http://")
	root.CreateRepository(t, "team/base").Push(t, "1", ocitest.NewImage(1, 100))
	writeFile(t, filepath.Join(dir, "vote", "Dockerfile.prod"), "FROM "+own+"/"+root.ID+"/eu-west-2/team/base:1 AS run\n")
	add("application", "create", dir)
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "buildctl"), []byte(standInBuildctl), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"sh", "dirname", "mkdir", "cp", "stat"} { // and no buildah
		path, err := exec.LookPath(program)
		if err == nil {
			err = os.Symlink(path, filepath.Join(bin, program))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	// The login of this machine is not for the builder.
	home := t.TempDir()
	writeFile(t, filepath.Join(home, "config.json"), `{"auths":{"ghcr.io":{"auth":"eDp5"}}}`)
	t.Setenv("DOCKER_CONFIG", home)
	to := own + "/" + root.ID + "/eu-west-2/org/voting/vote"
	ask := []string{"application", "build", "vote", dir, "--data", s.Dir, "--registry", own + "/" + root.ID + "/eu-west-2", "--plain-http",
		"--commit", "0a1b2c3", "--branch", "main", "--build-arg", "MODE=a b,c"}
	code, out, errs := run(t, ask...)
	if code != 0 || out != to+":0a1b2c3\n"+to+":main\n" {
		t.Fatalf("got %d, %s, %s", code, out, errs)
	}
	seen := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(bin, "seen", name))
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	want := strings.Join([]string{"build", "--frontend", "dockerfile.v0", "--local", "context=" + dir + "/vote", "--local",
		"dockerfile=" + dir + "/vote", "--opt", "filename=Dockerfile.prod", "--opt", "target=run", "--opt", "build-arg:MODE=a b,c", "--opt",
		"build-arg:VERSION=1", "--output", `type=image,"name=` + to + ":0a1b2c3," + to + `:main",push=true,registry.insecure=true`}, "\n")
	if got := seen("args"); got != want {
		t.Errorf("the arguments: got\n%s\nwant\n%s", got, want)
	}
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal([]byte(seen("config.json")), &config); err != nil || len(config.Auths) != 1 || config.Auths[own].Auth == "" {
		t.Errorf("the logins: got %s, want one of %s", seen("config.json"), own)
	}
	if got := seen("modes"); got != "700\n600" {
		t.Errorf("the modes of the folder and of the file: got %q", got)
	}
	writeFile(t, filepath.Join(bin, "seen", "fail"), "")
	code, out, errs = run(t, ask...)
	if code != 1 || out != "" || !strings.Contains(errs, "buildctl build: exit status 1") {
		t.Errorf("a build that fails: got %d, %s, %s", code, out, errs)
	}
	if _, err := os.Stat(seen("folder")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the logins are left: %v", err)
	}
	if code, _, errs := run(t, append(ask, "--builder", "buildah")...); code != 1 || !strings.Contains(errs, "buildah") {
		t.Errorf("buildah, which is not there: got %d, %s", code, errs)
	}
}

// The principal of an integration that may not have a token: the message says what its identity policy needs.
func TestR7TokenOfAnIntegrationRefused(t *testing.T) {
	t.Parallel()
	far := apptest.Start(t, apptest.Options{})
	front, ca := withTLS(t, far.URL)
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.EgressAllow, c.EgressCA = []string{"127.0.0.1/32"}, ca }})
	root := s.Root(t).In("eu-west-2")
	there := far.Root(t)
	keyID, key := newUser(t, far.URL, there, "builder")
	secret := filepath.Join(t.TempDir(), "secret")
	writeFile(t, secret, key)
	dir := application(t, strings.Replace(voting, "has_repo: true, ports", "has_repo: true, build: {context: vote}, ports", 1))
	writeFile(t, filepath.Join(dir, "vote", "Dockerfile"), "FROM "+strings.TrimPrefix(front, "https://")+"/team/base:1\n")
	for _, args := range [][]string{{"cluster", "add", "staging", "--region", "eu-west-2", "--principal", root.ID},
		{"integration", "add", "far", "--kind", "ecrin", "--endpoint", front, "--registry-id", there.ID, "--region", there.Region,
			"--access-key-id", keyID, "--secret-file", secret}} {
		if code, _, errs := run(t, append(args, "--data", s.Dir)...); code != 0 {
			t.Fatalf("ecrin %q: %s", args, errs)
		}
	}
	code, out, errs := run(t, "application", "build", "vote", dir, "--data", s.Dir, "--commit", "0a1b2c3", "--dry-run")
	for _, want := range []string{"line 1: the token of the integration far for " + strings.TrimPrefix(front, "https://") + " was refused",
		"GetAuthorizationToken was refused (AccessDeniedException)",
		"the identity policy of its principal needs ecr:GetAuthorizationToken on the resource *"} {
		if code != 1 || out != "" || !strings.Contains(errs, want) {
			t.Errorf("got %d, %s, %s, want in it %s", code, out, errs, want)
		}
	}
}
