package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const configRepositoryHelp = `Keep the integrations of an account as files of a git repository, from which clusters get them.

Each integration is a ConfigMap and a SealedSecret, or an ExternalSecret; a plain Secret is never written. After each change of an
integration its files are written, if a test of it passes. Files that somebody else has changed, removed or made are shown as drift, and are
neither changed nor removed. The token or the private key is read from standard input, or from the file that --secret-file names.`

func (c *commands) configRepository() *cobra.Command {
	cmd := &cobra.Command{Use: "config-repository", Long: configRepositoryHelp,
		Short: "Keep integrations as files of a git repository, for clusters",
		Example: "  kubeseal --fetch-cert >cert.pem\n" +
			"  printf %s \"$TOKEN\" | ecrin config-repository set 'https://git.example.com/team/config.git?ref=main' --username ci \\\n" +
			"    --namespace delivery --certificate cert.pem\n  ecrin config-repository status --wait 1m"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.configRepositorySet(), c.configRepositoryShow(), c.configRepositoryStatus(), c.configRepositorySync(),
		c.configRepositoryRemove())
	return cmd
}

func (c *commands) configRepositorySet() *cobra.Command {
	cmd := &cobra.Command{Use: "set URL", Args: exactly("URL"), Short: "Set where integrations are kept, and how their secrets are protected",
		Long: `Set where integrations are kept: REPOSITORY.git[/FOLDER][?ref=BRANCH], with https://HOST/PATH, USER@HOST:PATH or ssh://USER@HOST/PATH,
or file:///PATH if the operator allows that by the setting config_repository_paths. The branch is main by default.

Secrets are sealed with the certificate of the cluster's controller of Sealed Secrets, or stay in a store that External Secrets reads: the
ExternalSecret of an integration names the entry PREFIX+NAME. A runtime in another cluster has its own certificate or namespace. The
credentials of the repository stay if the repository does and none are given.`,
		Example: "  ecrin config-repository set git@git.example.com:team/config.git --known-hosts hosts --secret-file ~/.ssh/id_ed25519 \\\n" +
			"    --namespace delivery --certificate cert.pem --runtime-certificate west=west.pem\n" +
			"  ecrin config-repository set file:///srv/git/config.git --namespace delivery --secret-store vault --secret-prefix ecrin/"}
	var in ecrintypes.PutConfigRepositoryRequest
	f := cmd.Flags()
	f.StringVar(&in.AccountId, "account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	f.StringVar(&in.Username, "username", "", "user `name` for https; the token is read from standard input")
	f.StringVar(&in.Namespace, "namespace", "", "`namespace` in which clusters use the files")
	f.StringVar(&in.AuthorName, "author-name", "", "`name` of the author of commits (default: ecrin)")
	f.StringVar(&in.AuthorEmail, "author-email", "", "`address` of the author of commits (default: ecrin@localhost)")
	f.StringVar(&in.SecretStore, "secret-store", "", "`name` of the store of External Secrets, instead of a certificate")
	kind := f.String("secret-store-kind", "", "`kind` of the store: SecretStore or ClusterSecretStore (default: SecretStore)")
	f.StringVar(&in.SecretPrefix, "secret-prefix", "", "`prefix` of the entries of the store")
	certificate := f.String("certificate", "", "`file` with the certificate of Sealed Secrets, as kubeseal --fetch-cert prints it")
	knownHosts := f.String("known-hosts", "", "`file` with the keys of the host of ssh, as ssh-keyscan prints them")
	certificates := f.StringArray("runtime-certificate", nil, "certificate of a runtime in another cluster, `RUNTIME=FILE`; may be repeated")
	namespaces := f.StringArray("runtime-namespace", nil, "namespace of a runtime, `RUNTIME=NAMESPACE`; may be repeated")
	file := f.String("secret-file", "", "`file` with the token or the private key (default: standard input, with --username or a URL of ssh)")
	keep := f.Bool("keep-secret", false, "keep the token or the private key of the same repository")
	skip := f.Bool("skip-test", false, "write integrations without testing them")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.Url, in.SkipTest, in.SecretStoreKind = args[0], skip, ecrintypes.SecretStoreKind(*kind)
		var err error
		if in.Certificate, err = readText(*certificate); err != nil {
			return err
		}
		if in.KnownHosts, err = readText(*knownHosts); err != nil {
			return err
		}
		if in.Runtimes, err = configTargets(*certificates, *namespaces); err != nil {
			return err
		}
		ssh := !strings.HasPrefix(in.Url, "https:") && !strings.HasPrefix(in.Url, "file:")
		if !*keep && (*file != "" || ssh || in.Username != "") {
			if *file == "" {
				*file = "-"
			}
			hidden, err := readSecret(cmd.InOrStdin(), *file, "")
			if err != nil {
				return err
			}
			if ssh {
				in.PrivateKey = hidden + "\n"
			} else {
				in.Password = hidden
			}
		}
		out, err := c.configRepositoryCall(cmd, "PutConfigRepository", &in)
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		c.say("integrations are kept in %s: see ecrin config-repository status", out.Url)
		return nil
	}
	return cmd
}

