package awsapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/rule/sigv4"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// altered returns s with another character in the middle.
func altered(s string) string {
	other := "A"
	if s[len(s)/2] == 'A' {
		other = "B"
	}
	return s[:len(s)/2] + other + s[len(s)/2+1:]
}

// Row 30: a request of a session is accepted only with the token of the session, signed, and within its time.
func TestAttack30SessionTokens(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("ann", allow("*"))
	one, two := s.mustQuery(user, "sts", "GetSessionToken"), s.mustQuery(user, "sts", "GetSessionToken")
	const target, header = ecrTarget + "DescribeRepositories", "X-Amz-Security-Token"
	with := func(key, token aws.Credentials) aws.Credentials {
		key.SessionToken = token.SessionToken
		return key
	}
	set := func(value ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[header] = value }
	}
	var last *http.Request
	if a := s.send(raw{key: one, target: target, body: `{}`, after: func(r *http.Request) { last = r.Clone(t.Context()) }}); a.Status != 200 {
		t.Fatalf("an unmodified request of a session: got %s, want 200", a)
	}
	for what, q := range map[string]raw{
		"token stripped":                    {key: one, after: set()},
		"token emptied":                     {key: one, after: set("")},
		"token swapped after signing":       {key: one, after: set(two.SessionToken)},
		"token given twice":                 {key: one, after: set(one.SessionToken, one.SessionToken)},
		"two tokens":                        {key: one, after: set(one.SessionToken, two.SessionToken)},
		"token of another session, signed":  {key: with(one, two)},
		"token with a changed letter":       {key: one, after: set(altered(one.SessionToken))},
		"key of a user, token of a session": {key: with(user, one)},
		"key of a session without a token":  {key: with(one, aws.Credentials{})},
		"token added unsigned":              {key: with(one, aws.Credentials{}), after: set(one.SessionToken)},
		"root's key, token added unsigned":  {key: s.key, after: set(one.SessionToken)},
		"token in the query": {key: with(one, aws.Credentials{}), before: func(r *http.Request) {
			r.URL.RawQuery = header + "=" + one.SessionToken
		}},
		"token in header and query": {key: one, before: func(r *http.Request) { r.URL.RawQuery = header + "=" + one.SessionToken }},
		"token in upper case": {key: aws.Credentials{AccessKeyID: one.AccessKeyID,
			SecretAccessKey: one.SecretAccessKey, SessionToken: strings.ToUpper(one.SessionToken)}},
		"another secret": {key: aws.Credentials{AccessKeyID: one.AccessKeyID,
			SecretAccessKey: two.SecretAccessKey, SessionToken: one.SessionToken}},
		"signed 16 minutes ago": {key: one, at: time.Now().Add(-16 * time.Minute)},
		"signed in 16 minutes":  {key: one, at: time.Now().Add(16 * time.Minute)},
	} {
		q.target, q.body = target, `{}`
		if a := s.send(q); a.Status != 400 || strings.Contains(a.Body, `"repositories"`) {
			t.Errorf("%s: got %s, want a refusal", what, a)
		}
	}
	replay := func() answer {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = last.Header.Clone()
		return s.do(r)
	}
	if a := replay(); a.Status != 200 { // as in AWS, a request may be sent again for 15 minutes
		t.Errorf("replayed immediately: got %s, want 200", a)
	}
	s.advance(sigv4.MaxSkew + time.Minute)
	replay().want(t, "replayed after its time", 400, "InvalidSignatureException", "Signature expired")
	s.advance(-sigv4.MaxSkew - time.Minute)

	// In a presigned request the token is part of the signed query.
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/?"+whoAmI+"&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), one, r, hash(""), "sts", region, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if a := s.get(signed); a.Status != 200 || !strings.Contains(a.Body, ":user/ann") {
		t.Fatalf("a presigned GetCallerIdentity of a session: got %s", a)
	}
	for what, address := range map[string]string{
		"without its token": strings.Replace(signed, "X-Amz-Security-Token="+one.SessionToken, "x=y",
			1), "with another token": strings.Replace(signed, one.SessionToken, two.SessionToken, 1),
		"with another key": strings.Replace(signed, one.AccessKeyID, two.AccessKeyID,
			1), "with another action": strings.Replace(signed, "GetCallerIdentity", "GetSessionToken", 1),
		"with a longer life": strings.Replace(signed, "X-Amz-Expires=60", "X-Amz-Expires=3600", 1),
	} {
		if address == signed {
			t.Fatalf("%s: the URL was not changed: %s", what, signed)
		}
		if a := s.get(address); a.Status/100 != 4 || strings.Contains(a.Body, "<Arn>") {
			t.Errorf("presigned, %s: got %s, want a refusal", what, a)
		}
	}
	s.advance(61 * time.Second)
	s.get(signed).wantFailure(t, "presigned, after its minute", "SignatureDoesNotMatch")
}

