package awsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// access calls an operation of ecrin at the time of the server, and decodes a successful answer.
func (s *server) access(key aws.Credentials, operation, body string, out any) answer {
	s.t.Helper()
	a := s.send(raw{key: key, at: s.now(), service: "ecrin", target: ecrinTarget + operation, body: body})
	if out != nil {
		if a.Status != http.StatusOK {
			s.t.Fatalf("%s %s: got %s", operation, body, a)
		}
		if err := json.Unmarshal([]byte(a.Body), out); err != nil {
			s.t.Fatal(err)
		}
	}
	return a
}

// asked asks for access by an address, and returns the id of the request.
func (s *server) asked(key aws.Credentials, address string) string {
	s.t.Helper()
	var out ecrintypes.RequestAccessResponse
	s.access(key, "RequestAccess", object("address", address), &out)
	return out.Request.AccessRequestId
}

// approve grants a request for a time, with further members.
func (s *server) approve(key aws.Credentials, id string, length time.Duration, more ...any) answer {
	s.t.Helper()
	return s.access(key, "ApproveAccessRequest", object(append(more, "accessRequestId", id, "until", s.now().Add(length).Unix())...), nil)
}

// docker sends a request to docker's door with a password that is made for it.
func (s *server) docker(key aws.Credentials, method, path string) answer {
	s.t.Helper()
	a := s.send(raw{key: key, at: s.now(), target: ecrTarget + "GetAuthorizationToken", body: `{}`})
	var token struct {
		AuthorizationData []struct{ AuthorizationToken string }
	}
	if err := json.Unmarshal([]byte(a.Body), &token); err != nil || len(token.AuthorizationData) != 1 {
		s.t.Fatalf("GetAuthorizationToken: got %s", a)
	}
	plain, err := base64.StdEncoding.DecodeString(token.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	user, password, _ := strings.Cut(string(plain), ":")
	r.SetBasicAuth(user, password)
	return s.do(r)
}

// login allows what docker login needs.
var login = allow("ecr:GetAuthorizationToken")

// The whole way: a pull is denied with an address, the address asks, the owner sees what an approval adds and approves, the pull works
// until the end, and does not after it, whether or not anything else has happened by then.
func TestAskForAccess(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "1.0", "2.0")
	ann := s.user("ann", login)
	denied := s.docker(ann, http.MethodGet, "/v2/app/manifests/1.0")
	address := "pull:" + home + "/us-east-1/app"
	if denied.Status != 403 || !strings.Contains(denied.Body, "; ask the owner for it: ecrin access request "+address+`"`) ||
		!strings.Contains(denied.Body, `"accessRequest":"`+address+`"`) {
		t.Fatalf("a denied pull: got %s, want the address %s", denied, address)
	}
	if a := s.docker(ann, http.MethodPost, "/v2/app/blobs/uploads/"); !strings.Contains(a.Body, "push:"+home+"/us-east-1/app") {
		t.Errorf("a denied push: got %s, want an address for a push", a)
	}
	var first, second ecrintypes.RequestAccessResponse
	s.access(ann, "RequestAccess", object("address", address, "reason", "builds"), &first)
	s.access(ann, "RequestAccess", object("repositoryName", "app", "permission", "PULL"), &second)
	if first.Merged || !second.Merged || second.Request.AccessRequestId != first.Request.AccessRequestId || second.Request.Asked != 2 ||
		second.Request.Reason != "builds" {
		t.Errorf("asked twice: got %+v and %+v, want one request", first, second)
	}
	id := first.Request.AccessRequestId
	var shown ecrintypes.DescribeAccessRequestResponse
	s.access(ann, "DescribeAccessRequest", object("accessRequestId", id), &shown)
	if shown.Preview != nil {
		t.Errorf("who has asked gets the preview %+v", shown.Preview)
	}
	s.access(s.key, "DescribeAccessRequest", object("accessRequestId", id, "imageTags", []string{"1.*"}), &shown)
	if p := shown.Preview; p == nil || len(p.Decisions) != 3 || p.Decisions[1].AllowedBefore || !p.Decisions[1].AllowedAfter ||
		!strings.Contains(p.PolicyText, `"ecrin:ImageTag":["1.*"]`) || p.Note != "" {
		t.Errorf("the preview: got %+v", p)
	}
	for _, length := range []time.Duration{-time.Second, 91 * 24 * time.Hour} {
		if a := s.approve(s.key, id, length); a.Status != 400 || !strings.Contains(a.Body, "Until") {
			t.Errorf("approved for %s: got %s, want a refusal", length, a)
		}
	}
	if a := s.approve(s.key, id, time.Hour, "actions", []string{"ecr:PutImage"}); a.Status != 400 {
		t.Errorf("approved with an action that was not asked for: got %s, want a refusal", a)
	}
	if a := s.approve(ann, id, time.Hour); a.Status != 400 || !strings.Contains(a.Body, "not authorized") {
		t.Errorf("approved by who has asked: got %s, want a denial", a)
	}
	if a := s.approve(s.key, id, 24*time.Hour, "imageTags", []string{"1.*"}); a.Status != 200 {
		t.Fatalf("approved: got %s", a)
	}
	if a := s.approve(s.key, id, 24*time.Hour); a.Status != 400 || !strings.Contains(a.Body, "is granted, and not open") {
		t.Errorf("approved twice: got %s, want a refusal", a)
	}
	for path, want := range map[string]int{"/v2/app/manifests/1.0": 200, "/v2/app/manifests/2.0": 403} {
		if a := s.docker(ann, http.MethodGet, path); a.Status != want {
			t.Errorf("%s while access is granted: got %s, want %d", path, a, want)
		}
	}
	if a := s.docker(ann, http.MethodPost, "/v2/app/blobs/uploads/"); a.Status != 403 {
		t.Errorf("a push while a pull is granted: got %s, want 403", a)
	}
	s.advance(24*time.Hour + time.Second)
	if a := s.docker(ann, http.MethodGet, "/v2/app/manifests/1.0"); a.Status != 403 {
		t.Errorf("after the end: got %s, want 403", a)
	}
	s.access(s.key, "DescribeAccessRequest", object("accessRequestId", id), &shown)
	if shown.Request.Status != ecrintypes.AccessStatusENDED {
		t.Errorf("after the end: got status %s, want ENDED", shown.Request.Status)
	}
	eventually(t, func() string {
		for {
			if more, err := s.Meta().TidyAccess(t.Context(), 10); err != nil {
				return err.Error()
			} else if !more {
				break
			}
		}
		a := s.access(s.key, "ListEvents", `{"position":"1"}`, nil)
		for _, action := range []string{"ACCESS_REQUESTED", "ACCESS_GRANTED", "ACCESS_ENDED"} {
			if n := strings.Count(a.Body, action); n != 1 {
				return action + ": got " + strconv.Itoa(n) + " events, want 1: " + a.Body
			}
		}
		return ""
	})
	if a := s.access(s.key, "ListAuditEvents", `{}`, nil); !strings.Contains(a.Body, "ApproveAccessRequest") {
		t.Errorf("the trail has no approval: %s", a)
	}
}

