package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/event"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/hooktest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/pgtest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// sealedThings are clients with everything that depends on the master key.
type sealedThings struct {
	server  *apptest.Server
	root    apptest.Account
	docker  ocitest.Client // with a docker password
	session aws.Credentials
	hook    *hooktest.Receiver
	hookKey secret.String
	image   ocitest.Image
	pushes  int
}

// checked returns the configuration of a test's server.
func checked(t *testing.T, dir string, change func(*config.Config)) config.Checked {
	t.Helper()
	c := config.Default()
	c.Data, c.Listen = dir, []string{"127.0.0.1:0"}
	if change != nil {
		change(&c)
	}
	out, err := c.Check()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func makeSealed(t *testing.T, change func(*config.Config)) *sealedThings {
	t.Helper()
	r := hooktest.New(t)
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		local(r)(c)
		if change != nil {
			change(c)
		}
	}})
	v := &sealedThings{server: s, root: s.Root(t), hook: r, image: ocitest.NewImage(1, 1000)}
	v.root.CreateRepository(t, "team/app").Push(t, "1.0", v.image)
	v.docker = v.root.Docker(t)
	out, err := v.root.STS().GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	v.session = aws.Credentials{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey,
		SessionToken: *out.Credentials.SessionToken}
	v.hookKey = hook(t, s, "deploy", r.URL, `{"detail":{"action-type":["PUSH"]}}`)
	s.Operator(t, "PutSecret", &ecrintypes.PutSecretRequest{Name: "ecr-pullthroughcache/hub",
		SecretString: `{"username":"u","accessToken":"canary-of-upstream"}`}, &ecrintypes.SecretResponse{})
	s.Operator(t, "PutCloudIntegration", &ecrintypes.PutCloudIntegrationRequest{CloudName: "aws", Region: "eu-west-1",
		AwsAccessKeyId: "AKIAAAAAAAAAAAAAAAAA", AwsSecretAccessKey: "canary-of-cloud"}, &ecrintypes.CloudIntegrationResponse{})
	s.Operator(t, "CreateIntegration", &ecrintypes.CreateIntegrationRequest{IntegrationName: "mirror", Kind: "OCI",
		RegistryHost: "receiver.invalid", Username: "u", Password: "canary-of-integration"}, &ecrintypes.IntegrationResponse{})
	return v
}

// sessionWorks returns the error of a request with the temporary credentials.
func (v *sealedThings) sessionWorks(ctx context.Context) error {
	c := ecr.New(ecr.Options{Region: v.root.Region, BaseEndpoint: aws.String(v.server.URL), HTTPClient: v.server.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.StaticCredentialsProvider{Value: v.session}})
	_, err := c.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{})
	return err
}

// works checks that every sealed value opens, with clients that hold a docker password and temporary credentials if held.
func (v *sealedThings) works(t *testing.T, held bool) {
	t.Helper()
	if _, err := v.root.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{}); err != nil {
		t.Errorf("the access key: %v", err)
	}
	if err := v.sessionWorks(t.Context()); (err == nil) != held {
		t.Errorf("temporary credentials: got %v, want them valid: %t", err, held)
	}
	s := v.server
	s.Operator(t, "PutRuntime", &ecrintypes.PutRuntimeRequest{RuntimeName: "west", Version: "1.0.0"}, &ecrintypes.RuntimeResponse{})
	s.Operator(t, "UpdateIntegration", &ecrintypes.UpdateIntegrationRequest{IntegrationName: "mirror", Runtimes: []string{"west"}},
		&ecrintypes.IntegrationResponse{}) // keeps its secret, which it opens
	if resp := v.docker.Do(t, "GET", "/v2/team/app/manifests/1.0", nil); (resp.Status == 200) != held {
		t.Errorf("the docker password: got %d, want it valid: %t", resp.Status, held)
	}
	before := len(v.hook.All())
	v.pushes++
	v.root.Docker(t).Repo("team/app").Push(t, fmt.Sprint("again-", v.pushes), v.image)
	got := v.hook.Wait(t, "a push", func(all []hooktest.Got) bool { return len(all) > before })
	last := got[len(got)-1]
	if err := event.Verify(last.Signature, []byte(last.Body), time.Now(), event.SignatureTolerance, v.hookKey); err != nil {
		t.Errorf("the signature of the webhook: %v", err)
	}
	keys, err := identity.LoadKeyring(v.server.Dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	one, err := v.server.Meta().Secret(t.Context(), v.server.Registry(), "ecr-pullthroughcache/hub")
	if err != nil {
		t.Fatal(err)
	}
	if text, err := keys.OpenForeign(one.ARN(), one.Sealed); err != nil || !strings.Contains(text.Reveal(), "canary-of-upstream") {
		t.Errorf("the secret of an upstream: %v, want that it opens", err)
	}
}

