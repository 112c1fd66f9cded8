package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Issuer is who signs the tokens of the service accounts of a cluster.
type Issuer struct {
	URL  string // as in the claim iss
	Keys string // JWK set of its public keys
}

// maxKeys is the largest JWK set in bytes that is read; it has a hundred keys.
const maxKeys = 64 << 10

// Problem is a failure of a call to an API server, with what to do about it.
type Problem struct {
	Err  error
	Cure string
}

func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns the failure.
func (p *Problem) Unwrap() error { return p.Err }

// problem adds to a failure of a call what to do about it. right is what the caller must be allowed, for people.
func (c *Cluster) problem(doing string, err error, right string) error {
	if err == nil {
		return nil
	}
	p := &Problem{Err: fmt.Errorf("%s: %w", doing, err)}
	switch {
	case apierrors.IsUnauthorized(err):
		p.Cure = "the API server does not accept the credentials of the kubeconfig: get a new one, or choose another --context"
	case apierrors.IsForbidden(err):
		p.Cure = "let an administrator of the cluster run the command, or allow the user of the kubeconfig to " + right
	case apierrors.IsNotFound(err):
		p.Cure = "check --context, and that the namespace and the service account exist"
	default:
		p.Cure = "check that " + c.host + " is reached from here, and that its certificate is the one of the kubeconfig"
	}
	return p
}

