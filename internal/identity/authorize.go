package identity

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/fault"
	"github.com/ecrin-dev/ecrin/internal/meta"
	"github.com/ecrin-dev/ecrin/internal/name"
	"github.com/ecrin-dev/ecrin/internal/policy"
)

// Denial is the cause of every fault.AccessDenied of Authorize that policies decided: all that explains it.
type Denial struct {
	Request policy.Request
	Why     policy.Why
}

func (d *Denial) Error() string {
	return "denied by " + d.Why.Layer.String() + " policies: " + d.Why.Verdict.String()
}

// operatorOnly are actions on the installation, which belongs to no account.
var operatorOnly = map[string]bool{
	"ecrin:CreateAccount":         true,
	"ecrin:ListAccounts":          true,
	"ecrin:DeleteAccount":         true,
	"ecrin:GetAccountCredentials": true,
	"ecrin:ListControlPolicies":   true,
	"ecrin:PutControlPolicy":      true,
	"ecrin:DeleteControlPolicy":   true,
}

// rootOnly are actions on the access keys of a whole account, those of its root user among them: a policy that allows
// everything but IAM must not let a user become the root user. Users have the actions of IAM for their keys.
var rootOnly = map[string]bool{
	"ecrin:CreateAccessKey": true,
	"ecrin:UpdateAccessKey": true,
	"ecrin:DeleteAccessKey": true,
}

// Authorize decides whether the caller may do it by the policies as they are now, and says why not. The operator may call
// ecrin's own operations and nothing else; it has no policies.
// Errors: fault.AccessDenied, in the words of AWS, with a *Denial as its cause.
// Source: IAM user guide, policy evaluation logic; troubleshooting access denied messages.
func (s *Service) Authorize(ctx context.Context, c Caller, a Access) error {
	if c.Kind == Operator && strings.HasPrefix(a.Action, "ecrin:") {
		return nil
	}
	if c.Kind == Operator || c.Kind == Nobody || operatorOnly[a.Action] {
		who := c.ARN
		if who == "" {
			who = "anonymous"
		}
		return fault.AccessDenied.New("User: %s is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", who, a.Action, a.Resource, a.Action)
	}
	if rootOnly[a.Action] && (c.Kind != Root || c.Session != "") { // nor shall an hour's credentials become lasting ones
		return fault.AccessDenied.New("User: %s is not authorized to perform: %s on resource: %s because only the root user of the account and the operator can", c.ARN, a.Action, a.Resource)
	}
	if err := sessionMay(c, a.Action); err != nil {
		return err
	}
	who, err := s.subjectOf(ctx, c)
	if err != nil {
		return err
	}
	if !a.Image.Whole {
		return s.decide(ctx, who, a)
	}
	all, err := s.parts(ctx, a)
	if err != nil {
		return err
	}
	for _, one := range all {
		if err := s.decide(ctx, who, one); err != nil {
			return err
		}
	}
	return nil
}

// parts are what has to be allowed for an access: itself, or for an image that is deleted by its digest one for each tag that
// goes with it. Together the tags would be one key of many values, of which one that is allowed could cover another that is not.
func (s *Service) parts(ctx context.Context, a Access) ([]Access, error) {
	if !a.Image.Whole || a.Image.Tag != (name.Tag{}) || a.Image.Digest == (name.Digest{}) {
		return []Access{a}, nil
	}
	r, err := s.meta.Repository(ctx, name.Registry{Account: a.Account, Region: a.Region}, a.Repository)
	if errors.Is(err, fault.RepositoryNotFound) {
		return []Access{a}, nil
	}
	if err != nil {
		return nil, err
	}
	leading, err := s.meta.TagsLeadingTo(ctx, r.ID, a.Image.Digest)
	if err != nil {
		return nil, err
	}
	all := []Access{a}
	for i, text := range leading {
		one := a
		if one.Image.Tag, err = name.ParseTag(text); err != nil {
			return nil, err
		}
		all = append(all[:i], one)
	}
	return all, nil
}

// decide asks the policies about one access of a subject.
func (s *Service) decide(ctx context.Context, who *subject, a Access) error {
	d, err := s.assemble(ctx, who, a, false)
	if err != nil {
		return err
	}
	if d.weigh().Allowed() {
		return nil
	}
	if d, err = s.assemble(ctx, who, a, true); err != nil {
		return err
	}
	decided := d.weigh()
	why := policy.Explain(&d.policies, &d.request)
	return fault.AccessDenied.New("%s", decided.Text(&d.request)).Because(&Denial{d.request, why})
}

