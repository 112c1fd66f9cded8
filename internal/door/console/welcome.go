package console

import (
	"net/http"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
)

// progress is how far a registry has come.
type progress struct {
	Created bool // it has a repository
	Pushed  bool // and an image was pushed
	Granted bool // the repository with the newest image has a policy
	Pulled  bool // an image was pulled
	Name    string
}

// done returns how many steps are done, to tell whether a page is old.
func (p progress) done() (n int) {
	for _, step := range []bool{p.Created, p.Pushed, p.Granted, p.Pulled} {
		if step {
			n++
		}
	}
	return n
}

// progress looks at the repositories of the page's registry that were pushed to and pulled from last.
func (x *request) progress() (p progress, err error) {
	in := &ecrintypes.SearchRepositoriesRequest{RegistryId: x.account.String(), MaxResults: some[int32](1),
		SortBy: ecrintypes.RepositorySortKeyPUSHED, SortOrder: ecrintypes.SortOrderDESCENDING}
	out, err := do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", in)
	if err != nil || len(out.Repositories) == 0 {
		return p, err
	}
	r := out.Repositories[0]
	p.Created, p.Name, p.Pushed = true, r.RepositoryName, r.LastPushedAt != nil
	if !p.Pushed {
		return p, nil
	}
	in.SortBy = ecrintypes.RepositorySortKeyPULLED
	if out, err = do[ecrintypes.SearchRepositoriesResponse](x, "ecrin", "SearchRepositories", in); err == nil && len(out.Repositories) > 0 {
		p.Pulled = out.Repositories[0].LastRecordedPullTime != nil
	}
	_, err = do[ecrtypes.GetRepositoryPolicyResponse](x, "ecr", "GetRepositoryPolicy", &ecrtypes.GetRepositoryPolicyRequest{
		RegistryId: x.account.String(), RepositoryName: p.Name})
	p.Granted = err == nil
	return p, nil
}

// welcomeView tells how to push the first image, and what is wrong with the machine of the server.
type welcomeView struct {
	progress
	Denied          *trouble
	Host, URI       string
	Speak, Create   string
	Push            clientCommands
	Grant, Pull     string
	Look            string // the address that looks again; "" when there is nothing to wait for
	Pause           int    // seconds before it is asked again
	Doctor          *doctorView
	DoctorAt        string // the address that has the results
	CreateInBrowser string
}

// doctorView is the state of the machine of the server.
type doctorView struct {
	Steps        []step
	Fails, Warns int64
	At           time.Time
	Denied       *trouble
}

// welcomePauses are the seconds between two looks of the page at the registry.
var welcomePauses = []int{2, 2, 2, 3, 5, 10, 20, 30}

// welcomePage shows the steps to the first push and pull. With part=waiting it is the line that waits for the push: when something has
// changed, the browser begins at /console/ again, and after the first push the list of repositories.
func (x *request) welcomePage() error {
	q := x.r.URL.Query()
	v := welcomeView{Host: x.r.Host, DoctorAt: Path + "/welcome?doctor=1"}
	p, err := x.progress()
	if err != nil {
		if x.status(err) != http.StatusForbidden {
			return err
		}
		v.Denied = x.troubleOf(err)
	}
	v.progress = p
	waiting := q.Get("part") == "waiting" && x.r.Header.Get("HX-Request") != ""
	if waiting && p.Pushed {
		x.w.Header().Set("HX-Redirect", x.base()+"/repositories")
	} else if waiting && q.Get("done") != strconv.Itoa(p.done()) {
		x.w.Header().Set("HX-Redirect", Path+"/") // which leads to the list if the push has come meanwhile
	}
	if err == nil && !p.Pushed {
		n, _ := strconv.Atoi(q.Get("n"))
		n = min(max(n, 0), len(welcomePauses)-1)
		v.Pause = welcomePauses[n]
		v.Look = Path + "/welcome?" + values("part", "waiting", "done", strconv.Itoa(p.done()), "n", strconv.Itoa(n+1))
	}
	if q.Has("doctor") || q.Get("part") == "doctor" {
		v.Doctor = x.doctor()
	}
	repository := p.Name
	if repository == "" {
		repository = "team/app"
	}
	v.URI = x.uri(repository)
	v.Speak = `eval "$(ecrin env)"   # keys and endpoint for aws and SDKs, on the machine of the server`
	v.Create = "aws ecr create-repository --repository-name " + repository
	v.Push = x.choose("push", x.registryAt(v.URI).first(v.URI, "1.0"))
	v.Grant = "ecrin policy grant pull " + v.URI + " --to 111122223333 --apply"
	v.Pull = x.registryAt(v.URI).pull(v.URI, "1.0")[0].Text
	return x.render(http.StatusOK, "welcome", &view{Title: "Get started", Section: "welcome", Main: v})
}

// doctor returns the checks of the machine of the server.
func (x *request) doctor() *doctorView {
	out, err := do[ecrintypes.DiagnoseServerResponse](x, "ecrin", "DiagnoseServer", &ecrintypes.DiagnoseServerRequest{
		MaxAgeSeconds: some[int32](60)})
	v := &doctorView{}
	if err != nil {
		v.Denied = x.troubleOf(err)
		return v
	}
	v.At = out.CheckedAt.Time
	for _, c := range out.Checks {
		s := step{What: c.Name, More: []string{c.Detail}, Icon: "skip", Colour: "off", Say: "skipped"}
		switch c.Status {
		case ecrintypes.DiagnosisStatusOK:
			s.Icon, s.Colour, s.Say = "ok", "ok", "ok"
		case ecrintypes.DiagnosisStatusWARN:
			s.Icon, s.Colour, s.Say = "warn", "warn", "look"
			v.Warns++
		case ecrintypes.DiagnosisStatusFAIL:
			s.Icon, s.Colour, s.Say = "bad", "bad", "fails"
			v.Fails++
		}
		if c.Fix != "" {
			s.More = append(s.More, c.Fix)
		}
		v.Steps = append(v.Steps, s)
	}
	return v
}

// onWelcome checks the machine of the server again.
func (x *request) onWelcome() error {
	if x.form.Get("do") != "doctor" {
		return errNothing
	}
	if err := act(x, "ecrin", "DiagnoseServer", &ecrintypes.DiagnoseServerRequest{}); err != nil {
		return err
	}
	return x.redirect(Path + "/welcome?doctor=1")
}
