package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/deliver/install"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	images "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

const releaseAirgapHelp = `Make an airgap bundle (.airgap) of a version that a channel offers, by default the newest: airgap.yaml, the files
of the release in app.tar.gz, and the images as the storage of a registry, which installers of this format read. It has the images of the
pods, those of the charts with their builder values, and the additionalImages of the Application, with all platforms, signatures and other
referrers.

airgap.yaml is signed by the key of the application: ecrin install and ecrin update airgap accept no other bundle. The licence of the
customer needs the feature airgap.

Images are named in it by the last part of their path. Credentials for registries are found as by ecrin bundle create.`

func (c *commands) releaseAirgap() *cobra.Command {
	var access registryAccess
	var version int64
	var output string
	var dryRun bool
	cmd := &cobra.Command{Use: "airgap APP CHANNEL", Args: func(_ *cobra.Command, args []string) error {
		if len(args) != 2 {
			return usageError{fmt.Errorf("needed: APP, CHANNEL, got %d arguments", len(args))}
		}
		return nil
	}, Short: "Make an airgap bundle of a version, with its images", Long: releaseAirgapHelp,
		Example: "  ecrin release airgap my-shop stable --output my-shop.airgap\n  ecrin release airgap my-shop stable --version 3 --dry-run"}
	c.dataFlag(cmd)
	access.add(cmd)
	f := cmd.Flags()
	account := f.String("account", "", "`account` of the vendor, 12 digits (default: the account of the caller)")
	f.Int64Var(&version, "version", 0, "`number` of the version on the channel, see ecrin release versions (default: the newest)")
	f.StringVar(&output, "output", "", "the `file` that is written")
	f.BoolVar(&dryRun, "dry-run", false, "show what would be in the bundle, with sizes, and write nothing")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if output == "" && !dryRun {
			return usageError{errors.New("--output is needed: the file that is written")}
		}
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		r, err := c.airgapRequest(cmd.Context(), s, *account, args[0], args[1], version)
		if err != nil {
			return err
		}
		hosts, done := c.registries(access)
		defer done()
		m := &bundle.Maker{Hosts: hosts, Now: time.Now, Each: c.bundleProgress(*asJSON), Source: proxied(args[0]),
			Sign: signedBy(s, *account, args[0])}
		var made *bundle.MadeAirgap
		if dryRun {
			made, err = m.PlanAirgap(cmd.Context(), r)
		} else {
			made, err = m.CreateAirgap(cmd.Context(), output, r)
		}
		c.endProgress(*asJSON)
		if err != nil {
			return err
		}
		return c.showAirgap(made, dryRun, *asJSON)
	}
	return cmd
}

// signedBy returns what signs with the key of an application.
func signedBy(s caller, account, slug string) bundle.Sign {
	return func(ctx context.Context, kind rule.Kind, digest string) (rule.Signature, error) {
		var out ecrintypes.SignDocumentResponse
		err := s.Call(ctx, "SignDocument", &ecrintypes.SignDocumentRequest{AccountId: account, ApplicationSlug: slug,
			DocumentType: ecrintypes.DocumentType(kind), DocumentDigest: digest}, &out)
		return rule.Signature{Algorithm: rule.RSA, PublicKey: out.PublicKey, Signature: out.Signature, RootKeyID: out.RootKeyId,
			Endorsement: out.Endorsement}, err
	}
}

// proxied returns the names under which the vendor reads images: charts may name the proxy of an application, HOST/proxy/SLUG/IMAGE.
func proxied(slug string) func(images.Reference) images.Reference {
	return func(r images.Reference) images.Reference {
		rest, ok := strings.CutPrefix(r.Path, "proxy/"+slug+"/")
		if !ok {
			return r
		}
		inner, err := images.ParseReference(rest)
		if err != nil {
			return r
		}
		inner.Tag, inner.Digest = r.Tag, r.Digest
		return inner
	}
}

