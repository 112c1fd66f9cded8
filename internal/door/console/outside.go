package console

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/op/ecr"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// pullThroughView is the list of rules by which the registry fetches from others.
type pullThroughView struct {
	At      string
	Rows    []pullThroughRow
	Pager   pager
	Denied  *trouble
	Wrong   *trouble
	Form    ecrtypes.CreatePullThroughCacheRuleRequest
	Rights  map[string]right
	Unseen  *trouble // the person may not see what the rules did
	Checked *ecrtypes.ValidatePullThroughCacheRuleResponse
}

// pullThroughRow is a rule.
type pullThroughRow struct {
	ecrtypes.PullThroughCacheRule
	Pull string // an example
	Did  *ruleUse
}

// ruleUse is what a rule did in the last 30 days.
type ruleUse struct {
	Rate           string // what was stored of all that was asked for, in percent; "" if nothing was
	Hits, Asked    int64
	Stale, Limited int64
	Saved, Fetched int64
	LimitedAt      time.Time
}

// ruleUses returns what the rules of the registry did, by their prefixes.
func (x *request) ruleUses() (map[string]*ruleUse, error) {
	out, err := do[ecrintypes.ListPullThroughUsageResponse](x, "ecrin", "ListPullThroughUsage", &ecrintypes.ListPullThroughUsageRequest{
		RegistryId: x.account.String()})
	if err != nil {
		return nil, err
	}
	all := map[string]*ruleUse{}
	for _, r := range out.Rules {
		u := &ruleUse{Hits: r.Hits, Asked: r.Hits + r.Misses + r.StaleHits, Stale: r.StaleHits, Limited: r.LimitReached, Saved: r.SavedBytes,
			Fetched: r.FetchedBytes, LimitedAt: timeOf(r.LimitReachedAt)}
		if u.Asked > 0 {
			u.Rate = number(100*float64(u.Hits)/float64(u.Asked)) + " %"
		}
		all[r.EcrRepositoryPrefix] = u
	}
	return all, nil
}

// pullThroughPage lists the rules.
func (x *request) pullThroughPage() error { return x.showPullThrough(http.StatusOK, pullThroughView{}) }

func (x *request) showPullThrough(status int, v pullThroughView) error {
	v.At = x.base() + "/pull-through"
	out, err := do[ecrtypes.DescribePullThroughCacheRulesResponse](x, "ecr", "DescribePullThroughCacheRules",
		&ecrtypes.DescribePullThroughCacheRulesRequest{RegistryId: x.account.String(), NextToken: x.r.URL.Query().Get("after"),
			MaxResults: some[int32](pageSize)})
	switch {
	case err != nil && x.status(err) != http.StatusForbidden:
		return err
	case err != nil:
		v.Denied = x.troubleOf(err)
	default:
		did, err := x.ruleUses()
		if v.Unseen, err = x.part(err); err != nil {
			return err
		}
		for _, r := range out.PullThroughCacheRules {
			one := pullThroughRow{PullThroughCacheRule: r, Did: did[r.EcrRepositoryPrefix]}
			if one.Did == nil && v.Unseen == nil {
				one.Did = &ruleUse{}
			}
			if prefix := r.EcrRepositoryPrefix; prefix != "ROOT" {
				one.Pull = x.uri(prefix+"/library/alpine") + ":3"
			}
			v.Rows = append(v.Rows, one)
		}
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "rule", "rules"), out.NextToken)
	}
	if v.Rights, err = x.may("", "ecr:CreatePullThroughCacheRule", "ecr:ValidatePullThroughCacheRule",
		"ecr:DeletePullThroughCacheRule"); err != nil {
		return err
	}
	return x.render(status, "pullthrough", &view{Title: "Pull-through", Section: "pull-through", Main: v})
}

// onPullThrough creates, checks or deletes a rule.
func (x *request) onPullThrough() error {
	at, prefix := x.base()+"/pull-through", strings.TrimSpace(x.form.Get("prefix"))
	fails := func(err error, v pullThroughView) error {
		v.Wrong = x.troubleOf(err)
		return x.showPullThrough(x.status(err), v)
	}
	switch x.form.Get("do") {
	case "create":
		in := ecrtypes.CreatePullThroughCacheRuleRequest{RegistryId: x.account.String(), EcrRepositoryPrefix: prefix,
			UpstreamRegistryUrl: strings.TrimSpace(x.form.Get("upstream")), CredentialArn: strings.TrimSpace(x.form.Get("credential")),
			UpstreamRepositoryPrefix: strings.TrimSpace(x.form.Get("upstream-prefix"))}
		if err := act(x, "ecr", "CreatePullThroughCacheRule", &in); err != nil {
			return fails(err, pullThroughView{Form: in})
		}
		return x.done(at, "The rule was created.")
	case "validate":
		out, err := do[ecrtypes.ValidatePullThroughCacheRuleResponse](x, "ecr", "ValidatePullThroughCacheRule",
			&ecrtypes.ValidatePullThroughCacheRuleRequest{RegistryId: x.account.String(), EcrRepositoryPrefix: prefix})
		if err != nil {
			return fails(err, pullThroughView{})
		}
		return x.showPullThrough(http.StatusOK, pullThroughView{Checked: out})
	case "delete":
		if err := act(x, "ecr", "DeletePullThroughCacheRule", &ecrtypes.DeletePullThroughCacheRuleRequest{RegistryId: x.account.String(),
			EcrRepositoryPrefix: prefix}); err != nil {
			return fails(err, pullThroughView{})
		}
		return x.done(at, "The rule was deleted. What was fetched by it stays.")
	}
	return errNothing
}