// Rows 26 and 27: a request that is signed for one service, region or host is refused by another, and an operation that
// is in no table is refused by all.
func TestAttack26ServicesAreApart(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	user := s.user("ann", allow("*"))
	create := "Action=CreateUser&Version=2010-05-08&UserName=eve"
	for what, q := range map[string]raw{
		"IAM signed for STS":       query(raw{body: create, service: "sts"}),
		"IAM signed for ECR":       query(raw{body: create, service: "ecr"}),
		"IAM signed for ecrin":     query(raw{body: create, service: "ecrin"}),
		"IAM signed for S3":        query(raw{body: create, service: "s3"}),
		"IAM of another version":   query(raw{body: strings.Replace(create, "2010-05-08", "2011-06-15", 1), service: "iam"}),
		"IAM without a version":    query(raw{body: "Action=CreateUser&UserName=eve", service: "iam"}),
		"IAM in another case":      query(raw{body: strings.Replace(create, "CreateUser", "createUser", 1), service: "iam"}),
		"IAM twice":                query(raw{body: create + "&UserName=mallory", service: "iam"}),
		"IAM, two actions":         query(raw{body: "Action=GetUser&" + create, service: "iam"}),
		"IAM at the host of STS":   query(raw{body: create, service: "iam", host: "sts.us-east-1.amazonaws.com"}),
		"IAM at the host of ECR":   query(raw{body: create, service: "iam", host: "api.ecr.us-east-1.amazonaws.com"}),
		"IAM at a registry's host": query(raw{body: create, service: "iam", host: home + ".dkr.ecr.us-east-1.amazonaws.com"}),
		"IAM by a GET": query(raw{body: create, service: "iam", before: func(r *http.Request) {
			r.Method = http.MethodGet
		}}),
		"IAM by a target": {target: "AWSIdentityManagementV20100508.CreateUser", body: `{"UserName":"eve"}`, service: "iam"},
		"an operation that IAM does not have": query(raw{
			body: "Action=CreateVirtualMFADevice&Version=2010-05-08&VirtualMFADeviceName=eve", service: "iam"}),
		"an operation that no IAM has":     query(raw{body: "Action=NoOperation&Version=2010-05-08&UserName=eve", service: "iam"}),
		"ecrin's own, signed for ECR":      {target: ecrinTarget + "ListAccounts", body: `{}`, service: "ecr"},
		"ECR signed for ecrin":             {target: ecrTarget + "CreateRepository", body: `{"repositoryName":"eve"}`, service: "ecrin"},
		"a nameless operation":             {target: ecrinTarget, body: `{}`, service: "ecrin"},
		"an operation of the installation": {target: ecrinTarget + "CreateAccount", body: `{"accountId":"222233334444"}`, service: "ecrin"},
		"a peer's operation":               {target: ecrinTarget + "Replicate", body: `{}`, service: "ecrin"},
	} {
		q.key = user
		if a := s.send(q); a.Status/100 != 4 {
			t.Errorf("%s: got %s, want a refusal", what, a)
		}
	}
	for _, name := range []string{"eve", "mallory"} {
		s.callQuery(s.key, "iam", "GetUser", "UserName", name).wantFailure(t, "after all, "+name, "NoSuchEntity")
	}
	if a := s.call("DescribeRepositories", `{}`); a.Body != `{"repositories":[]}` {
		t.Errorf("after all: %s", a)
	}
}

