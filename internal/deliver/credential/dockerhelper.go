package credential

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// HelperName is the name of the program as a credential helper of docker, whose suffix is what credHelpers names.
const HelperName = "docker-credential-ecrin"

// The texts by which docker knows errors of a helper. Source: docker-credential-helpers, credentials/error.go.
const (
	errNotFound      = "credentials not found in native keychain"
	errNoServer      = "no credentials server URL"
	errNoUsername    = "no credentials username"
	errNotStored     = "not implemented"
	maxHelperInput   = 1 << 20 // bytes
	kubeletAtHelper  = "this is a request of the kubelet, and " + HelperName + " is for docker: name " + ProviderName + " as the provider"
	helperOperations = "get, store, erase, list, version"
)

// Helper is a credential helper of docker.
type Helper struct {
	Source  Source
	Cache   *Cache   // whose hosts list has, and erase forgets; may be nil
	Named   []string // further hosts for list
	Version string
	Ignore  bool // store and erase of what the helper does not keep succeed
}

// Run does one operation of the protocol of helpers: get, store, erase, list or version. It returns the exit code of the program: errors
// are written to out, as docker reads them there.
func (h *Helper) Run(ctx context.Context, operation string, in io.Reader, out io.Writer) int {
	text, err := h.run(ctx, operation, in)
	if err != nil {
		text = err.Error()
	}
	if _, write := fmt.Fprintln(out, text); err != nil || write != nil {
		return 1
	}
	return 0
}

func (h *Helper) run(ctx context.Context, operation string, in io.Reader) (string, error) {
	if operation == "version" {
		return HelperName + " (ecrin) " + h.Version, nil
	}
	if operation == "list" {
		return h.list()
	}
	if !slices.Contains(strings.Split(helperOperations, ", "), operation) {
		return "", fmt.Errorf("unknown operation %q, want one of %s", oneLine(operation), helperOperations)
	}
	input, err := io.ReadAll(io.LimitReader(bufio.NewReader(in), maxHelperInput))
	if err != nil {
		return "", fmt.Errorf("reading the request: %w", err)
	}
	text := strings.TrimSpace(string(input))
	if isKubeletRequest(text) {
		return "", errors.New(kubeletAtHelper)
	}
	if operation == "store" {
		return h.store(text)
	}
	if text == "" {
		return "", errors.New(errNoServer)
	}
	host, err := ParseHost(text)
	if operation == "erase" {
		if err == nil && h.Cache != nil {
			h.Cache.Forget(host)
		}
		return "", nil
	}
	if err != nil {
		return "", errors.New(errNotFound) // docker asks for any server that a user names
	}
	c, err := h.Source.Credential(ctx, host)
	if errors.Is(err, ErrNone) {
		return "", errors.New(errNotFound)
	}
	if err != nil {
		return "", err
	}
	answer, err := json.Marshal(struct{ ServerURL, Username, Secret string }{text, c.Username, c.Password.Reveal()})
	return string(answer), err
}

// store refuses credentials: those of registries come from the source, and there is no place for others.
func (h *Helper) store(text string) (string, error) {
	var given struct{ ServerURL, Username, Secret string }
	if err := json.Unmarshal([]byte(text), &given); err != nil {
		return "", errors.New("the request is not JSON")
	}
	switch {
	case given.ServerURL == "":
		return "", errors.New(errNoServer)
	case given.Username == "":
		return "", errors.New(errNoUsername)
	case !h.Ignore:
		return "", errors.New(errNotStored)
	}
	return "", nil
}

func (h *Helper) list() (string, error) {
	all := map[string]string{}
	for _, host := range h.Named {
		all[host] = awsUser
	}
	if h.Cache != nil {
		for _, host := range h.Cache.Hosts() {
			all[host] = awsUser
		}
	}
	text, err := json.Marshal(all)
	return string(text), err
}
