package hostcmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/host/doctor"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const doctorLong = `Find out why the server cannot be used from this machine.

The command checks, in this order,

  names          of the server itself, and the ECR names of the registries in use
                 and of the APIs under each configured domain
  server         port, readiness, clock
  TLS            certificate, its names, its expiry, and who trusts it
  docker         insecure registries, certs.d, credential helpers, old logins
  containerd     config_path, hosts.toml, certificates
  AWS settings   credentials, region, endpoints and CA of the tools, whether the
                 installed aws CLI uses them, and whether the credential helper
                 gets a password
  data           who can read the data directory and its keys, and free space
                 (only on the machine of the server)

It changes nothing and shows no secrets. It signs one request with the keys of the
environment, and runs the credential helper, which writes a log of its own, if
its calls go to this server. Each line is

  ok     in order
  warn   some clients do not work, or soon will not
  FAIL   does not work
  skip   does not apply to this machine

with the command that fixes a warning or a failure below it. The exit status is
1 if a check failed and 0 otherwise.`

// doctorFlags are the flags of doctor. Flags that describe the server override the result of Options.Resolve.
type doctorFlags struct {
	asJSON, iamSTS  bool
	url, ca         string
	account, region string
	timeout         time.Duration
}

// NewDoctorCommand returns `ecrin doctor`. Its error is [ErrUnhealthy] if a check failed.
func NewDoctorCommand(o Options) *cobra.Command {
	var f doctorFlags
	cmd := quiet(&cobra.Command{
		Use:   "doctor",
		Short: "Find out why the server cannot be used from this machine",
		Long:  doctorLong,
		Example: `  ecrin doctor

  # from another machine, with the CA copied there
  ecrin doctor --url https://registry.example.com:5100 --ca ca.pem

  # why a kubelet gets no credentials
  ecrin doctor kubelet

  # only what failed, for a script
  ecrin doctor --json | jq '.checks[] | select(.status == "fail")'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.examine(cmd.Context(), f) },
	})
	cmd.SetOut(o.Out)
	cmd.SetErr(o.Err)
	cmd.AddCommand(o.newKubeletCommand())
	flags := cmd.Flags()
	flags.BoolVar(&f.asJSON, "json", false, "print JSON: {\"ok\", \"checks\": [{\"name\", \"status\", \"detail\", \"fix\"}]}")
	flags.StringVar(&f.url, "url", "", "the server's address, http(s)://HOST[:PORT], for a server on another machine")
	flags.StringVar(&f.ca, "ca", "", "the CA that signs the server's certificate, a PEM `file`; default: the server's")
	flags.StringVar(&f.account, "account", "", "the registry's account, 12 digits; default: the server's, or 000000000000 with --url")
	flags.StringVar(&f.region, "region", "", "the registry's region; default: the server's, or us-east-1 with --url")
	flags.BoolVar(&f.iamSTS, "with-iam-sts", false, "also check the names of IAM and STS; default: as serve --tls-iam-sts says")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Second, "the longest wait for the network or a program in one check")
	return cmd
}

func (o Options) examine(ctx context.Context, f doctorFlags) error {
	s := Server{URL: f.url, Account: "000000000000", Region: "us-east-1"}
	if f.url == "" { // settings of this machine's server do not apply to the server of --url
		var err error
		if s, err = o.Resolve(ctx); err != nil {
			return fmt.Errorf("finding the server (or name it with --url): %w", err)
		}
	}
	for _, v := range []struct {
		into *string
		flag string
	}{{&s.Account, f.account}, {&s.Region, f.region}, {&s.CAPath, f.ca}} {
		if v.flag != "" {
			*v.into = v.flag
		}
	}
	account, err := name.ParseAccount(s.Account)
	if err != nil {
		return err
	}
	region, err := name.ParseRegion(s.Region)
	if err != nil {
		return err
	}
	examined := doctor.Options{
		URL: s.URL, Account: account, Region: region, Domains: s.Domains, IAMSTS: f.iamSTS || s.IAMSTS,
		CAPath: s.CAPath, DataDir: s.DataDir, Timeout: f.timeout, Free: durable.FreeBytes,
	}
	if f.url == "" {
		examined.InUse = o.inUse(ctx, s)
	}
	if o.tune != nil {
		o.tune(&examined)
	}
	checks := doctor.Run(ctx, examined)
	write := doctor.WriteText
	if f.asJSON {
		write = doctor.WriteJSON
	}
	if err := write(o.Out, checks); err != nil {
		return err
	}
	if n := doctor.Failed(checks); n > 0 {
		return fmt.Errorf("%d of %d %w", n, len(checks), ErrUnhealthy)
	}
	return nil
}