// Row 19: a page token is valid only for its listing: the same operation, account and filters.
func TestAttack19PageTokens(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	otherRoot := s.account(otherAccount)
	for i := range 3 {
		name := fmt.Sprint("r", i)
		s.repository(name)
		s.image(name, "a"+name, "one", "two", "three")
		s.user(fmt.Sprint("u", i), allow("*"))
		s.role(fmt.Sprint("u", i), allow("*"))
		s.mustQuery(otherRoot, "iam", "CreateUser", "UserName", fmt.Sprint("u", i))
	}
	next := func(operation, body string) string { return s.must(operation, body)["nextToken"].(string) }
	tokens := map[string]string{
		"DescribeRepositories": next("DescribeRepositories", `{"maxResults":1}`), "ListImages r0": next("ListImages",
			`{"repositoryName":"r0","maxResults":1}`),
		"ListImages r1": next("ListImages", `{"repositoryName":"r1","maxResults":1}`),
	}
	for operation, kind := range map[string]string{"ListUsers": "UserName", "ListRoles": "RoleName"} {
		a := s.callQuery(s.key, "iam", operation, "MaxItems", "1")
		if tokens[operation] = element(a.Body, "Marker"); tokens[operation] == "" {
			t.Fatalf("%s has no marker: %s", kind, a)
		}
	}
	trail := s.callEcrin(s.key, "ListAuditEvents", `{"maxResults":1}`)
	tokens["ListAuditEvents"] = strings.TrimSuffix(trail.Body[strings.LastIndex(trail.Body, `"nextToken":"`)+len(`"nextToken":"`):], `"}`)
	listings := map[string]func(token string) answer{
		"DescribeRepositories": func(token string) answer {
			return s.call("DescribeRepositories", object("maxResults", 1, "nextToken", token))
		},
		"ListImages r0": func(token string) answer {
			return s.call("ListImages", object("repositoryName", "r0", "nextToken", token))
		},
		"ListImages r1": func(token string) answer {
			return s.call("ListImages", object("repositoryName", "r1", "nextToken", token))
		},
		"ListUsers":       func(token string) answer { return s.callQuery(s.key, "iam", "ListUsers", "Marker", token) },
		"ListRoles":       func(token string) answer { return s.callQuery(s.key, "iam", "ListRoles", "Marker", token) },
		"ListAuditEvents": func(token string) answer { return s.callEcrin(s.key, "ListAuditEvents", object("nextToken", token)) },
	}
	otherListings := map[string]func(token string) answer{
		"DescribeImages r0": func(token string) answer {
			return s.call("DescribeImages", object("repositoryName", "r0", "nextToken", token))
		},
		"ListTagHistory": func(token string) answer {
			return s.callEcrin(s.key, "ListTagHistory", object("repositoryName", "r0", "nextToken", token))
		},
		"another account's ListUsers": func(token string) answer { return s.callQuery(otherRoot, "iam", "ListUsers", "Marker", token) },
		"ListUsers with a prefix": func(token string) answer {
			return s.callQuery(s.key, "iam", "ListUsers", "PathPrefix", "/x/", "Marker", token)
		},
		"ListAccessKeys": func(token string) answer {
			return s.callQuery(s.key, "iam", "ListAccessKeys", "UserName", "u0", "Marker", token)
		},
		"another account's DescribeRepositories": func(token string) answer {
			return s.send(raw{key: otherRoot, target: ecrTarget + "DescribeRepositories", body: object("nextToken", token)})
		},
	}
	for of, token := range tokens {
		for by, list := range listings {
			if a := list(token); (a.Status == 200) != (of == by) {
				t.Errorf("the token of %s in %s: got %s, want success: %t", of, by, clip(a.String()), of == by)
			}
		}
		for by, list := range otherListings {
			if a := list(token); a.Status/100 != 4 {
				t.Errorf("the token of %s in %s: got %s, want a refusal", of, by, clip(a.String()))
			}
		}
		if a := listings[of](altered(token)); a.Status == 200 {
			t.Errorf("a changed token of %s: got %s, want a refusal", of, clip(a.String()))
		}
	}
}

