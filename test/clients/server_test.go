package clients_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A server is a running ecrin, with plain HTTP or TLS.
type server struct {
	dir     string
	plain   bool   // HTTP on localhost:PORT; otherwise HTTPS with the real ECR names
	url     string // the process's own URL: http://127.0.0.1:PORT or https://127.0.0.1:443
	address string // 127.0.0.1:PORT
	bundle  string // a PEM file with the server's CA and the machine's; "" if plain
	client  *http.Client
	stop    func() // stops the process before the end of the run; optional
}

// The two servers. Each starts when a test first uses it, and runs until the end of the run.
var (
	plainServer = sync.OnceValues(func() (*server, error) { return startServer("127.0.0.1:0") })
	namedServer = sync.OnceValues(func() (*server, error) {
		return startServer("127.0.0.1:443", "--tls=auto", "--tls-regions", region+","+otherRegion, "--tls-iam-sts",
			"--rancher-api")
	})
)

// startServer starts ecrin in a new folder, with a second account, for the tests that use another account.
func startServer(listen string, flags ...string) (*server, error) {
	dir, err := os.MkdirTemp(workDir, "data-")
	if err != nil {
		return nil, err
	}
	s, err := startServerIn(dir, listen, flags...)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("ecrin", "account", "create", otherAccount, "--data", s.dir).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("creating account %s: %w: %s", otherAccount, err, out)
	}
	return s, nil
}

func startServerIn(dir, listen string, flags ...string) (s *server, err error) {
	s = &server{dir: dir, plain: !slices.Contains(flags, "--tls=auto"), client: &http.Client{Transport: &http.Transport{}}}
	if err := os.Remove(filepath.Join(dir, "serve.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err // the file of an earlier server on the same folder
	}
	args := append([]string{"serve", "--data", dir, "--listen", listen}, flags...)
	s.stop, err = daemon(os.Environ(), s.ready, "ecrin", args...)
	return s, err
}

// ready returns nil if the server has written serve.json and /readyz returns 200.
func (s *server) ready() error {
	raw, err := os.ReadFile(filepath.Join(s.dir, "serve.json"))
	if err != nil {
		return err
	}
	var about struct{ URL, Address, Account, Region string }
	if err := json.Unmarshal(raw, &about); err != nil {
		return fmt.Errorf("serve.json %q: %w", raw, err)
	}
	if about.Account != account || about.Region != region {
		return fmt.Errorf("serve.json has %s in %s, want %s in %s", about.Account, about.Region, account, region)
	}
	s.url, s.address = about.URL, about.Address
	if !s.plain && s.bundle == "" {
		if err := s.trust(); err != nil {
			return err
		}
	}
	resp, err := s.client.Get(s.url + "/readyz")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz returns %s", resp.Status)
	}
	return nil
}

// trust makes the CA bundle for the clients of the TLS server, and the HTTP client of these tests.
func (s *server) trust() error {
	ca, err := os.ReadFile(filepath.Join(s.dir, "tls", "ca.pem"))
	if err != nil {
		return err
	}
	system, _ := os.ReadFile("/etc/ssl/certs/ca-certificates.crt") // optional: may be missing on a minimal machine
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("no certificate in %s/tls/ca.pem", s.dir)
	}
	bundle := filepath.Join(workDir, "bundle-"+strings.ReplaceAll(strings.Trim(s.dir, "/"), "/", "-")+".pem")
	if err := os.WriteFile(bundle, append(append(ca, '\n'), system...), 0o644); err != nil {
		return err
	}
	s.bundle = bundle
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return nil
}

// host returns the host of image names of a registry.
func (s *server) host(acct, region string) string {
	if s.plain {
		return strings.Replace(s.address, "127.0.0.1", "localhost", 1)
	}
	return acct + ".dkr.ecr." + region + ".amazonaws.com"
}

// ref returns the name of a repository of the default registry, as clients use it.
func (s *server) ref(repo string) string { return s.host(account, region) + "/" + repo }

// otherRef returns the name of a repository of another registry of this server, as clients use it.
func (s *server) otherRef(repo string) string {
	if s.plain {
		return s.host(otherAccount, otherRegion) + "/" + otherAccount + "/" + otherRegion + "/" + repo
	}
	return s.host(otherAccount, otherRegion) + "/" + repo
}

// root returns the output of `ecrin env --json` for an account: its root access key and the endpoint.
func (s *server) root(t *testing.T, acct string) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ecrin", "env", "--data", s.dir, "--account", acct, "--json").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("ecrin env --account %s: %v", acct, err)
	}
	env := map[string]string{}
	if err := json.Unmarshal(out, &env); err != nil {
		t.Fatalf("ecrin env --json printed %q: %v", out, err)
	}
	return env
}

