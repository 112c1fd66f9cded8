package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
)

// validProfile matches the names of profiles that need no quotes in the files of the AWS tools.
var validProfile = lazyregexp.New(`^[A-Za-z0-9_.@:+/-]{1,64}$`)

// keyOf is one key of a profile; with the value "" it is removed.
type keyOf struct{ key, value string }

// overridingKeys are the keys of a profile with which the AWS tools would use other credentials in spite of those that are
// written. Source: AWS SDKs and tools reference guide, settings reference.
var overridingKeys = []string{
	"role_arn", "source_profile", "credential_source", "credential_process", "web_identity_token_file", "sso_session", "sso_start_url",
	"sso_region", "sso_account_id", "sso_role_name", "login_session",
	"aws_access_key_id", "aws_secret_access_key", "aws_session_token",
}

// profileKeys returns what a profile has in the two files.
func (a access) profileKeys() (configured, credentials []keyOf) {
	configured = []keyOf{{"region", a.region}, {"endpoint_url", a.url}, {"ca_bundle", a.ca}, {"ignore_configured_endpoint_urls", ""}}
	for _, key := range overridingKeys {
		value := ""
		switch key {
		case "role_arn":
			value = a.roleARN
		case "source_profile":
			value = a.sourceName
		}
		configured = append(configured, keyOf{key, value})
	}
	return append(configured, keyOf{"services", ""}),
		[]keyOf{{"aws_access_key_id", a.key}, {"aws_secret_access_key", a.secret}, {"aws_session_token", a.token}}
}

// configSection returns the name of the section of a profile in the file config.
func configSection(profile string) string {
	if profile == "default" {
		return profile
	}
	return "profile " + profile
}

// servicesSection returns the name of the section with the endpoint of STS for a profile that assumes a role: the SDK for Go takes
// no other setting of the profile for this call.
func servicesSection(profile string) string { return "ecrin-" + strings.ReplaceAll(profile, "/", "-") }

// sections returns the sections of the file config for a profile, and their keys.
func (a access) sections(profile string, configured []keyOf) (names []string, keys [][]keyOf) {
	if a.roleARN == "" {
		return []string{configSection(profile)}, [][]keyOf{configured}
	}
	configured = append(slices.Clone(configured[:len(configured)-1]), keyOf{"services", servicesSection(profile)})
	return []string{configSection(profile), "services " + servicesSection(profile)},
		[][]keyOf{configured, {{"sts", "\n  endpoint_url = " + a.url}}}
}

// showProfile prints a profile, or writes it.
func (c *commands) showProfile(f *envFlags, a access) error {
	configured, credentials := a.profileKeys()
	for _, k := range slices.Concat(configured, credentials) {
		if strings.ContainsAny(k.value, "\r\n") || strings.Contains(k.value, " #") || strings.Contains(k.value, " ;") {
			return fmt.Errorf("a profile cannot hold %s = %q", k.key, k.value)
		}
	}
	configFile, credentialsFile := c.awsFiles()
	names, keys := a.sections(f.profile, configured)
	answer := map[string]any{"profile": f.profile, "config": present(configured), "credentials": present(credentials)}
	if f.write {
		if a.sourceName != "" && !slices.Contains(c.profileNames(nil), a.sourceName) {
			return fmt.Errorf("there is no profile %s: write it first, such as `ecrin env --user %s --profile %s --write`", a.sourceName,
				a.sourceName, a.sourceName)
		}
		if err := writeProfile(configFile, names, keys); err != nil {
			return err
		}
		if err := writeProfile(credentialsFile, []string{f.profile}, [][]keyOf{credentials}); err != nil {
			return err
		}
		answer["configFile"], answer["credentialsFile"] = configFile, credentialsFile
		c.say("wrote the profile %s to %s and %s; to use it: export AWS_PROFILE=%s", f.profile, configFile, credentialsFile, f.profile)
	}
	if !a.expires.IsZero() {
		c.say("the keys of the profile expire at %s; with --source-profile PROFILE the tools assume the role themselves", stamp(a.expires))
	}
	if f.asJSON {
		return c.printJSON(answer)
	}
	if f.write {
		return nil
	}
	text := ""
	for i := range names {
		text = setSection(text, names[i], keys[i])
	}
	fmt.Fprintf(c.Out, "# %s\n%s", configFile, text)
	if len(present(credentials)) > 0 {
		fmt.Fprintf(c.Out, "\n# %s\n%s", credentialsFile, setSection("", f.profile, credentials))
	}
	return nil
}

// present returns the keys that have a value.
func present(keys []keyOf) map[string]string {
	all := map[string]string{}
	for _, k := range keys {
		if k.value != "" {
			all[k.key] = k.value
		}
	}
	return all
}

