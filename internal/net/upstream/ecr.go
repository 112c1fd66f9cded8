package upstream

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"golang.org/x/sync/singleflight"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/lazyregexp"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// AWS is how a registry of the kind ECR gives its token.
type AWS struct {
	// Credentials returns a key or the credentials of a session; required without WebIdentity. It is a function, which formatters do not
	// print.
	Credentials func(context.Context) (aws.Credentials, error)

	WebIdentity *WebIdentity // in place of Credentials
	Roles       []Role       // assumed one after the other: the first with the credentials, each further one with those of the one before
	SessionName string       // for the roles; "" means ecrin
	Region      string       // "" means that of the host
	API         string       // URL of the ECR API; "" means that of AWS for the region, which requires a host of ECR
	STS         string       // URL of the STS API, for the roles; "" means that of AWS for the region
}

// WebIdentity is a role of IAM that is assumed with a token of an OpenID Connect provider.
type WebIdentity struct {
	ARN   string                 // of the role
	Token func() ([]byte, error) // returns the token, or an Error; called for each session, since tokens are replaced before they end
}

// Role is a role of IAM that is assumed.
type Role struct {
	ARN        string // or the name of a role, with its path, of the account of the caller who assumes it
	ExternalID string // "" means none
}

// RolesOf returns the list of a role; an empty one for "".
func RolesOf(arn, externalID string) []Role {
	if arn == "" {
		return nil
	}
	return []Role{{arn, externalID}}
}

const (
	awsTimeout  = 15 * time.Second // for a call of the ECR or STS API
	awsDeadline = time.Minute      // for all calls that a token needs
	tokenMargin = 15 * time.Minute // a token is renewed this long before its end, or after half of a shorter life
	minTokenAge = time.Minute      // a younger token is not renewed after a denial that does not say that it has expired
)

// ecrHost is the form of the hosts of ECR. Source: the credential helper of AWS, and that of Kubernetes.
var ecrHost = lazyregexp.New(`^(\d{12})\.dkr[.-]ecr(-fips)?\.([a-z0-9-]{1,40})\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|` +
	`on\.amazonwebservices\.com\.cn|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$`)

// awsCode matches the error codes of AWS, which may be shown.
var awsCode = lazyregexp.New(`^[A-Za-z]{3,64}$`)

// ecrTokens gets the tokens of ECR.
type ecrTokens struct {
	c     *Client
	host  string
	api   *ecr.Client
	calls sts.Options // with the credentials of AWS, before a role is assumed

	fetches  singleflight.Group
	mu       sync.Mutex
	password secret.String
	good     bool      // the registry has accepted it
	from     time.Time // when the token was got
	renewAt  time.Time
	until    time.Time // the end of the token
}

// Token is an authorization token of a registry of ECR, or of another ecrin.
type Token struct {
	Host      string // of the registry
	Username  string // AWS
	Password  secret.String
	ExpiresAt time.Time
}

// Token returns a token that is valid for 15 minutes or more, or for half of a shorter life. It may have been got for an earlier request.
//
// Errors: an [Error]; of the reason Invalid for a registry that has no such tokens.
func (r *Registry) Token(ctx context.Context) (Token, error) {
	t, ok := r.auth.(*ecrTokens)
	if !ok {
		return Token{}, invalid("the registry has no temporary tokens")
	}
	header, err := t.header(ctx, "")
	if err != nil {
		return Token{}, err
	}
	plain, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "Basic "))
	user, password, ok := strings.Cut(string(plain), ":")
	if err != nil || !ok {
		return Token{}, &Error{Reason: Lied, Host: t.host, Public: "GetAuthorizationToken gives no usable token"}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return Token{Host: r.host, Username: user, Password: secret.New(password), ExpiresAt: t.until}, nil
}

