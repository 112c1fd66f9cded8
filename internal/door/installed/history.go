package installed

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/door/look"
)

// pageSize is how many versions the history shows at once.
const pageSize = 50

// maxNew is how many new versions have their images checked after they were found.
const maxNew = 10

func number(n int64) string { return strconv.FormatInt(n, 10) }

// status is how something is, with an icon and a colour.
type status struct{ Icon, Colour, Text string }

// versionRow is a version as pages show it.
type versionRow struct {
	install.Version
	To      string // its page
	State   status
	Current bool
	Why     string // why it cannot be deployed now; "" if it can
	Verb    string // of the button: Deploy, Redeploy, Roll back, Resume
	Main    bool   // it is the one to deploy
	Images  status // of its images
	Checked bool   // they were checked
	Seen    int64  // the version that was deployed last
	Before  int64  // the version to compare it with
}

// statusOf returns the status of a version. Those that another one has replaced were deployed.
func statusOf(v install.Version, current bool) status {
	switch v.Status {
	case install.PendingDownload:
		return status{"clock", "off", "not downloaded"}
	case install.PendingConfig:
		return status{"warn", "warn", "a value is missing"}
	case install.Deploying:
		if !current {
			return status{"skip", "off", "interrupted"}
		}
		return status{"run", "acc", "deploying"}
	case install.Deployed:
		if !current {
			return status{"skip", "off", "replaced"}
		}
		return status{"ok", "ok", "deployed"}
	case install.Failed:
		return status{"bad", "bad", "failed"}
	case install.Unknown:
		return status{"warn", "warn", "unknown"}
	}
	return status{"clock", "off", "pending"}
}

// imagesOf returns how the images of a version are.
func imagesOf(c install.ImageChecks, ok bool) status {
	n := int64(len(c.Images))
	no, unknown := int64(c.Count(install.MayNotPull)), int64(c.Count(install.PullUnknown))
	switch {
	case !ok:
		return status{"skip", "off", "not checked"}
	case no > 0:
		return status{"bad", "bad", fmt.Sprintf("%s of %s cannot be pulled", look.Count(no), look.Many(n, "image", "images"))}
	case unknown > 0:
		return status{"warn", "warn", fmt.Sprintf("%s of %s not reached", look.Count(unknown), look.Many(n, "image", "images"))}
	case n == 1:
		return status{"ok", "ok", "1 image, reachable"}
	case n == 0:
		return status{"ok", "ok", "no images"}
	}
	return status{"ok", "ok", look.Count(n) + " images, all reachable"}
}

// rowOf returns a version as pages show it. busy is why nothing can be deployed now; "" for nothing.
func (x *request) rowOf(h *install.History, v install.Version, busy string) versionRow {
	_, current := h.Versions()
	r := versionRow{Version: v, To: x.base() + "/versions/" + number(v.Sequence), Current: v.Sequence == current, Why: busy, Verb: "Deploy",
		Seen: current, Before: max(v.Sequence-1, 0)}
	r.State = statusOf(v, r.Current)
	if current >= 0 && v.Sequence > current {
		r.Before = current
	}
	switch {
	case r.Current && v.Status == install.Deploying:
		r.Verb = "Resume"
	case r.Current && v.DeployedAt != nil:
		r.Verb = "Redeploy"
	case goesBack(v, current):
		r.Verb = "Roll back"
	}
	if err := h.Deployable(v); err != nil {
		r.Why = err.Error()
	}
	c, ok := h.Checks(v.Sequence)
	r.Images, r.Checked = imagesOf(c, ok), ok
	return r
}

// goesBack reports whether the deployment of a version goes back to one that was deployed before.
func goesBack(v install.Version, current int64) bool {
	return v.Sequence < current && v.DeployedAt != nil
}

// pager is the foot of a list.
type pager struct{ Text, First, Next string }

// historyView is the version history.
type historyView struct {
	Name, Customer, Channel, Namespace string
	Expires                            time.Time
	Expired                            bool
	Current, News                      *versionRow
	Interrupted                        bool
	Checked                            time.Time
	Offline                            bool
	Busy                               string // why nothing can be done now; "" for nothing
	Job                                *jobView
	Rows                               []versionRow
	Pager                              pager
}

