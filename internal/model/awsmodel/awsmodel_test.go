package awsmodel_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"ecr", "sts", "iam", "ecrin"} {
		if !slices.Contains(awsmodel.Names(), name) {
			t.Errorf("Names() = %v, want %s in it", awsmodel.Names(), name)
		}
		if m, err := awsmodel.Load(name); err != nil || len(m.Operations) == 0 {
			t.Errorf("Load(%s): %v", name, err)
		}
	}
	if _, err := awsmodel.Load("s3"); err == nil {
		t.Error("Load(s3): got no error, want one")
	}
	m, err := awsmodel.Load("ecr")
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for _, member := range m.Shapes["DescribeImagesRequest"].Members {
		members = append(members, member.Name)
	}
	want := []string{"registryId", "repositoryName", "imageIds", "nextToken", "maxResults", "filter"}
	if d := cmp.Diff(want, members); d != "" {
		t.Errorf("members keep their order (-want +got):\n%s", d)
	}
	if got := m.Operation("DescribeImages").Paginated.ResultKey; !slices.Equal(got, []string{"imageDetails"}) {
		t.Errorf("one result key: got %v", got)
	}
	if got := m.Operation("DescribeImageScanFindings").Paginated.ResultKey; len(got) != 2 {
		t.Errorf("two result keys: got %v", got)
	}
	if got := m.Reachable("CreateRepositoryRequest"); !got["TagKey"] || got["Repository"] {
		t.Errorf("Reachable(CreateRepositoryRequest) = %v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	model := func(operations, shapes string) string {
		return `{"metadata":{"protocol":"json"},"operations":{` + operations + `},"shapes":{"S":{"type":"string"}` + shapes + `}}`
	}
	for _, c := range []struct{ text, want string }{
		{``, "unexpected end"},
		{`{"metadata":{"protocol":"rest"}}`, "protocol"},
		{model(``, `,"T":{"type":"tuple"}`), `unknown type "tuple"`},
		{model(``, `,"T":{"type":"structure","members":{"a":{"shape":"U"}}}`), `"U", which is not defined`},
		{model(``, `,"T":{"type":"structure","members":["a"]}`), "want an object"},
		{model(``, `,"T":{"type":"list"}`), `"", which is not defined`},
		{model(``, `,"T":{"type":"map","key":{"shape":"S"},"value":{"shape":"U"}}`), `"U", which is not defined`},
		{model(`"Do":{"input":"S"}`, ``), `"S" is not a structure`},
		{model(`"Do":{"errors":["S"]}`, ``), `"S" is not an exception`},
		{model(`"Do":{"paginated":{"resultKey":1}}`, ``), "Do"},
	} {
		if _, err := awsmodel.Parse("m", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%s): got %v, want %q in it", c.text, err, c.want)
		}
	}
	if _, err := awsmodel.Parse("m", []byte(model(``, ``))); err != nil {
		t.Errorf("Parse of the model that the cases above modify: %v", err)
	}
}

func TestCheckOutputJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op, body string
		want     string // part of the error; empty: none
	}{
		{"CreateRepository", `{}`, ""},
		{"CreateRepository",
			`{"repository":{"repositoryName":"ab","createdAt":1563223656.123,"imageScanningConfiguration":{"scanOnPush":true}}}`, ""},
		{"CreateRepository", ``, "EOF"},
		{"CreateRepository", `{} {}`, "data after the end"},
		{"CreateRepository", `[]`, "want a structure"},
		{"CreateRepository", `{"Repository":{}}`, "body: member Repository is not in the model"},
		{"CreateRepository", `{"repository":null}`, "want a structure"},
		{"CreateRepository", `{"repository":{},"repository":{}}`, "given twice"},
		{"CreateRepository", `{"repository":{"createdAt":"2026-01-01T00:00:00Z"}}`, "body.repository.createdAt: want seconds since 1970"},
		{"CreateRepository", `{"repository":{"repositoryName":"A b"}}`, "does not match"},
		{"CreateRepository", `{"repository":{"repositoryName":"a"}}`, "greater than or equal to 2"},
		{"CreateRepository", `{"repository":{"repositoryName":1}}`, "want a string"},
		{"CreateRepository", `{"repository":{"imageTagMutability":"X"}}`, "enum value set"},
		{"CreateRepository", `{"repository":{"imageScanningConfiguration":{"scanOnPush":"true"}}}`, "want true or false"},
		{"CreateRepository", `{"repository":{"encryptionConfiguration":{"kmsKey":"k"}}}`, "required member encryptionType is missing"},
		{"CreateRepository", `{"repository":{"a":1,"b":2}}`, "member b"},
		{"DescribeImages", `{"imageDetails":[{"imageSizeInBytes":5,"imageScanFindingsSummary":{"findingSeverityCounts":{"HIGH":1}}}]}`, ""},
		{"DescribeImages", `{"imageDetails":{}}`, "want a list"},
		{"DescribeImages", `{"imageDetails":[{"imageSizeInBytes":5.5}]}`, "body.imageDetails[0].imageSizeInBytes: want a whole number"},
		{"DescribeImages", `{"imageDetails":[{"imageScanFindingsSummary":{"findingSeverityCounts":{"BAD":-1}}}]}`,
			"key BAD: Member must satisfy enum"},
		{"DescribeImages", `{"imageDetails":[{"imageScanFindingsSummary":{"findingSeverityCounts":{"HIGH":-1}}}]}`,
			"[HIGH]: -1 is outside its range"},
		{"DescribeImages", `{"imageDetails":[{"imageScanFindingsSummary":{"findingSeverityCounts":[]}}]}`, "want a map"},
		{"DescribeRepositories", `{"repositories":[]}`, ""},
		{"ListImages", `{"imageIds":[]}`, ""},
		{"UploadLayerPart", `{"lastByteReceived":-1}`, "outside its range"},
		{"ListReplicationBackfills", `{"nextToken":"x"}`, ""},
		{"NoOperation", `{}`, "no operation NoOperation"},
	} {
		err := awsmodel.CheckOutput("ecr", c.op, []byte(c.body))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("CheckOutput(%s, %s): got %v, want %q in it", c.op, c.body, err, c.want)
		}
	}
}

