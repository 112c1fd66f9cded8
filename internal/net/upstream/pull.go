package upstream

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"io"
	"mime"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxPage          = 4 << 20 // bytes of a page of a list
	pageSize         = 1000    // tags of a page; ECR refuses more
	maxTagPages      = 1000
	maxReferrerPages = 50
	maxReferrers     = 10_000
	maxReferrerBytes = 8 << 20 // of the annotations and types of all referrers
	contentDigest    = "Docker-Content-Digest"
)

// accepted are the media types that a request for a manifest accepts by default.
var accepted = []string{manifest.OCIIndex, manifest.OCIManifest, manifest.DockerList, manifest.DockerSchema2}

// tagPattern is the grammar of tags. Source: OCI distribution specification, pulling manifests.
var tagPattern = lazyregexp.New(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// ManifestOptions are the conditions of a request for a manifest.
type ManifestOptions struct {
	Accept []string    // media types; nil means images and indexes of OCI and Docker
	Known  name.Digest // the digest that the caller holds: if it is still the manifest's, no body is transferred
}

// Manifest is a manifest of another registry.
type Manifest struct {
	MediaType   string
	Digest      name.Digest // that of Body, or Known
	Body        []byte      // nil if NotModified
	NotModified bool        // the reference still names the digest Known
}

// Manifest gets a manifest by its tag or digest. Its body has at most manifest.MaxBytes bytes, is valid by
// manifest.Parse, and has the digest of the result, which is ref if that is a digest.
//
// With Known, a tag is first asked for by HEAD, which many registries do not count as a pull.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Manifest(ctx context.Context, repo, ref string, o ManifestOptions) (Manifest, error) {
	req, want, err := r.manifestRequest(ctx, repo, ref, o.Accept)
	if err != nil {
		return Manifest{}, err
	}
	conditional := o.Known != (name.Digest{})
	if conditional && want == (name.Digest{}) {
		have, err := r.Head(ctx, repo, ref, o.Accept)
		switch e, ok := errors.AsType[*Error](err); {
		case err == nil && have.Digest == o.Known:
			return Manifest{MediaType: have.MediaType, Digest: o.Known, NotModified: true}, nil
		case err == nil, ok && (e.Reason == Rejected || e.Reason == Denied || e.Reason == Lied): // GET decides
		default:
			return Manifest{}, err
		}
	}
	if conditional {
		req.Header.Set("If-None-Match", `"`+o.Known.String()+`"`)
	}
	resp, err := r.send(req)
	if err != nil {
		return Manifest{}, r.library(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // its content was read and verified
	if resp.StatusCode == http.StatusNotModified {
		if !conditional {
			return Manifest{}, r.fail(Lied, "the answer is that of a condition that was not set")
		}
		return Manifest{Digest: o.Known, NotModified: true}, nil
	}
	m, err := r.readManifest(resp, want)
	if err == nil && conditional && m.Digest == o.Known {
		m.Body, m.NotModified = nil, true
	}
	return m, err
}

// Head returns media type and digest of a manifest, as the registry says them. The digest is zero if it does not say it.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Head(ctx context.Context, repo, ref string, accept []string) (Manifest, error) {
	req, want, err := r.manifestRequest(ctx, repo, ref, accept)
	if err != nil {
		return Manifest{}, err
	}
	req.Method = http.MethodHead
	resp, err := r.send(req)
	if err != nil {
		return Manifest{}, r.library(ctx, err)
	}
	_ = resp.Body.Close() // HEAD has none
	if isHTML(resp) {
		return Manifest{}, r.page()
	}
	if resp.StatusCode != http.StatusOK {
		return Manifest{}, r.fail(Lied, "the answer has the status %d", resp.StatusCode)
	}
	m := Manifest{}
	if m.MediaType, _, err = mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || manifest.KindOf(m.MediaType) == 0 {
		return Manifest{}, r.fail(Lied, "the media type is not that of a manifest")
	}
	m.Digest, err = r.digestHeader(resp, want)
	return m, err
}

// manifestRequest returns a GET, and the digest that ref is; zero if ref is a tag.
func (r *Registry) manifestRequest(ctx context.Context, repo, ref string, accept []string) (*http.Request, name.Digest, error) {
	want, err := parseRef(ref)
	if err != nil {
		return nil, want, err
	}
	if accept == nil {
		accept = accepted
	}
	req, err := r.request(ctx, http.MethodGet, repo, "manifests", ref, auth.ActionPull)
	if err != nil {
		return nil, want, err
	}
	req.Header.Set("Accept", strings.Join(accept, ", "))
	return req, want, nil
}

// parseRef returns the digest that ref is; zero for a tag.
func parseRef(ref string) (name.Digest, error) {
	if strings.Contains(ref, ":") {
		d, err := name.ParseDigest(ref)
		if err != nil {
			return d, invalid("the digest is not valid")
		}
		return d, nil
	}
	if !tagPattern.MatchString(ref) {
		return name.Digest{}, invalid("the tag is not valid")
	}
	return name.Digest{}, nil
}

// request returns a request for a part of a repository, with the scopes that its token needs.
func (r *Registry) request(ctx context.Context, method, repo, part, ref string, actions ...string) (*http.Request, error) {
	if _, err := r.repo(repo); err != nil {
		return nil, err
	}
	ctx = auth.AppendRepositoryScope(ctx, registry.Reference{Registry: r.host, Repository: repo}, actions...)
	req, err := http.NewRequestWithContext(ctx, method, r.url(repo, part, ref), nil)
	if err != nil {
		return nil, invalid("the reference is not valid")
	}
	return req, nil
}

// digestHeader returns the digest of the header, which must be want unless that is zero; zero if there is no header.
func (r *Registry) digestHeader(resp *http.Response, want name.Digest) (name.Digest, error) {
	text := resp.Header.Get(contentDigest)
	if text == "" {
		return want, nil
	}
	d, err := name.ParseDigest(text)
	if err != nil {
		return d, r.fail(Lied, "the digest in the header is not valid")
	}
	if want != (name.Digest{}) && d != want && d.Algorithm() == want.Algorithm() {
		return d, r.fail(Lied, "the header has another digest than the one that was asked for")
	}
	return d, nil
}

func (r *Registry) readManifest(resp *http.Response, want name.Digest) (Manifest, error) {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case isHTML(resp):
		return Manifest{}, r.page()
	case resp.StatusCode != http.StatusOK:
		return Manifest{}, r.fail(Lied, "the answer has the status %d", resp.StatusCode)
	case err != nil || manifest.KindOf(media) == 0:
		return Manifest{}, r.fail(Lied, "the media type is not that of a manifest")
	case resp.Header.Get("Content-Encoding") != "" && resp.Header.Get("Content-Encoding") != "identity":
		return Manifest{}, r.fail(Lied, "the answer is compressed, which was not asked for")
	case resp.ContentLength > manifest.MaxBytes:
		return Manifest{}, r.fail(Lied, "the manifest has more than %d bytes", manifest.MaxBytes)
	}
	claimed, err := r.digestHeader(resp, want)
	if err != nil {
		return Manifest{}, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, manifest.MaxBytes+1))
	if err != nil {
		return Manifest{}, err
	}
	if len(body) > manifest.MaxBytes {
		return Manifest{}, r.fail(Lied, "the manifest has more than %d bytes", manifest.MaxBytes)
	}
	for _, d := range []name.Digest{want, claimed} {
		if d != (name.Digest{}) && digestOf(d.Algorithm(), body) != d {
			return Manifest{}, r.fail(Lied, "the manifest does not have its digest")
		}
	}
	if _, err := manifest.Parse(body, media); err != nil { // its text quotes the manifest
		return Manifest{}, r.fail(Lied, "the manifest is not valid")
	}
	m := Manifest{MediaType: media, Digest: want, Body: body}
	if want == (name.Digest{}) {
		m.Digest = digestOf(name.SHA256, body)
		if claimed != (name.Digest{}) {
			m.Digest = claimed
		}
	}
	return m, nil
}

