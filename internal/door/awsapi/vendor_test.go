package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Who may describe customers learns neither licences nor tokens. A customer is named by its id alone, so that the vendor's own id passes by
// no statement about the customer.
func TestLicencesNeedAnActionOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	root := func(operation, body string) string {
		t.Helper()
		a := s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + operation, body: body})
		if a.Status != http.StatusOK {
			t.Fatalf("%s: got %d %s", operation, a.Status, a.Body)
		}
		return a.Body
	}
	root("CreateApplication", `{"applicationName":"Shop"}`)
	var big, small struct {
		LicenseID string
		Customer  struct{ CustomerID string }
	}
	for name, to := range map[string]any{"Big": &big, "Small": &small} {
		if err := json.Unmarshal([]byte(root("CreateCustomer", object("applicationSlug", "shop", "customerName", name, "customId", "crm-"+name))),
			to); err != nil {
			t.Fatal(err)
		}
	}
	arn := "arn:aws:ecrin::" + home + ":customer/shop/"
	seller := s.user("seller", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecrin:DescribeCustomer","ecrin:ListCustomers",`+
		`"ecrin:ListCustomerTokens"],"Resource":"`+arn+`*"},{"Effect":"Allow","Action":"ecrin:*","Resource":"`+arn+big.Customer.CustomerID+`"},`+
		`{"Effect":"Deny","Action":"*","Resource":"`+arn+small.Customer.CustomerID+`"}]}`)
	for _, tt := range []struct {
		operation, body string
		want            int
		has, not        string
	}{
		{"ListCustomers", `{"applicationSlug":"shop"}`, 200, big.Customer.CustomerID, big.LicenseID},
		{"DescribeCustomer", object("applicationSlug", "shop", "customerId", big.Customer.CustomerID), 200, "crm-Big", big.LicenseID},
		{"GetLicense", object("applicationSlug", "shop", "customerId", big.Customer.CustomerID), 200, big.LicenseID, "none"},
		{"GetLicense", object("applicationSlug", "shop", "customerId", small.Customer.CustomerID), 400, "AccessDenied", small.LicenseID},
		{"DescribeCustomer", object("applicationSlug", "shop", "customerId", small.Customer.CustomerID), 400, "AccessDenied", "crm-Small"},
		{"DescribeCustomer", object("applicationSlug", "shop", "customerId", "crm-Small"), 400, "ResourceNotFound", small.Customer.CustomerID},
		{"GetLicense", object("applicationSlug", "shop", "customerId", "crm-Small"), 400, "AccessDenied", small.LicenseID},
		{"PutEntitlement", object("applicationSlug", "shop", "customerId", big.Customer.CustomerID, "repositories", []string{"a/*"}), 200,
			"a/*", ""},
		{"PutEntitlement", object("applicationSlug", "shop", "repositories", []string{"a/*"}), 400, "AccessDenied", ""},
		{"DeleteApplication", `{"applicationSlug":"shop","force":true}`, 400, "AccessDenied", ""},
	} {
		a := s.send(raw{key: seller, service: "ecrin", target: ecrinTarget + tt.operation, body: tt.body})
		if a.Status != tt.want || !strings.Contains(a.Body, tt.has) || tt.not != "" && strings.Contains(a.Body, tt.not) {
			t.Errorf("%s %s: got %d %s, want %d with %q and without %q", tt.operation, tt.body, a.Status, a.Body, tt.want, tt.has, tt.not)
		}
	}
	foreign := s.account(otherAccount)
	for _, operation := range []string{"DescribeApplications", "ListCustomers", "DeleteApplication", "ListChannels"} {
		for _, slug := range []string{"shop", "none"} {
			s.send(raw{key: foreign, service: "ecrin", target: ecrinTarget + operation, body: object("accountId", home, "applicationSlug", slug)}).
				want(t, operation, 400, "AccessDeniedException", "arn:aws:ecrin::"+home+":")
		}
	}
}

