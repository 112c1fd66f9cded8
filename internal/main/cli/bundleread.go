package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	rule "github.com/ecrin-dev/ecrin/internal/rule/bundle"
	images "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// trustFlags are the flags that say which keys are trusted.
type trustFlags struct {
	keys, licenses, revoked []string
}

func (f *trustFlags) add(cmd *cobra.Command) {
	to := cmd.Flags()
	to.StringArrayVar(&f.keys, "key", nil,
		"public key that is trusted, a PEM `file`: of a vendor (ecrin license key) or of who exported (ecrin bundle key); repeatable")
	to.StringArrayVar(&f.licenses, "license", nil,
		"licence whose application's key is trusted, a `file`; with --key, one of a vendor must verify it; repeatable")
	to.StringArrayVar(&f.revoked, "revoked", nil, revokedHelp)
}

// revokedKeys returns lists of the ids of keys that are refused, those of files, or without any that of the user.
func (c *commands) revokedKeys(paths []string) (lists []string, err error) {
	if path := c.userFolder("", "XDG_CONFIG_HOME", ".config", "revoked-keys"); path != "" && len(paths) == 0 {
		if _, err := os.Stat(path); err == nil {
			paths = []string{path}
		}
	}
	for _, path := range paths {
		text, err := readFile(path, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("--revoked %s: %w", path, err)
		}
		lists = append(lists, string(text))
	}
	return lists, nil
}

// trusted returns the keys of the flags.
func (c *commands) trusted(f trustFlags) (*rule.Keys, error) {
	var keys rule.Keys
	for _, path := range f.keys {
		text, err := readFile(path, rule.MaxSignature)
		if err == nil {
			err = keys.Add(string(text))
		}
		if err != nil {
			return nil, fmt.Errorf("--key %s: %w", path, err)
		}
	}
	for _, path := range f.licenses {
		text, err := readFile(path, 1<<20)
		if err == nil {
			err = keys.AddLicense(text)
		}
		if err != nil {
			return nil, fmt.Errorf("--license %s: %w", path, err)
		}
	}
	lists, err := c.revokedKeys(f.revoked)
	if err != nil {
		return nil, err
	}
	for _, text := range lists {
		if err := keys.Revoke(text); err != nil {
			return nil, fmt.Errorf("--revoked: %w", err)
		}
	}
	if keys.Empty() {
		return nil, usageError{errors.New("--key or --license is needed: whose bundles are trusted")}
	}
	return &keys, nil
}

// atLeastOne requires arguments.
func atLeastOne(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageError{fmt.Errorf("one or more of %s are needed", what)}
		}
		return nil
	}
}

// shownBundle is the answer of inspect.
type shownBundle struct {
	Set         string            `json:"set"`
	Name        string            `json:"name"`
	CreatedAt   time.Time         `json:"createdAt"`
	KeyID       string            `json:"keyId"`
	Application *rule.Application `json:"application,omitempty"`
	Images      []rule.Image      `json:"images"`
	Files       []rule.File       `json:"files"`
	Blobs       int               `json:"blobs"`
	Bytes       int64             `json:"bytes"`
	Needs       []rule.Need       `json:"needs"`
	Left        []rule.Blob       `json:"leftOut"`
	Bases       []rule.Base       `json:"bases"`
	Parts       []shownPart       `json:"parts"`
}

type shownPart struct {
	Path  string `json:"path"`
	Set   string `json:"set"`
	Part  int    `json:"part"`
	Of    int    `json:"of"`
	Bytes int64  `json:"bytes"`
	KeyID string `json:"keyId"`
}

func showPart(o bundle.Opened) shownPart {
	return shownPart{Path: o.Path, Set: o.Set, Part: o.Number, Of: o.Of, Bytes: o.Bytes, KeyID: o.KeyID}
}

func (c *commands) bundleInspect() *cobra.Command {
	cmd := &cobra.Command{Use: "inspect FILE…", Args: atLeastOne("FILE"), Short: "Show what is in a bundle: images, files, what it needs",
		Long: "Show what is in a bundle. The signature is verified, and the names and sizes of all members; the bytes of layers are not: see " +
			"ecrin bundle verify.",
		Example: "  ecrin bundle inspect shop.tar --key vendor.pem\n  ecrin bundle inspect shop.part*.tar --key vendor.pem --extract ./shop"}
	var f trustFlags
	f.add(cmd)
	folder := cmd.Flags().String("extract", "", "write the files of the release to this `folder`")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		keys, err := c.trusted(f)
		if err != nil {
			return err
		}
		s, err := bundle.Open(args, keys)
		if err != nil {
			return err
		}
		defer s.Close()
		if *folder != "" {
			if err := s.Extract(*folder); err != nil {
				return err
			}
		}
		return c.showBundle(s, *asJSON)
	}
	return cmd
}

