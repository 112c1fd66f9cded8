package clients_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const kubeletAPI = "credentialprovider.kubelet.k8s.io/v1"

type kubeletAnswer struct {
	APIVersion, Kind, CacheKeyType, CacheDuration string
	Auth                                          map[string]struct{ Username, Password string }
}

// withCredentialPrograms puts the names of ecrin as a helper and as a provider first on the PATH of a session, without a cache of others.
func withCredentialPrograms(s *session) {
	s.t.Helper()
	bin := mkdir(s.t, s.home, "names")
	s.cmd("ecrin", "credential", "install", bin).ok()
	s.env = append(s.env, "PATH="+bin+":"+lookup(s.env, "PATH"))
}

func kubeletRequest(t *testing.T, version, image string) string {
	t.Helper()
	return toJSON(t, map[string]string{"apiVersion": version, "kind": "CredentialProviderRequest", "image": image})
}

// K9: a v1 request gets the same answer from the stock provider and from that of ecrin, for the registry and half of 12 hours; v1beta1 is
// an error.
func TestK9KubeletProviders(t *testing.T) {
	s := rowSession(t)
	withCredentialPrograms(s)
	host := account + ".dkr.ecr." + region + ".amazonaws.com"
	for _, program := range []string{"ecr-credential-provider", "ecrin-credential-provider"} {
		out := s.cmd(program, "get-credentials").stdin(kubeletRequest(t, kubeletAPI, host+"/k9/app:v1")).ok()
		got := fromJSON[kubeletAnswer](t, out)
		if got.APIVersion != kubeletAPI || got.Kind != "CredentialProviderResponse" || got.CacheKeyType != "Registry" ||
			!strings.HasPrefix(got.CacheDuration, "5h59m") && got.CacheDuration != "6h0m0s" || got.Auth[host].Username != "AWS" {
			t.Errorf("%s: got %s %s by %s for %s, want a v1 response by Registry for about 6 hours", program, got.APIVersion, got.Kind,
				got.CacheKeyType, got.CacheDuration)
		}
		s.wantLogin(got.Auth[host].Password)
		out = s.cmd(program, "get-credentials").stdin(kubeletRequest(t, kubeletAPI+"beta1", host+"/k9/app:v1")).fails()
		if !strings.Contains(out, "v1beta1") || strings.Contains(out, "CredentialProviderResponse") {
			t.Errorf("%s: got %q for v1beta1, want a refusal of it", program, out)
		}
	}
}

// K10: for an image on HOST:PORT, the key of ecrin's answer has the port, and its password pulls; that of the stock provider has none.
func TestK10KubeletProviderKeepsThePort(t *testing.T) {
	t.Parallel()
	server, err := plainServer()
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t, server)
	withCredentialPrograms(s)
	const repo = "k10/app"
	ref := s.repo(repo)
	img := s.pushImage(repo, "v1")
	request := kubeletRequest(t, kubeletAPI, ref+":v1")
	got := fromJSON[kubeletAnswer](t, s.cmd("ecrin-credential-provider").stdin(request).ok())
	login := got.Auth[s.host()]
	if !strings.Contains(s.host(), ":") || login.Username != "AWS" {
		t.Fatalf("got the keys %v, want %s", got.Auth, s.host())
	}
	s.storeLogin(login.Password)
	s.cmd("crane", "pull", "--format", "oci", ref+":v1", s.path("back")).ok()
	if got := layoutDigest(t, s.path("back")); got != img.index {
		t.Errorf("pulled with that password: got %s, want %s", got, img.index)
	}
	// The stock one drops the port of a host of ECR, and knows no other host.
	_, port, _ := strings.Cut(s.host(), ":")
	named := account + ".dkr.ecr." + region + ".amazonaws.com:" + port
	out, _, err := s.cmd("ecr-credential-provider", "get-credentials").stdin(kubeletRequest(t, kubeletAPI, named+"/"+repo)).run()
	if err == nil && fromJSON[kubeletAnswer](t, out).Auth[named].Username != "" {
		t.Errorf("the stock provider keeps the port now: got %s", out)
	}
	ours := fromJSON[kubeletAnswer](t, s.cmd("ecrin-credential-provider").stdin(kubeletRequest(t, kubeletAPI, named+"/"+repo)).ok())
	if ours.Auth[named].Username != "AWS" {
		t.Errorf("got the keys %v, want %s", ours.Auth, named)
	}
}

// K11: the helper prints credentials for a host of the server, and for another one the text by which docker goes on, with the exit code 1.
func TestK11DockerCredentialHelper(t *testing.T) {
	s := rowSession(t)
	withCredentialPrograms(s)
	host := account + ".dkr.ecr." + region + ".amazonaws.com"
	type answer struct{ ServerURL, Username, Secret string }
	for _, program := range []string{"docker-credential-ecrin", "docker-credential-ecr-login"} {
		got := fromJSON[answer](t, s.cmd(program, "get").stdin(host+"\n").ok())
		if got.ServerURL != host || got.Username != "AWS" {
			t.Errorf("%s: got %s of %s, want AWS of %s", program, got.Username, got.ServerURL, host)
		}
		s.wantLogin(got.Secret)
		const unknown = "credentials not found in native keychain"
		if got := strings.TrimSpace(s.cmd(program, "get").stdin("ghcr.io\n").fails()); !strings.HasPrefix(got, unknown) {
			t.Errorf("%s: got %q for ghcr.io, want that no credentials are found", program, got)
		}
	}
	first := fromJSON[answer](t, s.cmd("docker-credential-ecrin", "get").stdin(host).ok())
	again := fromJSON[answer](t, s.cmd("docker-credential-ecrin", "get").stdin("https://"+host).ok())
	if first.Secret != again.Secret {
		t.Error("a second process got another token, want that of the cache")
	}
	s.cmd("docker-credential-ecrin", "erase").stdin(host).ok()
	if after := fromJSON[answer](t, s.cmd("docker-credential-ecrin", "get").stdin(host).ok()); after.Secret == first.Secret {
		t.Error("after erase: got the old token")
	}
	if got := s.cmd("docker-credential-ecrin", "list").ok(); got != `{"`+host+`":"AWS"}` {
		t.Errorf("list: got %s", got)
	}
	other := s.cmd("docker-credential-ecrin", "get").with("AWS_SECRET_ACCESS_KEY=wrong").stdin(host).fails()
	if !strings.Contains(other, "InvalidSignatureException") {
		t.Errorf("with another secret: got %q, want no token of the cache, and the reason", other)
	}
	request := kubeletRequest(t, kubeletAPI, host+"/x")
	if got := s.cmd("docker-credential-ecrin", "get").stdin(request).fails(); !strings.Contains(got, "this is a request of the kubelet") {
		t.Errorf("a request of the kubelet: got %q", got)
	}
}

