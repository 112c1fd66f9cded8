// Package manifest reads image manifests and indexes, checks them, and lists the content that they refer to.
//
// Parse determines the kind of a body exactly once. A body that two readers could understand in two ways is refused: a
// body that is both image and index, a member written twice or in another case, a media type that differs from the
// Content-Type.
package manifest

import (
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Limits of one manifest.
const (
	MaxBytes    = 4194304 // of the body. Source: ECR service model, shape ImageManifest
	MaxChildren = 10_000  // layers of an image, manifests of an index, annotations or URLs of one object
	MaxDepth    = 64      // of nested arrays and objects
)

// The media types that are stored. Source: ECR user guide, container image manifest formats.
const (
	DockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	DockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	DockerSchema2       = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList          = "application/vnd.docker.distribution.manifest.list.v2+json"
	OCIManifest         = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex            = "application/vnd.oci.image.index.v1+json"
)

// withdrawn is the media type of the artifact manifest, which was in release candidates of version 1.1 of the OCI image
// specification. Content of artifacts is now in image manifests.
const withdrawn = "application/vnd.oci.artifact.manifest.v1+json"

// Kind determines the members of a manifest. The zero value is no kind.
type Kind uint8

// The kinds.
const (
	_       Kind = iota
	Image        // config and layers
	Index        // other manifests
	Schema1      // layers only, without sizes
)

func (k Kind) String() string {
	switch k {
	case Image:
		return "image"
	case Index:
		return "index"
	case Schema1:
		return "schema1"
	}
	return "none"
}

// KindOf returns the kind of manifests with a media type; 0 if such manifests are not stored.
func KindOf(mediaType string) Kind {
	switch mediaType {
	case DockerSchema2, OCIManifest:
		return Image
	case DockerList, OCIIndex:
		return Index
	case DockerSchema1, DockerSchema1Signed:
		return Schema1
	}
	return 0
}

// Descriptor is a reference to content by digest.
type Descriptor struct {
	MediaType    string
	Digest       name.Digest
	Size         int64 // bytes; -1 when unknown: layers of schema 1 have no size
	ArtifactType string
	Annotations  map[string]string
	URLs         []string
}

// Manifest is a parsed manifest. Images have Config and Layers, indexes have Manifests, schema 1 has Layers only.
// ArtifactType, Subject and Annotations are read only from OCI media types; they have no meaning in Docker's.
type Manifest struct {
	MediaType    string
	Kind         Kind
	ArtifactType string // as ECR reports artifactMediaType: artifactType, else the config's media type, else ""
	Config       *Descriptor
	Layers       []Descriptor
	Manifests    []Descriptor
	Subject      *Descriptor
	Annotations  map[string]string
}

// schema1Layer is the media type that clients of schema 1 assume for its layers.
const schema1Layer = "application/vnd.docker.image.rootfs.diff.tar.gzip"

// Parse reads a manifest. contentType is the Content-Type of the request and may have parameters; if it is "", the
// mediaType of the body decides. The result does not refer to body.
//
// Errors: fault.RequestTooLarge, fault.ManifestUnsupported (the media type is not stored), fault.ManifestInvalid.
// Source: OCI image specification, image manifest and image index.
func Parse(body []byte, contentType string) (*Manifest, error) {
	if len(body) > MaxBytes {
		return nil, fault.RequestTooLarge.New("a manifest has at most %d bytes, got %d", MaxBytes, len(body))
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, Invalid("Invalid JSON syntax")
	}
	if deeperThan(body, MaxDepth) {
		return nil, Invalid("JSON nested deeper than %d", MaxDepth)
	}
	top, err := readObject("manifest", body, topMembers)
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if m.MediaType, err = decideMediaType(top, contentType); err != nil {
		return nil, err
	}
	m.Kind = KindOf(m.MediaType)
	if err := checkMembers(top, m.Kind); err != nil {
		return nil, err
	}
	if err := m.fill(top); err != nil {
		return nil, err
	}
	return m, nil
}

// decideMediaType returns the media type, on which header and body must agree.
func decideMediaType(top object, contentType string) (string, error) {
	declared, err := top.text("mediaType")
	if err != nil {
		return "", err
	}
	mediaType := declared
	if contentType != "" {
		if mediaType, _, err = mime.ParseMediaType(contentType); err != nil {
			return "", Invalid("unreadable content type %q", name.Clip(contentType))
		}
	}
	switch {
	case mediaType == "":
		return "", Invalid("a media type is required: in the request or as mediaType of the manifest")
	case mediaType == withdrawn:
		return "", fault.ManifestUnsupported.New(constraint, "manifests of media type "+withdrawn+" are not supported, because the type "+
			"was withdrawn from the OCI specification: push an image manifest with an artifactType, as clients of OCI 1.1 do")
	case KindOf(mediaType) == 0:
		return "", fault.ManifestUnsupported.New(constraint, "manifests of media type "+name.Clip(mediaType)+" are not supported")
	case declared != mediaType && !top.null("mediaType"):
		return "", Invalid("mediaType %q differs from the request's content type %q", name.Clip(declared), mediaType)
	}
	return mediaType, nil
}

// foreign lists, for each kind, the members with which the body would also be of another kind.
var foreign = map[Kind][]string{
	Image:   {"manifests", "fsLayers"},
	Index:   {"config", "layers", "fsLayers"},
	Schema1: {"config", "layers", "manifests"},
}

func checkMembers(top object, kind Kind) error {
	version := 2
	if kind == Schema1 {
		version = 1
	}
	var got int
	if err := json.Unmarshal(top["schemaVersion"], &got); err != nil || got != version {
		return Invalid("schemaVersion must be %d for this media type", version)
	}
	for _, member := range foreign[kind] {
		if top[member] != nil { // also if null, because another reader may check only for presence
			return Invalid("member %s does not belong to a manifest of kind %s", member, kind)
		}
	}
	return nil
}

// fill reads the members that belong to the media type of m.
func (m *Manifest) fill(top object) (err error) {
	switch m.Kind {
	case Schema1:
		m.Layers, err = top.fsLayers()
		return err
	case Index:
		if top["manifests"] == nil {
			return Invalid("member manifests is required")
		}
		if m.Manifests, err = top.descriptors("manifests"); err != nil {
			return err
		}
	case Image:
		if m.Config, err = top.descriptor("config"); err != nil {
			return err
		}
		if m.Config == nil {
			return Invalid("member config is required")
		}
		if top["layers"] == nil && m.MediaType != OCIManifest { // OCI artifacts may have no layers
			return Invalid("member layers is required")
		}
		if m.Layers, err = top.descriptors("layers"); err != nil {
			return err
		}
	}
	if m.MediaType == OCIManifest || m.MediaType == OCIIndex {
		if err := m.fillOCI(top); err != nil {
			return err
		}
	}
	if m.ArtifactType == "" && m.Config != nil {
		m.ArtifactType = m.Config.MediaType
	}
	return nil
}

func (m *Manifest) fillOCI(top object) (err error) {
	if m.ArtifactType, err = top.text("artifactType"); err != nil {
		return err
	}
	if m.Subject, err = top.descriptor("subject"); err != nil {
		return err
	}
	m.Annotations, err = top.annotations()
	return err
}

// external are the layer media types whose content may be at the URLs of the layer instead of in the repository.
var external = []string{
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
}

// Blobs returns the blobs that the repository must hold before it can store the manifest: the config, then the layers
// in order, each pair of digest and size once. A layer of a non-distributable type with URLs is left out; without URLs
// its content would not be available, so that it is included.
func (m *Manifest) Blobs() []Descriptor {
	type content struct {
		digest name.Digest
		size   int64
	}
	seen := map[content]bool{}
	var blobs []Descriptor
	add := func(d Descriptor) {
		if c := (content{d.Digest, d.Size}); !seen[c] {
			seen[c] = true
			blobs = append(blobs, d)
		}
	}
	if m.Config != nil {
		add(*m.Config)
	}
	for _, d := range m.Layers {
		if len(d.URLs) == 0 || !slices.Contains(external, d.MediaType) {
			add(d)
		}
	}
	return blobs
}

// Elsewhere returns the layers that Blobs leaves out, each digest once. A repository may hold them all the same.
func (m *Manifest) Elsewhere() []name.Digest {
	var all []name.Digest
	for _, d := range m.Layers {
		if len(d.URLs) > 0 && slices.Contains(external, d.MediaType) && !slices.Contains(all, d.Digest) {
			all = append(all, d.Digest)
		}
	}
	return all
}

// constraint is the text of ECR for a document that it refuses; clients compare with it.
const constraint = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '%s'"

// Invalid returns fault.ManifestInvalid with a constraint that a manifest does not satisfy, in the form of ECR.
func Invalid(format string, args ...any) error {
	return fault.ManifestInvalid.New(constraint, fmt.Sprintf(format, args...))
}
