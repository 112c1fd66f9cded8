package release

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// replicaPause is the time between two looks for a copy.
const replicaPause = 500 * time.Millisecond

// Replicate makes the registry of an image copy its repository to another region from now on, beside what it copies already, starts a
// backfill of what was pushed before, since rules are for later pushes only, and waits until it is there.
//
// Errors: the image is not there; those of the server; the time ends.
func (s *Server) Replicate(ctx context.Context, p Place, to name.Region, wait time.Duration) (Facts, error) {
	f, bad := s.Look(ctx, p, "")
	if bad != nil {
		return f, fmt.Errorf("%s", bad.Text)
	}
	calls, err := s.client(ctx, p.Registry)
	if err != nil {
		return f, err
	}
	if err := addRule(ctx, calls, p, to); err != nil {
		return f, err
	}
	there := p
	there.Registry.Region = to
	if copied, bad := s.Look(ctx, there, ""); bad == nil && copied.Digest == f.Digest {
		return f, nil
	}
	account, region := p.Registry.Account.String(), to.String()
	_, err = calls.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{
		Destination: &types.ReplicationDestination{Region: &region, RegistryId: &account}})
	if runs := (*types.ReplicationBackfillInProgressException)(nil); err != nil && !errors.As(err, &runs) {
		return f, fmt.Errorf("the rule is set; copying what was pushed before: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		if copied, bad := s.Look(ctx, there, ""); bad == nil && copied.Digest == f.Digest {
			return f, nil
		}
		select {
		case <-ctx.Done():
			return f, fmt.Errorf("the rule is set, and %s was not in %s after %s: look again later", p.reference(), to, wait)
		case <-time.After(replicaPause):
		}
	}
}

// addRule adds a rule for the repository, unless one has it already.
func addRule(ctx context.Context, calls *ecr.Client, p Place, to name.Region) error {
	now, err := calls.DescribeRegistry(ctx, &ecr.DescribeRegistryInput{})
	if err != nil {
		return fmt.Errorf("reading the replication rules: %w", err)
	}
	config := now.ReplicationConfiguration
	if config == nil {
		config = &types.ReplicationConfiguration{}
	}
	account, region, repo := p.Registry.Account.String(), to.String(), p.Repo.String()
	for _, r := range config.Rules {
		filtered := len(r.RepositoryFilters) == 0
		for _, f := range r.RepositoryFilters {
			filtered = filtered || strings.HasPrefix(repo, aws.ToString(f.Filter))
		}
		for _, d := range r.Destinations {
			if filtered && aws.ToString(d.Region) == region && aws.ToString(d.RegistryId) == account {
				return nil
			}
		}
	}
	config.Rules = append(config.Rules, types.ReplicationRule{
		Destinations:      []types.ReplicationDestination{{Region: &region, RegistryId: &account}},
		RepositoryFilters: []types.RepositoryFilter{{Filter: &repo, FilterType: types.RepositoryFilterTypePrefixMatch}},
	})
	if _, err := calls.PutReplicationConfiguration(ctx, &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: config}); err != nil {
		return fmt.Errorf("setting the replication rules: %w", err)
	}
	return nil
}