// readText returns the content of a file, "" without one.
func readText(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	return string(b), err
}

// configTargets returns what the flags say about single runtimes.
func configTargets(certificates, namespaces []string) (all []ecrintypes.ConfigTarget, err error) {
	at := map[string]int{}
	entry := func(flag, text string) (*ecrintypes.ConfigTarget, string, error) {
		label, value, ok := strings.Cut(text, "=")
		if !ok || label == "" || value == "" {
			return nil, "", usageError{fmt.Errorf("--%s is RUNTIME=VALUE, got %q", flag, text)}
		}
		if _, have := at[label]; !have {
			at[label] = len(all)
			all = append(all, ecrintypes.ConfigTarget{RuntimeName: label})
		}
		return &all[at[label]], value, nil
	}
	for _, text := range certificates {
		one, value, err := entry("runtime-certificate", text)
		if err == nil {
			one.Certificate, err = readText(value)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, text := range namespaces {
		one, value, err := entry("runtime-namespace", text)
		if err != nil {
			return nil, err
		}
		one.Namespace = value
	}
	return all, nil
}

func (c *commands) configRepositoryCall(cmd *cobra.Command, operation string, in any) (*ecrintypes.ConfigRepository, error) {
	s, err := c.connect(cmd)
	if err != nil {
		return nil, err
	}
	var out ecrintypes.ConfigRepositoryResponse
	if err := s.Call(cmd.Context(), operation, in, &out); err != nil {
		return nil, err
	}
	return &out.ConfigRepository, nil
}

func (c *commands) configRepositoryShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Args: cobra.NoArgs, Short: "Show where integrations are kept"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := c.configRepositoryCall(cmd, "DescribeConfigRepository", ecrintypes.ConfigRepositoryRequest{AccountId: *account})
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out)
		}
		rows := [][]string{{"URL", out.Url}, {"USER NAME", out.Username}, {"NAMESPACE", out.Namespace}, {"SECRETS", secretsOf(out)},
			{"AUTHOR", strings.TrimSpace(out.AuthorName + " " + out.AuthorEmail)}, {"STATE", configState(out)}}
		for _, one := range out.Runtimes {
			rows = append(rows, []string{"RUNTIME " + one.RuntimeName, strings.TrimSpace(one.Namespace + " " + ownCertificate(one))})
		}
		var shown [][]string
		for _, row := range rows {
			if row[1] != "" {
				shown = append(shown, row)
			}
		}
		return c.table(shown)
	}
	return cmd
}

func ownCertificate(t ecrintypes.ConfigTarget) string {
	if t.Certificate == "" {
		return ""
	}
	return "with its own certificate"
}

func secretsOf(r *ecrintypes.ConfigRepository) string {
	if r.SecretStore != "" {
		return string(r.SecretStoreKind) + " " + r.SecretStore + " " + r.SecretPrefix + "NAME"
	}
	return "Sealed Secrets, certificate until " + stamp(r.CertificateExpiresAt.Time)
}

func configState(r *ecrintypes.ConfigRepository) string {
	state := strings.ReplaceAll(strings.ToLower(string(r.SyncStatus)), "_", " ")
	if r.Removing {
		state = "removing"
	}
	return state
}

// errNotSynced is the error of a command that shows a repository that is not as it shall be.
var errNotSynced = errors.New("the configuration repository is not synced")

