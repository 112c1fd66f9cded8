package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	images "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

const bundleHelp = `A bundle carries images, and the files of a release, to a place that no network reaches. It is a tar archive that is an OCI image layout:
skopeo, containerd, k0s and k3s read it as it is. It is signed, and import accepts only keys that it is told to trust.

  ecrin bundle create --app shop --channel stable --output shop.tar      at the vendor
  ecrin bundle import shop.tar --key vendor.pem --to registry.example.com   at the customer

The next one needs to have only what the customer does not have:

  ecrin bundle inventory registry.example.com --output have.json             at the customer
  ecrin bundle create --app shop --channel stable --have have.json --output next.tar`

func (c *commands) bundle() *cobra.Command {
	cmd := &cobra.Command{Use: "bundle", Short: "Carry images and releases to where no network reaches", Long: bundleHelp,
		Example: "  ecrin bundle create localhost:5100/shop/api:1.0 --output shop.tar\n  ecrin bundle verify shop.tar --key key.pem\n" +
			"  ecrin bundle import shop.tar --key key.pem --to registry.example.com/shop"}
	cmd.AddCommand(c.bundleCreate(), c.bundleInspect(), c.bundleVerify(),
		c.bundleImport("import FILE…", "Push what is in a bundle to a registry", "bundle import"),
		c.bundleInventory(), c.bundleJoin(), c.bundleKey())
	return cmd
}

// bundleFlags are the flags of what makes bundles.
type bundleFlags struct {
	output, app, channel, files, name, size string
	sequence                                int64
	have, haveKeys                          []string
	noReferrers, nonDistributable           bool
	dryRun, restart                         bool
	keyFile, receipts                       string
	access                                  registryAccess
}

func (f *bundleFlags) add(cmd *cobra.Command) {
	to := cmd.Flags()
	to.StringVar(&f.output, "output", "", "the `file` that is written; parts are named after it")
	to.StringVar(&f.name, "name", "", "`name` of the bundle, for people")
	to.StringVar(&f.size, "part-size", "", "`size` of the largest file, such as 4GiB: several parts are written")
	to.StringArrayVar(&f.have, "have", nil, "an inventory of a receiver, a `file`: what all receivers have is left out; repeatable")
	to.StringArrayVar(&f.haveKeys, "have-key", nil,
		"public key of a receiver, a PEM `file`: inventories must be signed by one of them; repeatable")
	to.BoolVar(&f.noReferrers, "no-referrers", false, "without signatures and other referrers")
	to.BoolVar(&f.nonDistributable, "non-distributable", false, "with layers that may not be distributed, if the registry has them")
	to.BoolVar(&f.dryRun, "dry-run", false, "show what would be in the bundle, with sizes, and write nothing")
	to.BoolVar(&f.restart, "restart", false, "begin again, although a bundle of other images or options was begun in the file")
	f.local(cmd)
	f.access.add(cmd)
}

const (
	keyFileHelp  = "the private key that signs, a `file` that is made if it is missing (default: bundle.key of the user)"
	receiptsHelp = "`folder` that keeps which bundles were made and imported (default: one of the user)"
)

// local adds the flags of the files of the user.
func (f *bundleFlags) local(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.keyFile, "key-file", "", keyFileHelp)
	cmd.Flags().StringVar(&f.receipts, "receipts", "", receiptsHelp)
}

func (c *commands) bundleCreate() *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use: "create [IMAGE…]", Short: "Make a bundle of images, or of a release of an application with its images",
		Long: `Make a bundle of images, named as HOST/REPOSITORY:TAG, with all platforms, signatures and other referrers.

With --app it has the files of a release, those of --channel or --sequence, and all images that they name, and the key of the application signs
it. With --files, a folder is the release. Without --app a key of the user signs it: ecrin bundle key prints its public half.

Interrupted, the same command continues where it ended. Credentials for registries are those of --username, of the server of --data, of the aws
CLI, and of the configuration of docker, in this order.`,
		Example: `  ecrin bundle create localhost:5100/shop/api:1.0 localhost:5100/shop/web:1.0 --output shop.tar
  ecrin bundle create --app shop --channel stable --part-size 4GiB --output shop.tar
  ecrin bundle create --app shop --channel stable --have have.json --dry-run`,
	}
	c.dataFlag(cmd)
	f.add(cmd)
	account := cmd.Flags().String("account", "", "`account` of the vendor, 12 digits (default: the account of the caller)")
	cmd.Flags().StringVar(&f.app, "app", "", "`slug` of the application whose release it has, and whose key signs")
	cmd.Flags().StringVar(&f.channel, "channel", "", "`channel` whose newest release it has")
	cmd.Flags().Int64Var(&f.sequence, "sequence", 0, "`sequence` of the release that it has")
	cmd.Flags().StringVar(&f.files, "files", "", "`folder` with the files of a release")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.runBundleCreate(cmd, f, *account, args, *asJSON)
	}
	return cmd
}

