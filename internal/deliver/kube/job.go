package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// maxConflicts is how often a secret is read again that another writer has changed, before the namespace waits.
const maxConflicts = 10

// eventEvery is the time after which an event about the same failure is repeated. Events live an hour by default.
const eventEvery = 30 * time.Minute

// job serves a namespace one time, from copies of what the refresher knows.
type job struct {
	cluster   *Cluster
	o         *Options
	namespace string
	creds     []credential.Credential // those that there are
	trouble   error                   // of the credentials
	missing   []string                // service accounts that do not name the secret

	// results
	status   []hostStatus
	patched  []string
	version  string // of the secret
	reported string
	eventAt  time.Time
}

// job returns what is to be done in a namespace. mu must be held.
func (r *Refresher) job(p *place) *job {
	j := &job{cluster: r.cluster, o: &r.o, namespace: p.name, reported: p.reported, eventAt: p.eventAt}
	for _, t := range r.tokens {
		if t.cred.Username != "" {
			j.creds = append(j.creds, t.cred)
		}
		j.trouble = errors.Join(j.trouble, t.err)
	}
	for _, account := range slices.Sorted(maps.Keys(p.accounts)) {
		if !p.accounts[account] && r.uses(account) {
			j.missing = append(j.missing, account)
		}
	}
	return j
}

func (j *job) run(ctx context.Context) error {
	secret, change, err := j.write(ctx)
	if err == nil && secret != nil {
		for _, account := range j.missing { // after the secret, so that no pod starts without it
			if patchErr := j.patch(ctx, account); patchErr != nil {
				err = errors.Join(err, patchErr)
			}
		}
	}
	switch trouble := errors.Join(err, j.trouble); {
	case trouble != nil:
		j.event(ctx, secret, "Warning", "CredentialNotRefreshed", trouble.Error())
	case change:
		j.reported = ""
		j.event(ctx, secret, "Normal", "CredentialRefreshed", "refreshed the credentials for "+strings.Join(j.o.Hosts, ", "))
	}
	return err
}

// write creates the secret, or updates it in place, so that its UID stays. Its other entries and labels stay too.
//
// It returns the secret that there is afterwards, nil for none, and whether its credentials have changed.
func (j *job) write(ctx context.Context) (*corev1.Secret, bool, error) {
	for attempt := 0; ; attempt++ {
		old, err := j.cluster.secret(ctx, j.namespace, j.o.Secret)
		switch {
		case apierrors.IsNotFound(err):
			old = nil
		case err != nil:
			return nil, false, fmt.Errorf("reading the secret %s/%s: %w", j.namespace, j.o.Secret, err)
		case old.Type != corev1.SecretTypeDockerConfigJson:
			j.version = old.ResourceVersion
			return old, false, fmt.Errorf("the secret %s/%s has the type %s, not %s: it is left as it is; delete it, or choose another name",
				j.namespace, j.o.Secret, old.Type, corev1.SecretTypeDockerConfigJson)
		}
		secret, change, err := j.desired(old)
		if err != nil {
			return old, false, fmt.Errorf("the secret %s/%s is left as it is: %w", j.namespace, j.o.Secret, err)
		}
		if secret == nil { // nothing is there, and there is nothing to write
			return nil, false, nil
		}
		if old != nil && !change && maps.Equal(old.Annotations, secret.Annotations) && maps.Equal(old.Labels, secret.Labels) {
			j.version = old.ResourceVersion
			return old, false, nil
		}
		written := &corev1.Secret{}
		if old == nil {
			err = j.cluster.core.Post().Namespace(j.namespace).Resource("secrets").Body(secret).Timeout(requestTimeout).Do(ctx).Into(written)
		} else {
			err = j.cluster.core.Put().Namespace(j.namespace).Resource("secrets").Name(j.o.Secret).Body(secret).Timeout(requestTimeout).
				Do(ctx).Into(written)
		}
		switch {
		case err == nil:
			j.version = written.ResourceVersion
			return written, change, nil
		case (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || old != nil && apierrors.IsNotFound(err)) && attempt < maxConflicts:
			continue // another writer was faster
		}
		return old, false, fmt.Errorf("writing the secret %s/%s: %w", j.namespace, j.o.Secret, err)
	}
}

// desired returns the secret as it should be, nil if there should be none yet, and whether its content changes.
func (j *job) desired(old *corev1.Secret) (*corev1.Secret, bool, error) {
	secret := old.DeepCopy()
	if old == nil {
		if len(j.creds) == 0 {
			return nil, false, nil
		}
		secret = &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, ObjectMeta: metav1.ObjectMeta{Namespace: j.namespace, Name: j.o.Secret}}
	}
	var gone []string // hosts that were chosen before
	for host := range strings.SplitSeq(secret.Annotations[managedAnnotation], ",") {
		if host != "" && !slices.Contains(j.o.Hosts, host) {
			gone = append(gone, host)
		}
	}
	content, err := merge(secret.Data[typeDockerConfig], j.creds, gone)
	if err != nil {
		return nil, false, err
	}
	change := old == nil || string(content) != string(old.Data[typeDockerConfig])
	secret.Data = maps.Clone(secret.Data)
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	secret.Data[typeDockerConfig] = content
	if err := j.annotate(secret); err != nil {
		return nil, false, err
	}
	return secret, change, nil
}

