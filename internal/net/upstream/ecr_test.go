package upstream_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// amazon is the API that gives tokens, and the registry's check of them, as ECR does it.
type amazon struct {
	now    func() time.Time
	mu     sync.Mutex
	issued int
	least  int           // tokens below this number have expired
	life   time.Duration // of a token
	answer func(w http.ResponseWriter) (done bool)
}

func (a *amazon) api(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answer != nil && a.answer(w) {
		return
	}
	if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken") ||
		!strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ecr/aws4_request") {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	a.issued++
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{map[string]any{
		"authorizationToken": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "AWS:canary-token-%d", a.issued)),
		"expiresAt":          float64(a.now().Add(a.life).Unix()), "proxyEndpoint": "https://foreign.test"}}})
}

// expire ends the tokens that were issued.
func (a *amazon) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.least = a.issued + 1
}

func (a *amazon) require(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		var number int
		_, err := fmt.Sscanf(p, "canary-token-%d", &number)
		a.mu.Lock()
		expired := number < a.least
		a.mu.Unlock()
		switch {
		case u != "AWS" || err != nil:
			w.Header().Set("WWW-Authenticate", `Basic realm="https://registry.test/",service="ecr.amazonaws.com"`)
			w.WriteHeader(http.StatusUnauthorized)
		case expired:
			answerError(w, http.StatusForbidden, "DENIED", "Your authorization token has expired. Reauthenticate and try again.")
		default:
			next(w, r)
		}
	}
}

func (n *internet) aws(change ...func(*upstream.AWS)) func(*upstream.Endpoint, *upstream.Limits) {
	return func(e *upstream.Endpoint, l *upstream.Limits) {
		anonymous(e, l)
		l.MaxPause = 10 * time.Millisecond
		e.Kind = upstream.ECR
		provider := credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "canary-secret-key", "")
		e.AWS = &upstream.AWS{Credentials: provider.Retrieve, Region: "eu-west-1",
			API: "https://" + n.addr("api"), STS: "https://" + n.addr("sts")}
		for _, f := range change {
			f(e.AWS)
		}
	}
}

// A token of ECR is got once, renewed before its end and when the registry says that it has expired, also in mid-copy.
func TestECRTokens(t *testing.T) {
	t.Parallel()
	n, m, im := newInternet(t), newMemory(), ocitest.NewImage(1, 10, 3000)
	m.add("v1", im)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	clock := func() time.Time { return time.Unix(0, now.Load()) }
	a := &amazon{now: clock, life: 12 * time.Hour}
	n.host("api", a.api)
	n.host("registry", a.require(m.serve))
	c := upstream.New(upstream.Options{Guard: n.guard, Limits: upstream.Limits{Chunk: 1000, Pause: time.Millisecond}, Now: clock})
	t.Cleanup(c.Close)
	e := upstream.Endpoint{Host: n.addr("registry")}
	n.aws()(&e, &upstream.Limits{})
	r, err := c.Registry(e)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, tokens int) {
		t.Helper()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := pull(t, r, "v1"); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			})
		}
		all.Wait()
		if got := len(n.lines("api")); got != tokens {
			t.Errorf("%s: got %d tokens, want %d", what, got, tokens)
		}
	}
	check("at first", 1)
	now.Add(int64(11*time.Hour + 44*time.Minute))
	check("16 minutes before the end", 1)
	now.Add(int64(2 * time.Minute))
	check("14 minutes before the end", 2)
	a.expire()
	check("after an expiry", 3)

	// In the middle of a blob, and of an upload in chunks.
	a.expire()
	var broken atomic.Bool
	m.before = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/blobs/") && !broken.Swap(true) {
			w.Header().Set("Content-Length", "3000")
			_, _ = w.Write(im.Layers[1][:1000])
			w.(http.Flusher).Flush()
			a.expire()
			panic(http.ErrAbortHandler)
		}
		return false
	}
	if _, err := read(t, r, ocitest.SHA256(im.Layers[1]), upstream.BlobOptions{Size: 3000}); err != nil {
		t.Errorf("a token that ends in mid-blob: %v", err)
	}
	u := &uploads{patched: 201}
	var once sync.Once
	n.host("registry", a.require(func(w http.ResponseWriter, r *http.Request) {
		u.serve(w, r)
		if r.Method == http.MethodPatch {
			once.Do(a.expire)
		}
	}))
	content := ocitest.Bytes(1, 3500)
	if err := r.Upload(t.Context(), "team/app", parse(t, ocitest.SHA256(content)), 3500, source(content)); err != nil || u.begun != 1 {
		t.Errorf("a token that ends in mid-upload: got %v after %d uploads, want success by one", err, u.begun)
	}
	n.checkCanaries(t, nil, "registry", "api")
	for host, never := range map[string]string{"registry": "secret-key", "api": "canary-token"} {
		for _, q := range n.requests(host) {
			if strings.Contains(q, never) || host == "api" && strings.Contains(q, "canary") {
				t.Errorf("%s received %s", host, q)
			}
		}
	}
	if lines := n.lines("foreign"); lines != nil {
		t.Errorf("the proxyEndpoint of the answer got the requests %q", lines)
	}
}