func newHash(a name.Algorithm) hash.Hash {
	if a == name.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

func digestOf(a name.Algorithm, body []byte) name.Digest {
	h := newHash(a)
	h.Write(body)
	return name.NewDigest(a, h.Sum(nil))
}

// Referrers returns the descriptors of the manifests whose subject is a digest, at most 10,000, by the API of the
// registry or, if it has none, by the tag that stands for the list. artifactType selects those of one type; "" means all.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Referrers(ctx context.Context, repo string, subject name.Digest, artifactType string) ([]manifest.Descriptor, error) {
	from, err := r.repo(repo)
	if err != nil {
		return nil, err
	}
	var all []manifest.Descriptor
	size := 0
	err = from.Referrers(ctx, descriptor("", subject, 0), artifactType, func(page []ocispec.Descriptor) error {
		if len(all)+len(page) > maxReferrers {
			return r.fail(Lied, "the image has more than %d referrers", maxReferrers)
		}
		for _, d := range page {
			parsed, err := name.ParseDigest(d.Digest.String())
			if err != nil || d.Size < 0 || d.Size > manifest.MaxBytes || manifest.KindOf(d.MediaType) == 0 {
				return r.fail(Lied, "the list of referrers has a descriptor that is not valid")
			}
			size += len(d.ArtifactType)
			for k, v := range d.Annotations {
				size += len(k) + len(v)
			}
			if size > maxReferrerBytes {
				return r.fail(Lied, "the descriptors of the referrers have more than %d bytes", maxReferrerBytes)
			}
			all = append(all, manifest.Descriptor{MediaType: d.MediaType, Digest: parsed, Size: d.Size, ArtifactType: d.ArtifactType,
				Annotations: d.Annotations})
		}
		return nil
	})
	if err != nil {
		return nil, r.library(ctx, err)
	}
	return all, nil
}

// Tags calls each with the tags of a repository after the tag last, page by page; "" means all. It ends with the first
// error of each, and after 1000 pages with an error.
//
// Errors: an [Error], that of ctx or that of each.
func (r *Registry) Tags(ctx context.Context, repo, last string, each func(tags []string) error) error {
	from, err := r.repo(repo)
	if err != nil {
		return err
	}
	var own error
	err = from.Tags(ctx, last, func(tags []string) error {
		for _, t := range tags {
			if !tagPattern.MatchString(t) {
				return r.fail(Lied, "the list has a tag that is not valid")
			}
		}
		own = each(tags)
		return own
	})
	if own != nil {
		return own
	}
	return r.library(ctx, err)
}

// Ping checks that the registry answers and accepts the credentials, which need no permission for that.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.http+"://"+r.host+"/v2/", nil)
	if err != nil {
		return invalid("the host is not valid")
	}
	resp, err := doer{r}.Do(req)
	if err != nil {
		return r.library(ctx, err)
	}
	_ = resp.Body.Close() // its content has no meaning
	if resp.StatusCode != http.StatusOK {
		return r.fail(Lied, "the host does not answer as a registry")
	}
	return nil
}
