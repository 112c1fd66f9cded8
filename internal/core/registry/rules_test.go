package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/blob/faultblob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestParseQuirks(t *testing.T) {
	t.Parallel()
	all := reflect.ValueOf(&registry.Quirks{}).Elem()
	for i := range all.NumField() {
		all.Field(i).SetBool(true)
	}
	for list, want := range map[string]registry.Quirks{
		"": {}, "none": {}, "all": all.Interface().(registry.Quirks), "patch-201": {Patch201: true},
		"page-100,quotas": {Page100: true, Quotas: true}, "quotas,all": all.Interface().(registry.Quirks),
	} {
		if got, err := registry.ParseQuirks(list); err != nil || got != want {
			t.Errorf("ParseQuirks(%q): got %+v, %v, want %+v", list, got, err, want)
		}
	}
	for _, list := range []string{"page-101", "none,quotas", "quotas,", ",", "All", " all"} {
		if got, err := registry.ParseQuirks(list); err == nil || got != (registry.Quirks{}) || !strings.Contains(err.Error(), "page-100,") {
			t.Errorf("ParseQuirks(%q): got %+v, %v, want an error with the names", list, got, err)
		}
	}
	if names := registry.QuirkNames(); len(names) != all.NumField() || names[0] != "status-405" || slices.Contains(names, "") {
		t.Errorf("names: got %q, want %d, status-405 first", names, all.NumField())
	}
	if got := newFixture(t, nil, registry.Quirks{Quotas: true}).Quirks(); got != (registry.Quirks{Quotas: true}) {
		t.Errorf("the quirks of the service: got %+v, want quotas", got)
	}
}

// A page has up to as many entries as its limit, and says whether others follow.
func TestPagesSayWhetherOthersFollow(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	for i := range 2 {
		c.in(t, "other", i)
	}
	c.layered(t, "config", "layer", "v1")
	c.manifest(t, "config", "layer", "v2")
	c.manifest(t, "config", "layer", "v3")
	repositories := func(after string, limit int) (names []string, more bool, err error) {
		page, more, err := c.Repositories(t.Context(), home, after, limit)
		for _, r := range page {
			names = append(names, r.Name.String())
		}
		return names, more, err
	}
	tags := func(after string, limit int) ([]string, bool, error) {
		return c.Tags(t.Context(), c.repo, after, limit)
	}
	for _, test := range []struct {
		list  func(string, int) ([]string, bool, error)
		after string
		limit int
		want  []string
		more  bool
	}{
		{repositories, "", 2, []string{"other/0", "other/1"}, true},
		{repositories, "", 3, []string{"other/0", "other/1", "team/app"}, false},
		{repositories, "other/1", 2, []string{"team/app"}, false},
		{tags, "", 2, []string{"v1", "v2"}, true},
		{tags, "v1", 2, []string{"v2", "v3"}, false},
		{tags, "", 3, []string{"v1", "v2", "v3"}, false},
		{tags, "", 4, []string{"v1", "v2", "v3"}, false},
		{tags, "v1", -1, []string{"v2", "v3"}, false},
		{tags, "", 0, []string{}, true},
	} {
		got, more, err := test.list(test.after, test.limit)
		if err != nil || !slices.Equal(got, test.want) || more != test.more {
			t.Errorf("up to %d after %q: got %q, %t, %v, want %q, %t", test.limit, test.after, got, more, err, test.want, test.more)
		}
	}
}

