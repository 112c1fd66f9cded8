package metatest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The account and registry of every Fixture.
var (
	Account  = name.MustAccount("111122223333")
	Registry = name.Registry{Account: Account, Region: name.MustRegion("eu-west-1")}
)

// Principal is the ARN of the principal of the images that this package makes.
const Principal = "arn:aws:iam::111122223333:user/alice"

// Fixture is a store with one account, with helpers that fill it. Its methods end the test on an error of the store.
type Fixture struct {
	*testing.T
	*meta.Store
	Ctx context.Context
}

// NewFixture creates the account.
func NewFixture(t *testing.T, s *meta.Store) *Fixture {
	t.Helper()
	fx := &Fixture{T: t, Store: s, Ctx: t.Context()}
	fx.Must(s.CreateAccount(fx.Ctx, meta.Account{ID: Account, CreatedAt: time.Now(), Default: true}, Key(Account, "AKIAEXAMPLEEXAMPLE01")))
	return fx
}

// Key returns an active key of the root user of an account.
func Key(a name.Account, id string) meta.AccessKey {
	return meta.AccessKey{ID: id, Account: a, Principal: a.String(), SealedSecret: []byte("sealed " + id), Active: true,
		CreatedAt: time.UnixMicro(1_700_000_000_000_000).UTC()}
}

// Must ends the test on an error.
func (fx *Fixture) Must(err error) {
	fx.Helper()
	if err != nil {
		fx.Fatal(err)
	}
}

// Want checks that err has the code; Code(0) means no error.
func (fx *Fixture) Want(err error, code fault.Code, what string, args ...any) {
	fx.Helper()
	if code == 0 && err == nil || code != 0 && errors.Is(err, code) {
		return
	}
	fx.Errorf("%s: got error %v, want %s", fmt.Sprintf(what, args...), err, code)
}

// words compares values of package name, whose fields are unexported.
var words = cmp.FilterValues(func(a, b any) bool {
	return a != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).PkgPath() == reflect.TypeFor[name.Tag]().PkgPath()
}, cmp.Comparer(func(a, b any) bool { return a == b }))

// Equal checks that got equals want.
func (fx *Fixture) Equal(got, want any, what string, args ...any) {
	fx.Helper()
	if d := cmp.Diff(want, got, words, cmpopts.EquateEmpty()); d != "" {
		fx.Errorf("%s (-want +got):\n%s", fmt.Sprintf(what, args...), d)
	}
}

// Repo creates a repository with mutable tags.
func (fx *Fixture) Repo(repo string) meta.Repository {
	return fx.RepoWith(repo, meta.Mutability{Mode: meta.Mutable})
}

// RepoWith creates a repository with a tag mutability.
func (fx *Fixture) RepoWith(repo string, m meta.Mutability) meta.Repository {
	fx.Helper()
	n, err := name.ParseRepo(repo)
	fx.Must(err)
	r, err := fx.CreateRepository(fx.Ctx, meta.Repository{Registry: Registry, Name: n, CreatedAt: time.Now(), Mutability: m,
		Encryption: meta.EncryptionAES256}, nil)
	fx.Must(err)
	return r
}

// Digest returns the SHA-256 digest of a text.
func Digest(text string) name.Digest {
	sum := sha256.Sum256([]byte(text))
	return name.NewDigest(name.SHA256, sum[:])
}

// Blob adds the blob with this content to the repository.
func (fx *Fixture) Blob(r meta.Repository, content string) name.Digest {
	fx.Helper()
	d := Digest(content)
	_, err := fx.AddBlob(fx.Ctx, r, blob.Info{Digest: d, Size: int64(len(content))}, "")
	fx.Must(err)
	return d
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

const (
	configType = "application/vnd.oci.image.config.v1+json"
	layerType  = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// ImageOf returns an image of blobs with these contents: the first is its config, the others its layers.
func ImageOf(contents ...string) meta.Put { return put(document(contents...)) }

// ExternalOf returns an image whose layer may be at a URL instead of in the repository.
func ExternalOf(config, layer string) meta.Put {
	doc := document(config)
	doc["layers"] = []map[string]any{{"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar",
		"digest": Digest(layer).String(), "size": len(layer), "urls": []string{"https://example.com/base"}}}
	return put(doc)
}

// Variant is like ImageOf, with another image for each n.
func Variant(n int, contents ...string) meta.Put {
	doc := document(contents...)
	doc["annotations"] = map[string]string{"n": strconv.Itoa(n)}
	return put(doc)
}

// ReferrerOf returns an artifact whose subject is d.
func ReferrerOf(d name.Digest, artifactType string, contents ...string) meta.Put {
	doc := document(contents...)
	doc["artifactType"] = artifactType
	doc["subject"] = descriptor{manifest.OCIManifest, d.String(), 1}
	doc["annotations"] = map[string]string{"type": artifactType}
	return put(doc)
}

// IndexOf returns an index of images.
func IndexOf(children ...meta.Put) meta.Put {
	all := []descriptor{}
	for _, c := range children {
		all = append(all, descriptor{c.Manifest.MediaType, c.Digest.String(), len(c.Body)})
	}
	return put(map[string]any{"schemaVersion": 2, "mediaType": manifest.OCIIndex, "manifests": all})
}

func document(contents ...string) map[string]any {
	layers := []descriptor{}
	for _, c := range contents[1:] {
		layers = append(layers, descriptor{layerType, Digest(c).String(), len(c)})
	}
	return map[string]any{
		"schemaVersion": 2, "mediaType": manifest.OCIManifest,
		"config": descriptor{configType, Digest(contents[0]).String(), len(contents[0])}, "layers": layers,
	}
}

func put(doc map[string]any) meta.Put {
	body, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	m, err := manifest.Parse(body, "")
	if err != nil {
		panic(err)
	}
	return meta.Put{Manifest: m, Body: body, Digest: Digest(string(body)), Principal: Principal}
}

// As returns p with other tags.
func As(p meta.Put, tags ...string) meta.Put {
	p.Tags = nil
	for _, t := range tags {
		tag, err := name.ParseTag(t)
		if err != nil {
			panic(err)
		}
		p.Tags = append(p.Tags, tag)
	}
	return p
}

// Image stores an image whose config has this content, with its blob, and returns it.
func (fx *Fixture) Image(r meta.Repository, config string, tags ...string) meta.Put {
	fx.Helper()
	fx.Blob(r, config)
	p := As(ImageOf(config), tags...)
	fx.Push(r, p)
	return p
}

// Push stores an image.
func (fx *Fixture) Push(r meta.Repository, p meta.Put) {
	fx.Helper()
	fx.Must(fx.PutImage(fx.Ctx, r, p))
}

// Tag returns a reference to a tag.
func Tag(s string) name.Reference {
	t, err := name.ParseTag(s)
	if err != nil {
		panic(err)
	}
	return name.Reference{Tag: t}
}

// ByDigest returns a reference to a digest.
func ByDigest(d name.Digest) name.Reference { return name.Reference{Digest: d} }
