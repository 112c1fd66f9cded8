package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// pageRows are the rows of pages with what the APIs have.
var pageRows = []row{
	{method: "GET", path: "goto", serve: (*request).openRegistry},
	{method: "GET", path: "{account}/{region}", serve: (*request).home},
	{method: "GET", path: "{account}/{region}/repositories", serve: (*request).repositoriesPage},
	{method: "POST", path: "{account}/{region}/repositories", serve: (*request).createRepository},
	{method: "GET", path: "{account}/{region}/create-repository", serve: (*request).createPage},
	{method: "GET", path: "{account}/{region}/search", serve: (*request).searchPage},
	{method: "GET", path: "{account}/{region}/repositories/{repo}", serve: (*request).tagsPage},
	{method: "POST", path: "{account}/{region}/repositories/{repo}", serve: (*request).onTags},
}

// pageSize is how many rows of a list a page has.
const pageSize = 50

// openRegistry leads to the registry of an account in a region.
func (x *request) openRegistry() error {
	q := x.r.URL.Query()
	account, err := name.ParseAccount(strings.TrimSpace(q.Get("account")))
	if err != nil {
		return fault.InvalidParameter.New("an account has twelve digits")
	}
	region, err := name.ParseRegion(strings.TrimSpace(q.Get("region")))
	if err != nil {
		return fault.InvalidParameter.New("%s is no region", name.Clip(q.Get("region")))
	}
	return x.redirect(Path + "/" + account.String() + "/" + region.String() + "/repositories")
}

// sortKey is an order of a list.
type sortKey struct {
	Key, Text string // in the address, and as the head of the column
	Class     string // of the column
	Number    bool
	Here      bool
	To        string
}

// pager is the foot of a list.
type pager struct{ Text, First, Next string }

// pagerOf returns the foot of a list by key.
func (x *request) pagerOf(text, next string) pager {
	p := pager{Text: text}
	if x.r.URL.Query().Get("after") != "" {
		p.First = x.query("after", "")
	}
	if next != "" {
		p.Next = x.query("after", next)
	}
	return p
}

// repositoryRow is a repository of the list.
type repositoryRow struct {
	Space, Name, Full, URI string
	To                     string
	Size, Images           int64
	Pushed, Pulled         time.Time
	Pulls                  pullCount
}

// repositoriesView is the list of repositories.
type repositoriesView struct {
	Query  string
	Rows   []repositoryRow
	Sorts  []sortKey
	Pager  pager
	Denied *trouble
	Create right
	First  bool   // nothing is filtered, and this is the first page
	Odd    bool   // no name can have the text of the filter: nothing is filtered
	Others string // what does not match, if nothing does
}

var repositorySorts = []struct {
	key, text, class string
	number           bool
	by               ecrintypes.RepositorySortKey
	order            ecrintypes.SortOrder
}{
	{"name", "Repository", "lead", false, ecrintypes.RepositorySortKeyNAME, ecrintypes.SortOrderASCENDING},
	{"images", "Images", "n p2", true, ecrintypes.RepositorySortKeyIMAGES, ecrintypes.SortOrderDESCENDING},
	{"size", "Size", "n", true, ecrintypes.RepositorySortKeySIZE, ecrintypes.SortOrderDESCENDING},
	{"pushed", "Last push", "p2", false, ecrintypes.RepositorySortKeyPUSHED, ecrintypes.SortOrderDESCENDING},
	{"pulled", "Last pull", "p3", false, ecrintypes.RepositorySortKeyPULLED, ecrintypes.SortOrderDESCENDING},
}

// patternOf returns what is searched for by a text of names: the text anywhere in the name, unless it has a wildcard.
func patternOf(q string) string {
	if q == "" || strings.ContainsAny(q, "*?") {
		return q
	}
	return "*" + q + "*"
}

// namesLike returns what names of repositories are searched for by a text, and whether a name can be like it.
func (x *request) namesLike(q string) (pattern string, possible bool) {
	pattern = patternOf(strings.ToLower(q)) // names have no capitals
	in := &ecrintypes.SearchRepositoriesRequest{RegistryId: x.account.String(), NamePattern: pattern}
	return pattern, in.Validate() == nil
}

// imageQuery reports whether a text of the search asks for images, not for repositories.
func imageQuery(q string) bool {
	for _, prefix := range []string{"tag:", "sha256:", "sha512:", "label:"} {
		if strings.HasPrefix(q, prefix) {
			return true
		}
	}
	return false
}

