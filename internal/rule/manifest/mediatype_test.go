package manifest_test

import (
	"errors"
	"mime"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestMediaTypes(t *testing.T) {
	t.Parallel()
	long := "application/" + strings.Repeat("a", 243)
	for s, want := range map[string]struct{ valid, inert bool }{
		"application/vnd.oci.image.layer.v1.tar+gzip":          {true, true},
		"application/vnd.dev.sigstore.bundle+json;version=0.2": {true, true},
		"application/octet-stream":                             {true, true},
		"application/wasm":                                     {true, true},
		"text/plain; charset=utf-8":                            {true, true},
		"image/png":                                            {true, true},
		long:                                                   {true, true},
		"text/html":                                            {true, false},
		"TEXT/HTML":                                            {true, false},
		"text/html;charset=utf-7":                              {true, false},
		"image/svg+xml":                                        {true, false},
		"application/xhtml+xml":                                {true, false},
		"application/vnd.example+xml":                          {true, false},
		"application/xml":                                      {true, false},
		"application/JavaScript":                               {true, false},
		"application/pdf":                                      {true, false},
		"text/javascript":                                      {true, false},
		"text/css":                                             {true, false},
		"multipart/x-mixed-replace;boundary=a":                 {true, false},
		"message/rfc822":                                       {true, false},
		"model/vnd.example":                                    {true, false},
		"":                                                     {false, false},
		"html":                                                 {false, false},
		"text/":                                                {false, false},
		"/plain":                                               {false, false},
		"image/png\r\nSet-Cookie: a=b":                         {false, false},
		"image/png\n":                                          {false, false},
		"image/png;a=\"~\"":                                    {true, true},
		"image/png;a=\"\x7f\"":                                 {false, false},
		"image/png;a=\"\t\"":                                   {false, false},
		"image/pn\u0261":                                       {false, false},
		"image/png;a":                                          {false, false},
		long + "a":                                             {false, false},
	} {
		if got := manifest.ValidMediaType(s); got != want.valid {
			t.Errorf("ValidMediaType(%.60q) = %t, want %t", s, got, want.valid)
		}
		if got := manifest.Inert(s); got != want.inert {
			t.Errorf("Inert(%.60q) = %t, want %t", s, got, want.inert)
		}
	}
}

// Every media type and artifact type of a manifest is checked when it is pushed.
func TestCheckMediaTypes(t *testing.T) {
	t.Parallel()
	const layer, config = `"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip"`, `"mediaType":"application/vnd.oci.image.config.v1+json"`
	long := `"mediaType":"a/` + strings.Repeat("b", 400<<10) + `"`
	replaced := func(s, old, by string) string { return strings.Replace(s, old, by, 1) }
	subject := func(mediaType, more string) string { return `"subject":` + desc(mediaType, "e", 1, more) + `,` }
	for name, c := range map[string]struct{ body, contentType, at string }{
		"image":             {image(), manifest.OCIManifest, ""},
		"index":             {index(), manifest.OCIIndex, ""},
		"schema 1":          {schema1(), manifest.DockerSchema1, ""},
		"artifact type":     {image(`"artifactType":"application/vnd.example",`), manifest.OCIManifest, ""},
		"config":            {replaced(image(), config, `"mediaType":"x"`), manifest.OCIManifest, "config.mediaType"},
		"layer":             {replaced(image(), layer, `"mediaType":"a/b\r\nX: y"`), manifest.OCIManifest, "layers[0].mediaType"},
		"layer, long":       {replaced(image(), layer, long), manifest.OCIManifest, "layers[0].mediaType"},
		"Docker":            {replaced(image(), layer, `"mediaType":"ä/b"`), manifest.DockerSchema2, "layers[0].mediaType"},
		"child":             {replaced(index(), manifest.OCIManifest, "x"), manifest.OCIIndex, "manifests[0].mediaType"},
		"child's type":      {replaced(index(), `"size":30`, `"size":30,"artifactType":"x"`), manifest.OCIIndex, "manifests[0].artifactType"},
		"subject":           {image(subject("x", "")), manifest.OCIManifest, "subject.mediaType"},
		"subject's type":    {image(subject("a/b", `,"artifactType":"x"`)), manifest.OCIManifest, "subject.artifactType"},
		"bad artifact type": {image(`"artifactType":"x",`), manifest.OCIManifest, "'artifactType"},
	} {
		m, err := manifest.Parse([]byte(c.body), c.contentType)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch err := m.CheckMediaTypes(); {
		case c.at == "" && err != nil:
			t.Errorf("%s: got %v, want no error", name, err)
		case c.at != "" && (!errors.Is(err, fault.ManifestInvalid) || !strings.Contains(err.Error(), c.at) || len(err.Error()) > 300):
			t.Errorf("%s: got %v, want ManifestInvalid about %s", name, err, c.at)
		}
	}
}

// An inert media type can be sent as the header of an answer.
func FuzzInert(f *testing.F) {
	f.Add("text/plain; charset=utf-8")
	f.Add("image/svg+xml")
	f.Fuzz(func(t *testing.T, s string) {
		if !manifest.Inert(s) {
			return
		}
		essence, _, err := mime.ParseMediaType(s)
		if err != nil || len(s) > 255 || strings.ContainsAny(s, "\r\n\x00") ||
			strings.Contains(essence, "html") && strings.HasPrefix(essence, "text") {
			t.Errorf("Inert(%q), with the essence %q (%v)", s, essence, err)
		}
	})
}
