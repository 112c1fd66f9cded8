package awsapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

const (
	home      = "000000000000" // the default account
	region    = "us-east-1"
	ecrTarget = "AmazonEC2ContainerRegistry_V20150921."
)

// server is a complete server in this process, with a clock that the test can advance.
type server struct {
	*apptest.Server
	t   *testing.T
	url string
	key aws.Credentials // root of the default account

	failing bool // answers may say that the server failed

	mu    sync.Mutex
	ahead time.Duration // of the server's clock before the real one
}

// Restart also closes the idle connections to the stopped server, on which a later call would fail.
func (s *server) Restart(t testing.TB) {
	t.Helper()
	s.Server.Restart(t)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

// serve starts a server with the default configuration, changed by edit if that is not nil.
func serve(t *testing.T, edit func(*config.Config)) *server {
	t.Helper()
	s := &server{t: t}
	s.Server = apptest.Start(t, apptest.Options{Config: edit, Now: s.now})
	s.url = s.URL
	s.key = s.credentials("")
	return s
}

func (s *server) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.ahead)
}

// advance advances the clock of the server; a negative duration sets it back.
func (s *server) advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// operator calls an operation of ecrin as the operator. It must succeed.
func (s *server) operator(operation string, in, out any) {
	s.t.Helper()
	s.Operator(s.t, operation, in, out)
}

func (s *server) credentials(account string) aws.Credentials {
	s.t.Helper()
	var out ecrintypes.GetAccountCredentialsResponse
	s.operator("GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{AccountId: account}, &out)
	return aws.Credentials{AccessKeyID: out.AccessKey.AccessKeyId, SecretAccessKey: out.AccessKey.SecretAccessKey}
}

// account creates an account and returns the access key of its root user.
func (s *server) account(id string) aws.Credentials {
	s.t.Helper()
	s.operator("CreateAccount", &ecrintypes.CreateAccountRequest{AccountId: id}, &ecrintypes.CreateAccountResponse{})
	return s.credentials(id)
}

// httpClient returns a client that checks every answer of the signed APIs against the service models.
func (s *server) httpClient() *http.Client {
	if s.failing {
		return http.DefaultClient
	}
	return &http.Client{Transport: checker{s.t}}
}

func (s *server) sdk(key aws.Credentials) *ecr.Client {
	return ecr.New(ecr.Options{
		Region: region, BaseEndpoint: &s.url, HTTPClient: s.httpClient(), RetryMaxAttempts: 1,
		Credentials: credentials.StaticCredentialsProvider{Value: key},
	})
}

func (s *server) ecr() *ecr.Client { return s.sdk(s.key) }

func (s *server) sts() *sts.Client {
	return sts.New(sts.Options{
		Region: region, BaseEndpoint: &s.url, HTTPClient: s.httpClient(), RetryMaxAttempts: 1,
		Credentials: credentials.StaticCredentialsProvider{Value: s.key},
	})
}

// answer is the answer to a raw request.
type answer struct {
	Status  int
	Header  http.Header
	Body    string
	Type    string // __type of an error
	Message string
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.Status, a.Body) }

// raw is a request of which every part can be made invalid.
type raw struct {
	key     aws.Credentials
	target  string // X-Amz-Target
	body    string
	service string // of the scope; ecr when empty
	region  string // of the scope; us-east-1 when empty
	host    string // Host header; the server's address when empty
	at      time.Time
	before  func(*http.Request) // before signing
	after   func(*http.Request) // after signing
}

func (s *server) send(q raw) answer {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/", strings.NewReader(q.body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	if q.target != "" {
		r.Header.Set("X-Amz-Target", q.target)
	}
	if q.host != "" {
		r.Host = q.host
	}
	if q.before != nil {
		q.before(r)
	}
	if q.at.IsZero() {
		q.at = time.Now()
	}
	if q.key.AccessKeyID == identity.OperatorKeyID {
		ring, err := identity.LoadKeyring(s.Dir, "", false)
		if err != nil {
			s.t.Fatal(err)
		}
		once, err := client.Prove(s.t.Context(), s.HTTP, s.Running.URL, ring)
		if err != nil {
			s.t.Fatal(err)
		}
		r.Header.Set(identity.OnceHeader, once)
	}
	if q.key.AccessKeyID != "" {
		if err := v4.NewSigner().SignHTTP(s.t.Context(), q.key, r, hash(q.body), or(q.service, "ecr"), or(q.region, region), q.at); err != nil {
			s.t.Fatal(err)
		}
	}
	if q.after != nil {
		q.after(r)
	}
	return s.do(r)
}

