package outside_test

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// token makes or rotates a token of a customer of the application shop.
func (s *shop) token(t testing.TB, operation, customer string) string {
	t.Helper()
	var out ecrintypes.CustomerTokenResponse
	s.ok(t, operation, ecrintypes.CustomerTokenRequest{ApplicationSlug: "shop", CustomerId: customer, TokenName: "east"}, &out)
	return out.Token
}

// A layer that is being sent when its token is rotated is sent to its end: the request was decided when it began. The next request with
// the token is refused, for the same layer too.
func TestRotationDuringALayer(t *testing.T) {
	t.Parallel()
	for _, uncached := range []bool{false, true} {
		s, f, there := behind(t)
		s.ok(t, "ShareIntegration", ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: "far", Uncached: &uncached}, nil)
		im := ocitest.NewImage(1, 2<<20)
		there.Root(t).CreateRepository(t, "demo/one").Push(t, "1", im)
		id, _ := s.customer(t, "shop", "big", f.Host+"/demo/*")
		old := s.token(t, "CreateCustomerToken", id)
		get(t, s.near, old, http.MethodGet, "proxy/shop/far/demo/one/manifests/1").Want(t, 200)
		layer := im.Layers[0]
		path, half, more := "proxy/shop/far/demo/one/blobs/"+ocitest.SHA256(layer), len(layer)/2, make(chan struct{})
		f.set(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			w.Header().Set("Content-Length", strconv.Itoa(len(layer)))
			_, _ = w.Write(layer[:half])
			w.(http.Flusher).Flush()
			select {
			case <-more:
			case <-r.Context().Done():
			}
			_, _ = w.Write(layer[half:])
			return true
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.near.URL+"/v2/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("x", old)
		resp, err := s.near.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 1000)
		if _, err := io.ReadFull(resp.Body, first); err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("uncached %t, the first bytes: got %d, %v", uncached, resp.StatusCode, err)
		}
		fresh := s.token(t, "RotateCustomerToken", id)
		get(t, s.near, old, http.MethodGet, path).Want(t, 401)
		close(more)
		rest, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(append(first, rest...), layer) {
			t.Errorf("uncached %t: got %d bytes, %v, want the whole layer", uncached, len(first)+len(rest), err)
		}
		get(t, s.near, old, http.MethodGet, path).Want(t, 401)
		get(t, s.near, fresh, http.MethodGet, path).Want(t, 200)
	}
}

// Neither the log of the server, at its most detailed, nor any file of its data has a licence, a token of a customer, or the key of an
// integration, whatever fails.
func TestNoSecretOfTheProxyIsWritten(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	im := ocitest.NewImage(1, 1000)
	s.root.CreateRepository(t, "demo/one").Push(t, "1", im)
	id, license := s.customer(t, "shop", "big", "*")
	old := s.token(t, "CreateCustomerToken", id)
	fresh := s.token(t, "RotateCustomerToken", id)
	paths := []string{"manifests/1", "manifests/none", "blobs/" + ocitest.SHA256(im.Layers[0]), "referrers/" + im.Digest, "tags/list"}
	for _, password := range []string{license, old, fresh} {
		for _, path := range paths {
			get(t, s.near, password, http.MethodGet, "proxy/shop/aws/demo/one/"+path)
			get(t, s.near, password, http.MethodGet, "proxy/none/aws/demo/one/"+path)
			get(t, s.near, "", http.MethodGet, "proxy/shop/aws/demo/one/"+path, "Authorization", "Bearer "+password)
		}
		get(t, s.near, password, http.MethodGet, "")
	}
	s.change(t, ecrintypes.UpdateIntegrationRequest{IntegrationName: "aws", AwsAccessKeyId: s.key, AwsSecretAccessKey: "canary-wrong-secret"})
	get(t, s.near, license, http.MethodGet, "proxy/shop/aws/demo/one/manifests/2").Want(t, 502)
	secrets := []string{license, old, fresh, s.secret, "canary-wrong-secret"}
	look := func(where string, text []byte) {
		t.Helper()
		for i, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s has the secret %d", where, i)
			}
		}
	}
	if log := s.near.Log.String(); !strings.Contains(log, "proxy/shop") {
		t.Errorf("the log has no request: got %.200s", log)
	}
	look("the log", []byte(s.near.Log.String()))
	err := filepath.WalkDir(s.near.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // files come and go
		}
		text, err := os.ReadFile(path)
		if err == nil {
			look(path, text)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
