package awsapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
)

const (
	chinaRegion = "cn-north-1"
	china       = "arn:aws-cn:iam::000000000000:"
	world       = "arn:aws:iam::000000000000:"
)

// callQueryIn is callQuery in a region.
func (s *server) callQueryIn(region string, key aws.Credentials, service, action string, pairs ...string) answer {
	s.t.Helper()
	form := url.Values{"Action": {action}, "Version": {map[string]string{"iam": "2010-05-08", "sts": "2011-06-15"}[service]}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return s.send(query(raw{key: key, region: region, service: service, body: form.Encode(), at: s.now()}))
}

// wantIn checks that an operation in a region has the given status and an answer that contains a text.
func (s *server) wantIn(region string, status int, text, service, action string, pairs ...string) answer {
	s.t.Helper()
	a := s.callQueryIn(region, s.key, service, action, pairs...)
	if a.Status != status || !strings.Contains(a.Body, text) {
		s.t.Errorf("%s %q in %s: got %s, want %d and %q", action, pairs, region, a, status, text)
	}
	return a
}

// The partition of ARNs in requests and answers follows the region of the call. An entity that is created in one
// partition exists in all.
func TestPartitionOfIAM(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const aws, readOnly = "us-east-1", "policy/AmazonEC2ContainerRegistryReadOnly"
	type call struct {
		region          string
		status          int
		text            string
		service, action string
		pairs           []string
	}
	document := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*","Resource":"*"}]}`
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + china + `user/cn"},"Action":"sts:AssumeRole"}]}`
	for _, c := range []call{
		{chinaRegion, 200, "<Arn>" + china + "user/cn</Arn>", "iam", "CreateUser", []string{"UserName", "cn"}},
		{aws, 200, "<Arn>" + world + "user/cn</Arn>", "iam", "GetUser", []string{"UserName", "cn"}},
		{"us-gov-west-1", 200, "<Arn>arn:aws-us-gov:iam::000000000000:user/cn</Arn>", "iam", "ListUsers", nil},
		{chinaRegion, 200, "<Arn>" + china + "root</Arn>", "iam", "GetUser", nil},

		// AWS managed policies exist in every partition.
		{chinaRegion, 200, "", "iam", "AttachUserPolicy",
			[]string{"UserName", "cn", "PolicyArn", "arn:aws-cn:iam::aws:" + readOnly}},
		{chinaRegion, 200, "<PolicyArn>arn:aws-cn:iam::aws:" + readOnly + "<", "iam", "ListAttachedUserPolicies",
			[]string{"UserName", "cn"}},
		{aws, 200, "<PolicyArn>arn:aws:iam::aws:" + readOnly + "<", "iam", "ListAttachedUserPolicies", []string{"UserName", "cn"}},
		{chinaRegion, 200, "<Arn>arn:aws-cn:iam::aws:" + readOnly + "<", "iam", "GetPolicy",
			[]string{"PolicyArn", "arn:aws-cn:iam::aws:" + readOnly}},
		{chinaRegion, 200, "<UserName>cn<", "iam", "ListEntitiesForPolicy",
			[]string{"PolicyArn", "arn:aws-cn:iam::aws:" + readOnly}},
		{aws, 200, "<UserName>cn<", "iam", "ListEntitiesForPolicy", []string{"PolicyArn", "arn:aws:iam::aws:" + readOnly}},
		{aws, 200, "", "iam", "DetachUserPolicy", []string{"UserName", "cn", "PolicyArn", "arn:aws:iam::aws:" + readOnly}},
		{chinaRegion, 404, "Policy arn:aws-cn:iam::aws:" + readOnly + " was not found", "iam", "DetachUserPolicy",
			[]string{"UserName", "cn", "PolicyArn", "arn:aws-cn:iam::aws:" + readOnly}},

		// Policies of the account.
		{chinaRegion, 200, "<Arn>" + china + "policy/p</Arn>", "iam", "CreatePolicy",
			[]string{"PolicyName", "p", "PolicyDocument", document}},
		{chinaRegion, 200, "", "iam", "AttachUserPolicy", []string{"UserName", "cn", "PolicyArn", china + "policy/p"}},
		{aws, 200, world + "policy/p", "iam", "ListAttachedUserPolicies", []string{"UserName", "cn"}},
		{aws, 200, "", "iam", "PutUserPermissionsBoundary", []string{"UserName", "cn", "PermissionsBoundary", world + "policy/p"}},
		{chinaRegion, 200, "<PermissionsBoundaryArn>" + china + "policy/p<", "iam", "GetUser", []string{"UserName", "cn"}},
		{chinaRegion, 409, "", "iam", "DeletePolicy", []string{"PolicyArn", china + "policy/p"}},
		{chinaRegion, 200, china + "policy/p", "iam", "GetAccountAuthorizationDetails", nil},
		{chinaRegion, 200, "<EvalResourceName>" + china + "user/x</EvalResourceName>", "iam", "SimulatePrincipalPolicy",
			[]string{"PolicySourceArn", china + "user/cn", "ActionNames.member.1", "iam:GetUser", "ResourceArns.member.1", china + "user/x"}},
		{chinaRegion, 200, "<EvalDecision>allowed<", "iam", "SimulatePrincipalPolicy",
			[]string{"PolicySourceArn", china + "user/cn", "ActionNames.member.1", "ecr:GetAuthorizationToken"}},

		// Roles, profiles and providers.
		{chinaRegion, 200, "<Arn>" + china + "role/r</Arn>", "iam", "CreateRole",
			[]string{"RoleName", "r", "AssumeRolePolicyDocument", trust}},
		{aws, 200, url.QueryEscape(china + "user/cn"), "iam", "GetRole",
			[]string{"RoleName", "r"}}, // the text of a policy is unchanged
		{aws, 200, "", "iam", "UpdateUser", []string{"UserName", "cn", "NewUserName", "zh"}},
		{aws, 200, url.QueryEscape(china + "user/zh"), "iam", "GetRole", []string{"RoleName", "r"}},
		{chinaRegion, 200, "<Arn>" + china + "instance-profile/i</Arn>", "iam", "CreateInstanceProfile",
			[]string{"InstanceProfileName", "i"}},
		{chinaRegion, 200, china + "oidc-provider/ci.example.com", "iam", "CreateOpenIDConnectProvider",
			[]string{"Url", "https://ci.example.com"}},
		{chinaRegion, 200, "<Url>ci.example.com<", "iam", "GetOpenIDConnectProvider",
			[]string{"OpenIDConnectProviderArn", china + "oidc-provider/ci.example.com"}},
		{aws, 200, world + "oidc-provider/ci.example.com", "iam", "ListOpenIDConnectProviders", nil},

		// ARNs of the partition of the call and of aws are valid; those of another partition name no entity.
		{aws, 400, "ARN arn:aws-cn:iam::aws:" + readOnly + " is not valid", "iam", "AttachUserPolicy",
			[]string{"UserName", "zh", "PolicyArn", "arn:aws-cn:iam::aws:" + readOnly}},
		{chinaRegion, 400, "ARN arn:aws-us-gov:iam::aws:" + readOnly + " is not valid", "iam", "AttachUserPolicy",
			[]string{"UserName", "zh", "PolicyArn", "arn:aws-us-gov:iam::aws:" + readOnly}},
		{chinaRegion, 200, "<Arn>" + china + "policy/p</Arn>", "iam", "GetPolicy", []string{"PolicyArn", world + "policy/p"}},
	} {
		s.wantIn(c.region, c.status, c.text, c.service, c.action, c.pairs...)
	}
}

// The partition of ARNs of sessions and callers follows the region of the call, not that in which a session was
// created.
func TestPartitionOfSTS(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.mustQuery(s.key, "iam", "CreateRole", "RoleName", "r", "AssumeRolePolicyDocument",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}]}`)
	user := s.user("alice", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"`+world+`role/*"},
		{"Effect":"Allow","Action":"sts:GetFederationToken","Resource":"*"}]}`)

	assumed := s.callQueryIn(chinaRegion, user, "sts", "AssumeRole", "RoleArn", china+"role/r", "RoleSessionName", "job",
		"PolicyArns.member.1.arn", "arn:aws-cn:iam::aws:policy/AdministratorAccess")
	if got, want := element(assumed.Body, "Arn"), "arn:aws-cn:sts::000000000000:assumed-role/r/job"; got != want {
		t.Fatalf("AssumeRole in %s: got %s, want the ARN %s", chinaRegion, assumed, want)
	}
	session := aws.Credentials{
		AccessKeyID: element(assumed.Body, "AccessKeyId"), SecretAccessKey: element(assumed.Body, "SecretAccessKey"),
		SessionToken: element(assumed.Body, "SessionToken"),
	}
	federated := s.callQueryIn(chinaRegion, user, "sts", "GetFederationToken", "Name", "guest")
	if got, want := element(federated.Body, "Arn"), "arn:aws-cn:sts::000000000000:federated-user/guest"; got != want {
		t.Errorf("GetFederationToken in %s: got %s, want the ARN %s", chinaRegion, federated, want)
	}
	for _, c := range []struct {
		region string
		key    aws.Credentials
		want   string
	}{
		{chinaRegion, session, "arn:aws-cn:sts::000000000000:assumed-role/r/job"},
		{"us-east-1", session, "arn:aws:sts::000000000000:assumed-role/r/job"},
		{"us-gov-west-1", user, "arn:aws-us-gov:iam::000000000000:user/alice"},
		{chinaRegion, s.key, china + "root"},
		{"eu-west-1", s.key, world + "root"},
	} {
		if a := s.callQueryIn(c.region, c.key, "sts", "GetCallerIdentity"); element(a.Body, "Arn") != c.want {
			t.Errorf("GetCallerIdentity in %s: got %s, want %s", c.region, a, c.want)
		}
	}
	denied := s.callQueryIn(chinaRegion, session, "iam", "ListUsers")
	const want = "User: arn:aws-cn:sts::000000000000:assumed-role/r/job is not authorized to perform: iam:ListUsers on resource: " + china
	if denied.Status != http.StatusForbidden || !strings.Contains(denied.Body, want) {
		t.Errorf("a denial in %s: got %s, want %q", chinaRegion, denied, want)
	}
	other := s.callQueryIn("us-east-1", user, "sts", "AssumeRole", "RoleArn", china+"role/r", "RoleSessionName", "job")
	if other.failure() != "ValidationError" {
		t.Errorf("the ARN of another partition: got %s, want ValidationError", other)
	}
}

