package rewrite

import "strings"

// Upstream is what follows proxy/SLUG/ in the name of an image that customers pull, without tag and digest.
type Upstream struct {
	Host     string // of the registry, in lower case; Hub for Docker Hub; "" if Registry is set
	Registry string // name of a registry; "" if Host is set
	Path     string // of the repository there; of Docker Hub with library/ if it is an official image
}

// ParseUpstream parses what follows proxy/SLUG/. The first segment is a host if it has a dot or a colon, or is localhost; else the name of
// a registry if registry says so; else the whole is of Docker Hub. ok is false for what is no name of an image.
func ParseUpstream(text string, registry func(first string) bool) (u Upstream, ok bool) {
	first, rest, more := strings.Cut(text, "/")
	switch {
	case isHost(first):
		u.Host, u.Path = strings.ToLower(first), rest
		if IsHub(u.Host) {
			u.Host = Hub
		}
	case more && registry(first):
		u.Registry, u.Path = first, rest
	default:
		u.Host, u.Path = Hub, text
	}
	if !validPath(u.Path) || !validHost(u.Host) {
		return Upstream{}, false
	}
	if u.Host == Hub {
		u.Path = OfHub(u.Path)
	}
	return u, true
}

// IsHub reports whether a host, in lower case, is one of Docker Hub.
func IsHub(host string) bool { return host == Hub || host == "index."+Hub || host == "registry-1."+Hub }

// OfHub returns the path of a repository at Docker Hub: with library/ if it has one part.
func OfHub(path string) string {
	if strings.Contains(path, "/") {
		return path
	}
	return "library/" + path
}
