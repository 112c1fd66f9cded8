package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/cache"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Application is something that runs images in a namespace.
type Application struct{ Namespace, Name string }

// RunningOptions say which pods are looked at, and who is told. All fields without a default are required.
type RunningOptions struct {
	Namespaces []string // exactly these, so that no right for the whole cluster is needed; none for all but Skip
	Skip       []string // names of namespaces
	Label      string   // of pods, whose value is the name of the application

	// Report stores which images an application runs, instead of what was stored before. An image is [HOST/]PATH[:TAG]@DIGEST.
	Report func(ctx context.Context, a Application, images []string) error
	// Reported returns the applications that are stored for the cluster.
	Reported func(ctx context.Context) ([]Application, error)
	// Renew is the time after which a report that has not changed is repeated.
	Renew time.Duration

	Now func() time.Time
	Log *slog.Logger
}

// maxImages is the largest number of images of an application that are reported.
const maxImages = 100

// reportTimeout is the time for one report.
const reportTimeout = 30 * time.Second

// Running tells which images the pods of a cluster run, and follows them.
type Running struct {
	cluster *Cluster
	o       RunningOptions
	wake    chan struct{} // has one element if something changed

	mu      sync.Mutex
	listed  map[string]bool // scopes whose pods are known
	asked   bool            // what was stored before is known
	asking  attempts
	pods    map[objectAt]podImages
	apps    map[Application]*told
	lastRun time.Time
}

// podImages are the images of a pod.
type podImages struct {
	app    Application
	images []string
}

// told is what has been reported of an application.
type told struct {
	images []string
	at     time.Time // zero: not by this process
	attempts
}

// attempts are those that have failed since the last success.
type attempts struct {
	failures int
	next     time.Time // not before
	err      error
}

func (a *attempts) failed(err error, now time.Time) {
	a.failures++
	a.err, a.next = err, now.Add(pause(a.failures))
}

// NewRunning returns what watches the pods of a cluster, which Run or Once starts.
func NewRunning(c *Cluster, o RunningOptions) *Running {
	return &Running{cluster: c, o: o, wake: make(chan struct{}, 1), listed: map[string]bool{}, pods: map[objectAt]podImages{},
		apps: map[Application]*told{}}
}

func (r *Running) scopes() []string {
	if len(r.o.Namespaces) > 0 {
		return r.o.Namespaces
	}
	return []string{metav1.NamespaceAll}
}

func (r *Running) chosen(namespace string) bool {
	if len(r.o.Namespaces) > 0 {
		return slices.Contains(r.o.Namespaces, namespace)
	}
	return !slices.Contains(r.o.Skip, namespace)
}

// Once reports what runs now. Errors: all that failed, joined.
func (r *Running) Once(ctx context.Context) error {
	for _, scope := range r.scopes() {
		var l corev1.PodList
		if err := r.cluster.list(ctx, scope, "pods", &l); err != nil {
			return err
		}
		all := make([]any, len(l.Items))
		for i := range l.Items {
			all[i] = &l.Items[i]
		}
		if err := r.sink(scope).Replace(all, ""); err != nil {
			return err
		}
	}
	r.Step(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.problems()
}

// Run follows the pods until the context ends. While the API server is away, nothing is reported.
func (r *Running) Run(ctx context.Context) {
	var watches sync.WaitGroup
	defer watches.Wait()
	for _, scope := range r.scopes() {
		source := cache.NewListWatchFromClient(r.cluster.core, "pods", scope, fields.Everything())
		w := cache.NewReflectorWithOptions(source, &corev1.Pod{}, r.sink(scope), cache.ReflectorOptions{Name: "ecrin-report"})
		watches.Go(func() { w.RunWithContext(ctx) })
	}
	repeat(ctx, r.wake, r.o.Now, r.Step)
}

// sink keeps the images of the pods of a namespace, or of all for "".
func (r *Running) sink(scope string) podSink { return podSink{r, scope} }

type podSink struct {
	r     *Running
	scope string
}

func (s podSink) Add(o any) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	s.put(o.(*corev1.Pod))
	s.r.changed()
	return nil
}