// rotate stops the server, replaces its master key and starts it again.
func (v *sealedThings) rotate(t *testing.T, c config.Checked, r app.Rotation) app.Rotated {
	t.Helper()
	v.server.Stop(t)
	out, err := app.RotateMasterKey(t.Context(), c, r)
	if err != nil {
		t.Fatal(err)
	}
	v.server.Restart(t)
	return out
}

// anotherKey is in the error of a start with a master key that is not the one of the database.
const anotherKey = "sealed with the master key"

// starts returns the error of a start of a server.
func starts(t *testing.T, c config.Checked) error {
	t.Helper()
	a, err := app.New(t.Context(), c, slog.New(slog.DiscardHandler), time.Now)
	if err == nil {
		err = a.Close()
	}
	return err
}

// A new master key seals everything again: all clients go on, the earlier key opens nothing, and no value that it has sealed is left in
// the file of the database.
func TestNewMasterKey(t *testing.T) {
	t.Parallel()
	v := makeSealed(t, nil)
	c := checked(t, v.server.Dir, nil)
	file := filepath.Join(v.server.Dir, identity.KeyFile)
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before := sealedValues(t, v)
	if _, err := app.RotateMasterKey(t.Context(), c, app.Rotation{}); err == nil || !strings.Contains(err.Error(), "in use by another ecrin") {
		t.Errorf("while the server runs: got %v, want an error that says so", err)
	}
	out := v.rotate(t, c, app.Rotation{})
	if out.Before == out.MasterKey || out.File != file || out.Values["access_keys"] != 1 || out.Values["sessions"] != 1 ||
		out.Values["webhooks"] != 1 || out.Values["secrets"] != 1 {
		t.Errorf("got %+v, want a new key in %s and one value of each table", out, file)
	}
	v.works(t, true)
	v.rotate(t, c, app.Rotation{}) // what clients hold survives two of them
	v.works(t, true)
	v.server.Stop(t)
	database, err := os.ReadFile(filepath.Join(v.server.Dir, app.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range before {
		if bytes.Contains(database, value) {
			t.Error("a value that the earlier master key has sealed is still in the file of the database")
		}
	}
	fresh, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, old, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := starts(t, c); err == nil || !strings.Contains(err.Error(), anotherKey) || !strings.Contains(err.Error(), out.Before) {
		t.Errorf("a start with the earlier key: got %v, want an error with both ids", err)
	}
	if _, err := app.RotateMasterKey(t.Context(), c, app.Rotation{}); err == nil || !strings.Contains(err.Error(), anotherKey) {
		t.Errorf("a rotation with the earlier key: got %v, want an error", err)
	}
	if err := os.WriteFile(file, fresh, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(v.server.Dir, identity.NextKeyFile)); !os.IsNotExist(err) {
		t.Errorf("the file of the next key: got %v, want none", err)
	}
	v.server.Restart(t)
	v.rotate(t, c, app.Rotation{EndTokens: true})
	v.works(t, false)
	rotationLines(t, v.server, out, 3)
}

// rotationLines checks that the trail has a line for each of n rotations, the oldest of which had the result first.
func rotationLines(t *testing.T, s *apptest.Server, first app.Rotated, n int) {
	t.Helper()
	oldest := true
	var got ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{EventName: "RotateMasterKey", OldestFirst: &oldest}, &got)
	if len(got.Events) != n {
		t.Fatalf("the trail has %d lines of rotations, want %d: %s", len(got.Events), n, got.Events)
	}
	for _, part := range []string{`"serviceEventDetails":{"before":"` + first.Before + `","masterKey":"` + first.MasterKey + `"`,
		`"access_keys":1`, `"tokensEnded":false`, `"arn":"arn:aws:iam:::operator"`} {
		if !strings.Contains(got.Events[0], part) {
			t.Errorf("the first line is %s, want that it has %s", got.Events[0], part)
		}
	}
	if last := got.Events[n-1]; n > 1 && !strings.Contains(last, `"tokensEnded":true`) {
		t.Errorf("the last line is %s, want that it says that tokens were ended", last)
	}
}

// sealedValues returns sealed values of the database.
func sealedValues(t *testing.T, v *sealedThings) (all [][]byte) {
	t.Helper()
	m, r := v.server.Meta(), v.server.Registry()
	k, err := m.AccessKey(t.Context(), v.root.KeyID)
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Session(t.Context(), v.session.AccessKeyID)
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Webhook(t.Context(), r, "deploy")
	if err != nil {
		t.Fatal(err)
	}
	one, err := m.Secret(t.Context(), r, "ecr-pullthroughcache/hub")
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{k.SealedSecret, s.SealedSecret, w.Sealed, one.Sealed}
}

// A rotation that ends after any of its steps leaves an installation that starts, and the next rotation ends what was begun.
func TestNewMasterKeyAfterEachStep(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		v := makeSealed(t, nil)
		c := checked(t, v.server.Dir, nil)
		for _, last := range []string{"key", "database", "file"} {
			v.server.Stop(t)
			func() {
				defer func() { _ = recover() }()
				_, err := app.RotateMasterKey(t.Context(), c, app.Rotation{AfterStep: func(step string) {
					if step == last {
						panic("killed")
					}
				}})
				t.Errorf("the rotation was not ended after %s: %v", last, err)
			}()
			if again {
				out, err := app.RotateMasterKey(t.Context(), c, app.Rotation{})
				if err != nil || (out.Values == nil) != (last == "database") {
					t.Errorf("the rotation after one that ended after %s: got %+v, %v", last, out, err)
				}
			}
			v.server.Restart(t)
			v.works(t, true)
			keys, err := identity.LoadKeyring(v.server.Dir, "", false)
			if err != nil {
				t.Fatal(err)
			}
			marker, err := app.ReadMarker(v.server.Dir)
			if err != nil || marker.MasterKey != keys.ID() {
				t.Errorf("after a rotation that ended after %s: the marker has the key %s, %v, want %s", last, marker.MasterKey, err, keys.ID())
			}
		}
	}
}

