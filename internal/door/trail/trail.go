// Package trail writes a line to the audit trail for each decision of the surfaces. The line of a change is committed
// in the transaction of the change.
package trail

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/events"
	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/audit"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Trail writes lines to a log and a database. It is safe for concurrent use.
type Trail struct {
	log  *audit.Logs
	pump *audit.Pump
	id   *identity.Service
	now  func() time.Time

	counts [parties]counter // of requests that failed
	denied func(events.Denial)
}

// New returns a Trail. The caller runs the Trail and the pump of log.Owners, and closes the log.
func New(log *audit.Logs, pump *audit.Pump, id *identity.Service, now func() time.Time) *Trail {
	return &Trail{log: log, pump: pump, id: id, now: now}
}

// OnDenied sets a function that is called for each request that policies denied, of an account of this installation. It is called before
// the first request.
func (t *Trail) OnDenied(denied func(events.Denial)) { t.denied = denied }

// tellDenied calls the function of OnDenied for a request that failed.
func (t *Trail) tellDenied(ev *guard.Event, why reason) {
	if t.denied == nil || why.owner == (name.Account{}) || !errors.Is(ev.Err, fault.AccessDenied) {
		return
	}
	d := events.Denial{Registry: name.Registry{Account: why.owner, Region: ev.Region}, Action: why.action, RequestID: ev.RequestID}
	if why.party == insiders {
		d.Principal = ev.Caller.ARN
	}
	if arn, err := name.ParseARN(ev.Resource); err == nil && arn.Service == "ecr" {
		if repo, ok := strings.CutPrefix(arn.Resource, "repository/"); ok {
			d.Repository, _ = name.ParseRepo(repo) // zero for a pattern
		}
	}
	t.denied(d)
}

type lineKey struct{}

// line is the line of a request, which Begin stores in the context for End.
type line struct {
	*audit.Line
	id audit.ID
}

// Begin returns a context for a request. The transaction of the first change that is made with it also inserts the line
// of the request, made from ev at that time. The changes take turns with those of other principals, by ev.Caller.
func (t *Trail) Begin(ctx context.Context, ev *guard.Event) context.Context {
	l := &line{id: audit.NewID()}
	l.Line = audit.NewLine(func() []byte {
		if ev.Name == "" {
			return nil
		}
		r, _ := t.record(ctx, ev, l.id)
		return r.AppendLines(nil, accounts(ev)...)
	}).For(func() string { return ev.Caller.LimitKey() }).By(func() string { return ev.Caller.ARN })
	return context.WithValue(audit.WithLine(ctx, l.Line), lineKey{}, l)
}

// End writes the line of a request, unless the transaction of a change has inserted it. For a request that failed after
// such a transaction, End writes a second line with the error.
func (t *Trail) End(ctx context.Context, ev *guard.Event) {
	if ev.Name == "" {
		t.refused(ctx, ev)
		return
	}
	id, changed := audit.NewID(), false
	if l, _ := ctx.Value(lineKey{}).(*line); l != nil {
		if changed = l.Written(); !changed {
			id = l.id
		}
	}
	switch {
	case ev.Err == nil && changed:
	case ev.Err == nil || changed: // the second line of a change corrects the first one, and is not counted
		r, _ := t.record(ctx, ev, id)
		t.log.Append(ev.Caller.Kind == identity.Anonymous && !changed, &r, accounts(ev)...)
	default:
		t.failed(ctx, ev, id, reasonOf(ev))
	}
}

// failed writes the line of a request that failed, or counts it.
func (t *Trail) failed(ctx context.Context, ev *guard.Event, id audit.ID, why reason) {
	if why.owner != why.account && why.owner != (name.Account{}) && !t.id.Exists(ctx, why.owner) {
		why.owner = name.Account{} // anyone can name as many accounts as they like
	}
	t.tellDenied(ev, why)
	write, keep, due := t.counts[why.party].take(why, ev.RequestID, t.now())
	t.summarize(due)
	if !write {
		return
	}
	r, m := t.record(ctx, ev, id)
	stranger := why.party != insiders
	t.log.Append(stranger, &r, accounts(ev)...)
	if keep != nil {
		keep(&failed{record: r, more: m, accounts: accounts(ev), stranger: stranger})
	}
}

// reasonOf returns the reason by which a request that failed is counted.
func reasonOf(ev *guard.Event) reason {
	action := ev.Action
	if action == "" {
		action = ev.Name
	}
	return reason{account: ev.Caller.Account, owner: ev.Owner.Account(), principal: ev.Caller.LimitKey(), action: action,
		code: errorCode(fault.From(ev.Err).Code), resource: ev.Resource, party: partyOf(ev)}
}

// partyOf returns the party of the caller of a request that failed. Anyone can send requests of another party than insiders.
func partyOf(ev *guard.Event) party {
	switch c := &ev.Caller; {
	case c.Kind == identity.Operator:
		return insiders
	case c.Account == (name.Account{}):
		return nobody
	case c.Account != ev.Owner.Account():
		return strangers
	}
	return insiders
}

// Search returns one page of lines; see audit.Logs.Search. Before that it moves all lines that are still in the database
// to the log. If that fails, such as on a full disk, these lines are missing from the result.
func (t *Trail) Search(ctx context.Context, q audit.Query, cursor string, limit int) (audit.Page, error) {
	_ = t.pump.Flush(ctx) // the pump logs the error
	return t.log.Search(ctx, q, cursor, limit)
}

