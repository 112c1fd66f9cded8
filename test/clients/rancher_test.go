package clients_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// rancherURL returns the URL of the v1 API of an environment.
func (s *session) rancherURL(environment string) string {
	return "https://" + s.host() + "/v1/projects/" + environment
}

// environment adds an environment of Rancher with the host node1, and returns the ARN of it.
func (s *session) environment(label string) string {
	s.t.Helper()
	s.cmd("ecrin", "rancher", "add", label, "--host", "node1", "--data", s.s.dir).ok()
	return "arn:aws:ecrin::" + account + ":rancher-environment/" + label
}

// entry adds an entry of a registry to an environment, as one does in the user interface of Rancher, which calls the same API.
func (s *session) entry(environment, address, password string) {
	s.t.Helper()
	post := func(collection string, body map[string]string) map[string]any {
		s.t.Helper()
		return fromJSON[map[string]any](s.t, s.cmd("curl", "--silent", "--show-error", "--fail-with-body", "--cacert", s.s.bundle, "--user",
			lookup(s.env, "AWS_ACCESS_KEY_ID")+":"+lookup(s.env, "AWS_SECRET_ACCESS_KEY"), "--header", "Content-Type: application/json",
			"--data", toJSON(s.t, body), s.rancherURL(environment)+"/"+collection).ok())
	}
	registry := post("registries", map[string]string{"type": "registry", "serverAddress": address})
	post("registrycredentials", map[string]string{"type": "registryCredential", "registryId": registry["id"].(string), "email": "none",
		"publicValue": "AWS", "secretValue": password})
}

// node returns the session of a user who may read the credentials of an environment, as its host does.
func (s *session) node(environment, arn string) *session {
	s.t.Helper()
	return s.user(environment+"-node1", `{"Version":"2012-10-17","Statement":{"Effect":"Allow",`+
		`"Action":"ecrin:GetRancherHostCredentials","Resource":"`+arn+`"}}`)
}

// hostPasswords writes the credentials of the environment into the configuration of docker of a host, and returns the passwords by their
// registries.
func (s *session) hostPasswords(environment string) map[string]string {
	s.t.Helper()
	path := s.path(".docker/config.json")
	s.cmd("ecrin", "rancher", "dockerconfig", environment, "node1", "--file", path, "--url", s.s.url).ok()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]string{}
	for host, one := range fromJSON[struct {
		Auths map[string]struct{ Auth string }
	}](s.t, string(text)).Auths {
		both, err := base64.StdEncoding.DecodeString(one.Auth)
		if err != nil {
			s.t.Fatal(err)
		}
		_, all[host], _ = strings.Cut(string(both), ":")
	}
	return all
}

// stock is the updater with the libraries of the stock one, while it runs.
type stock struct {
	t     *testing.T
	in    io.Writer
	out   *bufio.Scanner
	first string // what it said after the turn of its start
	ping  string // URL
}

// startStock starts the updater in a session with the variables of the service in the guide.
func startStock(s *session, environment string, more ...string) *stock {
	t := s.t
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(address)
	path, err := lookPath("rancher-updater", s.env)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Env = append(append(s.env, "CATTLE_URL="+s.rancherURL(environment), "CATTLE_ACCESS_KEY="+lookup(s.env, "AWS_ACCESS_KEY_ID"),
		"CATTLE_SECRET_KEY="+lookup(s.env, "AWS_SECRET_ACCESS_KEY"), "AWS_REGION="+region, "LISTEN_PORT="+port), more...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // its end
		if err := cmd.Wait(); err != nil && t.Context().Err() == nil {
			t.Errorf("the updater: %v", err)
		}
	})
	u := &stock{t: t, in: in, out: bufio.NewScanner(out), ping: "http://" + address + "/ping"}
	u.first = u.line()
	return u
}

func (u *stock) line() string {
	u.t.Helper()
	if !u.out.Scan() {
		u.t.Fatalf("the updater ended: %v", u.out.Err())
	}
	return u.out.Text()
}

// again is the next turn, for which the stock updater waits 6 hours.
func (u *stock) again() string {
	u.t.Helper()
	if _, err := io.WriteString(u.in, "\n"); err != nil {
		u.t.Fatal(err)
	}
	return u.line()
}

