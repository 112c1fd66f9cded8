package ecr

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	// maxTemplates limits the creation templates of a registry. AWS documents no limit.
	maxTemplates = 100
	// maxNamedPrefixes limits the prefixes that a listing names.
	maxNamedPrefixes = 100
)

// Template is the creation template of a request, with its registry.
type Template struct {
	At Registry
	meta.Template
}

// templateChange holds the members of a request that creates or changes a template. A member that is nil, or "" if it is no pointer, is
// not in the request; a pointer to "" removes what the template has.
type templateChange struct {
	description *string
	encryption  *ecrtypes.EncryptionConfigurationForRepositoryCreationTemplate
	tags        []ecrtypes.Tag
	mode        ecrtypes.ImageTagMutability
	filters     []ecrtypes.ImageTagMutabilityExclusionFilter
	policy      *string
	lifecycle   *string
	appliedFor  []ecrtypes.RCTAppliedFor
	role        *string
}

func creationOf(in *ecrtypes.CreateRepositoryCreationTemplateRequest) templateChange {
	return templateChange{&in.Description, in.EncryptionConfiguration, in.ResourceTags, in.ImageTagMutability,
		in.ImageTagMutabilityExclusionFilters, in.RepositoryPolicy, in.LifecyclePolicy, in.AppliedFor, &in.CustomRoleArn}
}

func updateOf(in *ecrtypes.UpdateRepositoryCreationTemplateRequest) templateChange {
	return templateChange{in.Description, in.EncryptionConfiguration, in.ResourceTags, in.ImageTagMutability,
		in.ImageTagMutabilityExclusionFilters, in.RepositoryPolicy, in.LifecyclePolicy, in.AppliedFor, in.CustomRoleArn}
}

// asks returns the asks of a request by which template v gets the members of c: the one of the operation, and those for what the template
// contains then, on the repositories that it can make. The policy of a template is that of repositories that others make later, so that
// the one who puts it there must be allowed to set it on them.
//
// Source: ECR user guide, permissions for repository creation templates.
func (c templateChange) asks(operation guard.Ask, v Template) []guard.Ask {
	ask := func(action string) guard.Ask {
		pattern := meta.TemplateKey(v.Prefix) + "/*"
		if v.Prefix == meta.RootPrefix {
			pattern = "*"
		}
		return guard.Ask{Action: action, Owner: operation.Owner, Region: operation.Region, Resource: v.At.RepositoryARN(pattern)}
	}
	tags := requestedTags(c.tags)
	if c.tags == nil {
		tags = requestedTags(showTags(v.Tags))
	}
	asks := append([]guard.Ask{operation}, guard.WithRequestTags([]guard.Ask{ask("ecr:CreateRepository")}, tags)...)
	contains := func(old string, changed *string) bool {
		return changed == nil && old != "" || changed != nil && *changed != ""
	}
	if contains(v.Policy.Text, c.policy) {
		asks = append(asks, ask("ecr:SetRepositoryPolicy"))
	}
	if contains(v.Lifecycle, c.lifecycle) {
		asks = append(asks, ask("ecr:PutLifecyclePolicy"))
	}
	role := v.Role
	if c.role != nil {
		role = *c.role
	}
	if role != "" {
		asks = append(asks, passRole(operation, role))
	}
	return asks
}

// passRole returns the ask for a role that an operation names for ECR to assume.
func passRole(operation guard.Ask, role string) guard.Ask {
	return guard.Ask{Action: "iam:PassRole", Owner: operation.Owner, Region: operation.Region, Resource: role,
		Keys: []guard.ConditionKey{{Name: "iam:PassedToService", Values: []string{"ecr.amazonaws.com"}}}}
}

// requestedTags are resource tags that a request sets.
type requestedTags []ecrtypes.Tag

// RequestTags calls each with the tags.
func (tags requestedTags) RequestTags(each func(key, value string)) {
	for _, t := range tags {
		each(t.Key, t.Value)
	}
}

