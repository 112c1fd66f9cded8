package trail_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/test/oidctest"
)

// emptySHA256 is the digest of an empty body.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// webIdentity creates an identity provider for issuer, and the role "web" that its tokens may assume.
func (a actor) webIdentity(t *testing.T, issuer *oidctest.Issuer) (role, provider string) {
	t.Helper()
	out, err := a.iam().CreateOpenIDConnectProvider(t.Context(), &iam.CreateOpenIDConnectProviderInput{
		Url: aws.String(issuer.URL()), ClientIDList: []string{oidctest.Audience}, ThumbprintList: []string{issuer.Thumbprint()},
	})
	provider = *must(t, out, err).OpenIDConnectProviderArn
	return a.role(t, "web", `{"Federated":"`+provider+`"}`, "sts:AssumeRoleWithWebIdentity", `"ecr:*"`), provider
}

// Every kind of caller has its userIdentity in the events of the OCI distribution API and the signed APIs. Source:
// CloudTrail user guide, userIdentity element.
func TestUserIdentity(t *testing.T) {
	t.Parallel()
	issuer := oidctest.Start(t, oidctest.Options{})
	s := apptest.Start(t, apptest.Options{Config: func(c *config.Config) {
		c.Anonymous, c.EgressAllow = true, []string{"127.0.0.1/32"}
	}})
	owner := root(s.Root(t), s)
	_, err := owner.ecr().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("team/app")})
	must(t, 0, err)
	alice := owner.user(t, "alice", `["ecr:*","sts:*"]`)
	ciARN := owner.role(t, "ci", `{"AWS":"`+home+`"}`, `sts:*`, `"ecr:*"`)
	webARN, provider := owner.webIdentity(t, issuer)

	assumed, err := alice.sts().AssumeRole(t.Context(),
		&sts.AssumeRoleInput{RoleArn: &ciARN, RoleSessionName: aws.String("build-7"), SourceIdentity: aws.String("alice")})
	ci := alice.with(must(t, assumed, err).Credentials)
	federated, err := alice.sts().GetFederationToken(t.Context(),
		&sts.GetFederationTokenInput{Name: aws.String("guest"), Policy: aws.String(allow(`"ecr:*"`))})
	guest := alice.with(must(t, federated, err).Credentials)
	short, err := alice.sts().GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	temporary := alice.with(must(t, short, err).Credentials)
	token := issuer.Mint(issuer.Kubernetes("apps", "web"))
	byToken, err := owner.sts().AssumeRoleWithWebIdentity(t.Context(),
		&sts.AssumeRoleWithWebIdentityInput{RoleArn: &webARN, RoleSessionName: aws.String("pod"), WebIdentityToken: &token})
	pod := owner.with(must(t, byToken, err).Credentials)

	arn := "arn:aws:iam::" + home + ":"
	aliceID := userID(t, owner, "alice")
	roleOf := func(called, arn string) map[string]any {
		return map[string]any{"type": "Role", "principalId": roleID(t, owner, called), "arn": arn, "accountId": home, "userName": called}
	}
	attributes := map[string]any{"creationDate": "", "mfaAuthenticated": "false"}
	issuedByAlice := map[string]any{"type": "IAMUser", "principalId": aliceID, "arn": arn + "user/alice", "accountId": home,
		"userName": "alice"}
	for what, test := range map[string]struct {
		actor
		want map[string]any
	}{
		"root": {owner, map[string]any{"type": "Root", "principalId": home, "arn": arn + "root", "accountId": home}},
		"user": {alice, map[string]any{"type": "IAMUser", "principalId": aliceID, "arn": arn + "user/alice", "accountId": home,
			"userName": "alice"}},
		"role session": {ci, map[string]any{
			"type": "AssumedRole", "principalId": roleID(t, owner, "ci") + ":build-7", "arn": "arn:aws:sts::" + home +
				":assumed-role/ci/build-7", "accountId": home,
			"sessionContext": map[string]any{"sessionIssuer": roleOf("ci", ciARN), "attributes": attributes, "sourceIdentity": "alice"},
		}},
		"federated user": {guest, map[string]any{
			"type": "FederatedUser", "principalId": home + ":guest", "arn": "arn:aws:sts::" + home + ":federated-user/guest", "accountId": home,
			"sessionContext": map[string]any{"sessionIssuer": issuedByAlice, "attributes": attributes},
		}},
		"session of a user": {temporary, map[string]any{
			"type": "IAMUser", "principalId": aliceID, "arn": arn + "user/alice", "accountId": home, "userName": "alice",
			"sessionContext": map[string]any{"attributes": attributes},
		}},
		"role session of a web identity": {pod, map[string]any{
			"type": "AssumedRole", "principalId": roleID(t, owner, "web") + ":pod", "arn": "arn:aws:sts::" + home +
				":assumed-role/web/pod", "accountId": home,
			"sessionContext": map[string]any{
				"sessionIssuer": roleOf("web", webARN), "attributes": attributes,
				"webIdFederationData": map[string]any{"federatedProvider": provider, "attributes": map[string]any{}},
			},
		}},
	} {
		t.Run(what, func(t *testing.T) {
			client := test.docker(t, "")
			repo := client.Repo("team/app")
			repo.Do(t, http.MethodGet, repo.Path("/tags/list"), nil).Want(t, 200)
			repo.PutBlob(t, []byte(what)) // its line is inserted by a transaction
			for _, name := range []string{"GetAuthorizationToken", "ListImages", "InitiateLayerUpload"} {
				all := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: name, Principal: test.key.AccessKeyID})
				if len(all) != 1 {
					t.Fatalf("%s: got %d events, want 1", name, len(all))
				}
				got := all[0].UserIdentity
				if name != "GetAuthorizationToken" && got["invokedBy"] != "ecr.amazonaws.com" || name == "GetAuthorizationToken" &&
					got["invokedBy"] != nil {
					t.Errorf("%s: got invokedBy %v", name, got["invokedBy"])
				}
				if got["accessKeyId"] != test.key.AccessKeyID {
					t.Errorf("%s: got access key %v, want %s", name, got["accessKeyId"], test.key.AccessKeyID)
				}
				delete(got, "invokedBy")
				delete(got, "accessKeyId")
				if in, ok := got["sessionContext"].(map[string]any); ok {
					if at, _ := in["attributes"].(map[string]any)["creationDate"].(string); !strings.HasSuffix(at, "Z") {
						t.Errorf("%s: creationDate is %q, want a time in UTC", name, at)
					}
					in["attributes"].(map[string]any)["creationDate"] = ""
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("%s: userIdentity (-want +got):\n%s", name, diff)
				}
			}
		})
	}

	t.Run("web identity", func(t *testing.T) {
		got := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "AssumeRoleWithWebIdentity"})
		want := map[string]any{
			"type": "WebIdentityUser", "principalId": provider + ":" + oidctest.Audience + ":system:serviceaccount:apps:web",
			"userName": "system:serviceaccount:apps:web", "identityProvider": provider,
		}
		if len(got) != 1 || got[0].RecipientAccountID != home || !cmp.Equal(want, got[0].UserIdentity) {
			t.Errorf("got %+v, want one event in account %s: %s", got, home, cmp.Diff(want, got[0].UserIdentity))
		}
	})
	t.Run("anonymous", func(t *testing.T) {
		repo := s.Root(t).Docker(t).Repo("team/app")
		repo.Password = ""
		id := repo.Do(t, http.MethodGet, repo.Path("/manifests/1.0"), nil).Want(t, 401).Header.Get("X-Amzn-Requestid")
		got := events(t, s, ecrintypes.ListAuditEventsRequest{RequestId: id})
		if len(got) != 1 || got[0].ErrorCode != "AccessDenied" || got[0].UserIdentity["type"] != "Anonymous" ||
			got[0].RecipientAccountID != home {
			t.Fatalf("got %+v, want one denied event of an anonymous caller", got)
		}
		e := explained(t, s, id)
		if e.Allowed || e.PrincipalArn != "*" || !strings.Contains(e.Text, "anonymous is not authorized to perform: ecr:BatchGetImage") {
			t.Errorf("the explanation is %+v, want a denial of an anonymous caller", e)
		}
	})
}

