package credential

import (
	"strings"
	"testing"
)

func testNode(distribution string) *Node {
	return &Node{Distribution: distribution, Hosts: []string{"ecr.example.com:5100"}, Role: "arn:aws:iam::111122223333:role/pull",
		Region: "eu-west-1", Audience: "sts.amazonaws.com", CacheType: "Token", Dir: NodeDir, BinDir: NodeBinDir, CA: []byte("pem")}
}

// Each distribution gets the configuration, and its kubelet gets the flags in its own way.
func TestNodeFiles(t *testing.T) {
	t.Parallel()
	const flags = "--image-credential-provider-config=/etc/ecrin/kubelet/credential-provider.yaml " +
		"--image-credential-provider-bin-dir=/usr/local/lib/ecrin"
	for distribution, want := range map[string]struct{ path, content, next string }{
		"kubeadm": {"/etc/default/kubelet", nodeMark + "KUBELET_EXTRA_ARGS=\"" + flags + "\"\n", "systemctl restart kubelet"},
		"k3s": {"/etc/rancher/k3s/config.yaml.d/50-ecrin.yaml", nodeMark + "image-credential-provider-config: /etc/ecrin/kubelet/" +
			"credential-provider.yaml\nimage-credential-provider-bin-dir: /usr/local/lib/ecrin\n", "systemctl restart k3s"},
		"rke2": {"/etc/rancher/rke2/config.yaml.d/50-ecrin.yaml", nodeMark + "image-credential-provider-config: /etc/ecrin/kubelet/" +
			"credential-provider.yaml\nimage-credential-provider-bin-dir: /usr/local/lib/ecrin\n", "rke2-server"},
		"k0s":   {"", "", `--kubelet-extra-args="` + flags + `"`},
		"other": {"", "", "start the kubelet with " + flags},
	} {
		n := testNode(distribution)
		files, err := n.Files()
		if err != nil {
			t.Fatalf("%s: %v", distribution, err)
		}
		got := map[string]NodeFile{}
		for _, f := range files {
			got[f.Path] = f
		}
		if want.path != "" && got[want.path].Content != want.content {
			t.Errorf("%s: %s has\n%s\nwant\n%s", distribution, want.path, got[want.path].Content, want.content)
		}
		if !strings.Contains(n.Next(), want.next) {
			t.Errorf("%s: next is %q, want %q in it", distribution, n.Next(), want.next)
		}
		for path, text := range map[string]string{
			"/etc/ecrin/kubelet/credential-provider.yaml": "serviceAccountTokenAudience: sts.amazonaws.com\n      cacheType: Token\n" +
				"      requireServiceAccount: true",
			"/etc/ecrin/kubelet/credentials.yaml": "match: ecr.example.com:5100\n    role: arn:aws:iam::111122223333:role/pull\n" +
				"    region: eu-west-1\n    ca_file: ca.pem",
			"/etc/ecrin/kubelet/ca.pem": "pem",
		} {
			if !strings.Contains(got[path].Content, text) {
				t.Errorf("%s: %s has\n%s\nwithout\n%s", distribution, path, got[path].Content, text)
			}
		}
		if want.path == "" {
			continue
		}
		file := got[want.path]
		for content, ok := range map[string][2]bool{file.Content: {true, true}, "KUBELET_EXTRA_ARGS=-v=4": {false, false},
			"KUBELET_EXTRA_ARGS=-v=4 " + flags: {false, true}, nodeMark + "old": {true, false}} {
			if ours, enough := file.Ours([]byte(content)), file.Enough([]byte(content)); ours != ok[0] || enough != ok[1] {
				t.Errorf("%s: %q counts as ours: %t, as enough: %t; want %v", distribution, content, ours, enough, ok)
			}
		}
	}
}

// A node is described completely, and with nothing that a shell or a configuration reads as more than one value.
func TestNodeIsChecked(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*Node){
		"distribution": func(n *Node) { n.Distribution = "x" }, "registries": func(n *Node) { n.Hosts = nil },
		"cache": func(n *Node) { n.CacheType = "Pod" }, "audience": func(n *Node) { n.Audience = "a b" },
		"role": func(n *Node) { n.Role = "pull" }, "folders": func(n *Node) { n.Dir = "/a b" }, "absolute": func(n *Node) { n.BinDir = "bin" },
		"got \"https://": func(n *Node) { n.Hosts = []string{"https://x/"} }, "endpoint": func(n *Node) { n.Endpoint = "x" },
	} {
		n := testNode("other")
		change(n)
		if _, err := n.Files(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: got %v, want an error about it", what, err)
		}
	}
}
