package cli

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/report/sender"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
)

// reportTime limits a report, and the answer to each of its requests.
const reportTime = 10 * time.Minute

func (c *commands) report() *cobra.Command {
	cmd := &cobra.Command{Use: "report", Args: cobra.NoArgs,
		Short: "Report an image of a pipeline: what it consists of, its commit, pull requests and issues",
		Long: `Report reads the CF_ variables of the environment and sends them to the ingress host of a runtime, which reads the image and stores
what is known about it. It needs CF_API_KEY, CF_IMAGE, and CF_RUNTIME_NAME or CF_HOST; docs/reports.md lists the others. CF_API_KEY is
KEYID:SECRET of an access key, or a password of aws ecr get-login-password.

With --git the commit that is checked out in a folder is reported, without a git provider. The exit code is 0 after the end of the report,
and 1 after an error.`,
		Example: "  CF_API_KEY=\"$KEY\" CF_IMAGE=registry.example.com/team/app:1 CF_HOST=https://registry.example.com ecrin report\n" +
			"  ecrin report list --deployed\n  ecrin report show registry.example.com/team/app:1"}
	folder := cmd.Flags().String("git", "", "`folder` of a git repository whose commit is reported")
	ca := cmd.Flags().String("ca", "", "`file` with the certificates that are trusted beside those of the system")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return c.sendReport(cmd, *folder, *ca, *asJSON) }
	c.dataFlag(cmd)
	cmd.AddCommand(c.reportList(), c.reportShow(), c.reportDeployed(), c.reportWatch(), c.reportMatrix(), c.reportAnnotate())
	return cmd
}

// variables returns the CF_ variables of the environment, with what files and a git folder add.
func (c *commands) variables(folder string) (report.Variables, error) {
	v := report.FromEnvironment(c.environ())
	if path := v[report.DockerfilePath]; path != "" && v[report.DockerfileContent] == "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading the Dockerfile of CF_DOCKERFILE_PATH: %w", err)
		}
		v[report.DockerfileContent] = string(text)
	}
	delete(v, report.DockerfilePath)
	if folder == "" {
		return v, nil
	}
	out, err := exec.Command("git", "-C", folder, "log", "-1", "--format=%H%x00%an%x00%cI%x00%B").Output()
	if err != nil {
		return nil, fmt.Errorf("reading the commit of the git repository %s: %w", folder, err)
	}
	parts := strings.SplitN(strings.TrimSpace(string(out)), "\x00", 4)
	if len(parts) != 4 {
		return nil, errors.New("git log does not have the form that was asked for")
	}
	v["CF_GIT_PROVIDER"], v[report.GitRevision], v["CF_GIT_COMMIT_AUTHOR"] = "local", parts[0], parts[1]
	v["CF_GIT_COMMIT_DATE"], v["CF_GIT_COMMIT_MESSAGE"] = parts[2], strings.TrimSpace(parts[3])
	if branch, err := exec.Command("git", "-C", folder, "rev-parse", "--abbrev-ref", "HEAD").Output(); err == nil && v["CF_GIT_BRANCH"] == "" {
		if text := strings.TrimSpace(string(branch)); text != "HEAD" { // which is no branch
			v["CF_GIT_BRANCH"] = text
		}
	}
	return v, nil
}

// environ returns the variables of the environment that reports read.
func (c *commands) environ() (all []string) {
	keys := report.Known()
	for _, one := range os.Environ() {
		if key, _, _ := strings.Cut(one, "="); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if value, ok := c.Lookup(key); ok {
			all = append(all, key+"="+value)
		}
	}
	return all
}

func (c *commands) sendReport(cmd *cobra.Command, folder, ca string, asJSON bool) error {
	v, err := c.variables(folder)
	if err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if ca = cmp.Or(ca, c.lookup("AWS_CA_BUNDLE", "")); ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return fmt.Errorf("reading the certificates that are trusted: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("the file %s has no certificate", ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	if v.True("CF_INSECURE") {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12} //nolint:gosec // the user asks for it
	}
	outputs := map[string]string{}
	end, err := sender.Send(cmd.Context(), sender.Options{Variables: v,
		HTTP: &http.Client{Transport: transport, Timeout: reportTime, // a redirect would get the key
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		Tell: func(e sender.Event) {
			if e.Name == "workflow-log" && json.Unmarshal([]byte(e.Text), &outputs) == nil {
				return
			}
			if e.Name == "warn" || e.Name == "missed" {
				c.say("warning: %s", e.Text)
				return
			}
			c.say("%s", e.Text)
		}})
	if err != nil {
		return err
	}
	c.say("%s", end)
	if asJSON {
		return c.printJSON(outputs)
	}
	for _, key := range slices.Sorted(maps.Keys(outputs)) {
		fmt.Fprintf(c.Out, "%s=%s\n", key, outputs[key])
	}
	return nil
}
