package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// statements are used by both rows of this file: ten, most of them with conditions, of which two allow the
// request.
var statements = []string{
	`{"Effect":"Allow","Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"],"Resource":"arn:aws:ecr:*:*:repository/bench/*"}`,
	`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`,
	`{"Effect":"Allow","Action":["ecr:Describe*","ecr:List*"],"Resource":"*"}`,
	`{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/${aws:username}/*"}`,
	`{"Effect":"Deny","Action":"ecr:*","Resource":"*","Condition":{"NotIpAddress":{"aws:SourceIp":["127.0.0.0/8","::1/128"]}}}`,
	`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:RequestedRegion":"us-east-1"}}}`,
	`{"Effect":"Deny","Action":"ecr:Batch*","Resource":"arn:aws:ecr:*:*:repository/prod/*","Condition":{"DateGreaterThan":{"aws:CurrentTime":"2027-01-01T00:00:00Z"}}}`,
	`{"Effect":"Allow","Action":"ecr:PutImage","Resource":"*","Condition":{"NumericLessThan":{"aws:MultiFactorAuthAge":"3600"}}}`,
	`{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*","Condition":{"ForAnyValue:StringLike":{"aws:TagKeys":["secret*","x*"]}}}`,
	`{"Effect":"Allow","Action":"ecr:*Image","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/bench"}}}`,
}

func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// userName is the user of bench; each statement is a separate policy of this user.
const userName = "bench"

// makeUser creates a user with a policy for each statement, and returns an access key.
func makeUser(ctx context.Context, d *door, root account, name string, statements ...string) (key account, err error) {
	if _, err := d.iam(ctx, root, "CreateUser", "UserName", name); err != nil {
		return key, err
	}
	for i, s := range statements {
		if _, err := d.iam(ctx, root, "PutUserPolicy", "UserName", name, "PolicyName", fmt.Sprintf("p%d", i), "PolicyDocument",
			policyOf(s)); err != nil {
			return key, err
		}
	}
	text, err := d.iam(ctx, root, "CreateAccessKey", "UserName", name)
	if err != nil {
		return key, err
	}
	var made struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	if err := xml.Unmarshal(text, &made); err != nil || made.Secret == "" {
		return key, errors.New("CreateAccessKey returned something else") // the response may contain the secret
	}
	return account{ID: made.ID, Secret: made.Secret, Region: root.Region}, nil
}

// iam calls an operation of IAM.
func (d *door) iam(ctx context.Context, a account, operation string, members ...string) ([]byte, error) {
	form := url.Values{"Action": {operation}, "Version": {"2010-05-08"}}
	for i := 0; i < len(members); i += 2 {
		form.Set(members[i], members[i+1])
	}
	body := form.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.address+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := signAs(ctx, a, r, []byte(body), "iam", "us-east-1", time.Now()); err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", operation, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s: %s: %s", operation, resp.Status, text), err)
	}
	return text, nil
}

func signAs(ctx context.Context, a account, r *http.Request, body []byte, service, region string, now time.Time) error {
	sum := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: a.ID, SecretAccessKey: a.Secret}
	if err := v4.NewSigner().SignHTTP(ctx, key, r, hex.EncodeToString(sum[:]), service, region, now); err != nil {
		return fmt.Errorf("signing: %w", err)
	}
	return nil
}

// getAsUser is like get, with the user's token instead of root's.
func (b *bench) getAsUser(n int, path func(*door) requests) func(context.Context) (measure, error) {
	return func(ctx context.Context) (measure, error) {
		user := &door{process: b.ecrin.process}
		if err := user.login(ctx, b.userKey); err != nil {
			return measure{}, err
		}
		return b.load(user, n, http.StatusOK, path(user)())
	}
}

// repeat calls a function in this process, on one core, and measures the rate.
func (b *bench) repeat(what func() error) func(context.Context) (measure, error) {
	return func(context.Context) (measure, error) {
		const batch = 1000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, began := 0, time.Now()
		for time.Since(began) < b.length {
			for range batch {
				if err := what(); err != nil {
					return measure{}, err
				}
			}
			n += batch
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		allocated := float64((after.Mallocs - before.Mallocs) / uint64(n)) // other goroutines of this process allocate a little
		return measure{Value: float64(n) / took.Seconds(), CPU: us(took) / float64(n), Allocs: allocated}, nil
	}
}

// decision returns a function that evaluates the ten statements, without a repository policy.
func decision() func() error {
	d, err := policy.Parse(policyOf(statements...), policy.Identity)
	if err != nil {
		return func() error { return err }
	}
	account := name.MustAccount("000000000000")
	arn := "arn:aws:iam::000000000000:user/" + userName
	keys := &policy.Context{Time: time.Now(), SourceIP: netip.MustParseAddr("127.0.0.1")}
	for _, pair := range [][2]string{
		{"aws:PrincipalArn", arn}, {"aws:PrincipalAccount", "000000000000"}, {"aws:username", userName}, {"aws:userid", "AIDAEXAMPLE"},
		{"aws:PrincipalType", "User"}, {"aws:SecureTransport", "false"}, {"aws:RequestedRegion",
			"us-east-1"}, {"aws:ResourceAccount", "000000000000"},
	} {
		keys.Set(pair[0], pair[1])
	}
	policies := policy.Policies{Identity: []policy.Named{{Name: "ten", Policy: policy.Compile(d, nil)}}}
	request := policy.Request{
		Caller: policy.Caller{Kind: policy.User, Account: account, ARN: arn, UniqueID: "AIDAEXAMPLE"},
		Action: "ecr:BatchGetImage", Resource: "arn:aws:ecr:us-east-1:000000000000:repository/" + few, ResourceAccount: account, Context: keys,
	}
	return func() error {
		if d := policy.Evaluate(&policies, &request); !d.Allowed() {
			return fmt.Errorf("the decision is %s, not allowed", d.Verdict)
		}
		return nil
	}
}

// signature returns a function that parses and verifies one signature, as of an API call with a body of 60 bytes.
func signature() func() error {
	now := time.Now()
	body := []byte(`{"repositoryName":"bench/few","imageIds":[{"imageTag":"v1"}]}`)
	a := account{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	r, err := http.NewRequest(http.MethodPost, "http://api.ecr.us-east-1.amazonaws.com/", bytes.NewReader(body))
	if err != nil {
		return func() error { return err }
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.BatchGetImage")
	if err := signAs(context.Background(), a, r, body, "ecr", "us-east-1", now); err != nil {
		return func() error { return err }
	}
	// A server reads these from the request; a client does not set them.
	r.Host = r.URL.Host
	r.RequestURI = "/"
	return func() error {
		s, err := sigv4.Parse(r)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		return s.Verify(r, []byte(a.Secret), hex.EncodeToString(sum[:]), now)
	}
}
