package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/test/dnstest"
)

// The region of the servers of these tests, whose names no other test has, and the addresses of both.
const (
	ownRegion = "eu-central-1"
	ownAt     = "127.0.0.7" // where the hosts file points the names
	awsAt     = "127.0.0.9" // where the DNS has them
)

// ownServer starts a server with the names of AWS of ownRegion on port 443 of an address.
func ownServer(t *testing.T, dir, at string, flags ...string) (stop func()) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, "serve.json")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	ready := func() error {
		_, err := os.Stat(filepath.Join(dir, "serve.json"))
		return err
	}
	args := append([]string{"serve", "--data", dir, "--listen", "127.0.0.1:0," + at + ":443", "--tls=auto", "--tls-regions", ownRegion,
		"--tls-iam-sts"}, flags...)
	stop, err := daemon(os.Environ(), ready, "ecrin", args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return stop
}

// TestIntegrationPastTheHostsFile: on a machine whose hosts file points the names of AWS at ecrin, an integration with AWS leads back to
// ecrin, which refuses the request and names the setting; with a name server in the setting, the integration and a cache of AWS reach AWS.
// Another server has the part of AWS.
func TestIntegrationPastTheHostsFile(t *testing.T) {
	t.Parallel()
	plain, err := plainServer()
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t, plain)
	names := []string{"api.ecr." + ownRegion + ".amazonaws.com", "sts." + ownRegion + ".amazonaws.com",
		account + ".dkr.ecr." + ownRegion + ".amazonaws.com"}
	hosts, err := os.OpenFile("/etc/hosts", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hosts.WriteString(ownAt + " " + strings.Join(names, " ") + "\n"); err != nil {
		t.Fatal(err)
	}
	if err := hosts.Close(); err != nil {
		t.Fatal(err)
	}
	answers := map[string][]string{}
	for _, n := range names {
		answers[n] = []string{awsAt}
	}
	dns := dnstest.Start(t, awsAt+":0", answers)

	aws, own := mkdir(t, s.home, "aws"), mkdir(t, s.home, "own")
	ownServer(t, aws, awsAt)
	keys := fromJSON[map[string]string](t, s.cmd("ecrin", "env", "--data", aws, "--json").ok())
	stop := ownServer(t, own, ownAt)
	both := s.path("both.pem")
	var authorities []byte
	for _, dir := range []string{aws, own} {
		ca, err := os.ReadFile(filepath.Join(dir, "tls/ca.pem"))
		if err != nil {
			t.Fatal(err)
		}
		authorities = append(authorities, ca...)
	}
	write(t, both, string(authorities))
	stop()
	settings := []string{"--egress-allow", "127.0.0.0/8", "--egress-ca", both, "--domain", "ecr.own.test"}
	stop = ownServer(t, own, ownAt, settings...)
	s.cmd("ecrin", "integration", "add", "aws", "--kind", "ecr", "--registry-id", account, "--region", ownRegion, "--access-key-id",
		keys["AWS_ACCESS_KEY_ID"], "--sts-endpoint", "https://sts."+ownRegion+".amazonaws.com", "--data", own).
		stdin(keys["AWS_SECRET_ACCESS_KEY"]).ok()
	loop := s.cmd("ecrin", "integration", "test", "aws", "--data", own).fails()
	if !strings.Contains(loop, "leads back to this installation") || !strings.Contains(loop, "egress_dns") {
		t.Errorf("without a name server: got %q, want that the name leads back, and the setting", loop)
	}
	for _, host := range []string{"ecr.own.test", account + ".dkr.ecr." + ownRegion + ".ecr.own.test"} {
		refused := s.cmd("ecrin", "integration", "add", "self", "--kind", "oci", "--registry-host", host, "--data", own).fails()
		if !strings.Contains(refused, "is one of this") {
			t.Errorf("an integration with the own name %s: got %q, want a refusal", host, refused)
		}
	}
	stop()
	ownServer(t, own, ownAt, append(settings, "--egress-dns", dns.Address.String())...)
	got := s.cmd("ecrin", "integration", "test", "aws", "--data", own, "--json").ok()
	if !strings.Contains(got, "arn:aws:iam::"+account+":root") || len(dns.Asked()) == 0 {
		t.Errorf("with a name server: got %q and the questions %v, want the caller at AWS", got, dns.Asked())
	}
}