// replicationView is where images of the registry are copied to.
type replicationView struct {
	At      string
	Other   string // another account, whose rules are not shown here; "" if not
	Rules   []replicationRow
	Map     *figure
	Failed  []jobRow
	Waiting int64
	Policy  editor
	Was     string // the tag of the rules in force, for the form
	Denied  *trouble
	Jobs    *trouble
	Wrong   *trouble
	Save    right
	Retry   right
}

// replicationRow is a rule.
type replicationRow struct {
	Number   int
	To, From []string
}

// replicationPage shows the rules as a map, with what waits and what has failed.
func (x *request) replicationPage() error {
	return x.showReplication(http.StatusOK, replicationView{}, nil)
}

func (x *request) showReplication(status int, v replicationView, text *string) error {
	v.At = x.base() + "/replication"
	if x.account != x.session.Caller.Account {
		v.Other = x.account.String()
	}
	var config ecrtypes.ReplicationConfiguration
	out, err := do[ecrtypes.DescribeRegistryResponse](x, "ecr", "DescribeRegistry", &ecrtypes.DescribeRegistryRequest{})
	switch {
	case err != nil && x.status(err) != http.StatusForbidden:
		return err
	case err != nil:
		v.Denied = x.troubleOf(err)
	case out.ReplicationConfiguration != nil:
		config = *out.ReplicationConfiguration
	}
	if v.Was = unseen; v.Denied == nil {
		if v.Was, err = ecr.ReplicationTag(&config); err != nil {
			return err
		}
	}
	lag, err := x.replicationJobs(&v)
	if err != nil {
		return err
	}
	for i, r := range config.Rules {
		row := replicationRow{Number: i + 1}
		for _, d := range r.Destinations {
			row.To = append(row.To, d.RegistryId+"/"+d.Region)
		}
		for _, f := range r.RepositoryFilters {
			row.From = append(row.From, f.Filter)
		}
		v.Rules = append(v.Rules, row)
	}
	v.Map = x.replicationMap(v.Rules, lag)
	if config.Rules == nil {
		config.Rules = []ecrtypes.ReplicationRule{}
	}
	saved, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	body := string(saved)
	if text != nil {
		body = *text
	}
	v.Policy = newEditor("Replication configuration, JSON", body, nil)
	rights, err := x.may("", "ecr:PutReplicationConfiguration", "ecrin:RetryJob")
	if err != nil {
		return err
	}
	v.Save, v.Retry = rights["ecr:PutReplicationConfiguration"], rights["ecrin:RetryJob"]
	return x.render(status, "replication", &view{Title: "Replication", Section: "replication", Main: v})
}

// replicationLag is what waits for a destination.
type replicationLag struct {
	waiting int64
	oldest  time.Time
	failed  int64
}

// replicationJobs fills in what has failed, and returns what waits by destination, of the newest thousand jobs.
func (x *request) replicationJobs(v *replicationView) (map[string]replicationLag, error) {
	lag := map[string]replicationLag{}
	rows, _, err := x.jobRows(&ecrintypes.ListJobsRequest{AccountId: x.account.String(), Kind: "replication", MaxResults: some[int32](1000)})
	if err != nil {
		v.Jobs = x.troubleOf(err)
		return lag, nil
	}
	for _, r := range rows {
		_, to, _ := strings.Cut(r.About, " to ")
		l := lag[to]
		switch {
		case r.Cancel:
			l.waiting++
			l.oldest = r.Created // jobs are the newest first
			v.Waiting++
		case r.State == "failed":
			l.failed++
			if len(v.Failed) < pageSize {
				v.Failed = append(v.Failed, r)
			}
		}
		lag[to] = l
	}
	return lag, nil
}

