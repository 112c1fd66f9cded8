package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// in is one registry.
type in struct {
	p               *planner
	account, region string
}

func (r in) change(kind, called string) *Change {
	return &Change{Account: r.account, Region: r.region, Kind: kind, Name: called}
}

// with returns a step that calls ECR.
func (r in) with(do func(context.Context, *ecr.Client) error) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := r.p.ecr(ctx, r.account, r.region)
		if err == nil {
			err = do(ctx, c)
		}
		return err
	}
}

// read calls do, unless the account does not exist yet. The codes are errors that say that there is nothing.
func (r in) read(ctx context.Context, what string, do func(*ecr.Client) error, codes ...string) error {
	if !r.p.exists(r.account) {
		return nil
	}
	c, err := r.p.ecr(ctx, r.account, r.region)
	if err == nil {
		err = do(c)
	}
	if err != nil && !absent(err, codes...) {
		return fmt.Errorf("reading %s: %w", what, said(err))
	}
	return nil
}

// each calls do with every registry of an account in the file.
func (p *planner) each(account string, a Account, do func(in, Registry) error) error {
	for region, r := range sorted(a.Registries) {
		if err := do(in{p, account, region}, r); err != nil {
			return err
		}
	}
	return nil
}

// registries plans policies, templates and caches.
func (p *planner) registries(ctx context.Context, account string, a Account) error {
	return p.each(account, a, func(r in, want Registry) error {
		if want.Policy != nil {
			c, before := r.change("registry", ""), ""
			err := r.read(ctx, "the policy of "+c.Object(), func(e *ecr.Client) error {
				out, err := e.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
				if err == nil {
					before = canonical(aws.ToString(out.PolicyText))
				}
				return err
			}, "RegistryPolicyNotFoundException")
			if err != nil {
				return err
			}
			text := string(*want.Policy)
			c.set("policy", before, canonical(text), r.with(func(ctx context.Context, e *ecr.Client) error {
				_, err := e.PutRegistryPolicy(ctx, &ecr.PutRegistryPolicyInput{PolicyText: &text})
				return err
			}))
			p.add(c)
		}
		for prefix, t := range sorted(want.Templates) {
			if err := r.template(ctx, prefix, t); err != nil {
				return err
			}
		}
		for prefix, c := range sorted(want.Caches) {
			if err := r.cache(ctx, prefix, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// replication plans the replication rules. They come last, because a rule is refused whose account does not exist.
func (p *planner) replication(ctx context.Context, account string, a Account) error {
	return p.each(account, a, func(r in, want Registry) error {
		if want.Replication == nil {
			return nil
		}
		rules := []types.ReplicationRule{}
		for _, rule := range want.Replication {
			one := types.ReplicationRule{Destinations: []types.ReplicationDestination{}}
			for _, d := range rule.Destinations {
				if d.Account == "" {
					d.Account = account
				}
				one.Destinations = append(one.Destinations,
					types.ReplicationDestination{Region: aws.String(d.Region), RegistryId: aws.String(d.Account)})
			}
			for _, prefix := range rule.Prefixes {
				one.RepositoryFilters = append(one.RepositoryFilters,
					types.RepositoryFilter{Filter: aws.String(prefix), FilterType: types.RepositoryFilterTypePrefixMatch})
			}
			rules = append(rules, one)
		}
		c, before := r.change("registry", ""), ""
		err := r.read(ctx, "the replication of "+c.Object(), func(e *ecr.Client) error {
			out, err := e.DescribeRegistry(ctx, &ecr.DescribeRegistryInput{})
			if err == nil {
				before = rulesText(out.ReplicationConfiguration.Rules)
			}
			return err
		})
		if err != nil {
			return err
		}
		if before == "" {
			before = rulesText(nil)
		}
		c.set("replication", before, rulesText(rules), r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.PutReplicationConfiguration(ctx, &ecr.PutReplicationConfigurationInput{
				ReplicationConfiguration: &types.ReplicationConfiguration{Rules: rules}})
			return err
		}))
		p.add(c)
		return nil
	})
}

// rulesText returns replication rules as one text, which is equal for equal rules.
func rulesText(rules []types.ReplicationRule) string {
	all := []string{}
	for _, r := range rules {
		var prefixes, to []string
		for _, f := range r.RepositoryFilters {
			prefixes = append(prefixes, aws.ToString(f.Filter))
		}
		for _, d := range r.Destinations {
			to = append(to, aws.ToString(d.RegistryId)+"/"+aws.ToString(d.Region))
		}
		all = append(all, strings.Join(prefixes, ",")+" to "+strings.Join(to, ","))
	}
	b, _ := json.Marshal(all) // of strings
	return string(b)
}

// upstreamPrefix returns the upstream prefix of a rule: ROOT if it has none.
func upstreamPrefix(given string) string { return cmp.Or(given, "ROOT") }

// cache plans a pull-through cache rule.
func (r in) cache(ctx context.Context, prefix string, want Cache) error {
	c := r.change("cache", prefix)
	var have *types.PullThroughCacheRule
	err := r.read(ctx, c.Object(), func(e *ecr.Client) error {
		out, err := e.DescribePullThroughCacheRules(ctx, &ecr.DescribePullThroughCacheRulesInput{EcrRepositoryPrefixes: []string{prefix}})
		if err == nil && len(out.PullThroughCacheRules) == 1 {
			have = &out.PullThroughCacheRules[0]
		}
		return err
	}, "PullThroughCacheRuleNotFoundException")
	if err != nil {
		return err
	}
	if have == nil {
		c.create(r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.CreatePullThroughCacheRule(ctx, &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix,
				UpstreamRegistryUrl: &want.Upstream, UpstreamRepositoryPrefix: optional(want.Prefix),
				CredentialArn: optional(want.Credential), CustomRoleArn: optional(want.Role)})
			return err
		}))
		c.Settings = append(c.Settings, Setting{"upstream", "", want.Upstream})
	} else if got := aws.ToString(have.UpstreamRegistryUrl); got != want.Upstream ||
		upstreamPrefix(aws.ToString(have.UpstreamRepositoryPrefix)) != upstreamPrefix(want.Prefix) {
		return fmt.Errorf("%s is for %s/%s, the file says %s/%s: the registry of a rule cannot be changed; delete the rule first",
			c.Object(), got, upstreamPrefix(aws.ToString(have.UpstreamRepositoryPrefix)), want.Upstream, upstreamPrefix(want.Prefix))
	} else {
		update := r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.UpdatePullThroughCacheRule(ctx, &ecr.UpdatePullThroughCacheRuleInput{EcrRepositoryPrefix: &prefix,
				CredentialArn: optional(want.Credential), CustomRoleArn: optional(want.Role)})
			return err
		})
		if want.Credential != "" {
			c.set("credential", aws.ToString(have.CredentialArn), want.Credential, update)
		}
		if want.Role != "" {
			c.set("role", aws.ToString(have.CustomRoleArn), want.Role, update)
		}
	}
	r.p.add(c)
	return nil
}