func userID(t *testing.T, a actor, called string) string {
	out, err := a.iam().GetUser(t.Context(), &iam.GetUserInput{UserName: &called})
	return *must(t, out, err).User.UserId
}

func roleID(t *testing.T, a actor, called string) string {
	out, err := a.iam().GetRole(t.Context(), &iam.GetRoleInput{RoleName: &called})
	return *must(t, out, err).Role.RoleId
}

func explained(t *testing.T, s *apptest.Server, id string) ecrintypes.Explanation {
	t.Helper()
	var out ecrintypes.ExplainRequestResponse
	s.Operator(t, "ExplainRequest", &ecrintypes.ExplainRequestRequest{RequestId: id}, &out)
	return out.Explanation
}

// own calls an operation of the ecrin API as the actor, decodes the answer into out and returns the status.
func (a actor) own(t *testing.T, operation, in string, out any) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.server.URL+"/", strings.NewReader(in))
	must(t, r, err)
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", ecrintypes.Service.TargetPrefix+"."+operation)
	if err := v4.NewSigner().SignHTTP(t.Context(), a.key, r, strings.TrimPrefix(ocitest.SHA256([]byte(in)), "sha256:"),
		"ecrin", region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := a.http().Do(r)
	must(t, resp, err)
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		t.Fatalf("%s: %v", operation, err)
	}
	return resp.StatusCode
}

