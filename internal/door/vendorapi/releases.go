package vendorapi

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var releaseRows = []row{
	{method: "POST", path: "app/{app}/release", serve: createRelease, large: true},
	{method: "GET", path: "app/{app}/releases", serve: listReleases},
	{method: "GET", path: "app/{app}/release/{sequence}", serve: getRelease},
	{method: "PUT", path: "app/{app}/release/{sequence}", serve: updateRelease, large: true},
	{method: "POST", path: "app/{app}/release/{sequence}/promote", serve: promoteRelease},
	{method: "POST", path: "app/{app}/release/{sequence}/compatibility", serve: reportCompatibility},
	{method: "POST", path: "app/{app}/installer", serve: refuseInstaller},
	{method: "POST", path: "app/{app}/channel/{channel}/release/{sequence}/demote", serve: demoteRelease(false)},
	{method: "POST", path: "app/{app}/channel/{channel}/release/{sequence}/undemote", serve: demoteRelease(true)},
}

type release struct {
	AppID        string    `json:"appId"`
	Sequence     int64     `json:"sequence"`
	Spec         string    `json:"spec"`
	Created      time.Time `json:"created"`
	CreatedAt    time.Time `json:"createdAt"`
	EditedAt     time.Time `json:"editedAt"`
	ReleaseNotes string    `json:"releaseNotes"`
	IsArchived   bool      `json:"isArchived"`
	IsHelmOnly   bool      `json:"isHelmOnly"`
	NotEditable  bool      `json:"isReleaseNotEditable"`
	Channels     []channel `json:"channels"` // that offer it as their newest version

	Charts        []releaseChart  `json:"charts"`
	Compatibility []compatibility `json:"compatibilityResults"` // in the answer about one release alone
}

// releaseChart is a packed chart among the files. It can be pulled as soon as the release is made.
type releaseChart struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Status  string `json:"status"`
	Error   string `json:"error"`
}

// compatibility is what was found out about a release on a distribution and version of Kubernetes.
type compatibility struct {
	Distribution string     `json:"distribution"`
	Version      string     `json:"version"`
	SuccessAt    *time.Time `json:"successAt"`
	SuccessNotes string     `json:"successNotes"`
	FailureAt    *time.Time `json:"failureAt"`
	FailureNotes string     `json:"failureNotes"`
}

func compatibilityOf(c ecrintypes.ReleaseCompatibility) compatibility {
	out := compatibility{Distribution: c.Distribution, Version: c.KubernetesVersion, SuccessNotes: c.SuccessNotes,
		FailureNotes: c.FailureNotes}
	if c.SucceededAt != nil {
		out.SuccessAt = &c.SucceededAt.Time
	}
	if c.FailedAt != nil {
		out.FailureAt = &c.FailedAt.Time
	}
	return out
}

func (x *request) releaseOf(r ecrintypes.VendorRelease, channels []ecrintypes.VendorChannel) release {
	out := release{AppID: x.at["app"], Sequence: r.Sequence, Created: r.CreatedAt.Time, CreatedAt: r.CreatedAt.Time, EditedAt: r.EditedAt.Time,
		NotEditable: r.Promoted, Channels: []channel{}, Charts: []releaseChart{}, Compatibility: []compatibility{}}
	for _, c := range r.Charts {
		out.Charts = append(out.Charts, releaseChart{Name: c.ChartName, Version: c.ChartVersion, Status: "pushed"})
	}
	for _, c := range channels {
		if valueOf(c.CurrentRelease) == r.Sequence {
			out.Channels = append(out.Channels, channelOf(x.at["app"], c))
		}
	}
	return out
}

// numbered returns the slug of the application and the sequence of the path.
//
// Errors: fault.ObjectNotFound, and those of Names.SlugOf.
func (x *request) numbered() (slug string, sequence int64, err error) {
	if slug, err = x.slug(); err != nil {
		return "", 0, err
	}
	sequence, err = strconv.ParseInt(x.at["sequence"], 10, 64)
	if err != nil || sequence < 1 {
		return "", 0, fault.ObjectNotFound.New("%s is not the sequence of a release", name.Clip(x.at["sequence"]))
	}
	return slug, sequence, nil
}

// files returns the files of the body.
func (x *request) files() ([]ecrintypes.ReleaseFile, error) {
	var in struct {
		SpecGzip []byte `json:"spec_gzip"`
		Spec     string `json:"spec"`
	}
	if err := x.decode(&in); err != nil {
		return nil, err
	}
	x.body = nil
	if in.SpecGzip == nil && in.Spec != "" {
		return readSpec([]byte(in.Spec))
	}
	return unpackSpec(in.SpecGzip, func() error { return x.hold(x.r.Context(), maxSpec) })
}

func createRelease(x *request) (answer, error) {
	slug, err := x.slug()
	if err != nil {
		return answer{}, err
	}
	files, err := x.files()
	if err != nil {
		return answer{}, err
	}
	made, err := do[ecrintypes.ReleaseResponse](x, "CreateRelease", &ecrintypes.CreateReleaseRequest{ApplicationSlug: slug, Files: files})
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: map[string]any{"release": x.releaseOf(made.Release, nil), "warnings": made.Warnings}}, nil
}

func updateRelease(x *request) (answer, error) {
	slug, sequence, err := x.numbered()
	if err != nil {
		return answer{}, err
	}
	files, err := x.files()
	if err != nil {
		return answer{}, err
	}
	made, err := do[ecrintypes.ReleaseResponse](x, "UpdateRelease", &ecrintypes.UpdateReleaseRequest{ApplicationSlug: slug, Sequence: sequence,
		Files: files})
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"release": x.releaseOf(made.Release, nil), "warnings": made.Warnings})
}

