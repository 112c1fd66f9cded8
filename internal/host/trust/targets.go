package trust

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
)

// mark is the first line of files that are written by ecrin alone. Files without it are not overwritten or
// removed.
const mark = "# Written by ecrin trust, which also removes it.\n"

// planner collects the actions of one plan.
type planner struct {
	Options
	ca      *x509.Certificate
	remove  bool
	actions []Action
}

// Install plans the actions that make the targets accept the hosts: by their CA, or by plain HTTP if
// o.PlainHTTP is set.
//
// Errors: no hosts (unless the system store is the only target), an invalid host or CA, no CA without
// PlainHTTP, an existing file that cannot be read.
func Install(o Options) (Plan, error) {
	if len(o.CAPEM) == 0 && !o.PlainHTTP {
		return Plan{}, errors.New("a CA certificate is needed, unless the registry is used over plain HTTP")
	}
	return plan(o, false)
}

// Uninstall plans the removal of the changes that Install made for the same options. Other content is kept.
func Uninstall(o Options) (Plan, error) { return plan(o, true) }

func plan(o Options, remove bool) (Plan, error) {
	o, ca, err := o.check()
	if err != nil {
		return Plan{}, err
	}
	p := &planner{Options: o, ca: ca, remove: remove}
	for _, target := range Targets {
		if !slices.Contains(o.Targets, target) {
			continue
		}
		if target == System {
			err = p.system()
		} else if len(o.Hosts) == 0 {
			return Plan{}, fmt.Errorf("%s needs the address of a registry", target)
		}
		for _, host := range o.Hosts {
			if err != nil {
				break
			}
			switch target {
			case Docker:
				err = p.docker(host)
			case Containerd:
				err = p.containerd(host)
			case Containers:
				err = p.containers(host)
			}
		}
		if err != nil {
			return Plan{}, fmt.Errorf("planning for %s: %w", target, err)
		}
		if target == Containerd && !remove {
			p.containerdConfigPath()
		}
	}
	return Plan{p.actions}, nil
}

func (p *planner) add(a Action) { p.actions = append(p.actions, a) }

// docker plans for docker: a CA per registry, which the daemon reads at each connection. Registries with plain
// HTTP are a list in the daemon's own file, which the administrator has to edit: the file may be generated, and
// a mistake in it keeps the daemon from starting.
func (p *planner) docker(host string) error {
	if !p.PlainHTTP {
		return p.certificate(Docker, host, under(p.Root, "etc/docker/certs.d/"+host+"/ca.crt"))
	}
	path := under(p.Root, "etc/docker/daemon.json")
	content, err := readMaybe(path)
	if err != nil {
		return err
	}
	daemon, err := clientconf.ParseDockerDaemon(content)
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	listed := slices.Contains(daemon.InsecureRegistries, host)
	switch {
	case p.remove && !listed:
		p.add(Action{Target: Docker, Kind: Note, Done: true, Why: host + " is not among docker's insecure registries"})
	case p.remove:
		p.add(Action{Target: Docker, Kind: Note, Why: "take " + host + " out of insecure-registries in " + path + ", then reload docker",
			Shell: reloadDocker})
	case loopback(host):
		p.add(Action{Target: Docker, Kind: Note, Done: true, Why: "docker takes plain HTTP from loopback addresses such as " +
			host + " without any setting"})
	default:
		text, err := withInsecure(content, append(slices.Clone(daemon.InsecureRegistries), host))
		if err != nil {
			return err
		}
		shell := fmt.Sprintf("sudo tee %s >/dev/null <<'EOF'\n%s\nEOF\n%s", quote(path), text, reloadDocker)
		p.add(Action{Target: Docker, Kind: Note, Done: listed, Why: "let docker use plain HTTP with " + host + ": list it in " +
			path + ", then reload docker",
			Shell: shell})
	}
	return nil
}

const reloadDocker = "sudo systemctl reload docker"

// withInsecure returns daemon.json with the given list of insecure registries, and all other settings kept.
func withInsecure(content []byte, list []string) (string, error) {
	all := map[string]any{}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &all); err != nil {
			return "", err
		}
	}
	all["insecure-registries"] = list
	text, err := json.MarshalIndent(all, "", "  ")
	return string(text), err
}

// loopback reports whether the form of host shows that it is an address of this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && addr.IsLoopback()
}

