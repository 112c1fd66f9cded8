package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const secretHelp = `Keep credentials for other registries, which rules of pull through caches name by their ARN.

A secret is sealed with the master key of the installation, and no command shows its value again. Its name begins with
ecr-pullthroughcache/, as ECR requires it of a secret for a rule. The value is JSON: {"username": "…", "accessToken": "…"}, or for a
registry of ECR {"accessKeyId": "…", "secretAccessKey": "…"}.`

func (c *commands) secret() *cobra.Command {
	cmd := &cobra.Command{Use: "secret", Short: "Keep credentials for other registries", Long: secretHelp,
		Example: "  printf %s \"$TOKEN\" | ecrin secret put ecr-pullthroughcache/docker-hub --username team\n  ecrin secret list\n" +
			"  ecrin secret delete ecr-pullthroughcache/docker-hub"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.secretPut(), c.secretList(), c.secretDelete())
	return cmd
}

// maxSecretInput is the size of a secret's value, in bytes.
const maxSecretInput = 64 << 10

func (c *commands) secretPut() *cobra.Command {
	cmd := &cobra.Command{Use: "put NAME", Args: exactly("NAME"),
		Short: "Store credentials, or replace those with the name; they are read from standard input"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	user := cmd.Flags().String("username", "", "`name` for the registry: the input is then the access token alone, not JSON")
	file := cmd.Flags().String("file", "-", "`file` with the input, - for standard input")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		value, err := readSecret(cmd.InOrStdin(), *file, *user)
		if err != nil {
			return err
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.SecretResponse
		in := ecrintypes.PutSecretRequest{Name: args[0], SecretString: value, AccountId: *account}
		if err := s.Call(cmd.Context(), "PutSecret", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Secret)
		}
		c.say("%s", out.Secret.Arn)
		return nil
	}
	return cmd
}

// readSecret returns the value of a secret.
func readSecret(stdin io.Reader, file, user string) (string, error) {
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return "", fmt.Errorf("reading the secret: %w", err)
		}
		defer f.Close()
		stdin = f
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxSecretInput+1))
	if err != nil {
		return "", fmt.Errorf("reading the secret: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if len(b) > maxSecretInput || text == "" {
		return "", errors.New("reading the secret: the input is empty, or longer than 64 KiB")
	}
	if user == "" {
		return text, nil
	}
	value, err := json.Marshal(map[string]string{"username": user, "accessToken": text})
	return string(value), err
}

func (c *commands) secretList() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Args: cobra.NoArgs, Short: "List secrets, without their values"}
	account := cmd.Flags().String("account", "", "`account` whose secrets are listed, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.ListSecretsResponse
		if err := s.Call(cmd.Context(), "ListSecrets", &ecrintypes.ListSecretsRequest{AccountId: *account}, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		if len(out.Secrets) == 0 {
			c.say("there are no secrets")
			return nil
		}
		rows := [][]string{{"NAME", "UPDATED", "ARN"}}
		for _, one := range out.Secrets {
			rows = append(rows, []string{one.Name, stamp(one.UpdatedAt.Time), one.Arn})
		}
		return c.table(rows)
	}
	return cmd
}

func (c *commands) secretDelete() *cobra.Command {
	cmd := &cobra.Command{Use: "delete NAME", Args: exactly("NAME"), Short: "Delete a secret; rules that name it fail from then on"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.SecretResponse
		in := ecrintypes.DeleteSecretRequest{Name: args[0], AccountId: *account}
		if err := s.Call(cmd.Context(), "DeleteSecret", &in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Secret)
		}
		c.say("deleted %s", out.Secret.Arn)
		return nil
	}
	return cmd
}