// Row 31, by the APIs: an invalid policy is refused with line and column, and the stored policy does not change.
func TestAttack31BadPolicies(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.user("ann", allow("ecr:ListImages"))
	const start = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",`
	deep := strings.Repeat("[", 900) + strings.Repeat("]", 900)
	for what, text := range map[string]string{
		"no JSON":             `{"Version":"2012-10-17",` + "\n" + `"Statement":[}`,
		"a comma too many":    start + "\n" + `"Action":"ecr:*","Resource":"*",}]}`,
		"two documents":       start + `"Action":"ecr:*","Resource":"*"}]}` + "\n{}",
		"an element twice":    start + `"Action":"ecr:*",` + "\n" + `"Action":"*","Resource":"*"}]}`,
		"an unknown element":  start + "\n" + `"Actions":"ecr:*","Resource":"*"}]}`,
		"an unknown effect":   strings.Replace(start, "Allow", "allow", 1) + `"Action":"ecr:*","Resource":"*"}]}`,
		"an unknown operator": start + `"Action":"ecr:*","Resource":"*",` + "\n" + `"Condition":{"StringMatches":{"aws:username":"x"}}}]}`,
		"an unknown version":  strings.Replace(start, "2012", "2013", 1) + `"Action":"ecr:*","Resource":"*"}]}`,
		"deep arrays":         start + `"Action":` + deep + `,"Resource":"*"}]}`,
		"deep objects": start + `"Condition":` + strings.Repeat(`{"a":`, 300) + "1" + strings.Repeat("}", 300) +
			`,"Action":"ecr:*","Resource":"*"}]}`,
		"an unfinished depth":    strings.Repeat("[", 1500),
		"a number for an action": start + `"Action":1e999,"Resource":"*"}]}`,
		"a lone surrogate":       start + `"Action":"ecr:\ud800","Resource":"*"}]}`,
		"a NUL":                  start + `"Action":"ecr:\u0000","Resource":"*"}]}`,
		"nothing":                " ",
		"null":                   "null",
		"no statement":           `{"Version":"2012-10-17","Statement":[]}`,
	} {
		user := s.callQuery(s.key, "iam", "PutUserPolicy", "UserName", "ann", "PolicyName", "p", "PolicyDocument", text)
		managed := s.callQuery(s.key, "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument", text)
		repository := s.call("SetRepositoryPolicy", object("repositoryName", "app", "policyText", text))
		session := s.callQuery(s.key, "sts", "GetFederationToken", "Name", "fed", "Policy", text)
		for operation, a := range map[string]answer{"PutUserPolicy": user, "CreatePolicy": managed,
			"SetRepositoryPolicy": repository, "GetFederationToken": session} {
			if a.Status != 400 || !strings.Contains(a.Body, "line ") || !strings.Contains(a.Body, "column ") {
				t.Errorf("%s with %s: got %s, want 400 with line and column", operation, what, clip(a.String()))
			}
		}
	}
	for operation, a := range map[string]answer{
		"PutUserPolicy": s.callQuery(s.key, "iam", "PutUserPolicy", "UserName", "ann", "PolicyName", "p",
			"PolicyDocument", allow(strings.Repeat("ecr:a", 1000))),
		"CreatePolicy": s.callQuery(s.key, "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument",
			allow(strings.Repeat("ecr:a", 2000))),
		"CreatePolicy, huge":  s.callQuery(s.key, "iam", "CreatePolicy", "PolicyName", "p", "PolicyDocument", strings.Repeat("[", 200_000)),
		"SetRepositoryPolicy": s.call("SetRepositoryPolicy", object("repositoryName", "app", "policyText", strings.Repeat("[", 20_000))),
		"PutRegistryPolicy":   s.call("PutRegistryPolicy", object("policyText", strings.Repeat("[", 900_000))),
	} {
		if a.Status/100 != 4 {
			t.Errorf("%s with a policy that is too long: got %s, want a refusal", operation, clip(a.String()))
		}
	}
	s.callQuery(s.key, "iam", "GetPolicy", "PolicyArn", "arn:aws:iam::"+home+":policy/p").wantFailure(t,
		"after all, the managed policy", "NoSuchEntity")
	s.wantError("GetRepositoryPolicy", `{"repositoryName":"app"}`, "RepositoryPolicyNotFoundException", "")
	if a := s.callQuery(s.key, "iam", "GetUserPolicy", "UserName", "ann", "PolicyName", "p"); !strings.Contains(a.Body, "ListImages") {
		t.Errorf("after all, the user's policy: %s", a)
	}
}

