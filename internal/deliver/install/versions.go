package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ecrin-dev/ecrin/internal/deliver/rewrite"
	rule "github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/rule/template"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/safeyaml"
)

// maxNewest is how many of the newest versions a check downloads, beside those that are required.
const maxNewest = 10

// Check asks the server for updates, and downloads what it offers: the newest 10 versions, and those that are required. Each becomes a
// version of the history. A changed licence is stored, and is a version too. It returns the new versions.
//
// A download that was interrupted is done first.
//
// Errors: *RefusedError; ErrAirgap; the server cannot be reached, or its answer is wrong. What was downloaded before stays.
func (i *Installation) Check(ctx context.Context) (found []Version, err error) {
	if i.Offline() {
		return nil, ErrAirgap
	}
	from := len(i.state.Versions)
	defer func() { found = slices.Clone(i.state.Versions[min(from, len(i.state.Versions)):]) }()
	s, err := i.server()
	if err != nil {
		return nil, err
	}
	if n := len(i.state.Versions); n > 0 && i.state.Versions[n-1].Status == PendingDownload {
		from = n - 1
		if err := i.download(ctx, s); err != nil {
			return nil, err
		}
	}
	if len(i.state.Versions) == 0 {
		return nil, i.fetch(ctx, s, OnlineInstall, Offer{})
	}
	if _, err := i.SyncLicense(ctx); err != nil {
		return nil, fmt.Errorf("the licence: %w", err)
	}
	offers, err := i.ask(ctx, s)
	if err != nil {
		return nil, err
	}
	channel := i.license.Channel()
	for n, o := range offers {
		if !o.Required && n < len(offers)-maxNewest {
			continue
		}
		if slices.ContainsFunc(i.state.Versions, func(v Version) bool {
			return v.ChannelID == channel.ID && v.ChannelSequence == o.ChannelSequence && v.Sequence >= i.state.Current
		}) {
			continue
		}
		if err := i.fetch(ctx, s, UpstreamUpdate, o); err != nil {
			return nil, err
		}
	}
	now := i.o.Now().UTC()
	return nil, i.change(func(s *state) { s.LastCheck = now })
}

// fetch adds a version and downloads it. A version that the server does not give is taken back.
func (i *Installation) fetch(ctx context.Context, s *Server, source Source, o Offer) error {
	if len(i.state.Versions) >= maxVersions {
		return fmt.Errorf("the history has %d versions", maxVersions)
	}
	channel := i.license.Channel()
	v := Version{Sequence: int64(len(i.state.Versions)), Source: source, Status: PendingDownload, ChannelID: channel.ID,
		ChannelName: channel.Name, ChannelSequence: o.ChannelSequence, Label: printable(o.Label), Required: o.Required, Notes: o.Notes,
		CreatedAt: i.o.Now().UTC()}
	if err := i.change(func(s *state) { s.Versions = append(s.Versions, v) }); err != nil {
		return err
	}
	return i.download(ctx, s)
}

// download downloads the last version of the history, which waits for it.
func (i *Installation) download(ctx context.Context, s *Server) error {
	n := len(i.state.Versions) - 1
	v := i.state.Versions[n]
	i.o.Say("downloading the version %s", orNewest(v.Label))
	r, err := s.Download(ctx, v.ChannelID, v.ChannelSequence, v.Label)
	var refused *RefusedError
	if errors.As(err, &refused) {
		return errors.Join(err, i.change(func(s *state) { s.Versions = s.Versions[:n] }))
	}
	if err != nil {
		return err
	}
	v.ChannelSequence, v.Required, v.ReleasedAt = r.ChannelSequence, r.Required, r.ReleasedAt
	v.ProxyDomain, v.RegistryDomain = r.ProxyDomain, r.RegistryDomain
	v.Label, v.Registries = r.Label, r.Names
	return i.build(ctx, v, r.Files, func(*state) {})
}

func orNewest(label string) string {
	if label == "" {
		return "that is the newest"
	}
	return label
}

