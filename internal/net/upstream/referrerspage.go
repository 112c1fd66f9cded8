package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// ReferrersPage is a page of the list of the referrers of an image, as the registry has sent it.
type ReferrersPage struct {
	Body    []byte   // JSON of an index
	Filters string   // what the registry says that it has filtered by; "" for nothing
	Next    string   // query of the next page; "" for none
	Listed  []Listed // the entries of the page
}

// Listed is an entry of a page of referrers whose digest is valid.
type Listed struct {
	Digest name.Digest
	Size   int64
}

// maxNext is the largest size of the query of a next page in bytes.
const maxNext = 2 << 10

// maxFilters is the largest size of the names of filters in bytes.
const maxFilters = 256

// ReferrersPage returns a page of the list of the referrers of an image, without changing it. query has the filter and the place of the
// page. A registry without the referrers API is asked for the tag that stands for the list, which has no pages and no filter.
//
// A link to the next page is read for its query alone: where it points to is not followed, and not passed on.
//
// Errors: an [Error], with the reason NotFound if the registry has neither; that of ctx.
//
// Source: OCI distribution specification, listing referrers and the referrers tag schema.
func (r *Registry) ReferrersPage(ctx context.Context, repo string, subject name.Digest, query url.Values) (ReferrersPage, error) {
	req, err := r.request(ctx, http.MethodGet, repo, "referrers", subject.String(), auth.ActionPull)
	if err != nil {
		return ReferrersPage{}, err
	}
	req.URL.RawQuery = query.Encode()
	req.Header.Set("Accept", manifest.OCIIndex)
	resp, err := r.send(req)
	if e, ok := errors.AsType[*failure](err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed ||
		e.Status == http.StatusNotImplemented) {
		return r.referrersTag(ctx, repo, subject)
	}
	if err != nil {
		return ReferrersPage{}, r.library(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }() // its content was read
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case isHTML(resp):
		return ReferrersPage{}, r.page()
	case err != nil || media != manifest.OCIIndex: // another API at this path
		return r.referrersTag(ctx, repo, subject)
	case resp.StatusCode != http.StatusOK:
		return ReferrersPage{}, r.fail(Lied, "the answer has the status %d", resp.StatusCode)
	case resp.Header.Get("Content-Encoding") != "" && resp.Header.Get("Content-Encoding") != "identity":
		return ReferrersPage{}, r.fail(Lied, "the answer is compressed, which was not asked for")
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err != nil {
		return ReferrersPage{}, r.library(ctx, err)
	}
	if len(body) > maxPage {
		return ReferrersPage{}, r.fail(Lied, "the list of referrers has more than %d bytes", maxPage)
	}
	p := ReferrersPage{Body: body}
	if text := resp.Header.Get("OCI-Filters-Applied"); len(text) <= maxFilters && printable(text) == text {
		p.Filters = text
	}
	if p.Next, err = r.nextQuery(resp.Header); err != nil {
		return ReferrersPage{}, err
	}
	p.Listed, err = r.listed(body)
	return p, err
}

// referrersTag returns the list by the tag that stands for it.
func (r *Registry) referrersTag(ctx context.Context, repo string, subject name.Digest) (ReferrersPage, error) {
	m, err := r.Manifest(ctx, repo, string(subject.Algorithm())+"-"+subject.Hex(), ManifestOptions{Accept: []string{manifest.OCIIndex}})
	if err != nil {
		return ReferrersPage{}, err
	}
	if m.MediaType != manifest.OCIIndex {
		return ReferrersPage{}, r.fail(Lied, "the tag that stands for the list of referrers is no index")
	}
	p := ReferrersPage{Body: m.Body}
	p.Listed, err = r.listed(m.Body)
	return p, err
}

// listed returns the entries of a list of referrers. Those with a digest that is not valid are left out.
func (r *Registry) listed(body []byte) (all []Listed, err error) {
	var list struct {
		Manifests []struct {
			Digest string `json:"digest"`
			Size   int64  `json:"size"`
		} `json:"manifests"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, r.fail(Lied, "the list of referrers is not valid")
	}
	for _, m := range list.Manifests {
		if d, err := name.ParseDigest(m.Digest); err == nil && m.Size >= 0 {
			all = append(all, Listed{d, m.Size})
		}
	}
	return all, nil
}

// nextQuery returns the query of the link to the next page; "" if there is none. Source: RFC 8288.
func (r *Registry) nextQuery(h http.Header) (string, error) {
	for _, value := range h.Values("Link") {
		for {
			_, rest, ok := strings.Cut(value, "<")
			if !ok {
				break
			}
			target, params, ok := strings.Cut(rest, ">")
			if !ok {
				break
			}
			params, value, _ = strings.Cut(params, "<")
			if !relatesNext(params) {
				continue
			}
			u, err := url.Parse(target)
			if err != nil {
				return "", r.fail(Lied, "the link to the next page of referrers is not valid")
			}
			query, err := url.ParseQuery(u.RawQuery)
			if err != nil || len(u.RawQuery) > maxNext {
				return "", r.fail(Lied, "the link to the next page of referrers is not valid")
			}
			return query.Encode(), nil
		}
	}
	return "", nil
}

// relatesNext reports whether the parameters of a link say that it is to the next page.
func relatesNext(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.Trim(p, " ,\t"), "=")
		if !strings.EqualFold(strings.TrimSpace(key), "rel") {
			continue
		}
		for _, one := range strings.Fields(strings.Trim(value, `" `)) {
			if strings.EqualFold(one, "next") {
				return true
			}
		}
	}
	return false
}
