package install

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/license"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// History is what an installation has: versions with their files, values and the licence.
type History struct {
	dir     string
	state   state
	license license.Verified
}

// Look reads an installation without its lock, so that it can be looked at while another process, or another goroutine, works with it. The
// versions are those of one moment. A file of a version is replaced when the version is deployed: it may be missing for an instant.
//
// Errors: ErrNotInstalled; the stored state or licence is damaged.
func Look(dir string) (*History, error) {
	h := &History{dir: dir}
	var err error
	if h.state, err = read(dir); err != nil {
		return nil, err
	}
	h.license, err = Verify([]byte(h.state.License), h.state.PublicKey, time.Time{}) // an end is for the server to say
	return h, err
}

// License returns the licence.
func (h *History) License() license.Verified { return h.license }

// Versions returns the history, the oldest first. current is the sequence of the version that was deployed last; -1 for none.
func (h *History) Versions() (all []Version, current int64) {
	return append([]Version(nil), h.state.Versions...), h.state.Current
}

// Version returns a version by its sequence; with -1 the newest.
//
// Errors: there is none.
func (h *History) Version(sequence int64) (Version, error) {
	n := int64(len(h.state.Versions))
	if sequence == -1 {
		sequence = n - 1
	}
	if sequence < 0 || sequence >= n {
		return Version{}, fmt.Errorf("there is no version %d", sequence)
	}
	return h.state.Versions[sequence], nil
}

// Checked returns when the vendor was asked for new versions last; zero for never.
func (h *History) Checked() time.Time { return h.state.LastCheck }

// Offline reports whether the newest version is from an airgap bundle, so that the vendor is not asked.
func (h *History) Offline() bool {
	n := len(h.state.Versions)
	return n > 0 && h.state.Versions[n-1].Airgap
}

// Settings returns how the installation reaches the vendor and the cluster.
func (h *History) Settings() Settings { return h.state.Settings }

// Registry returns the registry of the customer without its password; nil if images are pulled from the vendor.
func (h *History) Registry() *Registry {
	if h.state.Registry == nil {
		return nil
	}
	r := *h.state.Registry
	r.Password = ""
	return &r
}

// Next returns the version that Deploy deploys without a sequence: one whose deployment was interrupted, else the newest.
//
// Errors: there is none.
func (h *History) Next() (Version, error) {
	if c := h.state.Current; c >= 0 && h.state.Versions[c].Status == Deploying {
		return h.state.Versions[c], nil
	}
	return h.Version(-1)
}

// Deployable returns nil if Deploy deploys a version, apart from what the cluster says.
//
// Errors: why not.
func (h *History) Deployable(v Version) error {
	switch v.Status {
	case PendingDownload:
		return errors.New("the version is not downloaded yet: run ecrin update check")
	case PendingConfig:
		return errors.New(v.Error)
	}
	if v.Incomplete != "" {
		return fmt.Errorf("the version cannot be deployed: %s", v.Incomplete)
	}
	if h.withdrawn(v) && (v.DeployedAt == nil || v.Sequence > h.state.Current) {
		return fmt.Errorf("the vendor does not offer the version %d (%s) any more: deploy another one of ecrin update list, or run ecrin update "+
			"check, which looks whether it is offered again", v.Sequence, v.Label)
	}
	return h.allowed(v)
}

// withdrawn reports whether the vendor does not offer a version any more, and its release is not the deployed one.
func (h *History) withdrawn(v Version) bool {
	return v.NotOffered && (h.state.Current < 0 || !v.sameRelease(h.state.Versions[h.state.Current]))
}

// sameRelease reports whether two versions are of one release of one channel.
func (v Version) sameRelease(other Version) bool {
	return v.ChannelID == other.ChannelID && v.ChannelSequence == other.ChannelSequence
}

// base returns the sequence of the version from which a change makes the next one: the newest that is not withdrawn, or else the newest.
func (h *History) base() int64 {
	for _, v := range slices.Backward(h.state.Versions) {
		if !h.withdrawn(v) {
			return v.Sequence
		}
	}
	return int64(len(h.state.Versions)) - 1
}

// allowed checks that no required version is left out on the way to a later one.
func (h *History) allowed(v Version) error {
	if h.state.Current < 0 || v.Sequence <= h.state.Current {
		return nil
	}
	for _, other := range h.state.Versions[h.state.Current+1 : v.Sequence] {
		if other.Required && !h.withdrawn(other) && other.DeployedAt == nil && other.ChannelID == v.ChannelID && !other.sameRelease(v) {
			return fmt.Errorf("the version %d (%s) is required: deploy it before the version %d", other.Sequence, other.Label, v.Sequence)
		}
	}
	return nil
}

// ConfigItems returns the values that a version asks for, with those that are set.
func (h *History) ConfigItems(sequence int64) ([]ConfigItem, error) {
	files, err := rewrite.ReadFolder(filepath.Join(h.folder(sequence), rewrite.UpstreamDir))
	if err != nil {
		return nil, err
	}
	return configItems(files, h.state.Config), nil
}

// Passwords returns what is not to be shown of the files of versions: the id of the licence, the password of the registry of the customer,
// and the values that the versions call passwords.
func (h *History) Passwords(sequences ...int64) []string {
	all := []string{h.license.ID}
	if r := h.state.Registry; r != nil && r.Password != "" {
		all = append(all, r.Password)
	}
	for _, sequence := range sequences {
		items, err := h.ConfigItems(sequence)
		if err != nil {
			continue // the version has no files
		}
		var set struct {
			Spec struct {
				Values map[string]struct {
					Value string `yaml:"value"`
				} `yaml:"values"`
			} `yaml:"spec"`
		}
		text, err := h.Read(sequence, rewrite.UserDir+"/config.yaml")
		if err != nil || safeyaml.Unmarshal(text, &set) != nil {
			set.Spec.Values = nil
		}
		for _, item := range items {
			if !item.Secret() {
				continue
			}
			for _, value := range []string{h.state.Config[item.Name], set.Spec.Values[item.Name].Value} {
				if value != "" && !slices.Contains(all, value) {
					all = append(all, value)
				}
			}
		}
	}
	return all
}

// folder returns the folder of a version.
func (h *History) folder(sequence int64) string {
	return filepath.Join(h.dir, versionsDir, fmt.Sprint(sequence))
}
