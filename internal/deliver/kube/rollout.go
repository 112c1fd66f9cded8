package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// State is what the conditions in a cluster say about an object.
type State uint8

// The states.
const (
	Ready    State = iota // it runs as it is written, or runs nothing
	Changing              // it is on its way
	Failed                // it will not run without a change, see Health.Why
)

// Health is the state of an object, with its reason.
type Health struct {
	ObjectKey
	State State
	Why   string // for Failed, in the words of the cluster; for Changing what is waited for
}

// waitingFailures are the reasons of a waiting container that mean a failure. ErrImagePull is none: the kubelet says ImagePullBackOff after
// the same failure, and ErrImagePull alone while it tries again.
var waitingFailures = []string{"ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CrashLoopBackOff",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// Health returns the state of an object by the conditions in the cluster, and those of the pods that belong to its newest version.
//
// Errors: *UnknownKindError; those of the API server.
func (o *Objects) Health(ctx context.Context, k ObjectKey) (Health, error) {
	h := Health{ObjectKey: k}
	object, err := o.Get(ctx, k)
	if err != nil {
		return h, err
	}
	if object == nil {
		h.State, h.Why = Failed, "it does not exist"
		return h, nil
	}
	var selector *metav1.LabelSelector
	current := func(*corev1.Pod) bool { return true }
	switch k.APIVersion + "/" + k.Kind {
	case "apps/v1/Deployment":
		selector, current, err = o.deployment(ctx, object, &h)
	case "apps/v1/StatefulSet":
		selector, current, err = statefulSet(object, &h)
	case "apps/v1/DaemonSet":
		selector, err = daemonSet(object, &h)
	case "batch/v1/Job":
		selector, err = jobHealth(object, &h)
	case "v1/Pod":
		var p corev1.Pod
		if err = runtime.DefaultUnstructuredConverter.FromUnstructured(object, &p); err == nil {
			podHealth(&p, &h)
		}
		return h, err
	default:
		return h, nil
	}
	if err != nil || h.State == Ready || selector == nil {
		return h, err
	}
	// What the kubelet says about a pod is more than what the object says about its pods, also when that says that it failed.
	text, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return h, err
	}
	var pods corev1.PodList
	if err := o.read(ctx, "/api/v1/namespaces/"+k.Namespace+"/pods", map[string]string{"labelSelector": text.String()}, &pods); err != nil {
		return h, fmt.Errorf("listing the pods of %s: %w", k, err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		// A pod that is being deleted, or that has ended, is replaced by its controller, which says so when it gives up.
		if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed || !current(p) {
			continue
		}
		var one Health
		if podHealth(p, &one); one.State == Failed {
			h.State, h.Why = Failed, "pod "+p.Name+": "+one.Why
			break
		}
	}
	return h, nil
}

func want(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// deployment sets the state of a Deployment, and returns which pods are of its newest replica set.
func (o *Objects) deployment(ctx context.Context, object map[string]any, h *Health) (
	s *metav1.LabelSelector, current func(*corev1.Pod) bool, err error) {
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &d); err != nil {
		return nil, nil, err
	}
	n := want(d.Spec.Replicas)
	if st := d.Status; d.Spec.Paused || st.ObservedGeneration >= d.Generation && st.UpdatedReplicas == n && st.Replicas == n &&
		st.AvailableReplicas == n {
		return nil, nil, nil
	}
	h.State, h.Why = Changing, fmt.Sprintf("%d of %d pods are new, %d are available", d.Status.UpdatedReplicas, n, d.Status.AvailableReplicas)
	if d.Status.ObservedGeneration < d.Generation {
		h.Why = "the controller has not seen it yet"
		return nil, nil, nil
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse {
			h.State, h.Why = Failed, c.Message
		}
	}
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return nil, nil, err
	}
	var sets appsv1.ReplicaSetList
	if err := o.read(ctx, "/apis/apps/v1/namespaces/"+d.Namespace+"/replicasets", map[string]string{"labelSelector": selector.String()},
		&sets); err != nil {
		return nil, nil, fmt.Errorf("listing the replica sets of %s: %w", h.ObjectKey, err)
	}
	const revision = "deployment.kubernetes.io/revision"
	for _, set := range sets.Items {
		if metav1.IsControlledBy(&set, &d) && set.Annotations[revision] == d.Annotations[revision] {
			return d.Spec.Selector, func(p *corev1.Pod) bool { return metav1.IsControlledBy(p, &set) }, nil
		}
	}
	return nil, nil, nil
}

