package pull

import (
	"context"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/deliver/credential"
	"github.com/ecrin-dev/ecrin/internal/host/trust/clientconf"
)

// Pod says whose pull is explained: its credentials are those of its pull secrets, as the kubelet takes them.
type Pod struct {
	Namespace, Name, Container, ServiceAccount string

	Node    string // "" before the pod is scheduled
	Secrets []PodSecret
	Pulled  bool
	Message string // of the node, about a pull that failed
}

// PodSecret is a pull secret that a pod names.
type PodSecret struct {
	Name    string
	Missing bool
	Type    string
	Config  []byte // a docker configuration; nil for another type
}

// podLogin returns what gives the pod a credential: the refresher writes the first pull secret that the pod names, or one that the service
// account gives to new pods.
func (p *pulling) podLogin() string {
	refresh := "ecrin refresh kubernetes --once --registry " + p.ref.host + " --namespace " + p.Pod.Namespace + " --service-account " +
		p.Pod.ServiceAccount
	const fresh = " (without --once it stays fresh)"
	if len(p.Pod.Secrets) == 0 {
		return refresh + fresh + ", and delete the pod, so that its new one names the secret"
	}
	for _, s := range p.Pod.Secrets {
		if s.Missing || s.Type == "kubernetes.io/dockerconfigjson" {
			return refresh + " --secret " + s.Name + fresh
		}
	}
	first := p.Pod.Secrets[0].Name
	return "the secret needs another type, so it has to be made anew: kubectl delete secret --namespace " + p.Pod.Namespace + " " + first +
		"; " + refresh + " --secret " + first + fresh
}

// podCredential finds the credentials that the kubelet would send. A secret that is missing or has another content is passed over by the
// kubelet, so that it is a failure only if no other one has a credential.
func (p *pulling) podCredential(ctx context.Context) (string, *failure) {
	if p.ns != "" {
		return "none: a mirror gets no credential of " + p.ns, nil
	}
	var wrong []string
	for _, s := range p.Pod.Secrets {
		switch {
		case s.Missing:
			wrong = append(wrong, "the pull secret "+s.Name+" does not exist")
			continue
		case s.Config == nil:
			wrong = append(wrong, "the secret "+s.Name+" has the type "+s.Type+", which is none of a pull secret")
			continue
		}
		if _, err := clientconf.ParseDockerClient(s.Config); err != nil {
			wrong = append(wrong, "the pull secret "+s.Name+" has no docker configuration")
			continue
		}
		all := credential.KubeletLogins(s.Config, p.ref.host, p.ref.repo)
		if len(all) == 0 {
			wrong = append(wrong, "the pull secret "+s.Name+" has no entry for "+p.ref.host)
		}
		for _, c := range all {
			p.offers = append(p.offers, offer{s.Name, c.Username, c.Password.Reveal()})
		}
	}
	if len(p.offers) > 0 {
		p.user, p.password = p.offers[0].user, p.offers[0].password
		return "of " + p.user + ", from the pull secret " + p.offers[0].secret, nil
	}
	why := "the pod names no pull secret"
	if len(wrong) > 0 {
		why = strings.Join(wrong, "; ")
	}
	found, f := p.anonymous(ctx, why)
	if f != nil {
		f.cure = p.podLogin() + "; with a credential provider on the node, ecrin doctor on it checks its configuration"
	}
	return found, f
}

// offer is a credential of a pull secret.
type offer struct{ secret, user, password string }

// podToken tries the credentials one after the other, as the kubelet does, and stays with the first that is accepted.
func (p *pulling) podToken(ctx context.Context) (found string, f *failure) {
	for _, o := range p.offers {
		p.user, p.password, p.authorization = o.user, o.password, ""
		if found, f = p.token(ctx); f == nil {
			return found + ": that of the pull secret " + o.secret, nil
		}
	}
	if len(p.offers) == 0 {
		return p.token(ctx)
	}
	f.problem = "no pull secret of the pod is accepted; of the last, " + p.offers[len(p.offers)-1].secret + ": " + f.problem
	return "", f
}

// node says what the node has seen of the pull.
func (p *pulling) node(context.Context) (string, *failure) {
	switch pod := p.Pod; {
	case pod.Pulled:
		return pod.Node + " has pulled the image", nil
	case pod.Node == "":
		return "the pod is on no node yet", nil
	case pod.Message == "":
		return pod.Node + " has told of no failure", nil
	default:
		return "", fail("from here all steps pass, but the node "+pod.Node+" says: "+pod.Message,
			"if the secret is newer than the message, wait: the kubelet tries again within 5 minutes; else make the steps on the node, "+
				"whose names, authorities, mirrors and proxies differ: ecrin explain pull "+p.Image)
	}
}
