package ecrin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/rule/access"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Asked is what a principal asks for, by which principal. Who asks needs no permission, since nothing is granted by it, and is refused if a
// policy denies it.
type Asked struct {
	address access.Address
	number  int64 // of the repository; 0 if it does not exist
	who     asker
}

// asker is the principal of a caller that requests for access are for: its user or role, or the root user of its account.
type asker struct {
	account   name.Account
	principal string // unique id; the digits of the account for a root user
	arn       string
}

// askerOf returns the principal for which a caller asks.
//
// Errors: fault.InvalidInput (a caller of another kind), fault.NoSuchEntity.
func (s *Service) askerOf(ctx context.Context, by identity.Caller) (asker, error) {
	who := asker{account: by.Account, principal: by.Principal, arn: identity.RootARN(by.Account)}
	switch by.Kind {
	case identity.Root:
		return who, nil
	case identity.User, identity.RoleSession:
		e, err := s.meta.EntityByID(ctx, by.Principal)
		who.arn = e.ARN()
		return who, err
	}
	return who, fault.InvalidInput.New("only a user, a role or the root user of an account asks for access, for itself")
}

// OnAsked resolves the repository that is asked for, which need not exist: the answer does not tell whether it does.
func OnAsked(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.RequestAccessRequest) (t guard.Target[Asked], err error) {
	named := in.RegistryId != "" || in.RepositoryName != "" || in.Permission != ""
	switch {
	case in.Address != "" && named:
		return t, ecr.BadMember("Address", "give either an address or a repository and a permission")
	case in.Address != "":
		if t.Value.address, err = access.Parse(in.Address); err != nil {
			return t, err
		}
	case in.RepositoryName == "" || in.Permission == "":
		return t, ecr.BadMember("RepositoryName", "give an address, or a repository and a permission")
	default:
		at, err := s.registryOf(req, in.RegistryId)
		if err != nil {
			return t, err
		}
		t.Value.address = access.Address{Permission: access.Permission(in.Permission), Registry: at.Registry}
		if t.Value.address.Repository, err = name.ParseRepo(in.RepositoryName); err != nil {
			return t, err
		}
	}
	if t.Value.who, err = s.askerOf(ctx, req.By); err != nil {
		return t, err
	}
	a := t.Value.address
	r, err := s.meta.Repository(ctx, a.Registry, a.Repository)
	if err != nil && !errors.Is(err, fault.RepositoryNotFound) {
		return t, err
	}
	t.Value.number = r.ID
	ask := guard.Ask{Action: access.Action, Owner: guard.OwnedBy(a.Registry.Account), Region: a.Registry.Region,
		Resource: a.Registry.RepositoryARN(a.Repository.String())}
	allowed, lacking, err := s.guard.Lacking(ctx, req.By, req.From, ask)
	if err != nil {
		return t, err
	}
	if allowed || lacking { // otherwise it is decided, and denied
		ask.Action = ""
	}
	t.Asks = []guard.Ask{ask}
	return t, nil
}

// plainText checks a text that people write and others read.
//
// Errors: fault.InvalidParameter.
func plainText(member, s string) error {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }) {
		return ecr.BadMember(member, "must be text of one line, without control characters and marks of direction")
	}
	return nil
}

// RequestAccess asks the owner of a repository for access. The same request is stored once, with a count.
//
// Errors: fault.InvalidParameter, fault.InvalidInput (requests are off; the owner has refused it recently), fault.LimitExceeded.
func (s *Service) RequestAccess(ctx context.Context, _ identity.Caller, of Asked, in *ecrintypes.RequestAccessRequest) (
	*ecrintypes.RequestAccessResponse, error) {
	if s.accessFor <= 0 {
		return nil, fault.InvalidInput.New("requests for access are turned off here, by the setting max_access_grant")
	}
	if err := plainText("Reason", in.Reason); err != nil {
		return nil, err
	}
	r, merged, err := s.meta.RequestAccess(ctx, meta.AccessRequest{Registry: of.address.Registry, Name: of.address.Repository,
		Repository: of.number, Permission: string(of.address.Permission), Account: of.who.account, Principal: of.who.principal,
		PrincipalARN: of.who.arn, Reason: in.Reason})
	if err != nil {
		return nil, err
	}
	return &ecrintypes.RequestAccessResponse{Request: s.accessRequest(r), Merged: merged}, nil
}