func statefulSet(object map[string]any, h *Health) (*metav1.LabelSelector, func(*corev1.Pod) bool, error) {
	var s appsv1.StatefulSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &s); err != nil {
		return nil, nil, err
	}
	n := want(s.Spec.Replicas)
	if st := s.Status; st.ObservedGeneration >= s.Generation && st.ReadyReplicas == n && st.UpdatedReplicas == n {
		return nil, nil, nil
	}
	h.State, h.Why = Changing, fmt.Sprintf("%d of %d pods are new, %d are ready", s.Status.UpdatedReplicas, n, s.Status.ReadyReplicas)
	if s.Status.ObservedGeneration < s.Generation {
		return nil, nil, nil
	}
	newest := s.Status.UpdateRevision
	return s.Spec.Selector, func(p *corev1.Pod) bool {
		return metav1.IsControlledBy(p, &s) && p.Labels[appsv1.ControllerRevisionHashLabelKey] == newest
	}, nil
}

func daemonSet(object map[string]any, h *Health) (*metav1.LabelSelector, error) {
	var d appsv1.DaemonSet
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &d); err != nil {
		return nil, err
	}
	st := d.Status
	if n := st.DesiredNumberScheduled; st.ObservedGeneration >= d.Generation && st.UpdatedNumberScheduled == n && st.NumberAvailable == n {
		return nil, nil
	}
	h.State, h.Why = Changing, fmt.Sprintf("%d of %d pods are new, %d are available", st.UpdatedNumberScheduled, st.DesiredNumberScheduled,
		st.NumberAvailable)
	if st.ObservedGeneration < d.Generation {
		return nil, nil
	}
	return d.Spec.Selector, nil
}

// jobHealth sets the state of a Job, which is ready when it has ended well.
func jobHealth(object map[string]any, h *Health) (*metav1.LabelSelector, error) {
	var j batchv1.Job
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &j); err != nil {
		return nil, err
	}
	h.State, h.Why = Changing, "it has not ended"
	for _, c := range j.Status.Conditions {
		switch {
		case c.Status != corev1.ConditionTrue:
		case c.Type == batchv1.JobComplete:
			h.State, h.Why = Ready, ""
			return nil, nil
		case c.Type == batchv1.JobFailed:
			h.State, h.Why = Failed, c.Message
			return nil, nil
		}
	}
	return j.Spec.Selector, nil
}

// podHealth sets the state of a pod.
func podHealth(p *corev1.Pod, h *Health) {
	h.State, h.Why = Changing, "it is "+string(p.Status.Phase)
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		h.State, h.Why = Ready, ""
		return
	case corev1.PodFailed:
		h.State, h.Why = Failed, strings.TrimSpace(p.Status.Reason+" "+p.Status.Message)
		if h.Why == "" {
			h.Why = "it has failed"
		}
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && slices.Contains(waitingFailures, w.Reason) {
			h.State, h.Why = Failed, fmt.Sprintf("container %s: %s: %s", c.Name, w.Reason, w.Message)
			if t := c.LastTerminationState.Terminated; t != nil && w.Reason == "CrashLoopBackOff" {
				h.Why += fmt.Sprintf("; it ended with %d", t.ExitCode)
				if t.Message != "" {
					h.Why += ": " + t.Message
				}
			}
			return
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			h.State, h.Why = Ready, ""
		}
	}
}

// IsUnknownKind reports whether an error is an *UnknownKindError.
func IsUnknownKind(err error) bool {
	var unknown *UnknownKindError
	return errors.As(err, &unknown)
}