// An answer says the same about repositories and accounts that do not exist as about others, in a denial as in a request for access.
func TestAskingDoesNotTellWhatExists(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	s.repository("app")
	other := s.credentials(otherAccount)
	hide := strings.NewReplacer("none", "app", "999988887777", home)
	texts := map[string]bool{}
	for _, address := range []string{"pull:" + home + "/us-east-1/app", "pull:" + home + "/us-east-1/none",
		"pull:999988887777/us-east-1/app"} {
		a := s.access(other, "RequestAccess", object("address", address), nil)
		var out ecrintypes.RequestAccessResponse
		if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != 200 {
			t.Fatalf("%s: got %s", address, a)
		}
		out.Request.AccessRequestId = ""
		out.Request.CreatedAt, out.Request.LastAskedAt, out.Request.Until = awswire.Time{}, awswire.Time{}, nil
		text, _ := json.Marshal(out)
		texts[hide.Replace(string(text))] = true
		path := strings.TrimPrefix(address, "pull:")
		a = s.docker(other, http.MethodGet, "/v2/"+path+"/manifests/1")
		texts[hide.Replace(a.Body)] = true
		if a.Status != 403 || !strings.Contains(a.Body, "ecrin access request pull:"+path) {
			t.Errorf("%s: got %s, want a denial with an address", path, a)
		}
	}
	if len(texts) != 2 {
		t.Errorf("the answers differ: %q", slices.Collect(maps.Keys(texts)))
	}
	var ids ecrintypes.ListAccessRequestsResponse
	s.access(s.key, "ListAccessRequests", `{}`, &ids)
	if len(ids.Requests) != 2 {
		t.Fatalf("the owner sees %+v, want the two about its repositories", ids.Requests)
	}
	for _, r := range ids.Requests {
		if a := s.approve(s.key, r.AccessRequestId, time.Hour); (a.Status == 200) != (r.RepositoryName == "app") {
			t.Errorf("%s: approved: got %s", r.RepositoryName, a)
		}
	}
}