// An event that concerns two accounts is in the trail of both, and each account sees only the reasons of its own
// policies.
func TestCrossAccount(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner, other := root(s.Root(t), s), root(s.NewAccount(t, partner), s)
	s.Root(t).CreateRepository(t, "team/app")
	_, err := owner.ecr().SetRepositoryPolicy(t.Context(),
		&ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"), PolicyText: aws.String(
			`{"Version":"2012-10-17","Statement":[{"Sid":"OwnersSecretPlan","Effect":"Allow","Principal":{"AWS":"` + partner +
				`"},"Action":"ecr:BatchGetImage","Condition":{"StringEquals":{"aws:PrincipalTag/Team":"web"}}}]}`)})
	must(t, 0, err)
	bob := other.user(t, "bob", `["ecr:BatchGetImage","ecr:GetAuthorizationToken"]`)
	repo := bob.docker(t, home+"/"+region+"/").Repo("team/app")
	denial := repo.Manifest(t, "1.0").Want(t, 403)
	id := denial.Header.Get("X-Amzn-Requestid")

	all := events(t, s, ecrintypes.ListAuditEventsRequest{RequestId: id})
	if len(all) != 2 || all[0].SharedEventID == "" || all[0].SharedEventID != all[1].SharedEventID || all[0].EventID == all[1].EventID ||
		all[0].RecipientAccountID == all[1].RecipientAccountID {
		t.Fatalf("got %+v, want a line for each account with the same shared id", all)
	}
	if e := explained(t, s, id); e.Allowed || len(e.Findings) != 2 || len(e.Context) == 0 || e.RequestId != id {
		t.Errorf("the operator's explanation is %+v, want findings of both sides", e)
	}
	for what, test := range map[string]struct {
		actor
		account, has, hasNot string
	}{
		"owner":  {owner, home, "OwnersSecretPlan", `"May"`},
		"caller": {other, partner, `"May"`, "OwnersSecretPlan"},
	} {
		t.Run(what, func(t *testing.T) {
			var page ecrintypes.ListAuditEventsResponse
			if status := test.own(t, "ListAuditEvents", `{"requestId":"`+id+`"}`, &page); status != 200 {
				t.Fatalf("listing: got %d", status)
			}
			var response ecrintypes.ExplainRequestResponse
			if status := test.own(t, "ExplainRequest", `{"requestId":"`+id+`"}`, &response); status != 200 {
				t.Fatalf("explaining: got %d", status)
			}
			e := read(t, page.Events)
			if len(e) != 1 || e[0].RecipientAccountID != test.account || e[0].ErrorCode != "AccessDenied" ||
				e[0].AdditionalEventData.ClientAddress != "127.0.0.1" {
				t.Fatalf("got %+v, want one denied event of account %s", e, test.account)
			}
			text, err := json.Marshal(response)
			for where, got := range map[string]string{"the line": page.Events[0], "the explanation": string(must(t, text, err))} {
				if where == "the explanation" && !strings.Contains(got, test.has) || strings.Contains(got, test.hasNot) {
					t.Errorf("%s: got %s, want %s and not %s", where, got, test.has, test.hasNot)
				}
			}
			var refused struct{ Message string }
			for _, foreign := range []string{home, partner} {
				if foreign != test.account {
					if status := test.own(t, "ListAuditEvents", `{"accountId":"`+foreign+`"}`, &refused); status != 400 ||
						!strings.Contains(refused.Message, "not authorized") {
						t.Errorf("the trail of account %s: got %d %s, want a denial", foreign, status, refused.Message)
					}
				}
			}
		})
	}
}