// Archiving a customer, and taking it back, are actions of their own: neither needs that of other changes, and these do not archive.
func TestArchivingIsAnActionOfItsOwn(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	var made struct{ Customer struct{ CustomerID string } }
	for _, call := range [][2]string{{"CreateApplication", `{"applicationName":"Shop"}`},
		{"CreateCustomer", `{"applicationSlug":"shop","customerName":"Big"}`}} {
		a := s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + call[0], body: call[1]})
		if err := json.Unmarshal([]byte(a.Body), &made); err != nil || a.Status != http.StatusOK {
			t.Fatalf("%s: got %d %s", call[0], a.Status, a.Body)
		}
	}
	change := func(members ...any) string {
		return object(append([]any{"applicationSlug", "shop", "customerId", made.Customer.CustomerID}, members...)...)
	}
	for i, tt := range []struct {
		action, body string
		denied       string // action that is missing; "" if the request is allowed
	}{
		{"UpdateCustomer", change("customerName", "Bigger"), ""},
		{"UpdateCustomer", change("archived", true), "ArchiveCustomer"},
		{"UpdateCustomer", change("archived", true, "customerName", "x"), "ArchiveCustomer"},
		{"UpdateCustomer", change("archived", false), "UnarchiveCustomer"},
		{"ArchiveCustomer", change("archived", true, "customerName", "x"), "UpdateCustomer"},
		{"ArchiveCustomer", change("archived", true, "accountId", home), ""},
		{"ArchiveCustomer", change("archived", false), "UnarchiveCustomer"},
		{"UnarchiveCustomer", change("archived", false, "neverExpires", true), "UpdateCustomer"},
		{"UnarchiveCustomer", change("archived", false), ""},
		{"ArchiveCustomer", change("customerName", "x"), "UpdateCustomer"},
		{"ArchiveCustomer", change(), "UpdateCustomer"},
	} {
		key := s.user(fmt.Sprint("seller", i), allow("ecrin:"+tt.action))
		a := s.send(raw{key: key, service: "ecrin", target: ecrinTarget + "UpdateCustomer", body: tt.body})
		if tt.denied == "" && a.Status != http.StatusOK || tt.denied != "" && !strings.Contains(a.Body, "perform: ecrin:"+tt.denied) {
			t.Errorf("with %s, %s: got %d %s, want the denial of %q", tt.action, tt.body, a.Status, a.Body, tt.denied)
		}
	}
}

// What is reported to run tells about the account, so that the fleet has it only for who may list it.
func TestReportedImagesNeedTheirOwnAction(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	a := s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + "CreateApplication", body: `{"applicationName":"Shop"}`})
	if a.Status != 200 {
		t.Fatalf("CreateApplication: got %d %s", a.Status, a.Body)
	}
	alone, both := s.user("alone", allow("ecrin:ListInstances")), s.user("both", allow("ecrin:ListInstances", "ecrin:ListDeployments"))
	for _, tt := range []struct {
		key  aws.Credentials
		body string
		want string // in the answer
	}{
		{alone, object("applicationSlug", "shop"), `"instances":[]`},
		{alone, object("applicationSlug", "shop", "reported", true), "perform: ecrin:ListDeployments on resource: arn:aws:ecrin::" + home +
			":application/*"},
		{both, object("applicationSlug", "shop", "reported", true), `"instances":[]`},
	} {
		a := s.send(raw{key: tt.key, service: "ecrin", target: ecrinTarget + "ListInstances", body: tt.body})
		if !strings.Contains(a.Body, tt.want) {
			t.Errorf("%s: got %d %s, want %q", tt.body, a.Status, a.Body, tt.want)
		}
	}
}

// filesOf returns the input of a release with one file.
func filesOf(members ...any) string {
	return object("applicationSlug", "shop", "files", []any{json.RawMessage(object(members...))})
}

// A release as large as it may be is taken.
func TestLargestRelease(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, call := range []struct {
		operation, body string
		want            int
	}{
		{"CreateApplication", `{"applicationName":"Shop"}`, 200},
		{"CreateRelease", filesOf("path", "a", "data", make([]byte, 32<<20)), 200},
		{"CreateRelease", filesOf("path", "a", "data", make([]byte, 32<<20+1)), 400},
		{"CreateRelease", filesOf("path", "../a", "content", "x"), 400},
		{"CreateRelease", filesOf("path", "a", "content", "x", "data", []byte("x")), 400},
	} {
		a := s.send(raw{key: s.key, service: "ecrin", target: ecrinTarget + call.operation, body: call.body})
		if a.Status != call.want {
			t.Errorf("%s: got %d %.300s, want %d", call.operation, a.Status, a.Body, call.want)
		}
	}
}