// Attack: a caller uses a region of another partition, in which its ARN differs from that in a Deny statement.
func TestAttackOtherPartition(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const all = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	deny := func(more string) string {
		return `{"Version":"2012-10-17","Statement":[` + all + `,{"Effect":"Deny","Action":"*",` + more + `}]}`
	}
	eve := s.user("eve", deny(`"Resource":"`+world+`user/admin"`))
	s.user("admin", deny(`"Resource":"`+china+`*"`))
	for _, policy := range []string{
		deny(`"Resource":"` + world + `user/admin"`),
		deny(`"Resource":"` + china + `user/admin"`),
		deny(`"Resource":"*","Condition":{"ArnEquals":{"aws:PrincipalArn":"` + world + `user/eve"}}`),
		deny(`"Resource":"*","Condition":{"StringEquals":{"aws:PrincipalArn":"` + world + `user/eve"}}`),
		deny(`"Resource":"*","Condition":{"StringLike":{"aws:PrincipalArn":"arn:aws-cn:iam::*:user/eve"}}`),
		deny(`"Resource":"*","Condition":{"StringNotEquals":{"aws:PrincipalArn":"` + world + `user/admin"}}`),
	} {
		s.setInlinePolicy("eve", policy)
		for _, region := range []string{"us-east-1", chinaRegion, "us-gov-west-1", "us-iso-east-1"} {
			if a := s.callQueryIn(region, eve, "iam", "GetUser", "UserName", "admin"); !a.denied() {
				t.Errorf("GetUser in %s with %s: got %s, want a denial", region, policy, a)
			}
		}
	}
	// The ARNs of attached policies and boundaries are also compared in all partitions.
	const administrator = ":iam::aws:policy/AdministratorAccess"
	s.setInlinePolicy("eve", deny(`"Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"arn:aws`+administrator+`"}}`))
	for region, partition := range map[string]string{"us-east-1": "aws", chinaRegion: "aws-cn"} {
		a := s.callQueryIn(region, eve, "iam", "AttachUserPolicy", "UserName", "eve", "PolicyArn", "arn:"+partition+administrator)
		if !a.denied() {
			t.Errorf("AttachUserPolicy of AdministratorAccess in %s: got %s, want a denial", region, a)
		}
	}
	// The policy of a repository contains one of the ARNs of the user.
	s.setInlinePolicy("eve", `{"Version":"2012-10-17","Statement":[`+all+`]}`)
	create := raw{key: s.key, region: chinaRegion, target: ecrTarget + "CreateRepository", body: `{"repositoryName":"team/app"}`}
	const app = "arn:aws-cn:ecr:cn-north-1:000000000000:repository/team/app"
	if a := s.send(create); a.Status != http.StatusOK || !strings.Contains(a.Body, app) {
		t.Fatalf("CreateRepository in %s: got %s", chinaRegion, a)
	}
	set := raw{key: s.key, region: chinaRegion, target: ecrTarget + "SetRepositoryPolicy"}
	set.body = object("repositoryName", "team/app", "policyText",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":{"AWS":"`+world+`user/eve"},"Action":"ecr:ListImages"}]}`)
	if a := s.send(set); a.Status != http.StatusOK {
		t.Fatalf("SetRepositoryPolicy: got %s", a)
	}
	a := s.send(raw{key: eve, region: chinaRegion, target: ecrTarget + "ListImages", body: `{"repositoryName":"team/app"}`})
	const want = "User: " + china + "user/eve is not authorized to perform: ecr:ListImages on resource: " + app + " with an explicit deny"
	if !a.denied() || !strings.Contains(a.Body, want) {
		t.Errorf("ListImages in %s: got %s, want %q", chinaRegion, a, want)
	}
}

// The audit trail has ARNs in the partition of the call, and the parameters of the request unchanged.
func TestPartitionInTheTrail(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.wantIn(chinaRegion, 200, "", "iam", "CreateUser", "UserName", "cn")
	const readOnly = "arn:aws-cn:iam::aws:policy/IAMReadOnlyAccess"
	s.wantIn(chinaRegion, 200, "", "iam", "AttachUserPolicy", "UserName", "cn", "PolicyArn", readOnly)
	create := raw{key: s.key, region: chinaRegion, target: ecrTarget + "CreateRepository", body: `{"repositoryName":"team/app"}`}
	if a := s.send(create); a.Status != http.StatusOK {
		t.Fatalf("CreateRepository: got %s", a)
	}
	var out ecrintypes.ListAuditEventsResponse
	s.operator("ListAuditEvents", &ecrintypes.ListAuditEventsRequest{Changes: aws.Bool(true), AccountId: "000000000000"}, &out)
	trail := strings.Join(out.Events, "\n")
	for _, want := range []string{
		`"arn":"` + china + `root"`, `"ARN":"` + china + `user/cn"`, `"policyArn":"` + readOnly + `"`,
		`{"accountId":"000000000000","type":"AWS::ECR::Repository","ARN":"arn:aws-cn:ecr:cn-north-1:000000000000:repository/team/app"}`,
	} {
		if !strings.Contains(trail, want) {
			t.Errorf("the audit trail does not contain %s:\n%s", want, trail)
		}
	}
}