// repositoriesPage lists the repositories of a registry.
func (x *request) repositoriesPage() error {
	q := x.r.URL.Query()
	text := strings.TrimSpace(q.Get("q"))
	if imageQuery(text) {
		return x.redirect(x.base() + "/search?" + values("find", text))
	}
	pattern, possible := x.namesLike(text)
	if !possible {
		pattern = ""
	}
	v := repositoriesView{Query: text, First: text == "" && q.Get("after") == "", Odd: !possible}
	in := &ecrintypes.SearchRepositoriesRequest{RegistryId: x.account.String(), NamePattern: pattern, NextToken: q.Get("after"),
		SortBy: ecrintypes.RepositorySortKeyPUSHED, SortOrder: ecrintypes.SortOrderDESCENDING, MaxResults: some[int32](pageSize),
		Totals: some(pattern == "")}
	said := "last pushed first"
	for _, s := range repositorySorts {
		here := q.Get("sort") == s.key || q.Get("sort") == "" && s.key == "pushed"
		v.Sorts = append(v.Sorts, sortKey{Key: s.key, Text: s.text, Class: s.class, Number: s.number, Here: here,
			To: x.query("sort", s.key, "after", "")})
		if here && s.key != "pushed" {
			in.SortBy, in.SortOrder, said = s.by, s.order, "by "+strings.ToLower(s.text)
		}
	}
	rights, err := x.may("", "ecr:CreateRepository")
	if err != nil {
		return err
	}
	v.Create = rights["ecr:CreateRepository"]
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", in)
	status := http.StatusOK
	if err != nil {
		v.Denied, status = x.troubleOf(err), x.status(err)
	} else {
		var names []string
		for _, r := range out.Repositories {
			v.Rows, names = append(v.Rows, x.repositoryRow(r)), append(names, r.RepositoryName)
		}
		pulls, err := x.pullCounts("", names)
		if err != nil {
			return err
		}
		for i := range v.Rows {
			v.Rows[i].Pulls = pulls[v.Rows[i].Full]
		}
		more := ""
		if out.NextToken != "" {
			more = ", more follow"
		}
		shown := many(int64(len(v.Rows)), "repository", "repositories")
		if t := out.Totals; t != nil {
			shown, more = count(int64(len(v.Rows)))+" of "+many(int64(t.Repositories), "repository", "repositories"), ""
		}
		v.Pager = x.pagerOf(shown+", "+said+more, out.NextToken)
		if len(v.Rows) == 0 && pattern != "" {
			v.Others = x.unlike()
		}
	}
	return x.render(status, "repositories", &view{Title: "Repositories", Section: "repositories", Main: v})
}

// unlike says how many repositories there are of which none matches; "" if the person may not know.
func (x *request) unlike() string {
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", &ecrintypes.SearchRepositoriesRequest{
		RegistryId: x.account.String(), Totals: some(true), MaxResults: some[int32](1)})
	if err != nil || out.Totals == nil || out.Totals.Repositories == 0 {
		return ""
	}
	if out.Totals.Repositories == 1 {
		return "The only one does not match."
	}
	return "None of the " + count(int64(out.Totals.Repositories)) + " matches."
}

// repositoryPath returns the path of a page of a repository.
func (x *request) repositoryPath(repository string, parts ...string) string {
	to := x.base() + "/repositories/" + pathOf(repository)
	if len(parts) > 0 {
		to += "/-/" + pathOf(parts...)
	}
	return to
}

func (x *request) repositoryRow(r ecrintypes.FoundRepository) repositoryRow {
	row := repositoryRow{Full: r.RepositoryName, Name: r.RepositoryName, To: x.repositoryPath(r.RepositoryName), Size: r.SizeInBytes,
		Images: int64(r.Images), URI: x.uri(r.RepositoryName), Pushed: timeOf(r.LastPushedAt), Pulled: timeOf(r.LastRecordedPullTime)}
	if i := strings.LastIndexByte(row.Full, '/'); i >= 0 {
		row.Space, row.Name = row.Full[:i+1], row.Full[i+1:]
	}
	return row
}

// uri returns the URI of a repository of the page, as clients at this host name it.
func (x *request) uri(repository string) string {
	repo, err := name.ParseRepo(repository)
	if err != nil {
		return ""
	}
	return x.Hosts.URI(x.host, name.Registry{Account: x.account, Region: x.region}, repo)
}

// createView is the form of a new repository.
type createView struct {
	Name       string
	Immutable  bool
	Except     string
	Scan       bool
	Key, Value string
	Wrong      *trouble
	Create     right
}

func (x *request) createPage() error {
	return x.showCreate(http.StatusOK, createView{Name: x.r.URL.Query().Get("name")})
}

func (x *request) showCreate(status int, v createView) error {
	rights, err := x.may("", "ecr:CreateRepository")
	if err != nil {
		return err
	}
	v.Create = rights["ecr:CreateRepository"]
	return x.render(status, "create", &view{Title: "Create repository", Section: "repositories", Main: v,
		Crumbs: []link{{Text: "Repositories", To: x.base() + "/repositories"}}})
}

