package ociapi

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxSubjects limits the images that are followed from a referrer: the signature of a list of what is in an image, and that image.
const maxSubjects = 4

// ofSubject returns the ask of a customer for an image: for itself or, if the customer may not pull it but an image to which it refers, for
// that one. So signatures and the like, which have no tags that entitlements name, are pulled by who may pull their image.
//
// Which image it refers to is read in its stored manifest, in that of an index that contains it, or in a tag in the form of the referrers
// tag schema or of cosign.
func (a *API) ofSubject(q *request, ask guard.Ask) (guard.Ask, error) {
	if ask.Image.Tag != (name.Tag{}) && registry.SubjectOfTag(ask.Image.Tag.String()) == (name.Digest{}) {
		return ask, nil
	}
	one := ask
	for range maxSubjects + 1 {
		allowed, lacking, err := a.guard.Lacking(q.r.Context(), q.caller, q.ev.From, one)
		switch {
		case err != nil || allowed:
			return one, err
		case !lacking: // a policy denies it: what it refers to does not count
			return one, nil
		}
		subject, err := a.subjectOf(q, one.Image)
		if err != nil {
			return ask, err
		}
		if subject == (name.Digest{}) {
			return a.ofSubjectAbove(q, ask, one)
		}
		one.Image = guard.Image{Reference: name.Reference{Digest: subject}, Stored: true}
	}
	return ask, nil
}

// ofSubjectAbove returns the ask for an image to which an index refers that contains that of one, if the customer may pull it; otherwise
// ask.
func (a *API) ofSubjectAbove(q *request, ask, one guard.Ask) (guard.Ask, error) {
	if q.found.ID == 0 || one.Image.Digest == (name.Digest{}) {
		return ask, nil
	}
	subjects, err := a.registry.SubjectsAbove(q.r.Context(), q.found, one.Image.Digest)
	if err != nil {
		return ask, err
	}
	for _, subject := range subjects {
		one.Image = guard.Image{Reference: name.Reference{Digest: subject}, Stored: true}
		allowed, err := a.guard.Allowed(q.r.Context(), q.caller, q.ev.From, one)
		if err != nil || allowed {
			return one, err
		}
	}
	return ask, nil
}

// subjectOf returns the image to which another one refers, which must be stored unless its tag says it; zero for none.
func (a *API) subjectOf(q *request, of guard.Image) (name.Digest, error) {
	if of.Tag != (name.Tag{}) {
		return registry.SubjectOfTag(of.Tag.String()), nil
	}
	if q.found.ID == 0 || of.Digest == (name.Digest{}) {
		return name.Digest{}, nil
	}
	return a.registry.Subject(q.r.Context(), q.found, of.Digest)
}

// withSubject returns the asks of a request of a customer for an image, or for the referrers of one.
func (a *API) withSubject(q *request, asks []guard.Ask) ([]guard.Ask, error) {
	if q.caller.Kind != identity.Customer || len(asks) != 1 || asks[0].Image.Reference == (name.Reference{}) {
		return asks, nil
	}
	one, err := a.ofSubject(q, asks[0])
	asks[0] = one
	return asks, err
}

// passReferrers answers with a page of the list of the referrers of an image of an external registry, byte for byte. The link to the next
// page is one of this server, with the query of the registry's. While the registry does not answer, what was fetched of it is listed; sent
// is then false.
func (a *API) passReferrers(q *request, digest name.Digest) (sent bool, err error) {
	query, err := url.ParseQuery(q.r.URL.RawQuery)
	if err != nil || len(q.r.URL.RawQuery) > maxReferrersQuery {
		return false, fault.InvalidParameter.New("the query is not valid")
	}
	page, err := a.pull.ReferrersPage(q.r.Context(), q.through(), digest, query)
	if errors.Is(err, fault.UnableToListUpstreamImageReferrers) && q.found.ID != 0 && query.Get("last") == "" {
		stored, _, err2 := a.registry.Referrers(q.r.Context(), q.found, digest, nil, "", 1)
		if err2 == nil && len(stored) > 0 {
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	h := q.w.Header()
	if page.Filters != "" {
		h.Set("OCI-Filters-Applied", page.Filters)
	}
	if page.Next != "" {
		h.Set("Link", "</v2/"+q.target.name+"/referrers/"+digest.String()+"?"+page.Next+`>; rel="next"`)
	}
	h.Set("Content-Type", manifest.OCIIndex)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(page.Body)))
	q.w.WriteHeader(http.StatusOK)
	_, err = q.w.Write(page.Body)
	return true, clientGone(err)
}

// maxReferrersQuery is the largest size of the query of a list of referrers that is passed on, in bytes.
const maxReferrersQuery = 4 << 10