// accessStates are the states of requests by their names in the API.
var accessStates = []ecrintypes.AccessStatus{meta.AccessOpen: "OPEN", meta.AccessGranted: "GRANTED", meta.AccessRefused: "REFUSED",
	meta.AccessWithdrawn: "WITHDRAWN", meta.AccessEnded: "ENDED", meta.AccessExpired: "EXPIRED"}

// accessRequest returns a request in the form of the API, with its state of now.
func (s *Service) accessRequest(r meta.AccessRequest) ecrintypes.AccessRequest {
	a := access.Address{Permission: access.Permission(r.Permission), Registry: r.Registry, Repository: r.Name}
	return ecrintypes.AccessRequest{
		AccessRequestId: strconv.FormatInt(r.ID, 10), Status: accessStates[r.StateAt(s.now())], Address: a.String(),
		RegistryId: r.Registry.Account.String(), Region: r.Registry.Region.String(), RepositoryName: r.Name.String(),
		Permission: ecrintypes.Permission(r.Permission), PrincipalArn: r.PrincipalARN, PrincipalId: r.Principal, AccountId: r.Account.String(),
		Reason: r.Reason, Asked: r.Asked, CreatedAt: awswire.Time{Time: r.CreatedAt}, LastAskedAt: awswire.Time{Time: r.AskedAt},
		Until: awswire.At(r.Until), DecidedAt: awswire.At(r.DecidedAt), DecidedBy: r.DecidedBy, Note: r.Note,
	}
}

// AccessList is whose requests are listed.
type AccessList struct {
	registry  name.Registry
	principal string // "" for all requests of the registry
}

// OnAccessRequests resolves the registry whose requests are listed; with own, the caller itself, which needs no permission.
func OnAccessRequests(s *Service, _ context.Context, req guard.Request, in *ecrintypes.ListAccessRequestsRequest) (
	t guard.Target[AccessList], err error) {
	if in.Own != nil && *in.Own {
		if in.RegistryId != "" || in.Status != "" {
			return t, ecr.BadMember("Own", "your own requests are listed together: give no registry and no status")
		}
		if req.By.Principal == "" {
			return t, fault.InvalidInput.New("only a user, a role or the root user of an account has requests of its own")
		}
		ask := guard.OnCaller(req).Asks[0]
		ask.Own = true
		return guard.On(AccessList{principal: req.By.Principal}, ask), nil
	}
	at, err := s.registryOf(req, in.RegistryId)
	return guard.On(AccessList{registry: at.Registry}, ofRegistry(at, "access-request/*")), err
}

// ListAccessRequests lists the requests for access to the repositories of a registry, or the caller's own, the newest first.
//
// Errors: fault.InvalidParameter (nextToken).
func (s *Service) ListAccessRequests(ctx context.Context, _ identity.Caller, of AccessList, in *ecrintypes.ListAccessRequestsRequest) (
	*ecrintypes.ListAccessRequestsResponse, error) {
	scope, below := fmt.Sprintf("ListAccessRequests %s %s %s", of.registry, of.principal, in.Status), int64(math.MaxInt64)
	if err := s.resume(scope, in.NextToken, &below); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	var rows []meta.AccessRequest
	var err error
	switch {
	case of.principal != "":
		rows, err = s.meta.AccessRequestsOf(ctx, of.principal, below, limit+1)
	case in.Status != "":
		rows, err = s.meta.AccessRequestsIn(ctx, of.registry, meta.AccessState(slices.Index(accessStates, in.Status)), below, limit+1)
	default:
		rows, err = s.meta.AccessRequests(ctx, of.registry, below, limit+1)
	}
	if err != nil {
		return nil, err
	}
	out := &ecrintypes.ListAccessRequestsResponse{Requests: []ecrintypes.AccessRequest{}}
	for i, r := range rows {
		if i == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(rows[i-1].ID)
			break
		}
		out.Requests = append(out.Requests, s.accessRequest(r))
	}
	return out, nil
}

// AskedFor is a request for access that is stored, with the repository that its name leads to now.
type AskedFor struct {
	request    meta.AccessRequest
	repository meta.Repository // ID 0 if it does not exist
	ask        guard.Ask       // on the repository
	owner      bool            // the caller acts for the owner, and not for itself
}

