package registry

import "github.com/ecrin-dev/ecrin/internal/store/meta"

// The records of the store that surfaces use. A surface receives them from this package and passes them back to it; it
// does not import the store.
type (
	Repository   = meta.Repository   // a repository of a registry
	ManifestHead = meta.ManifestHead // digest, media type and size of a stored manifest
	Holding      = meta.Holding      // a blob that a repository holds
	Upload       = meta.Upload       // the state of an upload between two requests
	Image        = meta.Image        // an image with the properties that lists show
	Removed      = meta.Removed      // a digest and a tag that a deletion removed
)

// ImageNotFound returns the error for an image that does not exist, in the words of ECR.
func ImageNotFound() error { return meta.ImageNotFound() }
