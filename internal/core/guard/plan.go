package guard

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/rule/entitlement"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// plan holds the input of the decision of an ask: the policies that apply, and the request in the form of package
// policy.
type plan struct {
	policies policy.Policies
	request  policy.Request
	turn     turn
	left     int // comparisons that the decisions of the plan may still make without their turn
	// releases sets the keys that depend on releases of an application, for an image with one tag or none; nil if no policy reads them.
	releases func(keys *policy.Context, tags []string)
}

// plan collects the policies of the caller and of the resource, and the condition keys. Condition keys cost more time
// than the decision; unless full is true, they are left out if no policy reads any.
func (g *Guard) plan(ctx context.Context, who *identity.Subject, from Origin, a *Ask, full bool) (plan, error) {
	owner := a.Owner.Account()
	p := plan{
		policies: policy.Policies{SCP: who.ControlPolicies, Identity: who.Identity, Boundary: who.Boundary, Session: who.Session},
		request:  policy.Request{Caller: who.PolicyIn(a.Region), Action: a.Action, Resource: a.resource(), ResourceAccount: owner},
		turn:     g.turn, left: maxUnqueued,
	}
	conditional, images := full || who.Conditional, full || who.Images || who.Releases
	use := func(c *identity.Compiled) *policy.Compiled {
		conditional, images = conditional || c.Conditional, images || c.Images
		return c.Policy
	}
	service, operation, _ := strings.Cut(a.Action, ":")
	if service == "ecr" || service == "sts" { // resource control policies apply to these services only
		level, err := g.identity.ResourceControl(ctx, owner)
		if err != nil {
			return p, err
		}
		p.policies.RCP = level.Policies
		conditional = conditional || level.Conditional
	}
	// Only identity-based policies can allow GetAuthorizationToken. Source: ECR user guide, repository policies.
	if service == "ecr" && operation != "GetAuthorizationToken" && a.Region != (name.Region{}) && a.Owner != Unowned {
		own, v1, err := g.registryPolicy(ctx, name.Registry{Account: owner, Region: a.Region})
		if err != nil {
			return p, err
		}
		if own != nil {
			p.policies.Registry, p.policies.RegistryV1 = use(own), v1
		}
	}
	if a.Repository != nil && a.Repository.Policy.Text != "" && (service == "ecr" || service == "ecrin") {
		own, err := g.identity.Compile(policy.Repository, a.Repository.Policy)
		if err != nil {
			return p, err
		}
		p.policies.Repository = use(own)
	}
	if service == "ecr" && a.Repository != nil {
		if err := g.grants(ctx, &p, who, a, use); err != nil {
			return p, err
		}
	}
	if a.Trust != nil {
		trust, err := g.identity.Compile(policy.Trust, *a.Trust)
		if err != nil {
			return p, err
		}
		p.policies.Trust = use(trust)
	}
	if !conditional {
		return p, nil
	}
	var offers *meta.ImageOffers
	if who.Releases && a.Image.Reference != (name.Reference{}) {
		_, repository, _ := strings.Cut(a.Resource, ":repository/") // of an external registry the name is not that of a.Repository
		var err error
		if offers, err = g.meta.ImageOffers(ctx, who.Application, repository); err != nil {
			return p, err
		}
	}
	keys, err := g.keys(ctx, who, from, a, &p.policies, images, offers)
	p.request.Context = keys
	if err == nil && who.Application != "" && a.Image.Reference != (name.Reference{}) {
		err = g.releaseKeys(ctx, &p, who, a, offers)
	}
	return p, err
}

// grants adds the grants of access to the repository for this principal that have not ended, and the proposed one of the ask.
func (g *Guard) grants(ctx context.Context, p *plan, who *identity.Subject, a *Ask, use func(*identity.Compiled) *policy.Compiled) error {
	if a.Repository.ID == 0 || who.Caller.Principal == "" {
		return nil
	}
	all, err := g.meta.AccessGrants(ctx, a.Repository.ID)
	if err != nil {
		return err
	}
	if a.Proposed != nil {
		all = append(slices.Clone(all), *a.Proposed)
	}
	for i := range all {
		one := &all[i]
		if one.Principal != who.Caller.Principal || !g.now().Before(one.EndsAt) {
			continue
		}
		c, err := g.identity.Compile(policy.Repository, one.Policy)
		if err != nil {
			return err
		}
		p.policies.Grants = append(p.policies.Grants, policy.Named{Name: grantName(one), Policy: use(c), Limited: true})
	}
	return nil
}

