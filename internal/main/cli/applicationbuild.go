package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const buildHelp = `Build the image of SERVICE, or of an entry of builds, of the application in DIR (default: this folder), and push it to its repository with two
tags: the commit and the branch. The builder is buildah, or buildctl of BuildKit.

The builder gets a config.json of its own, which has a login for each registry that the Dockerfile needs, and for the push,
	and no others: FROM
of all stages with the values of ARG, COPY --from, RUN --mount and # syntax. A registry needs an integration (ecrin application registry
add), unless it is one of the server, or its image can be pulled by everybody. The logins of this machine are not used.`

type buildFlags struct {
	cluster, account, commit, branch, registry, builder, isolation string
	args                                                           []string
	insecure, dryRun                                               bool
}

func (c *commands) applicationBuild() *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{Use: "build SERVICE [DIR]", Short: "Build the image of a service, and push it", Long: buildHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError{errors.New("want SERVICE, and perhaps DIR")}
			}
			return nil
		},
		Example: "  ecrin application build vote --cluster staging\n  ecrin application build vote ./shop --cluster staging --dry-run\n" +
			"  ecrin application build vote --cluster staging --registry localhost:5100/111122223333/eu-west-2 --plain-http"}
	c.dataFlag(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster", "", "`name` of the cluster that pulls (default: the context of the template)")
	flags.StringVar(&f.account, "account", "", "`account` of the repositories, 12 digits (default: the account of the cluster)")
	flags.StringVar(&f.registry, "registry", "", "`HOST[/PATH]` of the repositories (default: the name of ECR of their registry)")
	flags.StringVar(&f.commit, "commit", "", "first `tag` (default: the commit of the git repository in DIR)")
	flags.StringVar(&f.branch, "branch", "", "second `tag` (default: the branch of the git repository in DIR)")
	flags.StringVar(&f.builder, "builder", "", "`program`: buildah or buildctl (default: the one that is in PATH)")
	flags.StringVar(&f.isolation, "isolation", "", "isolation of buildah, such as `chroot` in a container (default: that of buildah)")
	flags.StringArrayVar(&f.args, "build-arg", nil, "`KEY=VALUE` for ARG, beside those of the template; may be repeated")
	flags.BoolVar(&f.insecure, "plain-http", false, "registries without TLS, or with a certificate that is not checked")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show images, logins and the command, and build nothing")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 2 {
			dir = args[1]
		}
		return c.build(cmd, &f, args[0], dir, *asJSON)
	}
	return cmd
}

// imageNamed returns the image that a service, or an entry of builds, is built into.
func imageNamed(t apptemplate.Template, label string) (apptemplate.Image, error) {
	for _, s := range t.Services {
		if i := t.ImageOf(s); s.Name == label && i != nil {
			return *i, nil
		}
	}
	for _, i := range t.Images() {
		if i.Build != nil && i.Build.Name == label {
			return i, nil
		}
	}
	return apptemplate.Image{},
		fmt.Errorf("the template builds no image for %s: it needs a service with has_repo: true, or an entry of builds", label)
}

