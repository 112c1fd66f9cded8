package install

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// PlanRegistry returns what SetRegistry would copy to a registry, with sizes. It changes nothing.
//
// Errors: those of SetRegistry.
func (i *Installation) PlanRegistry(ctx context.Context, r Registry) ([]rewrite.Copied, error) {
	return i.copies(ctx, r, i.kept(), (*rewrite.Transfer).Plan)
}

// SetRegistry copies the images of the installed and of the newest version to a registry of the customer, and makes a version that pulls
// all images from there. Later versions copy theirs when they are downloaded. With nil the next version pulls as before.
//
// What is there already is not sent again: after an error, or the end of the process, a second call goes on.
//
// Errors: those of the registries, with the names of the images.
func (i *Installation) SetRegistry(ctx context.Context, r *Registry) error {
	if r != nil && !r.NoCopy {
		if _, err := i.copies(ctx, *r, i.kept(), (*rewrite.Transfer).Run); err != nil {
			return err
		}
	}
	return i.derive(ctx, RegistryChange, func(s *state) { s.Registry = r })
}

// kept returns the sequences of the installed version and of the one from which the next is made.
func (i *Installation) kept() []int64 {
	all := []int64{i.base()}
	if c := i.state.Current; c >= 0 && c != all[0] {
		all = append(all, c)
	}
	return all
}

// upstreamFiles returns the files of a version, as the vendor has released them.
func (i *Installation) upstreamFiles(sequence int64) ([]rule.File, error) {
	files, err := rewrite.ReadFolder(filepath.Join(i.folder(sequence), rewrite.UpstreamDir))
	if err != nil {
		return nil, fmt.Errorf("reading the files of the version %d: %w", sequence, err)
	}
	return slices.DeleteFunc(files, func(f rule.File) bool { return strings.HasPrefix(f.Path, "userdata/") }), nil
}

// transfer is Plan or Run of a Transfer.
type transfer func(*rewrite.Transfer, context.Context, []rule.Copy) ([]rewrite.Copied, error)

// copies copies the images of versions.
func (i *Installation) copies(ctx context.Context, r Registry, sequences []int64, do transfer) ([]rewrite.Copied, error) {
	if err := i.downloaded(); err != nil {
		return nil, err
	}
	if i.Offline() {
		return nil, errors.New("the images of an airgap installation are in its bundle: ecrin update airgap FILE --registry pushes them to another " +
			"registry, and --no-copy leaves them to you")
	}
	next := i.state
	next.Registry = &r
	e, closed, err := i.engine()
	if err != nil {
		return nil, err
	}
	defer closed()
	var all rewrite.Output
	seen := map[rule.Copy]bool{}
	var in rewrite.Input
	for _, sequence := range sequences {
		files, err := i.upstreamFiles(sequence)
		if err != nil {
			return nil, err
		}
		known, err := rewrite.ReadInstallation(i.folder(sequence))
		if err != nil {
			return nil, err
		}
		v := i.state.Versions[sequence]
		in = i.input(v, next, files, known.KnownImages, configItems(files, next.Config))
		e.Helm = i.charts(ctx, in, v)
		out, err := e.Run(ctx, in)
		if err != nil {
			return nil, err
		}
		all.Proxy, all.Images = out.Proxy, append(all.Images, out.Images...)
		for _, c := range out.Copies {
			if !seen[c] {
				seen[c] = true
				all.Copies = append(all.Copies, c)
			}
		}
	}
	return i.transfer(ctx, r, in, all, do)
}

// transfer copies the images of an output, or plans it.
func (i *Installation) transfer(ctx context.Context, r Registry, in rewrite.Input, out rewrite.Output, do transfer) (
	[]rewrite.Copied, error) {
	if len(out.Copies) == 0 {
		return nil, nil
	}
	sources, err := i.registries(0)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
	to, closed, err := i.own(ctx, r)
	if err != nil {
		return nil, err
	}
	defer closed()
	private := map[string]bool{}
	for _, image := range out.Images {
		private[image.Image] = private[image.Image] || image.Private
	}
	t := &rewrite.Transfer{Sources: sources, To: to, Proxy: out.Proxy, License: in.License, Each: i.o.Copied,
		Private: func(ref rule.Reference) bool { return private[ref.String()] }}
	copied, err := do(t, ctx, out.Copies)
	if err != nil {
		return nil, fmt.Errorf("copying to %s: %w (what was copied stays there: run the command again)", r.Host, err)
	}
	return copied, nil
}