func getRelease(x *request) (answer, error) {
	slug, sequence, err := x.numbered()
	if err != nil {
		return answer{}, err
	}
	found, err := do[ecrintypes.DescribeReleaseResponse](x, "DescribeRelease", &ecrintypes.DescribeReleaseRequest{ApplicationSlug: slug,
		Sequence: sequence})
	if err != nil {
		return answer{}, err
	}
	channels, err := x.channels(slug)
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		return answer{}, err
	}
	one := x.releaseOf(found.Release, channels)
	for _, c := range found.Compatibility {
		one.Compatibility = append(one.Compatibility, compatibilityOf(c))
	}
	if one.Spec, err = writeSpec(found.Files); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"release": one})
}

// listReleases lists releases, the newest first. Their sequences have no gaps, so that a page is found by its number.
func listReleases(x *request) (answer, error) {
	a, err := x.application()
	if err != nil {
		return answer{}, err
	}
	offset, limit, err := x.page(20, 1<<30)
	if err != nil {
		return answer{}, err
	}
	channels, err := x.channels(a.ApplicationSlug)
	if err != nil && !errors.Is(err, fault.AccessDenied) {
		return answer{}, err
	}
	out, most, below := []release{}, int32(limit), max(0, a.LastRelease-int64(offset))+1
	if below > 1 {
		found, err := do[ecrintypes.ListReleasesResponse](x, "ListReleases", &ecrintypes.ListReleasesRequest{ApplicationSlug: a.ApplicationSlug,
			Below: &below, MaxResults: &most})
		if err != nil {
			return answer{}, err
		}
		for _, r := range found.Releases {
			out = append(out, x.releaseOf(r, channels))
		}
	}
	return ok(map[string]any{"releases": out, "totalReleases": a.LastRelease})
}

func promoteRelease(x *request) (answer, error) {
	var in struct {
		ReleaseNotes string   `json:"releaseNotes"`
		VersionLabel string   `json:"versionLabel"`
		IsRequired   bool     `json:"isRequired"`
		ChannelIDs   []string `json:"channelIds"`
	}
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	slug, sequence, err := x.numbered()
	if err != nil {
		return answer{}, err
	}
	if _, err := do[ecrintypes.PromoteReleaseResponse](x, "PromoteRelease", &ecrintypes.PromoteReleaseRequest{ApplicationSlug: slug,
		Sequence: sequence, ChannelIds: in.ChannelIDs, VersionLabel: in.VersionLabel, ReleaseNotes: in.ReleaseNotes,
		Required: &in.IsRequired}); err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"release": map[string]any{"appId": x.at["app"], "sequence": sequence}, "airgapBuilds": []any{}})
}

// demoteRelease ends the offer of a version of a channel, whose sequence on the channel the path has, or begins it again.
func demoteRelease(again bool) func(*request) (answer, error) {
	return func(x *request) (answer, error) {
		slug, sequence, err := x.numbered()
		if err != nil {
			return answer{}, err
		}
		changed, err := do[ecrintypes.DemoteReleaseResponse](x, "DemoteRelease", &ecrintypes.DemoteReleaseRequest{ApplicationSlug: slug,
			ChannelId: x.at["channel"], ChannelSequence: sequence, Undo: &again})
		if err != nil {
			return answer{}, err
		}
		return ok(map[string]any{"release": channelReleaseOf(changed.Promotion, changed.Promotion.ChannelSlug)})
	}
}

// reportCompatibility stores that the release works on a kind of cluster, or that it does not.
func reportCompatibility(x *request) (answer, error) {
	var in compatibility
	if err := x.decode(&in); err != nil {
		return answer{}, err
	}
	slug, sequence, err := x.numbered()
	if err != nil {
		return answer{}, err
	}
	var stored *ecrintypes.PutReleaseCompatibilityResponse
	for _, result := range []struct {
		passed bool
		at     *time.Time
		notes  string
	}{{true, in.SuccessAt, in.SuccessNotes}, {false, in.FailureAt, in.FailureNotes}} {
		if result.at == nil {
			continue
		}
		if stored, err = do[ecrintypes.PutReleaseCompatibilityResponse](x, "PutReleaseCompatibility", &ecrintypes.PutReleaseCompatibilityRequest{
			ApplicationSlug: slug, Sequence: sequence, Distribution: in.Distribution, KubernetesVersion: in.Version, Passed: result.passed,
			TestedAt: awswire.At(*result.at), Notes: result.notes}); err != nil {
			return answer{}, err
		}
	}
	if stored == nil {
		return answer{}, fault.InvalidParameter.New("successAt or failureAt must be specified")
	}
	return answer{status: http.StatusCreated, body: map[string]any{"compatibilityResult": compatibilityOf(stored.Compatibility)}}, nil
}

// refuseInstaller refuses the specification of an installer that makes clusters: nothing here would carry it out.
//
// Errors: fault.UnsupportedOperation.
func refuseInstaller(x *request) (answer, error) {
	if _, err := x.slug(); err != nil {
		return answer{}, err
	}
	return answer{}, fault.UnsupportedOperation.New("this server keeps no specifications of installers that make clusters, and would not " +
		"carry them out: releases are installed into clusters that exist, or into k3s, by ecrin install")
}
