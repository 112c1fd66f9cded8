package ociapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// Row 19: credentials of one API are not accepted by the other.
func TestAttack19OtherDoor(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	im := ocitest.NewImage(1, 10)
	layer := ocitest.SHA256(im.Layers[0])
	owner := account.CreateRepository(t, "app")
	owner.Push(t, "v1", im)
	session := root.as(root.sts(t, "GetSessionToken"))
	link := root.link(t, "app", layer)
	mac := link[strings.LastIndex(link, "=")+1:]
	plain := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	// Signed APIs: a docker password as every kind of credential.
	for what, header := range map[string][]string{
		"Basic": {"Authorization", basic("AWS", owner.Password)}, "Bearer": {"Authorization", "Bearer " + owner.Password},
		"a session token without a signature": {"X-Amz-Security-Token", owner.Password}, "a link's MAC": {"Authorization", basic("AWS", mac)},
	} {
		header = append(header, "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target",
			"AmazonEC2ContainerRegistry_V20150921.DescribeRepositories")
		if a := plain.Do(t, http.MethodPost, "/", []byte("{}"), header...); a.Status < 400 || !strings.Contains(string(a.Body), "Exception") {
			t.Errorf("the signed APIs with %s: got %d %s, want a refusal", what, a.Status, a.Body)
		}
	}
	for what, change := range map[string]func(*person){
		"a docker password as session token":   func(p *person) { p.keys.SessionToken = owner.Password },
		"a docker password as secret":          func(p *person) { p.keys.SecretAccessKey = owner.Password },
		"a docker password as access key":      func(p *person) { p.keys.AccessKeyID = owner.Password[:20] },
		"a link's MAC as session token":        func(p *person) { p.keys.SessionToken = mac },
		"the key of a session without a token": func(p *person) { p.keys = session.keys; p.keys.SessionToken = "" },
		"a session's key, a docker password":   func(p *person) { p.keys = session.keys; p.keys.SessionToken = owner.Password },
		"the root key, a session token":        func(p *person) { p.keys.SessionToken = session.keys.SessionToken },
	} {
		p := root
		change(&p)
		if a := p.ecr(t, "DescribeRepositories"); a.Status != 400 || strings.Contains(string(a.Body), "repositories\"") {
			t.Errorf("%s: got %d %s", what, a.Status, a.Body)
		}
	}
	// OCI distribution API: keys, secrets, session tokens, MACs and encoded messages as passwords.
	limited := root.user(t, "limited", may())
	message := limited.ecr(t, "ListImages", "repositoryName", "app").Header.Get("X-Ecrin-Authorization-Message")
	if message == "" {
		t.Fatal("a denial: got no encoded message, want one")
	}
	for what, password := range map[string]string{
		"session token": session.keys.SessionToken, "secret": root.keys.SecretAccessKey, "MAC": mac, "message": message,
		"a password with a session token after it": owner.Password + session.keys.SessionToken,
	} {
		plain.Password = password
		if a := plain.Do(t, http.MethodGet, "/v2/app/manifests/v1", nil); a.Status != http.StatusBadRequest ||
			!strings.Contains(string(a.Body), "UNAUTHORIZED") {
			t.Errorf("a %s as docker password: got %d %s, want 400", what, a.Status, a.Body)
		}
	}
	plain.Password = ""
	// Signed links: every other sealed text as the MAC.
	for what, other := range map[string]string{"password": owner.Password, "session token": session.keys.SessionToken,
		"message": message, "nothing": ""} {
		if a := plain.Do(t, http.MethodGet, strings.Replace(link, mac, other, 1), nil); a.Status < 400 {
			t.Errorf("a link with a %s as its MAC: got %d, want a refusal", what, a.Status)
		}
	}
	// DecodeAuthorizationMessage: every other sealed text as the message.
	bent := strings.Replace(message, message[20:24], strings.ToUpper(message[20:24])+"x", 1)
	for what, other := range map[string]string{"password": owner.Password, "session token": session.keys.SessionToken,
		"MAC": mac, "changed message": bent} {
		a := root.query(t, "sts", "2011-06-15", "DecodeAuthorizationMessage", "EncodedMessage", other)
		if a.Status != 400 || element(string(a.Body), "Code") != "InvalidAuthorizationMessageException" {
			t.Errorf("DecodeAuthorizationMessage of a %s: got %d %s, want a refusal", what, a.Status, a.Body)
		}
	}
	root.sts(t, "DecodeAuthorizationMessage", "EncodedMessage", message)
	bob := personOf(s, s.NewAccount(t, bobID))
	if a := bob.query(t, "sts", "2011-06-15", "DecodeAuthorizationMessage", "EncodedMessage", message); a.Status != 400 {
		t.Errorf("DecodeAuthorizationMessage by another account: got %d %s, want a refusal", a.Status, a.Body)
	}
}

