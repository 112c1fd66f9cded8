package farside_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/farside"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// dialling returns a client of sites, which follows no redirect.
func dialling(t *testing.T, sites ...*farside.Site) *http.Client {
	t.Helper()
	text, err := os.ReadFile(sites[0].CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true}
	transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		for _, s := range sites {
			for _, n := range s.Names {
				if address == n+":443" {
					return (&net.Dialer{}).DialContext(ctx, "tcp", s.Address.String())
				}
			}
		}
		return nil, fmt.Errorf("no site has the name %s", address)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func strict(t *testing.T) *apptest.Server {
	t.Helper()
	return apptest.Start(t, apptest.Options{Config: func(c *config.Config) { c.StrictECR = "all" }})
}

// A blob comes from a second host by a signed URL, PATCH is answered by 201 and then a stale Range, tokens end and rates are limited.
func TestECR(t *testing.T) {
	t.Parallel()
	s := strict(t)
	root := s.Root(t)
	im := ocitest.NewImage(1, 1000)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "v1", im)
	e := farside.NewECR(t, s)
	repo.HTTP, repo.Base = dialling(t, e.Sites()...), "https://"+e.Host
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	layer := ocitest.SHA256(im.Layers[0])
	repo.Blob(t, "sha256:"+strings.Repeat("0", 64)).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
	to := repo.Blob(t, layer).Want(t, http.StatusTemporaryRedirect).Header.Get("Location")
	if !strings.HasPrefix(to, "https://"+e.Layers.Names[0]+"/") {
		t.Fatalf("got a redirect to %s, want one to %s", to, e.Layers.Names[0])
	}
	repo.Do(t, http.MethodGet, to, nil).Want(t, http.StatusBadRequest) // with Authorization
	other := repo
	other.Password = ""
	if got := other.Do(t, http.MethodGet, to, nil).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Layers[0]) {
		t.Errorf("got %d other bytes, want %d", len(got.Body), len(im.Layers[0]))
	}
	if got := other.Do(t, http.MethodGet, to, nil, "Range", "bytes=10-19").Want(t, http.StatusPartialContent); !bytes.Equal(got.Body,
		im.Layers[0][10:20]) {
		t.Errorf("a range: got %x, want %x", got.Body, im.Layers[0][10:20])
	}
	other.Do(t, http.MethodGet, to+"0", nil).Want(t, http.StatusForbidden) // a wrong signature
	other.Manifest(t, "v1").Want(t, http.StatusUnauthorized)

	begun := repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/"), nil).Want(t, http.StatusAccepted)
	if got := begun.Header.Get("Docker-Upload-UUID"); got != "" {
		t.Errorf("POST: got Docker-Upload-UUID %s, want none", got)
	}
	upload := begun.Location(t)
	for _, span := range []string{"0-4", "5-9"} {
		got := repo.Do(t, http.MethodPatch, upload, []byte("hello"), "Content-Type", "application/octet-stream", "Content-Range", span).
			Want(t, http.StatusCreated)
		if got := got.Header.Get("Range"); got != "0-4" {
			t.Errorf("PATCH of %s: got Range %s, want 0-4", span, got)
		}
	}
	repo.Do(t, http.MethodPut, upload+"?digest="+ocitest.SHA256([]byte("hellohello")), nil).Want(t, http.StatusCreated)

	e.EndLinks(-time.Second)
	late := repo.Blob(t, layer).Want(t, http.StatusTemporaryRedirect).Header.Get("Location")
	other.Do(t, http.MethodGet, late, nil).Want(t, http.StatusForbidden)
	e.EndTokens(2, http.StatusForbidden)
	for range 2 {
		repo.Manifest(t, "v1").Want(t, http.StatusOK)
	}
	repo.Manifest(t, "v1").WantError(t, http.StatusForbidden, "DENIED")
	e.EndTokens(0, 0)
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	e.Throttle(1, 1)
	repo.Manifest(t, "v1").WantError(t, http.StatusTooManyRequests, "TOOMANYREQUESTS")
	if got := repo.Do(t, http.MethodPost, "https://"+e.Site.Names[0]+"/", nil).Want(t, http.StatusBadRequest); !strings.Contains(
		string(got.Body), "ThrottlingException") {
		t.Errorf("the API: got %s, want ThrottlingException", got.Body)
	}
	e.Throttle(0, 1)
	e.Limit(3)
	refused := 0
	for range 10 {
		if repo.Manifest(t, "v1").Status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 || refused > 7 {
		t.Errorf("of 10 requests with a burst of 3: got %d refused, want at least 1 and at most 7", refused)
	}
}

