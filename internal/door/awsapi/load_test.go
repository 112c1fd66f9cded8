package awsapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/guard"
	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/door/web"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/store/spool"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

var alice = identity.Caller{Kind: identity.User, Principal: "AIDAALICE"}

// free reports whether places with one place have it.
func free(t *testing.T, p *web.Places) bool {
	t.Helper()
	leave, err := p.Enter(t.Context(), "another")
	if err != nil {
		return false
	}
	leave()
	return true
}

// Large bodies wait for the place of their kind, small ones for none, and the place is given back once.
func TestWhichBodiesWaitForWhichPlace(t *testing.T) {
	t.Parallel()
	files, err := spool.Open(t.TempDir(), spool.Options{MaxFiles: 10, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	const put, part = "AmazonEC2ContainerRegistry_V20150921.PutImage", "AmazonEC2ContainerRegistry_V20150921.UploadLayerPart"
	for _, c := range []struct {
		service *service
		target  string
		size    int
		want    string
	}{
		{ecrService, put, 64 << 10, ""}, {ecrService, put, 64<<10 + 1, "pushes"}, {ecrService, put, 2 << 20, "pushes"},
		{ecrService, part, 1 << 20, ""}, {ecrService, part, 1<<20 + 1, "large"}, {iamService, put, 1 << 20, ""},
		{iamService, put, 1<<20 + 1, "large"},
	} {
		what := fmt.Sprintf("%s, %s of %d bytes", c.service.wire.Name, c.target, c.size)
		a := &API{spool: files, large: web.NewPlaces(1, 1, time.Millisecond), pushes: web.NewPlaces(1, 1, time.Millisecond)}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("x", c.size)))
		r.Header.Set("X-Amz-Target", c.target)
		x := &request{r: r, service: c.service}
		receive := func() *web.Body {
			t.Helper()
			r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", c.size)))
			b, err := web.Receive(r, files, "AIDAALICE", 4<<20)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Close)
			return b
		}
		body, err := a.load(x, receive(), alice)
		if err != nil || len(body) != c.size {
			t.Errorf("%s: got %d bytes, %v", what, len(body), err)
		}
		if large, pushes := free(t, a.large), free(t, a.pushes); large != (c.want != "large") || pushes != (c.want != "pushes") {
			t.Errorf("%s: got a free place for a large body %t and for a manifest %t, want it to hold %q", what, large, pushes, c.want)
		}
		if c.want != "" {
			again := &request{r: r, service: c.service}
			if body, err := a.load(again, receive(), alice); !errors.Is(err, fault.Unavailable) || body != nil || again.leave != nil {
				t.Errorf("%s, beside another: got %d bytes, %v, want Unavailable", what, len(body), err)
			}
		}
		x.release()
		x.release()
		if !free(t, a.large) || !free(t, a.pushes) {
			t.Errorf("%s: a place is not free after it was given back", what)
		}
	}
}

// A large answer waits for a place, unless the request has one for its body.
func TestWhichAnswersWaitForAPlace(t *testing.T) {
	t.Parallel()
	a := &API{answers: web.NewPlaces(1, 1, time.Millisecond)}
	x := &request{}
	if err := a.holder(x, alice)(t.Context(), 1<<20); err != nil || x.leave != nil {
		t.Errorf("an answer of 1 MiB: got %v, a place %t, want none", err, x.leave != nil)
	}
	left := 0
	x.leave = func() { left++ }
	if err := a.holder(x, alice)(t.Context(), 1<<20+1); err != nil || !free(t, a.answers) {
		t.Errorf("a large answer to a large body: got %v, want no second place", err)
	}
	if x.release(); left != 1 {
		t.Errorf("the place of the body was given back %d times, want once", left)
	}
	if err := a.holder(x, alice)(t.Context(), 1<<20+1); err != nil || free(t, a.answers) {
		t.Errorf("a large answer: got %v, want a place", err)
	}
	if err := a.holder(&request{}, alice)(t.Context(), 1<<20+1); !errors.Is(err, fault.Unavailable) {
		t.Errorf("a large answer beside another: got %v, want Unavailable", err)
	}
	if x.release(); !free(t, a.answers) {
		t.Error("after the answer: its place is not free")
	}
}

