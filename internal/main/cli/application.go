package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/release"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
)

func (c *commands) application() *cobra.Command {
	cmd := &cobra.Command{Use: "application", Short: "Build and deploy applications that a template describes",
		Long: `An application is a git repository with a template, .release/application_template.yaml, which says which services it has, which of
them are built from the repository, and which run images of others.`,
		Example: "  ecrin application init --from docker-compose.yml --repo org/shop\n  ecrin application validate\n" +
			"  ecrin application create --cluster staging\n  ecrin application deploy preview --cluster staging"}
	cmd.AddCommand(c.applicationInit(), c.applicationValidate(), c.applicationCreate(), c.applicationReplicate(),
		c.applicationBuild(), c.applicationDeploy(), c.applicationRegistry())
	return cmd
}

func (c *commands) applicationInit() *cobra.Command {
	cmd := &cobra.Command{Use: "init [DIR]", Args: atMostOne("DIR"), Short: "Make an application template of a file of docker compose",
		Long: `Write .release/application_template.yaml and .release.yaml into DIR (default: this folder), made of a file of docker compose.
Services with a build are built from the repository, the others run the image that they name. Variables have the values of the file .env
beside it, or their defaults; services that are extended, merged keys and ports in all forms are followed, and a healthcheck becomes the
probe of readiness. What a template has no place for is reported. No file that is there is changed.`,
		Example: "  ecrin application init\n  ecrin application init ./shop --from compose.prod.yaml --repo org/shop --app shop"}
	from := cmd.Flags().String("from", "", "the `file` of compose (default: the one in DIR that docker compose would read)")
	repo := cmd.Flags().String("repo", "",
		"`org/repo` of the git repository, with which names of images begin (default: the name of the application)")
	app := cmd.Flags().String("app", "", "`name` of the application (default: that of the folder)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		start := apptemplate.Start{App: *app, Repo: *repo}
		if start.App == "" {
			start.App = filepath.Base(absolute(dir))
		}
		file, err := composeFile(dir, *from)
		if err != nil {
			return err
		}
		text, err := readLimited(file, apptemplate.MaxFile)
		if err != nil {
			return err
		}
		variables, err := composeVariables(file)
		if err != nil {
			return err
		}
		services, findings := apptemplate.ParseCompose(text, func(name string) (string, bool) {
			value, ok := variables[name]
			return value, ok
		})
		if apptemplate.Failed(findings) {
			if err := c.sayFindings(*asJSON, file, text, findings); err != nil {
				return err
			}
			return fmt.Errorf("%s cannot be made a template", file)
		}
		for _, s := range services {
			if len(s.Profiles) > 0 {
				findings = append(findings, apptemplate.Finding{Severity: apptemplate.Warning, Line: s.Line, Path: "services." + s.Name,
					Text: "is left out, because compose starts it with the profiles " + strings.Join(s.Profiles, ", ") + " only"})
			}
		}
		template, err := apptemplate.FromCompose(services, start)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		named := ""
		if rel, err := filepath.Rel(absolute(dir), absolute(file)); err == nil && filepath.IsLocal(rel) {
			named = rel
		}
		written, err := release.WriteTemplate(dir, template, named)
		if err != nil {
			return err
		}
		for i := range written {
			written[i] = filepath.Join(dir, written[i])
		}
		if *asJSON {
			return c.printJSON(map[string]any{"application": start.App, "files": written, "findings": findingsOf(file, findings)})
		}
		if err := c.sayFindings(false, file, text, findings); err != nil {
			return err
		}
		c.say("wrote %s; next: ecrin application validate %s", strings.Join(written, " and "), word(dir))
		return nil
	}
	return cmd
}