// busy returns why nothing can be done now; "" for nothing.
func (j *jobView) busy() string {
	if j == nil || !j.Running {
		return ""
	}
	return j.Title + " is running: one thing is done at a time"
}

// historyPage shows the versions, the newest first.
func (x *request) historyPage() error {
	h, err := x.installation()
	if err != nil {
		return err
	}
	all, current := h.Versions()
	l := h.License()
	v := historyView{Name: l.AppSlug, Customer: l.CustomerName, Channel: l.Channel().Name, Namespace: h.Settings().Namespace,
		Checked: h.Checked(), Offline: h.Offline(), Job: x.lookAt()}
	v.Busy = v.Job.busy()
	v.Expires, v.Expired = expiry(h, x.Now())
	if current >= 0 {
		one := x.rowOf(h, all[current], v.Busy)
		v.Current, v.Interrupted = &one, one.Status == install.Deploying && v.Busy == ""
	}
	best := bestOf(h)
	if best >= 0 && best != current {
		one := x.rowOf(h, all[best], v.Busy)
		v.News = &one
	}
	n := int64(len(all))
	if text := x.r.URL.Query().Get("before"); text != "" {
		before, err := strconv.ParseInt(text, 10, 64)
		if err != nil || before < 0 {
			return errNoPage
		}
		n, v.Pager.First = min(n, before), x.base()+"/"
	}
	last := max(n-pageSize, 0)
	for i := n - 1; i >= last; i-- {
		r := x.rowOf(h, all[i], v.Busy)
		r.Main = r.Sequence == best && best != current || r.Current && v.Interrupted
		v.Rows = append(v.Rows, r)
	}
	v.Pager.Text = look.Many(int64(len(all)), "version", "versions") + ", newest first"
	if last > 0 {
		v.Pager.Next = x.base() + "/?" + look.Values("before", number(last))
	}
	return x.render(http.StatusOK, "history", &view{Title: l.AppSlug, Section: "Version history", Main: v})
}

// bestOf returns the version to deploy: the first that is required, else the newest that can be deployed; -1 for none.
func bestOf(h *install.History) int64 {
	all, current := h.Versions()
	best := int64(-1)
	for _, v := range all[current+1:] {
		if v.DeployedAt != nil || v.Status == install.Failed || h.Deployable(v) != nil {
			continue
		}
		if best = v.Sequence; v.Required {
			break
		}
	}
	return best
}

// onHistory asks the vendor for new versions, or the cluster how the deployed version is.
func (x *request) onHistory() error {
	switch x.form.Get("do") {
	case "check":
		return x.run(&job{title: "Check for updates", sequence: -1, to: "/"}, anything, check)
	case "refresh":
		return x.run(&job{title: "Look at the cluster", sequence: -1, to: "/"}, anything, refresh)
	}
	return errNothing
}

// check is the task that asks the vendor for new versions, and whether their images can be pulled.
func check(ctx context.Context, i *install.Installation) (string, bool, error) {
	found, err := i.Check(ctx)
	if n := len(found); n > 0 {
		bad := checkImages(ctx, i, found)
		said := look.Many(int64(n), "new version", "new versions") + ", the newest " + found[n-1].Label
		if bad > 0 {
			said += "; " + look.Many(int64(bad), "image", "images") + " cannot be pulled"
		}
		return said, bad > 0, err
	}
	return "There is no new version.", false, err
}

// checkImages checks the images of new versions. It returns how many cannot be pulled. That they could not be asked for is shown where the
// results are missing.
func checkImages(ctx context.Context, i *install.Installation, found []install.Version) (bad int) {
	for _, v := range found[max(len(found)-maxNew, 0):] {
		if c, err := i.CheckImages(ctx, v.Sequence); err == nil {
			bad += c.Count(install.MayNotPull)
		}
	}
	return bad
}

