package release

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/apptemplate"
	"github.com/ecrin-dev/ecrin/internal/rule/dockerfile"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Build is a build of one image of an application.
type Build struct {
	Dir    string // root of the git repository
	Image  apptemplate.Image
	Args   map[string]string // more than those of the template
	Home   name.Registry     // where the image is pushed
	To     string            // HOST/PATH of its repository
	Server *Server
	Region string // of the calls of ecrin

	// Own reports whether a host is one of the server, for which the caller's own token is used, and of which registry.
	Own func(host string) (name.Registry, bool)
	// Anonymous reports whether an image can be pulled without credentials.
	Anonymous func(ctx context.Context, image rewrite.Reference) bool
}

// Login is a registry that the builder logs in to.
type Login struct {
	Host string `json:"registry"`
	By   string `json:"by"`  // integration NAME, or the caller
	For  string `json:"for"` // FROM in line 3, or the push
}

// Plan is what a builder is started with.
type Plan struct {
	Dockerfile string   `json:"dockerfile"` // path
	Context    string   `json:"context"`    // folder
	Target     string   `json:"target,omitempty"`
	Args       []string `json:"args"`
	Bases      []string `json:"bases"`
	Logins     []Login  `json:"logins"`

	config []byte
}

// NoIntegrationError is the error of a host in a Dockerfile for which there are no credentials.
type NoIntegrationError struct {
	Host, Image string
	Line        int
}

// Error names the host, and what to do.
func (e *NoIntegrationError) Error() string {
	return fmt.Sprintf("line %d: FROM %s: the registry %s has no integration: add one in Account Settings > Integrations "+
		"(ecrin application registry add %s --cloud NAME)", e.Line, e.Image, e.Host, e.Host)
}

// Plan reads the Dockerfile and gets the credentials that its images need, and the one of the push, and no others.
//
// Errors: the Dockerfile is missing, or leads out of Dir; *NoIntegrationError; those of the server.
func (b *Build) Plan(ctx context.Context) (p Plan, err error) {
	spec := b.Image.Build
	if spec == nil {
		spec = &apptemplate.Build{}
	}
	file := spec.Dockerfile
	if file == "" {
		file = filepath.Join(spec.Context, "Dockerfile")
	}
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return p, err
	}
	defer root.Close()
	f, err := root.Open(filepath.Clean(file))
	if err != nil {
		return p, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, dockerfile.MaxFile+1))
	if err != nil {
		return p, err
	}
	p = Plan{Dockerfile: filepath.Join(b.Dir, file), Context: filepath.Join(b.Dir, spec.Context), Target: spec.Target, Args: []string{},
		Bases: []string{}, Logins: []Login{}}
	args := map[string]string{}
	for _, one := range spec.Args {
		key, value, _ := strings.Cut(one, "=")
		args[key] = value
	}
	for key, value := range b.Args {
		args[key] = value
	}
	for key, value := range args {
		p.Args = append(p.Args, key+"="+value)
	}
	slices.Sort(p.Args)
	bases, err := dockerfile.Bases(text, args)
	if err != nil {
		return p, fmt.Errorf("%s: %w", p.Dockerfile, err)
	}
	return p, b.logins(ctx, &p, bases)
}

// logins gets the credentials.
func (b *Build) logins(ctx context.Context, p *Plan, bases []dockerfile.Base) error {
	var all []credential.Credential
	has := func(host string) bool {
		return slices.ContainsFunc(all, func(c credential.Credential) bool { return c.Host == host })
	}
	for _, base := range bases {
		p.Bases = append(p.Bases, base.Image)
		ref, err := rewrite.ParseReference(base.Image)
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", p.Dockerfile, base.Line, err)
		}
		if ref.OnHub() || has(ref.Host) {
			continue
		}
		c, by, err := b.login(ctx, ref)
		if err != nil {
			return fmt.Errorf("%s: line %d: %w", p.Dockerfile, base.Line, err)
		}
		switch {
		case c != nil:
			all = append(all, *c)
			p.Logins = append(p.Logins, Login{ref.Host, by, fmt.Sprintf("%s in line %d", base.By, base.Line)})
		case !b.Anonymous(ctx, ref):
			return fmt.Errorf("%s: %w", p.Dockerfile, &NoIntegrationError{ref.Host, base.Image, base.Line})
		}
	}
	host, _, _ := strings.Cut(b.To, "/")
	if !has(host) {
		c, err := b.Server.token(ctx, b.Home, host)
		if err != nil {
			return err
		}
		all = append(all, c)
		p.Logins = append(p.Logins, Login{host, "the caller", "the push"})
	}
	var err error
	p.config, err = credential.MergeDockerConfig(nil, all, nil)
	return err
}

