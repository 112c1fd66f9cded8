package pull

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// reference is an image reference as clients read it.
type reference struct {
	host string // HOST or HOST:PORT
	repo string // the path
	ref  string // tag or digest
	tag  string // "" for a reference by digest alone
}

// awsHost is what a name of ECR says.
type awsHost struct{ account, region string }

var ecrName = lazyregexp.New(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+$`)

// hostname returns the host without its port.
func (r reference) hostname() string {
	if h, _, err := net.SplitHostPort(r.host); err == nil {
		return h
	}
	return strings.Trim(r.host, "[]")
}

// address returns host and port, 443 without one.
func (r reference) address() string {
	if _, _, err := net.SplitHostPort(r.host); err == nil {
		return r.host
	}
	return net.JoinHostPort(r.hostname(), "443")
}

// local reports whether clients speak plain HTTP with the host: localhost and loopback addresses.
func (r reference) local() bool {
	a, err := netip.ParseAddr(r.hostname())
	return r.hostname() == "localhost" || err == nil && a.IsLoopback()
}

// parse reads the reference. The first part is a host if it has a dot or a port, or is localhost, as for docker.
func (p *pulling) parse(context.Context) (string, *failure) {
	first, rest, ok := strings.Cut(p.Image, "/")
	if !ok || !strings.ContainsAny(first, ".:") && first != "localhost" {
		return "", fail("the reference "+quoted(p.Image)+" names no registry, so that clients pull it from Docker Hub",
			"begin it with the host of the registry: HOST/REPOSITORY:TAG")
	}
	r := reference{host: first, repo: rest, ref: "latest", tag: "latest"}
	if repo, digest, ok := strings.Cut(rest, "@"); ok {
		if _, err := name.ParseDigest(digest); err != nil {
			return "", fail("the digest "+quoted(digest)+" is not one", "write sha256: and 64 digits, or a tag")
		}
		r.repo, r.ref, r.tag = repo, digest, ""
	}
	if at := strings.LastIndexByte(r.repo, ':'); at > strings.LastIndexByte(r.repo, '/') {
		tag := r.repo[at+1:]
		if _, err := name.ParseTag(tag); err != nil {
			return "", fail("the tag "+quoted(tag)+" is not one", "a tag has letters, digits, _, . and -, at most 128")
		}
		r.repo = r.repo[:at]
		if r.tag != "" { // a digest decides
			r.ref, r.tag = tag, tag
		}
	}
	if _, err := name.ParseRepo(r.repo); err != nil {
		return "", fail("the repository "+quoted(r.repo)+" is not one", "names have lower case letters, digits, and ., _, - and / between them")
	}
	p.ref = r
	if m := ecrName.FindStringSubmatch(r.hostname()); m != nil {
		p.aws = &awsHost{m[1], m[2]}
	}
	return r.host + ", " + r.repo + ", " + r.ref, nil
}

// quoted returns a text of the command line in quotation marks, shortened.
func quoted(s string) string { return `"` + name.Clip(s) + `"` }
