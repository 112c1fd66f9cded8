package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/assertion"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func (c *commands) policyTest() *cobra.Command {
	cmd := &cobra.Command{
		Use: "test FILE|-", Args: exactly("FILE"), Short: "Test who may pull and push, by sentences in a file",
		Long: `Test the policies of a server, or policies in files, by sentences such as these:

  tests:
    - role/deploy pulls team/app:1.*
    - user/intern may not push team/*
    - nobody outside 111122223333 pulls prod/*
    - nobody but role/ci pushes prod/*
    - nobody outside 111122223333 but customers pulls shop/*
    - anyone pulls public/*
    - 444455556666:role/deploy pulls team/app
    - role/ops may ecr:BatchDeleteImage on team/app

Who: role/NAME, user/NAME, ACCOUNT:role/NAME, an ARN, 12 digits of an account (its root user), anonymous, anyone,
nobody. In names of repositories and tags * stands for any text; each image that matches is tested, and a test that matches
nothing fails. An action that does not exist is an error. "pulls" needs all that a client needs: ecr:GetAuthorizationToken, ecr:BatchGetImage and
ecr:GetDownloadUrlForLayer. "nobody outside" also fails for those whose own account would only have to allow it, and for
strangers, who stand for every account that no policy names.

Without more the tests are of the server of --data or --url. A file with policies of its own needs no server:

  registry: 111122223333/eu-west-1
  files: [accounts.yaml]                # of ecrin apply
  policies: {prod/app: prod.json}       # of repositories; paths are relative to the file
  identities: {role/deploy: deploy.json}
  tests: [...]

Users and roles of other accounts that these files do not describe count as allowed everything by their accounts; those of the
account of the registry have no policies.

The exit code is 0 when all tests pass, 3 when one fails, and 1 for an error.`,
		Example: "  ecrin policy test access.yaml\n  ecrin policy test access.yaml --junit report.xml",
	}
	c.dataFlag(cmd)
	junit := cmd.Flags().String("junit", "", "also write the results to `FILE`, in the XML form of JUnit")
	where, asJSON := registryFlag(cmd, "of a file that names none (default: the default registry)"), c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		home, err := parseRegistry(*where)
		if err != nil {
			return err
		}
		data, err := readTests(args[0])
		if err != nil {
			return err
		}
		f, wrong := assertion.ParseFile(data, home)
		var results []assertion.Result
		if wrong == nil && f.Offline() {
			if f.Registry == (name.Registry{}) {
				if home, err = parseRegistry(config.Default().Account + "/" + config.Default().Region); err != nil {
					return err
				}
				if f, err = assertion.ParseFile(data, home); err != nil {
					return err
				}
			}
			err = c.offline(cmd.Context(), f, filepath.Dir(args[0]), func(s *client.Client) error {
				results, err = c.runTests(cmd.Context(), s, f)
				return err
			})
		} else if wrong == nil {
			results, err = c.testServer(cmd, data, f)
		}
		if wrong != nil {
			return fmt.Errorf("%s is no file of tests:\n%w", args[0], wrong)
		}
		if err != nil {
			return err
		}
		if *junit != "" {
			if err := writeJUnit(*junit, args[0], results); err != nil {
				return err
			}
		}
		return c.showTests(args[0], results, *asJSON)
	}
	return cmd
}

// readTests reads a file, "-" for standard input.
func readTests(path string) ([]byte, error) {
	var in io.Reader = os.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, assertion.MaxFile+1))
}

// testServer runs tests against the server of the command. Without a registry in the file they are of the default one of the caller.
func (c *commands) testServer(cmd *cobra.Command, data []byte, f *assertion.File) ([]assertion.Result, error) {
	s, err := c.connectTo(cmd, &registry{region: f.Registry.Region.String()})
	if err != nil {
		return nil, err
	}
	if f.Registry == (name.Registry{}) {
		home, err := parseRegistry(s.Server.Account + "/" + s.Server.Region)
		if err != nil {
			return nil, err
		}
		if f, err = assertion.ParseFile(data, home); err != nil {
			return nil, err
		}
	}
	return c.runTests(cmd.Context(), s, f)
}

