package ecrin

import (
	"context"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// OnNewRancher resolves an environment of Rancher that is stored or changed.
func OnNewRancher(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.PutRancherEnvironmentRequest) (
	guard.Target[meta.Object], error) {
	return onNew(s, ctx, req, in, meta.KindRancher, in.EnvironmentName)
}

// OnRancher resolves an environment of Rancher by its name, or all of an account.
func OnRancher[In interface {
	accountNamed
	GetEnvironmentName() string
}](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[meta.Object], error) {
	return onStored(s, ctx, req, in, meta.KindRancher, in.GetEnvironmentName())
}

func showRancher(o meta.Object) (ecrintypes.RancherEnvironment, error) {
	r, err := integration.ReadRancher(o)
	if err != nil {
		return ecrintypes.RancherEnvironment{}, err
	}
	out := ecrintypes.RancherEnvironment{Revision: revision(o.Version), EnvironmentName: o.Name, Arn: o.ARN(),
		AccountId: o.Account.String(), Hosts: []string{},
		Registries: []ecrintypes.RancherRegistry{}, CreatedAt: *awswire.At(o.CreatedAt), UpdatedAt: *awswire.At(o.UpdatedAt),
		CreatedBy: o.CreatedBy}
	out.Hosts = append(out.Hosts, r.Hosts...)
	for _, one := range r.Registries {
		out.Registries = append(out.Registries, showRancherRegistry(one))
	}
	return out, nil
}

func showRancherRegistry(r integration.RancherRegistry) ecrintypes.RancherRegistry {
	out := ecrintypes.RancherRegistry{RancherRegistryId: r.ID, ServerAddress: r.Address, RegistryName: r.Name, Description: r.Description,
		CreatedAt: *awswire.At(r.CreatedAt)}
	if c := r.Credential; c != nil {
		out.CredentialId, out.PublicValue, out.Email = c.ID, c.User, c.Email
		out.CredentialCreatedAt, out.CredentialUpdatedAt = awswire.At(c.CreatedAt), awswire.At(c.UpdatedAt)
	}
	return out
}

func rancherResponse(o meta.Object, err error) (*ecrintypes.RancherEnvironmentResponse, error) {
	if err != nil {
		return nil, err
	}
	one, err := showRancher(o)
	return &ecrintypes.RancherEnvironmentResponse{Environment: one}, err
}

// changeRancher changes an environment and returns the registry that change returns, as it then is. If another request has changed the
// environment since the decision, the request starts again.
//
// Errors: those of change and of integration.Service.OpenRancher and PutRancher.
func (s *Service) changeRancher(ctx context.Context, o meta.Object,
	change func(*integration.Rancher) (integration.RancherRegistry, error)) (*ecrintypes.RancherRegistryResponse, error) {
	r, err := s.remotes.OpenRancher(o)
	if err != nil {
		return nil, err
	}
	changed, err := change(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.remotes.PutRancher(ctx, o, r); err != nil {
		return nil, err
	}
	return &ecrintypes.RancherRegistryResponse{EnvironmentName: o.Name, Registry: showRancherRegistry(changed)}, nil
}

// PutRancherEnvironment stores an environment of Rancher, or sets the hosts of the one with the name. Without hosts they stay.
//
// Errors: those of integration.Service.OpenRancher and PutRancher.
func (s *Service) PutRancherEnvironment(ctx context.Context, _ identity.Caller, o meta.Object,
	in *ecrintypes.PutRancherEnvironmentRequest) (*ecrintypes.RancherEnvironmentResponse, error) {
	r, err := s.remotes.OpenRancher(o)
	if err != nil {
		return nil, err
	}
	if in.Hosts != nil {
		r.Hosts = slices.Compact(slices.Sorted(slices.Values(in.Hosts)))
	}
	return rancherResponse(s.remotes.PutRancher(ctx, o, r))
}

// DescribeRancherEnvironments returns the environments of an account by name, or one of them, with their registries and without the
// secrets of these.
func (s *Service) DescribeRancherEnvironments(ctx context.Context, _ identity.Caller, o meta.Object,
	_ *ecrintypes.DescribeRancherEnvironmentsRequest) (*ecrintypes.DescribeRancherEnvironmentsResponse, error) {
	all, err := described(ctx, s, o, showRancher)
	return &ecrintypes.DescribeRancherEnvironmentsResponse{Environments: all}, err
}

// DeleteRancherEnvironment deletes an environment with its registries. Errors: fault.ObjectNotFound.
func (s *Service) DeleteRancherEnvironment(ctx context.Context, _ identity.Caller, o meta.Object, _ *ecrintypes.RancherEnvironmentRequest) (
	*ecrintypes.RancherEnvironmentResponse, error) {
	return rancherResponse(o, s.meta.DeleteObject(ctx, o.Account, o.Kind, o.Name))
}

// PutRancherRegistry adds a registry to an environment, or changes name and description of the one with the id. What is absent stays.
//
// Errors: fault.ObjectNotFound, fault.ObjectAlreadyExists, fault.LimitExceeded, fault.InvalidParameter.
func (s *Service) PutRancherRegistry(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.PutRancherRegistryRequest) (
	*ecrintypes.RancherRegistryResponse, error) {
	return s.changeRancher(ctx, o, func(r *integration.Rancher) (integration.RancherRegistry, error) {
		if in.RancherRegistryId == "" {
			one, err := r.AddRegistry(integration.RancherRegistry{Address: in.ServerAddress, Name: in.RegistryName, Description: in.Description},
				s.now())
			if err != nil {
				return integration.RancherRegistry{}, err
			}
			return *one, nil
		}
		one, err := r.Registry(in.RancherRegistryId)
		switch {
		case err != nil:
			return integration.RancherRegistry{}, err
		case in.ServerAddress != "" && in.ServerAddress != one.Address:
			return integration.RancherRegistry{}, integration.Bad("serverAddress", "cannot be changed: its credential is for this address")
		}
		if in.RegistryName != "" {
			one.Name = in.RegistryName
		}
		if in.Description != "" {
			one.Description = in.Description
		}
		return *one, nil
	})
}

// DeleteRancherRegistry deletes a registry of an environment, with its credential. Errors: fault.ObjectNotFound.
func (s *Service) DeleteRancherRegistry(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.RancherRegistryRequest) (
	*ecrintypes.RancherRegistryResponse, error) {
	return s.changeRancher(ctx, o, func(r *integration.Rancher) (integration.RancherRegistry, error) {
		one, err := r.Registry(in.RancherRegistryId)
		if err != nil {
			return integration.RancherRegistry{}, err
		}
		was := *one
		r.DeleteRegistry(one)
		return was, nil
	})
}

// PutRancherCredential makes the credential of the registry with an id, which has none yet, or changes the credential with an id. Of a
// credential that is changed, what is absent stays.
//
// Errors: fault.ObjectNotFound, fault.ObjectAlreadyExists (the registry has a credential), fault.InvalidParameter.
func (s *Service) PutRancherCredential(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.PutRancherCredentialRequest) (
	*ecrintypes.RancherRegistryResponse, error) {
	if (in.RancherRegistryId == "") == (in.CredentialId == "") {
		return nil, integration.Bad("credentialId", "must be present without rancherRegistryId, and absent with it")
	}
	return s.changeRancher(ctx, o, func(r *integration.Rancher) (none integration.RancherRegistry, err error) {
		var one *integration.RancherRegistry
		if in.CredentialId != "" {
			one, err = r.CredentialOf(in.CredentialId)
		} else if one, err = r.Registry(in.RancherRegistryId); err == nil && one.Credential != nil {
			err = fault.ObjectAlreadyExists.New("the registry %s already has the credential %s", one.ID, one.Credential.ID)
		}
		if err == nil {
			err = r.SetCredential(one, in.PublicValue, in.Email, in.SecretValue, s.now())
		}
		if err != nil {
			return none, err
		}
		return *one, nil
	})
}

// DeleteRancherCredential deletes the credential of a registry. It returns the registry as it was. Errors: fault.ObjectNotFound.
func (s *Service) DeleteRancherCredential(ctx context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.RancherCredentialRequest) (
	*ecrintypes.RancherRegistryResponse, error) {
	return s.changeRancher(ctx, o, func(r *integration.Rancher) (integration.RancherRegistry, error) {
		one, err := r.CredentialOf(in.CredentialId)
		if err != nil {
			return integration.RancherRegistry{}, err
		}
		was := *one
		r.DeleteCredential(one)
		return was, nil
	})
}

// GetRancherHostCredentials returns the credentials of the registries of an environment for one of its hosts, which pulls with them. It is
// the only operation that returns their secrets, and an action of its own, so that who writes credentials cannot read them.
//
// Errors: fault.ObjectNotFound (the environment has no such host), fault.IntegrationFailed.
func (s *Service) GetRancherHostCredentials(_ context.Context, _ identity.Caller, o meta.Object, in *ecrintypes.RancherHostRequest) (
	*ecrintypes.RancherHostCredentialsResponse, error) {
	r, err := s.remotes.OpenRancher(o)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(r.Hosts, in.HostName) {
		return nil, fault.ObjectNotFound.New("the Rancher environment %s has no host %s", o.Name, name.Clip(in.HostName))
	}
	out := &ecrintypes.RancherHostCredentialsResponse{Credentials: []ecrintypes.RancherHostCredential{}}
	for i := range r.Registries {
		if one := &r.Registries[i]; one.Credential != nil {
			out.Credentials = append(out.Credentials, ecrintypes.RancherHostCredential{ServerAddress: one.Address,
				PublicValue: one.Credential.User, SecretValue: r.Secret(one).Reveal(), UpdatedAt: *awswire.At(one.Credential.UpdatedAt)})
		}
	}
	return out, nil
}
