package policy_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// statement returns a repository policy of one statement; elements replace or follow the default elements.
func statement(elements ...string) string {
	has := func(names ...string) bool {
		for _, e := range elements {
			for _, n := range names {
				if strings.Contains(e, `"`+n+`":`) {
					return true
				}
			}
		}
		return false
	}
	if !has("Action", "NotAction") {
		elements = append([]string{`"Action":"ecr:*"`}, elements...)
	}
	if !has("Principal", "NotPrincipal") {
		elements = append([]string{`"Principal":"*"`}, elements...)
	}
	if !has("Effect") {
		elements = append([]string{`"Effect":"Deny"`}, elements...)
	}
	return `{"Version":"2012-10-17","Statement":[{` + strings.Join(elements, ",") + `}]}`
}

func mustParse(t *testing.T, text string) *policy.Document {
	t.Helper()
	d, err := policy.Parse(text, policy.Repository)
	if err != nil {
		t.Fatalf("Parse(%s): %v", text, err)
	}
	return d
}

// The policies that deployment platforms document.
func TestParseTakesPoliciesOfPlatforms(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"pull-account", "push-2008", "registry"} {
		text, err := os.ReadFile("testdata/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile("testdata/" + file + ".want")
		if err != nil {
			t.Fatal(err)
		}
		kind := policy.Repository
		if file == "registry" {
			kind = policy.Registry
		}
		d, err := policy.Parse(string(text), kind)
		if err != nil {
			t.Errorf("Parse(%s): %v", file, err)
			continue
		}
		if diff := cmp.Diff(strings.TrimSuffix(string(want), "\n"), d.String()); diff != "" {
			t.Errorf("%s: String (-want +got):\n%s", file, diff)
		}
	}
}

// The malformed policy of one guide: a list of statements written as two objects, with an extra comma.
func TestParsePlacesMalformedPaste(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/malformed.json")
	if err != nil {
		t.Fatal(err)
	}
	_, err = policy.Parse(string(text), policy.Repository)
	want := `14:5: invalid character ']' looking for beginning of value`
	if got := problem(t, "malformed.json", err).Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	cured := strings.Replace(string(text), "},\n    ]", "}\n    ]", 1)
	_, err = policy.Parse(cured, policy.Repository)
	want = `17:1: invalid character '{' after top-level value (a second document begins here: a policy is one document)`
	if got := problem(t, cured, err).Error(); got != want {
		t.Errorf("without the comma: got %q, want %q", got, want)
	}
}

// problem checks the properties that every error of Parse has, and returns its cause.
func problem(t *testing.T, text string, err error) *policy.Problem {
	t.Helper()
	var p *policy.Problem
	if !errors.Is(err, fault.InvalidParameter) || !errors.As(err, &p) {
		t.Fatalf("Parse(%s): error %v, want fault.InvalidParameter because of a Problem", text, err)
	}
	return p
}

func TestParseErrorOfECR(t *testing.T) {
	t.Parallel()
	const public = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid %s policy provided' (%s)"
	for _, test := range []struct{ text, place, cause string }{
		{"{}", "line 1, column 1: the element Statement is missing", "1:1: the element Statement is missing"},
		{"{\n  \"Statement\": 7\n}", "line 2, column 16: Statement: must be an object, is a number",
			"2:16: Statement: must be an object, is a number"},
		{`{"Id":`, "line 1, column 7: unexpected end of JSON input", "1:7: unexpected end of JSON input"},
	} {
		for _, kind := range []policy.Kind{policy.Repository, policy.Registry} {
			_, err := policy.Parse(test.text, kind)
			want := fmt.Sprintf(public, kind, test.place)
			if got := fault.From(err); got.Code != fault.InvalidParameter || got.Public != want {
				t.Errorf("%s policy %s: got %v %q, want InvalidParameter %q", kind, test.text, got.Code, got.Public, want)
			}
			if got := problem(t, test.text, err).Error(); got != test.cause {
				t.Errorf("%s policy %s: cause %q, want %q", kind, test.text, got, test.cause)
			}
		}
	}
}

func TestParseNoKindPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("Parse of kind 0 did not panic")
		}
	}()
	_, _ = policy.Parse("{}", 0)
}

