package console

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/preflight", serve: (*request).preflightPage},
		row{method: "POST", path: "{account}/{region}/preflight", serve: (*request).onPreflight},
	)
}

// The limits of a check. Each image costs up to eight operations, one after another.
const (
	maxChecked  = 30   // images
	maxNotes    = 20   // notes of each kind, and platforms and users of one image
	nearestFrom = 1000 // tags, among which those are found that are like a missing one
	maxClusters = 500  // that are offered
)

// preflightView is a question about the images of manifests, and the answers.
type preflightView struct {
	To                                 string
	Text, Cluster, Principal, Platform string
	Clusters                           []string
	Wrong                              *trouble

	Checked       bool
	Rows          []preflightRow
	Ready, Failed int
	More          int64  // images that were not asked for
	Kind, Who     string // what the text is, and who would pull; "" for nobody
	Region        string // in which images must be; "" for any
	Notes, Unread []string
}

// preflightRow is what is known of an image.
type preflightRow struct {
	Image, To, Pinned string
	In                []string
	Ready             bool // it can be pulled
	Known             bool // it was asked for
	Digest            string
	Size              int64
	Platforms         []string
	MorePlatforms     int64
	Region            string
	Pull              string   // yes, no, theirs (the other account decides too), or "" if it is not known
	By                []string // whom the policy of the repository names, if nobody is named who pulls
	MoreBy            int64
	Problems          []preflightProblem
}

// preflightProblem is why an image cannot be deployed, and where that is changed.
type preflightProblem struct {
	Text  string
	Links []link
}

func (r *preflightRow) bad(text string, links ...link) {
	r.Problems = append(r.Problems, preflightProblem{text, links})
}

func (x *request) preflightPage() error {
	q := x.r.URL.Query()
	return x.showPreflight(http.StatusOK, &preflightView{Cluster: q.Get("cluster"), Principal: q.Get("principal")})
}

func (x *request) showPreflight(status int, v *preflightView) error {
	v.To = x.base() + "/preflight"
	out, err := do[ecrintypes.DescribeClustersResponse](x, "ecrin", "DescribeClusters",
		&ecrintypes.DescribeClustersRequest{AccountId: x.account.String()})
	if err == nil { // who may not list them types a name
		for _, c := range out.Clusters[:min(len(out.Clusters), maxClusters)] {
			v.Clusters = append(v.Clusters, c.ClusterName)
		}
	}
	return x.render(status, "preflight", &view{Title: "Preflight", Section: "preflight", Main: v})
}

// onPreflight answers for each image of a text whether it can be pulled. Nothing is changed, and nothing counts as a pull.
func (x *request) onPreflight() error {
	v := preflightView{Text: x.form.Get("text"), Cluster: strings.TrimSpace(x.form.Get("cluster")),
		Principal: strings.TrimSpace(x.form.Get("principal")), Platform: strings.TrimSpace(x.form.Get("platform"))}
	fail := func(err error) error {
		v.Wrong = x.troubleOf(err)
		return x.showPreflight(x.status(err), &v)
	}
	if n := strings.Count(v.Platform, "/"); v.Platform != "" && (n < 1 || n > 2) {
		return fail(fault.InvalidParameter.New("%s is no platform, such as linux/arm64", name.Clip(v.Platform)))
	}
	v.Who = v.Principal
	if v.Cluster != "" {
		out, err := do[ecrintypes.DescribeClustersResponse](x, "ecrin", "DescribeClusters",
			&ecrintypes.DescribeClustersRequest{AccountId: x.account.String(), ClusterName: v.Cluster})
		if err == nil && len(out.Clusters) == 0 {
			err = fault.InvalidParameter.New("there is no cluster %s", name.Clip(v.Cluster))
		}
		if err != nil {
			return fail(err)
		}
		v.Who, v.Region = cmp.Or(v.Who, out.Clusters[0].Principal), out.Clusters[0].Region
	}
	if v.Who != "" {
		if _, err := policy.ParsePrincipal(v.Who); err != nil {
			return fail(err)
		}
	}
	found := preflight.Images(rewrite.File{Path: "text.yaml", Data: []byte(v.Text)})
	if found.Kind == preflight.Kustomization {
		found.Failed = append(found.Failed, "the text is a kustomization: paste what kubectl kustomize prints of it")
	}
	v.Checked, v.Kind, v.Failed = true, string(found.Kind), len(found.Failed)
	wanted, more := firsts(found.Images, maxChecked)
	v.More = more
	v.Notes, _ = firsts(found.Notes, maxNotes)
	v.Unread, _ = firsts(found.Failed, maxNotes)
	for _, w := range wanted {
		r := x.preflightOf(&v, w)
		if r.Ready {
			v.Ready++
		}
		v.Rows = append(v.Rows, r)
	}
	return x.showPreflight(http.StatusOK, &v)
}

