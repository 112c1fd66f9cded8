package upstream

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const maxUntagged = 1_000_000 // images of a repository that are listed

// Untagged returns the digests of the images of a repository that have no tag, with those that only indexes and referrers name.
//
// Errors: an [Error], or that of ctx. Invalid: the registry is not of the kind ECR; the protocol of others lists tags only.
func (r *Registry) Untagged(ctx context.Context, repo string) ([]name.Digest, error) {
	t, repo, err := r.tokensOf(ctx, repo)
	if err != nil {
		return nil, err
	}
	var all []name.Digest
	in := &ecr.ListImagesInput{RepositoryName: &repo, MaxResults: aws.Int32(1000),
		Filter: &types.ListImagesFilter{TagStatus: types.TagStatusUntagged}}
	for pages := ecr.NewListImagesPaginator(t.api, in); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if ctx.Err() != nil {
			return nil, network(ctx, r.host, ctx.Err())
		}
		if api, ok := errors.AsType[smithy.APIError](err); ok {
			return nil, refusedCall(r.host, "ListImages", api, err)
		}
		if err != nil {
			return nil, t.failed(err)
		}
		for _, i := range page.ImageIds {
			d, err := name.ParseDigest(aws.ToString(i.ImageDigest))
			if err != nil {
				return nil, r.fail(Lied, "ListImages gives a digest that is not valid")
			}
			if all = append(all, d); len(all) > maxUntagged {
				return nil, r.fail(Lied, "the repository lists more than %d images", maxUntagged)
			}
		}
	}
	return all, nil
}
