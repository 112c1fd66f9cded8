package integration

import (
	"context"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// At returns the registry at the host of an image, with the credentials of an integration. The host must be that of the integration, with
// one exception: a token of Amazon ECR serves all registries of its region that its principal may read, so that the host may have another
// account there. Then tokenOf is the account of the token; otherwise it is "". Credentials are sent to no other host.
//
// Errors: fault.IntegrationFailed (it is for another host or is none of a registry; those of Remote).
func (s *Service) At(ctx context.Context, i meta.Integration, host string) (r *upstream.Registry, tokenOf string, err error) {
	settings, err := SettingsOf(i)
	if err != nil {
		return nil, "", err
	}
	own := strings.ToLower(settings.Host)
	switch {
	case i.Kind != ECR && i.Kind != Ecrin && i.Kind != OCI:
		return nil, "", fault.IntegrationFailed.New("the integration %s is not one of a registry", i.Name)
	case own == host, own == "registry-1.docker.io" && host == report.DockerHub:
		remote, err := s.Remote(ctx, i)
		if err != nil {
			return nil, "", err
		}
		return remote.Registry, "", nil
	}
	account, region, there := report.ECRHost(host)
	ownAccount, ownRegion, isECR := report.ECRHost(own)
	if i.Kind != ECR || !there || !isECR || strings.TrimPrefix(host, account) != strings.TrimPrefix(own, ownAccount) {
		if there && isECR && region != ownRegion {
			return nil, "",
				fault.IntegrationFailed.New("the integration %s has tokens for the region %s, and the image is in %s: name an integration of that region",
					i.Name, ownRegion, region)
		}
		return nil, "",
			fault.IntegrationFailed.New("the integration %s is for the registry %s, and the image is at %s: name an integration of that registry",
				i.Name, own, host)
	}
	cloud, err := s.cloudOf(ctx, i, settings)
	if err != nil {
		return nil, "", err
	}
	e, err := s.open(i, cloud)
	if err != nil {
		return nil, "", err
	}
	e.Host = host
	if r, err = s.client.Registry(e); err != nil {
		return nil, "", fault.IntegrationFailed.New("the settings of the integration %s are not valid", i.Name).Because(err)
	}
	return r, ownAccount, nil
}

// Direct returns the registry at a host with a password; with an empty one anonymously.
//
// Errors: fault.InvalidParameter.
func (s *Service) Direct(host, username string, password secret.String) (*upstream.Registry, error) {
	r, err := s.client.Registry(upstream.Endpoint{Host: host, Username: username, Password: password})
	if err != nil {
		return nil, Bad("registryHost", publicOf(err)).Because(err)
	}
	return r, nil
}
