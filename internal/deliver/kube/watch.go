package kube

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
)

// watches returns what lists and watches the objects, again and again after errors: namespaces, service accounts, and the secrets of the
// one name. Of the chosen namespaces, each is watched by itself.
func (r *Refresher) watches() (all []*cache.Reflector) {
	scopes := r.o.Namespaces
	if len(scopes) == 0 {
		scopes = []string{metav1.NamespaceAll}
		all = append(all, r.watch("", "namespaces", &corev1.Namespace{}, r.namespaces()))
	}
	for _, scope := range scopes {
		all = append(all, r.watch(scope, "serviceaccounts", &corev1.ServiceAccount{}, r.accounts(scope)),
			r.watch(scope, "secrets", &corev1.Secret{}, r.secrets(scope)))
	}
	return all
}

func (r *Refresher) watch(namespace, resource string, example runtime.Object, into sink) *cache.Reflector {
	only := fields.Everything()
	if resource == "secrets" { // a right for secrets of this name is enough
		only = fields.OneTermEqualSelector(metav1.ObjectNameField, r.o.Secret)
	}
	source := cache.NewListWatchFromClient(r.cluster.core, resource, namespace, only)
	return cache.NewReflectorWithOptions(source, example, into, cache.ReflectorOptions{Name: refresherName})
}

// load lists the objects one time.
func (r *Refresher) load(ctx context.Context) error {
	scopes := r.o.Namespaces
	if len(scopes) == 0 {
		scopes = []string{metav1.NamespaceAll}
		var l corev1.NamespaceList
		if err := r.cluster.list(ctx, "", "namespaces", &l); err != nil {
			return err
		}
		for i := range l.Items {
			r.namespaces().put(&l.Items[i])
		}
	}
	for _, scope := range scopes {
		var l corev1.ServiceAccountList
		if err := r.cluster.list(ctx, scope, "serviceaccounts", &l); err != nil {
			return err
		}
		for i := range l.Items {
			r.accounts(scope).put(&l.Items[i])
		}
	}
	return nil
}

// sink takes what a watch sees. Its functions are called from one goroutine of each watch.
type sink struct {
	put   func(object any)
	drop  func(object any)
	clear func() // before everything is listed again
}

func (s sink) Add(o any) error    { s.put(o); return nil }
func (s sink) Update(o any) error { s.put(o); return nil }
func (s sink) Delete(o any) error { s.drop(o); return nil }
func (s sink) Resync() error      { return nil }

func (s sink) Replace(all []any, _ string) error {
	s.clear()
	for _, o := range all {
		s.put(o)
	}
	return nil
}

// namespaces keeps which namespaces get the secret.
func (r *Refresher) namespaces() sink {
	set := func(n *corev1.Namespace, active bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		p := r.place(n.Name)
		if active && !p.active {
			p.dirty, p.next, p.failures = true, p.served, 0
			r.changed()
		}
		p.active = active
		if !active {
			p.err, p.status = nil, nil
		}
	}
	return sink{
		put:  func(o any) { n := o.(*corev1.Namespace); set(n, r.chosen(n)) },
		drop: func(o any) { r.forget(o.(*corev1.Namespace).Name) },
		clear: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, p := range r.places {
				p.active = false
			}
		},
	}
}

// forget removes a namespace that has been deleted.
func (r *Refresher) forget(namespace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.places, namespace)
}

// accounts keeps the service accounts of the namespaces, of one or of all for "".
func (r *Refresher) accounts(scope string) sink {
	return sink{
		put: func(o any) {
			a := o.(*corev1.ServiceAccount)
			has := slices.Contains(a.ImagePullSecrets, corev1.LocalObjectReference{Name: r.o.Secret})
			r.mu.Lock()
			defer r.mu.Unlock()
			p := r.place(a.Namespace)
			if _, known := p.accounts[a.Name]; !has && r.uses(a.Name) || !known {
				p.dirty = true
				r.changed()
			}
			p.accounts[a.Name] = has
		},
		drop: func(o any) {
			a := o.(*corev1.ServiceAccount)
			r.mu.Lock()
			defer r.mu.Unlock()
			if p := r.places[a.Namespace]; p != nil {
				delete(p.accounts, a.Name)
			}
		},
		clear: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, p := range r.places {
				if scope == "" || scope == p.name {
					clear(p.accounts)
				}
			}
		},
	}
}

// secrets looks for changes of the secrets that the refresher has not made.
func (r *Refresher) secrets(scope string) sink {
	seen := func(namespace, version string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		p := r.place(namespace)
		if p.version == version {
			return
		}
		p.version, p.dirty = version, true
		r.changed()
	}
	return sink{
		put:  func(o any) { s := o.(*corev1.Secret); seen(s.Namespace, s.ResourceVersion) },
		drop: func(o any) { seen(o.(*corev1.Secret).Namespace, "") },
		clear: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, p := range r.places {
				if scope == "" || scope == p.name {
					p.version, p.dirty = "", true
				}
			}
			r.changed()
		},
	}
}
