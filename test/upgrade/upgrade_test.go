package upgrade_test

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/main/client"
	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// The current program starts on every directory in testdata and shows every repository, image, tag, history, user, key,
// session, docker password and line of the audit trail as the program did that wrote the directory.
func TestOpensOlderData(t *testing.T) {
	t.Parallel()
	for _, name := range listings(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := readListing(t, name)
			dir := t.TempDir()
			unpack(t, "testdata/"+name+".tar.gz", dir)
			// A minute after the directory was written, when its sessions and docker passwords have not expired.
			started := time.Now()
			now := func() time.Time { return l.Written.Add(time.Minute + time.Since(started)) }
			s := apptest.Start(t, apptest.Options{Dir: dir, Now: now, Config: func(c *config.Config) {
				c.Account, c.Region = l.Account, l.Region
			}})
			o := opened{Listing: l, name: name, server: s, caller: caller{url: s.URL, region: l.Region, http: s.HTTP, now: now, once: onceFor(s)},
				operator: operatorOf(t, dir)}
			o.wantSame(t)
			o.wantUsable(t)
			// The directory has been migrated, and must open again.
			s.Restart(t)
			o.wantTags(t)
			o.wantCollected(t)
			o.wantTags(t)
		})
	}
}

// corrected are the members of answers that an older program got wrong, by directory and then by operation and place, with the right
// answer.
var corrected = map[string]map[string]string{"2026-11-28": {
	"ListAccessKeys.accessKeys[].principalArn": "the user of the key; it was the root user for every key",

	"GetAccountAuthorizationDetails.RoleDetailList[].InstanceProfileList[].Roles[].Description":        "left out, as in IAM",
	"GetAccountAuthorizationDetails.RoleDetailList[].InstanceProfileList[].Roles[].MaxSessionDuration": "left out, as in IAM",
	"ListInstanceProfiles.InstanceProfiles[].Roles[].Description":                                      "left out, as in IAM",
	"ListInstanceProfiles.InstanceProfiles[].Roles[].MaxSessionDuration":                               "left out, as in IAM",
}}

// index matches the index of an element in a place.
var index = regexp.MustCompile(`\[[0-9]+\]`)

// opened is a server of the current program on an older directory.
type opened struct {
	Listing
	name     string // of the directory
	server   *apptest.Server
	caller   caller
	operator Key
}

