package ociapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/door/ociapi"
	"github.com/ecrin-dev/ecrin/internal/store/meta/faultmeta"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const bobID = "111122223333"

// hanging is the number of stalled uploads.
const hanging = ociapi.MaxUploadsPerPrincipal

// Row 1: a very large n causes neither a large allocation nor a failure.
func TestAttack01HugePage(t *testing.T) { // not parallel: it measures the memory of the process
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	repo.Push(t, "v1", ocitest.NewImage(1, 10))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, path := range []string{repo.Path("/tags/list?n=999999999999999999"), "/v2/_catalog?n=999999999999999999",
		repo.Path("/tags/list?n=9223372036854775807")} {
		a := repo.Do(t, http.MethodGet, path, nil)
		if a.Status != http.StatusOK && a.Status != http.StatusBadRequest {
			t.Errorf("%s: got %d", path, a.Status)
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("three listings with huge n allocated %d bytes", grown)
	}
}

// countingReader is an endless source of zeros that counts the bytes read from it, also concurrently.
type countingReader struct{ sent atomic.Int64 }

func (r *countingReader) Read(p []byte) (int, error) {
	clear(p)
	r.sent.Add(int64(len(p)))
	return len(p), nil
}

// Row 2: a manifest that is too large is refused by its declared length, or when it exceeds the limit; the rest is not
// read.
func TestAttack02GiantManifest(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	for _, header := range [][]string{
		{"Content-Type", ocitest.ImageType, "Content-Length", "1099511627776"},
		{"Content-Type", ocitest.ImageType},
	} {
		body := &countingReader{}
		a, err := repo.Try(t.Context(), http.MethodPut, repo.Path("/manifests/v1"), body, header...)
		if err != nil { // the server may close the connection while the client still sends
			if !strings.Contains(err.Error(), "write") && !strings.Contains(err.Error(), "reset") && !errors.Is(err, io.EOF) {
				t.Errorf("%v: %v", header, err)
			}
		} else {
			a.WantError(t, http.StatusRequestEntityTooLarge, "SIZE_INVALID")
		}
		if sent := body.sent.Load(); sent > 64<<20 {
			t.Errorf("%v: the server read %d bytes", header, sent)
		}
	}
}

// Row 3: indexes of indexes that refer to the same child a thousand times at each level do not multiply the cost. An
// index that refers to itself or to an unknown image cannot be stored, so there are no cycles.
func TestAttack03IndexBomb(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "leaf", im)
	start, child := time.Now(), im.Descriptor()
	var top []byte
	for range 8 {
		m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: slices.Repeat([]ocitest.Descriptor{child}, 1000)}
		top = m.JSON()
		repo.PutManifest(t, "bomb", ocitest.IndexType, top).Want(t, http.StatusCreated)
		child = ocitest.Describe(ocitest.IndexType, top)
	}
	deeper := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType, Manifests: []ocitest.Descriptor{child}}.JSON()
	repo.PutManifest(t, "bomb", ocitest.IndexType, deeper).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
	repo.Manifest(t, "bomb").Want(t, http.StatusOK)
	many := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
		Manifests: slices.Repeat([]ocitest.Descriptor{child}, 10_001)}.JSON()
	repo.PutManifest(t, "wide", ocitest.IndexType, many).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
	absent := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.IndexType,
		Manifests: []ocitest.Descriptor{{MediaType: ocitest.IndexType, Digest: ocitest.SHA256([]byte("myself")), Size: 1}}}.JSON()
	repo.PutManifest(t, "cycle", ocitest.IndexType, absent).WantError(t, http.StatusNotFound, "MANIFEST_BLOB_UNKNOWN")
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("eight levels with a thousand children took %s", took)
	}
}

