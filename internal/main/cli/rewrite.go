package cli

import (
	"cmp"
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

const rewriteHelp = `Make manifests of Kubernetes pull their images with a licence, or from a registry of one's own.

DIR is a folder of manifests, or - for manifests on standard input, such as those that helm template prints. With --license, images that
cannot be pulled without credentials are pulled by the proxy of the vendor, with the licence in a pull secret. With --registry, all images
are pulled from that registry, to which they are copied first: whole indexes with their digests, signatures and other referrers. Those
below HOST/NAMESPACE stay. What is there already is not sent again, and immutable tags that are right pass. Private images are copied from the proxy if there is a licence. The
registry may be one of ECR that is used with a role (--registry-role): nodes need credentials of their own then, since no secret is written.

The result is written to the folder --output:

  upstream/                            what was given; userdata/installation.yaml has what is known of the images
  base/                                the objects for the cluster, with the templates of the vendor rendered
  overlays/midstream/                  generated: names of images, pull secrets, patches that use them
  overlays/downstreams/this-cluster/   yours: made once, and never overwritten
  rendered/this-cluster/all.yaml       what kustomize builds of it
  mirrors/                             with --mirrors: settings of nodes; names of images stay, and there is no pull secret
  kotsKinds/                           objects that are for installers
  charts/RELEASE/values.yaml           values of charts that helm installs; names of images in them are those that the vendor wrote
  skippedFiles/                        what could not be read, with an index of the reasons

Run again, the command keeps what it has decided on images, and your changes. Each image is asked for at its registry without credentials;
a registry that refuses, or cannot be reached, makes it private. Private addresses are not asked but for those of --egress-allow.

Images at places that installers do not read, such as fields of custom resources, and texts that are no names of images are reported and
stay as they are. DIR and --output must not be in each other.`

// rewriteFlags are the flags of rewrite.
type rewriteFlags struct {
	output, slug, namespace          string
	licenseFile, licenseKey          string
	proxy, vendor, label             string
	registry, username, passwordFile string
	target                           rewrite.Target // of registry
	config                           string
	plainHost                        string // of the proxy, on this machine without TLS; "" for none
	lastSegment, all, noBuild        bool
	noCopy, dryRun, mirrors          bool
	allow                            []string
	names                            map[string]string
	ca                               string
}

func (c *commands) rewrite() *cobra.Command {
	var f rewriteFlags
	cmd := &cobra.Command{
		Use: "rewrite DIR", Short: "Make manifests pull their images with a licence or from another registry", Long: rewriteHelp,
		Args: exactly("DIR"),
		Example: `  ecrin rewrite ./manifests --license license.yaml
  ecrin rewrite ./manifests --license license.yaml --registry 111122223333.dkr.ecr.eu-west-1.amazonaws.com/shop --dry-run
  helm template shop ./chart | ecrin rewrite - --slug shop --registry registry.example.com/shop --output ./shop
  kubectl apply -k ./shop/overlays/downstreams/this-cluster`,
	}
	flags := cmd.Flags()
	flags.StringVar(&f.output, "output", "rewritten", "the `folder` that is written")
	flags.StringVar(&f.slug, "slug", "", "name of the application (default: that of the licence, or of DIR)")
	flags.StringVar(&f.namespace, "namespace", "", "namespace of the application, for the pull secrets (default: that of the client)")
	flags.StringVar(&f.licenseFile, "license", "", "the licence of the vendor, a `file`")
	flags.StringVar(&f.licenseKey, "license-key", "", "public key of the vendor, a PEM `file`: the licence must be signed with it")
	flags.StringVar(&f.proxy, "proxy", "", "`host` of the proxy (default: that of the licence)")
	flags.StringVar(&f.vendor, "vendor-registry", "", "`host` of the registry of the vendor, whose images need the licence too")
	flags.StringToStringVar(&f.names, "registry-name", nil, "the name at the proxy of a registry with a port, `HOST:PORT=NAME`")
	flags.StringVar(&f.label, "version-label", "", "version of the application, for templates")
	flags.StringVar(&f.registry, "registry", "",
		"pull all images from this registry, `HOST[/NAMESPACE]`, with http:// before it if it has no TLS")
	flags.StringVar(&f.username, "registry-username", "", "user name for the registry")
	flags.StringVar(&f.passwordFile, "registry-password-file", "", "`file` with the password for the registry")
	flags.StringVar(&f.target.Role, "registry-role", "", "the registry is one of ECR, used with the IAM role of this `ARN`")
	flags.StringVar(&f.target.ExternalID, "registry-external-id", "", "external `id` for the role")
	flags.StringVar(&f.target.Profile, "registry-profile", "", "`profile` of the aws CLI for a registry of ECR")
	flags.StringVar(&f.target.API, "registry-api", "", "`URL` of the API of a registry of ECR (default: that of AWS or of the environment)")
	flags.StringVar(&f.config, "config", "", "configuration of credentials, a `file` (default: credentials.yaml of the user)")
	flags.BoolVar(&f.mirrors, "mirrors", false,
		"keep all names of images: write settings of nodes for containerd and k3s, which ask the proxy first")
	flags.BoolVar(&f.noCopy, "no-copy", false, "with --registry: copy no images, they are there")
	flags.BoolVar(&f.dryRun, "dry-run", false, "with --registry: show what would be copied, with sizes, and write nothing")
	flags.BoolVar(&f.lastSegment, "last-segment", false, "name images in the registry by the last part of their path, as older installers do")
	flags.BoolVar(&f.all, "all-private", false, "ask no registry: all images are pulled with the licence")
	flags.BoolVar(&f.noBuild, "no-build", false, "do not build the overlays: rendered/ is not written")
	flags.StringSliceVar(&f.allow, "egress-allow", nil, "private `addresses` or ranges that may be asked, joined by commas")
	flags.StringVar(&f.ca, "ca", "", "PEM `file` of private CAs that registries may have")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return c.runRewrite(cmd.Context(), args[0], f, *asJSON) }
	return cmd
}