// Row 23: a permission that is removed is not in effect from the next request on, in both APIs, also for sessions and
// passwords that were issued before.
func TestAttack23RightsEndAtOnce(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	account.CreateRepository(t, "app").Push(t, "v1", ocitest.NewImage(1, 10))
	const arn = "arn:aws:iam::" + homeID + ":policy/"
	pull := may(pullActions...)
	root.iam(t, "CreateGroup", "GroupName", "pullers")
	root.iam(t, "PutGroupPolicy", "GroupName", "pullers", "PolicyName", "pull", "PolicyDocument", pull)
	root.iam(t, "CreatePolicy", "PolicyName", "pull", "PolicyDocument", pull)
	root.iam(t, "CreatePolicy", "PolicyName", "login", "PolicyDocument", may())
	root.iam(t, "CreatePolicy", "PolicyName", "session", "PolicyDocument", pull)
	ann := root.user(t, "ann",
		document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken", "sts:AssumeRole", "sts:GetFederationToken"})))
	root.role(t, "deploy", pull)
	add := func() { root.iam(t, "AddUserToGroup", "GroupName", "pullers", "UserName", "ann") }
	member := func(p person) person { return p }
	roleSession := func(p person) person { return p.assume(t, "deploy", "ci", "") }
	for _, c := range []struct {
		what    string
		who     func(person) person
		give    func()
		takeOff func()
	}{
		{"leaves its group", member, add, func() { root.iam(t, "RemoveUserFromGroup", "GroupName", "pullers", "UserName", "ann") }},
		{"leaves its group, in a session", func(p person) person { return p.as(p.sts(t, "GetSessionToken")) }, add,
			func() { root.iam(t, "RemoveUserFromGroup", "GroupName", "pullers", "UserName", "ann") }},
		{"leaves its group, federated", func(p person) person {
			return p.as(p.sts(t, "GetFederationToken", "Name", "fed", "Policy", mayAllBut("iam:*")))
		}, add, func() { root.iam(t, "RemoveUserFromGroup", "GroupName", "pullers", "UserName", "ann") }},
		{"sees the group's policy replaced", member, add, func() {
			root.iam(t, "PutGroupPolicy", "GroupName", "pullers", "PolicyName", "pull", "PolicyDocument", may())
		}},
		{"gets a boundary", member, func() {
			root.iam(t, "PutGroupPolicy", "GroupName", "pullers", "PolicyName", "pull", "PolicyDocument", pull)
		}, func() {
			root.iam(t, "PutUserPermissionsBoundary", "UserName", "ann", "PermissionsBoundary", arn+"login")
		}},
		{"gets a deny", member, func() { root.iam(t, "DeleteUserPermissionsBoundary", "UserName", "ann") }, func() {
			root.iam(t, "PutUserPolicy", "UserName", "ann", "PolicyName", "no", "PolicyDocument",
				document(statement("Deny", "Action", []string{"ecr:BatchGetImage"})))
		}},
		{"has a managed policy detached", member, func() {
			root.iam(t, "DeleteUserPolicy", "UserName", "ann", "PolicyName", "no")
			root.iam(t, "RemoveUserFromGroup", "GroupName", "pullers", "UserName", "ann")
			root.iam(t, "AttachUserPolicy", "UserName", "ann", "PolicyArn", arn+"pull")
		}, func() { root.iam(t, "DetachUserPolicy", "UserName", "ann", "PolicyArn", arn+"pull") }},
		{"has a managed policy's default changed", member, func() {
			root.iam(t, "AttachUserPolicy", "UserName", "ann", "PolicyArn", arn+"pull")
		}, func() {
			root.iam(t, "CreatePolicyVersion", "PolicyArn", arn+"pull", "PolicyDocument", may(), "SetAsDefault", "true")
		}},
		{"is in a session whose role loses its policy", roleSession, func() {}, func() {
			root.iam(t, "PutRolePolicy", "RoleName", "deploy", "PolicyName", "p", "PolicyDocument", may())
		}},
		{"is in a session whose session policy is deleted", func(p person) person {
			return p.as(p.sts(t, "AssumeRole", "RoleArn", "arn:aws:iam::"+homeID+":role/deploy", "RoleSessionName", "ci",
				"PolicyArns.member.1.arn", arn+"session"))
		}, func() { root.iam(t, "PutRolePolicy", "RoleName", "deploy", "PolicyName", "p", "PolicyDocument", pull) },
			func() { root.iam(t, "DeletePolicy", "PolicyArn", arn+"session") }},
		{"is in a session whose role is deleted", roleSession, func() {}, func() {
			root.iam(t, "DeleteRolePolicy", "RoleName", "deploy", "PolicyName", "p")
			root.iam(t, "DeleteRole", "RoleName", "deploy")
		}},
	} {
		c.give()
		who := c.who(ann)
		repo := who.docker(t).Repo("app")
		ids := []any{map[string]string{"imageTag": "v1"}}
		for range 2 { // the second request uses the caches that the first filled
			repo.Manifest(t, "v1").Want(t, http.StatusOK)
			who.ecr(t, "BatchGetImage", "repositoryName", "app", "imageIds", ids).Want(t, http.StatusOK)
		}
		c.takeOff()
		if a := repo.Manifest(t, "v1"); a.Status != http.StatusForbidden {
			t.Errorf("a caller that %s: OCI API: got %d %s, want 403", c.what, a.Status, a.Body)
		}
		if a := who.ecr(t, "BatchGetImage", "repositoryName", "app", "imageIds", ids); a.Status != 400 ||
			strings.Contains(string(a.Body), "imageManifest") {
			t.Errorf("a caller that %s: ECR API: got %d %s, want 400", c.what, a.Status, a.Body)
		}
	}
}

// Row 27, with users: a permission on a repository of one registry is not a permission on a repository with the same
// name in another registry, in any form of naming it.
func TestAttack27UsersAcross(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	home, bob := s.Root(t), s.NewAccount(t, bobID)
	for _, a := range []apptest.Account{home, home.In("eu-west-1"), bob} {
		a.CreateRepository(t, "app").Push(t, "v1", ocitest.NewImage(1, 10))
	}
	root := personOf(s, home)
	local, foreign := root.user(t, "ann", may("ecr:*")), personOf(s, bob).user(t, "ann", may("ecr:*"))
	west := local
	west.region = "eu-west-1"
	hosted := func(account, region string) string { return account + ".dkr.ecr." + region + ".amazonaws.com" }
	check := func(who string, p person, granted bool) {
		t.Helper()
		c := p.docker(t)
		for _, account := range []string{homeID, bobID} {
			for _, region := range []string{"us-east-1", "eu-west-1"} {
				inAccount := (account == homeID) == (who != "foreign")
				want := inAccount && region == p.region || granted && account == homeID && region == "us-east-1"
				status := map[bool]int{true: 200, false: 403}[want]
				for _, ask := range [][2]string{{hosted(account, region), "app"}, {"", account + "/" + region + "/app"}} {
					if a := c.Do(t, http.MethodGet, "/v2/"+ask[1]+"/manifests/v1", nil, "Host", ask[0]); a.Status != status {
						t.Errorf("%s at host %q for %s: got %d %s, want %d", who, ask[0], ask[1], a.Status, a.Body, status)
					}
				}
			}
			want := (account == homeID) == (who != "foreign") || granted && p.region == "us-east-1"
			ids := []any{map[string]string{"imageTag": "v1"}}
			a := p.ecr(t, "BatchGetImage", "registryId", account, "repositoryName", "app", "imageIds", ids)
			if (a.Status == http.StatusOK) != want {
				t.Errorf("%s, registryId %s: got %d %s, want allowed %t", who, account, a.Status, a.Body, want)
			}
		}
	}
	check("local", local, false)
	check("west", west, false)
	check("foreign", foreign, false)
	grant := func(principal string) {
		t.Helper()
		root.ecr(t, "SetRepositoryPolicy", "repositoryName", "app", "policyText",
			`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+principal+
				`"},"Action":"ecr:BatchGetImage"}]}`).Want(t, http.StatusOK)
	}
	grant("arn:aws:iam::" + homeID + ":user/ann") // a user with the same name in the other account is another user
	check("foreign", foreign, false)
	grant("arn:aws:iam::" + bobID + ":user/ann")
	check("foreign", foreign, true)
	// A new user with the name of the deleted user does not have its permissions.
	personOf(s, bob).deleteUser(t, "ann", foreign.keys.AccessKeyID)
	check("foreign", personOf(s, bob).user(t, "ann", may("ecr:*")), false)
}

// Row 28: a permission to pull is not a permission to list. A listing of all repositories needs the permission on all:
// it is refused, not shortened.
func TestAttack28ListingWithoutGrant(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	im := ocitest.NewImage(1, 10)
	account.CreateRepository(t, "app").Push(t, "v1", im)
	account.CreateRepository(t, "secret")
	puller := root.user(t, "puller", may(pullActions...))
	lister := root.user(t, "lister", document(statement("Allow", "Action", []string{"ecr:GetAuthorizationToken"}),
		statement("Allow", "Action", []string{"ecr:*"}, arnOf("app"))))
	for who, p := range map[string]person{"puller": puller, "lister": lister} {
		repo := p.docker(t).Repo("app")
		repo.Manifest(t, "v1").Want(t, http.StatusOK)
		for path, ok := range map[string]bool{"/v2/_catalog": false, "/v2/_catalog?n=1": false, "/v2/secret/tags/list": false,
			"/v2/app/tags/list": who == "lister"} {
			a := repo.Do(t, http.MethodGet, path, nil)
			if want := map[bool]int{true: 200, false: 403}[ok]; a.Status != want || !ok && strings.Contains(string(a.Body), "secret\"") {
				t.Errorf("%s: %s: got %d %s, want %d", who, path, a.Status, a.Body, want)
			}
		}
		for _, c := range []struct {
			operation string
			members   []any
			ok        bool
		}{
			{"DescribeRepositories", nil, false}, {"DescribeRepositories", []any{"repositoryNames", []string{"app"}}, who == "lister"},
			{"DescribeRepositories", []any{"repositoryNames", []string{"app", "secret"}}, false},
			{"ListImages", []any{"repositoryName", "app"}, who == "lister"}, {"DescribeImages", []any{"repositoryName", "app"}, who == "lister"},
			{"ListImages", []any{"repositoryName", "secret"}, false}, {"DescribeImages", []any{"repositoryName", "secret"}, false},
			{"ListTagsForResource", []any{"resourceArn", arnOf("secret")}, false}, {"GetRepositoryPolicy", []any{"repositoryName", "secret"}, false},
			{"BatchCheckLayerAvailability", []any{"repositoryName", "secret", "layerDigests",
				[]string{ocitest.SHA256(im.Layers[0])}}, who == "puller"},
		} {
			a := p.ecr(t, c.operation, c.members...)
			if (a.Status == http.StatusOK) != c.ok || !c.ok && !strings.Contains(string(a.Body), "AccessDeniedException") {
				t.Errorf("%s: %s %v: got %d %s, want allowed %t", who, c.operation, c.members, a.Status, a.Body, c.ok)
			}
		}
	}
}

// Row 32: a signed link needs the current permission of the caller that requested it, is valid for one layer, and ends
// with the session in which it was requested.
func TestAttack32LinksOfUsers(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := apptest.Start(t, apptest.Options{Now: now})
	account := s.Root(t)
	root := personOf(s, account)
	root.now = now
	im, other := ocitest.NewImage(1, 10), ocitest.NewImage(2, 10)
	account.CreateRepository(t, "app").Push(t, "v1", im)
	account.CreateRepository(t, "secret").Push(t, "v1", other)
	layer, secret := ocitest.SHA256(im.Layers[0]), ocitest.SHA256(other.Layers[0])
	plain := ocitest.Client{Base: s.URL, HTTP: s.HTTP}
	good := func(link string) {
		t.Helper()
		if a := plain.Do(t, http.MethodGet, link, nil); a.Status != 200 || !bytes.Equal(a.Body, im.Layers[0]) {
			t.Errorf("a valid link: got %d %.100s, want 200", a.Status, a.Body)
		}
	}
	refused := func(what, link string) {
		t.Helper()
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if a := plain.Do(t, method, link, nil); a.Status != 401 && a.Status != 403 && a.Status != 404 {
				t.Errorf("%s: %s: got %d, want a refusal", what, method, a.Status)
			}
		}
	}
	policy := func(user, text string) {
		root.iam(t, "PutUserPolicy", "UserName", user, "PolicyName", "p", "PolicyDocument", text)
	}
	ann := root.user(t, "ann", on("app"))
	link := ann.link(t, "app", layer)
	good(link)
	refused("another digest", strings.Replace(link, layer, secret, 1))
	refused("another repository", strings.Replace(link, "/app/", "/secret/", 1))
	refused("another repository and digest", strings.Replace(strings.Replace(link, layer, secret, 1), "/app/", "/secret/", 1))
	refused("another key", strings.Replace(link, ann.keys.AccessKeyID, root.keys.AccessKeyID, 1))
	policy("ann", may("ecr:BatchGetImage"))
	refused("a user without the right", link)
	policy("ann", document(statement("Allow", "Action", []string{"ecr:*"}),
		`{"Effect":"Deny","Action":"ecr:GetDownloadUrlForLayer","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}`))
	refused("from an address that is denied", link)
	policy("ann", on("app"))
	good(link)
	root.iam(t, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", ann.keys.AccessKeyID, "Status", "Inactive")
	refused("a disabled key", link)
	root.iam(t, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", ann.keys.AccessKeyID, "Status", "Active")
	good(link)
	root.deleteUser(t, "ann", ann.keys.AccessKeyID)
	refused("a deleted user", link)
	root.user(t, "ann", on("app"))
	refused("a deleted user, with a new user of the same name", link)

	root.role(t, "deploy", on("app"))
	bea := root.user(t, "bea", document(statement("Allow", "Action", []string{"sts:AssumeRole"})))
	short := bea.as(bea.sts(t, "AssumeRole", "RoleArn", "arn:aws:iam::"+homeID+":role/deploy", "RoleSessionName", "ci",
		"DurationSeconds", "900"))
	short.now = now
	ahead.Store(int64(10 * time.Minute))
	link = short.link(t, "app", layer)
	good(link)
	password := short.docker(t)
	ahead.Store(int64(15*time.Minute + time.Second)) // the link alone would be valid for nine more minutes
	refused("a session that has ended", link)
	password.Do(t, http.MethodGet, "/v2/app/manifests/v1", nil).Want(t, http.StatusOK) // the password is still valid, as in ECR
	ahead.Store(int64(10 * time.Minute))
	good(link)
	root.iam(t, "DeleteRolePolicy", "RoleName", "deploy", "PolicyName", "p")
	refused("a role without its policy", link)
	root.iam(t, "DeleteRole", "RoleName", "deploy")
	refused("a deleted role", link)
}

// An access key that is deactivated between two chunks stops the upload; after its activation the upload continues at
// the same offset. A chunk that is being sent meanwhile is stored completely or not at all.
func TestAttack12KeyRevokedInUpload(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	account.CreateRepository(t, "app")
	ann := root.user(t, "ann", may("ecr:*"))
	status := func(to string) {
		root.iam(t, "UpdateAccessKey", "UserName", "ann", "AccessKeyId", ann.keys.AccessKeyID, "Status", to)
	}
	repo := ann.docker(t).Repo("app")
	content := ocitest.Bytes(1, 3000)
	d := ocitest.SHA256(content)
	location := repo.Begin(t)
	repo.Do(t, http.MethodPatch, location, content[:1000]).Want(t, http.StatusAccepted)
	in, out := io.Pipe()
	sent := make(chan int, 1)
	go func() {
		a, err := repo.Try(t.Context(), http.MethodPatch, location, in)
		if err != nil { // the server refused the chunk while it was being sent
			a = &ocitest.Answer{Status: http.StatusForbidden}
		}
		sent <- a.Status
	}()
	if _, err := out.Write(content[1000:1500]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the chunk to be with the server", func() bool {
		return strings.Contains(string(repo.Do(t, http.MethodGet, "/metrics", nil).Body), "\necrin_requests_in_flight 2\n")
	})
	status("Inactive")
	for _, method := range []string{http.MethodGet, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		repo.Do(t, method, location+"?digest="+d, content[2000:]).WantError(t, http.StatusForbidden, "DENIED")
	}
	if _, err := out.Write(content[1500:2000]); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Fatal(err)
	}
	out.Close()
	landed := <-sent
	repo.Do(t, http.MethodPut, location+"?digest="+d, content[2000:]).WantError(t, http.StatusForbidden, "DENIED")
	status("Active")
	want := map[int]string{http.StatusAccepted: "0-1999", http.StatusForbidden: "0-999"}[landed]
	repo.Do(t, http.MethodGet, location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", want)
	if landed == http.StatusAccepted {
		repo.Do(t, http.MethodPut, location+"?digest="+d, content[2000:]).Want(t, http.StatusCreated)
	}
}

// If a role is deleted while one of its sessions pulls, the layer that is being sent is completed, and all later
// requests are refused.
func TestAttack23RoleDeletedInPull(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	account := s.Root(t)
	root := personOf(s, account)
	im := ocitest.NewImage(1, 16<<20)
	layer := ocitest.SHA256(im.Layers[0])
	account.CreateRepository(t, "app").Push(t, "v1", im)
	root.role(t, "deploy", may(pullActions...))
	session := root.user(t, "ann", may("sts:AssumeRole")).assume(t, "deploy", "ci", "")
	repo := session.docker(t).Repo("app")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+repo.Path("/blobs/"+layer), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("AWS", repo.Password)
	resp, err := s.HTTP.Do(r) // the body is larger than the buffers of the connection
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, 1000)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	root.iam(t, "DeleteRolePolicy", "RoleName", "deploy", "PolicyName", "p")
	root.iam(t, "DeleteRole", "RoleName", "deploy")
	for _, path := range []string{"/manifests/v1", "/blobs/" + layer} {
		repo.Do(t, http.MethodGet, repo.Path(path), nil).WantError(t, http.StatusForbidden, "DENIED")
	}
	root.role(t, "deploy", may(pullActions...)) // a new role with the same name is another role
	repo.Manifest(t, "v1").WantError(t, http.StatusForbidden, "DENIED")
	if a := session.ecr(t, "ListImages", "repositoryName", "app"); a.Status != 400 ||
		!strings.Contains(string(a.Body), "UnrecognizedClientException") {
		t.Errorf("the session of a deleted role: got %d %s, want a refusal", a.Status, a.Body)
	}
	rest, err := io.ReadAll(resp.Body)
	if got := append(first, rest...); err != nil || ocitest.SHA256(got) != layer {
		t.Errorf("the layer that was being sent: got %d bytes, %v; want all %d", len(got), err, len(im.Layers[0]))
	}
}

// If the clock jumps forwards and back, sessions, passwords and signatures expire by their own times, and nothing else
// changes.
func TestAttack30ClockJumps(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := apptest.Start(t, apptest.Options{Now: now})
	account := s.Root(t)
	root := personOf(s, account)
	root.now = now
	account.CreateRepository(t, "app").Push(t, "v1", ocitest.NewImage(1, 10))
	session := root.as(root.sts(t, "GetSessionToken", "DurationSeconds", "900"))
	password := session.docker(t)
	for _, c := range []struct {
		at       time.Duration
		signed   bool // a signature at the time of the server is valid
		session  bool
		password bool
	}{
		{0, true, true, true}, {15*time.Minute - 5*time.Second, true, true, true}, {15*time.Minute + time.Second, true, false,
			true}, {-48 * time.Hour, true, true, true},
		{12*time.Hour - 5*time.Second, true, false, true}, {12*time.Hour + time.Second, true, false,
			false}, {365 * 24 * time.Hour, true, false, false}, {0, true, true, true},
	} {
		ahead.Store(int64(c.at))
		got := fmt.Sprint(root.ecr(t, "ListImages", "repositoryName", "app").Status == 200,
			session.ecr(t, "ListImages", "repositoryName", "app").Status == 200,
			password.Do(t, http.MethodGet, "/v2/app/manifests/v1", nil).Status == 200)
		if want := fmt.Sprint(c.signed, c.session, c.password); got != want {
			t.Errorf("the clock %s ahead: signature, session and password are valid: got %s, want %s", c.at, got, want)
		}
		late := root
		late.now = func() time.Time { return now().Add(-16 * time.Minute) }
		if a := late.ecr(t, "ListImages", "repositoryName", "app"); a.Status != 400 || !strings.Contains(string(a.Body), "Signature expired") {
			t.Errorf("the clock %s ahead, signed 16 minutes earlier: got %d %s, want a refusal", c.at, a.Status, a.Body)
		}
	}
}