// A denial is not answered with token after token.
func TestECRDenies(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	a := &amazon{now: time.Now, life: time.Hour}
	n.host("api", a.api)
	n.host("registry", func(w http.ResponseWriter, _ *http.Request) {
		answerError(w, 403, "DENIED", "canary is not authorized")
	})
	r := n.registry(t, n.aws())
	for range 5 {
		_, err := r.Head(t.Context(), "team/app", "v1", nil)
		want(t, "a denial", err, upstream.Denied)
	}
	if got := len(n.lines("api")); got != 1 {
		t.Errorf("five denials: got %d tokens, want 1", got)
	}
}

func TestECRAPIFails(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	a := &amazon{now: time.Now, life: time.Hour}
	n.host("api", a.api)
	fail := func(status int, code string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.Header().Set("X-Amzn-ErrorType", code)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"__type":"`+code+`","message":"canary text"}`)
			return true
		}
	}
	text := func(s string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool { _, _ = io.WriteString(w, s); return true }
	}
	token := func(s string) func(http.ResponseWriter) bool {
		encoded := base64.StdEncoding.EncodeToString([]byte(s))
		return text(`{"authorizationData":[{"authorizationToken":"` + encoded + `","expiresAt":9999999999}]}`)
	}
	a.answer = fail(400, "ThrottlingException")
	_ = n.registry(t, n.aws()).Ping(t.Context()) // the error is checked below
	if got := len(n.lines("api")); got != 3 {
		t.Errorf("a token that is refused for the rate: got %d requests for it, want 3", got)
	}
	for what, c := range map[string]struct {
		answer func(http.ResponseWriter) bool
		reason upstream.Reason
		public string
	}{
		"AccessDeniedException":       {fail(400, "AccessDeniedException"), upstream.Denied, "AccessDeniedException"},
		"UnrecognizedClientException": {fail(400, "UnrecognizedClientException"), upstream.Unauthorized, "UnrecognizedClientException"},
		"ThrottlingException":         {fail(400, "ThrottlingException"), upstream.RateLimited, "ThrottlingException"},
		"ServerException":             {fail(500, "ServerException"), upstream.Unavailable, "ServerException"},
		"an unknown code":             {fail(400, "canary-code"), upstream.Unauthorized, "refused"},
		"HTML":                        {text("<html>canary"), upstream.Unavailable, "failed"},
		"no token":                    {text(`{"authorizationData":[]}`), upstream.Lied, ""},
		"another user":                {token("canary:x"), upstream.Lied, ""},
		"no base64":                   {text(`{"authorizationData":[{"authorizationToken":"canary?"}]}`), upstream.Lied, ""},
	} {
		a.mu.Lock()
		a.answer = c.answer
		a.mu.Unlock()
		e := want(t, what, n.registry(t, n.aws()).Ping(t.Context()), c.reason)
		if !strings.Contains(e.Public, c.public) {
			t.Errorf("%s: got %q, want %q in it", what, e.Public, c.public)
		}
	}
	for _, api := range []string{"https://169.254.169.254", "https://loop.test:" + n.port, "http://" + n.addr("api"), "https://unknown.test"} {
		r := n.registry(t, n.aws(func(a *upstream.AWS) { a.API = api }))
		want(t, "the API "+api, r.Ping(t.Context()), upstream.Refused)
	}
	if lines := n.lines("registry"); lines != nil {
		t.Errorf("the registry got the requests %q without a token", lines)
	}
}

// A role is assumed through the guard, and its session signs the request for the token.
func TestECRAssumesRole(t *testing.T) {
	t.Parallel()
	n, m := newInternet(t), newMemory()
	a := &amazon{now: time.Now, life: time.Hour}
	n.host("api", a.api)
	n.host("registry", a.require(m.serve))
	var form string
	n.host("sts", func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		form = r.PostForm.Encode()
		w.Header().Set("Content-Type", "text/xml")
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
			`<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>canary-session</SecretAccessKey><SessionToken>session-token</SessionToken>`+
			`<Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	r := n.registry(t, n.aws(func(a *upstream.AWS) {
		a.Roles, a.SessionName = []upstream.Role{{ARN: "arn:aws:iam::111122223333:role/pull", ExternalID: "external"}}, "test"
	}))
	if err := r.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"Action=AssumeRole", "ExternalId=external", "RoleSessionName=test", "role%2Fpull"} {
		if !strings.Contains(form, part) {
			t.Errorf("AssumeRole: got %s, want %s in it", form, part)
		}
	}
	if q := n.requests("api"); len(q) != 1 || !strings.Contains(q[0], "ASIAROLE/") || !strings.Contains(q[0], "session-token") {
		t.Errorf("the request for a token: got %q, want one by the session of the role", q)
	}
}