func TestParseRefusesDocument(t *testing.T) {
	t.Parallel()
	ok := statement()[len(`{"Version":"2012-10-17",`):] // "Statement":[…]}
	tests := map[string]struct{ text, want string }{
		"empty":             {"", "1:1: unexpected end of JSON input"},
		"cut":               {`{"Version":`, "1:12: unexpected end of JSON input"},
		"null":              {"null", "1:1: must be an object, is null"},
		"array":             {"[]", "1:1: must be an object, is an array"},
		"string":            {` "*"`, "1:2: must be an object, is a string"},
		"line and column":   {"{\n  \"é\" 1}", `2:7: invalid character '1' after object key`},
		"not UTF-8":         {"{\"Id\":\"\xff\"}", "1:8: a byte that is not UTF-8"},
		"half of a pair":    {`{"Id":"\ud800",` + ok, `1:7: the string "\"\\ud800\"" has an escape \u that is not a character`},
		"unknown element":   {`{"Foo":1,` + ok, `1:2: unknown element "Foo"`},
		"other case":        {`{"version":"2012-10-17",` + ok, `1:2: unknown element "version"`},
		"element twice":     {`{"Id":"a","\u0049d":"b",` + ok, `1:11: the element "Id" appears twice`},
		"version":           {`{"Version":"2012-10-18",` + ok, `1:12: Version: the version must be "2012-10-17" or "2008-10-17"`},
		"empty version":     {`{"Version":"",` + ok, `1:12: Version: the version must be "2012-10-17" or "2008-10-17"`},
		"version of number": {`{"Version":2012,` + ok, `1:12: Version: the version must be "2012-10-17" or "2008-10-17"`},
		"id of number":      {`{"Id":1,` + ok, "1:7: Id: must be a string, is a number"},
		"id of null":        {`{"Id":null,` + ok, "1:7: Id: must be a string, is null"},
		"no statement":      {`{"Statement":[]}`, "1:14: Statement: there must be at least one statement"},
		"statement of text": {`{"Statement":"x"}`, "1:14: Statement: must be an object, is a string"},
		"statement of list": {`{"Statement":[[]]}`, "1:15: Statement[0]: must be an object, is an array"},
		"null as statement": {`{"Statement":[null]}`, "1:15: Statement[0]: must be an object, is null"},
		"a comment": {"{ // one",
			"1:3: invalid character '/' looking for beginning of object key string (JSON has no comments: remove it)"},
		"something after": {"{" + ok + "x", fmt.Sprintf("1:%d: invalid character 'x' after top-level value", len(ok)+2)},
		"deep":            {`{"Id":` + strings.Repeat("[", 6), "1:13: unexpected end of JSON input"},
		"too deep":        {`{"A":[[[[[["x"]]]]]]}`, `1:11: A[0][0][0][0][0]: nested deeper than 6 levels`},
		"very deep":       {strings.Repeat("[", 600000) + strings.Repeat("]", 1), "1:10001: invalid character '[' exceeded max depth"},
		"strange key":     {`{"Statement":{"\n":{"a":1,"a":2}}}`, `1:27: Statement["\n"]: the element "a" appears twice`},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := policy.Parse(test.text, policy.Repository)
			if got := problem(t, test.text, err).Error(); got != test.want {
				t.Errorf("Parse(%.80s):\n got %s\nwant %s", test.text, got, test.want)
			}
		})
	}
}

