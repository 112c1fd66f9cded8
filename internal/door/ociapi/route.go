package ociapi

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// route is the kind of a path.
type route uint8

const (
	routeBase      route = iota // /v2/
	routeCatalog                // /v2/_catalog
	routeToken                  // /v2/token
	routeTags                   // /v2/<name>/tags/list
	routeManifest               // /v2/<name>/manifests/<reference>
	routeBlob                   // /v2/<name>/blobs/<digest>
	routeUploads                // /v2/<name>/blobs/uploads/
	routeUpload                 // /v2/<name>/blobs/uploads/<id>
	routeReferrers              // /v2/<name>/referrers/<digest>
	routeLink                   // /layers/…, a signed link to a layer
	routes                      // number of routes
)

// named reports whether paths of the route contain a <name>.
func (r route) named() bool {
	return r != routeBase && r != routeCatalog && r != routeToken && r != routeLink
}

// target is a parsed path. Values that the route does not have are zero.
type target struct {
	route     route
	name      string // <name>, not yet resolved to a registry and repository
	reference string // <reference>, <digest> or <id>
}

// parsePath parses a decoded URL path. It parses from the end, so that names of repositories may contain segments such
// as "blobs".
//
// Errors: fault.UnknownOperation.
// Source: OCI distribution specification, endpoints.
func parsePath(path string) (target, error) {
	none := fault.UnknownOperation.New("no such path")
	rest, ok := strings.CutPrefix(path, "/v2")
	if !ok || rest != "" && rest[0] != '/' {
		return target{}, none
	}
	rest = strings.TrimPrefix(rest, "/")
	switch rest {
	case "":
		return target{route: routeBase}, nil
	case "_catalog":
		return target{route: routeCatalog}, nil
	case "token":
		return target{route: routeToken}, nil
	}
	if n, ok := strings.CutSuffix(rest, "/tags/list"); ok {
		return target{routeTags, n, ""}, nil
	}
	if n, ok := strings.CutSuffix(strings.TrimSuffix(rest, "/"), "/blobs/uploads"); ok {
		return target{routeUploads, n, ""}, nil
	}
	front, last, _ := cutLast(rest)
	front, middle, ok := cutLast(front)
	if !ok || last == "" {
		return target{}, none
	}
	switch middle {
	case "manifests":
		return target{routeManifest, front, last}, nil
	case "blobs":
		return target{routeBlob, front, last}, nil
	case "referrers":
		return target{routeReferrers, front, last}, nil
	case "uploads":
		if n, ok := strings.CutSuffix(front, "/blobs"); ok {
			return target{routeUpload, n, last}, nil
		}
	}
	return target{}, none
}

// cutLast splits s at its last slash.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+1:], true
}

// contentRange parses the Content-Range of a chunk: first and last byte, inclusive, such as "0-1023". It also accepts
// the form "bytes 0-1023/*".
//
// Errors: fault.RangeInvalid.
// Source: OCI distribution specification, pushing a blob in chunks.
func contentRange(s string) (first, length int64, err error) {
	bad := fault.RangeInvalid.New("the Content-Range of a chunk must be FIRST-LAST in bytes, such as 0-1023, got %q", name.Clip(s))
	text := strings.TrimPrefix(s, "bytes ")
	text, _, _ = strings.Cut(text, "/")
	a, b, ok := strings.Cut(text, "-")
	if !ok {
		return 0, 0, bad
	}
	first, ok1 := decimal(a)
	last, ok2 := decimal(b)
	if !ok1 || !ok2 || last < first {
		return 0, 0, bad
	}
	return first, last - first + 1, nil
}

// decimal parses a decimal number of 1 to 18 digits without a sign. So many digits cannot overflow.
func decimal(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