func (c *commands) showBundle(s *bundle.Set, asJSON bool) error {
	st := s.Statement
	inside, needed := st.Bytes()
	a := shownBundle{Set: st.Set, Name: st.Name, CreatedAt: st.CreatedAt, KeyID: s.KeyID, Application: st.Application, Images: st.Images,
		Files: append([]rule.File{}, st.Files...), Blobs: len(st.Blobs), Bytes: inside, Needs: append([]rule.Need{}, st.Needs...),
		Left: append([]rule.Blob{}, st.Left...), Bases: append([]rule.Base{}, st.Bases...)}
	for _, o := range s.Files() {
		a.Parts = append(a.Parts, showPart(o))
	}
	if asJSON {
		return c.printJSON(a)
	}
	rows := [][]string{{"IMAGE", "DIGEST", "SIZE", "REFERRERS"}}
	for _, i := range st.Images {
		rows = append(rows, []string{i.Name, i.Digest, bytesText(i.Bytes), strconv.Itoa(len(i.Referrers) + len(i.Tags))})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	what := st.Name
	if app := st.Application; app != nil {
		what = strings.TrimSpace(fmt.Sprintf("%s %s (release %d, channel %s)", app.Slug, app.Version, app.Sequence, app.ChannelName))
	}
	c.say("%s: set %s of %s, signed by the key %s, %s, %s", printable(what), st.Set, stamp(st.CreatedAt), s.KeyID,
		count(len(st.Files), "file"), count(len(a.Parts), "part"))
	c.say("%s of %s inside; %s of %s needed at the receiver", count(len(st.Blobs), "blob"), bytesText(inside), count(len(st.Needs), "blob"),
		bytesText(needed))
	for _, b := range st.Bases {
		c.say("made for %s as of %s", printable(b.Receiver), stamp(b.CreatedAt))
	}
	if len(st.Left) > 0 {
		c.say("not inside: %s that may not be distributed", count(len(st.Left), "layer"))
	}
	return nil
}

func (c *commands) bundleVerify() *cobra.Command {
	cmd := &cobra.Command{Use: "verify FILE…", Args: atLeastOne("FILE"), Short: "Verify a bundle, or some of its parts, byte by byte",
		Long: "Verify the signature of each file, that it has exactly what its list says, and the digest of every member. Each part can be verified " +
			"alone. If all parts are there, what the manifests refer to is checked too.",
		Example: "  ecrin bundle verify shop.tar --key vendor.pem\n  ecrin bundle verify shop.part002.tar --key vendor.pem"}
	var f trustFlags
	f.add(cmd)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		keys, err := c.trusted(f)
		if err != nil {
			return err
		}
		var all []shownPart
		for _, path := range args {
			o, err := bundle.VerifyPart(cmd.Context(), path, keys)
			if err != nil {
				return err
			}
			all = append(all, showPart(o))
		}
		complete := false
		if len(all) == all[0].Of {
			s, err := bundle.Open(args, keys)
			if err == nil {
				err = s.Verify(cmd.Context(), c.bundleProgress(*asJSON))
				s.Close()
			}
			c.endProgress(*asJSON)
			if err != nil {
				return err
			}
			complete = true
		}
		if *asJSON {
			return c.printJSON(map[string]any{"parts": all, "complete": complete})
		}
		rows := [][]string{{"FILE", "SET", "PART", "SIZE", "KEY"}}
		for _, p := range all {
			rows = append(rows, []string{p.Path, p.Set, fmt.Sprintf("%d of %d", p.Part, p.Of), bytesText(p.Bytes), p.KeyID})
		}
		if err := c.table(rows); err != nil {
			return err
		}
		if complete {
			c.say("the bundle is complete, and every byte is right")
		} else {
			c.say("what is there is right; the set has %s", count(all[0].Of, "part"))
		}
		return nil
	}
	return cmd
}

