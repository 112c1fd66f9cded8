package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/core/vendor"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

func (c *commands) release() *cobra.Command {
	cmd := &cobra.Command{Use: "release", Short: "Make releases of applications, and offer them on channels",
		Long: `A release is a folder of files, such as manifests of Kubernetes. It has a sequence, and is offered to customers when it is promoted to
channels, each time with a version label. Files whose names begin with a dot are left out.`,
		Example: "  ecrin release init shop --name \"My Shop\" --image localhost:5100/shop/api:1.0\n  ecrin release create my-shop shop\n" +
			"  ecrin release promote my-shop 1 beta stable --version 1.0.0 --notes \"First release\"\n  ecrin release versions my-shop stable"}
	cmd.AddCommand(c.releaseInit(), c.releaseCreate(), c.releaseList(), c.releaseShow(), c.releasePromote(), c.releaseDemote(),
		c.releaseVersions(), c.releaseAirgap())
	return cmd
}

func (c *commands) releaseInit() *cobra.Command {
	cmd := &cobra.Command{Use: "init FOLDER", Args: exactly("FOLDER"),
		Short:   "Write the files of an application that runs one image: a Deployment, a Service and an Application",
		Example: "  ecrin release init shop --name \"My Shop\" --image localhost:5100/shop/api:1.0"}
	title := cmd.Flags().String("name", "", "`name` of the application (default: that of the folder)")
	image := cmd.Flags().String("image", "nginx", "`image` that it runs")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		label := *title
		if label == "" {
			label = filepath.Base(args[0])
		}
		slug := vendor.Slug(label)
		if slug == "" {
			return usageError{errors.New("the name needs letters or digits: give one by --name")}
		}
		if err := os.MkdirAll(args[0], 0o777); err != nil {
			return err
		}
		var written []string
		for _, f := range vendor.Definition(label, slug, *image) {
			to, err := os.OpenFile(filepath.Join(args[0], f.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
			if err != nil {
				return fmt.Errorf("a file that is there already stays as it is: %w", err)
			}
			_, err = to.Write(f.Data)
			if err = errors.Join(err, to.Close()); err != nil {
				return err
			}
			written = append(written, filepath.Join(args[0], f.Path))
		}
		if *asJSON {
			return c.printJSON(map[string]any{"applicationSlug": slug, "files": written})
		}
		c.say("wrote %s; next: ecrin release create %s %s", strings.Join(written, ", "), slug, word(args[0]))
		return nil
	}
	return cmd
}

// readRelease returns the files of a folder, without those whose names begin with a dot.
func readRelease(folder string) (files []ecrintypes.ReleaseFile, err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	total := int64(0)
	err = fs.WalkDir(root.FS(), ".", func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case at == ".":
			return nil
		case strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is no file: links are not followed", path.Join(folder, at))
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); total > vendor.MaxBytes || len(files) >= vendor.MaxFiles {
			return fmt.Errorf("%s has more than %d files, or than %d bytes", folder, vendor.MaxFiles, vendor.MaxBytes)
		}
		data, err := root.ReadFile(at)
		if err != nil {
			return err
		}
		f := ecrintypes.ReleaseFile{Path: at}
		if utf8.Valid(data) {
			f.Content = string(data)
		} else {
			f.Data = data
		}
		files = append(files, f)
		return nil
	})
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s has no files", folder)
	}
	return files, err
}

// sequenceOf parses the sequence of a release.
func sequenceOf(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, usageError{fmt.Errorf("%q is no sequence, which is a number from 1", text)}
	}
	return n, nil
}

func (c *commands) releaseCreate() *cobra.Command {
	var replace int64
	cmd := c.vendorCommand("create APP FOLDER", "Make a release of the files of a folder, and show the images that they name",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			files, err := readRelease(args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.ReleaseResponse
			if replace == 0 {
				err = s.Call(ctx, "CreateRelease", &ecrintypes.CreateReleaseRequest{AccountId: account, ApplicationSlug: args[0], Files: files}, &out)
			} else {
				err = s.Call(ctx, "UpdateRelease", &ecrintypes.UpdateReleaseRequest{AccountId: account, ApplicationSlug: args[0], Sequence: replace,
					Files: files}, &out)
			}
			return out, func() error {
				for _, w := range out.Warnings {
					c.say("warning: %s", w)
				}
				for _, i := range out.Images {
					name := i.Repository
					if i.ImageTag != "" {
						name += ":" + i.ImageTag
					}
					if i.ImageDigest != "" {
						name += "@" + i.ImageDigest
					}
					fmt.Fprintln(c.Out, name)
				}
				c.say("made the release %d of %d files", out.Release.Sequence, len(files))
				return nil
			}, err
		})
	cmd.Example = "  ecrin release create my-shop ./shop\n  ecrin release create my-shop ./shop --replace 3"
	cmd.Flags().Int64Var(&replace, "replace", 0, "`sequence` of a release that was never promoted, whose files are replaced")
	return cmd
}

func (c *commands) releaseList() *cobra.Command {
	return c.vendorCommand("list APP", "List the releases of an application, the newest first",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListReleasesRequest{AccountId: account, ApplicationSlug: args[0]}
			all := ecrintypes.ListReleasesResponse{Releases: []ecrintypes.VendorRelease{}}
			rows := [][]string{{"SEQUENCE", "PROMOTED", "BYTES", "EDITED", "BY"}}
			for {
				var out ecrintypes.ListReleasesResponse
				if err := s.Call(ctx, "ListReleases", in, &out); err != nil {
					return nil, nil, err
				}
				all.Releases = append(all.Releases, out.Releases...)
				for _, r := range out.Releases {
					rows = append(rows, []string{fmt.Sprint(r.Sequence), fmt.Sprint(r.Promoted), fmt.Sprint(r.Bytes), stamp(r.EditedAt.Time),
						orDash(r.CreatedBy)})
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					return all, c.tabled(rows, "there are no releases"), nil
				}
			}
		})
}

