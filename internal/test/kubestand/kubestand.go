// Package kubestand stands in for a cluster of Kubernetes where none can run: an API server that keeps objects in memory. For the pods of
// Deployments it asks the registries for their images, with the pull secrets that the pods name, as a kubelet does, and sets the conditions
// that follow from the answers. It starts no containers. Real clusters are those of package kubetest.
package kubestand

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// Version is the version that the stand-in says it has.
const Version = "v1.35.0-stand-in"

type object = map[string]any

// Cluster is the stand-in. It serves requests without credentials, and is safe for concurrent use.
type Cluster struct {
	client *http.Client // for requests to registries

	mu      sync.Mutex
	objects map[string]object // by path
	uids    int
	changes int      // from which resource versions are made
	applied []string // kinds and names, in the order of the requests
	away    bool
	refuse  func(kind, name string) bool
}

// New returns a cluster without objects, which asks registries by a client: by https, and those of this machine also by http.
func New(client *http.Client) *Cluster { return &Cluster{client: client, objects: map[string]object{}} }

// kinds are the resources of the groups that are served, with their kinds.
var kinds = map[string]map[string]string{
	"/api/v1": {"namespaces": "Namespace", "secrets": "Secret", "configmaps": "ConfigMap", "services": "Service",
		"serviceaccounts": "ServiceAccount", "pods": "Pod"},
	"/apis/apps/v1":  {"deployments": "Deployment", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet", "daemonsets": "DaemonSet"},
	"/apis/batch/v1": {"jobs": "Job", "cronjobs": "CronJob"},
}

// Kubeconfig returns a kubeconfig for the cluster at a URL.
func Kubeconfig(url string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
contexts: [{name: x, context: {cluster: c}}]
current-context: x
`, url)
}

// Away makes the API server answer no request, or answer again.
func (c *Cluster) Away(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// Refuse makes the API server refuse to apply the objects of which a function returns true; nil for none.
func (c *Cluster) Refuse(f func(kind, name string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refuse = f
}

// ServeHTTP serves the API.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	away := c.away
	c.mu.Unlock()
	if away {
		panic(http.ErrAbortHandler)
	}
	switch {
	case r.URL.Path == "/version":
		reply(w, http.StatusOK, object{"major": "1", "minor": "35", "gitVersion": Version})
	case r.URL.Path == "/apis":
		reply(w, http.StatusOK, object{"kind": "APIGroupList", "apiVersion": "v1", "groups": []object{
			{"name": "apps", "versions": []object{{"groupVersion": "apps/v1", "version": "v1"}}},
			{"name": "batch", "versions": []object{{"groupVersion": "batch/v1", "version": "v1"}}}}})
	case kinds[r.URL.Path] != nil:
		list := []object{}
		for name, kind := range kinds[r.URL.Path] {
			list = append(list, object{"name": name, "kind": kind, "namespaced": kind != "Namespace"})
		}
		reply(w, http.StatusOK, object{"kind": "APIResourceList", "apiVersion": "v1", "resources": list})
	case r.Method == http.MethodPatch:
		c.apply(w, r)
	case r.Method == http.MethodDelete:
		c.delete(w, r.URL.Path)
	case r.Method == http.MethodGet:
		c.get(w, r)
	case r.Method == http.MethodPost || r.Method == http.MethodPut:
		c.replace(w, r)
	default:
		fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed", "not served")
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}

func fail(w http.ResponseWriter, status int, reason, text string) {
	reply(w, status, object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": text, "code": status})
}

func child(o object, keys ...string) object {
	for _, k := range keys {
		o, _ = o[k].(object)
	}
	return o
}

func (c *Cluster) get(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o, ok := c.objects[r.URL.Path]; ok {
		reply(w, http.StatusOK, o)
		return
	}
	items := []object{}
	for _, path := range c.below(r.URL.Path) {
		if o := c.objects[path]; matches(r.URL.Query().Get("labelSelector"), child(o, "metadata", "labels")) {
			items = append(items, o)
		}
	}
	group, _, _ := strings.Cut(r.URL.Path, "/namespaces/")
	if parts := strings.Split(r.URL.Path, "/"); kinds[group][parts[len(parts)-1]] == "" {
		fail(w, http.StatusNotFound, "NotFound", parts[len(parts)-1]+" not found")
		return
	}
	reply(w, http.StatusOK, object{"kind": "List", "apiVersion": "v1", "items": items})
}

// below returns the paths of the objects of a resource, sorted.
func (c *Cluster) below(prefix string) (all []string) {
	for path := range c.objects {
		if rest, ok := strings.CutPrefix(path, prefix+"/"); ok && !strings.Contains(rest, "/") {
			all = append(all, path)
		}
	}
	slices.Sort(all)
	return all
}

// matches reports whether labels match a selector of equalities.
func matches(selector string, labels object) bool {
	for one := range strings.SplitSeq(selector, ",") {
		if k, v, ok := strings.Cut(one, "="); ok && labels[k] != v {
			return false
		}
	}
	return true
}

func (c *Cluster) delete(w http.ResponseWriter, path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, ok := c.objects[path]
	if !ok {
		fail(w, http.StatusNotFound, "NotFound", "not found")
		return
	}
	c.remove(path, o)
	reply(w, http.StatusOK, o)
}

// remove deletes an object and what belongs to it.
func (c *Cluster) remove(path string, o object) {
	delete(c.objects, path)
	for other, owned := range c.objects {
		if owners, _ := child(owned, "metadata")["ownerReferences"].([]any); len(owners) == 1 {
			if owner, _ := owners[0].(object); owner["uid"] == child(o, "metadata")["uid"] {
				c.remove(other, owned)
			}
		}
	}
}

// put stores an object with what the server sets.
func (c *Cluster) put(path string, o object) object {
	meta := child(o, "metadata")
	before := c.objects[path]
	generation := int64(1)
	if before == nil {
		c.uids++
		meta["uid"] = fmt.Sprintf("00000000-0000-0000-0000-%012d", c.uids)
	} else {
		was := child(before, "metadata")
		generation, _ = was["generation"].(int64)
		meta["uid"] = was["uid"]
		if a, b := text(before["spec"]), text(o["spec"]); a != b {
			generation++
		}
		if o["status"] == nil {
			o["status"] = before["status"]
		}
	}
	meta["generation"] = generation
	c.changes++
	meta["resourceVersion"] = strconv.Itoa(c.changes)
	c.objects[path] = o
	return o
}

// replace creates an object of a list, or replaces one, as clients do that have read it before.
func (c *Cluster) replace(w http.ResponseWriter, r *http.Request) {
	var o object
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	label, _ := child(o, "metadata")["name"].(string)
	if err != nil || label == "" {
		fail(w, http.StatusBadRequest, "BadRequest", "no object with a name")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	path, status := r.URL.Path, http.StatusOK
	if r.Method == http.MethodPost {
		path, status = path+"/"+label, http.StatusCreated
		if c.objects[path] != nil {
			fail(w, http.StatusConflict, "AlreadyExists", label+" already exists")
			return
		}
	} else if c.objects[path] == nil {
		fail(w, http.StatusNotFound, "NotFound", label+" not found")
		return
	}
	reply(w, status, c.put(path, o))
}

func text(v any) string {
	b, _ := json.Marshal(v) // it was decoded from JSON
	return string(b)
}

func (c *Cluster) apply(w http.ResponseWriter, r *http.Request) {
	var o object
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err == nil {
		err = json.Unmarshal(body, &o)
	}
	if err != nil || child(o, "metadata") == nil || r.URL.Query().Get("fieldManager") == "" {
		fail(w, http.StatusBadRequest, "BadRequest", "no object, or no fieldManager")
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kind, _ := o["kind"].(string)
	name, _ := child(o, "metadata")["name"].(string)
	if c.refuse != nil && c.refuse(kind, name) {
		fail(w, http.StatusForbidden, "Forbidden", kind+" "+name+" is forbidden: the quota is exceeded")
		return
	}
	if _, rest, ok := strings.Cut(r.URL.Path, "/namespaces/"); ok && strings.Contains(rest, "/") {
		namespace, _, _ := strings.Cut(rest, "/")
		if c.objects["/api/v1/namespaces/"+namespace] == nil {
			fail(w, http.StatusNotFound, "NotFound", fmt.Sprintf("namespaces %q not found", namespace))
			return
		}
		child(o, "metadata")["namespace"] = namespace
	}
	if before := c.objects[r.URL.Path]; kind == "Job" && before != nil && text(before["spec"]) != text(o["spec"]) {
		fail(w, http.StatusUnprocessableEntity, "Invalid", "Job "+name+" is invalid: spec.template: field is immutable")
		return
	}
	if v, ok := child(o, "metadata")["resourceVersion"]; ok && v != child(c.objects[r.URL.Path], "metadata")["resourceVersion"] {
		fail(w, http.StatusConflict, "Conflict", kind+" "+name+" has been modified: apply your changes to the latest version")
		return
	}
	c.applied = append(c.applied, kind+" "+name)
	o = c.put(r.URL.Path, o)
	switch kind {
	case "Deployment":
		c.roll(r.Context(), r.URL.Path, o)
	case "Job":
		c.end(r.URL.Path, o)
	}
	reply(w, http.StatusOK, o)
}

// end sets the status of a Job: complete, unless its annotation "ends" is "never" or "badly".
func (c *Cluster) end(path string, job object) {
	condition := object{"type": "Complete", "status": "True"}
	switch child(job, "metadata", "annotations")["ends"] {
	case "never":
		return
	case "badly":
		condition = object{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
			"message": "Job has reached the specified backoff limit"}
	}
	job["status"] = object{"conditions": []any{condition}}
	c.objects[path] = job
}

// End ends a Job that never ends by itself.
func (c *Cluster) End(namespace, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := "/apis/batch/v1/namespaces/" + namespace + "/jobs/" + name
	c.objects[path]["status"] = object{"conditions": []any{object{"type": "Complete", "status": "True"}}}
}

// Applied returns the kinds and names of what was applied since the last call, in the order of the requests.
func (c *Cluster) Applied() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.applied
	c.applied = nil
	return all
}

// roll makes the replica set and the pods of a Deployment, and sets its status.
func (c *Cluster) roll(ctx context.Context, path string, d object) {
	meta := child(d, "metadata")
	namespace, name := fmt.Sprint(meta["namespace"]), fmt.Sprint(meta["name"])
	sum := sha256.Sum256([]byte(text(child(d, "spec", "template"))))
	hash := hex.EncodeToString(sum[:5])
	labels := object{"pod-template-hash": hash}
	for k, v := range child(d, "spec", "template", "metadata", "labels") {
		labels[k] = v
	}
	for _, old := range c.below("/apis/apps/v1/namespaces/" + namespace + "/replicasets") {
		if strings.HasPrefix(old[strings.LastIndexByte(old, '/')+1:], name+"-") {
			c.remove(old, c.objects[old])
		}
	}
	owner := func(kind string, o object) []any {
		return []any{object{"apiVersion": "apps/v1", "kind": kind, "name": child(o, "metadata")["name"], "uid": child(o, "metadata")["uid"],
			"controller": true}}
	}
	notes := child(d, "metadata", "annotations")
	if notes == nil {
		notes = object{}
		meta["annotations"] = notes
	}
	revision := fmt.Sprint(meta["generation"])
	notes["deployment.kubernetes.io/revision"] = revision
	set := c.put("/apis/apps/v1/namespaces/"+namespace+"/replicasets/"+name+"-"+hash, object{"apiVersion": "apps/v1", "kind": "ReplicaSet",
		"metadata": object{"name": name + "-" + hash, "namespace": namespace, "labels": labels, "ownerReferences": owner("Deployment", d),
			"annotations": object{"deployment.kubernetes.io/revision": revision}}})
	n, ok := child(d, "spec")["replicas"].(float64)
	if !ok {
		n = 1
	}
	available := 0
	for i := range int(n) {
		pod := fmt.Sprintf("%s-%s-%05d", name, hash, i)
		p := c.put("/api/v1/namespaces/"+namespace+"/pods/"+pod, object{"apiVersion": "v1", "kind": "Pod",
			"spec":     child(d, "spec", "template", "spec"),
			"metadata": object{"name": pod, "namespace": namespace, "labels": labels, "ownerReferences": owner("ReplicaSet", set)}})
		if c.run(ctx, namespace, p) {
			available++
		}
	}
	d["status"] = object{"observedGeneration": meta["generation"], "replicas": n, "updatedReplicas": n, "availableReplicas": available,
		"conditions": []any{object{"type": "Available", "status": map[bool]string{true: "True", false: "False"}[available == int(n)]}}}
	c.objects[path] = d
}

// run asks for the images of a pod, and sets its status. It reports whether all are there.
func (c *Cluster) run(ctx context.Context, namespace string, pod object) bool {
	containers, _ := child(pod, "spec")["containers"].([]any)
	ready := true
	var statuses []any
	for _, one := range containers {
		container, _ := one.(object)
		image := fmt.Sprint(container["image"])
		s := object{"name": container["name"], "image": image, "ready": true, "state": object{"running": object{}}}
		digest, err := c.pull(ctx, image, c.secrets(namespace, pod))
		if err != nil {
			ready = false
			s["ready"] = false
			s["state"] = object{"waiting": object{"reason": "ImagePullBackOff",
				"message": fmt.Sprintf("Back-off pulling image %q: ErrImagePull: failed to pull and unpack image %q: %v", image, image, err)}}
		} else {
			base, _, _ := strings.Cut(image, "@")
			if i := strings.LastIndexByte(base, ':'); i > strings.LastIndexByte(base, '/') {
				base = base[:i]
			}
			s["imageID"] = base + "@" + digest
		}
		statuses = append(statuses, s)
	}
	phase, condition := "Running", "True"
	if !ready {
		phase, condition = "Pending", "False"
	}
	pod["status"] = object{"phase": phase, "containerStatuses": statuses, "conditions": []any{object{"type": "Ready", "status": condition}}}
	return ready
}

// secrets returns the user names and passwords of the pull secrets of a pod, joined by a colon, by host.
func (c *Cluster) secrets(namespace string, pod object) map[string]string {
	all := map[string]string{}
	list, _ := child(pod, "spec")["imagePullSecrets"].([]any)
	for _, one := range list {
		name, _ := one.(object)
		secret := c.objects["/api/v1/namespaces/"+namespace+"/secrets/"+fmt.Sprint(name["name"])]
		content, err := base64.StdEncoding.DecodeString(fmt.Sprint(child(secret, "data")[".dockerconfigjson"]))
		var config struct {
			Auths map[string]struct{ Auth string }
		}
		if err != nil || json.Unmarshal(content, &config) != nil {
			continue
		}
		for host, a := range config.Auths {
			if plain, err := base64.StdEncoding.DecodeString(a.Auth); err == nil {
				all[host] = string(plain)
			}
		}
	}
	return all
}

// pull asks a registry for the manifest of an image, and returns its digest.
func (c *Cluster) pull(ctx context.Context, image string, secrets map[string]string) (string, error) {
	r, err := rewrite.ParseReference(image)
	if err != nil {
		return "", err
	}
	reference := r.Digest
	if reference == "" {
		if reference = r.Tag; reference == "" {
			reference = "latest"
		}
	}
	url := r.Registry() + "/v2/" + r.Repository() + "/manifests/" + reference
	digest, answered, err := c.manifest(ctx, "https://"+url, secrets[r.Registry()])
	if !answered && (strings.HasPrefix(r.Host, "127.0.0.1:") || strings.HasPrefix(r.Host, "localhost:")) {
		digest, _, err = c.manifest(ctx, "http://"+url, secrets[r.Registry()])
	}
	return digest, err
}

// manifest returns the digest of the manifest at a URL. answered reports whether a registry has answered.
func (c *Cluster) manifest(ctx context.Context, url, auth string) (digest string, answered bool, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", false, err
	}
	q.Header.Set("Accept", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "+
		"application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json")
	if user, password, ok := strings.Cut(auth, ":"); ok {
		q.SetBasicAuth(user, password)
	}
	resp, err := c.client.Do(q)
	if err != nil {
		return "", false, fmt.Errorf("failed to do request: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", true, fmt.Errorf("unexpected status from GET request to %s: %s: %.300s", url, resp.Status, body)
	}
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:]), true, nil
}

// Objects returns the objects of a kind in a namespace as JSON, sorted by their paths: for tests, and to describe pods.
func (c *Cluster) Objects(namespace, kind string) []json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	var paths []string
	for path, o := range c.objects {
		if o["kind"] == kind && child(o, "metadata")["namespace"] == namespace {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var all []json.RawMessage
	for _, path := range paths {
		all = append(all, json.RawMessage(text(c.objects[path])))
	}
	return all
}
