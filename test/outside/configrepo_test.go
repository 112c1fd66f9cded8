package outside_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// gitRun runs git in a folder, and returns what it prints.
func gitRun(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_AUTHOR_NAME=person",
		"GIT_AUTHOR_EMAIL=person@example.com", "GIT_COMMITTER_NAME=person", "GIT_COMMITTER_EMAIL=person@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// bare makes a bare repository; with a commit on main if begun.
func bare(t testing.TB, begun bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "config.git")
	gitRun(t, ".", "init", "-q", "--bare", "-b", "main", dir)
	if begun {
		byHand(t, dir, func(tree string) { write(t, tree, "README.md", "configuration\n") })
	}
	return dir
}

func write(t testing.TB, tree, path, content string) {
	t.Helper()
	file := filepath.Join(tree, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// byHand changes the main branch of a bare repository as a person does.
func byHand(t testing.TB, dir string, change func(tree string)) {
	t.Helper()
	if !pushes(t, dir, change) {
		t.Fatal("git push: it was refused")
	}
}

// pushes is byHand; false if another push came first.
func pushes(t testing.TB, dir string, change func(tree string)) bool {
	t.Helper()
	tree := t.TempDir()
	gitRun(t, tree, "init", "-q", "-b", "main")
	gitRun(t, tree, "remote", "add", "origin", dir)
	if gitRun(t, dir, "for-each-ref", "refs/heads/main") != "" {
		gitRun(t, tree, "pull", "-q", "origin", "main")
	}
	change(tree)
	gitRun(t, tree, "add", "-A")
	gitRun(t, tree, "commit", "-q", "-m", "by hand")
	push := exec.Command("git", "push", "-q", "origin", "HEAD:main")
	push.Dir = tree
	return push.Run() == nil
}

// files are the paths of the main branch of a bare repository.
func files(t testing.TB, dir string) []string {
	t.Helper()
	if gitRun(t, dir, "for-each-ref", "refs/heads/main") == "" {
		return nil
	}
	return strings.Fields(gitRun(t, dir, "ls-tree", "-r", "--name-only", "main"))
}

// content returns the content of a file.
func content(t testing.TB, dir, path string) string {
	t.Helper()
	return gitRun(t, dir, "show", "main:"+path)
}

// cluster is a controller of Sealed Secrets.
type cluster struct {
	key         *rsa.PrivateKey
	certificate string
}

func newCluster(t testing.TB, end time.Time) *cluster {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sealed"},
		NotBefore: end.Add(-time.Hour * 24 * 30), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

// sealedSecret is what a controller reads of a SealedSecret.
type sealedSecret struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
		Labels          map[string]string
	}
	Spec struct {
		EncryptedData map[string]string `yaml:"encryptedData"`
	}
	Data map[string]string
}

func parse(t testing.TB, text string) (s sealedSecret) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return s
}