// The largest bodies are those of the operations that need them, and only of the API that has them.
func TestLargestBodyOfAnOperation(t *testing.T) {
	t.Parallel()
	large := map[*service]map[string]int64{ecrService: {"X.UploadLayerPart": 32 << 20, "X.PutImage": 12 << 20},
		ecrinService: {"X.CreateRelease": 48 << 20, "X.UpdateRelease": 48 << 20}, stsService: nil}
	for _, target := range []string{"X.UploadLayerPart", "X.PutImage", "X.PutImageTagMutability", "X.CreateRelease", "X.UpdateRelease", ""} {
		for s, of := range large {
			want := max(of[target], 1<<20)
			x := &request{r: httptest.NewRequest(http.MethodPost, "/", nil), service: s}
			x.r.Header.Set("X-Amz-Target", target)
			if got := x.maxBody(); got != want {
				t.Errorf("%s of %s: got %d bytes, want %d", target, s.wire.Name, got, want)
			}
		}
	}
}

// A table has each operation of the model once: other rows end the program at its start. What the model has and the table has not
// is unsupported.
func TestRowsOfATable(t *testing.T) {
	t.Parallel()
	resolve := func(*API, context.Context, *guard.Request, awswire.Input) (resolved, error) { return resolved{}, nil }
	model := map[string]awswire.Operation{"A": {Name: "A"}, "B": {Name: "B"}}
	one := row{"A", operation{action: "x:A", resolve: resolve}}
	s := newService(awswire.Service{Name: "x"}, endpoint.Any, model, nil, one)
	if a := s.operations["A"]; a.action != "x:A" || a.wire.Name != "A" || a.resolve == nil {
		t.Errorf("a row: got %+v, want it with its operation of the model", a)
	}
	if b := s.operations["B"]; b == nil || b.wire.Name != "B" || b.resolve != nil || len(s.operations) != 2 {
		t.Errorf("an operation without a row: got %+v", b)
	}
	for what, rows := range map[string][]row{"two rows": {one, one}, "no operation": {{"C", one.op}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: got no panic", what)
				}
			}()
			newService(awswire.Service{}, endpoint.Any, model, nil, rows...)
		}()
	}
}

// A call inside the process with an unknown operation or another input is an error, not a panic.
func TestCallsInsideTheProcessAreChecked(t *testing.T) {
	t.Parallel()
	for _, c := range []Call{{Service: "x", Operation: "DescribeRegistry"}, {Service: "ecr", Operation: "X"}} {
		if _, err := (&API{}).Do(t.Context(), c); !errors.Is(err, fault.UnknownOperation) {
			t.Errorf("%s of %s: got %v, want UnknownOperation", c.Operation, c.Service, err)
		}
	}
	unsupported := Call{Service: "ecr", Operation: "StartImageScan", Input: &ecrtypes.DescribeRegistryRequest{}}
	if _, err := (&API{}).Do(t.Context(), unsupported); !errors.Is(err, fault.UnsupportedOperation) {
		t.Errorf("an operation that is not built: got %v, want UnsupportedOperation", err)
	}
	op := ecrService.operations["DescribeRegistry"]
	_, err := op.resolve(&API{}, t.Context(), &guard.Request{}, &ecrtypes.DescribeImagesRequest{})
	if err == nil || !strings.Contains(err.Error(), "DescribeImagesRequest") || errors.As(err, new(*fault.Error)) {
		t.Errorf("the input of another operation: got %v, want an error of the program that names its type", err)
	}
}