// ExplainRequest returns reasons for denials by the OCI distribution API and by the signed APIs, no reasons for an
// allowed request, and an error for a request that failed otherwise.
func TestExplainRequest(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner := root(s.Root(t), s)
	s.Root(t).CreateRepository(t, "team/app")
	alice := owner.user(t, "alice", `["ecr:GetAuthorizationToken","ecr:ListImages","sts:*","iam:*"]`)
	repo := alice.docker(t, "").Repo("team/app")
	docker := repo.Do(t, http.MethodPost, repo.Path("/blobs/uploads/"), nil, "User-Agent", "evil\u202e\u009b").Want(t,
		403).Header.Get("X-Amzn-Requestid")
	_, err := alice.ecr().DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String("team/app")})
	if err == nil {
		t.Fatal("alice could delete the repository")
	}
	short, err := alice.sts().GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	if _, err := alice.with(must(t, short, err).Credentials).iam().ListUsers(t.Context(), &iam.ListUsersInput{}); err == nil {
		t.Fatal("credentials of GetSessionToken listed users")
	}
	repo.Tags(t, "").Want(t, 200)
	requestOf := func(name string) string {
		all := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: name})
		return all[len(all)-1].RequestID
	}
	app := "arn:aws:ecr:" + region + ":" + home + ":repository/team/app"
	for what, test := range map[string]struct {
		id   string
		want ecrintypes.Explanation
	}{
		"by docker": {docker, ecrintypes.Explanation{Verdict: "implicitDeny", DecidedBy: "identity-based",
			Action: "ecr:InitiateLayerUpload", Resource: app}},
		"by the API": {requestOf("DeleteRepository"),
			ecrintypes.Explanation{Verdict: "implicitDeny", DecidedBy: "identity-based", Action: "ecr:DeleteRepository", Resource: app}},
		"of credentials": {requestOf("ListUsers"), ecrintypes.Explanation{Verdict: "implicitDeny", Action: "iam:ListUsers",
			Resource: "arn:aws:iam::" + home + ":user/*"}},
		"allowed": {requestOf("ListImages"), ecrintypes.Explanation{Allowed: true, Verdict: "allowed",
			Action: "ecr:ListImages", Resource: app}},
	} {
		got := explained(t, s, test.id)
		if !got.Allowed && got.Text == "" || got.At.IsZero() || got.Layers == nil {
			t.Errorf("%s: got %+v, want a text, a time and layers", what, got)
		}
		test.want.PrincipalArn, test.want.RequestId = "arn:aws:iam::"+home+":user/alice", test.id
		got = ecrintypes.Explanation{Allowed: got.Allowed, Verdict: got.Verdict, DecidedBy: got.DecidedBy, Action: got.Action,
			Resource: got.Resource, PrincipalArn: got.PrincipalArn, RequestId: got.RequestId}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: the explanation (-want +got):\n%s", what, diff)
		}
	}
	var page ecrintypes.ListAuditEventsResponse
	s.Operator(t, "ListAuditEvents", &ecrintypes.ListAuditEventsRequest{RequestId: docker}, &page)
	if strings.ContainsAny(page.Events[0], "\u202e\u009b") || !strings.Contains(page.Events[0], `"clientUserAgent":"evil\u202e`) {
		t.Errorf("the line has control characters, or not the user agent: %s", page.Events[0])
	}
	if got := names(events(t, s, ecrintypes.ListAuditEventsRequest{Denied: aws.Bool(true)})); !cmp.Equal(got,
		[]string{"InitiateLayerUpload AccessDenied", "DeleteRepository AccessDenied", "ListUsers AccessDenied"}) {
		t.Errorf("denied events: got %q", got)
	}
	_, err = owner.ecr().DescribeRepositories(t.Context(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"none"}})
	if err == nil {
		t.Fatal("DescribeRepositories of an unknown repository: got no error, want one")
	}
	var refused struct{ Message string }
	for id, want := range map[string]string{
		requestOf("DescribeRepositories"): "was not refused by a policy: it failed with RepositoryNotFoundException: The repository with name 'none'",
		"00000000-no":                     "the audit trail has no request with the id 00000000-no",
	} {
		if status := owner.own(t, "ExplainRequest", `{"requestId":"`+id+`"}`, &refused); status != 400 ||
			!strings.Contains(refused.Message, want) {
			t.Errorf("explaining %s: got %d %q, want %q", id, status, refused.Message, want)
		}
	}
}

