package rancherapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/rancher"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// server is an ecrin with the API, and an access key.
type server struct {
	*apptest.Server
	key, secret string
}

func start(t *testing.T, o apptest.Options) *server {
	t.Helper()
	was := o.Config
	o.Config = func(c *config.Config) {
		c.RancherAPI = true
		if was != nil {
			was(c)
		}
	}
	s := &server{Server: apptest.Start(t, o)}
	root := s.Root(t)
	s.key, s.secret = root.KeyID, root.Secret
	return s
}

// environment adds an environment to the default account.
func (s *server) environment(t *testing.T, label string, hosts ...string) {
	t.Helper()
	s.Operator(t, "PutRancherEnvironment", ecrintypes.PutRancherEnvironmentRequest{EnvironmentName: label, Hosts: hosts},
		&ecrintypes.RancherEnvironmentResponse{})
}

// answer is an answer of the API.
type answer struct {
	status int
	header http.Header
	text   string
	object map[string]any
}

// objects are the data of a collection.
func (a answer) objects(t *testing.T) (all []map[string]any) {
	t.Helper()
	data, ok := a.object["data"].([]any)
	if a.status != http.StatusOK || !ok {
		t.Fatalf("got %d %s, want a collection", a.status, a.text)
	}
	for _, one := range data {
		all = append(all, one.(map[string]any))
	}
	return all
}

// send makes a request with the key of s, to a path or a URL.
func (s *server) send(t *testing.T, method, path, body string) answer {
	t.Helper()
	if strings.HasPrefix(path, "/") {
		path = s.URL + path
	}
	r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if s.key != "" {
		r.SetBasicAuth(s.key, s.secret)
	}
	return s.do(t, r)
}

func (s *server) do(t *testing.T, r *http.Request) answer {
	t.Helper()
	got, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close() //nolint:errcheck // it is only read
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: got.StatusCode, header: got.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.object) // a test that needs it looks
	return a
}

// as returns the server with the key of a new user who may do the actions of ecrin on a resource.
func (s *server) as(t *testing.T, user, resource string, actions ...string) *server {
	t.Helper()
	root := s.Root(t)
	c := iam.New(iam.Options{Region: root.Region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")})
	if _, err := c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &user}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecrin:%s"],"Resource":%q}]}`,
		strings.Join(actions, `","ecrin:`), resource)
	if _, err := c.PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &user, PolicyName: aws.String("p"),
		PolicyDocument: &text}); err != nil {
		t.Fatal(err)
	}
	key, err := c.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &user})
	if err != nil {
		t.Fatal(err)
	}
	return &server{s.Server, *key.AccessKey.AccessKeyId, *key.AccessKey.SecretAccessKey}
}

