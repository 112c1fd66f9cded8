package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tool is a client that pushes and pulls whole images.
type tool struct {
	name string
	// engine is the daemon that the tool needs, "" for none.
	engine string
	// begin prepares an image for the push, outside of the measured time; nil for a tool that pushes from the layout.
	begin func(c *tools, im image, ref string) error
	push  func(c *tools, im image, ref string) error
	// forget removes the image where the tool keeps it, so that the pull gets all of it.
	forget func(c *tools, ref string) error
	pull   func(c *tools, ref, to string) error
}

// clientTools are the tools of the rows.
var clientTools = []tool{
	{
		name: "skopeo",
		push: func(c *tools, im image, ref string) error {
			return c.run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "oci:"+im.layout+":v1", "docker://"+ref)
		},
		pull: func(c *tools, ref, to string) error {
			return c.run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "docker://"+ref, "dir:"+to)
		},
	},
	{
		name: "crane",
		push: func(c *tools, im image, ref string) error { return c.run("crane", "push", im.layout, ref) },
		pull: func(c *tools, ref, to string) error { return c.run("crane", "pull", "--format=oci", ref, to) },
	},
	{
		name: "docker", engine: "dockerd",
		begin: func(c *tools, im image, ref string) error {
			if err := c.run("docker", "load", "--quiet", "--input", im.archive); err != nil {
				return err
			}
			return errors.Join(c.run("docker", "tag", im.loaded, ref), c.run("docker", "rmi", im.loaded))
		},
		push:   func(c *tools, _ image, ref string) error { return c.run("docker", "push", "--quiet", ref) },
		forget: func(c *tools, ref string) error { return c.run("docker", "rmi", ref) },
		pull:   func(c *tools, ref, _ string) error { return c.run("docker", "pull", "--quiet", ref) },
	},
	{
		name: "ctr", engine: "containerd",
		begin: func(c *tools, im image, ref string) error {
			if err := c.run("ctr", "images", "import", "--no-unpack", im.archive); err != nil {
				return err
			}
			return errors.Join(c.run("ctr", "images", "tag", im.loaded, ref), c.run("ctr", "images", "rm", im.loaded))
		},
		push:   func(c *tools, _ image, ref string) error { return c.run("ctr", "images", "push", "--plain-http", ref) },
		forget: func(c *tools, ref string) error { return c.run("ctr", "images", "rm", "--sync", ref) },
		pull: func(c *tools, ref, _ string) error {
			return c.run("ctr", "images", "pull", "--plain-http", "--snapshotter", "native", ref)
		},
	},
}

// tools are the programs with their environment.
type tools struct {
	dir     string
	address string // of containerd
	env     []string
	user    string // USER:PASSWORD for ctr, or ""
	ctx     context.Context
}

// maxToolTime is the maximum duration of one command.
const maxToolTime = 3 * time.Minute

// run runs a program, which must succeed.
func (c *tools) run(name string, args ...string) error {
	path, err := toolPath(name)
	if err != nil {
		return err
	}
	if name == "ctr" {
		if c.user != "" && len(args) > 1 && (args[1] == "push" || args[1] == "pull") {
			args = append(args[:2:2], append([]string{"--user", c.user}, args[2:]...)...)
		}
		args = append([]string{"--address", c.address}, args...)
	}
	ctx, cancel := context.WithTimeout(c.ctx, maxToolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env, cmd.Dir = c.env, c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out[max(0, len(out)-1000):])
	}
	return nil
}

// toolPath finds a program on PATH, or where tools/clients/install puts it.
func toolPath(name string) (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name), nil
		}
	}
	if path, err := installed(name); err != nil || path != "" {
		return path, err
	}
	return "", fmt.Errorf("%s is not installed", name)
}

// clientRows compares pushes and pulls of a whole image with distribution. A tool that cannot run here has no row, but a note that says
// why.
func (b *bench) clientRows() (rows []row) {
	for _, t := range clientTools {
		r := row{name: fmt.Sprintf("%s, an image of %d MB", t.name, b.imageBytes/1e6), unit: "s", prepare: func(ctx context.Context) error {
			return b.prepareTool(ctx, t)
		}}
		for _, one := range []struct {
			name string
			of   *door
		}{{ecrinName, b.plain}, {distribution, b.dist}} {
			r.contenders = append(r.contenders, contender{name: one.name, parts: func(ctx context.Context) (map[string]measure, error) {
				return b.useTool(ctx, t, one.of)
			}})
		}
		for _, what := range []string{"push", "pull"} {
			r.targets = append(r.targets, target{who: what + ", " + ecrinName, peer: what + ", " + distribution, of: value, less: true, goal: 1})
		}
		rows = append(rows, r)
	}
	return rows
}

// errNotHere is the cause of a row that cannot be measured on this machine.
var errNotHere = errors.New("not here")

