package ecrin

import (
	"context"
	"errors"
	"slices"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/vendorpolicy"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Shipped is an application on which a request acts, with the host of the request.
type Shipped struct {
	meta.Application
	Host   endpoint.Host
	Region name.Region // of the request
	Secure bool        // the request came by TLS

	Applications []meta.Application // those of a list
	Channels     []meta.Channel     // those that the request names, or those of a list
}

// applicationNamed is an input with the members accountId and applicationSlug.
type applicationNamed interface {
	accountNamed
	GetApplicationSlug() string
}

// onApplication resolves an application, which need not exist: it then has no ID, and the target says so.
func onApplication(s *Service, ctx context.Context, req guard.Request, in accountNamed, slug string) (t guard.Target[Shipped], err error) {
	of, err := OnAccount(s, ctx, req, in)
	if err != nil {
		return t, err
	}
	t = guard.Target[Shipped]{Asks: of.Asks, Value: Shipped{Host: req.Host, Region: req.Region, Secure: req.From.Secure,
		Application: meta.Application{Account: of.Value, Slug: slug}}}
	t.Asks[0].Resource = t.Value.ARN()
	a, err := s.meta.Application(ctx, of.Value, slug)
	switch {
	case err == nil:
		t.Value.Application = a
	case errors.Is(err, fault.ObjectNotFound):
		t.Absent, err = err, nil
	}
	return t, err
}

// OnNewApplication resolves an application that is made.
func OnNewApplication(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.CreateApplicationRequest) (
	guard.Target[Shipped], error) {
	slug := in.ApplicationSlug
	if slug == "" {
		slug = vendor.Slug(in.ApplicationName)
	}
	t, err := onApplication(s, ctx, req, in, slug)
	t.Absent = nil
	return t, err
}

// OnApplications resolves an application, or all of an account.
func OnApplications(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.DescribeApplicationsRequest) (
	guard.Target[Shipped], error) {
	if in.ApplicationSlug != "" {
		return onApplication(s, ctx, req, in, in.ApplicationSlug)
	}
	t, err := onApplication(s, ctx, req, in, "*")
	if err != nil {
		return t, err
	}
	t.Absent, t.Value.Slug = nil, ""
	if t.Value.Applications, err = s.meta.Applications(ctx, t.Value.Account); err != nil || !yes(in.Permitted) {
		return t, err
	}
	err = selected(s, ctx, req, &t.Asks[0], "ecrin:DescribeApplications", &t.Value.Applications, func(ask *guard.Ask, a meta.Application) {
		ask.Resource = a.ARN()
	})
	return t, err
}

// selected keeps of a list what the caller may see by itself, at most a few hundred decisions. If that is something, whole, the ask for the
// whole list, needs no further permission; otherwise it stays, so that who may see nothing is denied. about makes an ask one for a part.
func selected[T any](s *Service, ctx context.Context, req guard.Request, whole *guard.Ask, action string, all *[]T,
	about func(*guard.Ask, T)) error {
	var kept []T
	for _, one := range *all {
		ask := *whole
		ask.Action, ask.Reserved = action, s.reserved(action)
		about(&ask, one)
		may, err := s.guard.Allowed(ctx, req.By, req.From, ask)
		if err != nil {
			return err
		}
		if may {
			kept = append(kept, one)
		}
	}
	if len(kept) > 0 {
		*all, whole.Own = kept, true
	}
	return nil
}

func withChannel(ask guard.Ask, id string) guard.Ask {
	ask.Keys = append(slices.Clip(ask.Keys), guard.ConditionKey{Name: vendorpolicy.ChannelKey, Values: []string{id}})
	return ask
}

// onChannels resolves an application with channels of it, which are named by their ids or slugs. Each needs the permission.
func onChannels(s *Service, ctx context.Context, req guard.Request, in applicationNamed, named []string) (guard.Target[Shipped], error) {
	t, err := onApplication(s, ctx, req, in, in.GetApplicationSlug())
	if err != nil || len(named) == 0 {
		return t, err
	}
	ask, absent := t.Asks[0], t.Absent
	t.Asks = nil
	for _, one := range named {
		c := meta.Channel{ID: one}
		if absent == nil {
			switch c, err = s.meta.Channel(ctx, t.Value.ID, one); {
			case err == nil:
				t.Value.Channels = append(t.Value.Channels, c)
			case errors.Is(err, fault.ObjectNotFound):
				c.ID, t.Absent = one, err
			default:
				return t, err
			}
		}
		if !slices.ContainsFunc(t.Asks, func(a guard.Ask) bool { return a.Keys[len(a.Keys)-1].Values[0] == c.ID }) {
			t.Asks = append(t.Asks, withChannel(ask, c.ID))
		}
	}
	return t, nil
}

// channelNamed is an input with the members accountId, applicationSlug and channelId.
type channelNamed interface {
	applicationNamed
	GetChannelId() string
}

// OnChannel resolves a channel of an application, which is the only one of Channels.
func OnChannel[In channelNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Shipped], error) {
	return onChannels(s, ctx, req, in, []string{in.GetChannelId()})
}

