package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/deliver/bundle"
	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// registryAccess are the flags that say how registries are reached.
type registryAccess struct {
	username, passwordFile, config, ca string
}

func (a *registryAccess) add(cmd *cobra.Command) {
	to := cmd.Flags()
	to.StringVar(&a.username, "username", "", "user name for the registries")
	to.StringVar(&a.passwordFile, "password-file", "", "`file` with the password for the registries")
	to.StringVar(&a.config, "config", "", "configuration of credentials, a `file` (default: credentials.yaml of the user)")
	to.StringVar(&a.ca, "ca", "", "PEM `file` of private CAs that registries may have")
}

// registries returns what gives the registry of a host, and a function that ends it. The user has named all hosts: they may be at private
// addresses.
func (c *commands) registries(a registryAccess) (bundle.Hosts, func()) {
	var mu sync.Mutex
	var clients []*upstream.Client
	known := map[string]*upstream.Registry{}
	hosts := func(ctx context.Context, host string) (*upstream.Registry, error) {
		mu.Lock()
		defer mu.Unlock()
		if r := known[host]; r != nil {
			return r, nil
		}
		r, made, err := c.registryAt(ctx, a, host)
		if made != nil {
			clients = append(clients, made)
		}
		if err != nil {
			return nil, err
		}
		known[host] = r
		return r, nil
	}
	return hosts, func() {
		for _, one := range clients {
			one.Close()
		}
	}
}

// registryAt returns the registry of a host with its credentials.
func (c *commands) registryAt(ctx context.Context, a registryAccess, host string) (*upstream.Registry, *upstream.Client, error) {
	own, local := c.serverAt(host)
	o := egress.Options{Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	if ca := a.ca; ca != "" || local && own.CA != "" {
		if ca == "" {
			ca = own.CA
		}
		roots, err := credential.Roots(ca)
		if err != nil {
			return nil, nil, err
		}
		o.Roots = roots
	}
	asks := upstream.New(upstream.Options{Guard: egress.New(o)})
	plain := asks.PlainLocal(ctx, host)
	asks.Close()
	if plain {
		o.Plain = upstream.Local // its API is at another name of this machine, perhaps
	}
	made := upstream.New(upstream.Options{Guard: egress.New(o)})
	e, err := c.endpointAt(ctx, a, host, local)
	if err != nil {
		return nil, made, err
	}
	r, err := made.Registry(e)
	return r, made, err
}

// endpointAt finds the credentials for a host.
func (c *commands) endpointAt(ctx context.Context, a registryAccess, host string, local bool) (upstream.Endpoint, error) {
	e := upstream.Endpoint{Host: host}
	if (a.username == "") != (a.passwordFile == "") {
		return e, usageError{errors.New("--username and --password-file belong together")}
	}
	if a.passwordFile != "" {
		password, err := os.ReadFile(a.passwordFile)
		if err != nil {
			return e, fmt.Errorf("reading the password: %w", err)
		}
		e.Username, e.Password = a.username, secret.New(strings.TrimRight(string(password), "\r\n"))
		return e, nil
	}
	if local {
		s, err := client.Open(c.data, c.lookup(identity.MasterKeyVariable, ""))
		if err != nil {
			return e, err
		}
		of := func(ctx context.Context, account, region string) (*upstream.AWS, error) {
			var k ecrintypes.GetAccountCredentialsResponse
			if err := s.Call(ctx, "GetAccountCredentials", &ecrintypes.GetAccountCredentialsRequest{AccountId: account}, &k); err != nil {
				return nil, err
			}
			return &upstream.AWS{Region: cmp.Or(region, k.Region), API: s.Server.URL,
				Credentials: credentials.NewStaticCredentialsProvider(k.AccessKey.AccessKeyId, k.AccessKey.SecretAccessKey, "").Retrieve}, nil
		}
		e.Kind = upstream.ECR
		if e.AWS, err = of(ctx, "", ""); err != nil {
			return e, err
		}
		e.Of = func(ctx context.Context, r name.Registry) (*upstream.AWS, error) {
			return of(ctx, r.Account.String(), r.Region.String())
		}
		return e, nil
	}
	getenv := func(key string) string { return c.lookup(key, "") }
	config, err := credential.LoadConfig(a.config, getenv)
	if err != nil {
		return e, err
	}
	source := &credential.AWS{Config: config, Getenv: getenv}
	e.AWS, err = source.Upstream(ctx, host)
	if err == nil {
		e.Kind = upstream.ECR
		return e, nil
	}
	if !errors.Is(err, credential.ErrNone) {
		return e, err
	}
	for _, path := range c.logins() {
		content, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if l, ok := credential.DockerLogin(content, host); ok {
			e.Username, e.Password = l.Username, l.Password
			break
		}
	}
	return e, nil
}

// logins returns the files in which docker, podman and skopeo keep logins.
func (c *commands) logins() (all []string) {
	add := func(variable string, rest ...string) {
		if dir := c.lookup(variable, ""); dir != "" {
			all = append(all, filepath.Join(append([]string{dir}, rest...)...))
		}
	}
	add("REGISTRY_AUTH_FILE")
	add("DOCKER_CONFIG", "config.json")
	add("XDG_RUNTIME_DIR", "containers", "auth.json")
	add("HOME", ".docker", "config.json")
	return all
}

// serverAt returns the server of --data, if it is the one at a host.
func (c *commands) serverAt(host string) (app.Running, bool) {
	r, err := client.Find(c.data)
	if err != nil || c.data == "" || c.remote() {
		return r, false
	}
	u, err := url.Parse(r.URL)
	if err != nil {
		return r, false
	}
	if u.Host == host {
		return r, true
	}
	h1, p1, err1 := net.SplitHostPort(u.Host)
	h2, p2, err2 := net.SplitHostPort(host)
	return r, err1 == nil && err2 == nil && p1 == p2 && upstream.Local(h1) && upstream.Local(h2)
}

// bundleProgress returns what shows progress; nil for answers in JSON.
func (c *commands) bundleProgress(asJSON bool) func(bundle.Progress) {
	if asJSON {
		return nil
	}
	var mu sync.Mutex
	live, shown := isTerminal(c.Err), time.Now()
	every := progressEvery
	if live {
		every = 100 * time.Millisecond
	}
	return func(p bundle.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(shown) < every {
			return
		}
		shown = time.Now()
		text := fmt.Sprintf("%s: %d of %d", p.What, p.Done, p.Of)
		if p.Size > 0 {
			text += fmt.Sprintf(", %s of %s", bytesText(p.Bytes), bytesText(p.Size))
		}
		if live {
			fmt.Fprintf(c.Err, "\r\x1b[K%s", text)
			return
		}
		c.say("%s", text)
	}
}
