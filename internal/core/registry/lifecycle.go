package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/rule/lifecycle"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// LifecycleWork is the task that queues the evaluations of lifecycle policies that are due, and deletes previews that have expired.
const LifecycleWork = "lifecycle_due"

const (
	// lifecycleLook is the time between two looks for policies that are due.
	lifecycleLook = 30 * time.Second
	// maxQueuedAtOnce limits the policies that one transaction queues.
	maxQueuedAtOnce = 100
	// maxEvaluations limits the evaluations of one job, if images that were counted keep changing between evaluation and deletion. What is
	// left is due at the next evaluation.
	maxEvaluations = 20
	// entitledStep is the number of images between two rests while customers of images are searched.
	entitledStep = 128
	// previewAttempts is the number of attempts after which a preview has failed.
	previewAttempts = 3
)

// addLifecycleWork adds the work of lifecycle policies to a runner.
func (s *Service) addLifecycleWork(r *jobs.Runner) {
	r.AddTask(jobs.Task{Name: LifecycleWork, What: "looking for lifecycle policies that are due", Every: lifecycleLook, First: true,
		Run: s.lifecycleDue})
	r.Add(jobs.Kind{Name: meta.LifecycleJob, What: "carrying out lifecycle policies", Work: s.lifecycleJob})
	r.Add(jobs.Kind{Name: meta.LifecyclePreviewJob, What: "previewing lifecycle policies", Attempts: previewAttempts, Work: s.previewJob})
}

// lifecycleDue queues what is due, and deletes what has expired.
func (s *Service) lifecycleDue(ctx context.Context) error {
	for {
		due, err := s.meta.DueLifecycles(ctx, maxQueuedAtOnce)
		if err != nil {
			return err
		}
		if len(due) > 0 {
			if err := s.meta.QueueLifecycles(ctx, due); err != nil {
				return err
			}
		}
		if len(due) < maxQueuedAtOnce {
			break
		}
	}
	for more := true; more; {
		var err error
		if more, err = s.meta.ExpirePreview(ctx); err != nil {
			return err
		}
	}
	for n := int64(maxSwept); n == maxSwept; {
		var err error
		if n, err = s.meta.DeleteEndedUses(ctx, maxSwept); err != nil {
			return err
		}
	}
	return nil
}

// readLifecycle reads the two documents of a repository, of which each may be "".
//
// Errors: fault.InvalidParameter.
func readLifecycle(policy, extension string) (*lifecycle.Policy, error) {
	var own, ours *lifecycle.Policy
	var err error
	if policy != "" {
		if own, err = lifecycle.Parse(policy); err != nil {
			return nil, err
		}
	}
	if extension != "" {
		if ours, err = lifecycle.ParseExtension(extension); err != nil {
			return nil, err
		}
	}
	return lifecycle.Join(ours, own), nil
}

// TestLifecycle returns what documents would do with the images of a repository now, for a caller of an account. Calls wait for each
// other, because each has all images of a repository in memory. Of each account one call at most waits for the place, in the order of
// their coming, so that an account with many calls delays others by one of them.
//
// Errors: fault.InvalidParameter (a document), fault.LimitExceeded (see meta.Store.LifecycleImages).
func (s *Service) TestLifecycle(ctx context.Context, by name.Account, r Repository, policy, extension string) (*lifecycle.Result, error) {
	p, err := readLifecycle(policy, extension)
	if err != nil {
		return nil, err
	}
	leave, err := s.testers.enter(ctx, by)
	if err != nil {
		return nil, err
	}
	defer leave()
	return s.evaluate(ctx, s.testing, r, p, s.now())
}