// A user may do what policies allow, in the environments that they name: an updater of one writes there, reads no secret, and nothing else.
func TestRights(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	s.environment(t, "staging", "node1")
	s.environment(t, "production", "node2")
	for _, at := range []string{"staging", "production"} {
		s.send(t, "POST", "/v1/projects/"+at+"/registries", `{"serverAddress":"a.example.com"}`)
		s.send(t, "POST", "/v1/projects/"+at+"/registrycredentials", `{"registryId":"1sp1","publicValue":"AWS","secretValue":"old"}`)
	}
	const staging = "arn:aws:ecrin::000000000000:rancher-environment/staging"
	updater := s.as(t, "updater", staging, "DescribeRancherEnvironments", "PutRancherCredential")
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1", "", 200},
		{"GET", "/v1/projects/staging/schemas", "", 200},
		{"GET", "/v1/projects/staging/registrycredentials", "", 200},
		{"PUT", "/v1/projects/staging/registrycredentials/1c2", `{"secretValue":"new"}`, 200},
		{"POST", "/v1/projects/staging/registries", `{"serverAddress":"b.example.com"}`, 403},
		{"DELETE", "/v1/projects/staging/registrycredentials/1c2", "", 403},
		{"DELETE", "/v1/projects/staging/registries/1sp1", "", 403},
		{"GET", "/v1/projects", "", 403},
		{"GET", "/v1/projects/production/registries", "", 403},
		{"GET", "/v1/projects/none/registries", "", 403},
		{"PUT", "/v1/projects/production/registrycredentials/1c2", `{"secretValue":"new"}`, 403},
	} {
		got := updater.send(t, c.method, c.path, c.body)
		if got.status != c.status || c.status == 403 && (got.object["code"] != "Forbidden" || !strings.Contains(got.text, "user/updater")) {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, got.status, got.text, c.status)
		}
	}
	if got, other := s.secrets(t, "staging", "node1"), s.secrets(t, "production", "node2"); got["a.example.com"] != "AWS:new" ||
		other["a.example.com"] != "AWS:old" {
		t.Errorf("the credentials are %v and %v, want a new one in staging alone", got, other)
	}
	// The audit trail has who did what to which environment, and no secret.
	var out ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", map[string]any{"maxResults": 100}, &out)
	text, err := json.Marshal(out)
	if err != nil || !bytes.Contains(text, []byte("PutRancherCredential")) || !bytes.Contains(text, []byte(staging)) ||
		bytes.Contains(text, []byte(`"new"`)) {
		t.Errorf("the audit trail is %s, %v", text, err)
	}
}

