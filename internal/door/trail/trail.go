// Package trail writes the audit trail: of each decision of both doors a line, and of a change one that is committed with it.
package trail

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Trail writes lines over a log and a database. Safe for concurrent use.
type Trail struct {
	log  *audit.Log
	pump *audit.Pump
	id   *identity.Service
	now  func() time.Time
}

// New makes the trail. Whoever opened log and pump runs and closes them.
func New(log *audit.Log, pump *audit.Pump, id *identity.Service, now func() time.Time) *Trail {
	return &Trail{log, pump, id, now}
}

type lineKey struct{}

// line is what Begin leaves for End.
type line struct {
	*audit.Line
	id audit.ID
}

// Begin lets the first change that is made with the context take the request's line along.
func (t *Trail) Begin(ctx context.Context, ev *guard.Event) context.Context {
	l := &line{id: audit.NewID()}
	l.Line = audit.NewLine(func() []byte {
		if ev.Name == "" {
			return nil
		}
		r := t.record(ctx, ev, l.id)
		return r.AppendLines(nil, accounts(ev)...)
	})
	return context.WithValue(audit.WithLine(ctx, l.Line), lineKey{}, l)
}

// End writes the line of a request, unless a change has taken it along. A request that failed after its change has a line more,
// which says so.
func (t *Trail) End(ctx context.Context, ev *guard.Event) {
	if ev.Name == "" {
		return
	}
	id := audit.ID{}
	if l, _ := ctx.Value(lineKey{}).(*line); l != nil {
		if l.Written() && ev.Err == nil {
			return
		}
		if !l.Written() {
			id = l.id
		}
	}
	if id == (audit.ID{}) {
		id = audit.NewID()
	}
	r := t.record(ctx, ev, id)
	t.log.Append(&r, accounts(ev)...)
}

// Search gives lines of the trail, after all that has happened until now is in it. On a full disk it gives those that are.
func (t *Trail) Search(ctx context.Context, q audit.Query, cursor string, limit int) (audit.Page, error) {
	_ = t.pump.Flush(ctx) // what cannot be moved now is not found; the pump tells the log why
	return t.log.Search(ctx, q, cursor, limit)
}

// accounts are those in whose trail a request stands: the owner's and the caller's.
func accounts(ev *guard.Event) []string {
	var all []string
	for _, a := range []name.Account{ev.Owner.Account(), ev.Caller.Account} {
		if a != (name.Account{}) {
			all = append(all, a.String())
		}
	}
	return all
}

// theDoor is what CloudTrail shows as the one that asks for a request by the docker door. Source: ECR user guide, logging with
// CloudTrail.
const theDoor = "ecr.amazonaws.com"

func (t *Trail) record(ctx context.Context, ev *guard.Event, id audit.ID) audit.Record {
	ctx = context.WithoutCancel(ctx) // who asked is looked up also when the client has gone
	d := &ev.Record
	r := audit.Record{
		EventID: id, Time: t.now(), Source: d.Source, Name: d.Name, Region: d.Region.String(),
		Identity: t.identityOf(ctx, d.Caller), SourceIP: ev.From.SourceIP.String(), UserAgent: ev.From.UserAgent,
		RequestID: ev.RequestID, ReadOnly: d.ReadOnly,
	}
	if d.Params != nil {
		r.Request = d.Params()
	}
	if d.Docker {
		r.Additional.String("clientAddress", r.SourceIP)
		r.Additional.String("clientUserAgent", r.UserAgent)
		r.SourceIP, r.UserAgent, r.Identity.InvokedBy = theDoor, theDoor, theDoor
	}
	if strings.HasPrefix(ev.Resource, "arn:") && d.Owner != guard.Unowned {
		resource := audit.Resource{ARN: ev.Resource, Account: d.Owner.Account().String()}
		if strings.HasPrefix(ev.Resource, "arn:aws:ecr:") {
			resource.Type = "AWS::ECR::Repository"
		}
		r.Resources = []audit.Resource{resource}
	}
	if ev.Err == nil {
		return r
	}
	e := fault.From(ev.Err)
	r.ErrorCode, r.ErrorMessage = errorCode(e.Code), e.Public
	var denial *guard.Denial
	if errors.As(ev.Err, &denial) {
		e := explain.Of(&denial.Request, denial.Why)
		if text, err := json.Marshal(e); err == nil {
			r.Additional.Raw("explanation", text)
		}
	}
	return r
}

