package ociapi

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// authorized returns a request with values of Authorization.
func authorized(method, path string, values ...string) *http.Request {
	r := httptest.NewRequest(method, path, nil)
	for _, v := range values {
		r.Header.Add("Authorization", v)
	}
	return r
}

func basic(user, password string) string {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// A docker token is the password of the user AWS, and a Bearer token only where these are accepted.
func TestFormsOfCredentials(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what              string
		values            []string
		basicOnly, bearer credentials
	}{
		{"none", nil, credentials{none: true}, credentials{none: true}},
		{"empty ones", []string{basic("", "")}, credentials{none: true}, credentials{none: true}},
		{"a token", []string{basic("AWS", "x")}, credentials{valid: true, password: "x"}, credentials{valid: true, password: "x"}},
		{"an empty token", []string{basic("AWS", "")}, credentials{valid: true}, credentials{valid: true}},
		{"another user", []string{basic("aws", "x")}, credentials{}, credentials{}},
		{"no user", []string{basic("", "x")}, credentials{}, credentials{}},
		{"Bearer", []string{"Bearer x"}, credentials{}, credentials{valid: true, bearer: true, password: "x"}},
		{"bearer in lower case", []string{"bearer  x "}, credentials{}, credentials{valid: true, bearer: true, password: "x"}},
		{"another scheme", []string{"Digest x"}, credentials{}, credentials{}},
		{"an empty value", []string{""}, credentials{}, credentials{}},
		{"no base64", []string{"Basic !"}, credentials{}, credentials{}},
	} {
		r := authorized(http.MethodGet, "/v2/", c.values...)
		if got := credentialsOf(r, false); got != c.basicOnly {
			t.Errorf("%s: got %+v, want %+v", c.what, got, c.basicOnly)
		}
		if got := credentialsOf(r, true); got != c.bearer {
			t.Errorf("%s, with Bearer tokens: got %+v, want %+v", c.what, got, c.bearer)
		}
	}
}

// Requests without credentials are anonymous where these are admitted, except at /v2/, which asks for credentials.
func TestWhoIsAnonymous(t *testing.T) {
	t.Parallel()
	for _, admitted := range []bool{false, true} {
		for _, c := range []struct {
			what      string
			route     route
			values    []string
			anonymous bool // where they are admitted
			class     identity.RefusalClass
		}{
			{"no credentials", routeManifest, nil, true, ""}, {"no credentials at the token", routeToken, nil, true, ""},
			{"no credentials at the base", routeBase, nil, false, ""},
			{"the anonymous token", routeManifest, []string{"Bearer anonymous"}, true, ""},
			{"the anonymous token at the base", routeBase, []string{"Bearer anonymous"}, true, ""},
			{"another user", routeManifest, []string{basic("me", "anonymous")}, false, identity.RefusedCredentials},
		} {
			q := &request{r: authorized(http.MethodGet, "/", c.values...), target: target{route: c.route}}
			got, err := (&API{anonymous: admitted}).caller(q, name.Region{})
			if admitted && c.anonymous {
				if err != nil || got.Kind != identity.Anonymous || got.UserID != "anonymous" {
					t.Errorf("%s: got %+v, %v, want the anonymous caller", c.what, got, err)
				}
				continue
			}
			var r *identity.Refusal
			if errors.As(err, &r); !errors.Is(err, fault.MissingCredentials) || got != (identity.Caller{}) ||
				(r != nil) != (c.class != "" || !admitted && len(c.values) > 0) || r != nil && r.Class != identity.RefusedCredentials {
				t.Errorf("%s, admitted %t: got %+v, %v, want MissingCredentials", c.what, admitted, got, err)
			}
		}
	}
}

