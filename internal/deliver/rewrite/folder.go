package rewrite

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// The largest folder that ReadFolder reads.
const (
	maxFiles = 10_000
	maxBytes = 256 << 20
)

// ReadFolder reads the files of a folder and those below it, without links, other things that are no files, and names that begin with a
// dot.
//
// Errors: one cannot be read; there are more than maxFiles or maxBytes.
func ReadFolder(dir string) ([]rule.File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var all []rule.File
	total := int64(0)
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !e.Type().IsRegular():
			return nil
		}
		data, err := readAtMost(root, name, maxBytes-total)
		if err != nil {
			return err
		}
		if total += int64(len(data)); total > maxBytes || len(all) == maxFiles {
			return fmt.Errorf("the folder has more than %d files or %d bytes", maxFiles, maxBytes)
		}
		all = append(all, rule.File{Path: name, Data: data})
		return nil
	})
	return all, err
}

// readAtMost reads a file, and no more than a byte beyond a limit: it may be of any size, and grow while it is read.
func readAtMost(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s was a file, and is none any more", name)
	case info.Size() > limit:
		return nil, fmt.Errorf("%s: the folder has more than %d bytes", name, maxBytes)
	}
	b := bytes.NewBuffer(make([]byte, 0, info.Size()+bytes.MinRead)) // which does not grow while a large file is read
	_, err = b.ReadFrom(io.LimitReader(f, limit+1))
	return b.Bytes(), err
}

// ReadStream reads manifests, such as those that helm template writes, as one file.
//
// Errors: reading fails; there are more than rule.MaxFile bytes.
func ReadStream(r io.Reader, name string) ([]rule.File, error) {
	data, err := io.ReadAll(io.LimitReader(r, rule.MaxFile+1))
	if err == nil && len(data) > rule.MaxFile {
		err = fmt.Errorf("there are more than %d bytes", rule.MaxFile)
	}
	return []rule.File{{Path: name, Data: data}}, err
}

// Installation is upstream/userdata/installation.yaml: what an installer knows of the version.
type Installation struct {
	UpdateCursor   string      `yaml:"updateCursor,omitempty"`
	ChannelID      string      `yaml:"channelID,omitempty"`
	ChannelName    string      `yaml:"channelName,omitempty"`
	VersionLabel   string      `yaml:"versionLabel,omitempty"`
	Required       bool        `yaml:"isRequired,omitempty"`
	Notes          string      `yaml:"releaseNotes,omitempty"`
	ReleasedAt     string      `yaml:"releasedAt,omitempty"` // RFC 3339
	ProxyDomain    string      `yaml:"replicatedProxyDomain,omitempty"`
	RegistryDomain string      `yaml:"replicatedRegistryDomain,omitempty"`
	EncryptionKey  string      `yaml:"encryptionKey,omitempty"`
	KnownImages    []Known     `yaml:"knownImages"`
	Errors         []YAMLError `yaml:"yamlErrors,omitempty"`
}

// YAMLError is a file that could not be read.
type YAMLError struct {
	Path  string `yaml:"path"`
	Error string `yaml:"error"`
}

const installationFile = "installation.yaml"

type installationObject struct {
	APIVersion string            `yaml:"apiVersion"`
	Kind       string            `yaml:"kind"`
	Metadata   map[string]string `yaml:"metadata"`
	Spec       Installation      `yaml:"spec"`
}

// File returns the file of an application with a slug.
func (i Installation) File(slug string) (rule.File, error) {
	if i.KnownImages == nil {
		i.KnownImages = []Known{}
	}
	text, err := yaml.Marshal(installationObject{"kots.io/v1beta1", "Installation", map[string]string{"name": slug}, i})
	return rule.File{Path: UserDir + "/" + installationFile, Data: text}, err
}

