package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
)

// manager is the name by which the cluster knows who has set members of objects.
const manager = "ecrin-install"

// slugAnnotation marks the objects of an application. It is set by the generated overlay.
const slugAnnotation = "kots.io/app-slug"

// maxKindWait is how long a deployment waits for a kind whose definition it has applied.
const maxKindWait = 30 * time.Second

// ErrNotReady is the error of a deployment that was still on its way when the time was over. It can be resumed.
var ErrNotReady = errors.New("the deployment is still on its way: run ecrin update deploy to wait on")

// FailedError is a deployment that failed.
type FailedError struct {
	Version Version
}

// Error has the reason, in the words of the cluster.
func (e *FailedError) Error() string {
	return fmt.Sprintf("the version %d (%s) has failed: %s", e.Version.Sequence, e.Version.Label, e.Version.Error)
}

// Deploy deploys a version, also one that was deployed before, and waits up to a time for it to run. A deployment that was interrupted goes
// on. The changes of the customer are read anew.
//
// Errors: a required version must be deployed before; the version is not complete; *FailedError, ErrNotReady; the API server cannot be
// reached: the deployment can then be resumed.
func (i *Installation) Deploy(ctx context.Context, sequence int64, wait time.Duration) error {
	return i.deploy(ctx, sequence, wait, false)
}

// ofMachine are the errors of system calls that say nothing about a version: with room, or another disk, the same version can be deployed.
var ofMachine = []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG, syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE}

// isOfMachine reports whether an error is one of this machine.
func isOfMachine(err error) bool {
	return slices.ContainsFunc(ofMachine, func(one error) bool { return errors.Is(err, one) })
}

// deploy is Deploy. back says that it goes back to an earlier version.
func (i *Installation) deploy(ctx context.Context, sequence int64, wait time.Duration, back bool) error {
	err := i.carryOut(ctx, sequence, wait, back)
	if isOfMachine(err) {
		err = fmt.Errorf("%w (make room, then ecrin update deploy resumes the deployment)", err)
	}
	return err
}

func (i *Installation) carryOut(ctx context.Context, sequence int64, wait time.Duration, back bool) error {
	v, err := i.Version(sequence)
	if err != nil {
		return err
	}
	if err := i.Deployable(v); err != nil {
		return err
	}
	objects, err := i.cluster()
	if err != nil {
		return err
	}
	resumed := i.state.Current == sequence && v.Status == Deploying && i.state.Attempt != nil
	until := time.Now().Add(wait)
	if err := i.set(sequence, Deploying, "", func(s *state) {
		if !resumed {
			s.Attempt = &attempt{ID: fmt.Sprintf("%d-%d", sequence, i.o.Now().UnixNano()), Back: back}
		}
		s.Current = sequence
	}); err != nil {
		return err
	}
	if err := i.render(i.folder(sequence)); err != nil {
		if isOfMachine(err) {
			return err
		}
		return i.fail(sequence, err.Error())
	}
	all, err := i.rendered(sequence)
	if err != nil {
		return i.fail(sequence, err.Error())
	}
	i.o.Say("deploying the version %d (%s): %d objects", sequence, v.Label, len(all))
	if err := i.apply(ctx, objects, all, until); err != nil {
		var hook *hookError
		if kube.Refused(err) || kube.IsUnknownKind(err) || errors.As(err, &hook) {
			return i.fail(sequence, err.Error())
		}
		if errors.Is(err, ErrNotReady) {
			return err
		}
		return fmt.Errorf("%w (ecrin update deploy resumes the deployment)", err)
	}
	return i.await(ctx, objects, sequence, time.Until(until))
}

// set stores the status of a version, with further changes.
func (i *Installation) set(sequence int64, status Status, text string, more func(*state)) error {
	return i.change(func(s *state) {
		v := &s.Versions[sequence]
		v.Status, v.Error = status, text
		if status == Deployed && v.DeployedAt == nil {
			now := i.o.Now().UTC()
			v.DeployedAt = &now
		}
		if more != nil {
			more(s)
		}
	})
}

// fail stores that a version has failed, and returns that as an error.
func (i *Installation) fail(sequence int64, why string) error {
	if err := i.set(sequence, Failed, printable(why), nil); err != nil {
		return err
	}
	return &FailedError{i.state.Versions[sequence]}
}

// rendered returns the objects of a version.
func (i *Installation) rendered(sequence int64) ([]map[string]any, error) {
	text, err := i.Read(sequence, renderedFile)
	if err != nil {
		return nil, err
	}
	var all []map[string]any
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var one map[string]any
		err := d.Decode(&one)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("the rendered objects: %w", err)
		}
		if len(one) > 0 {
			all = append(all, one)
		}
	}
	return all, nil
}