// The denial of a request without credentials asks for some; that of an anonymous token, and other errors, do not.
func TestWhichDenialsAreChallenges(t *testing.T) {
	t.Parallel()
	denied, missing := fault.AccessDenied.New("no"), fault.RepositoryNotFound.New("no")
	for _, c := range []struct {
		kind   identity.Kind
		bearer bool
		err    error
		want   bool
	}{
		{identity.Anonymous, false, denied, true}, {identity.Anonymous, true, denied, false}, {identity.Anonymous, false, missing, false},
		{identity.User, false, denied, false},
	} {
		got := (&request{caller: identity.Caller{Kind: c.kind}, bearer: c.bearer}).challenged(c.err)
		if errors.Is(got, fault.MissingCredentials) != c.want || !c.want && got != c.err {
			t.Errorf("%+v: got %v", c, got)
		}
	}
	for _, c := range []struct {
		method string
		secure bool
		repo   string
		want   string
	}{
		{http.MethodGet, false, "", `Bearer realm="http://h:1/v2/token",service="h:1"`},
		{http.MethodGet, true, "a/b", `Bearer realm="https://h:1/v2/token",service="h:1",scope="repository:a/b:pull"`},
		{http.MethodHead, true, "a/b", `Bearer realm="https://h:1/v2/token",service="h:1",scope="repository:a/b:pull"`},
		{http.MethodPut, true, "a/b", `Bearer realm="https://h:1/v2/token",service="h:1",scope="repository:a/b:pull,push"`},
	} {
		q := &request{r: authorized(c.method, "http://h:1/"), ev: &web.Event{}, target: target{name: c.repo}}
		q.ev.From.Secure = c.secure
		if c.repo != "" {
			q.repo = name.MustRepo("a/b")
		}
		if got := q.bearerChallenge(); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.method, c.repo, got, c.want)
		}
	}
}

// A chunk is what the headers say, and they must agree; the end of an upload needs the right to upload only with a chunk.
func TestChunksOfBodies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentRange string
		length       int64
		at, want     int64
		code         error
		also         int
	}{
		{"", 0, registry.AnyOffset, 0, nil, 0}, {"", 5, registry.AnyOffset, 5, nil, 1}, {"", -1, registry.AnyOffset, -1, nil, 1},
		{"0-4", 5, 0, 5, nil, 1}, {"10-14", -1, 10, 5, nil, 1}, {"0-4", 4, 0, 0, fault.SizeInvalid, 1}, {"0-4", 0, 0, 0, fault.SizeInvalid, 1},
		{"4-0", 5, 0, 0, fault.RangeInvalid, 1}, {"x", 5, 0, 0, fault.RangeInvalid, 1},
	} {
		r := httptest.NewRequest(http.MethodPatch, "/", nil)
		r.ContentLength = c.length
		if c.contentRange != "" {
			r.Header.Set("Content-Range", c.contentRange)
		}
		got, err := chunkOf(r)
		if !errors.Is(err, c.code) || c.code == nil && (got.At != c.at || got.Length != c.want) {
			t.Errorf("%q with %d bytes: got %+v, %v, want %d at %d, %v", c.contentRange, c.length, got, err, c.want, c.at, c.code)
		}
		if also := lastChunk(&request{r: r}); len(also) != c.also || c.also > 0 && also[0] != "ecr:UploadLayerPart" {
			t.Errorf("the end of an upload, %q with %d bytes: got the actions %q, want %d", c.contentRange, c.length, also, c.also)
		}
	}
	coded := fault.RequestTimeout.New("slow")
	for _, c := range []struct{ given, want error }{{io.EOF, io.EOF}, {io.ErrUnexpectedEOF, fault.SizeInvalid}, {coded, coded}} {
		b := sentBody{io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(c.given))}
		all := make([]byte, 2)
		if n, err := b.Read(all); n != 2 || err != nil || string(all) != "ab" {
			t.Errorf("before the end: got %d bytes, %v", n, err)
		}
		if n, err := b.Read(all); n != 0 || !errors.Is(err, c.want) || c.want == io.EOF && err != io.EOF {
			t.Errorf("a body that ends with %v: got %d bytes, %v, want %v", c.given, n, err, c.want)
		}
	}
}

