package pull_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
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
	t       *testing.T
	server  *apptest.Server
	root    apptest.Account
	repo    ocitest.Repo
	image   ocitest.Image
	front   *httptest.Server
	page    atomic.Bool // /v2/ is a page
	changed atomic.Bool // manifests have another line

	stopped atomic.Bool       // nothing listens
	hosts   string            // the hosts file
	env     map[string]string // variables of proxies
	ca      string            // PEM file of the authority
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
	proxy.ModifyResponse = func(r *http.Response) error {
		if w.changed.Load() && strings.Contains(r.Request.URL.Path, "/manifests/") {
			r.Body = io.NopCloser(io.MultiReader(r.Body, strings.NewReader("\n")))
			r.Header.Del("Content-Length")
			r.ContentLength = -1
		}
		return nil
	}
	w.front = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.page.Load() {
			http.NotFound(rw, r)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	w.front.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are broken on purpose
	w.front.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, "example.com", ecrHost)}}
	w.front.StartTLS()
	t.Cleanup(w.front.Close)
	roots := x509.NewCertPool()
	roots.AddCert(w.front.Certificate())
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	w.write(w.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.front.Certificate().Raw})))
	w.hosts, w.env = "127.0.0.1 example.com other.test\n127.0.0.1 "+ecrHost, map[string]string{}
	w.Options = pull.Options{
		Image: "example.com/team/app:1.0", Platform: "linux/amd64", DockerConfig: t.TempDir(), CertsDir: t.TempDir(), Roots: roots,
		Containerd: t.TempDir(), Lookup: w.lookup, Dial: w.dial, Proxy: w.fromEnvironment,
		Helper:  func(context.Context, string, string) (string, error) { return "", errors.New("it is not in PATH") },
		Explain: func(context.Context, string) string { return "" },
	}
	w.login(w.root)
	return w
}

// login stores a credential as docker login does.
func (w *world) login(a apptest.Account) { w.store("AWS", a.Password(w.t)) }

func (w *world) store(user, password string) {
	w.t.Helper()
	host, _, _ := strings.Cut(w.Image, "/")
	w.write(w.config(), fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password))))
}