func (c *commands) releaseShow() *cobra.Command {
	var folder string
	cmd := c.vendorCommand("show APP SEQUENCE", "Show the files of a release, or write them to a folder",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			n, err := sequenceOf(args[1])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.DescribeReleaseResponse
			err = s.Call(ctx, "DescribeRelease", &ecrintypes.DescribeReleaseRequest{AccountId: account, ApplicationSlug: args[0], Sequence: n}, &out)
			if err == nil && folder != "" {
				err = writeRelease(folder, out.Files)
			}
			return out, func() error {
				if folder != "" {
					c.say("wrote %d files to %s", len(out.Files), folder)
					return nil
				}
				for _, f := range out.Files {
					if f.Data != nil {
						fmt.Fprintf(c.Out, "# %s: %d bytes\n", f.Path, len(f.Data))
						continue
					}
					fmt.Fprintf(c.Out, "# %s\n%s\n", f.Path, strings.TrimRight(f.Content, "\n"))
				}
				return nil
			}, err
		})
	cmd.Example = "  ecrin release show my-shop 1 --out ./shop-1"
	cmd.Flags().StringVar(&folder, "out", "", "`folder` to which the files are written")
	return cmd
}

// writeRelease writes files below a folder, and not outside of it.
func writeRelease(folder string, files []ecrintypes.ReleaseFile) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, f := range files {
		data := f.Data
		if data == nil {
			data = []byte(f.Content)
		}
		if err := root.MkdirAll(path.Dir(f.Path), 0o777); err != nil {
			return err
		}
		if err := root.WriteFile(f.Path, data, 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (c *commands) releasePromote() *cobra.Command {
	var in ecrintypes.PromoteReleaseRequest
	required := false
	cmd := c.vendorCommand("promote APP SEQUENCE CHANNEL…", "Offer a release on channels",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			n, err := sequenceOf(args[1])
			if err != nil {
				return nil, nil, err
			}
			in.AccountId, in.ApplicationSlug, in.Sequence, in.ChannelIds, in.Required = account, args[0], n, args[2:], &required
			var out ecrintypes.PromoteReleaseResponse
			err = s.Call(ctx, "PromoteRelease", &in, &out)
			return out, func() error {
				for _, p := range out.Promotions {
					c.say("the channel %s offers the release %d as %s, its version %d", p.ChannelSlug, p.Sequence, p.VersionLabel, p.ChannelSequence)
				}
				return nil
			}, err
		})
	cmd.Example = "  ecrin release promote my-shop 1 beta stable --version 1.0.0 --notes \"First release\""
	cmd.Flags().StringVar(&in.VersionLabel, "version", "", "`label` of the version (default: the sequence)")
	cmd.Flags().StringVar(&in.ReleaseNotes, "notes", "", "release notes, a `text`")
	cmd.Flags().BoolVar(&required, "required", false, "installers must not leave this version out")
	return cmd
}

func (c *commands) releaseDemote() *cobra.Command {
	undo := false
	cmd := c.vendorCommand("demote APP CHANNEL VERSION", "End the offer of a version, by its number on the channel (ecrin release versions)",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			n, err := sequenceOf(args[2])
			if err != nil {
				return nil, nil, err
			}
			var out ecrintypes.DemoteReleaseResponse
			err = s.Call(ctx, "DemoteRelease", &ecrintypes.DemoteReleaseRequest{AccountId: account, ApplicationSlug: args[0], ChannelId: args[1],
				ChannelSequence: n, Undo: &undo}, &out)
			what := "does not offer"
			if undo {
				what = "offers"
			}
			return out, c.said("the channel %s %s the version %s", args[1], what, out.Promotion.VersionLabel), err
		})
	cmd.Example = "  ecrin release demote my-shop stable 3\n  ecrin release demote my-shop stable 3 --undo"
	cmd.Flags().BoolVar(&undo, "undo", false, "offer it again")
	return cmd
}

func (c *commands) releaseVersions() *cobra.Command {
	all := false
	cmd := c.vendorCommand("versions APP CHANNEL", "List the versions that a channel offers, the oldest first",
		func(ctx context.Context, s caller, account string, args []string) (any, func() error, error) {
			in := &ecrintypes.ListPromotionsRequest{AccountId: account, ApplicationSlug: args[0], ChannelId: args[1], Demoted: &all}
			list := ecrintypes.ListPromotionsResponse{Promotions: []ecrintypes.ReleasePromotion{}}
			rows := [][]string{{"VERSION", "LABEL", "RELEASE", "REQUIRED", "PROMOTED", "DEMOTED"}}
			for {
				var out ecrintypes.ListPromotionsResponse
				if err := s.Call(ctx, "ListPromotions", in, &out); err != nil {
					return nil, nil, err
				}
				list.Promotions = append(list.Promotions, out.Promotions...)
				for _, p := range out.Promotions {
					demoted := "-"
					if p.DemotedAt != nil {
						demoted = stamp(p.DemotedAt.Time)
					}
					rows = append(rows, []string{fmt.Sprint(p.ChannelSequence), p.VersionLabel, fmt.Sprint(p.Sequence), fmt.Sprint(p.Required),
						stamp(p.PromotedAt.Time), demoted})
				}
				if in.NextToken = out.NextToken; in.NextToken == "" {
					return list, c.tabled(rows, "the channel offers no version"), nil
				}
			}
		})
	cmd.Flags().BoolVar(&all, "all", false, "also versions that were demoted")
	return cmd
}