// rewritten is the answer of rewrite.
type rewritten struct {
	Slug      string            `json:"slug"`
	Output    string            `json:"output"`
	Objects   int               `json:"objects"`
	Images    []rewrite.Decided `json:"images"`
	Unseen    []unseenImage     `json:"unseen"`
	Skipped   []skippedText     `json:"skipped"`
	Unpatched []string          `json:"unpatched"`
	Built     bool              `json:"built"`
	Charts    []rewrittenChart  `json:"charts"`
	Copied    []rewrite.Copied  `json:"copied,omitempty"`
}

// rewrittenChart is a chart that is to be installed by helm.
type rewrittenChart struct {
	Release   string `json:"release"`
	Chart     string `json:"chart"`
	Version   string `json:"version"`
	Namespace string `json:"namespace,omitempty"`
	Archive   string `json:"archive,omitempty"` // in the folder of the output
	Values    string `json:"values"`            // likewise
}

type unseenImage struct {
	Object string `json:"object"`
	Path   string `json:"path"`
	Image  string `json:"image"`
	Reason string `json:"reason"`
}

type skippedText struct {
	File   string `json:"file"`
	Line   int    `json:"line,omitempty"`
	Reason string `json:"reason"`
}

func (c *commands) runRewrite(ctx context.Context, dir string, f rewriteFlags, asJSON bool) error {
	in, err := c.rewriteInput(dir, &f)
	if err != nil {
		return err
	}
	before, err := rewrite.ReadInstallation(f.output)
	if err != nil {
		return fmt.Errorf("reading what was decided before: %w", err)
	}
	in.Known = before.KnownImages
	client, err := f.client(1)
	if err != nil {
		return err
	}
	defer client.Close()
	engine := rewrite.Engine{Asker: rewrite.Registries{Client: client}}
	if !asJSON {
		engine.Decided = func(done, all int, image string, d rule.Decision) {
			kind := "public"
			if d.Private {
				kind = "private"
			}
			c.say("%d of %d: %s is %s: %s", done, all, image, kind, printable(d.Why))
		}
	}
	out, err := engine.Run(ctx, in)
	if err != nil {
		return err
	}
	if in.Local != nil && !f.noCopy {
		copied, err := c.copyImages(ctx, f, in, out, asJSON)
		if err != nil || f.dryRun {
			return err
		}
		out.Copied = copied
	}
	before.KnownImages = out.Known()
	before.Errors = nil
	for _, s := range out.Skipped {
		before.Errors = append(before.Errors, rewrite.YAMLError{Path: s.File, Error: s.Err.Error()})
	}
	file, err := before.File(in.Slug)
	if err != nil {
		return err
	}
	if err := out.Write(f.output, []rule.File{file}); err != nil {
		return fmt.Errorf("writing %s: %w", f.output, err)
	}
	if !f.noBuild && len(out.Objects) > 0 {
		text, err := rewrite.Build(f.output)
		if err == nil {
			err = rewrite.WriteBuilt(f.output, text)
		}
		if err != nil {
			return err
		}
	}
	return c.showRewritten(in, f, out, asJSON)
}