func (c *commands) build(cmd *cobra.Command, f *buildFlags, service, dir string, asJSON bool) error {
	ctx := cmd.Context()
	a, err := c.usable(dir)
	if err != nil {
		return err
	}
	image, err := imageNamed(a.Template, service)
	if err != nil {
		return err
	}
	s, err := c.connect(cmd)
	if err != nil {
		return err
	}
	server := serverFor(s)
	cluster := cmp.Or(f.cluster, a.Template.Context)
	if cluster == "" {
		return usageError{errors.New("--cluster is needed: the template has no context")}
	}
	o, err := server.ReadCluster(ctx, s.Server.Region, f.account, cluster)
	if err != nil {
		return err
	}
	b := release.Build{Dir: a.Dir, Image: image, Args: map[string]string{}, Server: server, Region: s.Server.Region}
	if b.Home, err = home(o, f.account); err != nil {
		return err
	}
	for _, one := range f.args {
		key, value, ok := strings.Cut(one, "=")
		if !ok || key == "" {
			return usageError{fmt.Errorf("--build-arg must be KEY=VALUE, got %q", one)}
		}
		b.Args[key] = value
	}
	domain := "amazonaws.com"
	if len(s.Server.Domains) > 0 {
		domain = s.Server.Domains[0]
	}
	b.To = cmp.Or(f.registry, b.Home.Account.String()+".dkr.ecr."+b.Home.Region.String()+"."+domain) + "/" + image.Repository.String()
	b.Own = func(host string) (name.Registry, bool) {
		h, err := endpoint.NewMap(s.Server.Domains, name.Registry{}).Parse(host)
		switch {
		case err != nil:
			return name.Registry{}, false
		case h.Kind == endpoint.Registry && (h.Registry.Account == b.Home.Account || endpoint.NewMap(s.Server.Domains,
			name.Registry{}).Own(host)):
			return h.Registry, true
		}
		return b.Home, sameAddress(s.Server.URL, host) || slices.Contains(s.Server.Domains, host)
	}
	ask := c.other(&preflightFlags{dockerConfig: filepath.Join(a.Dir, ".release", "no-logins")})
	b.Anonymous = func(ctx context.Context, image rule.Reference) bool {
		_, bad := ask(ctx, image, "")
		return bad == nil
	}
	tags, err := f.tags(ctx, a.Dir)
	if err != nil {
		return err
	}
	plan, err := b.Plan(ctx)
	if err != nil {
		return err
	}
	return c.runBuilder(ctx, f, plan, b.To, tags, asJSON)
}

// tags returns the tags of a build: the commit, and the branch if there is one.
func (f *buildFlags) tags(ctx context.Context, dir string) ([]string, error) {
	commit, branch := cmp.Or(f.commit, gitHead(ctx, dir)), f.branch
	if commit == "" {
		return nil, usageError{errors.New("--commit is needed: DIR is no git repository")}
	}
	if branch == "" && f.commit == "" {
		out, err := exec.CommandContext(ctx, "git", "-C", dir, "symbolic-ref", "--short", "HEAD").Output()
		if err == nil {
			branch = strings.TrimSpace(string(out))
		}
	}
	all := []string{commit}
	if branch != "" {
		all = append(all, strings.Trim(strings.Map(func(c rune) rune { // a tag has fewer characters than a branch
			if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-", c) {
				return c
			}
			return '-'
		}, branch), ".-"))
	}
	for _, t := range all {
		if _, err := name.ParseTag(t); err != nil {
			return nil, usageError{fmt.Errorf("%q cannot be a tag: give --commit and --branch", t)}
		}
	}
	return all, nil
}

// builder returns the program that builds.
func (f *buildFlags) program() (string, error) {
	switch f.builder {
	case "buildah", "buildctl":
		_, err := exec.LookPath(f.builder)
		return f.builder, err
	case "":
		for _, one := range []string{"buildah", "buildctl"} {
			if _, err := exec.LookPath(one); err == nil {
				return one, nil
			}
		}
		return "", errors.New("neither buildah nor buildctl is in PATH: install one, such as apt-get install buildah")
	}
	return "", usageError{fmt.Errorf("--builder must be buildah or buildctl, got %q", f.builder)}
}

// commands returns the command lines of a builder, whose logins are in the folder config.
func (f *buildFlags) commands(program, config string, p release.Plan, to string, tags []string) [][]string {
	var names []string
	for _, t := range tags {
		names = append(names, to+":"+t)
	}
	if program == "buildctl" {
		line := []string{"buildctl", "build", "--frontend", "dockerfile.v0", "--local", "context=" + p.Context,
			"--local", "dockerfile=" + filepath.Dir(p.Dockerfile), "--opt", "filename=" + filepath.Base(p.Dockerfile)}
		if p.Target != "" {
			line = append(line, "--opt", "target="+p.Target)
		}
		for _, one := range p.Args {
			line = append(line, "--opt", "build-arg:"+one)
		}
		out := `type=image,"name=` + strings.Join(names, ",") + `",push=true`
		if f.insecure {
			out += ",registry.insecure=true"
		}
		return [][]string{append(line, "--output", out)}
	}
	common := []string{"--authfile", filepath.Join(config, "config.json")}
	if f.insecure {
		common = append(common, "--tls-verify=false")
	}
	line := append([]string{"buildah", "build"}, common...)
	if f.isolation != "" {
		line = append(line, "--isolation", f.isolation)
	}
	line = append(line, "--pull-always", "--file", p.Dockerfile)
	if p.Target != "" {
		line = append(line, "--target", p.Target)
	}
	for _, one := range p.Args {
		line = append(line, "--build-arg", one)
	}
	for _, n := range names {
		line = append(line, "--tag", n)
	}
	all := [][]string{append(line, p.Context)}
	for _, n := range names {
		all = append(all, slices.Concat([]string{"buildah", "push"}, common, []string{n}))
	}
	return all
}

