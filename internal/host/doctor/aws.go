package doctor

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
)

// The first versions of the AWS tools that support AWS_ENDPOINT_URL.
var (
	awsV1     = clientconf.Version{1, 29, 0}
	awsV2     = clientconf.Version{2, 13, 0}
	helperMin = clientconf.Version{0, 8, 0}
)

// awsSettings has the settings that the AWS tools of this user read.
type awsSettings struct {
	profile             string
	config, credentials clientconf.AWSFile
}

// checkAWS checks the settings that the aws CLI, the SDKs and the credential helper share, and the installed
// programs.
func (d *doctor) checkAWS(ctx context.Context) []Check {
	s := awsSettings{profile: d.Getenv("AWS_PROFILE")}
	if s.profile == "" {
		s.profile = "default"
	}
	for _, f := range []struct {
		variable, name string
		into           *clientconf.AWSFile
	}{{"AWS_CONFIG_FILE", "config", &s.config}, {"AWS_SHARED_CREDENTIALS_FILE", "credentials", &s.credentials}} {
		path := d.Getenv(f.variable)
		if path == "" {
			path = filepath.Join(d.Home, ".aws", f.name)
		}
		content, err := readMaybe(path)
		if err != nil {
			return []Check{{"AWS settings", Skip, err.Error(), ""}}
		}
		*f.into = clientconf.ParseAWSFile(content)
	}
	d.aws = s
	credentials := d.awsCredentials(ctx, s)
	d.hasKeys = credentials.Detail != noKeys+s.profile
	checks := []Check{credentials, d.awsRegion(s), d.awsEndpoint(ctx, s, "ecr"), d.awsEndpoint(ctx, s, "sts")}
	if d.trusts(d.pool, d.host) {
		checks = append(checks, d.awsBundle(s))
	}
	return append(checks, d.awsCLI(ctx), d.awsHelper(ctx))
}

// first returns the first value that is set among some variables and a setting of the profile, and where it was
// set.
func (d *doctor) first(variables []string, setting, value string) (text, from string) {
	for _, v := range variables {
		if text := d.Getenv(v); text != "" {
			return text, v
		}
	}
	return value, setting
}

// noKeys is the detail of a check without credentials, before the name of the profile.
const noKeys = "neither in the environment nor in the profile "

func (d *doctor) awsCredentials(ctx context.Context, s awsSettings) Check {
	c := Check{Name: "AWS credentials", Status: OK}
	id, secret := d.Getenv("AWS_ACCESS_KEY_ID") != "", d.Getenv("AWS_SECRET_ACCESS_KEY") != ""
	profile := s.config[s.profile]
	switch {
	case id && secret:
		return d.callerInEnvironment(ctx)
	case id != secret:
		c.Status, c.Detail = Fail, "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set"
		c.Fix = "Set both: eval \"$(ecrin env)\""
	case d.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" || d.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		c.Detail = "from a token file or a credentials address in the environment"
	case s.credentials[s.profile]["aws_access_key_id"] != "" || profile["aws_access_key_id"] != "" ||
		profile["role_arn"] != "" || profile["credential_process"] != "" || profile["sso_session"] != "" || profile["sso_start_url"] != "":
		return d.callerOfProfile(ctx, s.profile)
	default:
		c.Status, c.Detail = Warn, noKeys+s.profile
		c.Fix = newKeys
	}
	return c
}

func (d *doctor) awsRegion(s awsSettings) Check {
	want := d.Region.String()
	got, from := d.first([]string{"AWS_REGION", "AWS_DEFAULT_REGION"}, "the profile "+s.profile, s.config[s.profile]["region"])
	fix := "Set it: export AWS_REGION=" + want + " AWS_DEFAULT_REGION=" + want
	switch got {
	case want:
		return Check{"AWS region", OK, want + ", by " + from, ""}
	case "":
		return Check{"AWS region", Warn, "is not set", fix}
	}
	return Check{"AWS region", Warn, fmt.Sprintf("is %s by %s; this registry is in %s", got, from, want), fix}
}