// operatorOf returns the key of the operator, which follows from the master key in the directory.
func operatorOf(t testing.TB, dir string) Key {
	t.Helper()
	keys, err := identity.LoadKeyring(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	return Key{ID: identity.OperatorKeyID, Secret: keys.OperatorSecret().Reveal()}
}

// onceFor gets values for requests of the operator, "" from a program that knows none.
func onceFor(s *apptest.Server) func(testing.TB) string {
	return func(t testing.TB) string {
		t.Helper()
		keys, err := identity.LoadKeyring(s.Dir, "", false)
		if err != nil {
			t.Fatal(err)
		}
		once, err := client.Prove(t.Context(), s.HTTP, s.Running.URL, keys)
		if err != nil && !errors.Is(err, client.ErrAnotherServer) {
			t.Fatal(err)
		}
		return once
	}
}

func (o opened) docker(as string) ocitest.Client {
	return ocitest.Client{Base: o.server.URL, HTTP: o.server.HTTP, Password: o.Passwords[as]}
}

// wantSame compares everything that can be read without a change.
func (o opened) wantSame(t *testing.T) {
	t.Helper()
	keys := o.keys()
	seen := map[string]bool{}
	for _, want := range o.Calls {
		got := want.run(t, o.caller, keys)
		if want.Status != got.Status {
			t.Errorf("%s %s %v as %s: got status %d %v, want %d", want.Service, want.Operation, want.In, want.As, got.Status,
				got.Out, want.Status)
			continue
		}
		for _, d := range differences("", want.Out, got.Out) {
			field, _, _ := strings.Cut(want.Operation+index.ReplaceAllString(d, "[]"), ": ")
			if corrected[o.name][field] != "" {
				seen[field] = true
				continue
			}
			t.Errorf("%s %s %v as %s: %s", want.Service, want.Operation, want.In, want.As, d)
		}
	}
	for _, want := range o.Gets {
		if diff := cmp.Diff(want, want.run(t, o.docker(want.As))); diff != "" {
			t.Errorf("GET %s as %s (-want +got):\n%s", want.Path, want.As, diff)
		}
	}
	for field := range corrected[o.name] {
		if !seen[field] {
			t.Errorf("%s is as the older program answered it: remove it from the corrected answers", field)
		}
	}
	if diff := cmp.Diff(o.Trail, trail(t, o.caller, o.operator, o.Written)); diff != "" {
		t.Errorf("the audit trail (-want +got):\n%s", diff)
	}
}

// keys returns the keys of the listing and that of the operator.
func (o opened) keys() map[string]Key {
	keys := map[string]Key{"operator": o.operator}
	for name, k := range o.Keys {
		keys[name] = k
	}
	return keys
}

// wantCollected frees what the older program kept deleted, and checks that nothing else is gone.
func (o opened) wantCollected(t *testing.T) {
	t.Helper()
	all := func(operation string, in map[string]any) (pages []any) {
		for {
			c := Call{As: "operator", Service: "ecrin", Region: o.Region, Operation: operation, In: in}.run(t, o.caller, o.keys())
			page := c.Out
			if page == nil || page["__type"] != nil {
				t.Fatalf("%s: got %v", operation, page)
			}
			pages = append(pages, page)
			if page["nextToken"] == nil {
				return pages
			}
			in["nextToken"] = page["nextToken"]
		}
	}
	t.Logf("collected: %v", all("CollectStorage", map[string]any{"graceSeconds": 0}))
	deleted := all("ListDeletedRepositories", map[string]any{})[0].(map[string]any)["repositories"]
	if list, ok := deleted.([]any); !ok || len(list) > 0 {
		t.Errorf("deleted repositories after a collection without grace: got %v, want none", deleted)
	}
	for _, page := range all("VerifyStorage", map[string]any{}) {
		if damages, ok := page.(map[string]any)["damages"].([]any); !ok || len(damages) > 0 {
			t.Errorf("after the collection: got %v, want no damages", page)
		}
	}
}

// wantUsable changes what the older program left: open uploads continue, deleted images are restored, and an inactive
// key becomes active again with its secret.
func (o opened) wantUsable(t *testing.T) {
	t.Helper()
	for _, u := range o.Uploads {
		c := o.docker(u.As)
		const more = 100
		all := ocitest.Bytes(u.Seed, u.Size+more)
		want := fmt.Sprintf("0-%d", u.Size-1)
		c.Do(t, http.MethodGet, u.Location, nil).Want(t, http.StatusNoContent).WantHeader(t, "Range", want)
		c.Do(t, http.MethodPut, u.Location+"?digest="+ocitest.SHA256(all), all[u.Size:],
			"Content-Range", fmt.Sprintf("%d-%d", u.Size, len(all)-1)).Want(t, http.StatusCreated)
		blob := u.Location[:strings.Index(u.Location, "/uploads/")] + "/" + ocitest.SHA256(all)
		if got := c.Do(t, http.MethodGet, blob, nil).Want(t, http.StatusOK); string(got.Body) != string(all) {
			t.Errorf("the upload %s: the content of the blob differs from the bytes sent before and after the upgrade", u.Location)
		}
	}
	for _, d := range o.Deleted {
		c := o.docker(d.As)
		c.Do(t, http.MethodGet, d.Path, nil).Want(t, http.StatusNotFound)
		o.caller.do(t, o.keys()[d.As], "ecrin", "RestoreImage", map[string]any{"repositoryName": d.Repository,
			"imageDigest": d.Digest})
		c.Do(t, http.MethodGet, d.Path, nil).Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", d.Digest)
	}
	const user, name = "cleo", "cleo, inactive"
	if key, ok := o.Keys[name]; ok {
		o.caller.do(t, o.Keys["root"], "iam", "UpdateAccessKey", map[string]any{"UserName": user, "AccessKeyId": key.ID,
			"Status": "Active"})
		who := o.caller.do(t, key, "sts", "GetCallerIdentity", nil)
		if got, want := fmt.Sprint(who["Arn"]), "arn:aws:iam::"+o.Account+":user/people/"+user; got != want {
			t.Errorf("the key that was inactive belongs to %s, want %s", got, want)
		}
	}
}

// wantTags compares the manifests of all tags again.
func (o opened) wantTags(t *testing.T) {
	t.Helper()
	n := 0
	for _, want := range o.Gets {
		if want.Status == http.StatusOK && strings.Contains(want.Path, "/manifests/") {
			n++
			if diff := cmp.Diff(want, want.run(t, o.docker(want.As))); diff != "" {
				t.Errorf("after a restart, GET %s as %s (-want +got):\n%s", want.Path, want.As, diff)
			}
		}
	}
	if n == 0 {
		t.Error("the listing has no manifest")
	}
}

// Each listing contains all kinds of data that must survive; otherwise the comparison would prove nothing about them.
func TestListingsAreWhole(t *testing.T) {
	t.Parallel()
	for _, name := range listings(t) {
		l := readListing(t, name)
		var operations []string
		for _, c := range l.Calls {
			operations = append(operations, c.Service+" "+c.Operation)
		}
		for _, want := range []string{
			"ecr DescribeRepositories", "ecr GetRepositoryPolicy", "ecr GetRegistryPolicy", "ecr ListTagsForResource",
			"ecr DescribeImages",
			"ecr ListImageReferrers", "ecr GetAccountSetting", "ecrin ListAccounts", "ecrin ListAccessKeys", "ecrin ListTokens",
			"ecrin ListTagHistory", "ecrin ListDeletedImages", "ecrin ListControlPolicies", "ecrin ExplainRequest",
			"iam GetAccountAuthorizationDetails", "iam GetUserPolicy", "iam ListAccessKeys", "iam GetOpenIDConnectProvider",
			"sts GetCallerIdentity",
		} {
			if !slices.Contains(operations, want) {
				t.Errorf("%s: the listing has no call %s", name, want)
			}
		}
		if len(l.Keys) == 0 || len(l.Passwords) == 0 || len(l.Gets) == 0 || len(l.Uploads) == 0 || len(l.Deleted) == 0 ||
			len(l.Trail) == 0 || l.Pending == 0 {
			t.Errorf("%s: got %d keys, %d passwords, %d gets, %d uploads, %d deleted images, %d lines, %d pending lines; want some of each",
				name, len(l.Keys), len(l.Passwords), len(l.Gets), len(l.Uploads), len(l.Deleted), len(l.Trail), l.Pending)
		}
	}
}
