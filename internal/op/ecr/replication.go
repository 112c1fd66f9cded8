package ecr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxDestinations limits the different destinations of all rules of a replication configuration. Source: ECR API reference,
// ReplicationConfiguration.
const maxDestinations = 25

// prefixMatch is the only type of filters of replication rules.
const prefixMatch = "PREFIX_MATCH"

// OnReplicationRules resolves the registry of the caller. A caller whose rules name destinations for which integrations stand needs
// ecrin:UseIntegration for each of these: the copies are made with their credentials.
func OnReplicationRules(s *Service, ctx context.Context, req guard.Request, in *ecrtypes.PutReplicationConfigurationRequest) (
	guard.Target[Registry], error) {
	t, err := OnRegistry(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	asked := map[int64]bool{}
	for _, rule := range in.ReplicationConfiguration.Rules {
		for _, d := range rule.Destinations {
			to, err := destination(t.Value.Registry, d)
			if err != nil {
				continue // the operation refuses it
			}
			i, err := s.meta.IntegrationFor(ctx, t.Value.Account, to)
			if errors.Is(err, fault.IntegrationNotFound) || asked[i.ID] {
				continue
			}
			if err != nil {
				return t, err
			}
			asked[i.ID] = true
			t.Asks = append(t.Asks, guard.Ask{Action: "ecrin:UseIntegration", Owner: guard.OwnedBy(i.Account), Region: req.Region,
				Resource: i.ARN()})
		}
	}
	return t, nil
}

// DescribeRegistry describes the registry of the caller. Source: ECR API reference, DescribeRegistry.
func (s *Service) DescribeRegistry(ctx context.Context, _ identity.Caller, t Registry,
	_ *ecrtypes.DescribeRegistryRequest) (*ecrtypes.DescribeRegistryResponse, error) {
	rules, err := s.meta.ReplicationRules(ctx, t.Registry)
	if err != nil {
		return nil, err
	}
	return &ecrtypes.DescribeRegistryResponse{RegistryId: t.Account.String(), ReplicationConfiguration: showRules(rules)}, nil
}

func showRules(rules []meta.ReplicationRule) *ecrtypes.ReplicationConfiguration {
	out := &ecrtypes.ReplicationConfiguration{Rules: []ecrtypes.ReplicationRule{}}
	for _, r := range rules {
		one := ecrtypes.ReplicationRule{Destinations: []ecrtypes.ReplicationDestination{}}
		for _, d := range r.Destinations {
			one.Destinations = append(one.Destinations, ecrtypes.ReplicationDestination{Region: d.Region.String(), RegistryId: d.Account.String()})
		}
		for _, p := range r.Prefixes {
			one.RepositoryFilters = append(one.RepositoryFilters, ecrtypes.RepositoryFilter{Filter: p, FilterType: prefixMatch})
		}
		out.Rules = append(out.Rules, one)
	}
	return out
}

// ReplicationTag returns the tag of a replication configuration, by which a request says which one it has seen: the hash of its JSON as
// DescribeRegistry returns it, and that of no configuration if it has no rules.
func ReplicationTag(c *ecrtypes.ReplicationConfiguration) (string, error) {
	if c == nil || len(c.Rules) == 0 {
		return guard.NoneSeen, nil
	}
	text, err := json.Marshal(c)
	return policy.Hash(string(text)), err
}

// PutReplicationConfiguration replaces the replication configuration of the registry of the caller. Images that are pushed or restored
// from then on are copied.
//
// Errors: fault.InvalidParameter (a destination that is the registry itself or in another partition, or too many of them),
// fault.PreconditionFailed (by ReplicationTag). Source: ECR user guide, private image replication.
func (s *Service) PutReplicationConfiguration(ctx context.Context, _ identity.Caller, t Registry,
	in *ecrtypes.PutReplicationConfigurationRequest) (*ecrtypes.PutReplicationConfigurationResponse, error) {
	const member = "replicationConfiguration"
	var rules []meta.ReplicationRule
	var all []name.Registry
	for _, r := range in.ReplicationConfiguration.Rules {
		var one meta.ReplicationRule
		for _, d := range r.Destinations {
			to, err := destination(t.Registry, d)
			if err != nil {
				return nil, err
			}
			one.Destinations = append(one.Destinations, to)
			if !slices.Contains(all, to) {
				all = append(all, to)
			}
		}
		for _, f := range r.RepositoryFilters {
			one.Prefixes = append(one.Prefixes, f.Filter)
		}
		rules = append(rules, one)
	}
	if len(all) > maxDestinations {
		return nil, BadMember(member, fmt.Sprintf(
			"Replication configuration can have at most %d unique destinations across all rules", maxDestinations))
	}
	if err := s.meta.ReplaceReplicationRules(ctx, t.Registry, rules, func(now []meta.ReplicationRule) error {
		tag, err := ReplicationTag(showRules(now))
		if err != nil {
			return err
		}
		return t.If.Check(tag)
	}); err != nil {
		return nil, err
	}
	return &ecrtypes.PutReplicationConfigurationResponse{ReplicationConfiguration: &in.ReplicationConfiguration}, nil
}

// destination parses a destination of replications of a registry.
//
// Errors: fault.InvalidParameter.
func destination(from name.Registry, d ecrtypes.ReplicationDestination) (to name.Registry, err error) {
	const member = "destination"
	if to.Account, err = name.ParseAccount(d.RegistryId); err != nil {
		return to, err
	}
	if to.Region, err = name.ParseRegion(d.Region); err != nil {
		return to, BadMember(member, fmt.Sprintf("Region '%s' is not a valid region", name.Clip(d.Region))).Because(err)
	}
	switch {
	case to == from:
		return to, BadMember(member, "Replication destination cannot be the same as the source registry")
	case to.Region.Partition() != from.Region.Partition():
		return to, BadMember(member, fmt.Sprintf(
			"Replication destination must be in the partition %s of the source registry", from.Region.Partition()))
	}
	return to, nil
}

// OnReplicated resolves the image of a request for the state of its replications.
func OnReplicated(s *Service, ctx context.Context, req guard.Request,
	in *ecrtypes.DescribeImageReplicationStatusRequest) (guard.Target[Images], error) {
	return onImages(s, ctx, req, in, []ecrtypes.ImageIdentifier{in.ImageId})
}

// DescribeImageReplicationStatus tells how far the copies of an image to its destinations are.
//
// Errors: fault.InvalidParameter, fault.ImageNotFound. Source: ECR API reference, DescribeImageReplicationStatus.
func (s *Service) DescribeImageReplicationStatus(ctx context.Context, _ identity.Caller, r Images,
	in *ecrtypes.DescribeImageReplicationStatusRequest) (*ecrtypes.DescribeImageReplicationStatusResponse, error) {
	one := r.Named[0]
	if one.Failure != nil {
		return nil, describeFailure(r.Repository, one)
	}
	all, err := s.meta.Replications(ctx, r.ID, one.Head.Digest)
	if err != nil {
		return nil, err
	}
	out := &ecrtypes.DescribeImageReplicationStatusResponse{RepositoryName: r.Name.String(), ImageId: &in.ImageId,
		ReplicationStatuses: []ecrtypes.ImageReplicationStatus{}}
	for _, one := range all {
		out.ReplicationStatuses = append(out.ReplicationStatuses, ecrtypes.ImageReplicationStatus{
			Region: one.To.Region.String(), RegistryId: one.To.Account.String(), Status: replicationStates[one.State], FailureCode: one.Code,
		})
	}
	return out, nil
}

var replicationStates = map[meta.ReplicationState]ecrtypes.ReplicationStatus{
	meta.ReplicationStarted: "IN_PROGRESS", meta.ReplicationComplete: "COMPLETE", meta.ReplicationFailed: "FAILED",
}
