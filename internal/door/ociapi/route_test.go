package ociapi

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestParsePath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]target{
		"/v2":                                     {route: routeBase},
		"/v2/":                                    {route: routeBase},
		"/v2/_catalog":                            {route: routeCatalog},
		"/v2/app/tags/list":                       {routeTags, "app", ""},
		"/v2/a/b/c/tags/list":                     {routeTags, "a/b/c", ""},
		"/v2/tags/list/tags/list":                 {routeTags, "tags/list", ""},
		"/v2/app/manifests/latest":                {routeManifest, "app", "latest"},
		"/v2/manifests/manifests/manifests":       {routeManifest, "manifests", "manifests"},
		"/v2/app/manifests/list":                  {routeManifest, "app", "list"},
		"/v2/app/tags/manifests/list":             {routeManifest, "app/tags", "list"},
		"/v2/app/blobs/sha256:1":                  {routeBlob, "app", "sha256:1"},
		"/v2/blobs/uploads/blobs/sha256:1":        {routeBlob, "blobs/uploads", "sha256:1"},
		"/v2/app/blobs/uploads":                   {routeUploads, "app", ""},
		"/v2/app/blobs/uploads/":                  {routeUploads, "app", ""},
		"/v2/app/blobs/uploads/1":                 {routeUpload, "app", "1"},
		"/v2/app/blobs/uploads/blobs/uploads/1":   {routeUpload, "app/blobs/uploads", "1"},
		"/v2/app/blobs/uploads/blobs/uploads/":    {routeUploads, "app/blobs/uploads", ""},
		"/v2/app/referrers/sha256:1":              {routeReferrers, "app", "sha256:1"},
		"/v2/111122223333/eu-west-1/a/tags/list":  {routeTags, "111122223333/eu-west-1/a", ""},
		"/v2//tags/list":                          {routeTags, "", ""},
		"/v2/../manifests/..":                     {routeManifest, "..", ".."},
		"/v2/app/blobs/uploads/../../secret/tags": {},
		"/v2/app":              {},
		"/v2/app/tags":         {},
		"/v2/app/tags/list/":   {},
		"/v2/app/manifests/":   {},
		"/v2/manifests/latest": {},
		"/v2/tags/list":        {},
		"/v2/blobs/uploads/":   {},
		"/v2//":                {},
		"/v2x":                 {},
		"/v1/":                 {},
		"/":                    {},
		"":                     {},
	} {
		got, err := parsePath(path)
		if none := want == (target{}) && path != "/v2" && path != "/v2/"; got != want ||
			none != errors.Is(err, fault.UnknownOperation) || !none && err != nil {
			t.Errorf("parsePath(%q) = %+v, %v; want %+v", path, got, err, want)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/blobs/uploads/x",
		"/v2/a/manifests/sha256:1", "/v2//referrers/x", "/v2/blobs/uploads/blobs/uploads/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := parsePath(path)
		if err != nil {
			if got != (target{}) {
				t.Fatalf("parsePath(%q): got an error and the target %+v, want only the error", path, got)
			}
			return
		}
		// The parsed values make up the path again, so nothing was lost or added.
		forms := map[route][]string{
			routeBase: {"/v2", "/v2/"}, routeToken: {"/v2/token"}, routeCatalog: {"/v2/_catalog"}, routeTags: {"/v2/" + got.name + "/tags/list"},
			routeManifest: {"/v2/" + got.name + "/manifests/" + got.reference}, routeBlob: {"/v2/" + got.name + "/blobs/" + got.reference},
			routeUploads: {"/v2/" + got.name + "/blobs/uploads", "/v2/" + got.name + "/blobs/uploads/"}, routeUpload: {"/v2/" +
				got.name + "/blobs/uploads/" + got.reference},
			routeReferrers: {"/v2/" + got.name + "/referrers/" + got.reference},
		}
		found := false
		for _, form := range forms[got.route] {
			found = found || form == path
		}
		if !found || strings.Contains(got.reference, "/") {
			t.Errorf("parsePath(%q) = %+v, which is the target of %q", path, got, forms[got.route])
		}
	})
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	for s, want := range map[string][2]int64{
		"0-0": {0, 1}, "0-1023": {0, 1024}, "5-9": {5, 5}, "bytes 0-9/*": {0, 10}, "bytes 10-19/20": {10, 10}, "0-9/100": {0, 10},
		"999999999999999998-999999999999999999": {999999999999999998, 2},
	} {
		first, length, err := contentRange(s)
		if err != nil || first != want[0] || length != want[1] {
			t.Errorf("contentRange(%q) = %d, %d, %v; want %v", s, first, length, err, want)
		}
	}
	for _, s := range []string{"", "-", "0", "0-", "-0", "1-0", "a-b", "0 - 9", "+1-2", "0-0x9", "0-9-", "bytes=0-9",
		"bytes  0-9", "0-1000000000000000000", "٠-٩"} {
		if _, _, err := contentRange(s); !errors.Is(err, fault.RangeInvalid) {
			t.Errorf("contentRange(%q): got %v, want RangeInvalid", s, err)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("0-1023")
	f.Add("bytes 0-9/*")
	f.Add("-1-5")
	f.Fuzz(func(t *testing.T, s string) {
		first, length, err := contentRange(s)
		if err != nil {
			return
		}
		if first < 0 || length < 1 || first+length < first {
			t.Fatalf("contentRange(%q) = %d, %d", s, first, length)
		}
		if f2, l2, err := contentRange(fmt.Sprintf("%d-%d", first, first+length-1)); err != nil || f2 != first || l2 != length {
			t.Errorf("contentRange(%q) formatted and parsed again: %d, %d, %v; want %d, %d", s, f2, l2, err, first, length)
		}
	})
}

// knownCodes holds the error codes of the specification and of ECR.
var knownCodes = map[string]bool{
	"BLOB_UNKNOWN": true, "BLOB_UPLOAD_INVALID": true, "BLOB_UPLOAD_UNKNOWN": true, "DIGEST_INVALID": true, "MANIFEST_BLOB_UNKNOWN": true,
	"MANIFEST_INVALID": true, "MANIFEST_UNKNOWN": true, "NAME_INVALID": true, "NAME_UNKNOWN": true, "SIZE_INVALID": true, "UNAUTHORIZED": true,
	"DENIED": true, "UNSUPPORTED": true, "TOOMANYREQUESTS": true, "TAG_INVALID": true, "UNKNOWN": true, "UNAVAILABLE": true,
}

// Every code has a wire form with an error code that clients know: one of the specification or of ECR.
func TestWireErrorsAreComplete(t *testing.T) {
	t.Parallel()
	for _, code := range fault.Codes() {
		if form := wireForm(code); form.status < 400 || form.status > 599 || !knownCodes[form.code] {
			t.Errorf("%s has the wire form %d %s, which clients do not know", code, form.status, form.code)
		}
		if form, ok := wireErrors[code]; ok && form == wireClasses[code.Class()] {
			t.Errorf("%s has a row in the table although its form is that of its class", code)
		}
	}
	for _, class := range fault.Classes() {
		if _, ok := wireClasses[class]; !ok {
			t.Errorf("the class %q has no wire form", class)
		}
	}
}

// An answer never contains the private cause, and it has a body if and only if the method permits one.
func TestFail(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		a := &API{quirks: registry.Quirks{Status405: strict}}
		for _, code := range fault.Codes() {
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut} {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(method, "http://localhost:5100/v2/", nil)
				a.fail(w, r, code.New("public <text>").Because(errors.New("private cause")).With("size", 5))
				body := w.Body.String()
				switch challenged := w.Code == http.StatusUnauthorized; {
				case strings.Contains(body, "private"):
					t.Errorf("%s %s: the cause is shown: %s", method, code, body)
				case method == http.MethodHead && body != "":
					t.Errorf("HEAD %s: body %q", code, body)
				case challenged != (w.Header().Get("Www-Authenticate") != ""):
					t.Errorf("%s %s: status %d with Www-Authenticate %q", method, code, w.Code, w.Header().Get("Www-Authenticate"))
				case !challenged && method != http.MethodHead && !strings.Contains(body, `"detail":{"size":5}`):
					t.Errorf("%s %s: body %s lacks the detail", method, code, body)
				case (w.Code == 429 || w.Code == 503) != (w.Header().Get("Retry-After") != ""):
					t.Errorf("%s %s: status %d with Retry-After %q", method, code, w.Code, w.Header().Get("Retry-After"))
				}
			}
		}
		w := httptest.NewRecorder()
		a.fail(w, httptest.NewRequest(http.MethodGet, "http://localhost/v2/", nil), fault.From(errors.New("disk at /secret/path failed")))
		if got, want := w.Body.String(), `{"errors":[{"code":"UNKNOWN","message":"internal error"}]}`; w.Code != 500 || got != want {
			t.Errorf("an error without a code: got %d %s, want 500 %s", w.Code, got, want)
		}
	}
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	l := &limiter{max: 2}
	one, err1 := l.enter("a")
	_, err2 := l.enter("a")
	_, err3 := l.enter("a")
	if err1 != nil || err2 != nil || !errors.Is(err3, fault.Throttled) {
		t.Fatalf("three of two places: %v, %v, %v; want Throttled only for the third", err1, err2, err3)
	}
	if _, err := l.enter("b"); err != nil {
		t.Errorf("another principal: %v", err)
	}
	one()
	last, err := l.enter("a")
	if err != nil {
		t.Errorf("after one upload has ended: %v", err)
	}
	last()
	if l.now["a"] != 1 {
		t.Errorf("uploads: got %v, want 1 of a", l.now)
	}
}