// order are kinds that others need, in the order in which they are applied. Kinds that are not here come after them.
var order = []string{"Namespace", "CustomResourceDefinition", "ServiceAccount", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding",
	"PriorityClass", "StorageClass", "LimitRange", "ResourceQuota", "Secret", "ConfigMap", "PersistentVolume", "PersistentVolumeClaim",
	"Service"}

func phase(object map[string]any) int {
	kind, _ := object["kind"].(string)
	if n := slices.Index(order, kind); n >= 0 {
		return n
	}
	return len(order)
}

// apply applies objects, and deletes those of the version before that are not among them. The inventory is stored before, with both, so
// that nothing is forgotten if the process ends. Hooks of charts run up to a time.
//
// Errors: those of the API server; *hookError; ErrNotReady.
func (i *Installation) apply(ctx context.Context, o *kube.Objects, all []map[string]any, until time.Time) error {
	groups := arrange(all)
	if err := i.namespaces(ctx, o, groups); err != nil {
		return err
	}
	before := i.state.Inventory
	var wanted []kube.ObjectKey
	for _, g := range groups {
		for _, object := range g.objects {
			k := kube.KeyOf(object)
			if k.Name == "" {
				return fmt.Errorf("an object of the kind %s has no name", k.Kind)
			}
			wanted = append(wanted, k)
		}
	}
	union := append(slices.Clone(wanted), before...)
	if err := i.change(func(s *state) { s.Inventory = once(union) }); err != nil {
		return err
	}
	a := applying{Installation: i, o: o, until: until, kindsBy: i.o.Now().Add(maxKindWait),
		defines: slices.ContainsFunc(wanted, func(k kube.ObjectKey) bool { return k.Kind == "CustomResourceDefinition" })}
	for _, g := range groups {
		if err := a.group(ctx, g); err != nil {
			return err
		}
	}
	if err := i.prune(ctx, o, before, a.applied); err != nil {
		return err
	}
	if err := i.prune(ctx, o, i.state.Hooks, a.hooks); err != nil {
		return err
	}
	return i.change(func(s *state) {
		s.Inventory, s.Hooks, s.Releases = once(a.applied), once(a.hooks), nil
		next := *s.Attempt
		next.Applied = true
		s.Attempt = &next
		for _, g := range groups {
			if g.release != "" {
				s.Releases = append(s.Releases, g.release)
			}
		}
	})
}