// accessNamed is an input with the member accessRequestId.
type accessNamed interface{ GetAccessRequestId() string }

// askedFor resolves a request by its id, with the ask that the owner's side needs. For callers that neither belong to the owner's account
// nor have asked, the request does not exist.
func (s *Service) askedFor(ctx context.Context, req guard.Request, in accessNamed) (v AskedFor, known bool, err error) {
	id, err := strconv.ParseInt(in.GetAccessRequestId(), 10, 64)
	if err != nil {
		return v, false, nil
	}
	v.request, err = s.meta.AccessRequest(ctx, id)
	if errors.Is(err, fault.ObjectNotFound) {
		return v, false, nil
	}
	if err != nil {
		return v, false, err
	}
	of, err := s.ecr.Repository(ctx, ecr.Registry{Registry: v.request.Registry}, v.request.Name.String())
	v.repository, v.ask = of.Value.Repository, of.Asks[0]
	v.owner = req.By.Kind == identity.Operator || req.By.Account == v.request.Registry.Account && req.By.Kind != identity.Customer
	return v, v.owner || v.own(req.By), err
}

// own reports whether the caller has asked.
func (v AskedFor) own(by identity.Caller) bool {
	return by.Principal != "" && by.Principal == v.request.Principal
}

// unknownAccess is the target of a request that does not exist for the caller.
func unknownAccess(req guard.Request, in accessNamed) guard.Target[AskedFor] {
	t := guard.On(AskedFor{}, guard.Ask{Owner: req.Owner(), Region: req.Region,
		Resource: ofRegistry(ecr.Registry{Registry: req.Own()}, "access-request/*").Resource})
	t.Absent = fault.ObjectNotFound.New("there is no request for access with the id %s", name.Clip(in.GetAccessRequestId()))
	return t
}

// OnAccessRequest resolves a request that is read. Who has asked needs no permission, and gets no preview without one.
func OnAccessRequest(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.DescribeAccessRequestRequest) (
	guard.Target[AskedFor], error) {
	v, known, err := s.askedFor(ctx, req, in)
	if err != nil || !known {
		return unknownAccess(req, in), err
	}
	ask := v.ask
	if v.own(req.By) {
		if v.owner {
			ask.Action = "ecrin:DescribeAccessRequest"
			if v.owner, err = s.guard.Allowed(ctx, req.By, req.From, ask); err != nil {
				return guard.Target[AskedFor]{}, err
			}
		}
		ask.Action, ask.Own = "", !v.owner
	}
	return guard.On(v, ask), nil
}

// OnWithdrawn resolves a request that its principal withdraws, without a permission.
func OnWithdrawn(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.DecideAccessRequest) (guard.Target[AskedFor], error) {
	v, known, err := s.askedFor(ctx, req, in)
	if err != nil || !known || !v.own(req.By) {
		t := unknownAccess(req, in)
		t.Asks = guard.OnCaller(req).Asks
		return t, err
	}
	return guard.On(v, v.ask), nil
}

// OnDecided resolves a request that its owner refuses or whose grant it revokes.
func OnDecided(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.DecideAccessRequest) (guard.Target[AskedFor], error) {
	v, known, err := s.askedFor(ctx, req, in)
	if err != nil || !known || !v.owner {
		return unknownAccess(req, in), err
	}
	return guard.On(v, v.ask), nil
}

// OnApproved resolves a request that its owner grants. A caller other than the operator needs the permission for SetRepositoryPolicy too,
// because a grant is what such a policy would allow.
func OnApproved(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ApproveAccessRequestRequest) (
	guard.Target[AskedFor], error) {
	v, known, err := s.askedFor(ctx, req, in)
	if err != nil || !known || !v.owner {
		return unknownAccess(req, in), err
	}
	t := guard.On(v, v.ask)
	if req.By.Kind != identity.Operator {
		set := v.ask
		set.Action = "ecr:SetRepositoryPolicy"
		t.Asks = append(t.Asks, set)
	}
	if v.repository.ID == 0 {
		t.Absent = meta.RepositoryNotFound(v.request.Registry, v.request.Name)
	}
	return t, nil
}

