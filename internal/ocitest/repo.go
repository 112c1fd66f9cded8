package ocitest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"testing"
)

// Media types that tests push.
const (
	ImageType  = "application/vnd.oci.image.manifest.v1+json"
	IndexType  = "application/vnd.oci.image.index.v1+json"
	ConfigType = "application/vnd.oci.image.config.v1+json"
	LayerType  = "application/vnd.oci.image.layer.v1.tar"
	EmptyType  = "application/vnd.oci.empty.v1+json"
	DockerType = "application/vnd.docker.distribution.manifest.v2+json"
)

// SHA256 is the digest of b.
func SHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// SHA512 is the digest of b with SHA-512.
func SHA512(b []byte) string {
	sum := sha512.Sum512(b)
	return "sha512:" + hex.EncodeToString(sum[:])
}

// Bytes makes n bytes that belong to the seed: the same each time, and others for each seed.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

// Descriptor refers to content, as in a manifest.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int               `json:"size"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Describe makes the descriptor of content.
func Describe(mediaType string, content []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: SHA256(content), Size: len(content)}
}

// Manifest is an image manifest or an index; only members that are set are written.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        *Descriptor       `json:"config,omitempty"`
	Layers        []Descriptor      `json:"layers,omitempty"`
	Manifests     []Descriptor      `json:"manifests,omitempty"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// JSON writes the manifest.
func (m Manifest) JSON() []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return b
}

// Repo is one repository of a client.
type Repo struct {
	Client
	Name string // without the client's prefix
}

// Repo names a repository; it is made by nobody here.
func (c Client) Repo(name string) Repo { return Repo{c, name} }

// Path is a path below the repository, such as Path("/tags/list").
func (r Repo) Path(rest string) string { return "/v2/" + r.Prefix + r.Name + rest }

// PutBlob uploads a blob with POST and PUT and returns its digest.
func (r Repo) PutBlob(t testing.TB, content []byte) string {
	t.Helper()
	d := SHA256(content)
	begun := r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil).Want(t, http.StatusAccepted)
	r.Do(t, http.MethodPut, begun.Location(t, "digest", d), content, "Content-Type", "application/octet-stream").Want(t, http.StatusCreated)
	return d
}

// Begin starts an upload and returns its address.
func (r Repo) Begin(t testing.TB) string {
	t.Helper()
	return r.Do(t, http.MethodPost, r.Path("/blobs/uploads/"), nil).Want(t, http.StatusAccepted).Location(t)
}

// PutManifest pushes a manifest under a reference and returns the answer.
func (r Repo) PutManifest(t testing.TB, reference, mediaType string, body []byte) *Answer {
	t.Helper()
	return r.Do(t, http.MethodPut, r.Path("/manifests/"+reference), body, "Content-Type", mediaType)
}

// Manifest reads a manifest.
func (r Repo) Manifest(t testing.TB, reference string) *Answer {
	t.Helper()
	return r.Do(t, http.MethodGet, r.Path("/manifests/"+reference), nil)
}

// Blob reads a blob.
func (r Repo) Blob(t testing.TB, digest string) *Answer {
	t.Helper()
	return r.Do(t, http.MethodGet, r.Path("/blobs/"+digest), nil)
}

// Tags lists tags; query is "" or such as "n=2".
func (r Repo) Tags(t testing.TB, query string) *Answer {
	t.Helper()
	return r.Do(t, http.MethodGet, r.Path("/tags/list?"+query), nil)
}

// Image is an image with all its bytes.
type Image struct {
	Digest   string // of the manifest
	Manifest []byte
	Config   []byte
	Layers   [][]byte
}

// NewImage makes a small image that belongs to the seed.
func NewImage(seed uint64, layers ...int) Image {
	im := Image{Config: []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"seed":"` + hex.EncodeToString(Bytes(seed, 8)) + `"}`)}
	config := Describe(ConfigType, im.Config)
	m := Manifest{SchemaVersion: 2, MediaType: ImageType, Config: &config}
	for i, n := range layers {
		layer := Bytes(seed*1000+uint64(i)+1, n)
		im.Layers = append(im.Layers, layer)
		m.Layers = append(m.Layers, Describe(LayerType, layer))
	}
	im.Manifest = m.JSON()
	im.Digest = SHA256(im.Manifest)
	return im
}

// Descriptor is the image's entry in an index.
func (im Image) Descriptor() Descriptor { return Describe(ImageType, im.Manifest) }

// PushBlobs uploads config and layers.
func (r Repo) PushBlobs(t testing.TB, im Image) {
	t.Helper()
	for _, b := range append([][]byte{im.Config}, im.Layers...) {
		r.PutBlob(t, b)
	}
}

// Push uploads a whole image under a reference ("" for its digest).
func (r Repo) Push(t testing.TB, reference string, im Image) {
	t.Helper()
	r.PushBlobs(t, im)
	if reference == "" {
		reference = im.Digest
	}
	r.PutManifest(t, reference, ImageType, im.Manifest).Want(t, http.StatusCreated)
}

// Query escapes names and values in turn.
func Query(pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Add(pairs[i], pairs[i+1])
	}
	return q.Encode()
}
