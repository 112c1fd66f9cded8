package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/net/upstream"
	"github.com/ecrin-dev/ecrin/internal/rule/report"
	"github.com/ecrin-dev/ecrin/internal/rule/rewrite"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Step is one call of a test.
type Step struct {
	Name    string
	Passed  bool
	Found   string // after a success: who the caller is, or the digest of the manifest
	Code    string // of the other side
	Status  int    // of the other side's answer to the call that failed; 0 if there was none, and after a success
	Message string // of the other side; without one, what happened
	Cure    string // what to do about a failure
	Took    time.Duration
}

// maxTests limits the tests of an account that run at once.
const maxTests = 4

// Test makes the calls that a pull by the integration makes, up to the first one that fails, and stores how they ended. image is
// REPOSITORY:TAG or REPOSITORY@DIGEST of the other registry, perhaps with its host, "" for none. For a registry of ECR it says too which
// managed policies the principal meets, nil if that is not known.
//
// Errors: fault.Throttled (too many tests run), fault.InvalidParameter (image), fault.IntegrationFailed (it cannot be unsealed).
func (s *Service) Test(ctx context.Context, i meta.Integration, image string) ([]Step, *Policies, error) {
	settings, err := SettingsOf(i)
	if err != nil {
		return nil, nil, err
	}
	repo, ref, err := splitImage(image, settings.Host)
	if err != nil {
		return nil, nil, err
	}
	if !s.enter(i.Account) {
		return nil, nil, fault.Throttled.New("%d tests of integrations of the account run: repeat when one has ended", maxTests)
	}
	defer s.leave(i.Account)
	if isSite(i.Kind) {
		steps, err := s.testSite(ctx, i)
		return steps, nil, err
	}
	cloud, err := s.cloudOf(ctx, i, settings)
	if err != nil {
		return nil, nil, err
	}
	e, err := s.open(i, cloud)
	if err != nil {
		return nil, nil, err
	}
	path := repo
	if repo != "" {
		path = prefixOf(i.Kind, settings) + repo
	}
	made, err := s.once.Test(ctx, e, path, ref)
	if err != nil {
		return nil, nil, fault.IntegrationFailed.New("the settings of the integration %s are not valid: %s", i.Name, publicOf(err)).Because(err)
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	all, problem := stepsOf(made, settings)
	before := all[len(all)-1].Cure
	p := s.withPolicies(ctx, e, settings.RegistryID, repo, all)
	if now := all[len(all)-1].Cure; now != before {
		problem = strings.Replace(problem, before, now, 1)
	}
	return all, p, s.meta.IntegrationTested(ctx, i, problem, true)
}

// Probe makes the calls of Test that show whether the credentials of an integration are good for anything, stores how they ended, and
// returns the last of them.
//
// Errors: fault.IntegrationFailed (it cannot be unsealed), fault.ObjectNotFound (of the cloud integration).
func (s *Service) Probe(ctx context.Context, i meta.Integration) (last Step, err error) {
	var steps []Step
	if isSite(i.Kind) {
		steps, err = s.testSite(ctx, i)
	} else {
		steps, err = s.probe(ctx, i)
	}
	if err != nil {
		return last, err
	}
	return steps[len(steps)-1], nil
}

func (s *Service) probe(ctx context.Context, i meta.Integration) ([]Step, error) {
	settings, err := SettingsOf(i)
	if err != nil {
		return nil, err
	}
	cloud, err := s.cloudOf(ctx, i, settings)
	if err != nil {
		return nil, err
	}
	e, err := s.open(i, cloud)
	if err != nil {
		return nil, err
	}
	made, err := s.once.Test(ctx, e, "", "")
	if err != nil {
		return nil, fault.IntegrationFailed.New("the settings of the integration %s are not valid: %s", i.Name, publicOf(err)).Because(err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	steps, problem := stepsOf(made, settings)
	return steps, s.meta.IntegrationTested(ctx, i, problem, true)
}

// stepsOf returns the steps of a test with what to do about the last one, and the problem in a line; "" after a success.
func stepsOf(made []upstream.Step, settings Settings) (all []Step, problem string) {
	for _, one := range made {
		step := Step{Name: one.Name, Passed: one.Err == nil, Found: one.Found, Code: one.Code, Message: one.Message, Took: one.Took}
		if !step.Passed {
			if e, ok := errors.AsType[*upstream.Error](one.Err); ok {
				step.Status = e.Status
			}
			step.Cure = cure(one.Name, one.Code, one.Err, settings)
			if step.Message == "" {
				step.Message = publicOf(one.Err)
			}
			problem = one.Name + ": " + publicOf(one.Err) + "; " + step.Cure
		}
		all = append(all, step)
	}
	return all, problem
}

func (s *Service) enter(a name.Account) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tests[a] >= maxTests {
		return false
	}
	s.tests[a]++
	return true
}

func (s *Service) leave(a name.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tests[a]--; s.tests[a] == 0 {
		delete(s.tests, a)
	}
}

// splitImage returns repository and reference of REPOSITORY:TAG, REPOSITORY@DIGEST or REPOSITORY:TAG@DIGEST, of which the digest decides.
// The host of the registry may precede the repository. Errors: fault.InvalidParameter.
func splitImage(image, host string) (repo, ref string, err error) {
	if image == "" {
		return "", "", nil
	}
	bad := Bad("image", "must be REPOSITORY:TAG or REPOSITORY@DIGEST")
	repo, ref, hasDigest := strings.Cut(image, "@")
	if at := strings.LastIndexByte(repo, ':'); at > strings.LastIndexByte(repo, '/') {
		tag := repo[at+1:]
		repo = repo[:at]
		if _, err := name.ParseTag(tag); err != nil {
			return "", "", bad
		}
		if !hasDigest {
			ref = tag
		}
	}
	_, tagErr := name.ParseTag(ref)
	_, digestErr := name.ParseDigest(ref)
	if repo == "" || hasDigest && digestErr != nil || tagErr != nil && digestErr != nil || len(repo) > 256 {
		return "", "", bad
	}
	first, rest, _ := strings.Cut(repo, "/")
	_, _, ofECR := report.ECRHost(first)
	switch {
	case rest == "":
	case strings.EqualFold(first, host), rewrite.IsHub(host) && first == report.DockerHub:
		repo = rest
	case ofECR, first == "localhost", strings.Contains(first, ":"): // other names with dots may be those of repositories
		return "", "", Bad("image", "must be one of the registry of the integration, "+name.Clip(host)+", got one of "+name.Clip(first))
	}
	return repo, ref, nil
}

// publicOf returns the public text of an error of package upstream.
func publicOf(err error) string {
	if e, ok := errors.AsType[*upstream.Error](err); ok {
		return e.Public
	}
	return fault.From(err).Public
}

// cures are what to do about the error codes of AWS.
var cures = map[string]string{
	"InvalidClientTokenId":        "the access key id is not known there: check it, and that the key is active",
	"UnrecognizedClientException": "the access key id is not known there: check it, that the key is active, and that the account has enabled the region",
	"OptInRequired":               "the account has not enabled the region: enable it, or choose another one",
	"RegionDisabledException":     "the account has not activated STS in the region: activate it in the settings of the account, or choose another region",
	"SignatureDoesNotMatch":       "the secret access key is wrong, or the clock of this machine is",
	"InvalidSignatureException":   "the secret access key is wrong, or the clock of this machine is",
	"ExpiredToken":                "the session has ended: set a key that does not end, or a new session token",
	"ExpiredTokenException":       "the session has ended: set a key that does not end, or a new session token",
	"RequestExpired":              "the clock of this machine is wrong",
	"Throttling":                  "the other side limits the rate of requests: it is tried again later",
	"ThrottlingException":         "the other side limits the rate of requests: it is tried again later",
}

// cure returns what to do about the failure of a step of a test.
func cure(step, code string, err error, s Settings) string {
	if text := cures[code]; text != "" {
		return text
	}
	denied := strings.HasPrefix(code, "AccessDenied") || errors.Is(err, upstream.Denied)
	switch {
	case step == upstream.StepRole && denied && s.ExternalID == "":
		return "let the trust policy of " + s.RoleARN + " allow sts:AssumeRole to the caller of the step before, and the policies of the caller too; if the trust policy has a condition on sts:ExternalId, set the external id"
	case step == upstream.StepRole && denied:
		return "let the trust policy of " + s.RoleARN + " allow sts:AssumeRole to the caller of the step before with the external id of the integration, and the policies of the caller too"
	case step == upstream.StepWeb && code == "" && errors.Is(err, upstream.Unauthorized):
		return "let the operator check the file of the setting web_identities"
	case step == upstream.StepWeb && (denied || errors.Is(err, upstream.Unauthorized)):
		return "let the trust policy of " + s.RoleARN +
			" allow sts:AssumeRoleWithWebIdentity to the issuer, the audience and the subject of the server's token"
	case step == upstream.StepToken && denied:
		return "give the caller ecr:GetAuthorizationToken on the resource *: it cannot be limited to a repository"
	case step == upstream.StepManifest && errors.Is(err, upstream.NotFound):
		return "check the name of the repository and the tag, and the registry id and region of the integration"
	case step == upstream.StepManifest && denied:
		return "give the caller ecr:BatchGetImage on the repository, by its policies or by that of the repository"
	case errors.Is(err, upstream.Unauthorized): // the cure of other calls is this test
		return "the credentials are not accepted: set them again by ecrin integration update"
	}
	return cureOf(err)
}

// loopCure is what to do about a request that has come back to its sender.
const loopCure = "name a host of another installation; if it is one of AWS, the hosts file of the server points it here: let the operator set egress_dns to a name server"

// isLoop reports whether a request has come back to this installation.
func isLoop(err error) bool {
	e, ok := errors.AsType[*upstream.Error](err)
	refused, ok2 := errors.AsType[*egress.RefusedError](err)
	return ok && e.Loop || ok2 && refused.Loop
}

// cureOf returns what to do about an error of package upstream.
func cureOf(err error) string {
	switch {
	case errors.Is(err, upstream.Unauthorized):
		return "check the credentials by ecrin integration test, and set them again by ecrin integration update"
	case errors.Is(err, upstream.Denied):
		return "give the credentials of the integration the permissions for this at the other side, and ecr:CreateRepository or the repository if that is missing"
	case errors.Is(err, upstream.RateLimited):
		return "the other side limits the rate of requests: it is tried again later"
	case errors.Is(err, upstream.Unavailable):
		if strings.Contains(publicOf(err), "certificate") {
			return "let the operator trust the authority of the certificate by the setting egress_ca"
		}
		return "check that the other side runs and is reached from here: it is tried again later"
	case isLoop(err):
		return loopCure
	case errors.Is(err, upstream.Refused):
		return "check the name of the host; if its addresses are private, let the operator list them in the setting egress_allow"
	case errors.Is(err, upstream.NotFound):
		return "make the repository at the other side, or allow the credentials to create it"
	case errors.Is(err, upstream.Full):
		return "make room at the other side: raise its quota, or delete images there; it is tried again later"
	case errors.Is(err, upstream.Rejected):
		return "the other side does not accept the image: its limits, or the settings of its repository, refuse it"
	}
	return "check that the address is that of a registry: ecrin integration test shows each step"
}

// codes are the failure codes of DescribeImageReplicationStatus for failures of destinations outside of the installation. AWS documents no
// values.
var codes = []struct {
	reason upstream.Reason
	code   string
}{
	{upstream.Unauthorized, "CredentialsNotAccepted"}, {upstream.Denied, "AccessDenied"}, {upstream.RateLimited, "RateExceeded"},
	{upstream.Unavailable, "DestinationUnavailable"}, {upstream.Refused, "DestinationNotAllowed"}, {upstream.NotFound, "RepositoryNotFound"},
	{upstream.Full, "DestinationFull"},
	{upstream.Rejected, "DestinationRejected"}, {upstream.Lied, "DestinationInvalid"}, {upstream.Invalid, "DestinationInvalid"},
}

// Failed returns the failure code of an error of a transfer, and the error with what to do about it. Errors of this side are returned as
// they are, with the code "".
func Failed(i meta.Integration, err error) (code string, _ error) {
	e, ok := errors.AsType[*upstream.Error](err)
	if !ok {
		return "", err
	}
	for _, c := range codes {
		if c.reason == e.Reason {
			code = c.code
		}
	}
	text := fmt.Sprintf("%s by the integration %s: %s; %s", code, i.Name, e.Public, cureOf(err))
	return code, fault.IntegrationFailed.New("%s", text).Because(err)
}

// Token returns an authorization token of the registry of an integration of the kind ECR or ECRIN. The passwords of other registries have
// no end, and are shown to nobody.
//
// Errors: fault.InvalidParameter (another kind), fault.IntegrationFailed.
func (s *Service) Token(ctx context.Context, i meta.Integration) (upstream.Token, error) {
	if i.Kind != ECR && i.Kind != Ecrin {
		return upstream.Token{}, fault.InvalidParameter.New("the integration %s is of the kind %s: only those of the kinds ECR and ECRIN have "+
			"temporary tokens, and a password is shown to nobody", i.Name, i.Kind)
	}
	r, err := s.Remote(ctx, i)
	if err != nil {
		return upstream.Token{}, err
	}
	t, err := r.Token(ctx)
	if err != nil {
		_, err = Failed(i, err)
	}
	return t, err
}
