package clients_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/retry"
)

// orasRepo returns a repository of a server as an oras-go target, by its full name.
func orasRepo(t *testing.T, s *server, ref, password string) *remote.Repository {
	t.Helper()
	r, err := remote.NewRepository(ref)
	if err != nil {
		t.Fatal(err)
	}
	r.PlainHTTP = s.plain
	client := *s.client
	client.Transport = retry.NewTransport(s.client.Transport)
	r.Client = &auth.Client{
		Client: &client, Cache: auth.NewCache(),
		Credential: auth.StaticCredential(r.Reference.Host(), auth.Credential{Username: "AWS", Password: password}),
	}
	return r
}

// pushImage pushes the shared image to a repository of the default registry, for clients that only pull.
func (s *session) pushImage(repo, tag string) *testImage {
	s.t.Helper()
	img := theImage(s.t)
	copyLayout(s.t, img, orasRepo(s.t, s.s, s.s.ref(repo), s.password()), tag)
	return img
}

func copyLayout(t *testing.T, img *testImage, to oras.Target, tag string) {
	t.Helper()
	from, err := oci.New(img.layout)
	if err != nil {
		t.Fatal(err)
	}
	got, err := oras.Copy(t.Context(), from, "v1", to, tag, oras.DefaultCopyOptions)
	if err != nil {
		t.Fatalf("oras.Copy of the test image: %v", err)
	}
	if got.Digest != img.index {
		t.Fatalf("oras.Copy of the test image: got %s, want %s", got.Digest, img.index)
	}
}

func orasGo(s *session) {
	t := s.t
	ctx := t.Context()
	const repo = "clients/oras-go"
	remote := orasRepo(t, s.s, s.repo(repo), s.password())
	img := theImage(t)
	copyLayout(t, img, remote, "v1")
	s.s.wantManifest(t, repo, "v1", img.index)

	back, err := oci.New(s.path("back"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oras.Copy(ctx, remote, "v1", back, "v1", oras.DefaultCopyOptions); err != nil {
		t.Fatal(err)
	}
	if got := layoutDigest(t, s.path("back")); got != img.index {
		t.Errorf("pulled layout: got %s, want %s", got, img.index)
	}

	// Two referrers of different types, each with one blob.
	subject, err := remote.Resolve(ctx, "v1")
	if err != nil {
		t.Fatal(err)
	}
	sbom := attach(t, remote, subject, "application/vnd.example.sbom.v1")
	notes := attach(t, remote, subject, "application/vnd.example.notes.v1")
	for _, c := range []struct {
		filter string
		want   []digest.Digest
	}{
		{"", []digest.Digest{sbom, notes}},
		{"application/vnd.example.sbom.v1", []digest.Digest{sbom}},
		{"application/vnd.example.none.v1", nil},
	} {
		want := slices.Sorted(slices.Values(c.want))
		if got := referrers(t, remote, subject, c.filter); !slices.Equal(got, want) {
			t.Errorf("referrers of type %q: got %v, want %v", c.filter, got, want)
		}
	}

	var tags []string
	if err := remote.Tags(ctx, "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("tags: got %v, want [v1]", tags)
	}
	if err := remote.Delete(ctx, subject); err != nil {
		t.Fatalf("deleting %s: %v", subject.Digest, err)
	}
	if _, err := remote.Resolve(ctx, "v1"); !errors.Is(err, errdef.ErrNotFound) {
		t.Errorf("resolving v1 after the delete: got %v, want not found", err)
	}
}

// attach pushes an artifact with one blob whose subject is another manifest.
func attach(t *testing.T, to oras.Target, subject ocispec.Descriptor, artifactType string) digest.Digest {
	t.Helper()
	ctx := t.Context()
	store := memory.New()
	blob, err := oras.PushBytes(ctx, store, "text/plain", []byte("about "+subject.Digest.String()+": "+artifactType))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := oras.PackManifest(ctx, store, oras.PackManifestVersion1_1, artifactType, oras.PackManifestOptions{
		Subject: &subject, Layers: []ocispec.Descriptor{blob},
		ManifestAnnotations: map[string]string{ocispec.AnnotationCreated: "2026-01-01T00:00:00Z"},
	})
	if err != nil {
		t.Fatal(err)
	}
	// CopyGraph would follow the subject, which is not in the store: the three parts are pushed one by one.
	for _, d := range []ocispec.Descriptor{ocispec.DescriptorEmptyJSON, blob, manifest} {
		if err := pushOne(ctx, store, to, d); err != nil {
			t.Fatalf("pushing %s of the artifact: %v", d.MediaType, err)
		}
	}
	return manifest.Digest
}

func pushOne(ctx context.Context, from oras.ReadOnlyTarget, to oras.Target, d ocispec.Descriptor) error {
	there, err := to.Exists(ctx, d)
	if err != nil || there {
		return err
	}
	r, err := from.Fetch(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	return to.Push(ctx, d, r)
}

// referrers lists the referrers of a subject, sorted.
func referrers(t *testing.T, r *remote.Repository, subject ocispec.Descriptor, artifactType string) []digest.Digest {
	t.Helper()
	var all []digest.Digest
	err := r.Referrers(t.Context(), subject, artifactType, func(page []ocispec.Descriptor) error {
		for _, d := range page {
			all = append(all, d.Digest)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("referrers of %s: %v", subject.Digest, err)
	}
	slices.Sort(all)
	return all
}