// grantOf returns what is granted by a request: its permission, or some of its actions, for all images or for tags.
//
// Errors: fault.InvalidParameter, fault.InvalidInput (the principal was deleted).
func (s *Service) grantOf(ctx context.Context, r meta.AccessRequest, actions, tags []string) (g access.Grant, p meta.BoundPolicy,
	err error) {
	g = access.Grant{Principal: r.PrincipalARN, Permission: access.Permission(r.Permission), Tags: tags}
	if g.Actions, err = narrowed(g.Permission, actions); err != nil {
		return g, p, err
	}
	if r.Principal != r.Account.String() {
		e, err := s.meta.EntityByID(ctx, r.Principal)
		if errors.Is(err, fault.NoSuchEntity) {
			err = fault.InvalidInput.New("%s, which has asked, does not exist any more", name.Clip(r.PrincipalARN))
		}
		if err != nil {
			return g, p, err
		}
		g.Principal = e.ARN()
		p.IDs = map[string]string{g.Principal: e.ID}
	}
	p.Text = g.Policy()
	_, err = policy.Parse(p.Text, policy.Repository)
	return g, p, err
}

// narrowed returns the actions of a permission that are among some, all if there are none.
//
// Errors: fault.InvalidParameter (another action).
func narrowed(p access.Permission, some []string) ([]string, error) {
	all := p.Actions()
	if len(some) == 0 {
		return all, nil
	}
	var kept []string
	for _, a := range some {
		i := slices.IndexFunc(all, func(known string) bool { return strings.EqualFold(known, a) })
		if i < 0 {
			return nil, ecr.BadMember("Actions", "a request to "+strings.ToLower(string(p))+" is for "+strings.Join(all, ", "))
		}
		if !slices.Contains(kept, all[i]) {
			kept = append(kept, all[i])
		}
	}
	slices.Sort(kept)
	return kept, nil
}

