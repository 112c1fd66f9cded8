package rancher_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/rancher"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ranchertest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// fronts are the handlers of the APIs of tests, by HOST:PORT. The proxy of the environment reaches them, and
// no port is opened.
var (
	fronts sync.Map
	ports  atomic.Int64
)

func TestMain(m *testing.M) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := fronts.Load(r.Host)
		if !ok {
			http.Error(w, "no such host", http.StatusBadGateway)
			return
		}
		h.(http.Handler).ServeHTTP(w, r)
	}))
	if err := os.Setenv("HTTP_PROXY", proxy.URL); err != nil {
		panic(err)
	}
	code := m.Run()
	proxy.Close()
	os.Exit(code)
}

// world is a server of ecrin, a Rancher, and an updater between them, whose clock tests move.
type world struct {
	*apptest.Server
	rancher *ranchertest.Server
	updater *rancher.Updater
	log     *apptest.Buffer
	ids     []string // AWS_ECR_REGISTRY_IDS
	domain  string   // of the ECR API and of the registries, with its port

	ahead atomic.Int64 // of the clock, in nanoseconds
	calls atomic.Int64 // of GetAuthorizationToken that were answered with 200
	away  atomic.Bool  // the ECR API cannot be reached
}

func (w *world) now() time.Time       { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *world) since() time.Duration { return time.Duration(w.ahead.Load()) }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{rancher: ranchertest.New(t), log: &apptest.Buffer{}}
	w.Server = apptest.Start(t, apptest.Options{Now: w.now})
	target, err := url.Parse(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	// The SDK corrects the times of its signatures by the date of answers.
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", w.now().UTC().Format(http.TimeFormat))
			if r.StatusCode == http.StatusOK && strings.HasSuffix(r.Request.Header.Get("X-Amz-Target"), ".GetAuthorizationToken") {
				w.calls.Add(1)
			}
			return nil
		},
	}
	name := fmt.Sprintf("localhost:%d", 5100+ports.Add(1))
	w.domain = name
	fronts.Store("api.ecr.us-east-1."+name, http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if w.away.Load() {
			panic(http.ErrAbortHandler) // ends the connection
		}
		proxy.ServeHTTP(out, r)
	}))
	// The first of two attempts gets the date. The SDK waits up to a second between them, which tells nothing while the API is away.
	dir := t.TempDir()
	for _, attempts := range []string{"1", "2"} {
		if err := os.WriteFile(filepath.Join(dir, attempts), []byte("[default]\nmax_attempts = "+attempts+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := w.Root(t)
	source := &credential.AWS{Getenv: func(string) string { return "" }, Now: w.now,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")}
	rule := credential.Rule{Endpoint: "http://api.ecr.us-east-1." + name, Region: root.Region, AWSConfigFile: filepath.Join(dir, "2")}
	w.updater = &rancher.Updater{
		API: w.client(t, "/v1"),
		Tokens: func(ctx context.Context) ([]credential.Credential, error) {
			rule := rule
			if w.away.Load() {
				rule.AWSConfigFile = filepath.Join(dir, "1")
			}
			return source.Registries(ctx, rule, w.ids)
		},
		Log: slog.New(slog.NewTextHandler(w.log, nil)), Now: w.now, Jitter: func() float64 { return 0 },
	}
	return w
}

// host returns the host of the registry of an account, as programs of the SDK get it.
func (w *world) host(account string) string {
	return account + ".dkr.ecr." + w.Running.Region + "." + w.domain
}

func (w *world) client(t *testing.T, path string) *rancher.Client {
	t.Helper()
	at, err := url.Parse(w.rancher.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return &rancher.Client{URL: at, Key: ranchertest.AccessKey, Secret: secret.New(ranchertest.SecretKey)}
}

// run runs the updater until the clock is at a time. Between its attempts it moves the clock and calls each.
func (w *world) run(t *testing.T, until time.Duration, each func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w.updater.Wait = func(ctx context.Context, d time.Duration) error {
		if each != nil {
			each()
		}
		if w.since() >= until {
			stop()
		}
		w.ahead.Add(int64(d))
		return ctx.Err()
	}
	if err := w.updater.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("the updater ended: %v", err)
	}
}

// login returns the status of the registry for user name and password, joined by a colon.
func (w *world) login(t *testing.T, both string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	user, password, _ := strings.Cut(both, ":")
	r.SetBasicAuth(user, password)
	answer, err := w.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// get returns what the updater answers to a path.
func (w *world) get(path string) (int, string) {
	answer := httptest.NewRecorder()
	w.updater.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
	return answer.Code, answer.Body.String()
}

// An ecrin at an address without names of registries: its own address is that of the registry, and no entry of AWS gets its token.
func TestEndpointWithoutNames(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root, f := s.Root(t), ranchertest.New(t)
	const aws = ".dkr.ecr.us-east-1.amazonaws.com"
	f.Add(root.ID+aws, "active")
	f.Add("https://"+s.Running.Address, "active")
	source := &credential.AWS{Getenv: func(string) string { return "" },
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "")}
	u := rancher.Updater{API: (&world{rancher: f}).client(t, "/v1"), Log: slog.New(slog.DiscardHandler),
		Tokens: func(ctx context.Context) ([]credential.Credential, error) {
			return source.Registries(ctx, credential.Rule{Endpoint: s.URL, Region: root.Region}, nil)
		}}
	if err := u.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := f.Credentials()
	if w := (&world{Server: s}); got[root.ID+aws] != "AWS:old" || w.login(t, got["https://"+s.Running.Address]) != http.StatusOK {
		t.Errorf("got %v, want a new credential for the address alone", got)
	}
}

// K2: one call gets the token and the credential is updated, again after 6 hours; /ping answers.
func TestK2UpdateEverySixHours(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host(w.Running.Account)
	w.rancher.Add("index.docker.io", "active")
	w.rancher.Add("quay.io", "active")
	w.rancher.Add("removed.example.com", "removed")
	w.rancher.Add(host, "active") // on the second page
	if code, text := w.get("/ping"); code != http.StatusOK || text != "pong!" {
		t.Errorf("/ping: got %d %q, want pong! before the first update", code, text)
	}
	if code, _ := w.get("/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("/readyz: got %d before the first update, want 503", code)
	}
	seen := map[string]time.Duration{}
	w.run(t, 6*time.Hour+5*time.Minute, func() {
		got := w.rancher.Credentials()[host]
		if _, ok := seen[got]; !ok {
			seen[got] = w.since()
			if status := w.login(t, got); status != http.StatusOK {
				t.Errorf("after %s the registry answers %d to the credential, want 200", w.since(), status)
			}
		}
	})
	var last time.Duration
	for _, at := range seen {
		last = max(last, at)
	}
	if len(seen) != 2 || w.calls.Load() != 2 || last < 6*time.Hour-time.Minute || last > 6*time.Hour+time.Minute {
		t.Errorf("got credentials at %v by %d calls, want two, the second after 6 hours, each by one call\n%s", seen, w.calls.Load(), w.log)
	}
	if got := w.rancher.Credentials()["quay.io"]; got != "AWS:old" {
		t.Errorf("the credential of another registry became %q", got)
	}
	if code, text := w.get("/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: got %d %s, want 200", code, text)
	}
	if _, text := w.get("/metrics"); !strings.Contains(text, `ecrin_credential_age_seconds{host="`+host+`"} `) {
		t.Errorf("/metrics has no age of the credential: %s", text)
	}
	for password := range seen {
		if strings.Contains(w.log.String(), strings.TrimPrefix(password, "AWS:")) || strings.Contains(w.log.String(), ranchertest.SecretKey) {
			t.Errorf("the log has a secret")
		}
	}
}

// K3: without the entry, a line says which environment lacks which host and what it has; with AUTO_CREATE, the entry is made.
func TestK3MissingRegistryAndAutoCreate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host(w.Running.Account)
	w.rancher.Add("quay.io", "active")
	w.run(t, 30*time.Minute, nil)
	for _, want := range []string{"Failed to find Rancher registry to update for ECR Host", host, "Staging", "quay.io", "AUTO_CREATE",
		"failed to find configured registry"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("the log does not have %q:\n%s", want, w.log)
		}
	}
	if calls := w.calls.Load(); calls != 1 {
		t.Errorf("got %d calls, want one: the token that was got is kept for the further attempts", calls)
	}
	w.updater.Create = true
	if err := w.updater.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status := w.login(t, w.rancher.Credentials()[host]); status != http.StatusOK {
		t.Errorf("the registry answers %d to the new credential, want 200: %v", status, w.rancher.Credentials())
	}
	objects := len(w.rancher.Objects)
	w.ahead.Add(int64(7 * time.Hour))
	if err := w.updater.Once(t.Context()); err != nil || len(w.rancher.Objects) != objects {
		t.Errorf("the next update: got %v and %d objects, want the %d that there are", err, len(w.rancher.Objects), objects)
	}
}

