package app

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/usage"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// countRequest counts an answered request, a pull or a push, and the bytes that were sent. What other requests send is not counted.
func (a *App) countRequest(ev *web.Event, status int, sent int64) {
	a.requests.Add(1)
	a.notePull(ev, status, sent)
	if ev.Door != "oci" && ev.Door != "ecr" {
		return
	}
	did := meta.Activity{}
	switch ev.Name { // of the ECR operation, also for the OCI API
	case "BatchGetImage":
		if did.Sent = sent; status == http.StatusOK && sent > 0 && ev.Err == nil { // not a HEAD
			did.Pulls = 1
		}
	case "GetDownloadUrlForLayer":
		if ev.Door == "oci" { // otherwise the answer is a link
			did.Sent = sent
		}
	case "PutImage":
		if ev.Err == nil && status < 300 {
			did.Pushes = 1
		}
	default:
		return
	}
	_, repo, found := strings.Cut(ev.Resource, ":repository/")
	if !found || did.Pulls+did.Pushes == 0 && ev.Err != nil && did.Sent < 1<<16 {
		return // the text of a refusal
	}
	by, key := ev.Caller.ARN, ev.Caller.LimitKey()
	switch ev.Caller.Kind {
	case identity.Anonymous:
		by, key = usage.Anonymous, ""
	case identity.Operator:
		by = usage.Operator
	}
	of := usage.Of{Registry: name.Registry{Account: ev.Owner.Account(), Region: ev.Region}, Repository: repo, Principal: by}
	if ev.Name == "BatchGetImage" && ev.Err == nil && status == http.StatusOK {
		looked := usage.Lookup{By: key, Registry: of.Registry, Repository: repo, Digest: ev.Digest}
		switch of.Tag = ev.Tag; {
		case did.Pulls == 0 && ev.Tag != "": // HEAD
			a.usage.LookedUp(looked, ev.Tag)
		case did.Pulls > 0 && ev.Tag == "":
			of.Tag = a.usage.TagOf(looked)
		}
		if did.Pulls > 0 {
			of.Digest = ev.Digest
		}
	}
	a.usage.Count(of, did)
}

// notePull notes a request of a customer, or a refused one without a valid licence, for the pull log.
func (a *App) notePull(ev *web.Event, status int, sent int64) {
	if ev.Pull == nil {
		return
	}
	e := usage.Ending{At: a.now(), Request: ev.RequestID, Digest: ev.Digest, Sent: sent, Address: ev.From.SourceIP, Agent: ev.From.UserAgent,
		Status: status}
	if cause, ok := errors.AsType[*upstream.Error](ev.Err); ok {
		e.UpstreamStatus, e.UpstreamCode = cause.Status, cause.Code
	}
	p := *ev.Pull
	if ev.Cut && p.Code == "" {
		p.Code = usage.Incomplete
	}
	a.usage.Pulled(p, e)
}

// countStored counts the bytes of a blob that a repository did not hold.
func (a *App) countStored(ctx context.Context, r meta.Repository, size int64) {
	by := ""
	if line := audit.LineOf(ctx); line != nil {
		by = line.ARN()
	}
	a.usage.Count(usage.Of{Registry: r.Registry, Repository: r.Name.String(), Principal: by}, meta.Activity{Stored: size})
}

// countDenied counts a request that policies denied, and lets it become an event. Callers that are not of the account of the resource count
// together, and not for a repository: anyone can send any number of different requests.
func (a *App) countDenied(d events.Denial) {
	a.events.Denied(d)
	of := usage.Of{Registry: d.Registry, Repository: d.Repository.String(), Principal: d.Principal}
	if d.Principal == "" {
		of.Repository, of.Principal = "", usage.Strangers
	}
	a.usage.Count(of, meta.Activity{Denials: 1})
}