// OnPromotion resolves the channels on which a release is promoted.
func OnPromotion(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.PromoteReleaseRequest) (guard.Target[Shipped], error) {
	return onChannels(s, ctx, req, in, in.ChannelIds)
}

// OnChannelList resolves the channels of an application that are not archived, in the order of their creation.
func OnChannelList(s *Service, ctx context.Context, req guard.Request, in *ecrintypes.ListChannelsRequest) (guard.Target[Shipped], error) {
	t, err := onApplication(s, ctx, req, in, in.ApplicationSlug)
	if err != nil || t.Absent != nil {
		return t, err
	}
	if t.Value.Channels, err = s.meta.Channels(ctx, t.Value.ID); err != nil || !yes(in.Permitted) {
		return t, err
	}
	err = selected(s, ctx, req, &t.Asks[0], "ecrin:ListChannels", &t.Value.Channels, func(ask *guard.Ask, c meta.Channel) {
		*ask = withChannel(*ask, c.ID)
	})
	return t, err
}

// OnApplication resolves an application.
func OnApplication[In applicationNamed](s *Service, ctx context.Context, req guard.Request, in In) (guard.Target[Shipped], error) {
	return onApplication(s, ctx, req, in, in.GetApplicationSlug())
}

// yes reports whether a flag of a request is set to true.
func yes(flag *bool) bool { return flag != nil && *flag }

func showApplication(a meta.Application) ecrintypes.VendorApplication {
	return ecrintypes.VendorApplication{ApplicationSlug: a.Slug, ApplicationId: a.ID, ApplicationName: a.Name, Arn: a.ARN(),
		AccountId: a.Account.String(), LastRelease: a.LastRelease, CreatedAt: awswire.Time{Time: a.CreatedAt}, CreatedBy: a.CreatedBy}
}

func showChannel(c meta.Channel) ecrintypes.VendorChannel {
	return ecrintypes.VendorChannel{ChannelId: c.ID, ChannelSlug: c.Slug, ChannelName: c.Name, Description: c.Description,
		IsDefault: c.Default, SemverRequired: c.SemverRequired, Archived: c.Archived, LastSequence: c.LastSequence,
		ProxyDomain: c.ProxyDomain, RegistryDomain: c.RegistryDomain,
		CreatedAt: awswire.Time{Time: c.CreatedAt}}
}

func showChannels(all []meta.Channel) []ecrintypes.VendorChannel {
	out := make([]ecrintypes.VendorChannel, 0, len(all))
	for _, c := range all {
		out = append(out, showChannel(c))
	}
	return out
}

// withCurrent adds to channels the newest version that each offers.
func (s *Service) withCurrent(ctx context.Context, all []ecrintypes.VendorChannel) ([]ecrintypes.VendorChannel, error) {
	for i := range all {
		newest, err := s.meta.NewestPromotions(ctx, all[i].ChannelId, 0, false, 1)
		if err != nil {
			return nil, err
		}
		for _, p := range newest {
			all[i].CurrentSequence, all[i].CurrentRelease, all[i].CurrentVersion = &p.Sequence, &p.Release, p.Label
		}
	}
	return all, nil
}