func (s podSink) Update(o any) error { return s.Add(o) }
func (s podSink) Resync() error      { return nil }

func (s podSink) Delete(o any) error {
	p := o.(*corev1.Pod)
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	delete(s.r.pods, objectAt{p.Namespace, p.Name})
	s.r.changed()
	return nil
}

func (s podSink) Replace(all []any, _ string) error {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	maps.DeleteFunc(s.r.pods, func(at objectAt, _ podImages) bool { return s.scope == "" || at.namespace == s.scope })
	for _, o := range all {
		s.put(o.(*corev1.Pod))
	}
	s.r.listed[s.scope] = true
	s.r.changed()
	return nil
}

// put keeps the images of a pod. mu must be held.
func (s podSink) put(p *corev1.Pod) {
	at := objectAt{p.Namespace, p.Name}
	if images := imagesOf(p); len(images) > 0 && s.r.chosen(p.Namespace) {
		s.r.pods[at] = podImages{Application{p.Namespace, applicationOf(p, s.r.o.Label)}, images}
		return
	}
	delete(s.r.pods, at)
}

// changed lets Run report what is new.
func (r *Running) changed() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// imagesOf returns the images of a pod with the digests that its node has pulled them by. Those that no node has pulled yet are left out,
// and all of a pod that has ended, unless it is one of a job, which may be run again.
func imagesOf(p *corev1.Pod) (all []string) {
	owner := metav1.GetControllerOf(p)
	ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	if ended && (owner == nil || owner.Kind != "Job") {
		return nil
	}
	named := map[string]string{}
	for _, c := range append(slices.Clone(p.Spec.InitContainers), p.Spec.Containers...) {
		named[c.Name] = c.Image
	}
	for _, s := range append(slices.Clone(p.Status.InitContainerStatuses), p.Status.ContainerStatuses...) {
		image := named[s.Name]
		if _, digest, ok := strings.Cut(s.ImageID, "@"); ok && !strings.Contains(image, "@") {
			image += "@" + digest
		}
		if n, err := report.ParseImageName(image); s.ImageID != "" && err == nil && n.Digest != "" && !slices.Contains(all, image) {
			all = append(all, image)
		}
	}
	return all
}

var (
	// runOf is what the controller of cron jobs adds to the name of a job: the minute for which it runs.
	runOf = lazyregexp.New(`-[0-9]{8,10}$`)
	// applicationForm has the names of applications that can be reported.
	applicationForm = lazyregexp.New(`^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$`)
)

const maxApplication = 128 // bytes of a name

// applicationOf returns the name of the application of a pod: the value of a label, else the name of what has made it, a Deployment for
// its replica sets and a CronJob for its jobs.
func applicationOf(p *corev1.Pod, label string) string {
	if v := p.Labels[label]; label != "" && applicationForm.MatchString(v) {
		return v
	}
	called := p.Name
	if owner := metav1.GetControllerOf(p); owner != nil {
		switch owner.Kind {
		case "Node": // of a static pod
			called = strings.TrimSuffix(p.Name, "-"+owner.Name)
		case "ReplicaSet":
			called = strings.TrimSuffix(owner.Name, "-"+p.Labels["pod-template-hash"])
		case "Job":
			called = runOf.ReplaceAllString(owner.Name, "")
		default:
			called = owner.Name
		}
	}
	if len(called) > maxApplication {
		called = strings.TrimRight(called[:maxApplication], "._-")
	}
	return called
}

// Step reports what is due, and returns when something will be due next if nothing changes. It does nothing before all pods are listed, so
// that an application that has not been seen yet does not count as one that runs nothing.
func (r *Running) Step(ctx context.Context) (next time.Time) {
	r.mu.Lock()
	now := r.o.Now()
	r.lastRun = now
	ready := len(r.listed) == len(r.scopes())
	ask := ready && !r.asked && !now.Before(r.asking.next)
	r.mu.Unlock()
	if ask {
		r.recall(ctx)
	}
	if ready {
		for _, d := range r.due() {
			r.tell(ctx, d.app, d.images)
		}
	}
	return r.nextDue()
}

