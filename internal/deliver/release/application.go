// Package release does what a platform does between a git repository and a cluster: it reads application templates, answers before a
// deployment whether the images can be pulled, makes the repositories of an application, drives a builder, and deploys environments.
//
// The rules are those of package rule/apptemplate and others. Here is what reads files and asks registries; programs are started by the
// caller.
package release

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
)

// FileFinding is a finding of one file of an application.
type FileFinding struct {
	File string // relative to the folder of the application, with slashes
	apptemplate.Finding
}

// Application is an application in a folder.
type Application struct {
	Dir      string // root of its git repository
	File     string // the template, relative to Dir
	Text     []byte // of the template
	Template apptemplate.Template
	Findings []FileFinding
}

// Failed reports whether the application cannot be used because of an error in its files.
func (a Application) Failed() bool {
	for _, f := range a.Findings {
		if f.Severity == apptemplate.Error {
			return true
		}
	}
	return false
}

// ReadApplication reads the template of the application in a folder, or a template by its path. Links that lead out of the folder are not
// followed. What is wrong with the template is in its findings.
//
// Errors: there is no template, or it cannot be read.
func ReadApplication(path string) (a Application, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return a, err
	}
	a.Dir, a.File = path, apptemplate.File
	if !info.IsDir() {
		a.Dir, a.File = filepath.Split(path)
		if a.Dir = filepath.Clean(a.Dir); filepath.Base(a.Dir) == ".release" {
			a.Dir, a.File = filepath.Dir(a.Dir), ".release/"+a.File
		}
	}
	root, err := os.OpenRoot(a.Dir)
	if err != nil {
		return a, err
	}
	defer root.Close()
	if info.IsDir() {
		if err := a.settings(root); err != nil {
			return a, err
		}
	}
	if a.Text, err = readIn(root, a.File); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s has no application template: %w; `ecrin application init` makes one", a.Dir, err)
		}
		return a, err
	}
	var findings []apptemplate.Finding
	a.Template, findings = apptemplate.Parse(a.Text)
	a.note(a.File, findings)
	return a, nil
}

// settings reads the file that may name another template.
func (a *Application) settings(root *os.Root) error {
	text, err := readIn(root, apptemplate.SettingsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s, findings := apptemplate.ParseSettings(text)
	a.note(apptemplate.SettingsFile, findings)
	if s.Template != "" && !apptemplate.Failed(findings) {
		a.File = s.Template
	}
	return nil
}

func (a *Application) note(file string, all []apptemplate.Finding) {
	for _, f := range all {
		a.Findings = append(a.Findings, FileFinding{file, f})
	}
}

// readIn reads a file of a folder, up to one byte more than a template may have.
func readIn(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(err, fmt.Errorf("%s is no file", name))
	}
	return io.ReadAll(io.LimitReader(f, apptemplate.MaxFile+1))
}

// WriteTemplate writes the template of an application, and the file that names it and the file of compose it was made of, into a folder.
// Files that are there stay as they are.
//
// Errors: one of them is there; those of writing. After an error, no file is left that was not there before.
func WriteTemplate(dir string, template []byte, compose string) (written []string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	settings := "application_template: " + apptemplate.File + "\n"
	if compose != "" {
		settings = "compose: " + fmt.Sprintf("%q", filepath.ToSlash(compose)) + "\n" + settings
	}
	made := root.Mkdir(".release", 0o777)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return nil, made
	}
	defer func() {
		if err == nil {
			return
		}
		for _, name := range written {
			_ = root.Remove(name) // the first error counts
		}
		if written = nil; made == nil {
			_ = root.Remove(".release")
		}
	}()
	for _, file := range []struct {
		name string
		text []byte
	}{{apptemplate.File, template}, {apptemplate.SettingsFile, []byte(settings)}} {
		f, err := root.OpenFile(file.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return written, fmt.Errorf("a file that is there stays as it is: %w", err)
		}
		written = append(written, file.name)
		_, err = f.Write(file.text)
		if err = errors.Join(err, f.Close()); err != nil {
			return written, err
		}
	}
	return written, nil
}