// A value that does not open ends the rotation before it has changed anything.
func TestNewMasterKeyRefusesWhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	v := makeSealed(t, nil)
	w := meta.Webhook{Registry: v.server.Registry(), Name: "broken", Sealed: []byte("x")}
	if _, err := v.server.Meta().CreateWebhook(t.Context(), w, 0); err != nil {
		t.Fatal(err)
	}
	v.server.Stop(t)
	if _, err := app.RotateMasterKey(t.Context(), checked(t, v.server.Dir, nil), app.Rotation{}); err == nil ||
		!strings.Contains(err.Error(), `"broken"`) || !strings.Contains(err.Error(), "table webhooks") {
		t.Errorf("got %v, want an error that names the webhook", err)
	}
	v.server.Restart(t)
	v.works(t, true)
}

// The servers of a PostgreSQL database must be stopped. One that was overlooked stores nothing that is sealed with the earlier key,
// and is no longer ready; it works again with the new key.
func TestNewMasterKeyOfTwoProcesses(t *testing.T) {
	t.Parallel()
	url := secret.New(pgtest.Start(t).NewDatabase(t))
	change := func(c *config.Config) { c.Database = url }
	v := makeSealed(t, change)
	other := t.TempDir()
	key, err := os.ReadFile(filepath.Join(v.server.Dir, identity.KeyFile))
	if err == nil {
		err = os.WriteFile(filepath.Join(other, identity.KeyFile), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b := apptest.Start(t, apptest.Options{Dir: other, Config: change})
	v.server.Stop(t)
	c := checked(t, v.server.Dir, change)
	if _, err := app.RotateMasterKey(t.Context(), c, app.Rotation{}); err == nil || !strings.Contains(err.Error(), "stop all servers first") {
		t.Errorf("while another process runs: got %v, want an error that says so", err)
	}
	b.Stop(t)
	v.server.Restart(t)
	out := v.rotate(t, c, app.Rotation{})
	v.works(t, true)
	rotationLines(t, v.server, out, 1)
	if err := starts(t, checked(t, other, change)); err == nil || !strings.Contains(err.Error(), anotherKey) {
		t.Errorf("the other process with the earlier key: got %v, want an error", err)
	}
	if key, err = os.ReadFile(filepath.Join(v.server.Dir, identity.KeyFile)); err == nil {
		err = os.WriteFile(filepath.Join(other, identity.KeyFile), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b = apptest.Start(t, apptest.Options{Dir: other, Config: change})
	if resp, err := b.HTTP.Get(b.URL + "/readyz"); err != nil || resp.StatusCode != 200 {
		t.Errorf("the other process with the new key: got %v, %v, want that it is ready", resp, err)
	}
	// Its key is replaced behind its back.
	from, err := identity.LoadKeyring(other, "", false)
	if err != nil {
		t.Fatal(err)
	}
	b64 := make([]byte, 32)
	rand.Read(b64)
	to, err := identity.ParseKeyring(base64.StdEncoding.EncodeToString(b64), "the test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Rotate(t.Context(), v.server.Meta(), from, to, time.Now(), identity.Rotation{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); !strings.Contains(b.Log.String(), "was replaced by "+to.ID()); {
		time.Sleep(100 * time.Millisecond)
		if time.Now().After(deadline) {
			t.Fatal("the log of the process with the earlier key does not say that it was replaced")
		}
	}
	resp, err := b.HTTP.Get(b.URL + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != 503 {
		t.Errorf("the process with the earlier key: got %d, want that it is not ready", resp.StatusCode)
	}
}

// A key that is in the environment is replaced by one in the environment, and written to no file.
func TestNewMasterKeyInTheEnvironment(t *testing.T) {
	t.Parallel()
	v := makeSealed(t, nil)
	v.server.Stop(t)
	c, file := checked(t, v.server.Dir, nil), filepath.Join(v.server.Dir, identity.KeyFile)
	old, err := os.ReadFile(file)
	if err == nil {
		err = os.Remove(file)
	}
	if err != nil {
		t.Fatal(err)
	}
	present := strings.TrimSpace(string(old))
	if _, err := app.RotateMasterKey(t.Context(), c, app.Rotation{Present: present}); err == nil ||
		!strings.Contains(err.Error(), identity.NextKeyVariable) {
		t.Errorf("without a new key: got %v, want an error that asks for it", err)
	}
	b := make([]byte, 32)
	rand.Read(b)
	key := base64.StdEncoding.EncodeToString(b)
	for range 2 { // the second one finds that it was done
		if out, err := app.RotateMasterKey(t.Context(), c, app.Rotation{Present: present, Key: key}); err != nil || out.File != "" {
			t.Fatalf("got %+v, %v, want no file", out, err)
		}
	}
	entries, err := filepath.Glob(filepath.Join(v.server.Dir, "master.key*"))
	if err != nil || len(entries) > 0 {
		t.Errorf("the data directory has %v, %v, want no key", entries, err)
	}
	if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	v.server.Restart(t)
	v.works(t, true)
	if slices.Contains(strings.Fields(v.server.Log.String()), key) {
		t.Error("the key is in the log")
	}
}