func (c *commands) runTests(ctx context.Context, s *client.Client, f *assertion.File) (all []assertion.Result, err error) {
	w := &testedServer{s: s, registry: f.Registry, offline: f.Offline(), tags: map[string][]string{}}
	for _, t := range f.Tests {
		r, err := assertion.Check(ctx, w, t)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", t.Line, t.Name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func writeJUnit(path, tested string, results []assertion.Result) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(assertion.WriteJUnit(f, tested, time.Now(), results), f.Close())
}

func (c *commands) showTests(file string, results []assertion.Result, asJSON bool) error {
	failed := 0
	type shown struct {
		Name   string   `json:"name"`
		Test   string   `json:"test"`
		Line   int      `json:"line"`
		Passed bool     `json:"passed"`
		Images int      `json:"images"`
		Why    []string `json:"why,omitempty"`
	}
	all := []shown{}
	for _, r := range results {
		all = append(all, shown{r.Name, r.Text, r.Line, r.Passed, r.Checked, r.Why})
		if !r.Passed {
			failed++
		}
	}
	if asJSON {
		if err := c.printJSON(map[string]any{"passed": failed == 0, "tests": all}); err != nil {
			return err
		}
	} else {
		for _, r := range all {
			if r.Passed {
				fmt.Fprintf(c.Out, "ok    %s (%s)\n", r.Name, counted(int64(r.Images), "image or repository", "images or repositories"))
				continue
			}
			fmt.Fprintf(c.Out, "FAIL  %s (%s:%d)\n", r.Name, file, r.Line)
			for _, why := range r.Why {
				fmt.Fprintf(c.Out, "      %s\n", why)
			}
		}
	}
	if failed > 0 {
		c.say("%s of %d failed", counted(int64(failed), "test", "tests"), len(results))
		return errDenied
	}
	c.say("%s passed", counted(int64(len(results)), "test", "tests"))
	return nil
}

// testedServer is a server as tests see it.
type testedServer struct {
	s        *client.Client
	registry name.Registry
	offline  bool
	names    []string
	tags     map[string][]string
}

// Repositories implements assertion.World.
func (w *testedServer) Repositories(ctx context.Context) ([]string, error) {
	if w.names != nil {
		return w.names, nil
	}
	in := &ecrintypes.SearchRepositoriesRequest{RegistryId: w.registry.Account.String()}
	w.names = []string{}
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.SearchRepositoriesResponse
		if err := w.s.Call(ctx, "SearchRepositories", in, &out); err != nil {
			return nil, err
		}
		for _, r := range out.Repositories {
			w.names = append(w.names, r.RepositoryName)
		}
		in.NextToken = out.NextToken
	}
	return w.names, nil
}

// Tags implements assertion.World.
func (w *testedServer) Tags(ctx context.Context, repository string) (tags []string, known bool, err error) {
	if w.offline {
		return nil, false, nil
	}
	if tags, known := w.tags[repository]; known {
		return append([]string(nil), tags...), true, nil
	}
	in := &ecrintypes.SearchImagesRequest{RegistryId: w.registry.Account.String(), RepositoryPrefix: repository, TagPattern: "*"}
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.SearchImagesResponse
		if err := w.s.Call(ctx, "SearchImages", in, &out); err != nil {
			return nil, false, err
		}
		for _, im := range out.Images {
			if im.RepositoryName == repository {
				tags = append(tags, im.ImageTags...)
			}
		}
		in.NextToken = out.NextToken
	}
	w.tags[repository] = tags
	return append([]string(nil), tags...), true, nil
}

// Access implements assertion.World.
func (w *testedServer) Access(ctx context.Context, repository, tag string, p ecrintypes.Permission,
	each func(ecrintypes.RepositoryAccess) bool) error {
	in := &ecrintypes.ListRepositoryAccessRequest{RegistryId: w.registry.Account.String(), RepositoryName: repository, ImageTag: tag,
		Permission: p}
	for more := true; more; more = in.NextToken != "" {
		var out ecrintypes.ListRepositoryAccessResponse
		if err := w.s.Call(ctx, "ListRepositoryAccess", in, &out); err != nil {
			return err
		}
		for _, a := range out.Access {
			if !each(a) {
				return nil
			}
		}
		in.NextToken = out.NextToken
	}
	return nil
}

// Explain implements assertion.World.
func (w *testedServer) Explain(ctx context.Context, principal, action, repository, tag string) (allowed bool, why string, err error) {
	in := &ecrintypes.ExplainAccessRequest{Principal: principal, Action: action, RegistryId: w.registry.Account.String(),
		RepositoryName: repository, ImageTag: tag}
	if repository == "" {
		in.RegistryId = ""
	}
	var out ecrintypes.ExplainAccessResponse
	err = w.s.Call(ctx, "ExplainAccess", in, &out)
	if e := (*client.Error)(nil); errors.As(err, &e) && e.Name == "NoSuchEntityException" {
		return false, "", assertion.ErrNoPrincipal
	}
	if err != nil {
		return false, "", err
	}
	return out.Explanation.Allowed, explain.Sentence(out.Explanation), nil
}
