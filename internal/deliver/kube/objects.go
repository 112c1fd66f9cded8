package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ObjectKey names an object of any kind.
type ObjectKey struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Namespace  string `json:"namespace,omitempty"` // "" for one of the whole cluster
	Name       string `json:"name"`
}

// String returns the object for messages, such as "Deployment web".
func (k ObjectKey) String() string { return k.Kind + " " + k.Name }

// resource is where the objects of a kind are.
type resource struct {
	name       string // in paths
	namespaced bool
}

// Objects reads and writes objects of any kind. It is safe for concurrent use.
type Objects struct {
	c *Cluster

	mu    sync.Mutex
	kinds map[string]map[string]resource // by apiVersion and kind
}

// NewObjects returns the objects of a cluster. It makes no request.
func NewObjects(c *Cluster) *Objects { return &Objects{c: c, kinds: map[string]map[string]resource{}} }

// UnknownKindError is a kind that the API server does not serve, such as that of a definition that is not installed yet.
type UnknownKindError struct{ APIVersion, Kind string }

// Error says which kind it is.
func (e *UnknownKindError) Error() string {
	return fmt.Sprintf("the cluster has no kind %s of %s", e.Kind, e.APIVersion)
}

func groupPath(apiVersion string) string {
	if !strings.Contains(apiVersion, "/") {
		return "/api/" + apiVersion
	}
	return "/apis/" + apiVersion
}

