package pullthrough_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// clock is a clock that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time      { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) add(d time.Duration) { c.ahead.Add(int64(d)) }

// Any number of clients that pull an image at the same time cause one fetch, and get its bytes while they arrive: the other registry
// sends the second half of the layer only after each of them has bytes of the first.
func TestManyClientsShareAFetch(t *testing.T) {
	t.Parallel()
	clients := slowtest.Rounds(40, 200)
	source, owner := open(t)
	im := ocitest.NewImage(1, 4<<20)
	owner.CreateRepository(t, "app").Push(t, "v1", im)
	publish(t, owner, "app")
	f := before(t, source)
	proxy := f.handle
	layer, release := ocitest.SHA256(im.Layers[0]), make(chan struct{})
	f.serve(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, layer) {
			proxy(w, r)
			return
		}
		w.Header().Set("Content-Length", "4194304")
		_, _ = w.Write(im.Layers[0][:3<<20])
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		_, _ = w.Write(im.Layers[0][3<<20:])
	})
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	docker := root.Docker(t)
	repo := docker.Repo("cache/app")
	var begun, all sync.WaitGroup
	begun.Add(clients)
	for range clients {
		all.Go(func() {
			begin := sync.OnceFunc(begun.Done)
			defer begin()
			if a, err := docker.Try(t.Context(), "GET", repo.Path("/manifests/v1"), nil); err != nil || !bytes.Equal(a.Body, im.Manifest) {
				t.Errorf("the manifest: got %+v, %v", a, err)
				return
			}
			r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+repo.Path("/blobs/"+layer), nil)
			if err != nil {
				t.Error(err)
				return
			}
			r.SetBasicAuth("AWS", docker.Password)
			got, err := s.HTTP.Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer got.Body.Close()
			first := make([]byte, 1000)
			if _, err := io.ReadFull(got.Body, first); err != nil {
				t.Errorf("the first bytes: status %d, %v", got.StatusCode, err)
				return
			}
			begin()
			rest, err := io.ReadAll(got.Body)
			if err != nil || !bytes.Equal(append(first, rest...), im.Layers[0]) {
				t.Errorf("the layer: got %d bytes, %v", 1000+len(rest), err)
			}
		})
	}
	begun.Wait()
	close(release)
	all.Wait()
	for text, want := range map[string]int{"/manifests/": 1, "/blobs/": 1} {
		if got := f.count(text); got != want {
			t.Errorf("requests with %s: got %d, want %d", text, got, want)
		}
	}
}

// An index brings its own manifest only; its images and their layers come when they are asked for. Two installations in a row do that
// too.
func TestTwoLevelsOfCache(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	repo := owner.CreateRepository(t, "team/multi")
	a, b := ocitest.NewImage(1, 200_000), ocitest.NewImage(2, 2000)
	repo.Push(t, "a", a)
	repo.Push(t, "b", b)
	index := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{
		ocitest.Describe(ocitest.ImageType, a.Manifest), ocitest.Describe(ocitest.ImageType, b.Manifest)}}.JSON()
	repo.PutManifest(t, "multi", ocitest.IndexType, index).Want(t, http.StatusCreated)
	publish(t, owner, "team/multi")
	first := before(t, source)
	middle := near(t, nil, nil, first)
	rule(t, middle.Root(t), "far", first)
	second := before(t, middle)
	end := near(t, nil, nil, second)
	root := end.Root(t)
	arn := putSecret(t, end, "ecr-pullthroughcache/middle", `{"username":"AWS","accessToken":"`+middle.Root(t).Password(t)+`"}`)
	in := ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("near"), UpstreamRegistryUrl: &second.Host,
		CredentialArn: &arn, UpstreamRepositoryPrefix: aws.String("far/team")}
	if _, err := root.ECR().CreatePullThroughCacheRule(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	got := root.Docker(t).Repo("near/multi")
	for range 2 {
		if m := got.Manifest(t, "multi").Want(t, http.StatusOK); !bytes.Equal(m.Body, index) {
			t.Errorf("the index: got %s, want %s", m.Body, index)
		}
		if m := got.Manifest(t, a.Digest).Want(t, http.StatusOK); !bytes.Equal(m.Body, a.Manifest) {
			t.Errorf("an image of it: got %s, want %s", m.Body, a.Manifest)
		}
		for _, content := range append([][]byte{a.Config}, a.Layers...) {
			if m := got.Blob(t, ocitest.SHA256(content)).Want(t, http.StatusOK); !bytes.Equal(m.Body, content) {
				t.Errorf("a blob: got %d other bytes, want %d", len(m.Body), len(content))
			}
		}
	}
	for f, want := range map[*far]int{first: 2, second: 3} { // the second one asks for credentials once
		if m, bl, none := f.count("/manifests/"), f.count("/blobs/"), f.count(b.Digest); m != want || bl != 2 || none != 0 {
			t.Errorf("got %d requests for manifests, %d for blobs and %d for the image that nobody pulled; want %d, 2 and 0: %q", m, bl, none,
				want, f.all())
		}
	}
}