// Each fault does what its kind says, for as many requests as it is for, and chances are the same for the same seed.
func TestFaults(t *testing.T) {
	t.Parallel()
	s := strict(t)
	root := s.Root(t)
	im := ocitest.NewImage(1, 1000)
	repo := root.CreateRepository(t, "team/app")
	repo.Push(t, "v1", im)
	p := farside.NewProxy(t, "far.test", s.URL, s.HTTP.Transport)
	repo.HTTP, repo.Base = dialling(t, p.Site), "https://far.test"
	layer, want := ocitest.SHA256(im.Layers[0]), im.Layers[0]
	get := func() (*http.Response, []byte, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, repo.Base+repo.Path("/blobs/"+layer), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("AWS", repo.Password)
		resp, err := repo.HTTP.Do(r)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp, body, err
	}
	called := false
	for _, c := range []struct {
		fault farside.Fault
		check func(resp *http.Response, body []byte, err error) bool
	}{
		{farside.Fault{Kind: farside.Cut, After: 100}, func(_ *http.Response, body []byte, err error) bool {
			return err != nil && len(body) <= 100
		}},
		{farside.Fault{Kind: farside.Slow, After: 990, Every: time.Millisecond}, func(_ *http.Response, body []byte, err error) bool {
			return err == nil && bytes.Equal(body, want)
		}},
		{farside.Fault{Kind: farside.Wrong, After: 500}, func(_ *http.Response, body []byte, err error) bool {
			return err == nil && len(body) == 1000 && body[500] == want[500]^1 && bytes.Equal(body[:500], want[:500]) &&
				bytes.Equal(body[501:], want[501:])
		}},
		{farside.Fault{Kind: farside.Short, After: 10}, func(r *http.Response, body []byte, err error) bool {
			return err == nil && bytes.Equal(body, want[:10]) && r.ContentLength == 10
		}},
		{farside.Fault{Kind: farside.Long, After: 10}, func(r *http.Response, body []byte, err error) bool {
			return err == nil && len(body) == 1001 && r.ContentLength == 1001
		}},
		{farside.Fault{Kind: farside.HTML}, func(r *http.Response, _ []byte, err error) bool {
			return err == nil && r.StatusCode == http.StatusOK && strings.HasPrefix(r.Header.Get("Content-Type"), "text/html")
		}},
		{farside.Fault{Kind: farside.Redirect, To: "https://169.254.169.254/"}, func(r *http.Response, _ []byte, err error) bool {
			return err == nil && r.StatusCode == http.StatusTemporaryRedirect && r.Header.Get("Location") == "https://169.254.169.254/"
		}},
		{farside.Fault{Kind: farside.Realm, To: "https://foreign.test/token"}, func(r *http.Response, _ []byte, err error) bool {
			return err == nil && r.StatusCode == http.StatusUnauthorized && strings.Contains(r.Header.Get("WWW-Authenticate"), "foreign.test")
		}},
		{farside.Fault{Kind: farside.Status, Status: 429, To: "7"}, func(r *http.Response, _ []byte, err error) bool {
			return err == nil && r.StatusCode == 429 && r.Header.Get("Retry-After") == "7"
		}},
		{farside.Fault{Kind: farside.Call, Do: func() { called = true }}, func(_ *http.Response, body []byte, err error) bool {
			return err == nil && called && bytes.Equal(body, want)
		}},
	} {
		p.On("GET /v2/team/app/blobs/", 1, c.fault)
		resp, body, err := get()
		if !c.check(resp, body, err) {
			t.Errorf("%+v: got %v, %d bytes, %v", c.fault, resp, len(body), err)
		}
		if _, body, err := get(); err != nil || !bytes.Equal(body, want) {
			t.Errorf("after %+v: got %d bytes, %v, want the layer", c.fault, len(body), err)
		}
		if got := p.Faults(c.fault.Kind); got != 1 {
			t.Errorf("faults of the kind %d: got %d, want 1", c.fault.Kind, got)
		}
	}
	var first string
	for round := range 2 {
		p := farside.NewProxy(t, "far.test", s.URL, s.HTTP.Transport)
		repo.HTTP = dialling(t, p.Site)
		p.Random(7, 0.5, farside.Fault{Kind: farside.Cut}, farside.Fault{Kind: farside.Status, Status: 500})
		var b strings.Builder
		for range 20 {
			resp, _, err := get()
			switch {
			case err != nil: // cut
				b.WriteByte('c')
			case resp.StatusCode == 500:
				b.WriteByte('s')
			default:
				b.WriteByte('-')
			}
		}
		if round == 0 {
			first = b.String()
		} else if b.String() != first {
			t.Errorf("with one seed: got %s, and before %s", b.String(), first)
		}
		for _, k := range []string{"c", "s", "-"} {
			if !strings.Contains(first, k) {
				t.Errorf("of 20 requests: got %s, want some %s", first, k)
			}
		}
	}
}
