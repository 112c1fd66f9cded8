package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// ProviderName is the name of the program as a credential provider of the kubelet, which the configuration of the kubelet repeats.
const ProviderName = "ecrin-credential-provider"

// KubeletAPI is the only version of the protocol of credential providers that is spoken.
const KubeletAPI = "credentialprovider.kubelet.k8s.io/v1"

// The annotations of a service account that name the role that is assumed with its token. The first is that of the provider of AWS.
const (
	RoleAnnotation    = "eks.amazonaws.com/ecr-role-arn"
	OwnRoleAnnotation = "ecrin.dev/ecr-role-arn"
)

const (
	requestKind       = "CredentialProviderRequest"
	maxKubeletRequest = 1 << 20 // bytes
)

// KubeletRequest is what the kubelet sends to a provider.
// Source: k8s.io/kubelet/pkg/apis/credentialprovider/v1.
type KubeletRequest struct {
	APIVersion                string            `json:"apiVersion"`
	Kind                      string            `json:"kind"`
	Image                     string            `json:"image"`
	ServiceAccountToken       string            `json:"serviceAccountToken"`
	ServiceAccountAnnotations map[string]string `json:"serviceAccountAnnotations"`
}

// ParseKubeletRequest reads a request. Members that it does not know are those of later kubelets, and are skipped.
//
// Errors: it is not JSON, not of the version v1, of another kind, or has no image.
func ParseKubeletRequest(content []byte) (KubeletRequest, error) {
	var r KubeletRequest
	if err := json.Unmarshal(content, &r); err != nil {
		return r, errors.New("the request on standard input is not a CredentialProviderRequest in JSON")
	}
	switch {
	case r.APIVersion != KubeletAPI:
		return r, fmt.Errorf("group version %q is not supported, want %s: set it as apiVersion of the provider in the configuration of the kubelet",
			oneLine(r.APIVersion), KubeletAPI)
	case r.Kind != requestKind:
		return r, fmt.Errorf("the kind %q is not supported, want %s", oneLine(r.Kind), requestKind)
	case r.Image == "":
		return r, errors.New("the request has no image")
	}
	return r, nil
}

// isKubeletRequest reports whether a text is a request of any version.
func isKubeletRequest(text string) bool {
	var r struct{ APIVersion, Kind string }
	return strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &r) == nil &&
		(r.Kind == requestKind || strings.HasPrefix(r.APIVersion, "credentialprovider.kubelet.k8s.io/"))
}

// ImageHost returns the registry of an image, HOST or HOST:PORT as it is written there; "" if the image names none. Source: distribution
// reference, which takes the first part of a name for a host if it has a dot or a port, or is localhost.
func ImageHost(image string) string {
	host, _, ok := strings.Cut(image, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		return ""
	}
	return host
}

// kubeletResponse is what a provider answers.
type kubeletResponse struct {
	APIVersion    string                  `json:"apiVersion"`
	Kind          string                  `json:"kind"`
	CacheKeyType  string                  `json:"cacheKeyType"`
	CacheDuration string                  `json:"cacheDuration,omitempty"`
	Auth          map[string]kubeletLogin `json:"auth"`
}

type kubeletLogin struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

// Provider is a credential provider of the kubelet.
type Provider struct {
	Source Source                   // for requests without a token of a service account
	As     func(id Identity) Source // for those with one
	Role   string                   // ARN of the role for service accounts without an annotation; "" for none
	Now    func() time.Time         // nil means time.Now
}

// Run answers one request. A registry that the source is not for gets an answer without credentials.
//
// Errors: those of [ParseKubeletRequest] and of the source; a token of a service account that no role is named for.
func (p *Provider) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	content, err := io.ReadAll(io.LimitReader(in, maxKubeletRequest+1))
	if err != nil {
		return fmt.Errorf("reading the request: %w", err)
	}
	if len(content) > maxKubeletRequest {
		return fmt.Errorf("the request has more than %d bytes", maxKubeletRequest)
	}
	request, err := ParseKubeletRequest(content)
	if err != nil {
		return err
	}
	answer := kubeletResponse{APIVersion: KubeletAPI, Kind: "CredentialProviderResponse", CacheKeyType: "Registry"}
	key := ImageHost(request.Image)
	host, err := ParseHost(key)
	if key != "" && err == nil {
		err = p.login(ctx, &answer, key, host, &request)
	} else {
		err = ErrNone
	}
	if err != nil && !errors.Is(err, ErrNone) {
		return err
	}
	return json.NewEncoder(out).Encode(answer)
}

// login puts the credentials for a registry into an answer. Its key is the registry as the image names it, with its port: the kubelet
// compares both.
func (p *Provider) login(ctx context.Context, answer *kubeletResponse, key, host string, request *KubeletRequest) error {
	source := p.Source
	if request.ServiceAccountToken != "" {
		role, err := p.role(request.ServiceAccountAnnotations)
		if err != nil {
			return err
		}
		source = p.As(Identity{Token: secret.New(request.ServiceAccountToken), Role: role})
	}
	c, err := source.Credential(ctx, host)
	if err != nil {
		return err
	}
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	answer.Auth = map[string]kubeletLogin{key: {c.Username, c.Password.Reveal()}}
	if !c.ExpiresAt.IsZero() { // of what really remains: a token of the cache has lived for some time
		answer.CacheDuration = max(0, c.ExpiresAt.Sub(now())/2).Truncate(time.Second).String()
	}
	return nil
}

// role returns the role that is assumed with the token of a service account; "" for that of the rule of the registry.
func (p *Provider) role(annotations map[string]string) (string, error) {
	for _, key := range []string{RoleAnnotation, OwnRoleAnnotation} {
		role, ok := annotations[key]
		if !ok {
			continue
		}
		if !validRole(role) {
			return "", fmt.Errorf("the annotation %s of the service account is %q, want arn:aws:iam::ACCOUNT:role/NAME", key, oneLine(role))
		}
		return role, nil
	}
	return p.Role, nil
}