// A tag is compared with the other registry after 24 hours, by a request that transfers nothing if it has not moved. If the other
// registry fails, what is stored is served. A tag that a push has set, or that is immutable, is not compared.
func TestTagsAreCompared(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	old, young := ocitest.NewImage(1, 1000), ocitest.NewImage(2, 1000)
	there := owner.CreateRepository(t, "app")
	there.Push(t, "v1", old)
	publish(t, owner, "app")
	f := before(t, source)
	proxy := f.handle
	var c clock
	s := near(t, c.now, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	pull := func(what, tag string, want ocitest.Image) {
		t.Helper()
		if got := later(t, s, root, &c).Repo("cache/app").Manifest(t, tag).Want(t, http.StatusOK); !bytes.Equal(got.Body, want.Manifest) {
			t.Errorf("%s: got %s, want %s", what, got.Body, want.Manifest)
		}
	}
	pull("first", "v1", old)
	c.add(23 * time.Hour)
	pull("after 23 h", "v1", old)
	if got := f.count("/manifests/"); got != 1 {
		t.Errorf("after 23 h: got %d requests, want 1", got)
	}
	c.add(2 * time.Hour)
	pull("after 25 h", "v1", old)
	if gets, heads := f.count("GET /v2/app/manifests/"), f.count("HEAD /v2/app/manifests/"); gets != 1 || heads != 1 {
		t.Errorf("after 25 h: got %d GET and %d HEAD, want 1 and 1", gets, heads)
	}
	there.Push(t, "v1", young)
	pull("before the next comparison", "v1", old)
	c.add(25 * time.Hour)
	f.serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	pull("while the other registry fails", "v1", old)
	var asked int
	for range 20 { // a failure is remembered for five seconds, in which a loaded machine may not come to the next pull
		asked = f.count("/manifests/")
		began := time.Now()
		pull("at once again", "v1", old)
		got := f.count("/manifests/")
		if got == asked {
			break
		}
		if took := time.Since(began); took < 4*time.Second {
			t.Errorf("at once again, in %s: got %d more requests, want none", took, got-asked)
			break
		}
	}
	f.serve(proxy)
	c.add(time.Minute)
	pull("after its failure", "v1", young)

	later(t, s, root, &c).Repo("cache/app").Push(t, "v1", old)
	c.add(25 * time.Hour)
	asked = f.count("/manifests/")
	pull("a tag that a push has set", "v1", old)
	if got := f.count("/manifests/"); got != asked {
		t.Errorf("a tag that a push has set: got %d requests, want none", got-asked)
	}
	there.Push(t, "v2", old)
	pull("another tag", "v2", old)
	call(t, s, root, &c, "PutImageTagMutability", `{"repositoryName":"cache/app","imageTagMutability":"IMMUTABLE"}`)
	there.Push(t, "v2", young)
	c.add(25 * time.Hour)
	pull("an immutable tag", "v2", old)
	call(t, s, root, &c, "DeletePullThroughCacheRule", `{"ecrRepositoryPrefix":"cache"}`)
	pull("without the rule", "v2", old)
}

// Callers need the rights of ECR: who may not create the repository gets NAME_UNKNOWN, who may not import MANIFEST_UNKNOWN. A registry
// policy can give both. What does not exist there is asked for once in a while.
func TestRightsForAPull(t *testing.T) {
	t.Parallel()
	source := apptest.Start(t, apptest.Options{})
	owner := source.Root(t)
	im := ocitest.NewImage(1, 1000)
	owner.CreateRepository(t, "app").Push(t, "v1", im)
	f := before(t, source)
	s := near(t, nil, nil, f)
	root := s.Root(t)
	arn := putSecret(t, s, "ecr-pullthroughcache/far", `{"username":"AWS","accessToken":"`+owner.Password(t)+`"}`)
	in := ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("cache"), UpstreamRegistryUrl: &f.Host, CredentialArn: &arn}
	if _, err := root.ECR().CreatePullThroughCacheRule(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	other := s.NewAccount(t, "111122223333")
	docker := other.Docker(t)
	docker.Prefix = root.ID + "/" + root.Region + "/"
	policy := func(actions ...string) {
		t.Helper()
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["` +
			strings.Join(actions, `","`) + `"],"Resource":"arn:aws:ecr:` + root.Region + `:` + root.ID + `:repository/cache/*"}]}`
		if _, err := root.ECR().PutRegistryPolicy(t.Context(), &ecr.PutRegistryPolicyInput{PolicyText: &text}); err != nil {
			t.Fatal(err)
		}
	}
	pull := func(what string, status int, code string) {
		t.Helper()
		if got := docker.Repo("cache/app").Manifest(t, "v1").Want(t, status); !strings.Contains(string(got.Body), code) {
			t.Errorf("%s: got %s, want %s", what, got.Body, code)
		}
	}
	policy("ecr:BatchGetImage", "ecr:BatchImportUpstreamImage")
	pull("without CreateRepository", http.StatusNotFound, "NAME_UNKNOWN")
	policy("ecr:BatchGetImage", "ecr:CreateRepository")
	pull("without BatchImportUpstreamImage", http.StatusNotFound, "MANIFEST_UNKNOWN")
	if n := len(f.all()); n != 0 {
		t.Errorf("without rights: the other registry got %d requests", n)
	}
	policy("ecr:BatchGetImage", "ecr:CreateRepository", "ecr:BatchImportUpstreamImage")
	pull("with all", http.StatusOK, "schemaVersion")

	mine := root.Docker(t)
	for range 3 {
		mine.Repo("cache/none").Manifest(t, "v1").Want(t, http.StatusNotFound)
	}
	if got := f.count("/v2/none/"); got != 1 {
		t.Errorf("an image that does not exist there: got %d requests, want 1", got)
	}
	none := ecr.DescribeRepositoriesInput{RepositoryNames: []string{"cache/none"}}
	if _, err := root.ECR().DescribeRepositories(t.Context(), &none); err == nil {
		t.Error("the repository of an image that does not exist was created")
	}
}

// lie answers requests for a layer by a function and passes on all others.
func lie(f *far, layer string, h http.HandlerFunc) {
	proxy := f.handle
	f.serve(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, layer) {
			h(w, r)
			return
		}
		proxy(w, r)
	})
}

