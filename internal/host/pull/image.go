package pull

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// accept are the media types of manifests that clients ask for.
var accept = strings.Join([]string{manifest.OCIManifest, manifest.OCIIndex, manifest.DockerSchema2, manifest.DockerList}, ", ")

// document is a manifest or an index.
type document struct {
	MediaType string
	Manifests []struct {
		Digest   string
		Platform platform
	}
	Config blob
	Layers []blob
}

// platform is what an image is for.
type platform struct{ OS, Architecture, Variant string }

// String returns OS/ARCH[/VARIANT].
func (p platform) String() string {
	return strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

type blob struct {
	Digest string
	Size   int64
}

// size returns the bytes of the configuration and the layers.
func (d document) size() int64 {
	n := d.Config.Size
	for _, l := range d.Layers {
		n += l.Size
	}
	return n
}

// unauthorized is the text of ECR for a denial.
var unauthorized = lazyregexp.New(`User: (\S+) is not authorized to perform: (\S+) on resource: (\S+)`)

// manifest reads the manifest that the reference names. A refusal is of the step Permission.
func (p *pulling) manifest(ctx context.Context) (string, *failure) {
	doc, digest, f := p.read(ctx, p.ref.ref)
	if f != nil {
		return "", f
	}
	p.found, p.facts.Digest = doc, digest
	return digest, nil
}

// named adds the host of the reference to an address of a mirror, as containerd does.
func (p *pulling) named(address string) string {
	if p.ns == "" {
		return address
	}
	return address + "?ns=" + url.QueryEscape(p.ns)
}

// read gets a manifest and its digest.
func (p *pulling) read(ctx context.Context, ref string) (doc document, digest string, _ *failure) {
	resp, err := p.get(ctx, p.named(p.base+"/v2/"+p.ref.repo+"/manifests/"+ref), accept)
	if err != nil {
		return doc, "", fail("the manifest cannot be read: "+err.Error(), "look at the log of the server")
	}
	if resp.StatusCode != http.StatusOK {
		return doc, "", p.notRead(ctx, resp)
	}
	defer func() { _ = resp.Body.Close() }() // it is read
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	digest = resp.Header.Get("Docker-Content-Digest")
	want := digest
	if _, err := name.ParseDigest(ref); err == nil {
		want = ref
	}
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(body)); err == nil && strings.HasPrefix(want, "sha256:") && got != want {
		return doc, "", fail("the content of the manifest has the digest "+got+" and not "+want+", so that clients refuse it",
			"something between here and the registry changes answers, or cuts them off: look at the proxy and the mirror, if there is one")
	}
	if err == nil {
		err = json.Unmarshal(body, &doc)
	}
	if err != nil {
		return doc, "", fail("the manifest is not JSON: "+err.Error(), "push the image again")
	}
	if doc.MediaType == "" {
		doc.MediaType = resp.Header.Get("Content-Type")
	}
	return doc, digest, nil
}

// notRead explains an answer that is no manifest.
func (p *pulling) notRead(ctx context.Context, resp *http.Response) *failure {
	code, text := said(resp)
	if text == "" {
		text = resp.Status
	}
	switch {
	case unauthorizedToken(text): // some registries look at a token only when it is used for a repository
		f := p.refused(resp, code, text)
		f.step = Token
		return f
	case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized:
		f := &failure{Permission, text, p.allow(text)}
		p.explained(resp, f)
		return f
	case code == "NAME_UNKNOWN":
		return fail(text, "check the name; if the repository is to be there: aws ecr create-repository --repository-name "+p.ref.repo)
	case resp.StatusCode == http.StatusNotFound:
		return fail(text, p.nearest(ctx))
	case resp.StatusCode == http.StatusTooManyRequests:
		return fail("the registry limits the rate of requests: "+text, "try again later")
	}
	return fail(resp.Status+": "+text, "look at the log of the server")
}

// unauthorizedToken reports whether a refusal is about the credential and not about a permission, in the words of ECR.
func unauthorizedToken(text string) bool {
	return strings.Contains(text, "authorization token has expired")
}

// allow returns what gives the caller the permission that a refusal names.
func (p *pulling) allow(text string) string {
	m := unauthorized.FindStringSubmatch(text)
	if m == nil {
		return "let the owner of the repository allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer; " + p.login()
	}
	if strings.Contains(text, "explicit deny") {
		return "a statement denies it: ecrin explain --as " + m[1] + " --action " + m[2] + " --on " + p.ref.repo +
			" names the statement, to be removed"
	}
	grantee := m[1]
	caller, err := name.ParseARN(m[1])
	if err == nil && caller.Service == "sts" { // a session of a role: the role is granted
		if parts := strings.Split(caller.Resource, "/"); len(parts) == 3 {
			grantee = name.ARN{Partition: caller.Partition, Service: "iam", Account: caller.Account, Resource: "role/" + parts[1]}.String()
		}
	}
	cure := "let the owner of the repository run: ecrin policy grant pull " + p.ref.repo + " --to " + grantee + " --apply"
	if owner, err2 := name.ParseARN(m[3]); err == nil && err2 == nil && owner.Account != caller.Account {
		cure += "; and " + grantee + " needs a policy of its own account, such as AmazonEC2ContainerRegistryPullOnly"
	}
	return cure
}

