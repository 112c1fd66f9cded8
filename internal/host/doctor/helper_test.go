package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The names of every registry in use are looked up, and those of IAM and STS only if they are wanted.
func TestNamesOfEveryRegistryInUse(t *testing.T) {
	t.Parallel()
	const check = "ECR names under amazonaws.com"
	m := newMachine(t, "https", 0)
	m.o.InUse = []name.Registry{
		{Account: name.MustAccount("222222222222"), Region: m.o.Region}, {Account: m.o.Account, Region: name.MustRegion("cn-north-1")},
	}
	m.pointHere()
	line := "echo '192.0.2.10 222222222222.dkr.ecr.eu-west-1.amazonaws.com 111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn " +
		"api.ecr.cn-north-1.amazonaws.com.cn ecr.cn-north-1.amazonaws.com.cn' | sudo tee -a /etc/hosts"
	m.expect(check, warn, line, "sudo ecrin hosts --write, or")
	for _, n := range []string{"222222222222.dkr.ecr.eu-west-1.amazonaws.com", "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn",
		"api.ecr.cn-north-1.amazonaws.com.cn", "ecr.cn-north-1.amazonaws.com.cn"} {
		m.names[n] = outside
	}
	delete(m.names, "sts.amazonaws.com")
	delete(m.names, "sts.eu-west-1.amazonaws.com")
	m.expect(check, ok)
	m.o.IAMSTS = true
	m.expect(check, warn, "sts.eu-west-1.amazonaws.com sts.amazonaws.com iam.amazonaws.com", "sudo ecrin hosts --write --with-iam-sts")
	m.o.InUse = nil
	for i := range 60 {
		account, err := name.ParseAccount(fmt.Sprintf("3333333333%02d", i))
		if err != nil {
			t.Fatal(err)
		}
		m.o.InUse = append(m.o.InUse, name.Registry{Account: account, Region: m.o.Region})
	}
	m.expect(check, warn, "and 23 more", "sudo ecrin hosts --write")
}

// The credential helper is run, not only looked for: it has the server's CA and valid keys, or the check fails.
func TestCredentialHelperIsRun(t *testing.T) {
	t.Parallel()
	const check, program = "ECR credential helper", "docker-credential-ecr-login"
	m := newMachine(t, "https", 0)
	m.program(program, "Version:    0.12.0")
	m.env["AWS_ENDPOINT_URL"] = m.o.URL
	m.expect(check, skip, "there are no credentials")
	m.env["AWS_ACCESS_KEY_ID"], m.env["AWS_SECRET_ACCESS_KEY"] = "AKIAEXAMPLE", "secret"
	var out, log string
	failure := error(nil)
	m.o.Helper = func(_ context.Context, path, input string) (string, error) {
		if filepath.Base(path) != program || input != registry {
			t.Errorf("got a call of %s for %q, want %s for %q", path, input, program, registry)
		}
		if log != "" {
			m.home(".ecr/log/ecr-login.log", log)
		}
		return out, failure
	}
	out = `{"ServerURL":"` + registry + `","Username":"AWS","Secret":"hunter2"}`
	m.expect(check, ok, "gets a password for "+registry)
	m.program(program, "docker-credential-ecr-login (development)") // built from its source
	m.expect(check, ok, "has no version, and gets a password")
	out, failure = "credentials not found in native keychain\n", errors.New("exit status 1")
	m.expect(check, fail, "credentials not found", newKeys)
	log = "time=1 level=debug msg=a\ntime=1 level=error msg=\"Error retrieving credentials\" error=\"Post \\\"" + m.o.URL +
		"/\\\": tls: failed to verify certificate: x509: certificate signed by unknown authority\"\n"
	m.expect(check, fail, "does not trust the server's certificate", "x509: certificate signed by unknown authority",
		"sudo ecrin trust install --for system", "export AWS_CA_BUNDLE="+m.o.CAPath)
	log = "time=1 level=error error=\"StatusCode: 400, api error InvalidSignatureException: no\"\n"
	m.expect(check, fail, "InvalidSignatureException", newKeys)
	m.expect(check, fail, "credentials not found", newKeys) // the log has no new line
	out, failure, log = `{"Username":"AWS","Secret":"hunter2"`, nil, ""
	m.expect(check, fail, "not that of a credential helper")
	for _, c := range m.run() {
		if strings.Contains(c.Detail+c.Fix, "hunter2") {
			t.Errorf("a password is shown: %+v", c)
		}
	}
	m.env["AWS_ENDPOINT_URL"] = "https://ecr.example.com"
	m.o.Helper = func(context.Context, string, string) (string, error) {
		t.Error("the helper is run though it calls another server")
		return "", nil
	}
	m.expect(check, skip, "see AWS endpoint for ecr")
}

// newKeys is part of the instruction for keys that the server refuses.
const newKeys = `eval "$(ecrin env)"`
