package clientconf

import (
	"strings"
)

// AWSFile is a file of the AWS tools (~/.aws/config or ~/.aws/credentials): sections with their settings. A
// nested setting has the key "outer.inner". Values that may be secret are replaced by "set".
type AWSFile map[string]map[string]string

// ParseAWSFile reads a file of the AWS tools. Invalid lines are skipped, since the AWS tools report them
// clearly. Profiles of the config file have their bare name as key; other sections keep their kind, as in
// "services dev".
func ParseAWSFile(content []byte) AWSFile {
	file := AWSFile{}
	var section map[string]string
	outer := ""
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, " \t\r\n")
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
			continue
		case line[0] == '[':
			name, _, _ := strings.Cut(line[1:], "]")
			name = strings.Join(strings.Fields(name), " ")
			name = strings.TrimPrefix(name, "profile ")
			if section = file[name]; section == nil {
				section = map[string]string{}
				file[name] = section
			}
			outer = ""
			continue
		}
		key, value, ok := strings.Cut(trimmed, "=")
		if !ok || section == nil {
			continue
		}
		key, value = strings.ToLower(strings.TrimSpace(key)), strings.TrimSpace(value)
		if len(trimmed) < len(line) { // indented: part of the setting above
			if outer == "" {
				continue
			}
			key = outer + "." + key
		} else {
			outer = key
		}
		section[key] = public(key, value)
	}
	return file
}

// public replaces a value that may be secret.
func public(key, value string) string {
	for _, word := range []string{"secret", "token", "password", "process"} {
		if value != "" && strings.Contains(key, word) {
			return "set"
		}
	}
	return value
}

// Endpoint returns the endpoint URL of a profile for a service ("ecr", "sts"): that of the service, or that of
// the profile for all services, or "".
// Source: AWS SDKs and Tools reference guide, service-specific endpoints.
func (f AWSFile) Endpoint(profile, service string) string {
	p := f[profile]
	if services := p["services"]; services != "" {
		if url := f["services "+services][service+".endpoint_url"]; url != "" {
			return url
		}
	}
	return p["endpoint_url"]
}