// prepareTool starts what a tool needs, unless it is running: ecrin, distribution and the daemon of the tool.
//
// Errors: errNotHere.
func (b *bench) prepareTool(ctx context.Context, t tool) error {
	if _, err := toolPath(t.name); err != nil {
		return fmt.Errorf("%w: %w", errNotHere, err)
	}
	if err := b.openDistribution(ctx); err != nil {
		return err
	}
	if b.plain.process == nil {
		p, err := b.startEcrin(ctx, b.path("clients-data"), "")
		if err != nil {
			return err
		}
		*b.plain = door{process: p}
		if b.plainKey, err = b.readAccount(ctx, b.path("clients-data")); err != nil {
			return err
		}
		if err := b.plain.login(ctx, b.plainKey); err != nil {
			return err
		}
	}
	if t.engine == "" {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: %s needs the rights of root", errNotHere, t.engine)
	}
	if err := b.openEngine(ctx, t.engine); err != nil {
		return fmt.Errorf("%w: %w", errNotHere, err)
	}
	return nil
}

// An engine has a short path, because the path of a socket has at most 108 bytes.
func (b *bench) engineDir(name string) string { return b.path(name) }

// openEngine starts the daemon of docker or containerd, unless it is running.
func (b *bench) openEngine(ctx context.Context, name string) error {
	if b.engines[name] != nil {
		return nil
	}
	path, err := toolPath(name)
	if err != nil {
		return err
	}
	dir := b.engineDir(name)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	socket := filepath.Join(dir, "s.sock")
	args := []string{"--host", "unix://" + socket, "--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "x"),
		"--pidfile", filepath.Join(dir, "pid"), "--iptables=false", "--ip6tables=false", "--bridge=none"}
	ask := []string{"docker", "version"}
	if name == "containerd" {
		const form = "version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = %q\n"
		config := fmt.Sprintf(form,
			filepath.Join(dir, "root"), filepath.Join(dir, "state"), socket)
		if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o600); err != nil {
			return err
		}
		args, ask = []string{"--config", filepath.Join(dir, "config.toml")}, []string{"ctr", "version"}
	}
	p, err := launch(b.dir, name, exec.Command(path, args...))
	if err != nil {
		return err
	}
	c := b.tools(ctx, b.plain)
	for began := time.Now(); ; {
		err := c.run(ask[0], ask[1:]...)
		if err == nil {
			b.engines[name] = p
			return nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("%s ended: %v: %s", name, ended, p.tail())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), p.stop())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Since(began) > maxStartTime {
			return errors.Join(fmt.Errorf("%s was not ready after %s: %w: %s", name, maxStartTime, err, p.tail()), p.stop())
		}
	}
}

// tools returns the programs with the credentials for a registry.
func (b *bench) tools(ctx context.Context, of *door) *tools {
	home := b.path("client-home")
	c := &tools{dir: home, address: filepath.Join(b.engineDir("containerd"), "s.sock"), ctx: ctx, env: append(os.Environ(), "HOME="+home,
		"DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+filepath.Join(home, "config.json"),
		"DOCKER_HOST=unix://"+filepath.Join(b.engineDir("dockerd"), "s.sock"))}
	if token, ok := strings.CutPrefix(of.auth, "Authorization: Basic "); ok {
		if user, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token)); err == nil {
			c.user = string(user)
		}
	}
	return c
}

// useTool pushes an image that no registry has to a new repository, and pulls it.
func (b *bench) useTool(ctx context.Context, t tool, of *door) (map[string]measure, error) {
	c := b.tools(ctx, of)
	auths := map[string]any{}
	if c.user != "" {
		auths[of.address] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(c.user))}
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(c.dir, 0o700), os.WriteFile(filepath.Join(c.dir, "config.json"), text, 0o600)); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(b.dir, "image-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	im, err := b.makeImage(dir, t.engine != "")
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	repo := "clients/" + filepath.Base(strings.ToLower(dir))
	if of == b.plain {
		if err := of.api(ctx, b.plainKey, "CreateRepository", map[string]string{"repositoryName": repo}, &struct{}{}); err != nil {
			return nil, err
		}
	}
	ref := of.address + "/" + repo + ":v1"
	if t.begin != nil {
		if err := t.begin(c, im, ref); err != nil {
			return nil, err
		}
	}
	push, err := timed(func() error { return t.push(c, im, ref) })
	if err != nil {
		return nil, err
	}
	if t.forget != nil {
		if err := t.forget(c, ref); err != nil {
			return nil, err
		}
	}
	pull, err := timed(func() error { return t.pull(c, ref, filepath.Join(dir, "pulled")) })
	if err == nil && t.forget != nil {
		err = t.forget(c, ref)
	}
	return map[string]measure{"push": push, "pull": pull}, err
}

// timed measures the duration of a command, in seconds.
func timed(what func() error) (measure, error) {
	syscall.Sync()
	began := time.Now()
	err := what()
	return measure{Value: time.Since(began).Seconds()}, err
}
