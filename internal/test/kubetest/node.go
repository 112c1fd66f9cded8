package kubetest

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The node runs in namespaces of its own, of mounts and processes: at the end of the test the kernel ends all that it has started and
// removes what it has mounted. The network is that of the test, so that pods of the network of the host reach its servers.
const nodeScript = `set -e
mount -t tmpfs -o mode=755 tmpfs /run
containerd -c cd.toml >containerd.log 2>&1 &
n=0
until ctr -a cd.sock version >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 300 ]; sleep 0.1; done
for image in pause.tar image-*.tar; do
	[ ! -e "$image" ] || ctr -a cd.sock -n k8s.io image import --snapshotter native "$image"
done
exec "$KUBELET" --config=kubelet.yaml --kubeconfig="$KUBECONFIG" --hostname-override=` + NodeName + ` --root-dir="$PWD/kubelet" \
	--cert-dir="$PWD/kubelet/pki" $KUBELET_FLAGS
`

// node starts containerd and the kubelet.
func (c *Cluster) node(image []byte, flags []string) {
	c.t.Helper()
	if os.Geteuid() != 0 {
		c.t.Fatal("a node needs root")
	}
	for _, program := range []string{"containerd", "ctr", "runc", "unshare", "mount"} {
		if _, err := exec.LookPath(program); err != nil {
			c.t.Fatalf("%s is not installed: run tools/clients/install kubernetes", program)
		}
	}
	c.write("pause.tar", string(image))
	c.write("cd.toml", fmt.Sprintf(`version = 2
root = %[1]q
state = %[2]q
[grpc]
  address = %[3]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[4]q
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[5]q
    conf_dir = %[5]q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %[6]q
`, c.path("cd-root"), c.path("cd-state"), c.path("cd.sock"), Sandbox, c.path("cni"), c.path("certs.d")))
	c.write("kubelet.yaml", fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
port: %s
healthzPort: 0
readOnlyPort: 0
failCgroupV1: false
failSwapOn: false
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
makeIPTablesUtilChains: false
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
containerRuntimeEndpoint: "unix://%s"
staticPodPath: ""
podLogsDir: %q
localStorageCapacityIsolation: false
evictionHard: {imagefs.available: "0%%", memory.available: "1Mi", nodefs.available: "0%%"}
`, freePorts(c.t, 1)[0], c.path("cd.sock"), c.path("pods")))
	env := []string{"KUBELET=" + c.program("kubelet"), "KUBECONFIG=" + c.KubeconfigOf("node", nodeToken),
		"KUBELET_FLAGS=" + strings.Join(flags, " ")}
	c.start("kubelet", env,
		"unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", nodeScript)
	c.wait("the node", func() error {
		out, err := c.TryKubectl(c.Kubeconfig, "", "get", "node", NodeName, "-o", "name")
		if err == nil && !strings.Contains(out, NodeName) {
			err = fmt.Errorf("got %q", out)
		}
		return err
	})
}

// plugin is a network plugin that says that a pod has an address, and makes nothing. Source: CNI specification 0.4.0.
const plugin = `#!/bin/sh
case "$CNI_COMMAND" in
ADD) echo "{\"cniVersion\":\"0.4.0\",\"interfaces\":[{\"name\":\"$CNI_IFNAME\",\"sandbox\":\"$CNI_NETNS\"}],` +
	`\"ips\":[{\"version\":\"4\",\"interface\":0,\"address\":\"10.99.0.2/16\"}]}" ;;
VERSION) echo '{"cniVersion":"0.4.0","supportedVersions":["0.3.1","0.4.0"]}' ;;
esac
`

// network writes the network plugin of the node. containerd also calls one for the loopback device.
func (c *Cluster) network() {
	c.t.Helper()
	c.write("cni/10-test.conflist", `{"cniVersion":"0.4.0","name":"test","plugins":[{"type":"plain"}]}`)
	for _, label := range []string{"plain", "loopback"} {
		if err := os.Chmod(c.write("cni/"+label, plugin), 0o700); err != nil {
			c.t.Fatal(err)
		}
	}
}

// Busybox returns an image that has the static busybox of this machine as /bin/busybox, and runs `busybox sleep`.
func Busybox() (ocitest.Image, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return ocitest.Image{}, fmt.Errorf("busybox is not installed: run tools/clients/install kubernetes: %w", err)
	}
	f, err := elf.Open(path)
	if err != nil {
		return ocitest.Image{}, err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return ocitest.Image{}, fmt.Errorf("%s is not static: install busybox-static", path)
		}
	}
	return Program(path, "bin/busybox", `"Cmd":["/bin/busybox","sleep","100000"]`)
}

// Program returns an image with one program of this machine. settings are members of the config of its config, in JSON.
func Program(path, inside, settings string) (ocitest.Image, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return ocitest.Image{}, err
	}
	layer, err := archive(map[string][]byte{inside: content}, inside)
	if err != nil {
		return ocitest.Image{}, err
	}
	const layerType = "application/vnd.oci.image.layer.v1.tar"
	im := ocitest.Image{Layers: [][]byte{layer}, Config: fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{%s},`+
		`"rootfs":{"type":"layers","diff_ids":[%q]}}`, settings, ocitest.SHA256(layer))}
	config := ocitest.Describe(ocitest.ConfigType, im.Config)
	m := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, Config: &config,
		Layers: []ocitest.Descriptor{ocitest.Describe(layerType, layer)}}
	im.Manifest = m.JSON()
	im.Digest = ocitest.SHA256(im.Manifest)
	return im, nil
}

// Archive returns an image as an OCI layout in a tar archive, with a name.
func Archive(im ocitest.Image, label string) ([]byte, error) {
	blob := func(content []byte) string {
		return "blobs/sha256/" + strings.TrimPrefix(ocitest.SHA256(content), "sha256:")
	}
	files := map[string][]byte{
		"oci-layout":       []byte(`{"imageLayoutVersion":"1.0.0"}`),
		blob(im.Manifest):  im.Manifest,
		blob(im.Config):    im.Config,
		blob(im.Layers[0]): im.Layers[0],
		"index.json": fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,`+
			`"annotations":{"io.containerd.image.name":%q}}]}`, ocitest.ImageType, im.Digest, len(im.Manifest), label),
	}
	return archive(files, blob(im.Layers[0]), blob(im.Manifest), blob(im.Config), "oci-layout", "index.json")
}

// archive returns the tar archive of files, in an order.
func archive(files map[string][]byte, order ...string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, label := range order {
		if err := w.WriteHeader(&tar.Header{Name: label, Mode: 0o755, Size: int64(len(files[label]))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[label]); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}
