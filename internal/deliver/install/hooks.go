package install

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/helm"
)

// policyAnnotation is "keep" on objects of charts that are not deleted. Source: Helm.
const policyAnnotation = "helm.sh/resource-policy"

// attemptAnnotation marks the Jobs and Pods of hooks with the deployment that runs them.
const attemptAnnotation = "ecrin.dev/deployment"

// group is what is applied together: the manifests of the application, or the objects of a chart.
type group struct {
	release string // of the chart; "" for manifests
	weight  int
	objects []map[string]any // in the order in which they are applied
	hooks   []map[string]any // of the chart, by weight
}

func notesOf(object map[string]any) map[string]any {
	meta, _ := object["metadata"].(map[string]any)
	notes, _ := meta["annotations"].(map[string]any)
	return notes
}

// note returns an annotation.
func note(object map[string]any, name string) string {
	text, _ := notesOf(object)[name].(string)
	return text
}

// arrange returns the manifests, and then the charts by their weights. Only in charts hooks are something of their own.
func arrange(all []map[string]any) []group {
	byRelease := map[string]*group{"": {}}
	for _, object := range all {
		release := note(object, rewrite.ChartAnnotation)
		g := byRelease[release]
		if g == nil {
			g = &group{release: release}
			g.weight, _ = strconv.Atoi(note(object, rewrite.WeightAnnotation)) // of this program
			byRelease[release] = g
		}
		if release != "" && note(object, helm.HookAnnotation) != "" {
			g.hooks = append(g.hooks, object)
		} else {
			g.objects = append(g.objects, object)
		}
	}
	var groups []group
	for _, release := range slices.Sorted(maps.Keys(byRelease)) {
		g := byRelease[release]
		slices.SortStableFunc(g.objects, func(a, b map[string]any) int { return phase(a) - phase(b) })
		slices.SortStableFunc(g.hooks, func(a, b map[string]any) int {
			return cmp.Or(cmp.Compare(hookWeight(a), hookWeight(b)), phase(a)-phase(b))
		})
		groups = append(groups, *g)
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		if (a.release == "") != (b.release == "") {
			return cmp.Compare(len(a.release), len(b.release)) // the manifests come first
		}
		return cmp.Compare(a.weight, b.weight)
	})
	return groups
}

func hookWeight(object map[string]any) int {
	n, _ := strconv.Atoi(note(object, helm.HookWeightAnnotation)) // 0 for what is no number, as helm has it
	return n
}

// attempt is a deployment of a version, which may be interrupted and resumed.
type attempt struct {
	ID      string   `json:"id"`
	Back    bool     `json:"back,omitempty"`    // it goes back to an earlier version
	Applied bool     `json:"applied,omitempty"` // all objects of the version were applied
	Done    []string `json:"done,omitempty"`    // hooks that have ended well, with their events
}

// hookError is a hook that has failed.
type hookError struct {
	event, object, why string
}

// Error has the reason, in the words of the cluster.
func (e *hookError) Error() string {
	return fmt.Sprintf("the hook %s, %s: %s", e.event, e.object, e.why)
}

// applying is one run of Installation.apply.
type applying struct {
	*Installation
	o       *kube.Objects
	until   time.Time // the end of the deployment
	kindsBy time.Time // the end of waiting for kinds that it defines
	defines bool

	applied, hooks []kube.ObjectKey
}

// group applies a group: its definitions of kinds and namespaces, the hooks before, the other objects, and the hooks after.
func (a *applying) group(ctx context.Context, g group) error {
	event := "install"
	switch {
	case a.state.Attempt.Back:
		event = "rollback"
	case slices.Contains(a.state.Releases, g.release):
		event = "upgrade"
	}
	first := 0
	if len(g.hooks) > 0 {
		first = slices.IndexFunc(g.objects, func(o map[string]any) bool { return phase(o) > slices.Index(order, "CustomResourceDefinition") })
		if first < 0 {
			first = len(g.objects)
		}
	}
	if err := a.all(ctx, g.objects[:first]); err != nil {
		return err
	}
	if err := a.run(ctx, g, "pre-"+event); err != nil {
		return err
	}
	if err := a.all(ctx, g.objects[first:]); err != nil {
		return err
	}
	return a.run(ctx, g, "post-"+event)
}

// all applies objects.
func (a *applying) all(ctx context.Context, objects []map[string]any) error {
	for _, object := range objects {
		k, err := a.one(ctx, object)
		if err != nil {
			return err
		}
		a.applied = append(a.applied, k)
	}
	return nil
}

// one applies an object. A kind that the deployment defines may not be in force yet.
func (a *applying) one(ctx context.Context, object map[string]any) (kube.ObjectKey, error) {
	for {
		k, err := a.o.Apply(ctx, object, a.state.Settings.Namespace, manager)
		if err == nil || !kube.IsUnknownKind(err) || !a.defines || a.Installation.o.Now().After(a.kindsBy) {
			return k, err
		}
		if err := a.pause(ctx); err != nil {
			return k, err
		}
	}
}

