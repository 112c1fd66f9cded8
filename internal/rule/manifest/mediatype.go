package manifest

import (
	"mime"
	"slices"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// maxMediaType is the maximum length of a media type in bytes. Source: RFC 6838, section 4.2: a type and a subtype of 127
// characters each.
const maxMediaType = 255

// ValidMediaType reports whether s is a media type, with or without parameters, of at most 255 bytes of printable ASCII.
//
// Source: RFC 6838, section 4.2; RFC 9110, section 8.3.1. OCI permits no parameters, but signatures that were pushed by
// published clients have them (application/vnd.dev.sigstore.bundle+json;version=0.2).
func ValidMediaType(s string) bool {
	if len(s) > maxMediaType {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	essence, _, err := mime.ParseMediaType(s)
	return err == nil && strings.Contains(essence, "/")
}

// active are subtypes of application that browsers run, render or install. Types whose subtype ends in xml are active too.
var active = []string{
	"javascript", "x-javascript", "ecmascript", "x-ecmascript", "pdf", "x-shockwave-flash", "x-xpinstall", "signed-exchange",
	"webbundle", "java-archive", "x-java-applet", "x-mimearchive", "hta", "x-ns-proxy-autoconfig",
}

// Inert reports whether a browser that receives content with this media type does no more than to show or store it. It
// reports false for everything that is not known to be harmless, such as all types of text but text/plain.
func Inert(mediaType string) bool {
	if !ValidMediaType(mediaType) {
		return false
	}
	essence, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	top, sub, _ := strings.Cut(essence, "/")
	if strings.HasSuffix(sub, "xml") {
		return false
	}
	switch top {
	case "application":
		return !slices.Contains(active, sub)
	case "audio", "font", "image", "video":
		return true
	}
	return essence == "text/plain"
}

// buildkitCache is the media type of the configuration of a cache that BuildKit exports. Without image-manifest=true BuildKit
// writes an index whose entries are that configuration and layers, not manifests.
const buildkitCache = "application/vnd.buildkit.cacheconfig.v0"

// CheckMediaTypes checks the media types and artifact types that the manifest declares for its content. Parse does not, so
// that a manifest that was stored by an earlier version can still be read.
//
// Errors: fault.ManifestInvalid, fault.ManifestUnsupported (an index of layers).
// Source: OCI image specification, content descriptors: a media type must comply with RFC 6838.
func (m *Manifest) CheckMediaTypes() error {
	if m.Config != nil {
		if err := m.Config.checkMediaTypes("config"); err != nil {
			return err
		}
	}
	for i := range m.Layers {
		if err := m.Layers[i].checkMediaTypes("layers[" + strconv.Itoa(i) + "]"); err != nil {
			return err
		}
	}
	for i := range m.Manifests {
		if m.Manifests[i].MediaType == buildkitCache {
			return fault.ManifestUnsupported.New(constraint, "an index of layers, which BuildKit writes as a cache, is not supported: "+
				"add image-manifest=true,oci-mediatypes=true to the options of --cache-to")
		}
		if err := m.Manifests[i].checkMediaTypes("manifests[" + strconv.Itoa(i) + "]"); err != nil {
			return err
		}
	}
	if m.Subject != nil {
		if err := m.Subject.checkMediaTypes("subject"); err != nil {
			return err
		}
	}
	if m.ArtifactType != "" && !ValidMediaType(m.ArtifactType) {
		return Invalid("artifactType must be a media type of at most %d bytes", maxMediaType)
	}
	return nil
}

func (d *Descriptor) checkMediaTypes(at string) error {
	if !ValidMediaType(d.MediaType) {
		return Invalid("%s.mediaType must be a media type of at most %d bytes", at, maxMediaType)
	}
	if d.ArtifactType != "" && !ValidMediaType(d.ArtifactType) {
		return Invalid("%s.artifactType must be a media type of at most %d bytes", at, maxMediaType)
	}
	return nil
}
