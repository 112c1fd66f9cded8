package vendorapi

import (
	"errors"
	"net/http"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

var applicationRows = []row{
	{method: "GET", path: "apps", serve: listApps},
	{method: "POST", path: "app", serve: createApp},
	{method: "GET", path: "app/{app}", serve: getApp},
	{method: "DELETE", path: "app/{app}", serve: deleteApp},
	{method: "GET", path: "app/{app}/channels", serve: listChannels},
	{method: "POST", path: "app/{app}/channel", serve: createChannel},
	{method: "GET", path: "app/{app}/channel/{channel}", serve: getChannel},
	{method: "PATCH", path: "app/{app}/channel/{channel}", serve: changeChannel},
	{method: "PUT", path: "app/{app}/channel/{channel}", serve: changeChannel},
	{method: "DELETE", path: "app/{app}/channel/{channel}", serve: archiveChannel},
}

type app struct {
	ID          string    `json:"id"`
	Slug        string    `json:"slug"`
	Name        string    `json:"name"`
	TeamID      string    `json:"teamId"` // the account
	Description string    `json:"description"`
	Created     time.Time `json:"created"`
	RenamedAt   *string   `json:"renamedAt"`
	IsArchived  bool      `json:"isArchived"`
	IsKotsApp   bool      `json:"isKotsApp"`
	Channels    []channel `json:"channels,omitempty"`
}

func appOf(a ecrintypes.VendorApplication, channels []ecrintypes.VendorChannel) app {
	out := app{ID: a.ApplicationId, Slug: a.ApplicationSlug, Name: a.ApplicationName, TeamID: a.AccountId, Created: a.CreatedAt.Time,
		IsKotsApp: true}
	for _, c := range channels {
		out.Channels = append(out.Channels, channelOf(a.ApplicationId, c))
	}
	return out
}

type channel struct {
	ID              string           `json:"id"`
	AppID           string           `json:"appId"`
	Name            string           `json:"name"`
	Description     string           `json:"description"`
	Slug            string           `json:"channelSlug"`
	Icon            string           `json:"channelIcon"`
	ChannelSequence int64            `json:"channelSequence"` // of the newest version that is offered
	ReleaseSequence int64            `json:"releaseSequence"`
	CurrentVersion  string           `json:"currentVersion"`
	ReleaseLabel    string           `json:"releaseLabel"`
	NumReleases     int64            `json:"numReleases"`
	Created         time.Time        `json:"created"`
	Updated         time.Time        `json:"updated"`
	IsDefault       bool             `json:"isDefault"`
	IsArchived      bool             `json:"isArchived"`
	IsHelmOnly      bool             `json:"isHelmOnly"`
	SemverRequired  bool             `json:"semverRequired"`
	Releases        []channelRelease `json:"releases"`
}

func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func channelOf(appID string, c ecrintypes.VendorChannel) channel {
	return channel{ID: c.ChannelId, AppID: appID, Name: c.ChannelName, Description: c.Description, Slug: c.ChannelSlug,
		ChannelSequence: valueOf(c.CurrentSequence), ReleaseSequence: valueOf(c.CurrentRelease), CurrentVersion: c.CurrentVersion,
		ReleaseLabel: c.CurrentVersion, NumReleases: c.LastSequence, Created: c.CreatedAt.Time, Updated: c.CreatedAt.Time,
		IsDefault: c.IsDefault, IsArchived: c.Archived, SemverRequired: c.SemverRequired, Releases: []channelRelease{}}
}

type channelRelease struct {
	ChannelID         string     `json:"channelId"`
	ChannelName       string     `json:"channelName"`
	ChannelSequence   int64      `json:"channelSequence"`
	Sequence          int64      `json:"sequence"`
	Semver            string     `json:"semver"` // the label of the version
	VersionLabel      string     `json:"versionLabel"`
	ReleaseNotes      string     `json:"releaseNotes"`
	IsRequired        bool       `json:"isRequired"`
	Created           time.Time  `json:"created"`
	Updated           time.Time  `json:"updated"`
	ReleasedAt        time.Time  `json:"releasedAt"`
	IsDemoted         bool       `json:"isDemoted"`
	DemotedAt         *time.Time `json:"demotedAt,omitempty"`
	AirgapBuildStatus string     `json:"airgapBuildStatus"`
}

func channelReleaseOf(p ecrintypes.ReleasePromotion, channelName string) channelRelease {
	out := channelRelease{ChannelID: p.ChannelId, ChannelName: channelName, ChannelSequence: p.ChannelSequence, Sequence: p.Sequence,
		Semver: p.VersionLabel, VersionLabel: p.VersionLabel, ReleaseNotes: p.ReleaseNotes, IsRequired: p.Required,
		Created: p.PromotedAt.Time, Updated: p.PromotedAt.Time, ReleasedAt: p.PromotedAt.Time}
	if p.DemotedAt != nil {
		out.IsDemoted, out.DemotedAt, out.Updated = true, &p.DemotedAt.Time, p.DemotedAt.Time
	}
	return out
}

// channels returns the channels of an application that the caller may list.
func (x *request) channels(slug string) ([]ecrintypes.VendorChannel, error) {
	permitted := true
	out, err := do[ecrintypes.ListChannelsResponse](x, "ListChannels", &ecrintypes.ListChannelsRequest{ApplicationSlug: slug,
		Permitted: &permitted})
	if err != nil {
		return nil, err
	}
	return out.Channels, nil
}

// listApps answers with the applications that the caller may see, since tools ask for all of them before they use one.
func listApps(x *request) (answer, error) {
	permitted := true
	all, err := do[ecrintypes.DescribeApplicationsResponse](x, "DescribeApplications", &ecrintypes.DescribeApplicationsRequest{
		Permitted: &permitted})
	if err != nil {
		return answer{}, err
	}
	out := []app{}
	for _, a := range all.Applications {
		var channels []ecrintypes.VendorChannel
		if x.r.URL.Query().Get("excludeChannels") != "true" {
			channels, err = x.channels(a.ApplicationSlug)
			if err != nil && !errors.Is(err, fault.AccessDenied) {
				return answer{}, err
			}
		}
		out = append(out, appOf(a, channels))
	}
	return ok(map[string]any{"apps": out})
}

func createApp(x *request) (answer, error) {
	var in struct{ Name string }
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	made, err := do[ecrintypes.VendorApplicationResponse](x, "CreateApplication",
		&ecrintypes.CreateApplicationRequest{ApplicationName: in.Name})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: map[string]any{"app": appOf(made.Application, made.Channels)}}, nil
}

