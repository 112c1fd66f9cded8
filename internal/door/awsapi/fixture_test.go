package awsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	ociManifest  = "application/vnd.oci.image.manifest.v1+json"
	ociIndex     = "application/vnd.oci.image.index.v1+json"
	ociConfig    = "application/vnd.oci.image.config.v1+json"
	ociLayer     = "application/vnd.oci.image.layer.v1.tar+gzip"
	dockerSchema = "application/vnd.docker.distribution.manifest.v2+json"
)

func digestOf(content string) string { return "sha256:" + hash(content) }

// object writes JSON with the values of pairs.
func object(pairs ...any) string {
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (s *server) repository(name string) {
	s.t.Helper()
	s.must("CreateRepository", object("repositoryName", name))
}

// layer stores content in the repository by the layer operations.
func (s *server) layer(repo, content string) string {
	s.t.Helper()
	id := s.must("InitiateLayerUpload", object("repositoryName", repo))["uploadId"]
	s.must("UploadLayerPart", part(repo, id, 0, content))
	out := s.must("CompleteLayerUpload", object("repositoryName", repo, "uploadId", id, "layerDigests", []string{digestOf(content)}))
	return out["layerDigest"].(string)
}

// part is the input of UploadLayerPart for content that starts at first.
func part(repo string, id any, first int, content string) string {
	return object("repositoryName", repo, "uploadId", id, "partFirstByte", first, "partLastByte", first+len(content)-1,
		"layerPartBlob", base64.StdEncoding.EncodeToString([]byte(content)))
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

func describe(mediaType, content string) descriptor {
	return descriptor{mediaType, digestOf(content), len(content)}
}

// manifest is an image manifest over one config and layers; more are further members.
func manifest(config string, layers []string, more ...any) string {
	all := []descriptor{}
	for _, l := range layers {
		all = append(all, describe(ociLayer, l))
	}
	return object(append([]any{"schemaVersion", 2, "mediaType", ociManifest, "config", describe(ociConfig, config), "layers", all}, more...)...)
}

func index(manifests ...string) string {
	all := []descriptor{}
	for _, m := range manifests {
		all = append(all, describe(ociManifest, m))
	}
	return object("schemaVersion", 2, "mediaType", ociIndex, "manifests", all)
}

// image stores an image named by seed, with the tags, and gives its manifest.
func (s *server) image(repo, seed string, tags ...string) string {
	s.t.Helper()
	config := fmt.Sprintf(`{"seed":%q}`, seed)
	s.layer(repo, config)
	m := manifest(config, nil)
	s.push(repo, m, tags...)
	return m
}

// push stores a manifest, untagged without tags.
func (s *server) push(repo, m string, tags ...string) {
	s.t.Helper()
	if len(tags) == 0 {
		s.must("PutImage", object("repositoryName", repo, "imageManifest", m))
	}
	for _, tag := range tags {
		s.must("PutImage", object("repositoryName", repo, "imageManifest", m, "imageTag", tag))
	}
}

// list gives an answer's list of objects.
func list(out map[string]any, member string) []map[string]any {
	var all []map[string]any
	for _, one := range out[member].([]any) {
		all = append(all, one.(map[string]any))
	}
	return all
}

// spell writes some members of each object, joined by blanks; absent ones are "-".
func spell(all []map[string]any, members ...string) []string {
	out := []string{}
	for _, one := range all {
		var words []string
		for _, m := range members {
			word := "-"
			if v, ok := one[m]; ok {
				word = fmt.Sprint(v)
			}
			words = append(words, word)
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func ids(pairs ...string) []map[string]string {
	var all []map[string]string
	for i := 0; i < len(pairs); i += 2 {
		id := map[string]string{}
		if pairs[i] != "" {
			id["imageDigest"] = pairs[i]
		}
		if pairs[i+1] != "" {
			id["imageTag"] = pairs[i+1]
		}
		all = append(all, id)
	}
	return all
}
