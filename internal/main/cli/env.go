package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// overriding are the variables with which the AWS tools would use other keys or another server in spite of the variables
// that env prints. Source: AWS SDKs and tools reference guide, environment variables.
var overriding = []string{
	"AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_EXPIRATION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
	"AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_STS", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
}

// remoteSession is the name of the sessions of roles that env assumes with AWS credentials.
const remoteSession = "ecrin-env"

const envHelp = `Print export lines that point the aws CLI and the AWS SDKs at the running server, with the root
keys of an account: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_DEFAULT_REGION,
AWS_ENDPOINT_URL, and for a server with --tls=auto AWS_CA_BUNDLE. An unset line removes what would
override them: the session token, the profile, and the endpoints of single services.

--user prints a key of a user, who must have one. --role prints temporary credentials of a role for
an hour at most. On the machine of the server, both need no permission of the account. With --url or
--source-profile, the role is assumed with AWS credentials, as its trust policy allows.

--profile prints a profile for the AWS configuration instead, and --write writes it to ~/.aws/config
and ~/.aws/credentials (or AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE), which keep everything
else. With --role and --source-profile the profile has no keys: the tools assume the role with the keys
of the other profile, as often as they need.

An aws CLI before 2.13 (of version 1: before 1.29) does not support AWS_ENDPOINT_URL: use --endpoint-url.`

// envFlags are the flags of env.
type envFlags struct {
	account, user, role    string
	profile, sourceProfile string
	write, asJSON          bool
}

// access is how a program reaches the server, with which credentials.
type access struct {
	key, secret, token  string // token is "" for long-term credentials
	expires             time.Time
	region, url, ca     string // ca is a path, "" for a public CA
	roleARN, sourceName string // for a profile without keys: the role, and the profile that assumes it
}

func (c *commands) env() *cobra.Command {
	var f envFlags
	cmd := &cobra.Command{
		Use: "env", Args: cobra.NoArgs, Short: "Print the environment for the aws CLI and the SDKs, or write a profile", Long: envHelp,
		Example: `  eval "$(ecrin env)"
  eval "$(ecrin env --account 111122223333 --user ci)"
  eval "$(ecrin env --role deploy)"
  ecrin env --user ci --profile ci --write
  ecrin env --role deploy --source-profile ci --profile deploy --write
  eval "$(ecrin env --url https://ecr.example.com --source-profile ci --role deploy)"
  ecrin env --json | jq -r .AWS_ACCESS_KEY_ID`,
	}
	c.dataOnlyFlag(cmd)
	c.urlFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.account, "account", "", "`account` of the root user, the user or the role (default: the default account)")
	flags.StringVar(&f.user, "user", "", "`user` whose access key to print, instead of the root user's")
	flags.StringVar(&f.role, "role", "", "`role`, by its name or ARN, whose temporary credentials to print")
	flags.StringVar(&f.profile, "profile", "", "print a profile with this `name` for the AWS configuration")
	flags.BoolVar(&f.write, "write", false, "with --profile: write the profile")
	flags.StringVar(&f.sourceProfile, "source-profile", "", "AWS `profile` whose credentials assume the role")
	flags.BoolVar(&f.asJSON, "json", false, "print one JSON object")
	none := func(*cobra.Command) []string { return nil }
	for flag, list := range map[string]func(*cobra.Command) []string{
		"account": c.accountIDs, "user": c.userNames, "role": none, "profile": c.profileNames, "source-profile": c.profileNames,
	} {
		completeFlag(cmd, flag, list)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := f.check(c.url != ""); err != nil {
			return err
		}
		a, err := c.access(cmd, &f)
		if err != nil {
			return err
		}
		if f.profile != "" {
			return c.showProfile(&f, a)
		}
		return c.printEnv(a, f.asJSON)
	}
	return cmd
}

// check returns an error for flags that do not fit together.
func (f *envFlags) check(remote bool) error {
	switch {
	case f.user != "" && f.role != "":
		return usageError{errors.New("either --user or --role; a role that a user assumes: --role ROLE --source-profile PROFILE")}
	case f.write && f.profile == "":
		return usageError{errors.New("--write needs the name of the profile: --profile NAME")}
	case f.sourceProfile != "" && f.role == "":
		return usageError{errors.New("--source-profile assumes a role: name it with --role")}
	case f.sourceProfile != "" && f.sourceProfile == f.profile:
		return usageError{errors.New("--source-profile must be another profile than --profile")}
	case remote && f.role == "":
		return errors.New("`ecrin env` needs the data directory of the server, because only its operator may read the keys of users: run it on the machine of the server with --data, without --url, or name a role with --role")
	case f.profile != "" && !validProfile.MatchString(f.profile):
		return usageError{fmt.Errorf("the name of a profile has 1 to 64 letters, digits and _.@:+/-, got %q", f.profile)}
	}
	return validAccount(f.account)
}

