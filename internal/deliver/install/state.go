package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
)

// Source says why there is a version.
type Source string

// The sources of versions.
const (
	OnlineInstall  Source = "Online Install"
	UpstreamUpdate Source = "Upstream Update"
	ConfigChange   Source = "Config Change"
	LicenseChange  Source = "License Change"
	RegistryChange Source = "Registry Change"
	AirgapInstall  Source = "Airgap Install"
	AirgapUpdate   Source = "Airgap Update"
)

// Status is how far a version is.
type Status string

// The statuses of versions.
const (
	PendingDownload Status = "pending_download" // its files are not here yet
	PendingConfig   Status = "pending_config"   // required values are missing
	Pending         Status = "pending"          // it can be deployed
	Deploying       Status = "deploying"
	Deployed        Status = "deployed"
	Failed          Status = "failed"  // Error has why
	Unknown         Status = "unknown" // the cluster does not answer
)

// Version is a version in the history of an installation.
type Version struct {
	Sequence        int64     `json:"sequence"` // from 0
	Source          Source    `json:"source"`
	Status          Status    `json:"status"`
	Error           string    `json:"error,omitempty"` // why it failed, or what a deployment waits for
	ChannelID       string    `json:"channelId"`
	ChannelName     string    `json:"channelName"`
	ChannelSequence int64     `json:"channelSequence"`
	Label           string    `json:"versionLabel"`
	Required        bool      `json:"isRequired"`
	Notes           string    `json:"releaseNotes,omitempty"`
	ReleasedAt      string    `json:"releasedAt,omitempty"`
	ProxyDomain     string    `json:"proxyDomain,omitempty"`
	RegistryDomain  string    `json:"registryDomain,omitempty"`
	CreatedAt       time.Time `json:"createdAt"`
	// Registries are the names at the proxy of registries with a port, by host.
	Registries map[string]string `json:"registries,omitempty"`
	DeployedAt *time.Time        `json:"deployedAt,omitempty"` // when it was deployed first
	Incomplete string            `json:"incomplete,omitempty"` // why it can never be deployed
	Airgap     bool              `json:"airgap,omitempty"`     // its files and images are from an airgap bundle
	NotOffered bool              `json:"notOffered,omitempty"` // the vendor did not offer it at the last check
}

// Registry is a registry of the customer, which has all images.
type Registry struct {
	rewrite.Target
	Namespace   string `json:"namespace,omitempty"`
	LastSegment bool   `json:"lastSegment,omitempty"` // images are named by the last part of their path
	Username    string `json:"username,omitempty"`
	Password    string `json:"password,omitempty"`
	Config      string `json:"config,omitempty"` // path of the configuration of credentials; "" for the usual one
	NoCopy      bool   `json:"noCopy,omitempty"` // images come there by other means
}

func (r Registry) local() *rule.Local {
	return &rule.Local{Host: r.Host, Namespace: r.Namespace, Flat: r.LastSegment}
}

func (r Registry) target() rewrite.Target {
	t := r.Target
	t.Username, t.Password = r.Username, r.Password
	return t
}

// Settings say how an installation reaches the vendor and the cluster.
type Settings struct {
	Kubeconfig string `json:"kubeconfig,omitempty"` // path; "" for the usual one
	Context    string `json:"context,omitempty"`
	Namespace  string `json:"namespace"`
	CA         string `json:"ca,omitempty"` // PEM file
	PlainHTTP  bool   `json:"plainHttp,omitempty"`
	AllPrivate bool   `json:"allPrivate,omitempty"` // public images too are pulled by the proxy
}

// state is the content of state.json: all that an installation knows beside the files of its versions.
type state struct {
	Format    int               `json:"format"`
	PublicKey string            `json:"publicKey"` // PEM, of the vendor: it does not change
	License   string            `json:"license"`   // file, verified
	Settings  Settings          `json:"settings"`
	Registry  *Registry         `json:"registry,omitempty"`
	Config    map[string]string `json:"config,omitempty"`
	Versions  []Version         `json:"versions"`
	Current   int64             `json:"current"` // version of the last deployment; -1 for none
	Inventory []kube.ObjectKey  `json:"inventory,omitempty"`
	Hooks     []kube.ObjectKey  `json:"hooks,omitempty"`    // of charts, that were left in the cluster
	Releases  []string          `json:"releases,omitempty"` // charts that are installed
	Attempt   *attempt          `json:"attempt,omitempty"`  // the last deployment
	LastCheck time.Time         `json:"lastCheck,omitzero"`
}

const (
	stateFile   = "state.json"
	lockFile    = "lock"
	versionsDir = "versions"
	format      = 1
	maxState    = 64 << 20
	maxVersions = 10_000
)

// ErrNotInstalled is the error of Open for a folder without an installation.
var ErrNotInstalled = errors.New("there is no installation in the folder: run ecrin install")

// ErrBusy is the error of Open while another process works with the folder.
var ErrBusy = errors.New("another ecrin works with this folder")

// lock locks a folder, which must exist.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := durable.TryLock(f); err != nil {
		f.Close()
		if errors.Is(err, durable.ErrLocked) {
			return nil, ErrBusy
		}
		return nil, fmt.Errorf("locking the folder: %w", err)
	}
	return f, nil
}

// read reads the state of a folder. Errors: ErrNotInstalled; a file that is damaged, or of a later ecrin.
func read(dir string) (state, error) {
	path := filepath.Join(dir, stateFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, ErrNotInstalled
	}
	if err == nil && info.Size() > maxState {
		err = fmt.Errorf("it has more than %d bytes", maxState)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(path)
	}
	var s state
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return state{}, fmt.Errorf("reading %s: %w", path, err)
	}
	if s.Format != format {
		return state{}, fmt.Errorf("%s has the format %d: it was written by another version of ecrin", path, s.Format)
	}
	return s, nil
}

// save stores the state. It has the licence and passwords, so that its owner alone reads it.
func (i *Installation) save() error {
	text, err := json.MarshalIndent(i.state, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(i.dir, stateFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("storing the state: %w", err)
	}
	return nil
}

// change changes the state and stores it. If that fails, the state in memory is as before.
func (i *Installation) change(f func(*state)) error {
	before := i.state
	i.state.Versions = append([]Version(nil), before.Versions...)
	f(&i.state)
	err := i.save()
	if err != nil {
		i.state = before
	}
	return err
}
