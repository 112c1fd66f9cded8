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
	"github.com/aws/smithy-go"
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
		Use: "unused role/NAME|user/NAME|group/NAME|REPOSITORY", Args: exactly("role/NAME, user/NAME, group/NAME or REPOSITORY"),
		Short: "Propose the least that the audit trail shows was used",
		Long: `Compare the policies of a role, user or group, or the policy of a repository, with the requests in the audit trail, and print
what of each statement was used and a narrower policy as a difference. Nothing is changed: review the difference, and set the policy with
the command that is printed.

Of a user, the policies of its groups are compared too, each with the requests of all members of the group, since it is theirs as well.

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
	Name  string `json:"name"`
	Group string `json:"group,omitempty"` // whose policy it is; "" for that of the principal itself or of a repository
	least.Proposal
	set string // the command that sets the proposal
}

func (u *unused) report() map[string]any {
	all := []map[string]any{}
	for _, p := range u.policies {
		one := map[string]any{"name": p.Name, "now": json.RawMessage(p.Now), "statements": p.Statements, "changed": p.Changed()}
		if p.Group != "" {
			one["group"] = p.Group
		}
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
	switch kind {
	case "group":
		return u.group(ctx, iam.NewFromConfig(cfg), called)
	case "role", "user":
		return u.principal(ctx, iam.NewFromConfig(cfg), kind, called)
	}
	return u.repository(ctx, ecr.NewFromConfig(cfg), what)
}

func (u *unused) repository(ctx context.Context, e *ecr.Client, repository string) error {
	out, err := e.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: &repository})
	if api := (smithy.APIError)(nil); errors.As(err, &api) && api.ErrorCode() == "RepositoryPolicyNotFoundException" {
		return fmt.Errorf("the repository %s of %s has no policy, so that nothing can be narrowed: its users have identity policies; "+
			"ecrin policy unused role/NAME compares those of a role", repository, u.home)
	}
	if err != nil {
		return err
	}
	arn := name.ARN{Partition: u.home.Region.Partition(), Service: "ecr", Region: u.home.Region.String(), Account: u.home.Account,
		Resource: "repository/" + repository}.String()
	if u.uses, err = u.read(ctx, ecrintypes.ListAuditEventsRequest{Resource: repository}, func(e event) bool {
		return slices.ContainsFunc(e.Resources, func(r eventResource) bool { return r.ARN == arn })
	}); err != nil {
		return err
	}
	return u.propose(unusedPolicy{Name: repository}, aws.ToString(out.PolicyText), policy.Repository, u.uses,
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
	var err error
	if u.uses, err = u.usesOf(ctx, arn); err != nil {
		return err
	}
	if err := u.policiesOf(ctx, i, kind, called, "", u.uses); err != nil || kind == "role" {
		return err
	}
	groups := iam.NewListGroupsForUserPaginator(i, &iam.ListGroupsForUserInput{UserName: &called})
	for groups.HasMorePages() {
		page, err := groups.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, g := range page.Groups {
			label := aws.ToString(g.GroupName)
			uses, err := u.usesOfMembers(ctx, i, label, map[string][]least.Use{arn: u.uses})
			if err != nil {
				return err
			}
			if err := u.policiesOf(ctx, i, "group", label, label, uses); err != nil {
				return err
			}
		}
	}
	return nil
}

// group compares the policies of a group with the uses of its members.
func (u *unused) group(ctx context.Context, i *iam.Client, called string) (err error) {
	called = called[strings.LastIndexByte(called, '/')+1:]
	if u.uses, err = u.usesOfMembers(ctx, i, called, nil); err != nil {
		return err
	}
	return u.policiesOf(ctx, i, "group", called, called, u.uses)
}

// usesOf reads what the trail has of a user or of the sessions of a role.
func (u *unused) usesOf(ctx context.Context, arn string) ([]least.Use, error) {
	return u.read(ctx, ecrintypes.ListAuditEventsRequest{Principal: arn}, func(e event) bool { return e.principal() == arn })
}

// usesOfMembers reads what the trail has of the members of a group. read has the uses that are known, by ARN.
func (u *unused) usesOfMembers(ctx context.Context, i *iam.Client, group string, read map[string][]least.Use) (all []least.Use, err error) {
	members := iam.NewGetGroupPaginator(i, &iam.GetGroupInput{GroupName: &group})
	for members.HasMorePages() {
		page, err := members.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Users {
			uses, known := read[aws.ToString(m.Arn)]
			if !known {
				if uses, err = u.usesOf(ctx, aws.ToString(m.Arn)); err != nil {
					return nil, err
				}
			}
			all = append(all, uses...)
		}
	}
	return all, nil
}

// policiesOf compares the policies of a user, role or group with uses. group is the name of the group, "" for others.
func (u *unused) policiesOf(ctx context.Context, i *iam.Client, kind, called, group string, uses []least.Use) error {
	return apply.EachPolicy(ctx, i, kind, called, func(p apply.Attached) error {
		set := fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name %s --policy-document file://policy.json", kind, kind, word(called),
			word(p.Name))
		if p.ARN != "" {
			set = fmt.Sprintf("aws iam put-%s-policy --%s-name %s --policy-name least-%s --policy-document file://policy.json\n"+
				"  aws iam detach-%s-policy --%s-name %s --policy-arn %s", kind, kind, word(called), word(p.Name), kind, kind, word(called), p.ARN)
		}
		return u.propose(unusedPolicy{Name: p.Name, Group: group}, p.Document, policy.Identity, uses, set)
	})
}

func (u *unused) propose(of unusedPolicy, text string, kind policy.Kind, uses []least.Use, set string) error {
	p, err := least.Propose(text, kind, uses, u.options)
	if err != nil {
		return fmt.Errorf("the policy %s: %w", of.Name, err)
	}
	of.Proposal, of.set = p, set
	u.policies = append(u.policies, of)
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

// read reads the uses of the trail that belong to a question.
func (u *unused) read(ctx context.Context, in ecrintypes.ListAuditEventsRequest, belongs func(event) bool) (uses []least.Use, err error) {
	most := int32(1000)
	in.AccountId, in.Since, in.MaxResults = u.home.Account.String(), &awswire.Time{Time: u.since.Truncate(time.Second)},
		&most
	all := map[least.Use]*least.Use{}
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.ListAuditEventsResponse
		if err := u.s.Call(ctx, "ListAuditEvents", &in, &out); err != nil {
			return nil, err
		}
		for _, line := range out.Events {
			e, err := parseEvent(line)
			if err != nil {
				return nil, err
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
		uses = append(uses, *use)
	}
	slices.SortFunc(uses, func(a, b least.Use) int {
		return strings.Compare(a.Principal+a.Action+a.Resource, b.Principal+b.Action+b.Resource)
	})
	return uses, nil
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
		c.say("%s has no policies", what)
	}
	for _, p := range u.policies {
		of := ""
		if p.Group != "" && !strings.HasPrefix(what, "group/") {
			of = " of the group " + p.Group + ", with the requests of all its members"
		}
		fmt.Fprintf(c.Out, "\npolicy %s%s\n", p.Name, of)
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
