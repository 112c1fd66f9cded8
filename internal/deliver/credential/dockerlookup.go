package credential

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// DockerKeyHost returns the registry that a key of auths is for, HOST or HOST:PORT as it is written: a key may be a URL, and may have
// a path.
func DockerKeyHost(key string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://"), "/")
	return host
}

// DockerLogin returns the credential that docker and its kin take for a registry, HOST or HOST:PORT, from the entries of a configuration
// of docker: that of the registry itself, else one of another spelling, with a scheme or a path. ok is false if there is none. What a
// credential helper would say is not looked at.
//
// Source: docker CLI, cli/config/credentials/file_store.go.
func DockerLogin(content []byte, host string) (c Credential, ok bool) {
	_, auths, err := parseDockerConfig(content)
	if err != nil {
		return Credential{}, false
	}
	if c, ok := login(auths[host], host); ok {
		return c, true
	}
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		if DockerKeyHost(key) != host {
			continue
		}
		if c, ok := login(auths[key], host); ok {
			return c, true
		}
	}
	return Credential{}, false
}

// KubeletLogins returns the credentials that the kubelet takes for a repository of a registry from the content of a pull secret, in its
// order: a key may have a * in the labels of its host, and a path, with which the repository has to begin; the last key in the order of
// bytes comes first, so that a longer path does.
//
// Source: Kubernetes, pkg/credentialprovider/keyring.go.
func KubeletLogins(content []byte, host, repository string) (all []Credential) {
	_, auths, err := parseDockerConfig(content)
	if err != nil {
		return nil
	}
	// The kubelet compares keys without their schemes.
	bare := map[string][]json.RawMessage{}
	for _, key := range slices.Sorted(maps.Keys(auths)) {
		of := DockerKeyHost(key)
		_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://"), "/")
		if strings.HasPrefix(path, "v1/") || strings.HasPrefix(path, "v2/") {
			path = path[len("v1/"):]
		}
		if MatchHost(of, host) && strings.HasPrefix(repository, path) {
			short := strings.TrimSuffix(of+"/"+path, "/")
			bare[short] = append(bare[short], auths[key])
		}
	}
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(bare))) {
		for _, entry := range bare[key] {
			if c, ok := login(entry, host); ok {
				all = append(all, c)
			}
		}
	}
	return all
}

// login reads an entry of auths. ok is false if it has no password: docker writes empty ones for registries whose helper has it.
func login(entry json.RawMessage, host string) (c Credential, ok bool) {
	var a dockerAuth
	if len(entry) == 0 || json.Unmarshal(entry, &a) != nil {
		return Credential{}, false
	}
	// Docker writes the padding, the kubelet reads texts without it, too.
	plain, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(a.Auth), "="))
	if user, password, found := strings.Cut(string(plain), ":"); err == nil && found {
		a.Username, a.Password = user, strings.TrimRight(password, "\x00")
	}
	return Credential{Host: host, Username: a.Username, Password: secret.New(a.Password)}, a.Password != ""
}
