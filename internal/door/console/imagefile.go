package console

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

// image is a stored image as pages show it.
type image struct {
	*ecrintypes.ReadImageResponse
	content manifestFile
	config  *configFile // nil if it has none that can be shown
}

// manifestFile has the members of a manifest that pages show. The server has checked them when it was pushed.
type manifestFile struct {
	ArtifactType string            `json:"artifactType"`
	Config       *descriptor       `json:"config"`
	Layers       []descriptor      `json:"layers"`
	Manifests    []descriptor      `json:"manifests"`
	Subject      *descriptor       `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
}

// descriptor is a reference to content.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations"`
	Platform     *struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

// what returns a word for a part of an index, such as linux/arm64/v8.
func (d descriptor) what() string {
	if d.ArtifactType != "" {
		return artifactOf(d.ArtifactType)
	}
	if d.Annotations["vnd.docker.reference.type"] == "attestation-manifest" {
		return "attestation"
	}
	if p := d.Platform; p != nil && p.OS != "" {
		text := p.OS + "/" + p.Architecture
		if p.Variant != "" {
			text += "/" + p.Variant
		}
		return text
	}
	return "image"
}

// configFile has the members of a config that pages show. Source: OCI image specification, image configuration.
type configFile struct {
	Created      *time.Time `json:"created"`
	Author       string     `json:"author"`
	Architecture string     `json:"architecture"`
	OS           string     `json:"os"`
	Variant      string     `json:"variant"`
	Config       struct {
		User         string              `json:"User"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Env          []string            `json:"Env"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		WorkingDir   string              `json:"WorkingDir"`
		Labels       map[string]string   `json:"Labels"`
	} `json:"config"`
	History []struct {
		CreatedBy  string `json:"created_by"`
		EmptyLayer bool   `json:"empty_layer"`
	} `json:"history"`
}

// platform returns the platform of a config; "" if it has none.
func (c *configFile) platform() string {
	if c == nil || c.OS == "" {
		return ""
	}
	text := c.OS + "/" + c.Architecture
	if c.Variant != "" {
		text += "/" + c.Variant
	}
	return text
}

// read reads an image by tag or digest. It is no pull.
func (x *request) read(repository, tag, digest string) (*image, error) {
	out, err := do[ecrintypes.ReadImageResponse](x, "ecrin", "ReadImage", &ecrintypes.ReadImageRequest{RegistryId: x.account.String(),
		RepositoryName: repository, ImageTag: tag, ImageDigest: digest})
	if err != nil {
		return nil, err
	}
	i := &image{ReadImageResponse: out}
	_ = json.Unmarshal([]byte(out.ImageManifest), &i.content) // what cannot be read is not shown
	var c configFile
	if out.ImageConfig != "" && json.Unmarshal([]byte(out.ImageConfig), &c) == nil {
		i.config = &c
	}
	return i, nil
}

// instruction returns what made a layer as its author wrote it, as far as the history of the config tells.
func instruction(createdBy string) (word, rest string) {
	text := strings.TrimSpace(createdBy)
	for _, shell := range []string{"/bin/sh -c #(nop) ", "|0 /bin/sh -c ", "/bin/sh -c "} {
		if after, ok := strings.CutPrefix(text, shell); ok {
			text = strings.TrimSpace(after)
			if !strings.Contains(shell, "nop") {
				text = "RUN " + text
			}
			break
		}
	}
	text = strings.TrimSuffix(text, " # buildkit")
	word, rest, _ = strings.Cut(text, " ")
	if word == "" || strings.ToUpper(word) != word || strings.ContainsAny(word, "/.:=") {
		return "", text
	}
	return word, strings.TrimSpace(rest)
}
