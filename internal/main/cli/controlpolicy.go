package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) controlPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use: "control-policy", Short: "Limit what whole accounts can do, regardless of their policies",
		Long: `Control policies rank above the policies of the accounts: service control policies (scp) limit what the users, roles
and root user of accounts can do, resource control policies (rcp) limit all access to the resources of accounts.

There are two levels, all accounts and one account (--account), and each level must allow a request. Every level has full
access in addition to its own policies, so that most control policies are statements that deny; full-access off removes
the full access from a level, which then allows only what its policies allow.`,
	}
	c.dataFlag(cmd)
	for _, sub := range []*cobra.Command{c.controlPolicyList(), c.controlPolicyPut(), c.controlPolicyDelete(), c.controlPolicyFullAccess()} {
		cmd.AddCommand(here(sub, forOperator))
	}
	return cmd
}

// guardrail returns control-policy under its former name, for one release. The help does not show it.
func (c *commands) guardrail() *cobra.Command {
	cmd := c.controlPolicy()
	cmd.Use, cmd.Hidden = "guardrail", true
	for _, sub := range cmd.Commands() {
		run := sub.RunE
		sub.RunE = func(cmd *cobra.Command, args []string) error {
			c.say("guardrail is deprecated: use ecrin control-policy %s", cmd.Name())
			return run(cmd, args)
		}
	}
	return cmd
}

// controlPolicyTypes are the values of --kind.
var controlPolicyTypes = map[string]ecrintypes.ControlPolicyType{
	"scp": ecrintypes.ControlPolicyTypeSERVICE_CONTROL_POLICY,
	"rcp": ecrintypes.ControlPolicyTypeRESOURCE_CONTROL_POLICY,
}

// fullAccess is the name of the control policy that removes full access from a level.
const fullAccess = "FullAccess"

// controlPolicyArgs are the kind and the account of the control policies of a command.
type controlPolicyArgs struct{ kind, account string }

func controlPolicyFlags(cmd *cobra.Command) *controlPolicyArgs {
	r := &controlPolicyArgs{}
	cmd.Flags().StringVar(&r.kind, "kind", "", "`kind` of control policy: scp or rcp")
	cmd.Flags().StringVar(&r.account, "account", "", "`account` that it applies to (default: all accounts)")
	return r
}

func (r *controlPolicyArgs) read() (ecrintypes.ControlPolicyType, error) {
	t, ok := controlPolicyTypes[r.kind]
	if !ok {
		return "", usageError{fmt.Errorf("--kind must be scp or rcp, got %q", r.kind)}
	}
	return t, nil
}

// levelName returns the level of a control policy for messages.
func levelName(account string) string {
	if account == "" {
		return "all accounts"
	}
	return "account " + account
}

func (c *commands) controlPolicyList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List the control policies; --json shows their texts"}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.ListControlPoliciesResponse
		if err := s.Call(cmd.Context(), "ListControlPolicies", &ecrintypes.ListControlPoliciesRequest{}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if len(out.ControlPolicies) == 0 {
			c.say("there are no control policies")
			return nil
		}
		rows := [][]string{{"KIND", "FOR", "NAME", "UPDATED"}}
		for _, p := range out.ControlPolicies {
			kind, called, updated := "scp", p.Name, "-"
			if p.Type == controlPolicyTypes["rcp"] {
				kind = "rcp"
			}
			if p.PolicyText == "" {
				called += " (off)"
			}
			if p.UpdatedAt != nil {
				updated = stamp(p.UpdatedAt.Time)
			}
			rows = append(rows, []string{kind, levelName(p.AccountId), called, updated})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) controlPolicyPut() *cobra.Command {
	cmd := &cobra.Command{
		Use: "put NAME --kind scp|rcp --file FILE|-", Args: exactly("NAME"), Short: "Set a control policy, or replace the one with the same name",
		Long:    "Set a control policy, or replace the one with the same kind, account and name. It applies from the next request on.",
		Example: "  ecrin control-policy put no-public --kind rcp --file no-public.json\n  ecrin control-policy put only-eu --kind scp --account 111122223333 --file - < only-eu.json",
	}
	r := controlPolicyFlags(cmd)
	file, asJSON := cmd.Flags().String("file", "", "`file` of the policy, - for standard input"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		kind, err := r.read()
		if err != nil {
			return err
		}
		if *file == "" {
			return usageError{errors.New("--file is needed")}
		}
		text, err := readPolicy(cmd.InOrStdin(), *file)
		if err != nil {
			return err
		}
		if text == "" {
			return fmt.Errorf("%s is empty", *file)
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		in := &ecrintypes.PutControlPolicyRequest{Name: args[0], Type: kind, AccountId: r.account, PolicyText: text}
		var out ecrintypes.PutControlPolicyResponse
		if err := s.Call(cmd.Context(), "PutControlPolicy", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("%s %s applies to %s", r.kind, args[0], levelName(r.account))
		return nil
	}
	return cmd
}

func (c *commands) controlPolicyDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete NAME --kind scp|rcp", Args: exactly("NAME"), Short: "Delete a control policy",
		Example: "  ecrin control-policy delete only-eu --kind scp --account 111122223333",
	}
	r, asJSON := controlPolicyFlags(cmd), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := c.deleteControlPolicy(cmd, r, args[0]); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]string{"kind": r.kind, "name": args[0], "accountId": r.account})
		}
		c.say("deleted %s %s of %s", r.kind, args[0], levelName(r.account))
		return nil
	}
	return cmd
}

// deleteControlPolicy deletes a control policy.
func (c *commands) deleteControlPolicy(cmd *cobra.Command, r *controlPolicyArgs, called string) error {
	kind, err := r.read()
	if err != nil {
		return err
	}
	s, err := c.connect(cmd)
	if err != nil {
		return err
	}
	in := &ecrintypes.DeleteControlPolicyRequest{Name: called, Type: kind, AccountId: r.account}
	return s.Call(cmd.Context(), "DeleteControlPolicy", in, &ecrintypes.DeleteControlPolicyResponse{})
}

func (c *commands) controlPolicyFullAccess() *cobra.Command {
	cmd := &cobra.Command{
		Use: "full-access on|off --kind scp|rcp", Short: "Restore or remove the full access of a level",
		Long:    "Every level has full access in addition to its own policies. Without it the level allows only what its policies\nallow: off denies all requests if no policy of the level allows any.",
		Example: "  ecrin control-policy full-access off --kind scp --account 111122223333",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "on" && args[0] != "off" {
				return usageError{errors.New("want full-access on or full-access off")}
			}
			return nil
		},
	}
	r, asJSON := controlPolicyFlags(cmd), c.jsonFlag(cmd)
	answer := func(full bool, text string) error {
		if *asJSON {
			return c.printJSON(map[string]any{"kind": r.kind, "accountId": r.account, "fullAccess": full})
		}
		c.say(text, r.kind, levelName(r.account))
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if args[0] == "on" {
			err := c.deleteControlPolicy(cmd, r, fullAccess)
			if e := (*client.Error)(nil); err != nil && (!errors.As(err, &e) || e.Name != "ControlPolicyNotFoundException") {
				return err
			}
			return answer(true, "the %s level of %s has full access")
		}
		kind, err := r.read()
		if err != nil {
			return err
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		in := &ecrintypes.PutControlPolicyRequest{Name: fullAccess, Type: kind, AccountId: r.account}
		if err := s.Call(cmd.Context(), "PutControlPolicy", in, &ecrintypes.PutControlPolicyResponse{}); err != nil {
			return err
		}
		return answer(false, "the %s level of %s allows only what its policies allow")
	}
	return cmd
}
