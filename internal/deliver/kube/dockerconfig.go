package kube

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
)

// entry is the credential of one registry in a docker configuration.
type entry struct {
	Username string `json:"username"`
	Password string `json:"password"`
	Auth     string `json:"auth"` // user name and password in base64, which most programs read alone
}

// errNotDockerConfig says that a secret has no docker configuration. It has no text of the secret.
var errNotDockerConfig = errors.New("its content is not a docker configuration")

// merge returns a docker configuration with the credentials of some hosts, without those of others, and with everything else that it had.
// Members whose content is the same already stay as they are, so that the result is the same as config if nothing changes. Members of a
// host with a scheme or a path, as docker login writes them, are of that host, and are replaced.
//
// Errors: errNotDockerConfig.
func merge(config []byte, add []credential.Credential, remove []string) ([]byte, error) {
	top, auths := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if len(bytes.TrimSpace(config)) > 0 {
		if err := json.Unmarshal(config, &top); err != nil || top == nil {
			return nil, errNotDockerConfig
		}
	}
	if text, ok := top["auths"]; ok {
		if err := json.Unmarshal(text, &auths); err != nil {
			return nil, errNotDockerConfig
		}
		if auths == nil { // null
			auths = map[string]json.RawMessage{}
		}
	}
	changed := false
	for _, key := range slices.Collect(maps.Keys(auths)) {
		host := hostOf(key)
		stale := slices.Contains(remove, host)
		for _, c := range add {
			stale = stale || c.Host == host && key != host
		}
		if stale {
			delete(auths, key)
			changed = true
		}
	}
	for _, c := range add {
		want := entry{c.Username, c.Password.Reveal(), c.Auth().Reveal()}
		var have entry
		if json.Unmarshal(auths[c.Host], &have) == nil && have == want {
			continue
		}
		text, err := json.Marshal(want)
		if err != nil {
			return nil, fmt.Errorf("writing a docker configuration: %w", err)
		}
		auths[c.Host], changed = text, true
	}
	if !changed {
		return config, nil
	}
	text, err := json.Marshal(auths)
	if err == nil {
		top["auths"] = text
		text, err = json.Marshal(top)
	}
	if err != nil {
		return nil, fmt.Errorf("writing a docker configuration: %w", err)
	}
	return text, nil
}

// hostOf returns the host, with its port, of a key of a docker configuration: a host, or a URL with a path such as /v1/.
func hostOf(key string) string {
	_, rest, ok := strings.Cut(key, "://")
	if !ok {
		rest = key
	}
	rest, _, _ = strings.Cut(rest, "/")
	return rest
}