// Row 4: a manifest has one interpretation. A manifest that could be an image and an index is refused with either type,
// and a stored manifest is served with the type with which it was stored, regardless of the Accept header.
func TestAttack04TypeConfusion(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "v1", im)
	both := strings.Replace(string(im.Manifest), `"layers"`, `"manifests":[],"layers"`, 1)
	for _, mediaType := range []string{ocitest.ImageType, ocitest.IndexType, ocitest.DockerType, ""} {
		for _, body := range []string{both, strings.Replace(both, `"mediaType":"`+ocitest.ImageType+`",`, "", 1)} {
			repo.PutManifest(t, "bad", mediaType, []byte(body)).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
		}
	}
	repo.PutManifest(t, "bad", ocitest.IndexType, im.Manifest).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
	repo.PutManifest(t, im.Digest, ocitest.DockerType, im.Manifest).WantError(t, http.StatusBadRequest, "MANIFEST_INVALID")
	repo.Do(t, http.MethodGet, repo.Path("/manifests/v1"), nil, "Accept", ocitest.IndexType).Want(t,
		http.StatusOK).WantHeader(t, "Content-Type", ocitest.ImageType)
}

// Row 5: the answers for a digest that only another repository holds are the same as those for an unknown digest: in
// status, headers, body and time.
func TestAttack05ForeignDigest(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	alice, bob := s.Root(t), s.NewAccount(t, bobID)
	im := ocitest.NewImage(1, 4<<20)
	alice.CreateRepository(t, "team/secret").Push(t, "v1", im)
	foreign, unknown := ocitest.SHA256(im.Layers[0]), ocitest.SHA256([]byte("unknown"))
	// Another repository of the same account, and one of another account.
	for name, repo := range map[string]ocitest.Repo{"neighbour": alice.CreateRepository(t, "team/app"),
		"account": bob.CreateRepository(t, "team/app")} {
		repo.Push(t, "v1", ocitest.NewImage(2, 10))
		ask := func(method, path, d string) string {
			a := repo.Do(t, method, repo.Path(fmt.Sprintf(path, d)), nil)
			a.Header.Del("Date")
			a.Header.Del("X-Amzn-Requestid")
			text := fmt.Sprint(a.Status, a.Header, string(a.Body))
			return strings.ReplaceAll(text, d, "DIGEST")
		}
		for _, c := range [][2]string{
			{http.MethodHead, "/blobs/%s"}, {http.MethodGet, "/blobs/%s"}, {http.MethodDelete, "/blobs/%s"},
			{http.MethodHead, "/manifests/%s"}, {http.MethodGet, "/manifests/%s"}, {http.MethodDelete,
				"/manifests/%s"}, {http.MethodGet, "/referrers/%s"},
		} {
			f, u := foreign, unknown
			if strings.HasPrefix(c[1], "/manifests") || strings.HasPrefix(c[1], "/referrers") {
				f = im.Digest
			}
			if got, want := ask(c[0], c[1], f), ask(c[0], c[1], u); got != want {
				t.Errorf("%s: %s %s of a foreign digest: %s; of an unknown digest: %s", name, c[0], c[1], got, want)
			}
		}
		config := ocitest.Describe(ocitest.ConfigType, ocitest.NewImage(2, 10).Config)
		push := func(d string) string {
			body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &config,
				Layers: []ocitest.Descriptor{{MediaType: ocitest.LayerType, Digest: d, Size: 4 << 20}}}.JSON()
			a := repo.PutManifest(t, "probe", ocitest.ImageType, body)
			return strings.ReplaceAll(fmt.Sprint(a.Status, string(a.Body)), d, "DIGEST")
		}
		if got, want := push(foreign), push(unknown); got != want {
			t.Errorf("%s: a manifest that names a foreign blob: %s; an unknown blob: %s", name, got, want)
		}
		sameTime(t, s, func(d string) { repo.Do(t, http.MethodHead, repo.Path("/blobs/"+d), nil) }, foreign, unknown)
	}
	// A mount by the other account reveals nothing and mounts nothing.
	repo := bob.Docker(t).Repo("team/app")
	for _, from := range []string{"team/secret", "000000000000/us-east-1/team/secret", ""} {
		for _, d := range []string{foreign, unknown} {
			query := ocitest.Query("mount", d)
			if from != "" {
				query = ocitest.Query("mount", d, "from", from)
			}
			a := repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?"+query), nil).Want(t, http.StatusAccepted)
			if len(a.Body) > 0 || a.Header.Get("Docker-Content-Digest") != "" {
				t.Errorf("mount of %s from %q : got %v %s, want only the headers of an upload", d, from, a.Header, a.Body)
			}
			repo.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
		}
	}
	sameTime(t, s, func(d string) {
		repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?"+ocitest.Query("mount", d, "from", "000000000000/us-east-1/team/secret")), nil)
	}, foreign, unknown)
	// The blob must be uploaded, and the answers to the upload are also the same: the server reads all bytes.
	begun := repo.Begin(t)
	repo.Do(t, http.MethodPut, begun+"?digest="+foreign, nil).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
	repo.Do(t, http.MethodPut, begun+"?digest="+unknown, nil).WantError(t, http.StatusBadRequest, "DIGEST_INVALID")
}

