package manifest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var digests = cmp.AllowUnexported(name.Digest{})

// hex returns a digest whose hexadecimal digits are all c.
func hex(c string) string { return "sha256:" + strings.Repeat(c, 64) }

func digest(t *testing.T, c string) name.Digest {
	t.Helper()
	d, err := name.ParseDigest(hex(c))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func desc(mediaType, c string, size int, more ...string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d%s}`, mediaType, hex(c), size, strings.Join(more, ""))
}

// image returns a small OCI image manifest, which begins with the members more.
func image(more ...string) string {
	return `{"schemaVersion":2,` + strings.Join(more, "") + `"config":` + desc("application/vnd.oci.image.config.v1+json", "a", 10) +
		`,"layers":[` + desc("application/vnd.oci.image.layer.v1.tar+gzip", "b", 20) + `]}`
}

func index(more ...string) string {
	return `{"schemaVersion":2,` + strings.Join(more, "") + `"manifests":[` + desc(manifest.OCIManifest, "c", 30) + `]}`
}

func schema1(more ...string) string {
	return `{"schemaVersion":1,"name":"n","tag":"t",` + strings.Join(more, "") + `"fsLayers":[{"blobSum":"` + hex("b") +
		`"},{"blobSum":"` + hex("b") + `"}]}`
}

func TestParse(t *testing.T) {
	t.Parallel()
	config := manifest.Descriptor{MediaType: "application/vnd.oci.image.config.v1+json", Digest: digest(t, "a"), Size: 10}
	layer := manifest.Descriptor{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Digest: digest(t, "b"), Size: 20}
	child := manifest.Descriptor{MediaType: manifest.OCIManifest, Digest: digest(t, "c"), Size: 30}
	old := manifest.Descriptor{MediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", Digest: digest(t, "b"), Size: -1}
	oci := manifest.Manifest{
		MediaType: manifest.OCIManifest, Kind: manifest.Image, ArtifactType: config.MediaType,
		Config: &config, Layers: []manifest.Descriptor{layer},
	}
	with := func(m manifest.Manifest, change func(*manifest.Manifest)) manifest.Manifest {
		change(&m)
		return m
	}
	mediaType := func(s string) string { return `"mediaType":"` + s + `",` }
	tests := map[string]struct {
		body, contentType string
		want              manifest.Manifest
	}{
		"OCI image, type from the request": {image(), manifest.OCIManifest, oci},
		"OCI image, type from the body":    {image(mediaType(manifest.OCIManifest)), "", oci},
		"OCI image, both":                  {image(mediaType(manifest.OCIManifest)), manifest.OCIManifest, oci},
		"OCI image, type with parameter":   {image(), manifest.OCIManifest + "; charset=utf-8", oci},
		"OCI image, null members": {
			image(`"mediaType":null,"subject":null,"annotations":null,"artifactType":null,`), manifest.OCIManifest, oci},
		"OCI image, unknown members":          {image(`"history":[{"Layers":1}],"x":{"manifests":[]},`), manifest.OCIManifest, oci},
		"OCI image, white space around":       {" \n" + image() + "\r\n\t", manifest.OCIManifest, oci},
		"OCI image, escaped name of a member": {strings.Replace(image(), `"layers"`, `"lay\u0065rs"`, 1), manifest.OCIManifest, oci},
		"Docker image": {image(mediaType(manifest.DockerSchema2)), "", with(oci, func(m *manifest.Manifest) {
			m.MediaType = manifest.DockerSchema2
		})},
		"Docker image, OCI members mean nothing": {image(`"subject":7,"artifactType":8,"annotations":9,`),
			manifest.DockerSchema2, with(oci, func(m *manifest.Manifest) {
				m.MediaType = manifest.DockerSchema2
			})},
		"OCI image with all members": {
			`{"schemaVersion":2,"artifactType":"application/x.sbom","annotations":{"k":"v","K":""},"subject":` +
				desc(manifest.OCIManifest, "c", 30) +
				`,"config":` + desc("application/vnd.oci.image.config.v1+json", "a", 10, `,"data":"e30="`) +
				`,"layers":[` + desc("application/x", "d", 0, `,"urls":["https://example.com/d"],"annotations":{"t":"x"},"artifactType":"y"`) + `]}`,
			manifest.OCIManifest,
			manifest.Manifest{
				MediaType: manifest.OCIManifest, Kind: manifest.Image, ArtifactType: "application/x.sbom",
				Annotations: map[string]string{"k": "v", "K": ""}, Subject: &child, Config: &config,
				Layers: []manifest.Descriptor{{
					MediaType: "application/x", Digest: digest(t, "d"), URLs: []string{"https://example.com/d"},
					Annotations: map[string]string{"t": "x"}, ArtifactType: "y",
				}},
			},
		},
		"OCI artifact without layers": {
			`{"schemaVersion":2,"config":` + desc("application/vnd.cncf.helm.config.v1+json", "a", 10) + `}`, manifest.OCIManifest,
			with(oci, func(m *manifest.Manifest) {
				m.Layers, m.ArtifactType = nil, "application/vnd.cncf.helm.config.v1+json"
				m.Config = &manifest.Descriptor{MediaType: m.ArtifactType, Digest: config.Digest, Size: 10}
			}),
		},
		"OCI image with empty layers": {
			`{"schemaVersion":2,"layers":[],"config":` + desc(config.MediaType, "a", 10) + `}`, manifest.OCIManifest,
			with(oci, func(m *manifest.Manifest) { m.Layers = nil }),
		},
		"OCI index": {index(), manifest.OCIIndex, manifest.Manifest{
			MediaType: manifest.OCIIndex, Kind: manifest.Index, Manifests: []manifest.Descriptor{child},
		}},
		"OCI index with artifact type and subject": {
			index(`"artifactType":"application/x","annotations":{"a":"b"},"subject":` + desc(manifest.OCIManifest, "c", 30) +
				`,`), manifest.OCIIndex,
			manifest.Manifest{
				MediaType: manifest.OCIIndex, Kind: manifest.Index, Manifests: []manifest.Descriptor{child}, Subject: &child,
				ArtifactType: "application/x", Annotations: map[string]string{"a": "b"},
			},
		},
		"OCI index without children": {`{"schemaVersion":2,"manifests":[]}`, manifest.OCIIndex, manifest.Manifest{
			MediaType: manifest.OCIIndex, Kind: manifest.Index,
		}},
		"Docker list": {index(mediaType(manifest.DockerList)), manifest.DockerList, manifest.Manifest{
			MediaType: manifest.DockerList, Kind: manifest.Index, Manifests: []manifest.Descriptor{child},
		}},
		"schema 1": {schema1(), manifest.DockerSchema1, manifest.Manifest{
			MediaType: manifest.DockerSchema1, Kind: manifest.Schema1, Layers: []manifest.Descriptor{old, old},
		}},
		"schema 1, signed": {schema1(`"signatures":[{"header":{}}],`), manifest.DockerSchema1Signed, manifest.Manifest{
			MediaType: manifest.DockerSchema1Signed, Kind: manifest.Schema1, Layers: []manifest.Descriptor{old, old},
		}},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			got, err := manifest.Parse([]byte(test.body), test.contentType)
			if err != nil {
				t.Fatalf("Parse(%s, %q): %v", test.body, test.contentType, err)
			}
			if diff := cmp.Diff(test.want, *got, digests); diff != "" {
				t.Errorf("Parse(%s, %q): -want +got:\n%s", test.body, test.contentType, diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	const badJSON = `Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'`
	replaced := func(body, old, with string) string {
		if !strings.Contains(body, old) {
			t.Fatalf("%s does not contain %s", body, old)
		}
		return strings.Replace(body, old, with, 1)
	}
	tests := map[string]struct {
		body, contentType string
		code              fault.Code
		text              string // part of the public text
	}{
		"empty":            {"", manifest.OCIManifest, fault.ManifestInvalid, badJSON},
		"no JSON":          {"{", manifest.OCIManifest, fault.ManifestInvalid, badJSON},
		"two documents":    {image() + image(), manifest.OCIManifest, fault.ManifestInvalid, badJSON},
		"trailing byte":    {image() + "x", manifest.OCIManifest, fault.ManifestInvalid, badJSON},
		"byte order mark":  {"\ufeff" + image(), manifest.OCIManifest, fault.ManifestInvalid, badJSON},
		"no UTF-8":         {image("\"x\":\"\xff\","), manifest.OCIManifest, fault.ManifestInvalid, badJSON},
		"array":            {"[" + image() + "]", manifest.OCIManifest, fault.ManifestInvalid, "must be a JSON object"},
		"null":             {"null", manifest.OCIManifest, fault.ManifestInvalid, "must be a JSON object"},
		"no type anywhere": {image(), "", fault.ManifestInvalid, "media type is required"},
		"unreadable type":  {image(), "a/b; c", fault.ManifestInvalid, "unreadable content type"},
		"types differ": {image(`"mediaType":"` + manifest.OCIManifest + `",`), manifest.DockerSchema2,
			fault.ManifestInvalid, "differs"},
		"type of body empty": {image(`"mediaType":"",`), manifest.OCIManifest, fault.ManifestInvalid, "differs"},
		"type of body, case": {image(`"mediaType":"` + strings.ToUpper(manifest.OCIManifest) + `",`), manifest.OCIManifest,
			fault.ManifestInvalid, "differs"},
		"type of body no string": {image(`"mediaType":2,`), manifest.OCIManifest, fault.ManifestInvalid, "must be a string"},
		"unknown type":           {image(), "application/json", fault.ManifestUnsupported, "not supported"},
		"OCI artifact manifest": {`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json"}`, "",
			fault.ManifestUnsupported, "not supported"},
		"no schemaVersion": {replaced(image(), `"schemaVersion":2,`, ""), manifest.OCIManifest, fault.ManifestInvalid,
			"schemaVersion must be 2"},
		"schemaVersion 1":      {replaced(image(), `:2,`, ":1,"), manifest.OCIManifest, fault.ManifestInvalid, "schemaVersion must be 2"},
		"schemaVersion string": {replaced(image(), `:2,`, `:"2",`), manifest.OCIManifest, fault.ManifestInvalid, "schemaVersion must be 2"},
		"schemaVersion null":   {replaced(image(), `:2,`, `:null,`), manifest.OCIManifest, fault.ManifestInvalid, "schemaVersion must be 2"},
		"schema 1, version 2":  {replaced(schema1(), `:1,`, ":2,"), manifest.DockerSchema1, fault.ManifestInvalid, "schemaVersion must be 1"},
		"no config":            {`{"schemaVersion":2,"layers":[]}`, manifest.OCIManifest, fault.ManifestInvalid, "config is required"},
		"null config": {`{"schemaVersion":2,"config":null,"layers":[]}`, manifest.OCIManifest, fault.ManifestInvalid,
			"config is required"},
		"Docker without layers": {`{"schemaVersion":2,"config":` + desc("x", "a", 1) + `}`, manifest.DockerSchema2,
			fault.ManifestInvalid, "layers is required"},
		"layers an object": {`{"schemaVersion":2,"layers":{},"config":` + desc("x", "a", 1) + `}`, manifest.OCIManifest,
			fault.ManifestInvalid, "layers must be a JSON array"},
		"no manifests":  {`{"schemaVersion":2}`, manifest.OCIIndex, fault.ManifestInvalid, "manifests is required"},
		"no fsLayers":   {`{"schemaVersion":1}`, manifest.DockerSchema1, fault.ManifestInvalid, "fsLayers is required"},
		"null fsLayers": {`{"schemaVersion":1,"fsLayers":null}`, manifest.DockerSchema1, fault.ManifestInvalid, "must be a JSON array"},
		"fsLayers no digest": {`{"schemaVersion":1,"fsLayers":[{"blobSum":5}]}`, manifest.DockerSchema1,
			fault.ManifestInvalid, "fsLayers[0].blobSum"},
		"digest missing": {replaced(image(), `"digest":"`+hex("b")+`",`, ""), manifest.OCIManifest,
			fault.ManifestInvalid, "layers[0].digest"},
		"digest short":      {replaced(image(), hex("b"), hex("b")[:70]), manifest.OCIManifest, fault.ManifestInvalid, "layers[0].digest"},
		"digest upper case": {replaced(image(), hex("b"), hex("B")), manifest.OCIManifest, fault.ManifestInvalid, "layers[0].digest"},
		"digest with path": {replaced(image(), hex("b"), "sha256:../../etc/passwd"), manifest.OCIManifest,
			fault.ManifestInvalid, "layers[0].digest"},
		"size negative": {replaced(image(), `"size":20`, `"size":-1`), manifest.OCIManifest, fault.ManifestInvalid, "layers[0].size"},
		"size fraction": {replaced(image(), `"size":20`, `"size":20.5`), manifest.OCIManifest, fault.ManifestInvalid, "layers[0].size"},
		"size too big": {replaced(image(), `"size":20`, `"size":9223372036854775808`), manifest.OCIManifest,
			fault.ManifestInvalid, "layers[0].size"},
		"size missing": {replaced(image(), `,"size":20`, ""), manifest.OCIManifest, fault.ManifestInvalid, "layers[0].size"},
		"size null":    {replaced(image(), `"size":20`, `"size":null`), manifest.OCIManifest, fault.ManifestInvalid, "layers[0].size"},
		"mediaType of config": {replaced(image(), `"mediaType":"application/vnd.oci.image.config.v1+json",`, ""),
			manifest.OCIManifest, fault.ManifestInvalid, "config.mediaType"},
		"mediaType of child": {replaced(index(), manifest.OCIManifest, ""), manifest.OCIIndex, fault.ManifestInvalid,
			"manifests[0].mediaType"},
		"subject no object":     {image(`"subject":"x",`), manifest.OCIManifest, fault.ManifestInvalid, "subject must be"},
		"annotations array":     {image(`"annotations":[],`), manifest.OCIManifest, fault.ManifestInvalid, "annotations must be"},
		"annotation number":     {image(`"annotations":{"a":1},`), manifest.OCIManifest, fault.ManifestInvalid, `annotation "a" must be`},
		"annotation null":       {image(`"annotations":{"a":null},`), manifest.OCIManifest, fault.ManifestInvalid, `annotation "a" must be`},
		"annotation twice":      {image(`"annotations":{"a":"","a":""},`), manifest.OCIManifest, fault.ManifestInvalid, "twice"},
		"artifactType a number": {image(`"artifactType":7,`), manifest.OCIManifest, fault.ManifestInvalid, "artifactType must be a string"},
		"artifactType of an index": {index(`"artifactType":["a/b"],`), manifest.OCIIndex, fault.ManifestInvalid,
			"artifactType must be a string"},
		"artifactType of a layer": {replaced(image(), `"size":20`, `"size":20,"artifactType":{}`), manifest.OCIManifest,
			fault.ManifestInvalid, "artifactType must be a string"},
		"annotations of a layer": {replaced(image(), `"size":20`, `"size":20,"annotations":{"a":1}`), manifest.OCIManifest,
			fault.ManifestInvalid, `annotation "a" must be`},
		"annotations of a child": {replaced(index(), `"size":30`, `"size":30,"annotations":"x"`), manifest.OCIIndex,
			fault.ManifestInvalid, "annotations must be"},
		"annotations of the subject": {image(`"subject":` + desc("a/b", "e", 1, `,"annotations":[]`) + `,`), manifest.OCIManifest,
			fault.ManifestInvalid, "annotations must be"},
		"urls empty": {replaced(image(), `"size":20`, `"size":20,"urls":[""]`), manifest.OCIManifest, fault.ManifestInvalid, "urls must"},
		"urls of numbers": {replaced(image(), `"size":20`, `"size":20,"urls":[1]`), manifest.OCIManifest,
			fault.ManifestInvalid, "urls must"},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			expectRefusal(t, test.body, test.contentType, test.code, test.text)
		})
	}
}

func expectRefusal(t *testing.T, body, contentType string, code fault.Code, text string) {
	t.Helper()
	got, err := manifest.Parse([]byte(body), contentType)
	if got != nil || !errors.Is(err, code) {
		t.Fatalf("Parse(%s, %q) = %v, %v, want code %v", name.Clip(body), contentType, got, err, code)
	}
	if public := fault.From(err).Public; !strings.Contains(public, text) {
		t.Errorf("Parse(%s, %q): public text %q, want it to contain %q", name.Clip(body), contentType, public, text)
	}
}

func TestAttack02GiantManifest(t *testing.T) {
	t.Parallel()
	fill := func(n int) string { return image() + strings.Repeat(" ", n-len(image())) }
	if _, err := manifest.Parse([]byte(fill(manifest.MaxBytes)), manifest.OCIManifest); err != nil {
		t.Errorf("a manifest of %d bytes: %v", manifest.MaxBytes, err)
	}
	expectRefusal(t, fill(manifest.MaxBytes+1), manifest.OCIManifest, fault.RequestTooLarge, "at most 4194304 bytes")
}

func TestAttack03Bombs(t *testing.T) {
	t.Parallel()
	many := func(member, element string, n int) string {
		return `"` + member + `":[` + strings.Repeat(element+",", n-1) + element + `]}`
	}
	const n = manifest.MaxChildren
	layers := `{"schemaVersion":2,"config":` + desc("x", "a", 1) + ","
	tests := map[string]struct{ prefix, member, element, contentType string }{
		"layers":   {layers, "layers", desc("x", "b", 1), manifest.OCIManifest},
		"children": {`{"schemaVersion":2,`, "manifests", desc("x", "b", 1), manifest.OCIIndex},
		"fsLayers": {`{"schemaVersion":1,`, "fsLayers", `{"blobSum":"` + hex("b") + `"}`, manifest.DockerSchema1},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			if _, err := manifest.Parse([]byte(test.prefix+many(test.member, test.element, n)), test.contentType); err != nil {
				t.Errorf("%d %s: %v", n, test.member, err)
			}
			expectRefusal(t, test.prefix+many(test.member, test.element, n+1), test.contentType, fault.ManifestInvalid, "more than 10000 elements")
		})
	}
	t.Run("annotations", func(t *testing.T) {
		t.Parallel()
		var b strings.Builder
		for i := range n + 1 {
			fmt.Fprintf(&b, `"%d":"",`, i)
		}
		body := image(`"annotations":{` + strings.TrimSuffix(b.String(), ",") + `},`)
		expectRefusal(t, body, manifest.OCIManifest, fault.ManifestInvalid, "more than 10000 members")
	})
	t.Run("depth", func(t *testing.T) {
		t.Parallel()
		nested := func(n int) string { // brackets in strings do not count as nesting
			return image(`"[[\"[\\":"{{",`, `"x":`+strings.Repeat("[", n)+strings.Repeat("]", n)+`,`)
		}
		if _, err := manifest.Parse([]byte(nested(manifest.MaxDepth-1)), manifest.OCIManifest); err != nil {
			t.Errorf("depth %d: %v", manifest.MaxDepth, err)
		}
		expectRefusal(t, nested(manifest.MaxDepth), manifest.OCIManifest, fault.ManifestInvalid, "nested deeper than 64")
		expectRefusal(t, strings.Repeat("[", 1<<20), manifest.OCIManifest, fault.ManifestInvalid, "Invalid JSON syntax")
	})
}

func TestAttack04Confusion(t *testing.T) {
	t.Parallel()
	twice := func(member, value string) string { return image(`"` + member + `":` + value + `,`) }
	tests := map[string]struct{ body, contentType string }{
		"image that is an index":      {image(`"manifests":[],`), manifest.OCIManifest},
		"image that may be an index":  {image(`"manifests":null,`), manifest.OCIManifest},
		"index that is an image":      {image(`"manifests":[],`), manifest.OCIIndex},
		"index with layers":           {index(`"layers":[],`), manifest.OCIIndex},
		"index with config":           {index(`"config":null,`), manifest.OCIIndex},
		"Docker list with layers":     {index(`"layers":[],`), manifest.DockerList},
		"Docker image with manifests": {image(`"manifests":[],`), manifest.DockerSchema2},
		"image with schema 1 layers":  {image(`"fsLayers":[],`), manifest.DockerSchema2},
		"schema 1 with layers":        {schema1(`"layers":[],`), manifest.DockerSchema1},
		"schema 1 with manifests":     {schema1(`"manifests":[],`), manifest.DockerSchema1Signed},
		"image announced as index":    {image(), manifest.OCIIndex},
		"index announced as image":    {index(), manifest.OCIManifest},
		"layers twice":                {twice("layers", "[]"), manifest.OCIManifest},
		"layers twice, escaped":       {twice(`lay\u0065rs`, "[]"), manifest.OCIManifest},
		"config twice, null":          {twice("config", "null"), manifest.OCIManifest},
		"schemaVersion twice":         {twice("schemaVersion", "2"), manifest.OCIManifest},
		"mediaType twice": {image(`"mediaType":"` + manifest.OCIManifest + `","mediaType":"` + manifest.OCIIndex +
			`",`), manifest.OCIManifest},
		"Layers":                        {twice("Layers", "[]"), manifest.OCIManifest},
		"Manifests":                     {twice("Manifests", "[]"), manifest.OCIManifest},
		"MANIFESTS":                     {twice("MANIFESTS", "[]"), manifest.OCIManifest},
		"layerſ":                        {twice("layer\u017f", "[]"), manifest.OCIManifest},
		"Subject":                       {twice("Subject", "null"), manifest.OCIManifest},
		"MediaType":                     {twice("MediaType", `"`+manifest.OCIIndex+`"`), manifest.OCIManifest},
		"digest twice in a descriptor":  {strings.Replace(image(), `"size":20`, `"size":20,"digest":"`+hex("d")+`"`, 1), manifest.OCIManifest},
		"Digest in a descriptor":        {strings.Replace(image(), `"size":20`, `"size":20,"Digest":"`+hex("d")+`"`, 1), manifest.OCIManifest},
		"blobsum in a schema 1 layer":   {strings.Replace(schema1(), `"blobSum"`, `"blobsum"`, 1), manifest.DockerSchema1},
		"mediaType of an index in body": {image(`"mediaType":"` + manifest.OCIIndex + `",`), manifest.OCIManifest},
	}
	for about, test := range tests {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			expectRefusal(t, test.body, test.contentType, fault.ManifestInvalid, "Invalid parameter at 'ImageManifest'")
		})
	}
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	const urls = `,"urls":["https://example.com/x"]`
	layers := []string{
		desc("application/x", "b", 2, urls), // URLs, but distributable
		desc(foreign, "c", 3, urls),         // left out
		desc(foreign, "d", 4),               // foreign, but without URLs
		desc(foreign, "e", 5, `,"urls":[]`), // the same
		desc("application/x", "b", 2),       // again
		desc("application/x", "b", 7),       // again with another size: one of the two sizes is wrong, and the caller must check both
		desc("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "f", 6, urls), // left out
		desc(foreign, "c", 3, urls), // again
	}
	body := `{"schemaVersion":2,"config":` + desc("application/c", "a", 1) + `,"layers":[` + strings.Join(layers, ",") + `]}`
	m, err := manifest.Parse([]byte(body), manifest.OCIManifest)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.Blobs() {
		got = append(got, fmt.Sprint(d.Digest.Hex()[:1], d.Size))
	}
	if diff := cmp.Diff([]string{"a1", "b2", "d4", "e5", "b7"}, got); diff != "" {
		t.Errorf("Blobs of %s: -want +got:\n%s", body, diff)
	}
	got = nil
	for _, d := range m.Elsewhere() {
		got = append(got, d.Hex()[:1])
	}
	if diff := cmp.Diff([]string{"c", "f"}, got); diff != "" {
		t.Errorf("Elsewhere of %s: -want +got:\n%s", body, diff)
	}

	old, err := manifest.Parse([]byte(schema1()), manifest.DockerSchema1)
	if err != nil {
		t.Fatal(err)
	}
	if got := old.Blobs(); len(got) != 1 || got[0].Size != -1 {
		t.Errorf("Blobs of %s = %v, want one layer of size -1", schema1(), got)
	}
	children, err := manifest.Parse([]byte(index()), manifest.OCIIndex)
	if err != nil {
		t.Fatal(err)
	}
	if got := children.Blobs(); len(got) != 0 {
		t.Errorf("Blobs of %s = %v, want none", index(), got)
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range []string{image(), index(), schema1(), image(`"manifests":[],`), `{"schemaVersion":2}`, "[]", "{", `{"Layers":[]}`} {
		for _, contentType := range []string{"", manifest.OCIManifest, manifest.OCIIndex, manifest.DockerSchema1,
			manifest.DockerSchema2 + ";a=b"} {
			f.Add([]byte(body), contentType)
		}
	}
	f.Add([]byte(image(`"mediaType":"`+manifest.OCIManifest+`","subject":`+desc("x", "e", 0)+`,"annotations":{"a":"b"},`)), "")
	f.Fuzz(func(t *testing.T, body []byte, contentType string) {
		m, err := manifest.Parse(body, contentType)
		if err != nil {
			if !errors.Is(err, fault.ManifestInvalid) && !errors.Is(err, fault.ManifestUnsupported) && !errors.Is(err, fault.RequestTooLarge) {
				t.Fatalf("Parse(%q, %q): %v has none of the documented codes", body, contentType, err)
			}
			return
		}
		// The result does not depend on white space, nor on whether the media type is in the header or in the body.
		var compact bytes.Buffer
		if err := json.Compact(&compact, body); err != nil {
			t.Fatal(err)
		}
		again, err := manifest.Parse(compact.Bytes(), m.MediaType)
		if err != nil {
			t.Fatalf("Parse(%q, %q) fails on the second reading: %v", compact.Bytes(), m.MediaType, err)
		}
		if diff := cmp.Diff(m, again, digests); diff != "" {
			t.Errorf("Parse(%q, %q): first and second reading differ:\n%s", body, contentType, diff)
		}
		m.Blobs()
	})
}
