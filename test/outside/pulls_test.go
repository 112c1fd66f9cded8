package outside_test

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// pulls returns the lines of the pull log of an application, the oldest first. A server that stops writes what waits.
func (s *shop) pulls(t testing.TB, in ecrintypes.ListPullsRequest) (all []ecrintypes.Pull) {
	t.Helper()
	s.near.Restart(t)
	in.MaxResults = new(int32(7))
	in.ApplicationSlug = cmp.Or(in.ApplicationSlug, "shop")
	for {
		var out ecrintypes.ListPullsResponse
		s.ok(t, "ListPulls", in, &out)
		all = append(all, out.Pulls...)
		if in.NextToken = out.NextToken; in.NextToken == "" {
			slices.Reverse(all)
			return all
		}
	}
}

// short returns the members of lines that tests compare.
func short(all []ecrintypes.Pull) (texts []string) {
	for _, p := range all {
		texts = append(texts, strings.TrimRight(fmt.Sprintf("%s %s %s %s %s:%.16s %d %d %s", p.CustomerName, p.TokenName,
			p.Kind, p.Action, p.Image,
			p.Reference, p.HttpStatus, p.SentBytes, p.ErrorCode), " "))
	}
	return texts
}

func expect(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// Row P5: each request of a pull has a line, with the customer, the token, the image, the bytes that were sent, and the address.
func TestP5EachRequestHasALine(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	im := ocitest.NewImage(1, 1000, 300_000)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", im)
	id, license := s.customer(t, "shop", "big", s.Host+"/demo-apps/*")
	var token ecrintypes.CustomerTokenResponse
	s.ok(t, "CreateCustomerToken", ecrintypes.CustomerTokenRequest{ApplicationSlug: "shop", CustomerId: id, TokenName: "east"}, &token)
	path, layer := "proxy/shop/"+s.Host+"/demo-apps/nginx", ocitest.SHA256(im.Layers[1])
	get(t, s.near, license, http.MethodHead, path+"/manifests/1").Want(t, 200)
	body := get(t, s.near, license, http.MethodGet, path+"/manifests/1", "User-Agent", "agenté/1"+strings.Repeat("x", 900)).Want(t, 200).Body
	get(t, s.near, token.Token, http.MethodGet, path+"/blobs/"+layer).Want(t, 200)
	get(t, s.near, token.Token, http.MethodGet, path+"/blobs/"+layer, "Range", "bytes=0-99").Want(t, 206)
	get(t, s.near, token.Token, http.MethodGet, path+"/manifests/2").Want(t, 404)
	get(t, s.near, token.Token, http.MethodGet, path+"/tags/list")
	image := s.Host + "/demo-apps/nginx"
	lines := s.pulls(t, ecrintypes.ListPullsRequest{})
	if len(lines) != 6 {
		t.Fatalf("got the lines\n%s\nwant 6", strings.Join(short(lines), "\n"))
	}
	for i := range lines[4:] {
		lines[4+i].SentBytes = 0 // of texts of errors
	}
	expect(t, "the pull log", short(lines), []string{
		"big  PROXY HEAD " + image + ":1 200 0",
		fmt.Sprintf("big  PROXY MANIFEST %s:1 200 %d", image, len(body)),
		fmt.Sprintf("big east PROXY BLOB %s:%.16s 200 300000", image, layer),
		fmt.Sprintf("big east PROXY BLOB %s:%.16s 206 100", image, layer),
		"big east PROXY MANIFEST " + image + ":2 404 0 MANIFEST_UNKNOWN",
		"big east PROXY LIST " + image + ": 200 0",
	})
	for _, l := range lines {
		if l.CustomerId != id || l.Address != "127.0.0.1" || l.RequestId == "" || l.At.IsZero() {
			t.Errorf("got the line %+v, want customer, address, id and time", l)
		}
	}
	if a := lines[1].UserAgent; !strings.HasPrefix(a, "agent/1xxx") || len(a) != 200 {
		t.Errorf("got the user agent %q with %d bytes, want 200 printable ones", a, len(a))
	}
	if lines[1].ImageDigest != im.Digest || lines[2].ImageDigest != layer {
		t.Errorf("got the digests %s and %s, want %s and %s", lines[1].ImageDigest, lines[2].ImageDigest, im.Digest, layer)
	}
	for what, tt := range map[string]struct {
		in   ecrintypes.ListPullsRequest
		want int
	}{
		"customer": {ecrintypes.ListPullsRequest{CustomerId: id}, 6}, "failed": {ecrintypes.ListPullsRequest{Failed: new(true)}, 1},
		"status": {ecrintypes.ListPullsRequest{HttpStatus: new(int32(206))},
			1}, "image": {ecrintypes.ListPullsRequest{ImagePrefix: image[:9]}, 6},
		"another image": {ecrintypes.ListPullsRequest{ImagePrefix: "demo"},
			0}, "no licence": {ecrintypes.ListPullsRequest{WithoutLicense: new(true)}, 0},
		"time": {ecrintypes.ListPullsRequest{StartTime: &lines[2].At, CustomerId: id}, 4},
		"end":  {ecrintypes.ListPullsRequest{EndTime: &lines[2].At}, 2},
	} {
		if got := s.pulls(t, tt.in); len(got) != tt.want {
			t.Errorf("by %s: got %d lines, want %d", what, len(got), tt.want)
		}
	}
}

// Row P6: without a login, with a licence that does not exist, and with that of another application there are 401, 401
// and 403, and each is in the log with its code, and with the customer if there is one.
func TestP6RefusalsHaveLines(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	s.root.CreateRepository(t, "demo-apps/nginx").Push(t, "1", ocitest.NewImage(1, 1000))
	s.ok(t, "CreateApplication", ecrintypes.CreateApplicationRequest{ApplicationName: "Other"}, nil)
	id, mine := s.customer(t, "shop", "big", "*")
	_, others := s.customer(t, "other", "else", "*")
	_, none := s.customer(t, "shop", "none")
	path := "proxy/shop/" + s.Host + "/demo-apps/nginx/manifests/1"
	image := s.Host + "/demo-apps/nginx"
	for _, r := range []struct {
		password, path string
		want           int
	}{{"", path, 401}, {strings.Repeat("a", 27), path, 401}, {"", "shop/api/manifests/1", 401}, {"", "nothing/api/manifests/1", 401},
		{others, path, 403}, {none, path, 403}, {mine, "proxy/shop/registry.invalid/a/b/manifests/1", 403}} {
		if a := get(t, s.near, r.password, http.MethodGet, r.path); a.Status != r.want {
			t.Errorf("%s: got %d %s, want %d", r.path, a.Status, a.Body, r.want)
		}
	}
	get(t, s.near, mine, http.MethodPut, path).Want(t, 403)
	s.ok(t, "UpdateCustomer", ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: id, Archived: new(true)}, nil)
	get(t, s.near, mine, http.MethodGet, path).Want(t, 401)
	get(t, s.near, mine, http.MethodGet, "").Want(t, 401)
	lines := s.pulls(t, ecrintypes.ListPullsRequest{Failed: new(true)})
	for i := range lines {
		lines[i].SentBytes = 0
	}
	expect(t, "the log of shop", short(lines), []string{
		"  PROXY MANIFEST " + image + ":1 401 0 UNAUTHORIZED",
		"  PROXY MANIFEST " + image + ":1 401 0 UNAUTHORIZED",
		"  REGISTRY MANIFEST shop/api:1 401 0 UNAUTHORIZED",
		"none  PROXY MANIFEST " + image + ":1 403 0 DENIED",
		"big  PROXY MANIFEST registry.invalid/a/b:1 403 0 DENIED",
		"big  PROXY WRITE " + image + ":1 403 0 DENIED",
		"big  PROXY MANIFEST " + image + ":1 401 0 UNAUTHORIZED",
		"big  REGISTRY AUTH : 401 0 UNAUTHORIZED",
	})
	lines = s.pulls(t, ecrintypes.ListPullsRequest{ApplicationSlug: "other"})
	for i := range lines {
		lines[i].SentBytes = 0
	}
	expect(t, "the log of other", short(lines), []string{"else  PROXY MANIFEST proxy/shop/" + image + ":1 403 0 DENIED"})
	if got := len(s.pulls(t, ecrintypes.ListPullsRequest{WithoutLicense: new(true)})); got != 3 {
		t.Errorf("without a licence: got %d lines, want 3", got)
	}
	text, _ := json.Marshal(s.pulls(t, ecrintypes.ListPullsRequest{}))
	for what, secret := range map[string]string{"licence": mine, "made-up licence": strings.Repeat("a", 27), "key": s.secret} {
		if strings.Contains(string(text), secret) {
			t.Errorf("the log contains a %s: %s", what, text)
		}
	}
}