// sameTime checks that the server does the same work for two digests: it runs the same statements, in the same order. It also
// compares the medians of many interleaved requests with a large tolerance: the difference of an attack over a network would
// be that of reading a file.
func sameTime(t *testing.T, s *apptest.Server, ask func(digest string), one, two string) {
	t.Helper()
	digests := []string{one, two}
	const rounds = 60
	var took [2][]time.Duration
	var work [2][]string // the least work: beside a request the server may have other work
	faults := faultmeta.In(s.Dir)
	for i := range 2 * rounds {
		faults.Record()
		start := time.Now()
		ask(digests[i%2])
		took[i%2] = append(took[i%2], time.Since(start))
		if did := faults.Recorded(); i < 2 || len(did) <= len(work[i%2]) {
			work[i%2] = did
		}
	}
	if diff := cmp.Diff(work[0], work[1]); diff != "" {
		t.Errorf("the server does other work for a foreign digest than for an unknown one (-foreign +unknown):\n%s", diff)
	}
	var median [2]time.Duration
	for i := range took {
		slices.Sort(took[i])
		median[i] = took[i][rounds/2]
	}
	if a, b := median[0], median[1]; max(a, b) > 3*min(a, b)+2*time.Millisecond {
		t.Errorf("the medians of %d requests differ: foreign %s, unknown %s", rounds, a, b)
	}
}

// Row 6: a mount needs the permission to read the source, not only the permission on the destination.
func TestAttack06MountSource(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	alice, bob := s.Root(t), s.NewAccount(t, bobID)
	content := ocitest.Bytes(1, 1000)
	d := alice.CreateRepository(t, "base").PutBlob(t, content)
	bobs := bob.CreateRepository(t, "app")
	// A mount from a registry of another account or region is refused.
	west := alice.In("eu-west-1").CreateRepository(t, "app")
	for repo, froms := range map[*ocitest.Repo][]string{
		&bobs: {"base", "000000000000/us-east-1/base", bobID + "/us-east-1/base", "../../000000000000/us-east-1/base", ""},
		&west: {"base", "000000000000/us-east-1/base", "000000000000/eu-west-1/base", ""},
	} {
		for _, from := range froms {
			query := ocitest.Query("mount", d)
			if from != "" {
				query = ocitest.Query("mount", d, "from", from)
			}
			repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/?"+query), nil).Want(t, http.StatusAccepted)
			repo.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
		}
	}
	// If the account setting disables mounts, a mount within the account is refused.
	if _, err := alice.ECR().PutAccountSetting(t.Context(),
		&ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("DISABLED")}); err != nil {
		t.Fatal(err)
	}
	own := alice.CreateRepository(t, "own")
	own.Do(t, http.MethodPost, own.Path("/blobs/uploads/?mount="+d+"&from=base"), nil).Want(t, http.StatusAccepted)
	own.Do(t, http.MethodPost, own.Path("/blobs/uploads/?mount="+d), nil).Want(t, http.StatusAccepted)
	own.Blob(t, d).WantError(t, http.StatusNotFound, "BLOB_UNKNOWN")
}

