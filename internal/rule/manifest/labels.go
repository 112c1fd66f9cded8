package manifest

import (
	"encoding/json"
	"maps"
	"slices"
)

// MaxConfig is the size of the largest config whose labels are read, in bytes.
const MaxConfig = 1 << 20

// Limits of the labels of an image that can be searched: their number, and the bytes of a key, of a value and of all. What is beyond a
// limit is left out, in the order of the keys.
const (
	maxLabels     = 100
	maxLabelKey   = 256
	maxLabelValue = 1024
	maxLabelBytes = 16 << 10
)

// configTypes are the media types of configs that have labels.
var configTypes = []string{"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}

// Labelled returns the config in which the labels of an image are; ok is false if it has none, or one that is too large.
func (m *Manifest) Labelled() (config Descriptor, ok bool) {
	if m.Config == nil || m.Config.Size < 0 || m.Config.Size > MaxConfig || !slices.Contains(configTypes, m.Config.MediaType) {
		return Descriptor{}, false
	}
	return *m.Config, true
}

// Labels returns the labels of an image as JSON, an object of texts: those of its config, which is nil if it is not known, and the
// annotations of the manifest, which replace labels with the same key. A config that is not as expected has no labels.
//
// Source: OCI image specification, image configuration (config.Labels) and annotations.
func (m *Manifest) Labels(config []byte) []byte {
	var doc struct {
		Config struct{ Labels map[string]string } `json:"config"`
	}
	all := map[string]string{}
	if json.Unmarshal(config, &doc) == nil {
		maps.Copy(all, doc.Config.Labels)
	}
	maps.Copy(all, m.Annotations)
	kept, left := map[string]string{}, maxLabelBytes
	for _, key := range slices.Sorted(maps.Keys(all)) {
		size := len(key) + len(all[key])
		if key == "" || len(key) > maxLabelKey || len(all[key]) > maxLabelValue || size > left {
			continue
		}
		if len(kept) == maxLabels {
			break
		}
		kept[key] = all[key]
		left -= size
	}
	text, err := json.Marshal(kept)
	if err != nil { // not for texts
		return []byte("{}")
	}
	return text
}
