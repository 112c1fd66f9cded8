package identity_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
)

// modelOf returns a model of a service in the form of botocore, made of one of this project, in which members say themselves whether they
// are required, and operations name shapes and errors by text.
func modelOf(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	var m struct {
		Metadata   object
		Operations map[string]struct {
			Input, Output string
			Errors        []string
		}
		Shapes map[string]object
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	m.Metadata["endpointPrefix"] = "ecrin"
	operations := object{}
	for name, o := range m.Operations {
		errs := []object{}
		for _, e := range o.Errors {
			errs = append(errs, object{"shape": e})
		}
		operations[name] = object{"name": name, "http": object{"method": "POST", "requestUri": "/"}, "input": object{"shape": o.Input},
			"output": object{"shape": o.Output}, "errors": errs}
	}
	for _, shape := range m.Shapes {
		members, ok := shape["members"].(object)
		if !ok {
			continue
		}
		required := []string{}
		for name, member := range members {
			if one := member.(object); one["required"] == true {
				required = append(required, name)
				delete(one, "required")
			}
		}
		shape["required"] = required
	}
	out, err := json.Marshal(object{"version": "2.0", "metadata": m.Metadata, "operations": operations, "shapes": m.Shapes})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// The SDK of AWS for Python calls each operation of requests for access by the model of this project: it checks the members that it sends
// against the shapes, and finds those of the answers in them.
func TestAccessRequestsBySDK(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("aws")
	if err != nil {
		t.Skip("no aws CLI on PATH; tools/clients/install packages, which make test runs, installs one")
	}
	inst := newInstallation(t, apptest.Options{})
	owner := inst.account(t, "444455556666")
	owner.push(t, "team/app")
	asker := owner.user(t, "ann")
	home := t.TempDir()
	folder := filepath.Join(home, ".aws", "models", "ecrin", "2026-11-01")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "service-2.json"), modelOf(t, "../../api/ecrin-api.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	by := func(a actor) cli {
		return cli{t: t, path: path, home: home, inst: inst, door: []string{"--endpoint-url", inst.URL}}.as(a)
	}
	type request struct {
		AccessRequestID                                                      string `json:"accessRequestId"`
		Status, Address, RepositoryName, Permission, PrincipalArn, DecidedBy string
		Asked                                                                int
	}
	var made struct {
		Request request
		Merged  bool
	}
	ask := func() string {
		t.Helper()
		by(asker).ok(&made, "ecrin", "request-access", "--address", "pull:444455556666/us-east-1/team/app", "--reason", "builds")
		return made.Request.AccessRequestID
	}
	id := ask()
	if made.Merged || made.Request.Status != "OPEN" || made.Request.PrincipalArn != owner.arn("user/ann") ||
		made.Request.Permission != "PULL" {
		t.Errorf("RequestAccess: got %+v", made)
	}
	if ask() != id || !made.Merged || made.Request.Asked != 2 {
		t.Errorf("RequestAccess again: got %+v", made)
	}
	var list struct{ Requests []request }
	by(asker).ok(&list, "ecrin", "list-access-requests", "--own")
	if len(list.Requests) != 1 || list.Requests[0].AccessRequestID != id {
		t.Errorf("ListAccessRequests of its own: got %+v", list)
	}
	by(owner).ok(&list, "ecrin", "list-access-requests", "--status", "OPEN", "--max-results", "5")
	if len(list.Requests) != 1 || list.Requests[0].RepositoryName != "team/app" {
		t.Errorf("ListAccessRequests: got %+v", list)
	}
	var shown struct {
		Request request
		Preview struct {
			PolicyText string
			Decisions  []struct{ AllowedBefore, AllowedAfter bool }
		}
	}
	by(owner).ok(&shown, "ecrin", "describe-access-request", "--access-request-id", id)
	if len(shown.Preview.Decisions) != 3 || !strings.Contains(shown.Preview.PolicyText, "ecr:BatchGetImage") {
		t.Errorf("DescribeAccessRequest: got %+v", shown)
	}
	expect := func(what, want string, by cli, args ...string) {
		t.Helper()
		var got struct{ Request request }
		by.ok(&got, append([]string{"ecrin"}, args...)...)
		if got.Request.Status != want {
			t.Errorf("%s: got %+v, want %s", what, got, want)
		}
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	by(asker).refused("AccessDeniedException", "ecrin", "approve-access-request", "--access-request-id", id, "--until", until)
	expect("ApproveAccessRequest", "GRANTED", by(owner), "approve-access-request", "--access-request-id", id, "--until", until)
	expect("RevokeAccess", "ENDED", by(owner), "revoke-access", "--access-request-id", id)
	by(owner).refused("and not open", "ecrin", "approve-access-request", "--access-request-id", id, "--until", until)
	expect("WithdrawAccessRequest", "WITHDRAWN", by(asker), "withdraw-access-request", "--access-request-id", ask())
	expect("RefuseAccessRequest", "REFUSED", by(owner), "refuse-access-request", "--access-request-id", ask(), "--note", "no")
	by(owner).refused("ResourceNotFoundException", "ecrin", "describe-access-request", "--access-request-id", "1")
}