// nearest returns tags of the repository that are like the one that is missing.
func (p *pulling) nearest(ctx context.Context) string {
	const push = "push the image, or check the reference"
	resp, err := p.get(ctx, p.base+"/v2/"+p.ref.repo+"/tags/list?n=1000", "")
	if err != nil {
		return push
	}
	defer func() { _ = resp.Body.Close() }() // it is read
	var all struct{ Tags []string }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&all) != nil || len(all.Tags) == 0 {
		return push
	}
	slices.SortStableFunc(all.Tags, func(a, b string) int { return name.Distance(a, p.ref.ref) - name.Distance(b, p.ref.ref) })
	return "use a tag that exists, such as " + strings.Join(all.Tags[:min(3, len(all.Tags))], ", ") + ", or " + push
}

// platform selects the image for the platform, from an index or by its configuration.
func (p *pulling) platform(ctx context.Context) (string, *failure) {
	want := strings.Split(p.Platform, "/")
	if len(want) < 2 && p.Platform != "" {
		return "", fail("the platform "+quoted(p.Platform)+" is not one", "write OS/ARCH, such as linux/arm64")
	}
	if len(p.found.Manifests) == 0 {
		return p.single(ctx, want)
	}
	var have []string
	index := p.found
	for _, m := range index.Manifests {
		if m.Platform.OS == "" || m.Platform.OS == "unknown" {
			continue
		}
		have = append(have, m.Platform.String())
	}
	p.facts.Platforms = have
	for _, m := range index.Manifests {
		if m.Platform.OS == "" || m.Platform.OS == "unknown" {
			continue
		}
		if p.Platform == "" || m.Platform.OS == want[0] && m.Platform.Architecture == want[1] &&
			(len(want) < 3 || m.Platform.Variant == want[2]) {
			doc, digest, f := p.read(ctx, m.Digest)
			if f != nil {
				return "", f
			}
			p.found, p.facts.Size = doc, doc.size()
			return m.Platform.String() + " is " + digest, nil
		}
	}
	return "", fail("the image has no "+p.Platform, p.other(have))
}

func (p *pulling) other(have []string) string {
	if len(have) == 0 {
		return "it is no image of a container: push an image for " + p.Platform
	}
	return "push the image for " + p.Platform + " too, or pull one of " + strings.Join(have, ", ")
}

// single compares the configuration of an image that is no index.
func (p *pulling) single(ctx context.Context, want []string) (string, *failure) {
	if p.found.Config.Digest == "" {
		return "", fail("the manifest has no configuration", "it is no image of a container")
	}
	p.facts.Size = p.found.size()
	resp, f := p.blob(ctx, p.found.Config.Digest, false)
	if f != nil {
		return "", f
	}
	defer func() { _ = resp.Body.Close() }() // it is read
	var c platform
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&c); err != nil || c.OS == "" {
		return "not stated by the image", nil
	}
	have := c.String()
	p.facts.Platforms = []string{have}
	if p.Platform != "" && (c.OS != want[0] || c.Architecture != want[1]) {
		return "", fail("the image is for "+have+", not for "+p.Platform, p.other([]string{have}))
	}
	return have, nil
}

// layers asks for the first byte of the configuration and of each layer.
func (p *pulling) layers(ctx context.Context) (string, *failure) {
	for _, l := range p.found.Layers {
		resp, f := p.blob(ctx, l.Digest, true)
		if f != nil {
			return "", f
		}
		_ = resp.Body.Close() // its first byte is enough
	}
	return fmt.Sprintf("%d can be read", len(p.found.Layers)), nil
}

// blob gets a blob, or its first byte. A redirection is followed without the credential, as clients do.
func (p *pulling) blob(ctx context.Context, digest string, first bool) (*http.Response, *failure) {
	address := p.named(p.base + "/v2/" + p.ref.repo + "/blobs/" + digest)
	for range 3 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return nil, fail("the blob "+digest+" leads to an address that is none", "look at the log of the registry")
		}
		if strings.HasPrefix(address, p.base+"/v2/") && p.authorization != "" {
			req.Header.Set("Authorization", p.authorization)
		}
		if first {
			req.Header.Set("Range", "bytes=0-0")
		}
		resp, err := p.http.Do(req)
		if err != nil {
			return nil, fail("the blob "+digest+" cannot be read: "+err.Error(), "let this machine reach "+req.URL.Host)
		}
		switch {
		case resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent:
			return resp, nil
		case resp.StatusCode >= 300 && resp.StatusCode < 400:
			next, err := resp.Location()
			_ = resp.Body.Close() // only the header matters
			if err != nil {
				return nil, fail("the blob "+digest+" leads nowhere", "look at the log of the registry")
			}
			address = next.String()
			continue
		case resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusUnauthorized:
			_, text := said(resp)
			f := &failure{Permission, text, p.allow(text)}
			p.explained(resp, f)
			return nil, f
		}
		_, text := said(resp)
		return nil, fail("the blob "+digest+" cannot be read: "+resp.Status+" "+text,
			"push the image again; the owner of an ecrin finds damage by ecrin verify")
	}
	return nil, fail("the blob "+digest+" leads from one address to the next", "look at the settings of the registry")
}