// The texts of errors of IAM and STS have the ARNs of the partition, and keep their causes.
func TestErrorsInAPartition(t *testing.T) {
	t.Parallel()
	const text = "arn:aws:iam::111122223333:user/a and arn:aws:sts::111122223333:assumed-role/a/b and arn:aws:ecr:us-east-1::x"
	const china = "arn:aws-cn:iam::111122223333:user/a and arn:aws-cn:sts::111122223333:assumed-role/a/b and arn:aws:ecr:us-east-1::x"
	plain := fault.NoSuchEntity.New(text).Because(errors.New("the cause"))
	wrapped := fmt.Errorf("outside: %w", plain)
	for _, s := range []*service{iamService, stsService} {
		for _, err := range []error{plain, wrapped} {
			got := s.errorIn("aws-cn", err)
			if f := fault.From(got); f.Public != china || f.Code != fault.NoSuchEntity || !strings.Contains(got.Error(), "the cause") ||
				strings.Contains(got.Error(), "outside") != (err == wrapped) {
				t.Errorf("%s: got %v, want the text %q and the cause of %v", s.wire.Name, got, china, err)
			}
		}
		if plain.Public != text {
			t.Errorf("the error itself was changed to %q", plain.Public)
		}
	}
	other := fault.NoSuchEntity.New("nothing to change")
	quoted := fault.MalformedPolicyDocument.New(text)
	uncoded := errors.New(text)
	for what, c := range map[string]struct {
		s         *service
		partition string
		err       error
	}{
		"the default partition": {iamService, "aws", wrapped}, "ECR": {ecrService, "aws-cn", wrapped}, "no ARN": {iamService, "aws-cn", other},
		"a policy": {iamService, "aws-cn", quoted}, "no code": {stsService, "aws-cn", uncoded}, "no error": {stsService, "aws-cn", nil},
	} {
		if got := c.s.errorIn(c.partition, c.err); got != c.err {
			t.Errorf("%s: got %v, want the error as it is", what, got)
		}
	}
}

