package install_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// fixture is a server of a vendor with the application shop and a customer, and a cluster.
type fixture struct {
	*apptest.Server
	t        *testing.T
	clock    time.Time
	key      string
	license  []byte
	customer string
	cluster  *kubestand.Cluster
	kube     string // kubeconfig
	dir      string
	image    ocitest.Image
	host     string // of the vendor's registry
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	fx := &fixture{t: t, clock: time.Now().Truncate(time.Second), dir: filepath.Join(t.TempDir(), "app")}
	fx.Server = apptest.Start(t, apptest.Options{Now: func() time.Time { return fx.clock }})
	fx.host = strings.TrimPrefix(fx.Running.URL, "http://")
	fx.do("CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"}, new(ecrintypes.VendorApplicationResponse))
	repo := fx.Root(t).CreateRepository(t, "shop/api")
	fx.image = ocitest.NewImage(1, 1000)
	repo.Push(t, "1.0", fx.image)
	var c ecrintypes.CreateCustomerResponse
	fx.do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "Big"}, &c)
	fx.customer = c.Customer.CustomerId
	fx.do("PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: fx.customer,
		Repositories: []string{"shop/*"}}, new(ecrintypes.EntitlementResponse))
	var key ecrintypes.GetLicenseKeyResponse
	fx.do("GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{}, &key)
	fx.key = key.PublicKey
	fx.license = fx.getLicense()
	fx.cluster = kubestand.New(fx.HTTP)
	api := httptest.NewServer(fx.cluster)
	t.Cleanup(api.Close)
	fx.kube = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(fx.kube, []byte(kubestand.Kubeconfig(api.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	return fx
}

func (fx *fixture) do(operation string, in, out any) {
	fx.t.Helper()
	fx.Operator(fx.t, operation, in, out)
}

func (fx *fixture) getLicense() []byte {
	fx.t.Helper()
	var l ecrintypes.GetLicenseResponse
	fx.do("GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "shop", CustomerId: fx.customer}, &l)
	return []byte(l.License)
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: %q}]
`

// release makes a release with a Deployment of an image, and further files, and promotes it.
func (fx *fixture) release(label, image string, required bool, more ...string) {
	fx.t.Helper()
	files := []ecrintypes.ReleaseFile{{Path: "web.yaml", Content: fmt.Sprintf(deployment, image)}}
	for i := 0; i < len(more); i += 2 {
		files = append(files, ecrintypes.ReleaseFile{Path: more[i], Content: more[i+1]})
	}
	var r ecrintypes.ReleaseResponse
	fx.do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: files}, &r)
	fx.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: r.Release.Sequence,
		ChannelIds: []string{"unstable"}, VersionLabel: label, Required: &required}, new(ecrintypes.PromoteReleaseResponse))
}

// private says that the images of the vendor, and those of a registry that nobody knows, are private.
type private struct{}

func (private) Ask(_ context.Context, image rule.Reference) (rule.Verdict, error) {
	if image.Host == "" {
		return rule.Pulled, nil
	}
	return rule.Refused, errors.New("401 Unauthorized")
}

func (fx *fixture) options() install.Options {
	return install.Options{Now: func() time.Time { return fx.clock }, Poll: 10 * time.Millisecond, Asker: private{}}
}

func (fx *fixture) settings() install.Settings {
	return install.Settings{Kubeconfig: fx.kube, Namespace: "shop"}
}

// create makes the installation, with its first version, which is not deployed.
func (fx *fixture) create() *install.Installation {
	fx.t.Helper()
	i, err := install.Create(fx.dir, fx.license, fx.key, fx.settings(), fx.options())
	if err != nil {
		fx.t.Fatal(err)
	}
	fx.t.Cleanup(i.Close)
	if found, err := i.Check(fx.t.Context()); err != nil || len(found) != 1 {
		fx.t.Fatalf("the first version: got %+v, %v", found, err)
	}
	return i
}

const wait = 20 * time.Second

func (fx *fixture) deploy(i *install.Installation, sequence int64) {
	fx.t.Helper()
	if err := i.Deploy(fx.t.Context(), sequence, wait); err != nil {
		fx.t.Fatalf("deploying the version %d: %v", sequence, err)
	}
}

func (fx *fixture) read(i *install.Installation, sequence int64, path string) string {
	fx.t.Helper()
	text, err := i.Read(sequence, path)
	if err != nil {
		fx.t.Fatal(err)
	}
	return string(text)
}

// running returns the images of the pods of the cluster, with their digests.
func (fx *fixture) running() string {
	var all []string
	for _, text := range fx.cluster.Objects("shop", "Pod") {
		var p struct {
			Status struct {
				ContainerStatuses []struct{ Image, ImageID string }
			}
		}
		if err := json.Unmarshal(text, &p); err != nil {
			fx.t.Fatal(err)
		}
		for _, c := range p.Status.ContainerStatuses {
			all = append(all, c.Image+"="+c.ImageID[strings.LastIndexByte(c.ImageID, '@')+1:])
		}
	}
	return strings.Join(all, " ")
}

func (fx *fixture) history(i *install.Installation) string {
	var all []string
	versions, current := i.Versions()
	for _, v := range versions {
		all = append(all, fmt.Sprintf("%d %s %s %s", v.Sequence, v.Label, v.Source, v.Status))
	}
	return fmt.Sprintf("%s; current %d", strings.Join(all, ", "), current)
}

func TestInstallUpdateAndRollBack(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	ref := fx.host + "/shop/api"
	fx.release("1.0", ref+":1.0", false, "old.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: old}\n")
	i := fx.create()
	fx.deploy(i, 0)
	if got, want := fx.running(), ref+":1.0="+fx.image.Digest; got != want {
		t.Errorf("the cluster runs %s, want %s", got, want)
	}
	if got := fx.read(i, 0, "upstream/userdata/installation.yaml"); !strings.Contains(got, "image: "+ref+":1.0\n") {
		t.Errorf("the installation is\n%s", got)
	}
	if found, err := i.Check(t.Context()); err != nil || len(found) != 0 {
		t.Errorf("a check without a new version: got %+v, %v", found, err)
	}
	fx.release("2.0", ref+"@"+fx.image.Digest, false)
	found, err := i.Check(t.Context())
	if err != nil || len(found) != 1 || found[0].Status != install.Pending || found[0].Source != install.UpstreamUpdate {
		t.Errorf("a check with a new version: got %+v, %v", found, err)
	}
	if got := fx.running(); !strings.HasPrefix(got, ref+":1.0=") {
		t.Errorf("after the check the cluster runs %s", got)
	}
	diff, err := i.Diff(0, 1, false)
	if err != nil || !strings.Contains(diff, "+++ b/upstream/web.yaml\n") ||
		!strings.Contains(diff, "-      containers: [{name: web, image: \""+ref) ||
		!strings.Contains(diff, "--- a/upstream/old.yaml\n") || strings.Contains(diff, "userdata") {
		t.Errorf("the differences are %v\n%s", err, diff)
	}
	fx.deploy(i, 1)
	if got, want := fx.running(), ref+"@"+fx.image.Digest+"="+fx.image.Digest; got != want {
		t.Errorf("the cluster runs %s, want %s", got, want)
	}
	if got := fx.cluster.Objects("shop", "ConfigMap"); len(got) != 0 {
		t.Errorf("an object that the version does not have is still there: %s", got)
	}
	if got, want := fx.history(i), "0 1.0 Online Install deployed, 1 2.0 Upstream Update deployed; current 1"; got != want {
		t.Errorf("the history is %q, want %q", got, want)
	}
	if err := i.Rollback(t.Context(), -1, wait); err != nil {
		t.Error(err)
	}
	if got := fx.running(); !strings.HasPrefix(got, ref+":1.0=") || len(fx.cluster.Objects("shop", "ConfigMap")) != 1 {
		t.Errorf("after going back the cluster runs %s", got)
	}
	if err := i.Rollback(t.Context(), -1, wait); err == nil {
		t.Error("there was a version before the first")
	}
	i.Close()
	again, err := install.Open(fx.dir, fx.options())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, want := fx.history(again), fx.history(i); got != want {
		t.Errorf("opened again: the history is %q, want %q", got, want)
	}
	if info, err := os.Stat(filepath.Join(fx.dir, "state.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state.json: got %v, %v", info.Mode(), err)
	}
}

// P12: edits in overlays/downstreams/this-cluster survive an update, and midstream is made anew.
func TestP12DownstreamEditsSurviveAnUpdate(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	ref := fx.host + "/shop/api:1.0"
	fx.release("1.0", ref, false)
	i := fx.create()
	fx.deploy(i, 0)
	own := filepath.Join(fx.dir, "overlays/downstreams/this-cluster")
	write(t, filepath.Join(own, "kustomization.yaml"), "bases: [../../midstream]\npatchesStrategicMerge: [two.yaml]\n")
	write(t, filepath.Join(own, "two.yaml"), "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n")
	before := fx.read(i, 0, "overlays/midstream/kustomization.yaml")
	fx.release("2.0", ref, false, "b.yaml", strings.Replace(fmt.Sprintf(deployment, ref), "web", "other", 3))
	if _, err := i.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	fx.deploy(i, 1)
	if got := strings.Count(fx.running(), ref+"="); got != 3 {
		t.Errorf("the edit did not survive: %d pods run, want 2 of web and 1 of other", got)
	}
	if got := fx.read(i, 1, "overlays/midstream/pullsecrets.yaml"); !strings.Contains(got, "name: other") || before == "" {
		t.Errorf("midstream was not made anew:\n%s", got)
	}
	write(t, filepath.Join(own, "two.yaml"), "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: gone}\nspec: {replicas: 2}\n")
	var failed *install.FailedError
	if err := i.Deploy(t.Context(), 1, wait); !errors.As(err, &failed) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("an edit of an object that is gone: got %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// P11: with a registry of the customer all images get its names, the secret has that host only, and the source of the version is Registry
// Change.
func TestP11RegistryChange(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", fx.host+"/shop/api:1.0", false, "b.yaml", strings.ReplaceAll(fmt.Sprintf(deployment, "nginx"), "web", "public"))
	i := fx.create()
	for _, c := range []struct {
		registry        *install.Registry
		private, public string
	}{
		{&install.Registry{Target: rewrite.Target{Host: "r.example.com:5000"}, Namespace: "apps", LastSegment: true, Username: "me",
			Password: "secret", NoCopy: true},
			"r.example.com:5000/apps/api:1.0", "r.example.com:5000/apps/nginx"},
		{&install.Registry{Target: rewrite.Target{Host: "r.example.com"}, Username: "me", Password: "secret", NoCopy: true},
			"r.example.com/shop/api:1.0",
			"r.example.com/library/nginx"},
		{nil, fx.host + "/shop/api:1.0", "nginx"},
	} {
		if err := i.SetRegistry(t.Context(), c.registry); err != nil {
			t.Fatal(err)
		}
		v, err := i.Version(-1)
		if err != nil || v.Source != install.RegistryChange || v.Status != install.Pending || v.Label != "1.0" {
			t.Errorf("the version is %+v, %v", v, err)
		}
		got := fx.read(i, v.Sequence, "rendered/this-cluster/all.yaml")
		for _, image := range []string{c.private, c.public} {
			if !strings.Contains(got, "image: "+image+"\n") {
				t.Errorf("no image %s in\n%s", image, got)
			}
		}
		secret := fx.read(i, v.Sequence, "overlays/midstream/secret.yaml")
		if c.registry != nil && dockerConfig(t, secret) != fmt.Sprintf(`{"auths":{%q:{"auth":"bWU6c2VjcmV0"}}}`, c.registry.Host) {
			t.Errorf("the secret is\n%s", secret)
		}
	}
}

func TestRequiredVersionsComeFirst(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	ref := fx.host + "/shop/api:1.0"
	fx.release("1", ref, false)
	i := fx.create()
	fx.deploy(i, 0)
	fx.release("2", ref, true)
	for n := 3; n <= 14; n++ {
		fx.release(fmt.Sprint(n), ref, false)
	}
	found, err := i.Check(t.Context())
	if err != nil || len(found) != 11 || found[0].Label != "2" || found[1].Label != "5" {
		t.Fatalf("got %d versions, %v", len(found), err)
	}
	if err := i.Deploy(t.Context(), 5, wait); err == nil || !strings.Contains(err.Error(), "the version 1 (2) is required") {
		t.Errorf("leaving a required version out: got %v", err)
	}
	fx.deploy(i, 1)
	fx.deploy(i, 5)
}

// The folder of the customer's changes is made at once: what an interrupted attempt has left does not become a change.
func TestFolderOfChangesIsMadeAtOnce(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	half := filepath.Join(fx.dir, "overlays/downstreams.new/this-cluster/kustomization.yaml")
	if err := os.MkdirAll(filepath.Dir(half), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, half, "apiVersion: kust")
	fx.release("1.0", fx.host+"/shop/api:1.0", false)
	fx.deploy(fx.create(), 0)
	text, err := os.ReadFile(filepath.Join(fx.dir, "overlays/downstreams/this-cluster/kustomization.yaml"))
	if err != nil || !strings.Contains(string(text), "../../midstream") {
		t.Errorf("the changes are %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Dir(filepath.Dir(half))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left is there: %v", err)
	}
}

// A status is looked at until it settles: what is on its way stays deploying, with the reason, and is deployed when it has ended.
func TestRefreshLooksUntilTheStatusSettles(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", fx.host+"/shop/api:1.0", false, "job.yaml", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: once, annotations: "+
		"{ends: never}}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: nginx}]}}}\n")
	i := fx.create()
	i.Close()
	o := fx.options()
	o.Settle = 100 * time.Millisecond
	i, err := install.Open(fx.dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	if err := i.Deploy(t.Context(), 0, 50*time.Millisecond); !errors.Is(err, install.ErrNotReady) {
		t.Fatalf("got %v, want %v", err, install.ErrNotReady)
	}
	if v, err := i.Refresh(t.Context()); err != nil || v.Status != install.Deploying ||
		v.Error != "not settled after 100ms: Job once: it has not ended" {
		t.Errorf("a Job that has not ended: got %+v, %v", v, err)
	}
	fx.cluster.End("shop", "once")
	if v, err := i.Refresh(t.Context()); err != nil || v.Status != install.Deployed || v.Error != "" {
		t.Errorf("a Job that has ended: got %+v, %v", v, err)
	}
}

// An image that cannot be pulled gives failed, with the text of the kubelet; what the API server refuses too, with its text. Looking again
// after a repair gives deployed.
func TestStatusComesFromTheCluster(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", fx.host+"/shop/none:1.0", false)
	i := fx.create()
	var failed *install.FailedError
	err := i.Deploy(t.Context(), 0, wait)
	if !errors.As(err, &failed) || failed.Version.Status != install.Failed ||
		!strings.Contains(err.Error(), "ImagePullBackOff: Back-off pulling image") ||
		!strings.Contains(err.Error(), "unexpected status from GET request") {
		t.Errorf("an image that does not exist: got %v", err)
	}
	fx.Root(t).CreateRepository(t, "shop/none").Push(t, "1.0", fx.image)
	fx.deploy(i, 0)
	if v, err := i.Refresh(t.Context()); err != nil || v.Status != install.Deployed {
		t.Errorf("got %+v, %v", v, err)
	}
	fx.cluster.Away(true)
	if v, err := i.Refresh(t.Context()); err != nil || v.Status != install.Unknown || v.Error == "" {
		t.Errorf("with the API server away: got %+v, %v", v, err)
	}
	if got := fx.history(i); !strings.Contains(got, "deployed") {
		t.Errorf("the stored status is that of before: %s", got)
	}
	fx.cluster.Away(false)
	fx.cluster.Refuse(func(kind, _ string) bool { return kind == "Deployment" })
	if err := i.Deploy(t.Context(), 0, wait); !errors.As(err, &failed) || !strings.Contains(err.Error(), "the quota is exceeded") {
		t.Errorf("refused by the API server: got %v", err)
	}
}

// A deployment that is interrupted by an API server that goes away is resumed by another process.
func TestDeploymentResumes(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", fx.host+"/shop/api:1.0", false)
	i := fx.create()
	fx.cluster.Refuse(func(kind, _ string) bool {
		if kind == "Deployment" {
			panic(http.ErrAbortHandler)
		}
		return false
	})
	err := i.Deploy(t.Context(), 0, wait)
	var failed *install.FailedError
	if err == nil || errors.As(err, &failed) || !strings.Contains(err.Error(), "ecrin update deploy resumes the deployment") {
		t.Errorf("got %v", err)
	}
	if got := fx.history(i); got != "0 1.0 Online Install deploying; current 0" {
		t.Errorf("the history is %q", got)
	}
	i.Close()
	fx.cluster.Refuse(nil)
	again, err := install.Create(fx.dir, fx.license, fx.key, fx.settings(), fx.options())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	next, err := again.Next()
	if err != nil || next.Sequence != 0 {
		t.Fatalf("got %+v, %v", next, err)
	}
	fx.deploy(again, 0)
}

func TestTwoInstallersOnOneFolder(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", "nginx", false)
	i := fx.create()
	if _, err := install.Open(fx.dir, fx.options()); !errors.Is(err, install.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	if _, err := install.Create(fx.dir, fx.license, fx.key, fx.settings(), fx.options()); !errors.Is(err, install.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	i.Close()
	if _, err := install.Open(t.TempDir(), fx.options()); !errors.Is(err, install.ErrNotInstalled) {
		t.Errorf("an empty folder: got %v", err)
	}
}

func TestConfigValues(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	fx.release("1.0", fx.host+"/shop/api:1.0", false, "config.yaml", `apiVersion: kots.io/v1beta1
kind: Config
metadata: {name: c}
spec:
  groups:
    - name: g
      items:
        - {name: hostname, title: Host name, required: true}
        - {name: replicas, default: 1}
`, "map.yaml", `apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  host: 'repl{{ ConfigOption "hostname" }}'
  replicas: 'repl{{ ConfigOption "replicas" }}'
  customer: '{{repl LicenseFieldValue "seats" }}'
`)
	i := fx.create()
	if v, _ := i.Version(0); v.Status != install.PendingConfig || !strings.Contains(v.Error, "hostname") {
		t.Errorf("got %+v", v)
	}
	if err := i.Deploy(t.Context(), 0, wait); err == nil || !strings.Contains(err.Error(), "the value hostname is missing") {
		t.Errorf("got %v", err)
	}
	if err := i.SetConfig(t.Context(), map[string]string{"colour": "red"}); err == nil {
		t.Error("a value that the application does not have was set")
	}
	if err := i.SetConfig(t.Context(), map[string]string{"hostname": "shop.example.com"}); err != nil {
		t.Fatal(err)
	}
	if got := fx.history(i); got != "0 1.0 Online Install pending_config, 1 1.0 Config Change pending; current -1" {
		t.Errorf("the history is %q", got)
	}
	got := fx.read(i, 1, "rendered/this-cluster/all.yaml")
	if !strings.Contains(got, "host: shop.example.com\n") || !strings.Contains(got, "replicas: \"1\"\n") {
		t.Errorf("got\n%s", got)
	}
	fx.deploy(i, 1)
}

// proxied returns the licence with another server of updates, which a function handles before the vendor's.
func (fx *fixture) proxied(handle func(w http.ResponseWriter, r *http.Request) bool) (license []byte, key string) {
	fx.t.Helper()
	to, err := url.Parse(fx.URL)
	if err != nil {
		fx.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !handle(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	fx.t.Cleanup(s.Close)
	fx.host = strings.TrimPrefix(s.URL, "http://")
	// The vendor's server signs the licence with the host of the request.
	r, err := http.NewRequestWithContext(fx.t.Context(), http.MethodGet, fx.URL+"/license/shop", nil)
	if err != nil {
		fx.t.Fatal(err)
	}
	r.Host = fx.host
	id := licenseID(fx.t, fx.license)
	r.SetBasicAuth(id, id)
	resp, err := fx.HTTP.Do(r)
	if err != nil {
		fx.t.Fatal(err)
	}
	defer resp.Body.Close()
	return readAll(fx.t, resp), fx.key
}

// A customer that is archived between the check and the download gets nothing, and what is there stays.
func TestArchivedInMidUpdate(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	archive := false
	yes := true
	fx.license, _ = fx.proxied(func(_ http.ResponseWriter, r *http.Request) bool {
		if archive && r.URL.Path == "/release/shop" {
			fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: fx.customer, Archived: &yes},
				new(ecrintypes.CustomerResponse))
		}
		return false
	})
	fx.release("1.0", fx.host+"/shop/api:1.0", false)
	i := fx.create()
	fx.deploy(i, 0)
	fx.release("2.0", fx.host+"/shop/api:1.0", false)
	archive = true
	found, err := i.Check(t.Context())
	if err == nil || len(found) != 0 || !strings.Contains(err.Error(), "401: the licence is not valid") {
		t.Errorf("got %+v, %v", found, err)
	}
	if got := fx.history(i); got != "0 1.0 Online Install deployed; current 0" {
		t.Errorf("the history is %q", got)
	}
	if v, err := i.Refresh(t.Context()); err != nil || v.Status != install.Deployed {
		t.Errorf("what runs: got %+v, %v", v, err)
	}
}
