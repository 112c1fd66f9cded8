package ociapi

import (
	"fmt"
	"net/url"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	ecrPage    = 100  // page size of ECR for a request without n
	maxECRPage = 1000 // ECR refuses a larger n
	// maxPage is the maximum number of entries of a page. A request with a larger n receives a page of this size with a
	// link to the next page.
	maxPage = 10_000
)

// page is the part of a listing that a request asks for.
type page struct {
	limit int    // maximum number of entries; -1 for the whole list
	last  string // the page begins after this entry; "" for the first
}

// pageOf parses the query parameters n and last.
//
// Errors: fault.InvalidParameter.
// Source: OCI distribution specification, listing tags; for the quirk page-100, observed answers of ECR.
func (a *API) pageOf(q url.Values) (page, error) {
	p := page{limit: -1, last: q.Get("last")}
	if a.quirks.Page100 {
		p.limit = ecrPage
	}
	if len(p.last) > 256 {
		return p,
			fault.InvalidParameter.New("Invalid parameter at 'NextToken' failed to satisfy constraint: 'must be a token of an earlier page'")
	}
	if !q.Has("n") {
		return p, nil
	}
	n, ok := decimal(q.Get("n"))
	switch {
	case !ok:
		return p, fault.InvalidParameter.New("n must be a decimal number, the maximum number of entries of a page, got %q", name.Clip(q.Get("n")))
	case a.quirks.Page100 && n > maxECRPage:
		return p,
			fault.InvalidParameter.New("Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must have value less than or equal to 1000'")
	}
	p.limit = int(min(n, maxPage))
	return p, nil
}

// linkNext sets the header Link to the next page if there is one.
func (q *request) linkNext(p page, path string, names []string, more bool) {
	if more && len(names) > 0 {
		next := url.Values{"last": {names[len(names)-1]}, "n": {fmt.Sprint(p.limit)}}
		q.w.Header().Set("Link", "<"+path+"?"+next.Encode()+`>; rel="next"`)
	}
}

func (a *API) listType() string {
	if a.quirks.Page100 {
		return "text/plain; charset=utf-8"
	}
	return "application/json; charset=utf-8"
}

func (a *API) listTags(q *request) error {
	if q.caller.Kind == identity.Customer {
		return writeJSON(q.w, a.listType(), struct {
			Name string   `json:"name"`
			Tags []string `json:"tags"`
		}{q.target.name, q.listed})
	}
	p, err := a.pageOf(q.r.URL.Query())
	if err != nil {
		return err
	}
	if p.limit < 0 && p.last == "" {
		return a.listAllTags(q)
	}
	tags, more, err := a.registry.Tags(q.r.Context(), q.found, p.last, p.limit)
	if err != nil {
		return err
	}
	q.linkNext(p, "/v2/"+q.target.name+"/tags/list", tags, more)
	return writeJSON(q.w, a.listType(), struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{q.target.name, tags})
}

// listAllTags answers with the whole list of tags, which is cached in the form of the answer.
func (a *API) listAllTags(q *request) error {
	list, err := a.registry.TagList(q.r.Context(), q.found)
	if err != nil {
		return err
	}
	// Names and tags contain no characters that JSON escapes.
	front, back := `{"name":"`+q.target.name+`","tags":[`, "]}"
	if len(list) > 0 {
		front, back = front+`"`, `"`+back
	}
	h := q.w.Header()
	h.Set("Content-Type", a.listType())
	h.Set("Content-Length", strconv.Itoa(len(front)+len(list)+len(back)))
	for _, part := range [][]byte{[]byte(front), list, []byte(back)} {
		if _, err := q.w.Write(part); err != nil {
			return clientGone(err)
		}
	}
	return nil
}

// catalogPage is the number of repositories that are read from the store by one query.
const catalogPage = 1000

func (a *API) catalog(q *request) error {
	if q.caller.Kind == identity.Customer {
		return writeJSON(q.w, a.listType(), map[string][]string{"repositories": q.listed})
	}
	p, err := a.pageOf(q.r.URL.Query())
	if err != nil {
		return err
	}
	names, more := []string{}, true
	for after := p.last; more && (p.limit < 0 || len(names) < p.limit); {
		step := catalogPage
		if p.limit >= 0 {
			step = min(step, p.limit-len(names))
		}
		var rows []registry.Repository
		if rows, more, err = a.registry.Repositories(q.r.Context(), q.reg, after, step); err != nil {
			return err
		}
		for _, r := range rows {
			after = r.Name.String()
			names = append(names, after)
		}
	}
	q.linkNext(p, "/v2/_catalog", names, more)
	return writeJSON(q.w, a.listType(), map[string][]string{"repositories": names})
}
