package console

import (
	"net/http"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/settings", serve: (*request).settingsPage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/settings", serve: (*request).saveSettings},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/delete", serve: (*request).deletePage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/delete", serve: (*request).deleteRepository},
	)
}

// settingsPage shows the settings of a repository.
func (x *request) settingsPage() error {
	return x.showRepository(http.StatusOK, "settings", "settings", nil)
}

// saveSettings sets whether tags move.
func (x *request) saveSettings() error {
	in := &ecrtypes.PutImageTagMutabilityRequest{RegistryId: x.account.String(), RepositoryName: x.at["repo"],
		ImageTagMutability: ecrtypes.ImageTagMutability(x.form.Get("mutability"))}
	for _, pattern := range strings.Fields(x.form.Get("except")) {
		in.ImageTagMutabilityExclusionFilters = append(in.ImageTagMutabilityExclusionFilters, ecrtypes.ImageTagMutabilityExclusionFilter{
			FilterType: ecrtypes.ImageTagMutabilityExclusionFilterTypeWILDCARD, Filter: pattern})
	}
	if len(in.ImageTagMutabilityExclusionFilters) > 0 {
		in.ImageTagMutability += "_WITH_EXCLUSION"
	}
	if err := act(x, "ecr", "PutImageTagMutability", in); err != nil {
		return x.showRepository(x.status(err), "settings", "settings", x.troubleOf(err))
	}
	return x.done(x.repositoryPath(x.at["repo"], "settings"), "The settings were saved.")
}

// deleteView is what a deletion of a repository takes away.
type deleteView struct {
	Images int64
	Size   int64
	Known  bool
	Wrong  string
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
	return x.showRepository(status, "", "delete", v)
}

// deleteRepository deletes a repository with all images, once its name was typed.
func (x *request) deleteRepository() error {
	repository := x.at["repo"]
	if x.form.Get("name") != repository {
		return x.showDelete(http.StatusBadRequest, deleteView{Wrong: "That is not the name of the repository."})
	}
	yes := true
	if err := act(x, "ecr", "DeleteRepository", &ecrtypes.DeleteRepositoryRequest{RegistryId: x.account.String(), RepositoryName: repository,
		Force: &yes}); err != nil {
		return x.showDelete(x.status(err), deleteView{Failed: x.troubleOf(err)})
	}
	return x.done(x.base()+"/repositories", "The repository was deleted. An operator can restore it with ecrin repository restore.")
}
