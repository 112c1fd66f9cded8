package assertion_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/rule/assertion"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var home = name.Registry{Account: name.MustAccount("111122223333"), Region: name.MustRegion("eu-west-1")}

// Sentences about actions that do not exist are errors: who may not do them passes always.
func TestActionsThatDoNotExist(t *testing.T) {
	t.Parallel()
	for action, want := range map[string]string{
		"ecr:BatchDeleteImage": "", "ecr:batchdeleteimage": "", "ecr:GetAuthorizationToken": "", "iam:PassRole": "", "iam:CreateUser": "",
		"sts:AssumeRole": "", "sts:TagSession": "", "ecrin:DeleteImage": "", "ecrin:ArchiveCustomer": "",
		"ecr:BatchDeleteImages": "the nearest is ecr:BatchDeleteImage", "iam:CreateUsers": "the nearest is iam:CreateUser",
		"sts:AssumeRol": "the nearest is sts:AssumeRole", "ecrin:DeleteImages": "the nearest is ecrin:DeleteImage",
		"s3:GetObject": `"s3:GetObject" is no action of ecr`, "ecr:Delete*": "stands for several actions, such as ecr:DeleteLifecyclePolicy",
		"ecr:Remove*": `no action of ecr matches "ecr:Remove*"`, "ecrin:*Nothing": "no action of ecrin matches",
	} {
		data := "registry: 111122223333/eu-west-1\ntests:\n- role/deploy pulls team/app\n- role/deploy may not " + action + " on team/app\n"
		_, err := assertion.ParseFile([]byte(data), home)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) ||
			!strings.HasPrefix(err.Error(), "line 4: ")) {
			t.Errorf("%s: got %v, want %q", action, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	deploy := "arn:aws:iam::111122223333:role/deploy"
	app := []assertion.Image{{Repository: "team/app"}}
	for _, c := range []struct {
		text string
		want assertion.Test
	}{
		{"role/deploy pulls team/app", assertion.Test{Subject: assertion.Principal, Who: deploy, Allowed: true,
			Actions: assertion.PullActions, Images: app}},
		{"role/deploy  does not   push team/app", assertion.Test{Subject: assertion.Principal, Who: deploy, Actions: assertion.PushActions,
			Images: app}},
		{"user/ops/eve may not pull team/app:1.*, prod/*", assertion.Test{Subject: assertion.Principal,
			Who:     "arn:aws:iam::111122223333:user/ops/eve",
			Actions: assertion.PullActions, Images: []assertion.Image{{"team/app", "1.*"}, {"prod/*", ""}}}},
		{"444455556666:role/x cannot push team/app", assertion.Test{Subject: assertion.Principal, Who: "arn:aws:iam::444455556666:role/x",
			Actions: assertion.PushActions, Images: app}},
		{"account 444455556666 can pull team/app", assertion.Test{Subject: assertion.Principal, Who: "444455556666", Allowed: true,
			Actions: assertion.PullActions, Images: app}},
		{"anonymous may not ecr:PutImage on team/app", assertion.Test{Subject: assertion.Principal, Who: "*", Actions: []string{"ecr:PutImage"},
			Images: app}},
		{"anyone pulls team/app", assertion.Test{Subject: assertion.Anyone, Allowed: true, Actions: assertion.PullActions, Images: app}},
		{"Nobody outside 111122223333 and 444455556666 but user/ci pushes team/app", assertion.Test{Subject: assertion.Nobody,
			Outside: []name.Account{home.Account, name.MustAccount("444455556666")}, But: []string{"arn:aws:iam::111122223333:user/ci"},
			Actions: assertion.PushActions, Images: app}},
		{"nobody but arn:aws:iam::444455556666:user/x pulls team/app", assertion.Test{Subject: assertion.Nobody,
			But: []string{"arn:aws:iam::444455556666:user/x"}, Actions: assertion.PullActions, Images: app}},
	} {
		got, err := assertion.Parse(c.text, home.Account)
		c.want.Text = strings.Join(strings.Fields(c.text), " ")
		c.want.Name = c.want.Text
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, %v, want %+v", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "role/deploy team/app", "nobody may not pull a/b", "nobody near 1 pulls a/b", "deploy pulls a/b",
		"role/x pulls A/b", "role/x pulls a/b:", "anyone at all pulls a/b", "nobody outside 12 pulls a/b",
		"role/x pulls " + strings.Repeat("a", 3000),
		"x:role/y pulls a/b", "role/x pulls"} {
		if got, err := assertion.Parse(text, home.Account); err == nil {
			t.Errorf("%.40q: got %+v, want an error", text, got)
		}
	}
}

// world has one repository with the tags 1.0 and 2.0. Role a may pull it, and the account 444455556666 may be allowed it by itself.
type world struct{ explained int }

func (*world) Repositories(context.Context) ([]string, error) { return []string{"team/app"}, nil }

func (*world) Tags(context.Context, string) ([]string, bool, error) {
	return []string{"1.0", "2.0"}, true, nil
}

func (*world) Access(_ context.Context, _, _ string, p ecrintypes.Permission, each func(ecrintypes.RepositoryAccess) bool) error {
	pull := p == ecrintypes.PermissionPULL
	for _, a := range []ecrintypes.RepositoryAccess{
		{Principal: "*", Kind: ecrintypes.AccessKindANONYMOUS, Allowed: pull}, {Principal: "STRANGER", Kind: ecrintypes.AccessKindSTRANGER,
			Allowed: pull},
		{Principal: "arn:aws:iam::111122223333:role/a", Kind: ecrintypes.AccessKindROLE, AccountId: "111122223333", Allowed: true},
		{Principal: "arn:aws:ecrin::111122223333:customer/shop/x", Kind: ecrintypes.AccessKindCUSTOMER, Allowed: pull},
		{Principal: "arn:aws:iam::444455556666:role/b", Kind: ecrintypes.AccessKindROLE, AccountId: "444455556666", Delegated: true},
	} {
		if !each(a) {
			break
		}
	}
	return nil
}

func (w *world) Explain(_ context.Context, principal, action, _, tag string) (bool, string, error) {
	w.explained++
	if strings.Contains(principal, "gone") {
		return false, "", assertion.ErrNoPrincipal
	}
	return principal == "arn:aws:iam::111122223333:role/a" && action != "ecr:PutImage" && (tag != "2.0" ||
			action != "ecr:GetDownloadUrlForLayer"),
		"no", nil
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		text   string
		passed bool
		images int
		why    string
	}{
		{"role/a pulls team/app", true, 1, ""},
		{"role/a pulls team/app:1.*", true, 1, ""},
		{"role/a pulls team/app:*", false, 2, "team/app:2.0: no"},
		{"role/a pulls team/app:3.*", false, 0, "says nothing"},
		{"role/a pulls none/*", false, 0, "says nothing"},
		{"role/a pulls team/app, none", false, 1, "says nothing"},
		{"role/b does not pull team/app", true, 1, ""},
		{"role/a does not pull team/app", false, 1, "may ecr:BatchGetImage"},
		{"role/a pushes team/app", false, 1, "no"},
		{"role/gone does not pull team/app", false, 1, "does not exist"},
		{"anyone pulls team/app", true, 1, ""},
		{"anyone pushes team/app", false, 1, ""},
		{"anyone may not push team/app", true, 1, ""},
		{"nobody pulls team/app", false, 1, ""},
		{"nobody outside 111122223333 pushes team/app", false, 1, "as soon as its own account allows it"},
		{"nobody outside 111122223333, 444455556666 pushes team/app", true, 1, ""},
		{"nobody but role/a, 444455556666 pushes team/app", true, 1, ""},
		{"nobody but role/a, 444455556666, anonymous, customers pulls team/app", false, 1, "team/app: "},
		{"nobody outside 111122223333 pulls team/app", false, 1, ""},
	} {
		test, err := assertion.Parse(c.text, home.Account)
		if err != nil {
			t.Fatal(err)
		}
		r, err := assertion.Check(t.Context(), &world{}, test)
		if err != nil || r.Passed != c.passed || r.Checked != c.images || !strings.Contains(strings.Join(r.Why, "\n"), c.why) {
			t.Errorf("%q: got %v, %d images, %q, %v, want %v, %d, %q", c.text, r.Passed, r.Checked, r.Why, err, c.passed, c.images, c.why)
		}
	}
	test, _ := assertion.Parse("nobody may ecr:PutImage on team/app", home.Account)
	if _, err := assertion.Check(t.Context(), &world{}, test); err == nil {
		t.Error("one action of nobody: got no error")
	}
}

