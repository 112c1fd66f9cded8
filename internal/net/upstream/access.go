package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
)

// How an Access was found.
const (
	BySimulation = "SimulatePrincipalPolicy" // of IAM: what the policies of the principal say
	ByCalls      = "calls"                   // that change nothing
)

// Access is which actions of ECR a principal may.
type Access struct {
	By      string   // one of the constants
	Allowed []string // such as ecr:BatchGetImage
	Denied  []string
	Untried []string // that no harmless call shows
	Scoped  bool     // the token is denied on * and allowed on repositories, where it has no effect
}

// Access asks which of the actions the principal of a registry of ECR may: by the simulation of IAM, where that is allowed and knows the
// principal, else by calls that change nothing. account is that of the registry, repo a repository that exists there; "" for none: what is
// limited to repositories is denied then.
//
// Errors: an [Error].
func (c *Client) Access(ctx context.Context, e Endpoint, account, repo string, actions []string) (a Access, err error) {
	r, err := c.Registry(e)
	if err != nil {
		return a, err
	}
	t, ok := r.auth.(*ecrTokens)
	if !ok {
		return a, invalid("only a registry of ECR has actions")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, awsDeadline, errStalled)
	defer cancel()
	calls := t.calls
	calls.Credentials = t.api.Options().Credentials
	who, err := caller(ctx, calls, t.failed)
	if err != nil {
		return a, err
	}
	if a, ok := t.simulate(ctx, e, who, account, repo, actions); ok {
		return a, nil
	}
	return t.try(ctx, account, repo, actions)
}

// sorted puts an action where it belongs.
func (a *Access) sorted(action string, allowed bool) {
	if allowed {
		a.Allowed = append(a.Allowed, action)
	} else {
		a.Denied = append(a.Denied, action)
	}
}

const tokenAction = "ecr:GetAuthorizationToken"

// simulate asks IAM. It returns false if IAM cannot be asked.
func (t *ecrTokens) simulate(ctx context.Context, e Endpoint, who, account, repo string, actions []string) (a Access, ok bool) {
	principal := entityOf(who, e.AWS)
	if principal == "" {
		return a, false
	}
	if repo == "" {
		repo = "*"
	}
	region, parts := t.api.Options().Region, strings.SplitN(who, ":", 6)
	on := "arn:" + parts[1] + ":ecr:" + region + ":" + account + ":repository/" + repo
	rest := slices.DeleteFunc(slices.Clone(actions), func(s string) bool { return s == tokenAction })
	a.By = BySimulation
	for _, ask := range []struct {
		on      string
		actions []string
		token   bool
	}{{on, rest, false}, {"*", []string{tokenAction}, true}, {on, []string{tokenAction}, true}} {
		got, err := t.ask1(ctx, e.AWS, parts[1], principal, ask.on, ask.actions)
		if err != nil || len(got) != len(ask.actions) {
			return Access{}, false
		}
		for _, action := range ask.actions {
			if ask.token && ask.on != "*" {
				a.Scoped = got[action] && slices.Contains(a.Denied, tokenAction)
				continue
			}
			a.sorted(action, got[action])
		}
	}
	return a, true
}

// entityOf returns the ARN of the user or role of a caller; "" for a root user, of which IAM simulates nothing. The ARN of a session has no
// path of its role: it is that of the role that was assumed last.
func entityOf(who string, by *AWS) string {
	parts := strings.SplitN(who, ":", 6)
	if len(parts) != 6 {
		return ""
	}
	if rest, ok := strings.CutPrefix(parts[5], "assumed-role/"); ok {
		role, _, _ := strings.Cut(rest, "/")
		assumed := ""
		if by.WebIdentity != nil {
			assumed = by.WebIdentity.ARN
		}
		if n := len(by.Roles); n > 0 {
			assumed = by.Roles[n-1].ARN
		}
		if _, after, ok := strings.Cut(assumed, ":role/"); ok {
			assumed = after
		}
		if assumed = strings.Trim(assumed, "/"); strings.HasSuffix(assumed, "/"+role) {
			role = assumed
		}
		return "arn:" + parts[1] + ":iam::" + parts[4] + ":role/" + role
	}
	if strings.HasPrefix(parts[5], "user/") {
		return who
	}
	return ""
}

