// Package template renders the template functions in the files of an application at the installer: names of images as the cluster can pull
// them, fields of the licence, and what is known of the version.
//
// A template stands between "repl{{" and "}}", or between "{{repl" and "}}". Text with "{{" alone is for others, such as helm, and stays.
package template

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"

	"github.com/ecrin-dev/ecrin/internal/rule/bounded"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
)

// MaxOutput is the largest result of a file in bytes.
const MaxOutput = bounded.MaxText

// Values is what the functions know.
type Values struct {
	Proxy        rewrite.Proxy
	Local        *rewrite.Local // nil if images are not in a registry of the customer
	Private      func(rewrite.Reference) bool
	ProxyPublic  bool   // public images too are pulled by the proxy
	LicenseAuth  []byte // docker configuration with the licence
	LocalAuth    []byte // docker configuration for Local
	Field        func(name string) string
	Config       func(name string) string // values of the customer; nil for none
	Channel      string                   // name
	VersionLabel string
	Sequence     int64  // of the versions at the installer
	Cursor       string // channel sequence
	Airgap       bool
	// Helm returns a value of the chart that the file is for, by its path, such as ".image.tag"; nil if the file is for no chart.
	Helm func(path string) any
}

// Render renders the templates in a file.
//
// Errors: a template that cannot be parsed or fails, with the line; a result that is larger than MaxOutput.
func Render(name string, text []byte, v Values) ([]byte, error) {
	functions := v.functions()
	for _, delimiters := range [][2]string{{"repl{{", "}}"}, {"{{repl", "}}"}} {
		if !bytes.Contains(text, []byte(delimiters[0])) {
			continue
		}
		t, err := template.New(name).Delims(delimiters[0], delimiters[1]).Funcs(functions).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("reading the templates: %w", err)
		}
		out := &limited{left: MaxOutput}
		if err := t.Execute(out, nil); err != nil {
			return nil, fmt.Errorf("rendering the templates: %w", err)
		}
		text = out.Bytes()
	}
	return text, nil
}

// limited is a buffer that refuses more than some bytes.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fmt.Errorf("the result is larger than %d bytes", MaxOutput)
	}
	return l.Buffer.Write(p)
}

// functions returns the functions of the installer and those of the usual library whose results depend on their arguments alone, without
// those that make keys, and with limits for what makes texts and lists.
func (v Values) functions() template.FuncMap {
	all := template.FuncMap(sprig.HermeticTxtFuncMap())
	for name := range maps.Keys(all) {
		if strings.HasPrefix(name, "gen") || strings.HasPrefix(name, "derive") || strings.HasPrefix(name, "encrypt") {
			delete(all, name)
		}
	}
	for _, name := range []string{"buildCustomCert", "bcrypt", "htpasswd", "shuffle", "randInt"} {
		delete(all, name)
	}
	bounded.Bound(all)
	maps.Copy(all, template.FuncMap{
		"LocalImageName":               v.localImageName,
		"ReplicatedImageName":          v.imageName,
		"ReplicatedImageRegistry":      v.imageRegistry,
		"LocalRegistryAddress":         v.localAddress,
		"LocalRegistryHost":            func() string { return v.local().Host },
		"LocalRegistryNamespace":       func() string { return v.local().Namespace },
		"HasLocalRegistry":             func() bool { return v.Local != nil },
		"LocalRegistryImagePullSecret": func() string { return base64.StdEncoding.EncodeToString(v.auth()) },
		"ImagePullSecretName":          func() string { return rewrite.SecretName(v.Proxy.Slug) },
		"LicenseDockerCfg":             func() string { return base64.StdEncoding.EncodeToString(v.LicenseAuth) },
		"LicenseFieldValue":            v.field,
		"ConfigOption":                 v.config,
		"ConfigOptionEquals":           func(name, value string) bool { return v.config(name) == value },
		"ConfigOptionNotEquals":        func(name, value string) bool { return v.config(name) != value },
		"ChannelName":                  func() string { return v.Channel },
		"VersionLabel":                 func() string { return v.VersionLabel },
		"Sequence":                     func() int64 { return v.Sequence },
		"Cursor":                       func() string { return v.Cursor },
		"IsAirgap":                     func() bool { return v.Airgap },
		"HelmValue":                    v.helm,
	})
	return all
}

func (v Values) local() rewrite.Local {
	if v.Local == nil {
		return rewrite.Local{}
	}
	return *v.Local
}

func (v Values) localAddress() string {
	l := v.local()
	if l.Namespace == "" {
		return l.Host
	}
	return l.Host + "/" + l.Namespace
}

func (v Values) auth() []byte {
	if v.Local != nil {
		return v.LocalAuth
	}
	return v.LicenseAuth
}

func (v Values) field(name string) string {
	if v.Field == nil {
		return ""
	}
	return v.Field(name)
}

func (v Values) config(name string) string {
	if v.Config == nil {
		return ""
	}
	return v.Config(name)
}

func (v Values) helm(path string) (any, error) {
	if v.Helm == nil {
		return nil, errors.New("HelmValue: this file belongs to no chart")
	}
	return v.Helm(path), nil
}

// localImageName returns the name that a cluster pulls an image with: in the customer's registry if there is one, by the proxy if it is
// private, else as it is.
func (v Values) localImageName(image string) (string, error) {
	r, err := rewrite.ParseReference(image)
	if err != nil {
		return "", err
	}
	return v.nameOf(r, v.ProxyPublic || v.Private != nil && v.Private(r)), nil
}

// imageName is localImageName without the question whether the image is private: all go by the proxy, or none with noProxy.
func (v Values) imageName(image string, noProxy ...bool) (string, error) {
	r, err := rewrite.ParseReference(image)
	if err != nil {
		return "", err
	}
	return v.nameOf(r, len(noProxy) == 0 || !noProxy[0]), nil
}

// nameOf returns the name of an image at its place.
func (v Values) nameOf(r rewrite.Reference, proxied bool) string {
	to := r.Name()
	switch {
	case v.Local != nil && !v.Local.Has(r):
		to = v.Local.For(r)
		if r.Digest != "" {
			r.Tag = "" // the copy has the digest
		}
	case v.Local != nil, r.Host == v.Proxy.Host, v.Proxy.Vendor != "" && r.Host == v.Proxy.Vendor:
	case v.Proxy.Vendor != "" && r.Host == v.Proxy.StandardAt:
		to = v.Proxy.Vendor + "/" + r.Path
	case proxied && v.Proxy.Host != "" && v.Proxy.Has(r):
		to = v.Proxy.For(r)
	}
	if r.Tag != "" {
		to += ":" + r.Tag
	}
	if r.Digest != "" {
		to += "@" + r.Digest
	}
	return to
}

// imageRegistry returns what a chart has in place of the host of its images: the customer's registry, or the prefix at the proxy.
func (v Values) imageRegistry(host string, noProxy ...bool) string {
	switch {
	case v.Local != nil:
		return v.localAddress()
	case host == v.Proxy.Host, strings.HasPrefix(host, v.Proxy.Host+"/"), v.Proxy.Vendor != "" && host == v.Proxy.Vendor:
		return host
	case v.Proxy.Vendor != "" && host == v.Proxy.StandardAt:
		return v.Proxy.Vendor
	case len(noProxy) > 0 && noProxy[0], v.Proxy.Host == "":
		return host
	}
	return v.Proxy.Host + "/proxy/" + v.Proxy.Slug + "/" + cmp.Or(v.Proxy.Names[host], host)
}