// awsFiles returns the paths of the files of the AWS tools. Source: AWS SDKs and tools reference guide, location of the files.
func (c *commands) awsFiles() (configured, credentials string) {
	home := c.lookup("HOME", "")
	if home == "" {
		home, _ = os.UserHomeDir() // without one, the paths are relative
	}
	return c.lookup("AWS_CONFIG_FILE", filepath.Join(home, ".aws", "config")),
		c.lookup("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(home, ".aws", "credentials"))
}

// profileNames returns the names of the profiles in the files of the AWS tools.
func (c *commands) profileNames(*cobra.Command) (names []string) {
	configured, credentials := c.awsFiles()
	for _, path := range []string{configured, credentials} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // completion and the check of a source profile need no reason
		}
		for line := range strings.Lines(string(text)) {
			section, ok := sectionOf(line)
			if path == configured {
				profile, named := strings.CutPrefix(section, "profile ")
				section, ok = profile, ok && (named || section == "default")
			}
			if ok && !slices.Contains(names, section) {
				names = append(names, section)
			}
		}
	}
	return names
}

// sectionHeader matches the first line of a section.
var sectionHeader = lazyregexp.New(`^[ \t]*\[([^\]]*)\]`)

// sectionOf returns the name of the section that begins with a line, without quotes and with single spaces, and whether one does.
func sectionOf(line string) (string, bool) {
	m := sectionHeader.FindStringSubmatch(line)
	if m == nil {
		return "", false
	}
	return strings.Join(strings.Fields(strings.NewReplacer(`"`, "", "'", "").Replace(m[1])), " "), true
}

// setSection returns a text with the keys of a section set or removed; a key without a value is removed. The section is added at the
// end if the text has none and a key has a value. All other lines stay as they are.
func setSection(text, section string, keys []keyOf) string {
	end := "\n"
	if strings.Contains(text, "\r\n") {
		end = "\r\n"
	}
	lines := slices.Collect(strings.Lines(text))
	start := slices.IndexFunc(lines, func(line string) bool { got, ok := sectionOf(line); return ok && got == section })
	if start < 0 {
		if len(present(keys)) == 0 {
			return text
		}
		if n := len(lines); n > 0 && !strings.HasSuffix(lines[n-1], "\n") {
			lines[n-1] += end
		}
		if len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) != "" {
			lines = append(lines, end)
		}
		start, lines = len(lines), append(lines, "["+section+"]"+end)
	} else if !strings.HasSuffix(lines[start], "\n") {
		lines[start] += end
	}
	var inside, after []string
	dropping := false // the lines that continue a removed key
	for i, line := range lines[start+1:] {
		if _, ok := sectionOf(line); ok {
			after = lines[start+1+i:]
			break
		}
		continued := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		if !continued || strings.TrimSpace(line) == "" {
			at := strings.IndexAny(line, "=:")
			dropping = at > 0 && slices.ContainsFunc(keys, func(k keyOf) bool { return strings.EqualFold(k.key, strings.TrimSpace(line[:at])) })
		}
		if !dropping {
			inside = append(inside, line)
		}
	}
	blank := len(inside)
	for blank > 0 && strings.TrimSpace(inside[blank-1]) == "" {
		blank--
	}
	rest := slices.Clone(inside[blank:])
	inside = inside[:blank]
	if blank > 0 && !strings.HasSuffix(inside[blank-1], "\n") {
		inside[blank-1] += end
	}
	for _, k := range keys {
		switch {
		case strings.HasPrefix(k.value, "\n"): // keys below the key
			inside = append(inside, k.key+" ="+strings.ReplaceAll(k.value, "\n", end)+end)
		case k.value != "":
			inside = append(inside, k.key+" = "+k.value+end)
		}
	}
	return strings.Join(slices.Concat(lines[:start+1], inside, rest, after), "")
}

// maxProfileWait limits the wait for another process that writes the same file.
const maxProfileWait = 10 * time.Second

// writeProfile sets the keys of sections of a file, which is replaced as a whole and can be read by its user alone. Only one process
// at a time does so, so that none loses what another has written. A link stays a link.
//
// Errors: root writes nothing into a folder of another user.
func writeProfile(path string, sections []string, keys [][]keyOf) error {
	if dir := filepath.Dir(path); anothers(dir) {
		return fmt.Errorf("%s belongs to another user, who could not read files of root: repeat as that user, or without --write",
			dir)
	}
	if whole, err := filepath.EvalSymlinks(path); err == nil {
		path = whole
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer lock.Close() // releases it
	for end := time.Now().Add(maxProfileWait); ; time.Sleep(10 * time.Millisecond) {
		err := durable.TryLock(lock)
		if err == nil || errors.Is(err, errors.ErrUnsupported) {
			break
		}
		if !errors.Is(err, durable.ErrLocked) || time.Now().After(end) {
			return fmt.Errorf("waiting for another process that writes in %s: %w", dir, err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	changed := string(text)
	for i := range sections {
		changed = setSection(changed, sections[i], keys[i])
	}
	if err != nil && changed == "" {
		return nil // nothing to write, and no file
	}
	return durable.WriteFile(path, []byte(changed), 0o600)
}
