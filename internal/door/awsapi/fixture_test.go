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

// object returns a JSON object. pairs are names and values of members.
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

// layer stores content in the repository by the layer operations and returns its digest.
func (s *server) layer(repo, content string) string {
	s.t.Helper()
	id := s.must("InitiateLayerUpload", object("repositoryName", repo))["uploadId"]
	s.must("UploadLayerPart", part(repo, id, 0, content))
	out := s.must("CompleteLayerUpload", object("repositoryName", repo, "uploadId", id, "layerDigests", []string{digestOf(content)}))
	return out["layerDigest"].(string)
}

// part returns the input of UploadLayerPart for content that starts at byte first.
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

// manifest returns an image manifest with a config and layers. more are names and values of further members.
func manifest(config string, layers []string, more ...any) string {
	all := []descriptor{}
	for _, l := range layers {
		all = append(all, describe(ociLayer, l))
	}
	return object(append([]any{"schemaVersion", 2, "mediaType", ociManifest, "config", describe(ociConfig, config), "layers",
		all}, more...)...)
}

func index(manifests ...string) string {
	all := []descriptor{}
	for _, m := range manifests {
		all = append(all, describe(ociManifest, m))
	}
	return object("schemaVersion", 2, "mediaType", ociIndex, "manifests", all)
}

// image stores an image, whose content depends on seed, with the tags, and returns its manifest.
func (s *server) image(repo, seed string, tags ...string) string {
	s.t.Helper()
	config := fmt.Sprintf(`{"seed":%q}`, seed)
	s.layer(repo, config)
	m := manifest(config, nil)
	s.push(repo, m, tags...)
	return m
}

// push stores a manifest with the tags, or untagged if there are none.
func (s *server) push(repo, m string, tags ...string) {
	s.t.Helper()
	if len(tags) == 0 {
		s.must("PutImage", object("repositoryName", repo, "imageManifest", m))
	}
	for _, tag := range tags {
		s.must("PutImage", object("repositoryName", repo, "imageManifest", m, "imageTag", tag))
	}
}

// list returns the member of an answer that is a list of objects.
func list(out map[string]any, member string) []map[string]any {
	var all []map[string]any
	for _, one := range out[member].([]any) {
		all = append(all, one.(map[string]any))
	}
	return all
}

// summarize returns for each object the values of some members, joined by spaces; "-" for an absent member.
func summarize(all []map[string]any, members ...string) []string {
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
