package upstream

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
)

// CreateRepository creates a repository of a registry of the kind ECR, with its default settings; one that exists already is a success.
//
// Errors: an [Error], of which Denied means that the credentials lack ecr:CreateRepository, or that of ctx. Invalid: the registry has
// another kind, whose protocol cannot create a repository.
func (r *Registry) CreateRepository(ctx context.Context, repo string) error {
	if _, ok := r.auth.(*ecrTokens); !ok {
		return invalid("the registry creates repositories only by a push")
	}
	t, repo, err := r.tokensOf(ctx, repo)
	if err != nil {
		return err
	}
	_, err = t.api.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &repo})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return network(ctx, r.host, ctx.Err())
	}
	api, ok := errors.AsType[smithy.APIError](err)
	switch {
	case !ok:
		return t.failed(err)
	case api.ErrorCode() == "RepositoryAlreadyExistsException":
		return nil
	}
	e := refusedCall(r.host, "CreateRepository", api, err)
	if e.Reason == Unauthorized && e.Status == 400 {
		switch api.ErrorCode() {
		case "LimitExceededException":
			e.Reason = Full
		case "InvalidParameterException", "InvalidTagParameterException", "KmsException", "TooManyTagsException":
			e.Reason = Rejected
		}
	}
	return e
}