// K4: one call gets the tokens of two registries, and both credentials are updated.
func TestK4TwoRegistriesByOneCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.NewAccount(t, "111122223333")
	w.ids = []string{w.Running.Account, other.ID}
	for _, id := range w.ids {
		w.rancher.Add(w.host(id), "active")
	}
	if err := w.updater.Once(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range w.ids {
		if status := w.login(t, w.rancher.Credentials()[w.host(id)]); status != http.StatusOK {
			t.Errorf("%s: the registry answers %d to its credential, want 200", id, status)
		}
	}
	if calls := w.calls.Load(); calls != 1 || w.rancher.Puts != 2 {
		t.Errorf("got %d calls and %d updates, want 1 and 2", calls, w.rancher.Puts)
	}
}

// K4: a registry that is missing is no reason to leave out the other, which is not written again at each attempt.
func TestK4OneOfTwoIsMissing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ids = []string{"111122223333", w.Running.Account}
	w.NewAccount(t, w.ids[0])
	w.rancher.Add(w.host(w.Running.Account), "active")
	w.run(t, time.Hour, nil)
	if w.rancher.Puts != 1 || w.calls.Load() != 1 {
		t.Errorf("got %d updates by %d calls, want 1 by 1\n%s", w.rancher.Puts, w.calls.Load(), w.log)
	}
	w.rancher.Add(w.host(w.ids[0]), "active")
	w.run(t, time.Hour+10*time.Minute, nil)
	if status := w.login(t, w.rancher.Credentials()[w.host(w.ids[0])]); status != http.StatusOK {
		t.Errorf("the registry that was added later: got %d, want 200", status)
	}
}