// In the query protocol a GET can be a change. Its line is committed with the change, so that a crash after the answer
// does not lose it.
func TestChangeByGET(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	owner := root(s.Root(t), s)
	q := url.Values{"Action": {"CreateUser"}, "Version": {"2010-05-08"}, "UserName": {"carol"}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/?"+q.Encode(), nil)
	must(t, r, err)
	must(t, 0, v4.NewSigner().SignHTTP(t.Context(), owner.key, r, emptySHA256, "iam", region, time.Now()))
	resp, err := owner.http().Do(r)
	must(t, resp, err)
	resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatalf("CreateUser by GET: got %s", resp.Status)
	}
	got := events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "CreateUser"})
	if len(got) != 1 || got[0].RequestParameters["userName"] != "carol" || got[0].ReadOnly {
		t.Errorf("got %+v, want one change", got)
	}
}

// When the operator reads the trail page by page, only the first page is an event.
func TestFollowingIsOneEvent(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	q := ecrintypes.ListAuditEventsRequest{OldestFirst: aws.Bool(true)}
	for range 5 {
		var page ecrintypes.ListAuditEventsResponse
		s.Operator(t, "ListAuditEvents", &q, &page)
		if q.NextToken = page.NextToken; q.NextToken == "" {
			t.Fatal("the page with the oldest events first has no next token")
		}
	}
	if got := names(events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "ListAuditEvents"})); len(got) != 1 {
		t.Errorf("five pages that the operator read: got %d events, want 1", len(got))
	}
	owner := root(s.Root(t), s)
	var page ecrintypes.ListAuditEventsResponse
	for range 2 {
		if status := owner.own(t, "ListAuditEvents", `{"oldestFirst":true,"nextToken":"`+q.NextToken+`"}`, &page); status != 200 {
			t.Fatalf("an account reads its trail: got %d", status)
		}
	}
	if got := names(events(t, s, ecrintypes.ListAuditEventsRequest{EventName: "ListAuditEvents", AccountId: home})); len(got) != 2 {
		t.Errorf("two pages that an account read: got %d events, want 2", len(got))
	}
}