func TestWriteJUnit(t *testing.T) {
	test, _ := assertion.Parse("role/a pulls team/app", home.Account)
	test.Line, test.Name = 7, `<"&'>`
	var b bytes.Buffer
	err := assertion.WriteJUnit(&b, "access.yaml", time.Unix(0, 0), []assertion.Result{{Test: test, Passed: true}, {Test: test,
		Why: []string{"a", "b"}}})
	var got struct {
		Suite struct {
			Tests    int `xml:"tests,attr"`
			Failures int `xml:"failures,attr"`
			Cases    []struct {
				Name    string `xml:"name,attr"`
				Line    int    `xml:"line,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err = errors.Join(err, xml.Unmarshal(b.Bytes(), &got)); err != nil {
		t.Fatal(err)
	}
	if s := got.Suite; s.Tests != 2 || s.Failures != 1 || s.Cases[0].Name != test.Name || s.Cases[0].Line != 7 ||
		s.Cases[0].Failure != nil ||
		s.Cases[1].Failure.Message != "a" {
		t.Errorf("got %+v of %s", s, b.String())
	}
}

func FuzzParseFile(f *testing.F) {
	f.Add("registry: 111122223333/eu-west-1\npolicies: {a/b: c}\nidentities: {role/x: d}\ntests:\n- role/x pulls a/b:1.*\n- name: n\n  test: nobody pulls a/b\n")
	f.Add("tests: &a [*a]")
	f.Add("a: b\ntests:\n- 1\n- [2]\n- {x: y}")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := assertion.ParseFile([]byte(text), home)
		if err != nil {
			return
		}
		for _, test := range got.Tests {
			if test.Line < 1 || test.Subject == 0 || len(test.Actions) == 0 || len(test.Images) == 0 || test.Subject == assertion.Nobody &&
				test.Allowed {
				t.Errorf("got %+v", test)
			}
		}
	})
}
