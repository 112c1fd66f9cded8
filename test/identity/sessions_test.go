package identity_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ecrin-dev/ecrin/internal/door/web"
)

// wantLife checks that credentials expire after the given number of seconds, and have the form of temporary
// ones.
func wantLife(t *testing.T, what string, c *types.Credentials, seconds int) {
	t.Helper()
	left := time.Until(*c.Expiration) - time.Duration(seconds)*time.Second
	if left.Abs() > time.Minute || !strings.HasPrefix(*c.AccessKeyId, "ASIA") || *c.SessionToken == "" {
		t.Errorf("%s: got key %s that ends at %v, want ASIA… that ends in %d s", what, *c.AccessKeyId, c.Expiration, seconds)
	}
}

func sessions(t *testing.T, root actor) {
	app, secret := root.push(t, "team/app"), root.push(t, "secret/app")
	ada := root.user(t, "ada")
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: aws.String("ada"), PolicyName: aws.String("own"),
		PolicyDocument: aws.String(allow("sts:AssumeRole sts:TagSession sts:SetSourceIdentity sts:GetFederationToken ecr:*", "*"))})
	role := do(t, root.iam.CreateRole, iam.CreateRoleInput{
		RoleName: aws.String("ci"), Path: aws.String("/x/"),
		AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+root.account+`"`,
			"sts:AssumeRole sts:TagSession sts:SetSourceIdentity", `{"StringEquals":{"sts:ExternalId":"42"}}`)),
	}).Role
	do(t, root.iam.AttachRolePolicy, iam.AttachRolePolicyInput{RoleName: role.RoleName, PolicyArn: aws.String(readOnly)})
	asked := sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("build-7"), DurationSeconds: aws.Int32(900)}
	_, err := ada.sts.AssumeRole(t.Context(), &asked)
	wantCode(t, "AssumeRole without the external id", err, "AccessDenied", "User: "+root.arn("user/ada")+
		" is not authorized to perform: sts:AssumeRole on resource: "+*role.Arn+" because no role trust policy allows the sts:AssumeRole action")
	asked.ExternalId = aws.String("42")
	asked.Tags = []types.Tag{{Key: aws.String("job"), Value: aws.String("7")}}
	asked.SourceIdentity = aws.String("ada@example.com")
	got := do(t, ada.sts.AssumeRole, asked)
	sessionARN := "arn:aws:sts::" + root.account + ":assumed-role/ci/build-7"
	wantText(t, "AssumeRole", got.AssumedRoleUser.Arn, sessionARN)
	wantText(t, "its id", got.AssumedRoleUser.AssumedRoleId, *role.RoleId+":build-7")
	wantText(t, "its source identity", got.SourceIdentity, "ada@example.com")
	wantLife(t, "AssumeRole", got.Credentials, 900)
	ci := ada.installation.session(root.account, got.Credentials)
	wantIdentity(t, ci, sessionARN)
	docker := ci.docker(t, root.account)
	wantPull(t, docker.Repo("team/app"), app)
	wantPull(t, docker.Repo("secret/app"), secret)

	asked.Policy = aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + login +
		`","Resource":"*"},{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/team/*"}]}`)
	narrow := do(t, ada.sts.AssumeRole, asked)
	if size, used := aws.ToInt32(narrow.SessionTokenSize), aws.ToInt32(narrow.SessionTokenUtilization); int(size) != len(
		*narrow.Credentials.SessionToken) || used < 1 || used > 100 {
		t.Errorf("size and utilization of a token of %d characters: got %d and %d, want the same and 1 to 100",
			len(*narrow.Credentials.SessionToken), size, used)
	}
	docker = ada.installation.session(root.account, narrow.Credentials).docker(t, root.account)
	wantPull(t, docker.Repo("team/app"), app)
	wantNoPull(t, docker.Repo("secret/app"), sessionARN, "because no session policy allows the ecr:BatchGetImage action")

	temporary := do(t, ada.sts.GetSessionToken, sts.GetSessionTokenInput{DurationSeconds: aws.Int32(1800)}).Credentials
	wantLife(t, "GetSessionToken", temporary, 1800)
	same := ada.installation.session(root.account, temporary)
	wantIdentity(t, same, root.arn("user/ada"))
	do(t, same.ecr.DescribeRepositories, ecr.DescribeRepositoriesInput{})
	_, err = same.sts.GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	wantCode(t, "GetSessionToken with session credentials", err, "AccessDenied", "session credentials")

	fed := do(t, ada.sts.GetFederationToken, sts.GetFederationTokenInput{Name: aws.String("guest"), Policy: asked.Policy,
		DurationSeconds: aws.Int32(3600)})
	wantText(t, "GetFederationToken", fed.FederatedUser.Arn, "arn:aws:sts::"+root.account+":federated-user/guest")
	wantLife(t, "GetFederationToken", fed.Credentials, 3600)
	guest := ada.installation.session(root.account, fed.Credentials)
	docker = guest.docker(t, root.account)
	wantPull(t, docker.Repo("team/app"), app)
	wantNoPull(t, docker.Repo("secret/app"), "federated-user/guest", "because no session policy allows the ecr:BatchGetImage action")
	_, err = guest.iam.ListUsers(t.Context(), &iam.ListUsersInput{})
	wantCode(t, "IAM for a federated user", err, "AccessDenied", "")

	for _, key := range []string{ada.keys.AccessKeyID, *fed.Credentials.AccessKeyId} {
		info := do(t, guest.sts.GetAccessKeyInfo, sts.GetAccessKeyInfoInput{AccessKeyId: &key})
		wantText(t, "GetAccessKeyInfo", info.Account, root.account)
	}

	do(t, root.iam.DetachRolePolicy, iam.DetachRolePolicyInput{RoleName: role.RoleName, PolicyArn: aws.String(readOnly)})
	_, err = ci.ecr.DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{})
	wantCode(t, "the session of a role that lost its policy", err, "AccessDeniedException",
		"because no identity-based policy allows the ecr:DescribeRepositories action")
	do(t, root.iam.DeleteRole, iam.DeleteRoleInput{RoleName: role.RoleName})
	wantNoIdentity(t, ci)
}