// Row 9: no tag is special. In an immutable repository latest cannot be moved by either API, nor by a push by digest
// with tags in the query. A push of the same image is not a change.
func TestAttack09OverwritingLatest(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	name := aws.String("team/app")
	if _, err := root.ECR().PutImageTagMutability(t.Context(),
		&ecr.PutImageTagMutabilityInput{RepositoryName: name, ImageTagMutability: types.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	im, other := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	repo.Push(t, "latest", im)
	repo.PushBlobs(t, other)
	const frozen = "The image tag 'latest' already exists in the 'team/app' repository and cannot be overwritten because the tag is immutable."
	for _, path := range []string{"/manifests/latest", "/manifests/" + other.Digest + "?tag=latest", "/manifests/other?tag=latest"} {
		a := repo.Do(t, http.MethodPut, repo.Path(path), other.Manifest, "Content-Type", ocitest.ImageType).WantError(t,
			http.StatusBadRequest, "TAG_INVALID")
		if e, _ := a.Errors(); e[0].Message != frozen {
			t.Errorf("PUT %s: got message %q, want %q", path, e[0].Message, frozen)
		}
	}
	_, err := root.ECR().PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: name,
		ImageManifest: aws.String(string(other.Manifest)), ImageTag: aws.String("latest")})
	if err == nil || !strings.Contains(err.Error(), "ImageTagAlreadyExistsException") {
		t.Errorf("PutImage over an immutable tag: %v", err)
	}
	repo.PutManifest(t, "latest", ocitest.ImageType, im.Manifest).Want(t, http.StatusCreated)
	repo.Manifest(t, "latest").WantHeader(t, "Docker-Content-Digest", im.Digest)
	// A refused push does not store its image.
	for _, ref := range []string{other.Digest, "other"} {
		repo.Manifest(t, ref).WantError(t, http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
}

// Row 33, OCI distribution API: the stalled uploads of one principal do not block other principals; many tiny chunks
// are slow only for their sender.
func TestAttack33HangingUploads(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	alice, bob := s.Root(t).CreateRepository(t, "team/app"), s.NewAccount(t, bobID).CreateRepository(t, "team/app")
	hang, release := io.Pipe()
	defer release.Close()
	ended := make(chan error, hanging)
	hangUploads(t, alice, hanging, hang, ended)
	alice.Do(t, http.MethodPatch, alice.Begin(t), []byte("x")).WantError(t, http.StatusTooManyRequests,
		"TOOMANYREQUESTS").WantHeader(t, "Retry-After", "1")
	alice.Tags(t, "").Want(t, http.StatusOK)
	bob.PutBlob(t, []byte("another principal"))
	release.Close()
	for range hanging {
		if err := <-ended; err != nil {
			t.Errorf("an upload that continued after a pause: %v", err)
		}
	}
	// Tiny chunks, each of which is flushed.
	content := ocitest.Bytes(1, 200)
	location := alice.Begin(t)
	for i := range content {
		alice.Do(t, http.MethodPatch, location, content[i:i+1]).Want(t, http.StatusAccepted)
	}
	alice.Do(t, http.MethodPut, location+"?digest="+ocitest.SHA256(content), nil).Want(t, http.StatusCreated)
}

// startedReader closes a channel when its first bytes were read.
type startedReader struct {
	first, then io.Reader
	started     chan struct{}
	said        bool
}

func (r *startedReader) Read(p []byte) (int, error) {
	n, err := r.first.Read(p)
	if err == io.EOF {
		if !r.said {
			r.said = true
			close(r.started)
		}
		return r.then.Read(p)
	}
	return n, err
}
