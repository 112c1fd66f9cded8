package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) policy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy", Short: "Check, write and extend policies",
		Long: "check and print need no server. grant, replace and remove call the server of --data as its operator, or one\nanywhere with AWS credentials (--url, --profile).",
	}
	cmd.AddCommand(c.policyCheck(), c.policyTest(), c.policyUnused(), c.policyPrint(), c.policyGrant(), c.policyReplace(), c.policyRemove())
	return cmd
}

// registryFlag adds the flag --registry.
func registryFlag(cmd *cobra.Command, use string) *string {
	return cmd.Flags().String("registry", "", "the `ACCOUNT/REGION` "+use)
}

// parseRegistry parses ACCOUNT/REGION; the result for "" is the zero Registry.
func parseRegistry(s string) (name.Registry, error) {
	if s == "" {
		return name.Registry{}, nil
	}
	account, region, ok := strings.Cut(s, "/")
	if !ok {
		return name.Registry{}, usageError{fmt.Errorf("--registry must be ACCOUNT/REGION, such as 111122223333/eu-west-1, got %q", s)}
	}
	a, err1 := name.ParseAccount(account)
	r, err2 := name.ParseRegion(region)
	if err := errors.Join(err1, err2); err != nil {
		return name.Registry{}, errors.New("--registry: " + fault.From(err).Public)
	}
	return name.Registry{Account: a, Region: r}, nil
}

func (c *commands) policyPrint() *cobra.Command {
	cmd := &cobra.Command{
		Use: "print", Args: cobra.NoArgs, Short: "Print a repository policy that allows pulling or pushing",
		Long: `Print a repository policy that allows an account, user or role to pull, push or both. With --pull alone the output
is, word by word, the policy that deployment platforms ask for.

A whole account as the principal delegates: that account allows its own users and roles by identity policies.
ecr:GetAuthorizationToken has no effect here; an identity policy must allow it, on the resource *.`,
		Example: "  ecrin policy print --pull --principal 111122223333 > policy.json\n" +
			"  aws ecr set-repository-policy --repository-name team/app --policy-text file://policy.json",
	}
	pull := cmd.Flags().Bool("pull", false, "allow pulling and describing images")
	push := cmd.Flags().Bool("push", false, "allow pushing")
	to := cmd.Flags().String("principal", "", "the principal: an account of 12 digits, an `ARN` of an account, user or role, or a service")
	c.jsonFlag(cmd) // the output is JSON in any case
	sid := cmd.Flags().String("sid", "", "`name` of the statement (default: "+policy.PullSid+", "+policy.PushSid+" or "+bothSid+")")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if !*pull && !*push {
			return usageError{errors.New("--pull or --push is needed, or both")}
		}
		if *to == "" {
			return usageError{errors.New("--principal is needed")}
		}
		who, err := policy.ParsePrincipal(*to)
		if err != nil {
			return errors.New(fault.From(err).Public)
		}
		actions, called := permissions(*pull, *push)
		if cmd.Flags().Changed("sid") {
			called = *sid
		}
		d, _, _ := policy.Grant(nil, who, actions, called)
		return c.printPolicy(d.String())
	}
	return cmd
}

// bothSid is the Sid of a statement that allows pulling and pushing.
const bothSid = "AllowPullPush"

// permissions returns the actions and the Sid of a statement that allows pulling, pushing or both.
func permissions(pull, push bool) (actions []string, sid string) {
	switch {
	case !push:
		return policy.PullActions(), policy.PullSid
	case !pull:
		return policy.PushActions(), policy.PushSid
	}
	actions = policy.PullActions()
	for _, a := range policy.PushActions() {
		if !slices.Contains(actions, a) {
			actions = append(actions, a)
		}
	}
	return actions, bothSid
}

// printPolicy writes a policy with one value on each line.
func (c *commands) printPolicy(text string) error {
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		return fmt.Errorf("formatting the policy: %w", err)
	}
	_, err := fmt.Fprintln(c.Out, out.String())
	return err
}

