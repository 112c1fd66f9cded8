package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/apply"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/least"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) policyUnused() *cobra.Command {
	cmd := &cobra.Command{
		Use: "unused role/NAME|user/NAME|REPOSITORY", Args: exactly("role/NAME, user/NAME or REPOSITORY"),
		Short: "Propose the least that the audit trail shows was used",
		Long: `Compare the policies of a role or user, or the policy of a repository, with the requests in the audit trail, and print
what of each statement was used and a narrower policy as a difference. Nothing is changed: review the difference, and set the policy with
the command that is printed.

A statement that allows keeps the actions and resources that were used, with those that belong to them (a pull of an image whose
layers a client has already asks for the manifest only), and its conditions; one of which nothing was used is left out. Statements
that deny stay. A repository's statements lose the principals that used nothing. Requests that were denied do not count.

The trail may be shorter than --days; the first line says how far back it goes. What is done once a year is not in a trail of 90 days.`,
		Example: "  ecrin policy unused role/deploy\n  ecrin policy unused team/app --days 30 --json",
	}
	c.dataFlag(cmd)
	days := cmd.Flags().Int("days", 90, "how many `days` of the trail to read")
	keep := cmd.Flags().Bool("keep-resources", false, "narrow actions only")
	where, asJSON := registryFlag(cmd, "of the repository, and the account of the principal (default: the default registry)"),
		c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *days < 1 || *days > 3650 {
			return usageError{errors.New("--days must be 1 to 3650")}
		}
		home, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		s, err := c.connectTo(cmd, &registry{region: home.Region.String()})
		if err != nil {
			return err
		}
		if home == (name.Registry{}) {
			if home, err = parseRegistry(s.Server.Account + "/" + s.Server.Region); err != nil {
				return err
			}
		}
		u := unused{s: s, home: home, since: time.Now().AddDate(0, 0, -*days), options: least.Options{KeepResources: *keep}}
		if err := u.find(cmd.Context(), args[0]); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(u.report())
		}
		c.showUnused(args[0], u)
		return nil
	}
	return cmd
}

// unused compares policies with the trail.
type unused struct {
	s       *client.Client
	home    name.Registry
	since   time.Time
	options least.Options

	begins   time.Time // of the trail; zero if it is empty
	uses     []least.Use
	policies []unusedPolicy
}

type unusedPolicy struct {
	Name string `json:"name"`
	least.Proposal
	set string // the command that sets the proposal
}

func (u *unused) report() map[string]any {
	all := []map[string]any{}
	for _, p := range u.policies {
		one := map[string]any{"name": p.Name, "now": json.RawMessage(p.Now), "statements": p.Statements, "changed": p.Changed()}
		if p.Proposed != "" {
			one["proposed"] = json.RawMessage(p.Proposed)
		}
		all = append(all, one)
	}
	return map[string]any{"since": u.since.UTC().Truncate(time.Second), "trailBegins": u.begins, "requests": u.requests(), "policies": all}
}

func (u *unused) requests() (n int) {
	for _, use := range u.uses {
		n += use.Count
	}
	return n
}

func (u *unused) find(ctx context.Context, what string) error {
	account := u.home.Account.String()
	var first ecrintypes.ListAuditEventsResponse
	one, yes := int32(1), true
	if err := u.s.Call(ctx, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{AccountId: account, OldestFirst: &yes, MaxResults: &one},
		&first); err != nil {
		return err
	}
	for _, line := range first.Events {
		e, err := parseEvent(line)
		if err != nil {
			return err
		}
		u.begins = e.Time
	}
	cfg, err := u.s.Config(ctx, account)
	if err != nil {
		return err
	}
	cfg.Region = u.home.Region.String()
	kind, called, _ := strings.Cut(what, "/")
	if kind == "role" || kind == "user" {
		return u.principal(ctx, iam.NewFromConfig(cfg), kind, called)
	}
	return u.repository(ctx, ecr.NewFromConfig(cfg), what)
}

func (u *unused) repository(ctx context.Context, e *ecr.Client, repository string) error {
	out, err := e.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &repository})
	if err != nil {
		return err
	}
	arn := name.ARN{Partition: u.home.Region.Partition(), Service: "ecr", Region: u.home.Region.String(), Account: u.home.Account,
		Resource: "repository/" + repository}.String()
	if err := u.read(ctx, ecrintypes.ListAuditEventsRequest{Resource: repository}, func(e event) bool {
		return slices.ContainsFunc(e.Resources, func(r eventResource) bool { return r.ARN == arn })
	}); err != nil {
		return err
	}
	return u.propose(repository, aws.ToString(out.PolicyText), policy.Repository,
		"aws ecr set-repository-policy --repository-name "+word(repository)+" --policy-text file://policy.json")
}

func (u *unused) principal(ctx context.Context, i *iam.Client, kind, called string) error {
	// A path is part of the ARN, and not of the name.
	called = called[strings.LastIndexByte(called, '/')+1:]
	arn := ""
	if kind == "role" {
		out, err := i.GetRole(ctx, &iam.GetRoleInput{RoleName: &called})
		if err != nil {
			return err
		}
		arn = aws.ToString(out.Role.Arn)
	} else {
		out, err := i.GetUser(ctx, &iam.GetUserInput{UserName: &called})
		if err != nil {
			return err
		}
		arn = aws.ToString(out.User.Arn)
	}
	if err := u.read(ctx, ecrintypes.ListAuditEventsRequest{Principal: arn},
		func(e event) bool { return e.principal() == arn }); err != nil {
		return err
	}
	return apply.EachPolicy(ctx, i, kind, called, func(p apply.Attached) error {
		set := fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name %s --policy-document file://policy.json", kind, kind, word(called),
			word(p.Name))
		if p.ARN != "" {
			set = fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name least-%s --policy-document file://policy.json\n"+
				"  aws iam detach-%s-policy --%s-name %s --policy-arn %s", kind, kind, word(called), word(p.Name), kind, kind, word(called), p.ARN)
		}
		return u.propose(p.Name, p.Document, policy.Identity, set)
	})
}