// recall reads which applications are stored, so that those which do not run any more are reported to run nothing.
func (r *Running) recall(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	stored, err := r.o.Reported(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.asking.failed(fmt.Errorf("reading what was reported before: %w", err), r.o.Now())
		r.o.Log.Warn("what was reported before is not known", "failures", r.asking.failures, "next", r.asking.next, "error", err)
		return
	}
	r.asked, r.asking = true, attempts{}
	for _, a := range stored {
		if r.apps[a] == nil && r.chosen(a.Namespace) {
			r.apps[a] = &told{images: []string{"?"}} // what they are does not matter
		}
	}
}

type due struct {
	app    Application
	images []string
}

// now returns what runs. mu must be held.
func (r *Running) now() map[Application][]string {
	all := map[Application][]string{}
	for _, p := range r.pods {
		for _, image := range p.images {
			if !slices.Contains(all[p.app], image) {
				all[p.app] = append(all[p.app], image)
			}
		}
	}
	for _, images := range all {
		slices.Sort(images)
	}
	return all
}

// due returns what is to be reported now: what has changed, and what was reported long ago.
func (r *Running) due() (all []due) {
	r.mu.Lock()
	defer r.mu.Unlock()
	runs, now := r.now(), r.o.Now()
	for a := range runs {
		if r.apps[a] == nil {
			r.apps[a] = &told{}
		}
	}
	for a, t := range r.apps {
		images := runs[a]
		old := !slices.Equal(images, t.images) || len(images) > 0 && now.Sub(t.at) >= r.o.Renew
		if old && !now.Before(t.next) {
			all = append(all, due{a, images})
		}
	}
	slices.SortFunc(all, func(x, y due) int {
		return strings.Compare(x.app.Namespace+"/"+x.app.Name, y.app.Namespace+"/"+y.app.Name)
	})
	return all
}

// tell reports an application, and records how that ended.
func (r *Running) tell(ctx context.Context, a Application, images []string) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	err := r.o.Report(ctx, a, images[:min(len(images), maxImages)])
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, t := r.o.Now(), r.apps[a]
	switch {
	case err != nil:
		t.failed(err, now)
		r.o.Log.Warn("an application is not reported", "namespace", a.Namespace, "application", a.Name, "failures", t.failures,
			"next", t.next, "error", err)
		return
	case len(images) > maxImages:
		r.o.Log.Warn("an application runs more images than can be reported", "namespace", a.Namespace, "application", a.Name,
			"images", len(images), "reported", maxImages)
	case len(images) == 0:
		delete(r.apps, a)
	}
	if !slices.Equal(images, t.images) || t.failures > 0 {
		r.o.Log.Info("reported", "namespace", a.Namespace, "application", a.Name, "images", images)
	}
	t.images, t.at, t.attempts = images, now, attempts{}
}

func (r *Running) nextDue() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := r.o.Now().Add(r.o.Renew)
	soonest := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	if len(r.listed) == len(r.scopes()) && !r.asked {
		soonest(r.asking.next)
	}
	for _, t := range r.apps {
		switch {
		case t.failures > 0:
			soonest(t.next)
		case !t.at.IsZero():
			soonest(t.at.Add(r.o.Renew))
		}
	}
	return next
}

// problems returns what is not as it should be. mu must be held.
func (r *Running) problems() error {
	all := []error{r.asking.err}
	if len(r.listed) < len(r.scopes()) {
		all = append(all, errors.New("the pods are not listed yet"))
	}
	for a, t := range r.apps {
		if t.err != nil {
			all = append(all, fmt.Errorf("the application %s of the namespace %s is not reported: %w", a.Name, a.Namespace, t.err))
		}
	}
	return errors.Join(all...)
}

// ServeHTTP answers /healthz, 503 if nothing has been done for ten minutes, and /readyz, 503 while something is not reported.
func (r *Running) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch q.URL.Path {
	case "/healthz":
		answer(w, stuck(r.o.Now().Sub(r.lastRun)))
	case "/readyz":
		answer(w, r.problems())
	default:
		http.NotFound(w, q)
	}
}
