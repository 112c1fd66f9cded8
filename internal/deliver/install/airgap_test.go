package install_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	carried "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// airgapFixture is a vendor whose customer may install without a network, and the registry of the customer.
type airgapFixture struct {
	*fixture
	own      apptest.Account
	registry *install.Registry
}

func newAirgapFixture(t *testing.T) *airgapFixture {
	t.Helper()
	fx := newFixture(t)
	fx.feature(ecrintypes.CustomerFeatureAirgap)
	own, registry := ownRegistry(t)
	return &airgapFixture{fx, own, registry}
}

// feature sets the features of the customer, and takes the licence that has them.
func (fx *fixture) feature(all ...ecrintypes.CustomerFeature) {
	fx.t.Helper()
	fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: fx.customer,
		Features: append([]ecrintypes.CustomerFeature{}, all...)}, new(ecrintypes.CustomerResponse))
	fx.license = fx.getLicense()
}

// nobody fails the test if a registry is asked whether an image is public.
type nobody struct{ t *testing.T }

func (n nobody) Ask(_ context.Context, image rule.Reference) (rule.Verdict, error) {
	n.t.Errorf("somebody was asked for %s", image)
	return rule.Pulled, nil
}

func (fx *airgapFixture) options() install.Options {
	o := fx.fixture.options()
	o.Asker = nobody{fx.t}
	return o
}

// airgap makes an airgap bundle of the newest version of the channel unstable, as the command does.
func (fx *airgapFixture) airgap(name string, change ...func(*bundle.AirgapRequest)) string {
	fx.t.Helper()
	var all ecrintypes.ListPromotionsResponse
	fx.do("ListPromotions", &ecrintypes.ListPromotionsRequest{ApplicationSlug: "shop", ChannelId: "unstable"}, &all)
	p := all.Promotions[len(all.Promotions)-1]
	var release ecrintypes.DescribeReleaseResponse
	fx.do("DescribeRelease", &ecrintypes.DescribeReleaseRequest{ApplicationSlug: "shop", Sequence: p.Sequence}, &release)
	r := bundle.AirgapRequest{ReleasedAt: p.PromotedAt.Time, Spec: carried.AirgapSpec{VersionLabel: p.VersionLabel, ReleaseNotes: "news",
		UpdateCursor: fmt.Sprint(p.ChannelSequence), ChannelID: p.ChannelId, ChannelName: p.ChannelSlug, AppSlug: "shop", Required: p.Required}}
	for _, one := range all.Promotions[:len(all.Promotions)-1] {
		if one.Required {
			r.Spec.RequiredReleases = append(r.Spec.RequiredReleases, carried.AirgapRelease{VersionLabel: one.VersionLabel,
				UpdateCursor: fmt.Sprint(one.ChannelSequence)})
		}
	}
	for _, f := range release.Files {
		data := f.Data
		if f.Content != "" {
			data = []byte(f.Content)
		}
		r.Files = append(r.Files, rule.File{Path: f.Path, Data: data})
	}
	needed, err := rewrite.ImagesOf(fx.t.Context(), "shop", r.Files)
	if err != nil {
		fx.t.Fatal(err)
	}
	r.Images = needed.Images
	for _, f := range change {
		f(&r)
	}
	root := fx.Root(fx.t)
	client := upstream.New(upstream.Options{Guard: egress.New(egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Plain: upstream.Local})})
	fx.t.Cleanup(client.Close)
	reg, err := client.Registry(upstream.Endpoint{Host: fx.host, Kind: upstream.ECR, AWS: &upstream.AWS{API: fx.URL, Region: root.Region,
		Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "").Retrieve}})
	if err != nil {
		fx.t.Fatal(err)
	}
	out := filepath.Join(fx.t.TempDir(), name)
	m := bundle.Maker{Now: time.Now, Hosts: func(context.Context, string) (*upstream.Registry, error) { return reg, nil }, Sign: fx.sign}
	if _, err := m.CreateAirgap(fx.t.Context(), out, r); err != nil {
		fx.t.Fatal(err)
	}
	return out
}

// sign signs with the key of the application.
func (fx *airgapFixture) sign(_ context.Context, kind carried.Kind, digest string) (carried.Signature, error) {
	var out ecrintypes.SignDocumentResponse
	fx.do("SignDocument", &ecrintypes.SignDocumentRequest{ApplicationSlug: "shop", DocumentType: ecrintypes.DocumentType(kind),
		DocumentDigest: digest}, &out)
	return carried.Signature{Algorithm: carried.RSA, PublicKey: out.PublicKey, Signature: out.Signature, RootKeyID: out.RootKeyId,
		Endorsement: out.Endorsement}, nil
}