// CreateApplication makes an application with the channels Unstable, Beta and Stable.
//
// Errors: those of vendor.Service.CreateApplication.
func (s *Service) CreateApplication(ctx context.Context, by identity.Caller, at Shipped, in *ecrintypes.CreateApplicationRequest) (
	*ecrintypes.VendorApplicationResponse, error) {
	a, err := s.vendor.CreateApplication(ctx, at.Account, in.ApplicationName, at.Slug, by.ARN)
	if err != nil {
		return nil, err
	}
	channels, err := s.meta.Channels(ctx, a.ID)
	return &ecrintypes.VendorApplicationResponse{Application: showApplication(a), Channels: showChannels(channels)}, err
}

// DescribeApplications returns an application, or all of an account by their slugs. With permitted they are those that the caller may
// describe alone; who may describe none of them is denied.
func (s *Service) DescribeApplications(_ context.Context, _ identity.Caller, at Shipped, _ *ecrintypes.DescribeApplicationsRequest) (
	*ecrintypes.DescribeApplicationsResponse, error) {
	all := at.Applications
	if at.ID != "" {
		all = []meta.Application{at.Application}
	}
	out := &ecrintypes.DescribeApplicationsResponse{Applications: []ecrintypes.VendorApplication{}}
	for _, a := range all {
		out.Applications = append(out.Applications, showApplication(a))
	}
	return out, nil
}

// DeleteApplication deletes an application with its channels, releases and customers; with customers that are not archived only by force.
//
// Errors: those of meta.Store.DeleteApplication.
func (s *Service) DeleteApplication(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.DeleteApplicationRequest) (
	*ecrintypes.VendorApplicationResponse, error) {
	return &ecrintypes.VendorApplicationResponse{Application: showApplication(at.Application)},
		s.meta.DeleteApplication(ctx, at.Application, yes(in.Force))
}

// CreateChannel makes a channel of an application.
//
// Errors: those of vendor.Service.CreateChannel.
func (s *Service) CreateChannel(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.CreateChannelRequest) (
	*ecrintypes.ChannelResponse, error) {
	c, err := s.vendor.CreateChannel(ctx, at.Application, meta.Channel{Name: in.ChannelName, Description: in.Description,
		SemverRequired: yes(in.SemverRequired)})
	return &ecrintypes.ChannelResponse{Channel: showChannel(c)}, err
}

// ListChannels returns the channels of an application that are not archived, in the order of their creation, each with the newest version
// that it offers. With permitted they are those that the caller may list alone, by the condition key ecrin:ChannelId; who may list none of
// them is denied.
func (s *Service) ListChannels(ctx context.Context, _ identity.Caller, at Shipped, _ *ecrintypes.ListChannelsRequest) (
	*ecrintypes.ListChannelsResponse, error) {
	shown, err := s.withCurrent(ctx, showChannels(at.Channels))
	return &ecrintypes.ListChannelsResponse{Channels: shown}, err
}

// UpdateChannel changes what is in the request of a channel. Its slug stays.
//
// Errors: those of vendor.Service.ChangeChannel.
func (s *Service) UpdateChannel(ctx context.Context, _ identity.Caller, at Shipped, in *ecrintypes.UpdateChannelRequest) (
	*ecrintypes.ChannelResponse, error) {
	change := meta.ChannelChange{Description: in.Description, SemverRequired: in.SemverRequired, ProxyDomain: in.ProxyDomain,
		RegistryDomain: in.RegistryDomain}
	if in.ChannelName != "" {
		change.Name = &in.ChannelName
	}
	c, err := s.vendor.ChangeChannel(ctx, at.Channels[0], change)
	if err != nil {
		return nil, err
	}
	return &ecrintypes.ChannelResponse{Channel: showChannel(c)}, nil
}

// ArchiveChannel archives a channel that no customer is on.
//
// Errors: those of meta.Store.ArchiveChannel.
func (s *Service) ArchiveChannel(ctx context.Context, _ identity.Caller, at Shipped, _ *ecrintypes.ChannelRequest) (
	*ecrintypes.ChannelResponse, error) {
	c := at.Channels[0]
	c.Archived = true
	return &ecrintypes.ChannelResponse{Channel: showChannel(c)}, s.meta.ArchiveChannel(ctx, c)
}