// evaluate reads the images of a repository and evaluates a policy, while it has a place.
func (s *Service) evaluate(ctx context.Context, place chan struct{}, r Repository, p *lifecycle.Policy, now time.Time) (*lifecycle.Result,
	error) {
	select {
	case place <- struct{}{}:
		defer func() { <-place }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := s.flushPulls(ctx); err != nil {
		return nil, err
	}
	step := s.pace.Step()
	images, err := s.meta.LifecycleImages(ctx, r, func() {
		step.Rest(ctx)
		step = s.pace.Step()
	})
	if err != nil {
		return nil, err
	}
	result, err := lifecycle.Evaluate(ctx, p, images, now)
	if err != nil || s.entitled == nil {
		return result, err
	}
	if held, err := s.holdEntitled(ctx, r, result); err != nil || !held {
		return result, err
	}
	return lifecycle.Evaluate(ctx, p, images, now)
}

// holdEntitled protects the images of a result that a policy would act on and that customers may pull, and reports whether there are any.
// An archived image cannot be pulled either. Since a protection never makes a rule due, one evaluation after it is enough.
func (s *Service) holdEntitled(ctx context.Context, r Repository, result *lifecycle.Result) (held bool, _ error) {
	if result.Expire.Images+result.Archive.Images == 0 {
		return false, nil
	}
	entitled, err := s.entitled.In(ctx, r)
	if err != nil || entitled == nil {
		return false, err
	}
	step := s.pace.Step()
	for i := range result.Verdicts {
		v := &result.Verdicts[i]
		if v.Action == lifecycle.None {
			continue
		}
		refs := make([]name.Reference, 0, len(v.Image.Tags)+1)
		for _, t := range v.Image.Tags {
			if tag, err := name.ParseTag(t.Name); err == nil {
				refs = append(refs, name.Reference{Tag: tag, Digest: v.Image.Digest})
			}
		}
		ok, err := entitled(ctx, append(refs, name.Reference{Digest: v.Image.Digest}))
		if err != nil {
			return false, err
		}
		if ok {
			v.Image.Protection |= lifecycle.Entitled
			held = true
		}
		if i%entitledStep == entitledStep-1 {
			step.Rest(ctx)
			step = s.pace.Step()
		}
	}
	return held, ctx.Err()
}

// repositoryOf returns the repository of a job. gone says that it was deleted, so that the job has nothing to do.
func (s *Service) repositoryOf(ctx context.Context, j *jobs.Job) (r Repository, gone bool, err error) {
	id, err := strconv.ParseInt(j.Key(), 10, 64)
	if err != nil {
		return r, false, jobs.Permanent(fmt.Errorf("the key of the job is no repository: %w", err))
	}
	r, err = s.meta.RepositoryByID(ctx, id)
	if errors.Is(err, fault.RepositoryNotFound) {
		return r, true, nil
	}
	return r, false, err
}

// lifecycleJob evaluates the lifecycle policy of a repository, and deletes the images that it expires. It begins anew after an
// interruption, and when images that it has counted have changed.
func (s *Service) lifecycleJob(ctx context.Context, j *jobs.Job) error {
	r, gone, err := s.repositoryOf(ctx, j)
	if err != nil || gone {
		j.Forget()
		return err
	}
	deleted := 0
	for range maxEvaluations {
		l, err := s.meta.Lifecycle(ctx, r.ID)
		if err != nil {
			return err
		}
		if l.Policy == "" && l.Extension == "" {
			return nil
		}
		p, err := readLifecycle(l.Policy, l.Extension)
		if err != nil {
			return jobs.Permanent(err)
		}
		at := s.now()
		due, left, err := s.decide(ctx, r, p, at)
		if err != nil {
			return err
		}
		if deleted > 0 {
			left = nil
		}
		n, err := s.expire(ctx, j, r, l, due, left, deleted)
		deleted += n
		switch {
		case errors.Is(err, fault.TargetChanged):
			continue
		case errors.Is(err, fault.RepositoryNotFound), errors.Is(err, fault.RepositoryProtected):
			return nil // a later evaluation knows of the protection
		case err != nil:
			return err
		}
		if deleted == 0 && !l.EvaluatedAt.IsZero() {
			j.Forget()
		}
		return s.meta.LifecycleEvaluated(ctx, r.ID, l, at)
	}
	return nil
}

// decide returns the images that a policy deletes, see expiring, and some that ECR reports as failures.
func (s *Service) decide(ctx context.Context, r Repository, p *lifecycle.Policy, now time.Time) (due []expiry, left []acted, err error) {
	result, err := s.evaluate(ctx, s.evaluating, r, p, now)
	if errors.Is(err, fault.LimitExceeded) {
		err = jobs.Permanent(err)
	}
	if err != nil {
		return nil, nil, err
	}
	return expiring(result), failing(result), nil
}

// failing returns up to maxActions images that are left although a rule is due for them, and that ECR reports as failures.
func failing(result *lifecycle.Result) (all []acted) {
	for i := range result.Verdicts {
		if v := &result.Verdicts[i]; v.Hold.FailureCode() != "" && len(all) < maxActions {
			im := *v.Image
			all = append(all, acted{image: &im, rule: v.Rule, code: v.Hold.FailureCode(), reason: v.Reason()})
		}
	}
	return all
}

// progressEvery is the time between two writes of the progress of a job.
const progressEvery = 250 * time.Millisecond

// expire deletes the images of a list and returns how many it deleted. left are images that the first audit line has besides, and before
// is how many the job had deleted before.
func (s *Service) expire(ctx context.Context, j *jobs.Job, r Repository, l meta.Lifecycle, due []expiry, left []acted, before int) (
	deleted int, err error) {
	list := make([]meta.Expiry, len(due))
	rules := make(map[name.Digest]*lifecycle.Rule, len(due))
	for i, e := range due {
		list[i], rules[e.Image.Digest] = e.Expiry, e.rule
	}
	total := int64(before + len(list))
	saved := time.Time{}
	for len(list) > 0 {
		if ctx.Err() != nil {
			return deleted, context.Cause(ctx)
		}
		if err := s.flushPulls(ctx); err != nil {
			return deleted, err
		}
		step := s.pace.Step()
		n, gone, err := s.meta.ExpireImages(ctx, r, l.Generation, list, func(gone []meta.Expiry) []byte {
			return executionLines(r, l, gone, rules, left, s.now())
		})
		if err != nil {
			return deleted, err
		}
		if len(gone) > 0 {
			left = nil
		}
		deleted += len(gone)
		list = list[n:]
		if len(list) > 0 {
			step.Rest(ctx)
		}
		if len(list) > 0 && time.Since(saved) < progressEvery {
			continue
		}
		if err := j.Save(ctx, struct{}{}, int64(before+deleted), total); err != nil {
			return deleted, err
		}
		saved = time.Now()
	}
	return deleted, nil
}

// expiry is an image that a rule deletes.
type expiry struct {
	meta.Expiry
	rule *lifecycle.Rule
}

// expiring returns the images that are to be deleted, an index before the images that it names, and a subject before the referrers that
// go with it; otherwise the oldest first. It does not refer to the other images of the result.
func expiring(result *lifecycle.Result) []expiry {
	var all []expiry
	numbers := map[name.Digest]int{}
	for i := range result.Verdicts {
		v := &result.Verdicts[i]
		if v.Action != lifecycle.Expire {
			continue
		}
		im := *v.Image
		numbers[im.Digest] = len(all)
		all = append(all, expiry{rule: v.Rule, Expiry: meta.Expiry{Image: &im, Priority: v.Rule.Priority, Follows: !v.Due,
			ByPull: v.Due && readsPulls(v.Rule)}})
	}
	after := make([][]int, len(all)) // what each must come before
	waits := make([]int, len(all))   // for how many others each waits
	edge := func(from, to int) { after[from] = append(after[from], to); waits[to]++ }
	for i, e := range all {
		for _, child := range e.Image.Children {
			if n, ok := numbers[child]; ok && n != i {
				edge(i, n)
			}
		}
		if n, ok := numbers[e.Image.Subject]; ok && e.Follows {
			edge(n, i)
		}
	}
	queue, ordered := make([]int, 0, len(all)), make([]expiry, 0, len(all))
	for i := range all {
		if waits[i] == 0 {
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue, ordered = queue[1:], append(ordered, all[i])
		for _, n := range after[i] {
			if waits[n]--; waits[n] == 0 {
				queue = append(queue, n)
			}
		}
	}
	return ordered
}

// readsPulls reports whether a rule acts by the last pull of an image.
func readsPulls(r *lifecycle.Rule) bool {
	if r.Keep != nil && r.Keep.Order == lifecycle.NewestPull {
		return true
	}
	for _, a := range r.Older {
		if a.Clock == lifecycle.Pulled {
			return true
		}
	}
	return false
}

// previewJob makes the preview in progress of a repository.
func (s *Service) previewJob(ctx context.Context, j *jobs.Job) error {
	j.Forget()
	r, gone, err := s.repositoryOf(ctx, j)
	if err != nil || gone {
		return err
	}
	for done := false; !done; {
		if done, err = s.meta.ClearPreview(ctx, r.ID); err != nil {
			return err
		}
	}
	p, err := s.meta.AttemptPreview(ctx, r.ID)
	if err != nil || p.State != meta.PreviewInProgress {
		return err
	}
	err = s.preview(ctx, r, &p)
	if err == nil || ctx.Err() != nil || errors.Is(err, fault.TargetChanged) {
		return err
	}
	if j.Attempts()+1 >= previewAttempts || errors.Is(err, fault.LimitExceeded) || errors.Is(err, fault.InvalidParameter) {
		p.State = meta.PreviewFailed
		return jobs.Permanent(errors.Join(err, s.meta.EndPreview(ctx, r.ID, p, nil)))
	}
	return err
}

// preview evaluates a preview and stores its results.
func (s *Service) preview(ctx context.Context, r Repository, p *meta.Preview) error {
	l, err := s.meta.Lifecycle(ctx, r.ID)
	if err != nil {
		return err
	}
	policy, err := readLifecycle(p.Policy, l.Extension)
	if err != nil {
		return err
	}
	result, err := s.evaluate(ctx, s.evaluating, r, policy, s.now())
	if err != nil {
		return err
	}
	var all []meta.PreviewResult
	var dry []acted
	for i := range result.Verdicts {
		v := &result.Verdicts[i]
		if v.Action == lifecycle.None {
			continue
		}
		one := meta.PreviewResult{Number: int64(i + 1), Digest: v.Image.Digest.String(), PushedAt: v.Image.PushedAt, Action: v.Action,
			Priority: v.Rule.Priority, Class: v.Image.Class}
		for _, tag := range v.Image.Tags[:min(len(v.Image.Tags), meta.MaxPreviewTags)] {
			one.Tags = append(one.Tags, tag.Name)
		}
		all = append(all, one)
		if len(dry) < maxDryRunEvents*maxActions {
			dry = append(dry, acted{image: v.Image, rule: v.Rule})
		}
	}
	lines := lifecycleLines("DryRunEvent", r, l, dry, nil, s.now())
	p.State, p.Expiring, p.Archiving = meta.PreviewComplete, int64(result.Expire.Images), int64(result.Archive.Images)
	if err := s.meta.AddPreviewResults(ctx, r.ID, p.ID, all); err != nil {
		return err
	}
	return s.meta.EndPreview(ctx, r.ID, *p, lines)
}
