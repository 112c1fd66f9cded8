package console

import (
	"slices"
	"strings"
)

// clientCookie has the client whose commands a person chose last. The script of the pages sets it.
const clientCookie = "ecrin-client"

// clients are what the commands of the pages are for.
var clients = []string{"docker", "podman", "skopeo", "crane", "helm", "containerd", "kubernetes"}

// clientCommands are the commands that do one thing by several clients. Group tells them from others of the page.
type clientCommands struct {
	Group string
	All   []clientCommand
}

// clientCommand is what is typed for one client.
type clientCommand struct {
	Client, Text string
	Chosen       bool
}

// choose marks the client that the person chose last, else the first.
func (x *request) choose(group string, all []clientCommand) clientCommands {
	at := 0
	if c, err := x.r.Cookie(clientCookie); err == nil && slices.Contains(clients, c.Value) {
		at = max(slices.IndexFunc(all, func(o clientCommand) bool { return o.Client == c.Value }), 0)
	}
	if len(all) > 0 {
		all[at].Chosen = true
	}
	return clientCommands{Group: group, All: all}
}

// registryAt is a registry as clients name it.
type registryAt struct {
	host   string // of image names, with the port
	region string
	secure bool
}

// at returns the registry of a repository URI.
func (x *request) registryAt(uri string) registryAt {
	host, _, _ := strings.Cut(uri, "/")
	if host == "" {
		host = x.r.Host
	}
	return registryAt{host: host, region: x.region.String(), secure: x.ev.From.Secure}
}

// plain returns a flag for a registry without TLS, with a space after it.
func (r registryAt) plain(flag string) string {
	if r.secure {
		return ""
	}
	return flag + " "
}

// password is the command that prints the password of docker.
func (r registryAt) password() string { return "aws ecr get-login-password --region " + r.region }

// local reports whether docker speaks clear text to the registry without a setting.
func (r registryAt) local() bool {
	name, _, _ := strings.Cut(r.host, ":")
	return name == "localhost" || strings.HasPrefix(name, "127.") || strings.HasSuffix(name, ".localhost")
}

// setting returns what docker needs before it speaks to the registry.
func (r registryAt) setting() string {
	if r.secure || r.local() {
		return ""
	}
	return "# docker refuses clear text: add \"" + r.host + "\" to insecure-registries of /etc/docker/daemon.json, or use --tls\n"
}

// pull returns the commands that pull an image.
func (r registryAt) pull(uri, tag string) []clientCommand {
	image := uri + ":" + tag
	return []clientCommand{
		{Client: "docker", Text: r.setting() + r.password() + " | docker login -u AWS --password-stdin " + r.host + "\ndocker pull " + image},
		{Client: "podman", Text: r.password() + " | podman login -u AWS --password-stdin " + r.plain("--tls-verify=false") + r.host +
			"\npodman pull " + r.plain("--tls-verify=false") + image},
		{Client: "skopeo", Text: r.password() + " | skopeo login -u AWS --password-stdin " + r.plain("--tls-verify=false") + r.host +
			"\nskopeo copy --all " + r.plain("--src-tls-verify=false") + "docker://" + image + " oci:image:" + tag},
		{Client: "crane", Text: r.password() + " | crane auth login -u AWS --password-stdin " + r.host + "\ncrane pull " + image + " image.tar"},
		{Client: "helm", Text: r.password() + " | helm registry login -u AWS --password-stdin " + r.plain("--plain-http") + r.host +
			"\nhelm pull " + r.plain("--plain-http") + "oci://" + uri + " --version " + tag},
	}
}

// push returns the commands that push an image.
func (r registryAt) push(uri, tag string) []clientCommand {
	image := uri + ":" + tag
	folder, chart := r.host, uri
	if i := strings.LastIndexByte(uri, '/'); i >= 0 {
		folder, chart = uri[:i], uri[i+1:]
	}
	return []clientCommand{
		{Client: "docker", Text: r.setting() + r.password() + " | docker login -u AWS --password-stdin " + r.host +
			"\ndocker tag IMAGE " + image + "\ndocker push " + image},
		{Client: "podman", Text: r.password() + " | podman login -u AWS --password-stdin " + r.plain("--tls-verify=false") + r.host +
			"\npodman push " + r.plain("--tls-verify=false") + "IMAGE " + image},
		{Client: "skopeo", Text: r.password() + " | skopeo login -u AWS --password-stdin " + r.plain("--tls-verify=false") + r.host +
			"\nskopeo copy --all " + r.plain("--dest-tls-verify=false") + "docker://IMAGE docker://" + image},
		{Client: "crane", Text: r.password() + " | crane auth login -u AWS --password-stdin " + r.host + "\ncrane copy IMAGE " + image},
		{Client: "helm", Text: r.password() + " | helm registry login -u AWS --password-stdin " + r.plain("--plain-http") + r.host +
			"\nhelm push " + r.plain("--plain-http") + chart + "-0.1.0.tgz oci://" + folder},
	}
}

// first returns the commands that push the first image, also those of machines without docker.
func (r registryAt) first(uri, tag string) []clientCommand {
	image := uri + ":" + tag
	return append(r.push(uri, tag),
		clientCommand{Client: "containerd", Text: "P=$(" + r.password() + ")\nctr image pull docker.io/library/alpine:latest\n" +
			"ctr image tag docker.io/library/alpine:latest " + image + "\nctr image push " + r.plain("--plain-http") + "--user \"AWS:$P\" " + image},
		clientCommand{Client: "kubernetes", Text: "# pods of a cluster pull without a stored secret; with a kubeconfig of an administrator\n" +
			"ecrin cluster connect my-cluster --kubeconfig admin.conf --namespace '*'\nkubectl run app --image " + image})
}
