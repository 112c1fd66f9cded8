package hostcmd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/host/doctor"
)

// newKubeletCommand returns `ecrin doctor kubelet`. Its error is [ErrUnhealthy] if a check failed.
func (o Options) newKubeletCommand() *cobra.Command {
	cmd := quiet(&cobra.Command{
		Use: "kubelet", Args: cobra.NoArgs, Short: "Find out why the kubelet of this node gets no credentials for a registry",
		Long: `Check how the kubelet of this node gets credentials for registries:

  flags         both flags for credential providers are set
  configuration its file, its kind and version, fields that do not exist, names that occur twice
  program       the program of a provider, under the provider's name
  provider      apiVersion, defaultCacheDuration, patterns of matchImages
  registries    a pattern matches each registry, with its port
  tokens        audience, cacheType, requireServiceAccount, and the annotation with the role

The flags are those of the running kubelet, or of --config and --bin-dir; a kubelet inside of k3s, RKE2 or k0s has no process of its own.
It changes nothing and starts nothing. The exit status is 1 if a check failed.`,
		Example: `  ecrin doctor kubelet
  ecrin doctor kubelet --config /etc/ecrin/kubelet/credential-provider.yaml --bin-dir /usr/local/lib/ecrin --registry ecr.example.com:5100`,
	})
	cmd.SetOut(o.Out)
	cmd.SetErr(o.Err)
	s := credential.KubeletSetup{Getenv: os.Getenv}
	flags := cmd.Flags()
	config := flags.String("config", "", "`file` of --image-credential-provider-config (default: that of the running kubelet)")
	bin := flags.String("bin-dir", "", "`folder` of --image-credential-provider-bin-dir (default: that of the running kubelet)")
	flags.StringArrayVar(&s.Registries, "registry", nil, "`host` that must be matched, HOST or HOST:PORT; may be repeated")
	flags.StringVar(&s.Audience, "audience", "sts.amazonaws.com", "`audience` that the roles trust")
	asJSON := flags.Bool("json", false, "print JSON: {\"ok\", \"checks\": [{\"name\", \"status\", \"detail\", \"fix\"}]}")
	cmd.RunE = func(*cobra.Command, []string) error {
		for i, host := range s.Registries {
			parsed, err := credential.ParseHost(host)
			if err != nil {
				return err
			}
			s.Registries[i] = parsed
		}
		if *config != "" || *bin != "" {
			for flag, value := range map[string]string{"--image-credential-provider-config": *config,
				"--image-credential-provider-bin-dir": *bin} {
				if value != "" {
					s.Args = append(s.Args, flag+"="+value)
				}
			}
		} else {
			var err error
			if s.Args, err = runningKubelet("/proc"); err != nil {
				return err
			}
		}
		var all []doctor.Check
		for _, f := range credential.CheckKubelet(s) {
			one := doctor.Check{Name: f.Name, Status: doctor.OK, Detail: f.Detail}
			if f.Problem != "" {
				one = doctor.Check{Name: f.Name, Status: doctor.Fail, Detail: f.Problem, Fix: f.Fix}
			}
			all = append(all, one)
		}
		write := doctor.WriteText
		if *asJSON {
			write = doctor.WriteJSON
		}
		if err := write(o.Out, all); err != nil {
			return err
		}
		if n := doctor.Failed(all); n > 0 {
			return fmt.Errorf("%d of %d %w", n, len(all), ErrUnhealthy)
		}
		return nil
	}
	return cmd
}

// runningKubelet returns the arguments of the kubelet that runs on this machine.
func runningKubelet(proc string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		args := strings.Split(string(bytes.TrimRight(text, "\x00")), "\x00")
		if base := filepath.Base(args[0]); base == "kubelet" || strings.HasPrefix(base, "kubelet-v") {
			return args[1:], nil
		}
	}
	return nil, errors.New("no kubelet runs here as a process of its own: name its files by --config and --bin-dir")
}