// A caller without credentials, or one who could not pull with a grant, gets no address; with the setting 0 nobody does.
func TestWhoGetsNoAddress(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "1.0")
	ann := s.user("ann", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
		{"Effect":"Deny","Action":"ecr:BatchGetImage","Resource":"*"}]}`)
	if a := s.docker(ann, http.MethodGet, "/v2/app/manifests/1.0"); a.Status != 403 || strings.Contains(a.Body, "access request") {
		t.Errorf("with an explicit deny: got %s, want no address", a)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v2/app/manifests/1.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := s.do(r); a.Status != 401 || strings.Contains(a.Body, "access") {
		t.Errorf("without credentials: got %s, want 401 without an address", a)
	}
	s.setInlinePolicy("ann", login)
	if a := s.docker(ann, http.MethodDelete, "/v2/app/manifests/1.0"); a.Status != 403 || strings.Contains(a.Body, "access request") {
		t.Errorf("a deletion: got %s, want no address", a)
	}
	s.account(otherAccount)
	if a := s.access(aws.Credentials{}, "RequestAccess", object("address", "pull:"+home+"/us-east-1/app"), nil); a.Status != 400 ||
		a.Type != "MissingAuthenticationTokenException" {
		t.Errorf("asking without credentials: got %s", a)
	}
	off := serve(t, func(c *config.Config) { c.MaxAccessGrant = 0 })
	off.repository("app")
	bob := off.user("bob", login)
	if a := off.docker(bob, http.MethodGet, "/v2/app/manifests/1.0"); a.Status != 403 || strings.Contains(a.Body, "access request") {
		t.Errorf("turned off: got %s, want no address", a)
	}
	if a := off.access(bob, "RequestAccess", object("address", "pull:"+home+"/us-east-1/app"), nil); a.Status != 400 ||
		!strings.Contains(a.Body, "max_access_grant") {
		t.Errorf("asked while it is turned off: got %s, want a refusal that names the setting", a)
	}
}

// Who is denied to ask by a policy, its own, that of its boundary or that of its account, gets no address and cannot ask; a policy that
// only does not allow it changes nothing. A denial for some repositories is one for these.
func TestAskingCanBeDenied(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "1.0")
	s.repository("other")
	deny := func(resource string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"},
			{"Effect":"Deny","Action":"ecrin:RequestAccess","Resource":"` + resource + `"}]}`
	}
	ann := s.user("ann", login)
	for _, c := range []struct {
		what, policy string
		want         int
	}{
		{"not allowed", login, 200},
		{"denied", deny("*"), 400},
		{"denied for another repository", deny("arn:aws:ecr:us-east-1:" + home + ":repository/other"), 200},
		{"denied for this repository", deny("arn:aws:ecr:us-east-1:" + home + ":repository/app"), 400},
	} {
		s.setInlinePolicy("ann", c.policy)
		denied := s.docker(ann, http.MethodGet, "/v2/app/manifests/1.0")
		if got := strings.Contains(denied.Body, "ecrin access request"); denied.Status != 403 || got != (c.want == 200) {
			t.Errorf("%s: a denied pull: got %s, want an address: %t", c.what, denied, c.want == 200)
		}
		a := s.access(ann, "RequestAccess", object("address", "pull:"+home+"/us-east-1/app"), nil)
		if a.Status != c.want || c.want != 200 && (a.Type != "AccessDeniedException" ||
			!strings.Contains(a.Body, "ecrin:RequestAccess") || !strings.Contains(a.Body, "explicit deny")) {
			t.Errorf("%s: asking: got %s, want %d", c.what, a, c.want)
		}
	}
	s.setInlinePolicy("ann", login)
	s.mustQuery(s.key, "iam", "CreatePolicy", "PolicyName", "fence", "PolicyDocument", deny("*"))
	s.mustQuery(s.key, "iam", "PutUserPermissionsBoundary", "UserName", "ann", "PermissionsBoundary", "arn:aws:iam::"+home+":policy/fence")
	if a := s.access(ann, "RequestAccess", object("address", "pull:"+home+"/us-east-1/app"), nil); a.Status != 400 {
		t.Errorf("denied by the boundary: got %s, want a denial", a)
	}
}