// K5: the ECR API is away for 30 minutes around a renewal. The old credential stays and works; the next success is logged.
func TestK5APIAwayAroundRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host(w.Running.Account)
	w.rancher.Add(host, "active")
	first, renewed := "", time.Duration(0)
	w.run(t, 7*time.Hour, func() {
		w.away.Store(w.since() > 5*time.Hour+50*time.Minute && w.since() < 6*time.Hour+20*time.Minute)
		got := w.rancher.Credentials()[host]
		if first == "" {
			first = got
		}
		if got != first && renewed == 0 {
			renewed = w.since()
		}
		if w.away.Load() && got != first {
			t.Errorf("after %s the credential has changed, while the API is away", w.since())
		}
		if code, _ := w.get("/ping"); code != http.StatusOK {
			t.Errorf("/ping: got %d", code)
		}
		if status := w.login(t, got); status != http.StatusOK {
			t.Errorf("after %s the registry answers %d to the credential of Rancher", w.since(), status)
		}
	})
	if renewed < 6*time.Hour+20*time.Minute || renewed > 6*time.Hour+26*time.Minute {
		t.Errorf("the credential was renewed after %s, want within 5 minutes after 6h20m", renewed)
	}
	failed, success := strings.Index(w.log.String(), "attempt 3 failed"), strings.LastIndex(w.log.String(), "delivered new credentials")
	if failed < 0 || success < failed {
		t.Errorf("want failed attempts in the log, and a success after them:\n%s", w.log)
	}
}

// K6: an address with a scheme, a path, the default port or upper case is matched; another host or another port is not.
func TestK6SchemeAndPort(t *testing.T) {
	t.Parallel()
	const host = "111122223333.dkr.ecr.eu-west-1.amazonaws.com"
	for _, c := range []struct {
		address, host string
		want          bool
	}{
		{host, host, true},
		{"https://" + host, host, true},
		{"https://" + host + "/", host, true},
		{"https://" + host + "/v2/", host, true},
		{host + ":443", host, true},
		{strings.ToUpper(host), host, true},
		{"https://registry.example.com:5100", "registry.example.com:5100", true},
		{"registry.example.com:5100", "registry.example.com:5100", true},
		{"registry.example.com", "registry.example.com:5100", false},
		{"registry.example.com:5000", "registry.example.com:5100", false},
		{"evil-" + host, host, false},
		{host + ".example.com", host, false},
		{"", host, false},
	} {
		w := &world{rancher: ranchertest.New(t), log: &apptest.Buffer{}}
		w.rancher.Add(c.address, "active")
		now := time.Now()
		u := rancher.Updater{API: w.client(t, "/v1"), Log: slog.New(slog.NewTextHandler(w.log, nil)),
			Tokens: func(context.Context) ([]credential.Credential, error) {
				return []credential.Credential{{Host: c.host, Username: "AWS", Password: secret.New("new"), From: now,
					ExpiresAt: now.Add(12 * time.Hour)}}, nil
			}}
		err := u.Once(t.Context())
		if got := w.rancher.Credentials()[c.address] == "AWS:new"; got != c.want || (err == nil) != c.want {
			t.Errorf("%q for %q: got %v, %v, want %v", c.address, c.host, got, err, c.want)
		}
	}
}

