package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Status is what is known of the credentials of one service account for one registry.
type Status struct {
	Namespace      string    `json:"namespace"`
	ServiceAccount string    `json:"serviceAccount,omitempty"` // "" for a secret that none names
	Secret         string    `json:"secret,omitempty"`         // "" if the account has no credentials for the host
	Host           string    `json:"host,omitempty"`           // "" if the secret has no entry
	Source         string    `json:"source,omitempty"`         // of the refresher; "" for a secret that it does not keep
	RefreshedAt    time.Time `json:"refreshedAt,omitzero"`
	ExpiresAt      time.Time `json:"expiresAt,omitzero"`
	LastPull       time.Time `json:"lastPull,omitzero"` // of an image from this host, as far as there are events
	LastError      string    `json:"lastError,omitempty"`
	ErrorAt        time.Time `json:"errorAt,omitzero"` // zero for an error of the refresher that goes on
}

// maxEvents limits the events that are read.
const maxEvents = 20_000

// Read returns the status of all service accounts of a namespace, or of all namespaces for "", in the order of namespaces, accounts and
// hosts: each pull secret that an account names, each host that it has pulled from, and each secret of the refresher. What has been pulled
// is known from events, which a cluster keeps an hour by default.
//
// Errors: those of the API server.
func Read(ctx context.Context, c *Cluster, namespace string) ([]Status, error) {
	v := &view{rows: map[row]*Status{}, owners: map[objectAt]string{}, secrets: map[objectAt]*corev1.Secret{}}
	var accounts corev1.ServiceAccountList
	var secrets corev1.SecretList
	var pods corev1.PodList
	var events corev1.EventList
	for _, l := range []struct {
		resource string
		only     fields.Selector
		into     runtime.Object
	}{
		{"serviceaccounts", fields.Everything(), &accounts},
		{"secrets", fields.OneTermEqualSelector("type", string(corev1.SecretTypeDockerConfigJson)), &secrets},
		{"pods", fields.Everything(), &pods},
		{"events", fields.Everything(), &events},
	} {
		q := c.core.Get().NamespaceIfScoped(namespace, namespace != "").Resource(l.resource).Param("fieldSelector", l.only.String())
		if l.resource == "events" {
			q = q.Param("limit", fmt.Sprint(maxEvents))
		}
		if err := q.Timeout(requestTimeout).Do(ctx).Into(l.into); err != nil {
			return nil, fmt.Errorf("listing %s: %w", l.resource, err)
		}
	}
	for i := range secrets.Items {
		s := &secrets.Items[i]
		v.secrets[objectAt{s.Namespace, s.Name}] = s
	}
	for i := range accounts.Items {
		v.account(&accounts.Items[i])
	}
	for at, s := range v.secrets {
		if s.Labels[managedLabel] == refresherName && !v.named(at) {
			v.secret(at, "")
		}
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		v.owners[objectAt{p.Namespace, p.Name}] = p.Spec.ServiceAccountName
	}
	slices.SortStableFunc(events.Items, func(a, b corev1.Event) int { return eventTime(&a).Compare(eventTime(&b)) })
	for i := range events.Items {
		v.event(&events.Items[i])
	}
	all := make([]Status, 0, len(v.rows))
	for _, s := range v.rows {
		if s.LastError != "" && !s.ErrorAt.IsZero() && (s.ErrorAt.Before(s.LastPull) || s.ErrorAt.Before(s.RefreshedAt) && s.Secret != "") {
			s.LastError, s.ErrorAt = "", time.Time{} // it has passed
		}
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.ServiceAccount, b.ServiceAccount), cmp.Compare(a.Host, b.Host),
			cmp.Compare(a.Secret, b.Secret))
	})
	return all, nil
}

type (
	objectAt struct{ namespace, name string }
	row      struct{ namespace, account, host, secret string }
)

// view is what has been read.
type view struct {
	rows    map[row]*Status
	owners  map[objectAt]string // service accounts of pods
	secrets map[objectAt]*corev1.Secret
}

