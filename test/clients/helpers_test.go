package clients_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// ecrLogin runs the current docker-credential-ecr-login, which supports AWS_ENDPOINT_URL.
func ecrLogin(s *session) {
	program := filepath.Join(workDir, "bin", "docker-credential-ecr-login")
	if got := s.cmd(program, "version").ok(); strings.Contains(got, "0.6") {
		s.t.Fatalf("the built helper has version %q, want the current one", got)
	}
	credentialHelper(s, program)
	if !s.s.plain {
		withCredHelper(s, "clients/ecr-login")
	}
}

// ecrLoginDebian runs version 0.6, which Debian packages. It has no endpoint setting, so that it works only
// with the real names; with the other server, only its refusal is checked.
func ecrLoginDebian(s *session) {
	t := s.t
	bin := mkdir(t, s.home, "bin")
	// The folder of the built clients is first on PATH and has the newer helper: it is skipped.
	var found string
	for _, dir := range filepath.SplitList(lookup(s.env, "PATH")) {
		if dir == filepath.Join(workDir, "bin") {
			continue
		}
		if p, err := lookPath("docker-credential-ecr-login", []string{"PATH=" + dir}); err == nil {
			found = p
			break
		}
	}
	if found == "" {
		t.Fatal("no packaged docker-credential-ecr-login on PATH; run tools/clients/install")
	}
	if s.s.plain {
		// The helper must refuse a host that is not ECR's.
		s.cmd(found, "get").stdin(s.host() + "\n").fails()
		return
	}
	credentialHelper(s, found)
	symlink(t, found, filepath.Join(bin, "docker-credential-ecr-login"))
	s.env = append(s.env, "PATH="+bin+":"+lookup(s.env, "PATH"))
	withCredHelper(s, "clients/ecr-login-debian")
}

// credentialHelper uses docker's helper protocol: a host as input, a user and a password as output.
func credentialHelper(s *session, program string) {
	s.t.Helper()
	host := account + ".dkr.ecr." + region + ".amazonaws.com"
	out := s.cmd(program, "get").with("AWS_ECR_DISABLE_CACHE=true").stdin(host + "\n").ok()
	cred := fromJSON[struct{ ServerURL, Username, Secret string }](s.t, out)
	if cred.Username != "AWS" || cred.ServerURL != host {
		s.t.Errorf("%s get: got user %q for %q, want AWS for %q", program, cred.Username, cred.ServerURL, host)
	}
	s.wantLogin(cred.Secret)
	s.cmd(program, "get").stdin("registry.example.com\n").fails()
}

// withCredHelper lets crane and skopeo log in by credHelpers in docker's configuration, without a login
// command.
func withCredHelper(s *session, repo string) {
	t := s.t
	img := theImage(t)
	containersConfig(s)
	ref := s.repo(repo)
	write(t, s.path(".docker/config.json"), toJSON(t, map[string]any{"credHelpers": map[string]string{s.host(): "ecr-login"}}))
	s.cmd("crane", "push", img.layout, ref+":v1").ok()
	s.cmd("skopeo", "copy", "--all", "--preserve-digests", "--src-authfile", s.path(".docker/config.json"),
		"docker://"+ref+":v1", "oci:"+s.path("back")+":v1").ok()
	if got := layoutDigest(t, s.path("back")); got != img.index {
		t.Errorf("skopeo copy with credHelpers: got %s, want %s", got, img.index)
	}
}

// kubeletProvider uses the credential-provider protocol as the kubelet does.
func kubeletProvider(s *session) {
	const repo = "clients/kubelet"
	s.repo(repo)
	s.wantLogin(kubeletPassword(s, repo))
}

// kubeletPassword returns the password that the kubelet's provider prints for an image of a repository.
func kubeletPassword(s *session, repo string) string {
	t := s.t
	t.Helper()
	host := account + ".dkr.ecr." + region + ".amazonaws.com"
	request := toJSON(t, map[string]string{
		"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderRequest", "image": host + "/" + repo + ":v1",
	})
	out := s.cmd("ecr-credential-provider", "get-credentials").stdin(request).ok()
	resp := fromJSON[struct {
		APIVersion, Kind, CacheKeyType, CacheDuration string
		Auth                                          map[string]struct{ Username, Password string }
	}](t, out)
	if resp.Kind != "CredentialProviderResponse" || resp.APIVersion != "credentialprovider.kubelet.k8s.io/v1" ||
		resp.CacheKeyType != "Registry" || !strings.HasPrefix(resp.CacheDuration, "5h59m") && resp.CacheDuration != "6h0m0s" {
		t.Errorf("provider printed %s %s, cache by %s for %s; want a v1 CredentialProviderResponse by Registry for half of 12h",
			resp.APIVersion, resp.Kind, resp.CacheKeyType, resp.CacheDuration)
	}
	if resp.Auth[host].Username != "AWS" {
		t.Fatalf("provider printed credentials of user %q of %s, want AWS", resp.Auth[host].Username, host)
	}
	return resp.Auth[host].Password
}

// TestHelpersPullOnly runs both helpers with the key of a user and with the keys of a role session that have
// only the rights of AmazonEC2ContainerRegistryPullOnly: their password can pull, and cannot push.
func TestHelpersPullOnly(t *testing.T) {
	root := rowSession(t)
	const repo = "helpers/app"
	ref := root.repo(repo)
	img := root.pushImage(repo, "v1")
	user := root.user("helpers-node")
	root.attach("helpers-node", "AmazonEC2ContainerRegistryPullOnly")
	root.role("helpers-node", map[string]any{"AWS": userARN(account, "helpers-node")}, "AmazonEC2ContainerRegistryPullOnly")
	for arn, node := range map[string]*session{
		userARN(account, "helpers-node"):                                 user,
		"arn:aws:sts::" + account + ":assumed-role/helpers-node/session": user.assumed("helpers-node"),
	} {
		// As the kubelet does: get the provider's password, then pull.
		node.storeLogin(kubeletPassword(node, repo))
		pulls := func(how string) {
			t.Helper()
			node.cmd("crane", "pull", "--format", "oci", ref+":v1", node.path(how)).ok()
			if got := layoutDigest(t, node.path(how)); got != img.index {
				t.Errorf("%s pulled by the %s's password: got %s, want %s", arn, how, got, img.index)
			}
		}
		pulls("provider")
		// docker and other clients run the helper themselves.
		write(t, node.path(".docker/config.json"), toJSON(t, map[string]any{"credHelpers": map[string]string{node.host(): "ecr-login"}}))
		pulls("helper")
		node.cmd("crane", "push", img.layout, ref+":v2").prints(denial(arn, "ecr:PutImage", repoARN(repo), noIdentityPolicy))
	}
}

// wantLogin checks that the default registry accepts a password.
func (s *session) wantLogin(password string) {
	s.t.Helper()
	if got := loginStatus(s.t, s.s, password); got != http.StatusOK {
		s.t.Errorf("GET /v2/ with that password: got status %d, want 200", got)
	}
}

// loginStatus returns the status of GET /v2/ of the default registry with a password; "" sends no password.
func loginStatus(t *testing.T, s *server, password string) int {
	t.Helper()
	base := s.url
	if !s.plain {
		base = "https://" + s.host(account, region)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", base+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if password != "" {
		req.SetBasicAuth("AWS", password)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