// Tags of a session decide what can be pulled. Transitive tags are passed on to the next role; the source
// identity is always passed on.
func chained(t *testing.T, root actor) {
	core, web := root.push(t, "core/app"), root.push(t, "web/app")
	ada := root.user(t, "ada")
	become := "sts:AssumeRole sts:TagSession sts:SetSourceIdentity"
	do(t, root.iam.PutUserPolicy, iam.PutUserPolicyInput{UserName: aws.String("ada"), PolicyName: aws.String("own"),
		PolicyDocument: aws.String(allow(become, root.arn("role/ci")))})
	role := func(name, trusted, document string) *string {
		t.Helper()
		made := do(t, root.iam.CreateRole, iam.CreateRoleInput{RoleName: &name,
			AssumeRolePolicyDocument: aws.String(trust(`"AWS":"`+trusted+`"`, become, ""))}).Role
		do(t, root.iam.PutRolePolicy, iam.PutRolePolicyInput{RoleName: &name, PolicyName: aws.String("own"), PolicyDocument: &document})
		return made.Arn
	}
	ci := role("ci", root.arn("user/ada"), allow(become, root.arn("role/puller")))
	puller := role("puller", root.arn("role/ci"), `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+login+
		`","Resource":"*","Condition":{"StringEquals":{"aws:SourceIdentity":"ada"}}},
		{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*"}]}`)
	first := do(t, ada.sts.AssumeRole, sts.AssumeRoleInput{
		RoleArn: ci, RoleSessionName: aws.String("one"), SourceIdentity: aws.String("ada"), TransitiveTagKeys: []string{"team"},
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("core")}},
	})
	one := root.installation.session(root.account, first.Credentials)
	asked := sts.AssumeRoleInput{RoleArn: puller, RoleSessionName: aws.String("two")}
	second := do(t, one.sts.AssumeRole, asked)
	docker := root.installation.session(root.account, second.Credentials).docker(t, root.account)
	wantPull(t, docker.Repo("core/app"), core)
	wantNoPull(t, docker.Repo("web/app"), "assumed-role/puller/two", "because no identity-based policy allows the ecr:BatchGetImage action")
	_, err := one.ecr.GetAuthorizationToken(t.Context(), &ecr.GetAuthorizationTokenInput{})
	wantCode(t, "a token for the role between", err, "AccessDeniedException", "assumed-role/ci/one")
	asked.Tags = []types.Tag{{Key: aws.String("Team"), Value: aws.String("web")}}
	_, err = one.sts.AssumeRole(t.Context(), &asked)
	wantCode(t, "a transitive tag that is set again", err, "InvalidParameterValue", "transitive")
	asked.Tags, asked.DurationSeconds = nil, aws.Int32(3601)
	_, err = one.sts.AssumeRole(t.Context(), &asked)
	wantCode(t, "a chained session of more than an hour", err, "ValidationError", "1 hour session limit")
	_, err = ada.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: puller, RoleSessionName: aws.String("two")})
	wantCode(t, "the second role without the first", err, "AccessDenied", "sts:AssumeRole on resource: "+*puller)
	wantPull(t, root.docker(t, root.account).Repo("web/app"), web)
}

// A denied caller cannot read the encoded message; a caller with the right to decode it can.
func decodedDenial(t *testing.T, root actor) {
	ada := root.user(t, "ada")
	_, err := ada.iam.ListUsers(t.Context(), &iam.ListUsersInput{})
	response, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok {
		t.Fatalf("ListUsers without a right: got %v, want a denial", err)
	}
	message := response.Response.Header.Get(web.MessageHeader)
	_, err = ada.sts.DecodeAuthorizationMessage(t.Context(), &sts.DecodeAuthorizationMessageInput{EncodedMessage: &message})
	wantCode(t, "DecodeAuthorizationMessage without a right", err, "AccessDenied", "sts:DecodeAuthorizationMessage")
	text := do(t, root.sts.DecodeAuthorizationMessage, sts.DecodeAuthorizationMessageInput{EncodedMessage: &message}).DecodedMessage
	var got struct {
		Allowed, ExplicitDeny bool
		Context               struct {
			Principal        struct{ ID, Arn string }
			Action, Resource string
		}
	}
	if err := json.Unmarshal([]byte(*text), &got); err != nil {
		t.Fatalf("the decoded message %q: %v", *text, err)
	}
	if got.Allowed || got.ExplicitDeny || got.Context.Action != "iam:ListUsers" || got.Context.Principal.Arn != root.arn("user/ada") {
		t.Errorf("the decoded message: got %+v, want iam:ListUsers denied to %s", got, root.arn("user/ada"))
	}
}