// DescribeAccessRequest returns a request. The owner of an open one also gets a preview: the statement that an approval with these actions
// and tags would add, and what is decided without it and with it.
//
// Errors: fault.InvalidParameter.
func (s *Service) DescribeAccessRequest(ctx context.Context, _ identity.Caller, of AskedFor, in *ecrintypes.DescribeAccessRequestRequest) (
	*ecrintypes.DescribeAccessRequestResponse, error) {
	out := &ecrintypes.DescribeAccessRequestResponse{Request: s.accessRequest(of.request)}
	if !of.owner || of.request.StateAt(s.now()) != meta.AccessOpen {
		return out, nil
	}
	g, p, err := s.grantOf(ctx, of.request, in.Actions, in.ImageTags)
	if errors.Is(err, fault.InvalidInput) {
		out.Preview = &ecrintypes.AccessPreview{Decisions: []ecrintypes.AccessDecision{}, Note: fault.From(err).Public}
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Preview = &ecrintypes.AccessPreview{PolicyText: p.Text, Decisions: []ecrintypes.AccessDecision{}}
	switch {
	case of.repository.ID == 0:
		out.Preview.Note = "the repository does not exist"
		return out, nil
	case of.repository.ID != of.request.Repository:
		out.Preview.Note = "the repository was made after it was asked for: it must be asked for again"
		return out, nil
	case of.request.Account != of.request.Registry.Account:
		out.Preview.Note = "the account " + of.request.Account.String() + " must allow it as well: the decisions are those of your side only"
	}
	for _, action := range g.Actions {
		d, err := s.decisionsAbout(ctx, of, action, g, p)
		if err != nil {
			return nil, err
		}
		out.Preview.Decisions = append(out.Preview.Decisions, d)
	}
	return out, nil
}

// decisionsAbout decides an action for the principal of a request without a grant and with it. What the principal's own account decides,
// if it is another one, is not the owner's to know: it counts as allowing everything.
func (s *Service) decisionsAbout(ctx context.Context, of AskedFor, action string, g access.Grant, p meta.BoundPolicy) (
	d ecrintypes.AccessDecision, err error) {
	d.Action = action
	ask := of.ask
	ask.Action = action
	if len(g.Tags) > 0 && g.Image(action) {
		if ask.Image.Tag, err = name.ParseTag(strings.NewReplacer("*", "x", "?", "x").Replace(g.Tags[0])); err != nil {
			return d, ecr.BadMember("ImageTags", "want patterns of tags, such as 1.*").Because(err)
		}
	}
	explained := s.guard.Explain
	if of.request.Account != of.request.Registry.Account {
		explained = s.guard.ExplainDelegated
	}
	from := guard.Origin{Secure: true}
	_, why, err := explained(ctx, g.Principal, from, ask)
	if err != nil {
		return d, err
	}
	d.AllowedBefore = why.Allowed()
	ask.Proposed = &meta.AccessGrant{Principal: of.request.Principal, Policy: p, EndsAt: s.now().Add(time.Hour)}
	r, why, err := explained(ctx, g.Principal, from, ask)
	d.AllowedAfter, d.Reason = why.Allowed(), explain.Sentence(explain.Of(&r, why))
	return d, err
}

// ApproveAccessRequest grants an open request until a time. The grant ends by itself.
//
// Errors: fault.InvalidParameter (the time, actions or tags), and those of meta.Store.GrantAccess.
func (s *Service) ApproveAccessRequest(ctx context.Context, _ identity.Caller, of AskedFor, in *ecrintypes.ApproveAccessRequestRequest) (
	*ecrintypes.AccessRequestResponse, error) {
	if err := plainText("Note", in.Note); err != nil {
		return nil, err
	}
	now := s.now()
	switch until := in.Until.Time; {
	case !until.After(now):
		return nil, ecr.BadMember("Until", "must be a time to come")
	case until.After(now.Add(s.accessFor)):
		return nil, ecr.BadMember("Until", "must be at most "+s.accessFor.String()+" from now, which the setting max_access_grant permits")
	}
	for _, tag := range in.ImageTags {
		if _, err := name.ParseTag(strings.NewReplacer("*", "x", "?", "x").Replace(tag)); err != nil {
			return nil, ecr.BadMember("ImageTags", "want patterns of tags, such as 1.*").Because(err)
		}
	}
	_, p, err := s.grantOf(ctx, of.request, in.Actions, in.ImageTags)
	if err != nil {
		return nil, err
	}
	grant := meta.AccessGrant{Request: of.request.ID, Policy: p, EndsAt: in.Until.Time}
	return s.decided(s.meta.GrantAccess(ctx, of.repository, grant, in.Note))
}

// decided returns the answer of an operation that changes a request.
func (s *Service) decided(r meta.AccessRequest, err error) (*ecrintypes.AccessRequestResponse, error) {
	if err != nil {
		return nil, err
	}
	return &ecrintypes.AccessRequestResponse{Request: s.accessRequest(r)}, nil
}

// RefuseAccessRequest refuses an open request, which cannot be asked again for a day.
//
// Errors: fault.InvalidParameter, and those of meta.Store.CloseAccess.
func (s *Service) RefuseAccessRequest(ctx context.Context, _ identity.Caller, of AskedFor, in *ecrintypes.DecideAccessRequest) (
	*ecrintypes.AccessRequestResponse, error) {
	if err := plainText("Note", in.Note); err != nil {
		return nil, err
	}
	return s.decided(s.meta.CloseAccess(ctx, of.request.ID, meta.AccessRefused, in.Note))
}

// WithdrawAccessRequest withdraws an open request of the caller.
//
// Errors: fault.InvalidParameter, and those of meta.Store.CloseAccess.
func (s *Service) WithdrawAccessRequest(ctx context.Context, _ identity.Caller, of AskedFor, in *ecrintypes.DecideAccessRequest) (
	*ecrintypes.AccessRequestResponse, error) {
	if err := plainText("Note", in.Note); err != nil {
		return nil, err
	}
	return s.decided(s.meta.CloseAccess(ctx, of.request.ID, meta.AccessWithdrawn, in.Note))
}

// RevokeAccess ends what was granted by a request, now.
//
// Errors: fault.InvalidParameter, and those of meta.Store.RevokeAccess.
func (s *Service) RevokeAccess(ctx context.Context, _ identity.Caller, of AskedFor, in *ecrintypes.DecideAccessRequest) (
	*ecrintypes.AccessRequestResponse, error) {
	if err := plainText("Note", in.Note); err != nil {
		return nil, err
	}
	return s.decided(s.meta.RevokeAccess(ctx, of.request.ID, in.Note))
}