// A request without a signature is served only if it can be an operation that needs none: a small form, for STS, at a host of STS. All
// others lack credentials, whatever else is wrong with them.
func TestRequestsWithoutASignature(t *testing.T) {
	t.Parallel()
	files, err := spool.Open(t.TempDir(), spool.Options{MaxFiles: 10, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	hosts := endpoint.NewMap(nil, name.Registry{})
	missing := fault.MissingCredentials.New("missing")
	large := "a=" + strings.Repeat("a", maxUnsignedBody)
	const otherVersion = "Action=AssumeRoleWithWebIdentity&Version=x"
	const form, assume = "application/x-www-form-urlencoded; charset=utf-8", "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
	for what, c := range map[string]struct {
		service           *service
		host, method      string
		contentType, body string
		chunked           bool
		want              error
	}{
		"ECR":                     {ecrService, "localhost", "POST", form, assume, false, missing},
		"a host of IAM":           {stsService, "iam.amazonaws.com", "POST", form, assume, false, missing},
		"a host of STS":           {stsService, "sts.amazonaws.com", "POST", form, "Action=AssumeRoleWithSAML", false, fault.UnknownOperation},
		"SAML":                    {stsService, "localhost", "POST", form, "Action=AssumeRoleWithSAML", false, fault.UnknownOperation},
		"SAML by GET":             {stsService, "localhost", "GET", "", "Action=AssumeRoleWithSAML", false, fault.UnknownOperation},
		"no form":                 {stsService, "localhost", "POST", "text/plain", assume, false, missing},
		"no type":                 {stsService, "localhost", "POST", "", assume, false, missing},
		"a broken form":           {stsService, "localhost", "POST", form, "%zz", false, missing},
		"a broken query":          {stsService, "localhost", "GET", "", "%zz", false, missing},
		"another operation":       {stsService, "localhost", "POST", form, "Action=AssumeRole", false, missing},
		"no operation":            {stsService, "localhost", "POST", form, "", false, missing},
		"an unknown one":          {stsService, "localhost", "GET", "", "Action=X", false, missing},
		"another version":         {stsService, "localhost", "POST", form, otherVersion, false, fault.UnknownOperation},
		"a member that is none":   {stsService, "localhost", "POST", form, assume + "&X=1", false, fault.Validation},
		"a large form":            {stsService, "localhost", "POST", form, large, false, missing},
		"a large form, in chunks": {stsService, "localhost", "POST", form, large, true, fault.RequestTooLarge},
	} {
		path := "/"
		if c.method == http.MethodGet {
			path += "?" + strings.ReplaceAll(c.body, "%zz", "%25zz")
		}
		r := httptest.NewRequest(c.method, path, strings.NewReader(c.body))
		if c.method == http.MethodGet {
			r.URL.RawQuery = c.body
		}
		if c.chunked {
			r.ContentLength = -1
		}
		r.Header.Set("Content-Type", c.contentType)
		host, err := hosts.Parse(c.host)
		if err != nil {
			t.Fatal(err)
		}
		out, err := (&API{spool: files, hosts: hosts}).serveUnsigned(&request{r: r, service: c.service, ev: &web.Event{}}, host, missing)
		if out != nil || !errors.Is(err, c.want) || c.want == error(missing) && err != error(missing) {
			t.Errorf("%s: got %v, %v, want %v", what, out, err, c.want)
		}
	}
}

// Half of the processors, at least one, make large answers at the same time.
func TestPlacesForLargeAnswers(t *testing.T) {
	t.Parallel()
	a := New(Options{})
	for i := range max(1, runtime.GOMAXPROCS(0)/2) {
		if _, err := a.answers.Enter(t.Context(), "one"); err != nil {
			t.Fatalf("place %d: got %v", i, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.answers.Enter(ctx, "another"); !errors.Is(err, fault.RequestTimeout) {
		t.Errorf("a place more: got %v, want none", err)
	}
}

// An answer that the spool cannot take is an error, in both protocols.
func TestAnswersThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	files, err := spool.Open(t.TempDir(), spool.Options{MaxFiles: 1, MaxBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 1<<20)
	for s, out := range map[*service]any{ecrService: &ecrtypes.GetRepositoryPolicyResponse{PolicyText: &long},
		iamService: &iamtypes.GetRolePolicyResponse{PolicyDocument: long}} {
		reply := web.NewReply(files)
		x := &request{w: httptest.NewRecorder(), ev: &web.Event{}, service: s, op: &operation{wire: awswire.Operation{Name: "GetX"}}}
		if err := s.encode(x, reply, out); err == nil || !strings.Contains(err.Error(), "encoding the answer of GetX") {
			t.Errorf("%s: got %v, want an error", s.wire.Name, err)
		}
		reply.Close()
	}
}

// Errors of validation have the values of members in STS alone, and there not those that are secrets.
func TestValuesInErrorsOfValidation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		service *service
		in      awswire.Input
		value   string
		want    bool
	}{
		{stsService, &ststypes.AssumeRoleRequest{RoleArn: "arn:aws:iam::111122223333:role/a", RoleSessionName: "a b!"}, "a b!", true},
		{stsService, &ststypes.AssumeRoleWithWebIdentityRequest{RoleArn: "arn:aws:iam::111122223333:role/a", RoleSessionName: "ci",
			WebIdentityToken: "sec"}, "'sec'", false},
		{iamService, &iamtypes.CreateUserRequest{UserName: "a b!"}, "a b!", false},
	} {
		err := c.service.validate(c.in)
		if !errors.Is(err, fault.Validation) || strings.Contains(fault.From(err).Public, c.value) != c.want {
			t.Errorf("%s %T: got %v, want the value %q in it: %t", c.service.wire.Name, c.in, err, c.value, c.want)
		}
	}
}
