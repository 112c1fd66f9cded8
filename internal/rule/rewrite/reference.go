// Package rewrite finds the images in manifests of Kubernetes, and writes what makes a cluster pull them from elsewhere: kustomize
// overlays with other names of images, pull secrets, and patches that use the secrets.
//
// All functions are pure. What is in a registry, and whether it can be pulled without credentials, the caller finds out.
package rewrite

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Hub is the host of Docker Hub in names of images.
const Hub = "docker.io"

// Reference is the name of an image in a manifest, in its parts as they are written there.
type Reference struct {
	Host   string // with port; "" if the name has none, so that it is of Docker Hub
	Path   string // without host, tag and digest
	Tag    string // "" for none
	Digest string // "" for none
}

// ParseReference parses the name of an image, such as "nginx", "ghcr.io/org/app:1.0" or "host:5000/app@sha256:…". The part before the first
// slash is a host if it has a dot or a colon, or is localhost.
//
// Errors: fault.InvalidParameter.
// Source: distribution's reference grammar; integrations of container engines.
func ParseReference(s string) (Reference, error) {
	bad := fault.InvalidParameter.New("%q is no name of an image, such as registry.example.com/team/app:1.0", name.Clip(s))
	var r Reference
	rest, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if _, err := name.ParseDigest(digest); err != nil {
			return Reference{}, bad
		}
		r.Digest = digest
	}
	if first, path, ok := strings.Cut(rest, "/"); ok && isHost(first) {
		r.Host, rest = first, path
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		if _, err := name.ParseTag(rest[i+1:]); err != nil {
			return Reference{}, bad
		}
		rest, r.Tag = rest[:i], rest[i+1:]
	}
	r.Path = rest
	if !validHost(r.Host) || !validPath(r.Path) {
		return Reference{}, bad
	}
	return r, nil
}

// isHost reports whether the first part of a name is a host.
func isHost(first string) bool { return strings.ContainsAny(first, ".:") || first == "localhost" }

func validHost(h string) bool {
	return len(h) <= 253+6 && strings.IndexFunc(h, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(".-:[]", c))
	}) < 0
}

func validPath(p string) bool {
	if p == "" || len(p) > 255 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || !alphanumeric(part[0]) || !alphanumeric(part[len(part)-1]) {
			return false
		}
		for i := range len(part) {
			if !alphanumeric(part[i]) && !strings.ContainsRune("._-", rune(part[i])) {
				return false
			}
		}
	}
	return true
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// Name returns the name without tag and digest, as it is written.
func (r Reference) Name() string {
	if r.Host == "" {
		return r.Path
	}
	return r.Host + "/" + r.Path
}

// String returns the reference as it is written.
func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// OnHub reports whether the image is of Docker Hub.
func (r Reference) OnHub() bool { return r.Host == "" || r.Host == Hub || r.Host == "index."+Hub }

// Registry returns the host that has the image.
func (r Reference) Registry() string {
	if r.OnHub() {
		return Hub
	}
	return r.Host
}

// Repository returns the path in the registry: for images of Docker Hub with one part, library/ and the path.
func (r Reference) Repository() string {
	if r.OnHub() && !strings.Contains(r.Path, "/") {
		return "library/" + r.Path
	}
	return r.Path
}

// Spellings returns the names that stand for the same repository, the written one first: four for an official image of Docker Hub, two for
// another one of Docker Hub, else one.
func (r Reference) Spellings() []string {
	all := []string{r.Name()}
	if !r.OnHub() {
		return all
	}
	repo := r.Repository()
	more := []string{Hub + "/" + repo, repo}
	if short, ok := strings.CutPrefix(repo, "library/"); ok && !strings.Contains(short, "/") {
		more = append(more, short, Hub+"/"+short)
	}
	for _, m := range more {
		if m != all[0] {
			all = append(all, m)
		}
	}
	return all
}
