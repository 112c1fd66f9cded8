package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/host/pull"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const preflightHelp = `Answer for each image that files name, before anything is deployed: is it there, which digest does it have, for which
platforms is it, how large is it, in which region, who may pull it, and, if it cannot be pulled, what is to be added.

FILE is a manifest of Kubernetes, a folder of them, a folder with a kustomization, a chart of Helm as a folder or an archive, a file of
docker compose, an application template, or - for standard input, such as the output of helm template. What it is is found out. Charts are
rendered as helm template does, without a cluster, with the values of --values.

With --principal the policies are asked whether that principal may pull: log in, read the manifest, and read the layers. With --cluster
it is the principal of the cluster, and images of registries must be in its region. Without both it is the caller whose AWS credentials are
used (--profile, --url); the operator (--data) has no policies, and names who pulls. Images of other registries than those of the server
are asked for with the credentials of docker on this machine. Nothing is changed; that a manifest is read counts as a pull of the caller.

The exit code is 0 if all images can be pulled, 3 if one cannot, and 1 for an error, also for a file that could not be read.`

// preflightFlags say who pulls, and where.
type preflightFlags struct {
	principal, cluster, account, region string
	platforms                           []string
	dockerConfig                        string
}

func (f *preflightFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.principal, "principal", "", "the `ARN` or account that pulls (default: that of the cluster)")
	flags.StringVar(&f.cluster, "cluster", "",
		"`name` of a cluster (ecrin cluster list) whose principal pulls, in whose region images must be")
	flags.StringVar(&f.account, "account", "", "`account` that the cluster is of, 12 digits (default: the account of the caller)")
	flags.StringVar(&f.region, "region", "", "`region` in which images must be (default: that of the cluster)")
	flags.StringArrayVar(&f.platforms, "platform", nil, "`OS/ARCH` that each image must have; may be repeated")
	flags.StringVar(&f.dockerConfig, "docker-config", "", "`folder` of config.json (default: DOCKER_CONFIG, or ~/.docker)")
}

func (c *commands) preflight() *cobra.Command {
	var f preflightFlags
	cmd := &cobra.Command{Use: "preflight FILE…", Short: "Check before a deployment that all its images can be pulled", Long: preflightHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("want at least one FILE, or - for standard input")}
			}
			return nil
		},
		Example: "  ecrin preflight deployment.yaml --cluster staging\n  ecrin preflight ./overlays/prod --platform linux/arm64\n" +
			"  ecrin preflight ./chart --values prod.yaml --cluster staging\n" +
			"  helm template shop ./chart | ecrin preflight - --principal arn:aws:iam::111122223333:role/nodes\n  ecrin preflight docker-compose.yml --json"}
	c.dataFlag(cmd)
	f.add(cmd)
	values := cmd.Flags().String("values", "", "`file` of values that differ from those of the charts of Helm")
	label := cmd.Flags().String("release-name", "", "`name` of the release of charts of Helm (default: that of the chart)")
	namespace := cmd.Flags().String("namespace", "", "`namespace` of charts of Helm (default: default)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		charts := release.Charts{Release: *label, Namespace: *namespace}
		if *values != "" {
			text, err := readLimited(*values, apptemplate.MaxFile)
			if err == nil && len(text) > apptemplate.MaxFile {
				err = fmt.Errorf("%s has more than %d bytes", *values, apptemplate.MaxFile)
			}
			if err != nil {
				return err
			}
			charts.Values = text
		}
		in, err := release.ReadInputs(cmd.Context(), args, cmd.InOrStdin(), charts)
		if err != nil {
			return err
		}
		check, err := c.check(cmd, &f, "")
		if err != nil {
			return err
		}
		answers := check.Run(cmd.Context(), in.Images)
		if note := c.whoPulls(cmd, check, answers, f.account); note != "" {
			in.Notes = append(in.Notes, note)
		}
		ready := !slices.ContainsFunc(answers, func(a release.Answer) bool { return !a.Ready })
		if *asJSON {
			err = c.printJSON(map[string]any{"ready": ready && len(in.Failed) == 0, "kinds": in.Kinds, "principal": cmp.Or(check.Principal,
				check.Caller),
				"region": check.Region, "images": answers, "notes": append([]string{}, in.Notes...), "failed": append([]string{}, in.Failed...)})
		} else {
			err = c.sayAnswers(answers, in)
		}
		switch {
		case err != nil:
			return err
		case len(in.Failed) > 0:
			return fmt.Errorf("%s could not be read", counted(int64(len(in.Failed)), "document", "documents"))
		case !ready:
			return errDenied
		}
		return nil
	}
	return cmd
}

// check returns what asks for images: at the server of the command line, if there is one, and at other registries.
func (c *commands) check(cmd *cobra.Command, f *preflightFlags, cluster string) (*release.Check, error) {
	for _, p := range f.platforms {
		if n := strings.Count(p, "/"); n < 1 || n > 2 {
			return nil, usageError{fmt.Errorf("--platform: want OS/ARCH, such as linux/arm64, got %q", p)}
		}
	}
	check := &release.Check{Principal: f.principal, Cluster: cmp.Or(f.cluster, cluster), Region: f.region, Platforms: f.platforms,
		Other: c.other(f)}
	if f.principal != "" {
		if _, err := policy.ParsePrincipal(f.principal); err != nil {
			return nil, errors.New(fault.From(err).Public)
		}
	}
	s, err := c.connect(cmd)
	if errors.Is(err, client.ErrNotRunning) && !cmd.Flags().Changed("data") && f.principal == "" && check.Cluster == "" {
		return check, nil // images of other registries need no server
	}
	if err != nil {
		return nil, err
	}
	check.Server = serverFor(s)
	check.Locate = func(r rule.Reference) (release.Place, bool, error) { return locate(s, r) }
	if check.Cluster == "" {
		check.Caller = s.Caller()
		return check, nil
	}
	o, err := check.Server.ReadCluster(cmd.Context(), s.Server.Region, f.account, check.Cluster)
	if err != nil {
		return nil, err
	}
	check.Principal, check.Region = cmp.Or(check.Principal, o.Principal), cmp.Or(check.Region, o.Region)
	return check, nil
}

// whoPulls returns what is to be given where nobody is named who pulls, so that permissions could not be checked; "" if there is nothing.
func (c *commands) whoPulls(cmd *cobra.Command, check *release.Check, answers []release.Answer, account string) string {
	at := slices.IndexFunc(answers, func(a release.Answer) bool { return a.RegistryID != "" && a.Principal == "" })
	if at < 0 {
		return ""
	}
	text := "no permission was checked, because nobody is named who pulls, and no policies count for the operator: give --principal ARN, such " +
		"as --principal arn:aws:iam::" + answers[at].RegistryID + ":role/NAME, or --cluster NAME"
	s, err := c.connect(cmd)
	if err != nil {
		return text
	}
	var out ecrintypes.DescribeClustersResponse
	if err := s.Call(cmd.Context(), "DescribeClusters", &ecrintypes.DescribeClustersRequest{AccountId: account}, &out); err != nil {
		return text // the names are a help
	}
	if len(out.Clusters) == 0 {
		return text + "; there are no clusters yet: ecrin cluster add makes one"
	}
	var names []string
	for _, o := range out.Clusters[:min(len(out.Clusters), 5)] {
		names = append(names, o.ClusterName)
	}
	return text + ", which can be " + strings.Join(names, ", ")
}

// serverFor returns a server for package release.
func serverFor(s *client.Client) *release.Server {
	return &release.Server{
		Config: s.ConfigFor,
		Call: func(ctx context.Context, region, operation string, in, out any) error {
			return s.In(region).Call(ctx, operation, in, out)
		},
	}
}

// locate returns the place of an image in a registry of the server, and whether it is one: its host is a registry of ECR, a domain of the
// server, or the address of the server.
func locate(s *client.Client, r rule.Reference) (p release.Place, ours bool, err error) {
	h, err := endpoint.NewMap(s.Server.Domains, name.Registry{}).Parse(r.Host)
	if err != nil {
		return p, true, errors.New(fault.From(err).Public)
	}
	if h.Kind != endpoint.Registry && !sameAddress(s.Server.URL, r.Host) && !slices.Contains(s.Server.Domains, r.Host) {
		return p, false, nil
	}
	i, err := parseImage(s, r.String())
	if err != nil {
		return p, true, err
	}
	p = release.Place{Registry: i.registry, Repo: i.repo, Tag: i.tag.String(), Digest: i.digest.String()}
	if p.Tag == "" && p.Digest == "" {
		p.Tag = "latest"
	}
	return p, true, nil
}

// sameAddress reports whether HOST[:PORT] is the address of a URL. All names of this machine are one.
func sameAddress(address, hostport string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	if u.Host == hostport {
		return true
	}
	host, port, err := net.SplitHostPort(hostport)
	local := func(h string) bool {
		a, err := netip.ParseAddr(h)
		return h == "localhost" || err == nil && a.IsLoopback()
	}
	return err == nil && port == u.Port() && local(host) && local(u.Hostname())
}

// other returns what asks other registries, with the credentials of docker.
func (c *commands) other(f *preflightFlags) func(context.Context, rule.Reference, string) (release.Facts, *release.Problem) {
	return func(ctx context.Context, image rule.Reference, platform string) (release.Facts, *release.Problem) {
		dir := cmp.Or(f.dockerConfig, c.lookup("DOCKER_CONFIG", ""))
		if home, err := os.UserHomeDir(); dir == "" && err == nil {
			dir = filepath.Join(home, ".docker")
		}
		image.Path = image.Repository()
		if image.OnHub() {
			image.Host = "registry-1.docker.io"
		}
		facts, steps := pull.Inspect(ctx, pull.Options{Image: image.String(), Platform: platform, DockerConfig: dir,
			CertsDir: "/etc/docker/certs.d",
			Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
				return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
			},
			Dial: (&net.Dialer{}).DialContext, Helper: runHelper, Proxy: http.ProxyFromEnvironment})
		found := release.Facts{Digest: facts.Digest, Platforms: facts.Platforms, Size: facts.Size}
		last := steps[len(steps)-1]
		if last.Passed {
			return found, nil
		}
		code := release.NotAsked
		switch last.Name {
		case pull.Credential, pull.Token, pull.Permission:
			code = release.AccessDenied
		case pull.Image:
			code = release.ImageNotFound
		case pull.Platform:
			code = release.PlatformAbsent
		}
		return found, &release.Problem{Code: code, Text: last.Problem, Add: []string{last.Cure}}
	}
}

// sayAnswers prints a table of images, and below it what is wrong.
func (c *commands) sayAnswers(all []release.Answer, in release.Inputs) error {
	rows := [][]string{{"IMAGE", "READY", "DIGEST", "SIZE", "PLATFORMS", "REGION", "PULL"}}
	var wrong strings.Builder
	for _, a := range all {
		size, ready, digest := "-", "yes", orDash(shortDigest(a.Digest))
		if a.Size > 0 {
			size = bytesText(a.Size)
		}
		may := a.Pull
		if a.Principal == "" && len(a.PullableBy) > 0 {
			may = strings.Join(a.PullableBy, " ")
		}
		if !a.Ready {
			ready = "NO"
		}
		rows = append(rows, []string{a.Image, ready, digest, size, orDash(strings.Join(a.Platforms, " ")), orDash(a.Region), may})
		for _, p := range a.Problems {
			fmt.Fprintf(&wrong, "\n%s\n  of %s\n  %s\n", a.Image, strings.Join(a.In, "; "), p.Text)
			for _, add := range p.Add {
				fmt.Fprintf(&wrong, "  what to do: %s\n", strings.ReplaceAll(add, "\n", "\n    "))
			}
		}
	}
	if len(all) == 0 {
		c.say("the files name no images")
	} else if err := c.table(rows); err != nil {
		return err
	}
	if _, err := fmt.Fprint(c.Out, wrong.String()); err != nil {
		return err
	}
	for _, n := range in.Notes {
		c.say("note: %s", n)
	}
	for _, f := range in.Failed {
		c.say("not read: %s", f)
	}
	return nil
}