func (c *commands) bundleJoin() *cobra.Command {
	cmd := &cobra.Command{Use: "join FILE…", Args: atLeastOne("FILE"),
		Short:   "Make one archive of the parts of a bundle, for tools that read image layouts",
		Example: "  ecrin bundle join shop.part*.tar --key vendor.pem --output shop.tar"}
	var f trustFlags
	f.add(cmd)
	out := cmd.Flags().String("output", "", "the `file` that is written")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *out == "" {
			return usageError{errors.New("--output is needed: the file that is written")}
		}
		keys, err := c.trusted(f)
		if err != nil {
			return err
		}
		s, err := bundle.Open(args, keys)
		if err != nil {
			return err
		}
		defer s.Close()
		if err := s.Join(cmd.Context(), *out); err != nil {
			return err
		}
		if *asJSON {
			return c.printJSON(map[string]string{"set": s.Statement.Set, "path": *out})
		}
		fmt.Fprintln(c.Out, *out)
		return nil
	}
	return cmd
}

// bundleImport returns the command that pushes a bundle.
func (c *commands) bundleImport(use, short, words string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Args: atLeastOne("FILE"), Short: short,
		Long: `Push the images of a bundle to a registry. Before the first write everything is checked: the signatures and keys, that all parts of one set are
there, every byte of them, and, byte by byte, the blobs that the registry has to have already. Then all content is pushed, and at last the tags.

An image HOST/PATH:TAG goes to PATH:TAG below --to. What is there already is not sent: run again, an import that was interrupted goes on.`,
		Example: "  ecrin " + words + " shop.tar --key vendor.pem --to registry.example.com/shop\n" +
			"  ecrin " + words + " shop.part*.tar --license license.yaml --key vendor.pem --to localhost:5100 --dry-run"}
	var f trustFlags
	var a registryAccess
	f.add(cmd)
	c.dataFlag(cmd)
	a.add(cmd)
	to := cmd.Flags().String("to", "", "the registry, `HOST[:PORT][/NAMESPACE]`")
	last := cmd.Flags().Bool("last-segment", false, "name images in the registry by the last part of their path, as older installers do")
	dry := cmd.Flags().Bool("dry-run", false, "check everything, and push nothing")
	receipts := cmd.Flags().String("receipts", "", receiptsHelp)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l := images.Local{Flat: *last}
		l.Host, l.Namespace, _ = strings.Cut(strings.Trim(strings.TrimPrefix(*to, "https://"), "/"), "/")
		if _, err := images.ParseReference(l.For(images.Reference{Path: "a"})); err != nil || l.Host == "" {
			return usageError{fmt.Errorf("--to is HOST[:PORT][/NAMESPACE], got %q", *to)}
		}
		keys, err := c.trusted(f)
		if err != nil {
			return err
		}
		return c.importBundle(cmd.Context(), args, keys, l, a, *receipts, *dry, *asJSON)
	}
	return cmd
}

func (c *commands) importBundle(ctx context.Context, paths []string, keys *rule.Keys, l images.Local, a registryAccess, receipts string,
	dry, asJSON bool) error {
	s, err := bundle.Open(paths, keys)
	if err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	defer s.Close()
	hosts, done := c.registries(a)
	defer done()
	reg, err := hosts(ctx, l.Host)
	if err != nil {
		return err
	}
	out, err := s.Import(ctx, bundle.Target{To: reg, DryRun: dry, Each: c.bundleProgress(asJSON), Repository: func(r images.Reference) string {
		_, repo, _ := strings.Cut(l.For(r), "/")
		return repo
	}})
	c.endProgress(asJSON)
	if err != nil {
		return err
	}
	if !dry {
		kept := bundle.Receipts{Dir: c.userFolder(receipts, "XDG_STATE_HOME", ".local/state", "receipts")}
		if err := kept.Add(s.Statement); err != nil {
			c.say("all is imported; the list of bundles could not be written: %v", err)
		}
	}
	if asJSON {
		return c.printJSON(out)
	}
	rows := [][]string{{"IMAGE", "DIGEST", "BEFORE"}}
	for _, i := range out.Images {
		before := orDash(i.Before)
		if i.Before == i.Digest {
			before = "the same"
		}
		rows = append(rows, []string{i.To, i.Digest, before})
	}
	if err := c.table(rows); err != nil {
		return err
	}
	if dry {
		c.say("all of %s is right, with %s read at the registry; nothing was pushed", bytesText(out.Bytes), count(out.Bases, "blob"))
		return nil
	}
	c.say("imported %s of %s: sent %s; read again at the registry: %s", count(len(out.Images), "image"), bytesText(out.Bytes),
		bytesText(out.Sent), count(out.Bases, "blob"))
	return nil
}