// waitConfig calls DescribeConfigRepository until the repository does not wait for a job any more, or the time is over.
func (c *commands) waitConfig(cmd *cobra.Command, account string, wait time.Duration) (*ecrintypes.ConfigRepository, error) {
	end := time.Now().Add(wait)
	for {
		out, err := c.configRepositoryCall(cmd, "DescribeConfigRepository", ecrintypes.ConfigRepositoryRequest{AccountId: account})
		if err != nil || out.SyncStatus != ecrintypes.SyncStatusSYNCING || time.Now().After(end) {
			return out, err
		}
		select {
		case <-time.After(configPoll):
		case <-cmd.Context().Done():
			return nil, cmd.Context().Err()
		}
	}
}

// configPoll is the time between two looks of a command that waits.
const configPoll = 300 * time.Millisecond

func (c *commands) configRepositoryStatus() *cobra.Command {
	cmd := &cobra.Command{Use: "status", Args: cobra.NoArgs, Short: "Show how far the files of integrations are, and what others have changed",
		Long: "Show how far the files of integrations are, and what others have changed. Without --json the command fails unless all is\n" +
			"synced.",
		Example: "  ecrin config-repository status --wait 1m"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	wait := cmd.Flags().Duration("wait", 0, "`time` to wait while files are written")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := c.waitConfig(cmd, *account, *wait)
		if err != nil {
			return err
		}
		return c.sayConfig(out, *asJSON)
	}
	return cmd
}

// sayConfig prints the state of a configuration repository. It returns errNotSynced unless all is as it shall be, but not with JSON, which
// says so itself.
func (c *commands) sayConfig(out *ecrintypes.ConfigRepository, asJSON bool) error {
	if asJSON {
		return c.printJSON(out)
	}
	rows := [][]string{{"INTEGRATION", "STATE", "FILES"}}
	for _, one := range out.Integrations {
		rows = append(rows, []string{one.IntegrationName, strings.ReplaceAll(strings.ToLower(string(one.SyncStatus)), "_", " "),
			orDash(strings.Join(one.Paths, " "))})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	for _, one := range out.Integrations {
		if one.Reason != "" {
			c.say("%s: %s", one.IntegrationName, one.Reason)
		}
	}
	for _, d := range out.Drift {
		c.say("drift: %s of %s: %s", d.Path, d.IntegrationName, strings.ToLower(string(d.Kind)))
	}
	if out.LastError != "" {
		c.say("the last attempt failed: %s", out.LastError)
	}
	c.say("%s: %s, commit %s", out.Url, configState(out), orDash(out.LastCommit))
	if out.SyncStatus != ecrintypes.SyncStatusSYNCED || out.Removing {
		return errNotSynced
	}
	return nil
}

func (c *commands) configRepositorySync() *cobra.Command {
	cmd := &cobra.Command{Use: "sync", Args: cobra.NoArgs, Short: "Write what is to be written now, and look for changes of others",
		Example: "  ecrin config-repository sync --wait 1m"}
	account := cmd.Flags().String("account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	wait := cmd.Flags().Duration("wait", 0, "`time` to wait for the end, after which the state is shown")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := c.configRepositoryCall(cmd, "SyncConfigRepository", ecrintypes.ConfigRepositoryRequest{AccountId: *account})
		if err == nil && *wait > 0 {
			out, err = c.waitConfig(cmd, *account, *wait)
		}
		switch {
		case err != nil:
			return err
		case *wait > 0:
			return c.sayConfig(out, *asJSON)
		case *asJSON:
			return c.printJSON(out)
		}
		c.say("the files are written in the background: see ecrin config-repository status")
		return nil
	}
	return cmd
}

func (c *commands) configRepositoryRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "remove", Args: cobra.NoArgs, Short: "Remove the files of all integrations, and keep none there any more",
		Long: "Remove the files of all integrations in the background, and keep none there any more. Files that others have changed stay. With\n" +
			"--keep-files nothing is removed, and the repository is forgotten at once.",
		Example: "  ecrin config-repository remove"}
	var in ecrintypes.DeleteConfigRepositoryRequest
	cmd.Flags().StringVar(&in.AccountId, "account", "", "`account` that it is of, 12 digits (default: the account of the caller)")
	keep := cmd.Flags().Bool("keep-files", false, "leave the files as they are")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in.KeepFiles = keep
		out, err := c.configRepositoryCall(cmd, "DeleteConfigRepository", &in)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(out)
		case *keep:
			c.say("forgot %s, whose files stay", out.Url)
		default:
			c.say("the files in %s are removed in the background", out.Url)
		}
		return nil
	}
	return cmd
}
