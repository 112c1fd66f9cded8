package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/settings", serve: (*request).settingsPage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/settings", serve: (*request).saveSettings},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/delete", serve: (*request).deletePage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/delete", serve: (*request).deleteRepository},
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/lifecycle", serve: (*request).lifecyclePage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/lifecycle", serve: (*request).onLifecycle},
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
		t := x.troubleOf(err)
		return x.showRepository(x.status(err), "settings", "settings", &t)
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
		t := x.troubleOf(err)
		return x.showDelete(x.status(err), deleteView{Failed: &t})
	}
	return x.done(x.base()+"/repositories", "The repository was deleted. An operator can restore it with ecrin repository restore.")
}

// lifecycleView is the lifecycle policy of a repository, and what it would do.
type lifecycleView struct {
	To      string
	Policy  editor
	Denied  *trouble
	None    bool
	Last    time.Time
	Preview *ecrintypes.TestLifecycleResponse
	Wrong   *trouble
}

// exampleLifecycle keeps the newest images of a repository that has no policy yet.
const exampleLifecycle = `{
  "rules": [
    {
      "rulePriority": 1,
      "description": "keep the newest 30 images",
      "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 30 },
      "action": { "type": "expire" }
    }
  ]
}`

// lifecyclePage shows the lifecycle policy.
func (x *request) lifecyclePage() error { return x.showLifecycle(http.StatusOK, lifecycleView{}, nil) }

func (x *request) showLifecycle(status int, v lifecycleView, text *string) error {
	repository := x.at["repo"]
	v.To = x.repositoryPath(repository, "lifecycle")
	out, err := do[ecrtypes.GetLifecyclePolicyResponse](x, "ecr", "GetLifecyclePolicy", &ecrtypes.GetLifecyclePolicyRequest{
		RegistryId: x.account.String(), RepositoryName: repository})
	saved := ""
	switch {
	case errors.Is(err, fault.LifecyclePolicyNotFound):
		v.None, saved = true, exampleLifecycle
	case err != nil && x.status(err) == http.StatusForbidden:
		t := x.troubleOf(err)
		v.Denied = &t
	case err != nil:
		return err
	default:
		saved, v.Last = indented(out.LifecyclePolicyText), timeOf(out.LastEvaluatedAt)
	}
	if text != nil {
		saved = *text
	}
	v.Policy = newEditor("Lifecycle policy, JSON", saved, nil)
	return x.showRepository(status, "lifecycle", "lifecycle", v)
}

// onLifecycle previews, saves or deletes a lifecycle policy.
func (x *request) onLifecycle() error {
	repository, text := x.at["repo"], strings.ReplaceAll(x.form.Get("text"), "\r\n", "\n")
	v := lifecycleView{}
	var err error
	switch x.form.Get("do") {
	case "preview":
		v.Preview, err = do[ecrintypes.TestLifecycleResponse](x, "ecrin", "TestLifecycle", &ecrintypes.TestLifecycleRequest{
			RegistryId: x.account.String(), RepositoryName: repository, LifecyclePolicyText: text, MaxResults: some[int32](pageSize)})
	case "save":
		err = act(x, "ecr", "PutLifecyclePolicy", &ecrtypes.PutLifecyclePolicyRequest{RegistryId: x.account.String(), RepositoryName: repository,
			LifecyclePolicyText: text})
	case "delete":
		err = act(x, "ecr", "DeleteLifecyclePolicy", &ecrtypes.DeleteLifecyclePolicyRequest{RegistryId: x.account.String(),
			RepositoryName: repository})
	default:
		err = errNothing
	}
	if err != nil {
		t := x.troubleOf(err)
		v.Wrong = &t
		return x.showLifecycle(x.status(err), v, &text)
	}
	if v.Preview != nil {
		return x.showLifecycle(http.StatusOK, v, &text)
	}
	return x.done(x.repositoryPath(repository, "lifecycle"), "The lifecycle policy was "+map[string]string{"save": "saved",
		"delete": "deleted"}[x.form.Get("do")]+".")
}