func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func filters(exclusions []string) (all []types.ImageTagMutabilityExclusionFilter) {
	for _, e := range exclusions {
		all = append(all, types.ImageTagMutabilityExclusionFilter{Filter: aws.String(e),
			FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard})
	}
	return all
}

// mutabilityText returns mutability and its exclusions as one text.
func mutabilityText(m types.ImageTagMutability, filters []types.ImageTagMutabilityExclusionFilter) string {
	text := string(m)
	for _, f := range filters {
		text += " " + aws.ToString(f.Filter)
	}
	return text
}

func tagsOf(m map[string]string) []types.Tag {
	all := []types.Tag{}
	for k, v := range sorted(m) {
		all = append(all, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return all
}

func mapOf(tags []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

// template plans a creation template. It is updated as a whole.
func (r in) template(ctx context.Context, prefix string, want Template) error {
	c := r.change("template", prefix)
	var have *types.RepositoryCreationTemplate
	err := r.read(ctx, c.Object(), func(e *ecr.Client) error {
		out, err := e.DescribeRepositoryCreationTemplates(ctx, &ecr.DescribeRepositoryCreationTemplatesInput{Prefixes: []string{prefix}})
		if err == nil && len(out.RepositoryCreationTemplates) == 1 {
			have = &out.RepositoryCreationTemplates[0]
		}
		return err
	}, "TemplateNotFoundException")
	if err != nil {
		return err
	}
	var cases []types.RCTAppliedFor
	for _, one := range want.For {
		cases = append(cases, types.RCTAppliedFor(one))
	}
	var tags []types.Tag
	if want.Tags != nil {
		tags = tagsOf(want.Tags)
	}
	if have == nil {
		c.create(r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.CreateRepositoryCreationTemplate(ctx, &ecr.CreateRepositoryCreationTemplateInput{Prefix: &prefix, AppliedFor: cases,
				Description: optional(want.Description), ImageTagMutability: types.ImageTagMutability(want.Mutability),
				ImageTagMutabilityExclusionFilters: filters(want.Exclusions), RepositoryPolicy: (*string)(want.Policy),
				LifecyclePolicy: (*string)(want.Lifecycle), ResourceTags: tags})
			return err
		}))
		c.Settings = append(c.Settings, Setting{"for", "", strings.Join(want.For, " ")})
		r.p.add(c)
		return nil
	}
	update := r.with(func(ctx context.Context, e *ecr.Client) error {
		_, err := e.UpdateRepositoryCreationTemplate(ctx, &ecr.UpdateRepositoryCreationTemplateInput{Prefix: &prefix, AppliedFor: cases,
			Description: optional(want.Description), ImageTagMutability: types.ImageTagMutability(want.Mutability),
			ImageTagMutabilityExclusionFilters: filters(want.Exclusions), RepositoryPolicy: (*string)(want.Policy),
			LifecyclePolicy: (*string)(want.Lifecycle), ResourceTags: tags})
		return err
	})
	var present []string
	for _, one := range have.AppliedFor {
		present = append(present, string(one))
	}
	slices.Sort(present)
	c.set("for", strings.Join(present, " "), strings.Join(slices.Sorted(slices.Values(want.For)), " "), update)
	if want.Description != "" {
		c.set("description", aws.ToString(have.Description), want.Description, update)
	}
	if want.Mutability != "" {
		c.set("mutability", mutabilityText(have.ImageTagMutability, have.ImageTagMutabilityExclusionFilters),
			mutabilityText(types.ImageTagMutability(want.Mutability), filters(want.Exclusions)), update)
	}
	if want.Policy != nil {
		c.set("policy", canonical(aws.ToString(have.RepositoryPolicy)), canonical(string(*want.Policy)), update)
	}
	if want.Lifecycle != nil {
		c.set("lifecycle", canonical(aws.ToString(have.LifecyclePolicy)), canonical(string(*want.Lifecycle)), update)
	}
	if want.Tags != nil {
		c.set("tags", tagsText(mapOf(have.ResourceTags)), tagsText(want.Tags), update)
	}
	if len(c.steps) > 1 {
		c.steps = c.steps[:1] // each is the same call
	}
	r.p.add(c)
	return nil
}

func tagsText(m map[string]string) string {
	var all []string
	for k, v := range sorted(m) {
		all = append(all, k+"="+v)
	}
	return strings.Join(all, " ")
}

// repositories plans the repositories.
func (p *planner) repositories(ctx context.Context, account string, a Account) error {
	return p.each(account, a, func(r in, want Registry) error {
		for called, w := range sorted(want.Repositories) {
			if err := r.repository(ctx, called, w); err != nil {
				return err
			}
		}
		return nil
	})
}

func (r in) repository(ctx context.Context, called string, want Repository) error {
	c := r.change("repository", called)
	have, err := r.described(ctx, c, called)
	if err != nil {
		return err
	}
	if have == nil {
		c.create(r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &called, Tags: tagsOf(want.Tags),
				ImageTagMutability:                 types.ImageTagMutability(want.Mutability),
				ImageTagMutabilityExclusionFilters: filters(want.Exclusions)})
			return err
		}))
		have = &state{mutability: want.mutabilityText(), tags: want.Tags}
	}
	if want.Mutability != "" {
		c.set("mutability", have.mutability, want.mutabilityText(), r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{RepositoryName: &called,
				ImageTagMutability:                 types.ImageTagMutability(want.Mutability),
				ImageTagMutabilityExclusionFilters: filters(want.Exclusions)})
			return err
		}))
	}
	if want.Tags != nil {
		c.set("tags", tagsText(have.tags), tagsText(want.Tags), r.with(func(ctx context.Context, e *ecr.Client) error {
			return retag(ctx, e, have.arn, have.tags, want.Tags)
		}))
	}
	if want.Policy != nil {
		text := string(*want.Policy)
		c.set("policy", have.policy, canonical(text), r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RepositoryName: &called, PolicyText: &text})
			return err
		}))
	}
	if want.Lifecycle != nil {
		text := string(*want.Lifecycle)
		c.set("lifecycle", have.lifecycle, canonical(text), r.with(func(ctx context.Context, e *ecr.Client) error {
			_, err := e.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: &called, LifecyclePolicyText: &text})
			return err
		}))
	}
	if want.Protection != "" {
		c.set("protection", have.protection, want.Protection, func(ctx context.Context) error {
			return r.p.server.Call(ctx, r.region, "PutRepositoryProtection", &ecrintypes.PutRepositoryProtectionRequest{RegistryId: r.account,
				RepositoryName: called, Protection: ecrintypes.Protection(want.Protection)}, &ecrintypes.RepositoryProtectionResponse{})
		})
	}
	r.p.add(c)
	return nil
}

