package report_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// users returns the IAM API of the account.
func (w *world) users() *iam.Client { return usersOf(w.Server, w.root) }

func usersOf(s *apptest.Server, a apptest.Account) *iam.Client {
	return iam.New(iam.Options{Region: a.Region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(a.KeyID, a.Secret, "")})
}

// user makes a user with the statements of a policy, and returns the CF_API_KEY of its access key.
func (w *world) user(t *testing.T, label string, statements ...string) string {
	t.Helper()
	c := w.users()
	_, err := c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &label})
	if err == nil {
		err = w.allow(t, label, statements...)
	}
	key, keyErr := c.CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &label})
	if err != nil || keyErr != nil {
		t.Fatal(err, keyErr)
	}
	return *key.AccessKey.AccessKeyId + ":" + *key.AccessKey.SecretAccessKey
}

// allow sets the policy of a user. Statements are ACTIONS RESOURCE.
func (w *world) allow(t *testing.T, label string, statements ...string) error {
	t.Helper()
	var all []map[string]any
	for _, s := range append(statements, "ecr:GetAuthorizationToken *") {
		actions, resource, _ := strings.Cut(s, " ")
		all = append(all, map[string]any{"Effect": "Allow", "Action": strings.Split(actions, ","), "Resource": resource})
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		return err
	}
	_, err = w.users().PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &label, PolicyName: aws.String("p"),
		PolicyDocument: aws.String(string(text))})
	return err
}

// A caller needs the permission for the report, those of a pull of the image, and that for each integration that it names; a denial
// stores nothing and says which action is missing.
func TestReportsAreDenied(t *testing.T) {
	t.Parallel()
	j, gl := newJira(t), newGitLab(t)
	w, image := pushed(t, j, gl)
	w.site(t, "tracker", "ISSUES", "jira", j.URL, "a@b.c", "jt")
	w.site(t, "lab", "GIT", "gitlab", gl.URL, "", "gl-token")
	key := w.user(t, "ci")
	variables := []string{"CF_API_KEY", key, "CF_GIT_INTEGRATION", "lab", "CF_GIT_REPO", "group/team/app", "CF_GIT_BRANCH", "feature/x",
		"CF_ISSUE_TRACKING_INTEGRATION", "tracker", "CF_JIRA_MESSAGE", "CR-1", "CF_JIRA_PROJECT_PREFIX", "CR"}
	var granted []string
	for _, next := range []struct{ denied, grant string }{
		{"ecrin:ReportImage", "ecrin:ReportImage arn:aws:ecrin::" + w.root.ID + ":report/" + w.host() + "/demo/*"},
		{"ecrin:UseIntegration", "ecrin:UseIntegration arn:aws:ecrin::" + w.root.ID + ":integration/lab"},
		{"integration/tracker", "ecrin:UseIntegration arn:aws:ecrin::" + w.root.ID + ":integration/tracker"},
		{"ecr:BatchGetImage", "ecr:BatchGetImage *"}, {"ecr:GetDownloadUrlForLayer", "ecr:GetDownloadUrlForLayer *"},
	} {
		w.report(t, image, variables...).want(t, 1, "AccessDenied", next.denied)
		granted = append(granted, next.grant)
		if err := w.allow(t, "ci", granted...); err != nil {
			t.Fatal(err)
		}
	}
	w.nothing(t)
	if n := j.count("") + gl.count(""); n != 0 {
		t.Errorf("providers were asked %d times for a caller who was denied", n)
	}
	w.report(t, image, variables...).want(t, 0)
	w.report(t, w.host()+"/other/app:1", variables...).want(t, 1, "AccessDenied", "ecrin:ReportImage") // not: that it does not exist
}

