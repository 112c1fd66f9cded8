package vendorapi

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// The path comes before the rows with a registry in it.
var pullRows = []row{
	{method: "GET", path: "external_registry/logs", serve: listPulls},
}

const (
	registryLogs    = 100 // lines of an answer, if the request does not say how many
	maxLogPages     = 4   // of the pull log of one application that are read for an answer
	maxLogApps      = 100 // of which the pull logs are read for an answer
	maxPullsOfAPage = 1000
)

// registryLog is a request of a customer about an image of an external registry.
type registryLog struct {
	CreatedAt    time.Time `json:"createdAt"`
	Action       string    `json:"action"`     // auth, manifest, HEAD or blob
	StatusCode   *int32    `json:"statusCode"` // of a failure: of the registry, if its answer is the cause, else of ours
	IsSuccess    bool      `json:"isSuccess"`
	Image        *string   `json:"image"`
	Tag          string    `json:"tag"` // or digest
	AppID        string    `json:"appId"`
	CustomerID   string    `json:"customerId"` // "" without a valid licence
	CustomerName string    `json:"customerName"`
	Bytes        int64     `json:"bytes"`
	Error        string    `json:"error"`
	RequestID    string    `json:"requestId"`
}

// logAction returns the action that clients of vendors know: those of the pull log that they do not know are the nearest one. A list is of
// manifests, and a refused push is of a manifest if it names one.
func logAction(p ecrintypes.Pull) string {
	switch {
	case p.Action == ecrintypes.PullActionHEAD:
		return "HEAD"
	case p.Action == ecrintypes.PullActionLIST, p.Action == ecrintypes.PullActionWRITE && p.Reference != "":
		return "manifest"
	case p.Action == ecrintypes.PullActionWRITE:
		return "blob"
	}
	return strings.ToLower(string(p.Action))
}

func registryLogOf(appID string, p ecrintypes.Pull) registryLog {
	out := registryLog{CreatedAt: p.At.Time, Action: logAction(p),
		IsSuccess: p.ErrorCode == "" && p.HttpStatus < http.StatusBadRequest, Tag: p.Reference, AppID: appID, CustomerID: p.CustomerId,
		CustomerName: p.CustomerName, Bytes: p.SentBytes, Error: p.ErrorCode, RequestID: p.RequestId}
	if p.Image != "" {
		out.Image = &p.Image
	}
	if !out.IsSuccess {
		out.StatusCode = cmp.Or(p.UpstreamStatus, &p.HttpStatus)
	}
	return out
}

// prefixes returns how the names of images begin in the pull log that are of the registry: with its host, or in requests that were refused
// before it was known with its slug.
func (r registry) prefixes() []string {
	host := hostOf(r.Endpoint)
	if rewrite.IsHub(host) {
		host = "docker.io"
	}
	return slices.Compact([]string{host + "/", r.Slug + "/"})
}

// pullsOf returns the newest lines of an application about images that begin with a prefix and go through the proxy, at most limit.
func (x *request) pullsOf(slug, prefix string, limit int, wanted func(ecrintypes.Pull) bool) (all []ecrintypes.Pull, err error) {
	in := &ecrintypes.ListPullsRequest{ApplicationSlug: slug, ImagePrefix: prefix, StartTime: &awswire.Time{Time: time.Unix(0, 0)},
		MaxResults: new(int32(maxPullsOfAPage))}
	for range maxLogPages {
		page, err := do[ecrintypes.ListPullsResponse](x, "ListPulls", in)
		if err != nil {
			return nil, err
		}
		for _, p := range page.Pulls {
			if p.Kind != ecrintypes.PullKindPROXY || !wanted(p) {
				continue
			}
			if all = append(all, p); len(all) == limit {
				return all, nil
			}
		}
		if in.NextToken = page.NextToken; in.NextToken == "" {
			break
		}
	}
	return all, nil
}

// registryLogs returns the newest lines of the pull logs of applications, at most limit. An application whose log the caller may not
// read is left out; if there is no other, that is the error.
func (x *request) registryLogs(of []ecrintypes.VendorApplication, prefixes []string, limit int, wanted func(ecrintypes.Pull) bool) (
	[]registryLog, error) {
	all, read := []registryLog{}, false
	var denied error
	for _, a := range of {
		for _, prefix := range prefixes {
			lines, err := x.pullsOf(a.ApplicationSlug, prefix, limit, wanted)
			if errors.Is(err, fault.AccessDenied) {
				denied = err
				break
			}
			if err != nil {
				return nil, err
			}
			read = true
			for _, p := range lines {
				all = append(all, registryLogOf(a.ApplicationId, p))
			}
		}
	}
	if denied != nil && !read {
		return nil, denied
	}
	slices.SortStableFunc(all, func(a, b registryLog) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return all[:min(len(all), limit)], nil
}

// logged returns the applications whose pull logs have lines of the caller's account: that of the query, or the first of all.
func (x *request) logged() ([]ecrintypes.VendorApplication, error) {
	permitted := true
	in := &ecrintypes.DescribeApplicationsRequest{Permitted: &permitted}
	q := x.r.URL.Query()
	if id := cmp.Or(q.Get("app"), q.Get("appId")); id != "" {
		slug, err := x.names.SlugOf(x.r.Context(), x.req.By.Account, id)
		if err != nil {
			return nil, err
		}
		in.ApplicationSlug = slug
	}
	out, err := do[ecrintypes.DescribeApplicationsResponse](x, "DescribeApplications", in)
	if err != nil {
		return nil, err
	}
	return out.Applications[:min(len(out.Applications), maxLogApps)], nil
}

// listPulls lists the pull log of an external registry, or of all, the newest lines first.
func listPulls(x *request) (answer, error) {
	q := x.r.URL.Query()
	limit, err := number("pageSize", q.Get("pageSize"), registryLogs, maxPullsOfAPage)
	if err != nil {
		return answer{}, err
	}
	prefixes := []string{""}
	if key := q.Get("endpoint"); key != "" {
		one, err := x.registry(key)
		if err != nil {
			return answer{}, err
		}
		prefixes = one.prefixes()
	}
	of, err := x.logged()
	if err != nil {
		return answer{}, err
	}
	all, err := x.registryLogs(of, prefixes, max(1, limit), func(ecrintypes.Pull) bool { return true })
	if err != nil {
		return answer{}, err
	}
	return ok(map[string]any{"logs": all})
}

// setLastUse sets when a customer got something from the registry last, as far as the caller may read the pull logs.
func (x *request) setLastUse(one *registry) error {
	of, err := x.logged()
	if err == nil {
		var last []registryLog
		last, err = x.registryLogs(of, one.prefixes(), 1, func(p ecrintypes.Pull) bool { return p.ErrorCode == "" })
		if len(last) > 0 {
			one.LastUsedAt = &last[0].CreatedAt
		}
	}
	if errors.Is(err, fault.AccessDenied) {
		return nil
	}
	return err
}