// updaterPolicy is what an updater of an environment needs.
func updaterPolicy(arn string, more ...string) string {
	actions := append([]string{"ecrin:DescribeRancherEnvironments", "ecrin:PutRancherCredential"}, more...)
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},` +
		`{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"` + arn + `"}]}`
}

// tokensOf returns how many calls of GetAuthorizationToken a user has made.
func (s *session) tokensOf(user string) int {
	s.t.Helper()
	all := s.cmd("ecrin", "audit", "--event", "GetAuthorizationToken", "--principal", user, "--limit", "0", "--data", s.s.dir).ok()
	return strings.Count(all, "user/"+user)
}

// K1: somebody adds the entry of a registry by hand, and the docker engine of a host of the environment pulls with it. That the password
// ends after 12 hours, and what the host then sees, is in main/cli, whose clock moves.
func TestK1EntryByHandIsPulledWith(t *testing.T) {
	s := rowSession(t)
	const repo = "k1/app"
	ref, arn := s.repo(repo), s.environment("k1")
	img := s.pushImage(repo, "v1")
	s.entry("k1", "https://"+s.host(), s.password())
	node := withEngine(s.node("k1", arn))
	node.cmd("docker", "pull", ref+":v1").fails()
	node.hostPasswords("k1")
	node.pullOK(ref+":v1", img)
}

// K2: the updater gets one token for each turn and writes it into the entry; /ping answers; so it does at the next turn.
func TestK2StockUpdater(t *testing.T) {
	s := rowSession(t)
	arn := s.environment("k2")
	s.entry("k2", "https://index.docker.io/v1/", "of-another-registry")
	s.entry("k2", s.host(), "old")
	user, node := s.user("k2-updater", updaterPolicy(arn)), s.node("k2", arn)
	u := startStock(user, "k2")
	if u.first != "updated" {
		t.Fatalf("the first turn: got %q", u.first)
	}
	resp, err := http.Get(u.ping)
	if err != nil {
		t.Fatal(err)
	}
	pong, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(pong) != "pong!" {
		t.Errorf("/ping: got %q, %v, want pong!", pong, err)
	}
	first := node.hostPasswords("k2")
	s.wantLogin(first[s.host()])
	if got := u.again(); got != "updated" {
		t.Fatalf("the second turn: got %q", got)
	}
	second := node.hostPasswords("k2")
	s.wantLogin(second[s.host()])
	if first[s.host()] == second[s.host()] || second["index.docker.io"] != "of-another-registry" {
		t.Error("the second turn has changed nothing, or the entry of another registry")
	}
	if n := s.tokensOf("k2-updater"); n != 2 {
		t.Errorf("got %d calls of GetAuthorizationToken in two turns, want 2", n)
	}
	got := s.cmd("ecrin", "rancher", "show", "k2", "--json", "--data", s.s.dir).ok()
	if !strings.Contains(got, "not-really@required.anymore") || strings.Contains(got, second[s.host()]) {
		t.Errorf("the environment is %s, want the e-mail of the updater and no password", got)
	}
}

// K3: without the entry the updater says so; with AUTO_CREATE=true, registry and credential are there then.
func TestK3StockUpdaterWithoutEntry(t *testing.T) {
	s := rowSession(t)
	arn := s.environment("k3")
	user, node := s.user("k3-updater", updaterPolicy(arn)), s.node("k3", arn)
	if got, want := startStock(user, "k3").first, "failed: Failed to find Rancher registry to update for ECR Host: "+s.host(); got != want {
		t.Errorf("without the entry: got %q, want %q", got, want)
	}
	if got := startStock(user, "k3", "AUTO_CREATE=true").first; !strings.Contains(got, "not authorized to perform: ecrin:PutRancherRegistry") {
		t.Errorf("without the right to create: got %q, want the denial", got)
	}
	s.putUserPolicy("k3-updater", "policy-a", updaterPolicy(arn, "ecrin:PutRancherRegistry"))
	u := startStock(user, "k3", "AUTO_CREATE=true")
	if u.first != "updated" {
		t.Errorf("with AUTO_CREATE: got %q", u.first)
	}
	s.wantLogin(node.hostPasswords("k3")[s.host()])
	if got := u.again(); got != "updated" {
		t.Errorf("the turn after the creation: got %q", got)
	}
	if got := s.cmd("ecrin", "rancher", "show", "k3", "--data", s.s.dir).ok(); strings.Count(got, "REGISTRY ") != 1 {
		t.Errorf("the environment is\n%s\nwant one registry", got)
	}
}

// K4: with two accounts, one call gets both tokens, and both credentials are updated. An address may have https:// (K6).
func TestK4StockUpdaterOfTwoAccounts(t *testing.T) {
	s := rowSession(t)
	arn := s.environment("k4")
	hosts := map[string]string{account: s.s.host(account, region), otherAccount: s.s.host(otherAccount, region)}
	s.entry("k4", hosts[account], "old")
	s.entry("k4", "https://"+hosts[otherAccount], "old")
	user, node := s.user("k4-updater", updaterPolicy(arn)), s.node("k4", arn)
	if got := startStock(user, "k4", fmt.Sprintf("AWS_ECR_REGISTRY_IDS=%s,%s", account, otherAccount)).first; got != "updated" {
		t.Fatalf("got %q", got)
	}
	for acct, password := range map[string]string{account: node.hostPasswords("k4")[hosts[account]],
		otherAccount: node.hostPasswords("k4")[hosts[otherAccount]]} {
		s.wantLogin(password)
		if password == "old" {
			t.Errorf("the credential of %s was not updated", acct)
		}
	}
	if n := s.tokensOf("k4-updater"); n != 1 {
		t.Errorf("got %d calls of GetAuthorizationToken, want 1", n)
	}
}
