package name

import (
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// ImageRef is a reference to an image as users type it: [HOST/][ACCOUNT/REGION/]REPOSITORY[:TAG][@DIGEST].
type ImageRef struct {
	Host     string   // as typed, with its port; "" for none
	Registry Registry // the zero Registry if the text has no ACCOUNT/REGION/
	Repo     Repo
	Tag      Tag    // the zero Tag if the text has none; the default is not latest
	Digest   Digest // the zero Digest if the text has none
}

// HostKind says what the text before the first slash of an image reference is.
type HostKind uint8

// The kinds.
const (
	NoHost       HostKind = iota // a part of the path
	AnyHost                      // a host of all registries: ACCOUNT/REGION/ after it selects one
	RegistryHost                 // a host of one registry: the text after it is the name of a repository
)

// ParseImageRef parses an image reference. host classifies the text before the first slash, which may be a host or
// the first part of a repository name, because only the caller knows the hosts. If host is nil, the text has no host.
//
// Errors: fault.RegistryUnresolved, fault.NameInvalid, fault.TagInvalid, fault.DigestInvalid.
func ParseImageRef(s string, host func(first string) HostKind) (ImageRef, error) {
	var r ImageRef
	path, digest, hasDigest := strings.Cut(s, "@")
	kind := NoHost
	if first, rest, ok := strings.Cut(path, "/"); ok && host != nil {
		if kind = host(first); kind != NoHost {
			r.Host, path = first, rest
		}
	}
	path, tag, hasTag := strings.Cut(path, ":")
	var err error
	if kind != RegistryHost {
		if r.Registry, path, err = CutRegistry(path); err != nil {
			return ImageRef{}, err
		}
	}
	if r.Repo, err = ParseRepo(path); err != nil {
		return ImageRef{}, err
	}
	if hasTag {
		if r.Tag, err = ParseTag(tag); err != nil {
			return ImageRef{}, err
		}
	}
	if hasDigest {
		if r.Digest, err = ParseDigest(digest); err != nil {
			return ImageRef{}, err
		}
	}
	return r, nil
}

// String returns the text of the reference, "" for the zero ImageRef.
func (r ImageRef) String() string {
	s := r.Repo.s
	if r.Registry != (Registry{}) {
		s = r.Registry.String() + "/" + s
	}
	if r.Host != "" {
		s = r.Host + "/" + s
	}
	if r.Tag != (Tag{}) {
		s += ":" + r.Tag.s
	}
	if r.Digest != (Digest{}) {
		s += "@" + r.Digest.s
	}
	return s
}

// CutRegistry removes ACCOUNT/REGION/ from the start of a path and returns the rest. A path that does not begin with
// ten or more digits, a slash, a region and a slash has no registry: then reg is the zero Registry, and rest is the
// whole path.
//
// Errors: fault.RegistryUnresolved (the digits are not twelve).
func CutRegistry(path string) (reg Registry, rest string, err error) {
	const minDigits = 10 // a mistyped account is reported; shorter numbers are common in repository names
	first, after, ok1 := strings.Cut(path, "/")
	second, repository, ok2 := strings.Cut(after, "/")
	if !ok1 || !ok2 || len(first) < minDigits || strings.Trim(first, "0123456789") != "" {
		return Registry{}, path, nil
	}
	region, err := ParseRegion(second)
	if err != nil {
		return Registry{}, path, nil
	}
	account, err := ParseAccount(first)
	if err != nil {
		return Registry{}, "", fault.RegistryUnresolved.New("the path names no registry: %s", fault.From(err).Public)
	}
	return Registry{account, region}, repository, nil
}