// OnNewTemplate resolves the registry and the prefix of a template to be created.
func OnNewTemplate(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.CreateRepositoryCreationTemplateRequest) (t guard.Target[Template], err error) {
	of, err := OnRegistry(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t.Value = Template{At: of.Value, Template: meta.Template{Registry: of.Value.Registry, Prefix: in.Prefix}}
	of.Asks[0].Action = "ecr:CreateRepositoryCreationTemplate"
	t.Asks = creationOf(in).asks(of.Asks[0], t.Value)
	return t, nil
}

// OnTemplate resolves the template of a request by its prefix.
func OnTemplate[In interface {
	*ecrtypes.UpdateRepositoryCreationTemplateRequest | *ecrtypes.DeleteRepositoryCreationTemplateRequest
}](s *Service, ctx context.Context, req guard.Request, in In) (t guard.Target[Template], err error) {
	prefix := ""
	switch v := any(in).(type) {
	case *ecrtypes.UpdateRepositoryCreationTemplateRequest:
		prefix = v.Prefix
	case *ecrtypes.DeleteRepositoryCreationTemplateRequest:
		prefix = v.Prefix
	}
	of, err := OnRegistry(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[Template]{Value: Template{At: of.Value}, Asks: of.Asks}
	v, err := s.meta.Template(ctx, of.Value.Registry, prefix)
	if errors.Is(err, fault.TemplateNotFound) {
		t.Absent = err
		return t, nil
	}
	t.Value.Template = v
	return t, err
}

// OnUpdatedTemplate is OnTemplate for an update.
func OnUpdatedTemplate(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.UpdateRepositoryCreationTemplateRequest) (guard.Target[Template], error) {
	t, err := OnTemplate(s, ctx, req, in)
	if err == nil && t.Absent == nil {
		t.Asks[0].Action = "ecr:UpdateRepositoryCreationTemplate"
		t.Asks = updateOf(in).asks(t.Asks[0], t.Value)
	}
	return t, err
}

// change returns template v with the members of c, which it checks.
//
// Errors: fault.InvalidParameter, fault.InvalidTagParameter, fault.TooManyTags.
func (s *Service) change(ctx context.Context, v meta.Template, c templateChange) (meta.Template, error) {
	var err error
	if c.description != nil {
		v.Description = *c.description
	}
	if c.encryption != nil {
		var key string
		if c.encryption.KmsKey != nil {
			key = *c.encryption.KmsKey
		}
		if err := unencrypted(c.encryption.EncryptionType, key); err != nil {
			return v, err
		}
		v.Encryption = meta.EncryptionAES256
	}
	if c.tags != nil {
		if v.Tags, err = templateTags(c.tags); err != nil {
			return v, err
		}
	}
	if c.mode != "" || c.filters != nil {
		if c.mode == "" {
			c.mode = ecrtypes.ImageTagMutability(v.Mutability.Mode)
		}
		if v.Mutability, err = mutability(c.mode, c.filters); err != nil {
			return v, err
		}
	}
	switch {
	case c.policy != nil && *c.policy == "":
		v.Policy = meta.BoundPolicy{}
	case c.policy != nil:
		if _, v.Policy, err = s.ReadPolicy(ctx, *c.policy, policy.Repository); err != nil {
			return v, err
		}
	}
	if c.lifecycle != nil {
		if *c.lifecycle != "" {
			if _, err := lifecycle.Parse(*c.lifecycle); err != nil {
				return v, err
			}
		}
		v.Lifecycle = *c.lifecycle
	}
	if c.appliedFor != nil {
		if v.Cases = casesOf(c.appliedFor); v.Cases == 0 {
			return v, BadMember("appliedFor", "must have at least one of REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH")
		}
	}
	if c.role != nil {
		v.Role = *c.role
	}
	if c.role != nil && v.Role != "" {
		return v, s.checkRole(ctx, v.Registry, v.Role)
	}
	return v, nil
}

// checkRole checks that a custom role exists in the account of the registry.
//
// Errors: fault.InvalidParameter.
func (s *Service) checkRole(ctx context.Context, reg name.Registry, arn string) error {
	a, e, err := name.ParseEntityARN(arn)
	if err != nil || e.Kind != name.IAMRole || a.Account != reg.Account {
		return BadMember("customRoleArn", "must be the ARN of a role of the account "+reg.Account.String())
	}
	role, err := s.meta.Entity(ctx, a.Account, meta.Role, e.Name)
	if errors.Is(err, fault.NoSuchEntity) || err == nil && role.Path != e.Path {
		return BadMember("customRoleArn", "the role does not exist")
	}
	return err
}

// templateTags is resourceTagsOf for a template, in the order of the keys.
//
// Errors: those of resourceTagsOf.
func templateTags(tags []ecrtypes.Tag) (all []meta.ResourceTag, err error) {
	byKey, err := resourceTagsOf(tags)
	for key, value := range byKey {
		all = append(all, meta.ResourceTag{Key: key, Value: value})
	}
	slices.SortFunc(all, func(a, b meta.ResourceTag) int { return strings.Compare(a.Key, b.Key) })
	return all, err
}

func showTags(tags []meta.ResourceTag) (all []ecrtypes.Tag) {
	for _, t := range tags {
		all = append(all, ecrtypes.Tag{Key: t.Key, Value: t.Value})
	}
	return all
}

// cases lists the values of appliedFor, in the order of the model.
var cases = []struct {
	value ecrtypes.RCTAppliedFor
	bit   meta.CreationCase
}{
	{ecrtypes.RCTAppliedForREPLICATION, meta.ForReplication},
	{ecrtypes.RCTAppliedForPULL_THROUGH_CACHE, meta.ForPullThrough},
	{ecrtypes.RCTAppliedForCREATE_ON_PUSH, meta.ForPush},
}

func casesOf(values []ecrtypes.RCTAppliedFor) (all meta.CreationCase) {
	for _, c := range cases {
		if slices.Contains(values, c.value) {
			all |= c.bit
		}
	}
	return all
}

// showTemplate returns the description of a template.
func (s *Service) showTemplate(ctx context.Context, v meta.Template) (*ecrtypes.RepositoryCreationTemplate, error) {
	made := v.Repository(v.Registry, name.Repo{})
	out := &ecrtypes.RepositoryCreationTemplate{
		Prefix: v.Prefix, Description: v.Description, CustomRoleArn: v.Role, ResourceTags: showTags(v.Tags),
		EncryptionConfiguration: &ecrtypes.EncryptionConfigurationForRepositoryCreationTemplate{
			EncryptionType: ecrtypes.EncryptionType(made.Encryption)},
		ImageTagMutability:                 ecrtypes.ImageTagMutability(made.Mutability.Mode),
		ImageTagMutabilityExclusionFilters: filtersOf(made.Mutability),
		CreatedAt:                          awswire.At(v.CreatedAt), UpdatedAt: awswire.At(v.UpdatedAt),
	}
	for _, c := range cases {
		if v.Cases&c.bit != 0 {
			out.AppliedFor = append(out.AppliedFor, c.value)
		}
	}
	if v.Lifecycle != "" {
		out.LifecyclePolicy = &v.Lifecycle
	}
	if v.Policy.Text == "" {
		return out, nil
	}
	text, err := s.identity.Show(ctx, v.Policy, policy.Repository)
	out.RepositoryPolicy = &text
	return out, err
}

// CreateRepositoryCreationTemplate creates a template.
//
// Errors: fault.InvalidParameter, fault.InvalidTagParameter, fault.TooManyTags, fault.TemplateAlreadyExists, fault.LimitExceeded,
// fault.AccountNotFound. Source: ECR API reference, CreateRepositoryCreationTemplate.
func (s *Service) CreateRepositoryCreationTemplate(ctx context.Context, _ identity.Caller, t Template,
	in *ecrtypes.CreateRepositoryCreationTemplateRequest) (*ecrtypes.CreateRepositoryCreationTemplateResponse, error) {
	v, err := s.change(ctx, t.Template, creationOf(in))
	if err != nil {
		return nil, err
	}
	if v, err = s.meta.CreateTemplate(ctx, v, maxTemplates); err != nil {
		return nil, err
	}
	shown, err := s.showTemplate(ctx, v)
	return &ecrtypes.CreateRepositoryCreationTemplateResponse{RegistryId: t.At.Account.String(), RepositoryCreationTemplate: shown}, err
}

// UpdateRepositoryCreationTemplate changes the members of a template that the request has. Repositories that exist do not change.
//
// Errors: fault.InvalidParameter, fault.InvalidTagParameter, fault.TooManyTags. Source: ECR API reference,
// UpdateRepositoryCreationTemplate.
func (s *Service) UpdateRepositoryCreationTemplate(ctx context.Context, _ identity.Caller, t Template,
	in *ecrtypes.UpdateRepositoryCreationTemplateRequest) (*ecrtypes.UpdateRepositoryCreationTemplateResponse, error) {
	v, err := s.change(ctx, t.Template, updateOf(in))
	if err != nil {
		return nil, err
	}
	if v, err = s.meta.UpdateTemplate(ctx, v); err != nil {
		return nil, err
	}
	shown, err := s.showTemplate(ctx, v)
	return &ecrtypes.UpdateRepositoryCreationTemplateResponse{RegistryId: t.At.Account.String(), RepositoryCreationTemplate: shown}, err
}

// DeleteRepositoryCreationTemplate deletes a template and returns it. Source: ECR API reference, DeleteRepositoryCreationTemplate.
func (s *Service) DeleteRepositoryCreationTemplate(ctx context.Context, _ identity.Caller, t Template,
	_ *ecrtypes.DeleteRepositoryCreationTemplateRequest) (*ecrtypes.DeleteRepositoryCreationTemplateResponse, error) {
	shown, err := s.showTemplate(ctx, t.Template)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.DeleteRepositoryCreationTemplateResponse{RegistryId: t.At.Account.String(), RepositoryCreationTemplate: shown},
		s.meta.DeleteTemplate(ctx, t.Template)
}

// DescribeRepositoryCreationTemplates describes the templates with the prefixes of the request, without those that do not exist, or one
// page of all templates of the registry.
//
// Errors: fault.InvalidParameter (the token; both prefixes and a page; too many prefixes).
// Source: ECR API reference, DescribeRepositoryCreationTemplates.
func (s *Service) DescribeRepositoryCreationTemplates(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.DescribeRepositoryCreationTemplatesRequest) (*ecrtypes.DescribeRepositoryCreationTemplatesResponse, error) {
	out := &ecrtypes.DescribeRepositoryCreationTemplatesResponse{RegistryId: t.Account.String(),
		RepositoryCreationTemplates: []ecrtypes.RepositoryCreationTemplate{}}
	var page []meta.Template
	if len(in.Prefixes) > 0 {
		var err error
		if page, err = s.namedTemplates(ctx, t, in); err != nil {
			return nil, err
		}
	} else {
		scope, after := "templates "+t.Registry.String(), ""
		if err := s.resume(scope, in.NextToken, &after); err != nil {
			return nil, err
		}
		limit := pageSize(in.MaxResults, 100)
		var err error
		if page, err = s.meta.Templates(ctx, t.Registry, after, limit+1); err != nil {
			return nil, err
		}
		if len(page) > limit {
			page = page[:limit]
			out.NextToken = s.pages.Listing(scope).SealJSON(page[limit-1].Prefix)
		}
	}
	for _, v := range page {
		shown, err := s.showTemplate(ctx, v)
		if err != nil {
			return nil, err
		}
		out.RepositoryCreationTemplates = append(out.RepositoryCreationTemplates, *shown)
	}
	return out, nil
}

// namedTemplates returns the templates that exist of those that a request names, each once.
func (s *Service) namedTemplates(ctx context.Context, t Registry,
	in *ecrtypes.DescribeRepositoryCreationTemplatesRequest) (all []meta.Template, err error) {
	if in.MaxResults != nil || in.NextToken != "" {
		return nil, BadMember("maxResults", "maxResults and nextToken cannot be used with prefixes")
	}
	if len(in.Prefixes) > maxNamedPrefixes {
		return nil, BadMember("prefixes", "Member must have length less than or equal to 100")
	}
	seen := map[string]bool{}
	for _, prefix := range in.Prefixes {
		if key := meta.TemplateKey(prefix); seen[key] {
			continue
		} else {
			seen[key] = true
		}
		v, err := s.meta.Template(ctx, t.Registry, prefix)
		switch {
		case errors.Is(err, fault.TemplateNotFound):
		case err != nil:
			return nil, err
		default:
			all = append(all, v)
		}
	}
	return all, nil
}