func (s *server) do(r *http.Request) answer {
	s.t.Helper()
	resp, err := s.httpClient().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	if resp.StatusCode != http.StatusOK && strings.Contains(resp.Header.Get("Content-Type"), "json") {
		a.Type, a.Message = jsonError(body)
	}
	return a
}

// call calls an ECR operation with raw JSON as the root user of the default account.
func (s *server) call(operation, body string) answer {
	s.t.Helper()
	return s.send(raw{key: s.key, target: ecrTarget + operation, body: body})
}

// must is call for an operation that must succeed. It returns the decoded answer.
func (s *server) must(operation, body string) map[string]any {
	s.t.Helper()
	a := s.call(operation, body)
	var out map[string]any
	if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != http.StatusOK {
		s.t.Fatalf("%s %s: got %s, want 200", operation, clip(body), a)
	}
	return out
}

// wantError is call for an operation that must fail with the given exception and a message that contains text.
func (s *server) wantError(operation, body, exception, text string) answer {
	s.t.Helper()
	a := s.call(operation, body)
	a.want(s.t, operation+" "+clip(body), 400, exception, text)
	return a
}

func (a answer) want(t *testing.T, what string, status int, exception, text string) {
	t.Helper()
	if a.Status != status || a.Type != exception || !strings.Contains(a.Message, text) {
		t.Errorf("%s:\n got %d %s %q\nwant %d %s %q", what, a.Status, a.Type, a.Message, status, exception, text)
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// or returns s, or fallback if s is "".
func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

func jsonError(body []byte) (name, message string) {
	var e struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return "not JSON", string(body)
	}
	return e.Type, e.Message
}

// checker is a transport that checks every answer of the signed APIs against the service model: outputs against their
// shapes, errors against those that the operation declares, and the headers and statuses that clients need.
type checker struct{ t *testing.T }

var uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

func (j checker) RoundTrip(r *http.Request) (*http.Response, error) {
	target := r.Header.Get("X-Amz-Target")
	var form []byte
	if target == "" && r.Body != nil {
		form, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(form))
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || strings.HasPrefix(r.URL.Path, "/v2/") || strings.HasPrefix(r.URL.Path, "/layers/") {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if id := resp.Header.Get("X-Amzn-RequestId"); !uuid.MatchString(id) {
		j.t.Errorf("%s: x-amzn-RequestId is %q, want a UUID", target, id)
	}
	switch prefix, operation, _ := strings.Cut(target, "."); {
	case prefix+"." == ecrTarget:
		j.json("ecr", operation, resp, body)
	case prefix == ecrintypes.Service.TargetPrefix:
		j.json("ecrin", operation, resp, body)
	case strings.Contains(string(form)+r.URL.RawQuery, "Action=GetCallerIdentity") && resp.StatusCode == http.StatusOK:
		if err := awsmodel.CheckOutput("sts", "GetCallerIdentity", body); err != nil {
			j.t.Error(err)
		}
	}
	return resp, err
}

func (j checker) json(model, operation string, resp *http.Response, body []byte) {
	if got, want := resp.Header.Get("Content-Type"), "application/x-amz-json-1.1"; got != want {
		j.t.Errorf("%s: Content-Type %q, want %q", operation, got, want)
	}
	if resp.StatusCode == http.StatusOK {
		if err := awsmodel.CheckOutput(model, operation, body); err != nil {
			j.t.Errorf("%v in %s", err, body)
		}
		return
	}
	name, message := jsonError(body)
	if got := resp.Header.Get("X-Amzn-ErrorType"); got != name || name == "" {
		j.t.Errorf("%s: x-amzn-ErrorType %q, __type %q", operation, got, name)
	}
	if message == "" {
		j.t.Errorf("%s: %s without a message", operation, name)
	}
	if resp.StatusCode >= 500 {
		j.t.Errorf("%s: %d %s", operation, resp.StatusCode, body)
	}
	if name == "UnknownOperationException" {
		return // the model need not have the operation
	}
	if err := awsmodel.CheckError(model, operation, name); err != nil {
		j.t.Errorf("%v: %s", err, message)
	}
}