// The audit trail has the parameters of the request of ECR that a request stands for.
func TestParametersOfRequests(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, c := range []struct {
		method, query string
		route         route
		reference     string
		body          string
		want          string // without the account and the repository
	}{
		{http.MethodGet, "", routeTags, "", "", ``},
		{http.MethodGet, "", routeManifest, "v1", "", `,"imageIds":[{"imageTag":"v1"}],"acceptedMediaTypes":["a/b","c/d"]`},
		{http.MethodHead, "", routeManifest, digest, "", `,"imageIds":[{"imageDigest":"` + digest + `"}],"acceptedMediaTypes":["a/b","c/d"]`},
		{http.MethodDelete, "", routeManifest, "v1", "", `,"imageIds":[{"imageTag":"v1"}]`},
		{http.MethodPut, "", routeManifest, "v1", "{}", `,"imageTag":"v1","imageManifest":"{}","imageManifestMediaType":"x/y"`},
		{http.MethodPut, "", routeManifest, digest, "", `,"imageDigest":"` + digest + `","imageManifestMediaType":"x/y"`},
		{http.MethodGet, "", routeReferrers, digest, "", `,"subjectId":{"imageDigest":"` + digest + `"}`},
		{http.MethodGet, "", routeBlob, digest, "", `,"layerDigest":"` + digest + `"`},
		{http.MethodGet, "", routeLink, digest, "", `,"layerDigest":"` + digest + `"`},
		{http.MethodHead, "", routeBlob, digest, "", `,"layerDigests":["` + digest + `"]`},
		{http.MethodPatch, "", routeUpload, "id", "", `,"uploadId":"id"`},
		{http.MethodPut, "?digest=" + digest, routeUpload, "id", "", `,"uploadId":"id","layerDigests":["` + digest + `"]`},
		{http.MethodPost, "", routeUploads, "", "", ``},
		{http.MethodPost, "?mount=" + digest + "&from=c/d", routeUploads, "", "", `,"layerDigests":["` + digest + `"],"mountFrom":"c/d"`},
		{http.MethodGet, "", routeCatalog, "", "", ``},
	} {
		q := &request{r: httptest.NewRequest(c.method, "/"+c.query, nil), target: target{route: c.route, reference: c.reference},
			reg: name.Registry{Account: name.MustAccount("111122223333")}, repo: name.MustRepo("a/b")}
		q.r.Header.Set("Accept", "a/b;q=1, c/d")
		q.r.Header.Set("Content-Type", "x/y")
		if c.body != "" {
			q.body = []byte(c.body)
		}
		p := q.params()
		want := `{"registryId":"111122223333","repositoryName":"a/b"` + c.want + `}`
		if c.route == routeCatalog {
			want = `{"registryId":"111122223333"}`
		}
		if got := p.JSON(); got != want {
			t.Errorf("%s of route %d: got %s, want %s", c.method, c.route, got, want)
		}
	}
}

// A signed link is valid as it was made and until it expires, to the second.
func TestLinksAreRefused(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_800_000_000, 0)
	l := NewLayerLinks(func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] }, nil, func() time.Time { return at })
	digest, err := name.ParseDigest("sha256:" + strings.Repeat("a", 64))
	if err != nil {
		t.Fatal(err)
	}
	reg := name.Registry{Account: name.MustAccount("111122223333"), Region: name.MustRegion("us-east-1")}
	link := l.Make(identity.Caller{AccessKey: "AKIA"}, reg, name.MustRepo("a/b"), digest)
	check := func(link string) error {
		t.Helper()
		c, _, _, d, err := l.check(httptest.NewRequest(http.MethodGet, link, nil))
		if err != nil && (c != (identity.Caller{}) || d != (name.Digest{})) {
			t.Errorf("%s: got the caller %+v and %s with the error %v, want none", link, c, d, err)
		}
		return err
	}
	for _, changed := range []string{strings.Replace(link, "a/b", "a/c", 1), strings.Replace(link, "key=AKIA", "key=AKIB", 1),
		strings.Replace(link, "expires=18", "expires=19", 1), strings.TrimSuffix(link, link[len(link)-1:]), "/layers/x"} {
		if err := check(changed); !errors.Is(err, fault.AccessDenied) {
			t.Errorf("%s: got %v, want AccessDenied", changed, err)
		}
	}
	signed := func(path, expires string) string {
		return path + "?" + url.Values{"expires": {expires}, "key": {"AKIA"}, "mac": {l.sign(path, expires, "AKIA")}}.Encode()
	}
	path, _, _ := strings.Cut(link, "?")
	for _, expires := range []string{"", "x", "-1", "1800000000", "1799999999"} {
		if err := check(signed(path, expires)); !errors.Is(err, fault.ExpiredCredentials) {
			t.Errorf("a link that expires at %q: got %v, want ExpiredCredentials", expires, err)
		}
	}
	for _, odd := range []string{"/layers/", "/layers/x", "/layers/111122223333/us-east-1/a/b", "/layers/111122223333/x/a/" + digest.String(),
		"/layers/1/us-east-1/a/" + digest.String(), "/layers/111122223333/us-east-1/A/" + digest.String()} {
		if err := check(signed(odd, "1800000001")); !errors.Is(err, fault.AccessDenied) {
			t.Errorf("a link to %s: got %v, want AccessDenied", odd, err)
		}
	}
	at = at.Add(15 * time.Minute)
	if err := check(link); !errors.Is(err, fault.ExpiredCredentials) {
		t.Errorf("after 15 minutes: got %v, want ExpiredCredentials", err)
	}
}

