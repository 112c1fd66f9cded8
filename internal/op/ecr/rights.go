package ecr

import (
	"context"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// May reports for each action whether the caller of a request may do it on a repository of the registry of an account in the region of the
// request, by the policies in force now. A repository named "" stands for all of the registry ("*"). It does nothing and records nothing:
// what is done later is decided again.
//
// Errors: those of guard.Guard.Allowed; a database error.
func (s *Service) May(ctx context.Context, req guard.Request, account name.Account, repository string, actions ...string) ([]bool, error) {
	at := Registry{Registry: name.Registry{Account: account, Region: req.Region}, Host: req.Host, From: req.From}
	ask := guard.Ask{Owner: guard.OwnedBy(account), Region: req.Region, Resource: "*"}
	if repository != "" {
		t, err := s.Repository(ctx, at, repository)
		if err != nil {
			return nil, err
		}
		ask = t.Asks[0]
	}
	all := make([]bool, len(actions))
	for i, action := range actions {
		one := ask
		one.Action = action
		allowed, err := s.guard.Allowed(ctx, req.By, req.From, one)
		if err != nil {
			return nil, err
		}
		all[i] = allowed
	}
	return all, nil
}

// MayOn reports for each action whether the caller of a request may do it on a resource of an account that is no repository, such as
// arn:aws:ecrin::ACCOUNT:integration/NAME, by the policies in force now. It does nothing and records nothing.
//
// Errors: those of guard.Guard.Allowed.
func (s *Service) MayOn(ctx context.Context, req guard.Request, account name.Account, resource string, actions ...string) ([]bool, error) {
	return s.MayWith(ctx, req, account, resource, nil, actions...)
}

// MayWith is MayOn with condition keys, as the operation has them that does an action.
func (s *Service) MayWith(ctx context.Context, req guard.Request, account name.Account, resource string, keys []guard.ConditionKey,
	actions ...string) ([]bool, error) {
	all := make([]bool, len(actions))
	for i, action := range actions {
		var err error
		if all[i], err = s.guard.Allowed(ctx, req.By, req.From, guard.Ask{Action: action, Owner: guard.OwnedBy(account), Region: req.Region,
			Resource: resource, Keys: keys}); err != nil {
			return nil, err
		}
	}
	return all, nil
}
