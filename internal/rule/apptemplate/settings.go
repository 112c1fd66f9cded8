package apptemplate

import "github.com/ecrin-dev/ecrin/internal/word/name"

// Settings are the content of SettingsFile: paths from the root of the repository, "" for none.
type Settings struct {
	Compose  string // of a file of docker compose
	Template string // of the application template
}

// ParseSettings reads SettingsFile. If a finding is an error, the settings are not to be used.
func ParseSettings(text []byte) (Settings, []Finding) {
	r := &reader{}
	root := r.parse(text)
	if root == nil {
		return Settings{}, r.findings
	}
	m := r.at(root, "", 0).mapping([]string{"compose", "application_template"})
	var s Settings
	for key, to := range map[string]*string{"compose": &s.Compose, "application_template": &s.Template} {
		v := m.get(key)
		if *to = v.text(); v.there() && !inside(*to) {
			v.fail("must be a path inside of the repository, got %q", name.Clip(*to))
		}
	}
	return s, r.findings
}