// composeVariables reads the file .env beside a file of compose, from which compose takes the values of variables. The environment does not
// count: the template would depend on who made it.
func composeVariables(file string) (map[string]string, error) {
	path := filepath.Join(filepath.Dir(file), ".env")
	root, err := os.OpenRoot(filepath.Dir(file)) // a link that leads out of the folder is not followed
	if err != nil {
		return nil, err
	}
	defer root.Close()
	info, err := root.Stat(".env")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, err
	}
	f, err := root.Open(".env")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, apptemplate.MaxFile+1))
	if err != nil {
		return nil, err
	}
	all, err := apptemplate.Variables(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// composeFile returns the path of a file of compose.
func composeFile(dir, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	names := []string{"compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"}
	for _, label := range names {
		if file := filepath.Join(dir, label); exists(file) {
			return file, nil
		}
	}
	return "", usageError{fmt.Errorf("%s has none of %s: name the file by --from", dir, strings.Join(names, ", "))}
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// readLimited reads a file, up to one byte more than a limit.
func readLimited(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// fileFinding is a finding in JSON.
type fileFinding struct {
	File string `json:"file"`
	finding
}

func findingsOf(file string, all []apptemplate.Finding) []fileFinding {
	out := []fileFinding{}
	for _, f := range all {
		out = append(out, fileFinding{file, finding{Severity: string(f.Severity), Path: f.Path, Line: f.Line, Column: f.Column, Text: f.Text}})
	}
	return out
}

// sayFindings prints findings of one file, each with its line.
func (c *commands) sayFindings(asJSON bool, file string, text []byte, all []apptemplate.Finding) error {
	found := findingsOf(file, all)
	if asJSON {
		return c.printJSON(map[string]any{"valid": !apptemplate.Failed(all), "findings": found})
	}
	var plain []finding
	for _, f := range found {
		f.Column = max(f.Column, 1)
		plain = append(plain, f.finding)
	}
	return c.printFindings(file, string(text), plain)
}

func (c *commands) applicationValidate() *cobra.Command {
	cmd := &cobra.Command{Use: "validate [DIR|FILE]", Args: atMostOne("DIR|FILE"),
		Short: "Report errors and warnings of an application template",
		Long: `Report errors and warnings of an application template, each with its line. Keys that templates do not have are warnings, because they do
nothing; --strict makes them errors. DIR (default: this folder) is the root of the git repository; its .release.yaml may name another file.

The exit code is 1 for an error, and with --strict also for a warning.`,
		Example: "  ecrin application validate\n  ecrin application validate .release/application_template.yaml --strict"}
	strict, asJSON := cmd.Flags().Bool("strict", false, "treat warnings as errors"), c.jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		path := "."
		if len(args) == 1 {
			path = args[0]
		}
		a, err := release.ReadApplication(path)
		if err != nil {
			return err
		}
		if err := c.sayApplication(a, *asJSON); err != nil {
			return err
		}
		switch file := filepath.Join(a.Dir, a.File); {
		case a.Failed():
			return fmt.Errorf("%s is not a valid application template", file)
		case *strict && len(a.Findings) > 0:
			return fmt.Errorf("%s has warnings", file)
		case len(a.Findings) == 0 && !*asJSON:
			c.say("%s is a valid application template", file)
		}
		return nil
	}
	return cmd
}

// builtImage is an image that an application is built into, in JSON.
type builtImage struct {
	Image      string   `json:"image"`
	Repository string   `json:"repositoryName"`
	Services   []string `json:"services"`
}

// sayApplication prints the findings of an application; in JSON also what it is built into.
func (c *commands) sayApplication(a release.Application, asJSON bool) error {
	if !asJSON {
		var failed []error
		for _, name := range []string{apptemplate.SettingsFile, a.File} {
			var own []apptemplate.Finding
			for _, f := range a.Findings {
				if f.File == name {
					own = append(own, f.Finding)
				}
			}
			if len(own) == 0 {
				continue
			}
			text := a.Text
			if name != a.File { // without the file, findings have no excerpt
				text, _ = readLimited(filepath.Join(a.Dir, name), apptemplate.MaxFile)
			}
			failed = append(failed, c.sayFindings(false, filepath.Join(a.Dir, name), text, own))
		}
		return errors.Join(failed...)
	}
	findings, images := []fileFinding{}, []builtImage{}
	for _, f := range a.Findings {
		findings = append(findings, findingsOf(filepath.Join(a.Dir, f.File), []apptemplate.Finding{f.Finding})...)
	}
	if !a.Failed() {
		for _, i := range a.Template.Images() {
			images = append(images, builtImage{i.Logical, i.Repository.String(), slices.Clip(append([]string{}, i.Services...))})
		}
	}
	return c.printJSON(map[string]any{"valid": !a.Failed(), "application": a.Template.App, "findings": findings, "images": images})
}
