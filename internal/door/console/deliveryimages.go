package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// maxEnvironments is how many environments have a column.
const maxEnvironments = 8

// place is an image that runs in an environment.
type place struct {
	Tag, Digest, To string
	Behind          bool // another image of the repository was reported later
	Applications    []string
}

// runsRow is a repository of what runs where.
type runsRow struct {
	Space, Name, To string
	Applications    []string
	Places          [][]place // by environment, in the order of the columns
	Deployed        int64
	Newest          *reportRow
}

// reportRow is a reported image.
type reportRow struct {
	Name, To                     string
	Tag, Digest                  string
	Registry, Platform           string
	Commit, Revision, Pull, PRTo string
	Branch, Git                  string
	Size                         int64
	Updated, Created             time.Time
	Applications                 []string
}

// runsView is what runs where.
type runsView struct {
	Query, Type, App, Deployed, Branch, Git, Env, Sort string
	Types                                              []option
	Sorts                                              []option
	States                                             []option
	On                                                 []link // filters that are in force, each with the address without it
	Environments                                       []link // that have a column
	More                                               []link // the others
	Rows                                               []runsRow
	Denied                                             *trouble
	Pager                                              pager
	First                                              bool
}

// registryTypes are the types of registries of reports.
var registryTypes = []ecrintypes.ReportedRegistryType{ecrintypes.ReportedRegistryTypeECR, ecrintypes.ReportedRegistryTypeDOCKER_HUB,
	ecrintypes.ReportedRegistryTypeGCR, ecrintypes.ReportedRegistryTypeGHCR, ecrintypes.ReportedRegistryTypeJFROG,
	ecrintypes.ReportedRegistryTypeQUAY, ecrintypes.ReportedRegistryTypeOTHER}

// runsPage is the first level: repositories by environments, and the newest image of each.
func (x *request) runsPage() error {
	q := x.r.URL.Query()
	v := runsView{Query: strings.TrimSpace(q.Get("q")), Type: q.Get("type"), App: strings.TrimSpace(q.Get("app")), Deployed: q.Get("deployed"),
		Branch: strings.TrimSpace(q.Get("branch")), Git: strings.TrimSpace(q.Get("git")), Env: q.Get("env"), Sort: q.Get("sort")}
	in := &ecrintypes.ListReportedRepositoriesRequest{AccountId: x.account.String(), Search: v.Query, ApplicationName: v.App,
		RegistryType: ecrintypes.ReportedRegistryType(v.Type), GitBranch: v.Branch, NextToken: q.Get("after"), MaxResults: some[int32](pageSize)}
	if v.Git != "" {
		in.GitRepositories = []string{v.Git}
	}
	switch v.Deployed {
	case "yes":
		in.Deployed = some(true)
	case "no":
		in.Deployed = some(false)
	}
	if v.Sort == "updated" {
		in.SortBy = ecrintypes.ReportSortKeyUPDATED
	}
	v.Types = []option{{Text: "Any registry", On: v.Type == ""}}
	for _, t := range registryTypes {
		v.Types = append(v.Types, option{Value: string(t), Text: strings.ReplaceAll(string(t), "_", " "), On: v.Type == string(t)})
	}
	v.States = []option{{Text: "Deployed or not", On: v.Deployed == ""}, {Value: "yes", Text: "Currently deployed", On: v.Deployed == "yes"},
		{Value: "no", Text: "Not deployed", On: v.Deployed == "no"}}
	v.Sorts = []option{{Text: "By name", On: v.Sort != "updated"}, {Value: "updated", Text: "Last update first", On: v.Sort == "updated"}}
	for _, f := range [][2]string{{"q", v.Query}, {"type", v.Type}, {"app", v.App}, {"deployed", v.Deployed}, {"branch", v.Branch},
		{"git", v.Git}, {"env", v.Env}} {
		if f[1] != "" {
			v.On = append(v.On, link{Text: filterWords[f[0]] + ": " + f[1], To: x.query(f[0], "", "after", "")})
		}
	}
	v.First = len(v.On) == 0 && in.NextToken == ""
	status := http.StatusOK
	out, err := do[ecrintypes.ListReportedRepositoriesResponse](x, "ecrin", "ListReportedRepositories", in)
	if err != nil {
		v.Denied, status = x.troubleOf(err), x.status(err)
	} else {
		names := environmentsOf(out.Repositories, v.Env)
		for _, n := range names {
			v.More = append(v.More, link{Text: n, To: x.query("env", n)})
		}
		n := min(len(names), maxEnvironments)
		v.Environments, v.More, names = v.More[:n], v.More[n:], names[:n]
		for _, r := range out.Repositories {
			v.Rows = append(v.Rows, x.runsRow(r, names))
		}
		said := ", by name"
		if v.Sort == "updated" {
			said = ", last update first"
		}
		if out.NextToken != "" {
			said += ", more follow"
		}
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "repository", "repositories")+said, out.NextToken)
	}
	return x.render(status, "runs", &view{Title: "What runs where", Section: "images", Main: v})
}