// A host cannot end the quoted string in the challenge.
func TestChallengeQuoting(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
	r.Host = "a\",evil=\"b\\\r\n\x00ü"
	w := httptest.NewRecorder()
	challenge(w, r, basicChallenge(r))
	if got, want := w.Header().Get("Www-Authenticate"), `Basic realm="https://a,evil=b/",service="ecr.amazonaws.com"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPageOf(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		a := &API{quirks: registry.Quirks{Page100: strict}}
		for query, want := range map[string][2]int{ // limit without and with the quirk; -2 for an error
			"": {-1, 100}, "n=0": {0, 0}, "n=7": {7, 7}, "n=1000": {1000, 1000}, "n=1001": {1001, -2}, "n=10001": {10000,
				-2}, "n=999999999999999999": {10000, -2},
			"n=-1": {-2, -2}, "n=": {-2, -2}, "n=x": {-2, -2}, "n=9999999999999999999": {-2, -2}, "last=" + strings.Repeat("a", 257): {-2, -2},
		} {
			r := httptest.NewRequest(http.MethodGet, "/v2/_catalog?"+query, nil)
			p, err := a.pageOf(r.URL.Query())
			got := p.limit
			if err != nil {
				got = -2
			}
			if w := want[map[bool]int{false: 0, true: 1}[strict]]; got != w {
				t.Errorf("pageOf(%q), strict %t: limit %d, %v; want %d", name.Clip(query), strict, got, err, w)
			}
		}
	}
}