func TestCheckOutputXML(t *testing.T) {
	t.Parallel()
	const ns, iamNS = "https://sts.amazonaws.com/doc/2011-06-15/", "https://iam.amazonaws.com/doc/2010-05-08/"
	const meta = "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
	wrap := func(op, ns, inner string) string {
		return "<" + op + `Response xmlns="` + ns + `">` + inner + "</" + op + "Response>"
	}
	identity := func(inner string) string {
		return wrap("GetCallerIdentity", ns, "<GetCallerIdentityResult>"+inner+"</GetCallerIdentityResult>"+meta)
	}
	token := func(inner string) string {
		return wrap("GetSessionToken", ns, "<GetSessionTokenResult><Credentials><AccessKeyId>ASIAEXAMPLEEXAMPLE01</AccessKeyId>"+
			"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>"+inner+"</Credentials></GetSessionTokenResult>"+meta)
	}
	user := func(inner string) string {
		return wrap("ListUsers", iamNS, "<ListUsersResult><Users>"+inner+"</Users></ListUsersResult>"+meta)
	}
	summary := func(inner string) string {
		return wrap("GetAccountSummary", iamNS, "<GetAccountSummaryResult><SummaryMap>"+inner+"</SummaryMap></GetAccountSummaryResult>"+meta)
	}
	for _, c := range []struct{ model, op, body, want string }{
		{"sts", "GetCallerIdentity", identity("<Account>1</Account>\n"), ""},
		{"sts", "GetCallerIdentity", identity("<Accounts>1</Accounts>"), "Accounts is not in the model"},
		{"sts", "GetCallerIdentity", identity("<Account>1</Account><Account>2</Account>"), "given twice"},
		{"sts", "GetCallerIdentity", identity("<Account><x/></Account>"), "want a value, got elements"},
		{"sts", "GetCallerIdentity", identity("<Arn>short</Arn>"), "greater than or equal to 20"},
		{"sts", "GetCallerIdentity", wrap("GetCallerIdentity", ns, "<GetCallerIdentityResult/>"), "RequestId is missing"},
		{"sts", "GetCallerIdentity", wrap("GetCallerIdentity", ns, meta), "GetCallerIdentityResult is missing"},
		{"sts", "GetCallerIdentity", wrap("GetCallerIdentity", ns, "<GetCallerIdentityResult/><X/>"+meta), "X is not allowed here"},
		{"sts", "GetCallerIdentity", wrap("GetCallerIdentity", "", "<GetCallerIdentityResult/>"+meta), "root is"},
		{"sts", "GetCallerIdentity", "{}", "want one element"},
		{"sts", "GetCallerIdentity", "<a>", "unexpected EOF"},
		{"sts", "GetSessionToken", token("<Expiration>2026-01-02T03:04:05Z</Expiration>"), ""},
		{"sts", "GetSessionToken", token(""), "required member Expiration is missing"},
		{"sts", "GetSessionToken", token("<Expiration>1563223656</Expiration>"), "want a time in ISO 8601"},
		{"iam", "ListUsers", user(""), ""},
		{"iam", "ListUsers", user("<User/>"), "want <member>"},
		{"iam", "GetAccountSummary", summary("<entry><key>Users</key><value>3</value></entry>"), ""},
		{"iam", "GetAccountSummary", summary("<entry><key>Users</key><value>x</value></entry>"), "want a whole number"},
		{"iam", "GetAccountSummary", summary("<entry><key>Nobody</key><value>1</value></entry>"), "enum"},
		{"iam", "GetAccountSummary", summary("<member/>"), "want <entry>"},
		{"iam", "TagUser", wrap("TagUser", iamNS, meta), ""},
		{"iam", "TagUser", wrap("TagUser", iamNS, "<TagUserResult/>"+meta), "is not allowed here"},
	} {
		err := awsmodel.CheckOutput(c.model, c.op, []byte(c.body))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("CheckOutput(%s, %s): got %v, want %q in it", c.op, c.body, err, c.want)
		}
	}
}

func TestCheckError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model, op, name string
		want            bool
	}{
		{"ecr", "CreateRepository", "RepositoryAlreadyExistsException", true},
		{"ecr", "CreateRepository", "ImageNotFoundException", false},
		{"ecr", "CreateRepository", "AccessDeniedException", true},
		{"ecr", "CreateRepository", "AccessDenied", false},
		{"ecr", "CreateRepository", "", false},
		{"ecr", "NoOperation", "AccessDeniedException", false},
		{"s3", "NoOperation", "AccessDeniedException", false},
		{"sts", "GetCallerIdentity", "AccessDenied", true},
		{"sts", "GetCallerIdentity", "AccessDeniedException", false},
		{"iam", "GetUser", "NoSuchEntity", true},
		{"iam", "GetUser", "NoSuchEntityException", false}, // the name of the shape, not the code
	} {
		if err := awsmodel.CheckError(c.model, c.op, c.name); (err == nil) != c.want {
			t.Errorf("CheckError(%s, %s, %s): got %v, want success: %t", c.model, c.op, c.name, err, c.want)
		}
	}
}
