package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// overriding are the variables with which the AWS tools would use other keys or another server in spite of the variables
// that env prints. Source: AWS SDKs and tools reference guide, environment variables.
var overriding = []string{
	"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
}

func (c *commands) env() *cobra.Command {
	var account string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "env", Args: cobra.NoArgs, Short: "Print the environment for the aws CLI and the SDKs",
		Long: `Print export lines that point the aws CLI and the AWS SDKs at the running server, with the root
keys of an account: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL, and for a server with --tls=auto AWS_CA_BUNDLE. An unset line removes what would
override them: the session token, the profile, and the endpoints of single services.

An aws CLI before 2.13 (of version 1: before 1.29) does not support AWS_ENDPOINT_URL: use --endpoint-url.`,
		Example: `  eval "$(ecrin env)"
  eval "$(ecrin env --account 111122223333)"
  ecrin env --json | jq -r .AWS_ACCESS_KEY_ID`,
	}
	c.dataFlag(cmd)
	cmd.Flags().StringVar(&account, "account", "", "account whose root keys to print (default: the default account)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := c.connect()
		if err != nil {
			return err
		}
		if err := validAccount(account); err != nil {
			return err
		}
		var out ecrintypes.GetAccountCredentialsResponse
		if err := s.Call(cmd.Context(), "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{AccountId: account}, &out); err != nil {
			return err
		}
		vars := []struct{ key, value string }{
			{"AWS_ACCESS_KEY_ID", out.AccessKey.AccessKeyId},
			{"AWS_SECRET_ACCESS_KEY", out.AccessKey.SecretAccessKey},
			{"AWS_REGION", out.Region},
			{"AWS_DEFAULT_REGION", out.Region},
			{"AWS_ENDPOINT_URL", s.Server.URL},
		}
		if s.Server.CA != "" {
			vars = append(vars, struct{ key, value string }{"AWS_CA_BUNDLE", s.Server.CA})
		}
		if asJSON {
			all := map[string]string{}
			for _, v := range vars {
				all[v.key] = v.value
			}
			return c.printJSON(all)
		}
		fmt.Fprintln(c.Out, "unset", strings.Join(overriding, " "))
		for _, v := range vars {
			fmt.Fprintf(c.Out, "export %s=%s\n", v.key, quote(v.value))
		}
		return nil
	}
	return cmd
}
