package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/deliver/kube"
	"github.com/ecrin-dev/ecrin/internal/host/pull"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/explain"
)

func (c *commands) explainPull() *cobra.Command {
	cmd := &cobra.Command{Use: "pull [IMAGE]", Args: cobra.MaximumNArgs(1),
		Short: "Make the steps of a pull from this machine, and say which is the first that fails and what to do about it",
		Long: `Make the steps of a pull of one image from this machine: does a mirror or a proxy apply and work, does the name resolve, does something listen, is the certificate trusted, is it a
registry, is there a credential, is it accepted, is the pull permitted, is the image there, is it for the platform, can its layers be
read. The first step that fails ends the list, with what to do about it. Nothing is stored, and no more than manifests, the
configuration and the first byte of each layer is read.

The credential is that of docker: of ~/.docker/config.json (or DOCKER_CONFIG) and its credential helpers. IMAGE is written as for docker; the registry
may be an ecrin, Amazon ECR or another one. If the server of --data or --url is the registry, its own explanation of a refusal is added.

With --pod the image, the pull secrets and the platform are those of a pod of a cluster: the secrets are read as the kubelet reads them, the
service account is named, and what the node has said of the pull is the last step. All other steps are made from this machine, not from
the node. It reads the pod, its secrets, its events and its node, and shows no credential.

The exit code is 0 if the image can be pulled, 3 if not, and 1 for an error.`,
		Example: "  ecrin explain pull localhost:5100/team/app:1.0\n" +
			"  ecrin explain pull 111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app:1.0 --platform linux/arm64\n" +
			"  ecrin explain pull --pod shop/web-5d4f9 --kubeconfig admin.conf"}
	platform := cmd.Flags().String("platform", "linux/"+runtime.GOARCH, "`OS/ARCH` of the machine that runs the image")
	var cluster kubeFlags
	cluster.add(cmd)
	of := cmd.Flags().String("pod", "", "`NAMESPACE/NAME` of a pod whose pull is explained, instead of IMAGE")
	container := cmd.Flags().String("container", "", "with --pod: `name` of its container (default: the first that waits for its image)")
	certs := cmd.Flags().String("certs", "/etc/docker/certs.d", "`folder` with HOST/*.crt, authorities of single registries")
	hosts := cmd.Flags().String("containerd-hosts", "/etc/containerd/certs.d",
		"`folder` with HOST/hosts.toml of containerd, \"\" for docker alone")
	dir := cmd.Flags().String("docker-config", "", "`folder` of config.json (default: DOCKER_CONFIG, or ~/.docker)")
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if (*of == "") != (len(args) == 1) {
			return usageError{errors.New("give either IMAGE or --pod NAMESPACE/NAME")}
		}
		var pod *pull.Pod
		image := strings.Join(args, "")
		if *of != "" {
			read, err := podOf(cmd.Context(), &cluster, *of, *container)
			if err != nil {
				return err
			}
			pod, image = &read.pull, read.Image
			if read.Platform != "" && !cmd.Flags().Changed("platform") {
				*platform = read.Platform
			}
		}
		if *dir == "" {
			*dir = c.lookup("DOCKER_CONFIG", "")
		}
		if *dir == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return err
			}
			*dir = filepath.Join(home, ".docker")
		}
		steps := pull.Explain(cmd.Context(), pull.Options{
			Image: image, Pod: pod, Platform: *platform, DockerConfig: *dir, CertsDir: *certs, Containerd: *hosts,
			Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) {
				return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
			},
			Dial: (&net.Dialer{}).DialContext, Helper: runHelper, Proxy: http.ProxyFromEnvironment,
			Explain: func(ctx context.Context, id string) string { return c.explained(ctx, cmd, id) },
		})
		failed := !steps[len(steps)-1].Passed
		if *asJSON {
			if err := c.printJSON(map[string]any{"image": image, "passed": !failed, "steps": steps}); err != nil {
				return err
			}
		} else {
			if pod != nil {
				on := "on no node yet"
				if pod.Node != "" {
					on = "on the node " + pod.Node
				}
				c.say("%s of the container %s of the pod %s, service account %s, %s", image, pod.Container, *of, pod.ServiceAccount, on)
			}
			c.sayPull(steps)
		}
		if failed {
			return errDenied
		}
		return nil
	}
	return cmd
}

// readPod is a pod of a cluster, and what package pull wants of it.
type readPod struct {
	kube.Pod
	pull pull.Pod
}

// podOf reads a pod NAMESPACE/NAME.
func podOf(ctx context.Context, cluster *kubeFlags, text, container string) (p readPod, err error) {
	namespace, label, ok := strings.Cut(text, "/")
	if !ok || !objectName.MatchString(namespace) || !objectName.MatchString(label) {
		return p, usageError{fmt.Errorf("--pod: want NAMESPACE/NAME, got %q", text)}
	}
	at, err := cluster.open(slog.New(slog.DiscardHandler))
	if err != nil {
		return p, err
	}
	if p.Pod, err = kube.ReadPod(ctx, at, namespace, label, container); err != nil {
		return p, err
	}
	p.pull = pull.Pod{Namespace: p.Namespace, Name: p.Name, Container: p.Container, ServiceAccount: p.ServiceAccount, Node: p.Node,
		Pulled: p.Pulled, Message: p.Message}
	for _, s := range p.Secrets {
		p.pull.Secrets = append(p.pull.Secrets, pull.PodSecret(s))
	}
	return p, nil
}

// sayPull prints the steps, one line for each that passes.
func (c *commands) sayPull(steps []pull.Step) {
	for _, s := range steps {
		if s.Passed {
			fmt.Fprintf(c.Out, "ok    %-10s %s\n", s.Name, s.Found)
			continue
		}
		fmt.Fprintf(c.Out, "FAIL  %-10s %s\n      what to do: %s\n", s.Name, strings.ReplaceAll(s.Problem, "\n", "\n      "), s.Cure)
	}
}

// explained returns what the server of the command line says about a request; "" if there is none, or it does not know the request.
func (c *commands) explained(ctx context.Context, cmd *cobra.Command, id string) string {
	s, err := c.connect(cmd)
	if err != nil {
		return ""
	}
	var out ecrintypes.ExplainRequestResponse
	if err := s.Call(ctx, "ExplainRequest", &ecrintypes.ExplainRequestRequest{RequestId: id}, &out); err != nil {
		return ""
	}
	var text strings.Builder
	if err := explain.Write(&text, out.Explanation); err != nil {
		return ""
	}
	return strings.TrimSpace(text.String())
}

// runHelper runs a credential helper of docker, with the host as its input.
func runHelper(ctx context.Context, program, host string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", errors.New("it is not in PATH")
	}
	h := exec.CommandContext(ctx, path, "get")
	h.Stdin = strings.NewReader(host)
	var out, errs bytes.Buffer
	h.Stdout, h.Stderr = &out, &errs
	if err := h.Run(); err != nil {
		return strings.TrimSpace(out.String() + " " + errs.String()), err
	}
	return out.String(), nil
}
