package clients_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// ecrLogin is the present docker-credential-ecr-login, which obeys AWS_ENDPOINT_URL.
func ecrLogin(s *session) {
	program := filepath.Join(workDir, "bin", "docker-credential-ecr-login")
	if got := s.cmd(program, "version").ok(); strings.Contains(got, "0.6") {
		s.t.Fatalf("the built helper has version %q, want the present one", got)
	}
	credentialHelper(s, program)
	if !s.s.plain {
		withCredHelper(s, "clients/ecr-login")
	}
}

// ecrLoginDebian is the 0.6 that Debian ships. It has no endpoint setting, so it works under the real names only;
// on the other door there is nothing to prove.
func ecrLoginDebian(s *session) {
	t := s.t
	bin := mkdir(t, s.home, "bin")
	// The folder of the built clients comes first on PATH and holds the newer helper: leave it out.
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
		// It must at least refuse to hand out something for a host that is not ECR's.
		s.cmd(found, "get").stdin(s.host() + "\n").fails()
		return
	}
	credentialHelper(s, found)
	symlink(t, found, filepath.Join(bin, "docker-credential-ecr-login"))
	s.env = append(s.env, "PATH="+bin+":"+lookup(s.env, "PATH"))
	withCredHelper(s, "clients/ecr-login-debian")
}

// credentialHelper speaks the helper protocol of docker: a host in, a user and a password out.
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

// withCredHelper lets crane and skopeo log in through credHelpers of docker's configuration: no login command at all.
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

// kubeletProvider speaks the kubelet's side of the credential-provider protocol.
func kubeletProvider(s *session) {
	const repo = "clients/kubelet"
	s.repo(repo)
	s.wantLogin(kubeletPassword(s, repo))
}

// kubeletPassword is the password that the kubelet's provider gives for an image of a repository.
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
		t.Errorf("provider answered %s %s, cache by %s for %s; want a v1 CredentialProviderResponse by Registry for half of 12h",
			resp.APIVersion, resp.Kind, resp.CacheKeyType, resp.CacheDuration)
	}
	if resp.Auth[host].Username != "AWS" {
		t.Fatalf("provider answered for user %q of %s, want AWS", resp.Auth[host].Username, host)
	}
	return resp.Auth[host].Password
}

// TestHelpersPullOnly runs both helpers with the key of a user and with the keys of a role session, each with no right
// but those of AmazonEC2ContainerRegistryPullOnly: its password pulls, and pushes nothing.
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
		// As the kubelet's image service does it: the provider's password, then a pull.
		node.storeLogin(kubeletPassword(node, repo))
		pulls := func(how string) {
			t.Helper()
			node.cmd("crane", "pull", "--format", "oci", ref+":v1", node.path(how)).ok()
			if got := layoutDigest(t, node.path(how)); got != img.index {
				t.Errorf("%s pulled by the %s's password: got %s, want %s", arn, how, got, img.index)
			}
		}
		pulls("provider")
		// docker and others call the helper themselves.
		write(t, node.path(".docker/config.json"), toJSON(t, map[string]any{"credHelpers": map[string]string{node.host(): "ecr-login"}}))
		pulls("helper")
		node.cmd("crane", "push", img.layout, ref+":v2").prints(denial(arn, "ecr:PutImage", repoARN(repo), noIdentityPolicy))
	}
}

// wantLogin checks that a password opens the default registry.
func (s *session) wantLogin(password string) {
	s.t.Helper()
	if got := loginStatus(s.t, s.s, password); got != http.StatusOK {
		s.t.Errorf("GET /v2/ with that password: got status %d, want 200", got)
	}
}

// loginStatus is what GET /v2/ of the default registry answers to a password; "" sends none.
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