// The key of a caller is an access key, one of temporary credentials with its session token, or a docker password. Wrong, inactive and
// incomplete ones are refused, and so is who sends none.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	w, image := pushed(t)
	session, err := sts.New(sts.Options{Region: w.root.Region, BaseEndpoint: aws.String(w.URL), HTTPClient: w.HTTP, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(w.root.KeyID, w.root.Secret, "")}).
		GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	temporary := *session.Credentials.AccessKeyId + ":" + *session.Credentials.SecretAccessKey
	inactive := w.user(t, "gone", "ecrin:*,ecr:* *")
	id, _, _ := strings.Cut(inactive, ":")
	if _, err := w.users().UpdateAccessKey(t.Context(), &iam.UpdateAccessKeyInput{UserName: aws.String("gone"), AccessKeyId: &id,
		Status: "Inactive"}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, key string
		want      string // "" for success
	}{
		{"an access key", w.key(), ""}, {"temporary credentials", temporary + ":" + *session.Credentials.SessionToken, ""},
		{"a docker password", w.root.Password(t), ""},
		{"a wrong secret", w.root.KeyID + ":x", "status 401: SignatureMismatch"},
		{"an unknown key", "AKIAAAAAAAAAAAAAAAAA:x", "status 401: UnknownAccessKey"},
		{"temporary credentials without a token", temporary, "status 401: UnknownAccessKey"},
		{"the token of another key", w.key() + ":" + *session.Credentials.SessionToken, "status 401: UnknownAccessKey"},
		{"an inactive key", inactive, "status 401: UnknownAccessKey"},
		{"something else", "password", "status 401"},
	} {
		r := w.report(t, image, "CF_API_KEY", c.key)
		if c.want == "" {
			r.want(t, 0)
			continue
		}
		if r.want(t, 1, c.want); strings.Contains(r.err, w.root.Secret) {
			t.Errorf("%s: the error has the secret", c.what)
		}
	}
	resp, err := w.HTTP.Get(w.URL + "/app-proxy/api/image-report?CF_IMAGE=" + url.QueryEscape(image))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 401 || strings.Contains(string(body), "event:") {
		t.Errorf("no key: got %d %s, want 401 and no stream", resp.StatusCode, body)
	}
}

// CF_RUNTIME_NAME finds the ingress host by GraphQL, and the report is sent there. An integration whose scope does not have the runtime
// cannot be used there.
func TestReportByRuntime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	w.there.CreateRepository(t, "demo/app").Push(t, "1", built(1, "linux", "amd64", 100))
	to, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	ingress := httptest.NewTLSServer(&httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host
	}})
	t.Cleanup(ingress.Close)
	ca := filepath.Join(w.dir, "ingress.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ingress.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	runtime := func(label, host string) {
		t.Helper()
		w.Operator(t, "PutRuntime", ecrintypes.PutRuntimeRequest{RuntimeName: label, Version: "0.1.40", IngressHost: host},
			&ecrintypes.RuntimeResponse{})
	}
	runtime("west", ingress.URL)
	runtime("east", "https://east.example.com")
	runtime("bare", "")
	image := w.ecr.Host + "/demo/app:1"
	report := func(label, integration string) result {
		t.Helper()
		return run(t, map[string]string{"CF_API_KEY": w.key(), "CF_RUNTIME_NAME": label, "CF_PLATFORM_URL": w.URL, "CF_IMAGE": image,
			"CF_CONTAINER_REGISTRY_INTEGRATION": integration}, "report", "--ca", ca)
	}
	report("none", "aws").want(t, 1, "runtime 'none' does not exist")
	report("bare", "aws").want(t, 1, "ingress host is not defined on your 'bare' runtime")
	for name, runtimes := range map[string][]string{"ours": {"west"}, "theirs": {"east"}} {
		w.add(t, ecrintypes.CreateIntegrationRequest{IntegrationName: name, Kind: "ECR", RemoteRegistryId: w.there.ID,
			RemoteRegion: w.there.Region, AwsAccessKeyId: w.there.KeyID, AwsSecretAccessKey: w.there.Secret, Runtimes: runtimes})
	}
	report("west", "theirs").want(t, 1, "IntegrationNotFound", "is not for the runtime west")
	w.nothing(t)
	report("west", "ours").want(t, 0, "IMAGE_LINK=http", strings.TrimPrefix(ingress.URL, "https:")+"/2.0/images/")
	report("west", "aws").want(t, 0)
	runtime("west", "https://elsewhere.example.com")
	w.report(t, image, "CF_CONTAINER_REGISTRY_INTEGRATION", "theirs").want(t, 0) // the host of no runtime
}

// One caller makes four reports at once; others are not kept from theirs.
func TestOneCallerDoesNotTakeAllReports(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}, 8), make(chan struct{})
	slow := newProvider(t, func(*http.Request) string { return "" })
	slow.wait = func() {
		held <- struct{}{}
		<-release
	}
	slow.set("*", object{"key": "CR-1", "fields": object{"summary": "x"}})
	w, image := pushed(t, slow)
	greedy, other := w.user(t, "greedy", "ecrin:*,ecr:* *"), w.user(t, "other", "ecrin:*,ecr:* *")
	issue := append([]string{"CF_API_KEY", greedy}, jira(slow, "CR-1", "CR")...)
	var reports sync.WaitGroup
	for range 4 {
		reports.Go(func() {
			if r := w.report(t, image, issue...); r.code != 0 {
				t.Errorf("a report that was begun: got %d %s, want 0", r.code, r.err)
			}
		})
	}
	for range 4 {
		<-held
	}
	w.report(t, image, "CF_API_KEY", greedy).want(t, 1, "Throttled", "4 reports of this principal")
	w.report(t, image, "CF_API_KEY", other).want(t, 0)
	close(release)
	reports.Wait()
	w.report(t, image, "CF_API_KEY", greedy).want(t, 0)
}

