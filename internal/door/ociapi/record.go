package ociapi

import (
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// describe sets the record of the event before the decision. Source: ECR user guide, logging with CloudTrail.
func (q *request) describe(op *operation) {
	q.ev.Record = guard.Record{
		Source: "ecr.amazonaws.com", Name: op.event, Caller: q.caller, Owner: guard.OwnedBy(q.reg.Account), Region: q.reg.Region,
		ReadOnly: op.method == http.MethodGet || op.method == http.MethodHead, Docker: true, Params: q.params,
	}
}

// params returns the parameters of the corresponding request of the ECR API.
func (q *request) params() audit.Params {
	var p audit.Params
	p.String("registryId", q.reg.Account.String())
	if q.target.route.named() || q.target.route == routeLink {
		p.String("repositoryName", q.repo.String())
	}
	image := func() (id audit.Params) {
		if strings.Contains(q.target.reference, ":") {
			id.String("imageDigest", q.target.reference)
		} else {
			id.String("imageTag", q.target.reference)
		}
		return id
	}
	switch q.target.route {
	case routeManifest:
		if q.r.Method == http.MethodPut {
			if strings.Contains(q.target.reference, ":") {
				p.String("imageDigest", q.target.reference)
			} else {
				p.String("imageTag", q.target.reference)
			}
			if q.body != nil {
				p.String("imageManifest", string(q.body))
			}
			p.String("imageManifestMediaType", q.r.Header.Get("Content-Type"))
			break
		}
		p.Objects("imageIds", []audit.Params{image()})
		if accepted := q.r.Header.Values("Accept"); len(accepted) > 0 && q.r.Method != http.MethodDelete {
			p.Strings("acceptedMediaTypes", mediaTypes(accepted))
		}
	case routeReferrers:
		p.Object("subjectId", image())
	case routeBlob, routeLink:
		if q.r.Method == http.MethodGet {
			p.String("layerDigest", q.target.reference)
		} else {
			p.Strings("layerDigests", []string{q.target.reference})
		}
	case routeUpload:
		p.String("uploadId", q.target.reference)
		if digest := q.r.URL.Query().Get("digest"); digest != "" {
			p.Strings("layerDigests", []string{digest})
		}
	case routeUploads:
		query := q.r.URL.Query()
		if mount := query.Get("mount"); mount != "" {
			p.Strings("layerDigests", []string{mount})
			p.String("mountFrom", query.Get("from"))
		}
	}
	return p
}

// mediaTypes returns the media types of Accept headers, without parameters.
func mediaTypes(accepted []string) []string {
	var all []string
	for _, header := range accepted {
		for one := range strings.SplitSeq(header, ",") {
			one, _, _ = strings.Cut(one, ";")
			all = append(all, strings.TrimSpace(one))
		}
	}
	return all
}