// open returns the values of a SealedSecret, by the description of the format.
func (c *cluster) open(t testing.TB, s sealedSecret) map[string]string {
	t.Helper()
	out := map[string]string{}
	for key, text := range s.Spec.EncryptedData {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		n := binary.BigEndian.Uint16(b)
		session, err := rsa.DecryptOAEP(sha256.New(), nil, c.key, b[2:2+n], []byte(s.Metadata.Namespace+"/"+s.Metadata.Name))
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		block, err := aes.NewCipher(session)
		if err != nil {
			t.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := gcm.Open(nil, make([]byte, 12), b[2+n:], nil)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		out[key] = string(plain)
	}
	return out
}

// configured is a server whose integrations are kept in a local bare repository.
type configured struct {
	*far
	dir     string
	cluster *cluster
}

// allow lets the default account use a bare repository.
func allow(dir string) func(*config.Config) {
	return func(c *config.Config) { c.ConfigRepositoryPaths = []string{c.Account + " " + dir} }
}

func newConfigured(t testing.TB) *configured {
	t.Helper()
	dir := bare(t, true)
	c := &configured{far: newFar(t, nil, allow(dir)), dir: dir, cluster: newCluster(t, time.Now().Add(time.Hour))}
	c.set(t, ecrintypes.PutConfigRepositoryRequest{})
	return c
}

// set stores the configuration repository.
func (c *configured) set(t testing.TB, in ecrintypes.PutConfigRepositoryRequest) {
	t.Helper()
	if in.Url == "" {
		in.Url = "file://" + c.dir
	}
	if in.Namespace = "delivery"; in.SecretStore == "" {
		in.Certificate = c.cluster.certificate
	}
	if err := call(t, c.near, "PutConfigRepository", in, &ecrintypes.ConfigRepositoryResponse{}); err != nil {
		t.Fatal(err)
	}
}

// state returns the state of the configuration repository of a server.
func state(t testing.TB, s *apptest.Server) ecrintypes.ConfigRepository {
	t.Helper()
	var out ecrintypes.ConfigRepositoryResponse
	if err := call(t, s, "DescribeConfigRepository", ecrintypes.ConfigRepositoryRequest{}, &out); err != nil {
		t.Fatal(err)
	}
	return out.ConfigRepository
}

// settled waits until no change waits to be written.
func settled(t testing.TB, s *apptest.Server) (out ecrintypes.ConfigRepository) {
	t.Helper()
	defer func() {
		if t.Failed() {
			var jobs ecrintypes.ListJobsResponse
			_ = call(t, s, "ListJobs", ecrintypes.ListJobsRequest{}, &jobs)
			t.Logf("%s\n%s", shown(out), shown(jobs))
		}
	}()
	eventually(t, "the job has ended", func() bool {
		out = state(t, s)
		return out.SyncStatus != ecrintypes.SyncStatusSYNCING
	})
	return out
}

// synced waits until all is written, and fails the test if that fails.
func (c *configured) synced(t testing.TB) ecrintypes.ConfigRepository {
	t.Helper()
	out := settled(t, c.near)
	if out.SyncStatus != ecrintypes.SyncStatusSYNCED {
		t.Fatalf("got %s, want it synced", shown(out))
	}
	return out
}

// sync asks for a look at the repository, and waits for its end.
func (c *configured) sync(t testing.TB) ecrintypes.ConfigRepository {
	t.Helper()
	err := call(t, c.near, "SyncConfigRepository", ecrintypes.ConfigRepositoryRequest{}, &ecrintypes.ConfigRepositoryResponse{})
	if err != nil {
		t.Fatal(err)
	}
	return settled(t, c.near)
}

// runtime makes a runtime.
func (c *configured) runtime(t testing.TB, label string) {
	t.Helper()
	if err := call(t, c.near, "PutRuntime", ecrintypes.PutRuntimeRequest{RuntimeName: label, Version: "0.1.33"},
		&ecrintypes.RuntimeResponse{}); err != nil {
		t.Fatal(err)
	}
}

// key returns an integration by a key that may pull.
func (c *configured) key(t testing.TB, label string) ecrintypes.CreateIntegrationRequest {
	t.Helper()
	in := c.in(label)
	in.AwsAccessKeyId, in.AwsSecretAccessKey = c.user(t, label, *allowed("ecr:*"))
	return in
}

const all = "resources/all-runtimes-all-clusters/"

// noSecrets checks that texts are nowhere: in no object of the repository, in no log, and in no message of a commit.
func (c *configured) noSecrets(t testing.TB, texts ...string) {
	t.Helper()
	objects := gitRun(t, c.dir, "cat-file", "--batch-all-objects", "--batch")
	for _, text := range texts {
		for where, in := range map[string]string{"the repository": objects, "the log": c.near.Log.String()} {
			if strings.Contains(in, text) || strings.Contains(in, base64.StdEncoding.EncodeToString([]byte(text))) {
				t.Errorf("%s has a secret", where)
			}
		}
	}
	if strings.Contains(objects, "kind: Secret\n") {
		t.Error("the repository has a plain Secret")
	}
}

// syncStatus returns the state of the files of an integration, as the list of integrations shows it.
func (c *configured) syncStatus(t testing.TB, label string) string {
	t.Helper()
	var out ecrintypes.DescribeIntegrationsResponse
	if err := call(t, c.near, "DescribeIntegrations", ecrintypes.DescribeIntegrationsRequest{IntegrationName: label}, &out); err != nil {
		t.Fatal(err)
	}
	return string(out.Integrations[0].SyncStatus)
}
