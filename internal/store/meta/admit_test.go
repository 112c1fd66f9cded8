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