// createRepository makes a repository and shows it, with the commands of a first push.
func (x *request) createRepository() error {
	if x.account != x.session.Caller.Account {
		return fault.AccessDenied.New("repositories are made in your own account only")
	}
	in := &ecrtypes.CreateRepositoryRequest{RegistryId: x.account.String(), RepositoryName: strings.TrimSpace(x.form.Get("name"))}
	in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters = x.mutability()
	if x.form.Get("scan") != "" {
		in.ImageScanningConfiguration = &ecrtypes.ImageScanningConfiguration{ScanOnPush: some(true)}
	}
	if key := strings.TrimSpace(x.form.Get("key")); key != "" {
		in.Tags = []ecrtypes.Tag{{Key: key, Value: strings.TrimSpace(x.form.Get("value"))}}
	}
	out, err := do[ecrtypes.CreateRepositoryResponse](x, "ecr", "CreateRepository", in)
	if err != nil {
		return x.showCreate(x.status(err), createView{Name: in.RepositoryName, Immutable: x.form.Get("mutability") == "IMMUTABLE",
			Except: x.form.Get("except"),
			Scan:   x.form.Get("scan") != "", Key: x.form.Get("key"), Value: x.form.Get("value"), Wrong: x.troubleOf(err)})
	}
	return x.done(x.repositoryPath(out.Repository.RepositoryName), "The repository was created.")
}

// imageRow is an image of a search.
type imageRow struct {
	Repository, To, RepositoryTo string
	Digest, Tag                  string
	Tags                         []string
	More                         int64
	Labels                       []string
	Size                         int64
	Pushed, Pulled               time.Time
}

// searchView is what a search found.
type searchView struct {
	Query        string
	Repositories []repositoryRow
	Images       []imageRow
	Troubles     []*trouble
	Pager        pager
}

// searchPage finds repositories by a part of their name, and images by tag, digest or label.
func (x *request) searchPage() error {
	q := x.r.URL.Query()
	text := strings.TrimSpace(q.Get("find"))
	v := searchView{Query: text}
	if text != "" {
		pattern, possible := x.namesLike(text)
		if possible && !imageQuery(text) && q.Get("after") == "" {
			out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", &ecrintypes.SearchRepositoriesRequest{
				RegistryId: x.account.String(), NamePattern: pattern, MaxResults: some[int32](20)})
			if err != nil {
				v.Troubles = append(v.Troubles, x.troubleOf(err))
			} else {
				for _, r := range out.Repositories {
					v.Repositories = append(v.Repositories, x.repositoryRow(r))
				}
			}
		}
		in := &ecrintypes.SearchImagesRequest{RegistryId: x.account.String(), NextToken: q.Get("after"), MaxResults: some[int32](pageSize)}
		kind, rest, _ := strings.Cut(text, ":")
		switch {
		case kind == "tag" && imageQuery(text):
			in.TagPattern = rest
		case kind == "label" && imageQuery(text):
			in.Labels = []string{rest}
		case imageQuery(text):
			in.DigestPrefix = text
		default:
			in.TagPattern = patternOf(text)
		}
		if in.Validate() != nil && !imageQuery(text) && q.Get("after") == "" {
			return x.render(http.StatusOK, "search", &view{Title: "Search", Section: "repositories", Main: v}) // no tag can be like the text
		}
		out, err := do[ecrintypes.SearchImagesResponse](x, "ecrin", "SearchImages", in)
		if err != nil {
			v.Troubles = append(v.Troubles, x.troubleOf(err))
		} else {
			for _, i := range out.Images {
				v.Images = append(v.Images, x.foundImage(i))
			}
			v.Pager = x.pagerOf(many(int64(len(v.Images)), "image", "images"), out.NextToken)
		}
	}
	return x.render(http.StatusOK, "search", &view{Title: "Search", Section: "repositories", Main: v})
}

func (x *request) foundImage(i ecrintypes.FoundImage) imageRow {
	r := imageRow{Repository: i.RepositoryName, RepositoryTo: x.repositoryPath(i.RepositoryName), Digest: i.ImageDigest, Labels: i.ImageLabels,
		Size: i.ImageSizeInBytes, Pushed: i.ImagePushedAt.Time, Pulled: timeOf(i.LastRecordedPullTime),
		To: x.repositoryPath(i.RepositoryName, "images", i.ImageDigest), Tags: i.ImageTags}
	if len(r.Tags) > 5 {
		r.More, r.Tags = int64(len(r.Tags)-5), r.Tags[:5]
	}
	return r
}

// some returns a pointer to a value.
func some[T any](v T) *T { return &v }
