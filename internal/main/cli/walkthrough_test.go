package cli_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// TestVendorWalkthrough runs the walk-through of a vendor and a customer, which docs/shipping.md shows: `make demo-vendor` prints it. Its
// commands are those of TestScripts and these:
//
//	registry     start a registry with TLS: nginx:1.27 is public, the read-only user "reader" pulls demo-apps/nginx:1.0, another image;
//	             $PUBLIC is its host, $ADDRESS the address of the name example.com, $DIGEST the digest of the private image, ca.pem its CA
//	cluster      start what stands in for a cluster, and write kubeconfig
//	pods NAME    describe the pods of a namespace
//
// No cluster of Kubernetes can be made of Go and Debian alone: what stands in for one asks the registries for the images of pods, as a
// kubelet does, and starts no containers. The same rows run with a real cluster and node in test/deliver/install.
func TestVendorWalkthrough(t *testing.T) {
	t.Parallel()
	var stand *kubestand.Cluster
	testscript.Run(t, testscript.Params{
		Dir: "testdata/walkthrough",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("ECRIN_DATA", e.WorkDir+"/data")
			e.Values[slotKey{}] = &slot{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": scriptServe,
			"registry": func(ts *testscript.TestScript, _ bool, _ []string) {
				public, private := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
				s := httptest.NewTLSServer(walkthroughRegistry(public, private))
				ts.Defer(s.Close)
				address := strings.TrimPrefix(s.URL, "https://")
				ts.Setenv("PUBLIC", address)
				ts.Setenv("ADDRESS", address)
				ts.Setenv("DIGEST", private.Digest)
				ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
				stand = kubestand.New(s.Client())
			},
			"cluster": func(ts *testscript.TestScript, _ bool, _ []string) {
				api := httptest.NewServer(stand)
				ts.Defer(api.Close)
				ts.Check(os.WriteFile(ts.MkAbs("kubeconfig"), []byte(kubestand.Kubeconfig(api.URL)), 0o600))
			},
			"pods": func(ts *testscript.TestScript, _ bool, args []string) {
				fmt.Fprint(ts.Stdout(), describe(stand.Objects(args[0], "Pod")))
			},
		},
	})
}

// walkthroughRegistry serves two images, the second to a user with a password.
func walkthroughRegistry(public, private ocitest.Image) http.Handler {
	images := map[string]ocitest.Image{"nginx": public, "demo-apps/nginx": private}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repository, rest, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		if !ok {
			repository, rest, _ = strings.Cut(repository, "/blobs/")
		}
		user, password, _ := r.BasicAuth()
		if repository != "nginx" && (user != "reader" || password != "read-only-secret") {
			w.Header().Set("Www-Authenticate", `Basic realm="example"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
			return
		}
		im, known := images[repository]
		content, mediaType := []byte(nil), "application/octet-stream"
		switch {
		case r.URL.Path == "/v2/":
			content = []byte("{}")
		case ok && known && (rest == im.Digest || rest == "1.0" || rest == "1.27"):
			content, mediaType = im.Manifest, ocitest.ImageType
			w.Header().Set("Docker-Content-Digest", im.Digest)
		case known && rest == ocitest.SHA256(im.Config):
			content = im.Config
		case known:
			for _, layer := range im.Layers {
				if rest == ocitest.SHA256(layer) {
					content = layer
				}
			}
		}
		if content == nil {
			http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content) // a client that is gone needs no answer
	})
}

// describe returns what is to be seen of pods.
func describe(pods []json.RawMessage) string {
	var b strings.Builder
	for _, text := range pods {
		var p struct {
			Metadata struct{ Name string }
			Spec     struct {
				ImagePullSecrets []struct{ Name string }
			}
			Status struct {
				Phase             string
				ContainerStatuses []struct {
					Name, Image, ImageID string
					State                map[string]struct{ Reason, Message string }
				}
			}
		}
		if err := json.Unmarshal(text, &p); err != nil {
			return err.Error()
		}
		fmt.Fprintf(&b, "Name: %s\nStatus: %s\n", p.Metadata.Name, p.Status.Phase)
		for _, s := range p.Spec.ImagePullSecrets {
			fmt.Fprintf(&b, "Pull secret: %s\n", s.Name)
		}
		for _, c := range p.Status.ContainerStatuses {
			fmt.Fprintf(&b, "Container %s\n  Image: %s\n  Image ID: %s\n", c.Name, c.Image, c.ImageID)
			for state, why := range c.State {
				fmt.Fprintf(&b, "  State: %s %s %s\n", state, why.Reason, why.Message)
			}
		}
	}
	return b.String()
}