func (c *commands) runBundleCreate(cmd *cobra.Command, f bundleFlags, account string, args []string, asJSON bool) error {
	ctx := cmd.Context()
	r := bundle.Request{Name: f.name}
	if f.app == "" && (f.channel != "" || f.sequence != 0) || f.app != "" && f.channel == "" && f.sequence == 0 && f.files == "" {
		return usageError{errors.New("--app needs one of --channel, --sequence and --files")}
	}
	for _, text := range args {
		ref, err := images.ParseReference(text)
		if err != nil {
			return usageError{err}
		}
		r.Images = append(r.Images, ref)
	}
	var sign bundle.Sign
	if f.app != "" {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		if err := c.shippedRelease(ctx, s, account, f, &r); err != nil {
			return err
		}
		sign = signedBy(s, account, f.app)
	}
	var err error
	if f.files != "" {
		if r.Files, err = rewrite.ReadFolder(f.files); err != nil {
			return fmt.Errorf("reading the files of the release: %w", err)
		}
	}
	needed, err := c.neededImages(ctx, f.app, r.Files)
	if err != nil {
		return err
	}
	r.Images = append(r.Images, needed.Images...)
	if len(r.Images) == 0 {
		return usageError{errors.New("no image is named, and none is in the files of the release")}
	}
	if r.Name == "" {
		r.Name = f.app
	}
	return c.makeBundle(cmd, f, r, sign, asJSON)
}

// shippedRelease adds the files of a release of an application.
func (c *commands) shippedRelease(ctx context.Context, s caller, account string, f bundleFlags, r *bundle.Request) error {
	a := &rule.Application{Slug: f.app, Sequence: f.sequence}
	r.Application = a
	if f.channel != "" {
		newest, one := true, int32(1)
		var out ecrintypes.ListPromotionsResponse
		if err := s.Call(ctx, "ListPromotions", &ecrintypes.ListPromotionsRequest{AccountId: account, ApplicationSlug: f.app,
			ChannelId: f.channel, NewestFirst: &newest, MaxResults: &one}, &out); err != nil {
			return err
		}
		if len(out.Promotions) == 0 {
			return fmt.Errorf("no release is offered on the channel %s of %s", f.channel, f.app)
		}
		p := out.Promotions[0]
		if f.sequence != 0 && f.sequence != p.Sequence {
			return usageError{fmt.Errorf("the newest release on the channel %s is %d: name one of both", f.channel, p.Sequence)}
		}
		a.ChannelID, a.ChannelName, a.ChannelSequence = p.ChannelId, p.ChannelSlug, p.ChannelSequence
		a.Sequence, a.Version = p.Sequence, p.VersionLabel
	}
	if a.Sequence == 0 {
		return nil
	}
	var out ecrintypes.DescribeReleaseResponse
	if err := s.Call(ctx, "DescribeRelease", &ecrintypes.DescribeReleaseRequest{AccountId: account, ApplicationSlug: f.app,
		Sequence: a.Sequence}, &out); err != nil {
		return err
	}
	r.Files = releaseFiles(out.Files)
	return nil
}

// makeBundle makes a bundle, or shows what it would have. sign nil signs with the key of the user.
func (c *commands) makeBundle(cmd *cobra.Command, f bundleFlags, r bundle.Request, sign bundle.Sign, asJSON bool) error {
	if f.output == "" && !f.dryRun {
		return usageError{errors.New("--output is needed: the file that is written")}
	}
	if r.Name == "" {
		r.Name = strings.TrimSuffix(filepath.Base(f.output), ".tar")
	}
	r.NoReferrers, r.NonDistributable = f.noReferrers, f.nonDistributable
	var err error
	if f.size != "" {
		if r.PartSize, err = parseSize(f.size); err != nil || r.PartSize < rule.MinPart {
			return usageError{fmt.Errorf("--part-size is at least 1MiB, such as 4GiB, got %q", f.size)}
		}
	}
	if err := c.inventories(f, &r); err != nil {
		return err
	}
	receipts := bundle.Receipts{Dir: c.userFolder(f.receipts, "XDG_STATE_HOME", ".local/state", "receipts")}
	came, err := receipts.Came()
	if err != nil {
		return err
	}
	if sign == nil && !f.dryRun {
		key, err := c.ownKey(f.keyFile)
		if err != nil {
			return err
		}
		sign = func(_ context.Context, kind rule.Kind, digest string) (rule.Signature, error) {
			return key.Sign(kind, digest)
		}
	}
	hosts, done := c.registries(f.access)
	defer done()
	m := &bundle.Maker{Hosts: hosts, Sign: sign, Now: time.Now, Came: came, Each: c.bundleProgress(asJSON)}
	var made *bundle.Made
	if f.dryRun {
		made, err = m.Plan(cmd.Context(), r)
	} else {
		made, err = m.Create(cmd.Context(), f.output, r, f.restart)
	}
	c.endProgress(asJSON)
	if errors.Is(err, bundle.ErrOtherPlan) {
		err = fmt.Errorf("%w: --restart begins again", err)
	}
	if err != nil {
		return err
	}
	if !f.dryRun {
		if err := receipts.Add(made.Statement); err != nil {
			c.say("the bundle is made; the list of bundles could not be written: %v", err)
		}
	}
	return c.showMade(made, f.dryRun, asJSON)
}