func newECRTokens(c *Client, host string, a *AWS) (*ecrTokens, error) {
	if a == nil || a.Credentials == nil && a.WebIdentity == nil {
		return nil, invalid("a registry of ECR needs credentials of AWS")
	}
	region, fips := a.Region, false
	if m := ecrHost.FindStringSubmatch(host); m != nil {
		fips = m[2] != ""
		if region == "" {
			region = m[3]
		}
	} else if a.API == "" { // the token is valid for every registry of the region, and must not get to another host
		return nil, invalid("the host is not that of a registry of ECR, and no API is set for it")
	}
	if region == "" {
		return nil, invalid("the region of the registry is not known")
	}
	t := &ecrTokens{c: c, host: host, calls: c.stsOptions(a, region)}
	provider := t.calls.Credentials
	if a.WebIdentity != nil {
		provider = aws.NewCredentialsCache(a.webIdentity(t.calls))
	}
	for _, role := range a.Roles {
		calls := t.calls
		calls.Credentials = provider
		provider = aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			arn, err := role.arn(ctx, calls)
			if err != nil {
				return aws.Credentials{}, err
			}
			return stscreds.NewAssumeRoleProvider(sts.New(calls), arn, func(r *stscreds.AssumeRoleOptions) {
				r.RoleSessionName = a.sessionName()
				setAWS(&r.ExternalID, role.ExternalID)
			}).Retrieve(ctx)
		}))
	}
	o := ecr.Options{Region: region, HTTPClient: t.calls.HTTPClient, Retryer: t.calls.Retryer, Credentials: aws.NewCredentialsCache(provider)}
	if fips {
		o.EndpointOptions.UseFIPSEndpoint = aws.FIPSEndpointStateEnabled
	}
	setAWS(&o.BaseEndpoint, a.API)
	t.api = ecr.New(o)
	return t, nil
}

// stsOptions returns the options of calls of STS with the credentials, before a role is assumed.
func (c *Client) stsOptions(a *AWS, region string) sts.Options {
	o := sts.Options{Region: region, HTTPClient: c.guard.Client(egress.ClientOptions{Timeout: awsTimeout}),
		Credentials: aws.AnonymousCredentials{},
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.MaxAttempts, o.MaxBackoff = c.limits.Attempts, c.limits.MaxPause
		})}
	if a.Credentials != nil {
		o.Credentials = aws.CredentialsProviderFunc(a.Credentials)
	}
	setAWS(&o.BaseEndpoint, a.STS)
	return o
}

// webIdentity returns the session of the role that is assumed with the token.
func (a *AWS) webIdentity(calls sts.Options) aws.CredentialsProvider {
	return stscreds.NewWebIdentityRoleProvider(sts.New(calls), a.WebIdentity.ARN, tokenFunc(a.WebIdentity.Token),
		func(o *stscreds.WebIdentityRoleOptions) { o.RoleSessionName = a.sessionName() })
}

// tokenFunc is a function that returns a token, as the SDK wants it.
type tokenFunc func() ([]byte, error)

// GetIdentityToken returns the token.
func (f tokenFunc) GetIdentityToken() ([]byte, error) { return f() }

// arn returns the ARN of the role, of which only the name may be known: it is then one of the account of the caller.
func (r Role) arn(ctx context.Context, calls sts.Options) (string, error) {
	if strings.HasPrefix(r.ARN, "arn:") {
		return r.ARN, nil
	}
	out, err := sts.New(calls).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", err
	}
	return ownRole(aws.ToString(out.Arn), r.ARN), nil
}

// ownRole returns the ARN of the role of a name, with or without its path, in the account and partition of a caller.
func ownRole(caller, label string) string {
	if strings.HasPrefix(label, "arn:") {
		return label
	}
	var parts [6]string
	copy(parts[:], strings.SplitN(caller, ":", 6))
	return "arn:" + parts[1] + ":iam::" + parts[4] + ":role/" + strings.TrimPrefix(label, "/")
}

func (a *AWS) sessionName() string {
	if a.SessionName != "" {
		return a.SessionName
	}
	return "ecrin"
}

func setAWS(field **string, value string) {
	if value != "" {
		*field = &value
	}
}

func (t *ecrTokens) header(ctx context.Context, _ string) (string, error) {
	t.mu.Lock()
	header, fresh := t.password.Reveal(), t.c.now().Before(t.renewAt)
	t.mu.Unlock()
	if header != "" && fresh {
		return header, nil
	}
	return t.fetch(ctx, header)
}