// K12: docker pulls with only credHelpers set, and without a login. With an old login beside it, the doctor points at it.
func TestK12DockerPullsByTheHelper(t *testing.T) {
	s := withEngine(rowSession(t))
	withCredentialPrograms(s)
	const repo = "k12/app"
	ref := s.repo(repo)
	img := s.pushImage(repo, "v1")
	config := map[string]any{"credHelpers": map[string]string{s.host(): "ecrin"}}
	write(t, s.path(".docker/config.json"), toJSON(t, config))
	s.cmd("docker", "pull", ref+":v1").ok()
	if got := s.cmd("docker", "image", "inspect", "--format", "{{.RepoDigests}}", ref+":v1").ok(); !strings.Contains(got, img.index.String()) {
		t.Errorf("docker pull: got %s, want %s", got, img.index)
	}
	line := func() string {
		t.Helper()
		out, _, _ := s.cmd("ecrin", "doctor", "--data", s.s.dir).run() // other checks may fail here
		for l := range strings.Lines(out) {
			if strings.Contains(l, "docker credentials for "+s.host()) {
				return l
			}
		}
		t.Fatalf("the doctor has no line about the credentials:\n%s", out)
		return ""
	}
	if got := line(); !strings.HasPrefix(got, "ok") || !strings.Contains(got, "docker-credential-ecrin") {
		t.Errorf("the doctor, with the helper alone: got %q", got)
	}
	stale := base64.StdEncoding.EncodeToString([]byte("AWS:old"))
	config["auths"] = map[string]any{s.host(): map[string]string{"auth": stale}}
	write(t, s.path(".docker/config.json"), toJSON(t, config))
	if got := line(); !strings.HasPrefix(got, "warn") || !strings.Contains(got, "old login") {
		t.Errorf("the doctor, with an old login: got %q, want a warning", got)
	}
}

// K13: with the hosts.toml that ecrin writes, ctr pulls by the CA of the server, also by a mirror, which is asked with ?ns=.
func TestK13ContainerdHostFiles(t *testing.T) {
	s := rowSession(t)
	socket, err := containerdSocket()
	if err != nil {
		t.Fatal(err)
	}
	const repo = "k13/app"
	ref := s.repo(repo)
	img := s.pushImage(repo, "v1")
	dir, ca := s.path("certs.d"), filepath.Join(s.s.dir, "tls", "ca.pem")
	pull := func(ref string) string {
		t.Helper()
		// containerd's own process would trust the CA by its environment, so that ctr, which does not have it, makes the requests.
		out, errs, err := s.cmd("ctr", "--address", socket, "--namespace", cgroupParent()+"-k13", "images", "pull", "--hosts-dir", dir,
			"--snapshotter", "native", "--user", "AWS:"+s.password(), ref).
			with("SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", "AWS_CA_BUNDLE=").run()
		if err != nil {
			return out + errs + err.Error()
		}
		return s.cmd("ctr", "--address", socket, "--namespace", cgroupParent()+"-k13", "images", "list", "name=="+ref).ok()
	}
	if got := pull(ref + ":v1"); !strings.Contains(got, "x509") {
		t.Errorf("without hosts.toml: got %q, want that the certificate is not trusted", got)
	}
	s.cmd("ecrin", "credential", "containerd", "--host", s.host(), "--ca", ca, "--write", dir).ok()
	if got := pull(ref + ":v1"); !strings.Contains(got, img.index.String()) {
		t.Errorf("with hosts.toml: got %q, want %s", got, img.index)
	}
	// A name that is no server at all, whose images come from the mirror.
	s.cmd("ecrin", "credential", "containerd", "--host", "away.example.com", "--mirror", "https://"+s.host(), "--ca", ca, "--write", dir).ok()
	if got := pull("away.example.com/" + repo + ":v1"); !strings.Contains(got, img.index.String()) {
		t.Errorf("by the mirror: got %q, want %s", got, img.index)
	}
	address := "https://" + s.host() + "/v2/" + repo + "/manifests/v1?ns=away.example.com"
	request, err := http.NewRequestWithContext(t.Context(), http.MethodHead, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("AWS", s.password())
	answer, err := s.s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("Docker-Content-Digest"); got != img.index.String() {
		t.Errorf("with ?ns=: got %s %q, want %s", answer.Status, got, img.index)
	}
	if _, err := os.Stat(filepath.Join(dir, s.host(), "ca.pem")); err != nil {
		t.Error(err)
	}
}