// airgapRequest finds a version of a channel, and what belongs to it. version 0 is the newest.
func (c *commands) airgapRequest(ctx context.Context, s caller, account, slug, channel string, version int64) (
	r bundle.AirgapRequest, err error) {
	var of *ecrintypes.ReleasePromotion
	var before []ecrintypes.ReleasePromotion
	in := &ecrintypes.ListPromotionsRequest{AccountId: account, ApplicationSlug: slug, ChannelId: channel}
	for {
		var out ecrintypes.ListPromotionsResponse
		if err := s.Call(ctx, "ListPromotions", in, &out); err != nil {
			return r, err
		}
		for _, p := range out.Promotions {
			if p.Required {
				before = append(before, p)
			}
			if p.DemotedAt == nil && (version == 0 && (of == nil || p.ChannelSequence > of.ChannelSequence) || p.ChannelSequence == version) {
				of = &p
			}
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	if of == nil {
		return r, fmt.Errorf("the channel %s of %s does not offer this version: see ecrin release versions %s %s", channel, slug, slug, channel)
	}
	var shown ecrintypes.DescribeReleaseResponse
	if err := s.Call(ctx, "DescribeRelease", &ecrintypes.DescribeReleaseRequest{AccountId: account, ApplicationSlug: slug,
		Sequence: of.Sequence}, &shown); err != nil {
		return r, err
	}
	r.Files, r.ReleasedAt = releaseFiles(shown.Files), of.PromotedAt.Time
	needed, err := c.neededImages(ctx, slug, r.Files)
	if err != nil {
		return r, err
	}
	r.Images = needed.Images
	r.Spec = rule.AirgapSpec{VersionLabel: of.VersionLabel, ReleaseNotes: of.ReleaseNotes,
		UpdateCursor: strconv.FormatInt(of.ChannelSequence, 10), ChannelID: of.ChannelId, ChannelName: of.ChannelSlug,
		AppSlug: slug, Required: of.Required, ChartNames: needed.Charts}
	for n := len(before) - 1; n >= 0; n-- {
		if p := before[n]; p.ChannelSequence < of.ChannelSequence {
			r.Spec.RequiredReleases = append(r.Spec.RequiredReleases, rule.AirgapRelease{VersionLabel: p.VersionLabel,
				UpdateCursor: strconv.FormatInt(p.ChannelSequence, 10)})
		}
	}
	return r, nil
}

// releaseFiles returns the files of a release.
func releaseFiles(all []ecrintypes.ReleaseFile) (files []images.File) {
	for _, one := range all {
		data := one.Data
		if one.Content != "" {
			data = []byte(one.Content)
		}
		files = append(files, images.File{Path: one.Path, Data: data})
	}
	return files
}

// neededImages finds the images of a release, and says what is left out.
func (c *commands) neededImages(ctx context.Context, slug string, files []images.File) (rewrite.Needed, error) {
	needed, err := rewrite.ImagesOf(ctx, slug, files)
	if err != nil {
		return needed, err
	}
	for _, u := range needed.Unseen {
		if u.Err != nil {
			c.say("not inside: %s of %s: %s", u.Path, printable(u.Object.String()), printable(u.Err.Error()))
			continue
		}
		c.say("not inside: %s, in %s of %s: if it is an image, name it in the additionalImages of the Application", printable(u.Text), u.Path,
			printable(u.Object.String()))
	}
	for _, f := range needed.Skipped {
		c.say("not read, as an installer does not: %s", printable(f.Error()))
	}
	return needed, nil
}

func (c *commands) showAirgap(made *bundle.MadeAirgap, dry, asJSON bool) error {
	if asJSON {
		return c.printJSON(made)
	}
	if err := c.showMadeImages(made.Images, made.Sparse); err != nil {
		return err
	}
	if made.Left > 0 {
		c.say("left out: %s that may not be distributed", count(made.Left, "layer"))
	}
	what := "made"
	if dry {
		what = "nothing was written:"
	}
	c.say("%s the version %s, %s, %s, %s", what, printable(made.Version), count(len(made.Images), "image"), count(made.Blobs, "blob"),
		bytesText(made.Bytes))
	if !dry {
		fmt.Fprintln(c.Out, made.Path)
	}
	return nil
}

// ownRegistry are the flags of a registry of the customer.
type ownRegistry struct {
	install.Registry
	password string
}

func (o *ownRegistry) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.Username, "username", "", "user `name` for the registry")
	f.StringVar(&o.password, "password-file", "", "`file` with the password")
	f.BoolVar(&o.LastSegment, "last-segment", false, "name images by the last part of their path, as older installers do")
	f.StringVar(&o.Role, "role", "", "the registry is one of ECR, used with the IAM role of this `ARN`")
	f.StringVar(&o.ExternalID, "external-id", "", "external `id` for the role")
	f.StringVar(&o.Profile, "profile", "", "`profile` of the aws CLI for a registry of ECR")
	f.StringVar(&o.API, "api", "", "`URL` of the API of a registry of ECR (default: that of AWS or of the environment)")
	f.StringVar(&o.Config, "config", "", "configuration of credentials, a `file` (default: credentials.yaml of the user)")
}

