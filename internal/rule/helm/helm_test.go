package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/helm"
)

// header is an entry of an archive, with its content.
type header struct {
	tar.Header
	text string
}

func link(kind byte, to string) header {
	return header{tar.Header{Name: "a/l", Typeflag: kind, Linkname: to}, ""}
}

func file(name, text string) header {
	return header{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, text}
}

func packed(t testing.TB, all ...header) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, h := range all {
		h.Size = int64(len(h.text))
		err := w.WriteHeader(&h.Header)
		if err == nil {
			_, err = w.Write([]byte(h.text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var about = file("a/Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0\n")

func render(t testing.TB, values string, files ...header) (string, error) {
	t.Helper()
	c, err := helm.Load(packed(t, append(files, about)...))
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.Render(t.Context(), []byte(values), helm.Options{Release: "r", Namespace: "n", Now: time.Unix(86400, 0).UTC()})
	return string(text), err
}

func TestArchivesThatAreRefused(t *testing.T) {
	t.Parallel()
	deep := packed(t, file("x/Chart.yaml", "name: x\nversion: 1.0.0\n"))
	for range 12 {
		deep = packed(t, file("x/Chart.yaml", "name: x\nversion: 1.0.0\n"), file("x/charts/x.tgz", string(deep)))
	}
	folders, inFolders := "a/", []header{about}
	for range 12 {
		folders += "charts/a/"
		inFolders = append(inFolders, file(folders+"Chart.yaml", "name: a\n"))
	}
	half := packed(t, about, file("a/b", strings.Repeat("b", 1000)))
	bomb := []header{about}
	for range 14 {
		bomb = append(bomb, file("a/b", strings.Repeat("b", 5<<20)))
	}
	many := []header{about}
	for range 10_001 {
		many = append(many, file("a/b", ""))
	}
	anchors := "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
	for i := range 9 {
		n, m := string(rune('0'+i+1)), string(rune('0'+i))
		anchors += "a" + n + ": &a" + n + " [" + strings.TrimSuffix(strings.Repeat("*a"+m+", ", 9), ", ") + "]\n"
	}
	for name, tt := range map[string]struct {
		archive []byte
		want    string
	}{
		"no archive":             {[]byte("no"), "not compressed by gzip"},
		"half an archive":        {half[:len(half)/2], "damaged"},
		"no Chart.yaml":          {packed(t, file("a/values.yaml", "a: b")), "no Chart.yaml"},
		"out of the folder":      {packed(t, about, file("a/../../b", "")), "no path in the folder"},
		"above":                  {packed(t, about, file("../b", "")), "no path in the folder"},
		"absolute":               {packed(t, about, file("/etc/passwd", "")), "no path in the folder"},
		"absolute, of Windows":   {packed(t, about, file(`a\C:\b`, "")), "no path in the folder"},
		"no folder":              {packed(t, file("Chart.yaml", "name: a\n")), "no path in the folder"},
		"a link":                 {packed(t, about, link(tar.TypeSymlink, "/etc/passwd")), "no links"},
		"a hard link":            {packed(t, about, link(tar.TypeLink, "a/Chart.yaml")), "no links"},
		"a device":               {packed(t, about, link(tar.TypeChar, "")), "no links"},
		"much that is small":     {packed(t, bomb...), "more than"},
		"a large file":           {packed(t, about, file("a/b", strings.Repeat("b", 6<<20))), "has more than"},
		"many files":             {packed(t, many...), "more than"},
		"archives in archives":   {deep, "more than 8 deep"},
		"folders in folders":     {packed(t, inFolders...), "more than 8 deep"},
		"values with many names": {packed(t, about, file("a/values.yaml", anchors)), "values.yaml"},
		"a name with a path":     {packed(t, file("a/Chart.yaml", "name: ../a\nversion: 1.0.0\n")), "with a name"},
		"an empty dependency":    {packed(t, file("a/Chart.yaml", "name: a\nversion: 1.0.0\ndependencies: [null]\n")), "is empty"},
	} {
		if _, err := helm.Load(tt.archive); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", name, err, tt.want)
		}
	}
}

func TestTemplatesThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"a random text":       {`{{ randAlphaNum 8 }}`, "randAlphaNum makes another value each time"},
		"a random key":        {`{{ genCA "a" 1 }}`, "genCA makes another value each time"},
		"the environment":     {`{{ env "HOME" }}`, `"env" not defined`},
		"much text":           {`{{ repeat 2000000000 "ab" }}`, "repeat"},
		"much text by itself": {`{{ $x := repeat 1000000 "a" }}{{ range until 60 }}{{ $x = printf "%s%s" $x $x }}{{ end }}{{ $x }}`, "more than"},
		"much text by print":  {`{{ $x := repeat 1000000 "a" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}{{ $x }}`, "more than"},
		"much text by cat":    {`{{ $x := repeat 1000000 "a" }}{{ range until 60 }}{{ $x = cat $x $x }}{{ end }}{{ $x }}`, "more than"},
		"replaced text":       {`{{ repeat 100000 "a" | replace "a" (repeat 100000 "b") }}`, "replace"},
		"long lists":          {`{{ until 2000000000 }}`, "more than"},
		"a long sequence":     {`{{ seq 2000000000 }}`, "more than"},
		"lists of lists":      {`{{ $x := list 1 2 }}{{ range until 60 }}{{ $x = concat $x $x }}{{ end }}`, "more than"},
		"a deep indent":       {`{{ indent 2000000000 "a" }}`, "indent"},
		"itself by tpl":       {`{{ $d := dict }}{{ $_ := set $d "t" "{{ tpl .t . }}" }}{{ tpl $d.t $d }}`, "more than 1000 deep"},
		"a panic":             {`{{ concat 1 }}`, "concat"},
		"no end":              {`{{ if true }}`, "a/templates/a.yaml"},
	} {
		if out, err := render(t, "{}", file("a/templates/a.yaml", tt.text)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %.60q, %v, want %s", name, out, err, tt.want)
		}
	}
	if _, err := render(t, "a: [", about); err == nil || !strings.Contains(err.Error(), "the values") {
		t.Errorf("values that are none: got %v", err)
	}
}

func TestRenderingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, err := helm.Load(packed(t, about, file("a/templates/a.yaml",
		"{{ range until 1000000 }}{{ range until 1000000 }}{{ print \"\" }}{{ end }}{{ end }}")))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Render(ctx, nil, helm.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestWhatDiffersFromHelm(t *testing.T) {
	t.Parallel()
	got, err := render(t, "v: 1", file("a/templates/a.yaml", `now: {{ now | date "2006-01-02" }} {{ lookup "v1" "Secret" "a" "b" }} `+
		`{{ getHostByName "localhost" }}|{{ .Values.v }} {{ .Capabilities.HelmVersion.Version }}`))
	if want := "---\n# Source: a/templates/a.yaml\nnow: 1970-01-02 map[] |1 v3.20.2\n"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(packed(f, about, file("a/templates/a.yaml", "a: {{ .Values.b }}"), file("a/values.yaml", "b: 1"),
		file("a/charts/c/Chart.yaml", "name: c\n")))
	f.Fuzz(func(t *testing.T, archive []byte) {
		c, err := helm.Load(archive)
		if err != nil || bytes.Contains(archive, []byte("range")) {
			return
		}
		_, _ = c.Render(t.Context(), nil, helm.Options{})
	})
}
