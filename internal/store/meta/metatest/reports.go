package metatest

import (
	"errors"
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// testReports: a report replaces the one of the same name and digest, with the annotations of its types; a report to an account that does
// not exist, or with too much, is refused.
func testReports(fx *Fixture) {
	row := meta.ImageReport{Image: "h.example.com/app:1", Digest: "sha256:a", Repository: "h.example.com/app", Tag: "1",
		Type: "OTHER", Size: 7,
		CreatedAt: time.Unix(1e9, 0), Details: `{"x":1}`}
	pull := func(key string) meta.Annotation {
		return meta.Annotation{Subject: row.Image, Key: key, Type: "pr", Value: `{}`}
	}
	fx.Must(fx.PutReport(fx.Ctx, Account, []meta.ImageReport{row}, []meta.Annotation{pull("1"), pull("2")}))
	fx.Must(fx.PutAnnotation(fx.Ctx, Account, meta.Annotation{Subject: row.Image, Key: "note", Type: "note", Value: `"x"`}))
	row.Size, row.Revision = 8, "abc"
	fx.Must(fx.PutReport(fx.Ctx, Account, []meta.ImageReport{row}, []meta.Annotation{pull("3")}))
	all, err := fx.ImageReports(fx.Ctx, Account)
	if err != nil || len(all) != 1 || all[0].Size != 8 || all[0].Revision != "abc" || all[0].Details != "" || all[0].ReportedAt.IsZero() {
		fx.Errorf("the reports: got %+v and %v, want the second one", all, err)
	}
	if all, err = fx.ReportsOf(fx.Ctx, Account, row.Image, 10); err != nil || len(all) != 1 || all[0].Details != row.Details {
		fx.Errorf("the report: got %+v and %v, want it with details", all, err)
	}
	notes, err := fx.Annotations(fx.Ctx, Account, row.Image, 10)
	if err != nil || len(notes) != 2 || notes[0].Key != "3" || notes[1].Key != "note" {
		fx.Errorf("the annotations: got %+v and %v, want the pull request of the last report and the note", notes, err)
	}
	row.Details = string(make([]byte, 600<<10))
	if err := fx.PutReport(fx.Ctx, Account, []meta.ImageReport{row}, nil); !errors.Is(err, fault.LimitExceeded) {
		fx.Errorf("a report that is too large: got %v, want %v", err, fault.LimitExceeded)
	}
	none, err := name.ParseAccount("999999999999")
	fx.Must(err)
	if err := fx.PutReport(fx.Ctx, none, nil, nil); !errors.Is(err, fault.AccountNotFound) {
		fx.Errorf("a report to an account that does not exist: got %v, want %v", err, fault.AccountNotFound)
	}
}

// testReportedRepositories: the repositories of reports and of what runs are read by their names, and the rows of a range of them alone.
func testReportedRepositories(fx *Fixture) {
	at := time.Now()
	for i := range 6 {
		repository := fmt.Sprint("h/r", i)
		fx.Must(fx.PutReport(fx.Ctx, Account, []meta.ImageReport{
			{Image: repository + ":2", Digest: "sha256:b", Repository: repository, CreatedAt: at, Details: "{}"},
			{Image: repository + ":1", Digest: "sha256:a", Repository: repository, CreatedAt: at, Details: "{}", List: i == 2},
		}, nil))
	}
	fx.Must(fx.PutReport(fx.Ctx, Account, []meta.ImageReport{{Image: "h/list:1", Digest: "sha256:a", Repository: "h/list", CreatedAt: at,
		Details: "{}", List: true}}, nil))
	run := func(app, repository string, until time.Time) {
		fx.Must(fx.PutDeployments(fx.Ctx, Account, app, "", []meta.Deployment{{Application: app, Image: repository + ":1", Repository: repository,
			Digest: digestOf("1"), Until: until}}))
	}
	run("a", "h/r3", at.Add(time.Hour))
	run("b", "h/r3x", at.Add(time.Hour))
	run("c", "h/ended", time.UnixMicro(1_000_000)) // whatever the clock of the store is
	for _, c := range []struct {
		after string
		limit int
		want  []string
	}{{"", 10, []string{"h/r0", "h/r1", "h/r2", "h/r3", "h/r3x", "h/r4", "h/r5"}}, {"h/r2", 2, []string{"h/r3", "h/r3x"}},
		{"h/r3", 2, []string{"h/r3x", "h/r4"}}, {"h/r5", 2, nil}} {
		got, err := fx.ReportedRepositories(fx.Ctx, Account, c.after, c.limit)
		fx.Must(err)
		fx.Equal(append([]string(nil), got...), c.want, "repositories after %q", c.after)
	}
	reports, err := fx.ImagesReportedIn(fx.Ctx, Account, "h/r2", "h/r3")
	fx.Must(err)
	var names []string
	for _, r := range reports {
		names = append(names, r.Image)
	}
	fx.Equal(names, []string{"h/r2:2", "h/r3:1", "h/r3:2"}, "the images of two repositories")
	places, err := fx.DeploymentsIn(fx.Ctx, Account, "h/r3", "h/r3")
	if err != nil || len(places) != 1 || places[0].Application != "a" {
		fx.Errorf("what runs of one repository: got %+v and %v", places, err)
	}
	last, err := fx.LastReports(fx.Ctx, Account)
	fx.Must(err)
	known := map[string]bool{}
	for _, r := range last {
		known[r.Repository] = !r.At.IsZero()
	}
	fx.Equal(known, map[string]bool{"h/r0": true, "h/r1": true, "h/r2": true, "h/r3": true, "h/r3x": true, "h/r4": true, "h/r5": true},
		"the repositories with their last reports")
}

// testDeployments: a report of what an application runs replaces the one before, together with what is in use by it.
func testDeployments(fx *Fixture) {
	at := time.Now()
	image := func(tag string) meta.Deployment {
		return meta.Deployment{Application: "shop", Namespace: "prod", Image: "h.example.com/app:" + tag,
			Repository: "h.example.com/app", Tag: tag,
			Digest: digestOf(tag), Until: at.Add(time.Hour)}
	}
	fx.Must(fx.PutDeployments(fx.Ctx, Account, "shop", "prod", []meta.Deployment{image("1"), image("2")}))
	fx.Must(fx.PutDeployments(fx.Ctx, Account, "other", "", []meta.Deployment{image("1")}))
	fx.Must(fx.PutDeployments(fx.Ctx, Account, "shop", "prod", []meta.Deployment{image("2")}))
	all, err := fx.Deployments(fx.Ctx, Account)
	if err != nil || len(all) != 2 || all[0].Application != "other" || all[1].Tag != "2" || all[1].Digest != digestOf("2") {
		fx.Errorf("the deployments: got %+v and %v, want that of other and the second image of shop", all, err)
	}
	fx.Must(fx.PutDeployments(fx.Ctx, Account, "shop", "prod", nil))
	if all, err = fx.Deployments(fx.Ctx, Account); err != nil || len(all) != 1 {
		fx.Errorf("the deployments after shop runs nothing: got %+v and %v, want one", all, err)
	}
	none, err := name.ParseAccount("999999999999")
	fx.Must(err)
	if err := fx.PutDeployments(fx.Ctx, none, "shop", "", nil); !errors.Is(err, fault.AccountNotFound) {
		fx.Errorf("of an account that does not exist: got %v, want %v", err, fault.AccountNotFound)
	}
}

func digestOf(text string) name.Digest {
	d, err := name.ParseDigest(fmt.Sprintf("sha256:%064s", text))
	if err != nil {
		panic(err)
	}
	return d
}
