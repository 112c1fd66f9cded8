package release

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Environment is what is kept of an environment: it stays with the template that it was made with.
type Environment struct {
	Application string            `json:"application"`
	Name        string            `json:"name"`
	Template    string            `json:"template"` // as it was when the environment was made
	Images      map[string]string `json:"images"`   // by service or job, with tag and digest
	Objects     []kube.ObjectKey  `json:"objects"`  // that were made
	Workflow    string            `json:"workflow"` // setup or patch
	Deployment  string            `json:"deployment"`
	State       string            `json:"state"`
	At          time.Time         `json:"at"`
}

// The states of an environment.
const (
	Deploying = "deploying" // a deployment began and may have been interrupted: the next one goes on
	Deployed  = "deployed"
	Failed    = "failed" // a workload failed: the next deployment begins anew
)

// Target is where an environment is deployed to, and where its state is kept.
type Target interface {
	// Load returns the environment; nil if there is none.
	Load(ctx context.Context) (*Environment, error)
	// Save keeps the environment. Errors: [ErrAnother].
	Save(ctx context.Context, e Environment) error
	// Apply makes the objects of one stage after another, and then removes others that were made before. It returns the state of the
	// workloads, if it looks for it. Errors: [ErrAnother], *[WorkloadError].
	Apply(ctx context.Context, stages []apptemplate.Stage, remove []kube.ObjectKey) ([]kube.Health, error)

	// goesOn reports whether a deployment of the same content is the same deployment.
	goesOn(before *Environment) bool
}

// WorkloadError is the error of workloads that do not run as they are written, in the words of the cluster.
type WorkloadError struct{ Failed []kube.Health }

// Error names the workloads.
func (e *WorkloadError) Error() string {
	var all []string
	for _, h := range e.Failed {
		all = append(all, h.ObjectKey.String()+" does not run: "+h.Why)
	}
	return strings.Join(all, "; ")
}

// ErrAnother is the error of a deployment of an environment that another deployment has begun to change.
var ErrAnother = errors.New("another deployment of the environment has begun: when it has ended, repeat this one")

// The files of an environment in a folder.
const (
	stateFile     = "environment.json"
	ManifestsFile = "manifests.yaml"
	lockFile      = ".lock"
)

// Folder is a folder to which manifests are written, for kubectl or a tool of GitOps.
type Folder struct {
	Dir  string
	lock *os.File
}

// OpenFolder makes a folder if it is not there, and locks it until Close.
//
// Errors: [ErrAnother]; those of the file system.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := durable.TryLock(f); err != nil {
		if errors.Is(err, durable.ErrLocked) {
			err = ErrAnother
		}
		return nil, errors.Join(err, f.Close())
	}
	return &Folder{dir, f}, nil
}

// Close unlocks the folder.
func (f *Folder) Close() error { return f.lock.Close() }

// Load implements Target.
func (f *Folder) Load(context.Context) (*Environment, error) {
	text, err := os.ReadFile(filepath.Join(f.Dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return environmentOf(text, filepath.Join(f.Dir, stateFile))
}

func environmentOf(text []byte, where string) (*Environment, error) {
	var e Environment
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, fmt.Errorf("%s is not the state of an environment: %w; with --recreate it is made anew", where, err)
	}
	return &e, nil
}

func (e Environment) text() ([]byte, error) {
	text, err := json.MarshalIndent(e, "", "  ")
	return append(text, '\n'), err
}

// Save implements Target. The file is the old or the new one at any time.
func (f *Folder) Save(_ context.Context, e Environment) error {
	text, err := e.text()
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(f.Dir, stateFile), text, 0o644)
}

// goesOn implements Target: the same content is written in the same words, whether it is there or not.
func (*Folder) goesOn(*Environment) bool { return true }

// Apply implements Target: it writes one file, which replaces the one before.
func (f *Folder) Apply(_ context.Context, stages []apptemplate.Stage, _ []kube.ObjectKey) ([]kube.Health, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, s := range stages {
		for _, o := range s.Objects {
			if err := e.Encode(o); err != nil {
				return nil, fmt.Errorf("writing manifests: %w", err)
			}
		}
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("writing manifests: %w", err)
	}
	return nil, durable.WriteFile(filepath.Join(f.Dir, ManifestsFile), b.Bytes(), 0o644)
}

// Cluster is a namespace of a cluster, to which objects are applied. The state is in a ConfigMap beside them.
type Cluster struct {
	Objects   *kube.Objects
	Namespace string
	Name      string        // of the environment
	Wait      time.Duration // for the workloads of all stages; 0 not to wait
	Pause     time.Duration // between two looks at workloads; 0 means a second
	version   string        // of the ConfigMap when it was read
}

// manager is the field manager of what deployments apply.
const manager = "ecrin-application"

func (c *Cluster) key() kube.ObjectKey {
	return kube.ObjectKey{APIVersion: "v1", Kind: "ConfigMap", Namespace: c.Namespace, Name: "ecrin-environment-" + c.Name}
}

// Load implements Target.
func (c *Cluster) Load(ctx context.Context) (*Environment, error) {
	o, err := c.Objects.Get(ctx, c.key())
	if err != nil || o == nil {
		return nil, err
	}
	meta, _ := o["metadata"].(map[string]any)
	c.version, _ = meta["resourceVersion"].(string)
	data, _ := o["data"].(map[string]any)
	text, _ := data[stateFile].(string)
	return environmentOf([]byte(text), "the ConfigMap "+c.key().Name)
}