// at returns the registry at HOST[/NAMESPACE].
func (o *ownRegistry) at(text string) (*install.Registry, error) {
	if (o.Username == "") != (o.password == "") {
		return nil, usageError{errors.New("--username and --password-file belong together")}
	}
	r := o.Registry
	t, l, err := rewrite.ParseTarget(text)
	if err != nil {
		return nil, usageError{err}
	}
	r.Host, r.Plain, r.Namespace = t.Host, t.Plain, l.Namespace
	if o.password != "" {
		password, err := os.ReadFile(o.password)
		if err != nil {
			return nil, fmt.Errorf("reading the password: %w", err)
		}
		r.Password = strings.TrimRight(string(password), "\r\n")
	}
	return &r, nil
}

const (
	toRegistryHelp = "registry of your own that gets the images of the bundle, `HOST[/NAMESPACE]`, with http:// before it if it has no TLS"
	revokedHelp    = "`file` with the ids of keys that are refused, one in a line (default: revoked-keys of the user); repeatable"
)

// airgapBundle returns the bundle that flags name. registry may be "".
func (c *commands) airgapBundle(path, registry string, revoked []string, o *ownRegistry) (b install.AirgapBundle, err error) {
	b.Path = path
	if registry != "" {
		if b.Registry, err = o.at(registry); err != nil {
			return b, err
		}
	}
	b.Revoked, err = c.revokedKeys(revoked)
	return b, err
}

func (c *commands) updateAirgap() *cobra.Command {
	var own ownRegistry
	var revoked []string
	cmd := &cobra.Command{Use: "airgap FILE", Args: exactly("FILE"), Short: "Take a new version from an airgap bundle, without a network",
		Long: `Take a version from an airgap bundle that the vendor has made (ecrin release airgap), without a network: the bundle is verified with the
licence and unpacked in the folder of the installation, its images are pushed to the registry of the installation, or to the one of
--registry, and the version is in the history, to be deployed. An update that was interrupted goes on when the command is run again.`,
		Example: "  ecrin update airgap my-shop.airgap\n  ecrin update deploy"}
	dir, asJSON := dirFlag(cmd), c.jsonFlag(cmd)
	own.add(cmd)
	registry := cmd.Flags().String("registry", "", toRegistryHelp)
	cmd.Flags().StringArrayVar(&revoked, "revoked", nil, revokedHelp)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		b, err := c.airgapBundle(args[0], *registry, revoked, &own)
		if err != nil {
			return err
		}
		return c.withInstallation(*dir, nil, *asJSON, func(i *install.Installation) error {
			before, _ := i.Versions()
			_, err := i.Airgap(cmd.Context(), b)
			c.endProgress(*asJSON)
			if err != nil {
				return err
			}
			if after, _ := i.Versions(); len(after) == len(before) && !*asJSON {
				c.say("the version is in the history already; its images are in the registry")
			}
			return c.newest(i, *asJSON)
		})
	}
	return cmd
}
