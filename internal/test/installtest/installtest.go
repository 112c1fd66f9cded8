// Package installtest has a vendor with an application and a customer, and a cluster where it is installed: a real server, and the
// stand-in for a cluster.
package installtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/kubestand"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Slug is the slug of the application, Repository the repository of its image, which has the tags 1.0 and 2.0.
const (
	Slug       = "shop"
	Repository = "shop/api"
)

// Vendor is a server of a vendor with the application shop, whose customer may pull shop/*, and a cluster.
type Vendor struct {
	*apptest.Server
	Host     string // of its registry
	Customer string // id
	License  []byte
	Key      string // public, PEM
	Cluster  *kubestand.Cluster
	Kube     string // path of the kubeconfig
	Dir      string // the folder of the installation
	Images   map[string]ocitest.Image

	t    testing.TB
	mu   sync.Mutex
	held chan struct{} // closed when requests to the cluster may go on; nil if they may
	came chan struct{} // gets a value for each request that is held
}

// New starts a vendor and a cluster. name is that of the customer.
func New(t testing.TB, name string) *Vendor {
	t.Helper()
	v := &Vendor{t: t, Server: apptest.Start(t, apptest.Options{}), Dir: filepath.Join(t.TempDir(), "app"), Images: map[string]ocitest.Image{},
		came: make(chan struct{}, 100)}
	v.Host = strings.TrimPrefix(v.Running.URL, "http://") // localhost, as licences name it
	v.Operator(t, "CreateApplication", &ecrintypes.CreateApplicationRequest{ApplicationName: "Shop"},
		new(ecrintypes.VendorApplicationResponse))
	repo := v.Root(t).CreateRepository(t, Repository)
	for i, tag := range []string{"1.0", "2.0"} {
		v.Images[tag] = ocitest.NewImage(uint64(i+1), 1000)
		repo.Push(t, tag, v.Images[tag])
	}
	var c ecrintypes.CreateCustomerResponse
	v.Operator(t, "CreateCustomer", &ecrintypes.CreateCustomerRequest{ApplicationSlug: Slug, CustomerName: name}, &c)
	v.Customer = c.Customer.CustomerId
	v.Operator(t, "PutEntitlement", &ecrintypes.PutEntitlementRequest{ApplicationSlug: Slug, CustomerId: v.Customer,
		Repositories: []string{"shop/*"}}, new(ecrintypes.EntitlementResponse))
	var key ecrintypes.GetLicenseKeyResponse
	v.Operator(t, "GetLicenseKey", &ecrintypes.GetLicenseKeyRequest{}, &key)
	var l ecrintypes.GetLicenseResponse
	v.Operator(t, "GetLicense", &ecrintypes.GetLicenseRequest{ApplicationSlug: Slug, CustomerId: v.Customer}, &l)
	v.Key, v.License = key.PublicKey, []byte(l.License)
	v.Cluster = kubestand.New(v.HTTP)
	api := httptest.NewServer(http.HandlerFunc(v.serveCluster))
	t.Cleanup(api.Close)
	t.Cleanup(func() { v.Hold(false) }) // before the server ends
	v.Kube = filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(v.Kube, []byte(kubestand.Kubeconfig(api.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *Vendor) serveCluster(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	held := v.held
	v.mu.Unlock()
	if held != nil {
		select {
		case v.came <- struct{}{}:
		default:
		}
		select {
		case <-held:
		case <-r.Context().Done():
			return
		}
	}
	v.Cluster.ServeHTTP(w, r)
}

// Hold makes the API server of the cluster leave requests without an answer, or answer again.
func (v *Vendor) Hold(on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case on && v.held == nil:
		v.held = make(chan struct{})
	case !on && v.held != nil:
		close(v.held)
		v.held = nil
	}
}

// Held waits until a request to the cluster is held.
func (v *Vendor) Held() {
	v.t.Helper()
	select {
	case <-v.came:
	case <-time.After(time.Minute):
		v.t.Fatal("no request has come to the cluster")
	}
}

// deployment is a Deployment of an image.
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

// Release promotes a release with a Deployment of an image of the vendor, such as "2.0", and further files: path, content and so on.
func (v *Vendor) Release(label, tag string, required bool, notes string, more ...string) {
	v.t.Helper()
	files := []ecrintypes.ReleaseFile{{Path: "web.yaml", Content: fmt.Sprintf(deployment, v.Host+"/"+Repository+":"+tag)}}
	for i := 0; i < len(more); i += 2 {
		files = append(files, ecrintypes.ReleaseFile{Path: more[i], Content: more[i+1]})
	}
	var r ecrintypes.ReleaseResponse
	v.Operator(v.t, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: Slug, Files: files}, &r)
	v.Operator(v.t, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: Slug, Sequence: r.Release.Sequence,
		ChannelIds: []string{"unstable"}, VersionLabel: label, Required: &required, ReleaseNotes: notes}, new(ecrintypes.PromoteReleaseResponse))
}

// private says that the images of the vendor are private: they are of this machine, where no registry is asked.
type private struct{}

// Ask implements rewrite.Asker.
func (private) Ask(context.Context, rule.Reference) (rule.Verdict, error) {
	return rule.Refused, errors.New("401 Unauthorized")
}

// Options returns how an installation works in a test: with registries of this machine, and looks at the cluster in quick succession.
func Options() install.Options {
	o := install.Options{Poll: 5 * time.Millisecond, Settle: time.Second, Asker: private{}}
	o.Egress.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return o
}

// Install installs the newest release, and deploys it.
func (v *Vendor) Install() {
	v.t.Helper()
	i, err := install.Create(v.Dir, v.License, v.Key, install.Settings{Kubeconfig: v.Kube, Namespace: Slug}, Options())
	if err != nil {
		v.t.Fatal(err)
	}
	defer i.Close()
	if _, err := i.Check(v.t.Context()); err != nil {
		v.t.Fatal(err)
	}
	if err := i.Deploy(v.t.Context(), 0, time.Minute); err != nil {
		v.t.Fatal(err)
	}
}

// History returns what the installation has now, such as "0 1.0 deployed, 1 2.0 pending; current 0".
func (v *Vendor) History() string {
	v.t.Helper()
	h, err := install.Look(v.Dir)
	if err != nil {
		v.t.Fatal(err)
	}
	all, current := h.Versions()
	var words []string
	for _, one := range all {
		words = append(words, fmt.Sprintf("%d %s %s", one.Sequence, one.Label, one.Status))
	}
	return fmt.Sprintf("%s; current %d", strings.Join(words, ", "), current)
}
