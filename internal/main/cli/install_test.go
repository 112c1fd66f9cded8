package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/main/cli"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// installable makes an application with one version and a customer, and a cluster. It returns the paths of the licence, of the public key
// and of the kubeconfig, those of a folder to install to and of an airgap bundle, which are not there, and a registry of the customer with
// the file of its password, by their names.
func installable(t *testing.T, s *apptest.Server) map[string]string {
	t.Helper()
	dir := t.TempDir()
	s.Root(t).CreateRepository(t, "parts/api").Push(t, "1.0", ocitest.NewImage(7, 1000))
	s.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Parts"},
		new(ecrintypes.VendorApplicationResponse))
	s.Operator(t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "parts", Files: []ecrintypes.ReleaseFile{{
		Path: "web.yaml", Content: fmt.Sprintf("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n"+
			"  template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers: [{name: web, image: %q}]\n",
			strings.TrimPrefix(s.Running.URL, "http://")+"/parts/api:1.0")}}}, new(ecrintypes.ReleaseResponse))
	s.Operator(t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "parts", Sequence: 1, ChannelIds: []string{"unstable"},
		VersionLabel: "1.0"}, new(ecrintypes.PromoteReleaseResponse))
	var c ecrintypes.CreateCustomerResponse
	s.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "parts", CustomerName: "Big",
		Features: []ecrintypes.CustomerFeature{ecrintypes.CustomerFeatureAirgap}}, &c)
	s.Operator(t, "PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: "parts", CustomerId: c.Customer.CustomerId,
		Repositories: []string{"parts/*"}}, new(ecrintypes.EntitlementResponse))
	var l ecrintypes.GetLicenseResponse
	s.Operator(t, "GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "parts", CustomerId: c.Customer.CustomerId}, &l)
	var k ecrintypes.GetLicenseKeyResponse
	s.Operator(t, "GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{}, &k)
	api := httptest.NewServer(kubestand.New(s.HTTP))
	t.Cleanup(api.Close)
	s.Root(t).CreateRepository(t, "apps/parts/api")
	files := map[string]string{"appdir": filepath.Join(dir, "app"), "airgap": filepath.Join(dir, "parts.airgap"), "own": s.URL + "/apps"}
	for name, text := range map[string]string{"apppassword": s.Root(t).Password(t), "applicense": l.License,
		"appkey": k.PublicKey, "kubeconfig": kubestand.Kubeconfig(api.URL)} {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// What people see of an installation and of its versions.
func TestInstallAndUpdateForPeople(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	p := installable(t, s)
	step := func(wantCode int, line string, want ...string) {
		t.Helper()
		code, out, errs := run(t, strings.Fields(os.Expand(line, func(name string) string { return p[name] }))...)
		if code != wantCode {
			t.Fatalf("ecrin %s: got %d\n%s%s", line, code, out, errs)
		}
		for _, one := range want {
			if !strings.Contains(out+errs, one) {
				t.Errorf("ecrin %s: no %q in\n%s%s", line, one, out, errs)
			}
		}
	}
	step(2, "install $applicense", "--key is needed")
	step(1, "update list --dir $appdir", "there is no installation in the folder")
	step(0, "install $applicense --key $appkey --kubeconfig $kubeconfig --dir $appdir --check", "CHECK", "memory", "cluster  ok      "+
		kubestand.Version)
	step(0, "install $applicense --key $appkey --kubeconfig $kubeconfig --dir $appdir --namespace parts", "the version 1.0 is deployed")
	step(1, "install $applicense --key $appkey --kubeconfig $kubeconfig --dir $appdir", "use ecrin update")
	step(0, "update check --dir $appdir", "there is no new version")
	step(0, "update preflight --dir $appdir --egress-allow 127.0.0.1", "IMAGE", "/parts/api:1.0  yes ", "pull secret")
	step(3, "update preflight 0 --dir $appdir", "unknown", "--egress-allow")
	step(2, "update preflight x --dir $appdir", "VERSION is a number")
	step(2, "update console --dir $appdir --listen 0.0.0.0:0", "--listen is an address of this machine")
	step(1, "update console --dir $appdir/none", "there is no installation in the folder")
	step(0, "files --dir $appdir", "overlays/midstream/kustomization.yaml\n", "upstream/userdata/license.yaml\n",
		"rendered/this-cluster/all.yaml\n")
	step(0, "files upstream/web.yaml --dir $appdir", "kind: Deployment\n")
	step(1, "files upstream/none --dir $appdir", "has no file upstream/none")
	step(0, "update registry r.invalid/apps --no-copy --dir $appdir", "Registry Change", "New version available")
	step(1, "update deploy --dir $appdir", "the version 1 (1.0) has failed: Deployment web: pod web-", "ImagePullBackOff")
	step(0, "update rollback --dir $appdir", "the version 0 (1.0) is deployed")
	step(0, "update list --refresh --dir $appdir", "Currently deployed version", "failed", "deployed")
	step(0, "update diff --rendered --from 0 --to 1 --dir $appdir", "+      - image: r.invalid/apps/parts/api:1.0\n")
	step(2, "update deploy x --dir $appdir", "VERSION is a number")
	step(2, "update watch --interval 1s --dir $appdir", "--interval is hourly")
}

// The console of an installation prints addresses as JSON, serves the first one, and ends when it is told to.
func TestUpdateConsole(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	p := installable(t, s)
	must(t, "install", p["applicense"], "--key", p["appkey"], "--kubeconfig", p["kubeconfig"], "--dir", p["appdir"], "--no-deploy")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, cli.Env{Args: []string{"update", "console", "--dir", p["appdir"], "--json"}, Out: in, Err: io.Discard,
			Lookup: nothing})
		in.Close()
	}()
	var first struct{ Address, Folder string }
	if err := json.NewDecoder(out).Decode(&first); err != nil || !filepath.IsAbs(first.Folder) {
		t.Fatalf("the first line: got %+v, %v", first, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, first.Address, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	a.Body.Close()
	if a.StatusCode != http.StatusOK {
		t.Errorf("%s: got %d", first.Address, a.StatusCode)
	}
	cancel()
	if got := <-code; got != 0 {
		t.Errorf("the end: got %d", got)
	}
}
