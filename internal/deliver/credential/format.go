package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
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
		return MergeDockerConfig(nil, all, nil)
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
