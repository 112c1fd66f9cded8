package vendorapi_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/vendorapi"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// A small body that is large after decompression waits for a place before it is in memory.
func TestLargeSpecsWait(t *testing.T) {
	t.Parallel()
	full := errors.New("no place")
	for _, c := range []struct {
		size, holds int
	}{{10, 0}, {1 << 20, 0}, {1<<20 + 1, 1}, {3 << 20, 1}} {
		holds := 0
		text := strings.Repeat("x", c.size)
		all, err := vendorapi.UnpackSpec(packed(t, text), func() error { holds++; return nil })
		if err != nil || holds != c.holds || len(all) != 1 || all[0].Content != text {
			t.Errorf("%d bytes: got %d files, %v, and %d times a place, want one file and %d", c.size, len(all), err, holds, c.holds)
		}
		all, err = vendorapi.UnpackSpec(packed(t, text), func() error { return full })
		if c.holds > 0 && (!errors.Is(err, full) || all != nil) {
			t.Errorf("%d bytes without a place: got %d files, %v", c.size, len(all), err)
		}
	}
}

func FuzzSpec(f *testing.F) {
	f.Add(files)
	f.Add(`[{"name":"a","path":"a","children":[{"name":"b.tgz","path":"a/b.tgz","content":"H4sI"}]}]`)
	f.Add("kind: Service\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := vendorapi.ReadSpec([]byte(text))
		if err != nil {
			return
		}
		// Paths that a release may have; they are sorted when they come back.
		all = slices.DeleteFunc(all, func(f ecrintypes.ReleaseFile) bool {
			return f.Path == "" || strings.HasPrefix(f.Path, "/") || strings.HasSuffix(f.Path, "/") || strings.Contains(f.Path, "//")
		})
		slices.SortStableFunc(all, func(a, b ecrintypes.ReleaseFile) int { return strings.Compare(a.Path, b.Path) })
		if _, err := vendorapi.WriteSpec(all); err != nil {
			t.Errorf("writing the files of %q: %v", text, err)
		}
	})
}