// cli runs a command of ecrin, which must succeed, and returns what it prints.
func (w *world) cli(args ...string) string {
	w.t.Helper()
	var out strings.Builder
	none := func(string) (string, bool) { return "", false }
	if code := cli.Run(w.t.Context(), cli.Env{Args: args, Out: &out, Err: &out, Lookup: none}); code != 0 {
		w.t.Fatalf("ecrin %s: exit code %d: %s", strings.Join(args, " "), code, out.String())
	}
	return out.String()
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

// TestEachStepOfAPullBreaksAlone: each step, broken alone, is the first that fails; what its text says is done, by the commands in it, and
// the image can be pulled then.
func TestEachStepOfAPullBreaksAlone(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		step, cure string
		breaks     func(w *world)
	}{
		"a reference without a registry": {pull.Reference, "begin it with the host", func(w *world) { w.Image = "team/app:1.0" }},
		"a tag that is none":             {pull.Reference, "a tag has letters", func(w *world) { w.Image = "example.com/team/app:a b" }},
		"a hosts.toml that is no TOML": {pull.Mirror, "ecrin credential containerd --host example.com --write",
			func(w *world) { w.hostsTOML("server = ") }},
		"a hosts.toml with a server that is away": {pull.Mirror, "ecrin credential containerd --host example.com --write",
			func(w *world) { w.hostsTOML(`server = "https://away.test"`) }},
		"a hosts.toml with an authority that is missing": {pull.Mirror, "--ca CA.pem --write", func(w *world) {
			w.Roots = x509.NewCertPool() // so that the authority is needed
			w.hostsTOML("server = \"https://example.com\"\nca = \"none.pem\"")
		}},
		"a mirror whose address is none": {pull.Mirror, "ecrin credential containerd --host example.com --write",
			func(w *world) { w.hostsTOML("[host.\"https://a b\"]") }},
		"a proxy that is away": {pull.Proxy, "export NO_PROXY=", func(w *world) { w.env["HTTPS_PROXY"] = "http://away.test:3128" }},
		"a proxy that refuses": {pull.Proxy, "export NO_PROXY=", func(w *world) { w.env["HTTPS_PROXY"] = w.proxy("", http.StatusForbidden) }},
		"a proxy that has users": {pull.Proxy, "HTTPS_PROXY=http://USER:PASSWORD@",
			func(w *world) { w.env["HTTPS_PROXY"] = w.proxy("me:right", 200) }},
		"a name without an address": {pull.Name, "hosts file of this machine have example.com",
			func(w *world) { w.hosts = "127.0.0.1 other.test" }},
		"a name of ECR without an address": {pull.Name, "sudo ecrin hosts --account 000000000000 --region us-east-1 --address ADDRESS --write",
			func(w *world) { w.hosts = ""; w.rename(ecrHost) }},
		"nothing listens":                  {pull.Connection, "start the server", func(w *world) { w.stopped.Store(true) }},
		"an authority that is not trusted": {pull.TLS, "ecrin trust install --ca", func(w *world) { w.Roots = x509.NewCertPool() }},
		"a name that the certificate does not have": {pull.TLS, "use a name that the certificate has",
			func(w *world) { w.Image = "other.test/team/app:1.0" }},
		"no registry": {pull.Registry, "check the host", func(w *world) { w.page.Store(true) }},
		"no credential": {pull.Credential, "docker login --username AWS --password-stdin example.com",
			func(w *world) { _ = os.Remove(w.config()) }},
		"a configuration that is no JSON": {pull.Credential, "mend the file", func(w *world) { w.write(w.config(), "{") }},
		"a helper that is missing": {pull.Credential, "install docker-credential-none",
			func(w *world) { w.write(w.config(), `{"credHelpers":{"example.com":"none"}}`) }},
		"a wrong password":          {pull.Token, "log in again", func(w *world) { w.store("AWS", "wrong") }},
		"a token of another region": {pull.Token, "log in again", func(w *world) { w.login(w.root.In("eu-west-1")) }},
		"a token of another region for a name of ECR": {pull.Token, "get-login-password --region us-east-1",
			func(w *world) { w.rename(ecrHost); w.login(w.root.In("eu-west-1")) }},
		"no permission in the other account": {pull.Permission,
			"ecrin policy grant pull team/app --to arn:aws:iam::111122223333:user/puller --apply",
			func(w *world) { w.login(w.puller()) }},
		"a repository that is missing": {pull.Image, "aws ecr create-repository --repository-name team/web",
			func(w *world) { w.Image = "example.com/team/web:1.0" }},
		"a tag that is missing": {pull.Image, "use a tag that exists, such as 1.0", func(w *world) { w.Image = "example.com/team/app:1.1" }},
		"another platform":      {pull.Platform, "pull one of linux/amd64", func(w *world) { w.Platform = "linux/arm64" }},
		"a layer that is lost": {pull.Layers, "push the image again", func(w *world) {
			hash := strings.TrimPrefix(ocitest.SHA256(w.image.Layers[1]), "sha256:")
			if err := os.Remove(filepath.Join(w.server.Dir, "blobs/sha256", hash[:2], hash)); err != nil {
				w.t.Fatal(err)
			}
		}},
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
			w.follow(last.Cure)
			for _, s := range pull.Explain(t.Context(), w.Options) {
				if !s.Passed {
					t.Errorf("after what %q says was done: got %+v, want a pull", last.Cure, s)
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

// TestPullByAMirror: a mirror that has the image is used without a credential, with the host of the image; one that refuses, has not the
// image or is away is passed over, and the registry is used.
func TestPullByAMirror(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var asked atomic.Pointer[string]
	var status atomic.Int64
	target, err := url.Parse(w.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	password := w.root.Password(t)
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.SetBasicAuth("AWS", password) }}
	mirror := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		text := r.URL.Query().Get("ns") + " " + r.Header.Get("Authorization")
		asked.Store(&text)
		if code := int(status.Load()); code != 0 {
			rw.WriteHeader(code)
			return
		}
		proxy.ServeHTTP(rw, r)
	}))
	defer mirror.Close()
	w.hostsTOML(fmt.Sprintf("[host.\"https://away.test:1\"]\n[host.%q]\ncapabilities=[\"pull\",\"resolve\"]", mirror.URL))
	steps := pull.Explain(t.Context(), w.Options)
	if last := steps[len(steps)-1]; !last.Passed || last.Name != pull.Layers || *asked.Load() != "example.com " ||
		!strings.Contains(steps[1].Found, mirror.URL+" has the image") || !strings.Contains(steps[1].Found, "away.test:1 does not answer") {
		t.Errorf("got %+v and %q, want all layers by the mirror, without a credential", steps, *asked.Load())
	}
	for _, code := range []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusBadGateway} {
		status.Store(int64(code))
		steps = pull.Explain(t.Context(), w.Options)
		if last := steps[len(steps)-1]; !last.Passed || !strings.Contains(steps[1].Found, "example.com itself is used") ||
			!strings.Contains(steps[1].Found, fmt.Sprint(code)) {
			t.Errorf("a mirror that answers %d: got %+v, want the registry to be used", code, steps)
		}
	}
}

