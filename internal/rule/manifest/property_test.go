package manifest_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// wire returns a descriptor in the JSON form of clients.
func wire(d manifest.Descriptor) map[string]any {
	out := map[string]any{"mediaType": d.MediaType, "digest": d.Digest.String(), "size": d.Size}
	if d.ArtifactType != "" {
		out["artifactType"] = d.ArtifactType
	}
	if len(d.Annotations) > 0 {
		out["annotations"] = d.Annotations
	}
	if len(d.URLs) > 0 {
		out["urls"] = d.URLs
	}
	return out
}

func wires(all []manifest.Descriptor) []any {
	out := []any{}
	for _, d := range all {
		out = append(out, wire(d))
	}
	return out
}

func descriptors() *rapid.Generator[manifest.Descriptor] {
	return rapid.Custom(func(t *rapid.T) manifest.Descriptor {
		return manifest.Descriptor{
			MediaType:    rapid.StringN(1, 20, -1).Draw(t, "mediaType"),
			Digest:       name.NewDigest(name.SHA512, rapid.SliceOfN(rapid.Byte(), 64, 64).Draw(t, "sum")),
			Size:         rapid.Int64Min(0).Draw(t, "size"),
			ArtifactType: rapid.String().Draw(t, "artifactType"),
			Annotations:  rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "annotations"),
			URLs:         rapid.SliceOfN(rapid.StringN(1, 20, -1), 0, 2).Draw(t, "urls"),
		}
	})
}

// A manifest that is written as JSON is read back equal, whatever its strings contain.
func TestParseReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(descriptors(), 0, 4)
		want := manifest.Manifest{
			ArtifactType: rapid.StringN(1, 20, -1).Draw(t, "artifactType"),
			Annotations:  rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(t, "annotations"),
		}
		doc := map[string]any{"schemaVersion": 2, "artifactType": want.ArtifactType, "annotations": want.Annotations}
		if rapid.Bool().Draw(t, "has subject") {
			d := descriptors().Draw(t, "subject")
			want.Subject, doc["subject"] = &d, wire(d)
		}
		if rapid.Bool().Draw(t, "index") {
			want.MediaType, want.Kind, want.Manifests = manifest.OCIIndex, manifest.Index, list.Draw(t, "manifests")
			doc["manifests"] = wires(want.Manifests)
		} else {
			config := descriptors().Draw(t, "config")
			want.MediaType, want.Kind, want.Config, want.Layers = manifest.OCIManifest, manifest.Image, &config, list.Draw(t, "layers")
			doc["config"], doc["layers"] = wire(config), wires(want.Layers)
		}
		contentType := want.MediaType
		if rapid.Bool().Draw(t, "media type in the body") {
			doc["mediaType"], contentType = want.MediaType, ""
		}
		body, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		got, err := manifest.Parse(body, contentType)
		if err != nil {
			t.Fatalf("Parse(%s, %q): %v", body, contentType, err)
		}
		if diff := cmp.Diff(want, *got, digests, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Parse(%s, %q): -want +got:\n%s", body, contentType, diff)
		}
	})
}

// A body with the members of two kinds of manifests is refused.
func TestParseRefusesMergedKinds(t *testing.T) {
	t.Parallel()
	members := map[string]any{
		"config": wire(manifest.Descriptor{MediaType: "x", Digest: name.NewDigest(name.SHA256, make([]byte, 32))}),
		"layers": []any{}, "manifests": []any{}, "fsLayers": []any{},
	}
	kinds := map[string]string{"config": "image", "layers": "image", "manifests": "index", "fsLayers": "schema1"}
	types := []string{manifest.DockerSchema1, manifest.DockerSchema1Signed, manifest.DockerSchema2, manifest.DockerList,
		manifest.OCIManifest, manifest.OCIIndex}
	rapid.Check(t, func(t *rapid.T) {
		contentType := rapid.SampledFrom(types).Draw(t, "type")
		doc := map[string]any{"schemaVersion": rapid.IntRange(1, 2).Draw(t, "version")}
		present := map[string]bool{}
		for _, member := range []string{"config", "layers", "manifests", "fsLayers"} {
			if rapid.Bool().Draw(t, member) {
				doc[member] = members[member]
				present[kinds[member]] = true
			}
		}
		body, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		m, err := manifest.Parse(body, contentType)
		if err == nil && (len(present) != 1 || !present[m.Kind.String()]) {
			t.Errorf("Parse(%s, %q) accepts it as %s", body, contentType, m.Kind)
		}
	})
}