// accounts returns the accounts whose audit trail contains a request: those of the owner of the resource and of the
// caller.
func accounts(ev *guard.Event) []string {
	var all []string
	for _, a := range []name.Account{ev.Owner.Account(), ev.Caller.Account} {
		if a != (name.Account{}) {
			all = append(all, a.String())
		}
	}
	return all
}

// invokedBy is the value of sourceIPAddress, userAgent and invokedBy in CloudTrail for requests by the OCI distribution
// API. Source: ECR user guide, logging with CloudTrail.
const invokedBy = "ecr.amazonaws.com"

// record returns the line of a request, and what its additionalEventData is made of.
func (t *Trail) record(ctx context.Context, ev *guard.Event, id audit.ID) (audit.Record, more) {
	ctx = context.WithoutCancel(ctx) // the session of the caller is looked up even if the client has disconnected
	d := &ev.Record
	r := audit.Record{
		EventID: id, Time: t.now(), Source: d.Source, Name: d.Name, Region: d.Region.String(),
		Identity: t.identityOf(ctx, d.Caller, d.Region.Partition()), SourceIP: ev.From.SourceIP.String(), UserAgent: ev.From.UserAgent,
		RequestID: ev.RequestID, ReadOnly: d.ReadOnly,
	}
	if d.Params != nil {
		r.Request = d.Params()
	}
	m := more{client: d.Docker, address: r.SourceIP, program: r.UserAgent}
	if d.Docker {
		r.SourceIP, r.UserAgent, r.Identity.InvokedBy = invokedBy, invokedBy, invokedBy
	}
	if strings.HasPrefix(ev.Resource, "arn:") && d.Owner != guard.Unowned {
		resource := audit.Resource{ARN: ev.Resource, Account: d.Owner.Account().String()}
		if arn, err := name.ParseARN(ev.Resource); err == nil && arn.Service == "ecr" {
			resource.Type = "AWS::ECR::Repository"
		}
		r.Resources = []audit.Resource{resource}
	}
	if ev.Err == nil {
		r.Additional = m.params()
		return r, m
	}
	e := fault.From(ev.Err)
	r.ErrorCode, r.ErrorMessage, m.decision = errorCode(e.Code), e.Public, decided(ev)
	var refusal *identity.Refusal
	if errors.As(ev.Err, &refusal) {
		m.cause, m.cure = refusal.Cause, refusal.Cure
	}
	fit(&r, &m)
	return r, m
}

// errorClasses holds the errorCode in CloudTrail of the failures of a class. The errorCode of a failure of another
// class is the name of its code followed by Exception.
var errorClasses = map[fault.Class]string{
	fault.ClassInternal: "ServerException", fault.ClassUnavailable: "ServerException",
	fault.ClassThrottled: "ThrottlingException", fault.ClassTooLarge: "RequestEntityTooLargeException",
}

// errorCodes holds the errorCode in CloudTrail of the codes that differ from their class.
var errorCodes = map[fault.Code]string{
	fault.AccessDenied: "AccessDenied", fault.MissingCredentials: "AccessDenied", fault.ExpiredCredentials: "ExpiredToken",
	fault.MalformedRequest: "SerializationException", fault.MethodNotAllowed: "UnsupportedOperationException",
	fault.NameInvalid: "InvalidParameterException", fault.TagInvalid: "InvalidParameterException",
	fault.DigestInvalid: "InvalidParameterException", fault.SizeInvalid: "InvalidParameterException",
	fault.ManifestInvalid: "InvalidParameterException", fault.ManifestUnsupported: "InvalidParameterException",
	fault.ImageEntitled:   "InvalidParameterException",
	fault.ImageReferenced: "InvalidParameterException", fault.RangeInvalid: "InvalidLayerPartException",
	fault.UploadConflict: "InvalidLayerPartException", fault.BlobNotFound: "LayersNotFoundException",
	fault.QuotaExceeded: "LimitExceededException", fault.StorageQuotaExceeded: "LimitExceededException",
	fault.StorageQuotaNotFound: "QuotaNotFoundException", fault.RepositoryProtected: "InvalidParameterException",
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

// kinds holds the type of the userIdentity in CloudTrail for the kinds of callers.
var kinds = map[identity.Kind]audit.IdentityType{
	identity.Root: audit.Root, identity.User: audit.IAMUser, identity.RoleSession: audit.AssumedRole,
	identity.FederatedUser: audit.FederatedUser, identity.WebIdentity: audit.WebIdentityUser, identity.AWSService: audit.AWSService,
	identity.Anonymous: audit.Anonymous, identity.Customer: audit.Customer,
}

// federatedProvider is the condition key of a session whose value is the ARN of the identity provider.
const federatedProvider = "aws:FederatedProvider"

// identityOf returns the userIdentity of a caller, with ARNs in the given partition.
func (t *Trail) identityOf(ctx context.Context, c identity.Caller, partition string) audit.Identity {
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
		if audience != "http" && audience != "https" { // an audience that is a URL contains a colon
			i.UserName = subject
		}
	}
	if c.SessionKey == "" {
		return i
	}
	s, err := t.id.Session(ctx, c)
	if err != nil {
		return i // the session has been deleted
	}
	i.Session = &audit.Session{CreatedAt: s.IssuedAt, SourceIdentity: s.Source, FederatedProvider: s.Claims[federatedProvider]}
	if c.Kind == identity.User || c.Kind == identity.Root {
		return i // the session was issued to the caller itself
	}
	issuer := name.InPartition(t.id.Issuer(ctx, c), partition)
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