// merge returns the content of a pull secret with credentials and without those of hosts, in one line.
func merge(content []byte, add []credential.Credential, remove []string) ([]byte, error) {
	merged, err := credential.MergeDockerConfig(content, add, remove)
	if err != nil || bytes.Equal(merged, content) {
		return merged, err
	}
	var b bytes.Buffer
	err = json.Compact(&b, merged)
	return b.Bytes(), err
}

// annotate sets labels and annotations of the secret.
func (j *job) annotate(secret *corev1.Secret) error {
	j.status = nil
	before := statusOf(secret.Annotations)
	for _, host := range j.o.Hosts {
		i := slices.IndexFunc(j.creds, func(c credential.Credential) bool { return c.Host == host })
		if i >= 0 {
			c := j.creds[i]
			j.status = append(j.status, hostStatus{Host: host, Source: j.o.SourceName, RefreshedAt: c.From.UTC().Truncate(time.Second),
				ExpiresAt: c.ExpiresAt.UTC().Truncate(time.Second)})
			continue
		}
		for _, s := range before { // of an earlier run, whose credential is still there
			if s.Host == host {
				j.status = append(j.status, s)
			}
		}
	}
	status, err := json.Marshal(j.status)
	if err != nil {
		return fmt.Errorf("writing the status: %w", err)
	}
	secret.Labels, secret.Annotations = maps.Clone(secret.Labels), maps.Clone(secret.Annotations)
	if secret.Labels == nil {
		secret.Labels = map[string]string{}
	}
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Labels[managedLabel] = refresherName
	secret.Annotations[managedAnnotation] = strings.Join(j.o.Hosts, ",")
	secret.Annotations[statusAnnotation] = string(status)
	delete(secret.Annotations, errorAnnotation)
	if j.trouble != nil {
		secret.Annotations[errorAnnotation] = clip(j.trouble.Error())
	}
	return nil
}

// patch lets a service account name the secret. The API server does not merge this list, so the patch has the whole list and the version
// that it was read with: another writer makes it fail, and the list is read again.
func (j *job) patch(ctx context.Context, account string) error {
	for attempt := 0; ; attempt++ {
		var have corev1.ServiceAccount
		call := j.cluster.core.Get().Namespace(j.namespace).Resource("serviceaccounts").Name(account).Timeout(requestTimeout)
		err := call.Do(ctx).Into(&have)
		switch {
		case apierrors.IsNotFound(err): // it has been deleted
			return nil
		case err != nil:
			return fmt.Errorf("reading the service account %s/%s: %w", j.namespace, account, err)
		}
		mine := corev1.LocalObjectReference{Name: j.o.Secret}
		if slices.Contains(have.ImagePullSecrets, mine) {
			break
		}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": have.UID, "resourceVersion": have.ResourceVersion},
			"imagePullSecrets": append(have.ImagePullSecrets, mine)})
		if err != nil {
			return fmt.Errorf("writing a patch: %w", err)
		}
		err = j.cluster.core.Patch(types.MergePatchType).Namespace(j.namespace).Resource("serviceaccounts").Name(account).Body(body).
			Timeout(requestTimeout).Do(ctx).Error()
		if apierrors.IsConflict(err) && attempt < maxConflicts {
			continue
		}
		if err != nil {
			return fmt.Errorf("patching the service account %s/%s: %w", j.namespace, account, err)
		}
		j.o.Log.Info("a service account uses the secret", "namespace", j.namespace, "account", account)
		break
	}
	j.patched = append(j.patched, account)
	return nil
}

// event tells about the secret, and about the namespace if there is none. The same failure is told again after a while only. An event that
// cannot be written is logged.
func (j *job) event(ctx context.Context, secret *corev1.Secret, kind, reason, text string) {
	now := j.o.Now()
	if kind == "Warning" {
		if text == j.reported && now.Before(j.eventAt.Add(eventEvery)) {
			return
		}
		j.reported, j.eventAt = text, now
	}
	about := corev1.ObjectReference{APIVersion: "v1", Kind: "Secret", Namespace: j.namespace, Name: j.o.Secret}
	if secret != nil {
		about.UID, about.ResourceVersion = secret.UID, secret.ResourceVersion
	}
	at := metav1.NewTime(now)
	e := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: j.namespace, GenerateName: refresherName + "-"}, InvolvedObject: about,
		Type: kind, Reason: reason, Message: clip(text), FirstTimestamp: at, LastTimestamp: at, Count: 1,
		Source: corev1.EventSource{Component: refresherName}, ReportingController: refresherName}
	if err := j.cluster.core.Post().Namespace(j.namespace).Resource("events").Body(e).Timeout(requestTimeout).Do(ctx).Error(); err != nil {
		j.o.Log.Warn("an event was not written", "namespace", j.namespace, "reason", reason, "error", err)
	}
}