func (v *view) row(r row) *Status {
	s := v.rows[r]
	if s == nil {
		s = &Status{Namespace: r.namespace, ServiceAccount: r.account, Host: r.host, Secret: r.secret}
		v.rows[r] = s
	}
	return s
}

// account adds the pull secrets of a service account.
func (v *view) account(a *corev1.ServiceAccount) {
	for _, ref := range a.ImagePullSecrets {
		at := objectAt{a.Namespace, ref.Name}
		if v.secrets[at] == nil {
			v.row(row{a.Namespace, a.Name, "", ref.Name}).LastError = "there is no pull secret of this name"
			continue
		}
		v.secret(at, a.Name)
	}
}

// named reports whether a service account names a secret.
func (v *view) named(at objectAt) bool {
	for r := range v.rows {
		if r.namespace == at.namespace && r.secret == at.name {
			return true
		}
	}
	return false
}

// secret adds the hosts of a pull secret.
func (v *view) secret(at objectAt, account string) {
	s := v.secrets[at]
	known, problem := statusOf(s.Annotations), s.Annotations[errorAnnotation]
	found, err := credential.DockerConfigHosts(s.Data[typeDockerConfig])
	if err != nil {
		v.row(row{at.namespace, account, "", at.name}).LastError = err.Error()
		return
	}
	for _, host := range found {
		st := v.row(row{at.namespace, account, host, at.name})
		for _, k := range known {
			if k.Host == host {
				st.Source, st.RefreshedAt, st.ExpiresAt, st.LastError = k.Source, k.RefreshedAt, k.ExpiresAt, problem
			}
		}
	}
}

// pulledImage matches the messages of the kubelet about pulls. Source: pkg/kubelet/images of Kubernetes.
var pulledImage = lazyregexp.New(`^(Successfully pulled|Failed to pull) image "([^"]+)"(?:: (.*))?`)

// event adds what an event says.
func (v *view) event(e *corev1.Event) {
	of, at := e.InvolvedObject, eventTime(e)
	if of.Kind == "Secret" && e.Source.Component == refresherName {
		v.told(e, at)
		return
	}
	m := pulledImage.FindStringSubmatch(e.Message)
	account, ok := v.owners[objectAt{of.Namespace, of.Name}]
	if of.Kind != "Pod" || m == nil || !ok {
		return
	}
	host, _, ok := strings.Cut(m[2], "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host = "docker.io"
	}
	used := false
	for r, s := range v.rows {
		if r.namespace == of.Namespace && r.account == account && r.host == host {
			s.pull(m[1], m[3], at)
			used = true
		}
	}
	if !used {
		v.row(row{of.Namespace, account, host, ""}).pull(m[1], m[3], at)
	}
}

func (s *Status) pull(how, problem string, at time.Time) {
	switch {
	case how == "Successfully pulled":
		s.LastPull = at
	case s.LastError == "" || !s.ErrorAt.IsZero(): // an error of the refresher is the cause
		s.LastError, s.ErrorAt = cmp.Or(problem, "the pull failed"), at
	}
}

// told adds an event of the refresher about a secret, which matters most if the secret is not its own.
func (v *view) told(e *corev1.Event, at time.Time) {
	of, used := e.InvolvedObject, false
	for r, s := range v.rows {
		if r.namespace != of.Namespace || r.secret != of.Name {
			continue
		}
		used = true
		if e.Type == corev1.EventTypeWarning && (s.LastError == "" || !s.ErrorAt.IsZero()) {
			s.LastError, s.ErrorAt = e.Message, at
		}
	}
	if !used && e.Type == corev1.EventTypeWarning {
		s := v.row(row{of.Namespace, "", "", of.Name})
		s.LastError, s.ErrorAt = e.Message, at
	}
}

func eventTime(e *corev1.Event) time.Time {
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time} {
		if !t.IsZero() {
			return t
		}
	}
	return e.CreationTimestamp.Time
}