// renew gets a new token if the registry says that the used one has expired, or refuses as unauthenticated what it has accepted before. A
// denial of HEAD has no text, so that a token of some age is renewed then too.
func (t *ecrTokens) renew(ctx context.Context, _, used string, f *failure) (string, error) {
	t.mu.Lock()
	header, age, good := t.password.Reveal(), t.c.now().Sub(t.from), t.good
	t.mu.Unlock()
	switch {
	case header != used: // renewed meanwhile
		return header, nil
	case f.expired || good && f.Status == http.StatusUnauthorized || age >= minTokenAge || age < 0:
		return t.fetch(ctx, used)
	}
	return "", nil
}

// fetch gets another token than that of the header used, once for all concurrent requests.
func (t *ecrTokens) fetch(ctx context.Context, used string) (string, error) {
	shared := t.fetches.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeoutCause(t.c.life, awsDeadline, errStalled)
		defer cancel()
		t.mu.Lock()
		have, fresh := t.password, t.c.now().Before(t.renewAt)
		t.mu.Unlock()
		if fresh && have.Reveal() != used { // another fetch has ended since the caller looked
			return have, nil
		}
		return t.ask(ctx)
	})
	select {
	case got := <-shared:
		if got.Err != nil {
			return "", got.Err
		}
		return got.Val.(secret.String).Reveal(), nil
	case <-ctx.Done():
		return "", network(ctx, t.host, ctx.Err())
	}
}

func (t *ecrTokens) accepted(used string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.good = t.good || t.password.Reveal() == used
}

func (t *ecrTokens) ask(ctx context.Context) (secret.String, error) {
	now := t.c.now()
	out, err := t.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return secret.String{}, t.failed(err)
	}
	bad := &Error{Reason: Lied, Host: t.host, Public: "GetAuthorizationToken gives no usable token"}
	if len(out.AuthorizationData) != 1 {
		return secret.String{}, bad
	}
	data := out.AuthorizationData[0]
	text := aws.ToString(data.AuthorizationToken)
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !headerSafe(text) || !strings.HasPrefix(string(plain), "AWS:") {
		return secret.String{}, bad
	}
	life := max(0, min(aws.ToTime(data.ExpiresAt).Sub(now), 12*time.Hour))
	header := secret.New("Basic " + text)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.password, t.from, t.good = header, now, false
	t.renewAt, t.until = now.Add(life-min(tokenMargin, life/2)), now.Add(life)
	return header, nil
}

// failed returns the error of a call of the ECR or STS API, of which it keeps the code. The client of the API has made all attempts.
func (t *ecrTokens) failed(err error) error {
	e := t.reason(err)
	e.tried = true
	return e
}

func (t *ecrTokens) reason(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok { // of WebIdentity.Token
		e := *own
		return &e
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		e := &Error{Reason: Unavailable, Host: t.host, Public: "GetAuthorizationToken failed"}
		if u, ok := errors.AsType[*url.Error](err); ok { // other texts may quote the answer
			if e, ok = errors.AsType[*Error](network(context.Background(), t.host, u)); ok {
				e.Public = "the API for tokens: " + e.Public
			}
		}
		return e
	}
	return refusedCall(t.host, "GetAuthorizationToken", api, err)
}

// refusedCall returns the error of a call of an API of AWS that was refused.
func refusedCall(host, operation string, api smithy.APIError, err error) *Error {
	e := &Error{Reason: Unauthorized, Host: host, Public: operation + " was refused"}
	if code := api.ErrorCode(); awsCode.MatchString(code) {
		e.Public += " (" + code + ")"
	}
	switch code := api.ErrorCode(); {
	case strings.HasPrefix(code, "AccessDenied"):
		e.Reason = Denied
	case strings.HasPrefix(code, "Throttling"), code == "RequestLimitExceeded", code == "TooManyRequestsException":
		e.Reason = RateLimited
	case api.ErrorFault() == smithy.FaultServer, code == "ServerException", code == "ServiceUnavailable", code == "InternalFailure":
		e.Reason = Unavailable
	}
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		if e.Status = r.HTTPStatusCode(); e.Status >= http.StatusInternalServerError {
			e.Reason = Unavailable
		}
	}
	return e
}