// TestPullByAProxy: a proxy of the environment that connects to the registry is used, and looks up the name.
func TestPullByAProxy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hosts, w.env["HTTPS_PROXY"] = "", w.proxy("", http.StatusOK)
	steps := pull.Explain(t.Context(), w.Options)
	if last := steps[len(steps)-1]; !last.Passed || last.Name != pull.Layers || !strings.Contains(steps[2].Found, w.env["HTTPS_PROXY"]) {
		t.Errorf("got %+v, want all layers by the proxy", steps)
	}
}

// TestPullOfAPod: the pull secrets of a pod are tried one after the other, and what the node says is the last step.
func TestPullOfAPod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	config := func(password string) []byte {
		return fmt.Appendf(nil, `{"auths":{"https://example.com":{"username":"AWS","password":%q}}}`, password)
	}
	const kind = "kubernetes.io/dockerconfigjson"
	pod := &pull.Pod{Namespace: "shop", Name: "web", ServiceAccount: "default", Node: "one", Secrets: []pull.PodSecret{
		{Name: "gone", Missing: true}, {Name: "old", Type: kind, Config: config("wrong")},
		{Name: "good", Type: kind, Config: config(w.root.Password(t))}}}
	w.Pod = pod
	last := func() pull.Step {
		t.Helper()
		steps := pull.Explain(t.Context(), w.Options)
		return steps[len(steps)-1]
	}
	if got := last(); !got.Passed || got.Name != pull.Node {
		t.Errorf("a good secret after a wrong one: got %+v, want a pull", got)
	}
	pod.Message = "dial tcp: lookup example.com: no such host"
	if got := last(); got.Passed || got.Name != pull.Node || !strings.Contains(got.Problem, "no such host") ||
		!strings.Contains(got.Cure, "on the node") {
		t.Errorf("a message of the node: got %+v, want the step of the node to fail with it", got)
	}
	pod.Pulled = true
	if got := last(); !got.Passed {
		t.Errorf("the image was pulled: got %+v", got)
	}
	// As the kubelet: a key may have * and a path of the repository, and the one with the longer path is tried first.
	for _, key := range []string{"*.com", "https://example.com/v1/team", "example.com/team/app"} {
		pod.Secrets[2].Config = fmt.Appendf(nil, `{"auths":{"example.com/other":{"auth":"eDp5"},%q:{"username":"AWS","password":%q}}}`, key,
			w.root.Password(t))
		if got := last(); !got.Passed {
			t.Errorf("a secret with the key %s: got %+v, want a pull", key, got)
		}
	}
	pod.Secrets = pod.Secrets[:2]
	if got := last(); got.Passed || got.Name != pull.Token || !strings.Contains(got.Problem, "old") ||
		!strings.Contains(got.Cure, "ecrin refresh kubernetes --once --registry example.com --namespace shop --service-account default --secret gone") {
		t.Errorf("without a good secret: got %+v", got)
	}
}

// TestPullOfAnotherContent: a manifest that something on the way has changed is refused by clients, by its digest in the reference and by
// the one that the registry says.
func TestPullOfAnotherContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	steps := pull.Explain(t.Context(), w.Options)
	at := slices.IndexFunc(steps, func(s pull.Step) bool { return s.Name == pull.Image })
	if at < 0 || !strings.HasPrefix(steps[at].Found, "sha256:") {
		t.Fatalf("got %+v, want the digest of the image", steps)
	}
	w.changed.Store(true)
	for _, image := range []string{w.Image, "example.com/team/app@" + steps[at].Found} {
		w.Image = image
		got := pull.Explain(t.Context(), w.Options)
		if last := got[len(got)-1]; last.Passed || last.Name != pull.Image || !strings.Contains(last.Problem, steps[at].Found) ||
			!strings.Contains(last.Cure, "proxy") {
			t.Errorf("%s: got %+v, want the step of the image to fail with its digest", image, last)
		}
	}
}
