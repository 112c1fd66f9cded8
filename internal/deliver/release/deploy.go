package release

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
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

	// Before is called before the first workload is changed, with the answers for the images that the workloads run; nil for nothing.
	Before func(ctx context.Context, answers []Answer) error
}

// Result is how a deployment has ended.
type Result struct {
	Environment Environment
	Made        bool // there was no such environment
	Answers     []Answer
	Refused     bool // an image cannot be pulled: nothing was changed
	Objects     []map[string]any
	Workloads   []kube.Health // what the conditions in the cluster say; none for a folder
}

// Run checks all images, and deploys the environment only if each can be pulled. An environment that exists keeps the template that it was
// made with, and its tags are looked up again, and so is the permission to pull.
//
// The first deployment of an environment has the workflow setup, later ones patch. One that was interrupted is continued: its Jobs that
// have ended are not run again.
//
// Errors: the template has errors; *[WorkloadError]; those of the target. After one of the target the deployment is repeated.
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
	wanted, keys, err := d.wanted(&t)
	if err != nil {
		return r, err
	}
	r.Made, r.Answers = before == nil, d.Check.Run(ctx, wanted)
	images := map[string]string{}
	for i, a := range r.Answers {
		r.Refused = r.Refused || !a.Ready
		for _, s := range keys[i] {
			images[s] = a.Pinned
		}
	}
	if r.Refused {
		return r, nil
	}
	e := Environment{Application: t.App, Name: d.Environment, Template: string(text), Images: images, Workflow: apptemplate.Patch,
		Deployment: rand.Text(), State: Deploying, At: d.Now().UTC()}
	if before == nil || d.Recreate || before.Workflow == apptemplate.Setup && before.State != Deployed {
		e.Workflow = apptemplate.Setup // also of one that was never set up whole
	}
	if before != nil && before.Template == e.Template && maps.Equal(before.Images, images) && d.Target.goesOn(before) {
		e.Workflow, e.Deployment = before.Workflow, before.Deployment
	}
	stages := t.Stages(apptemplate.Deployment{Environment: d.Environment, Namespace: d.Namespace, PullSecret: d.PullSecret,
		Images: images, Workflow: e.Workflow, Run: strings.ToLower(e.Deployment[:min(len(e.Deployment), runLength)])})
	for _, s := range stages {
		r.Objects = append(r.Objects, s.Objects...)
	}
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
	if d.Before != nil {
		if err := d.Before(ctx, r.Answers); err != nil {
			return r, fmt.Errorf("no workload was changed: %w", err)
		}
	}
	r.Workloads, err = d.Target.Apply(ctx, stages, remove)
	if failed := (*WorkloadError)(nil); errors.As(err, &failed) {
		// The next deployment is another one, whose Jobs are others.
		begun.State = Failed
		r.Environment = begun
		return r, errors.Join(err, d.Target.Save(context.WithoutCancel(ctx), begun))
	}
	if err != nil {
		return r, fmt.Errorf("the deployment is incomplete, repeat it: %w", err)
	}
	e.State = Deployed
	r.Environment = e
	return r, d.Target.Save(ctx, e)
}

// runLength is how much of the name of a deployment the names of its Jobs have.
const runLength = 8

// wanted returns the images that services and jobs run, and for each the keys of these.
func (d *Deploy) wanted(t *apptemplate.Template) (all []preflight.Wanted, keys [][]string, err error) {
	add := func(key, what, image string, built *apptemplate.Image, line int) error {
		if built != nil {
			if d.Commit == "" {
				return fmt.Errorf("the %s is built from the repository: name the commit whose image is deployed by --commit", what)
			}
			image = d.Registry + "/" + built.Repository.String() + ":" + d.Commit
		}
		ref, err := rewrite.ParseReference(image)
		if err != nil {
			return fmt.Errorf("the %s: %w", what, err)
		}
		n := len(all)
		all = preflight.Merge(all, preflight.Wanted{Image: ref, In: []string{fmt.Sprintf("%s in %s line %d", what, d.App.File, line)}})
		if len(all) > n {
			keys = append(keys, nil)
		}
		at := slices.IndexFunc(all, func(w preflight.Wanted) bool { return w.Image == ref })
		keys[at] = append(keys[at], key)
		return nil
	}
	for _, s := range t.Services {
		if s.Static {
			continue
		}
		if err := add(s.Key(), "service "+s.Name, s.Image, t.ImageOf(s), s.Line); err != nil {
			return nil, nil, err
		}
	}
	for _, j := range slices.Concat(t.Jobs, t.CronJobs) {
		if j.FromServices != "" {
			continue
		}
		if err := add(j.Key(), "job "+j.Name, j.Image, t.ImageOfJob(j), j.Line); err != nil {
			return nil, nil, err
		}
	}
	return all, keys, nil
}