func (c *commands) bundleInventory() *cobra.Command {
	cmd := &cobra.Command{Use: "inventory HOST[/REPOSITORY]…", Args: atLeastOne("HOST"),
		Short: "List what a registry has, each layer read and hashed, for the next bundle",
		Long: `Read and hash every layer of the images in some repositories of a registry, or in all that it lists, and write a signed and dated list. A
bundle that is made with it (ecrin bundle create --have) has only what is absent here. Layers that are missing or damaged are reported,
and are not in the list. Images without a tag are in it if the registry is one of ECR or ecrin: others list tags only.`,
		Example: "  ecrin bundle inventory registry.example.com --output have.json\n" +
			"  ecrin bundle inventory localhost:5100/shop/api localhost:5100/shop/web --output have.json"}
	var f bundleFlags
	f.local(cmd)
	c.dataFlag(cmd)
	f.access.add(cmd)
	cmd.Flags().StringVar(&f.output, "output", "", "the `file` that is written")
	cmd.Flags().StringVar(&f.name, "receiver", "", "`name` of the receiver, for people (default: the host of the registry)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.output == "" {
			return usageError{errors.New("--output is needed: the file that is written")}
		}
		return c.runInventory(cmd.Context(), f, args, *asJSON)
	}
	return cmd
}

// shownInventory is the answer of inventory.
type shownInventory struct {
	Path      string    `json:"path"`
	Receiver  string    `json:"receiver"`
	CreatedAt time.Time `json:"createdAt"`
	KeyID     string    `json:"keyId"`
	Images    int       `json:"images"`
	Blobs     int       `json:"blobs"`
	Bytes     int64     `json:"bytes"`
	Damaged   []string  `json:"damaged"`
}

func (c *commands) runInventory(ctx context.Context, f bundleFlags, args []string, asJSON bool) error {
	host := ""
	var repos []string
	for _, arg := range args {
		h, repo, _ := strings.Cut(strings.Trim(strings.TrimPrefix(arg, "https://"), "/"), "/")
		if host != "" && h != host || h == "" || repo == "" && len(args) > 1 {
			return usageError{fmt.Errorf("one HOST, or several HOST/REPOSITORY of one host are needed, got %q", arg)}
		}
		if host = h; repo != "" {
			repos = append(repos, repo)
		}
	}
	key, err := c.ownKey(f.keyFile)
	if err != nil {
		return err
	}
	came, err := bundle.Receipts{Dir: c.userFolder(f.receipts, "XDG_STATE_HOME", ".local/state", "receipts")}.Came()
	if err != nil {
		return err
	}
	hosts, done := c.registries(f.access)
	defer done()
	reg, err := hosts(ctx, host)
	if err != nil {
		return err
	}
	t := &bundle.Taker{From: reg, Now: time.Now, Came: came, Each: c.bundleProgress(asJSON)}
	taken, err := t.Take(ctx, slices.Compact(slices.Sorted(slices.Values(repos))))
	c.endProgress(asJSON)
	if err != nil {
		return err
	}
	if f.name != "" {
		taken.Inventory.Receiver = f.name
	}
	text, err := taken.Inventory.Seal(key)
	if err == nil {
		err = durable.WriteFile(f.output, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the inventory: %w", err)
	}
	a := shownInventory{Path: f.output, Receiver: taken.Inventory.Receiver, CreatedAt: taken.Inventory.CreatedAt, KeyID: key.ID(),
		Images: taken.Images, Blobs: len(taken.Inventory.Blobs), Bytes: taken.Bytes, Damaged: append([]string{}, taken.Damaged...)}
	if asJSON {
		return c.printJSON(a)
	}
	for _, d := range taken.Damaged {
		c.say("damaged: %s", d)
	}
	c.say("read and hashed %s of %s in %s; signed by the key %s", count(a.Blobs, "blob"), bytesText(a.Bytes), count(a.Images, "image"),
		a.KeyID)
	fmt.Fprintln(c.Out, f.output)
	return nil
}