// run runs the hooks of an event, one after another. Those that an interrupted run of the same deployment has finished are left out.
func (a *applying) run(ctx context.Context, g group, event string) error {
	var ran []map[string]any
	for _, object := range g.hooks {
		k := kube.KeyOf(object)
		if k.Namespace == "" {
			k.Namespace = a.state.Settings.Namespace
		}
		if !slices.Contains(a.hooks, k) && !deletes(object, "hook-succeeded") {
			a.hooks = append(a.hooks, k)
		}
		if !slices.Contains(rewrite.HookEvents(note(object, helm.HookAnnotation)), event) {
			continue
		}
		ran = append(ran, object)
		name := strings.Join([]string{event, g.release, k.APIVersion, k.Kind, k.Namespace, k.Name}, " ")
		if slices.Contains(a.state.Attempt.Done, name) {
			continue
		}
		a.Installation.o.Say("the hook %s of %s: %s", event, g.release, k)
		if err := a.hook(ctx, object, k, event); err != nil {
			return err
		}
		if err := a.change(func(s *state) {
			next := *s.Attempt
			next.Done = append(slices.Clone(next.Done), name)
			s.Attempt = &next
		}); err != nil {
			return err
		}
	}
	for _, object := range ran {
		if deletes(object, "hook-succeeded") {
			if err := a.remove(ctx, object); err != nil {
				return err
			}
		}
	}
	return nil
}

// deletes reports whether a hook is deleted in a case.
func deletes(object map[string]any, policy string) bool {
	for p := range strings.SplitSeq(note(object, helm.HookDeleteAnnotation), ",") {
		if strings.TrimSpace(p) == policy {
			return true
		}
	}
	return false
}

func (a *applying) remove(ctx context.Context, object map[string]any) error {
	k := kube.KeyOf(object)
	if k.Namespace == "" {
		k.Namespace = a.state.Settings.Namespace
	}
	return a.o.Delete(ctx, k)
}

// hook applies the object of a hook. A Job or a Pod is made anew, and has ended well afterwards; one that this deployment has made before
// it was interrupted goes on.
func (a *applying) hook(ctx context.Context, object map[string]any, k kube.ObjectKey, event string) error {
	if k.Kind != "Job" && k.Kind != "Pod" {
		_, err := a.one(ctx, object)
		return err
	}
	there, err := a.o.Get(ctx, k)
	if err != nil {
		return err
	}
	if there == nil || note(there, attemptAnnotation) != a.state.Attempt.ID {
		if there != nil {
			if err := a.gone(ctx, k); err != nil {
				return err
			}
		}
		if _, err := a.one(ctx, marked(object, a.state.Attempt.ID)); err != nil {
			return err
		}
	}
	for {
		h, err := a.ended(ctx, k)
		switch {
		case err != nil:
			return err
		case h.State == kube.Ready:
			return nil
		case h.State == kube.Failed:
			if deletes(object, "hook-failed") {
				if err := a.remove(ctx, object); err != nil {
					return err
				}
			}
			return &hookError{event, k.String(), printable(h.Why)}
		}
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
}

// marked returns an object with the annotation of a deployment.
func marked(object map[string]any, id string) map[string]any {
	object = maps.Clone(object)
	meta, _ := object["metadata"].(map[string]any)
	meta = maps.Clone(meta)
	notes := maps.Clone(notesOf(object))
	notes[attemptAnnotation] = id
	meta["annotations"], object["metadata"] = notes, meta
	return object
}

// gone deletes an object, and waits until it is gone.
func (a *applying) gone(ctx context.Context, k kube.ObjectKey) error {
	if err := a.o.Delete(ctx, k); err != nil {
		return err
	}
	for {
		there, err := a.o.Get(ctx, k)
		if err != nil || there == nil {
			return err
		}
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
}

// ended returns the state of a Job or a Pod that is to end: Ready if it has ended well.
func (a *applying) ended(ctx context.Context, k kube.ObjectKey) (kube.Health, error) {
	h, err := a.o.Health(ctx, k)
	if err != nil || k.Kind != "Pod" || h.State != kube.Ready {
		return h, err
	}
	object, err := a.o.Get(ctx, k)
	if err != nil {
		return h, err
	}
	status, _ := object["status"].(map[string]any)
	if status["phase"] != "Succeeded" {
		h.State, h.Why = kube.Changing, "it has not ended"
	}
	return h, nil
}

// wait waits for the next look at the cluster.
func (a *applying) wait(ctx context.Context) error {
	if time.Now().After(a.until) {
		return ErrNotReady
	}
	return a.pause(ctx)
}
