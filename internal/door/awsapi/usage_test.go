package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/main/config"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// history returns the answer of GetUsageHistory by name, all hours or days together.
func (s *server) history(body string) map[string]ecrintypes.UsagePeriod {
	s.t.Helper()
	a := s.callEcrin(s.key, "GetUsageHistory", body)
	var out ecrintypes.GetUsageHistoryResponse
	if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != 200 {
		s.t.Fatalf("GetUsageHistory %s: got %s, %v", body, a, err)
	}
	all := map[string]ecrintypes.UsagePeriod{}
	for _, u := range out.Usage {
		sum := all[u.RepositoryName+u.Principal]
		sum.Pulls, sum.Pushes, sum.Denials = sum.Pulls+u.Pulls, sum.Pushes+u.Pushes, sum.Denials+u.Denials
		sum.SentBytes, sum.StoredBytes = sum.SentBytes+u.SentBytes, sum.StoredBytes+u.StoredBytes
		all[u.RepositoryName+u.Principal] = sum
	}
	return all
}

// Acceptance rows of usage over time, in the order of the test.
//
//	| row | the user does | expected |
//	| US1 | pushes an image by docker and one by the ECR API, and stops the server | a push for each, and the bytes that were new |
//	| US2 | pulls with docker, without credentials, by BatchGetImage, with HEAD, and in vain | 3 pulls and the bytes; HEAD and 404 are none |
//	| US3 | asks by principal | the user and the anonymous caller have what they did; sessions of a role count for the role |
//	| US4 | is denied as a user, from another account and without credentials | denials; strangers have one row and none of a repository |
//	| US5 | sends 100 denied requests for 100 repositories | at most 50 rows, and one for the others; a pull of another one has its row |
//	| US6 | asks by hour and by day, of one repository, in pages | the same sums; a page with a token |
//	| US7 | asks without the right, for the registry with the right for one repository, and from another account | AccessDeniedException |
//	| US8 | asks with bad times, for principals of one repository, with a token of another listing | InvalidParameterException |
func TestUsageRows(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *config.Config) { c.Anonymous = true })
	ctx := t.Context()
	s.repository("team/app")
	s.repository("second")
	s.must("SetRepositoryPolicy", object("repositoryName", "team/app", "policyText",
		object("Version", "2012-10-17", "Statement", []any{map[string]any{"Effect": "Allow", "Principal": "*",
			"Action": []string{"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"}}})))
	image := ocitest.NewImage(3, 5000)
	app := s.Root(t).Docker(t).Repo("team/app")
	app.Push(t, "v1", image) // US1
	s.image("second", "a", "v1")
	size := int64(len(image.Config) + len(image.Layers[0]))
	s.Restart(t)
	got := s.history(`{}`)
	if u := got["team/app"]; u.Pushes != 1 || u.StoredBytes != size || u.Pulls != 0 {
		t.Errorf("US1: got %+v, want one push of %d bytes", u, size)
	}
	if u := got["second"]; u.Pushes != 1 || u.StoredBytes != int64(len(`{"seed":"a"}`)) {
		t.Errorf("US1, the ECR API: got %+v", u)
	}

	layer := ocitest.SHA256(image.Layers[0]) // US2
	app.Manifest(t, "v1").Want(t, 200)
	app.Blob(t, layer).Want(t, 200)
	app.Do(t, http.MethodHead, app.Path("/manifests/v1"), nil).Want(t, 200)
	app.Manifest(t, "none").Want(t, 404)
	anonymous := ocitest.Client{HTTP: s.HTTP, Base: s.URL}.Repo("team/app")
	anonymous.Manifest(t, "v1").Want(t, 200)
	s.role("ci", allow("ecr:*"))
	user := s.user("user", allow("sts:*"))
	one := s.assume(user, "ci", "one", "")
	other := s.assume(user, "ci", "two", "")
	for _, key := range []aws.Credentials{one, other} {
		if _, err := s.sdk(key).BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: aws.String("second"),
			ImageIds: []types.ImageIdentifier{{ImageTag: aws.String("v1")}}}); err != nil {
			t.Fatal(err)
		}
	}

	foreign := s.account(otherAccount) // US4
	s.send(raw{key: user, target: ecrTarget + "ListImages", body: `{"repositoryName":"second"}`}).want(t, "US4", 400,
		"AccessDeniedException", "")
	for i := range 3 {
		s.send(raw{key: foreign, target: ecrTarget + "ListImages", body: object("registryId", home, "repositoryName", fmt.Sprint("guess", i))}).
			want(t, "US4", 400, "AccessDeniedException", "")
	}
	anonymous.Do(t, http.MethodGet, "/v2/second/manifests/v1", nil)
	s.Restart(t)

	got = s.history(`{"groupBy":"REPOSITORY","granularity":"DAILY"}`)
	if u := got["team/app"]; u.Pulls != 2 || u.SentBytes != int64(2*len(image.Manifest)+len(image.Layers[0])) {
		t.Errorf("US2: got %+v, want 2 pulls of the manifest and the bytes of one layer", u)
	}
	if u := got["second"]; u.Pulls != 2 || u.Denials != 1 {
		t.Errorf("US2, US4: got %+v of second, want 2 pulls and the denial of a user of the account", u)
	}
	people := s.history(`{"groupBy":"PRINCIPAL","granularity":"DAILY"}`) // US3
	for who, want := range map[string]ecrintypes.UsagePeriod{
		"anonymous": {Pulls: 1}, "arn:aws:sts::" + home + ":assumed-role/ci": {Pulls: 2}, "arn:aws:iam::" + home + ":user/user": {Denials: 1},
		"other-accounts": {Denials: 4}, "arn:aws:iam::" + home + ":root": {Pulls: 1, Pushes: 2},
	} {
		if u := people[who]; u.Pulls != want.Pulls || u.Pushes != want.Pushes || u.Denials != want.Denials {
			t.Errorf("US3, %s: got %+v, want %+v", who, u, want)
		}
	}
	for name := range got {
		if strings.HasPrefix(name, "guess") {
			t.Errorf("US4: got a row of %s, which callers of another account have named", name)
		}
	}

	for i := range 100 { // US5
		s.send(raw{key: user, target: ecrTarget + "ListImages", body: object("repositoryName", fmt.Sprintf("guess/%03d", i))})
	}
	s.repository("late")
	s.image("late", "b", "v1")
	s.Restart(t)
	got = s.history(`{"granularity":"DAILY"}`)
	guesses := 0
	for name := range got {
		if strings.HasPrefix(name, "guess/") {
			guesses++
		}
	}
	if guesses > 50 || guesses < 40 || got["late"].Pushes != 1 || got[""].Denials == 0 {
		t.Errorf("US5: got %d rows of denials, %+v of late, %+v of others; want at most 50, a push, some", guesses, got["late"], got[""])
	}

	for _, granularity := range []string{"HOURLY", "DAILY"} { // US6
		body := object("granularity", granularity, "repositoryName", "team/app")
		if one := s.history(body); len(one) != 1 || one["team/app"].Pulls != 2 {
			t.Errorf("US6: got %+v for %s, want 2 pulls of team/app alone", one, body)
		}
	}
	var denials [2]int64
	for i, by := range []string{"REGISTRY", "PRINCIPAL"} {
		var out ecrintypes.GetUsageHistoryResponse
		answer := s.callEcrin(s.key, "GetUsageHistory", object("groupBy", by)).Body
		if err := json.Unmarshal([]byte(answer), &out); err != nil {
			t.Fatal(err)
		}
		for _, u := range out.Usage {
			denials[i] += u.Denials
		}
	}
	if denials[0] != denials[1] || denials[0] < 100 {
		t.Errorf("US6: %d denials of the registry, and %d of its principals", denials[0], denials[1])
	}
	names, token := map[string]bool{}, ""
	for pages := 0; ; pages++ {
		body := object("granularity", "DAILY", "maxResults", 20)
		if token != "" {
			body = object("granularity", "DAILY", "maxResults", 20, "nextToken", token)
		}
		var out ecrintypes.GetUsageHistoryResponse
		err := json.Unmarshal([]byte(s.callEcrin(s.key, "GetUsageHistory", body).Body), &out)
		if err != nil || len(out.Usage) > 20 || pages > 10 {
			t.Fatalf("US6: got %d rows in page %d, %v", len(out.Usage), pages, err)
		}
		for _, u := range out.Usage {
			names[u.RepositoryName] = true
		}
		if token = out.NextToken; token == "" {
			break
		}
	}
	if len(names) != len(got) {
		t.Errorf("US6: got %d names in pages, want %d", len(names), len(got))
	}

	reader := s.user("reader", rule("Allow", "Action", "arn:aws:ecr:*:*:repository/team/*", "ecrin:GetUsageHistory")) // US7
	s.callEcrin(reader, "GetUsageHistory", `{"repositoryName":"team/app"}`).want(t, "US7", 200, "", "")
	for _, body := range []string{`{}`, `{"repositoryName":"second"}`} {
		s.callEcrin(reader, "GetUsageHistory", body).want(t, "US7", 400, "AccessDeniedException", "ecrin:GetUsageHistory on resource")
	}
	s.callEcrin(foreign, "GetUsageHistory", object("registryId", home)).want(t, "US7", 400, "AccessDeniedException", "")

	for _, body := range []string{`{"startTime":1800000000,"endTime":1700000000}`, // US8
		`{"groupBy":"PRINCIPAL","repositoryName":"team/app"}`, `{"nextToken":"x"}`, `{"repositoryName":"NO"}`, `{"groupBy":"NONE"}`} {
		s.callEcrin(s.key, "GetUsageHistory", body).want(t, "US8, "+body, 400, "InvalidParameterException", "")
	}
}