// weigh evaluates a request. One on an image by its digest may have several tags that lead to it: then it is decided with each
// of them alone, too, so that conditions need no thought of sets. A Deny on any of the tags holds, and of the rest one that is
// allowed is enough, for that tag could have been asked for. The request is left with the tags that decided.
func (d *deciding) weigh() policy.Decision {
	together := policy.Evaluate(&d.policies, &d.request)
	tags := d.request.Context.Values(imageTag)
	if len(tags) < 2 || together.Verdict == policy.ExplicitlyDenied {
		return together
	}
	whole := d.request.Context
	allowing := whole
	for _, tag := range tags {
		one := whole.Clone()
		one.Set(imageTag, tag)
		d.request.Context = &one
		decided := policy.Evaluate(&d.policies, &d.request)
		if decided.Verdict == policy.ExplicitlyDenied {
			return decided
		}
		if decided.Allowed() && !together.Allowed() {
			together, allowing = decided, &one
		}
	}
	d.request.Context = allowing
	return together
}

// Explain decides for a principal as Gather names it, with all reasons.
// Errors: those of Gather; fault.InvalidInput for what no policy decides.
func (s *Service) Explain(ctx context.Context, principal string, a Access) (policy.Request, policy.Why, error) {
	if operatorOnly[a.Action] {
		return policy.Request{}, policy.Why{}, fault.InvalidInput.New("%s is for the installation's operator alone: no policy can allow it", a.Action)
	}
	who, err := s.named(ctx, principal)
	if err != nil {
		return policy.Request{}, policy.Why{}, err
	}
	if rootOnly[a.Action] && who.caller.Kind != Root {
		return policy.Request{}, policy.Why{}, fault.InvalidInput.New("%s is for the root user of the account and the operator alone: no policy can allow it", a.Action)
	}
	if err := sessionMay(who.caller, a.Action); err != nil {
		return policy.Request{}, policy.Why{}, fault.InvalidInput.New("%s", fault.From(err).Public)
	}
	all, err := s.parts(ctx, a)
	if err != nil {
		return policy.Request{}, policy.Why{}, err
	}
	for i, one := range all {
		d, err := s.assemble(ctx, who, one, true)
		if err != nil {
			return policy.Request{}, policy.Why{}, err
		}
		d.weigh()
		if why := policy.Explain(&d.policies, &d.request); !why.Allowed() || i == len(all)-1 {
			return d.request, why, nil
		}
	}
	return policy.Request{}, policy.Why{}, errors.New("identity: nothing to explain")
}

// sessionMay keeps the operations of IAM and STS from credentials that AWS refuses there, whatever policies say.
// Source: IAM user guide, comparing AWS STS credentials.
func sessionMay(c Caller, action string) error {
	service, operation, _ := strings.Cut(action, ":")
	if c.Session == "" && c.Kind != FederatedUser || c.Kind == RoleSession || service != "iam" && service != "sts" {
		return nil
	}
	if c.Kind != FederatedUser && (operation == "AssumeRole" || operation == "TagSession" || operation == "SetSourceIdentity") {
		return nil
	}
	return fault.AccessDenied.New("User: %s is not authorized to perform: %s: temporary credentials of GetSessionToken and GetFederationToken cannot call it; use the user's own access key, or those of a role", c.ARN, action)
}

// deciding is a request with the policies that apply to it.
type deciding struct {
	policies policy.Policies
	request  policy.Request
}

// assemble gathers what the subject's side and the resource's side say about a request. The keys of the context cost more
// than a decision: without full they are left out when no policy reads any.
func (s *Service) assemble(ctx context.Context, who *subject, a Access, full bool) (deciding, error) {
	owner := a.Account
	if owner == (name.Account{}) {
		owner = who.policy.Account
	}
	d := deciding{
		policies: policy.Policies{SCP: who.control, Identity: who.identity, Boundary: who.boundary, Session: who.session},
		request:  policy.Request{Caller: who.policy, Action: a.Action, Resource: a.Resource, ResourceAccount: owner},
	}
	conditional, images := full || who.conditional, full || who.images
	use := func(c *compiled) *policy.Compiled {
		conditional, images = conditional || c.conditional, images || c.images
		return c.policy
	}
	service, operation, _ := strings.Cut(a.Action, ":")
	if service == "ecr" || service == "sts" { // the services here that resource control policies bind
		controls, err := s.controls(ctx)
		if err != nil {
			return d, err
		}
		level := controls.of(meta.ResourceControl, owner)
		d.policies.RCP = level.policies
		conditional = conditional || level.conditional
	}
	var repository meta.Repository
	registry := name.Registry{Account: a.Account, Region: a.Region}
	// A token is granted by identity policies alone. Source: ECR user guide, repository policies.
	if service == "ecr" && operation != "GetAuthorizationToken" && a.Region != (name.Region{}) {
		own, v1, err := s.registryPolicy(ctx, registry)
		if err != nil {
			return d, err
		}
		if own != nil {
			d.policies.Registry, d.policies.RegistryV1 = use(own), v1
		}
	}
	if a.Repository != (name.Repo{}) {
		var err error
		repository, err = s.meta.Repository(ctx, registry, a.Repository)
		if err != nil && !errors.Is(err, fault.RepositoryNotFound) {
			return d, err
		}
		text := repository.Policy
		if a.Instead != nil {
			text = *a.Instead
		}
		if text.Text != "" && (service == "ecr" || service == "ecrin") {
			own, err := s.compile(policy.Repository, text)
			if err != nil {
				return d, err
			}
			d.policies.Repository = use(own)
		}
	}
	if a.Trust != nil {
		trust, err := s.compile(policy.Trust, *a.Trust)
		if err != nil {
			return d, err
		}
		d.policies.Trust = use(trust)
	}
	if !conditional {
		return d, nil
	}
	keys, err := s.contextOf(ctx, who, a, owner, repository, images)
	d.request.Context = keys
	return d, err
}