// ask1 makes one call of SimulatePrincipalPolicy, and returns which actions it allows. Source: IAM API reference.
func (t *ecrTokens) ask1(ctx context.Context, with *AWS, partition, principal, on string, actions []string) (map[string]bool, error) {
	address, region := "https://iam.amazonaws.com", "us-east-1"
	switch {
	case with.API != "" && !strings.Contains(with.API, ".amazonaws.com"): // of another ecrin, which has all APIs at one address
		address, region = with.API, t.api.Options().Region
	case partition == "aws-cn":
		address, region = "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"
	}
	form := url.Values{"Action": {"SimulatePrincipalPolicy"}, "Version": {"2010-05-08"}, "PolicySourceArn": {principal},
		"ResourceArns.member.1": {on}}
	for i, one := range actions {
		form.Set("ActionNames.member."+strconv.Itoa(i+1), one)
	}
	body := []byte(form.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/", bytes.NewReader(body))
	if err != nil {
		return nil, invalid("the address of IAM is not valid")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	credentials, err := t.api.Options().Credentials.Retrieve(ctx)
	if err != nil {
		return nil, t.failed(err)
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, credentials, r, hex.EncodeToString(sum[:]), "iam", region, t.c.now()); err != nil {
		return nil, invalid("the request to IAM cannot be signed")
	}
	resp, err := t.calls.HTTPClient.Do(r)
	if err != nil {
		return nil, network(ctx, t.host, err)
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, &Error{Reason: Denied, Host: t.host, Public: "IAM does not simulate", Status: resp.StatusCode}
	}
	var out struct {
		Result struct {
			Evaluations []struct {
				Action   string `xml:"EvalActionName"`
				Decision string `xml:"EvalDecision"`
			} `xml:"EvaluationResults>member"`
		} `xml:"SimulatePrincipalPolicyResult"`
	}
	if err := xml.Unmarshal(text, &out); err != nil {
		return nil, &Error{Reason: Lied, Host: t.host, Public: "the answer is not one of IAM"}
	}
	got := map[string]bool{}
	for _, one := range out.Result.Evaluations {
		got[one.Action] = one.Decision == "allowed"
	}
	return got, nil
}

// try makes a call for each action that has one without effects. Those that read name the repository, or one that does not exist; those
// that write always name one that does not exist. AWS decides whether a call is allowed before it looks for what the call names.
func (t *ecrTokens) try(ctx context.Context, account, repo string, actions []string) (a Access, err error) {
	a.By = ByCalls
	none := "ecrin-test-" + strings.ToLower(rand.Text())
	if repo == "" {
		repo = none
	}
	for _, action := range actions {
		call := harmless[action]
		if call == nil {
			a.Untried = append(a.Untried, action)
			continue
		}
		err := call(ctx, t.api, named{&account, &repo, &none})
		api, refused := errors.AsType[smithy.APIError](err)
		switch denied := refused && strings.HasPrefix(api.ErrorCode(), "AccessDenied"); {
		case denied:
			a.sorted(action, false)
		case err == nil, refused && api.ErrorFault() == smithy.FaultClient && t.reason(err).Reason == Unauthorized:
			a.sorted(action, true) // what it names does not exist
		default:
			return a, t.failed(err)
		}
	}
	// With a repository that may be read, a denied token is one that is limited to repositories, or missing.
	a.Scoped = slices.Contains(a.Denied, tokenAction) && slices.Contains(a.Allowed, "ecr:BatchGetImage")
	return a, nil
}

// probe of a digest that no image has.
const noDigest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// named is what harmless calls name: a registry, a repository that may exist, and one that does not.
type named struct{ account, repo, none *string }

// harmless are the calls that change nothing, by their action.
var harmless = map[string]func(ctx context.Context, c *ecr.Client, n named) error{
	tokenAction: func(ctx context.Context, c *ecr.Client, _ named) error {
		_, err := c.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
		return err
	},
	"ecr:BatchCheckLayerAvailability": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.BatchCheckLayerAvailability(ctx, &ecr.BatchCheckLayerAvailabilityInput{RegistryId: n.account,
			RepositoryName: n.repo, LayerDigests: []string{noDigest}})
		return err
	},
	"ecr:BatchGetImage": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.BatchGetImage(ctx, &ecr.BatchGetImageInput{RegistryId: n.account, RepositoryName: n.repo,
			ImageIds: []types.ImageIdentifier{{ImageDigest: aws.String(noDigest)}}})
		return err
	},
	"ecr:GetDownloadUrlForLayer": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.GetDownloadUrlForLayer(ctx, &ecr.GetDownloadUrlForLayerInput{RegistryId: n.account, RepositoryName: n.repo,
			LayerDigest: aws.String(noDigest)})
		return err
	},
	"ecr:DescribeImages": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.DescribeImages(ctx, &ecr.DescribeImagesInput{RegistryId: n.account, RepositoryName: n.repo, MaxResults: aws.Int32(1)})
		return err
	},
	"ecr:DescribeRepositories": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.DescribeRepositories(ctx, &ecr.DescribeRepositoriesInput{RegistryId: n.account, RepositoryNames: []string{*n.repo}})
		return err
	},
	"ecr:ListImages": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.ListImages(ctx, &ecr.ListImagesInput{RegistryId: n.account, RepositoryName: n.repo, MaxResults: aws.Int32(1)})
		return err
	},
	"ecr:GetRepositoryPolicy": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RegistryId: n.account, RepositoryName: n.repo})
		return err
	},
	"ecr:GetLifecyclePolicy": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RegistryId: n.account, RepositoryName: n.repo})
		return err
	},
	"ecr:UploadLayerPart": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{RegistryId: n.account, RepositoryName: n.none,
			UploadId:      aws.String("00000000-0000-0000-0000-000000000000"),
			PartFirstByte: aws.Int64(0), PartLastByte: aws.Int64(0), LayerPartBlob: []byte{0}})
		return err
	},
	"ecr:DeleteRepository": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RegistryId: n.account, RepositoryName: n.none})
		return err
	},
	"ecr:SetRepositoryPolicy": func(ctx context.Context, c *ecr.Client, n named) error {
		_, err := c.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{RegistryId: n.account, RepositoryName: n.none, PolicyText: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage"}]}`)})
		return err
	},
}
