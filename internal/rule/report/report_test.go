package report_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/rule/report"
)

// A query has all variables but those that the client reads, and is read back in both of its forms.
func TestQuery(t *testing.T) {
	t.Parallel()
	v := report.FromEnvironment([]string{"CF_API_KEY=k", "CF_HOST=h", "CF_IMAGE=a/b:1", "CF_X=", "CF_lower=1", "OTHER=1",
		"CF_DOCKERFILE_CONTENT=FROM a\nRUN b && c\n", "CF_GIT_BRANCH=feature/ä&b"})
	for _, packed := range []bool{false, true} {
		text := v.Query(packed)
		if strings.HasPrefix(text, "data=") != packed || strings.Contains(text, "API_KEY") {
			t.Errorf("the query: got %s", text)
		}
		got, err := report.ParseQuery(text)
		want := report.Variables{"CF_IMAGE": "a/b:1", "CF_DOCKERFILE_CONTENT": "FROM a\nRUN b && c\n", "CF_GIT_BRANCH": "feature/ä&b"}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read back, packed %t: got %q and %v, want %q", packed, got, err, want)
		}
	}
	for version, want := range map[string]bool{"0.1.33": true, "0.1.32": false, "0.2.0": true, "1.0.0": true, "x": false} {
		if got := report.Packed(version); got != want {
			t.Errorf("version %s: got %t, want %t", version, got, want)
		}
	}
	for _, bad := range []string{"data=%", "data=xyz", "data=eJw", "CF_IMAGE=%zz", "CF_DOCKERFILE_CONTENT=" + strings.Repeat("x", 65<<10),
		report.Variables{"CF_IMAGE": strings.Repeat("x", 600<<10)}.Query(true)} {
		if _, err := report.ParseQuery(bad); err == nil {
			t.Errorf("the query %.40s: got no error", bad)
		}
	}
}

func TestParseImageName(t *testing.T) {
	t.Parallel()
	d := "sha256:" + strings.Repeat("a", 64)
	for text, want := range map[string]string{
		"nginx": "docker.io/library/nginx latest", "team/app:1": "docker.io/team/app 1",
		"H.example.com:5000/a/b": "h.example.com:5000/a/b latest",
		"localhost/a:1":          "localhost/a 1", "docker.io/nginx:2": "docker.io/library/nginx 2", "q.io/a@" + d: "q.io/a " +
			d, "q.io/a:1@" + d: "q.io/a " + d,
		"": "", "A/b": "", "h.io/": "", "h.io/a:": "", "h.io/a@sha256:1": "", "h.io/../a": "", "h_x.io/a": "", strings.Repeat("a", 513): "",
	} {
		n, err := report.ParseImageName(text)
		got := n.Repository() + " " + n.Reference()
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("%.60q: got %q and %v, want %q", text, got, err, want)
		}
	}
	for host, want := range map[string]string{"docker.io": "DOCKER_HUB",
		"123456789012.dkr.ecr.eu-west-1.amazonaws.com": "ECR", "eu.gcr.io": "GCR",
		"ghcr.io": "GHCR", "a.jfrog.io": "JFROG", "quay.io": "QUAY", "evilgcr.io": "OTHER", "h:5000": "OTHER"} {
		if got := report.RegistryType(host, false); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}

func TestIssueKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ message, prefix, want string }{
		{"fix CR-1, ops-2", "CR,OPS", "CR-1 OPS-2"}, {"fix CR-1 CR-2", "CR", "CR-1"}, {"none", "CR", ""}, {"fix cr-7", "CR", "CR-7"},
		{"a-1 b-2 A-1", "/[ab]-[0-9]+/gi", "A-1 B-2"}, {"x", "/(/", "!"}, {"x", "/x", "!"}, {"x", "/x/y", "!"}, {"a.b-1", "a.b", "A.B-1"},
		{"axb-1", "a.b", ""}, {strings.Repeat("x", 65<<10), "CR", "!"}, {"x", strings.Repeat("y", 2000), "!"},
	} {
		keys, err := report.IssueKeys(c.message, c.prefix)
		got := strings.Join(keys, " ")
		if err != nil {
			got = "!"
		}
		if got != c.want {
			t.Errorf("%.40q by %.40q: got %q and %v, want %q", c.message, c.prefix, got, err, c.want)
		}
	}
	// The classic of expressions that take exponential time elsewhere.
	begun := time.Now()
	if _, err := report.IssueKeys(strings.Repeat("a", 60<<10)+"!", "/(a+)+$/"); err != nil || time.Since(begun) > 20*time.Second {
		t.Errorf("a nested repetition: got %v after %s", err, time.Since(begun))
	}
}

func TestLayers(t *testing.T) {
	t.Parallel()
	c := report.Config{History: []report.History{
		{CreatedBy: "/bin/sh -c #(nop) ADD file:1 in / "},
		{CreatedBy: "/bin/sh -c #(nop)  SHELL [/bin/bash -o pipefail -c]", EmptyLayer: true},
		{CreatedBy: "/bin/bash -o pipefail -c make"},
		{CreatedBy: "RUN |1 A=b /bin/bash -o pipefail -c make it # buildkit"},
		{CreatedBy: "COPY . /app # buildkit"},
		{CreatedBy: "CMD [\"x\"]", EmptyLayer: true},
	}}
	show := func(all []report.Layer) (text string, sum int64) {
		for _, l := range all {
			text += l.Instruction + " " + l.Args + "|"
			sum += l.Size
		}
		return text, sum
	}
	text, sum := show(report.Layers(c, []int64{1, 2, 4, 8}))
	if want := `ADD file:1 in /|SHELL [/bin/bash -o pipefail -c]|RUN make|RUN make it|COPY . /app|CMD ["x"]|`; text != want || sum != 15 {
		t.Errorf("the layers: got %s and %d bytes, want %s and 15", text, sum, want)
	}
	if text, sum = show(report.Layers(c, []int64{16, 32, 1, 2, 4, 8})); sum != 63 || !strings.HasPrefix(text, " layers without history|ADD") {
		t.Errorf("more layers than history: got %s and %d bytes, want all in it", text, sum)
	}
	if _, sum = show(report.Layers(c, []int64{1})); sum != 1 {
		t.Errorf("fewer layers than history: got %d bytes, want 1", sum)
	}
}

func TestChooseCommit(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	pulls := []report.Pull{
		{Number: 1, Created: at(10), Commits: []report.Commit{{SHA: "aaaaaaaa1", Date: at(100)}}},
		{Number: 2, Created: at(20), Commits: []report.Commit{{SHA: "bbbbbbbb2", Date: at(2), UserName: "x"},
			{SHA: "cccccccc3", Date: at(3), UserName: "x"}}},
		{Number: 3, Created: at(30)},
	}
	for revision, want := range map[string]string{"": "cccccccc3", "AAAAAAA": "aaaaaaaa1", "aaa": "cccccccc3", "ddddddd": "cccccccc3"} {
		if c, ok := report.ChooseCommit(revision, pulls); !ok || c.SHA != want {
			t.Errorf("revision %q: got %+v, want %s", revision, c, want)
		}
	}
	if _, ok := report.ChooseCommit("", nil); ok {
		t.Error("without pull requests: got a commit")
	}
	if n := len(pulls[1].Committers()); n != 1 {
		t.Errorf("got %d committers, want 1", n)
	}
	if kept := report.PerUser(pulls[1].Commits, 1); len(kept) != 1 || kept[0].SHA != "cccccccc3" {
		t.Errorf("one commit of each author: got %+v, want the last one", kept)
	}
}