// contextOf makes the condition keys of a request. Source: IAM user guide, global condition keys; service authorization
// reference of ECR.
func (s *Service) contextOf(ctx context.Context, who *subject, a Access, owner name.Account, repository meta.Repository, images bool) (*policy.Context, error) {
	keys := who.keys.Clone() // other requests of the same subject read them too
	keys.Time = s.now()
	keys.SourceIP = a.From.SourceIP
	keys.Set("aws:securetransport", strconv.FormatBool(a.From.Secure))
	keys.Set("aws:viaawsservice", "false")
	keys.Set("aws:principalisawsservice", strconv.FormatBool(who.policy.Kind == policy.Service))
	if a.Region != (name.Region{}) {
		keys.Set("aws:requestedregion", a.Region.String())
	}
	if a.From.UserAgent != "" {
		keys.Set("aws:useragent", a.From.UserAgent)
	}
	if a.From.Referer != "" {
		keys.Set("aws:referer", a.From.Referer)
	}
	if owner != (name.Account{}) {
		keys.Set("aws:resourceaccount", owner.String())
		if s.organization != "" {
			keys.Set("aws:resourceorgid", s.organization)
		}
	}
	for _, k := range a.Keys {
		if k.List {
			keys.SetList(k.Name, k.Values...)
		} else {
			keys.Set(k.Name, k.Values[0])
		}
	}
	if repository.ID != 0 {
		labels, err := s.meta.Labels(ctx, repository)
		if err != nil {
			return nil, err
		}
		for _, l := range labels {
			keys.Set("aws:resourcetag/"+l.Key, l.Value)
			keys.Set("ecr:resourcetag/"+l.Key, l.Value)
		}
	}
	if images && a.Image.Reference != (name.Reference{}) {
		return &keys, s.imageKeys(ctx, &keys, a.Image, repository)
	}
	return &keys, nil
}

// imageTag is the condition key of an image's tags.
const imageTag = "ecrin:imagetag"

// imageKeys sets ecrin:ImageTag and ecrin:ImageDigest. An image that is read by its digest has the tags that lead to it, its
// own and those of the indexes that list it: so whoever may pull a tag may pull the images below it.
func (s *Service) imageKeys(ctx context.Context, keys *policy.Context, im Image, repository meta.Repository) error {
	var tags []string
	digest := im.Digest
	if im.Tag != (name.Tag{}) {
		tags = append(tags, im.Tag.String())
	}
	if im.Stored && repository.ID != 0 {
		if len(tags) == 0 {
			leading, err := s.meta.TagsLeadingTo(ctx, repository.ID, digest)
			if err != nil {
				return err
			}
			tags = leading
		} else if digest == (name.Digest{}) {
			head, err := s.meta.Head(ctx, repository.ID, im.Reference)
			if err != nil && !errors.Is(err, fault.ImageNotFound) {
				return err
			}
			digest = head.Digest
		}
	}
	if len(tags) == 1 {
		keys.Set(imageTag, tags[0])
	} else {
		keys.SetList(imageTag, tags...)
	}
	if digest != (name.Digest{}) {
		keys.Set("ecrin:imagedigest", digest.String())
	}
	return nil
}

// registryPolicy gives a registry's policy, nil when it has none, and whether it is of the first scope.
func (s *Service) registryPolicy(ctx context.Context, r name.Registry) (c *compiled, v1 bool, err error) {
	text, err := s.meta.RegistryPolicy(ctx, r)
	if err != nil || text.Text == "" {
		return nil, false, err
	}
	scope, err := s.meta.Setting(ctx, r, "REGISTRY_POLICY_SCOPE")
	if err != nil {
		return nil, false, err
	}
	c, err = s.compile(policy.Registry, text)
	return c, scope == "V1", err
}
