package console

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const (
	firstPullers = 4   // of an image whose row is open
	maxPullers   = 100 // on the page of an image
)

// puller is a principal that has pulled an image.
type puller struct {
	Principal string
	Tags      []string
	ByDigest  int64
	Pulls     int64
	Bytes     int64 // if the client had nothing of the image
	Last      time.Time
}

// pullers are who has pulled an image in the last 30 days.
type pullers struct {
	Rows                         []puller
	Total, Others, Missing, More int64
	Denied                       *trouble
	Command                      string
}

// pullers returns who has pulled an image with a size, the most pulls first.
func (x *request) pullers(repository, digest string, size int64, limit int32) *pullers {
	v := &pullers{Command: "ecrin image pulls " + x.uri(repository) + "@" + digest}
	out, err := do[ecrintypes.ListImagePullsResponse](x, "ecrin", "ListImagePulls", &ecrintypes.ListImagePullsRequest{
		RegistryId: x.account.String(), RepositoryName: repository, ImageDigest: digest, MaxResults: &limit})
	if err != nil {
		v.Denied = x.troubleOf(err)
		return v
	}
	v.Total, v.Others, v.Missing = out.TotalPulls, out.OtherPulls, out.UncountedPulls
	v.More = int64(out.Principals) - int64(len(out.Pulls))
	for _, p := range out.Pulls {
		v.Rows = append(v.Rows, puller{Principal: p.Principal, Tags: p.ImageTags, ByDigest: p.DigestPulls, Pulls: p.Pulls, Bytes: p.Pulls * size,
			Last: p.LastPulledAt.Time})
	}
	return v
}

// sharedLayer is in how many images of how many repositories a layer is.
type sharedLayer struct {
	Images       int64
	More         bool
	Repositories []link // with the number of images
	Left         int64  // repositories that are not shown
}

// maxShownHolders is how many repositories of a layer a page names.
const maxShownHolders = 10

// sharedLayers returns where the layers of an image are, by digest; denied is not nil if the person may not see it.
func (x *request) sharedLayers(repository, digest string) (all map[string]sharedLayer, denied *trouble) {
	out, err := do[ecrintypes.ListImageLayersResponse](x, "ecrin", "ListImageLayers", &ecrintypes.ListImageLayersRequest{
		RegistryId: x.account.String(), RepositoryName: repository, ImageDigest: digest})
	if err != nil {
		return nil, x.troubleOf(err)
	}
	all = map[string]sharedLayer{}
	for _, l := range out.Layers {
		one := sharedLayer{Images: int64(l.Images), More: l.More}
		for i, r := range l.Repositories {
			if i == maxShownHolders {
				one.Left = int64(len(l.Repositories) - i)
				break
			}
			one.Repositories = append(one.Repositories, link{Text: r.RepositoryName, To: x.repositoryPath(r.RepositoryName), Count: int64(r.Images)})
		}
		all[l.LayerDigest] = one
	}
	return all, nil
}
