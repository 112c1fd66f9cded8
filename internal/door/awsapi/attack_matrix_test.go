package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

const otherAccount = "111122223333"

// models holds the models from which requests are made.
var models = map[string]struct {
	service    awswire.Service
	operations map[string]awswire.Operation
}{
	"ecr": {ecrtypes.Service, ecrtypes.Operations}, "sts": {ststypes.Service, ststypes.Operations},
	"iam": {iamtypes.Service, iamtypes.Operations}, "ecrin": {ecrintypes.Service, ecrintypes.Operations},
}

// samples returns values for members by their name on the wire, or by OPERATION.NAME. Entities that they name exist,
// except those that an operation creates. key is the access key id of a user.
func samples(key string) map[string]any {
	const iam = "arn:aws:iam::" + home + ":"
	d := digestOf(`{"seed":"a"}`)
	doc := allow("ecr:ListImages")
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + home + `"},"Action":"sts:AssumeRole"}]}`
	return map[string]any{
		"repositoryName": "app", "CreateRepository.repositoryName": "new", "repositoryNames": []any{"app"}, "imageIds": ids("",
			"latest"), "imageManifest": "{}", "imageTagMutability": "IMMUTABLE",
		"destinationRepositoryName": "app", "replicationBackfillId": "1",
		"destination": map[string]any{"region": "eu-west-1", "registryId": home}, "imageId": ids("", "latest")[0],
		"replicationConfiguration":   map[string]any{"rules": []any{}},
		"imageScanningConfiguration": map[string]bool{"scanOnPush": true},
		"layerDigest":                d, "layerDigests": []any{d}, "uploadId": "6f1c1bd4-0cf8-4a4e-9f2e-3d6f3a6e8f10",
		"partFirstByte": 0, "partLastByte": 0, "layerPartBlob": "YQ==",
		"subjectId": map[string]any{"imageDigest": d}, "resourceArn": "arn:aws:ecr:us-east-1:" + home +
			":repository/app", "tags": tagList(1), "tagKeys": []any{"k"},
		"name": "BLOB_MOUNTING", "value": "DISABLED",
		"imageTag": "latest", "protection": "NONE", "until": 1,
		"prefix": "victim", "appliedFor": []any{"REPLICATION"}, "principalArn": "arn:aws:iam::777788889999:user/scanner",
		"ecrRepositoryPrefix": "cache", "upstreamRegistryUrl": "quay.io",
		"secretString":       `{"username":"u","accessToken":"t"}`,
		"expectedPolicyHash": "none", "sessionId": "0123456789ab",
		"policyText": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + otherAccount +
			`"},"Action":"ecr:BatchGetImage"}]}`,
		"PutRegistryPolicy.policyText": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` +
			otherAccount + `"},"Action":"ecr:ReplicateImage","Resource":"arn:aws:ecr:us-east-1:` + home + `:repository/*"}]}`,

		"lifecyclePolicyText": expireAfter(90), "extensionText": `{"version":"ecrin-lifecycle-1","protect":[{"patterns":["v*"]}]}`,

		"RoleArn": iam + "role/victim", "RoleSessionName": "ci", "Name": "fed", "EncodedMessage": "x",
		"WebIdentityToken": "xxxx", "GetAccessKeyInfo.AccessKeyId": "AKIAAAAAAAAAAAAAAAAA",

		"UserName": "victim", "GroupName": "victim", "RoleName": "victim", "InstanceProfileName": "victim", "PolicyName": "p",
		"PolicyArn":           iam + "policy/victim",
		"CreateUser.UserName": "new", "CreateGroup.GroupName": "new", "CreateRole.RoleName": "new",
		"CreateInstanceProfile.InstanceProfileName": "new", "CreatePolicy.PolicyName": "new",
		"PolicyDocument": doc, "AssumeRolePolicyDocument": trust, "UpdateAssumeRolePolicy.PolicyDocument": trust,
		"VersionId": "v1", "AccessKeyId": key, "Status": "Inactive",
		"AWSServiceName": "replication.ecr.amazonaws.com", "DeletionTaskId": "task/aws-service-role/x/y/z",
		"Url": "https://new.example.com", "ThumbprintList": []any{strings.Repeat("a", 40)},
		"OpenIDConnectProviderArn": iam + "oidc-provider/victim.example.com", "ClientID": "x", "AccountAlias": "victim",
		"CreateAccountAlias.AccountAlias": "new-alias",
		"OldPassword":                     "correct-Horse-1", "NewPassword": "another-Horse-2",
		"PermissionsBoundary": iam + "policy/victim", "PolicyInputList": []any{doc}, "ActionNames": []any{"ecr:ListImages"},
		"PolicySourceArn": iam + "user/victim",
		"Tags":            []any{map[string]any{"Key": "k", "Value": "v"}}, "TagKeys": []any{"k"}, "Description": "x",

		"CreateAccount.accountId": "222233334444", "DeleteAccount.accountId": "333344445555", "accessKeyId": key,
		"status": "INACTIVE", "requestId": "none", "repositoryId": "1", "imageDigest": d,
		"principal": iam + "user/victim", "action": "ecr:ListImages", "permission": "PULL", "type": "SERVICE_CONTROL_POLICY",
		"cloudName": "victim", "runtimeName": "victim", "clusterName": "victim", "region": "us-east-1", "version": "1.0.0",
		"awsAccessKeyId": "AKIAAAAAAAAAAAAAAAAA", "integrationName": "victim", "CreateIntegration.integrationName": "new", "kind": "OCI",
		"reportVariables": "CF_IMAGE=victim.example.com/app:1", "imageName": "victim.example.com/app:1", "applicationName": "victim",
		"ExplainLicense.image": "victim.example.com/victim:1", "issuer": "https://issuer.invalid", "keys": `{"keys":[]}`,
		"applicationSlug": "victim", "CreateApplication.applicationName": "New", "channelId": "stable", "channelName": "new", "sequence": 1,
		"files": []any{map[string]any{"path": "a.yaml", "content": "a: 1"}}, "channelIds": []any{"stable"}, "channelSequence": 1,
		"distribution": "kind", "kubernetesVersion": "1.35", "passed": true,
		"documentType": "statement", "documentDigest": "sha256:" + strings.Repeat("a", 64),
		"customerName": "new", "customerId": "victim", "tokenName": "victim", "CreateCustomerToken.tokenName": "new",
		"repositories": []any{"*"}, "entitlementId": "victim", "bytes": 1 << 30, "host": "images.victim.example",
		"images": []any{}, "AnnotateImage.key": "k", "AnnotateImage.value": "v",
		"url": "https://git.invalid/victim.git", "namespace": "victim",
		"environmentName": "victim", "rancherRegistryId": "1sp1", "credentialId": "1c2", "hostName": "victim",
		"webhookName": "victim", "CreateWebhook.webhookName": "new", "webhookUrl": "https://receiver.invalid/", "deliveryId": "1",
	}
}

// request returns the smallest request of a row that is valid by the model, with the values of also for members that it
// names.
func request(t *testing.T, row awsapi.Row, samples map[string]any, also map[string]string) raw {
	t.Helper()
	model := models[row.Service]
	in := reflect.TypeOf(model.operations[row.Operation].Input()).Elem()
	members := map[string]any{}
	for i := range in.NumField() {
		member, options, _ := strings.Cut(in.Field(i).Tag.Get("json"), ",")
		value, ok := samples[row.Operation+"."+member]
		if !ok {
			value, ok = samples[member]
		}
		if extra := also[member]; extra != "" {
			members[member] = extra
		} else if options == "" || member == "UserName" {
			if !ok {
				t.Fatalf("%s %s needs a sample of its member %s", row.Service, row.Operation, member)
			}
			members[member] = value
		}
	}
	if model.service.Protocol == "json" {
		body, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return raw{target: model.service.TargetPrefix + "." + row.Operation, service: model.service.SigningName, body: string(body)}
	}
	form := url.Values{"Action": {row.Operation}, "Version": {model.service.APIVersion}}
	var add func(at string, v any)
	add = func(at string, v any) {
		switch v := v.(type) {
		case []any:
			for i, one := range v {
				add(fmt.Sprintf("%s.member.%d", at, i+1), one)
			}
		case map[string]any:
			for k, one := range v {
				add(at+"."+k, one)
			}
		default:
			form.Set(at, fmt.Sprint(v))
		}
	}
	for k, v := range members {
		add(k, v)
	}
	return query(raw{service: row.Service, body: form.Encode()})
}

// has reports whether the JSON body of a request has a member.
func (q raw) has(member string) bool { return strings.Contains(q.body, `"`+member+`":`) }

// apiMatrix is a server that has every kind of entity, with all rows that are built.
type apiMatrix struct {
	*server
	rows    []awsapi.Row
	samples map[string]any
}

func newAPIMatrix(t *testing.T) *apiMatrix {
	s := serve(t, nil)
	s.account(otherAccount)
	s.repository("app")
	s.image("app", "a", "latest")
	s.must("SetRepositoryPolicy", object("repositoryName", "app", "policyText",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+home+`"},"Action":"ecr:BatchGetImage"}]}`))
	key := s.user("victim", allow("ecr:ListImages"))
	s.role("victim", allow("ecr:ListImages"))
	for _, call := range [][]string{
		{"CreateGroup", "GroupName", "victim"}, {"PutGroupPolicy", "GroupName", "victim", "PolicyName", "p", "PolicyDocument",
			allow("ecr:ListImages")},
		{"CreatePolicy", "PolicyName", "victim", "PolicyDocument", allow("ecr:ListImages")}, {"CreateInstanceProfile",
			"InstanceProfileName", "victim"},
		{"CreateOpenIDConnectProvider", "Url", "https://victim.example.com", "ThumbprintList.member.1",
			strings.Repeat("b", 40)}, {"CreateAccountAlias", "AccountAlias", "victim"},
		{"AttachUserPolicy", "UserName", "victim", "PolicyArn", "arn:aws:iam::" + home + ":policy/victim"}, {"TagUser",
			"UserName", "victim", "Tags.member.1.Key", "k", "Tags.member.1.Value", "w"},
	} {
		s.mustQuery(s.key, "iam", call[0], call[1:]...)
	}
	m := &apiMatrix{server: s, samples: samples(key.AccessKeyID)}
	m.samples["GetAccessKeyLastUsed.AccessKeyId"] = s.key.AccessKeyID // of the other one, which is deleted, the answer is a denial too
	m.samples["jobId"], m.samples["accessRequestId"] = s.job(home), s.asked(key, "push:"+home+"/us-east-1/app")
	m.ship()
	for _, r := range awsapi.Rows() {
		if r.Built {
			m.rows = append(m.rows, r)
		}
	}
	slices.SortFunc(m.rows, func(a, b awsapi.Row) int { return strings.Compare(a.Service+a.Operation, b.Service+b.Operation) })
	return m
}

// ecrin returns the answer of an operation of ecrin that the root user may do.
func (m *apiMatrix) ecrin(operation, body string) string {
	m.t.Helper()
	a := m.send(raw{key: m.key, at: m.now(), service: "ecrin", target: ecrinTarget + operation, body: body})
	if a.Status != http.StatusOK {
		m.t.Fatalf("%s: got %d %s", operation, a.Status, a.Body)
	}
	return a.Body
}

// ship makes an application with a release and a customer.
func (m *apiMatrix) ship() {
	m.t.Helper()
	m.ecrin("CreateApplication", `{"applicationName":"victim"}`)
	m.ecrin("CreateRelease", `{"applicationSlug":"victim","files":[{"path":"a.yaml","content":"a: 1"}]}`)
	m.ecrin("PromoteRelease", `{"applicationSlug":"victim","sequence":1,"channelIds":["stable"]}`)
	var made struct {
		Customer    struct{ CustomerID string }
		Entitlement struct{ EntitlementID string }
	}
	for _, body := range []string{m.ecrin("CreateCustomer", `{"applicationSlug":"victim","customerName":"victim"}`),
		m.ecrin("PutEntitlement", `{"applicationSlug":"victim","repositories":["*"]}`)} {
		if err := json.Unmarshal([]byte(body), &made); err != nil {
			m.t.Fatal(err)
		}
	}
	m.samples["customerId"], m.samples["entitlementId"] = made.Customer.CustomerID, made.Entitlement.EntitlementID
	m.ecrin("CreateCustomerToken", object("applicationSlug", "victim", "customerId", made.Customer.CustomerID, "tokenName", "victim"))
}

// state returns what the root user can read of the account and its registry, to be compared with later states.
func (m *apiMatrix) state() string {
	m.t.Helper()
	var b strings.Builder
	for _, ask := range []raw{
		{target: ecrTarget + "DescribeRepositories", body: `{}`}, {target: ecrTarget + "ListImages", body: `{"repositoryName":"app"}`},
		{target: ecrTarget + "GetRepositoryPolicy", body: `{"repositoryName":"app"}`}, {target: ecrTarget + "GetRegistryPolicy", body: `{}`},
		{target: ecrTarget + "ListTagsForResource", body: `{"resourceArn":"arn:aws:ecr:us-east-1:` + home + `:repository/app"}`},
		{target: ecrTarget + "GetAccountSetting", body: `{"name":"BLOB_MOUNTING"}`}, {target: ecrinTarget + "ListAccessKeys",
			body: `{}`, service: "ecrin"},
		query(raw{service: "iam", body: "Action=GetAccountAuthorizationDetails&Version=2010-05-08&MaxItems=1000"}),
		query(raw{service: "iam", body: "Action=ListAccountAliases&Version=2010-05-08"}),
		query(raw{service: "iam", body: "Action=ListOpenIDConnectProviders&Version=2010-05-08"}), query(raw{service: "iam",
			body: "Action=ListInstanceProfiles&Version=2010-05-08"}),
		ofVictim("DescribeApplications"), ofVictim("ListChannels"), ofVictim("ListReleases"), ofVictim("DescribeRelease", "sequence", 1),
		ofVictim("ListPromotions", "channelId", "stable", "demoted", true), ofVictim("ListCustomers", "archived", true),
		ofVictim("ListCustomerTokens", "customerId", m.samples["customerId"]), ofVictim("ListInstances"), ofVictim("ListEgressThresholds"),
		ofVictim("ListEntitlements", "customerId", m.samples["customerId"]), ofVictim("ListSharedIntegrations"),
		ofVictim("ListApplicationHosts"),
	} {
		ask.key, ask.at = m.key, m.now()
		a := m.send(ask)
		fmt.Fprintln(&b, a.Status, strings.ReplaceAll(a.Body, element(a.Body, "RequestId"), ""))
	}
	text := b.String()
	for { // the last use of a role is not a change
		_, rest, found := strings.Cut(text, "<RoleLastUsed>")
		used, _, _ := strings.Cut(rest, "</RoleLastUsed>")
		if !found {
			return text
		}
		text = strings.Replace(text, "<RoleLastUsed>"+used+"</RoleLastUsed>", "", 1)
	}
}

// ofVictim returns the request of an operation about the application.
func ofVictim(operation string, members ...any) raw {
	return raw{service: "ecrin", target: ecrinTarget + operation, body: object(append(members, "applicationSlug", "victim")...)}
}

// unchanged checks that the state after do is the state before.
func (m *apiMatrix) unchanged(who string, do func()) {
	m.t.Helper()
	before := m.state()
	do()
	if after := m.state(); after != before {
		m.t.Errorf("%s: the state has changed:\nbefore %s\nafter  %s", who, before, after)
	}
}

// ask sends the request of a row, signed with key.
func (m *apiMatrix) ask(key aws.Credentials, row awsapi.Row, also map[string]string) answer {
	m.t.Helper()
	q := request(m.t, row, m.samples, also)
	q.key, q.at = key, m.now()
	return m.send(q)
}

// actionOf returns the action for which the request of a row needs the permission.
func actionOf(r awsapi.Row) string {
	if r.Operation == "GrantRepositoryAccess" || r.Operation == "ReplaceRepositoryPolicy" { // without apply the first only reads a policy
		return "ecr:GetRepositoryPolicy"
	}
	if r.Operation == "CopyImage" { // it needs the permissions of a pull and a push
		return "ecr:BatchGetImage"
	}
	return r.Action
}

// reservedForOperator lists the operations that policies cannot allow, because they are reserved to the operator.
var reservedForOperator = []string{"CreateAccount", "ListAccounts", "DeleteAccount", "GetAccountCredentials",
	"ListControlPolicies", "PutControlPolicy", "DeleteControlPolicy", "VerifyStorage", "CollectStorage", "SnapshotDatabase"}

// reservedForRoot lists the operations on all access keys of an account. With them a user could become the root user.
var reservedForRoot = []string{"CreateAccessKey", "UpdateAccessKey", "DeleteAccessKey", "ListDeletedRepositories", "RestoreRepository"}

// unsigned lists the operations that need a valid token in the input instead of a signature. The sample is not valid.
var unsigned = []string{"AssumeRoleWithWebIdentity"}

// besides are the actions that an operation needs beside that of its row.
var besides = map[string][]string{"ShareIntegration": {"ecrin:UseIntegration"},
	"PutConfigRepository":  {"ecrin:UseIntegration", "ecrin:UseCloudIntegration"},
	"ApproveAccessRequest": {"ecr:SetRepositoryPolicy"},
	"RestoreImage":         {"ecr:PutImage"}, "CopyImage": {"ecr:GetDownloadUrlForLayer", "ecr:PutImage",
		"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"},
	"ListImageLayers": {"ecr:BatchGetImage"}, "ListTags": {"ecr:ListImages"},
	"ReadImage": {"ecr:BatchGetImage"}, "ReplaceRepositoryPolicy": {"ecr:DeleteRepositoryPolicy"},
	"GetLifecycle": {"ecr:GetLifecyclePolicy"}, "DeleteLifecycle": {"ecr:DeleteLifecyclePolicy"},
	"TestLifecycle":                    {"ecr:StartLifecyclePolicyPreview"},
	"CreateRepositoryCreationTemplate": {"ecr:CreateRepository"}, "UntagImage": {"ecr:BatchDeleteImage"},
	"DeleteImage": {"ecr:BatchDeleteImage"}}

// Rows 8, 24 and 26: every operation is allowed to users with only its action, and denied to users and role sessions
// with all actions except it.
func TestAttack24RightsMatrix(t *testing.T) {
	t.Parallel()
	m := newAPIMatrix(t)
	user := m.user("caller", allow("*"))
	m.role("caller", allow("*"))
	m.unchanged("callers with all actions except that of the row", func() {
		for _, r := range m.rows {
			action := actionOf(r)
			if action == "" || slices.Contains(unsigned, r.Operation) {
				continue
			}
			m.setInlinePolicy("caller", rule("Allow", "NotAction", "*", action))
			implicit := m.ask(user, r, nil)
			m.setInlinePolicy("caller", object("Version", "2012-10-17", "Statement", []any{
				map[string]any{"Effect": "Allow", "Action": "*", "Resource": "*"}, map[string]any{"Effect": "Deny",
					"Action": strings.ToUpper(action), "Resource": "*"}}))
			explicit := m.ask(user, r, nil)
			m.setInlinePolicy("caller", allow("*"))
			session := m.ask(m.assume(user, "caller", "ci", rule("Allow", "NotAction", "*", action)), r, nil)
			for who, a := range map[string]answer{"a user without": implicit, "a user with a deny of": explicit, "a session without": session} {
				if !a.denied() || !strings.Contains(a.Body, action) && !strings.Contains(a.Body, "with session credentials") {
					t.Errorf("%s: %s the action %s: got %s, want a denial of it", r.Operation, who, action, a)
				}
			}
		}
		m.setInlinePolicy("caller", allow("*"))
	})
	for _, r := range m.rows {
		action := actionOf(r)
		reserved := r.Service == "ecrin" && (slices.Contains(reservedForOperator, r.Operation) || slices.Contains(reservedForRoot, r.Operation))
		if reserved {
			action = "*"
		}
		m.setInlinePolicy("caller", allow(append([]string{or(action, "none:None")}, besides[r.Operation]...)...))
		a := m.ask(user, r, nil)
		switch {
		case reserved:
			if !a.denied() {
				t.Errorf("%s by a user with all permissions: got %s, want a denial", r.Operation, a)
			}
		case slices.Contains(unsigned, r.Operation):
			if a.Status == http.StatusOK {
				t.Errorf("%s with an invalid token: got %s, want a refusal", r.Operation, a)
			}
		case a.denied() || a.Status >= 500:
			t.Errorf("%s by a user with only %s: got %s, want no denial", r.Operation, action, a)
		}
	}
}

// Rows 24 and 26: with invalid or revoked credentials every operation is refused. Temporary credentials of a user
// cannot call IAM. The root user of another account has access only to that account, and the operator only to the
// operations of ecrin.
func TestAttack24CredentialMatrix(t *testing.T) {
	t.Parallel()
	m := newAPIMatrix(t)
	all := allow("*")
	user, gone, off := m.user("caller", all), m.user("gone", all), m.user("off", all)
	session, federated := m.mustQuery(user, "sts", "GetSessionToken"), m.mustQuery(user, "sts", "GetFederationToken", "Name",
		"fed", "Policy", all)
	short, orphan := m.mustQuery(user, "sts", "GetSessionToken", "DurationSeconds", "900"), m.mustQuery(gone, "sts", "GetSessionToken")
	m.mustQuery(m.key, "iam", "UpdateAccessKey", "UserName", "off", "AccessKeyId", off.AccessKeyID, "Status", "Inactive")
	m.mustQuery(m.key, "iam", "DeleteUserPolicy", "UserName", "gone", "PolicyName", "p")
	m.mustQuery(m.key, "iam", "DeleteAccessKey", "UserName", "gone", "AccessKeyId", gone.AccessKeyID)
	m.mustQuery(m.key, "iam", "DeleteUser", "UserName", "gone")
	m.user("gone", all) // a new user with the name of the deleted user
	bare, swapped := session, session
	bare.SessionToken, swapped.SessionToken = "", federated.SessionToken
	wrong := m.key
	wrong.SecretAccessKey += "x"
	for _, c := range []struct {
		who  string
		key  aws.Credentials
		want []string // names in JSON and XML
	}{
		{"no credentials", aws.Credentials{}, []string{"MissingAuthenticationTokenException", "MissingAuthenticationToken"}},
		{"an unknown key", aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}, nil},
		{"a wrong secret", wrong, []string{"InvalidSignatureException", "SignatureDoesNotMatch"}},
		{"a disabled key", off, nil}, {"a deleted user", gone, nil}, {"a deleted user's session", orphan, nil},
		{"a session without its token", bare, nil}, {"a session with the token of another", swapped, nil},
		{"an expired session", short, []string{"ExpiredTokenException", "ExpiredToken"}},
	} {
		if c.want == nil {
			c.want = []string{"UnrecognizedClientException", "InvalidClientTokenId"}
		}
		if c.who == "an expired session" {
			m.advance(15*time.Minute + time.Second)
		}
		m.unchanged(c.who, func() {
			for _, r := range m.rows {
				a := m.ask(c.key, r, nil)
				if r.Operation == unsigned[0] && c.who == "no credentials" {
					if a.failure() != "InvalidIdentityToken" {
						t.Errorf("%s without credentials: got %s, want InvalidIdentityToken", r.Operation, a)
					}
				} else if !slices.Contains(c.want, a.failure()) {
					t.Errorf("%s with %s: got %s, want %s", r.Operation, c.who, a, c.want)
				}
			}
		})
	}
	m.advance(-15*time.Minute - time.Second)
	free := []string{"GetCallerIdentity", "GetAccessKeyInfo"}
	m.unchanged("temporary credentials of a user", func() {
		for _, r := range m.rows {
			if r.Service != "iam" && r.Service != "sts" || slices.Contains(unsigned, r.Operation) {
				continue
			}
			for who, key := range map[string]aws.Credentials{"a session of a user": session, "a federated user": federated} {
				may := slices.Contains(free, r.Operation) || who == "a session of a user" && r.Operation == "AssumeRole"
				if a := m.ask(key, r, nil); a.denied() == may {
					t.Errorf("%s by %s: got %s, want allowed: %t", r.Operation, who, a, may)
				}
			}
		}
	})
	foreign := m.credentials(otherAccount)
	m.unchanged("the root user of another account", func() {
		for _, r := range m.rows {
			also := map[string]string{"registryId": home, "accountId": home}
			q := request(t, r, m.samples, also)
			named := q.has("registryId") || q.has("accountId") || q.has("resourceArn") || r.Service == "ecrin" &&
				q.has("accessKeyId") || r.Operation == "ExplainAccess"
			a := m.ask(foreign, r, also)
			if named && !a.denied() && r.Operation != "RequestAccess" { // with which everyone asks the owner
				t.Errorf("%s by another account: got %s, want a denial", r.Operation, a)
			}
			if a.Status == http.StatusOK && (strings.Contains(a.Body, home+":user/victim") ||
				strings.Contains(a.Body, home+":role/victim") || strings.Contains(a.Body, home+":repository/app")) {
				t.Errorf("%s by another account: the answer names an entity of this account: %s", r.Operation, a)
			}
		}
	})
	ring, err := identity.LoadKeyring(m.Dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	operator := aws.Credentials{AccessKeyID: identity.OperatorKeyID, SecretAccessKey: ring.OperatorSecret().Reveal()}
	m.unchanged("the operator, with operations of AWS", func() {
		for _, r := range m.rows {
			if r.Service == "ecrin" || slices.Contains(unsigned, r.Operation) {
				continue
			}
			a := m.ask(operator, r, map[string]string{"registryId": home})
			if want := []string{"UnrecognizedClientException", "InvalidClientTokenId"}; !slices.Contains(want, a.failure()) {
				t.Errorf("%s by the operator: got %s, want %s", r.Operation, a, want)
			}
		}
	})
	for _, r := range m.rows {
		if a := m.ask(operator, r, nil); r.Service == "ecrin" && a.denied() {
			t.Errorf("%s by the operator: got %s, want no denial", r.Operation, a)
		}
	}
}