// whereIs returns where an image is in a registry of this server; false if it is of another one.
//
// Errors: fault.RegistryUnresolved, fault.NameInvalid.
func (x *request) whereIs(image rewrite.Reference) (reg name.Registry, repository string, ours bool, err error) {
	if image.Host == "" {
		return reg, "", false, nil
	}
	h, err := x.Hosts.Parse(image.Host)
	switch {
	case err != nil:
		return reg, "", true, err
	case h.Kind == endpoint.Registry:
		return h.Registry, image.Path, true, nil
	case !x.Hosts.Own(image.Host) && !sameHost(image.Host, x.r.Host):
		return reg, "", false, nil
	}
	reg, path, err := name.CutRegistry(image.Path)
	if err != nil {
		return reg, "", true, err
	}
	if reg == (name.Registry{}) {
		reg = x.Hosts.Default()
	}
	return reg, path, true, nil
}

// sameHost reports whether two HOST[:PORT] are one. All names of this machine are.
func sameHost(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	local := func(h string) bool {
		a, err := netip.ParseAddr(h)
		return h == "localhost" || err == nil && a.IsLoopback()
	}
	return errA == nil && errB == nil && portA == portB && local(hostA) && local(hostB)
}

// inRegistry returns the request of a page of another registry, for operations there.
func (x *request) inRegistry(reg name.Registry) *request {
	y := *x
	y.called = true // the id of the page is for one operation
	y.account, y.region = reg.Account, reg.Region
	y.req.Region = reg.Region
	return &y
}

// preflightOf asks for one image.
func (x *request) preflightOf(v *preflightView, w preflight.Wanted) (r preflightRow) {
	r.Image = w.Image.String()
	r.In, _ = firsts(w.In, maxNotes)
	reg, repository, ours, err := x.whereIs(w.Image)
	switch {
	case err != nil:
		r.Known = true
		r.bad(publicText(err))
		return r
	case !ours:
		return r
	}
	y := x.inRegistry(reg)
	defer func() { x.leave = y.leave }() // places of answers are given back once
	r.Known, r.Region = true, reg.Region.String()
	tag := w.Image.Tag
	if w.Image.Digest != "" {
		tag = ""
	} else if tag == "" {
		tag = "latest"
	}
	i, err := y.read(repository, tag, w.Image.Digest)
	if err != nil {
		y.missing(&r, repository, tag, err)
		return r
	}
	r.Digest, r.To = i.ImageDigest, y.repositoryPath(repository, "images", i.ImageDigest)
	pinned := w.Image
	pinned.Digest = r.Digest
	r.Pinned = pinned.String()
	y.platformsOf(&r, i, repository, cmp.Or(w.Platform, v.Platform))
	if v.Region != "" && v.Region != r.Region {
		y.elsewhere(&r, v, w.Image, repository, tag)
	}
	if v.Who == "" {
		r.By, r.MoreBy = y.grantees(repository)
	} else {
		y.mayPull(&r, v.Who, repository, tag)
	}
	r.Ready = len(r.Problems) == 0
	return r
}

// missing says why an image cannot be read.
func (x *request) missing(r *preflightRow, repository, tag string, err error) {
	text := publicText(err)
	switch {
	case errors.Is(err, fault.RepositoryNotFound):
		r.bad(text, link{Text: "Create the repository", To: x.base() + "/create-repository?" + values("name", repository)})
	case errors.Is(err, fault.ImageNotFound) && tag != "":
		tags := x.tagsLike(repository, tag)
		if len(tags) > 0 {
			text += "; the nearest tags are " + strings.Join(tags, ", ")
		}
		r.bad(text, link{Text: "Its tags", To: x.repositoryPath(repository)})
	default:
		r.bad(text)
	}
}

// tagsLike returns the tags of a repository that are most like one; none if the person may not list them.
func (x *request) tagsLike(repository, tag string) []string {
	out, err := do[ecrtypes.ListImagesResponse](x, "ecr", "ListImages", &ecrtypes.ListImagesRequest{RegistryId: x.account.String(),
		RepositoryName: repository, MaxResults: some[int32](nearestFrom),
		Filter: &ecrtypes.ListImagesFilter{TagStatus: ecrtypes.TagStatusTAGGED}})
	if err != nil {
		return nil
	}
	var tags []string
	for _, i := range out.ImageIds {
		tags = append(tags, i.ImageTag)
	}
	slices.Sort(tags)
	return preflight.Nearest(tag, slices.Compact(tags), 3)
}

// platformsOf adds platforms and size, and says what is missing.
func (x *request) platformsOf(r *preflightRow, i *image, repository, want string) {
	matches := func(have string) bool { return want == "" || have == want || strings.HasPrefix(have, want+"/") }
	children := i.platforms()
	for p := range children {
		r.Platforms = append(r.Platforms, p)
	}
	slices.Sort(r.Platforms)
	if len(children) == 0 {
		r.Size = i.layerBytes()
		if p := i.config.platform(); p != "" {
			r.Platforms = []string{p}
		}
	} else if at := slices.IndexFunc(r.Platforms, matches); at >= 0 {
		if child, err := x.read(repository, "", children[r.Platforms[at]]); err == nil {
			r.Size = child.layerBytes()
		} else {
			r.bad("the index names an image for " + r.Platforms[at] + " that cannot be read: " + publicText(err))
		}
	}
	has := slices.ContainsFunc(r.Platforms, matches)
	r.Platforms, r.MorePlatforms = firsts(r.Platforms, maxNotes) // an index can have thousands
	if want != "" && len(r.Platforms) > 0 && !has {
		r.bad("it has no " + want + ", only " + strings.Join(r.Platforms, ", ") + andMore(r.MorePlatforms))
	}
}

