package release

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/preflight"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// Deploy is a deployment of an environment of an application.
type Deploy struct {
	App         Application
	Environment string
	Namespace   string
	PullSecret  string // "" for none
	Registry    string // host, perhaps with a path, of the repositories of the application
	Commit      string // tag of the images that are built from the repository
	Recreate    bool   // the environment takes the template of now
	DryRun      bool   // nothing is changed
	Check       *Check
	Target      Target
	Now         func() time.Time
}

// Result is how a deployment has ended.
type Result struct {
	Environment Environment
	Made        bool // there was no such environment
	Answers     []Answer
	Refused     bool // an image cannot be pulled: nothing was changed
	Objects     []map[string]any
}

// Run checks all images, and deploys the environment only if each can be pulled. An environment that exists keeps the template that it was
// made with, and its tags are looked up again, and so is the permission to pull.
//
// Errors: the template has errors; those of the target. After one of the target the deployment is repeated.
func (d *Deploy) Run(ctx context.Context) (Result, error) {
	var r Result
	before, err := d.Target.Load(ctx)
	if err != nil && !d.Recreate {
		return r, err
	}
	text := d.App.Text
	if before != nil && !d.Recreate {
		text = []byte(before.Template)
	}
	t, findings := apptemplate.Parse(text)
	if apptemplate.Failed(findings) {
		return r, errors.New("the application template has errors: ecrin application validate shows them")
	}
	wanted, services, err := d.wanted(&t)
	if err != nil {
		return r, err
	}
	r.Made, r.Answers = before == nil, d.Check.Run(ctx, wanted)
	images := map[string]string{}
	for i, a := range r.Answers {
		r.Refused = r.Refused || !a.Ready
		for _, s := range services[i] {
			images[s] = a.Pinned
		}
	}
	if r.Refused {
		return r, nil
	}
	r.Objects = t.Objects(apptemplate.Deployment{Environment: d.Environment, Namespace: d.Namespace, PullSecret: d.PullSecret,
		Images: images})
	e := Environment{Application: t.App, Name: d.Environment, Template: string(text), Images: images, Deployment: rand.Text(),
		State: Deploying,
		At:    d.Now().UTC()}
	for _, o := range r.Objects {
		e.Objects = append(e.Objects, kube.KeyOf(o))
	}
	var remove []kube.ObjectKey
	if before != nil {
		for _, k := range before.Objects {
			if !slices.Contains(e.Objects, k) {
				remove = append(remove, k)
			}
		}
	}
	if r.Environment = e; d.DryRun {
		return r, nil
	}
	// What is being deployed is kept first, with what is still to be removed: a deployment after an interruption goes on from there.
	begun := e
	begun.Objects = append(slices.Clone(e.Objects), remove...)
	if err := d.Target.Save(ctx, begun); err != nil {
		return r, err
	}
	if err := d.Target.Apply(ctx, r.Objects, remove); err != nil {
		return r, fmt.Errorf("the deployment is incomplete, repeat it: %w", err)
	}
	e.State = Deployed
	r.Environment = e
	return r, d.Target.Save(ctx, e)
}

// wanted returns the images that services run, and for each the services.
func (d *Deploy) wanted(t *apptemplate.Template) (all []preflight.Wanted, services [][]string, err error) {
	for _, s := range t.Services {
		if s.Static {
			continue
		}
		text := s.Image
		if i := t.ImageOf(s); i != nil {
			if d.Commit == "" {
				return nil, nil, fmt.Errorf("the service %s is built from the repository: name the commit whose image is deployed by --commit", s.Name)
			}
			text = d.Registry + "/" + i.Repository.String() + ":" + d.Commit
		}
		ref, err := rewrite.ParseReference(text)
		if err != nil {
			return nil, nil, fmt.Errorf("the service %s: %w", s.Name, err)
		}
		in := fmt.Sprintf("service %s in %s line %d", s.Name, d.App.File, s.Line)
		n := len(all)
		all = preflight.Merge(all, preflight.Wanted{Image: ref, In: []string{in}})
		if len(all) > n {
			services = append(services, nil)
		}
		at := slices.IndexFunc(all, func(w preflight.Wanted) bool { return w.Image == ref })
		services[at] = append(services[at], s.Name)
	}
	return all, services, nil
}