// downloaded checks that there is a newest version, with its files.
func (i *Installation) downloaded() error {
	n := len(i.state.Versions)
	switch {
	case n == 0:
		return errors.New("there is no version yet: run ecrin install")
	case i.state.Versions[n-1].Status == PendingDownload:
		return errors.New("the newest version is not downloaded yet: run ecrin update check")
	}
	return nil
}

// derive adds a version with the files of the newest one that is not withdrawn, because something else than these has changed.
func (i *Installation) derive(ctx context.Context, source Source, f func(*state)) error {
	n := len(i.state.Versions)
	if err := i.downloaded(); err != nil {
		return err
	}
	base := i.base()
	files, err := i.upstreamFiles(base)
	if err != nil {
		return err
	}
	v := i.state.Versions[base]
	v.Sequence, v.Source, v.CreatedAt, v.DeployedAt, v.Error, v.Incomplete = int64(n), source, i.o.Now().UTC(), nil, "", ""
	return i.build(ctx, v, files, f)
}

// SetConfig sets values of the application, and makes a version with them. An empty value takes one away.
//
// Errors: the application has no such value.
func (i *Installation) SetConfig(ctx context.Context, values map[string]string) error {
	if len(i.state.Versions) == 0 {
		return errors.New("there is no version yet: run ecrin install")
	}
	items, err := i.ConfigItems(i.base())
	if err != nil {
		return err
	}
	for name := range values {
		if !slices.ContainsFunc(items, func(c ConfigItem) bool { return c.Name == name }) {
			return fmt.Errorf("the application has no value %q", printable(name))
		}
	}
	return i.derive(ctx, ConfigChange, func(s *state) {
		all := map[string]string{}
		for k, v := range s.Config {
			all[k] = v
		}
		for k, v := range values {
			if all[k] = v; v == "" {
				delete(all, k)
			}
		}
		s.Config = all
	})
}

// ConfigItem is a value that an application asks for.
type ConfigItem struct {
	Name     string `json:"name"`
	Title    string `json:"title,omitempty"`
	Type     string `json:"type,omitempty"`
	Default  string `json:"default,omitempty"`
	Value    string `json:"value,omitempty"`
	Required bool   `json:"required,omitempty"`
}

// Secret reports whether a value is not shown.
func (c ConfigItem) Secret() bool { return c.Type == "password" }

// configItems reads the values that files of the kind Config ask for.
func configItems(files []rule.File, values map[string]string) (all []ConfigItem) {
	for _, f := range files {
		if !rule.Manifest(f.Path) || strings.HasPrefix(f.Path, "userdata/") {
			continue
		}
		for _, d := range rule.Split(f) {
			var c struct {
				APIVersion string `yaml:"apiVersion"`
				Kind       string `yaml:"kind"`
				Spec       struct {
					Groups []struct {
						Items []struct {
							Name     string    `yaml:"name"`
							Title    string    `yaml:"title"`
							Type     string    `yaml:"type"`
							Default  yaml.Node `yaml:"default"`
							Value    yaml.Node `yaml:"value"`
							Required bool      `yaml:"required"`
						} `yaml:"items"`
					} `yaml:"groups"`
				} `yaml:"spec"`
			}
			if safeyaml.Unmarshal(d.Data, &c) != nil || c.Kind != "Config" || !strings.HasPrefix(c.APIVersion, "kots.io/") {
				continue
			}
			for _, g := range c.Spec.Groups {
				for _, item := range g.Items {
					one := ConfigItem{Name: item.Name, Title: item.Title, Type: item.Type, Required: item.Required,
						Default: item.Default.Value, Value: item.Value.Value}
					if v, ok := values[item.Name]; ok {
						one.Value = v
					}
					all = append(all, one)
				}
			}
		}
	}
	return all
}

