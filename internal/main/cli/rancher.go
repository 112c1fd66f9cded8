package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

var rancherCalls = objectCalls[ecrintypes.RancherEnvironment]{
	kind: "environment", describe: "DescribeRancherEnvironments", remove: "DeleteRancherEnvironment",
	name: func(account, label string) any {
		return ecrintypes.RancherEnvironmentRequest{AccountId: account, EnvironmentName: label}
	},
	columns: []string{"NAME", "HOSTS", "REGISTRIES", "UPDATED"},
	row: func(e ecrintypes.RancherEnvironment) []string {
		return []string{e.EnvironmentName, fmt.Sprint(len(e.Hosts)), fmt.Sprint(len(e.Registries)), stamp(e.UpdatedAt.Time)}
	},
	details: func(e ecrintypes.RancherEnvironment) [][]string {
		rows := [][]string{{"NAME", e.EnvironmentName}, {"ARN", e.Arn}, {"HOSTS", strings.Join(e.Hosts, ", ")}}
		for _, r := range e.Registries {
			said := "no credential"
			if r.CredentialUpdatedAt != nil {
				said = r.PublicValue + ", " + stamp(r.CredentialUpdatedAt.Time)
			}
			rows = append(rows, []string{"REGISTRY " + r.RancherRegistryId, r.ServerAddress + " (" + said + ")"})
		}
		return append(rows, []string{"UPDATED", stamp(e.UpdatedAt.Time)})
	},
}

func readRancher(ctx context.Context, s caller, in any) ([]ecrintypes.RancherEnvironment, error) {
	var out ecrintypes.DescribeRancherEnvironmentsResponse
	err := s.Call(ctx, rancherCalls.describe, in, &out)
	return out.Environments, err
}

func (c *commands) rancher() *cobra.Command {
	cmd := &cobra.Command{Use: "rancher", Short: "Keep environments of Rancher 1.x: the registries whose credentials hosts pull with",
		Long: `An environment has hosts, and registries with one credential each. Programs that keep credentials in a Rancher 1.x fresh keep these,
too: with the setting rancher_api, the server has the v1 API of Rancher under /v1. Their secrets are sealed, and are shown to hosts only.`,
		Example: "  ecrin rancher add staging --host node1\n" +
			"  aws ecr get-login-password | ecrin rancher registry staging 123456789012.dkr.ecr.eu-west-1.amazonaws.com\n" +
			"  ecrin rancher dockerconfig staging node1 --file ~/.docker/config.json"}
	c.dataFlag(cmd)
	cmd.AddCommand(c.rancherAdd(), rancherCalls.list(c, "environments", readRancher), rancherCalls.show(c, readRancher), c.rancherRegistry(),
		c.rancherDockerConfig(), rancherCalls.delete(c))
	return cmd
}

func (c *commands) rancherAdd() *cobra.Command {
	cmd := &cobra.Command{Short: "Add an environment, or set the hosts of one"}
	var in ecrintypes.PutRancherEnvironmentRequest
	cmd.Flags().StringArrayVar(&in.Hosts, "host", nil, "`name` of a host that pulls with the credentials; may be repeated")
	put := func(cmd *cobra.Command, s caller, label string) (ecrintypes.RancherEnvironment, error) {
		in.EnvironmentName = label
		var out ecrintypes.RancherEnvironmentResponse
		err := s.Call(cmd.Context(), "PutRancherEnvironment", &in, &out)
		return out.Environment, err
	}
	return rancherCalls.add(c, cmd, &in.AccountId, "", put)
}

