package console_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// visitor is a browser without a screen: it keeps cookies, and follows nothing by itself.
type visitor struct {
	t *testing.T
	*apptest.Server
	http *http.Client
}

func visit(t *testing.T, s *apptest.Server) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, s, &http.Client{Transport: s.HTTP.Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// got is an answer.
type got struct {
	status   int
	location string
	header   http.Header
	body     string
}

func (v *visitor) send(method, path string, form url.Values, header ...string) got {
	v.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.URL+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer a.Body.Close()
	b, err := io.ReadAll(a.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return got{a.StatusCode, a.Header.Get("Location"), a.Header, string(b)}
}

func (v *visitor) get(path string) got {
	v.t.Helper()
	return v.send(http.MethodGet, path, nil)
}

var tokenOf = regexp.MustCompile(`name="csrf" value="([0-9a-f]+)"`)

// csrf returns the token of forms, from a page.
func (v *visitor) csrf() string {
	v.t.Helper()
	m := tokenOf.FindStringSubmatch(v.get("/console/sessions").body)
	if m == nil {
		v.t.Fatal("the page has no token for forms")
	}
	return m[1]
}

// post sends a form as a page of the session does.
func (v *visitor) post(path string, pairs ...string) got {
	v.t.Helper()
	form := url.Values{"csrf": {v.csrf()}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return v.send(http.MethodPost, path, form)
}

// signIn signs in by an access key.
func (v *visitor) signIn(keyID, secret string, more ...string) got {
	v.t.Helper()
	form := url.Values{"by": {"key"}, "accessKeyId": {keyID}, "secretAccessKey": {secret}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return v.send(http.MethodPost, "/console/signin", form)
}

// in signs in as the root user.
func (v *visitor) in(a apptest.Account) *visitor {
	v.t.Helper()
	if g := v.signIn(a.KeyID, a.Secret); g.status != http.StatusSeeOther || g.location != "/console/" {
		v.t.Fatalf("signing in: got %d to %s\n%s", g.status, g.location, g.body)
	}
	return v
}

// page gets a page that must be there, and returns its text.
func (v *visitor) page(path string) string {
	v.t.Helper()
	g := v.get(path)
	if g.status == http.StatusInternalServerError {
		for line := range strings.Lines(v.Log.String()) {
			if strings.Contains(line, g.header.Get("X-Amzn-RequestId")) {
				v.t.Log(line)
			}
		}
	}
	if g.status != http.StatusOK {
		v.t.Fatalf("%s: got %d to %q\n%s", path, g.status, g.location, g.body)
	}
	return g.body
}

// has fails the test unless a page has the texts.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("the page lacks %q:\n%s", text, page)
		}
	}
}

const base = "/console/000000000000/us-east-1"

// repositories returns how many repositories the default registry has.
func repositories(t *testing.T, a apptest.Account) int {
	t.Helper()
	out, err := a.ECR().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Repositories)
}