// access returns the access that the flags ask for.
func (c *commands) access(cmd *cobra.Command, f *envFlags) (access, error) {
	if c.url != "" || f.sourceProfile != "" && f.profile == "" {
		return c.assumed(cmd, f)
	}
	s, err := c.connect(cmd)
	if err != nil {
		return access{}, err
	}
	in := &ecrintypes.GetAccountCredentialsRequest{AccountId: f.account, UserName: f.user, RoleName: f.role}
	if account, role, ok := roleOf(f.role); ok {
		if f.account != "" && account != f.account {
			return access{}, usageError{fmt.Errorf("%s is in the account %s: leave out --account", f.role, account)}
		}
		in.AccountId, in.RoleName = account, role
	}
	var out ecrintypes.GetAccountCredentialsResponse
	if err := s.Call(cmd.Context(), "GetAccountCredentials", in, &out); err != nil {
		return access{}, err
	}
	a := access{key: out.AccessKey.AccessKeyId, secret: out.AccessKey.SecretAccessKey, token: out.SessionToken,
		region: out.Region, url: s.Server.URL, ca: s.Server.CA}
	if out.ExpiresAt != nil {
		a.expires = out.ExpiresAt.Time
	}
	if f.sourceProfile != "" {
		a = access{region: a.region, url: a.url, ca: a.ca, roleARN: out.RoleArn, sourceName: f.sourceProfile}
	}
	return a, nil
}

// roleOf returns the account and the name of the role that an ARN names, and whether it is one.
func roleOf(arn string) (account, role string, ok bool) {
	parsed, named, err := name.ParseEntityARN(arn)
	return parsed.Account.String(), named.Name, err == nil && named.Kind == name.IAMRole
}

// assumed assumes a role with AWS credentials.
func (c *commands) assumed(cmd *cobra.Command, f *envFlags) (access, error) {
	if cmd.Flags().Changed("data") {
		return access{}, usageError{errors.New("either --data, or --url and --source-profile")}
	}
	address := c.url
	if here, err := client.Find(c.data); address == "" && err == nil && c.lookup("AWS_ENDPOINT_URL", "") == "" {
		address = here.URL
	}
	s, err := client.OpenRemote(cmd.Context(), client.Remote{URL: address, Profile: f.sourceProfile})
	if err != nil {
		return access{}, err
	}
	arn := f.role
	if _, _, ok := roleOf(arn); !ok {
		account, err := name.ParseAccount(cmp.Or(f.account, s.Server.Account))
		if err != nil {
			return access{}, errors.New(fault.From(err).Public)
		}
		arn = name.Entity{Kind: name.IAMRole, Name: f.role}.ARN(name.DefaultPartition, account).String()
	}
	k, err := s.AssumeRole(cmd.Context(), arn, remoteSession)
	if err != nil {
		return access{}, err
	}
	a := access{key: k.AccessKeyID, secret: k.SecretAccessKey, token: k.SessionToken, expires: k.Expires, region: s.Server.Region,
		url: s.Server.URL, ca: s.CABundle()}
	if f.profile != "" && f.sourceProfile != "" {
		a = access{region: a.region, url: a.url, ca: a.ca, roleARN: arn, sourceName: f.sourceProfile}
	}
	return a, nil
}

// printEnv prints the variables of an access, as lines for a shell or as JSON.
func (c *commands) printEnv(a access, asJSON bool) error {
	vars := []struct{ key, value string }{
		{"AWS_ACCESS_KEY_ID", a.key}, {"AWS_SECRET_ACCESS_KEY", a.secret}, {"AWS_SESSION_TOKEN", a.token},
		{"AWS_REGION", a.region}, {"AWS_DEFAULT_REGION", a.region}, {"AWS_ENDPOINT_URL", a.url}, {"AWS_CA_BUNDLE", a.ca},
	}
	if !a.expires.IsZero() {
		vars = append(vars, struct{ key, value string }{"AWS_CREDENTIAL_EXPIRATION", stamp(a.expires)})
	}
	all := map[string]string{}
	for _, v := range vars {
		if v.value != "" {
			all[v.key] = v.value
		}
	}
	if asJSON {
		return c.printJSON(all)
	}
	unset := slices.DeleteFunc(slices.Clone(overriding), func(key string) bool { return all[key] != "" })
	fmt.Fprintln(c.Out, "unset", strings.Join(unset, " "))
	for _, v := range vars {
		if v.value != "" {
			fmt.Fprintf(c.Out, "export %s=%s\n", v.key, quote(v.value))
		}
	}
	return nil
}

// maxCompletion limits the wait for the server while a shell completes a word.
const maxCompletion = 2 * time.Second

// called calls an operation as the operator, for the completion of a word, and reports whether it succeeded.
func (c *commands) called(cmd *cobra.Command, operation string, in, out any) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), maxCompletion)
	defer cancel()
	s, err := client.Open(c.data, c.lookup("ECRIN_MASTER_KEY", ""))
	return err == nil && s.Call(ctx, operation, in, out) == nil
}

// accountIDs returns the accounts of the server, for completion.
func (c *commands) accountIDs(cmd *cobra.Command) (ids []string) {
	var out ecrintypes.ListAccountsResponse
	if c.called(cmd, "ListAccounts", &ecrintypes.ListAccountsRequest{}, &out) {
		for _, a := range out.Accounts {
			ids = append(ids, a.AccountId)
		}
	}
	return ids
}

// userNames returns the users with access keys of the account of --account, for completion.
func (c *commands) userNames(cmd *cobra.Command) (users []string) {
	account, _ := cmd.Flags().GetString("account") // the commands have this flag
	var out ecrintypes.ListAccessKeysResponse
	if c.called(cmd, "ListAccessKeys", &ecrintypes.ListAccessKeysRequest{AccountId: account}, &out) {
		for _, k := range out.AccessKeys {
			if _, named, err := name.ParseEntityARN(k.PrincipalArn); err == nil && named.Kind == name.IAMUser &&
				!slices.Contains(users, named.Name) {
				users = append(users, named.Name)
			}
		}
	}
	return users
}