func (u *unused) propose(called, text string, kind policy.Kind, set string) error {
	p, err := least.Propose(text, kind, u.uses, u.options)
	if err != nil {
		return fmt.Errorf("the policy %s: %w", called, err)
	}
	u.policies = append(u.policies, unusedPolicy{called, p, set})
	return nil
}

// event is what a line of the trail says of a use.
type event struct {
	Time      time.Time       `json:"eventTime"`
	Source    string          `json:"eventSource"`
	Name      string          `json:"eventName"`
	Error     string          `json:"errorCode"`
	Resources []eventResource `json:"resources"`
	Identity  struct {
		ARN     string `json:"arn"`
		Account string `json:"accountId"`
		Session struct {
			Issuer struct {
				ARN string `json:"arn"`
			} `json:"sessionIssuer"`
		} `json:"sessionContext"`
	} `json:"userIdentity"`
}

type eventResource struct {
	ARN string `json:"ARN"`
}

func parseEvent(line string) (e event, err error) {
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		return e, fmt.Errorf("reading a line of the trail: %w", err)
	}
	return e, nil
}

// principal returns the ARN of the user, or of the role of a session.
func (e event) principal() string {
	if issuer := e.Identity.Session.Issuer.ARN; issuer != "" {
		return issuer
	}
	return e.Identity.ARN
}

// denied reports whether the request was refused, so that it used nothing.
func (e event) denied() bool {
	return strings.Contains(e.Error, "AccessDenied") || strings.Contains(e.Error, "Unauthorized") || e.Name == "Authenticate"
}

// read reads the uses of the trail that belong to the question.
func (u *unused) read(ctx context.Context, in ecrintypes.ListAuditEventsRequest, belongs func(event) bool) error {
	most := int32(1000)
	in.AccountId, in.Since, in.MaxResults = u.home.Account.String(), &awswire.Time{Time: u.since.Truncate(time.Second)},
		&most
	all := map[least.Use]*least.Use{}
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.ListAuditEventsResponse
		if err := u.s.Call(ctx, "ListAuditEvents", &in, &out); err != nil {
			return err
		}
		for _, line := range out.Events {
			e, err := parseEvent(line)
			if err != nil {
				return err
			}
			if e.denied() || !belongs(e) {
				continue
			}
			service, _, _ := strings.Cut(e.Source, ".")
			resources := e.Resources
			if len(resources) == 0 {
				resources = []eventResource{{"*"}}
			}
			for _, r := range resources {
				key := least.Use{Principal: e.principal(), Account: e.Identity.Account, Action: service + ":" + e.Name, Resource: r.ARN}
				if all[key] == nil {
					one := key
					all[key] = &one
				}
				all[key].Count++
				if e.Time.After(all[key].Last) {
					all[key].Last = e.Time
				}
			}
		}
		in.NextToken = out.NextToken
	}
	for _, use := range all {
		u.uses = append(u.uses, *use)
	}
	slices.SortFunc(u.uses, func(a, b least.Use) int {
		return strings.Compare(a.Principal+a.Action+a.Resource, b.Principal+b.Action+b.Resource)
	})
	return nil
}

func (c *commands) showUnused(what string, u unused) {
	from := u.since
	if u.begins.After(from) {
		from = u.begins
		c.say("the trail begins at %s, after the %s that were asked for", from.UTC().Format(time.RFC3339),
			counted(int64(time.Since(u.since).Hours()/24+0.5), "day", "days"))
	}
	fmt.Fprintf(c.Out, "%s: %s since %s\n", what, counted(int64(u.requests()), "request", "requests"), from.UTC().Format(time.RFC3339))
	if len(u.policies) == 0 {
		c.say("%s has no policies of its own", what)
	}
	for _, p := range u.policies {
		fmt.Fprintf(c.Out, "\npolicy %s\n", p.Name)
		for i, s := range p.Statements {
			fmt.Fprintf(c.Out, "  Statement[%d]%s: %s\n", i, sid(s.Sid), useOf(s))
		}
		switch {
		case !p.Changed():
			fmt.Fprintln(c.Out, "  all of it was used")
			continue
		case p.Proposed == "":
			fmt.Fprintln(c.Out, "  nothing of it was used: it can go")
			continue
		}
		for _, line := range apply.Diff(p.Now, p.Proposed) {
			fmt.Fprintln(c.Out, "  "+line)
		}
		fmt.Fprintf(c.Out, "to set it, save the lines with + and those without a sign as policy.json, and run\n  %s\n", p.set)
	}
}

func sid(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(" %q", s)
}

func useOf(s least.Statement) (text string) {
	switch {
	case s.Dropped:
		text = "not used"
	case s.Count == 0:
	default:
		text = fmt.Sprintf("%s, the last %s; %s", counted(int64(s.Count), "request", "requests"), s.Last.UTC().Format(time.RFC3339),
			strings.Join(s.Actions, ", "))
	}
	return strings.Trim(text+"; "+s.Note, "; ")
}