// filterWords are the filters in words.
var filterWords = map[string]string{"q": "repository, tag or digest", "type": "registry", "app": "application", "deployed": "deployed",
	"branch": "branch", "git": "git repository", "env": "environment", "tag": "tag"}

// environmentOf returns where a deployment is: the namespace, or the application without one.
func environmentOf(d ecrintypes.Deployment) string { return cmp.Or(d.Namespace, d.ApplicationName) }

// environmentsOf returns the environments of repositories by name. only is one of them; "" for all.
func environmentsOf(all []ecrintypes.ReportedRepository, only string) (names []string) {
	for _, r := range all {
		for _, d := range r.Deployments {
			if env := environmentOf(d); !slices.Contains(names, env) && (only == "" || env == only) {
				names = append(names, env)
			}
		}
	}
	slices.Sort(names)
	return names
}

// runsPath returns the address of a reported repository.
func (x *request) runsPath(repository string) string {
	return x.base() + "/images/" + pathOf(repository)
}

// reportPath returns the address of a reported image.
func (x *request) reportPath(repository, image string) string {
	return x.runsPath(repository) + "/-/report?" + values("image", image)
}

func (x *request) runsRow(r ecrintypes.ReportedRepository, environments []string) runsRow {
	row := runsRow{Name: r.Repository, To: x.runsPath(r.Repository), Applications: r.Applications, Deployed: int64(r.DeployedCount),
		Places: make([][]place, len(environments))}
	if i := strings.LastIndexByte(row.Name, '/'); i >= 0 {
		row.Space, row.Name = row.Name[:i+1], row.Name[i+1:]
	}
	newest := ""
	if r.Newest != nil {
		one := x.reportRow(*r.Newest)
		row.Newest, newest = &one, r.Newest.ImageDigest
	}
	for _, d := range r.Deployments {
		n := slices.Index(environments, environmentOf(d))
		if n < 0 {
			continue
		}
		same := slices.IndexFunc(row.Places[n], func(p place) bool { return p.Tag == d.ImageTag && p.Digest == d.ImageDigest })
		if same < 0 {
			p := place{Tag: d.ImageTag, Digest: d.ImageDigest, To: x.reportPath(r.Repository, d.ImageName),
				Behind: newest != "" && d.ImageDigest != newest && d.ImageDigest != r.Newest.ParentDigest}
			row.Places[n], same = append(row.Places[n], p), len(row.Places[n])
		}
		row.Places[n][same].Applications = append(row.Places[n][same].Applications, d.ApplicationName)
	}
	return row
}

func (x *request) reportRow(r ecrintypes.ImageReport) reportRow {
	row := reportRow{Name: r.ImageName, To: x.reportPath(r.Repository, r.ImageName), Tag: r.ImageTag, Digest: r.ImageDigest,
		Registry: strings.ReplaceAll(string(r.RegistryType), "_", " "), Platform: strings.Trim(r.Os+"/"+r.Architecture, "/"),
		Branch: r.GitBranch, Git: r.GitRepository, Size: r.ImageSize, Updated: r.ReportedAt.Time, Created: r.CreatedAt.Time,
		Applications: r.Applications, Pull: r.PullRequestUrl}
	row.Commit, _, _ = strings.Cut(r.CommitMessage, "\n")
	row.Revision = r.Revision[:min(7, len(r.Revision))]
	if r.ManifestList {
		row.Platform = "index"
	}
	row.PRTo = outward(r.PullRequestUrl)
	return row
}

// outward returns an address of another host that a page may lead to; "" for none.
func outward(address string) string {
	if strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://") {
		return address
	}
	return ""
}

// reportedView is a repository of what runs where: the second level.
type reportedView struct {
	Repository          string
	Tag, Branch, Deploy string
	States              []option
	On                  []link
	Rows                []reportRow
	Pager               pager
	First               bool
}

// reportedPage is the second level: the images of a repository that were reported.
func (x *request) reportedPage() error {
	q := x.r.URL.Query()
	v := reportedView{Repository: x.at["repo"], Tag: strings.TrimSpace(q.Get("tag")), Branch: strings.TrimSpace(q.Get("branch")),
		Deploy: q.Get("deployed")}
	in := &ecrintypes.ListImageReportsRequest{AccountId: x.account.String(), Repositories: []string{v.Repository}, ImageTag: v.Tag,
		GitBranch: v.Branch, SortBy: ecrintypes.ReportSortKeyUPDATED, NextToken: q.Get("after"), MaxResults: some[int32](pageSize)}
	switch v.Deploy {
	case "yes":
		in.Deployed = some(true)
	case "no":
		in.Deployed = some(false)
	}
	v.States = []option{{Text: "Deployed or not", On: v.Deploy == ""}, {Value: "yes", Text: "Currently deployed", On: v.Deploy == "yes"},
		{Value: "no", Text: "Not deployed", On: v.Deploy == "no"}}
	for _, f := range [][2]string{{"tag", v.Tag}, {"branch", v.Branch}, {"deployed", v.Deploy}} {
		if f[1] != "" {
			v.On = append(v.On, link{Text: filterWords[f[0]] + ": " + f[1], To: x.query(f[0], "", "after", "")})
		}
	}
	v.First = len(v.On) == 0 && in.NextToken == ""
	out, err := do[ecrintypes.ListImageReportsResponse](x, "ecrin", "ListImageReports", in)
	if err != nil {
		return err
	}
	for _, r := range out.Reports {
		v.Rows = append(v.Rows, x.reportRow(r))
	}
	v.Pager = x.pagerOf(many(int64(len(v.Rows)), "image", "images")+", last update first", out.NextToken)
	return x.render(http.StatusOK, "reported", &view{Title: v.Repository, Section: "images", Main: v,
		Crumbs: []link{{Text: "What runs where", To: x.base() + "/images"}}})
}