// replicationMap draws the registry and where its rules copy to, with what waits on each edge.
func (x *request) replicationMap(rules []replicationRow, lag map[string]replicationLag) *figure {
	var all []string
	for _, r := range rules {
		for _, to := range r.To {
			if !slices.Contains(all, to) {
				all = append(all, to)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	const most = 24
	more := max(len(all)-most, 0)
	all = all[:min(len(all), most)]
	height := 56 * len(all)
	f := &figure{Name: "Map of registries", Title: "Where images are copied to", ID: "map", Width: 1120, Height: height + 24,
		Desc: "An edge from this registry to each of " + many(int64(len(all)+more), "registry", "registries") + ", with what waits for it."}
	middle := float64(height) / 2
	f.rect("f0", 0, middle-22, 280, 44, "")
	f.text("b", 12, middle-2, x.account.String())
	f.text("", 12, middle+14, x.region.String())
	for i, to := range all {
		y := 28 + float64(i)*56
		l := lag[to]
		class, words := "l0", "up to date"
		switch {
		case l.failed > 0:
			class, words = "lbad", many(l.failed, "copy has", "copies have")+" failed"
		case l.waiting > 0:
			class, words = "ldash", count(l.waiting)+" waiting, the oldest for "+span(x.begun.Sub(l.oldest))
		}
		f.path(class, "M280 %sC560 %s 520 %s 800 %s", middle, middle, y, y)
		f.text("e", 792, y-6, words)
		account, region, _ := strings.Cut(to, "/")
		f.rect("f0", 800, y-22, 280, 44, "")
		f.text("b", 812, y-2, clipped(account, 30))
		f.text("", 812, y+14, clipped(region, 30))
	}
	if more > 0 {
		f.text("e", 1080, float64(height)+18, fmt.Sprintf("and %d more", more))
	}
	return f
}

// onReplication saves the rules.
func (x *request) onReplication() error {
	text := strings.ReplaceAll(x.form.Get("text"), "\r\n", "\n")
	if x.form.Get("do") != "save" {
		return errNothing
	}
	fails := func(err error) error {
		return x.showReplication(x.status(err), replicationView{Wrong: x.troubleOf(err)}, &text)
	}
	if x.account != x.session.Caller.Account {
		return fails(fault.InvalidParameter.New("the rules of a registry are set by its own account: switch to a role of it"))
	}
	var config ecrtypes.ReplicationConfiguration
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&config); err != nil {
		return fails(fault.InvalidParameter.New("the text is no replication configuration: %s", strings.TrimPrefix(err.Error(), "json: ")))
	}
	if config.Rules == nil {
		config.Rules = []ecrtypes.ReplicationRule{}
	}
	if err := replace(x, x.form.Get("was"), "ecr", "PutReplicationConfiguration", &ecrtypes.PutReplicationConfigurationRequest{
		ReplicationConfiguration: config}); err != nil {
		return fails(err)
	}
	return x.done(x.base()+"/replication", "The replication rules were saved.")
}

// templatesView is the list of repository creation templates.
type templatesView struct {
	At     string
	Rows   []ecrtypes.RepositoryCreationTemplate
	Pager  pager
	Denied *trouble
	Wrong  *trouble
	Form   ecrtypes.CreateRepositoryCreationTemplateRequest
	Rights map[string]right
}

// templatesPage lists the templates by which repositories are created.
func (x *request) templatesPage() error { return x.showTemplates(http.StatusOK, templatesView{}) }

func (x *request) showTemplates(status int, v templatesView) error {
	v.At = x.base() + "/templates"
	out, err := do[ecrtypes.DescribeRepositoryCreationTemplatesResponse](x, "ecr", "DescribeRepositoryCreationTemplates",
		&ecrtypes.DescribeRepositoryCreationTemplatesRequest{NextToken: x.r.URL.Query().Get("after"), MaxResults: some[int32](pageSize)})
	switch {
	case err != nil && x.status(err) != http.StatusForbidden:
		return err
	case err != nil:
		v.Denied = x.troubleOf(err)
	default:
		v.Rows = out.RepositoryCreationTemplates
		v.Pager = x.pagerOf(many(int64(len(v.Rows)), "template", "templates"), out.NextToken)
	}
	if v.Rights, err = x.may("", "ecr:CreateRepositoryCreationTemplate", "ecr:DeleteRepositoryCreationTemplate"); err != nil {
		return err
	}
	return x.render(status, "templates", &view{Title: "Templates", Section: "templates", Main: v})
}

// onTemplates creates or deletes a template.
func (x *request) onTemplates() error {
	at, prefix := x.base()+"/templates", strings.TrimSpace(x.form.Get("prefix"))
	switch x.form.Get("do") {
	case "create":
		in := ecrtypes.CreateRepositoryCreationTemplateRequest{Prefix: prefix, Description: strings.TrimSpace(x.form.Get("description")),
			ImageTagMutability: ecrtypes.ImageTagMutability(x.form.Get("mutability"))}
		for _, what := range x.form["for"] {
			in.AppliedFor = append(in.AppliedFor, ecrtypes.RCTAppliedFor(what))
		}
		for name, into := range map[string]**string{"policy": &in.RepositoryPolicy, "lifecycle": &in.LifecyclePolicy} {
			if text := strings.TrimSpace(x.form.Get(name)); text != "" {
				*into = &text
			}
		}
		if err := act(x, "ecr", "CreateRepositoryCreationTemplate", &in); err != nil {
			return x.showTemplates(x.status(err), templatesView{Wrong: x.troubleOf(err), Form: in})
		}
		return x.done(at, "The template was created.")
	case "delete":
		if err := act(x, "ecr", "DeleteRepositoryCreationTemplate", &ecrtypes.DeleteRepositoryCreationTemplateRequest{
			Prefix: prefix}); err != nil {
			return x.showTemplates(x.status(err), templatesView{Wrong: x.troubleOf(err)})
		}
		return x.done(at, "The template was deleted. Repositories that it made stay.")
	}
	return errNothing
}
