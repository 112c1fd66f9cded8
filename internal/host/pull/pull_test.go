package pull_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/host/pull"
	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// world is a registry with TLS under the name example.com, an image team/app:1.0, and a machine that can pull it.
type world struct {
	t      *testing.T
	server *apptest.Server
	root   apptest.Account
	repo   ocitest.Repo
	image  ocitest.Image
	front  *httptest.Server
	page   bool // /v2/ is a page
	pull.Options
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, server: apptest.Start(t, apptest.Options{}), image: ocitest.NewImage(1, 1000, 2000)}
	w.root = w.server.Root(t)
	w.repo = w.root.CreateRepository(t, "team/app")
	w.repo.Push(t, "1.0", w.image)
	target, err := url.Parse(w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	w.front = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.page {
			http.NotFound(rw, r)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	w.front.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are broken on purpose
	w.front.StartTLS()
	t.Cleanup(w.front.Close)
	roots := x509.NewCertPool()
	roots.AddCert(w.front.Certificate())
	w.Options = pull.Options{
		Image: "example.com/team/app:1.0", Platform: "linux/amd64", DockerConfig: t.TempDir(), CertsDir: t.TempDir(), Roots: roots,
		Lookup: func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
		Dial: w.dial, Helper: func(context.Context, string, string) (string, error) { return "", errors.New("no helper") },
		Explain: func(context.Context, string) string { return "" },
	}
	w.login(w.root)
	return w
}

func (w *world) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, w.front.Listener.Addr().String())
}

// login stores a credential as docker login does.
func (w *world) login(a apptest.Account) { w.store("AWS", a.Password(w.t)) }

func (w *world) store(user, password string) {
	w.t.Helper()
	text := fmt.Sprintf(`{"auths":{"example.com":{"auth":%q}}}`, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	if err := os.WriteFile(filepath.Join(w.DockerConfig, "config.json"), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// cli runs a command of ecrin, which must succeed.
func (w *world) cli(args ...string) {
	w.t.Helper()
	var out strings.Builder
	none := func(string) (string, bool) { return "", false }
	if code := cli.Run(w.t.Context(), cli.Env{Args: args, Out: &out, Err: &out, Lookup: none}); code != 0 {
		w.t.Fatalf("ecrin %s: exit code %d: %s", strings.Join(args, " "), code, out.String())
	}
}

// command runs the command that a cure has after a text, on the server of the world.
func (w *world) command(cure string) {
	w.t.Helper()
	m := regexp.MustCompile(`ecrin (policy [^;]+)`).FindStringSubmatch(cure)
	if m == nil {
		w.t.Fatalf("the cure %q has no command", cure)
	}
	w.cli(append(strings.Fields(m[1]), "--data", w.server.Dir)...)
}

// puller returns a user of another account with the managed policy for pulls.
func (w *world) puller() apptest.Account {
	w.t.Helper()
	other := w.server.NewAccount(w.t, "111122223333")
	users := iam.New(iam.Options{Region: other.Region, BaseEndpoint: &w.server.URL, HTTPClient: w.server.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(other.KeyID, other.Secret, "")})
	_, err := users.CreateUser(w.t.Context(), &iam.CreateUserInput{UserName: aws.String("puller")})
	if err == nil {
		_, err = users.AttachUserPolicy(w.t.Context(), &iam.AttachUserPolicyInput{UserName: aws.String("puller"),
			PolicyArn: aws.String("arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly")})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := users.CreateAccessKey(w.t.Context(), &iam.CreateAccessKeyInput{UserName: aws.String("puller")})
	if err != nil {
		w.t.Fatal(err)
	}
	other.KeyID, other.Secret = *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey
	return other
}

// TestEachStepOfAPullBreaksAlone: each step, broken alone, is the first that fails, its text says what to do, and after
// that has been done the image
// can be pulled.
func TestEachStepOfAPullBreaksAlone(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		step, cure string
		breaks     func(w *world)
		mend       func(w *world, cure string)
	}{
		"a reference without a registry": {pull.Reference, "begin it with the host", func(w *world) { w.Image = "team/app:1.0" },
			func(w *world, _ string) { w.Image = "example.com/team/app:1.0" }},
		"a tag that is none": {pull.Reference, "a tag has letters", func(w *world) { w.Image = "example.com/team/app:a b" },
			func(w *world, _ string) { w.Image = "example.com/team/app:1.0" }},
		"a name without an address": {pull.Name, "hosts file", func(w *world) {
			good := w.Lookup
			asked := 0
			w.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
				if asked++; asked == 1 {
					return nil, errors.New("no such host")
				}
				return good(ctx, host)
			}
		}, func(*world, string) {}},
		"nothing listens": {pull.Connection, "start the server", func(w *world) {
			w.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection refused") }
		}, func(w *world, _ string) { w.Dial = w.dial }},
		"an authority that is not trusted": {pull.TLS, "ecrin trust install --ca", func(w *world) { w.Roots = x509.NewCertPool() },
			func(w *world, _ string) {
				ca, root := filepath.Join(w.t.TempDir(), "ca.pem"), w.t.TempDir()
				block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.front.Certificate().Raw})
				if err := os.WriteFile(ca, block, 0o600); err != nil {
					w.t.Fatal(err)
				}
				w.cli("trust", "install", "--ca", ca, "--for", "docker", "--root", root, "example.com")
				w.CertsDir = filepath.Join(root, "etc/docker/certs.d")
			}},
		"a name that the certificate does not have": {pull.TLS, "use a name that the certificate has",
			func(w *world) { w.Image = "other.test/team/app:1.0" }, func(w *world, _ string) { w.Image = "example.com/team/app:1.0" }},
		"no registry": {pull.Registry, "check the host", func(w *world) { w.page = true }, func(w *world, _ string) { w.page = false }},
		"no credential": {pull.Credential, "docker login --username AWS --password-stdin example.com",
			func(w *world) { _ = os.Remove(filepath.Join(w.DockerConfig, "config.json")) }, func(w *world, _ string) { w.login(w.root) }},
		"a configuration that is no JSON": {pull.Credential, "mend the file", func(w *world) {
			_ = os.WriteFile(filepath.Join(w.DockerConfig, "config.json"), []byte("{"), 0o600)
		}, func(w *world, _ string) { w.login(w.root) }},
		"a helper that is missing": {pull.Credential, "run it by hand", func(w *world) {
			_ = os.WriteFile(filepath.Join(w.DockerConfig, "config.json"), []byte(`{"credHelpers":{"example.com":"none"}}`), 0o600)
		}, func(w *world, _ string) { w.login(w.root) }},
		"a wrong password": {pull.Token, "log in again", func(w *world) { w.store("AWS", "wrong") },
			func(w *world, _ string) { w.login(w.root) }},
		"a token of another region": {pull.Token, "log in again", func(w *world) { w.login(w.root.In("eu-west-1")) },
			func(w *world, _ string) { w.login(w.root) }},
		"no permission in the other account": {pull.Permission,
			"ecrin policy grant pull team/app --to arn:aws:iam::111122223333:user/puller --apply",
			func(w *world) { w.login(w.puller()) }, func(w *world, cure string) { w.command(cure) }},
		"a repository that is missing": {pull.Image, "aws ecr create-repository --repository-name team/web",
			func(w *world) { w.Image = "example.com/team/web:1.0" },
			func(w *world, _ string) { w.root.CreateRepository(w.t, "team/web").Push(w.t, "1.0", w.image) }},
		"a tag that is missing": {pull.Image, "use a tag that exists, such as 1.0", func(w *world) { w.Image = "example.com/team/app:1.1" },
			func(w *world, _ string) { w.Image = "example.com/team/app:1.0" }},
		"another platform": {pull.Platform, "pull one of linux/amd64", func(w *world) { w.Platform = "linux/arm64" },
			func(w *world, _ string) { w.Platform = "linux/amd64" }},
		"a layer that is lost": {pull.Layers, "push the image again", func(w *world) {
			hash := strings.TrimPrefix(ocitest.SHA256(w.image.Layers[1]), "sha256:")
			if err := os.Remove(filepath.Join(w.server.Dir, "blobs/sha256", hash[:2], hash)); err != nil {
				w.t.Fatal(err)
			}
		}, func(w *world, _ string) { w.repo.PutBlob(w.t, w.image.Layers[1]) }},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c.breaks(w)
			steps := pull.Explain(t.Context(), w.Options)
			last := steps[len(steps)-1]
			if last.Passed || last.Name != c.step || !strings.Contains(last.Cure, c.cure) || last.Problem == "" {
				t.Fatalf("got %+v, want the step %s to fail, with %q", last, c.step, c.cure)
			}
			c.mend(w, last.Cure)
			for _, s := range pull.Explain(t.Context(), w.Options) {
				if !s.Passed {
					t.Errorf("after what it says was done: got %+v, want a pull", s)
				}
			}
		})
	}
}