// awsEndpoint checks the endpoint of the AWS tools for a service.
func (d *doctor) awsEndpoint(ctx context.Context, s awsSettings, service string) Check {
	c := Check{Name: "AWS endpoint for " + service, Status: OK}
	got, from := d.first([]string{"AWS_ENDPOINT_URL_" + strings.ToUpper(service), "AWS_ENDPOINT_URL"},
		"the profile "+s.profile, s.config.Endpoint(s.profile, service))
	fix := "Send the calls to this server: export AWS_ENDPOINT_URL=" + d.scheme + "://" + d.addr
	switch {
	case got == "" && service == "ecr" && d.realNames(),
		got == "" && service == "sts" && d.leadsHere(ctx, "sts."+d.Region.String()+".amazonaws.com"):
		c.Detail = "the tools' default names resolve to this server"
	case got == "":
		c.Status, c.Detail, c.Fix = Warn, "is not set: calls go to Amazon", fix
	case strings.EqualFold(d.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true"):
		c.Status, c.Detail = Warn, from+" is set, but AWS_IGNORE_CONFIGURED_ENDPOINT_URLS makes the tools ignore it"
		c.Fix = "Remove the variable: unset AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
	default:
		if problem := d.elsewhere(ctx, got); problem != "" {
			c.Status, c.Detail, c.Fix = Warn, fmt.Sprintf("is %s by %s, which %s", got, from, problem), fix
			break
		}
		c.Detail = got + ", by " + from
	}
	return c
}

// realNames reports whether the default names of the AWS tools for ECR resolve to this server, with the default scheme
// and port. Those of other accounts and regions do not matter.
func (d *doctor) realNames() bool {
	region := d.Region.String()
	for _, n := range d.names {
		if n.domain == "amazonaws.com" {
			return slices.Contains(n.here, n.registry) && slices.Contains(n.here, "api.ecr."+region+"."+n.domain) &&
				d.scheme == "https" && d.port == "443"
		}
	}
	return false
}

// elsewhere returns the reason why a URL does not address this server; "" if it does.
func (d *doctor) elsewhere(ctx context.Context, text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return "is not a URL"
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	addrs, _ := d.lookup(ctx, u.Hostname())
	switch {
	case !strings.EqualFold(u.Hostname(), d.host) && !d.isOwn(addrs), port != d.port:
		return "is not this server"
	case u.Scheme != d.scheme:
		return "is " + u.Scheme + ", while the server uses " + d.scheme
	}
	return ""
}

// awsBundle checks the CA bundle: the aws CLI and other Python programs use their own CAs and not those of the
// system.
func (d *doctor) awsBundle(s awsSettings) Check {
	path, from := d.first([]string{"AWS_CA_BUNDLE"}, "the profile "+s.profile, s.config[s.profile]["ca_bundle"])
	fix := "Set it to the server's CA: export AWS_CA_BUNDLE=" + quote(d.CAPath)
	if path == "" {
		return Check{"AWS CA bundle", Warn, "is not set; the aws CLI does not use the CAs of the system", fix}
	}
	if _, err := os.ReadFile(path); err != nil {
		return Check{"AWS CA bundle", Fail, fmt.Sprintf("%s, by %s, cannot be read: %v", path, from, err), fix}
	}
	if !d.trusts(poolOf([]string{path}), d.host) {
		return Check{"AWS CA bundle", Warn, fmt.Sprintf("%s, by %s, does not contain the server's CA", path, from), fix}
	}
	return Check{"AWS CA bundle", OK, path + ", by " + from, ""}
}

func (d *doctor) awsCLI(ctx context.Context) Check {
	v, c := d.version(ctx, "aws CLI", "aws", "--version")
	if c.Status != OK || d.realNames() {
		return c
	}
	if v[0] == 1 && v.Less(awsV1) || v[0] != 1 && v.Less(awsV2) {
		c.Status, c.Detail = Warn, c.Detail+", which does not support AWS_ENDPOINT_URL, so that its calls go to Amazon"
		c.Fix = fmt.Sprintf("Install 1.29 or 2.13 or newer, or name the server in each command: aws --endpoint-url %s://%s ecr describe-repositories", d.scheme, d.addr)
	}
	return c
}

// version runs a program and reads its version. The status of the check is Skip if there is no such program or
// no version.
func (d *doctor) version(ctx context.Context, what, program, flag string) (clientconf.Version, Check) {
	path := d.find(program)
	if path == "" {
		return clientconf.Version{}, Check{what, Skip, program + " is not on the PATH", ""}
	}
	ctx, cancel := context.WithTimeout(ctx, d.Timeout)
	defer cancel()
	out, err := d.Command(ctx, path, flag)
	v, ok := clientconf.ParseVersion(out)
	if !ok {
		detail := path + " " + flag + " prints no version"
		if err != nil {
			detail += ": " + err.Error()
		}
		return v, Check{what, Skip, detail, ""}
	}
	return v, Check{what, OK, fmt.Sprintf("%s is version %v", path, v), ""}
}
