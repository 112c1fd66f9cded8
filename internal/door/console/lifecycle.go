package console

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func init() {
	rows = append(rows,
		row{method: "GET", path: "{account}/{region}/repositories/{repo}/-/lifecycle", serve: (*request).lifecyclePage},
		row{method: "POST", path: "{account}/{region}/repositories/{repo}/-/lifecycle", serve: (*request).onLifecycle},
	)
}

const (
	// maxPreviewedImages is the number of images of a repository up to which its page shows a preview at once. In larger ones it is
	// asked for, because it reads all images.
	maxPreviewedImages = 2000
	maxGoing           = 50 // rows of the table
	maxHeld            = 20
	maxLifecycleText   = 30720
)

// lifecycleView is the lifecycle policy of a repository, and what it would do.
type lifecycleView struct {
	To        string
	Policy    editor
	Denied    *trouble
	None      bool
	Last      time.Time
	Extension string
	Preview   *lifecyclePreview
	Seen      string // proves that the preview of this text was shown
	Was       string // the hash of the policy in force
	Notice    string
	Wrong     *trouble
	NoPreview *trouble // the person may not preview
	Templates []lifecycleTemplate
	Chosen    string // the name of a template
	Test      right
	Save      right
	Command   string
	Most      int // characters of a policy
}

// lifecyclePreview is what a policy would do now.
type lifecyclePreview struct {
	Images, Going, Archiving, Held, Unseen int64
	Bytes                                  int64
	Picture                                *figure
	First                                  []goingRow
	More                                   int64
	Holding                                []goingRow
}

// goingRow is an image on which a rule is due.
type goingRow struct {
	Digest, To, Rule, Why string
	Tags                  []string
	Size                  int64
	Pushed                time.Time
	Archived              bool
}

// lifecycleTemplate is a policy to begin with, and what it would do.
type lifecycleTemplate struct {
	Name, Title, Text, To string
	Known                 bool
	Going, Bytes          int64
}

// lifecycleTemplates are what a repository without a policy is offered.
var lifecycleTemplates = []lifecycleTemplate{
	{Name: "untagged", Title: "Untagged images go after 14 days", Text: `{
  "rules": [
    {
      "rulePriority": 1,
      "description": "untagged images go after 14 days",
      "selection": { "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14 },
      "action": { "type": "expire" }
    }
  ]
}`},
	{Name: "newest", Title: "The newest 30 images stay", Text: `{
  "rules": [
    {
      "rulePriority": 1,
      "description": "keep the newest 30 images",
      "selection": { "tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 30 },
      "action": { "type": "expire" }
    }
  ]
}`},
	{Name: "branches", Title: "Branch builds go after 30 days, ten release candidates stay", Text: `{
  "rules": [
    {
      "rulePriority": 1,
      "description": "ten release candidates stay",
      "selection": { "tagStatus": "tagged", "tagPatternList": ["*-rc*"], "countType": "imageCountMoreThan", "countNumber": 10 },
      "action": { "type": "expire" }
    },
    {
      "rulePriority": 2,
      "description": "branch builds go after 30 days",
      "selection": {
        "tagStatus": "tagged", "tagPatternList": ["feature-*"],
        "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 30
      },
      "action": { "type": "expire" }
    },
    {
      "rulePriority": 3,
      "description": "untagged images go after a day",
      "selection": { "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1 },
      "action": { "type": "expire" }
    }
  ]
}`},
}

// lifecyclePage shows the lifecycle policy with what it would do now. A repository without one is offered templates, each with what it
// would do with the images that are there.
func (x *request) lifecyclePage() error {
	v := lifecycleView{Chosen: x.r.URL.Query().Get("template")}
	for _, t := range lifecycleTemplates {
		if t.Name == v.Chosen {
			return x.showLifecycle(http.StatusOK, v, &t.Text, true)
		}
	}
	v.Chosen = ""
	return x.showLifecycle(http.StatusOK, v, nil, x.fewImages())
}

// fewImages reports whether a preview of the repository is quick enough for each visit of its page.
func (x *request) fewImages() bool {
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", &ecrintypes.SearchRepositoriesRequest{
		RegistryId: x.account.String(), RepositoryPrefix: x.at["repo"], MaxResults: some[int32](1)})
	return err == nil && len(out.Repositories) == 1 && out.Repositories[0].RepositoryName == x.at["repo"] &&
		out.Repositories[0].Images <= maxPreviewedImages
}