// noteRow is an annotation of an image: a pull request, an issue, or a value of any kind.
type noteRow struct{ Type, Key, Text, To, More string }

// binaryView is one of the platforms of a reported image.
type binaryView struct {
	reportRow
	Config, Index, Dockerfile   string
	Workflow, WorkflowTo        string
	LogsTo, CI                  string
	Labels                      []ecrintypes.ImageLabel
	Layers                      []ecrintypes.ImageLayer
	Sum                         int64
	Sha, Author, Message, ShaTo string
	To                          string // this page with this platform
	Here                        bool
}

// imageReportView is a reported image: the third level.
type imageReportView struct {
	Image, Show string
	Tabs        []link
	Platforms   []binaryView
	One         binaryView
	Issues      []noteRow
	Notes       []noteRow
	Runs        []ecrintypes.Deployment
}

// imageReportPage is the third level: all that was reported of an image.
func (x *request) imageReportPage() error {
	q := x.r.URL.Query()
	v := imageReportView{Image: q.Get("image"), Show: q.Get("show")}
	out, err := do[ecrintypes.GetImageReportResponse](x, "ecrin", "GetImageReport",
		&ecrintypes.GetImageReportRequest{AccountId: x.account.String(), ImageName: v.Image})
	if err != nil {
		return err
	}
	for _, b := range out.Images {
		if b.Report.ManifestList && len(out.Images) > 1 {
			continue
		}
		one := x.binaryOf(b)
		one.To, one.Here = x.query("digest", one.Digest), one.Digest == q.Get("digest")
		v.Platforms = append(v.Platforms, one)
	}
	at := max(0, slices.IndexFunc(v.Platforms, func(b binaryView) bool { return b.Here }))
	if len(v.Platforms) == 0 {
		return errNoPage
	}
	v.Platforms[at].Here = true
	v.One = v.Platforms[at]
	for _, t := range []struct{ key, text string }{{"", "Summary"}, {"dockerfile", "Dockerfile"}, {"layers", "Layers"}} {
		if t.key == "dockerfile" && v.One.Dockerfile == "" { // it is there only if it was reported
			continue
		}
		v.Tabs = append(v.Tabs, link{Text: t.text, To: x.query("show", t.key), Here: t.key == v.Show, Count: -1})
	}
	for _, a := range out.Annotations {
		n := noteOf(a)
		if n.Type == "issue" || n.Type == "pr" {
			v.Issues = append(v.Issues, n)
		} else {
			v.Notes = append(v.Notes, n)
		}
	}
	v.Runs = out.Deployments
	return x.render(http.StatusOK, "imagereport", &view{Title: v.Image, Section: "images", Main: v,
		Crumbs: []link{{Text: "What runs where", To: x.base() + "/images"}, {Text: x.at["repo"], To: x.runsPath(x.at["repo"])}}})
}

func (x *request) binaryOf(b ecrintypes.ImageBinary) binaryView {
	one := binaryView{reportRow: x.reportRow(b.Report), Config: b.Report.ConfigDigest, Index: b.Report.ParentDigest, Dockerfile: b.Dockerfile,
		Workflow: b.WorkflowName, WorkflowTo: outward(b.WorkflowUrl), LogsTo: outward(b.LogsUrl), CI: b.CiType, Labels: b.Labels,
		Layers: b.Layers}
	for _, l := range b.Layers {
		one.Sum += l.LayerSize
	}
	if c := b.Commit; c != nil {
		one.Sha, one.Author, one.ShaTo = c.Sha, c.Author, outward(c.Url)
		one.Message, _, _ = strings.Cut(c.Message, "\n")
	}
	return one
}

// noteOf returns an annotation in words: of a pull request and of an issue its title.
func noteOf(a ecrintypes.ImageAnnotation) noteRow {
	n := noteRow{Type: a.Type, Key: a.Key}
	var v struct{ Title, Status, Assignee, URL string }
	if json.Unmarshal([]byte(a.Value), &v) == nil && v.Title != "" {
		n.Text, n.To = v.Title, outward(v.URL)
		n.More = strings.Join(slices.DeleteFunc([]string{v.Status, v.Assignee}, func(s string) bool { return s == "" }), ", ")
		return n
	}
	if json.Unmarshal([]byte(a.Value), &n.Text) != nil {
		n.Text = a.Value
	}
	return n
}