// grantName returns the name of a grant in the reasons of a decision.
func grantName(g *meta.AccessGrant) string {
	if g.Request == 0 {
		return "proposed grant of access"
	}
	return "access request " + strconv.FormatInt(g.Request, 10) + ", granted until " + g.EndsAt.UTC().Format(time.RFC3339)
}

// releaseKeys sets the condition keys of entitlements: when the image was pushed and released, and which channels offer it. An image that
// was read by its digest has them for each tag alone, as evaluate decides it, so that the channel of one index and the tag of another do
// not add up. offers is nil if the keys of channels and times of releases are not needed.
func (g *Guard) releaseKeys(ctx context.Context, p *plan, who *identity.Subject, a *Ask, offers *meta.ImageOffers) error {
	if who.Pushed && a.Repository != nil {
		pushed, err := g.meta.PushedAt(ctx, a.Repository.ID, a.Image.Digest)
		if err != nil {
			return err
		}
		if !pushed.IsZero() {
			p.request.Context.Set(entitlement.KeyPushed, pushed.UTC().Format(time.RFC3339Nano))
		}
	}
	if offers == nil {
		return nil
	}
	p.releases = func(keys *policy.Context, tags []string) {
		channels, first := offers.Of(tags, a.Image.Digest.String())
		keys.SetList(entitlement.KeyChannel, channels...)
		released := keys.Values(entitlement.KeyPushed)
		if !first.IsZero() {
			released = []string{first.UTC().Format(time.RFC3339Nano)}
		}
		keys.SetList(entitlement.KeyReleased) // a clone has that of all tags
		if len(released) == 1 {
			keys.Set(entitlement.KeyReleased, released[0])
		}
	}
	p.releases(p.request.Context, p.request.Context.Values(imageTag))
	return nil
}

// registryPolicy returns the policy of a registry, nil if it has none. v1 reports whether its scope is V1.
func (g *Guard) registryPolicy(ctx context.Context, r name.Registry) (c *identity.Compiled, v1 bool, err error) {
	text, err := g.meta.RegistryPolicy(ctx, r)
	if err != nil || text.Text == "" {
		return nil, false, err
	}
	scope, err := g.meta.Setting(ctx, r, meta.SettingPolicyScope)
	if err != nil {
		return nil, false, err
	}
	c, err = g.identity.Compile(policy.Registry, text)
	return c, scope == meta.PolicyScopeV1, err
}

// keys returns the condition keys of an ask that policies decide. The keys of the image are included only if images is
// true. Source: IAM user guide, global condition keys; service authorization reference of ECR.
func (g *Guard) keys(ctx context.Context, who *identity.Subject, from Origin, a *Ask, policies *policy.Policies,
	images bool, offers *meta.ImageOffers) (*policy.Context, error) {
	keys := who.Keys.Clone() // concurrent requests of the same subject read who.Keys
	keys.Time = g.now()
	if partition := a.Region.Partition(); partition != name.DefaultPartition {
		for _, arn := range who.Keys.Values("aws:principalarn") {
			keys.Set("aws:principalarn", name.InPartition(arn, partition))
		}
	}
	keys.SourceIP = from.SourceIP
	keys.Set("aws:securetransport", strconv.FormatBool(from.Secure))
	keys.Set("aws:viaawsservice", "false")
	keys.Set("aws:principalisawsservice", strconv.FormatBool(who.Policy.Kind == policy.Service))
	if a.Region != (name.Region{}) {
		keys.Set("aws:requestedregion", a.Region.String())
	}
	if from.UserAgent != "" {
		keys.Set("aws:useragent", from.UserAgent)
	}
	if from.Referer != "" {
		keys.Set("aws:referer", from.Referer)
	}
	if a.Owner != Unowned {
		keys.Set("aws:resourceaccount", a.Owner.Account().String())
		if g.organization != "" {
			keys.Set("aws:resourceorgid", g.organization)
		}
	}
	for _, k := range a.Keys {
		if k.List {
			keys.SetList(k.Name, k.Values...)
		} else {
			keys.Set(k.Name, k.Values[0])
		}
	}
	if a.Repository != nil {
		resourceTags := a.Tags
		if a.Repository.ID != 0 {
			var err error
			if resourceTags, err = g.meta.ResourceTags(ctx, *a.Repository); err != nil {
				return nil, err
			}
		}
		for _, t := range resourceTags {
			keys.Set("aws:resourcetag/"+t.Key, t.Value)
			keys.Set("ecr:resourcetag/"+t.Key, t.Value)
		}
	}
	if images && a.Image.Reference != (name.Reference{}) {
		return &keys, g.imageKeys(ctx, &keys, a, policies, offers)
	}
	return &keys, nil
}

