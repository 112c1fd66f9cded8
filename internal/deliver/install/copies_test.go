package install_test

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// ownRegistry starts a registry of the customer, without TLS.
func ownRegistry(t *testing.T) (apptest.Account, *install.Registry) {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "apps/shop/api")
	return root, &install.Registry{Target: rewrite.Target{Host: strings.TrimPrefix(s.URL, "http://"), Plain: true}, Namespace: "apps",
		Username: "AWS", Password: root.Password(t)}
}

// index pushes an index of an image, and a referrer of it. It returns the digest of the index, and that of the referrer.
func (fx *fixture) index(tag string, n uint64) (digest, referrer string) {
	fx.t.Helper()
	repo := fx.Root(fx.t).Docker(fx.t).Repo("shop/api")
	im := ocitest.NewImage(n, 100_000)
	repo.Push(fx.t, "", im)
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{im.Descriptor()}}
	body := m.JSON()
	repo.PutManifest(fx.t, tag, ocitest.IndexType, body).Want(fx.t, http.StatusCreated)
	empty := []byte("{}")
	repo.PutBlob(fx.t, empty)
	config, subject := ocitest.Describe(ocitest.EmptyType, empty), ocitest.Describe(ocitest.IndexType, body)
	signature := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/vnd.example.signature",
		Config: &config, Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
	repo.PutManifest(fx.t, ocitest.SHA256(signature), ocitest.ImageType, signature).Want(fx.t, http.StatusCreated)
	return ocitest.SHA256(body), ocitest.SHA256(signature)
}

// P11 with its images: those of the installed and of the newest version are copied, whole indexes with what refers to them; later versions
// copy theirs. An interrupted copy goes on.
func TestP11ImagesAreCopied(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	own, registry := ownRegistry(t)
	fx.release("1.0", fx.host+"/shop/api:1.0", false)
	o := fx.options()
	o.Egress.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := true
	var last rewrite.Progress
	o.Copied = func(p rewrite.Progress) {
		if last = p; stop && p.Bytes > 0 {
			cancel()
		}
	}
	i, err := install.Create(fx.dir, fx.license, fx.key, fx.settings(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	check := func() {
		t.Helper()
		if _, err := i.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check()
	fx.deploy(i, 0)
	digest, referrer := fx.index("2.0", 7)
	fx.release("2.0", fx.host+"/shop/api:2.0", false)
	check()

	wrong := *registry
	wrong.Password = "wrong"
	if err := i.SetRegistry(t.Context(), &wrong); err == nil || !strings.Contains(err.Error(), "copying to "+registry.Host+": ") {
		t.Errorf("with a wrong password: %v", err)
	}
	if err := i.SetRegistry(ctx, registry); !errors.Is(err, context.Canceled) {
		t.Errorf("a copy that is interrupted: %v", err)
	}
	if got := fx.history(i); got != "0 1.0 Online Install deployed, 1 2.0 Upstream Update pending; current 0" {
		t.Errorf("after the interruptions the history is %s", got)
	}
	stop = false
	plan, err := i.PlanRegistry(t.Context(), *registry)
	if err != nil || len(plan) != 2 || plan[0].To != registry.Host+"/apps/shop/api:2.0" || plan[0].Digest != digest ||
		plan[0].Referrers != 1 || plan[1].To != registry.Host+"/apps/shop/api:1.0" {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	if err := i.SetRegistry(t.Context(), registry); err != nil {
		t.Fatal(err)
	}
	if last.Done != 2 || last.Of != 2 || last.Bytes != last.Size || last.Size == 0 {
		t.Errorf("the last progress is %+v", last)
	}
	there := own.Docker(t).Repo("apps/shop/api")
	for ref, want := range map[string]string{"1.0": fx.image.Digest, "2.0": digest, referrer: referrer} {
		if got := there.Manifest(t, ref).Want(t, http.StatusOK).Header.Get("Docker-Content-Digest"); got != want {
			t.Errorf("the manifest %s there has the digest %s, want %s", ref, got, want)
		}
	}
	fx.deploy(i, 2)
	if got, want := fx.running(), registry.Host+"/apps/shop/api:2.0="+digest; got != want {
		t.Errorf("%s runs, want %s", got, want)
	}

	digest, _ = fx.index("3.0", 8)
	fx.release("3.0", fx.host+"/shop/api:3.0", false)
	check()
	fx.deploy(i, 3)
	if got, want := fx.running(), registry.Host+"/apps/shop/api:3.0="+digest; got != want {
		t.Errorf("%s runs, want %s", got, want)
	}
	// A version whose images cannot be copied waits, and is done by the next check.
	fx.release("4.0", fx.host+"/shop/api:none", false)
	if _, err := i.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "shop/api:none") {
		t.Errorf("an image that is not there: %v", err)
	}
	if v, _ := i.Version(-1); v.Status != install.PendingDownload {
		t.Errorf("the version is %s, want %s", v.Status, install.PendingDownload)
	}
	fx.Root(t).Docker(t).Repo("shop/api").Push(t, "none", fx.image)
	check()
	if v, _ := i.Version(-1); v.Status != install.Pending || v.Label != "4.0" {
		t.Errorf("the version is %s %s, want it pending", v.Label, v.Status)
	}
}

// An image of a registry with a port has the name at the proxy that the vendor has for the registry: the server of updates says it.
func TestRegistriesWithPorts(t *testing.T) {
	t.Parallel()
	fx := newFixture(t)
	for _, r := range [][2]string{{"inner", "registry.invalid:5000"}, {"other", "other.invalid:5000"}, {"plain", "registry.invalid"}} {
		fx.do("CreateIntegration", &ecrintypes.CreateIntegrationRequest{IntegrationName: r[0], Kind: "OCI", RegistryHost: r[1]},
			new(ecrintypes.IntegrationResponse))
		fx.do("ShareIntegration", &ecrintypes.ShareIntegrationRequest{ApplicationSlug: "shop", IntegrationName: r[0]},
			new(ecrintypes.SharedIntegrationResponse))
	}
	fx.release("1.0", "registry.invalid:5000/team/app:1", false)
	i := fx.create()
	got := fx.read(i, 0, "rendered/this-cluster/all.yaml")
	if want := "image: " + fx.host + "/proxy/shop/inner/team/app:1\n"; !strings.Contains(got, want) {
		t.Errorf("there is no %q in\n%s", want, got)
	}
	if v, _ := i.Version(0); len(v.Registries) != 1 { // others, which the release does not name, are not said
		t.Errorf("the names are %v", v.Registries)
	}
}