// The form of answers: an API with links, schemas, objects with links and without secrets, a life of a registry.
func TestLifeOfARegistry(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	s.environment(t, "staging", "node1", "node2")

	top := s.send(t, "GET", "/v1", "")
	if top.status != 200 || top.header.Get("X-API-Schemas") != s.URL+"/v1/schemas" || top.object["type"] != "apiVersion" {
		t.Fatalf("GET /v1: got %d %v %s", top.status, top.header, top.text)
	}
	methods := map[string]string{}
	collections := map[string]string{}
	for _, one := range s.send(t, "GET", top.header.Get("X-API-Schemas"), "").objects(t) {
		methods[one["id"].(string)] = fmt.Sprint(one["collectionMethods"], one["resourceMethods"])
		collections[one["id"].(string)] = one["links"].(map[string]any)["collection"].(string)
	}
	for kind, want := range map[string]string{"project": "[GET] [GET]", "host": "[GET] [GET]",
		"registry": "[GET POST] [GET PUT DELETE]", "registryCredential": "[GET POST] [GET PUT DELETE]"} {
		if methods[kind] != want {
			t.Errorf("the schema of %s has %s, want %s", kind, methods[kind], want)
		}
	}
	if got := s.send(t, "GET", collections["project"], "").objects(t); len(got) != 1 || got[0]["name"] != "staging" {
		t.Errorf("the projects are %v, want staging", got)
	}
	if got := s.send(t, "GET", collections["host"], "").objects(t); len(got) != 2 || got[1]["hostname"] != "node2" ||
		got[1]["state"] != "active" {
		t.Errorf("the hosts are %v, want node1 and node2", got)
	}
	if got := s.send(t, "GET", collections["registry"], ""); !strings.Contains(got.text, `"data":[]`) {
		t.Errorf("without registries: got %s, want an empty list", got.text)
	}

	made := s.send(t, "POST", collections["registry"], `{"serverAddress":"registry.example.com:5000","name":"ours","ignored":{"a":[1]}}`)
	if made.status != 201 || made.object["serverAddress"] != "registry.example.com:5000" || made.object["state"] != "active" {
		t.Fatalf("creating a registry: got %d %s", made.status, made.text)
	}
	id := made.object["id"].(string)
	with := s.send(t, "POST", collections["registryCredential"], fmt.Sprintf(
		`{"registryId":%q,"publicValue":"AWS","secretValue":"the-first-secret","email":"none"}`, id))
	if with.status != 201 || with.object["registryId"] != id || with.object["secretValue"] != nil {
		t.Fatalf("creating a credential: got %d %s", with.status, with.text)
	}
	self := with.object["links"].(map[string]any)["self"].(string)
	changed := s.send(t, "PUT", self, `{"secretValue":"the-second-secret"}`)
	if changed.status != 200 || changed.object["publicValue"] != "AWS" || changed.object["email"] != "none" {
		t.Errorf("changing a credential: got %d %s, want what was not sent as it was", changed.status, changed.text)
	}
	if got := s.secrets(t, "staging", "node1"); got["registry.example.com:5000"] != "AWS:the-second-secret" {
		t.Errorf("a host has the credentials %v, want the second", got)
	}
	// The row has the password sealed.
	account, err := name.ParseAccount(s.Running.Account)
	if err != nil {
		t.Fatal(err)
	}
	row, err := s.Meta().Object(t.Context(), account, meta.KindRancher, "staging")
	if err != nil || bytes.Contains(row.Sealed, []byte("-secret")) || strings.Contains(row.Settings, "-secret") || len(row.Sealed) == 0 {
		t.Errorf("the row has %s and %q, %v, want no password in it", row.Settings, row.Sealed, err)
	}
	for query, want := range map[string]int{"": 1, "?registryId=" + id: 1, "?registryId=1sp99": 0, "?limit=1": 1, "?sort=name": 1} {
		if got := s.send(t, "GET", collections["registryCredential"]+query, "").objects(t); len(got) != want {
			t.Errorf("credentials of %q: got %v, want %d", query, got, want)
		}
	}
	for _, path := range []string{"/v1", "/v1/schemas", "/v1/schemas/registry", "/v1/projects", "/v1/projects/staging",
		"/v1/registries", "/v1/registries/" + id, "/v1/registrycredentials", self, "/v1/projects/staging/registrycredentials", "/v1/hosts/node1",
		"/v1/projects/staging/projects"} {
		got := s.send(t, "GET", path, "")
		if got.status != 200 || strings.Contains(got.text, "-secret\"") {
			t.Errorf("GET %s: got %d %s, want 200 without a secret", path, got.status, got.text)
		}
	}
	if got := s.send(t, "PUT", "/v1/registries/"+id, `{"name":"theirs"}`); got.status != 200 || got.object["name"] != "theirs" {
		t.Errorf("naming a registry: got %d %s", got.status, got.text)
	}
	if got := s.send(t, "DELETE", self, ""); got.status != 200 || got.object["state"] != "removed" {
		t.Errorf("deleting a credential: got %d %s", got.status, got.text)
	}
	if got := s.send(t, "DELETE", "/v1/registries/"+id, ""); got.status != 200 || got.object["state"] != "removed" {
		t.Errorf("deleting a registry: got %d %s", got.status, got.text)
	}
	if got := s.send(t, "GET", "/v1/registries/"+id, ""); got.status != 404 || got.object["code"] != "NotFound" ||
		got.object["type"] != "error" {
		t.Errorf("a deleted registry: got %d %s", got.status, got.text)
	}
}

// secrets returns what a host gets: USER:PASSWORD by address.
func (s *server) secrets(t *testing.T, environment, host string) map[string]string {
	t.Helper()
	var out ecrintypes.RancherHostCredentialsResponse
	s.Operator(t, "GetRancherHostCredentials", ecrintypes.RancherHostRequest{EnvironmentName: environment, HostName: host}, &out)
	all := map[string]string{}
	for _, one := range out.Credentials {
		all[one.ServerAddress] = one.PublicValue + ":" + one.SecretValue
	}
	return all
}