func (s Settings) mutabilityText() string {
	return mutabilityText(types.ImageTagMutability(s.Mutability), filters(s.Exclusions))
}

// state is what a repository has.
type state struct {
	arn, mutability, policy, lifecycle, protection string
	tags                                           map[string]string
}

// described returns what a repository has; nil if it does not exist.
func (r in) described(ctx context.Context, c *Change, called string) (have *state, err error) {
	err = r.read(ctx, c.Object(), func(e *ecr.Client) error {
		out, err := e.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RepositoryNames: []string{called}})
		if err != nil {
			return err
		}
		one := out.Repositories[0]
		have = &state{arn: aws.ToString(one.RepositoryArn), mutability: mutabilityText(one.ImageTagMutability,
			one.ImageTagMutabilityExclusionFilters)}
		return nil
	}, "RepositoryNotFoundException")
	if err != nil || have == nil {
		return nil, err
	}
	err = r.read(ctx, "the tags of "+c.Object(), func(e *ecr.Client) error {
		out, err := e.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: &have.arn})
		if err == nil {
			have.tags = mapOf(out.Tags)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = r.read(ctx, "the policy of "+c.Object(), func(e *ecr.Client) error {
		out, err := e.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &called})
		if err == nil {
			have.policy = canonical(aws.ToString(out.PolicyText))
		}
		return err
	}, "RepositoryPolicyNotFoundException")
	if err != nil {
		return nil, err
	}
	err = r.read(ctx, "the lifecycle policy of "+c.Object(), func(e *ecr.Client) error {
		out, err := e.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &called})
		if err == nil {
			have.lifecycle = canonical(aws.ToString(out.LifecyclePolicyText))
		}
		return err
	}, "LifecyclePolicyNotFoundException")
	if err != nil {
		return nil, err
	}
	var protection ecrintypes.RepositoryProtectionResponse
	if err := r.p.server.Call(ctx, r.region, "GetRepositoryProtection",
		&ecrintypes.GetRepositoryProtectionRequest{RegistryId: r.account, RepositoryName: called}, &protection); err != nil {
		return nil, fmt.Errorf("reading the protection of %s: %w", c.Object(), err)
	}
	have.protection = string(protection.Protection)
	return have, nil
}

// retag makes the resource tags of a repository those of want.
func retag(ctx context.Context, e *ecr.Client, arn string, have, want map[string]string) error {
	var gone []string
	for k := range sorted(have) {
		if _, ok := want[k]; !ok {
			gone = append(gone, k)
		}
	}
	if len(gone) > 0 {
		if _, err := e.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: &arn, TagKeys: gone}); err != nil {
			return err
		}
	}
	if len(want) == 0 {
		return nil
	}
	_, err := e.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: &arn, Tags: tagsOf(want)})
	return err
}