func (c *commands) policyGrant() *cobra.Command {
	cmd := &cobra.Command{
		Use: "grant pull|push REPOSITORY --to PRINCIPAL", Short: "Add a permission to a repository's policy",
		Long: `Print the policy of a repository with a permission added. Without --apply nothing is changed. A permission that the
policy already has changes nothing. Statements that deny the permission are reported.`,
		Example: "  ecrin policy grant pull team/app --to 111122223333\n" +
			"  ecrin policy grant push team/app --to arn:aws:iam::111122223333:role/ci --apply",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || args[0] != "pull" && args[0] != "push" {
				return usageError{errors.New("want grant pull REPOSITORY or grant push REPOSITORY")}
			}
			return nil
		},
	}
	c.dataFlag(cmd)
	to := cmd.Flags().String("to", "", "the principal: an account of 12 digits, an `ARN` of an account, user or role, or a service")
	apply := cmd.Flags().Bool("apply", false, "set the policy")
	where, asJSON := registryFlag(cmd, "of the repository (default: the default registry)"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *to == "" {
			return usageError{errors.New("--to is needed")}
		}
		if _, err := policy.ParsePrincipal(*to); err != nil {
			return errors.New(fault.From(err).Public)
		}
		reg, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		s, err := c.connectTo(cmd, &registry{region: reg.Region.String()})
		if err != nil {
			return err
		}
		in := &ecrintypes.GrantRepositoryAccessRequest{
			RegistryId: reg.Account.String(), RepositoryName: args[1], Principal: *to,
			Permission: ecrintypes.Permission(strings.ToUpper(args[0])), Apply: apply,
		}
		var out ecrintypes.GrantRepositoryAccessResponse
		if err := s.Call(cmd.Context(), "GrantRepositoryAccess", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if err := c.printPolicy(out.PolicyText); err != nil {
			return err
		}
		for _, w := range out.Warnings {
			c.say("warning: %s: %s", w.Path, w.Text)
		}
		switch {
		case out.Applied:
			c.say("this is now the policy of %s", args[1])
		case !out.Changed:
			c.say("the policy of %s already has this permission: nothing to set", args[1])
		default:
			c.say("nothing is set yet: repeat with --apply, or save this as policy.json and run")
			c.say("  aws ecr set-repository-policy --repository-name %s --policy-text file://policy.json", word(args[1]))
		}
		return nil
	}
	return cmd
}

func (c *commands) policyReplace() *cobra.Command {
	cmd := &cobra.Command{
		Use: "replace REPOSITORY POLICY-FILE", Args: twoOf("REPOSITORY and POLICY-FILE"),
		Short: "Set a repository's policy, if it is still the one that was edited",
		Long: `Set the policy of a repository in place of the one in the file of --was, which you have edited. If another request has changed the policy
since, nothing is changed: aws ecr set-repository-policy would overwrite that. Without --was the repository must not have a policy.

The file of --was has the policy that get-repository-policy printed. A policy with which you could not set a policy again is refused, unless
--force is given.`,
		Example: "  aws ecr get-repository-policy --repository-name team/app --query policyText --output text > was.json\n" +
			"  cp was.json policy.json && vi policy.json\n  ecrin policy replace team/app policy.json --was was.json",
	}
	c.dataFlag(cmd)
	where := registryFlag(cmd, "of the repository (default: the default registry)")
	was := cmd.Flags().String("was", "", "`file` with the policy that is replaced (default: there is none)")
	force, asJSON := cmd.Flags().Bool("force", false, "also a policy that locks you out"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		reg, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		before := ""
		if *was != "" {
			edited, err := os.ReadFile(*was)
			if err != nil {
				return err
			}
			d, err := policy.Parse(string(edited), policy.Repository)
			if err != nil {
				return fmt.Errorf("--was: %s", fault.From(err).Public)
			}
			before = d.String() // as the server keeps it, whatever blanks the file has
		}
		s, err := c.connectTo(cmd, &registry{region: reg.Region.String()})
		if err != nil {
			return err
		}
		var out ecrintypes.ReplaceRepositoryPolicyResponse
		in := &ecrintypes.ReplaceRepositoryPolicyRequest{RegistryId: reg.Account.String(), RepositoryName: args[0], PolicyText: string(text),
			ExpectedPolicyHash: policy.Hash(before), Force: force}
		if err := s.Call(cmd.Context(), "ReplaceRepositoryPolicy", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("replaced the policy of %s", args[0])
		return nil
	}
	return cmd
}

func (c *commands) policyRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove REPOSITORY", Short: "Remove a repository's policy, also one that locks its owner out",
		Long: `Remove the policy of a repository and print it. No policy applies to the operator: use this command after a policy
that denies all principals, including the account's root user, to change the policy.`,
		Example: "  ecrin policy remove team/app",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("want one REPOSITORY")}
			}
			return nil
		},
	}
	c.dataFlag(cmd)
	where, asJSON := registryFlag(cmd, "of the repository (default: the default registry)"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		reg, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		s, err := c.connectTo(cmd, &registry{region: reg.Region.String()})
		if err != nil {
			return err
		}
		var out ecrintypes.RemoveRepositoryPolicyResponse
		in := &ecrintypes.RemoveRepositoryPolicyRequest{RegistryId: reg.Account.String(), RepositoryName: args[0]}
		if err := s.Call(cmd.Context(), "RemoveRepositoryPolicy", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("removed the policy of %s; it was:", args[0])
		return c.printPolicy(out.PolicyText)
	}
	return cmd
}
