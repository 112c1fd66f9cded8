package awsapi_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
)

// Operations of the model that are not built answer UnsupportedOperationException, regardless of the input; other
// operations are unknown.
func TestAttack26UnknownOperations(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	all := awsapi.ECROperations()
	if len(all) != 62 {
		t.Errorf("got %d operations, want 62", len(all))
	}
	for _, o := range all {
		a := s.call(o.Name, `{}`)
		switch {
		case !o.Built:
			a.want(t, o.Name, 400, "UnsupportedOperationException", "ecrin does not have the operation "+o.Name+" yet")
		case a.Type == "UnsupportedOperationException" || a.Type == "UnknownOperationException":
			t.Errorf("%s is built and answers %s", o.Name, a)
		}
	}
	for _, target := range []string{
		ecrTarget, ecrTarget + "NoOperation", ecrTarget + "createRepository", "CreateRepository",
		"AmazonEC2ContainerRegistry_V20990101.CreateRepository", "Ecrin_2026.CreateAccount", "x." + ecrTarget +
			"CreateRepository", "GetCallerIdentity",
	} {
		s.send(raw{key: s.key, target: target, body: `{}`}).want(t, "X-Amz-Target "+target, 400, "UnknownOperationException",
			"is not an operation of")
	}
	s.send(raw{key: s.key, body: `{}`}).want(t, "no X-Amz-Target", 400, "UnknownOperationException", "")
	for _, method := range []string{"GET", "PUT", "DELETE", "OPTIONS"} {
		s.send(raw{key: s.key, target: ecrTarget + "DescribeRepositories", before: func(r *http.Request) { r.Method = method }}).
			want(t, method+" /", 400, "UnknownOperationException", "")
	}
	for _, path := range []string{"/admin", "/debug/pprof/", "/v1/", "/api/accounts"} {
		a := s.send(raw{key: s.key, target: ecrTarget + "DescribeRepositories", before: func(r *http.Request) { r.URL.Path = path }})
		a.want(t, "POST "+path, 400, "UnknownOperationException", "")
	}
}

// The operations of ecrin are for the operator; the root user of an account may use some of them on its account.
func TestAttack26OwnOperations(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	other := s.account("111122223333")
	s.repository("app")
	own := func(key aws.Credentials, operation, body string) answer {
		t.Helper()
		return s.send(raw{key: key, target: ecrinTarget + operation, service: "ecrin", body: body})
	}
	for _, c := range []struct{ operation, body string }{
		{"CreateAccount", `{"accountId":"999999999999"}`},
		{"ListAccounts", `{}`},
		{"DeleteAccount", `{"accountId":"000000000000","force":true}`},
		{"DeleteAccount", `{"accountId":"111122223333"}`},
		{"GetAccountCredentials", `{}`},
		{"GetAccountCredentials", `{"accountId":"000000000000"}`},
		{"ListAccessKeys", `{"accountId":"000000000000"}`},
		{"CreateAccessKey", `{"accountId":"000000000000"}`},
		{"UpdateAccessKey", `{"accessKeyId":"` + s.key.AccessKeyID + `","status":"INACTIVE"}`},
		{"DeleteAccessKey", `{"accessKeyId":"` + s.key.AccessKeyID + `"}`},
		{"DeleteAccessKey", `{"accessKeyId":"AKIAAAAAAAAAAAAAAAAA"}`},
		{"ListTokens", `{"accountId":"000000000000"}`},
		{"RevokeToken", `{"accountId":"000000000000","all":true}`},
		{"ListTagHistory", `{"registryId":"000000000000","repositoryName":"app"}`},
		{"ListDeletedImages", `{"registryId":"000000000000","repositoryName":"app"}`},
		{"RestoreImage", `{"registryId":"000000000000","repositoryName":"app","imageDigest":"` + digestOf("a") + `"}`},
	} {
		own(other, c.operation, c.body).want(t, "root of another account: "+c.operation+c.body, 400, "AccessDeniedException",
			"User: arn:aws:iam::111122223333:root is not authorized to perform: ecrin:"+c.operation)
		own(aws.Credentials{}, c.operation, c.body).want(t, "without credentials: "+c.operation, 400, "MissingAuthenticationTokenException", "")
	}
	for operation, body := range map[string]string{"ListAccessKeys": `{}`, "ListTokens": `{}`, "RevokeToken": `{"all":true}`} {
		if a := own(other, operation, body); a.Status != 200 {
			t.Errorf("root on its own account: %s: got %s, want 200", operation, a)
		}
	}
	own(s.key, "RevokeToken", `{}`).want(t, "RevokeToken of nothing", 400, "InvalidParameterException", "either")
	own(s.key, "RevokeToken", `{"tokenId":"0123456789abcdef","all":true}`).want(t, "RevokeToken of both", 400,
		"InvalidParameterException", "either")
}