// What is wrong with a request is said with the codes of Rancher, and changes nothing.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	if got := s.send(t, "GET", "/v1/registries", "").objects(t); len(got) != 0 {
		t.Errorf("an account without environments has the registries %v", got)
	}
	if got := s.send(t, "POST", "/v1/registries", `{"serverAddress":"a.example.com"}`); got.status != 404 ||
		!strings.Contains(got.text, "ecrin rancher add") {
		t.Errorf("without an environment: got %d %s, want how to add one", got.status, got.text)
	}
	s.environment(t, "staging")
	s.send(t, "POST", "/v1/registries", `{"serverAddress":"https://a.example.com"}`)
	s.send(t, "POST", "/v1/registrycredentials", `{"registryId":"1sp1","publicValue":"AWS","secretValue":"x"}`)
	before := s.send(t, "GET", "/v1/registries", "").text + s.send(t, "GET", "/v1/registrycredentials", "").text
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
	}{
		{"POST", "/v1/registries", `{"serverAddress":"a.example.com:443"}`, 422, "NotUnique"},
		{"POST", "/v1/registries", `{}`, 422, "InvalidFormat"},
		{"POST", "/v1/registries", `{"serverAddress":"no blanks"}`, 422, "InvalidFormat"},
		{"POST", "/v1/registries", `{"serverAddress":7}`, 422, "InvalidFormat"},
		{"POST", "/v1/registries", `[]`, 422, "InvalidFormat"},
		{"POST", "/v1/registries", `nonsense`, 422, "InvalidFormat"},
		{"POST", "/v1/registries", `{"serverAddress":"` + strings.Repeat("a", 40<<10) + `"}`, 400, "InvalidBodyContent"},
		{"PUT", "/v1/registries/1sp1", `{"serverAddress":"b.example.com"}`, 422, "InvalidFormat"},
		{"PUT", "/v1/registries/1sp9", `{"name":"x"}`, 404, "NotFound"},
		{"POST", "/v1/registrycredentials", `{"registryId":"1sp1","publicValue":"AWS","secretValue":"y"}`, 422, "NotUnique"},
		{"POST", "/v1/registrycredentials", `{"registryId":"1sp9","publicValue":"AWS","secretValue":"y"}`, 404, "NotFound"},
		{"POST", "/v1/registrycredentials", `{"publicValue":"AWS","secretValue":"y"}`, 422, "InvalidFormat"},
		{"PUT", "/v1/registrycredentials/1c9", `{"secretValue":"y"}`, 404, "NotFound"},
		{"PUT", "/v1/registrycredentials/1c2", `{"secretValue":"` + strings.Repeat("y", 9000) + `"}`, 422, "InvalidFormat"},
		{"DELETE", "/v1/registrycredentials/1c9", "", 404, "NotFound"},
		{"DELETE", "/v1/registries", "", 405, "MethodNotAllowed"},
		{"POST", "/v1/projects", `{"name":"x"}`, 405, "MethodNotAllowed"},
		{"POST", "/v1/hosts", `{"hostname":"x"}`, 405, "MethodNotAllowed"},
		{"POST", "/v1", `{}`, 405, "MethodNotAllowed"},
		{"GET", "/v1/stacks", "", 404, "NotFound"},
		{"GET", "/v1/registries/1sp1/x", "", 404, "NotFound"},
		{"GET", "/v1/projects/production", "", 404, "NotFound"},
		{"GET", "/v1/projects/production/registries", "", 404, "NotFound"},
		{"GET", "/v1/projects/no%2Fname/registries", "", 404, "NotFound"},
		{"GET", "/v1/projects/no%20name/registries", "", 422, "InvalidFormat"},
		{"GET", "/v1/schemas/stack", "", 404, "NotFound"},
	} {
		got := s.send(t, c.method, c.path, c.body)
		if got.status != c.status || got.object["code"] != c.code || got.object["type"] != "error" {
			t.Errorf("%s %s %.60s: got %d %s, want %d %s", c.method, c.path, c.body, got.status, got.text, c.status, c.code)
		}
	}
	if after := s.send(t, "GET", "/v1/registries", "").text + s.send(t, "GET", "/v1/registrycredentials", "").text; after != before {
		t.Errorf("refused requests have changed\n%s to\n%s", before, after)
	}
	// A form that a page of another site can send without asking.
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/registries", strings.NewReader(`{"serverAddress":"b.example.com"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(s.key, s.secret)
	r.Header.Set("Content-Type", "text/plain")
	if got := s.do(t, r); got.status != 422 {
		t.Errorf("a body of text/plain: got %d %s, want 422", got.status, got.text)
	}
	// With two environments, the URL must say which.
	s.environment(t, "production")
	if got := s.send(t, "GET", "/v1/registries", ""); got.status != 422 || !strings.Contains(got.text, s.URL+"/v1/projects/production") {
		t.Errorf("two environments: got %d %s, want a URL of one", got.status, got.text)
	}
	if got := s.send(t, "GET", "/v1/projects/staging/registries", "").objects(t); len(got) != 1 ||
		!strings.HasPrefix(got[0]["links"].(map[string]any)["self"].(string), s.URL+"/v1/projects/staging/registries/") {
		t.Errorf("the registries of staging are %v", got)
	}
}

