package chart_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/rule/chart"
)

// packed returns an archive of files, given as path and text.
func packed(t *testing.T, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// fileOf returns a file of an archive.
func fileOf(t *testing.T, archive []byte, path string) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("the archive has no %s: %v", path, err)
		}
		if h.Name == path {
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
}

const metadata = "apiVersion: v2\nname: shop\nversion: 1.2.0+build.1\ndescription: a shop\nannotations:\n  ecrin.dev/pull-secret: always\n"

func TestRead(t *testing.T) {
	t.Parallel()
	c, err := chart.Read(packed(t, "shop/charts/db/Chart.yaml", "name: db\nversion: 1.0.0\n", "shop/Chart.yaml", metadata))
	if err != nil || c.Name != "shop" || c.Version != "1.2.0+build.1" || c.Description != "a shop" || c.PullSecret != "always" ||
		chart.Tag(c.Version) != "1.2.0_build.1" {
		t.Errorf("got %+v, %v", c, err)
	}
	for label, archive := range map[string][]byte{
		"empty": nil, "no gzip": []byte("x"), "no chart": packed(t, "a.yaml", "x"), "no folder": packed(t, "Chart.yaml", metadata),
		"above": packed(t, "../Chart.yaml", metadata), "no version": packed(t, "a/Chart.yaml", "name: a\n"),
		"bad name":  packed(t, "a/Chart.yaml", "name: ../a\nversion: 1.0.0\n"),
		"bad texts": packed(t, "a/Chart.yaml", "name: [a]\nversion: {}\n"), "large": packed(t, "a/Chart.yaml", strings.Repeat("#", 65<<20)),
	} {
		if c, err := chart.Read(archive); err == nil {
			t.Errorf("%s: got %+v, want an error", label, c)
		}
	}
}

// Values are set, whatever was there; everything else stays, and equal charts are equal packages.
func TestSet(t *testing.T) {
	t.Parallel()
	values := []chart.Value{{Path: []string{"global", "ecrin", "secret"}, Text: "s1"},
		{Path: []string{"global", "other", "secret"}, Text: "s2"}}
	for before, rest := range map[string]string{
		"":                                 "",
		"# nothing here\n":                 "# nothing here",
		"# first\nreplicas: 1 # one\n":     "# first\nreplicas: 1 # one\n",
		"global:\n  region: eu # which\n":  "region: eu # which",
		"global: {region: eu}\nz: [1, 2]":  "z: [1, 2]",
		"global: null\n":                   "",
		"global: text\n":                   "",
		"a: &a {x: 1}\nglobal: *a\n":       "a: &a {x: 1}\n",
		"global:\n  ecrin:\n    secret: 7": "",
	} {
		in := packed(t, "shop/Chart.yaml", metadata, "shop/values.yaml", before, "shop/templates/x.yaml", "x")
		if before == "" {
			in = packed(t, "shop/Chart.yaml", metadata, "shop/templates/x.yaml", "x")
		}
		out, err := chart.Set(in, values)
		if err != nil {
			t.Errorf("%q: %v", before, err)
			continue
		}
		again, err := chart.Set(in, values)
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("%q: two packages differ: %v", before, err)
		}
		text := fileOf(t, out, "shop/values.yaml")
		var got struct {
			Global struct {
				Region       string
				X            int
				Ecrin, Other struct{ Secret string }
			}
		}
		if err := yaml.Unmarshal([]byte(text), &got); err != nil || got.Global.Ecrin.Secret != "s1" || got.Global.Other.Secret != "s2" ||
			!strings.Contains(text, rest) || strings.Contains(before, "eu") != (got.Global.Region == "eu") ||
			strings.Contains(before, "*a") != (got.Global.X == 1) {
			t.Errorf("%q became %q, %v, want both secrets and %q", before, text, err, rest)
		}
		if x := fileOf(t, out, "shop/templates/x.yaml"); x != "x" {
			t.Errorf("%q: another file became %q", before, x)
		}
	}
	for _, bad := range []string{"[1]", "a: 1\n---\nb: 2\n", "a: [", "text"} {
		if _, err := chart.Set(packed(t, "shop/Chart.yaml", metadata, "shop/values.yaml", bad), values); err == nil {
			t.Errorf("values %q: got no error", bad)
		}
	}
}

// A Chart.yaml of a megabyte of equal keys is refused before the decoder compares them all with each other.
func TestEqualKeysOfMetadata(t *testing.T) {
	t.Parallel()
	c, err := chart.Read(packed(t, "shop/Chart.yaml", "name: shop\nversion: 1.0.0\n"+strings.Repeat("a: 1\n", 200_000)))
	if err == nil || !strings.Contains(err.Error(), "stand there before") && !strings.Contains(err.Error(), "more than 10000 keys") {
		t.Errorf("got %+v, %v", c, err)
	}
}