// Save implements Target. An environment that another process has saved since it was loaded is left alone.
func (c *Cluster) Save(ctx context.Context, e Environment) error {
	text, err := e.text()
	if err != nil {
		return err
	}
	if c.version == "" {
		if err := c.makeNamespace(ctx); err != nil {
			return err
		}
	}
	k := c.key()
	meta := map[string]any{"name": k.Name, "namespace": k.Namespace}
	if c.version != "" {
		meta["resourceVersion"] = c.version
	}
	object := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{stateFile: string(text)}}
	if _, err := c.Objects.Apply(ctx, object, c.Namespace, manager); err != nil {
		if kube.IsConflict(err) {
			return ErrAnother
		}
		return err
	}
	stored, err := c.Load(ctx)
	if err == nil && (stored == nil || stored.Deployment != e.Deployment) {
		err = ErrAnother
	}
	return err
}

// makeNamespace makes the namespace if it is not there. Who may read it needs no right to make it.
func (c *Cluster) makeNamespace(ctx context.Context) error {
	there, err := c.Objects.Get(ctx, kube.ObjectKey{APIVersion: "v1", Kind: "Namespace", Name: c.Namespace})
	if err != nil || there != nil {
		return err
	}
	_, err = c.Objects.Apply(ctx, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": c.Namespace}}, "",
		manager)
	return err
}

// goesOn implements Target: a deployment that was interrupted is continued.
func (*Cluster) goesOn(before *Environment) bool { return before.State == Deploying }

// Apply implements Target.
func (c *Cluster) Apply(ctx context.Context, stages []apptemplate.Stage, remove []kube.ObjectKey) (all []kube.Health, err error) {
	until := time.Now().Add(c.Wait)
	if err := c.current(ctx); err != nil {
		return nil, err
	}
	// The Jobs of another deployment may still run, and must not do so beside their successors.
	remove, err = c.removeAll(ctx, remove, func(k kube.ObjectKey) bool { return k.Kind == "Job" })
	if err != nil {
		return nil, err
	}
	for _, s := range stages {
		if err := c.current(ctx); err != nil {
			return all, err
		}
		var applied []workload
		for _, o := range s.Objects {
			k, err := c.Objects.Apply(ctx, o, c.Namespace, manager)
			if err != nil {
				return all, err
			}
			applied = append(applied, workload{k, note(o, apptemplate.GoOnNote) != ""})
		}
		if c.Wait > 0 {
			found, err := c.await(ctx, s.Name, applied, until)
			all = append(all, found...)
			if err != nil {
				return all, err
			}
		}
	}
	if err := c.current(ctx); err != nil {
		return all, err
	}
	_, err = c.removeAll(ctx, remove, func(kube.ObjectKey) bool { return true })
	return all, err
}

// removeAll removes the objects that a function chooses, and returns the others.
func (c *Cluster) removeAll(ctx context.Context, all []kube.ObjectKey, chosen func(kube.ObjectKey) bool) (left []kube.ObjectKey,
	err error) {
	for _, k := range all {
		if !chosen(k) {
			left = append(left, k)
			continue
		}
		if err := c.Objects.Delete(ctx, k); err != nil {
			return nil, err
		}
	}
	return left, nil
}

func note(object map[string]any, key string) string {
	meta, _ := object["metadata"].(map[string]any)
	notes, _ := meta["annotations"].(map[string]any)
	text, _ := notes[key].(string)
	return text
}

// current returns [ErrAnother] if another deployment has saved the environment.
func (c *Cluster) current(ctx context.Context) error {
	o, err := c.Objects.Get(ctx, c.key())
	if err != nil {
		return err
	}
	meta, _ := o["metadata"].(map[string]any)
	if version, _ := meta["resourceVersion"].(string); version != c.version {
		return ErrAnother
	}
	return nil
}

// errTime is the error of a wait that ends before the workloads run. The deployment is not at its end, and can be continued.
var errTime = errors.New("the time for waiting has ended")

func openText(open []kube.Health) string {
	var all []string
	for _, h := range open {
		all = append(all, h.ObjectKey.String()+" does not run yet: "+h.Why)
	}
	return strings.Join(all, "; ")
}

// workload is an object that may run something. goOn says that its failure ends nothing.
type workload struct {
	kube.ObjectKey
	goOn bool
}

// steadyLooks is at how many looks in succession Deployments must run. A container that ends at once is available for a moment, and again
// after its first restart.
const steadyLooks = 5

// await waits until the Deployments of a stage run as they are written, at some looks in succession, and its Jobs have ended. It returns
// their state.
//
// Errors: *WorkloadError when one fails; errTime; those of the API server.
func (c *Cluster) await(ctx context.Context, stage string, all []workload, until time.Time) ([]kube.Health, error) {
	for steady := 1; ; steady++ {
		var found, failed, open []kube.Health
		runs := false // there is something that must go on running
		for _, w := range all {
			if w.Kind != "Deployment" && w.Kind != "Job" {
				continue
			}
			runs = runs || w.Kind == "Deployment"
			h, err := c.Objects.Health(ctx, w.ObjectKey)
			if err != nil {
				return found, err
			}
			found = append(found, h)
			switch {
			case h.State == kube.Failed && !w.goOn:
				failed = append(failed, h)
			case h.State == kube.Changing:
				open = append(open, h)
			}
		}
		switch {
		case len(failed) > 0:
			return found, fmt.Errorf("the stage %s: %w", stage, &WorkloadError{failed})
		case len(open) == 0 && (!runs || steady >= steadyLooks || !time.Now().Before(until)):
			return found, nil
		case len(open) > 0 && !time.Now().Before(until):
			return found, fmt.Errorf("the stage %s: %s: %w", stage, openText(open), errTime)
		}
		if len(open) > 0 {
			steady = 0
		}
		select {
		case <-ctx.Done():
			return found, context.Cause(ctx)
		case <-time.After(cmp.Or(c.Pause, time.Second)):
		}
	}
}
