// Package install_test installs and updates an application with the real program, on a real cluster of Kubernetes with a real node. It
// needs the programs of tools/clients/install kubernetes, and root.
package install_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubetest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// binary is the path of the program.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("install: skipped with -short")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ecrin-it-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "ecrin")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", binary, "../../../cmd/ecrin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building ecrin: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// ecr is the name of the vendor's registry in Amazon ECR's form, under which the manifests name its images.
const ecr = "000000000000.dkr.ecr.us-east-1.amazonaws.com"

// fixture is a vendor with its registry, a public registry, a cluster with a node, and a customer who installs there.
type fixture struct {
	*kubetest.Cluster
	t                      *testing.T
	vendor                 *apptest.Server
	public                 string // host of the public registry
	dir, license, key, ca  string // paths
	publicImage, ownImage  ocitest.Image
	customer, licenseProxy string
}

// images returns two images with busybox, which sleep for different times.
func images(t *testing.T) (public, own ocitest.Image) {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is not installed: run tools/clients/install kubernetes")
	}
	for i, to := range []*ocitest.Image{&public, &own} {
		if *to, err = kubetest.Program(path, "bin/busybox", fmt.Sprintf(`"Cmd":["/bin/busybox","sleep","%d"]`, 100000+i)); err != nil {
			t.Fatal(err)
		}
	}
	return public, own
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	dir := t.TempDir()
	fx := &fixture{t: t, dir: filepath.Join(dir, "app"), license: filepath.Join(dir, "license.yaml"), key: filepath.Join(dir, "vendor.pem"),
		ca: filepath.Join(dir, "ca.pem")}
	fx.publicImage, fx.ownImage = images(t)
	fx.publicRegistry()
	fx.vendor = apptest.Start(t, apptest.Options{})
	fx.licenseProxy = strings.TrimPrefix(fx.vendor.Running.URL, "http://")
	fx.vendor.Root(t).CreateRepository(t, "demo-apps/nginx").Push(t, "latest", fx.ownImage)
	fx.do("CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "MySampleECRApp"},
		new(ecrintypes.VendorApplicationResponse))
	var c ecrintypes.CreateCustomerResponse
	fx.do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "mysampleecrapp", CustomerName: "Big"}, &c)
	fx.customer = c.Customer.CustomerId
	fx.do("PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: "mysampleecrapp", CustomerId: fx.customer,
		Repositories: []string{"demo-apps/*"}}, new(ecrintypes.EntitlementResponse))
	var l ecrintypes.GetLicenseResponse
	fx.do("GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "mysampleecrapp", CustomerId: fx.customer}, &l)
	var k ecrintypes.GetLicenseKeyResponse
	fx.do("GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{}, &k)
	fx.write(fx.license, l.License)
	fx.write(fx.key, k.PublicKey)

	archive, err := kubetest.Archive(fx.publicImage, kubetest.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	fx.Cluster = kubetest.Start(t, kubetest.Options{Node: true, Image: archive})
	trust := filepath.Join(fx.Dir, "certs.d", fx.public)
	if err := os.MkdirAll(trust, 0o755); err != nil {
		t.Fatal(err)
	}
	fx.write(filepath.Join(trust, "hosts.toml"), fmt.Sprintf("server = \"https://%[1]s\"\n[host.\"https://%[1]s\"]\n"+
		"  capabilities = [\"pull\", \"resolve\"]\n  skip_verify = true\n", fx.public))
	return fx
}

// publicRegistry starts a registry that gives the image nginx to everyone by TLS.
func (fx *fixture) publicRegistry() {
	s := apptest.Start(fx.t, apptest.Options{})
	root := s.Root(fx.t)
	root.CreateRepository(fx.t, "nginx").Push(fx.t, "latest", fx.publicImage)
	to, err := url.Parse(s.URL)
	if err != nil {
		fx.t.Fatal(err)
	}
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte("AWS:"+root.Password(fx.t)))
	front := httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Header.Set("Authorization", auth)
	}})
	fx.t.Cleanup(front.Close)
	fx.public = strings.TrimPrefix(front.URL, "https://")
	fx.write(fx.ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw})))
}

func (fx *fixture) do(operation string, in, out any) {
	fx.t.Helper()
	fx.vendor.Operator(fx.t, operation, in, out)
}

