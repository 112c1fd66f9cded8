package trail

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
)

// maxFailedLine is the maximum length of the line of a request that failed, in bytes: anyone can send such requests.
const maxFailedLine = 2048 - 1

// more holds the additional data of the line of a request that failed.
type more struct {
	client   bool // the request came by the OCI API, so that the line has address and program of the client here
	address  string
	program  string
	decision *explain.Kept // of a denial by policies; nil for another failure
	cause    string        // of refused credentials
	cure     string
	counted  *counted // of a line that stands for several requests; nil for a line of one
}

func (m *more) params() (p audit.Params) {
	if m.client {
		p.String("clientAddress", m.address)
		p.String("clientUserAgent", m.program)
	}
	if m.decision != nil {
		if text, err := json.Marshal(m.decision); err == nil {
			p.Raw(explain.KeptMember, text)
		}
	}
	if m.counted != nil {
		p.Object(audit.CountedMember, m.counted.params())
	}
	if m.cause != "" {
		p.String("cause", m.cause)
		p.String("cure", m.cure)
	}
	return p
}

// decided returns what is kept of the decision of a request, nil if policies did not deny it.
func decided(ev *guard.Event) *explain.Kept {
	var denial *guard.Denial
	if !errors.As(ev.Err, &denial) {
		return nil
	}
	k := explain.Keep(&denial.Request, denial.Why, denial.Read)
	k.Secure = ev.From.Secure
	if ev.Owner == guard.Unowned && strings.HasPrefix(ev.Resource, "arn:") {
		k.Resource = audit.Clip(ev.Resource, 330)
	}
	return &k
}

// fit shortens the record of a request that failed until its line has at most maxFailedLine bytes. The texts that identify
// caller, resource and cause are shortened last, and unique ids never.
func fit(r *audit.Record, m *more) {
	r.Additional = m.params()
	for _, shorten := range []func(){
		func() {
			if r.Request.Len() > 256 {
				r.Request = r.Request.Digest()
			}
		},
		func() {
			r.UserAgent, m.program = audit.Clip(r.UserAgent, 96), audit.Clip(m.program, 96)
			r.ErrorMessage = audit.Clip(r.ErrorMessage, 400)
			m.cause, m.cure = audit.Clip(m.cause, 200), audit.Clip(m.cure, 200)
		},
		func() {
			if m.decision != nil {
				m.decision.Shorten(false)
			}
		},
		func() {
			if r.Request.Len() > 128 { // longer than a digest
				r.Request = r.Request.Digest()
			}
			r.ErrorMessage = audit.Clip(r.ErrorMessage, 160)
			r.UserAgent, m.program = audit.Clip(r.UserAgent, 48), audit.Clip(m.program, 48)
			identities(r, 128)
		},
		func() {
			if m.decision != nil {
				m.decision.Shorten(true)
			}
			r.ErrorMessage = audit.Clip(r.ErrorMessage, 30)
			r.UserAgent, m.program = audit.Clip(r.UserAgent, 16), audit.Clip(m.program, 16)
			identities(r, 32)
			m.cause, m.cure = audit.Clip(m.cause, 100), audit.Clip(m.cure, 100)
		},
		func() { // an ARN that was cut cannot be decided again
			for k := range r.Resources {
				r.Resources[k].ARN = audit.Clip(r.Resources[k].ARN, 256)
			}
		},
	} {
		if r.LineLen() <= maxFailedLine {
			return
		}
		shorten()
		r.Additional = m.params()
	}
}

// identities cuts the long texts that describe the caller.
func identities(r *audit.Record, maxBytes int) {
	i := &r.Identity
	i.ARN, i.UserName = audit.Clip(i.ARN, maxBytes), audit.Clip(i.UserName, maxBytes)
	i.IdentityProvider = audit.Clip(i.IdentityProvider, maxBytes)
	i.PrincipalID = audit.Clip(i.PrincipalID, max(maxBytes, 96)) // a unique id with the name of a session
	if i.Session != nil {
		s := *i.Session
		s.Issuer.ARN, s.Issuer.UserName = audit.Clip(s.Issuer.ARN, maxBytes), audit.Clip(s.Issuer.UserName, maxBytes)
		s.SourceIdentity, s.FederatedProvider = audit.Clip(s.SourceIdentity, maxBytes), audit.Clip(s.FederatedProvider, maxBytes)
		i.Session = &s
	}
}