// sdk returns the AWS SDK's client for ECR with the root key of an account. Only the plain server needs an
// endpoint.
func (s *server) sdk(t *testing.T, acct, region string) *ecr.Client {
	t.Helper()
	return s.sdkOf(t, region, s.root(t, acct))
}

// sdkOf returns the AWS SDK's client for ECR with the keys of an environment.
func (s *server) sdkOf(t *testing.T, region string, env map[string]string) *ecr.Client {
	t.Helper()
	options := []func(*config.LoadOptions) error{
		config.WithRegion(region),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(
			env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"])),
		config.WithSharedConfigFiles(nil), config.WithSharedCredentialsFiles(nil),
	}
	if s.plain {
		options = append(options, config.WithBaseEndpoint(env["AWS_ENDPOINT_URL"]))
	} else {
		pem, err := os.ReadFile(s.bundle)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, config.WithCustomCABundle(bytes.NewReader(pem)))
	}
	cfg, err := config.LoadDefaultConfig(t.Context(), options...)
	if err != nil {
		t.Fatal(err)
	}
	return ecr.NewFromConfig(cfg)
}

// createRepo creates a repository in the default registry.
func (s *server) createRepo(t *testing.T, repo string) {
	t.Helper()
	s.createIn(t, account, region, repo)
}

func (s *server) createIn(t *testing.T, acct, region, repo string) {
	t.Helper()
	in := &ecr.CreateRepositoryInput{RepositoryName: &repo}
	if _, err := s.sdk(t, acct, region).CreateRepository(t.Context(), in); err != nil {
		t.Fatalf("CreateRepository %s for %s in %s: %v", repo, acct, region, err)
	}
}

// password returns a new docker password of an account's root user, issued in a region.
func (s *server) password(t *testing.T, acct, region string) string {
	t.Helper()
	return s.tokenOf(t, s.sdk(t, acct, region))
}

// tokenOf returns a new docker password for the keys of the client.
func (s *server) tokenOf(t *testing.T, api *ecr.Client) string {
	t.Helper()
	out, err := api.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatalf("GetAuthorizationToken: %v", err)
	}
	if len(out.AuthorizationData) != 1 {
		t.Fatalf("GetAuthorizationToken: got %d entries, want 1", len(out.AuthorizationData))
	}
	data := out.AuthorizationData[0]
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	if err != nil {
		t.Fatalf("authorizationToken is not base64: %v", err)
	}
	user, password, _ := strings.Cut(string(plain), ":")
	if user != "AWS" || password == "" || strings.ContainsAny(password, ": \t\n") {
		t.Fatalf("authorizationToken holds user %q and a password of %d bytes (no colon, no blank allowed)", user, len(password))
	}
	if life := time.Until(aws.ToTime(data.ExpiresAt)); life < 11*time.Hour || life > 13*time.Hour {
		t.Errorf("expiresAt is %v ahead, want 12h", life)
	}
	return password
}

// manifest gets a manifest of the default registry by a plain HTTP request, without a client program. It
// returns the digest of the received bytes, after comparing it with the header, and the status.
func (s *server) manifest(t *testing.T, repo, reference string) (digest.Digest, int) {
	t.Helper()
	base := s.url
	if !s.plain {
		base = "https://" + s.host(account, region)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v2/"+repo+"/manifests/"+reference, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", s.password(t, account, region))
	req.Header.Set("Accept", strings.Join([]string{ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest,
		"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json"}, ", "))
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", resp.StatusCode
	}
	got := digest.FromBytes(body)
	if header := resp.Header.Get("Docker-Content-Digest"); header != got.String() {
		t.Errorf("GET %s: Docker-Content-Digest %q, but the bytes have %s", req.URL, header, got)
	}
	return got, resp.StatusCode
}

// wantManifest checks that the default registry serves the manifest with the digest want.
func (s *server) wantManifest(t *testing.T, repo, reference string, want digest.Digest) {
	t.Helper()
	if got, status := s.manifest(t, repo, reference); got != want {
		t.Errorf("manifest %s of %s: got %q (status %d), want %s", reference, repo, got, status, want)
	}
}

// wantGone checks that the default registry does not have a manifest any more.
func (s *server) wantGone(t *testing.T, repo, reference string) {
	t.Helper()
	if got, status := s.manifest(t, repo, reference); status != http.StatusNotFound {
		t.Errorf("manifest %s of %s after the delete: got %q (status %d), want 404", reference, repo, got, status)
	}
}

// get fetches a URL without adding credentials.
func (s *server) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", req.URL.Redacted(), resp.Status, body)
	}
	return body, err
}