// savedLifecycle returns the lifecycle policy of the repository; "" with none, or if the person may not read it.
func (x *request) savedLifecycle(v *lifecycleView) (string, error) {
	out, err := do[ecrtypes.GetLifecyclePolicyResponse](x, "ecr", "GetLifecyclePolicy", &ecrtypes.GetLifecyclePolicyRequest{
		RegistryId: x.account.String(), RepositoryName: x.at["repo"]})
	switch {
	case errors.Is(err, fault.LifecyclePolicyNotFound):
		v.None = true
	case err != nil && x.status(err) == http.StatusForbidden:
		v.Denied = x.troubleOf(err)
	case err != nil:
		return "", err
	default:
		v.Last = timeOf(out.LastEvaluatedAt)
		return out.LifecyclePolicyText, nil
	}
	return "", nil
}

// seen returns the tag of the policy in force, which savedLifecycle has returned.
func (v *lifecycleView) seen(saved string) string {
	if v.Denied != nil {
		return unseen
	}
	return policy.Hash(saved)
}

// lifecycleProof returns what a form has that was sent with the preview of a text: the text, and the policy that was in force.
func (x *request) lifecycleProof(text, saved string) string {
	return x.Identity.ConsoleMAC(x.session, "lifecycle\x00"+x.req.Region.String()+"\x00"+x.account.String()+"\x00"+x.at["repo"]+"\x00"+saved+
		"\x00"+text)
}

// showLifecycle shows the page with a text in the editor, nil for the policy in force, with its preview if that is wanted and possible.
func (x *request) showLifecycle(status int, v lifecycleView, text *string, preview bool) error {
	repository := x.at["repo"]
	v.To = x.repositoryPath(repository, "lifecycle")
	saved, err := x.savedLifecycle(&v)
	if err != nil {
		return err
	}
	v.Was = v.seen(saved)
	rights, err := x.may(repository, "ecr:PutLifecyclePolicy", "ecrin:TestLifecycle", "ecr:StartLifecyclePolicyPreview")
	if err != nil {
		return err
	}
	v.Save, v.Test = rights["ecr:PutLifecyclePolicy"], rights["ecrin:TestLifecycle"]
	if v.Test.OK {
		v.Test = rights["ecr:StartLifecyclePolicyPreview"]
	}
	shown := indented(saved)
	if text != nil {
		shown = *text
	}
	if v.None && text == nil && v.Wrong == nil {
		if v.Templates, err = x.lifecycleChoices(preview); err != nil {
			return err
		}
	}
	var problems []problem
	if shown != "" || text != nil {
		problems = checkLifecycle(shown)
	}
	v.Policy = newEditor("Lifecycle policy, JSON", shown, problems)
	if ours, err := do[ecrintypes.LifecycleResponse](x, "ecrin", "GetLifecycle", &ecrintypes.GetLifecycleRequest{
		RegistryId: x.account.String(), RepositoryName: repository}); err == nil {
		v.Extension = ours.ExtensionText
	}
	if preview && shown != "" && len(problems) == 0 {
		if v.Preview, err = x.previewLifecycle(shown); err != nil {
			v.NoPreview = x.troubleOf(err)
		}
	}
	if v.Preview != nil {
		v.Seen = x.lifecycleProof(shown, saved)
	}
	v.Most = maxLifecycleText
	v.Command = "ecrin lifecycle test policy.json " + x.uri(repository) + "\necrin lifecycle put " + x.uri(repository) + " policy.json"
	return x.showRepository(status, "lifecycle", "lifecycle", v)
}

// lifecycleChoices returns the templates, with what they would do if that is quick.
func (x *request) lifecycleChoices(preview bool) (all []lifecycleTemplate, err error) {
	for _, t := range lifecycleTemplates {
		t.To = x.repositoryPath(x.at["repo"], "lifecycle") + "?" + values("template", t.Name)
		if preview {
			out, err := x.testLifecycle(t.Text, 1, false)
			if err != nil && x.status(err) != http.StatusForbidden {
				return nil, err
			}
			if preview = err == nil; preview {
				t.Known, t.Going, t.Bytes = true, int64(out.ExpiringImages), out.ExpiringBytes
			}
		}
		all = append(all, t)
	}
	return all, nil
}

func (x *request) testLifecycle(text string, results int32, timeline bool) (*ecrintypes.TestLifecycleResponse, error) {
	return do[ecrintypes.TestLifecycleResponse](x, "ecrin", "TestLifecycle", &ecrintypes.TestLifecycleRequest{
		RegistryId: x.account.String(), RepositoryName: x.at["repo"], LifecyclePolicyText: text, MaxResults: &results, Timeline: &timeline})
}

