package console

import (
	"errors"
	"net/http"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// runtimeRow is a runtime of the list.
type runtimeRow struct {
	Name, Version, Host, Role string
	Hosted                    bool
	Added                     time.Time
}

// runtimesView is the list of runtimes, and the repository of git that has the integrations.
type runtimesView struct {
	Parts   []settingsPart
	Rows    []runtimeRow
	Denied  *trouble
	Wrong   *trouble
	Pager   pager
	Form    []fieldset
	Put     right
	Delete  right
	Config  *ecrintypes.ConfigRepository
	CDenied *trouble
	Sync    right
}

func (x *request) runtimesPage() error { return x.showRuntimes(http.StatusOK, nil) }

// showRuntimes shows the runtimes of the account, and the repository of configurations if there is one.
func (x *request) showRuntimes(status int, wrong *trouble) error {
	v := runtimesView{Parts: x.settingsParts("runtimes"), Wrong: wrong}
	rights, err := x.mayOn("runtime/*", "ecrin:PutRuntime", "ecrin:DeleteRuntime")
	if err == nil {
		v.Put, v.Delete = rights["ecrin:PutRuntime"], rights["ecrin:DeleteRuntime"]
		rights, err = x.mayOn("config-repository", "ecrin:SyncConfigRepository")
		v.Sync = rights["ecrin:SyncConfigRepository"]
	}
	if err != nil {
		return err
	}
	out, err := do[ecrintypes.DescribeRuntimesResponse](x, "ecrin", "DescribeRuntimes",
		&ecrintypes.DescribeRuntimesRequest{AccountId: x.account.String()})
	if err != nil {
		v.Denied, status = x.troubleOf(err), x.status(err)
	} else {
		page, next := after(out.Runtimes, x.r.URL.Query().Get("after"), func(r ecrintypes.Runtime) string { return r.RuntimeName })
		for _, r := range page {
			v.Rows = append(v.Rows, runtimeRow{Name: r.RuntimeName, Version: r.Version, Host: r.IngressHost, Role: r.RoleArn, Hosted: r.Hosted,
				Added: r.CreatedAt.Time})
		}
		v.Pager = x.pagerOf(many(int64(len(page)), "runtime", "runtimes")+" of "+count(int64(len(out.Runtimes)))+", by name", next)
	}
	v.Form = filled([]fieldset{{Fields: []field{
		{Name: "name", Label: "Runtime name", Required: true, Placeholder: "west"},
		{Name: "version", Label: "Version", Required: true, Placeholder: "0.1.33", Help: "Integrations by access key need 0.1.27 or later."},
		{Name: "host", Label: "Ingress host", Placeholder: "https://west.example.com", Help: "That reports of images are sent to."},
		{Name: "role", Label: "IAM Role", Placeholder: "arn:aws:iam::123456789012:role/west", Help: "Which assumes the roles of integrations."},
		{Name: "hosted", Label: "Hosted by the platform", Kind: "check",
			Help: "It has no role of its own, and needs integrations by access key."},
	}}}, x.form)
	config, err := do[ecrintypes.ConfigRepositoryResponse](x, "ecrin", "DescribeConfigRepository",
		&ecrintypes.ConfigRepositoryRequest{AccountId: x.account.String()})
	switch {
	case err == nil:
		v.Config = &config.ConfigRepository
	case !errors.Is(err, fault.ObjectNotFound):
		v.CDenied = x.troubleOf(err)
	}
	return x.render(status, "runtimes", &view{Title: "Runtimes", Section: "account-settings", Crumbs: x.settingsCrumbs(), Main: v})
}

// onRuntimes adds or removes a runtime, or has the repository of configurations written now.
func (x *request) onRuntimes() (err error) {
	name := x.value("name")
	said := ""
	switch x.form.Get("do") {
	case "add":
		in := &ecrintypes.PutRuntimeRequest{AccountId: x.account.String(), RuntimeName: name, Hosted: x.yes("hosted"),
			Version: x.value("version"), IngressHost: x.value("host"), RoleArn: x.value("role")}
		said, err = "The runtime "+shown(name)+" was saved.", act(x, "ecrin", "PutRuntime", in)
	case "remove":
		said, err = "The runtime "+shown(name)+" was removed.", act(x, "ecrin", "DeleteRuntime",
			&ecrintypes.RuntimeRequest{AccountId: x.account.String(), RuntimeName: name})
	case "sync":
		said, err = "The repository is being written.", act(x, "ecrin", "SyncConfigRepository",
			&ecrintypes.ConfigRepositoryRequest{AccountId: x.account.String()})
	default:
		err = errNothing
	}
	if err != nil {
		return x.showRuntimes(x.status(err), x.troubleOf(err))
	}
	return x.done(x.base()+"/runtimes", said)
}