// imageTag is the condition key ecrin:ImageTag.
const imageTag = "ecrin:imagetag"

// imageKeys sets ecrin:ImageTag and ecrin:ImageDigest. The tags of an image that is read by its digest are its own and
// those of the indexes that refer to it, so that the permission to pull a tag includes the images to which an index
// with that tag refers. Of many tags, ecrin:ImageTag has one of each class of tags about which the policies decide alike, so
// that the cost of a decision does not grow with the tags of an image. offers is nil if decisions do not depend on releases.
func (g *Guard) imageKeys(ctx context.Context, keys *policy.Context, a *Ask, policies *policy.Policies, offers *meta.ImageOffers) error {
	if a.Image.Digest != (name.Digest{}) { // first: a condition on the tag can have it in a policy variable
		keys.Set("ecrin:imagedigest", a.Image.Digest.String())
	}
	var tags []string
	many := false
	switch {
	case a.Image.Tag != (name.Tag{}):
		tags = []string{a.Image.Tag.String()}
	case a.Image.Stored && a.Repository != nil:
		var err error
		tags, many, err = g.meta.SomeTagsLeadingTo(ctx, a.Repository.ID, a.Image.Digest, func() meta.TagClasses {
			return tagClasses(policies, keys, offers, a.Image.Digest)
		})
		if err != nil {
			return err
		}
	}
	if len(tags) == 1 && !many {
		keys.Set(imageTag, tags[0])
	} else {
		keys.SetList(imageTag, tags...)
	}
	return nil
}

// evaluate decides a plan. It has no side effects except on p. If a list of tags leads to the image of a request by
// digest, the request is also decided with each of these tags alone, so that conditions on ecrin:ImageTag do not need
// set operators. An explicit denial with any tag is the result. Otherwise a tag with which the request is allowed
// suffices, because the caller could have requested the image by that tag. Afterwards the request of the plan has the
// tags that led to the result.
//
// Errors: the error of ctx, if it ends before the decision.
func (p *plan) evaluate(ctx context.Context) (policy.Decision, error) {
	together, err := p.decide(ctx)
	if err != nil {
		return policy.Decision{}, err
	}
	if !p.request.Context.IsList(imageTag) || together.Verdict == policy.ExplicitlyDenied {
		return together, nil
	}
	tags := p.request.Context.Values(imageTag)
	whole := p.request.Context
	allowing := whole
	for _, tag := range tags {
		one := whole.Clone()
		one.Set(imageTag, tag)
		if p.releases != nil {
			p.releases(&one, []string{tag})
		}
		p.request.Context = &one
		decided, err := p.decide(ctx)
		if err != nil {
			return policy.Decision{}, err
		}
		if decided.Verdict == policy.ExplicitlyDenied {
			return decided, nil
		}
		if decided.Allowed() && !together.Allowed() {
			together, allowing = decided, &one
		}
	}
	p.request.Context = allowing
	return together, nil
}
