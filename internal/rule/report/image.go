package report

import (
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// ImageName is the name of an image as pipelines give it: [HOST/]PATH[:TAG][@DIGEST].
type ImageName struct {
	Given  string
	Host   string // in lower case; docker.io if the name has none
	Path   string // the repository in the protocol of the host
	Tag    string // latest if the name has neither tag nor digest; "" with a digest alone
	Digest string // "" for none
}

// Source: distribution's reference grammar, in the forms that registries accept.
var (
	pathForm   = lazyregexp.New(`^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$`)
	tagForm    = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	digestForm = lazyregexp.New(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)
	hostForm   = lazyregexp.New(`^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?$`)
)

const maxImageName = 512 // bytes

// DockerHub is the host of names without one.
const DockerHub = "docker.io"

// ParseImageName reads the name of an image. The part before the first slash is a host if it has a dot or a port, or is localhost.
func ParseImageName(s string) (ImageName, error) {
	n := ImageName{Given: s, Host: DockerHub, Path: s}
	if len(s) > maxImageName {
		return n, errors.New("the name of an image has at most 512 bytes")
	}
	if first, rest, ok := strings.Cut(s, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		n.Host, n.Path = strings.ToLower(first), rest
	}
	n.Path, n.Digest, _ = strings.Cut(n.Path, "@")
	if i := strings.LastIndexByte(n.Path, ':'); i >= 0 {
		n.Path, n.Tag = n.Path[:i], n.Path[i+1:]
		if !tagForm.MatchString(n.Tag) {
			return n, errors.New("the tag of the image is not valid")
		}
	}
	if n.Host == "index.docker.io" || n.Host == "registry-1.docker.io" {
		n.Host = DockerHub
	}
	if n.Host == DockerHub && !strings.Contains(n.Path, "/") {
		n.Path = "library/" + n.Path
	}
	switch {
	case !hostForm.MatchString(n.Host):
		return n, errors.New("the host of the image is not valid")
	case !pathForm.MatchString(n.Path):
		return n, errors.New("the repository of the image is not valid")
	case strings.Contains(s, "@") && !digestForm.MatchString(n.Digest):
		return n, errors.New("the digest of the image is not valid")
	case n.Digest == "" && n.Tag == "":
		n.Tag = "latest"
	}
	return n, nil
}

// Repository returns HOST/PATH.
func (n ImageName) Repository() string { return n.Host + "/" + n.Path }

// Reference returns the digest, or without one the tag.
func (n ImageName) Reference() string {
	if n.Digest != "" {
		return n.Digest
	}
	return n.Tag
}

// ecrHost is the form of the hosts of Amazon ECR, without a port, in any domain.
var ecrHost = lazyregexp.New(`^([0-9]{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.`)

// ECRHost returns account and region of a host of the form ACCOUNT.dkr.ecr.REGION.DOMAIN.
func ECRHost(host string) (account, region string, ok bool) {
	m := ecrHost.FindStringSubmatch(host)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// RegistryType returns the type of the registry of a host: DOCKER_HUB, ECR, GCR, GHCR, JFROG, QUAY or OTHER. own tells that it is a
// registry of an ecrin, whose type is ECR.
func RegistryType(host string, own bool) string {
	bare, _, _ := strings.Cut(host, ":")
	if _, _, ok := ECRHost(bare); ok || own || bare == "public.ecr.aws" {
		return "ECR"
	}
	switch {
	case bare == DockerHub:
		return "DOCKER_HUB"
	case bare == "gcr.io", strings.HasSuffix(bare, ".gcr.io"), strings.HasSuffix(bare, "-docker.pkg.dev"):
		return "GCR"
	case bare == "ghcr.io":
		return "GHCR"
	case bare == "jfrog.io", strings.HasSuffix(bare, ".jfrog.io"):
		return "JFROG"
	case bare == "quay.io":
		return "QUAY"
	}
	return "OTHER"
}