func (c *commands) rancherRegistry() *cobra.Command {
	cmd := &cobra.Command{Use: "registry ENVIRONMENT ADDRESS", Args: twoOf("ENVIRONMENT and ADDRESS"),
		Short: "Set the credential of a registry in an environment, and add the registry if it is not there",
		Long: `Set the credential of a registry in an environment, and add the registry if it is not there. The password is read from standard input, or
from the file that --secret-file names. A password of ECR lasts 12 hours: an updater keeps it fresh.`}
	f := cmd.Flags()
	account := f.String("account", "", "`account` that the environment is of, 12 digits (default: the account of the caller)")
	user := f.String("username", "AWS", "user `name` for the registry")
	email := f.String("email", "none", "`address` that Rancher wants and no registry reads")
	file := f.String("secret-file", "-", "`file` with the password, - for standard input")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		one, err := setRancherRegistry(cmd, s, ecrintypes.PutRancherCredentialRequest{AccountId: *account, EnvironmentName: args[0],
			PublicValue: *user, Email: *email}, args[1], *file)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return c.printJSON(one)
		}
		c.say("stored the credential of %s in the environment %s", args[1], args[0])
		return nil
	}
	return cmd
}

// setRancherRegistry stores the credential of the registry with an address, which it adds if the environment does not have it.
func setRancherRegistry(cmd *cobra.Command, s caller, in ecrintypes.PutRancherCredentialRequest, address, file string) (
	none ecrintypes.RancherRegistry, err error) {
	want, err := credential.ParseHost(address)
	if err != nil {
		return none, err
	}
	if in.SecretValue, err = readSecret(cmd.InOrStdin(), file, ""); err != nil {
		return none, err
	}
	all, err := readRancher(cmd.Context(), s, rancherCalls.name(in.AccountId, in.EnvironmentName))
	if err != nil {
		return none, err
	}
	var out ecrintypes.RancherRegistryResponse
	for _, r := range all[0].Registries {
		if host, err := credential.ParseHost(r.ServerAddress); err == nil && host == want {
			if in.CredentialId = r.CredentialId; in.CredentialId == "" {
				in.RancherRegistryId = r.RancherRegistryId
			}
		}
	}
	if in.CredentialId == "" && in.RancherRegistryId == "" {
		if err := s.Call(cmd.Context(), "PutRancherRegistry", &ecrintypes.PutRancherRegistryRequest{AccountId: in.AccountId,
			EnvironmentName: in.EnvironmentName, ServerAddress: address}, &out); err != nil {
			return none, err
		}
		in.RancherRegistryId = out.Registry.RancherRegistryId
	}
	err = s.Call(cmd.Context(), "PutRancherCredential", &in, &out)
	return out.Registry, err
}

func (c *commands) rancherDockerConfig() *cobra.Command {
	cmd := &cobra.Command{Use: "dockerconfig ENVIRONMENT HOST", Args: twoOf("ENVIRONMENT and HOST"),
		Short: "Write the credentials of an environment into the configuration of docker of one of its hosts",
		Long: `Write the credentials of an environment into the configuration of docker of one of its hosts, which pulls with them. Entries of other
registries stay. Run it on the host after each renewal, by a timer: the caller needs ecrin:GetRancherHostCredentials alone.`}
	account := cmd.Flags().String("account", "", "`account` that the environment is of, 12 digits (default: the account of the caller)")
	path := cmd.Flags().String("file", "", "configuration `file` of docker, such as ~/.docker/config.json (required)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		if *path == "" {
			return usageError{errors.New("--file is needed")}
		}
		var out ecrintypes.RancherHostCredentialsResponse
		if err := s.Call(cmd.Context(), "GetRancherHostCredentials", &ecrintypes.RancherHostRequest{AccountId: *account,
			EnvironmentName: args[0], HostName: args[1]}, &out); err != nil {
			return err
		}
		var all []credential.Credential
		written := []string{}
		for _, one := range out.Credentials {
			host, err := credential.ParseHost(one.ServerAddress)
			if err != nil { // it is no reason to leave out the others
				c.say("the address %s is none of a registry: %v", one.ServerAddress, err)
				continue
			}
			all = append(all, credential.Credential{Host: host, Username: one.PublicValue, Password: secret.New(one.SecretValue)})
			written = append(written, host)
		}
		if len(all) == 0 {
			return fmt.Errorf("the environment %s has no credential", args[0])
		}
		if err := (&credential.DockerFile{Path: *path, Log: c.say}).Deliver(cmd.Context(), all); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]any{"file": *path, "hosts": written})
		}
		c.say("wrote the credentials of %s into %s", strings.Join(written, ", "), *path)
		return nil
	}
	return cmd
}