// login returns the credentials for the registry of an image: of an integration, else those of the caller if it is one of the server; nil
// if there are none.
func (b *Build) login(ctx context.Context, ref rewrite.Reference) (*credential.Credential, string, error) {
	var all ecrintypes.DescribeIntegrationsResponse
	if err := b.Server.Call(ctx, b.Region, "DescribeIntegrations", &ecrintypes.DescribeIntegrationsRequest{}, &all); err != nil {
		return nil, "", fmt.Errorf("reading the integrations: %w", err)
	}
	for _, i := range all.Integrations {
		if i.RegistryHost != ref.Host {
			continue
		}
		var out ecrintypes.GetIntegrationTokenResponse
		in := &ecrintypes.IntegrationRequest{IntegrationName: i.IntegrationName}
		if err := b.Server.Call(ctx, b.Region, "GetIntegrationToken", in, &out); err != nil {
			return nil, "", fmt.Errorf("the token of the integration %s for %s was refused: %w; the identity policy of its principal needs "+
				"%s on the resource *", i.IntegrationName, ref.Host, err, token)
		}
		return &credential.Credential{Host: ref.Host, Username: out.Username, Password: secret.New(out.Password)},
			"the integration " + i.IntegrationName, nil
	}
	r, own := b.Own(ref.Host)
	if !own {
		return nil, "", nil
	}
	c, err := b.Server.token(ctx, r, ref.Host)
	return &c, "the caller", err
}

// token returns the token of the caller for a registry of the server.
func (s *Server) token(ctx context.Context, r name.Registry, host string) (c credential.Credential, err error) {
	calls, err := s.client(ctx, r)
	if err != nil {
		return c, err
	}
	out, err := calls.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return c, fmt.Errorf("the token for %s was refused: %w; the identity policy of the caller needs %s on the resource *", host, err, token)
	}
	plain, err := base64.StdEncoding.DecodeString(aws.ToString(out.AuthorizationData[0].AuthorizationToken))
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return c, errors.New("the answer to " + token + " has another form than ECR's")
	}
	return credential.Credential{Host: host, Username: user, Password: secret.New(password)}, nil
}

// WithConfig makes a folder with a config.json that has the logins, readable for its owner only, calls f with its path, and removes it.
func (p *Plan) WithConfig(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "ecrin-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), p.config, 0o600); err != nil {
		return err
	}
	return f(dir)
}

// registryName is the form of a host that a registry integration of the builder takes. Source: names of registries of ECR.
var registryName = lazyregexp.New(`^([0-9]{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.[a-z0-9.-]+$`)

// ParseRegistryHost reads the host of a registry, ACCOUNT.dkr.ecr.REGION.amazonaws.com, without scheme and path.
//
// Errors: it has another form, which is said.
func ParseRegistryHost(host string) (account, region string, err error) {
	m := registryName.FindStringSubmatch(host)
	if m == nil {
		return "", "", fmt.Errorf("the host of a registry is ACCOUNT.dkr.ecr.REGION.amazonaws.com, without https:// and without a path, "+
			"with an account of 12 digits; got %q", name.Clip(host))
	}
	if _, err := name.ParseRegion(m[2]); err != nil {
		return "", "", err
	}
	return m[1], m[2], nil
}