// Parts follow each other, all but the last have 5 MiB, and the error has the members of ECR's.
func TestPartsFollowEachOther(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	u := c.begin(t)
	if _, err := c.CompleteParts(t.Context(), c.repo, u, []name.Digest{digest("")}); !errors.Is(err, fault.EmptyUpload) {
		t.Errorf("an upload without parts: got %v, want EmptyUpload", err)
	}
	refused := func(first, last int64, n int, received int64) {
		t.Helper()
		_, err := c.UploadPart(t.Context(), c.repo, u, first, last, make([]byte, n))
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.InvalidLayerPart {
			t.Errorf("part %d to %d of %d bytes: got %v, want InvalidLayerPart", first, last, n, err)
			return
		}
		want := map[string]any{"registryId": "000000000000", "repositoryName": "team/app", "uploadId": u.ID, "lastValidByteReceived": received}
		if diff := cmp.Diff(want, f.Fields); diff != "" {
			t.Errorf("part %d to %d: members (-want +got):\n%s", first, last, diff)
		}
	}
	refused(1, 3, 3, 0)
	refused(0, 3, 3, 0)
	refused(0, 1, 3, 0)
	refused(0, -1, 0, 0)
	part := func(n int) {
		t.Helper()
		var err error
		if u, err = c.UploadPart(t.Context(), c.repo, u, u.Blob.Size, u.Blob.Size+int64(n)-1, make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	part(int(registry.MinPart))
	refused(0, 2, 3, registry.MinPart-1)
	part(3) // the last may be small
	whole := string(make([]byte, registry.MinPart+3))
	if got, err := c.CompleteParts(t.Context(), c.repo, u, []name.Digest{digest("x"), digest(whole)}); err != nil || got != digest(whole) {
		t.Errorf("a small last part: got %v, %v, want %v", got, err, digest(whole))
	}
	for _, sizes := range [][]int{{int(registry.MinPart) - 1, 3}, {3, int(registry.MinPart)}, {3, 3, 3}} {
		u = c.begin(t)
		for _, n := range sizes {
			part(n)
		}
		_, err := c.CompleteParts(t.Context(), c.repo, u, []name.Digest{digest("x")})
		if want := fmt.Sprintf("has %d bytes", sizes[0]); !errors.Is(err, fault.LayerPartTooSmall) || !strings.Contains(err.Error(), want) {
			t.Errorf("parts of %d bytes: got %v, want LayerPartTooSmall with %q", sizes, err, want)
		}
	}
	u = c.begin(t)
	part(3)
	if _, err := c.CompleteParts(t.Context(), c.repo, u, []name.Digest{digest("x")}); !errors.Is(err, fault.InvalidLayer) {
		t.Errorf("another digest: got %v, want InvalidLayer", err)
	}
	u = c.begin(t)
	part(len(whole))
	if _, err := c.CompleteParts(t.Context(), c.repo, u, []name.Digest{digest(whole)}); !errors.Is(err, fault.LayerAlreadyExists) ||
		!strings.Contains(err.Error(), "'"+digest(whole).String()+"' already exists in the repository with name 'team/app'") {
		t.Errorf("a layer that is there: got %v, want LayerAlreadyExists", err)
	}
}

// A chunk begins at the end of the upload and has the declared length; otherwise none of it is kept.
func TestChunksHaveTheirPlaceAndLength(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	u := c.upload(t, "some ")
	chunk := func(s string, at, length int64) registry.Chunk {
		return registry.Chunk{Body: strings.NewReader(s), At: at, Length: length}
	}
	for _, test := range []struct {
		chunk registry.Chunk
		want  fault.Code
	}{
		{chunk("bytes", 4, 5), fault.RangeInvalid}, {chunk("bytes", 6, 5), fault.RangeInvalid}, {chunk("bytes", 0, 5), fault.RangeInvalid},
		{chunk("bytes", 5, 6), fault.SizeInvalid}, {chunk("bytes", 5, 4), fault.SizeInvalid},
	} {
		if _, err := c.Append(t.Context(), c.repo, u, test.chunk); !errors.Is(err, test.want) {
			t.Errorf("appending %+v: got %v, want %v", test.chunk, err, test.want)
		}
		test.chunk.Body = strings.NewReader("bytes")
		if _, err := c.Complete(t.Context(), c.repo, u, test.chunk, digest("some bytes")); !errors.Is(err, test.want) {
			t.Errorf("completing with %+v: got %v, want %v", test.chunk, err, test.want)
		}
	}
	after, err := c.Append(t.Context(), c.repo, u, chunk("bytes", 5, 5))
	if err != nil || after.Blob.Size != 10 || after.Parts != u.Parts+1 {
		t.Errorf("a chunk at its place: got %+v, %v, want 10 bytes and one part more", after, err)
	}
	after, err = c.Append(t.Context(), c.repo, after, chunk("!", registry.AnyOffset, registry.UnknownCount))
	if err != nil || after.Blob.Size != 11 {
		t.Errorf("a chunk without place and length: got %+v, %v, want 11 bytes", after, err)
	}
	if info, err := c.Complete(t.Context(), c.repo, after, registry.Chunk{At: 11, Length: 0}, digest("some bytes!")); err != nil ||
		info.Size != 11 {
		t.Errorf("completing: got %+v, %v, want 11 bytes", info, err)
	}
}

// Mounts follow the account setting, and never cross registries or keys.
func TestMountsNeedTheSettingAndTheSameEncryption(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		quirk   bool
		setting string
		want    bool
	}{
		{false, "", true}, {false, meta.Enabled, true}, {false, meta.Disabled, false},
		{true, "", false}, {true, meta.Enabled, true}, {true, meta.Disabled, false},
	} {
		c := newFixture(t, nil, registry.Quirks{MountSetting: test.quirk})
		if test.setting != "" {
			c.must(t, c.store.PutSetting(t.Context(), home, meta.SettingBlobMounting, test.setting))
		}
		c.put(t, "blob")
		to := c.in(t, "to", 0)
		err := c.Mount(t.Context(), c.repo, to.repo, digest("blob"))
		if (err == nil) != test.want || err != nil && !errors.Is(err, fault.BlobNotFound) {
			t.Errorf("quirk %t, setting %q: got %v, want success %t", test.quirk, test.setting, err, test.want)
		}
		if _, err := c.Blob(t.Context(), to.repo, digest("blob")); (err == nil) != test.want {
			t.Errorf("quirk %t, setting %q: the blob in the other repository: got %v", test.quirk, test.setting, err)
		}
	}
	c := newFixture(t, nil, registry.Quirks{})
	c.put(t, "blob")
	for what, change := range map[string]func(*meta.Repository){
		"registry":   func(r *meta.Repository) { r.Registry.Region = name.MustRegion("eu-west-1") },
		"encryption": func(r *meta.Repository) { r.Encryption = "KMS" },
		"key":        func(r *meta.Repository) { r.KMSKey = "another" },
	} {
		to := c.in(t, what, 0).repo
		change(&to)
		if err := c.Mount(t.Context(), c.repo, to, digest("blob")); !errors.Is(err, fault.BlobNotFound) {
			t.Errorf("into another %s: got %v, want BlobNotFound", what, err)
		}
	}
}

// The file of a blob.
func (c fixture) file(t *testing.T, d name.Digest) (path string) {
	t.Helper()
	_, sum, _ := strings.Cut(d.String(), ":")
	err := filepath.WalkDir(filepath.Join(c.dir, "blobs"), func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.Contains(p, sum) {
			path = p
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("the file of %s: %v", d, err)
	}
	c.must(t, os.Chmod(path, 0o600))
	return path
}

// A damaged or missing file is never served: it is moved away, counted, and the next push stores the blob again.
func TestDamagedFilesAreFoundAndReplaced(t *testing.T) {
	t.Parallel()
	damages := map[string]struct {
		damage      func(path string) error
		open        bool // opening the blob notices it
		quarantined bool
		reason      string // of Verify
	}{
		"missing":  {os.Remove, true, false, "its bytes are missing"},
		"short":    {func(p string) error { return os.WriteFile(p, []byte("byte"), 0o600) }, true, true, "its 4 bytes have the digest"},
		"changed":  {func(p string) error { return os.WriteFile(p, []byte("Bytes"), 0o600) }, false, true, "its 5 bytes have the digest"},
		"no file":  {func(p string) error { return errors.Join(os.Remove(p), os.Symlink("/dev/null", p)) }, true, true, ""},
		"a folder": {func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o700)) }, true, true, ""},
	}
	for what, test := range damages {
		for _, by := range []string{"OpenBlob", "Verify"} {
			if by == "OpenBlob" && !test.open {
				continue
			}
			c := newFixture(t, nil, registry.Quirks{})
			d := c.put(t, "bytes")
			c.put(t, "others")
			c.must(t, test.damage(c.file(t, d)))
			if by == "OpenBlob" {
				if f, _, err := c.OpenBlob(t.Context(), c.repo, d); !errors.Is(err, registry.ErrBytesLost) {
					t.Errorf("%s: opening: got %v, %v, want ErrBytesLost", what, f, err)
				}
			} else {
				all := registry.Verified{}
				for all.Next.Stage != registry.VerifyDone {
					part, err := c.Verify(t.Context(), all.Next, 1<<30)
					if err != nil {
						t.Fatalf("%s: verifying: %v", what, err)
					}
					all.Damages, all.Next = append(all.Damages, part.Damages...), part.Next
				}
				if len(all.Damages) != 1 || all.Damages[0].Digest != d.String() || all.Damages[0].Manifest ||
					all.Damages[0].Quarantined != test.quarantined || !strings.Contains(all.Damages[0].Reason, test.reason) {
					t.Errorf("%s: verifying: got %+v, want %s with quarantine %t and %q", what, all.Damages, d, test.quarantined, test.reason)
				}
			}
			want := uint64(0)
			if test.quarantined {
				want = 1
			}
			if got := c.DamagedBlobs(); got != want {
				t.Errorf("%s, %s: got %d damaged blobs, want %d", what, by, got, want)
			}
			if _, err := c.SoundBlob(t.Context(), c.repo, d); !errors.Is(err, fault.BlobNotFound) {
				t.Errorf("%s, %s: is it sound: got %v, want BlobNotFound", what, by, err)
			}
			to := c.in(t, "to", 0).repo
			if err := c.Mount(t.Context(), c.repo, to, d); !errors.Is(err, fault.BlobNotFound) {
				t.Errorf("%s, %s: mounting it: got %v, want BlobNotFound", what, by, err)
			}
			c.put(t, "bytes")
			if got := c.content(t, d); got != "bytes" {
				t.Errorf("%s, %s: pushed again: got %q, want bytes", what, by, got)
			}
			if h, err := c.SoundBlob(t.Context(), c.repo, d); err != nil || h.Size != 5 {
				t.Errorf("%s, %s: pushed again: got %+v, %v, want 5 bytes", what, by, h, err)
			}
		}
	}
}