func (fx *fixture) write(path, text string) {
	fx.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		fx.t.Fatal(err)
	}
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  strategy: {type: Recreate}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers: [{name: web, image: %q%s}]
`

// release makes a release with a Deployment of an image, and further files, and promotes it.
func (fx *fixture) release(label, image, more string, files ...ecrintypes.ReleaseFile) {
	fx.t.Helper()
	var r ecrintypes.ReleaseResponse
	fx.do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "mysampleecrapp", Files: append(files,
		ecrintypes.ReleaseFile{Path: "web.yaml", Content: fmt.Sprintf(deployment, image, more)})}, &r)
	fx.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "mysampleecrapp", Sequence: r.Release.Sequence,
		ChannelIds: []string{"unstable"}, VersionLabel: label}, new(ecrintypes.PromoteReleaseResponse))
}

// command returns a command of ecrin. Its folder is that of the installation, but for install.
func (fx *fixture) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(fx.t.Context(), binary, append(args, "--dir", fx.dir)...)
	cmd.Env = append(os.Environ(), "HOME="+fx.t.TempDir())
	return cmd
}

// ecrin runs a command, and returns what it writes. ok says whether it must succeed.
func (fx *fixture) ecrin(ok bool, args ...string) string {
	fx.t.Helper()
	out, err := fx.command(args...).CombinedOutput()
	if (err == nil) != ok {
		fx.t.Fatalf("ecrin %s: %v\n%s\n%s", strings.Join(args, " "), err, out, fx.pods())
	}
	return string(out)
}

func (fx *fixture) pods() string {
	out, err := fx.TryKubectl(fx.Kubeconfig, "", "describe", "pods", "-n", "shop")
	return fmt.Sprint(out, err)
}

// versions returns the history of the installation, in one line.
func (fx *fixture) versions() string {
	fx.t.Helper()
	out, err := fx.command("update", "list", "--json").Output()
	var list struct {
		Versions []struct {
			Sequence              int64
			Source, Status, Error string
		}
		Current int64
	}
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		fx.t.Fatalf("%v\n%s", err, out)
	}
	var all []string
	for _, v := range list.Versions {
		all = append(all, fmt.Sprintf("%d %s %s", v.Sequence, v.Source, v.Status))
	}
	return fmt.Sprintf("%s; current %d", strings.Join(all, ", "), list.Current)
}

// started returns the digests that the containers of running pods were started from, and the names of the images.
func (fx *fixture) started() (digests []string, names string) {
	fx.t.Helper()
	for line := range strings.Lines(fx.Kubectl("get", "pods", "-n", "shop", "-l", "app=web", "-o",
		`jsonpath={range .items[*]}{.status.containerStatuses[0].state.running.startedAt} {.status.containerStatuses[0].imageID} {.spec.containers[0].image}{"\n"}{end}`)) {
		if f := strings.Fields(line); len(f) == 3 {
			_, digest, _ := strings.Cut(f[1], "@")
			digests, names = append(digests, digest), f[2]
		}
	}
	return digests, names
}

func (fx *fixture) expectStarted(digest, name string, n int) {
	fx.t.Helper()
	digests, got := fx.started()
	if len(digests) != n || got != name || strings.Count(strings.Join(digests, " "), digest) != n {
		fx.t.Errorf("%v of the image %s run, want %d of %s with the digest %s\n%s", digests, got, n, name, digest, fx.pods())
	}
}

func (fx *fixture) file(path string) string {
	fx.t.Helper()
	return fx.ecrin(true, "files", path)
}

// The rows of the vendor's walk-through, one after another on one installation.
func TestInstallerRows(t *testing.T) {
	fx := newFixture(t)
	proxied := fx.licenseProxy + "/proxy/mysampleecrapp/" + ecr + "/demo-apps/nginx"
	row := func(name string, f func(*testing.T)) {
		t.Helper()
		if !t.Run(name, func(sub *testing.T) {
			fx.t = sub
			f(sub)
		}) {
			t.FailNow() // the next rows begin where this one ends
		}
	}
	row("P1", func(t *testing.T) {
		fx.release("1.0", fx.public+"/nginx", "")
		out := fx.ecrin(true, "install", fx.license, "--key", fx.key, "--kubeconfig", fx.Kubeconfig, "--namespace", "shop", "--ca", fx.ca,
			"--egress-allow", "127.0.0.1", "--wait", "2m")
		if !strings.Contains(out, "the version 1.0 is deployed") || !strings.Contains(out, "v1.35") {
			t.Errorf("ecrin install says\n%s", out)
		}
		if got := fx.versions(); got != "0 Online Install deployed; current 0" {
			t.Errorf("the history is %q", got)
		}
		fx.expectStarted(fx.publicImage.Digest, fx.public+"/nginx", 1)
		if got := fx.file("upstream/web.yaml"); !strings.Contains(got, `image: "`+fx.public+`/nginx"`) {
			t.Errorf("upstream is\n%s", got)
		}
		if got := fx.file("upstream/userdata/installation.yaml"); !strings.Contains(got, "- image: "+fx.public+"/nginx\n") ||
			!strings.Contains(got, "isPrivate: false\n") {
			t.Errorf("the known images are\n%s", got)
		}
		if got := fx.file("overlays/midstream/kustomization.yaml"); strings.Contains(got, "images:") {
			t.Errorf("a public image is proxied:\n%s", got)
		}
	})
	row("k3s", func(t *testing.T) {
		// The kubeconfig is at the place where k3s writes it: no other cluster is named, so that this one is taken.
		const config = "/etc/rancher/k3s/k3s.yaml"
		if _, err := os.Stat(config); err == nil {
			t.Skip("this machine has k3s")
		}
		text, err := os.ReadFile(fx.Kubeconfig)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(config), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll("/etc/rancher/k3s")
		fx.write(config, string(text))
		cmd := fx.command("install", fx.license, "--key", fx.key, "--check", "--json")
		cmd.Env = slices.DeleteFunc(cmd.Env, func(s string) bool { return strings.HasPrefix(s, "KUBECONFIG=") })
		out, err := cmd.Output()
		var answer struct {
			Checks []struct{ Name, Found, Result, Want string }
		}
		if jerr := json.Unmarshal(out, &answer); jerr != nil || len(answer.Checks) == 0 {
			t.Fatalf("%v, %v\n%s", err, jerr, out)
		}
		last := answer.Checks[len(answer.Checks)-1]
		if last.Name != "cluster" || last.Result != "ok" || last.Found != "v1.35.4 (k3s of this machine)" {
			t.Errorf("the cluster is %+v", last)
		}
		// A machine that also runs the cluster needs more.
		if got := answer.Checks[2]; got.Name != "memory" || got.Want != "2.0 GiB or more" {
			t.Errorf("the memory is %+v", got)
		}
	})
	row("P3", func(t *testing.T) {
		fx.release("2.0", ecr+"/demo-apps/nginx", "")
		if out := fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1"); !strings.Contains(out, "New version available") {
			t.Errorf("the check says\n%s", out)
		}
		if out := fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1"); !strings.Contains(out, "there is no new version") {
			t.Errorf("the second check says\n%s", out)
		}
		if got := fx.versions(); got != "0 Online Install deployed, 1 Upstream Update pending; current 0" {
			t.Errorf("the history is %q", got)
		}
		fx.expectStarted(fx.publicImage.Digest, fx.public+"/nginx", 1)
	})
	row("P4", func(t *testing.T) {
		fx.ecrin(true, "update", "deploy", "--wait", "2m")
		mid := fx.file("overlays/midstream/kustomization.yaml")
		if want := "images:\n  - name: " + ecr + "/demo-apps/nginx\n    newName: " + proxied + "\n"; !strings.Contains(mid, want) {
			t.Errorf("midstream is\n%s\nwant in it\n%s", mid, want)
		}
		built, err := fx.TryKubectl(fx.Kubeconfig, "", "kustomize", filepath.Join(fx.dir, "versions/1/overlays/downstreams/this-cluster"))
		for _, want := range []string{"image: " + proxied + "\n", "name: mysampleecrapp-registry\n", "imagePullSecrets:\n"} {
			if err != nil || !strings.Contains(built, want) {
				t.Errorf("kubectl kustomize: %v, no %q in\n%s", err, want, built)
			}
		}
		fx.expectStarted(fx.ownImage.Digest, proxied, 1)
	})
	row("P12", func(t *testing.T) {
		own := filepath.Join(fx.dir, "overlays/downstreams/this-cluster")
		fx.write(filepath.Join(own, "kustomization.yaml"), "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"+
			"resources: [../../midstream]\npatches: [{path: two.yaml}]\n")
		fx.write(filepath.Join(own, "two.yaml"), "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 2}\n")
		fx.release("3.0", ecr+"/demo-apps/nginx:latest", "")
		fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1")
		fx.ecrin(true, "update", "deploy", "--wait", "2m")
		fx.expectStarted(fx.ownImage.Digest, proxied+":latest", 2)
	})
	row("an image that cannot be pulled", func(t *testing.T) {
		fx.release("4.0", ecr+"/demo-apps/nginx:none", "")
		fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1")
		out := fx.ecrin(false, "update", "deploy", "--wait", "2m")
		if !strings.Contains(out, "has failed: Deployment web: pod web-") || !strings.Contains(out, "ImagePullBackOff: Back-off pulling image") ||
			!strings.Contains(out, "not found") {
			t.Errorf("the deployment says\n%s", out)
		}
	})
	row("a crash loop", func(t *testing.T) {
		fx.release("5.0", ecr+"/demo-apps/nginx:latest", `, command: ["/bin/busybox", "false"]`)
		fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1")
		out := fx.ecrin(false, "update", "deploy", "--wait", "2m")
		if !strings.Contains(out, "CrashLoopBackOff: back-off") || !strings.Contains(out, "it ended with 1") {
			t.Errorf("the deployment says\n%s", out)
		}
		if got := fx.versions(); !strings.HasSuffix(got, "3 Upstream Update failed, 4 Upstream Update failed; current 4") {
			t.Errorf("the history is %q", got)
		}
	})
	row("kill -9", func(t *testing.T) {
		fx.release("6.0", ecr+"/demo-apps/nginx:latest", `, env: [{name: A, value: b}]`)
		fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1")
		cmd := fx.command("update", "deploy", "--wait", "2m")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fx.Eventually(t, time.Minute, "the deployment", func() error {
			text, err := os.ReadFile(filepath.Join(fx.dir, "state.json"))
			if err == nil && !bytes.Contains(text, []byte(`"status": "deploying"`)) {
				err = fmt.Errorf("it has not begun")
			}
			return err
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		if got := fx.versions(); !strings.HasSuffix(got, "5 Upstream Update deploying; current 5") {
			t.Errorf("the history is %q", got)
		}
		fx.ecrin(true, "update", "deploy", "--wait", "2m")
		fx.expectStarted(fx.ownImage.Digest, proxied+":latest", 2)
	})
	row("a chart with hooks", func(t *testing.T) {
		fx.release("7.0", ecr+"/demo-apps/nginx:latest", `, env: [{name: A, value: b}]`, chart(t)...)
		fx.ecrin(true, "update", "check", "--egress-allow", "127.0.0.1")
		out := fx.ecrin(true, "update", "deploy", "--wait", "2m")
		if !strings.Contains(out, "the hook pre-install of cache: Job migrate") || strings.Contains(out, "check") {
			t.Errorf("the deployment says\n%s", out)
		}
		get := func(what ...string) string { return fx.Kubectl(append([]string{"get", "-n", "store"}, what...)...) }
		if got := get("job", "migrate", "-o", "jsonpath={.status.succeeded}"); got != "1" {
			t.Errorf("%s Jobs of the hook have ended well, want 1", got)
		}
		if got, want := get("deployment", "cache-memory", "-o", "jsonpath={.status.readyReplicas} {.spec.template.spec.containers[0].image} "+
			"{.spec.template.spec.imagePullSecrets[0].name} {.metadata.labels.kube} {.metadata.labels.jobs}"),
			"1 "+proxied+":latest mysampleecrapp-registry v1.35.4 true"; got != want {
			t.Errorf("the Deployment of the chart is %q, want %q", got, want)
		}
		id := get("pods", "-l", "app=cache", "-o", "jsonpath={.items[0].status.containerStatuses[0].imageID}")
		if !strings.HasSuffix(id, "@"+fx.ownImage.Digest) {
			t.Errorf("the pod of the chart runs %s, want %s", id, fx.ownImage.Digest)
		}
		if got := get("thing", "one", "-o", "jsonpath={.spec.size}"); got != "3" {
			t.Errorf("the object of the kind that the chart defines has %q", got)
		}
		// The same again: what has ended is not an error for the update, and runs anew.
		before := get("job", "migrate", "-o", "jsonpath={.metadata.uid}")
		if out := fx.ecrin(true, "update", "deploy", "--wait", "2m"); !strings.Contains(out, "the hook pre-upgrade of cache: Job migrate") {
			t.Errorf("the second deployment says\n%s", out)
		}
		if after := get("job", "migrate", "-o", "jsonpath={.metadata.uid}"); after == before {
			t.Error("the hook did not run again")
		}
	})
	row("P11", func(t *testing.T) {
		own := apptest.Start(t, apptest.Options{})
		root := own.Root(t)
		for _, repo := range []string{"shop/demo-apps/nginx", "shop/nginx"} {
			root.CreateRepository(t, repo)
		}
		host := strings.TrimPrefix(own.Running.URL, "http://")
		password := filepath.Join(t.TempDir(), "password")
		fx.write(password, root.Password(t))
		to := []string{"update", "registry", own.Running.URL + "/shop", "--username", "AWS", "--password-file", password, "--egress-allow",
			"127.0.0.1"}
		if out := fx.ecrin(true, append(to, "--dry-run")...); !strings.Contains(out, host+"/shop/demo-apps/nginx:latest") {
			t.Errorf("the dry run says\n%s", out)
		}
		out := fx.ecrin(true, to...)
		if !strings.Contains(out, "Registry Change") || !strings.Contains(out, "pending") {
			t.Errorf("ecrin update registry says\n%s", out)
		}
		fx.ecrin(true, "update", "deploy", "--wait", "2m")
		fx.expectStarted(fx.ownImage.Digest, host+"/shop/demo-apps/nginx:latest", 2)
		secret := fx.Kubectl("get", "secret", "mysampleecrapp-registry", "-n", "shop", "-o", `jsonpath={.data.\.dockerconfigjson}`)
		config, err := base64.StdEncoding.DecodeString(secret)
		var auths struct{ Auths map[string]any }
		if err == nil {
			err = json.Unmarshal(config, &auths)
		}
		if err != nil || len(auths.Auths) != 1 || auths.Auths[host] == nil {
			t.Errorf("the secret is for %v, %v, want %s alone", auths.Auths, err, host)
		}
		fx.ecrin(true, "update", "registry", "--none", "--egress-allow", "127.0.0.1")
		fx.ecrin(true, "update", "deploy", "--wait", "2m")
		fx.expectStarted(fx.ownImage.Digest, proxied+":latest", 2)
	})
	row("P7", func(t *testing.T) {
		yes := true
		fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "mysampleecrapp", CustomerId: fx.customer, Archived: &yes},
			new(ecrintypes.CustomerResponse))
		before := fx.Kubectl("get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].metadata.uid}")
		if out := fx.ecrin(false, "update", "check"); !strings.Contains(out, "401: the licence is not valid") {
			t.Errorf("the check says\n%s", out)
		}
		if after := fx.Kubectl("get", "pods", "-n", "shop", "-o", "jsonpath={.items[*].metadata.uid}"); after != before || before == "" {
			t.Errorf("the pods were %s and are %s", before, after)
		}
		fx.expectStarted(fx.ownImage.Digest, proxied+":latest", 2)
	})
	row("roll back", func(t *testing.T) {
		fx.ecrin(true, "update", "rollback", "0", "--wait", "2m")
		if got := fx.Kubectl("get", "deployments,jobs", "-n", "store", "-o", "name"); got != "" {
			t.Errorf("of the chart there is still %s", got)
		}
		fx.expectStarted(fx.publicImage.Digest, fx.public+"/nginx", 2)
	})
	row("P15", func(t *testing.T) { acrossTheGap(t, fx) })
}

// acrossTheGap installs another application from an airgap bundle when the vendor is not there any more: the containers run from the
// registry of the customer, with the digest that the vendor has.
func acrossTheGap(t *testing.T, fx *fixture) {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env = append(os.Environ(), "HOME="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			pods, _ := fx.TryKubectl(fx.Kubeconfig, "", "describe", "pods", "-n", "gap")
			t.Fatalf("ecrin %s: %v\n%s\n%s", strings.Join(args, " "), err, out, pods)
		}
		return string(out)
	}
	fx.do("CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Gap"}, new(ecrintypes.VendorApplicationResponse))
	fx.do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "gap", Files: []ecrintypes.ReleaseFile{{Path: "web.yaml",
		Content: fmt.Sprintf(deployment, fx.licenseProxy+"/demo-apps/nginx:latest", "")}}}, new(ecrintypes.ReleaseResponse))
	fx.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "gap", Sequence: 1, ChannelIds: []string{"unstable"},
		VersionLabel: "1.0"}, new(ecrintypes.PromoteReleaseResponse))
	var c ecrintypes.CreateCustomerResponse
	fx.do("CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: "gap", CustomerName: "Far",
		Features: []ecrintypes.CustomerFeature{ecrintypes.CustomerFeatureAirgap}}, &c)
	var l ecrintypes.GetLicenseResponse
	fx.do("GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: "gap", CustomerId: c.Customer.CustomerId}, &l)
	fx.write(at("license.yaml"), l.License)
	run("release", "airgap", "gap", "unstable", "--data", fx.vendor.Dir, "--output", at("gap.airgap"))
	fx.vendor.Stop(t)

	own := apptest.Start(t, apptest.Options{})
	own.Root(t).CreateRepository(t, "gap/demo-apps/nginx")
	fx.write(at("password"), own.Root(t).Password(t))
	out := run("install", at("license.yaml"), "--key", fx.key, "--airgap", at("gap.airgap"), "--registry", own.Running.URL+"/gap",
		"--username", "AWS", "--password-file", at("password"), "--kubeconfig", fx.Kubeconfig, "--namespace", "gap", "--dir", at("app"),
		"--wait", "2m")
	if !strings.Contains(out, "the version 1.0 is deployed") {
		t.Errorf("ecrin install says\n%s", out)
	}
	image := strings.TrimPrefix(own.Running.URL, "http://") + "/gap/demo-apps/nginx:latest"
	got := fx.Kubectl("get", "pods", "-n", "gap", "-o",
		"jsonpath={range .items[*]}{.status.containerStatuses[0].state.running.startedAt} {.spec.containers[0].image} {.status.containerStatuses[0].imageID}{end}")
	if f := strings.Fields(got); len(f) != 3 || f[1] != image || !strings.HasSuffix(f[2], "@"+fx.ownImage.Digest) {
		t.Errorf("the containers are %q, want one of %s with the digest %s", got, image, fx.ownImage.Digest)
	}
}

// chart returns the files of a chart with hooks, a definition of a kind and an object of it, in a namespace of its own.
func chart(t *testing.T) []ecrintypes.ReleaseFile {
	t.Helper()
	pod := "      hostNetwork: true\n      terminationGracePeriodSeconds: 0\n      tolerations: [{operator: Exists}]\n"
	hook := func(name, event string) string {
		return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", annotations: {helm.sh/hook: '" + event +
			"'}}\nspec:\n  template:\n" +
			"    spec:\n" + pod +
			"      restartPolicy: Never\n      containers: [{name: a, image: '{{ .Values.image }}', command: [/bin/busybox, 'true']}]\n"
	}
	files := map[string]string{
		"Chart.yaml":             "apiVersion: v2\nname: cache\nversion: 1.0.0\nkubeVersion: '>=1.30.0'\n",
		"values.yaml":            "image: none\n",
		"templates/migrate.yaml": hook("migrate", "pre-install,pre-upgrade"),
		"templates/test.yaml":    hook("check", "test"),
		"templates/web.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {{ .Release.Name }}-memory\n  labels: {kube: " +
			"'{{ .Capabilities.KubeVersion.Version }}', jobs: '{{ .Capabilities.APIVersions.Has \"batch/v1/Job\" }}'}\nspec:\n" +
			"  selector: {matchLabels: {app: cache}}\n  template:\n    metadata: {labels: {app: cache}}\n    spec:\n" + pod +
			"      containers: [{name: a, image: '{{ .Values.image }}'}]\n",
		"templates/thing.yaml": "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: one}\nspec: {size: 3}\n",
		"crds/things.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: things.example.com}\nspec:\n" +
			"  group: example.com\n  scope: Namespaced\n  names: {plural: things, singular: thing, kind: Thing}\n" +
			"  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n",
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		err := w.WriteHeader(&tar.Header{Name: "cache/" + name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return []ecrintypes.ReleaseFile{{Path: "cache-1.0.0.tgz", Data: b.Bytes()}, {Path: "chart.yaml", Content: `apiVersion: kots.io/v1beta2
kind: HelmChart
metadata: {name: cache}
spec:
  chart: {name: cache, chartVersion: 1.0.0}
  namespace: store
  values: {image: '` + ecr + `/demo-apps/nginx:latest'}
`}}
}