const ecrinTarget = "Ecrin_20261101."

// The key of the operator is only for the operations of ecrin, not for registries.
func TestAttack26OperatorHasNoRegistry(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	ring, err := identity.LoadKeyring(s.Dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	operator := aws.Credentials{AccessKeyID: identity.OperatorKeyID, SecretAccessKey: ring.OperatorSecret().Reveal()}
	for operation, body := range map[string]string{
		"GetAuthorizationToken": `{}`, "ListImages": `{"registryId":"000000000000","repositoryName":"app"}`,
		"DeleteRepository":     `{"registryId":"000000000000","repositoryName":"app","force":true}`,
		"DescribeRepositories": `{"registryId":"000000000000"}`, "DescribeRegistry": `{}`,
		"ListTagsForResource": `{"resourceArn":"arn:aws:ecr:us-east-1:000000000000:repository/app"}`,
		"PutAccountSetting":   `{"name":"BLOB_MOUNTING","value":"DISABLED"}`,
	} {
		s.send(raw{key: operator, target: ecrTarget + operation, body: body}).want(t, "operator: "+operation, 400, "UnrecognizedClientException",
			"The security token included in the request is invalid.")
	}
}

// The root user of one account has no access to another account, in any form of naming that account.
func TestAttack27AnotherAccount(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "latest")
	foreign := s.account("111122223333")
	const arn = "arn:aws:ecr:us-east-1:000000000000:repository/app"
	d, upload := digestOf(`{"seed":"a"}`), "6f1c1bd4-0cf8-4a4e-9f2e-3d6f3a6e8f10"
	inputs := map[string][]any{
		"CreateRepository": {}, "DeleteRepository": {"force", true}, "GetRepositoryPolicy": {}, "DeleteRepositoryPolicy": {}, "ListImages": {},
		"DescribeImages": {}, "InitiateLayerUpload": {}, "PutImageTagMutability": {"imageTagMutability", "IMMUTABLE"},
		"SetRepositoryPolicy": {"policyText", openPolicy}, "BatchGetImage": {"imageIds", ids("", "latest")},
		"BatchDeleteImage": {"imageIds", ids("", "latest")}, "PutImage": {"imageManifest", "{}"},
		"PutImageScanningConfiguration": {"imageScanningConfiguration", map[string]bool{"scanOnPush": true}},
		"ListImageReferrers":            {"subjectId", map[string]string{"imageDigest": d}},
		"UploadLayerPart":               {"uploadId", upload, "partFirstByte", 0, "partLastByte", 0, "layerPartBlob", "YQ=="},
		"CompleteLayerUpload":           {"uploadId", upload, "layerDigests", []string{d}},
		"BatchCheckLayerAvailability":   {"layerDigests", []string{d}}, "GetDownloadUrlForLayer": {"layerDigest", d},
		"PutLifecyclePolicy": {"lifecyclePolicyText", expireAfter(90)}, "GetLifecyclePolicy": {}, "DeleteLifecyclePolicy": {},
		"StartLifecyclePolicyPreview": {}, "GetLifecyclePolicyPreview": {},
		"DescribeImageReplicationStatus": {"imageId", map[string]string{"imageDigest": d}},
	}
	actions := map[string]string{"ListImageReferrers": "BatchGetImage"}
	for operation, members := range inputs {
		for _, repo := range []string{"app", "none"} { // the denial is the same for an existing and an unknown repository
			body := object(append(members, "registryId", home, "repositoryName", repo)...)
			action := or(actions[operation], operation)
			s.send(raw{key: foreign, target: ecrTarget + operation, body: body}).want(t, operation, 400, "AccessDeniedException",
				"User: arn:aws:iam::111122223333:root is not authorized to perform: ecr:"+action+
					" on resource: arn:aws:ecr:us-east-1:000000000000:repository/"+repo+
					" because no resource-based policy allows the ecr:"+action+" action")
		}
	}
	s.send(raw{key: foreign, target: ecrTarget + "DescribeRepositories", body: `{"registryId":"000000000000"}`}).want(t,
		"DescribeRepositories", 400,
		"AccessDeniedException", "on resource: arn:aws:ecr:us-east-1:000000000000:repository/* because")
	for operation, members := range map[string][]any{
		"TagResource": {"tags", tagList(1)}, "UntagResource": {"tagKeys", []string{"k"}}, "ListTagsForResource": {},
	} {
		s.send(raw{key: foreign, target: ecrTarget + operation, body: object(append(members, "resourceArn", arn)...)}).
			want(t, operation, 400, "AccessDeniedException", "on resource: "+arn)
	}
	rules := map[string][]any{
		"CreatePullThroughCacheRule": {"ecrRepositoryPrefix", "cache", "upstreamRegistryUrl", "quay.io"}, "DescribePullThroughCacheRules": {},
		"UpdatePullThroughCacheRule": {"ecrRepositoryPrefix", "cache"}, "DeletePullThroughCacheRule": {"ecrRepositoryPrefix", "cache"},
		"ValidatePullThroughCacheRule": {"ecrRepositoryPrefix", "cache"}, "ListReplicationBackfills": {},
		"StartReplicationBackfill":           {"destination", map[string]string{"region": "eu-west-1", "registryId": home}},
		"StopReplicationBackfill":            {"replicationBackfillId", "1"},
		"DescribeReplicationBackfillResults": {"replicationBackfillId", "1"},
	}
	for operation, members := range rules {
		s.send(raw{key: foreign, target: ecrTarget + operation, body: object(append(members, "registryId", home)...)}).
			want(t, operation, 400, "AccessDeniedException", "on resource: * because")
	}
	// Without registryId the registry is that of the caller, where the name is unknown.
	s.send(raw{key: foreign, target: ecrTarget + "ListImages", body: `{"repositoryName":"app"}`}).want(t, "ListImages", 400,
		"RepositoryNotFoundException", "in the registry with id '111122223333'")
	a := s.send(raw{key: foreign, target: ecrTarget + "BatchGetRepositoryScanningConfiguration", body: `{"repositoryNames":["app"]}`})
	if a.Status != 200 || !strings.Contains(a.Body, "REPOSITORY_NOT_FOUND") {
		t.Errorf("BatchGetRepositoryScanningConfiguration of the own registry: got %s, want that it has no app", a)
	}
	built := 0
	for _, o := range awsapi.ECROperations() {
		if o.Built {
			built++
		}
	}
	// GetAuthorizationToken, DescribeRegistry, two operations of settings, three of the registry policy, four of creation templates, three
	// of pull time update exclusions, the replication configuration and three of scanning configurations.
	const withoutAccount = 18
	if n := len(inputs) + len(rules) + 1 + 3 + withoutAccount; n != built {
		t.Errorf("the test has %d operations, want all %d that are built", n, built)
	}
}