// Whatever the other registry sends for a layer, no client gets a whole answer that is wrong, and nothing wrong is stored.
func TestHostileLayers(t *testing.T) {
	t.Parallel()
	im := ocitest.NewImage(1, 2<<20)
	content, layer := im.Layers[0], ocitest.SHA256(im.Layers[0])
	wrong := bytes.Clone(content)
	wrong[len(wrong)-1] ^= 1
	send := func(b []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(b) }
	}
	for what, h := range map[string]http.HandlerFunc{
		"wrong bytes": send(wrong), "too few": send(content[:1<<20]), "too many": send(append(bytes.Clone(content), 'x')), "none": send(nil),
		"not found": http.NotFound,
		"a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		},
		"redirected to this machine": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.2/secret", http.StatusTemporaryRedirect)
		},
		"wrong bytes of unknown length": func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			_, _ = w.Write(wrong)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			source, owner := open(t)
			owner.CreateRepository(t, "app").Push(t, "v1", im)
			publish(t, owner, "app")
			f := before(t, source)
			proxy := f.handle
			lie(f, layer, h)
			var c clock
			s := near(t, c.now, nil, f)
			root := s.Root(t)
			rule(t, root, "cache", f)
			docker := root.Docker(t)
			repo := docker.Repo("cache/app")
			repo.Manifest(t, "v1").Want(t, http.StatusOK)
			if a, err := docker.Try(t.Context(), "GET", repo.Path("/blobs/"+layer), nil); err == nil && a.Status == http.StatusOK {
				t.Errorf("got status 200 and %d bytes without an error", len(a.Body))
			}
			r, err := s.Meta().Repository(t.Context(), s.Registry(), repoName("cache/app"))
			if err != nil {
				t.Fatal(err)
			}
			if h, err := s.Meta().Holding(t.Context(), r.ID, digest(t, layer)); err == nil {
				t.Errorf("the repository holds %+v", h)
			}
			if left, _, err := s.Meta().IdleUploads(t.Context(), c.now().Add(time.Hour), meta.IdlePosition{}, 10); err != nil || len(left) > 0 {
				t.Errorf("got the uploads %+v, %v, want none", left, err)
			}
			f.serve(proxy)
			c.add(2 * time.Minute)
			if got := repo.Blob(t, layer).Want(t, http.StatusOK); !bytes.Equal(got.Body, content) {
				t.Errorf("afterwards: got %d other bytes, want %d", len(got.Body), len(content))
			}
		})
	}
}