// Without the setting nothing is served under /v1.
func TestOffByDefault(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{Config: func(c *config.Config) { c.RancherAPI = config.Default().RancherAPI }})
	for _, path := range []string{"/v1", "/v1/schemas", "/v1/registries"} {
		if got := s.send(t, "GET", path, ""); got.status/100 == 2 || got.header.Get("X-API-Schemas") != "" || got.object["type"] == "error" {
			t.Errorf("GET %s: got %d %v %s, want that of a server without this API", path, got.status, got.header, got.text)
		}
	}
}

// Callers without valid credentials get 401 before a byte of their body is read, and those without a right 403.
func TestCallers(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	s.environment(t, "staging")
	for _, c := range []struct{ key, secret string }{{"", ""}, {"AKIAAAAAAAAAAAAAAAAA", "x"}, {s.key, "wrong"}, {s.key, ""},
		{"AWS", s.secret}} {
		for _, path := range []string{"/v1", "/v1/schemas", "/v1/registries", "/v1/none"} {
			got := (&server{s.Server, c.key, c.secret}).send(t, "GET", path, "")
			if got.status != 401 || !strings.HasPrefix(got.header.Get("WWW-Authenticate"), "Basic ") || got.object["code"] != "Unauthorized" {
				t.Errorf("GET %s by %q: got %d %s, want 401", path, c.key, got.status, got.text)
			}
		}
	}
	// The account of the key that was named with a wrong secret sees that.
	var out ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", map[string]any{"eventName": "Authenticate"}, &out)
	if text, err := json.Marshal(out); err != nil || !bytes.Contains(text, []byte(s.key)) {
		t.Errorf("the audit trail has %s, %v, want the refused key %s", text, err, s.key)
	}
	body := &counted{Reader: bytes.NewReader(make([]byte, 32<<20))}
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/v1/registries", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Expect", "100-continue")
	if got := s.do(t, r); got.status != 401 || body.n.Load() > 0 {
		t.Errorf("a body of somebody without credentials: got %d, and %d bytes were asked for, want 401 and none", got.status, body.n.Load())
	}
	if got := s.send(t, "GET", "/v1/registries", "").objects(t); len(got) != 0 {
		t.Errorf("the registries are %v", got)
	}
}