// andMore is the end of a list that has been cut.
func andMore(n int64) string {
	if n == 0 {
		return ""
	}
	return " and " + count(n) + " more"
}

// layerBytes returns the compressed size of an image.
func (i *image) layerBytes() (n int64) {
	for _, l := range i.content.Layers {
		n += l.Size
	}
	return n
}

// elsewhere says that an image is in another region than the cluster, and whether its copy is there.
func (x *request) elsewhere(r *preflightRow, v *preflightView, image rewrite.Reference, repository, tag string) {
	text := fmt.Sprintf("the image is in %s and the cluster in %s: clusters pull from a repository in their region", r.Region, v.Region)
	region, err := name.ParseRegion(v.Region)
	if err != nil {
		r.bad(text)
		return
	}
	there := x.inRegistry(name.Registry{Account: x.account, Region: region})
	digest := ""
	if tag == "" {
		digest = image.Digest
	}
	found, err := there.read(repository, tag, digest)
	x.leave = there.leave
	if err != nil || found.ImageDigest != r.Digest {
		r.bad(text, link{Text: "Replicate it", To: x.base() + "/replication"})
		return
	}
	whole := image.Host + "/" + image.Path
	copied := strings.Replace(whole, "."+r.Region+".", "."+v.Region+".", 1)
	if copied == whole {
		copied = there.uri(repository)
	}
	r.bad(text+"; the same image is there: use "+copied+strings.TrimPrefix(image.String(), whole),
		link{Text: "The copy", To: there.repositoryPath(repository, "images", found.ImageDigest)})
}

// grantees returns the first of those whom the policy of a repository lets pull, and how many more there are; none if there is no policy,
// or the person may not read it.
func (x *request) grantees(repository string) (all []string, more int64) {
	d, err := x.storedPolicy(repository)
	if err != nil || d == nil {
		return nil, 0
	}
	for _, g := range policy.Grantees(d, "ecr:BatchGetImage") {
		if g.Conditional {
			g.Principal += " with conditions"
		}
		all = append(all, g.Principal)
	}
	return firsts(all, maxNotes)
}

// storedPolicy returns the policy of a repository; nil if there is none.
func (x *request) storedPolicy(repository string) (*policy.Document, error) {
	out, err := do[ecrtypes.GetRepositoryPolicyResponse](x, "ecr", "GetRepositoryPolicy",
		&ecrtypes.GetRepositoryPolicyRequest{RegistryId: x.account.String(), RepositoryName: repository})
	if errors.Is(err, fault.RepositoryPolicyNotFound) {
		return nil, nil
	}
	if err != nil || out.PolicyText == nil {
		return nil, err
	}
	return policy.ParseStored(*out.PolicyText, policy.Repository)
}

// foreign says whether the policy of a repository lets a principal of another account pull, whose own policies its account alone may ask
// for. It returns false for a principal of the account, or if the policy cannot be read.
func (x *request) foreign(r *preflightRow, who, repository string) bool {
	p, err := policy.ParsePrincipal(who)
	if err != nil || p.Account == x.account {
		return false
	}
	d, err := x.storedPolicy(repository)
	if err != nil {
		return false
	}
	if _, missing, _ := policy.Grant(d, p, policy.PullActions(), policy.PullSid); missing {
		r.Pull = "no"
		r.bad("the policy of the repository does not let "+who+" pull",
			link{Text: "Permissions", To: x.repositoryPath(repository, "permissions")})
		return true
	}
	r.Pull = "theirs"
	return true
}

// mayPull says whether a principal may log in, read the manifest and read the layers.
func (x *request) mayPull(r *preflightRow, who, repository, tag string) {
	for _, action := range []string{"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"} {
		in := &ecrintypes.ExplainAccessRequest{Principal: who, Action: action}
		q := []string{"principal", who, "action", action, "region", x.region.String()}
		if action != "ecr:GetAuthorizationToken" {
			in.RegistryId, in.RepositoryName = x.account.String(), repository
			q = append(q, "repository", repository)
		}
		if action == "ecr:BatchGetImage" {
			in.ImageTag = tag
			if q = append(q, "tag", tag); tag == "" {
				in.ImageDigest = r.Digest
			}
		}
		out, err := do[ecrintypes.ExplainAccessResponse](x, "ecrin", "ExplainAccess", in)
		if err != nil && x.status(err) == http.StatusForbidden && x.foreign(r, who, repository) {
			return
		}
		if err != nil {
			r.bad("whether " + who + " may pull cannot be found out: " + publicText(err))
			return
		}
		if e := out.Explanation; !e.Allowed {
			r.Pull = "no"
			r.bad(e.Text, link{Text: "Why, and what would allow it", To: x.iam() + "/simulate?" + values(q...)})
			return
		}
	}
	r.Pull = "yes"
}