// ReadInstallation reads the file in the folder of an application; the zero value if there is none.
//
// Errors: it cannot be read, or is no Installation.
func ReadInstallation(dir string) (Installation, error) {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Installation{}, nil
	}
	if err != nil {
		return Installation{}, err
	}
	defer root.Close()
	text, err := root.ReadFile(UserDir + "/" + installationFile)
	if errors.Is(err, fs.ErrNotExist) {
		return Installation{}, nil
	}
	var o installationObject
	if err == nil {
		err = safeyaml.Unmarshal(text, &o)
	}
	if err == nil && o.Kind != "Installation" {
		err = fmt.Errorf("%s is no Installation", installationFile)
	}
	return o.Spec, err
}

// IsRewritten reports whether files are those of a folder that Output.Write has written.
func IsRewritten(files []rule.File) bool {
	has := func(path string) bool {
		return slices.ContainsFunc(files, func(f rule.File) bool { return f.Path == path })
	}
	return has(rule.BaseDir+"/"+rule.Kustomization) && has(rule.MidstreamDir+"/"+rule.Kustomization)
}

// generated are the folders that Write replaces. Everything else in the folder of an application stays: the userdata, and the overlays
// of the customer.
var generated = []string{rule.BaseDir, rule.MidstreamDir, KindsDir, ChartsDir, rule.MirrorsDir, SkippedDir}

// Write writes an application into its folder, which is made if it does not exist. user are files of UserDir, such as that of an
// Installation. The generated folders are replaced, the folder of the customer's changes is made once and then left as it is. Links that
// lead out of the folder are not followed. Files that may have credentials are readable for their owner only.
//
// Errors: those of writing. A folder that could not be written completely is written by a later call.
func (o Output) Write(dir string, user []rule.File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := o.writeUpstream(root); err != nil {
		return err
	}
	for _, folder := range generated {
		var files []rule.File
		for _, f := range o.Files {
			if strings.HasPrefix(f.Path, folder+"/") {
				files = append(files, f)
			}
		}
		if err := replace(root, folder, files); err != nil {
			return err
		}
	}
	for _, f := range user {
		if err := put(root, f); err != nil {
			return err
		}
	}
	if _, err := root.Stat(rule.DownstreamDir); errors.Is(err, fs.ErrNotExist) {
		return put(root, rule.Downstream())
	} else if err != nil {
		return err
	}
	return nil
}

// writeUpstream writes the release as it is. What was there before goes, but for the userdata.
func (o Output) writeUpstream(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), UpstreamDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if e.Name() != path.Base(UserDir) {
			if err := root.RemoveAll(UpstreamDir + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	for _, f := range o.Release {
		if strings.HasPrefix(f.Path, path.Base(UserDir)+"/") {
			continue // a release does not bring what is the customer's
		}
		if err := put(root, rule.File{Path: UpstreamDir + "/" + f.Path, Data: f.Data}); err != nil {
			return err
		}
	}
	return nil
}

// replace writes a folder beside the one that it replaces.
func replace(root *os.Root, folder string, files []rule.File) error {
	next := folder + ".new"
	if err := root.RemoveAll(next); err != nil {
		return err
	}
	if err := root.MkdirAll(next, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		f.Path = next + strings.TrimPrefix(f.Path, folder)
		if err := put(root, f); err != nil {
			return err
		}
	}
	if err := root.RemoveAll(folder); err != nil {
		return err
	}
	return root.Rename(next, folder)
}

// put writes a file, and the folders that it is in.
func put(root *os.Root, f rule.File) error {
	if err := root.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if private(f) {
		mode = 0o600
	}
	if err := root.WriteFile(f.Path, f.Data, mode); err != nil {
		return err
	}
	return root.Chmod(f.Path, mode)
}

// private reports whether a file may have credentials.
func private(f rule.File) bool {
	return strings.HasPrefix(f.Path, UserDir+"/") || strings.HasPrefix(f.Path, RenderedDir+"/") ||
		strings.HasPrefix(f.Path, rule.MirrorsDir) ||
		bytes.Contains(f.Data, []byte("dockerconfigjson")) || slices.Contains([]string{"secret.yaml"}, path.Base(f.Path))
}