// namespaces makes the namespaces of the application and of its charts.
func (i *Installation) namespaces(ctx context.Context, o *kube.Objects, groups []group) error {
	all := []string{i.state.Settings.Namespace}
	for _, g := range groups {
		for _, object := range slices.Concat(g.objects, g.hooks) {
			if n := kube.KeyOf(object).Namespace; g.release != "" && n != "" && !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	for _, name := range all {
		if _, err := o.Apply(ctx, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}, "",
			manager); err != nil {
			return err
		}
	}
	return nil
}

func once(all []kube.ObjectKey) []kube.ObjectKey {
	var out []kube.ObjectKey
	seen := map[kube.ObjectKey]bool{}
	for _, k := range all {
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// kept are kinds that are never deleted: what is in them would go too.
var kept = []string{"Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"}

// prune deletes the objects that the version before had and this one has not. One that does not belong to the application any more stays.
func (i *Installation) prune(ctx context.Context, o *kube.Objects, before, now []kube.ObjectKey) error {
	for _, k := range before {
		same := func(other kube.ObjectKey) bool {
			return other.Kind == k.Kind && other.Name == k.Name && groupOf(other.APIVersion) == groupOf(k.APIVersion) &&
				(other.Namespace == k.Namespace || k.Namespace == "")
		}
		if slices.Contains(kept, k.Kind) || slices.ContainsFunc(now, same) {
			continue
		}
		if k.Namespace == "" {
			k.Namespace = i.state.Settings.Namespace
		}
		object, err := o.Get(ctx, k)
		if kube.IsUnknownKind(err) || err == nil && object == nil {
			continue
		}
		if err != nil {
			return err
		}
		meta, _ := object["metadata"].(map[string]any)
		notes, _ := meta["annotations"].(map[string]any)
		if notes[slugAnnotation] != i.license.AppSlug || notes[policyAnnotation] == "keep" {
			continue
		}
		i.o.Say("deleting %s, which the version does not have", k)
		if err := o.Delete(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// groupOf returns the group of an apiVersion; "" for that of v1.
func groupOf(apiVersion string) string {
	if group, _, ok := strings.Cut(apiVersion, "/"); ok {
		return group
	}
	return ""
}

// pause waits between two looks at the cluster.
func (i *Installation) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(i.o.Poll):
		return nil
	}
}

// steadyLooks is at how many looks in succession all objects must run. A container that ends at once is available for a moment, and again
// after its first restart; the kubelet says CrashLoopBackOff only after that.
const steadyLooks = 5

// await waits until the objects of a version run steadily, or one of them has failed.
func (i *Installation) await(ctx context.Context, o *kube.Objects, sequence int64, wait time.Duration) error {
	// A request that would begin after the end, by the rate of requests, fails a moment before the end.
	const moment = 50 * time.Millisecond
	end := time.Now().Add(wait)
	ctx, cancel := context.WithDeadlineCause(ctx, end, ErrNotReady)
	defer cancel()
	said, steady := "", 0
	for {
		status, text, err := i.health(ctx, o)
		if steady++; status != Deployed {
			steady = 0
		}
		switch {
		case errors.Is(context.Cause(ctx), ErrNotReady), err != nil && ctx.Err() == nil && time.Until(end) < moment:
			return ErrNotReady
		case err != nil:
			return fmt.Errorf("%w (ecrin update deploy resumes the deployment)", err)
		case status == Failed:
			return i.fail(sequence, text)
		case steady == steadyLooks:
			return i.set(sequence, Deployed, "", nil)
		}
		if text != said && status != Deployed {
			said = text
			i.o.Say("%s", text)
		}
		if err := i.pause(ctx); err != nil {
			return err
		}
	}
}

// health returns the status of what is deployed, by the conditions in the cluster, with its reason.
func (i *Installation) health(ctx context.Context, o *kube.Objects) (Status, string, error) {
	status, text := Deployed, ""
	for _, k := range i.state.Inventory {
		h, err := o.Health(ctx, k)
		if err != nil && !kube.IsUnknownKind(err) {
			return Unknown, "", err
		}
		switch {
		case h.State == kube.Failed:
			return Failed, k.String() + ": " + printable(h.Why), nil
		case h.State == kube.Changing && status == Deployed:
			status, text = Deploying, k.String()+": "+h.Why
		}
	}
	return status, text, nil
}

// Refresh looks at the cluster until the status settles, and stores that of the version that was deployed last: deployed if everything runs
// at some looks in succession, or failed. What is still on its way after a time is deploying, and Error says for what it waits. If the
// cluster does not answer the status is unknown, with the reason, and the stored one stays.
func (i *Installation) Refresh(ctx context.Context) (Version, error) {
	c := i.state.Current
	if c < 0 {
		return Version{}, errors.New("nothing was deployed yet")
	}
	o, err := i.cluster()
	if err != nil {
		return Version{}, err
	}
	end, steady := time.Now().Add(i.o.Settle), 0
	for {
		status, text, err := i.health(ctx, o)
		if err != nil {
			v := i.state.Versions[c]
			v.Status, v.Error = Unknown, printable(err.Error())
			return v, nil
		}
		if steady++; status != Deployed {
			steady = 0
		}
		late := time.Now().After(end)
		v := i.state.Versions[c]
		switch {
		case v.Status == Deploying && status == Deployed && (i.state.Attempt == nil || !i.state.Attempt.Applied):
			return v, nil // not all of it was applied yet
		case status != Failed && steady < steadyLooks && !late:
			if err := i.pause(ctx); err != nil {
				return Version{}, err
			}
			continue
		case status == Deploying:
			text = fmt.Sprintf("not settled after %s: %s", i.o.Settle, text)
		}
		if v.Status != status || v.Error != text {
			if err := i.set(c, status, text, nil); err != nil {
				return Version{}, err
			}
		}
		return i.state.Versions[c], nil
	}
}

// Rollback deploys the version that was deployed before the current one, or one that is named. Versions that were never deployed cannot be
// rolled back to.
//
// Errors: there is none; those of Deploy.
func (i *Installation) Rollback(ctx context.Context, sequence int64, wait time.Duration) error {
	if sequence == -1 {
		for n := i.state.Current - 1; n >= 0; n-- {
			if i.state.Versions[n].DeployedAt != nil {
				sequence = n
				break
			}
		}
	}
	v, err := i.Version(sequence)
	if sequence == -1 || err != nil || v.DeployedAt == nil || v.Sequence == i.state.Current {
		return errors.New("there is no earlier version that was deployed")
	}
	return i.deploy(ctx, sequence, wait, true)
}
