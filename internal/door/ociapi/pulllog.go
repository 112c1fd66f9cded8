package ociapi

import (
	"errors"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/usage"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// notePull sets what the pull log has of a request: of each about an image or a chart that a customer makes, and of one without a valid
// licence that is refused. aborted says that the answer ended before its end. Requests of other callers have no line.
func (a *API) notePull(q *request, aborted bool) {
	action, ok := q.pullAction()
	if !ok {
		return
	}
	by := q.caller
	if refusal, ok := errors.AsType[*identity.Refusal](q.ev.Err); ok && by == (identity.Caller{}) {
		by = refusal.Customer // of a licence that is not valid any more
	}
	known := by.Kind == identity.Customer
	if !known && (by.Kind != identity.NoPrincipal && by.Kind != identity.Anonymous || q.ev.Err == nil) ||
		action == usage.PullAuth && (q.ev.Err == nil || !known && q.scope() == "") {
		return
	}
	p := &usage.Pull{Registry: q.reg, Application: by.Application, Action: action, Kind: q.kind, Reference: q.target.reference}
	p.Image = q.target.name
	if action == usage.PullAuth {
		p.Image = q.scope()
	}
	if known {
		p.Customer, p.Token, p.Slug = by.UserID, by.Token, by.Slug()
	} else {
		p.Slug, _, _ = strings.Cut(strings.TrimPrefix(p.Image, proxyPath), "/")
		p.AtHost = q.host.Kind != endpoint.Any
		p.Challenged = by.Kind == identity.Anonymous || credentialsOf(q.r, a.anonymous).none
	}
	rest, proxied := strings.CutPrefix(p.Image, proxyPath+p.Slug+"/")
	switch {
	case q.up != nil:
		p.Image = q.up.Name()
	case q.own:
		p.Image = q.repo.String()
	case proxied:
		p.Image = rest
	}
	if p.Kind == "" {
		if p.Kind = usage.PullRegistry; strings.HasPrefix(q.target.name, proxyPath) || proxied {
			p.Kind = usage.PullProxy
		}
	}
	if err := q.ev.Err; err != nil {
		e := web.FaultOf(err)
		if p.Code = a.formOf(q.r.Method, e.Code).code; aborted || e.Code == fault.RequestTimeout {
			p.Code = usage.Incomplete
		}
	}
	q.ev.Pull = p
}

// pullAction returns what the request reads; false for one that the pull log has nothing of.
func (q *request) pullAction() (usage.PullAction, bool) {
	read := q.r.Method == http.MethodGet || q.r.Method == http.MethodHead
	switch q.target.route {
	case routeBase, routeToken:
		return usage.PullAuth, q.ev.Err != nil
	case routeManifest, routeBlob, routeTags, routeReferrers, routeUploads, routeUpload:
		if !read {
			return usage.PullWrite, true
		}
	default:
		return "", false
	}
	switch {
	case q.target.route == routeBlob:
		return usage.PullBlob, true
	case q.target.route != routeManifest:
		return usage.PullList, true
	case q.r.Method == http.MethodHead:
		return usage.PullHead, true
	}
	return usage.PullManifest, true
}

// scope returns the name of the image for which a Bearer token is requested; "" for none.
func (q *request) scope() string {
	if q.target.route != routeToken {
		return ""
	}
	of, ok := strings.CutPrefix(q.r.URL.Query().Get("scope"), "repository:")
	if i := strings.LastIndexByte(of, ':'); ok && i > 0 {
		return of[:i]
	}
	return ""
}