// What the upstream answered is in the line of a pull that failed because of it.
func TestPullLogHasTheUpstreamsAnswer(t *testing.T) {
	t.Parallel()
	s := newShop(t, `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}]}`, nil)
	s.root.CreateRepository(t, "repo1").Push(t, "1", ocitest.NewImage(1, 1000))
	_, license := s.customer(t, "shop", "big", "*")
	get(t, s.near, license, http.MethodGet, "proxy/shop/aws/repo1/manifests/1").Want(t, 502)
	lines := s.pulls(t, ecrintypes.ListPullsRequest{})
	if len(lines) != 1 || lines[0].HttpStatus != 502 || lines[0].UpstreamStatus == nil || *lines[0].UpstreamStatus != 403 ||
		lines[0].UpstreamCode != "DENIED" {
		t.Errorf("got %+v, want one line with 502, and 403 DENIED of the upstream", lines)
	}
}

// The fleet says what customers have pulled, also of those who have not asked for updates, and which version that is.
func TestFleetOfPulls(t *testing.T) {
	t.Parallel()
	s := newShop(t, readPolicy, nil)
	images := map[string]ocitest.Image{"1": ocitest.NewImage(1, 1000), "2": ocitest.NewImage(2, 1000)}
	repo := s.root.CreateRepository(t, "demo-apps/nginx")
	for tag, im := range images {
		repo.Push(t, tag, im)
	}
	for i, tag := range []string{"1", "2"} {
		s.ok(t, "CreateRelease", ecrintypes.CreateReleaseRequest{ApplicationSlug: "shop", Files: []ecrintypes.ReleaseFile{{Path: "pod.yaml",
			Content: "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: '" + s.Host +
				"/demo-apps/nginx:" + tag + "'}]}"}}},
			nil)
		s.ok(t, "PromoteRelease", ecrintypes.PromoteReleaseRequest{ApplicationSlug: "shop", Sequence: int64(i + 1),
			ChannelIds:   []string{"stable"},
			VersionLabel: tag + ".0.0"}, nil)
	}
	var made ecrintypes.CreateCustomerResponse
	s.ok(t, "CreateCustomer", ecrintypes.CreateCustomerRequest{ApplicationSlug: "shop", CustomerName: "big",
		Channels: []ecrintypes.CustomerChannel{{ChannelId: "stable"}}}, &made)
	s.ok(t, "PutEntitlement", ecrintypes.PutEntitlementRequest{ApplicationSlug: "shop", CustomerId: made.Customer.CustomerId,
		Repositories: []string{"*"}}, nil)
	otherID, none := s.customer(t, "shop", "other", "*")
	s.customer(t, "shop", "pulls nothing", "*")
	path := "proxy/shop/" + s.Host + "/demo-apps/nginx/manifests/"
	fleet := func() (texts []string) {
		t.Helper()
		s.near.Restart(t)
		in := ecrintypes.ListInstancesRequest{ApplicationSlug: "shop", MaxResults: new(int32(1))}
		for {
			var out ecrintypes.ListInstancesResponse
			s.ok(t, "ListInstances", in, &out)
			for _, i := range out.Instances {
				text := fmt.Sprintf("%s/%s %s pulled %s, %d behind:", i.CustomerName, i.InstanceId, i.ChannelSlug, i.PulledVersion, i.VersionsBehind)
				for _, p := range i.PulledImages {
					text += fmt.Sprintf(" %s is %.12s", p.Reference, p.ImageDigest)
				}
				texts = append(texts, text)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				slices.Sort(texts)
				return texts
			}
		}
	}
	expect(t, "before a pull", fleet(), nil)
	get(t, s.near, made.LicenseId, http.MethodHead, path+"1").Want(t, 200)
	get(t, s.near, none, http.MethodGet, path+images["1"].Digest).Want(t, 200)
	first := fmt.Sprintf(" 1 is %.12s", images["1"].Digest)
	other := fmt.Sprintf("other/ unstable pulled , 0 behind: %s is %.12s", images["1"].Digest, images["1"].Digest)
	expect(t, "after version 1", fleet(), []string{"big/ stable pulled 1.0.0, 1 behind:" + first, other})
	get(t, s.near, made.LicenseId, http.MethodGet, path+"2").Want(t, 200)
	second := fmt.Sprintf(" 2 is %.12s", images["2"].Digest)
	expect(t, "after version 2", fleet(), []string{"big/ stable pulled 2.0.0, 0 behind:" + first + second, other})
	asked := ocitest.Client{Base: s.near.URL, HTTP: s.near.HTTP}.Do(t, http.MethodGet, "/release/shop/pending?channelSequence=1", nil,
		"Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("x:"+made.LicenseId)), "X-Replicated-InstanceID", "east")
	asked.Want(t, 200)
	expect(t, "after a check for updates", fleet(), []string{"big/east stable pulled 2.0.0, 1 behind:" + first + second, other})
	s.ok(t, "UpdateCustomer", ecrintypes.UpdateCustomerRequest{ApplicationSlug: "shop", CustomerId: otherID, Archived: new(true)}, nil)
	expect(t, "after a customer was archived", fleet(), []string{"big/east stable pulled 2.0.0, 1 behind:" + first + second})
}
