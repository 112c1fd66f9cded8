package registry

import "github.com/ecrin-dev/ecrin/internal/store/meta"

// The records of the store that doors handle. A door gets them from this package and passes them back; it never reaches
// the store itself.
type (
	Repository   = meta.Repository   // one repository of a registry, by its number
	ManifestHead = meta.ManifestHead // digest, media type and size of a stored manifest
	Holding      = meta.Holding      // how a repository holds a blob
	Upload       = meta.Upload       // an upload between two requests
	Image        = meta.Image        // an image with what lists show of it
	Removed      = meta.Removed      // a digest and a tag that a deletion took away
)

// ImageNotFound is the answer for an image that is not there, in ECR's words.
func ImageNotFound() error { return meta.ImageNotFound() }
