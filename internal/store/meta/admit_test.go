package meta_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// A manifest or an index that names many blobs or images that the repository does not have is refused while the writer
// is busy with another change. One that names only what is there waits for the writer, and is stored.
func TestUnknownReferencesNeedNoWriter(t *testing.T) {
	t.Parallel()
	for what, open := range map[string]func(*testing.T) *meta.Store{"sqlite": open, "postgres": openPostgres} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			r, err := crashRepository(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			var contents []string
			var children []meta.Put
			for i := range 70 { // more than two sets, and the last set is short
				contents = append(contents, fmt.Sprint("layer", i))
			}
			for _, c := range contents {
				if _, err := s.AddBlob(t.Context(), r, blob.Info{Digest: metatest.Digest(c), Size: int64(len(c))}, ""); err != nil {
					t.Fatal(err)
				}
				children = append(children, metatest.ImageOf(c))
				if err := s.PutImage(t.Context(), r, children[len(children)-1]); err != nil {
					t.Fatal(err)
				}
			}
			last := len(contents) - 1
			unknown := metatest.ImageOf("unknown")
			release := sync.OnceFunc(s.Hold())
			defer release()
			for _, c := range []struct {
				what string
				p    meta.Put
				code fault.Code
				name string
			}{
				{"the config", metatest.ImageOf(append([]string{"x"}, contents...)...), fault.LayersNotFound, metatest.Digest("x").String()},
				{"a layer of a later set", metatest.ImageOf(append(contents[:last:last], "x")...), fault.LayersNotFound,
					metatest.Digest("x").String()},
				{"an image", metatest.IndexOf(append(children[:last:last], unknown)...), fault.ReferencedImagesNotFound, unknown.Digest.String()},
			} {
				refused := make(chan error, 1)
				go func() { refused <- s.PutImage(t.Context(), r, c.p) }()
				var err error
				select {
				case err = <-refused:
				case <-time.After(10 * time.Second):
					release()
					t.Fatalf("%s is unknown: the refusal waits for the writer", c.what)
				}
				if !errors.Is(err, c.code) || !strings.Contains(err.Error(), "'["+c.name+"]'") {
					t.Errorf("%s is unknown: got %v, want %v that names %s alone", c.what, err, c.code, c.name)
				}
			}
			stored := make(chan error, 2)
			for _, p := range []meta.Put{metatest.ImageOf(contents...), metatest.IndexOf(children...)} {
				go func() { stored <- s.PutImage(t.Context(), r, p) }()
			}
			select {
			case err := <-stored:
				t.Errorf("an image without an unknown reference: got %v before the writer is free", err)
			case <-time.After(50 * time.Millisecond):
			}
			release()
			for range 2 {
				if err := <-stored; err != nil {
					t.Errorf("an image without an unknown reference: %v", err)
				}
			}
		})
	}
}

// The layers and images of a large manifest are recorded like those of a small one, although they are looked for and
// recorded in sets: each layer has its media type and is in use, each image of the index is referenced, and the sizes are
// those of all layers.
func TestManyReferencesAreRecorded(t *testing.T) {
	t.Parallel()
	for what, open := range map[string]func(*testing.T) *meta.Store{"sqlite": open, "postgres": openPostgres} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			fx := metatest.NewFixture(t, open(t))
			r := fx.Repo("team/app")
			var contents []string
			for i := range 75 {
				contents = append(contents, fmt.Sprintf("layer %02d", i))
				fx.Blob(r, contents[i])
			}
			var children []meta.Put
			for i := range 70 {
				p := metatest.Variant(i, contents[i%3:]...)
				fx.Must(fx.PutImage(fx.Ctx, r, p))
				children = append(children, p)
			}
			fx.Must(fx.PutImage(fx.Ctx, r, metatest.IndexOf(children...)))
			for i, c := range contents {
				h, err := fx.Holding(fx.Ctx, r.ID, metatest.Digest(c))
				if err != nil || h.MediaType == "" || !h.Referenced {
					t.Errorf("layer %d: got %+v and %v, want a media type and that it is in use", i, h, err)
				}
			}
			for i, p := range children {
				_, err := fx.DeleteImage(fx.Ctx, r, p.Digest, meta.AnyTags, metatest.Principal)
				fx.Want(err, fault.ImageReferenced, "deleting image %d of the index", i)
			}
			got, err := fx.Column(t.Context(), `SELECT size FROM images WHERE repository = $1 ORDER BY size DESC LIMIT 2`, r.ID)
			if want := fmt.Sprint(75 * len(contents[0])); err != nil || got[0] != want || got[1] != want {
				t.Errorf("got the sizes %v of the largest images (%v), want %s for the index and the image with all layers", got, err, want)
			}
		})
	}
}