// rewriteInput reads what the flags name.
func (c *commands) rewriteInput(dir string, f *rewriteFlags) (in rewrite.Input, err error) {
	switch {
	case f.licenseFile == "" && f.registry == "":
		return in, usageError{errors.New("one of --license and --registry is needed, or both")}
	case f.registry == "" && (f.lastSegment || f.noCopy || f.dryRun || cmp.Or(f.target.Role, f.target.Profile, f.target.API) != ""),
		f.username != "" && f.registry == "", (f.username == "") != (f.passwordFile == ""):
		return in, usageError{
			errors.New("--last-segment, --no-copy, --dry-run and --registry-… are for --registry, and --registry-username and " +
				"--registry-password-file belong together")}
	}
	if f.mirrors && (f.registry != "" || f.licenseFile == "") {
		return in, usageError{errors.New("--mirrors is for --license, without --registry")}
	}
	in = rewrite.Input{Slug: f.slug, Namespace: f.namespace, AllPrivate: f.all, Mirrors: f.mirrors}
	if dir == "-" {
		in.Files, err = rewrite.ReadStream(os.Stdin, "manifests.yaml")
	} else {
		if err := apart(dir, f.output); err != nil {
			return in, err
		}
		in.Files, err = rewrite.ReadFolder(dir)
	}
	if err != nil {
		return in, fmt.Errorf("reading the manifests: %w", err)
	}
	if rewrite.IsRewritten(in.Files) {
		return in, usageError{fmt.Errorf("%s was written by ecrin rewrite: rewrite the manifests that it was made of, which "+
			"are in %s, with another --output", word(dir), word(filepath.Join(dir, rewrite.UpstreamDir)))}
	}
	if f.licenseFile != "" {
		if err := c.withLicense(&in, f); err != nil {
			return in, err
		}
	}
	if in.Slug == "" {
		if in.Slug = slugOf(dir); in.Slug == "" {
			return in, usageError{errors.New("--slug is needed: DIR has no name that could be that of the application")}
		}
	}
	if f.registry != "" {
		t, l, err := rewrite.ParseTarget(f.registry)
		if err != nil {
			return in, usageError{fmt.Errorf("--registry: %w", err)}
		}
		l.Flat = f.lastSegment
		in.Local, f.target.Host, f.target.Plain = &l, t.Host, t.Plain
		if f.passwordFile != "" {
			password, err := os.ReadFile(f.passwordFile)
			if err != nil {
				return in, fmt.Errorf("reading the password for the registry: %w", err)
			}
			in.LocalAuth = rule.Auth{Username: f.username, Password: strings.TrimRight(string(password), "\r\n")}
		}
	}
	in.Values.VersionLabel = f.label
	return in, nil
}

// apart returns an error if the folder that is written is the one that is read, or one of them is in the other: a second run would read
// what the first has written, or replace what it reads.
func apart(dir, output string) error {
	in, err1 := realPath(dir)
	out, err2 := realPath(output)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	const separator = string(filepath.Separator)
	below := func(a, b string) bool { return strings.HasPrefix(a, strings.TrimRight(b, separator)+separator) }
	if in == out || below(in, out) || below(out, in) {
		return usageError{fmt.Errorf("--output %s: want a folder outside of %s that does not hold it either", word(output), word(dir))}
	}
	return nil
}

// realPath returns the absolute path of a folder without links, also of one that does not exist yet.
func realPath(dir string) (string, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for rest := ""; ; {
		real, err := filepath.EvalSymlinks(full)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(full) == full {
			return "", err
		}
		full, rest = filepath.Dir(full), filepath.Join(filepath.Base(full), rest)
	}
}

// withLicense adds what a licence says.
func (c *commands) withLicense(in *rewrite.Input, f *rewriteFlags) error {
	text, err := os.ReadFile(f.licenseFile)
	if err != nil {
		return fmt.Errorf("reading the licence: %w", err)
	}
	var l license.License
	if f.licenseKey == "" {
		if l, err = license.Read(text); err == nil {
			c.say("the signature of the licence was not verified: --license-key names the public key of the vendor (\"ecrin license key\")")
		}
	} else {
		var key *rsa.PublicKey
		var pem []byte
		if pem, err = os.ReadFile(f.licenseKey); err == nil {
			key, err = license.ParsePublicPEM(string(pem))
		}
		if err != nil {
			return fmt.Errorf("reading the public key of the vendor: %w", err)
		}
		var v license.Verified
		if v, err = license.Parse(text, key); err == nil {
			l = v.License
			for _, member := range v.Changed {
				c.say("%s was changed in the licence: the signed value is used", member)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("the licence %s: %w", f.licenseFile, err)
	}
	in.Slug = cmp.Or(in.Slug, l.AppSlug)
	in.Proxy = rule.Proxy{Host: cmp.Or(f.proxy, l.ProxyDomain), Slug: in.Slug, Vendor: f.vendor, Names: f.names}
	if u, err := url.Parse(l.Endpoint); err == nil {
		in.Proxy.Host = cmp.Or(in.Proxy.Host, u.Host)
		if addr, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && (u.Hostname() == "localhost" || err == nil && addr.IsLoopback()) {
			f.plainHost = strings.ToLower(u.Host)
		}
	}
	if in.Proxy.Host == "" {
		return usageError{errors.New("--proxy is needed: the licence names no host")}
	}
	in.License = rule.Auth{Username: "LICENSE_ID", Password: l.ID}
	in.Values.Channel = l.Channel().Name
	in.Values.Field = func(name string) string { return l.Fields[name].Value.String() }
	return nil
}

// slugOf returns the name of an application by that of its folder; "" if there is none.
func slugOf(dir string) string {
	full, err := filepath.Abs(dir)
	if dir == "-" || err != nil {
		return ""
	}
	slug := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(filepath.Base(full)))
	return strings.Trim(slug[:min(len(slug), 50)], "-")
}

// client returns a client of the registries that others have named. attempts is how often a request is made; 0 for the usual number.
func (f rewriteFlags) client(attempts int) (*upstream.Client, error) {
	o := egress.Options{Plain: func(host string) bool { return host == f.plainHost }}
	for _, text := range f.allow {
		prefix, err := netip.ParsePrefix(text)
		if addr, aerr := netip.ParseAddr(text); err != nil && aerr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return nil, usageError{fmt.Errorf("--egress-allow: want an address or a range, got %q", text)}
		}
		o.Allow = append(o.Allow, prefix)
	}
	if f.ca != "" {
		roots, err := credential.Roots(f.ca)
		if err != nil {
			return nil, err
		}
		o.Roots = roots
	}
	return upstream.New(upstream.Options{Guard: egress.New(o), Limits: upstream.Limits{Attempts: attempts}}), nil
}

