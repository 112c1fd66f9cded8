package trail_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	ststypes "github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

const (
	home    = "000000000000" // the default account
	partner = "111122223333"
	region  = "us-east-1"
)

// actor calls a server with the credentials of a principal.
type actor struct {
	server *apptest.Server
	key    aws.Credentials
	seen   func(*http.Request) // if not nil, called with every signed request
}

// RoundTrip calls seen and sends the request.
func (a actor) RoundTrip(r *http.Request) (*http.Response, error) {
	if a.seen != nil {
		a.seen(r)
	}
	return a.server.HTTP.Transport.RoundTrip(r)
}

func (a actor) provider() aws.CredentialsProvider {
	return credentials.StaticCredentialsProvider{Value: a.key}
}

func (a actor) http() *http.Client { return &http.Client{Transport: a} }

func (a actor) ecr() *ecr.Client {
	return ecr.New(ecr.Options{Region: region, BaseEndpoint: &a.server.URL, HTTPClient: a.http(), RetryMaxAttempts: 1,
		Credentials: a.provider()})
}

func (a actor) iam() *iam.Client {
	return iam.New(iam.Options{Region: region, BaseEndpoint: &a.server.URL, HTTPClient: a.http(), RetryMaxAttempts: 1,
		Credentials: a.provider()})
}

func (a actor) sts() *sts.Client {
	return sts.New(sts.Options{Region: region, BaseEndpoint: &a.server.URL, HTTPClient: a.http(), RetryMaxAttempts: 1,
		Credentials: a.provider()})
}

// must returns v; it fails the test if err is not nil.
func must[T any](t *testing.T, v T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func root(a apptest.Account, s *apptest.Server) actor {
	return actor{server: s, key: aws.Credentials{AccessKeyID: a.KeyID, SecretAccessKey: a.Secret}}
}

// with returns an actor of the same server with temporary credentials.
func (a actor) with(c *ststypes.Credentials) actor {
	a.key = aws.Credentials{AccessKeyID: *c.AccessKeyId, SecretAccessKey: *c.SecretAccessKey, SessionToken: *c.SessionToken}
	return a
}

// user creates a user with an access key and an inline policy that allows actions on all resources, and returns its
// actor.
func (a actor) user(t *testing.T, called, actions string) actor {
	t.Helper()
	_, err := a.iam().CreateUser(t.Context(), &iam.CreateUserInput{UserName: &called})
	must(t, 0, err)
	_, err = a.iam().PutUserPolicy(t.Context(), &iam.PutUserPolicyInput{UserName: &called, PolicyName: aws.String("may"),
		PolicyDocument: aws.String(allow(actions))})
	must(t, 0, err)
	out, err := a.iam().CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{UserName: &called})
	k := must(t, out, err).AccessKey
	a.key = aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey}
	return a
}

// role creates a role that a principal may assume by an action, with an inline policy that allows actions on all
// resources, and returns its ARN.
func (a actor) role(t *testing.T, called, principal, action, actions string) string {
	t.Helper()
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"` + action + `"}]}`
	out, err := a.iam().CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: &called, AssumeRolePolicyDocument: &trust})
	arn := must(t, out, err).Role.Arn
	_, err = a.iam().PutRolePolicy(t.Context(), &iam.PutRolePolicyInput{RoleName: &called, PolicyName: aws.String("may"),
		PolicyDocument: aws.String(allow(actions))})
	must(t, 0, err)
	return *arn
}

func allow(actions string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"May","Effect":"Allow","Action":` + actions + `,"Resource":"*"}]}`
}

// docker returns a client of the OCI distribution API with a token of the actor.
func (a actor) docker(t *testing.T, prefix string) ocitest.Client {
	t.Helper()
	out, err := a.ecr().GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	plain, err2 := base64.StdEncoding.DecodeString(aws.ToString(must(t, out, err).AuthorizationData[0].AuthorizationToken))
	password, ok := strings.CutPrefix(string(must(t, plain, err2)), "AWS:")
	if !ok {
		t.Fatal("the authorization token does not begin with AWS:")
	}
	return ocitest.Client{Base: a.server.URL, HTTP: a.server.HTTP, Password: password, Prefix: prefix}
}

// event holds the members of a line that the tests compare.
type event struct {
	UserIdentity        map[string]any `json:"userIdentity"`
	EventSource         string         `json:"eventSource"`
	EventName           string         `json:"eventName"`
	EventID             string         `json:"eventID"`
	SourceIPAddress     string         `json:"sourceIPAddress"`
	UserAgent           string         `json:"userAgent"`
	ErrorCode           string         `json:"errorCode"`
	ErrorMessage        string         `json:"errorMessage"`
	RequestParameters   map[string]any `json:"requestParameters"`
	ResponseElements    map[string]any `json:"responseElements"`
	AdditionalEventData struct {
		ClientAddress   string                  `json:"clientAddress"`
		ClientUserAgent string                  `json:"clientUserAgent"`
		Explanation     *ecrintypes.Explanation `json:"explanation"`
	} `json:"additionalEventData"`
	RequestID          string              `json:"requestID"`
	ReadOnly           bool                `json:"readOnly"`
	Resources          []map[string]string `json:"resources"`
	RecipientAccountID string              `json:"recipientAccountId"`
	SharedEventID      string              `json:"sharedEventID"`
}

// events returns the events that ListAuditEvents returns to the operator, oldest first.
func events(t *testing.T, s *apptest.Server, q ecrintypes.ListAuditEventsRequest) []event {
	t.Helper()
	q.OldestFirst, q.MaxResults = aws.Bool(true), aws.Int32(1000)
	var out ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &q, &out)
	return read(t, out.Events)
}

func read(t *testing.T, lines []string) []event {
	t.Helper()
	all := make([]event, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal([]byte(line), &all[i]); err != nil {
			t.Fatalf("line %d: %v: %s", i, err, line)
		}
	}
	return all
}

// names returns the operations of events, with the error codes of failed requests.
func names(all []event) []string {
	got := []string{}
	for _, e := range all {
		name := e.EventName
		if e.ErrorCode != "" {
			name += " " + e.ErrorCode
		}
		got = append(got, name)
	}
	return got
}

// link returns a signed link to a layer.
func (a actor) link(t *testing.T, repository, digest string) string {
	t.Helper()
	out, err := a.ecr().GetDownloadUrlForLayer(t.Context(),
		&ecr.GetDownloadUrlForLayerInput{RepositoryName: &repository, LayerDigest: &digest})
	return *must(t, out, err).DownloadUrl
}
