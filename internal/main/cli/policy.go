package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
		Long: "check and print need no server. grant asks the server of --data for a repository's policy, as its operator.",
	}
	cmd.AddCommand(c.policyCheck(), c.policyPrint(), c.policyGrant(), c.policyRemove())
	return cmd
}

// registryFlag names a registry in one word.
func registryFlag(cmd *cobra.Command, use string) *string {
	return cmd.Flags().String("registry", "", "the `ACCOUNT/REGION` "+use)
}

// parseRegistry reads ACCOUNT/REGION; an empty text is no registry.
func parseRegistry(s string) (name.Registry, error) {
	if s == "" {
		return name.Registry{}, nil
	}
	account, region, ok := strings.Cut(s, "/")
	if !ok {
		return name.Registry{}, usageError{fmt.Errorf("--registry is ACCOUNT/REGION, such as 111122223333/eu-west-1, got %q", s)}
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
		Use: "print", Args: cobra.NoArgs, Short: "Print a repository policy that lets somebody pull or push",
		Long: `Print a repository policy that lets an account, user or role pull, push or both. With --pull alone it is the
policy, word by word, that deployment platforms ask for.

A whole account as the principal delegates: that account allows its own users and roles by identity policies.
ecr:GetAuthorizationToken has no effect here; an identity policy has to allow it, on the resource *.`,
		Example: "  ecrin policy print --pull --principal 111122223333 > policy.json\n" +
			"  aws ecr set-repository-policy --repository-name team/app --policy-text file://policy.json",
	}
	pull := cmd.Flags().Bool("pull", false, "allow to pull and to look at images")
	push := cmd.Flags().Bool("push", false, "allow to push")
	to := cmd.Flags().String("principal", "", "who: an account of 12 digits, an `ARN` of an account, user or role, or a service")
	sid := cmd.Flags().String("sid", "", "`name` of the statement (by default "+policy.PullSid+", "+policy.PushSid+" or "+bothSid+")")
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

// bothSid is the Sid of a statement that allows to pull and to push.
const bothSid = "AllowPullPush"

// permissions gives the actions and the Sid for pulling, pushing or both.
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

// printPolicy writes a policy with one value on each line, to be read, compared and pasted.
func (c *commands) printPolicy(text string) error {
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		return fmt.Errorf("laying out the policy: %w", err)
	}
	_, err := fmt.Fprintln(c.Out, out.String())
	return err
}

func (c *commands) policyGrant() *cobra.Command {
	cmd := &cobra.Command{
		Use: "grant pull|push REPOSITORY --to PRINCIPAL", Short: "Add a permission to a repository's policy",
		Long: `Print the policy of a repository with a permission added to what it says now. Nothing is changed without --apply.
A grant that is there already changes nothing; statements that deny what is granted are named.`,
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
	to := cmd.Flags().String("to", "", "who: an account of 12 digits, an `ARN` of an account, user or role, or a service")
	apply := cmd.Flags().Bool("apply", false, "set the policy")
	where, asJSON := registryFlag(cmd, "of the repository (the default one without it)"), c.jsonFlag(cmd)
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
		s, err := c.connectTo(&registry{region: reg.Region.String()})
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
			c.say("the policy of %s says so already: there is nothing to set", args[1])
		default:
			c.say("nothing is set yet: repeat with --apply, or save this as policy.json and run")
			c.say("  aws ecr set-repository-policy --repository-name %s --policy-text file://policy.json", word(args[1]))
		}
		return nil
	}
	return cmd
}

func (c *commands) policyRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use: "remove REPOSITORY", Short: "Take a repository's policy away, also one that locks its owner out",
		Long: `Take away the policy of a repository and print what it was. The operator is bound by no policy: this is the way back
after a policy that denies everybody, the account's root user included, to change it.`,
		Example: "  ecrin policy remove team/app",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{errors.New("want one REPOSITORY")}
			}
			return nil
		},
	}
	c.dataFlag(cmd)
	where, asJSON := registryFlag(cmd, "of the repository (the default one without it)"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		reg, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		s, err := c.connectTo(&registry{region: reg.Region.String()})
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
		c.say("the policy of %s is gone; it was", args[0])
		return c.printPolicy(out.PolicyText)
	}
	return cmd
}