type counted struct {
	io.Reader
	n atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// An account has a limited number of environments, and an environment of registries; that leaves other accounts alone.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	s.environment(t, "e0")
	for i := range 50 {
		if got := s.send(t, "POST", "/v1/registries", fmt.Sprintf(`{"serverAddress":"r%d.example.com"}`, i)); got.status != 201 {
			t.Fatalf("registry %d: got %d %s", i, got.status, got.text)
		}
	}
	if got := s.send(t, "POST", "/v1/registries", `{"serverAddress":"more.example.com"}`); got.status != 422 ||
		got.object["code"] != "MaxLimitExceeded" {
		t.Errorf("registry 51: got %d %s, want 422", got.status, got.text)
	}
	c, err := client.Open(s.Dir, "")
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 20; i++ {
		err := c.Call(t.Context(), "PutRancherEnvironment", ecrintypes.PutRancherEnvironmentRequest{EnvironmentName: fmt.Sprintf("e%d", i)},
			&ecrintypes.RancherEnvironmentResponse{})
		if (err != nil) != (i == 20) {
			t.Errorf("environment %d: got %v, want an error from the 21st on", i+1, err)
		}
	}
	other := s.NewAccount(t, "111122223333")
	if err := c.Call(t.Context(), "PutRancherEnvironment", ecrintypes.PutRancherEnvironmentRequest{AccountId: other.ID,
		EnvironmentName: "e"}, &ecrintypes.RancherEnvironmentResponse{}); err != nil {
		t.Errorf("an environment of another account: got %v", err)
	}
	theirs := &server{s.Server, other.KeyID, other.Secret}
	if got := theirs.send(t, "GET", "/v1/projects", "").objects(t); len(got) != 1 || got[0]["name"] != "e" {
		t.Errorf("the environments of another account are %v, want its own", got)
	}
	if got := theirs.send(t, "GET", "/v1/projects/e0/registries", ""); got.status != 404 {
		t.Errorf("an environment of another account: got %d %s, want 404", got.status, got.text)
	}
}

// Updaters that write at the same time write all.
func TestUpdatesAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	s.environment(t, "staging", "node1")
	var links []string
	for i := range 8 {
		id := s.send(t, "POST", "/v1/registries", fmt.Sprintf(`{"serverAddress":"r%d.example.com"}`, i)).object["id"]
		made := s.send(t, "POST", "/v1/registrycredentials", fmt.Sprintf(`{"registryId":%q,"publicValue":"AWS","secretValue":"old"}`, id))
		links = append(links, made.object["links"].(map[string]any)["self"].(string))
	}
	var all sync.WaitGroup
	for i, link := range links {
		all.Go(func() {
			if got := s.send(t, "PUT", link, fmt.Sprintf(`{"secretValue":"new%d"}`, i)); got.status != 200 {
				t.Errorf("credential %d: got %d %s", i, got.status, got.text)
			}
		})
	}
	all.Wait()
	got := s.secrets(t, "staging", "node1")
	for i := range links {
		if have := got[fmt.Sprintf("r%d.example.com", i)]; have != fmt.Sprintf("AWS:new%d", i) {
			t.Errorf("credential %d is %s, want the new one", i, have)
		}
	}
}

// Our own updater keeps an environment fresh by this API as it does a Rancher: it finds the entry, and makes it with AUTO_CREATE (K2, K3).
func TestOwnUpdater(t *testing.T) {
	t.Parallel()
	s := start(t, apptest.Options{})
	s.environment(t, "staging", "node1")
	at, err := url.Parse(s.URL + "/v1/projects/staging")
	if err != nil {
		t.Fatal(err)
	}
	source := &credential.AWS{Getenv: func(string) string { return "" },
		Credentials: credentials.NewStaticCredentialsProvider(s.key, s.secret, "")}
	log := &apptest.Buffer{}
	u := rancher.Updater{API: &rancher.Client{URL: at, Key: s.key, Secret: secret.New(s.secret)}, Log: slog.New(slog.NewTextHandler(log, nil)),
		Tokens: func(ctx context.Context) ([]credential.Credential, error) {
			return source.Registries(ctx, credential.Rule{Endpoint: s.URL, Region: s.Running.Region}, nil)
		}, Now: time.Now}
	if err := u.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := u.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "in the environment staging") {
		t.Errorf("without the entry: got %v, want the environment that lacks it", err)
	}
	u.Create = true
	if err := u.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, password, _ := strings.Cut(s.secrets(t, "staging", "node1")[s.Running.Address], ":")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("AWS", password)
	if got := s.do(t, r); got.status != http.StatusOK {
		t.Errorf("the registry answers %d to the credential of the host, want 200", got.status)
	}
	if strings.Contains(log.String(), password) || strings.Contains(s.Log.String(), password) {
		t.Error("a log has the password")
	}
}
