package ociapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/rule/manifest"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (a *API) version(q *request) error {
	q.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, err := q.w.Write([]byte("{}"))
	return clientGone(err)
}

// clientGone ignores the error of writing an answer, which means that the client has disconnected.
func clientGone(error) error { return nil }

func (a *API) getManifest(q *request) error {
	reference, err := existingReference(q.target.reference)
	if err != nil {
		return err
	}
	q.ev.Tag = reference.Tag.String()
	h := q.w.Header()
	digest := q.head.Digest.String()
	q.ev.Digest = digest
	h["Content-Type"] = []string{q.head.MediaType}
	h["Docker-Content-Digest"] = []string{digest}
	h["Etag"] = []string{`"` + digest + `"`}
	if q.r.Header.Get("If-None-Match") == `"`+digest+`"` {
		q.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h["Content-Length"] = []string{strconv.FormatInt(q.head.Size, 10)}
	if q.r.Method == http.MethodHead {
		q.w.WriteHeader(http.StatusOK)
		return nil
	}
	if err = a.sendManifest(q); err != nil {
		h.Del("Content-Length")
	}
	return err
}

// sendManifest sends the bytes of a manifest. A large one is in memory only while it is read from the database, and few are at once:
// how slowly clients read costs no memory.
func (a *API) sendManifest(q *request) error {
	reply := web.NewReply(a.spool)
	defer reply.Close()
	reply.Owner = q.caller.LimitKey()
	if err := a.loadManifest(q, reply); err != nil {
		return err
	}
	return reply.Send(q.w)
}

func (a *API) loadManifest(q *request, to *web.Reply) error {
	if q.head.Size > maxSmallManifest {
		leave, err := a.manifests.Enter(q.r.Context(), to.Owner)
		if err != nil {
			return err
		}
		defer leave()
	}
	body, err := a.registry.Pull(q.r.Context(), q.caller, q.found, q.head)
	if err != nil {
		return err
	}
	return to.Whole(body)
}

// existingReference parses the reference of a stored manifest. An invalid tag is fault.ImageNotFound, because clients
// request manifests by names that are not valid tags and expect 404.
//
// Errors: fault.DigestInvalid, fault.ImageNotFound.
func existingReference(s string) (name.Reference, error) {
	ref, err := name.ParseReference(s)
	if errors.Is(err, fault.TagInvalid) {
		return name.Reference{}, registry.ImageNotFound()
	}
	return ref, err
}

// maxPushTags is the maximum number of tags that one push may set.
const maxPushTags = 100

func (a *API) putManifest(q *request) error {
	ref, err := name.ParseReference(q.target.reference)
	if err != nil {
		return err
	}
	in := registry.PutImage{MediaType: q.r.Header.Get("Content-Type"), Digest: ref.Digest}
	if ref.Tag != (name.Tag{}) {
		in.Tags = append(in.Tags, ref.Tag)
	}
	// A push by digest may have tags in the query. Source: newer drafts of the OCI distribution specification.
	for _, t := range q.r.URL.Query()["tag"] {
		tag, err := name.ParseTag(t)
		if err != nil {
			return err
		}
		in.Tags = append(in.Tags, tag)
	}
	if len(in.Tags) > maxPushTags {
		return fault.InvalidParameter.New("a push may set at most %d tags", maxPushTags)
	}
	received, err := web.Receive(q.r, a.spool, q.caller.LimitKey(), manifest.MaxBytes)
	if err != nil {
		return err
	}
	defer received.Close()
	if received.Size > web.MaxSmallManifest {
		var leave func()
		if in.Body, leave, err = a.pushes.Load(q.r.Context(), received, q.caller.LimitKey()); err != nil {
			return err
		}
		defer leave()
	} else if in.Body, err = received.Bytes(); err != nil {
		return err
	}
	q.body = in.Body
	digest, m, err := a.registry.Put(q.r.Context(), q.caller, q.found, in)
	if err != nil {
		return err
	}
	q.ev.Digest = digest.String()
	h := q.w.Header()
	h.Set("Location", "/v2/"+q.target.name+"/manifests/"+digest.String())
	h.Set("Docker-Content-Digest", digest.String())
	for _, t := range in.Tags {
		if ref.Digest != (name.Digest{}) {
			h.Add("OCI-Tag", t.String())
		}
	}
	if m.Subject != nil {
		h.Set("OCI-Subject", m.Subject.Digest.String())
	}
	q.w.WriteHeader(http.StatusCreated)
	return nil
}

func (a *API) deleteManifest(q *request) error {
	if _, err := existingReference(q.target.reference); err != nil {
		return err
	}
	q.ev.Digest = q.deletion.Digest.String()
	if _, err := a.registry.Delete(q.r.Context(), q.caller, q.found, q.deletion); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusAccepted)
	return nil
}

// maxReferrersPage is the maximum number of referrers in one answer. With large annotations an answer has fewer,
// because it must be smaller than 4 MiB.
const maxReferrersPage = 1000

// listReferrers answers with an image index of the manifests whose subject is the digest. An unknown digest has no
// referrers, and neither has a digest in a repository that does not exist.
//
// Source: OCI distribution specification, listing referrers.
func (a *API) listReferrers(q *request) error {
	digest, err := name.ParseDigest(q.target.reference)
	if err != nil {
		return err
	}
	if q.up != nil && a.pull != nil {
		if sent, err := a.passReferrers(q, digest); sent || err != nil {
			return err
		}
	}
	query := q.r.URL.Query()
	filter, last := query.Get("artifactType"), query.Get("last")
	if last != "" {
		if _, err := name.ParseDigest(last); err != nil {
			return err
		}
	}
	var types []string
	h := q.w.Header()
	if filter != "" {
		types = []string{filter}
		h.Set("OCI-Filters-Applied", "artifactType")
	}
	if a.pull != nil && q.up == nil {
		if err := a.pull.Referrers(q.r.Context(), q.through(), digest); err != nil {
			return err
		}
	}
	found, more, err := a.registry.Referrers(q.r.Context(), q.found, digest, types, last, maxReferrersPage)
	if err != nil {
		return err
	}
	if more {
		next := url.Values{"last": {found[len(found)-1].Digest.String()}}
		if filter != "" {
			next.Set("artifactType", filter)
		}
		h.Set("Link", fmt.Sprintf(`</v2/%s/referrers/%s?%s>; rel="next"`, q.target.name, digest, next.Encode()))
	}
	type descriptor struct {
		MediaType    string            `json:"mediaType"`
		Digest       string            `json:"digest"`
		Size         int64             `json:"size"`
		ArtifactType string            `json:"artifactType,omitempty"`
		Annotations  map[string]string `json:"annotations,omitempty"`
	}
	const index = "application/vnd.oci.image.index.v1+json"
	answer := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Manifests     []descriptor `json:"manifests"`
	}{2, index, []descriptor{}}
	for _, im := range found {
		answer.Manifests = append(answer.Manifests, descriptor{im.MediaType, im.Digest.String(), im.Size, im.ArtifactType, im.Annotations})
	}
	return writeJSON(q.w, index, answer)
}

func writeJSON(w http.ResponseWriter, mediaType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding an answer: %w", err)
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, err = w.Write(body)
	return clientGone(err)
}