// Host, scope and key must agree on service and region.
func TestAttack27ScopeAndHost(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const target = ecrTarget + "DescribeRepositories"
	for _, c := range []struct{ host, service, region, want string }{
		{"", "ecr", "us-east-1", ""},
		{"", "ecr", "eu-central-1", ""},
		{"api.ecr.us-east-1.amazonaws.com", "ecr", "us-east-1", ""},
		{"ecr.eu-west-1.api.aws", "ecr", "eu-west-1", ""},
		{"api.ecr.us-east-1.amazonaws.com", "ecr", "eu-west-1", "is in region us-east-1"},
		{"api.ecr.us-east-1.amazonaws.com", "sts", "us-east-1", "not to 'sts'"},
		{"sts.us-east-1.amazonaws.com", "ecr", "us-east-1", "not to 'ecr'"},
		{"iam.amazonaws.com", "ecr", "us-east-1", "not to 'ecr'"},
		{"api.ecr.us-east-1.amazonaws.com", "ecrin", "us-east-1", "not to 'ecrin'"},
		{"000000000000.dkr.ecr.us-east-1.amazonaws.com", "ecr", "us-east-1", "not to 'ecr'"},
		{"", "s3", "us-east-1", "not to 's3'"},
		{"", "ecr", "nowhere", "valid region"},
		{"", "ecr", "us-east-1x", "valid region"},
	} {
		a := s.send(raw{key: s.key, target: target, body: `{}`, host: c.host, service: c.service, region: c.region})
		if c.want == "" && a.Status != 200 || c.want != "" && (a.Status == 200 || !strings.Contains(a.Body, c.want)) {
			t.Errorf("host %q, scope %s/%s: got %s, want %q", c.host, c.region, c.service, a, c.want)
		}
	}
	a := s.send(raw{key: s.key, target: target, body: `{}`, host: "12345.dkr.ecr.us-east-1.amazonaws.com"})
	a.want(t, "a host that is almost a registry", 400, "InvalidParameterException", "Could not resolve registry id from host")
	// A repository of one region is not in another.
	s.repository("app")
	s.send(raw{key: s.key, target: ecrTarget + "ListImages", body: `{"repositoryName":"app"}`, region: "eu-west-1"}).
		want(t, "another region", 400, "RepositoryNotFoundException", "")
}