// containerd plans for containerd: one hosts.toml per registry, with the CA in the same folder. Source:
// containerd, docs/hosts.md.
func (p *planner) containerd(host string) error {
	dir := under(p.Root, "etc/containerd/certs.d/"+host)
	file := filepath.Join(dir, "hosts.toml")
	have, err := readMaybe(file)
	if err != nil {
		return err
	}
	foreign := len(have) > 0 && !strings.HasPrefix(string(have), mark)
	if p.remove {
		if foreign {
			p.add(Action{Target: Containerd, Kind: Note, Done: true, Why: file + " was not written by ecrin and stays as it is"})
		} else {
			p.add(removing(Containerd, file, "remove containerd's settings for "+host))
		}
		if !p.PlainHTTP {
			return p.certificate(Containerd, host, filepath.Join(dir, "ca.crt"))
		}
		return nil
	}
	url, lines := "https://"+host, fmt.Sprintf("  ca = %q\n", "/etc/containerd/certs.d/"+host+"/ca.crt")
	if p.PlainHTTP {
		url, lines = "http://"+host, ""
	} else if err := p.certificate(Containerd, host, filepath.Join(dir, "ca.crt")); err != nil {
		return err
	}
	table := fmt.Sprintf("[host.%q]\n  capabilities = [\"pull\", \"resolve\", \"push\"]\n%s", url, lines)
	if foreign {
		p.add(Action{Target: Containerd, Kind: Note, Shell: table,
			Why: file + " was not written by ecrin and stays as it is: add these lines to it"})
		return nil
	}
	p.add(writing(Containerd, file, fmt.Sprintf("%sserver = %q\n\n%s", mark, url, table), "let containerd reach "+url))
	return nil
}

// containerdConfigPath adds an instruction for the setting without which Kubernetes ignores the host files. The
// administrator has to change it, since config.toml belongs to the installation of the machine, and containerd
// must be restarted after the change.
func (p *planner) containerdConfigPath() {
	path := under(p.Root, "etc/containerd/config.toml")
	content, err := readMaybe(path)
	if err != nil {
		return
	}
	conf, err := clientconf.ParseContainerd(content)
	if err == nil && (conf.NoCRI || slices.Contains(conf.ConfigPaths, "/etc/containerd/certs.d")) {
		return
	}
	p.add(Action{Target: Containerd, Kind: Note,
		Why: "Kubernetes pulls look into certs.d only if config_path names it: see that " + path +
			" or a file it imports has these lines, then restart containerd (nerdctl needs nothing, ctr the flag --hosts-dir)",
		Shell: "# containerd 1.x\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n" +
			"# containerd 2.x\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\""})
}

// containers plans for podman, skopeo and buildah: a CA per registry, and for plain HTTP a file in
// registries.conf.d.
func (p *planner) containers(host string) error {
	if !p.PlainHTTP {
		return p.certificate(Containers, host, under(p.Root, "etc/containers/certs.d/"+host+"/ca.crt"))
	}
	file := under(p.Root, "etc/containers/registries.conf.d/50-ecrin-"+strings.NewReplacer(":", "-", "[", "", "]", "").Replace(host)+".conf")
	if p.remove {
		p.add(removing(Containers, file, "stop using plain HTTP with "+host))
		return nil
	}
	content := fmt.Sprintf("%s[[registry]]\nlocation = %q\ninsecure = true\n", mark, host)
	p.add(writing(Containers, file, content, "let podman, skopeo and buildah use plain HTTP with "+host))
	return nil
}

// certificate adds the CA to a file or removes it, and keeps the certificates of others in the file.
func (p *planner) certificate(target Target, host, path string) error {
	have, err := readMaybe(path)
	if err != nil {
		return err
	}
	found := split(have, p.ca)
	if !p.remove {
		a := writing(target, path, found.others+string(p.CAPEM), "let "+string(target)+" trust the CA for "+host)
		a.Done = found.exact && !found.stale
		p.add(a)
		return nil
	}
	why := "withdraw the CA for " + host + " from " + string(target)
	if found.others != "" {
		a := writing(target, path, found.others, why)
		a.Done = !found.exact && !found.stale
		p.add(a)
		return nil
	}
	p.add(removing(target, path, why))
	return nil
}

func readMaybe(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return content, err
}