// refresh is the task that looks at the cluster.
func refresh(ctx context.Context, i *install.Installation) (string, bool, error) {
	v, err := i.Refresh(ctx)
	if err != nil {
		return "", false, err
	}
	said := fmt.Sprintf("Version %s is %s", v.Label, look.Lower(string(v.Status)))
	if v.Error != "" {
		said += ": " + v.Error
	}
	return said + ".", v.Status != install.Deployed, nil
}

// version returns the version that the path names.
//
// Errors: errNoPage; those of installation.
func (x *request) version() (*install.History, install.Version, error) {
	h, err := x.installation()
	if err != nil {
		return nil, install.Version{}, err
	}
	n, err := strconv.ParseInt(x.at["version"], 10, 64)
	if err != nil || n < 0 || number(n) != x.at["version"] {
		return nil, install.Version{}, errNoPage
	}
	v, err := h.Version(n)
	if err != nil {
		return nil, install.Version{}, errNoPage
	}
	return h, v, nil
}

// versionView is one version with what registries say about its images.
type versionView struct {
	Row    versionRow
	Busy   string
	Checks install.ImageChecks
	Files  bool // they are here
	Notes  []string
}

// maxNotes is how many lines of release notes are shown.
const maxNotes = 200

// versionPage shows a version: where it is from, its notes, its images.
func (x *request) versionPage() error {
	h, v, err := x.version()
	if err != nil {
		return err
	}
	out := versionView{Busy: x.lookAt().busy(), Files: v.Status != install.PendingDownload}
	out.Row = x.rowOf(h, v, out.Busy)
	out.Row.Main = true
	out.Checks, _ = h.Checks(v.Sequence)
	if text := strings.TrimSpace(v.Notes); text != "" {
		lines := strings.SplitN(text, "\n", maxNotes+1)
		for _, l := range lines[:min(len(lines), maxNotes)] {
			out.Notes = append(out.Notes, look.Visible(strings.TrimSuffix(l, "\r")))
		}
	}
	return x.render(http.StatusOK, "version", &view{Title: "Version " + v.Label, Section: "Version history", Main: out,
		Crumbs: []link{{Text: "Version history", To: x.base() + "/"}}})
}

// onVersion deploys a version, goes back to it, or checks its images.
func (x *request) onVersion() error {
	_, v, err := x.version()
	if err != nil {
		return err
	}
	to := "/versions/" + number(v.Sequence)
	switch x.form.Get("do") {
	case "deploy":
		wait := x.Wait
		j := &job{title: "Deployment of " + v.Label, sequence: v.Sequence, to: "/"}
		return x.run(j, x.deployable(v.Sequence), func(ctx context.Context, i *install.Installation) (string, bool, error) {
			return deploy(ctx, i, v.Sequence, wait)
		})
	case "images":
		j := &job{title: "Check of the images of " + v.Label, sequence: -1, to: to}
		return x.run(j, anything, func(ctx context.Context, i *install.Installation) (string, bool, error) {
			c, err := i.CheckImages(ctx, v.Sequence)
			n := c.Count(install.MayPull)
			return fmt.Sprintf("%d of %s can be pulled.", n, look.Many(int64(len(c.Images)), "image", "images")), n < len(c.Images), err
		})
	}
	return errNothing
}

// deployable is a check that nothing else was deployed since the page was opened, and that the version can be.
func (x *request) deployable(sequence int64) func(*install.Installation) error {
	same := x.unchanged(current)
	return func(i *install.Installation) error {
		if err := same(i); err != nil {
			return err
		}
		v, err := i.Version(sequence)
		if err != nil {
			return errChanged
		}
		if err := i.Deployable(v); err != nil {
			return &problem{http.StatusConflict, "The version cannot be deployed", err.Error()}
		}
		return nil
	}
}

// deploy is the task that deploys a version, or goes back to it. One that was interrupted goes on.
func deploy(ctx context.Context, i *install.Installation, sequence int64, wait time.Duration) (string, bool, error) {
	v, err := i.Version(sequence)
	if err != nil {
		return "", false, err
	}
	if goesBack(v, current(i)) {
		err = i.Rollback(ctx, sequence, wait)
	} else {
		err = i.Deploy(ctx, sequence, wait)
	}
	return fmt.Sprintf("Version %s is deployed.", v.Label), false, err
}
