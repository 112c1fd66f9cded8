package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxHelperLog limits the bytes that are read from the end of the log of the credential helper.
const maxHelperLog = 64 << 10

// runHelper runs a credential helper as docker does. The helper's cache is off: a password from it would hide that new ones cannot be
// had.
func runHelper(ctx context.Context, path, input string) (string, error) {
	cmd := exec.CommandContext(ctx, path, "get")
	cmd.Stdin = strings.NewReader(input + "\n")
	cmd.Env = append(os.Environ(), "AWS_ECR_DISABLE_CACHE=true", "AWS_MAX_ATTEMPTS=1", "AWS_EC2_METADATA_DISABLED=true")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// awsHelper checks the credential helper. If its calls go to this server, it gets a password for the default registry, which is neither
// kept nor shown.
func (d *doctor) awsHelper(ctx context.Context) Check {
	const program = "docker-credential-ecr-login"
	v, c := d.version(ctx, "ECR credential helper", program, "-v")
	if d.find(program) == "" {
		return c
	}
	if c.Status != OK { // a helper that was built from its source has no version
		c.Status, c.Detail, v = OK, d.find(program)+" has no version", helperMin
	}
	endpoint := d.awsEndpoint(ctx, d.aws, "ecr")
	switch {
	case !d.realNames() && v.Less(helperMin):
		c.Status, c.Detail = Warn, c.Detail+", which does not support AWS_ENDPOINT_URL, so that it calls Amazon"
		c.Fix = "Install a newer one (0.12 is known to work): go install github.com/awslabs/amazon-ecr-credential-helper/ecr-login/cli/docker-credential-ecr-login@latest"
		return c
	case endpoint.Status != OK:
		c.Status, c.Detail = Skip, c.Detail+"; it was not run, because its calls do not go to this server: see AWS endpoint for ecr"
		return c
	}
	if !d.hasKeys {
		c.Status, c.Detail = Skip, c.Detail+"; it was not run, because there are no credentials"
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	host := d.registryHost("amazonaws.com")
	log := filepath.Join(d.Home, ".ecr", "log", "ecr-login.log")
	before := size(log)
	out, err := d.Helper(ctx, d.find(program), host)
	var got struct{ Username, Secret string }
	if err == nil && json.Unmarshal([]byte(out), &got) == nil && got.Username == "AWS" && got.Secret != "" {
		c.Detail += ", and gets a password for " + host
		return c
	}
	cause := lastError(log, before)
	switch {
	case cause != "":
	case err == nil: // the output is not shown: it may have a password
		cause = "its answer is not that of a credential helper for ECR"
	case out == "" || strings.Contains(out, "{"):
		cause = fmt.Sprintf("it ended with %v", err)
	default:
		cause = strings.Join(strings.Fields(out), " ")
	}
	c.Status, c.Detail = Fail, fmt.Sprintf("%s, but gets no password for %s: %s", c.Detail, host, cause)
	switch {
	case strings.Contains(cause, "x509:") || strings.Contains(cause, "certificate"):
		c.Detail = fmt.Sprintf("%s does not trust the server's certificate: %s", d.find(program), cause)
		c.Fix = "Install the CA for every program: sudo ecrin trust install --for system"
		if d.CAPath != "" {
			c.Fix += ", or set it where docker runs: export AWS_CA_BUNDLE=" + quote(d.CAPath)
		}
	case strings.Contains(cause, "credentials") || strings.Contains(cause, "StatusCode: 40"):
		c.Fix = newKeys
	default:
		c.Fix = fmt.Sprintf("Correct the other findings, then repeat its call: echo %s | %s get", host, program)
	}
	return c
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// lastError returns the error in the last line with one that the helper has added to its log since it had a size; "" if there is none.
// Source: amazon-ecr-credential-helper, ecr-login/config/log.go.
func lastError(path string, since int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	end := size(path)
	if end < since { // a new log
		since = 0
	}
	since = max(since, end-maxHelperLog)
	added := make([]byte, max(0, end-since))
	n, _ := f.ReadAt(added, since)
	cause := ""
	for line := range strings.Lines(string(added[:n])) {
		if !strings.Contains(line, "level=error") {
			continue
		}
		if _, text, ok := strings.Cut(line, " error="); ok {
			cause = strings.Trim(strings.ReplaceAll(strings.TrimSpace(text), `\"`, `"`), `"`)
		}
	}
	return cause
}