// Row 31, by the APIs: a decision about the longest pattern that can be stored and the longest text that a request can
// have is as fast as others.
func TestAttack31SlowPatterns(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	ann := s.user("ann", allow("ecr:ListImages"))
	with := func(pattern string) string {
		return object("repositoryName", "app", "policyText", object("Version", "2012-10-17", "Statement", []any{map[string]any{
			"Effect": "Deny", "Principal": "*", "Action": "ecr:*", "Condition": map[string]any{
				"StringLike": map[string]string{"aws:UserAgent": pattern}}}}))
	}
	s.wantError("SetRepositoryPolicy", with(strings.Repeat("*a", 4000)+"*b"), "InvalidParameterException", "has at most 2048 bytes")
	s.must("SetRepositoryPolicy", with(strings.Repeat("*a", 1000)+"*b"))
	start := time.Now()
	// A text that would take more than the budget of a decision is denied.
	for agent, want := range map[string]bool{
		strings.Repeat("a", 1000): false, strings.Repeat("a", 1000) + "b": true, strings.Repeat("ab", 500) + "a": false,
		strings.Repeat("a", 50_000): true, strings.Repeat("a", 50_000) + "b": true,
	} {
		a := s.send(raw{key: ann, target: ecrTarget + "ListImages", body: `{"repositoryName":"app"}`, before: func(r *http.Request) {
			r.Header.Set("User-Agent", agent)
		}})
		if a.denied() != want || !want && a.Status != 200 {
			t.Errorf("a user agent of %d bytes that ends with %q: got %s, want denied %t", len(agent), agent[len(agent)-1:], clip(a.String()), want)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("five requests took %s, want at most 20s", took)
	}
}

// Row 18, by the APIs: only a token that the key of the provider has signed, for this audience and time, can assume a
// role.
func TestAttack18WebIdentities(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *config.Config) { c.EgressAllow = []string{"127.0.0.1/32"} })
	i, attacker := oidctest.Start(t, oidctest.Options{}), oidctest.Start(t, oidctest.Options{})
	host := strings.TrimPrefix(i.URL(), "https://")
	s.mustQuery(s.key, "iam", "CreateOpenIDConnectProvider", "Url", i.URL(), "ThumbprintList.member.1", i.Thumbprint(),
		"ClientIDList.member.1", oidctest.Audience)
	s.mustQuery(s.key, "iam", "CreateRole", "RoleName", "web", "AssumeRolePolicyDocument",
		object("Version", "2012-10-17", "Statement", []any{map[string]any{
			"Effect": "Allow", "Principal": map[string]string{"Federated": "arn:aws:iam::" + home + ":oidc-provider/" +
				host}, "Action": "sts:AssumeRoleWithWebIdentity",
			// The host of the server has no region, and the request is not signed for one: it is that of the default registry.
			"Condition": map[string]any{"StringEquals": map[string]string{host + ":sub": "good", "aws:RequestedRegion": region}}}}))
	ask := func(token string) answer {
		return s.callQuery(aws.Credentials{}, "sts", "AssumeRoleWithWebIdentity", "RoleArn", "arn:aws:iam::"+home+":role/web",
			"RoleSessionName", "ci", "WebIdentityToken", token)
	}
	if a := ask(i.Mint(i.Claims("good"))); a.Status != 200 {
		t.Fatalf("a good token: got %s", a)
	}
	claims := func(key string, value any) map[string]any {
		c := i.Claims("good")
		c[key] = value
		return c
	}
	parts := strings.Split(i.Mint(i.Claims("good")), ".")
	none := "eyJhbGciOiJub25lIn0." + parts[1] + "."
	for what, token := range map[string]string{
		"no signature": none, "a stripped signature": parts[0] + "." + parts[1] +
			".", "a signature of another token": parts[0] + "." + strings.Split(i.Mint(i.Claims("other")), ".")[1] + "." + parts[2],
		"a key in the token": attacker.Sign(map[string]any{"alg": "RS256", "kid": "key-1", "jwk": attacker.JWK("key-1")},
			i.Claims("good"), "key-1"),
		"a key at the attacker's": attacker.Sign(map[string]any{"alg": "RS256", "kid": "key-1",
			"jku": attacker.URL() + oidctest.Keys}, i.Claims("good"), "key-1"),
		"the attacker's own": attacker.Mint(attacker.Claims("good")), "another subject": i.Mint(i.Claims("evil")),
		"another audience":       i.Mint(claims("aud", "others")),
		"an end in the past":     i.Mint(claims("exp", time.Now().Add(-time.Hour).Unix())),
		"a start in the future":  i.Mint(claims("nbf", time.Now().Add(time.Hour).Unix())),
		"an issuer with a slash": i.Mint(claims("iss", i.URL()+"/")),
	} {
		if a := ask(token); a.Status/100 != 4 || element(a.Body, "SecretAccessKey") != "" {
			t.Errorf("a token with %s: got %s, want a refusal", what, a)
		}
	}
	if attacker.Requests() > 0 {
		t.Errorf("the server of the attacker received %d requests, want none", attacker.Requests())
	}
	// The role cannot be assumed by AssumeRole, nor with a token instead of a signature.
	s.callQuery(s.user("ann", allow("*")), "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+home+":role/web",
		"RoleSessionName", "ci").wantFailure(t, "AssumeRole of the web role", "AccessDenied")
	s.callQuery(aws.Credentials{}, "sts", "AssumeRole", "RoleArn", "arn:aws:iam::"+home+":role/web", "RoleSessionName", "ci",
		"WebIdentityToken", i.Mint(i.Claims("good"))).wantFailure(t, "AssumeRole without a signature", "MissingAuthenticationToken")
}
