// Package report has the rules of reports of images: their variables and query, the layers of an image, the keys of issues, and which
// commit and pull requests a report names. It is pure.
package report

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/rule/semver"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// Variables are the CF_ variables of a report by name. None of them is empty.
type Variables map[string]string

// The variables that a client reads itself. They are not sent in the query.
const (
	APIKey      = "CF_API_KEY"      // authenticates the report
	RuntimeName = "CF_RUNTIME_NAME" // of the runtime whose ingress host gets the report
	Host        = "CF_HOST"         // the ingress host itself; deprecated
	PlatformURL = "CF_PLATFORM_URL" // of the server that knows the runtimes
	Local       = "CF_LOCAL"        // the ingress host has no folder app-proxy
)

// The variables of the query that a client reads too.
const (
	Image             = "CF_IMAGE"
	DockerfileContent = "CF_DOCKERFILE_CONTENT"
	DockerfilePath    = "CF_DOCKERFILE_PATH"
	GitRevision       = "CF_GIT_REVISION"
)

// variable is the form of the names that are read.
var variable = lazyregexp.New(`^CF_[A-Z_]+$`)

const (
	maxVariables  = 100
	maxQuery      = 512 << 10 // bytes of a query, also after its data is unpacked
	maxDockerfile = 64 << 10  // bytes
	packedSince   = "0.1.33"  // version of the runtimes that read data=
)

// FromEnvironment returns the variables among KEY=VALUE texts: those whose name matches ^CF_[A-Z_]+$ and whose value is not empty.
func FromEnvironment(environ []string) Variables {
	v := Variables{}
	for _, one := range environ {
		if key, value, ok := strings.Cut(one, "="); ok && value != "" && variable.MatchString(key) {
			v[key] = value
		}
	}
	return v
}

// Check returns one error that lists, as a JSON array of texts, all variables that a client needs and does not have.
func (v Variables) Check() error {
	var missing []string
	for _, key := range []string{APIKey, Image} {
		if v[key] == "" {
			missing = append(missing, key+" must be provided as environment variable.")
		}
	}
	switch {
	case v[RuntimeName] != "" && v[Host] != "":
		missing = append(missing, "You can only specify CF_RUNTIME_NAME or CF_HOST. please delete one of them.")
	case v[RuntimeName] == "" && v[Host] == "":
		missing = append(missing, RuntimeName+" must be provided as environment variable.")
	}
	if len(missing) == 0 {
		return nil
	}
	text, err := json.Marshal(missing)
	if err != nil {
		return err
	}
	return errors.New(string(text))
}

// Packed reports whether runtimes of a version read queries whose variables are packed: those since 0.1.33.
func Packed(version string) bool {
	key := semver.Key(version)
	return key != "" && key >= semver.Key(packedSince)
}

// Query returns the query string of a report: all variables that the client does not read itself. A packed one is
// data=BASE64(ZLIB(QUERY)), inside of which the content of the Dockerfile is packed in the same way.
func (v Variables) Query(packed bool) string {
	q := url.Values{}
	for key, value := range v {
		if slices.Contains([]string{APIKey, RuntimeName, Host, PlatformURL, Local}, key) {
			continue
		}
		if packed && key == DockerfileContent {
			value = pack(value)
		}
		q.Set(key, value)
	}
	if !packed {
		return q.Encode()
	}
	return "data=" + url.QueryEscape(pack(q.Encode()))
}

func pack(text string) string {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = io.WriteString(w, text) // a buffer takes all
	_ = w.Close()
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

var errPacked = errors.New("it is not base64 of zlib, or is longer than the limit")

func unpack(text string, limit int) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(text, " ", "+")) // a + that was not escaped is a blank in a query
	if err != nil {
		return "", errPacked
	}
	r, err := zlib.NewReader(bytes.NewReader(raw))
	if err != nil {
		return "", errPacked
	}
	all, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err != nil || len(all) > limit {
		return "", errPacked
	}
	return string(all), nil
}

// ParseQuery reads the query of a report, in both of the forms that Query returns. Names of another form, and empty values, are left out.
//
// Errors: the query is not valid, or exceeds a limit; the text quotes nothing of it.
func ParseQuery(query string) (Variables, error) {
	if len(query) > maxQuery {
		return nil, errors.New("the query of the report is too long")
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the query of the report is not valid")
	}
	packed := q.Get("data")
	if packed != "" {
		text, err := unpack(packed, maxQuery)
		if err != nil {
			return nil, errors.New("the member data of the query is not valid: " + err.Error())
		}
		if q, err = url.ParseQuery(text); err != nil {
			return nil, errors.New("the query in the member data is not valid")
		}
	}
	v := Variables{}
	for key, values := range q {
		if variable.MatchString(key) && values[0] != "" {
			v[key] = values[0]
		}
	}
	if len(v) > maxVariables {
		return nil, errors.New("the report has too many variables")
	}
	if text := v[DockerfileContent]; text != "" && packed != "" {
		if inside, err := unpack(text, maxQuery); err == nil {
			v[DockerfileContent] = inside
		}
	}
	if len(v[DockerfileContent]) > maxDockerfile {
		return nil, errors.New("the Dockerfile has more than 64 KiB")
	}
	return v, nil
}

// True reports whether a variable is true.
func (v Variables) True(key string) bool { return strings.EqualFold(v[key], "true") }

// Known returns the names of the variables that clients and servers know.
func Known() []string {
	return []string{APIKey, RuntimeName, Host, PlatformURL, Local, Image, DockerfileContent, DockerfilePath,
		"CF_CONTAINER_REGISTRY_INTEGRATION", "CF_DOCKERHUB_USERNAME", "CF_DOCKERHUB_PASSWORD", "CF_REGISTRY_USERNAME", "CF_REGISTRY_PASSWORD",
		"CF_REGISTRY_DOMAIN", "CF_GOOGLE_JSON_KEY", "CF_GOOGLE_REGISTRY_HOST", "CF_AWS_ROLE", "CF_AWS_REGION",
		"CF_WORKFLOW_NAME", "CF_WORKFLOW_URL", "CF_LOGS_URL", "CF_CI_TYPE", "CF_INSECURE", "CF_VERBOSE",
		"CF_GIT_INTEGRATION", "CF_GIT_PROVIDER", "CF_GIT_REPO", "CF_GIT_BRANCH", GitRevision,
		"CF_GIT_COMMIT_MESSAGE", "CF_GIT_COMMIT_AUTHOR", "CF_GIT_COMMIT_DATE",
		"CF_COMMITS_BY_USER_LIMIT", "CF_GITHUB_TOKEN", "CF_GITHUB_API_HOST_URL", "CF_GITHUB_API_PATH_PREFIX", "CF_GITLAB_TOKEN",
		"CF_GITLAB_HOST_URL", "CF_BITBUCKET_USERNAME", "CF_BITBUCKET_PASSWORD", "CF_BITBUCKET_HOST_URL", "CF_GERRIT_CHANGE_ID",
		"CF_GERRIT_HOST_URL", "CF_GERRIT_USERNAME", "CF_GERRIT_PASSWORD",
		"CF_ISSUE_TRACKING_INTEGRATION", "CF_JIRA_INTEGRATION", "CF_JIRA_HOST_URL", "CF_JIRA_SERVER_PAT",
		"CF_JIRA_API_TOKEN", "CF_JIRA_EMAIL", "CF_JIRA_PROJECT_PREFIX", "CF_JIRA_MESSAGE", "CF_JIRA_FAIL_ON_NOT_FOUND", "CF_ENRICHERS"}
}
