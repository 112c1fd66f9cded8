package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Environment is what is kept of an environment: it stays with the template that it was made with.
type Environment struct {
	Application string            `json:"application"`
	Name        string            `json:"name"`
	Template    string            `json:"template"` // as it was when the environment was made
	Images      map[string]string `json:"images"`   // by service, with tag and digest
	Objects     []kube.ObjectKey  `json:"objects"`  // that were made
	Deployment  string            `json:"deployment"`
	State       string            `json:"state"`
	At          time.Time         `json:"at"`
}

// The states of an environment.
const (
	Deploying = "deploying" // a deployment began and may have been interrupted: the next one goes on
	Deployed  = "deployed"
)

// Target is where an environment is deployed to, and where its state is kept.
type Target interface {
	// Load returns the environment; nil if there is none.
	Load(ctx context.Context) (*Environment, error)
	// Save keeps the environment. Errors: [ErrAnother].
	Save(ctx context.Context, e Environment) error
	// Apply makes the objects, and removes others that were made before.
	Apply(ctx context.Context, objects []map[string]any, remove []kube.ObjectKey) error
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

// Apply implements Target: it writes one file, which replaces the one before.
func (f *Folder) Apply(_ context.Context, objects []map[string]any, _ []kube.ObjectKey) error {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, o := range objects {
		if err := e.Encode(o); err != nil {
			return fmt.Errorf("writing manifests: %w", err)
		}
	}
	if err := e.Close(); err != nil {
		return fmt.Errorf("writing manifests: %w", err)
	}
	return durable.WriteFile(filepath.Join(f.Dir, ManifestsFile), b.Bytes(), 0o644)
}

// Cluster is a namespace of a cluster, to which objects are applied. The state is in a ConfigMap beside them.
type Cluster struct {
	Objects   *kube.Objects
	Namespace string
	Name      string // of the environment
	version   string // of the ConfigMap when it was read
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
	namespace := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": c.Namespace}}
	if c.version == "" {
		if _, err := c.Objects.Apply(ctx, namespace, "", manager); err != nil {
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

// Apply implements Target.
func (c *Cluster) Apply(ctx context.Context, objects []map[string]any, remove []kube.ObjectKey) error {
	for _, o := range objects {
		if _, err := c.Objects.Apply(ctx, o, c.Namespace, manager); err != nil {
			return err
		}
	}
	for _, k := range remove {
		if err := c.Objects.Delete(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

// healthPause is the time between two looks at a rollout.
const healthPause = time.Second

// Await waits until all Deployments run as they are written.
//
// Errors: one fails, with the reason of the cluster; the time ends.
func (c *Cluster) Await(ctx context.Context, objects []kube.ObjectKey, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		var open error
		for _, k := range objects {
			if k.Kind != "Deployment" {
				continue
			}
			h, err := c.Objects.Health(ctx, k)
			switch {
			case err != nil && ctx.Err() == nil:
				return err
			case err == nil && h.State == kube.Failed:
				return fmt.Errorf("%s does not run: %s", k, h.Why)
			case err == nil && h.State == kube.Changing:
				open = fmt.Errorf("%s does not run yet after %s: %s", k, wait, h.Why)
			}
		}
		if open == nil && ctx.Err() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(open, context.Cause(ctx))
		case <-time.After(healthPause):
		}
	}
}