// A range and the size of a layer that is not here yet.
func TestRangeAndHeadOfALayerThatIsElsewhere(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 100_000)
	owner.CreateRepository(t, "app").Push(t, "v1", im)
	publish(t, owner, "app")
	f := before(t, source)
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	docker := root.Docker(t)
	repo := docker.Repo("cache/app")
	repo.Manifest(t, "v1").Want(t, http.StatusOK)
	path := repo.Path("/blobs/" + ocitest.SHA256(im.Layers[0]))
	if got := docker.Do(t, "HEAD", path, nil).Want(t, http.StatusOK); got.Header.Get("Content-Length") != "100000" {
		t.Errorf("HEAD: got the length %q, want 100000", got.Header.Get("Content-Length"))
	}
	if got := f.count("/blobs/"); got != 0 {
		t.Errorf("HEAD: got %d requests to the other registry, want none", got)
	}
	ten := docker.Do(t, "GET", path, nil, "Range", "bytes=10-19").Want(t, http.StatusPartialContent)
	if got := ten; !bytes.Equal(got.Body, im.Layers[0][10:20]) {
		t.Errorf("a range: got %q, want %q", got.Body, im.Layers[0][10:20])
	}
	docker.Do(t, "GET", repo.Path("/blobs/"+ocitest.SHA256([]byte("unknown"))), nil).Want(t, http.StatusNotFound)
	if got := f.count("/blobs/"); got != 1 {
		t.Errorf("a blob that no image names: got %d requests for blobs, want those of the range alone", got)
	}
}

// What a rule has brought can be deleted and collected like everything else, and is brought again.
func TestFetchedImagesAreCollected(t *testing.T) {
	t.Parallel()
	source, owner := open(t)
	im := ocitest.NewImage(1, 1000, 50_000)
	owner.CreateRepository(t, "app").Push(t, "v1", im)
	publish(t, owner, "app")
	f := before(t, source)
	s := near(t, nil, nil, f)
	root := s.Root(t)
	rule(t, root, "cache", f)
	repo := root.Docker(t).Repo("cache/app")
	pull := func() {
		t.Helper()
		repo.Manifest(t, "v1").Want(t, http.StatusOK)
		if got := repo.Blob(t, ocitest.SHA256(im.Layers[1])).Want(t, http.StatusOK); !bytes.Equal(got.Body, im.Layers[1]) {
			t.Errorf("the layer: got %d other bytes", len(got.Body))
		}
	}
	collect := func() {
		t.Helper()
		zero := int64(0)
		in := ecrintypes.CollectStorageRequest{GraceSeconds: &zero}
		for more := true; more; more = in.NextToken != "" {
			var out ecrintypes.CollectStorageResponse
			s.Operator(t, "CollectStorage", in, &out)
			in.NextToken = out.NextToken
		}
	}
	pull()
	collect() // one layer is here and two blobs are elsewhere: nothing is unused
	pull()
	if got := f.count("/blobs/"); got != 1 {
		t.Errorf("after a collection: got %d requests for blobs, want 1", got)
	}
	var verified ecrintypes.VerifyStorageResponse
	s.Operator(t, "VerifyStorage", ecrintypes.VerifyStorageRequest{}, &verified)
	if len(verified.Damages) != 0 {
		t.Errorf("a verification found %+v", verified.Damages)
	}
	name := "cache/app"
	if out, err := root.ECR().BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: &name,
		ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}}); err != nil || len(out.Failures) != 0 {
		t.Fatalf("deleting the image: got %+v, %v", out, err)
	}
	collect()
	pull()
	if got := f.count("/blobs/"); got != 2 {
		t.Errorf("after the deletion: got %d requests for blobs, want 2", got)
	}
	if _, err := root.ECR().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &name, Force: true}); err != nil {
		t.Fatal(err)
	}
	collect()
	pull()
}