func (fx *airgapFixture) create() *install.Installation {
	fx.t.Helper()
	i, err := install.Create(fx.dir, fx.license, fx.key, fx.settings(), fx.options())
	if err != nil {
		fx.t.Fatal(err)
	}
	fx.t.Cleanup(i.Close)
	return i
}

func (fx *airgapFixture) refused(i *install.Installation, path, want string) {
	fx.t.Helper()
	before := fx.history(i)
	_, err := i.Airgap(fx.t.Context(), install.AirgapBundle{Path: path, Registry: fx.registry})
	if err == nil || !strings.Contains(err.Error(), want) {
		fx.t.Errorf("got %v, want %q", err, want)
	}
	if after := fx.history(i); after != before {
		fx.t.Errorf("the history was %s and is %s", before, after)
	}
	if _, err := os.Stat(filepath.Join(fx.dir, "airgap")); !errors.Is(err, os.ErrNotExist) {
		fx.t.Errorf("the unpacked bundle stays: %v", err)
	}
}

// P15: the images are pushed from the bundle to the registry of the customer, indexes with referrers, and run from there; neither the
// vendor nor another registry is asked, for they do not answer any more.
func TestP15AirgapInstallation(t *testing.T) {
	t.Parallel()
	fx := newAirgapFixture(t)
	digest, referrer := fx.index("2.0", 7)
	fx.release("1.0", fx.host+"/shop/api:1.0", false)
	first := fx.airgap("1.airgap")
	fx.release("2.0", "elsewhere.invalid/shop/api:2.0", false, "config.yaml", "apiVersion: kots.io/v1beta1\nkind: Config\nspec:\n  groups:\n"+
		"  - items: [{name: color, default: red}]\n", "map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n"+
		"data: {airgap: 'repl{{ IsAirgap }}', color: 'repl{{ ConfigOption \"color\" }}'}\n")
	second := fx.airgap("2.airgap")
	fx.Server.Stop(t)

	i := fx.create()
	if _, err := i.Airgap(t.Context(), install.AirgapBundle{Path: first}); err == nil || !strings.Contains(err.Error(), "--registry") {
		t.Errorf("without a registry: %v", err)
	}
	v, err := i.Airgap(t.Context(), install.AirgapBundle{Path: first, Registry: fx.registry})
	if err != nil || v.Sequence != 0 || v.Notes != "news" || v.ReleasedAt == "" || v.Status != install.Pending {
		t.Fatalf("the version is %+v, %v", v, err)
	}
	fx.deploy(i, 0)
	if got := fx.history(i); got != "0 1.0 Airgap Install deployed; current 0" {
		t.Errorf("the history is %s", got)
	}
	if got, want := fx.running(), fx.registry.Host+"/apps/shop/api:1.0="+fx.image.Digest; got != want {
		t.Errorf("%s runs, want %s", got, want)
	}
	if got := fx.read(i, 0, "upstream/userdata/installation.yaml"); !strings.Contains(got, "isPrivate: true") {
		t.Errorf("the known images are\n%s", got)
	}

	v, err = i.Airgap(t.Context(), install.AirgapBundle{Path: second})
	if err != nil || v.Sequence != 1 {
		t.Fatalf("the update is %+v, %v", v, err)
	}
	fx.deploy(i, 1)
	if got := fx.history(i); got != "0 1.0 Airgap Install deployed, 1 2.0 Airgap Update deployed; current 1" {
		t.Errorf("the history is %s", got)
	}
	if got, want := fx.running(), fx.registry.Host+"/apps/shop/api:2.0="+digest; got != want {
		t.Errorf("%s runs, want %s", got, want)
	}
	there := fx.own.Docker(t).Repo("apps/shop/api")
	there.Manifest(t, referrer).Want(t, http.StatusOK)
	if got := fx.read(i, 1, "rendered/this-cluster/all.yaml"); !strings.Contains(got, `airgap: "true"`) {
		t.Errorf("the templates do not know that there is no network:\n%s", got)
	}

	// Changes of the customer work without a network too.
	if err := i.SetConfig(t.Context(), map[string]string{"color": "blue"}); err != nil {
		t.Fatal(err)
	}
	fx.deploy(i, 2)
	if got := fx.read(i, 2, "rendered/this-cluster/all.yaml"); !strings.Contains(got, "color: blue") {
		t.Errorf("the value is not there:\n%s", got)
	}
	if err := i.Rollback(t.Context(), 0, wait); err != nil {
		t.Error(err)
	}

	// The vendor is not asked, and what needs it says so.
	if _, err := i.Check(t.Context()); !errors.Is(err, install.ErrAirgap) {
		t.Errorf("a check: %v", err)
	}
	if _, err := i.SyncLicense(t.Context()); !errors.Is(err, install.ErrAirgap) {
		t.Errorf("the licence: %v", err)
	}
	if err := i.SetRegistry(t.Context(), fx.registry); err == nil || !strings.Contains(err.Error(), "ecrin update airgap FILE") {
		t.Errorf("another registry: %v", err)
	}
	// The same bundle again makes no version, and an earlier one neither.
	if again, err := i.Airgap(t.Context(), install.AirgapBundle{Path: second}); err != nil || again.Sequence != 2 {
		t.Errorf("the bundle again: %+v, %v", again, err)
	}
	fx.refused(i, first, "a later one is in the history")
}

