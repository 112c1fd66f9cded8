package awsapi_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/door/awsapi"
	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/rule/assertion"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func TestEveryFaultHasAName(t *testing.T) {
	for _, c := range fault.Classes() {
		if status, exception := awsapi.JSONForm(c); status < 400 {
			t.Errorf("the class %q has the form %d %q in the JSON protocol, want a status of an error", c, status, exception)
		}
		if status, errorName := awsapi.QueryForm(c); status < 400 || errorName == "" {
			t.Errorf("the class %q has the form %d %q in the query protocol, want a status and a name", c, status, errorName)
		}
	}
	for _, c := range fault.Codes() {
		if exception := awsapi.JSONName("", c); !strings.HasSuffix(exception, "Exception") {
			t.Errorf("fault.%s is %q in the JSON protocol, want the name of an exception", c, exception)
		}
	}
	for _, c := range awsapi.Redundant() {
		t.Errorf("fault.%s has a row in a table although its form is that of its class", c)
	}
}

// For every code, an operation returns an error that it declares or a common error. The exception for ecrin's own quotas is
// one of the service that not all operations with such a quota declare.
func TestEveryFaultIsDeclared(t *testing.T) {
	for _, s := range awsapi.ECROperations() {
		for _, c := range fault.Codes() {
			if err := awsmodel.CheckError("ecr", s.Name, awsapi.JSONName(s.Name, c)); err != nil && s.Built && c != fault.QuotaExceeded &&
				c != fault.StorageQuotaExceeded {
				t.Errorf("fault.%s: %v", c, err)
			}
		}
	}
}

func TestEveryOperationHasAnAction(t *testing.T) {
	for _, r := range awsapi.Rows() {
		free := r.Service == "sts" && slices.Contains([]string{"GetCallerIdentity", "GetSessionToken", "GetAccessKeyInfo"}, r.Operation) ||
			r.Service == "ecrin" && slices.Contains([]string{"RequestAccess", "WithdrawAccessRequest"}, r.Operation) // of the caller itself
		switch prefix, _, ok := strings.Cut(r.Action, ":"); {
		case !r.Built && r.Action != "", r.Built && free && r.Action != "":
			t.Errorf("%s %s: action %q, want none", r.Service, r.Operation, r.Action)
		case r.Built && !free && (!ok || prefix != r.Service):
			t.Errorf("%s %s: action %q, want one of %s", r.Service, r.Operation, r.Action, r.Service)
		case r.Action != "":
			if err := assertion.CheckAction(r.Action); err != nil {
				t.Errorf("%s %s: %v", r.Service, r.Operation, err)
			}
		}
	}
}

var update = flag.Bool("update", false, "rewrite docs/ecr-operations.md")

const operationsPage = "../../../docs/ecr-operations.md"

// docs/ecr-operations.md agrees with the operation tables. To rewrite it:
//
//	go test ./internal/door/awsapi -run Page -update
func TestOperationsPage(t *testing.T) {
	want := operationsText()
	if *update {
		if err := os.WriteFile(operationsPage, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(operationsPage)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/ecr-operations.md differs from the operation tables; rewrite it with\n  go test ./internal/door/awsapi -run Page -update")
	}
}

func operationsText() []byte {
	all := awsapi.ECROperations()
	built := 0
	var rows bytes.Buffer
	for _, s := range all {
		state, action := "not yet: answers `UnsupportedOperationException`", ""
		if s.Built {
			built++
			state, action = "yes", "`"+s.Action+"`"
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", s.Name, state, action)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `# Operations of the ECR API

Written by a test from the operation tables in internal/door/awsapi/operations.go; do not edit.

ecrin has %d of the %d operations of the ECR API (2015-09-21), %d operations of IAM and %d of STS. The column "IAM action" holds
the action that a policy must allow. docs/ecr-divergences.md lists the differences between the answers of ecrin and ECR.

| operation | in ecrin | IAM action |
| --- | --- | --- |
`, built, len(all), len(iamtypes.OperationNames), len(ststypes.OperationNames))
	b.Write(rows.Bytes())
	return b.Bytes()
}
