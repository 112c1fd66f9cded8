package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDoctorRunsTheCredentialHelper: with the real helper, the doctor finds that it does not trust the CA, that the keys are wrong, or that
// it gets a password.
func TestDoctorRunsTheCredentialHelper(t *testing.T) {
	s := rowSession(t)
	helper := func(env ...string) string {
		t.Helper()
		out, _, err := s.cmd("ecrin", "doctor", "--data", s.s.dir).with(env...).run()
		for line := range strings.Lines(out) {
			if strings.Contains(line, "ECR credential helper") {
				return line
			}
		}
		t.Fatalf("ecrin doctor has no line about the credential helper (%v):\n%s", err, out)
		return ""
	}
	// The helper of these tests trusts the CA by SSL_CERT_FILE, which every program of Go reads; the machine's file does not have it.
	const bare = "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"
	for _, tc := range []struct {
		what string
		env  []string
		want string
	}{
		{"with the CA", nil, "ok"},
		{"with the CA by AWS_CA_BUNDLE alone", []string{bare}, "ok"},
		{"without the CA", []string{bare, "AWS_CA_BUNDLE="}, "FAIL"},
		{"with a wrong secret", []string{"AWS_SECRET_ACCESS_KEY=wrong"}, "FAIL"},
	} {
		line := helper(tc.env...)
		if !strings.HasPrefix(line, tc.want) || tc.what == "without the CA" && !strings.Contains(line, "x509") ||
			tc.what == "with a wrong secret" && !strings.Contains(line, "InvalidSignatureException") {
			t.Errorf("%s: got %q, want %s and the reason", tc.what, line, tc.want)
		}
	}
}

// TestHostsBlockResolves writes the block of ecrin hosts into the hosts file of the tests' namespace: the names of a region that was not
// in it resolve to the server, and do not any more after the removal.
func TestHostsBlockResolves(t *testing.T) {
	s := rowSession(t)
	const file = "/etc/hosts"
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"hosts", "--account", account, "--region", "ap-south-1", "--address", "127.0.0.1"}
	s.cmd("ecrin", append(args, "--write")...).ok()
	host := account + ".dkr.ecr.ap-south-1.amazonaws.com"
	if got := s.cmd("getent", "hosts", host).ok(); !strings.Contains(got, "127.0.0.1") {
		t.Errorf("getent hosts %s: got %q, want 127.0.0.1", host, got)
	}
	s.cmd("ecrin", "hosts", "--remove").ok()
	s.cmd("getent", "hosts", host).fails()
	after, err := os.ReadFile(filepath.Clean(file))
	if err != nil || string(after) != string(before) {
		t.Errorf("after the removal the file is\n%s\n%v, want\n%s", after, err, before)
	}
}
