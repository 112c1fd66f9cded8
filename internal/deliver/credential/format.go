package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Formats are the forms in which credentials are written.
var Formats = []string{"user-pass", "password", "dockerconfigjson", "json", "github-actions"}

// Format returns credentials in one of [Formats], with a line break at the end.
//
//   - user-pass is one line USER:PASSWORD, password one line with the password; both are of one credential.
//   - dockerconfigjson is a configuration of docker, the value of that key of a pull secret.
//   - json is one object, or a list of objects for several credentials.
//   - github-actions are lines for the file that GITHUB_OUTPUT names, with the names of the outputs of aws-actions/amazon-ecr-login.
//
// Errors: another format; several credentials in a format for one.
func Format(format string, all []Credential) ([]byte, error) {
	if len(all) == 0 || len(all) > 1 && (format == "user-pass" || format == "password") {
		return nil, fmt.Errorf("the format %s is for one registry, got %d", format, len(all))
	}
	switch format {
	case "user-pass":
		return []byte(all[0].Username + ":" + all[0].Password.Reveal() + "\n"), nil
	case "password":
		return []byte(all[0].Password.Reveal() + "\n"), nil
	case "dockerconfigjson":
		return MergeDockerConfig(nil, all)
	case "json":
		shown := make([]shownCredential, len(all))
		for i, c := range all {
			shown[i] = shownCredential{c.Host, c.Username, c.Password.Reveal(), c.ExpiresAt.UTC()}
		}
		if len(shown) == 1 {
			return indented(shown[0])
		}
		return indented(shown)
	case "github-actions":
		var b bytes.Buffer
		fmt.Fprintf(&b, "registry=%s\n", all[0].Host)
		for _, c := range all {
			key := strings.NewReplacer(".", "_", ":", "_", "-", "_").Replace(c.Host)
			fmt.Fprintf(&b, "docker_username_%s=%s\ndocker_password_%s=%s\n", key, c.Username, key, c.Password.Reveal())
		}
		return b.Bytes(), nil
	}
	return nil, fmt.Errorf("unknown format %q, want one of %s", oneLine(format), strings.Join(Formats, ", "))
}

// shownCredential is a credential in JSON.
type shownCredential struct {
	Host      string    `json:"host"`
	Username  string    `json:"username"`
	Password  string    `json:"password"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
}

func indented(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

// maxDockerConfig limits a configuration of docker, in bytes.
const maxDockerConfig = 4 << 20

// dockerAuth is an entry of auths.
type dockerAuth struct {
	Auth string `json:"auth"`
}

// MergeDockerConfig puts credentials into a configuration of docker. Everything else in it stays: other members, entries of other
// registries. An entry of the same registry under another spelling (with https:// or a path) is replaced, too, since docker might prefer
// it. content may be empty.
//
// Errors: content is no JSON object, or its auths are none.
func MergeDockerConfig(content []byte, all []Credential) ([]byte, error) {
	whole, auths, err := parseDockerConfig(content)
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		for key := range auths {
			if host, err := ParseHost(key); err == nil && host == c.Host {
				delete(auths, key)
			}
		}
		if auths[c.Host], err = json.Marshal(dockerAuth{c.Auth().Reveal()}); err != nil {
			return nil, err
		}
	}
	changed := map[string]any{}
	for key, raw := range whole {
		changed[key] = raw
	}
	changed["auths"] = auths
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t") // as docker
	e.SetEscapeHTML(false)
	if err := e.Encode(changed); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func parseDockerConfig(content []byte) (whole, auths map[string]json.RawMessage, err error) {
	if len(content) > maxDockerConfig {
		return nil, nil, fmt.Errorf("the configuration of docker has %d bytes, and at most %d are read", len(content), maxDockerConfig)
	}
	whole, auths = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if len(bytes.TrimSpace(content)) > 0 {
		if err := json.Unmarshal(content, &whole); err != nil || whole == nil {
			return nil, nil, fmt.Errorf("the configuration of docker is not a JSON object (%w)", orNull(err))
		}
	}
	if raw, ok := whole["auths"]; ok {
		if err := json.Unmarshal(raw, &auths); err != nil {
			return nil, nil, fmt.Errorf("auths in the configuration of docker is not a JSON object (%w)", err)
		}
		if auths == nil {
			auths = map[string]json.RawMessage{}
		}
	}
	return whole, auths, nil
}

func orNull(err error) error {
	if err == nil {
		return fmt.Errorf("it is null")
	}
	return err
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