func TestAttack30Signatures(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	const target = ecrTarget + "DescribeRepositories"
	wrong := aws.Credentials{AccessKeyID: s.key.AccessKeyID, SecretAccessKey: s.key.SecretAccessKey + "x"}
	session := s.key
	session.SessionToken = "anything"
	replace := func(header, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(header, value) }
	}
	for _, c := range []struct {
		what, exception, text string
		q                     raw
	}{
		{"no credentials", "MissingAuthenticationTokenException", "Missing Authentication Token", raw{}},
		{"an unknown key", "UnrecognizedClientException", "The security token included in the request is invalid.",
			raw{key: aws.Credentials{AccessKeyID: "AKIAAAAAAAAAAAAAAAAA", SecretAccessKey: "x"}}},
		{"a session token", "UnrecognizedClientException", "The security token included in the request is invalid.", raw{key: session}},
		{"a wrong secret", "InvalidSignatureException", "does not match", raw{key: wrong}},
		{"half a signature", "IncompleteSignatureException", "",
			raw{key: s.key, after: replace("Authorization", "AWS4-HMAC-SHA256 Credential=a")}},
		{"Basic", "IncompleteSignatureException", "", raw{key: s.key, after: replace("Authorization", "Basic QVdTOng=")}},
		{"signed an hour ago", "InvalidSignatureException", "Signature expired", raw{key: s.key, at: time.Now().Add(-time.Hour)}},
		{"signed in an hour", "InvalidSignatureException", "Signature not yet current", raw{key: s.key, at: time.Now().Add(time.Hour)}},
		{"another body", "InvalidSignatureException", "", raw{key: s.key, after: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(`[]`))
		}}},
		{"another target", "InvalidSignatureException", "", raw{key: s.key, after: replace("X-Amz-Target", ecrTarget+"ListImages")}},
		{"another host", "InvalidSignatureException", "", raw{key: s.key, after: func(r *http.Request) {
			r.Host = "api.ecr.us-east-1.amazonaws.com"
		}}},
		{"a query that was not signed", "InvalidSignatureException", "", raw{key: s.key, after: func(r *http.Request) {
			r.URL.RawQuery = "a=b"
		}}},
		{"the hash of another body", "InvalidSignatureException", "", raw{key: s.key, before: replace("X-Amz-Content-Sha256", hash("other"))}},
		{"an unsigned body", "InvalidSignatureException", "", raw{key: s.key, before: replace("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")}},
		{"a streamed body", "InvalidSignatureException", "",
			raw{key: s.key, before: replace("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")}},
	} {
		c.q.target, c.q.body = target, `{}`
		s.send(c.q).want(t, c.what, 400, c.exception, c.text)
	}
	for _, offset := range []time.Duration{-14 * time.Minute, 14 * time.Minute} {
		if a := s.send(raw{key: s.key, target: target, body: `{}`, at: time.Now().Add(offset)}); a.Status != 200 {
			t.Errorf("signed %s from now: got %s, want 200", offset, a)
		}
	}
}