// What the licence does not permit is refused, offline, before anything is written.
func TestAirgapLicence(t *testing.T) {
	t.Parallel()
	fx := newAirgapFixture(t)
	fx.release("1.0", fx.host+"/shop/api:1.0", false)
	good := fx.airgap("1.airgap")
	i := fx.create()
	fx.refused(i, fx.airgap("a", func(r *bundle.AirgapRequest) { r.Spec.AppSlug = "other" }), "the licence for shop")
	fx.refused(i, fx.airgap("b", func(r *bundle.AirgapRequest) { r.Spec.ChannelID = "other" }), "for which the licence is not")
	b := install.AirgapBundle{Path: good, Registry: fx.registry, Revoked: []string{"# none\n"}}
	var signed ecrintypes.SignDocumentResponse
	fx.do("SignDocument", &ecrintypes.SignDocumentRequest{ApplicationSlug: "shop", DocumentType: ecrintypes.DocumentTypeAirgap,
		DocumentDigest: carried.Digest(nil)}, &signed)
	b.Revoked = append(b.Revoked, signed.RootKeyId+"\n")
	if _, err := i.Airgap(t.Context(), b); !errors.Is(err, carried.ErrRevoked) {
		t.Errorf("a revoked key: %v", err)
	}
	fx.do("UpdateCustomer", &ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: fx.customer,
		ExpiresAt: &awswire.Time{Time: fx.clock.Add(24 * time.Hour)}}, new(ecrintypes.CustomerResponse))
	if _, err := i.SetLicense(t.Context(), fx.getLicense()); err != nil {
		t.Fatal(err)
	}
	fx.clock = fx.clock.Add(72 * time.Hour)
	fx.refused(i, good, "License is expired")
	i.Close()

	fx.clock = fx.clock.Add(-72 * time.Hour)
	fx.feature()
	fx.dir = filepath.Join(t.TempDir(), "other")
	fx.refused(fx.create(), good, "does not permit an installation without a network")
}