// A grant is for the principal and the repository that were there when it was asked for, not for later ones of the same names.
func TestGrantsAreNotInherited(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "1.0")
	again := func() aws.Credentials {
		s.mustQuery(s.key, "iam", "DeleteUserPolicy", "UserName", "ann", "PolicyName", "p")
		for _, id := range strings.Split(s.callQuery(s.key, "iam", "ListAccessKeys", "UserName", "ann").Body, "<AccessKeyId>")[1:] {
			id, _, _ = strings.Cut(id, "<")
			s.mustQuery(s.key, "iam", "DeleteAccessKey", "UserName", "ann", "AccessKeyId", id)
		}
		s.mustQuery(s.key, "iam", "DeleteUser", "UserName", "ann")
		return s.user("ann", login)
	}
	pull := func(key aws.Credentials, what string, want int) {
		t.Helper()
		if a := s.docker(key, http.MethodGet, "/v2/app/manifests/1.0"); a.Status != want {
			t.Errorf("%s: got %s, want %d", what, a, want)
		}
	}
	ann, address := s.user("ann", login), "pull:"+home+"/us-east-1/app"
	if a := s.approve(s.key, s.asked(ann, address), time.Hour); a.Status != 200 {
		t.Fatal(a)
	}
	pull(ann, "the user that has asked", 200)
	ann = again()
	pull(ann, "a later user of the same name", 403)
	id := s.asked(ann, address)
	ann = again()
	if a := s.approve(s.key, id, time.Hour); a.Status != 400 || !strings.Contains(a.Body, "does not exist any more") {
		t.Errorf("approved for a user that was deleted: got %s, want a refusal", a)
	}
	if a := s.approve(s.key, s.asked(ann, address), time.Hour); a.Status != 200 {
		t.Fatal(a)
	}
	pull(ann, "the third user", 200)
	remake := func() {
		s.must("DeleteRepository", object("repositoryName", "app", "force", true))
		s.repository("app")
		s.image("app", "a", "1.0")
	}
	remake()
	pull(ann, "a later repository of the same name", 403)
	id = s.asked(ann, address)
	remake()
	if a := s.approve(s.key, id, time.Hour); a.Status != 400 || !strings.Contains(a.Body, "was made after it was asked for") {
		t.Errorf("approved for a later repository: got %s, want a refusal", a)
	}
	pull(ann, "after the refusal", 403)
}