func TestPlacesOfNoCallAreRefused(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	if _, err := c.Verify(t.Context(), registry.VerifyPlace{Stage: registry.VerifyDone}, 0); !errors.Is(err, fault.InvalidParameter) {
		t.Errorf("verifying after the end: got %v, want InvalidParameter", err)
	}
	for _, stage := range []registry.CollectStage{registry.CollectDone, -1} {
		_, err := c.Collect(t.Context(), registry.CollectPlace{Stage: stage}, registry.CollectOptions{})
		if !errors.Is(err, fault.InvalidParameter) {
			t.Errorf("collecting from stage %d: got %v, want InvalidParameter", stage, err)
		}
	}
	if _, err := c.Verify(t.Context(), registry.VerifyPlace{After: "sha256:x"}, 0); err == nil {
		t.Error("verifying after no digest: got no error")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Collect(ended, registry.CollectPlace{}, registry.CollectOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that has ended: got %v, want context.Canceled", err)
	}
}

func TestManifestsThatAreRefused(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	c.must(t, errors.Join(c.blob("config"), c.blob("layer")))
	good := manifestOf("config", "layer")
	padded := func(n int) []byte { return append(slices.Clone(good), strings.Repeat(" ", n-len(good))...) }
	for what, test := range map[string]struct {
		in   registry.PutImage
		want fault.Code
	}{
		"too large":      {registry.PutImage{Body: padded(manifest.MaxBytes + 1)}, fault.RequestTooLarge},
		"no JSON":        {registry.PutImage{Body: []byte("{")}, fault.ManifestInvalid},
		"another digest": {registry.PutImage{Body: good, Digest: digest("x")}, fault.ImageDigestDoesNotMatch},
		"another SHA-512": {registry.PutImage{Body: good, Digest: registry.DigestOf(name.SHA512, []byte("x"))},
			fault.ImageDigestDoesNotMatch},
		"a browser's type": {registry.PutImage{Body: []byte(strings.Replace(string(good), "vnd.oci.image.layer.v1.tar", "<html>", 1))},
			fault.ManifestInvalid},
	} {
		if d, _, err := c.Put(t.Context(), alice, c.repo, test.in); !errors.Is(err, test.want) || d != (name.Digest{}) {
			t.Errorf("%s: got %v, %v, want %v", what, d, err, test.want)
		}
	}
	for _, in := range []registry.PutImage{{Body: good, Digest: registry.DigestOf(name.SHA512, good)}, {Body: padded(manifest.MaxBytes)}} {
		d, m, err := c.Put(t.Context(), alice, c.repo, in)
		if err != nil || m == nil || d != registry.DigestOf(in.Digest.Algorithm(), in.Body) {
			t.Errorf("a good manifest of %d bytes: got %v, %v", len(in.Body), d, err)
		}
	}
}

// A repository that a push creates is decided about again, also if another request has created it since the decision.
func TestCreateForPush(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	// A template that was deleted since the decision creates nothing: the next decision answers that the repository does not exist.
	if err := c.CreateForPush(t.Context(), home, name.MustRepo("new")); !errors.Is(err, fault.TargetChanged) {
		t.Errorf("without a template: got %v, want TargetChanged", err)
	}
	if _, err := c.Repository(t.Context(), home, name.MustRepo("new")); !errors.Is(err, fault.RepositoryNotFound) {
		t.Errorf("without a template: got %v, want no repository", err)
	}
	if _, err := c.store.CreateTemplate(t.Context(), meta.Template{Registry: home, Prefix: "ROOT", Cases: registry.ForPush}, 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.CreateForPush(t.Context(), home, name.MustRepo("new")); !errors.Is(err, fault.TargetChanged) {
			t.Errorf("got %v, want TargetChanged", err)
		}
	}
	r, err := c.Repository(t.Context(), home, name.MustRepo("new"))
	if err != nil || r.Mutability.Mode != meta.Mutable || r.Encryption != meta.EncryptionAES256 {
		t.Errorf("got %+v, %v, want a repository with mutable tags and AES256", r, err)
	}
	r.Name, r.Encryption, r.Mutability.Mode = name.MustRepo("newer"), "KMS", meta.Immutable
	if got, err := c.CreateRepository(t.Context(), r, nil); err != nil || got.Encryption != "KMS" || got.Mutability.Mode != meta.Immutable {
		t.Errorf("with settings: got %+v, %v, want them kept", got, err)
	}
	if got, err := c.Repository(t.Context(), home, name.MustRepo("newer")); err != nil || got.Encryption != "KMS" {
		t.Errorf("reading it: got %+v, %v", got, err)
	}
}

// A pull-through cache and a replication create a repository without a template too, with the defaults of ECR; a push does not.
func TestCreateWithoutATemplate(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	if _, err := c.Create(t.Context(), home, name.MustRepo("pushed"), registry.ForPush); !errors.Is(err, fault.TemplateNotFound) {
		t.Errorf("a push: got %v, want TemplateNotFound", err)
	}
	if _, err := c.TemplateFor(t.Context(), home, name.MustRepo("pushed"), registry.ForPush); !errors.Is(err, fault.TemplateNotFound) {
		t.Errorf("the template of a push: got %v, want TemplateNotFound", err)
	}
	r, err := c.Create(t.Context(), home, name.MustRepo("cached"), registry.ForPullThrough)
	if err != nil || r.Mutability.Mode != meta.Mutable || r.Encryption != meta.EncryptionAES256 || r.Policy.Text != "" {
		t.Errorf("a cache: got %+v, %v, want the defaults", r, err)
	}
	v := meta.Template{Registry: home, Prefix: "ROOT", Cases: registry.ForReplication, Mutability: meta.Mutability{Mode: meta.Immutable}}
	if _, err := c.store.CreateTemplate(t.Context(), v, 1); err != nil {
		t.Fatal(err)
	}
	r, err = c.Create(t.Context(), home, name.MustRepo("copied"), registry.ForReplication)
	if err != nil || r.Mutability.Mode != meta.Immutable {
		t.Errorf("a replication: got %+v, %v, want the template", r, err)
	}
}

// A dry collection counts what a collection deletes, also if there are more blobs than one step of it has.
func TestDryCollectionCountsAllCandidates(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	want := registry.Collection{}
	var all []name.Digest
	for i := range 120 {
		content := fmt.Sprint("candidate ", i)
		u, err := c.blobs.Begin(t.Context(), name.SHA256)
		c.must(t, err)
		info, err := c.blobs.Commit(t.Context(), u, strings.NewReader(content), 100, digest(content))
		c.must(t, err)
		want.Blobs, want.Bytes, all = want.Blobs+1, want.Bytes+info.Size, append(all, info.Digest)
	}
	*c.clock = time.Now().Add(time.Hour) // the store dates blobs by the clock of the system
	c.must(t, c.store.AddBlobCandidates(t.Context(), all))
	c.wantCollected(t, registry.CollectOptions{Dry: true}, want)
	c.wantCollected(t, registry.CollectOptions{Dry: true, Full: true}, want)
	if got := c.stored(t); got != len(all) {
		t.Errorf("after dry collections: got %d blobs, want %d", got, len(all))
	}
	c.wantCollected(t, registry.CollectOptions{}, want)
	if got := c.stored(t); got != 0 || c.CollectedBytes() != uint64(want.Bytes) {
		t.Errorf("after a collection: got %d blobs and %d bytes collected, want none and %d", got, c.CollectedBytes(), want.Bytes)
	}
}

// report is the result of an attempt of background work.
type report struct {
	work string
	err  error
}

// working returns a service over the stores of the fixture.
func (c fixture) working(b blob.Store, o registry.Options) *registry.Service {
	o.Now, o.Log = func() time.Time { return *c.clock }, slog.New(slog.DiscardHandler)
	return registry.New(c.store, b, o)
}

// work does the background work of a service until stop is called, and reports it to a channel.
func (c fixture) work(t *testing.T, s *registry.Service, interval time.Duration, full bool) (reports <-chan report, stop func()) {
	t.Helper()
	all := make(chan report, 10_000)
	at := c.clock.Add(-2 * time.Hour) // so that a schedule of an hour is due again at once: the clock stands
	r := jobs.New(jobs.Options{Meta: c.store, Now: func() time.Time { return at }, Log: slog.New(slog.DiscardHandler),
		Poll: 2 * time.Millisecond, Report: func(work string, err error) { all <- report{work, err} }})
	s.AddWork(r, interval, full)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { r.Run(ctx); close(ended) }()
	return all, func() { cancel(); <-ended }
}

func wantReport(t *testing.T, reports <-chan report, work string, want error) {
	t.Helper()
	for {
		select {
		case got := <-reports:
			if got.work != work {
				continue
			}
			if !errors.Is(got.err, want) {
				t.Errorf("%s: got %v, want %v", work, got.err, want)
			}
			return
		case <-time.After(30 * time.Second):
			t.Fatalf("no attempt of %s in 30s", work)
		}
	}
}

// The first sweep is at once, its failure is reported, and the pull times of answered pulls are written at the end.
func TestWorkSweepsReportsAndWritesTheLastPulls(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	d := c.layered(t, "config", "layer", "v1")
	for _, want := range []error{nil, faultblob.ErrInjected} {
		b := faultblob.New(c.blobs, func(op faultblob.Op) faultblob.Fault {
			if want != nil && op == faultblob.Stale {
				return faultblob.Before
			}
			return faultblob.None
		})
		s := c.working(b, registry.Options{})
		reports, stop := c.work(t, s, 0, false)
		wantReport(t, reports, registry.SweepWork, want)
		wantReport(t, reports, registry.PullTimesWork, nil) // the next is two seconds later
		head, err := s.Head(t.Context(), c.repo, name.Reference{Digest: d})
		c.must(t, err)
		*c.clock = c.clock.Add(time.Hour) // a pull within the hour after a recorded one is not recorded
		if body, err := s.Pull(t.Context(), alice, c.repo, head); err != nil || digest(string(body)) != d {
			t.Errorf("pulling: got %q, %v", body, err)
		}
		stop()
		wantReport(t, reports, registry.PullTimesWork, nil)
		all, err := c.store.Images(t.Context(), c.repo.ID, meta.Any, meta.Position{}, 10)
		if err != nil || len(all) != 1 || !all[0].PulledAt.Equal(*c.clock) {
			t.Errorf("after the end: got %+v, %v, want the time of the pull", all, err)
		}
	}
}

// The first collection is at once, with the grace period of the service, and full only if asked for.
func TestCollectionsBeginAtOnce(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		full, broken bool
		want         int // blobs that stay
	}{{false, false, 2}, {true, false, 1}, {true, true, 2}} {
		c := newFixture(t, nil, registry.Quirks{})
		c.put(t, "condemned") // and kept for as long as a client that found it may push its image
		// Bytes without a record, as a crash leaves them.
		u, err := c.blobs.Begin(t.Context(), name.SHA256)
		c.must(t, err)
		if _, err := c.blobs.Commit(t.Context(), u, strings.NewReader("unrecorded"), 100, digest("unrecorded")); err != nil {
			t.Fatal(err)
		}
		*c.clock = time.Now().Add(8 * 24 * time.Hour) // the store dates blobs by the clock of the system
		b := faultblob.New(c.blobs, func(op faultblob.Op) faultblob.Fault {
			if test.broken && op == faultblob.List {
				return faultblob.Before
			}
			return faultblob.None
		})
		s := c.working(b, registry.Options{Grace: week})
		if s.Grace() != week {
			t.Errorf("grace: got %v, want a week", s.Grace())
		}
		reports, stop := c.work(t, s, time.Hour, test.full)
		want := error(nil)
		if test.broken {
			want = faultblob.ErrInjected
		}
		wantReport(t, reports, registry.CollectWork, want)
		stop()
		if got := c.stored(t); got != test.want {
			t.Errorf("full %t, broken %t: got %d blobs, want %d", test.full, test.broken, got, test.want)
		}
		if got := s.CollectedBytes() > 0; got != (test.want == 1) {
			t.Errorf("full %t, broken %t: got %d bytes collected", test.full, test.broken, s.CollectedBytes())
		}
	}
}

// After a full collection the later ones are not full: reading the names of all blobs is for the time after a crash.
func TestCollectionIsFullOnce(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	*c.clock = time.Now().Add(time.Hour)
	s := c.working(c.blobs, registry.Options{})
	reports, stop := c.work(t, s, time.Hour, true)
	wantReport(t, reports, registry.CollectWork, nil)
	u, err := c.blobs.Begin(t.Context(), name.SHA256)
	c.must(t, err)
	_, err = c.blobs.Commit(t.Context(), u, strings.NewReader("unrecorded"), 100, digest("unrecorded"))
	c.must(t, err)
	for range len(reports) + 3 { // at least one of them began after the commit
		wantReport(t, reports, registry.CollectWork, nil)
	}
	stop()
	if got := c.stored(t); got != 1 {
		t.Errorf("after collections that are not full: got %d blobs, want the unrecorded one", got)
	}
}