func TestParseRefusesStatement(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ elements, want string }{
		"sid of number":   {`"Sid":7`, "Sid: must be a string, is a number"},
		"unknown element": {`"Actions":"ecr:*"`, `unknown element "Actions"`},
		"effect":          {`"Effect":"allow"`, `Effect: the effect must be "Allow" or "Deny"`},
		"effects":         {`"Effect":["Allow"]`, `Effect: the effect must be "Allow" or "Deny"`},
		"both principals": {`"Principal":"*","NotPrincipal":"*"`, "NotPrincipal: Principal and NotPrincipal exclude each other"},
		"open to all but one": {`"Effect":"Allow","NotPrincipal":{"AWS":"123456789012"}`,
			"NotPrincipal: NotPrincipal is allowed only with the effect Deny"},
		"both actions":      {`"Action":"*","NotAction":"*"`, "NotAction: Action and NotAction exclude each other"},
		"no actions":        {`"Action":[]`, "Action: the array must not be empty"},
		"action of null":    {`"Action":[null]`, "Action[0]: must be a string, is null"},
		"action of another": {`"Action":"s3:GetObject"`, `Action: an action is * or ecr: and a name that may hold * and ?, got "s3:GetObject"`},
		"public action":     {`"Action":"ecr-public:*"`, `Action: an action is * or ecr: and a name that may hold * and ?, got "ecr-public:*"`},
		"wild prefix":       {`"Action":"e*:*"`, `Action: an action is * or ecr: and a name that may hold * and ?, got "e*:*"`},
		"action, no prefix": {`"Action":"PutImage"`, `Action: an action is * or ecr: and a name that may hold * and ?, got "PutImage"`},
		"action, no name":   {`"Action":["ecr:*","ecr:"]`, `Action[1]: an action is * or ecr: and a name that may hold * and ?, got "ecr:"`},
		"action with blank": {`"Action":"ecr:PutImage "`,
			`Action: an action is * or ecr: and a name that may hold * and ?, got "ecr:PutImage "`},
		"action, long s": {`"Action":"ecr:Li\u017ftImages"`,
			`Action: an action is * or ecr: and a name that may hold * and ?, got "ecr:LiſtImages"`},
		"both resources":     {`"Resource":"*","NotResource":"*"`, "NotResource: Resource and NotResource exclude each other"},
		"no resources":       {`"Resource":[]`, "Resource: the array must not be empty"},
		"resource of others": {`"Resource":"arn:aws:s3:::bucket"`, `Resource: the resource "arn:aws:s3:::bucket" is not of ecr`},
		"wild service":       {`"Resource":"arn:aws:*:*:*:*"`, `Resource: the resource "arn:aws:*:*:*:*" is not of ecr`},
		"no ARN": {`"Resource":"repository/a"`,
			`Resource: a resource is * or arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME, got "repository/a"`},
		"ARN of two parts": {`"Resource":"arn:*"`,
			`Resource: a resource is * or arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME, got "arn:*"`},
		"ARN without account": {`"Resource":"arn:aws:ecr:eu-west-1::repository/a"`,
			`Resource: the ARN "arn:aws:ecr:eu-west-1::repository/a" has an empty part`},
		"partition":     {`"Resource":"arn:azure:ecr:*:*:*"`, `Resource: "azure" is not a partition`},
		"region":        {`"Resource":"arn:aws:ecr:Europe:*:*"`, `Resource: "Europe" is not a region`},
		"account":       {`"Resource":"arn:aws:ecr:*:1234:*"`, `Resource: "1234" is not an account of 12 digits`},
		"no repository": {`"Resource":"arn:aws:ecr:*:*:repo/a"`, `Resource: "repo/a" does not begin with repository/`},
		"variable, no brace": {`"Resource":"arn:aws:ecr:*:*:repository/${aws:username"`,
			`Resource: a policy variable of "arn:aws:ecr:*:*:repository/${aws:username" has no closing brace`},
		"variable, empty": {`"Resource":"arn:aws:ecr:*:*:repository/${}"`, `Resource: "${}" is not a policy variable`},
		"variable, blank": {`"Resource":"arn:aws:ecr:*:*:repository/${ aws:username}"`,
			`Resource: "${ aws:username}" is not a policy variable`},
		"variable, no quote": {`"Resource":"arn:aws:ecr:*:*:repository/${aws:username, x}"`,
			`Resource: "${aws:username, x}" is not a policy variable`},
		"variable, brace": {`"Resource":"arn:aws:ecr:*:*:repository/${aws:username, '}'}"`,
			`Resource: "${aws:username, '}'}" is not a policy variable`},
		"conditions":        {`"Condition":[]`, "Condition: must be an object, is an array"},
		"condition of text": {`"Condition":{"Bool":"x"}`, "Condition.Bool: must be an object, is a string"},
	}
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			text := statement(test.elements)
			_, err := policy.Parse(text, policy.Repository)
			p := problem(t, text, err)
			got := strings.TrimPrefix(strings.TrimPrefix(p.Path, "Statement[0]")+": "+p.Reason, ".")
			if got = strings.TrimPrefix(got, ": "); got != test.want {
				t.Errorf("Parse(%s):\n got %s\nwant %s", text, got, test.want)
			}
		})
	}
	for _, missing := range []string{`"Effect":"Deny",`, `"Principal":"*",`, `,"Action":"ecr:*"`} {
		text := strings.Replace(statement(), missing, "", 1)
		_, err := policy.Parse(text, policy.Repository)
		want := "the element " + strings.Split(missing, `"`)[1] + " is missing"
		if got := problem(t, text, err); got.Reason != want || got.Path != "Statement[0]" {
			t.Errorf("Parse(%s): got %v, want Statement[0]: %s", text, got, want)
		}
	}
}

func TestRegistryPolicyNeedsResource(t *testing.T) {
	t.Parallel()
	text := statement()
	_, err := policy.Parse(text, policy.Registry)
	if got, want := problem(t, text, err).Reason, "the element Resource is missing"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, element := range []string{"Resource", "NotResource"} {
		text = statement(`"` + element + `":"arn:aws:ecr:us-east-1:123456789012:repository/prod/*"`)
		if _, err := policy.Parse(text, policy.Registry); err != nil {
			t.Errorf("Parse(%s): %v", text, err)
		}
	}
}

// White space does not count in the length of a policy, so that Parse accepts the result of String.
func TestParseSize(t *testing.T) {
	t.Parallel()
	fixed := len(statement(`"Sid":""`))
	fits := statement(`"Sid":"` + strings.Repeat("é", policy.MaxLength-fixed) + `"`)
	d := mustParse(t, fits)
	if rendered := d.String(); len([]rune(rendered)) <= policy.MaxLength {
		t.Errorf("the rendered policy has %d characters, too few for this test", len([]rune(rendered)))
	} else {
		mustParse(t, rendered)
	}
	for what, text := range map[string]string{
		"one character more":  statement(`"Sid":"` + strings.Repeat("é", policy.MaxLength-fixed+1) + `"`),
		"much white space":    statement() + strings.Repeat(" ", 64*policy.MaxLength),
		"many small elements": `{"Statement":[` + strings.Repeat("{},", policy.MaxLength) + "{}]}",
	} {
		_, err := policy.Parse(text, policy.Repository)
		if got := problem(t, what, err).Reason; !strings.HasPrefix(got, "the policy has more than") {
			t.Errorf("%s: got %q, want the policy has more than …", what, got)
		}
	}
}