// inventories reads what the receivers have.
func (c *commands) inventories(f bundleFlags, r *bundle.Request) error {
	var keys rule.Keys
	for _, path := range f.haveKeys {
		text, err := os.ReadFile(path)
		if err == nil {
			err = keys.Add(string(text))
		}
		if err != nil {
			return fmt.Errorf("--have-key %s: %w", path, err)
		}
	}
	for _, path := range f.have {
		text, err := readFile(path, rule.MaxDocument*2)
		if err != nil {
			return err
		}
		i, base, err := rule.OpenInventory(text, &keys)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.say("%s: %s at %s, hashed at %s, signed by the key %s", filepath.Base(path), count(len(i.Blobs), "blob"), printable(i.Receiver),
			stamp(i.CreatedAt), base.KeyID)
		r.Have, r.Bases = append(r.Have, i), append(r.Bases, base)
	}
	return nil
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}

func (c *commands) showMade(made *bundle.Made, dry, asJSON bool) error {
	if asJSON {
		return c.printJSON(made)
	}
	if err := c.showMadeImages(made.Images, made.Sparse); err != nil {
		return err
	}
	if made.Needed > 0 {
		c.say("left out: %s of %s that all receivers have", count(made.Needed, "blob"), bytesText(made.NeededIn))
	}
	if made.Left > 0 {
		c.say("left out: %s of %s that may not be distributed: --non-distributable", count(made.Left, "layer"), bytesText(made.LeftBytes))
	}
	what := "made"
	if dry {
		what = "nothing was written:"
	}
	c.say("%s %s, %s, %s in %s; each shared layer counts once", what, count(len(made.Images), "image"), count(made.Blobs, "blob"),
		bytesText(made.Bytes), count(len(made.Files), "file"))
	if made.Resumed > 0 {
		c.say("%s were there before", bytesText(made.Resumed))
	}
	if !dry {
		for _, f := range made.Files {
			fmt.Fprintln(c.Out, f.Path)
		}
	}
	return nil
}

// showMadeImages prints the images of a bundle.
func (c *commands) showMadeImages(all []bundle.MadeImage, sparse []string) error {
	rows := [][]string{{"IMAGE", "SIZE", "IN THE BUNDLE", "REFERRERS"}}
	for _, i := range all {
		rows = append(rows, []string{i.Name, bytesText(i.Bytes), bytesText(i.Inside), strconv.Itoa(i.Referrers)})
	}
	for _, d := range sparse {
		c.say("an index names the image %s, which its registry does not have", d)
	}
	return c.table(rows)
}

// userFolder returns a path in the folders of the user for ecrin: given, unless that is "".
func (c *commands) userFolder(given, variable, folder, name string) string {
	if given != "" {
		return given
	}
	if dir := c.lookup(variable, ""); filepath.IsAbs(dir) {
		return filepath.Join(dir, "ecrin", name)
	}
	if home := c.lookup("HOME", ""); home != "" {
		return filepath.Join(home, folder, "ecrin", name)
	}
	return ""
}

// ownKey returns the key of the user that signs, and makes it at the first use.
func (c *commands) ownKey(given string) (rule.OwnKey, error) {
	path := c.userFolder(given, "XDG_CONFIG_HOME", ".config", "bundle.key")
	if path == "" {
		return rule.OwnKey{}, usageError{errors.New("--key-file is needed: there is no home folder")}
	}
	text, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return rule.OwnKey{}, err
		}
		key, err := rule.ParseOwnKey(string(text))
		if err != nil {
			return key, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	key, err := rule.NewOwnKey()
	if err != nil {
		return key, err
	}
	made, err := key.PEM()
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o700)
	}
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			_, err = f.WriteString(made)
			err = errors.Join(err, f.Sync(), f.Close())
		}
	}
	if err != nil {
		return key, fmt.Errorf("making the key that signs: %w", err)
	}
	c.say("made the key %s, which signs, in %s: the other side needs its public half (ecrin bundle key)", key.ID(), path)
	return key, nil
}

func (c *commands) bundleKey() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Args: cobra.NoArgs, Short: "Print the public key of the user, which signs exports and inventories",
		Long: "Print the public half of the key with which exports, bundles without an application, and inventories are signed. It is made at the " +
			"first use.",
		Example: "  ecrin bundle key > key.pem"}
	file := cmd.Flags().String("key-file", "", keyFileHelp)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(*cobra.Command, []string) error {
		key, err := c.ownKey(*file)
		if err != nil {
			return err
		}
		public, err := key.Public()
		if err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]string{"keyId": key.ID(), "publicKey": public})
		}
		fmt.Fprint(c.Out, public)
		return nil
	}
	return cmd
}
