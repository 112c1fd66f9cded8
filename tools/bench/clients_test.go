package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An image has the size that the name of its row says, its parts have the digests that it names, and no other image shares them.
func TestImagesOnDisk(t *testing.T) {
	t.Parallel()
	b := &bench{imageBytes: 1e6}
	seen := map[string]bool{}
	for range 2 {
		im, err := b.makeImage(t.TempDir(), false)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		blobs, err := filepath.Glob(filepath.Join(im.layout, "blobs", "sha256", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range blobs {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := digestOf(body), "sha256:"+filepath.Base(path); got != want || seen[got] {
				t.Errorf("a blob of %d bytes: got the digest %s, want %s, and not one of the other image", len(body), got, want)
			}
			seen[digestOf(body)] = true
			total += len(body)
		}
		if len(blobs) != 9 || total < 1e6 || total > 11e5 {
			t.Errorf("got %d blobs with %d bytes, want 7 layers, a configuration and a manifest with 1 MB", len(blobs), total)
		}
	}
	im, err := b.makeImage(t.TempDir(), true)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(im.archive)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]int{}
	for r := tar.NewReader(bytes.NewReader(text)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = len(body)
		var list []struct {
			Config   string
			Layers   []string
			RepoTags []string
		}
		if h.Name != "manifest.json" {
			continue
		}
		if err := json.Unmarshal(body, &list); err != nil || len(list) != 1 || len(list[0].Layers) != 7 || files[list[0].Config] == 0 ||
			!strings.HasSuffix(im.loaded, list[0].RepoTags[0]) {
			t.Errorf("manifest.json is %s, %v, want an entry with 7 layers, a configuration and the name %s", body, err, im.loaded)
		}
	}
	if len(files) != 9 {
		t.Errorf("the archive has %v, want 7 layers, a configuration and a manifest", files)
	}
}

// A tool that is not installed is no failure: its row says that it was not run.
func TestToolThatIsNotHere(t *testing.T) {
	t.Parallel()
	if err := (&bench{}).prepareTool(t.Context(), tool{name: "no-such-tool"}); !errors.Is(err, errNotHere) {
		t.Errorf("got %v, want errNotHere", err)
	}
	for _, r := range (&bench{imageBytes: 200e6}).clientRows() {
		if len(r.contenders) != 2 || len(r.targets) != 2 || r.prepare == nil {
			t.Errorf("%s: got %d contenders and %d targets, want ecrin and distribution, push and pull", r.name, len(r.contenders), len(r.targets))
		}
	}
}
