// Package manifest reads image manifests and indexes, checks them, and lists what they refer to.
//
// It decides what a body is exactly once. A body that two readers could understand in two ways is refused: both image
// and index, a member written twice or in another case, a media type that differs from the Content-Type.
package manifest

import (
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/name"
)

// Limits of one manifest.
const (
	MaxBytes    = 4194304 // body. Source: ECR service model, shape ImageManifest
	MaxChildren = 10_000  // layers of an image, manifests of an index, annotations or URLs of one object
	MaxDepth    = 64      // nested arrays and objects
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

// Kind says which members a manifest has. The zero Kind is none.
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

func kindOf(mediaType string) Kind {
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
	Size         int64 // bytes; -1 when unknown, which only schema 1 layers are
	ArtifactType string
	Annotations  map[string]string
	URLs         []string
}

// Manifest is a body that was understood. Config and Layers belong to images, Manifests to indexes, Layers alone to
// schema 1. ArtifactType, Subject and Annotations are read from OCI media types only: in Docker's they mean nothing.
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

// Parse reads a manifest. contentType is the request's Content-Type, parameters allowed; when it is "" the body's
// mediaType decides. Parse keeps nothing of body.
//
// Errors: fault.RequestTooLarge, fault.ManifestUnsupported (a media type that is not stored), fault.ManifestInvalid.
// Source: OCI image specification, image manifest and image index.
func Parse(body []byte, contentType string) (*Manifest, error) {
	if len(body) > MaxBytes {
		return nil, fault.RequestTooLarge.New("a manifest has at most %d bytes, got %d", MaxBytes, len(body))
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, invalid("Invalid JSON syntax")
	}
	if deeperThan(body, MaxDepth) {
		return nil, invalid("JSON nested deeper than %d", MaxDepth)
	}
	top, err := readObject("manifest", body, topMembers)
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if m.MediaType, err = decideMediaType(top, contentType); err != nil {
		return nil, err
	}
	m.Kind = kindOf(m.MediaType)
	if err := checkMembers(top, m.Kind); err != nil {
		return nil, err
	}
	if err := m.fill(top); err != nil {
		return nil, err
	}
	return m, nil
}

// decideMediaType finds the one media type that header and body agree on.
func decideMediaType(top object, contentType string) (string, error) {
	declared, err := top.text("mediaType")
	if err != nil {
		return "", err
	}
	mediaType := declared
	if contentType != "" {
		if mediaType, _, err = mime.ParseMediaType(contentType); err != nil {
			return "", invalid("unreadable content type %q", name.Clip(contentType))
		}
	}
	switch {
	case mediaType == "":
		return "", invalid("a media type is required: in the request or as mediaType of the manifest")
	case kindOf(mediaType) == 0:
		return "", fault.ManifestUnsupported.New(constraint, "manifests of media type "+name.Clip(mediaType)+" are not supported")
	case declared != mediaType && !top.null("mediaType"):
		return "", invalid("mediaType %q differs from the request's content type %q", name.Clip(declared), mediaType)
	}
	return mediaType, nil
}

// foreign lists, for each kind, the members that would make the body also one of another kind.
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
		return invalid("schemaVersion must be %d for this media type", version)
	}
	for _, member := range foreign[kind] {
		if top[member] != nil { // even null: another reader may count presence
			return invalid("member %s does not belong to a manifest of kind %s", member, kind)
		}
	}
	return nil
}

// fill reads the members that belong to m's media type.
func (m *Manifest) fill(top object) (err error) {
	switch m.Kind {
	case Schema1:
		m.Layers, err = top.fsLayers()
		return err
	case Index:
		if top["manifests"] == nil {
			return invalid("member manifests is required")
		}
		if m.Manifests, err = top.descriptors("manifests"); err != nil {
			return err
		}
	case Image:
		if m.Config, err = top.descriptor("config"); err != nil {
			return err
		}
		if m.Config == nil {
			return invalid("member config is required")
		}
		if top["layers"] == nil && m.MediaType != OCIManifest { // OCI artifacts come without
			return invalid("member layers is required")
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

// external are the layer media types whose content may stay at its URLs.
var external = []string{
	"application/vnd.docker.image.rootfs.foreign.diff.tar",
	"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
}

// Blobs lists what the repository must hold before it takes the manifest: the config, then the layers in order,
// each pair of digest and size once. A layer of a non-distributable type that names its URLs is left out; without
// URLs it is nowhere else to be had, so it is demanded.
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

// constraint is the form in which ECR refuses a document; clients match on it.
const constraint = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: '%s'"

func invalid(format string, args ...any) error {
	return fault.ManifestInvalid.New(constraint, fmt.Sprintf(format, args...))
}
