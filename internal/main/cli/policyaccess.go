package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// tokenAction is the action whose resource is always *.
const tokenAction = "ecr:GetAuthorizationToken"

// actionAnswer says whether a principal has an action on a repository.
type actionAnswer struct {
	Action    string `json:"action"`
	Allowed   bool   `json:"allowed"`
	DecidedBy string `json:"decidedBy,omitempty"`
	Text      string `json:"text,omitempty"` // of ECR, if it is denied
	Add       string `json:"add,omitempty"`  // what would allow it
}

// checkAccess answers which of the actions that platforms ask for a principal has on a repository: by its identity policies and the policy
// of the repository together.
func (c *commands) checkAccess(cmd *cobra.Command, repository, principal, where string, asJSON bool) error {
	if _, err := policy.ParsePrincipal(principal); err != nil {
		return errors.New("--principal: " + fault.From(err).Public)
	}
	repo, err := name.ParseRepo(repository)
	if err != nil {
		return errors.New(fault.From(err).Public + "; with --principal the argument is a repository, and a file without")
	}
	reg, err := parseRegistry(where)
	if err != nil {
		return err
	}
	s, err := c.connectTo(cmd, &registry{region: reg.Region.String()})
	if err != nil {
		return err
	}
	all, err := accessOf(cmd.Context(), s, reg, repo, principal)
	if err != nil {
		return err
	}
	denied := 0
	rows := [][]string{{"ACTION", "ALLOWED", "DECIDED BY"}}
	for _, a := range all {
		allowed := "yes"
		if !a.Allowed {
			denied++
			allowed = "NO"
		}
		rows = append(rows, []string{a.Action, allowed, orDash(a.DecidedBy)})
	}
	if asJSON {
		err = c.printJSON(map[string]any{"repositoryName": repo.String(), "principal": principal, "actions": all, "allowed": denied == 0})
	} else {
		err = errors.Join(c.table(rows), c.sayMissing(all))
	}
	if err == nil && denied > 0 {
		err = errDenied
	}
	return err
}

// accessOf asks the server for each action.
//
// Errors: there is no such repository; those of the server.
func accessOf(ctx context.Context, s *client.Client, reg name.Registry, repo name.Repo, principal string) (all []actionAnswer, err error) {
	account, label := cmp.Or(reg.Account.String(), s.Server.Account), repo.String()
	cfg, err := s.ConfigFor(ctx, account)
	if err != nil {
		return nil, err
	}
	cfg.Region = s.Server.Region
	in := &ecr.DescribeRepositoriesInput{RegistryId: &account, RepositoryNames: []string{label}}
	var none *types.RepositoryNotFoundException
	if _, err := ecr.NewFromConfig(cfg).DescribeRepositories(ctx, in); errors.As(err, &none) {
		return nil, err // who may not describe it can ask all the same
	}
	for _, action := range policy.PullActions() {
		in := &ecrintypes.ExplainAccessRequest{Principal: principal, Action: action}
		if action != tokenAction {
			in.RegistryId, in.RepositoryName = reg.Account.String(), repo.String()
		}
		var out ecrintypes.ExplainAccessResponse
		if err := s.Call(ctx, "ExplainAccess", in, &out); err != nil {
			return nil, err
		}
		e := out.Explanation
		a := actionAnswer{Action: action, Allowed: e.Allowed, DecidedBy: e.DecidedBy}
		if !e.Allowed {
			a.Text, a.Add = e.Text, explain.Cure(e)
		}
		all = append(all, a)
	}
	return all, nil
}

// sayMissing prints the text of ECR for each action that is denied, and what would allow it, once for those with the same cure.
func (c *commands) sayMissing(all []actionAnswer) error {
	var out strings.Builder
	said := map[string]bool{}
	for _, a := range all {
		if a.Allowed {
			continue
		}
		fmt.Fprintf(&out, "\n%s\n", a.Text)
		if a.Add != "" && !said[a.Add] {
			said[a.Add] = true
			fmt.Fprintf(&out, "  what to do: %s\n", strings.ReplaceAll(a.Add, "\n", "\n    "))
		}
	}
	_, err := fmt.Fprint(c.Out, out.String())
	return err
}
