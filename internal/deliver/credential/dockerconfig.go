package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxDockerConfig limits a configuration of docker, in bytes.
const maxDockerConfig = 4 << 20

// ErrNotDockerConfig is the error for a text that is no configuration of docker. It has nothing of the text, which may be a secret.
var ErrNotDockerConfig = errors.New("it is not a configuration of docker, a JSON object whose member auths is an object")

// dockerAuth is an entry of auths. Only its first member is written: programs that read the others read it, too.
type dockerAuth struct {
	Auth          string `json:"auth"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// MergeDockerConfig puts credentials into a configuration of docker, a file or the content of a pull secret, and takes those of other hosts
// out of it. Everything else in it stays: other members, entries of other registries. An entry of the same registry under another spelling
// (with https:// or a path) is replaced, too, since docker might prefer it. If nothing changes, the result is content, which may be empty.
//
// Errors: [ErrNotDockerConfig]; content is too large.
func MergeDockerConfig(content []byte, add []Credential, remove []string) ([]byte, error) {
	whole, auths, err := parseDockerConfig(content)
	if err != nil {
		return nil, err
	}
	changed := len(bytes.TrimSpace(content)) == 0
	for _, key := range slices.Collect(maps.Keys(auths)) {
		host, err := ParseHost(key)
		if err != nil {
			continue
		}
		if slices.Contains(remove, host) || key != host && slices.ContainsFunc(add, func(c Credential) bool { return c.Host == host }) {
			delete(auths, key)
			changed = true
		}
	}
	for _, c := range add {
		var have dockerAuth
		want := dockerAuth{Auth: c.Auth().Reveal()}
		if json.Unmarshal(auths[c.Host], &have) == nil && (have == want ||
			have == dockerAuth{Auth: want.Auth, Username: c.Username, Password: c.Password.Reveal()}) {
			continue
		}
		if auths[c.Host], err = json.Marshal(want); err != nil {
			return nil, fmt.Errorf("writing a configuration of docker: %w", err)
		}
		changed = true
	}
	if !changed {
		return content, nil
	}
	out := map[string]any{}
	for key, raw := range whole {
		out[key] = raw
	}
	out["auths"] = auths
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t") // as docker
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return nil, fmt.Errorf("writing a configuration of docker: %w", err)
	}
	return b.Bytes(), nil
}

// DockerConfigHosts returns the registries that a configuration of docker has entries for, HOST or HOST:PORT, in order.
//
// Errors: those of [MergeDockerConfig].
func DockerConfigHosts(content []byte) ([]string, error) {
	_, auths, err := parseDockerConfig(content)
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for key := range auths {
		if host, err := ParseHost(key); err == nil {
			found[host] = true
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

func parseDockerConfig(content []byte) (whole, auths map[string]json.RawMessage, err error) {
	if len(content) > maxDockerConfig {
		return nil, nil, fmt.Errorf("the configuration of docker has %d bytes, and at most %d are read", len(content), maxDockerConfig)
	}
	whole, auths = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if len(bytes.TrimSpace(content)) > 0 && (json.Unmarshal(content, &whole) != nil || whole == nil) {
		return nil, nil, ErrNotDockerConfig
	}
	if raw, ok := whole["auths"]; ok {
		if json.Unmarshal(raw, &auths) != nil {
			return nil, nil, ErrNotDockerConfig
		}
		if auths == nil { // null
			auths = map[string]json.RawMessage{}
		}
	}
	return whole, auths, nil
}

// helpersFor returns the hosts of credentials that a helper in a configuration of docker is used for, so that their entry of auths is
// not.
func helpersFor(content []byte, hosts []string) (found []string) {
	var c struct {
		CredHelpers map[string]string `json:"credHelpers"`
	}
	if json.Unmarshal(content, &c) != nil {
		return nil
	}
	for key := range c.CredHelpers {
		if host, err := ParseHost(key); err == nil && slices.Contains(hosts, host) {
			found = append(found, host)
		}
	}
	slices.Sort(found)
	return found
}