// A principal of another account needs the permission of its own account too, and sees and decides nothing of the owner's.
func TestAskingAcrossAccounts(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.account(otherAccount)
	other := s.credentials(otherAccount)
	s.repository("app")
	s.image("app", "a", "1.0")
	s.mustQuery(other, "iam", "CreateUser", "UserName", "eve")
	s.mustQuery(other, "iam", "PutUserPolicy", "UserName", "eve", "PolicyName", "p", "PolicyDocument", login)
	eve := s.mustQuery(other, "iam", "CreateAccessKey", "UserName", "eve")
	path := "/v2/" + home + "/us-east-1/app/manifests/1.0"
	if a := s.docker(eve, http.MethodGet, path); a.Status != 403 || strings.Contains(a.Body, "access request") {
		t.Errorf("its own account does not allow it: got %s, want no address", a)
	}
	id := s.asked(eve, "pull:"+home+"/us-east-1/app")
	var shown ecrintypes.DescribeAccessRequestResponse
	s.access(s.key, "DescribeAccessRequest", object("accessRequestId", id), &shown)
	if p := shown.Preview; p == nil || !p.Decisions[0].AllowedAfter || p.Decisions[0].AllowedBefore ||
		!strings.Contains(p.Note, otherAccount) {
		t.Errorf("the preview: got %+v, want the decision of the owner's side, and a note", p)
	}
	for _, operation := range []string{"ApproveAccessRequest", "RefuseAccessRequest", "RevokeAccess"} {
		body := object("accessRequestId", id, "until", s.now().Add(time.Hour).Unix())
		if operation != "ApproveAccessRequest" {
			body = object("accessRequestId", id)
		}
		if a := s.access(other, operation, body, nil); !strings.Contains(a.Body, "there is no request for access") {
			t.Errorf("%s by another account: got %s, want that there is none", operation, a)
		}
	}
	if a := s.access(other, "DescribeAccessRequest", object("accessRequestId", id), nil); !strings.Contains(a.Body, "there is no request") {
		t.Errorf("read by the root user of the account of who has asked: got %s, want that there is none", a)
	}
	if a := s.approve(s.key, id, time.Hour); a.Status != 200 {
		t.Fatal(a)
	}
	if a := s.docker(eve, http.MethodGet, path); a.Status != 403 {
		t.Errorf("granted by one side only: got %s, want 403", a)
	}
	s.mustQuery(other, "iam", "PutUserPolicy", "UserName", "eve", "PolicyName", "p", "PolicyDocument",
		allow("ecr:GetAuthorizationToken", "ecr:BatchGetImage"))
	if a := s.docker(eve, http.MethodGet, path); a.Status != 200 {
		t.Errorf("granted by both sides: got %s, want 200", a)
	}
	if a := s.docker(other, http.MethodGet, path); a.Status != 403 {
		t.Errorf("another principal of the account: got %s, want 403", a)
	}
	var reached []string
	for in := (ecrintypes.ListRepositoryAccessRequest{RepositoryName: "app", Permission: "PULL", MaxResults: aws.Int32(1)}); ; {
		body, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out ecrintypes.ListRepositoryAccessResponse
		s.access(s.key, "ListRepositoryAccess", string(body), &out)
		for _, one := range out.Access {
			reached = append(reached, one.Principal)
		}
		if in.NextToken = out.NextToken; in.NextToken == "" {
			break
		}
	}
	if i := slices.Index(reached, "arn:aws:iam::"+otherAccount+":user/eve"); i < 0 || slices.Contains(reached[i+1:], reached[i]) {
		t.Errorf("who may pull: got %q, want the user of the other account once", reached)
	}
	var own ecrintypes.ListAccessRequestsResponse
	s.access(eve, "ListAccessRequests", `{"own":true}`, &own)
	if len(own.Requests) != 1 || own.Requests[0].Status != ecrintypes.AccessStatusGRANTED {
		t.Errorf("its own requests: got %+v", own.Requests)
	}
	if a := s.access(s.key, "RevokeAccess", object("accessRequestId", id), nil); a.Status != 200 {
		t.Errorf("revoked: got %s", a)
	}
	if a := s.docker(eve, http.MethodGet, path); a.Status != 403 {
		t.Errorf("revoked: got %s, want 403", a)
	}
}

// A refused request cannot be asked again for a day; a withdrawn one keeps its place and has no second event.
func TestRefusedAndWithdrawn(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	ann, bob := s.user("ann", login), s.user("bob", login)
	address := "pull:" + home + "/us-east-1/app"
	id := s.asked(ann, address)
	if a := s.access(bob, "WithdrawAccessRequest", object("accessRequestId", id), nil); !strings.Contains(a.Body, "there is no request") {
		t.Errorf("withdrawn by another user: got %s, want that there is none", a)
	}
	if a := s.access(ann, "WithdrawAccessRequest", object("accessRequestId", id), nil); a.Status != 200 {
		t.Errorf("withdrawn: got %s", a)
	}
	if again := s.asked(ann, address); again != id {
		t.Errorf("asked again: got the request %s, want %s", again, id)
	}
	if a := s.access(s.key, "RefuseAccessRequest", object("accessRequestId", id, "note", "bad\u202etext"), nil); a.Status != 400 {
		t.Errorf("a note with a mark of direction: got %s, want a refusal", a)
	}
	if a := s.access(s.key, "RefuseAccessRequest", object("accessRequestId", id, "note", "no"), nil); a.Status != 200 {
		t.Errorf("refused: got %s", a)
	}
	if a := s.access(ann, "RequestAccess", object("address", address), nil); a.Status != 400 || !strings.Contains(a.Body, "has refused") {
		t.Errorf("asked again after a refusal: got %s, want a refusal", a)
	}
	s.advance(meta.AccessClosedFor)
	if again := s.asked(ann, address); again == id {
		t.Error("asked again a day after the refusal: got the refused request")
	}
	if a := s.access(s.key, "ListEvents", `{"position":"1"}`, nil); strings.Count(a.Body, "ACCESS_REQUESTED") != 2 ||
		strings.Count(a.Body, "ACCESS_REFUSED") != 1 {
		t.Errorf("the events: got %s, want two requests and one refusal", a)
	}
}
