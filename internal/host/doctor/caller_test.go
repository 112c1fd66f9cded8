package doctor_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Credentials are reported as valid only if the server accepts them.
func TestCredentialsAreAskedOfTheServer(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	var root ecrintypes.GetAccountCredentialsResponse
	s.Operator(t, "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{}, &root)
	key, secret := root.AccessKey.AccessKeyId, root.AccessKey.SecretAccessKey
	env := map[string]string{}
	m := newMachine(t, "http", 0)
	m.o.URL, m.o.Account, m.o.Region, m.o.Dial, m.o.DataDir = s.URL, name.MustAccount("000000000000"), name.MustRegion("us-east-1"), nil, ""
	m.o.Getenv = func(k string) string { return env[k] }
	check := func(what string, want doctor.Status, text string) {
		t.Helper()
		for _, c := range m.run() {
			if c.Name == "AWS credentials" && (c.Status != want || !strings.Contains(c.Detail+c.Fix, text)) ||
				strings.Contains(c.Detail+c.Fix, secret) {
				t.Errorf("%s: got %+v, want %s and %q, and no secret", what, c, want, text)
			}
		}
	}
	env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"] = key, secret
	check("the root key", ok, "of arn:aws:iam::000000000000:root")
	env["AWS_SESSION_TOKEN"] = "stale"
	check("a stale session token", fail, `eval "$(ecrin env)"`)
	env["AWS_SESSION_TOKEN"], env["AWS_SECRET_ACCESS_KEY"] = "", "wrong"
	check("a wrong secret", fail, "SignatureDoesNotMatch")
	env["AWS_SECRET_ACCESS_KEY"] = secret
	s.Operator(t, "UpdateAccessKey", &ecrintypes.UpdateAccessKeyRequest{AccessKeyId: key,
		Status: ecrintypes.AccessKeyStatusINACTIVE}, &ecrintypes.UpdateAccessKeyResponse{})
	check("a disabled key", fail, "InvalidClientTokenId")

	// The aws CLI asks for the credentials of a profile, whatever their kind.
	clear(env)
	m.home(".aws/credentials", "[default]\naws_access_key_id = "+key+"\naws_secret_access_key = "+secret+"\n")
	check("a profile without the aws CLI", ok, "profile default")
	m.program("aws", "")
	var asked []string
	answer, failure := "arn:aws:iam::000000000000:user/ann\n", error(nil)
	m.o.Command = func(_ context.Context, path string, args ...string) (string, error) {
		if filepath.Base(path) != "aws" || args[0] != "sts" {
			return "", nil
		}
		asked = args
		return answer, failure
	}
	check("a profile", ok, "of arn:aws:iam::000000000000:user/ann")
	if got := strings.Join(asked, " "); !strings.Contains(got, "--endpoint-url "+s.URL+" ") {
		t.Errorf("the aws CLI ran with %q, want the endpoint %s", got, s.URL)
	}
	answer, failure = "An error occurred (InvalidClientTokenId)", errors.New("exit status 254")
	check("a profile with a dead key", fail, "InvalidClientTokenId")
}