// resourceOf returns where the objects of a kind are. A kind that was not there is asked for again.
//
// Errors: *UnknownKindError; those of the API server.
func (o *Objects) resourceOf(ctx context.Context, apiVersion, kind string) (resource, error) {
	o.mu.Lock()
	found, ok := o.kinds[apiVersion][kind]
	o.mu.Unlock()
	if ok {
		return found, nil
	}
	body, err := o.c.core.Get().AbsPath(groupPath(apiVersion)).Timeout(requestTimeout).DoRaw(ctx)
	if apierrors.IsNotFound(err) {
		return resource{}, &UnknownKindError{apiVersion, kind}
	}
	if err != nil {
		return resource{}, fmt.Errorf("asking for the kinds of %s: %w", apiVersion, err)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return resource{}, fmt.Errorf("the kinds of %s: %w", apiVersion, err)
	}
	all := map[string]resource{}
	for _, r := range list.APIResources {
		if !strings.Contains(r.Name, "/") { // no subresource
			all[r.Kind] = resource{r.Name, r.Namespaced}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.kinds[apiVersion] = all
	if found, ok = all[kind]; !ok {
		return resource{}, &UnknownKindError{apiVersion, kind}
	}
	return found, nil
}

// path returns the path of an object, in a namespace if its kind has namespaces.
func (o *Objects) path(ctx context.Context, k *ObjectKey, namespace string) (string, error) {
	r, err := o.resourceOf(ctx, k.APIVersion, k.Kind)
	if err != nil {
		return "", err
	}
	p := groupPath(k.APIVersion)
	if r.namespaced {
		if k.Namespace == "" {
			k.Namespace = namespace
		}
		p += "/namespaces/" + url.PathEscape(k.Namespace)
	} else {
		k.Namespace = ""
	}
	return p + "/" + r.name + "/" + url.PathEscape(k.Name), nil
}

// Apply applies an object by server-side apply, as the manager, and takes over members that others have set. An object of a namespace that
// names none is in the given one. It returns the key of the object with its namespace.
//
// Errors: *UnknownKindError; those of the API server.
func (o *Objects) Apply(ctx context.Context, object map[string]any, namespace, manager string) (ObjectKey, error) {
	k := KeyOf(object)
	path, err := o.path(ctx, &k, namespace)
	if err != nil {
		return k, err
	}
	body, err := json.Marshal(placed(object, k))
	if err != nil {
		return k, err
	}
	err = o.c.core.Patch(types.ApplyPatchType).AbsPath(path).Param("fieldManager", manager).Param("force", "true").
		Timeout(requestTimeout).Body(body).Do(ctx).Error()
	if err != nil {
		return k, fmt.Errorf("applying %s: %w", k, err)
	}
	return k, nil
}

// placed returns an object of the whole cluster without a namespace.
func placed(object map[string]any, k ObjectKey) map[string]any {
	meta, _ := object["metadata"].(map[string]any)
	if k.Namespace != "" || meta["namespace"] == nil {
		return object
	}
	object, meta = maps.Clone(object), maps.Clone(meta)
	delete(meta, "namespace")
	object["metadata"] = meta
	return object
}

// Get reads an object; nil if it does not exist.
//
// Errors: *UnknownKindError; those of the API server.
func (o *Objects) Get(ctx context.Context, k ObjectKey) (map[string]any, error) {
	path, err := o.path(ctx, &k, k.Namespace)
	if err != nil {
		return nil, err
	}
	var found map[string]any
	if err := o.read(ctx, path, nil, &found); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading %s: %w", k, err)
	}
	return found, nil
}

// read reads a path into a value.
func (o *Objects) read(ctx context.Context, path string, params map[string]string, into any) error {
	q := o.c.core.Get().AbsPath(path).Timeout(requestTimeout)
	for key, value := range params {
		q = q.Param(key, value)
	}
	body, err := q.DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

// Delete deletes an object, and what belongs to it in the background. One that does not exist is no error.
//
// Errors: those of the API server.
func (o *Objects) Delete(ctx context.Context, k ObjectKey) error {
	path, err := o.path(ctx, &k, k.Namespace)
	if err != nil {
		return err
	}
	err = o.c.core.Delete().AbsPath(path).Param("propagationPolicy", "Background").Timeout(requestTimeout).Do(ctx).Error()
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", k, err)
	}
	return nil
}

// Version returns the version of the API server, such as v1.35.4.
func (o *Objects) Version(ctx context.Context) (string, error) {
	var v struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := o.read(ctx, "/version", nil, &v); err != nil {
		return "", fmt.Errorf("asking the API server %s: %w", o.c.Server(), err)
	}
	return v.GitVersion, nil
}

// APIVersions returns what the API server serves: versions of groups, such as apps/v1, and their kinds, such as apps/v1/Deployment.
func (o *Objects) APIVersions(ctx context.Context) ([]string, error) {
	var groups metav1.APIGroupList
	if err := o.read(ctx, "/apis", nil, &groups); err != nil {
		return nil, fmt.Errorf("asking the API server %s for its groups: %w", o.c.Server(), err)
	}
	versions := []string{"v1"}
	for _, g := range groups.Groups {
		for _, v := range g.Versions {
			versions = append(versions, v.GroupVersion)
		}
	}
	all := slices.Clone(versions)
	for _, v := range versions {
		// A group whose server does not answer has no kinds. The error is that of a kind that no group has.
		if _, err := o.resourceOf(ctx, v, ""); err != nil && !IsUnknownKind(err) && ctx.Err() != nil {
			return nil, err
		}
		o.mu.Lock()
		for kind := range o.kinds[v] {
			all = append(all, v+"/"+kind)
		}
		o.mu.Unlock()
	}
	slices.Sort(all)
	return all, nil
}

// KeyOf returns the key of an object.
func KeyOf(object map[string]any) (k ObjectKey) {
	meta, _ := object["metadata"].(map[string]any)
	k.APIVersion, _ = object["apiVersion"].(string)
	k.Kind, _ = object["kind"].(string)
	k.Name, _ = meta["name"].(string)
	k.Namespace, _ = meta["namespace"].(string)
	return k
}

// Refused reports whether the API server has answered a request with an error that another attempt with the same request would have too.
func Refused(err error) bool {
	status := apierrors.APIStatus(nil)
	for e := err; e != nil; {
		if s, ok := e.(apierrors.APIStatus); ok {
			status = s
			break
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	if status == nil {
		return false
	}
	code := int(status.Status().Code)
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusConflict && code != http.StatusRequestTimeout
}

// IsConflict reports whether the API server has refused a write because the object was changed since it was read.
func IsConflict(err error) bool { return apierrors.IsConflict(err) }