// TestPullOfAnIndex: the image of the platform is selected from an index, and the other platforms are named when it has none for it.
func TestPullOfAnIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := w.image.Descriptor()
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,
		"platform":{"os":"linux","architecture":"arm64","variant":"v8"}}]}`, "application/vnd.oci.image.index.v1+json", entry.MediaType,
		entry.Digest, entry.Size)
	w.repo.PutManifest(t, "all", "application/vnd.oci.image.index.v1+json", []byte(index)).Want(t, http.StatusCreated)
	w.Image, w.Platform = "example.com/team/app:all", "linux/arm64"
	steps := pull.Explain(t.Context(), w.Options)
	if last := steps[len(steps)-1]; !last.Passed || last.Name != pull.Layers || last.Found != "2 can be read" {
		t.Errorf("got %+v, want both layers of the image for arm64", last)
	}
	w.Platform = "linux/amd64"
	steps = pull.Explain(t.Context(), w.Options)
	if last := steps[len(steps)-1]; last.Name != pull.Platform || !strings.Contains(last.Cure, "linux/arm64/v8") {
		t.Errorf("got %+v, want the platform to be missing, and linux/arm64/v8 named", last)
	}
}

// TestDeniedPullNamesTheStatement: the explanation of the server is a part of what is wrong.
func TestDeniedPullNamesTheStatement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	deny := `{"Version":"2012-10-17","Statement":[{"Sid":"NoPulls","Effect":"Deny","Principal":"*","Action":"ecr:BatchGetImage"}]}`
	if _, err := w.root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: &deny}); err != nil {
		t.Fatal(err)
	}
	asked := ""
	w.Options.Explain = func(_ context.Context, id string) string { asked = id; return "the statement NoPulls" }
	steps := pull.Explain(t.Context(), w.Options)
	last := steps[len(steps)-1]
	if last.Name != pull.Permission || !strings.Contains(last.Problem, "the statement NoPulls") ||
		!strings.Contains(last.Cure, "a statement denies it") || asked == "" {
		t.Errorf("got %+v and the request %q, want the denial with the server's explanation", last, asked)
	}
}
