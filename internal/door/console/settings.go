package console

import (
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/settings", serve: (*request).settingsPage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/settings", serve: (*request).saveSettings},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/delete", serve: (*request).deletePage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/delete", serve: (*request).deleteRepository},
	)
}

// settingsView is what a repository is set to, beside its head.
type settingsView struct {
	Wrong      *trouble
	Protection string // "" if Protected says why it is unknown
	Protected  *trouble
	Labels     []ecrtypes.Tag
	Labelled   *trouble
	Moves      *typedMutability // of a form that was refused
	Key, Value string           // of a tag that was refused
}

// typedMutability is what a form says about tags that move.
type typedMutability struct {
	Immutable bool
	Except    string
}

// settingsPage shows the settings of a repository.
func (x *request) settingsPage() error { return x.showSettings(http.StatusOK, settingsView{}) }

func (x *request) showSettings(status int, v settingsView) error {
	repository := x.at["repo"]
	protection, err := do[ecrintypes.RepositoryProtectionResponse](x, "ecrin", "GetRepositoryProtection",
		&ecrintypes.GetRepositoryProtectionRequest{RegistryId: x.account.String(), RepositoryName: repository})
	if v.Protected, err = x.part(err); err != nil {
		return err
	}
	if protection != nil {
		v.Protection = string(protection.Protection)
	}
	labels, err := do[ecrtypes.ListTagsForResourceResponse](x, "ecr", "ListTagsForResource",
		&ecrtypes.ListTagsForResourceRequest{ResourceArn: x.repositoryARN()})
	if v.Labelled, err = x.part(err); err != nil {
		return err
	}
	if labels != nil {
		v.Labels = labels.Tags
	}
	return x.showRepository(status, "settings", "settings", v)
}

// repositoryARN returns the ARN of the repository of the page.
func (x *request) repositoryARN() string {
	return name.Registry{Account: x.account, Region: x.region}.RepositoryARN(x.at["repo"])
}

// saveSettings changes one of the settings of a repository.
func (x *request) saveSettings() error {
	registry, repository := x.account.String(), x.at["repo"]
	var err error
	var v settingsView
	said := "The settings were saved."
	switch x.form.Get("do") {
	case "scanning":
		on := x.form.Get("scan") != ""
		err = act(x, "ecr", "PutImageScanningConfiguration", &ecrtypes.PutImageScanningConfigurationRequest{RegistryId: registry,
			RepositoryName: repository, ImageScanningConfiguration: ecrtypes.ImageScanningConfiguration{ScanOnPush: &on}})
	case "protection":
		err = act(x, "ecrin", "PutRepositoryProtection", &ecrintypes.PutRepositoryProtectionRequest{RegistryId: registry,
			RepositoryName: repository, Protection: ecrintypes.Protection(x.form.Get("protection"))})
	case "tag":
		said = "The tag was added to the repository."
		v.Key, v.Value = x.form.Get("key"), x.form.Get("value")
		err = act(x, "ecr", "TagResource", &ecrtypes.TagResourceRequest{ResourceArn: x.repositoryARN(),
			Tags: []ecrtypes.Tag{{Key: strings.TrimSpace(x.form.Get("key")), Value: strings.TrimSpace(x.form.Get("value"))}}})
	case "untag":
		said = "The tag was taken from the repository."
		err = act(x, "ecr", "UntagResource", &ecrtypes.UntagResourceRequest{ResourceArn: x.repositoryARN(), TagKeys: []string{x.form.Get("key")}})
	default:
		v.Moves = &typedMutability{Immutable: x.form.Get("mutability") == "IMMUTABLE", Except: x.form.Get("except")}
		in := &ecrtypes.PutImageTagMutabilityRequest{RegistryId: registry, RepositoryName: repository}
		in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters = x.mutability()
		err = act(x, "ecr", "PutImageTagMutability", in)
	}
	if err != nil {
		v.Wrong = x.troubleOf(err)
		return x.showSettings(x.status(err), v)
	}
	return x.done(x.repositoryPath(repository, "settings"), said)
}

// mutability returns what the form says about tags that move.
func (x *request) mutability() (ecrtypes.ImageTagMutability, []ecrtypes.ImageTagMutabilityExclusionFilter) {
	m := ecrtypes.ImageTagMutability(x.form.Get("mutability"))
	var except []ecrtypes.ImageTagMutabilityExclusionFilter
	for _, pattern := range strings.Fields(x.form.Get("except")) {
		except = append(except, ecrtypes.ImageTagMutabilityExclusionFilter{
			FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWILDCARD, Filter: pattern})
	}
	if len(except) > 0 {
		m += "_WITH_EXCLUSION"
	}
	return m, except
}

// deleteView is what a deletion of a repository takes away.
type deleteView struct {
	Images int64
	Size   int64
	Known  bool
	Losses *losses
	Typed  string // the name
	Ticked bool   // that customers may lose images
	Wrong  string
	Unsaid string // why it must be ticked
	Failed *trouble
}

// deletePage shows what goes with a repository, and asks for its name.
func (x *request) deletePage() error { return x.showDelete(http.StatusOK, deleteView{}) }

func (x *request) showDelete(status int, v deleteView) error {
	repository := x.at["repo"]
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", &ecrintypes.SearchRepositoriesRequest{
		RegistryId: x.account.String(), RepositoryPrefix: repository, MaxResults: some[int32](1)})
	if err == nil && len(out.Repositories) == 1 && out.Repositories[0].RepositoryName == repository {
		v.Images, v.Size, v.Known = int64(out.Repositories[0].Images), out.Repositories[0].SizeInBytes, true
	}
	if v.Losses == nil {
		if v.Losses, err = x.losses(repository, nil); err != nil {
			return err
		}
	}
	return x.showRepository(status, "", "delete", v)
}

// deleteRepository deletes a repository with all images, once its name was typed. The operation does not look at entitlements, so that the
// form says that it is deleted although customers lose images, if they do or if that cannot be seen.
func (x *request) deleteRepository() error {
	repository := x.at["repo"]
	v := deleteView{Typed: x.form.Get("name"), Ticked: x.form.Get("entitled") != ""}
	if v.Typed != repository {
		v.Wrong = "That is not the name of the repository."
		return x.showDelete(http.StatusBadRequest, v)
	}
	var err error
	if v.Losses, err = x.losses(repository, nil); err != nil {
		return err
	}
	if v.Losses.Entitled() && !v.Ticked {
		v.Unsaid = "Nothing was deleted: say that it is to be deleted although customers lose images."
		return x.showDelete(http.StatusBadRequest, v)
	}
	yes := true
	if err := act(x, "ecr", "DeleteRepository", &ecrtypes.DeleteRepositoryRequest{RegistryId: x.account.String(), RepositoryName: repository,
		Force: &yes}); err != nil {
		v.Failed = x.troubleOf(err)
		return x.showDelete(x.status(err), v)
	}
	return x.done(x.base()+"/repositories", "The repository was deleted. The root user can restore it with ecrin repository restore.")
}