// What Rancher answers shows at the start that its API cannot be used; and the access key is sent to no other host.
func TestUnusable(t *testing.T) {
	t.Parallel()
	elsewhere := ranchertest.New(t)
	for _, c := range []struct {
		name, want string
		change     func(f *ranchertest.Server, a *rancher.Client)
	}{
		{"no right to update", "[registryCredential] is not updatable", func(f *ranchertest.Server, _ *rancher.Client) { f.NoPut = true }},
		{"wrong key", "refuses the access key", func(_ *ranchertest.Server, a *rancher.Client) { a.Key = "other" }},
		{"no API", "404", func(_ *ranchertest.Server, a *rancher.Client) { a.URL.Path = "/" }},
		{"links to another host", "its links name the host", func(f *ranchertest.Server, _ *rancher.Client) {
			f.Links = strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
		}},
	} {
		f := ranchertest.New(t)
		w := &world{rancher: f}
		u := rancher.Updater{API: w.client(t, "/v1"), Log: slog.New(slog.DiscardHandler)}
		c.change(f, u.API)
		if err := u.Check(t.Context()); !errors.Is(err, rancher.ErrUnusable) || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), ranchertest.SecretKey) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	// Links with another scheme or port on the same host are those of a Rancher behind a proxy.
	f := ranchertest.New(t)
	f.Links, f.NoPost = "https://127.0.0.1:1", true
	if err := (&rancher.Updater{API: (&world{rancher: f}).client(t, "/v1")}).Check(t.Context()); err != nil {
		t.Errorf("links with another scheme: %v", err)
	}
	u := &rancher.Updater{API: (&world{rancher: f}).client(t, "/v1"), Create: true}
	if err := u.Check(t.Context()); !errors.Is(err, rancher.ErrUnusable) || !strings.Contains(err.Error(), "[registry] is not creatable") {
		t.Errorf("no right to create: got %v", err)
	}
	redirect := httptest.NewServer(http.RedirectHandler(elsewhere.URL+"/v1", http.StatusFound))
	t.Cleanup(redirect.Close)
	at, err := url.Parse(redirect.URL)
	if err != nil {
		t.Fatal(err)
	}
	u = &rancher.Updater{API: &rancher.Client{URL: at, Key: ranchertest.AccessKey, Secret: secret.New(ranchertest.SecretKey)}}
	if err := u.Check(t.Context()); !errors.Is(err, rancher.ErrUnusable) || elsewhere.Foreign != 0 {
		t.Errorf("a redirect: got %v, want an error", err)
	}
	f.Close()
	err = (&rancher.Updater{API: (&world{rancher: f}).client(t, "/v1")}).Check(t.Context())
	if err == nil || errors.Is(err, rancher.ErrUnusable) {
		t.Errorf("a Rancher that is away: got %v, want an error that may pass", err)
	}
}

// A token that the registry refuses is not written; one that it cannot be asked about is.
func TestVerify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{{credential.ErrRefused, "AWS:old"}, {errors.New("no route"), "AWS:new"}, {nil, "AWS:new"}} {
		f := ranchertest.New(t)
		f.Add("a.b", "active")
		now := time.Now()
		u := rancher.Updater{API: (&world{rancher: f}).client(t, "/v1"), Log: slog.New(slog.DiscardHandler),
			Verify: func(context.Context, credential.Credential) error { return c.err },
			Tokens: func(context.Context) ([]credential.Credential, error) {
				return []credential.Credential{{Host: "a.b", Username: "AWS", Password: secret.New("new"), From: now,
					ExpiresAt: now.Add(12 * time.Hour)}}, nil
			}}
		err := u.Once(t.Context())
		if got := f.Credentials()["a.b"]; got != c.want || (err == nil) != (c.want == "AWS:new") {
			t.Errorf("%v: got %q, %v, want %q", c.err, got, err, c.want)
		}
	}
}