// Releases that the vendor requires come before later ones.
func TestAirgapRequiredReleases(t *testing.T) {
	t.Parallel()
	fx := newAirgapFixture(t)
	ref := fx.host + "/shop/api:1.0"
	var bundles []string
	for n, required := range []bool{false, true, false, false} {
		fx.release(fmt.Sprintf("%d.0", n+1), ref, required)
		bundles = append(bundles, fx.airgap(fmt.Sprint(n)))
	}
	i := fx.create()
	if _, err := i.Airgap(t.Context(), install.AirgapBundle{Path: bundles[0], Registry: fx.registry}); err != nil {
		t.Fatal(err)
	}
	fx.deploy(i, 0)
	fx.refused(i, bundles[3], "take first the bundles of 2.0")
	for _, path := range []string{bundles[1], bundles[3]} {
		if _, err := i.Airgap(t.Context(), install.AirgapBundle{Path: path}); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Deploy(t.Context(), 2, wait); err == nil || !strings.Contains(err.Error(), "is required: deploy it before") {
		t.Errorf("the required version is left out: %v", err)
	}
}

// Charts name the registry of the customer by templates; their images are found by the builder values and are at the name that the chart
// makes. Images that an operator starts are named by additionalImages.
func TestAirgapChartsAndAdditionalImages(t *testing.T) {
	t.Parallel()
	fx := newAirgapFixture(t)
	root := fx.Root(t)
	worker, operand := ocitest.NewImage(20, 300), ocitest.NewImage(21, 300)
	root.CreateRepository(t, "shop/worker").Push(t, "3", worker)
	root.CreateRepository(t, "shop/operand").Push(t, "4", operand)
	chart := packed(t, "values.yaml", "{}\n", "templates/a.yaml",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: cache}\nspec:\n  selector: {matchLabels: {app: c}}\n  template:\n"+
			"    metadata: {labels: {app: c}}\n    spec:\n      imagePullSecrets: [{name: '{{ .Values.secret }}'}]\n"+
			"      containers: [{name: c, image: '{{ .Values.registry }}/{{ .Values.repository }}:3'}]\n")
	var r ecrintypes.ReleaseResponse
	fx.do("CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: []ecrintypes.ReleaseFile{
		{Path: "web.yaml", Content: fmt.Sprintf(deployment, fx.host+"/shop/api:1.0")}, {Path: "shop-1.2.0.tgz", Data: chart},
		{Path: "app.yaml", Content: "apiVersion: kots.io/v1beta1\nkind: Application\nmetadata: {name: shop}\nspec: {title: Shop, additionalImages: ['" +
			fx.host + "/shop/operand:4']}\n"},
		{Path: "chart.yaml", Content: `apiVersion: kots.io/v1beta2
kind: HelmChart
metadata: {name: cache}
spec:
  chart: {name: shop, chartVersion: 1.2.0}
  values:
    registry: '{{repl HasLocalRegistry | ternary LocalRegistryHost "none.invalid" }}'
    repository: '{{repl HasLocalRegistry | ternary LocalRegistryNamespace "none" }}/worker'
    secret: '{{repl ImagePullSecretName }}'
  builder: {registry: '` + fx.host + `', repository: shop/worker}
`}}}, &r)
	fx.do("PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: r.Release.Sequence,
		ChannelIds: []string{"unstable"}, VersionLabel: "1.0"}, new(ecrintypes.PromoteReleaseResponse))
	path := fx.airgap("1.airgap")
	fx.Server.Stop(t)
	i := fx.create()
	fx.refused(i, path, "make the repository apps/shop/operand")
	for _, repo := range []string{"apps/shop/worker", "apps/shop/operand", "apps/worker"} {
		fx.own.CreateRepository(t, repo)
	}
	if _, err := i.Airgap(t.Context(), install.AirgapBundle{Path: path, Registry: fx.registry}); err != nil {
		t.Fatal(err)
	}
	fx.deploy(i, 0)
	if got, want := fx.running(), fx.registry.Host+"/apps/worker:3="+worker.Digest; !strings.Contains(got, want) {
		t.Errorf("%s runs, want also %s", got, want)
	}
	for repo, want := range map[string]string{"apps/shop/worker": worker.Digest, "apps/shop/operand": operand.Digest} {
		tag := "3"
		if repo == "apps/shop/operand" {
			tag = "4"
		}
		if got := fx.own.Docker(t).Repo(repo).Manifest(t, tag).Want(t, http.StatusOK).Header.Get("Docker-Content-Digest"); got != want {
			t.Errorf("%s has the digest %s, want %s", repo, got, want)
		}
	}
	// An image that is neither in the bundle nor in the registry ends the installation before the version is there.
	fx.dir = filepath.Join(t.TempDir(), "other")
	fx.Server.Restart(t)
	fx.release("2.0", fx.host+"/shop/api:none", false)
	bad := fx.airgap("2.airgap", func(r *bundle.AirgapRequest) { r.Images = nil })
	fx.refused(fx.create(), bad, "the registry does not have "+fx.registry.Host+"/apps/shop/api:none")
}

// An installation that ends at any point goes on: nothing of the attempt before stands in its way, and no version is there before its
// images.
func TestAirgapInterrupted(t *testing.T) {
	t.Parallel()
	fx := newAirgapFixture(t)
	fx.index("2.0", 7)
	fx.release("1.0", fx.host+"/shop/api:2.0", false)
	path := fx.airgap("1.airgap")
	o := fx.options()
	for steps := 1; ; steps += 3 {
		ctx, cancel := context.WithCancel(t.Context())
		left := steps
		o.Bundled = func(bundle.Progress) {
			if left--; left <= 0 {
				cancel()
			}
		}
		i, err := install.Create(fx.dir, fx.license, fx.key, fx.settings(), o)
		if err != nil {
			t.Fatal(err)
		}
		_, err = i.Airgap(ctx, install.AirgapBundle{Path: path, Registry: fx.registry})
		history := fx.history(i)
		i.Close()
		cancel()
		if err == nil {
			if steps < 10 {
				t.Errorf("it was interrupted %d times", steps/3)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || history != "; current -1" {
			t.Fatalf("after %d steps: %v, %s", steps, err, history)
		}
	}
	// What a process that was killed has left is removed by the next one.
	left := filepath.Join(fx.dir, "airgap")
	if err := os.MkdirAll(filepath.Join(left, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	i := fx.create()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unpacked bundle stays: %v", err)
	}
	fx.deploy(i, 0)
}