// errorClasses are what CloudTrail shows for the failures of a class. The other classes have the name of the code, followed by
// Exception.
var errorClasses = map[fault.Class]string{
	fault.ClassInternal: "ServerException", fault.ClassUnavailable: "ServerException",
	fault.ClassThrottled: "ThrottlingException", fault.ClassTooLarge: "RequestEntityTooLargeException",
}

// errorCodes are what CloudTrail shows for the codes that it calls otherwise.
var errorCodes = map[fault.Code]string{
	fault.AccessDenied: "AccessDenied", fault.MissingCredentials: "AccessDenied", fault.ExpiredCredentials: "ExpiredToken",
	fault.MalformedRequest: "SerializationException", fault.MethodNotAllowed: "UnsupportedOperationException",
	fault.NameInvalid: "InvalidParameterException", fault.TagInvalid: "InvalidParameterException",
	fault.DigestInvalid: "InvalidParameterException", fault.SizeInvalid: "InvalidParameterException",
	fault.ManifestInvalid: "InvalidParameterException", fault.ManifestUnsupported: "InvalidParameterException",
	fault.ImageReferenced: "InvalidParameterException", fault.RangeInvalid: "InvalidLayerPartException",
	fault.UploadConflict: "InvalidLayerPartException", fault.BlobNotFound: "LayersNotFoundException",
	fault.IDPCommunication: "IDPCommunicationException", fault.TargetChanged: "TargetChangedException",
}

func errorCode(c fault.Code) string {
	if text, ok := errorCodes[c]; ok {
		return text
	}
	if text, ok := errorClasses[c.Class()]; ok {
		return text
	}
	return c.String() + "Exception"
}

// kinds are what CloudTrail calls the kinds of callers.
var kinds = map[identity.Kind]audit.IdentityType{
	identity.Root: audit.Root, identity.User: audit.IAMUser, identity.RoleSession: audit.AssumedRole,
	identity.FederatedUser: audit.FederatedUser, identity.WebIdentity: audit.WebIdentityUser, identity.AWSService: audit.AWSService,
	identity.Anonymous: audit.Anonymous, identity.Customer: audit.Customer,
}

// federatedProvider is the condition key of a session with the ARN of the identity provider that it was made by.
const federatedProvider = "aws:FederatedProvider"

func (t *Trail) identityOf(ctx context.Context, c identity.Caller) audit.Identity {
	i := audit.Identity{Type: kinds[c.Kind], PrincipalID: c.UserID, ARN: c.ARN, AccessKeyID: c.AccessKey}
	if i.Type == "" {
		i.Type = audit.Unknown
	}
	if c.Account != (name.Account{}) {
		i.Account = c.Account.String()
	}
	last := c.ARN[strings.LastIndexByte(c.ARN, '/')+1:]
	switch c.Kind {
	case identity.User:
		i.UserName = last
	case identity.WebIdentity:
		i.IdentityProvider, i.ARN = c.ARN, ""
		audience, subject, _ := strings.Cut(strings.TrimPrefix(c.UserID, c.ARN+":"), ":")
		if audience != "http" && audience != "https" { // which are audiences that have colons themselves
			i.UserName = subject
		}
	}
	if c.SessionKey == "" {
		return i
	}
	s, err := t.id.Session(ctx, c)
	if err != nil {
		return i // the session went meanwhile
	}
	i.Session = &audit.Session{CreatedAt: s.IssuedAt, SourceIdentity: s.Source, FederatedProvider: s.Claims[federatedProvider]}
	if c.Kind == identity.User || c.Kind == identity.Root {
		return i // who made the session is the caller itself
	}
	issuer := t.id.Issuer(ctx, c)
	i.Session.Issuer = audit.Issuer{Type: "IAMUser", PrincipalID: c.Principal, ARN: issuer, Account: i.Account}
	if c.Principal == i.Account {
		i.Session.Issuer.Type = "Root"
		return i
	}
	if c.Kind == identity.RoleSession {
		i.Session.Issuer.Type = "Role"
	}
	i.Session.Issuer.UserName = issuer[strings.LastIndexByte(issuer, '/')+1:]
	return i
}