// showRewritten prints what was written.
func (c *commands) showRewritten(in rewrite.Input, f rewriteFlags, out rewrite.Output, asJSON bool) error {
	a := rewritten{Slug: in.Slug, Output: f.output, Objects: len(out.Objects), Images: out.Images, Unseen: []unseenImage{},
		Skipped: []skippedText{}, Unpatched: []string{}, Built: !f.noBuild && len(out.Objects) > 0, Copied: out.Copied,
		Charts: []rewrittenChart{}}
	for _, one := range out.Charts {
		made := rewrittenChart{Release: one.Release, Chart: one.Name, Version: one.Version, Namespace: one.Namespace,
			Values: rewrite.ChartsDir + "/" + one.Release + "/values.yaml"}
		if one.Archive != "" {
			made.Archive = rewrite.UpstreamDir + "/" + one.Archive
		}
		a.Charts = append(a.Charts, made)
	}
	if a.Images == nil {
		a.Images = []rewrite.Decided{}
	}
	for _, u := range out.Unseen {
		a.Unseen = append(a.Unseen, unseenImage{u.Object.String(), u.Path, u.Text, u.Why()})
	}
	for _, s := range out.Skipped {
		a.Skipped = append(a.Skipped, skippedText{s.File, s.Line, s.Err.Error()})
	}
	for _, o := range out.Unpatched {
		a.Unpatched = append(a.Unpatched, o.String())
	}
	if asJSON {
		return c.printJSON(a)
	}
	rows := [][]string{{"IMAGE", "PULLED AS"}}
	for _, i := range a.Images {
		as := i.PulledAs
		if as == i.Image {
			as = "as it is"
		}
		rows = append(rows, []string{i.Image, as})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	for _, i := range a.Images {
		if i.Problem != "" {
			c.say("%s: %s: --registry-name HOST:PORT=NAME", i.Image, i.Problem)
		}
	}
	for _, u := range a.Unseen {
		c.say("not rewritten: %s, in %s of %s: %s", printable(u.Image), u.Path, printable(u.Object), printable(u.Reason))
	}
	for _, s := range a.Skipped {
		c.say("skipped: %s", printable(rule.FileError{File: s.File, Line: s.Line, Err: errors.New(s.Reason)}.Error()))
	}
	for _, o := range a.Unpatched {
		c.say("%s gets no pull secret, because it has no name of its own", printable(o))
	}
	if f.mirrors {
		c.say("on each node: copy %s to the folder of hosts of containerd, such as /etc/containerd/certs.d, or %s to /etc/rancher/k3s",
			word(filepath.Join(f.output, rule.MirrorsDir, "containerd")), word(filepath.Join(f.output, rule.MirrorsDir, "k3s", "registries.yaml")))
	}
	for _, one := range a.Charts {
		if one.Archive != "" {
			c.say("helm upgrade --install %s %s --values %s", word(one.Release), word(filepath.Join(f.output, filepath.FromSlash(one.Archive))),
				word(filepath.Join(f.output, filepath.FromSlash(one.Values))))
		}
	}
	c.say("%d objects: kubectl apply -k %s", a.Objects, word(filepath.Join(f.output, filepath.FromSlash(rule.DownstreamDir))))
	return nil
}
