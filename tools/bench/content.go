package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// randomBytes returns n bytes that cannot be compressed; the same seed gives the same bytes.
func randomBytes(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// All images of bench have this configuration and this layer of 1 KB.
var (
	imageConfig = []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)
	imageLayer  = randomBytes(1, 1024)
)

// imageManifest returns the manifest of image n: as long as that of an image with ten layers, and different for
// each n.
func imageManifest(n int) []byte {
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	b, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType,
		"config":      descriptor{configType, digestOf(imageConfig), len(imageConfig)},
		"layers":      []descriptor{{layerType, digestOf(imageLayer), len(imageLayer)}},
		"annotations": map[string]string{"org.opencontainers.image.version": tagOf(n), "padding": strings.Repeat("-", 1200)},
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return b
}

func tagOf(n int) string { return fmt.Sprintf("build-%07d", n) }

// door is a server with the credentials of a client.
type door struct {
	*process
	auth string // the line of the Authorization header with its line end, or ""
}

// request returns the header of a request. length is that of the body; -1 means a chunked body.
func (d *door) request(method, path string, length int, more ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: %s, */*\r\n%s", method, path, d.address, manifestType, d.auth)
	switch {
	case length > 0 || length == 0 && method != http.MethodGet:
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	case length < 0:
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	for _, line := range more {
		b.WriteString(line + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// callOn sends one request and checks the status of the response.
func (d *door) callOn(c *client, method, path string, body []byte, want int, more ...string) (answer, error) {
	var r io.Reader
	if len(body) > 0 {
		r = bytes.NewReader(body)
	}
	a, err := c.do(d.request(method, path, len(body), more...), r)
	if err == nil && a.status != want {
		err = fmt.Errorf("status %d, not %d: %s", a.status, want, a.head)
	}
	if err != nil {
		return a, fmt.Errorf("%s %s of %s: %w", method, path, d.name, err)
	}
	return a, nil
}

// under returns the path of a response's Location.
func under(location string) string {
	if _, rest, ok := strings.Cut(location, "://"); ok {
		_, path, _ := strings.Cut(rest, "/")
		return "/" + path
	}
	return location
}

// withDigest adds the query parameter that completes an upload.
func withDigest(path, digest string) string {
	if strings.Contains(path, "?") {
		return path + "&digest=" + digest
	}
	return path + "?digest=" + digest
}

// putBlob pushes a blob with one PUT.
func (d *door) putBlob(c *client, repo string, body []byte, digest string) error {
	return d.putBlobTo(c, "/v2/"+repo, body, digest)
}

// putBlobTo is putBlob with the path of a repository of any account.
func (d *door) putBlobTo(c *client, repo string, body []byte, digest string) error {
	a, err := d.callOn(c, http.MethodPost, repo+"/blobs/uploads/", nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	_, err = d.callOn(c, http.MethodPut, withDigest(under(a.location), digest), body, http.StatusCreated)
	return err
}

// push puts image 0 with a number of tags.
func (d *door) push(repo string, tags int) error { return d.pushTo("/v2/"+repo, tags) }

// pushTo is push with the path of a repository of any account.
func (d *door) pushTo(repo string, tags int) error {
	c, err := d.dial()
	if err != nil {
		return err
	}
	defer c.close()
	for _, blob := range [][]byte{imageConfig, imageLayer} {
		if err := d.putBlobTo(c, repo, blob, digestOf(blob)); err != nil {
			return err
		}
	}
	for n := range tags {
		if _, err := d.callOn(c, http.MethodPut, repo+"/manifests/"+tagOf(n), imageManifest(0), http.StatusCreated,
			"Content-Type: "+manifestType); err != nil {
			return err
		}
	}
	return nil
}

// account is the output of `ecrin env --json`.
type account struct {
	ID     string `json:"AWS_ACCESS_KEY_ID"`
	Secret string `json:"AWS_SECRET_ACCESS_KEY"`
	Region string `json:"AWS_REGION"`
}

// readAccount returns the key of the root user of the default account, or of another one by --account.
func (b *bench) readAccount(ctx context.Context, data string, more ...string) (a account, err error) {
	cmd := exec.CommandContext(ctx, b.ecrinPath, append([]string{"env", "--data", data, "--json"}, more...)...)
	if b.certificate != nil {
		cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+b.certificate.cert)
	}
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return a, fmt.Errorf("ecrin env: %w: %s", err, problems.String())
	}
	if err := json.Unmarshal(out, &a); err != nil || a.Secret == "" {
		return a, errors.New("ecrin env --json printed something else") // the output may contain the secret
	}
	return a, nil
}

// sign returns a signed ECR API request, as header and body; it is valid for 15 minutes.
func (d *door) sign(ctx context.Context, a account, operation string, in any) (header, body []byte, err error) {
	if body, err = json.Marshal(in); err != nil {
		return nil, nil, err
	}
	header, err = d.signHeader(ctx, a, operation, body, len(body))
	return header, body, err
}

// signHeader returns the header of a signed ECR API request. Only a request whose body is not sent has another length than the body.
func (d *door) signHeader(ctx context.Context, a account, operation string, body []byte, length int) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.address+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.ContentLength = int64(length)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
	if err := signAs(ctx, a, r, body, "ecr", a.Region, time.Now()); err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", d.address, length)
	err = r.Header.Write(&b)
	b.WriteString("\r\n")
	return b.Bytes(), err
}

// api sends one signed request.
func (d *door) api(ctx context.Context, a account, operation string, in, out any) error {
	header, body, err := d.sign(ctx, a, operation, in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url()+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(header)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && key != "Host" && key != "Content-Length" {
			r.Header.Set(key, value)
		}
	}
	client := http.DefaultClient
	if d.tls != nil {
		transport := &http.Transport{TLSClientConfig: d.tls}
		defer transport.CloseIdleConnections()
		client = &http.Client{Transport: transport}
	}
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s: %w", operation, resp.Status, text, err)
	}
	return json.Unmarshal(text, out)
}

// login gets a docker token with a signed request; later requests use it.
func (d *door) login(ctx context.Context, a account) error {
	var out struct {
		AuthorizationData []struct{ AuthorizationToken string }
	}
	if err := d.api(ctx, a, "GetAuthorizationToken", struct{}{}, &out); err != nil {
		return err
	}
	if len(out.AuthorizationData) != 1 {
		return errors.New("GetAuthorizationToken returned no token")
	}
	token := out.AuthorizationData[0].AuthorizationToken
	if _, err := base64.StdEncoding.DecodeString(token); err != nil {
		return fmt.Errorf("reading the token: %w", err)
	}
	d.auth = "Authorization: Basic " + token + "\r\n"
	return nil
}