func TestRequestForms(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for body, exception := range map[string]string{
		`[]`: "SerializationException", `{"repositoryNames":`: "SerializationException", "\xff": "SerializationException",
		`{"repositoryNames":"app"}`: "SerializationException", `{"maxResults":"5"}`: "SerializationException", `{} {}`: "SerializationException",
		`{"repositorynames":["app"]}`: "", `{"accountId":"1"}`: "",
	} {
		a := s.call("DescribeRepositories", body)
		if a.Status != 400 || exception != "" && a.Type != exception {
			t.Errorf("DescribeRepositories %q: got %s, want 400 %s", body, a, exception)
		}
		if exception == "" && !strings.Contains(a.Message, strings.Split(body, `"`)[1]) {
			t.Errorf("DescribeRepositories %q: got %q, want the name of the unknown member", body, a.Message)
		}
	}
	huge := s.call("DescribeRepositories", `{"nextToken":"`+strings.Repeat("A", 1<<20)+`"}`)
	huge.want(t, "a body of more than 1 MiB", 413, "RequestEntityTooLargeException", "")
	for operation, body := range map[string]string{"PutImage": strings.Repeat(" ", 12<<20) + "{}"} {
		s.call(operation, body).want(t, operation+" with a huge body", 413, "RequestEntityTooLargeException", "")
	}
	s.repository("app")
	s.wantError("PutImage", object("repositoryName", "app", "imageManifest", strings.Repeat("a", 4<<20+1)),
		"InvalidParameterException", "'imageManifest'")
}

// With the quirk ignore-unknown-members, members that an operation does not have are ignored, as probably in ECR.
func TestUnknownMembersIgnored(t *testing.T) {
	t.Parallel()
	s := serve(t, strict("ignore-unknown-members"))
	s.must("DescribeRepositories", `{"accountId":"1","more":{"a":[1,null]}}`)
	s.must("CreateRepository", `{"repositoryName":"app","kind":"x"}`)
}

// No answer and no line of the log contains a secret, a signature or a token, except an answer that returns it by
// purpose.
func TestAttack34SecretsInAnswersAndLogs(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	bad := s.key
	bad.AccessKeyID = "AKIAAAAAAAAAAAAAAAAA"
	token := list(s.must("GetAuthorizationToken", `{}`), "authorizationData")[0]["authorizationToken"].(string)
	s.repository("app")
	s.image("app", "a", "latest")
	link := s.link("app", digestOf(`{"seed":"a"}`))
	s.get(link)
	secrets := []string{s.key.SecretAccessKey, token, strings.SplitN(link, "mac=", 2)[1]}
	for _, q := range []raw{
		{key: s.key, target: ecrTarget + "DescribeRepositories", body: `{}`}, {key: bad, target: ecrTarget + "DescribeRepositories", body: `{}`},
		{key: s.key, target: ecrinTarget + "ListAccessKeys", service: "ecrin", body: `{}`}, {key: s.key,
			target: ecrinTarget + "ListTokens", service: "ecrin", body: `{}`},
		{key: s.key, target: ecrTarget + "DescribeRepositories", body: `{"nextToken":"` + s.key.SecretAccessKey + `"}`},
		query(raw{key: s.key, body: whoAmI + "&Secret=" + s.key.SecretAccessKey}),
	} {
		q.after = func(r *http.Request) {
			_, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
			secrets = append(secrets, signature)
		}
		a := s.send(q)
		for _, secret := range secrets {
			if strings.Contains(a.Body, secret) {
				t.Errorf("%s%s: the answer contains a secret: %s", q.target, q.body, a)
			}
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v2/app/manifests/latest", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Basic "+token)
	if a := s.do(r); a.Status != 200 {
		t.Errorf("a pull with the token: got %s, want 200", a)
	}
	log := s.Log.String()
	if strings.Count(log, `"msg":"request"`) < 10 {
		t.Fatalf("the log has fewer than 10 requests: %s", log)
	}
	password, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range append(secrets, strings.TrimPrefix(string(password), "AWS:")) {
		if strings.Contains(log, secret) {
			t.Errorf("the log contains %q", secret)
		}
	}
}