// The users of one account make 16 reports at once together, of the 32 of the server; other accounts are not kept from theirs.
func TestOneAccountDoesNotTakeAllReports(t *testing.T) {
	t.Parallel()
	held, release := make(chan struct{}, 32), make(chan struct{})
	slow := newProvider(t, func(*http.Request) string { return "" })
	slow.wait = func() {
		held <- struct{}{}
		<-release
	}
	slow.set("*", object{"key": "CR-1", "fields": object{"summary": "x"}})
	w, image := pushed(t, slow)
	other := w.NewAccount(t, "111122223333")
	other.CreateRepository(t, "demo/app").Push(t, "1", built(1, "linux", "amd64", 100))
	theirs := []string{"CF_API_KEY", other.KeyID + ":" + other.Secret}
	foreign := w.host() + "/" + other.ID + "/" + other.Region + "/demo/app:1"
	var reports sync.WaitGroup
	end := sync.OnceFunc(func() {
		close(release)
		reports.Wait()
	})
	t.Cleanup(end) // also after a failure, for the provider waits for its requests
	begin := func(image, key string) {
		for range 4 {
			reports.Go(func() {
				if r := w.report(t, image, append([]string{"CF_API_KEY", key}, jira(slow, "CR-1", "CR")...)...); r.code != 0 {
					t.Errorf("a report that was begun: got %d %s, want 0", r.code, r.err)
				}
			})
		}
		for range 4 {
			<-held
		}
	}
	for i := range 4 {
		begin(image, w.user(t, fmt.Sprintf("greedy%d", i), "ecrin:*,ecr:* *"))
	}
	last := w.user(t, "last", "ecrin:*,ecr:* *")
	w.report(t, image, "CF_API_KEY", last).want(t, 1, "Throttled", "16 of its account")
	w.report(t, foreign, theirs...).want(t, 0)
	end()
	w.report(t, image, "CF_API_KEY", last).want(t, 0)
}

// shop is a registry that a test changes while a report reads it.
type shop struct {
	mu      sync.Mutex
	content map[string]func(w http.ResponseWriter) // by the last part of the path
	asked   map[string]int
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	s.asked[last]++
	switch answer := s.content[last]; {
	case r.URL.Path == "/v2/":
	case answer != nil:
		answer(w)
	default:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"unknown"}]}`)
	}
}

func (s *shop) set(last string, answer func(http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.content[last] = answer; answer == nil {
		delete(s.content, last)
	}
}

func document(mediaType string, body []byte) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Docker-Content-Digest", ocitest.SHA256(body))
		_, _ = w.Write(body)
	}
}

// An image may vanish between the steps of a report, and a registry may refuse or fail at each: the report fails with the reason, and
// nothing is stored.
func TestAnImageThatVanishes(t *testing.T) {
	t.Parallel()
	s := &shop{content: map[string]func(http.ResponseWriter){}, asked: map[string]int{}}
	p := newProvider(t, func(*http.Request) string { return "" })
	p.other = s
	w := newWorld(t, false, p)
	im := built(1, "linux", "amd64", 100)
	d := im.Descriptor()
	d.Platform = &ocitest.Platform{OS: "linux", Architecture: "amd64"}
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{d}}.JSON()
	host := strings.TrimPrefix(p.URL, "https://")
	w.add(t, ecrintypes.CreateIntegrationRequest{IntegrationName: "shop", Kind: "OCI", RegistryHost: host})
	steps := []struct {
		last, what string
		answer     func(http.ResponseWriter)
	}{
		{"1", "the index", document(ocitest.IndexType, index)},
		{im.Digest, "the manifest of a platform", document(ocitest.ImageType, im.Manifest)},
		{ocitest.SHA256(im.Config), "the configuration", document("application/octet-stream", im.Config)},
	}
	report := func() result {
		return w.report(t, host+"/demo/app:1", "CF_CONTAINER_REGISTRY_INTEGRATION", "shop")
	}
	for i, step := range steps {
		for _, before := range steps[:i] {
			s.set(before.last, before.answer)
		}
		report().want(t, 1, "ImageNotFound", host+"/demo/app:1")
		for status, want := range map[int]string{401: "does not let", 403: "does not let", 429: "limits the rate", 500: "cannot be read"} {
			s.set(step.last, func(w http.ResponseWriter) { w.WriteHeader(status) })
			if r := report().want(t, 1, "IntegrationFailed", want); t.Failed() {
				t.Fatalf("%s answers %d: %s", step.what, status, r.err)
			}
		}
		s.set(step.last, document("application/json", []byte("<html>")))
		report().want(t, 1)
		w.nothing(t)
	}
	for _, step := range steps {
		s.set(step.last, step.answer)
	}
	report().want(t, 0)
}