func TestDecimalNumbers(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "9": 9, "007": 7, "999999999999999999": 999999999999999999, "": -1, "1000000000000000000": -1,
		"-1": -1, "+1": -1, "1 ": -1, "a": -1, "/": -1, ":": -1, "1e3": -1, "٣": -1,
	} {
		if got, ok := decimal(text); ok != (want >= 0) || ok && got != want {
			t.Errorf("%q: got %d, %t, want %d", text, got, ok, want)
		}
	}
	for text, want := range map[string]string{"host:5100": "host:5100", "a\"b\\c": "abc", "\x1f\x7fé~ !": "~ !"} {
		if got := plainHost(text); got != want {
			t.Errorf("plainHost(%q): got %q, want %q", text, got, want)
		}
	}
}

// A list that goes on has a link to its next page; only a page with an entry can.
func TestLinkToTheNextPage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names []string
		more  bool
		want  string
	}{
		{[]string{"a", "b/c"}, true, `</p?last=b%2Fc&n=2>; rel="next"`}, {[]string{"a"}, true, `</p?last=a&n=2>; rel="next"`},
		{[]string{"a", "b"}, false, ""}, {nil, true, ""},
	} {
		q := &request{w: httptest.NewRecorder()}
		q.linkNext(page{limit: 2}, "/p", c.names, c.more)
		if got := q.w.Header().Get("Link"); got != c.want {
			t.Errorf("%q, more %t: got %q, want %q", c.names, c.more, got, c.want)
		}
	}
	for quirk, want := range map[bool]string{false: "application/json; charset=utf-8", true: "text/plain; charset=utf-8"} {
		if got := (&API{quirks: registry.Quirks{Page100: quirk}}).listType(); got != want {
			t.Errorf("with the quirk %t: got the type %s, want %s", quirk, got, want)
		}
	}
}

// A push is decided for its reference and for each tag of its query that is one; a push by digest without tags for its digest.
func TestAsksOfAPush(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	many := "?tag=" + strings.Repeat("x&tag=", 150) + "x"
	for _, c := range []struct {
		reference, query string
		want             []string // digest and tag of each ask
	}{
		{"v1", "", []string{"/v1"}}, {digest, "", []string{digest + "/"}}, {"!", "", []string{"/"}},
		{digest, "?tag=a&tag=b&tag=!", []string{digest + "/a", digest + "/b"}}, {digest, "?tag=!", []string{digest + "/"}},
		{"v1", "?tag=a", []string{"/v1", "/a"}}, {digest, many, slices.Repeat([]string{digest + "/x"}, 100)},
	} {
		q := &request{r: httptest.NewRequest(http.MethodPut, "/"+c.query, nil), target: target{reference: c.reference}}
		var got []string
		for _, a := range q.newImages(guard.Ask{Action: "ecr:PutImage"}) {
			if a.Action != "ecr:PutImage" {
				t.Errorf("%s: got the action %q", c.reference, a.Action)
			}
			got = append(got, a.Image.Digest.String()+"/"+a.Image.Tag.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s%.30s: got %d asks %.300q, want %d", c.reference, c.query, len(got), strings.Join(got, " "), len(c.want))
		}
	}
}

// The error for a push to a repository that does not exist has the command that creates it; other errors have not.
func TestMissingRepositoryOfAPush(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		needs  need
		absent error
		want   string
	}{
		{pushable, fault.RepositoryNotFound.New("x"), "aws ecr create-repository --repository-name a/b --region us-east-1"},
		{pushable, fault.ImageNotFound.New("x"), ""}, {possible, fault.RepositoryNotFound.New("x"), ""},
	} {
		q := &request{absent: c.absent, repo: name.MustRepo("a/b"), reg: name.Registry{Region: name.MustRegion("us-east-1")}}
		got := fault.From(q.missing(&operation{needs: c.needs}))
		if command, _ := got.Fields["create"].(string); command != c.want || got.Code != fault.From(c.absent).Code {
			t.Errorf("%v: got %v with the command %q, want %q", c.absent, got, command, c.want)
		}
	}
	for code, want := range map[fault.Code]string{fault.QuotaExceeded: "60", fault.Throttled: "1", fault.Unavailable: "1"} {
		w := httptest.NewRecorder()
		(&API{}).fail(w, httptest.NewRequest(http.MethodGet, "/", nil), code.New("x"))
		var body struct{ Errors []struct{ Message string } }
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Message != "x" {
			t.Errorf("%s: got %s, %v, want one error", code, w.Body, err)
		}
		if got := w.Header().Get("Retry-After"); got != want {
			t.Errorf("%s: got Retry-After %q, want %s", code, got, want)
		}
	}
}