// build makes the files of a version in its folder, and stores the version with further changes of the state. The folder is complete before
// the version is in the history.
func (i *Installation) build(ctx context.Context, v Version, files []rule.File, f func(*state)) error {
	next := i.state
	f(&next)
	e, closed, err := i.engine()
	if err != nil {
		return err
	}
	defer closed()
	v.Airgap = v.Airgap && next.Registry != nil // without a registry of its own it pulls from the vendor again
	in, out, items, err := i.output(ctx, e, v, next, files)
	if err != nil {
		return err
	}
	switch r := next.Registry; {
	case v.Airgap:
		err = i.provide(ctx, r, out)
	case r != nil && !r.NoCopy && v.Source != RegistryChange: // SetRegistry has copied them
		_, err = i.transfer(ctx, *r, in, out, (*rewrite.Transfer).Run)
	}
	if err != nil {
		return err
	}
	dir := filepath.Join(i.dir, versionsDir, "new")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	user, err := i.userdata(v, next, out, items)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := out.Write(dir, user); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil { // it has the licence
		return err
	}
	v.Status = Pending
	for _, item := range items {
		if item.Required && item.Value == "" && item.Default == "" {
			v.Status, v.Error = PendingConfig, "the value "+item.Name+" is missing: ecrin update config --set "+item.Name+"=…"
		}
	}
	if err := i.render(dir); err != nil {
		v.Status, v.Error = Failed, printable(err.Error())
	}
	if len(out.Broken) > 0 {
		v.Incomplete = printable(out.Broken[0].Error())
		v.Status, v.Error = Failed, v.Incomplete
	}
	if err := os.RemoveAll(i.folder(v.Sequence)); err != nil { // of an attempt that was interrupted
		return err
	}
	if err := syncTree(dir); err != nil {
		return err
	}
	if err := durable.Rename(dir, i.folder(v.Sequence)); err != nil {
		return err
	}
	return i.change(func(s *state) {
		f(s)
		s.Versions = append(s.Versions[:v.Sequence], v)
	})
}

// output returns what the engine makes of the files of a version, with its input and the values of the customer.
func (i *Installation) output(ctx context.Context, e *rewrite.Engine, v Version, next state, files []rule.File) (
	rewrite.Input, rewrite.Output, []ConfigItem, error) {
	known, err := i.known(v.Sequence)
	if err != nil {
		return rewrite.Input{}, rewrite.Output{}, nil, err
	}
	items := configItems(files, next.Config)
	in := i.input(v, next, files, known, items)
	e.Helm = i.charts(ctx, in, v)
	out, err := e.Run(ctx, in)
	return in, out, items, err
}

// charts returns what renders the charts of a version: for the cluster as it is, if it answers.
func (i *Installation) charts(ctx context.Context, in rewrite.Input, v Version) rewrite.Helm {
	c := rewrite.Charts{Namespace: in.Namespace, Upgrade: v.Sequence > 0, Revision: int(v.Sequence) + 1, Now: v.CreatedAt}
	if !slices.ContainsFunc(in.Files, func(f rule.File) bool {
		return strings.HasSuffix(f.Path, ".tgz") || strings.HasSuffix(f.Path, ".tar.gz")
	}) {
		return c
	}
	o, err := i.cluster()
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, maxAsk)
		defer cancel()
		if c.KubeVersion, err = o.Version(ctx); err == nil {
			c.APIVersions, err = o.APIVersions(ctx)
		}
	}
	if err != nil {
		c.KubeVersion, c.APIVersions = "", nil
		i.o.Say("the charts are rendered for a usual cluster, because this one does not answer: %s", printable(err.Error()))
	}
	return c
}

// maxAsk is how long the cluster may take to say what it can do.
const maxAsk = 15 * time.Second

// syncTree makes the files below a folder durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() && !e.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Sync()
	})
}

// known returns what was decided on images before a version.
func (i *Installation) known(sequence int64) ([]rewrite.Known, error) {
	if sequence == 0 {
		return nil, nil
	}
	before, err := rewrite.ReadInstallation(i.folder(sequence - 1))
	if err != nil {
		return nil, fmt.Errorf("reading what was decided before: %w", err)
	}
	return before.KnownImages, nil
}

