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

// The account and registry of every World, and who acts in it.
var (
	Account  = name.MustAccount("111122223333")
	Registry = name.Registry{Account: Account, Region: name.MustRegion("eu-west-1")}
)

// Principal is the ARN of who acts in a World.
const Principal = "arn:aws:iam::111122223333:user/alice"

// World is a store with one account, and short ways to fill it. Its methods end the test when the store refuses.
type World struct {
	*testing.T
	*meta.Store
	Ctx context.Context
}

// NewWorld makes the account.
func NewWorld(t *testing.T, s *meta.Store) *World {
	t.Helper()
	w := &World{T: t, Store: s, Ctx: t.Context()}
	w.Must(s.CreateAccount(w.Ctx, meta.Account{ID: Account, CreatedAt: time.Now(), Default: true}, Key(Account, "AKIAEXAMPLEEXAMPLE01")))
	return w
}

// Key is an active key of the root of an account.
func Key(a name.Account, id string) meta.AccessKey {
	return meta.AccessKey{ID: id, Account: a, Principal: a.String(), SealedSecret: []byte("sealed " + id), Active: true, CreatedAt: time.UnixMicro(1_700_000_000_000_000).UTC()}
}

// Must ends the test on an error.
func (w *World) Must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// Want checks that an error has the code; Code(0) stands for none.
func (w *World) Want(err error, code fault.Code, what string, args ...any) {
	w.Helper()
	if code == 0 && err == nil || code != 0 && errors.Is(err, code) {
		return
	}
	w.Errorf("%s: got error %v, want %s", fmt.Sprintf(what, args...), err, code)
}

// words compares the values of package name, whose only field is their text.
var words = cmp.FilterValues(func(a, b any) bool {
	return a != nil && reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).PkgPath() == reflect.TypeFor[name.Tag]().PkgPath()
}, cmp.Comparer(func(a, b any) bool { return a == b }))

// Equal compares what was answered with what was wanted.
func (w *World) Equal(got, want any, what string, args ...any) {
	w.Helper()
	if d := cmp.Diff(want, got, words, cmpopts.EquateEmpty()); d != "" {
		w.Errorf("%s (-want +got):\n%s", fmt.Sprintf(what, args...), d)
	}
}

// Repo makes a repository with mutable tags.
func (w *World) Repo(repo string) meta.Repository {
	return w.RepoWith(repo, meta.Mutability{Mode: meta.Mutable})
}

// RepoWith makes a repository with a tag mutability.
func (w *World) RepoWith(repo string, m meta.Mutability) meta.Repository {
	w.Helper()
	n, err := name.ParseRepo(repo)
	w.Must(err)
	r, err := w.CreateRepository(w.Ctx, meta.Repository{Registry: Registry, Name: n, CreatedAt: time.Now(), Mutability: m, Encryption: meta.EncryptionAES256}, nil)
	w.Must(err)
	return r
}

// Digest is the SHA-256 of a text.
func Digest(text string) name.Digest {
	sum := sha256.Sum256([]byte(text))
	return name.NewDigest(name.SHA256, sum[:])
}

// Blob lets the repository hold the blob with these bytes.
func (w *World) Blob(r meta.Repository, content string) name.Digest {
	w.Helper()
	d := Digest(content)
	_, err := w.AddBlob(w.Ctx, r, blob.Info{Digest: d, Size: int64(len(content))}, "")
	w.Must(err)
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

// ImageOf is a push of an image over these blob contents: the first is its config, the others its layers.
func ImageOf(contents ...string) meta.Put { return put(document(contents...)) }

// Variant is like ImageOf, another image for each n.
func Variant(n int, contents ...string) meta.Put {
	doc := document(contents...)
	doc["annotations"] = map[string]string{"n": strconv.Itoa(n)}
	return put(doc)
}

// ReferrerOf is a push of an artifact whose subject is d.
func ReferrerOf(d name.Digest, artifactType string, contents ...string) meta.Put {
	doc := document(contents...)
	doc["artifactType"] = artifactType
	doc["subject"] = descriptor{manifest.OCIManifest, d.String(), 1}
	doc["annotations"] = map[string]string{"type": artifactType}
	return put(doc)
}

// IndexOf is a push of an index over images.
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

// As is the push with tags.
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

// Image stores an image whose config is this text, with its blob, and answers its push.
func (w *World) Image(r meta.Repository, config string, tags ...string) meta.Put {
	w.Helper()
	w.Blob(r, config)
	p := As(ImageOf(config), tags...)
	w.Push(r, p)
	return p
}

// Push stores an image.
func (w *World) Push(r meta.Repository, p meta.Put) {
	w.Helper()
	w.Must(w.PutImage(w.Ctx, r, p))
}

// Tag reads a reference to a tag.
func Tag(s string) name.Reference {
	t, err := name.ParseTag(s)
	if err != nil {
		panic(err)
	}
	return name.Reference{Tag: t}
}

// ByDigest is a reference to a digest.
func ByDigest(d name.Digest) name.Reference { return name.Reference{Digest: d} }
