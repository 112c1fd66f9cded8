package upstream

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Step is one call of a test of an endpoint.
type Step struct {
	Name    string // one of the constants
	Err     error  // an [Error]; nil for success
	Code    string // of the other side's answer; "" if it had none
	Message string // of the other side's answer, printable ASCII: for the owner of the credentials only
	Found   string // after a success: the ARN of the caller, or the digest of the manifest
	Took    time.Duration
}

// The names of steps.
const (
	StepCaller   = "GetCallerIdentity"
	StepRole     = "AssumeRole"
	StepWeb      = "AssumeRoleWithWebIdentity"
	StepToken    = "GetAuthorizationToken"
	StepRegistry = "GET /v2/"
	StepManifest = "GET manifest"
)

const maxMessage = 400 // bytes of Step.Message

// Test makes the calls that a pull makes, one after the other, up to the first one that fails: of ECR the identity of the caller, the role
// and the token; then /v2/, and with repo and ref a manifest. A refusal is not repeated; no token that was got before is used.
//
// Errors: an [Error] with the reason Invalid, for the endpoint. Failures of the calls are in the steps.
func (c *Client) Test(ctx context.Context, e Endpoint, repo, ref string) ([]Step, error) {
	r, err := c.Registry(e)
	if err != nil {
		return nil, err
	}
	p := &probe{host: r.host, r: r}
	if t, ok := r.auth.(*ecrTokens); ok {
		if !p.aws(ctx, t, e.AWS) {
			return p.steps, nil
		}
	}
	if !p.step(StepRegistry, func() (string, error) { return "", p.ping(ctx) }) || repo == "" {
		return p.steps, nil
	}
	p.step(StepManifest, func() (string, error) {
		req, want, err := r.manifestRequest(ctx, repo, ref, nil)
		if err != nil {
			return "", err
		}
		resp, err := r.send(req)
		if err != nil {
			return "", err
		}
		m, err := r.readManifest(resp, want)
		_ = resp.Body.Close() // its content was read
		return m.Digest.String(), err
	})
	return p.steps, nil
}

// TestRoles asks STS who the owner of credentials is, assumes the roles one after the other, and asks who that is, up to the first call
// that fails. It makes no call to a registry.
//
// Errors: an [Error] with the reason Invalid, for the region. Failures of the calls are in the steps.
func (c *Client) TestRoles(ctx context.Context, a *AWS) ([]Step, error) {
	if a.Region == "" || a.Credentials == nil && a.WebIdentity == nil {
		return nil, invalid("a test of roles needs credentials and a region")
	}
	p := &probe{host: "sts"}
	calls := c.stsOptions(a, a.Region)
	calls.Retryer = aws.NopRetryer{}
	ctx, cancel := context.WithTimeoutCause(ctx, awsDeadline, errStalled)
	defer cancel()
	failed := (&ecrTokens{c: c, host: "sts"}).kept
	if p.assume(ctx, &calls, a, failed) && len(a.Roles) > 0 {
		p.step(StepCaller, func() (string, error) { return caller(ctx, calls, failed) })
	}
	return p.steps, nil
}

// probe makes the calls of a test.
type probe struct {
	host  string
	r     *Registry // nil if only STS is called
	steps []Step
}

// step makes one call, and reports whether it succeeded.
func (p *probe) step(called string, do func() (found string, err error)) bool {
	began := time.Now()
	found, err := do()
	one := Step{Name: called, Found: found, Err: err, Took: time.Since(began)}
	if f, ok := errors.AsType[*failure](err); ok {
		one.Code, one.Message, one.Err = f.Code, f.said, f.base
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if awsCode.MatchString(api.ErrorCode()) {
			one.Code = api.ErrorCode()
		}
		one.Message, one.Err = printable(api.ErrorMessage()), refusedCall(p.host, called, api, err)
	}
	p.steps = append(p.steps, one)
	return err == nil
}

// kept returns the error of a call of the ECR or STS API, with what the other side said.
func (t *ecrTokens) kept(err error) error {
	if _, ok := errors.AsType[smithy.APIError](err); ok {
		return err
	}
	return t.failed(err)
}

// caller returns the ARN of the owner of credentials.
func caller(ctx context.Context, calls sts.Options, failed func(error) error) (string, error) {
	out, err := sts.New(calls).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", failed(err)
	}
	return printable(aws.ToString(out.Arn)), nil
}

// assume asks who the caller is and assumes the roles, whose credentials it puts into calls.
func (p *probe) assume(ctx context.Context, calls *sts.Options, a *AWS, failed func(error) error) bool {
	if a.WebIdentity != nil && !p.step(StepWeb, func() (string, error) {
		got, err := a.webIdentity(*calls).Retrieve(ctx)
		if err != nil {
			return "", failed(err)
		}
		calls.Credentials = credentials.StaticCredentialsProvider{Value: got}
		return "", nil
	}) {
		return false
	}
	var found string
	if !p.step(StepCaller, func() (_ string, err error) {
		found, err = caller(ctx, *calls, failed)
		return found, err
	}) {
		return false
	}
	for _, role := range a.Roles {
		assume := func() (string, error) {
			arn := ownRole(found, role.ARN)
			in := &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: aws.String(a.sessionName())}
			setAWS(&in.ExternalId, role.ExternalID)
			out, err := sts.New(*calls).AssumeRole(ctx, in)
			if err != nil {
				return "", failed(err)
			}
			if out.Credentials == nil || out.AssumedRoleUser == nil {
				return "", &Error{Reason: Lied, Host: p.host, Public: "AssumeRole gives no credentials"}
			}
			calls.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(out.Credentials.AccessKeyId),
				aws.ToString(out.Credentials.SecretAccessKey), aws.ToString(out.Credentials.SessionToken))
			found = printable(aws.ToString(out.AssumedRoleUser.Arn))
			return found, nil
		}
		if !p.step(StepRole, assume) {
			return false
		}
	}
	return true
}

// aws makes the calls to the APIs of AWS.
func (p *probe) aws(ctx context.Context, t *ecrTokens, a *AWS) bool {
	ctx, cancel := context.WithTimeoutCause(ctx, awsDeadline, errStalled)
	defer cancel()
	calls := t.calls
	calls.Retryer = aws.NopRetryer{}
	if !p.assume(ctx, &calls, a, t.kept) {
		return false
	}
	return p.step(StepToken, func() (string, error) {
		_, err := t.api.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{}, func(o *ecr.Options) {
			o.Credentials, o.Retryer = calls.Credentials, aws.NopRetryer{}
		})
		if err != nil {
			return "", t.kept(err)
		}
		return "", nil
	})
}

// ping asks for /v2/ as Ping does, and keeps what the other side said.
func (p *probe) ping(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.r.http+"://"+p.r.host+"/v2/", nil)
	if err != nil {
		return invalid("the host is not valid")
	}
	resp, err := p.r.send(req.WithContext(auth.WithScopes(ctx)))
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // its content has no meaning
	if isHTML(resp) {
		return p.r.page()
	}
	if resp.StatusCode != http.StatusOK {
		return p.r.fail(Lied, "the host does not answer as a registry")
	}
	return nil
}

// printable returns the printable ASCII characters of a text of the other side, shortened.
func printable(text string) string {
	text = name.Printable(text)
	return text[:min(len(text), maxMessage)]
}
