package ecr

import (
	"context"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/pullthrough"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnRules resolves the registry whose pull through cache rules a request is about. Its operations have no resource in IAM. A request that
// names a role needs iam:PassRole for it.
func OnRules[In interface{ GetRegistryId() string }](_ *Service, _ context.Context, req guard.Request, in In) (
	t guard.Target[Registry], err error) {
	at, err := RegistryOf(req, in.GetRegistryId())
	t = guard.On(at, guard.Ask{Owner: guard.OwnedBy(at.Account), Region: req.Region, Resource: "*"})
	role := ""
	switch in := any(in).(type) {
	case *ecrtypes.CreatePullThroughCacheRuleRequest:
		role = in.CustomRoleArn
	case *ecrtypes.UpdatePullThroughCacheRuleRequest:
		role = in.CustomRoleArn
	}
	if role != "" {
		t.Asks = append(t.Asks, passRole(t.Asks[0], role))
	}
	return t, err
}

// upstreams are the registries that ECR knows, by their hosts. Source: ECR API reference, CreatePullThroughCacheRule.
var upstreams = map[string]ecrtypes.UpstreamRegistry{
	"public.ecr.aws": ecrtypes.UpstreamRegistryEcrPublic, "registry.k8s.io": ecrtypes.UpstreamRegistryK8s,
	"quay.io": ecrtypes.UpstreamRegistryQuay, "registry-1.docker.io": ecrtypes.UpstreamRegistryDockerHub,
	"ghcr.io": ecrtypes.UpstreamRegistryGithubContainerRegistry, "registry.gitlab.com": ecrtypes.UpstreamRegistryGitlabContainerRegistry,
	"cgr.dev": ecrtypes.UpstreamRegistryChainguard,
}

var (
	hostOfECR   = lazyregexp.New(`^[0-9]{12}\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`)
	hostOfAzure = lazyregexp.New(`^[a-z0-9-]+\.azurecr\.io$`)
	anyHost     = lazyregexp.New(`^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
)

// upstreamOf returns the name that ECR has for the registry at a host, "" if it has none.
func upstreamOf(host string) ecrtypes.UpstreamRegistry {
	switch {
	case hostOfECR.MatchString(host):
		return ecrtypes.UpstreamRegistryEcr
	case hostOfAzure.MatchString(host):
		return ecrtypes.UpstreamRegistryAzureContainerRegistry
	}
	return upstreams[host]
}

// maxHost is the length of a host with its port.
const maxHost = 260

// hostOf returns the host of an upstreamRegistryUrl: HOST, or HOST:PORT, which the guard of outgoing connections judges when it is dialled.
//
// Errors: fault.UnsupportedUpstreamRegistry.
func (s *Service) hostOf(url string, kind ecrtypes.UpstreamRegistry) (string, ecrtypes.UpstreamRegistry, error) {
	refuse := func(why string) (string, ecrtypes.UpstreamRegistry, error) {
		return "", "", fault.UnsupportedUpstreamRegistry.New("The specified upstream registry isn't supported: '%s' %s", name.Clip(url), why)
	}
	host := strings.ToLower(url)
	bare, port, err := net.SplitHostPort(host)
	if err != nil {
		bare, port = host, "443"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || len(host) > maxHost || !anyHost.MatchString(bare) {
		return refuse("is not a host, or a host with a port")
	}
	known := upstreamOf(host)
	switch {
	case s.hosts.Own(host):
		return refuse("is a host of this registry itself")
	case kind != "" && kind != known:
		return refuse("is not a registry of the kind " + string(kind))
	case known == "" && s.registry.Quirks().KnownUpstreams:
		return refuse("is not a registry that ECR knows")
	}
	return host, known, nil
}

// prefixOf returns a prefix without the slash at its end.
func prefixOf(prefix string) string { return strings.TrimSuffix(prefix, "/") }

// CreatePullThroughCacheRule creates a rule.
//
// Errors: fault.InvalidParameter, fault.UnsupportedUpstreamRegistry, fault.PullThroughCacheRuleAlreadyExists, fault.LimitExceeded, and
// those of credential. Source: ECR API reference, CreatePullThroughCacheRule.
func (s *Service) CreatePullThroughCacheRule(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.CreatePullThroughCacheRuleRequest) (*ecrtypes.CreatePullThroughCacheRuleResponse, error) {
	host, kind, err := s.hostOf(in.UpstreamRegistryUrl, in.UpstreamRegistry)
	if err != nil {
		return nil, err
	}
	r := meta.CacheRule{Registry: t.Registry, Prefix: prefixOf(in.EcrRepositoryPrefix), Upstream: string(kind), Host: host,
		UpstreamPrefix: prefixOf(in.UpstreamRepositoryPrefix), Credential: in.CredentialArn, Role: in.CustomRoleArn}
	if r.Prefix == meta.RootPrefix && r.UpstreamPrefix != "" && r.UpstreamPrefix != meta.RootPrefix {
		return nil, BadMember("upstreamRepositoryPrefix", "must be ROOT if ecrRepositoryPrefix is ROOT")
	}
	if err := s.credential(ctx, r); err != nil {
		return nil, err
	}
	if r, err = s.meta.CreateCacheRule(ctx, r); err != nil {
		return nil, err
	}
	return &ecrtypes.CreatePullThroughCacheRuleResponse{EcrRepositoryPrefix: r.Prefix, UpstreamRegistryUrl: r.Host,
		CreatedAt: awswire.At(r.CreatedAt), RegistryId: t.Account.String(), UpstreamRegistry: kind, CredentialArn: r.Credential,
		CustomRoleArn: r.Role, UpstreamRepositoryPrefix: r.UpstreamPrefix}, nil
}

// credential checks secret and role of a rule.
//
// Errors: fault.InvalidParameter, fault.UnableToAccessSecret, fault.SecretNotFound, fault.UnableToDecryptSecretValue.
func (s *Service) credential(ctx context.Context, r meta.CacheRule) error {
	if r.Role != "" && r.Upstream != string(ecrtypes.UpstreamRegistryEcr) {
		return BadMember("customRoleArn", "is only for upstream registries of ECR")
	}
	if r.Role != "" {
		if a, err := name.ParseARN(r.Role); err != nil || a.Service != "iam" || !strings.HasPrefix(a.Resource, "role/") {
			return BadMember("customRoleArn", "must be the ARN of a role")
		}
	}
	if r.Credential == "" {
		return nil
	}
	held, err := pullthrough.SecretOf(ctx, s.meta, r.Registry, r.Credential)
	if err != nil {
		return err
	}
	_, err = s.pull.Open(held)
	return err
}

// rule returns the rule with a prefix.
//
// Errors: fault.PullThroughCacheRuleNotFound.
func (s *Service) rule(ctx context.Context, t Registry, prefix string) (meta.CacheRule, error) {
	all, err := s.meta.CacheRules(ctx, t.Registry)
	if err != nil {
		return meta.CacheRule{}, err
	}
	prefix = prefixOf(prefix)
	i := slices.IndexFunc(all, func(r meta.CacheRule) bool { return r.Prefix == prefix })
	if i < 0 {
		return meta.CacheRule{}, meta.NoCacheRule(t.Registry, prefix)
	}
	return all[i], nil
}

// UpdatePullThroughCacheRule replaces the secret, the role, or both, of a rule.
//
// Errors: fault.InvalidParameter (neither is given), fault.PullThroughCacheRuleNotFound, and those of credential.
// Source: ECR API reference, UpdatePullThroughCacheRule.
func (s *Service) UpdatePullThroughCacheRule(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.UpdatePullThroughCacheRuleRequest) (*ecrtypes.UpdatePullThroughCacheRuleResponse, error) {
	if in.CredentialArn == "" && in.CustomRoleArn == "" {
		return nil, BadMember("credentialArn", "credentialArn or customRoleArn must be given")
	}
	r, err := s.rule(ctx, t, in.EcrRepositoryPrefix)
	if err != nil {
		return nil, err
	}
	if in.CredentialArn != "" {
		r.Credential = in.CredentialArn
	}
	if in.CustomRoleArn != "" {
		r.Role = in.CustomRoleArn
	}
	if err := s.credential(ctx, r); err != nil {
		return nil, err
	}
	if r.UpdatedAt, err = s.meta.UpdateCacheRule(ctx, r); err != nil {
		return nil, err
	}
	return &ecrtypes.UpdatePullThroughCacheRuleResponse{EcrRepositoryPrefix: r.Prefix, RegistryId: t.Account.String(),
		UpdatedAt: awswire.At(r.UpdatedAt), CredentialArn: r.Credential, CustomRoleArn: r.Role, UpstreamRepositoryPrefix: r.UpstreamPrefix}, nil
}

// DeletePullThroughCacheRule deletes a rule. Repositories and images that it has brought stay.
//
// Errors: fault.PullThroughCacheRuleNotFound. Source: ECR API reference, DeletePullThroughCacheRule.
func (s *Service) DeletePullThroughCacheRule(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.DeletePullThroughCacheRuleRequest) (*ecrtypes.DeletePullThroughCacheRuleResponse, error) {
	r, err := s.rule(ctx, t, in.EcrRepositoryPrefix)
	if err == nil {
		err = s.meta.DeleteCacheRule(ctx, t.Registry, r.Prefix)
	}
	if err != nil {
		return nil, err
	}
	return &ecrtypes.DeletePullThroughCacheRuleResponse{EcrRepositoryPrefix: r.Prefix, UpstreamRegistryUrl: r.Host,
		CreatedAt: awswire.At(r.CreatedAt), RegistryId: t.Account.String(), CredentialArn: r.Credential, CustomRoleArn: r.Role,
		UpstreamRepositoryPrefix: r.UpstreamPrefix}, nil
}

// DescribePullThroughCacheRules returns the rules with the prefixes of the request, or one page of all rules.
//
// Errors: fault.PullThroughCacheRuleNotFound, fault.InvalidParameter (the token; both prefixes and a page).
// Source: ECR API reference, DescribePullThroughCacheRules.
func (s *Service) DescribePullThroughCacheRules(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.DescribePullThroughCacheRulesRequest) (*ecrtypes.DescribePullThroughCacheRulesResponse, error) {
	out := &ecrtypes.DescribePullThroughCacheRulesResponse{PullThroughCacheRules: []ecrtypes.PullThroughCacheRule{}}
	if len(in.EcrRepositoryPrefixes) > 0 {
		if in.MaxResults != nil || in.NextToken != "" {
			return nil, BadMember("maxResults", "maxResults and nextToken cannot be used with ecrRepositoryPrefixes")
		}
		for _, prefix := range in.EcrRepositoryPrefixes {
			r, err := s.rule(ctx, t, prefix)
			if err != nil {
				return nil, err
			}
			out.PullThroughCacheRules = append(out.PullThroughCacheRules, showRule(r))
		}
		return out, nil
	}
	all, err := s.meta.CacheRules(ctx, t.Registry)
	if err != nil {
		return nil, err
	}
	scope := "rules " + t.Account.String() + " " + t.Region.String()
	var after string
	if err := s.resume(scope, in.NextToken, &after); err != nil {
		return nil, err
	}
	limit := pageSize(in.MaxResults, 100)
	for _, r := range all {
		if r.Prefix <= after {
			continue
		}
		if len(out.PullThroughCacheRules) == limit {
			out.NextToken = s.pages.Listing(scope).SealJSON(out.PullThroughCacheRules[limit-1].EcrRepositoryPrefix)
			break
		}
		out.PullThroughCacheRules = append(out.PullThroughCacheRules, showRule(r))
	}
	return out, nil
}

func showRule(r meta.CacheRule) ecrtypes.PullThroughCacheRule {
	return ecrtypes.PullThroughCacheRule{EcrRepositoryPrefix: r.Prefix, UpstreamRegistryUrl: r.Host, CreatedAt: awswire.At(r.CreatedAt),
		RegistryId: r.Registry.Account.String(), CredentialArn: r.Credential, CustomRoleArn: r.Role,
		UpstreamRepositoryPrefix: r.UpstreamPrefix, UpstreamRegistry: ecrtypes.UpstreamRegistry(r.Upstream), UpdatedAt: awswire.At(r.UpdatedAt)}
}

// maxValidation is the time for which a validation waits for the other registry.
const maxValidation = 20 * time.Second

// ValidatePullThroughCacheRule asks the registry of a rule whether it answers and accepts the credentials.
//
// Errors: fault.PullThroughCacheRuleNotFound. Source: ECR API reference, ValidatePullThroughCacheRule.
func (s *Service) ValidatePullThroughCacheRule(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.ValidatePullThroughCacheRuleRequest) (*ecrtypes.ValidatePullThroughCacheRuleResponse, error) {
	r, err := s.rule(ctx, t, in.EcrRepositoryPrefix)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, maxValidation)
	defer cancel()
	err = s.pull.Check(limited, r)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	valid := err == nil
	out := &ecrtypes.ValidatePullThroughCacheRuleResponse{EcrRepositoryPrefix: r.Prefix, RegistryId: t.Account.String(),
		UpstreamRegistryUrl: r.Host, CredentialArn: r.Credential, CustomRoleArn: r.Role, UpstreamRepositoryPrefix: r.UpstreamPrefix,
		IsValid: &valid}
	if valid {
		return out, nil
	}
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		out.Failure = "The registry " + r.Host + " refused: " + e.Public
	} else if limited.Err() != nil {
		out.Failure = "The registry " + r.Host + " did not answer in time"
	} else {
		out.Failure = fault.From(err).Public
	}
	return out, nil
}

// bring fetches the images of a pull that are absent, or whose tags are to be compared, by the rule for their repository. It sets the
// failures of those that the other registry did not give.
//
// Errors: fault.TargetChanged (images were fetched: the request is resolved again), fault.RepositoryNotFound,
// fault.UnableToGetUpstreamImage, and those of pullthrough.Service.Image that have no failure code.
func (s *Service) bring(ctx context.Context, by identity.Caller, r Images) error {
	q := pullthrough.Request{By: by, From: r.At.From, Registry: r.At.Registry, Name: r.Repo, Found: r.Repository.Repository}
	changed := false
	for i, one := range r.Named {
		ref := name.Reference{Tag: one.Tag}
		if ref.Tag == (name.Tag{}) {
			ref.Digest, _ = name.ParseDigest(one.ID.ImageDigest)
		}
		if ref == (name.Reference{}) || one.Failure != nil && one.Failure.FailureCode != ecrtypes.ImageFailureCodeImageNotFound {
			continue
		}
		fetched, err := s.pull.Image(ctx, q, ref, one.Head)
		if err == nil && fetched && q.Found.ID == 0 {
			return fault.TargetChanged.New("the repository was created for an image of another registry")
		}
		changed = changed || fetched
		if err == nil || errors.Is(err, fault.ImageNotFound) {
			continue
		}
		code := failureCode(err)
		if code == "" {
			return err
		}
		r.Named[i].Failure = &ecrtypes.ImageFailure{ImageId: &one.ID, FailureCode: code, FailureReason: fault.From(err).Public}
	}
	if changed {
		return fault.TargetChanged.New("images were fetched from another registry")
	}
	if failed := slices.ContainsFunc(r.Named, func(one NamedImage) bool {
		return one.Failure != nil && one.Failure.FailureCode != ecrtypes.ImageFailureCodeImageNotFound
	}); r.Missing != nil && !failed {
		return r.Missing
	}
	return nil
}

// failureCode returns the failure code of an image that another registry did not give; "" for an error of the whole request.
func failureCode(err error) ecrtypes.ImageFailureCode {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return ""
	}
	switch e.Reason {
	case upstream.RateLimited:
		return ecrtypes.ImageFailureCodeUpstreamTooManyRequests
	case upstream.Unauthorized, upstream.Denied:
		return ecrtypes.ImageFailureCodeUpstreamAccessDenied
	case upstream.Unavailable:
		return ecrtypes.ImageFailureCodeUpstreamUnavailable
	}
	return ""
}

// bringable returns the layer that a rule brings for a repository which does not hold it, after the other registry was asked whether it
// has it; nil if there is none.
//
// Errors: those of pullthrough.Layer.Probe.
func (s *Service) bringable(ctx context.Context, by identity.Caller, r Repository, d name.Digest) (*pullthrough.Layer, error) {
	if s.pull == nil {
		return nil, nil
	}
	q := pullthrough.Request{By: by, From: r.At.From, Registry: r.Registry, Name: r.Name, Found: r.Repository}
	l, err := s.pull.Layer(ctx, q, d)
	if err != nil || l == nil {
		return nil, err
	}
	return l, l.Probe(ctx)
}