// application returns the application of the path.
func (x *request) application() (ecrintypes.VendorApplication, error) {
	slug, err := x.slug()
	if err != nil {
		return ecrintypes.VendorApplication{}, err
	}
	one, err := do[ecrintypes.DescribeApplicationsResponse](x, "DescribeApplications", &ecrintypes.DescribeApplicationsRequest{
		ApplicationSlug: slug})
	if err != nil {
		return ecrintypes.VendorApplication{}, err
	}
	return one.Applications[0], nil
}

func getApp(x *request) (answer, error) {
	a, err := x.application()
	if err != nil {
		return answer{}, err
	}
	channels, err := x.channels(a.ApplicationSlug)
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		return answer{}, err
	}
	return ok(map[string]any{"app": appOf(a, channels)})
}

func deleteApp(x *request) (answer, error) {
	slug, err := x.slug()
	if err == nil {
		_, err = do[ecrintypes.VendorApplicationResponse](x, "DeleteApplication", &ecrintypes.DeleteApplicationRequest{ApplicationSlug: slug})
	}
	return answer{status: http.StatusOK}, err
}

func listChannels(x *request) (answer, error) {
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	all, err := x.channels(slug)
	if err != nil {
		return answer{}, err
	}
	wanted, out := x.r.URL.Query().Get("channelName"), []channel{}
	for _, c := range all {
		if wanted == "" || c.ChannelName == wanted {
			out = append(out, channelOf(x.at["app"], c))
		}
	}
	return ok(map[string]any{"channels": out})
}

func createChannel(x *request) (answer, error) {
	var in struct{ Name, Description string }
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	made, err := do[ecrintypes.ChannelResponse](x, "CreateChannel", &ecrintypes.CreateChannelRequest{ApplicationSlug: slug,
		ChannelName: in.Name, Description: in.Description})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: map[string]any{"channel": channelOf(x.at["app"], made.Channel)}}, nil
}

// newestReleases is how many versions of a channel an answer has.
const newestReleases = 100

func getChannel(x *request) (answer, error) {
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	all, err := x.channels(slug)
	if err != nil {
		return answer{}, err
	}
	for _, c := range all {
		if c.ChannelId != x.at["channel"] && c.ChannelSlug != x.at["channel"] {
			continue
		}
		limit, yes := int32(newestReleases), true
		newest, err := do[ecrintypes.ListPromotionsResponse](x, "ListPromotions", &ecrintypes.ListPromotionsRequest{ApplicationSlug: slug,
			ChannelId: c.ChannelId, Demoted: &yes, NewestFirst: &yes, MaxResults: &limit})
		if err != nil {
			return answer{}, err
		}
		one := channelOf(x.at["app"], c)
		for _, p := range newest.Promotions {
			one.Releases = append(one.Releases, channelReleaseOf(p, c.ChannelName))
		}
		return ok(map[string]any{"channel": one})
	}
	return answer{}, fault.ObjectNotFound.New("the application has no such channel")
}

func changeChannel(x *request) (answer, error) {
	var in struct {
		Name           string
		Description    *string
		SemverRequired *bool
	}
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	changed, err := do[ecrintypes.ChannelResponse](x, "UpdateChannel", &ecrintypes.UpdateChannelRequest{ApplicationSlug: slug,
		ChannelId: x.at["channel"], ChannelName: in.Name, Description: in.Description, SemverRequired: in.SemverRequired})
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"channel": channelOf(x.at["app"], changed.Channel)})
}

func archiveChannel(x *request) (answer, error) {
	slug, err := x.slug()
	if err == nil {
		_, err = do[ecrintypes.ChannelResponse](x, "ArchiveChannel",
			&ecrintypes.ChannelRequest{ApplicationSlug: slug, ChannelId: x.at["channel"]})
	}
	return answer{status: http.StatusOK}, err
}
