package bundle_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The registry of the distribution project serves the images of an airgap bundle from its files as they are, as installers of this format
// do: by tag and by digest, each manifest and blob with its bytes.
func TestAirgapBundleIsStorageOfDistribution(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("ECRIN_CLIENTS")
	if cache, err := os.UserCacheDir(); dir == "" && err == nil {
		dir = filepath.Join(cache, "ecrin", "clients")
	}
	found, err := filepath.Glob(filepath.Join(dir, "distribution-v3*[0-9]"))
	if err != nil || len(found) == 0 {
		t.Skip("distribution is not built: tools/clients/install distribution")
	}
	from, s := newSide(t), newSigner(t)
	index := pushAll(t, from)
	root := t.TempDir()
	blobs := map[string]string{} // digests by member
	for r := tar.NewReader(bytes.NewReader(gunzip(t, read(t, s.airgap(t, from))))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err == nil {
			err = os.WriteFile(path, content, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := rule.ParseStorageBlob(h.Name); ok {
			blobs[d.String()] = string(content)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	config := filepath.Join(t.TempDir(), "distribution.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n",
		filepath.Join(root, "images"), address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), found[len(found)-1], "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // it is killed by the end of its context
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/v2/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Accept"] = []string{ocitest.ImageType, ocitest.IndexType}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		if status, text := get(""); status == http.StatusOK {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("distribution does not answer: %s", text)
		}
	}
	if _, body := get("web/manifests/multi"); ocitest.SHA256([]byte(body)) != index {
		t.Errorf("the index is %s, want %s", body, index)
	}
	want := ocitest.NewImage(1, 200_000, 3000).Digest
	if status, body := get("api/manifests/1.0"); status != http.StatusOK || ocitest.SHA256([]byte(body)) != want {
		t.Errorf("the image is %d %s", status, body)
	}
	for digest, want := range blobs {
		kind := "blobs"
		if strings.Contains(want, `"schemaVersion"`) {
			kind = "manifests"
		}
		status, body := get("web/" + kind + "/" + digest)
		if status == http.StatusNotFound { // of the other image alone
			status, body = get("api/" + kind + "/" + digest)
		}
		if status != http.StatusOK || body != want {
			t.Errorf("%s %s: got %d with %d bytes, want %d bytes", kind, digest, status, len(body), len(want))
		}
	}
}