// runBuilder runs the builder, whose output goes to standard error.
func (c *commands) runBuilder(ctx context.Context, f *buildFlags, p release.Plan, to string, tags []string, asJSON bool) error {
	program, err := f.program()
	if err != nil && !f.dryRun {
		return err
	}
	shown := f.commands(cmp.Or(program, "buildah"), "CONFIG", p, to, tags)
	if !f.dryRun {
		err = p.WithConfig(func(dir string) error {
			for _, line := range f.commands(program, dir, p, to, tags) {
				run := exec.CommandContext(ctx, line[0], line[1:]...)
				run.Env = append(os.Environ(), "DOCKER_CONFIG="+dir, "REGISTRY_AUTH_FILE="+filepath.Join(dir, "config.json"))
				run.Stdout, run.Stderr = c.Err, c.Err
				if err := run.Run(); err != nil {
					return fmt.Errorf("%s %s: %w", line[0], line[1], err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if asJSON {
		return c.printJSON(map[string]any{"plan": p, "repository": to, "tags": tags, "commands": shown, "pushed": !f.dryRun})
	}
	for _, l := range p.Logins {
		c.say("login to %s by %s, for %s", l.Host, l.By, l.For)
	}
	if f.dryRun {
		for _, line := range shown {
			fmt.Fprintln(c.Out, strings.Join(line, " "))
		}
		return nil
	}
	for _, t := range tags {
		fmt.Fprintln(c.Out, to+":"+t)
	}
	return nil
}

func (c *commands) applicationRegistry() *cobra.Command {
	cmd := &cobra.Command{Use: "registry", Short: "Keep the registries that Dockerfiles may name",
		Long: "A registry of ECR that Dockerfiles name needs an integration: its host, and the cloud integration whose credentials are used. The\n" +
			"owner of the repository allows the principal of that to pull (ecrin policy print).",
		Example: "  ecrin application registry add 111122223333.dkr.ecr.eu-west-1.amazonaws.com --cloud aws"}
	add := &cobra.Command{Use: "add HOST", Args: exactly("HOST"), Short: "Add the registry HOST, with the credentials of a cloud integration",
		Example: "  ecrin application registry add 111122223333.dkr.ecr.eu-west-1.amazonaws.com --cloud aws"}
	c.dataFlag(add)
	cloud := add.Flags().String("cloud", "", "`name` of the cloud integration")
	label := add.Flags().String("name", "", "`name` of the integration (default: ecr-ACCOUNT-REGION)")
	asJSON := c.jsonFlag(add)
	add.RunE = func(cmd *cobra.Command, args []string) error {
		account, region, err := release.ParseRegistryHost(args[0])
		if err != nil {
			return err
		}
		if *cloud == "" {
			return usageError{errors.New("--cloud is needed: the cloud integration whose credentials are used")}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		var out ecrintypes.IntegrationResponse
		in := &ecrintypes.CreateIntegrationRequest{IntegrationName: cmp.Or(*label, "ecr-"+account+"-"+region), Kind: "ECR",
			RemoteRegistryId: account, RemoteRegion: region, CloudName: *cloud}
		if err := s.Call(cmd.Context(), "CreateIntegration", in, &out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(out.Integration)
		}
		c.say("Dockerfiles may name %s; next: ecrin integration test %s", args[0], out.Integration.IntegrationName)
		return nil
	}
	cmd.AddCommand(add)
	return cmd
}
