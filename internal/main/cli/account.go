package cli

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) account() *cobra.Command {
	cmd := &cobra.Command{
		Use: "account", Short: "Create, list and delete accounts and their root keys",
		Long: "Accounts are 12-digit AWS accounts of this installation; each has a registry in every region.\nThe commands call the running server of --data as its operator, or one anywhere with AWS credentials (--url, --profile).",
	}
	c.dataFlag(cmd)
	for _, sub := range []*cobra.Command{c.accountCreate(), c.accountList(), c.accountDelete()} {
		cmd.AddCommand(here(sub, forOperator))
	}
	cmd.AddCommand(c.accountKeys())
	return cmd
}

func (c *commands) jsonFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("json", false, "print JSON")
}

func (c *commands) accountCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create [ACCOUNT]", Args: atMostOne("ACCOUNT"), Short: "Create an account with one root key",
		Long:    "Create an account with one root key and print its id. Without ACCOUNT, the id is random.",
		Example: "  ecrin account create 111122223333 --alias payments\n  eval \"$(ecrin env --account 111122223333)\"",
	}
	alias := cmd.Flags().String("alias", "", "a name for the account: lower-case letters, digits and hyphens")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		id := first(args)
		if id == "" {
			id = fmt.Sprintf("%012d", 1e11+rand.Int64N(9e11))
		}
		if err := validAccount(id); err != nil {
			return err
		}
		var out ecrintypes.CreateAccountResponse
		if err := s.Call(cmd.Context(), "CreateAccount", &ecrintypes.CreateAccountRequest{AccountId: id, Alias: *alias}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		fmt.Fprintln(c.Out, out.Account.AccountId)
		c.say("created account %s; to use its keys: eval \"$(ecrin env --account %s)\"", out.Account.AccountId, out.Account.AccountId)
		return nil
	}
	return cmd
}

func (c *commands) accountList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List the accounts"}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.ListAccountsResponse
		if err := s.Call(cmd.Context(), "ListAccounts", &ecrintypes.ListAccountsRequest{}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		rows := [][]string{{"ACCOUNT", "ALIAS", "CREATED", "DEFAULT"}}
		for _, a := range out.Accounts {
			isDefault := ""
			if a.IsDefault {
				isDefault = "yes"
			}
			rows = append(rows, []string{a.AccountId, a.Alias, stamp(a.CreatedAt.Time), isDefault})
		}
		return c.table(rows)
	}
	return cmd
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (c *commands) accountDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete ACCOUNT", Args: exactly("ACCOUNT"), Short: "Delete an account, its keys and tokens",
		Long: "Delete an account, its keys and tokens, which are refused from then on. An account with repositories is only deleted\nwith --force, which deletes the repositories too.",
	}
	force, asJSON := cmd.Flags().Bool("force", false, "delete the repositories of the account too"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.DeleteAccountResponse
		if err := s.Call(cmd.Context(), "DeleteAccount", &ecrintypes.DeleteAccountRequest{AccountId: args[0], Force: force}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("deleted account %s", out.Account.AccountId)
		return nil
	}
	return cmd
}

func (c *commands) accountKeys() *cobra.Command {
	cmd := c.keysList()
	cmd.Use, cmd.Short = "keys [ACCOUNT]", "List, create, enable, disable and delete root keys of an account"
	cmd.Long = "Without a verb, list the root keys of an account, or with --all those of its users too."
	cmd.AddCommand(c.keysList(), c.keysCreate(),
		c.keysChange("enable", ecrintypes.AccessKeyStatusACTIVE, "Make an inactive key ACTIVE again"),
		c.keysChange("disable", ecrintypes.AccessKeyStatusINACTIVE,
			"Make a key INACTIVE; requests and tokens of the key are refused from then on"),
		c.keysDelete())
	return cmd
}

func (c *commands) keysList() *cobra.Command {
	cmd := &cobra.Command{Use: "list [ACCOUNT]", Args: atMostOne("ACCOUNT"), Short: "List the root keys of an account, without their secrets"}
	all := cmd.Flags().Bool("all", false, "list the keys of the users of the account too")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		if err := validAccount(first(args)); err != nil {
			return err
		}
		var out ecrintypes.ListAccessKeysResponse
		if err := s.Call(cmd.Context(), "ListAccessKeys", &ecrintypes.ListAccessKeysRequest{AccountId: first(args)}, &out); err != nil {
			return err
		}
		if !*all {
			out.AccessKeys = slices.DeleteFunc(out.AccessKeys, func(k ecrintypes.AccessKey) bool {
				return !strings.HasSuffix(k.PrincipalArn, ":root")
			})
		}
		if *asJSON {
			return c.printJSON(out)
		}
		rows := [][]string{{"KEY", "STATUS", "CREATED", "PRINCIPAL"}}
		for _, k := range out.AccessKeys {
			rows = append(rows, []string{k.AccessKeyId, string(k.Status), stamp(k.CreatedAt.Time), k.PrincipalArn})
		}
		return c.table(rows)
	}
	return cmd
}

// validAccount returns an error if the id of an account is neither valid nor "".
func validAccount(id string) error {
	if _, err := name.ParseAccount(id); id != "" && err != nil {
		return errors.New(fault.From(err).Public)
	}
	return nil
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (c *commands) keysCreate() *cobra.Command {
	cmd := &cobra.Command{
		Use: "create [ACCOUNT]", Args: atMostOne("ACCOUNT"), Short: "Create another key; an account has at most two",
		Long: "Create another key and print it with its secret. To rotate: create, change the clients, disable the old key, delete it.",
	}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		if err := validAccount(first(args)); err != nil {
			return err
		}
		var out ecrintypes.CreateAccessKeyResponse
		if err := s.Call(cmd.Context(), "CreateAccessKey", &ecrintypes.CreateAccessKeyRequest{AccountId: first(args)}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		fmt.Fprintf(c.Out, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\n", quote(out.AccessKey.AccessKeyId),
			quote(out.AccessKey.SecretAccessKey))
		return nil
	}
	return cmd
}

func (c *commands) keysChange(verb string, status ecrintypes.AccessKeyStatus, short string) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " KEY", Args: exactly("KEY"), Short: short}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.UpdateAccessKeyResponse
		if err := s.Call(cmd.Context(), "UpdateAccessKey",
			&ecrintypes.UpdateAccessKeyRequest{AccessKeyId: args[0], Status: status}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("key %s is %s", out.AccessKey.AccessKeyId, out.AccessKey.Status)
		return nil
	}
	return cmd
}

func (c *commands) keysDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete KEY", Args: exactly("KEY"),
		Short: "Delete a key; requests and tokens of the key are refused from then on"}
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.DeleteAccessKeyResponse
		if err := s.Call(cmd.Context(), "DeleteAccessKey", &ecrintypes.DeleteAccessKeyRequest{AccessKeyId: args[0]}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]string{"accessKeyId": args[0]})
		}
		c.say("deleted key %s", args[0])
		return nil
	}
	return cmd
}

// exactly requires one argument and names it in the error.
func exactly(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{fmt.Errorf("one %s is needed, got %d arguments", what, len(args))}
		}
		return nil
	}
}

// twoOf requires two arguments and names them in the error.
func twoOf(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 2 {
			return usageError{fmt.Errorf("%s are needed, got %s", what, counted(int64(len(args)), "argument", "arguments"))}
		}
		return nil
	}
}

// atMostOne allows one optional argument and names it in the error.
func atMostOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usageError{fmt.Errorf("at most one %s is allowed, got %d arguments", what, len(args))}
		}
		return nil
	}
}