// input returns what the engine makes a version of.
func (i *Installation) input(v Version, s state, files []rule.File, known []rewrite.Known, items []ConfigItem) rewrite.Input {
	l := i.license
	in := rewrite.Input{Slug: l.AppSlug, Files: files, Known: known, Namespace: s.Settings.Namespace,
		AllPrivate:    s.Settings.AllPrivate || v.Airgap,
		InstallCharts: true,
		Proxy:         rule.Proxy{Host: l.ProxyDomain, Vendor: v.RegistryDomain, Names: v.Registries},
		Installed:     rule.Proxy{Host: v.ProxyDomain, Vendor: v.RegistryDomain},
		License:       rule.Auth{Username: "LICENSE_ID", Password: l.ID}}
	if c := l.Channel(); c.ProxyDomain != "" {
		in.Proxy.Host = c.ProxyDomain
	}
	if s.Registry != nil {
		in.Local = s.Registry.local()
		in.LocalAuth = rule.Auth{Username: s.Registry.Username, Password: s.Registry.Password}
	}
	in.Values = template.Values{Airgap: v.Airgap, Channel: v.ChannelName, VersionLabel: v.Label, Sequence: v.Sequence,
		Cursor: strconv.FormatInt(v.ChannelSequence, 10),
		Field:  func(name string) string { return l.Fields[name].Value.String() },
		Config: func(name string) string {
			for _, item := range items {
				if item.Name == name {
					if item.Value != "" {
						return item.Value
					}
					return item.Default
				}
			}
			return ""
		}}
	return in
}

// userdata returns the files of a version that are about the customer.
func (i *Installation) userdata(v Version, s state, out rewrite.Output, items []ConfigItem) ([]rule.File, error) {
	inst := rewrite.Installation{UpdateCursor: strconv.FormatInt(v.ChannelSequence, 10), ChannelID: v.ChannelID, ChannelName: v.ChannelName,
		VersionLabel: v.Label, Required: v.Required, Notes: v.Notes, ReleasedAt: v.ReleasedAt, ProxyDomain: v.ProxyDomain,
		RegistryDomain: v.RegistryDomain, KnownImages: out.Known()}
	for _, f := range out.Skipped {
		inst.Errors = append(inst.Errors, rewrite.YAMLError{Path: f.File, Error: f.Err.Error()})
	}
	file, err := inst.File(i.license.AppSlug)
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, item := range items {
		one := map[string]string{"default": item.Default}
		if item.Value != "" {
			one["value"] = item.Value
		}
		values[item.Name] = one
	}
	config, err := yaml.Marshal(map[string]any{"apiVersion": "kots.io/v1beta1", "kind": "ConfigValues",
		"metadata": map[string]string{"name": i.license.AppSlug}, "spec": map[string]any{"values": values}})
	if err != nil {
		return nil, err
	}
	return []rule.File{file, {Path: rewrite.UserDir + "/license.yaml", Data: []byte(s.License)},
		{Path: rewrite.UserDir + "/config.yaml", Data: config}}, nil
}

// render brings the changes of the customer into a folder of a version, and builds the overlays.
func (i *Installation) render(dir string) error {
	own, theirs := filepath.Join(i.dir, filepath.FromSlash(downstreams)), filepath.Join(dir, filepath.FromSlash(downstreams))
	if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
		// It is complete or not there: half of it would count as a change of the customer, and fail each version.
		next := own + ".new"
		err := os.RemoveAll(next) // of an attempt that was interrupted
		if err == nil {
			err = os.MkdirAll(filepath.Dir(own), 0o755)
		}
		if err == nil {
			err = os.CopyFS(next, os.DirFS(theirs))
		}
		if err == nil {
			err = syncTree(next)
		}
		if err == nil {
			err = durable.Rename(next, own)
		}
		if err != nil {
			return fmt.Errorf("making the folder of your changes: %w", err)
		}
	} else if err != nil {
		return err
	}
	if err := os.RemoveAll(theirs); err != nil {
		return err
	}
	if err := os.CopyFS(theirs, os.DirFS(own)); err != nil {
		return fmt.Errorf("reading your changes in %s: %w", own, err)
	}
	text, err := rewrite.Build(dir)
	if err != nil {
		return err
	}
	return rewrite.WriteBuilt(dir, text)
}

// downstreams is the folder of the changes of the customer, in that of the installation and of each version.
const downstreams = "overlays/downstreams"
