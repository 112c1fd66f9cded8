package upstream_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ecrin runs a server behind TLS as the host registry.test, which breaks each body after cut bytes while cut is not 0.
func ecrin(t *testing.T, n *internet, cut *atomic.Int64) *apptest.Server {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	to, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: s.HTTP.Transport, Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		p.Out.Host = p.In.Host // which is signed
	}}
	n.host("registry", func(w http.ResponseWriter, r *http.Request) {
		if most := cut.Load(); most > 0 {
			w = &breaker{w, most}
		}
		proxy.ServeHTTP(w, r)
	})
	return s
}

type breaker struct {
	http.ResponseWriter
	left int64
}

func (b *breaker) Write(p []byte) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return b.ResponseWriter.Write(p)
}

// The whole client against a real server: by password and by the token flow of ECR, pull and push.
func TestECRinAsUpstream(t *testing.T) {
	t.Parallel()
	n := newInternet(t)
	var cut atomic.Int64
	s := ecrin(t, n, &cut)
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 100, 5<<20)
	repo.Push(t, "v1", im)
	root.CreateRepository(t, "team/copy")
	for what, change := range map[string]func(*upstream.Endpoint, *upstream.Limits){
		"by password": func(e *upstream.Endpoint, l *upstream.Limits) {
			e.Username, e.Password = "AWS", secret.New(root.Password(t))
			l.Chunk = 1 << 20
		},
		"by key": func(e *upstream.Endpoint, _ *upstream.Limits) {
			e.Username, e.Password, e.Kind = "", secret.String{}, upstream.ECR
			e.AWS = &upstream.AWS{Credentials: credentials.NewStaticCredentialsProvider(root.KeyID, root.Secret, "").Retrieve, Region: root.Region,
				API: "https://" + n.addr("registry")}
		},
	} {
		r := n.registry(t, change)
		ctx := t.Context()
		if err := r.Ping(ctx); err != nil {
			t.Fatalf("%s: Ping: %v", what, err)
		}
		cut.Store(3 << 20) // each connection ends in mid-blob
		if err := pull(t, r, "v1"); err != nil {
			t.Errorf("%s: pull: %v", what, err)
		}
		cut.Store(0)
		got, err := r.Manifest(ctx, "team/app", "v1", upstream.ManifestOptions{Known: parse(t, im.Digest)})
		if err != nil || !got.NotModified {
			t.Errorf("%s: a known digest: got %+v, %v", what, got, err)
		}
		layer := parse(t, ocitest.SHA256(im.Layers[0]))
		if ok, err := r.Mount(ctx, "team/copy", "team/app", layer, 100); err != nil {
			t.Errorf("%s: Mount: got %t, %v", what, ok, err)
		}
		for _, b := range append([][]byte{im.Config}, im.Layers...) {
			if err := r.Upload(ctx, "team/copy", parse(t, ocitest.SHA256(b)), int64(len(b)), source(b)); err != nil {
				t.Errorf("%s: Upload of %d bytes: %v", what, len(b), err)
			}
		}
		d, err := r.PutManifest(ctx, "team/copy", "v1", ocitest.ImageType, im.Manifest)
		if err != nil || d.String() != im.Digest {
			t.Errorf("%s: PutManifest: got %s, %v", what, d, err)
		}
		empty := []byte("{}")
		if err := r.Upload(ctx, "team/copy", parse(t, ocitest.SHA256(empty)), 2, source(empty)); err != nil {
			t.Errorf("%s: Upload of the empty config: %v", what, err)
		}
		subject, config := ocitest.Describe(ocitest.ImageType, im.Manifest), ocitest.Describe(ocitest.EmptyType, empty)
		referrer := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/x", Config: &config,
			Layers: []ocitest.Descriptor{config}, Subject: &subject}.JSON()
		if _, err := r.PutManifest(ctx, "team/copy", "", ocitest.ImageType, referrer); err != nil {
			t.Errorf("%s: PutManifest of a referrer: %v", what, err)
		}
		all, err := r.Referrers(ctx, "team/copy", parse(t, im.Digest), "")
		if err != nil || len(all) != 1 || all[0].Digest.String() != ocitest.SHA256(referrer) || all[0].ArtifactType != "application/x" {
			t.Errorf("%s: Referrers: got %+v, %v, want one", what, all, err)
		}
		var tags []string
		err = r.Tags(ctx, "team/copy", "", func(page []string) error { tags = append(tags, page...); return nil })
		if err != nil || len(tags) != 1 || tags[0] != "v1" {
			t.Errorf("%s: Tags: got %q, %v, want v1 only, and no tag for referrers", what, tags, err)
		}
		_, err = r.PutManifest(ctx, "team/unknown", "v1", ocitest.ImageType, im.Manifest)
		if e := want(t, what+": an unknown repository", err, upstream.NotFound); e.Code != "NAME_UNKNOWN" {
			t.Errorf("%s: an unknown repository: got the code %q", what, e.Code)
		}
		if err := r.DeleteManifest(ctx, "team/copy", parse(t, ocitest.SHA256(referrer))); err != nil {
			t.Errorf("%s: DeleteManifest: %v", what, err)
		}
	}
	// An immutable tag.
	name := "team/fixed"
	fixed := ecr.CreateRepositoryInput{RepositoryName: &name, ImageTagMutability: "IMMUTABLE"}
	if _, err := root.ECR().CreateRepository(t.Context(), &fixed); err != nil {
		t.Fatal(err)
	}
	root.Docker(t).Repo(name).Push(t, "v1", im)
	other := ocitest.NewImage(2, 10)
	root.Docker(t).Repo(name).PushBlobs(t, other)
	r := n.registry(t, func(e *upstream.Endpoint, _ *upstream.Limits) {
		e.Username, e.Password = "AWS", secret.New(root.Password(t))
	})
	_, err := r.PutManifest(t.Context(), name, "v1", ocitest.ImageType, other.Manifest)
	if e := want(t, "an immutable tag", err, upstream.Rejected); e.Code != "TAG_INVALID" {
		t.Errorf("an immutable tag: got the code %q, want TAG_INVALID", e.Code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Manifest(ctx, name, "v1", upstream.ManifestOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: got %v", err)
	}
}