// What another process of the database has counted adds up.
func TestUsageOfTwoProcesses(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	s.image("app", "a", "v1")
	s.Restart(t)
	key := meta.UsageKey{Account: s.Registry().Account, Kind: meta.ByRepository, Start: time.Now(), Region: region, Subject: "app"}
	if err := s.Meta().AddActivity(t.Context(), []meta.UsageRow{{UsageKey: key, Activity: meta.Activity{Pushes: 5}}}); err != nil {
		t.Fatal(err)
	}
	if u := s.history(`{}`)["app"]; u.Pushes != 6 {
		t.Errorf("got %+v, want 6 pushes of two processes", u)
	}
}

// Acceptance rows of pulls by tag, in the order of the test.
//
//	| row | the user does | expected |
//	| US9 | pulls a tag as docker does: GET by tag; as containerd does: HEAD by tag, GET by digest | one pull of the tag for each |
//	| US10 | pulls by digest without a lookup, twice after one, and after the lookup of another caller | no pull, one, none of a tag |
//	| US11 | pulls by BatchGetImage with a tag | a pull of the tag |
//	| US12 | looks two tags of one image up, and pulls it by digest | a pull of the last one |
//	| US13 | asks for the tags of one repository | those alone, also if another name begins alike |
func TestPullsByTagRows(t *testing.T) {
	t.Parallel()
	s := serve(t, func(c *config.Config) { c.Anonymous = true })
	for _, repo := range []string{"team/app", "team/app2"} {
		s.repository(repo)
		s.must("SetRepositoryPolicy", object("repositoryName", repo, "policyText", object("Version", "2012-10-17", "Statement",
			[]any{map[string]any{"Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}})))
	}
	image := ocitest.NewImage(4, 100)
	root := s.Root(t).Docker(t)
	app, second := root.Repo("team/app"), root.Repo("team/app2")
	for _, tag := range []string{"v1", "v2", "v3", "v4", "v5", "v6"} {
		app.Push(t, tag, image)
	}
	second.Push(t, "v1", image)
	anonymous := ocitest.Client{HTTP: s.HTTP, Base: s.URL}.Repo("team/app")
	head := func(r ocitest.Repo, tag string) {
		r.Do(t, http.MethodHead, r.Path("/manifests/"+tag), nil).Want(t, 200)
	}
	get := func(r ocitest.Repo, reference string) { r.Manifest(t, reference).Want(t, 200) }

	get(app, image.Digest) // US10
	get(app, "v1")         // US9
	head(app, "v2")
	get(app, image.Digest)
	get(app, image.Digest) // US10: the lookup is used up
	head(anonymous, "v3")
	get(app, image.Digest)
	get(anonymous, image.Digest) // of the caller that has looked it up
	head(app, "v4")
	get(second, image.Digest)                                                                // another repository
	s.must("BatchGetImage", object("repositoryName", "team/app", "imageIds", ids("", "v5"))) // US11
	head(app, "v5")                                                                          // US12
	head(app, "v6")
	get(app, image.Digest)
	get(second, "v1")
	s.Restart(t)

	tags := func(body string) string {
		t.Helper()
		var out ecrintypes.GetUsageHistoryResponse
		if err := json.Unmarshal([]byte(s.callEcrin(s.key, "GetUsageHistory", body).Body), &out); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, u := range out.Usage {
			all = append(all, fmt.Sprint(u.RepositoryName, ":", u.ImageTag, " ", u.Pulls))
		}
		return strings.Join(all, ", ")
	}
	const want = "team/app:v1 1, team/app:v2 1, team/app:v3 1, team/app:v5 1, team/app:v6 1"
	if got := tags(`{"groupBy":"TAG","granularity":"DAILY","repositoryName":"team/app"}`); got != want { // US13
		t.Errorf("pulls by tag: got %s, want %s", got, want)
	}
	if got := tags(`{"groupBy":"TAG","granularity":"DAILY"}`); got != "team/app2:v1 1, "+want && got != want+", team/app2:v1 1" {
		t.Errorf("pulls by tag of the registry: got %s, want %s and one of team/app2:v1", got, want)
	}
	if u := s.history(`{"granularity":"DAILY"}`)["team/app"]; u.Pulls != 8 {
		t.Errorf("got %d pulls of the repository, want 8", u.Pulls)
	}
}