// A token is valid for every registry of its region, so that a host that is not one of ECR must be set with an API.
func TestECRHosts(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	provider := credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "canary-secret-key", "").Retrieve
	for host, ok := range map[string]bool{
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com":              true,
		"111122223333.dkr.ecr-fips.us-east-1.amazonaws.com":         true,
		"111122223333.dkr-ecr.eu-west-1.on.aws":                     true,
		"111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn":          true,
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com.foreign.test": false,
		"111122223333.dkr.ecr.eu-west-1.foreign.test":               false,
		"111122223333.dkr.ecr.eu-west-1.x.amazonaws.com":            false,
		"11112222333.dkr.ecr.eu-west-1.amazonaws.com":               false,
		"x111122223333.dkr.ecr.eu-west-1.amazonaws.com":             false,
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com:8443":         false,
		"111122223333xdkr.ecr.eu-west-1.amazonaws.com":              false,
		"foreign.test/111122223333.dkr.ecr.eu-west-1.amazonaws.com": false,
		"foreign.test":  false,
		"registry.test": false,
	} {
		_, err := n.client(t, quick).Registry(upstream.Endpoint{Host: host, Kind: upstream.ECR, AWS: &upstream.AWS{Credentials: provider}})
		if ok && err != nil {
			t.Errorf("the host %s: %v", host, err)
		} else if !ok {
			want(t, "the host "+host, err, upstream.Invalid)
		}
	}
	for what, e := range map[string]upstream.Endpoint{
		"no credentials": {Host: "a.test", Kind: upstream.ECR, AWS: &upstream.AWS{API: "https://a.test", Region: "eu-west-1"}},
		"no region":      {Host: "a.test", Kind: upstream.ECR, AWS: &upstream.AWS{API: "https://a.test", Credentials: provider}},
		"no AWS":         {Host: "a.test", Kind: upstream.ECR},
		"no kind":        {Host: "a.test", Kind: 9},
	} {
		_, err := n.client(t, quick).Registry(e)
		want(t, what, err, upstream.Invalid)
	}
}