// Issuer reads the issuer of the cluster and its public keys from the API server, so that an issuer whose URL leads nowhere is no obstacle.
//
// Errors: *Problem, also for documents that are not those of an issuer, and for one without keys.
func (c *Cluster) Issuer(ctx context.Context) (Issuer, error) {
	const right = "get the paths /.well-known/openid-configuration and /openid/v1/jwks (the role system:service-account-issuer-discovery)"
	bad := func(format string, args ...any) (Issuer, error) {
		return Issuer{}, &Problem{Err: fmt.Errorf(format, args...),
			Cure: "the API server needs --service-account-issuer with an https URL, and --service-account-key-file"}
	}
	text, err := c.core.Get().AbsPath("/.well-known/openid-configuration").Timeout(requestTimeout).DoRaw(ctx)
	if err != nil {
		return Issuer{}, c.problem("reading the issuer of the cluster", err, right)
	}
	var document struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal(text, &document); err != nil || !strings.HasPrefix(document.Issuer, "https://") {
		return bad("reading the issuer of the cluster: the document of the API server has the issuer %q", document.Issuer)
	}
	if text, err = c.core.Get().AbsPath("/openid/v1/jwks").Timeout(requestTimeout).DoRaw(ctx); err != nil {
		return Issuer{}, c.problem("reading the keys of the issuer", err, right)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	switch err := json.Unmarshal(text, &set); {
	case err != nil || len(text) > maxKeys:
		return bad("reading the keys of the issuer: the API server does not answer with a JWK set of at most %d bytes", maxKeys)
	case len(set.Keys) == 0:
		return bad("the issuer of the cluster has no keys")
	}
	return Issuer{document.Issuer, string(text)}, nil
}

// Token is a token of a service account.
type Token struct {
	Text      secret.String
	ExpiresAt time.Time
}

// Token gets a token of a service account for an audience, which lives ten minutes, the shortest time that an API server allows.
//
// Errors: *Problem.
func (c *Cluster) Token(ctx context.Context, namespace, account, audience string) (Token, error) {
	doing := "getting a token of the service account " + namespace + "/" + account
	body, err := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"spec": map[string]any{"audiences": []string{audience}, "expirationSeconds": 600}})
	if err != nil {
		return Token{}, fmt.Errorf("%s: %w", doing, err)
	}
	text, err := c.core.Post().Namespace(namespace).Resource("serviceaccounts").Name(account).SubResource("token").
		SetHeader("Content-Type", "application/json").SetHeader("Accept", "application/json").Body(body).Timeout(requestTimeout).DoRaw(ctx)
	if err != nil {
		return Token{}, c.problem(doing, err, "create serviceaccounts/token in the namespace "+namespace)
	}
	var answer struct {
		Status struct {
			Token               string    `json:"token"`
			ExpirationTimestamp time.Time `json:"expirationTimestamp"`
		} `json:"status"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Status.Token == "" {
		return Token{}, &Problem{errors.New(doing + ": the answer has no token"), "check that " + c.host + " is an API server of Kubernetes"}
	}
	return Token{secret.New(answer.Status.Token), answer.Status.ExpirationTimestamp}, nil
}

// Annotate sets an annotation of a service account. Errors: *Problem.
func (c *Cluster) Annotate(ctx context.Context, namespace, account, key, value string) error {
	doing := "annotating the service account " + namespace + "/" + account
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	err = c.core.Patch(types.MergePatchType).Namespace(namespace).Resource("serviceaccounts").Name(account).Body(body).
		Timeout(requestTimeout).Do(ctx).Error()
	return c.problem(doing, err, "patch service accounts in the namespace "+namespace)
}

// EnsureAccount makes a namespace and a service account in it, which may exist. Errors: *Problem.
func (c *Cluster) EnsureAccount(ctx context.Context, namespace, account string) error {
	for _, o := range []struct{ kind, label, path string }{
		{"Namespace", namespace, "/api/v1/namespaces"},
		{"ServiceAccount", account, "/api/v1/namespaces/" + namespace + "/serviceaccounts"},
	} {
		meta := map[string]any{"name": o.label}
		if o.kind == "ServiceAccount" {
			meta["namespace"] = namespace
		}
		body, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": o.kind, "metadata": meta})
		if err != nil {
			return fmt.Errorf("writing a %s: %w", o.kind, err)
		}
		err = c.core.Post().AbsPath(o.path).SetHeader("Content-Type", "application/json").Body(body).Timeout(requestTimeout).Do(ctx).Error()
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return c.problem("making the "+o.kind+" "+o.label, err, "create namespaces and service accounts")
		}
	}
	return nil
}

// AllowAudience lets the kubelets of the cluster ask for tokens of service accounts for an audience, which the admission plugin
// NodeRestriction otherwise denies unless the pod itself has such a token. It applies
// a ClusterRole and its binding to the group system:nodes, which may exist.
// Source: Kubernetes documentation, Using Node Authorization, service account tokens with audiences.
//
// Errors: *Problem.
func (c *Cluster) AllowAudience(ctx context.Context, label, audience string) error {
	const group = "rbac.authorization.k8s.io"
	for _, o := range []struct {
		path   string
		object map[string]any
	}{
		{"clusterroles", map[string]any{"apiVersion": group + "/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": label},
			"rules": []any{map[string]any{"apiGroups": []string{""}, "resources": []string{audience},
				"verbs": []string{"request-serviceaccounts-token-audience"}}}}},
		{"clusterrolebindings", map[string]any{"apiVersion": group + "/v1", "kind": "ClusterRoleBinding",
			"metadata": map[string]any{"name": label}, "roleRef": map[string]any{"apiGroup": group, "kind": "ClusterRole", "name": label},
			"subjects": []any{map[string]any{"apiGroup": group, "kind": "Group", "name": "system:nodes"}}}},
	} {
		body, err := json.Marshal(o.object)
		if err != nil {
			return fmt.Errorf("writing a %s: %w", o.path, err)
		}
		err = c.core.Patch(types.ApplyYAMLPatchType).AbsPath("/apis/"+group+"/v1", o.path, label).Param("fieldManager", "ecrin").
			Param("force", "true").Body(body).Timeout(requestTimeout).Do(ctx).Error()
		if err != nil {
			return c.problem("allowing the nodes to ask for tokens for "+audience, err, "patch and create "+o.path+
				", and the verb request-serviceaccounts-token-audience on "+audience)
		}
	}
	return nil
}