// previewLifecycle returns what a text would do now.
func (x *request) previewLifecycle(text string) (*lifecyclePreview, error) {
	out, err := x.testLifecycle(text, 1000, true)
	if err != nil {
		return nil, err
	}
	v := &lifecyclePreview{Images: int64(out.Images), Going: int64(out.ExpiringImages), Archiving: int64(out.ArchivingImages),
		Held: int64(out.HeldImages), Bytes: out.ExpiringBytes, Picture: timelineOf(out.Lanes, x.begun)}
	for _, l := range out.Lanes {
		if l.Rule == "" {
			v.Unseen = int64(l.Images)
		}
	}
	for _, r := range out.Results {
		one := goingRow{Digest: r.ImageDigest, To: x.repositoryPath(x.at["repo"], "images", r.ImageDigest), Rule: r.Rule, Why: r.Reason,
			Tags: r.ImageTags, Size: r.ImageSizeInBytes, Pushed: r.ImagePushedAt.Time,
			Archived: r.Action == ecrintypes.LifecycleActionARCHIVE}
		switch {
		case r.Action == ecrintypes.LifecycleActionNONE && len(v.Holding) < maxHeld:
			v.Holding = append(v.Holding, one)
		case r.Action != ecrintypes.LifecycleActionNONE && len(v.First) < maxGoing:
			v.First = append(v.First, one)
		}
	}
	v.More = v.Going + v.Archiving - int64(len(v.First))
	return v, nil
}

// checkLifecycle returns what is wrong in a lifecycle policy.
func checkLifecycle(text string) []problem {
	_, err := lifecycle.Parse(text)
	if err == nil {
		return nil
	}
	var p *lifecycle.Problem
	if !errors.As(err, &p) {
		return []problem{{Error: true, Text: publicText(err)}}
	}
	where := p.Reason
	if p.Path != "" {
		where = p.Path + ": " + where
	}
	return []problem{{Line: p.Line, Column: p.Column, Error: true, Text: where + "."}}
}

// onLifecycle previews, saves or deletes a lifecycle policy. A text is saved after the preview of this very text, against the policy that
// is still in force; without it the preview is shown. Who may not preview saves at once.
func (x *request) onLifecycle() error {
	repository, text := x.at["repo"], strings.ReplaceAll(x.form.Get("text"), "\r\n", "\n")
	v := lifecycleView{}
	switch x.form.Get("do") {
	case "preview", "save":
		if len(checkLifecycle(text)) > 0 {
			return x.showLifecycle(http.StatusBadRequest, v, &text, false)
		}
		if x.form.Get("do") == "preview" {
			return x.showLifecycle(http.StatusOK, v, &text, true)
		}
		var was lifecycleView
		saved, err := x.savedLifecycle(&was)
		if err != nil {
			return err
		}
		rights, err := x.may(repository, "ecrin:TestLifecycle", "ecr:StartLifecyclePolicyPreview")
		if err != nil {
			return err
		}
		may := rights["ecrin:TestLifecycle"].OK && rights["ecr:StartLifecyclePolicyPreview"].OK
		if may && x.form.Get("seen") != x.lifecycleProof(text, saved) {
			v.Notice = "Nothing was saved yet: this is what the text would do now. Save it if that is what you want."
			return x.showLifecycle(http.StatusConflict, v, &text, true)
		}
		seen := was.seen(saved) // that of the preview, as its proof says
		if !may {
			seen = x.form.Get("was")
		}
		err = replace(x, seen, "ecr", "PutLifecyclePolicy", &ecrtypes.PutLifecyclePolicyRequest{RegistryId: x.account.String(),
			RepositoryName: repository, LifecyclePolicyText: text})
		if errors.Is(err, errChanged) && may {
			v.Notice = "Nothing was saved: another request has changed the policy. This is what the text would do now."
			return x.showLifecycle(http.StatusConflict, v, &text, true)
		}
		if err != nil {
			v.Wrong = x.troubleOf(err)
			return x.showLifecycle(x.status(err), v, &text, false)
		}
		return x.done(x.repositoryPath(repository, "lifecycle"), "The lifecycle policy was saved.")
	case "delete":
		if err := replace(x, x.form.Get("was"), "ecr", "DeleteLifecyclePolicy", &ecrtypes.DeleteLifecyclePolicyRequest{
			RegistryId: x.account.String(), RepositoryName: repository}); err != nil {
			v.Wrong = x.troubleOf(err)
			return x.showLifecycle(x.status(err), v, &text, false)
		}
		return x.done(x.repositoryPath(repository, "lifecycle"), "The lifecycle policy was deleted.")
	}
	return errNothing
}
