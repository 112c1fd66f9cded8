package rewrite

import (
	"context"
	"errors"
	"slices"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// Needed are the images that an installation of a release without a network needs.
type Needed struct {
	Images  []rule.Reference // as written, sorted
	Unseen  []rule.Unseen
	Skipped []rule.FileError // what an installer leaves out
	Charts  []string         // names of the charts in the release
}

// public is an Asker for which all images are public: names stay as they are written.
type public struct{}

func (public) Ask(context.Context, rule.Reference) (rule.Verdict, error) { return rule.Pulled, nil }

// ImagesOf returns the images of the pods of a release, those of its charts with their builder values, and those that its Application names
// besides, without those that it excludes. No registry is asked. Templates are rendered without values of a customer.
//
// Errors: the charts that cannot be rendered, joined, each with its name; that of ctx.
func ImagesOf(ctx context.Context, slug string, files []rule.File) (Needed, error) {
	e := Engine{Asker: public{}}
	out, err := e.Run(ctx, Input{Slug: slug, Files: files, Builder: true})
	if err != nil {
		return Needed{}, err
	}
	n := Needed{Unseen: out.Unseen, Skipped: out.Skipped}
	for _, i := range out.Images {
		r, err := rule.ParseReference(i.Image)
		if err != nil {
			return Needed{}, err
		}
		n.Images = append(n.Images, r)
	}
	packed, _ := archives(out.Release)
	for _, a := range packed {
		if !slices.Contains(n.Charts, a.name) {
			n.Charts = append(n.Charts, a.name)
		}
	}
	var failed []error
	for _, f := range out.Broken {
		failed = append(failed, f)
	}
	return n, errors.Join(failed...)
}
