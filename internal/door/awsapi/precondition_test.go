package awsapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/rule/policy"
)

// conditional is an operation that replaces something, if that is what the request has seen.
type conditional struct {
	make   func(s *server)                             // what the operation needs
	send   func(s *server, n int, match string) answer // the call that stores value n
	tag    func(s *server) string                      // of what is stored now
	absent bool                                        // none is the tag of what is not there
}

// matching sends a request with If-Match, in any API.
func (s *server) matching(match, service, operation string, pairs ...any) answer {
	s.t.Helper()
	q := raw{key: s.key, service: service, at: s.now(), after: func(r *http.Request) {
		if match != "" {
			r.Header.Set("If-Match", match)
		}
	}}
	switch service {
	case "iam":
		form := url.Values{"Action": {operation}, "Version": {"2010-05-08"}}
		for i := 0; i+1 < len(pairs); i += 2 {
			form.Set(pairs[i].(string), pairs[i+1].(string))
		}
		q.body = form.Encode()
		q = query(q)
	case "ecr":
		q.target, q.body = ecrTarget+operation, object(pairs...)
	default:
		q.target, q.body = ecrinTarget+operation, object(pairs...)
	}
	return s.send(q)
}

// member returns the member of the answer to an operation of the JSON APIs as it was sent; "" if the operation fails.
func (s *server) member(service, operation, path string, pairs ...any) string {
	s.t.Helper()
	a := s.matching("", service, operation, pairs...)
	if a.Status != http.StatusOK {
		return ""
	}
	value := json.RawMessage(a.Body)
	for _, part := range strings.Split(path, ".") {
		if part == "0" {
			var list []json.RawMessage
			if err := json.Unmarshal(value, &list); err != nil || len(list) == 0 {
				s.t.Fatalf("%s of %s: %v", path, a, err)
			}
			value = list[0]
			continue
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(value, &all); err != nil {
			s.t.Fatalf("%s of %s: %v", path, a, err)
		}
		value = all[part]
	}
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	return string(value)
}

// document returns a policy document of an answer of IAM.
func (s *server) document(element, operation string, pairs ...any) string {
	s.t.Helper()
	a := s.matching("", "iam", operation, pairs...)
	_, rest, _ := strings.Cut(a.Body, "<"+element+">")
	text, _, _ := strings.Cut(rest, "</"+element+">")
	plain, err := url.PathUnescape(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return plain
}

const trustText = `{"Version":"2012-10-17","Statement":[{"Sid":"N%d","Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"sts:AssumeRole"}]}`

// conditionals are all operations with a precondition.
func conditionals() map[string]conditional {
	const inlineText = `{"Version":"2012-10-17","Statement":[{"Sid":"N%d","Effect":"Allow","Action":"ecr:ListImages","Resource":"*"}]}`
	inline := func(kind, name string) conditional {
		return conditional{absent: true,
			make: func(s *server) {
				pairs := []any{kind + "Name", name}
				if kind == "Role" {
					pairs = append(pairs, "AssumeRolePolicyDocument", fmt.Sprintf(trustText, 0))
				}
				if a := s.matching("", "iam", "Create"+kind, pairs...); a.Status != 200 {
					s.t.Fatal(a)
				}
			},
			send: func(s *server, n int, match string) answer {
				return s.matching(match, "iam", "Put"+kind+"Policy", kind+"Name", name, "PolicyName", "p", "PolicyDocument", fmt.Sprintf(inlineText, n))
			},
			tag: func(s *server) string {
				return policy.Hash(s.document("PolicyDocument", "Get"+kind+"Policy", kind+"Name", name, "PolicyName", "p"))
			}}
	}
	named := func(put, describe, list, member string, more func(n int) []any) conditional {
		return conditional{absent: true, make: func(*server) {},
			send: func(s *server, n int, match string) answer {
				return s.matching(match, "ecrin", put, append([]any{member, "one"}, more(n)...)...)
			},
			tag: func(s *server) string {
				if tag := s.member("ecrin", describe, list+".0.revision", member, "one"); tag != "" {
					return tag
				}
				return "none"
			}}
	}
	const lifecycleText = `{"rules":[{"rulePriority":%d,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},` +
		`"action":{"type":"expire"}}]}`
	const registryText = `{"Version":"2012-10-17","Statement":[{"Sid":"N%d","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},` +
		`"Action":["ecr:ReplicateImage"],"Resource":["arn:aws:ecr:us-east-1:000000000000:repository/*"]}]}`
	lifecycleTag := func(s *server) string {
		return policy.Hash(s.member("ecr", "GetLifecyclePolicy", "lifecyclePolicyText", "repositoryName", "app"))
	}
	registryTag := func(s *server) string { return policy.Hash(s.member("ecr", "GetRegistryPolicy", "policyText")) }
	return map[string]conditional{
		"PutLifecyclePolicy": {absent: true, make: func(s *server) { s.repository("app") }, tag: lifecycleTag,
			send: func(s *server, n int, match string) answer {
				return s.matching(match, "ecr", "PutLifecyclePolicy", "repositoryName", "app", "lifecyclePolicyText", fmt.Sprintf(lifecycleText, n+1))
			}},
		"DeleteLifecyclePolicy": {make: func(s *server) {
			s.repository("app")
			s.must("PutLifecyclePolicy", object("repositoryName", "app", "lifecyclePolicyText", fmt.Sprintf(lifecycleText, 1)))
		}, tag: lifecycleTag, send: func(s *server, n int, match string) answer {
			return s.matching(match, "ecr", "DeleteLifecyclePolicy", "repositoryName", "app")
		}},
		"PutRegistryPolicy": {absent: true, make: func(*server) {}, tag: registryTag, send: func(s *server, n int, match string) answer {
			return s.matching(match, "ecr", "PutRegistryPolicy", "policyText", fmt.Sprintf(registryText, n))
		}},
		"DeleteRegistryPolicy": {make: func(s *server) {
			s.must("PutRegistryPolicy", object("policyText", fmt.Sprintf(registryText, 1)))
		}, tag: registryTag, send: func(s *server, n int, match string) answer {
			return s.matching(match, "ecr", "DeleteRegistryPolicy")
		}},
		"PutReplicationConfiguration": {absent: true, make: func(*server) {}, tag: func(s *server) string {
			text := s.member("ecr", "DescribeRegistry", "replicationConfiguration")
			if text == `{"rules":[]}` {
				return "none"
			}
			return policy.Hash(text)
		}, send: func(s *server, n int, match string) answer {
			return s.matching(match, "ecr", "PutReplicationConfiguration", "replicationConfiguration", map[string]any{"rules": []any{map[string]any{
				"destinations":      []any{map[string]any{"region": "eu-west-1", "registryId": home}},
				"repositoryFilters": []any{map[string]any{"filter": fmt.Sprint("n", n), "filterType": "PREFIX_MATCH"}}}}})
		}},
		"PutUserPolicy": inline("User", "u"), "PutGroupPolicy": inline("Group", "g"), "PutRolePolicy": inline("Role", "r"),
		"UpdateAssumeRolePolicy": {
			make: func(s *server) {
				s.matching("", "iam", "CreateRole", "RoleName", "t", "AssumeRolePolicyDocument", fmt.Sprintf(trustText, 99))
			},
			tag: func(s *server) string {
				return policy.Hash(s.document("AssumeRolePolicyDocument", "GetRole", "RoleName", "t"))
			},
			send: func(s *server, n int, match string) answer {
				return s.matching(match, "iam", "UpdateAssumeRolePolicy", "RoleName", "t", "PolicyDocument", fmt.Sprintf(trustText, n))
			}},
		"PutCluster": named("PutCluster", "DescribeClusters", "clusters", "clusterName", func(n int) []any {
			return []any{"region", "us-east-1", "principal", fmt.Sprintf("%012d", n+1)}
		}),
		"PutCloudIntegration": named("PutCloudIntegration", "DescribeCloudIntegrations", "cloudIntegrations", "cloudName", func(n int) []any {
			return []any{"region", "us-east-1", "awsAccessKeyId", fmt.Sprintf("AKIA%016d", n), "awsSecretAccessKey", strings.Repeat("s", 40)}
		}),
		"PutRuntime": named("PutRuntime", "DescribeRuntimes", "runtimes", "runtimeName", func(n int) []any {
			return []any{"version", fmt.Sprintf("0.1.%d", n+30)}
		}),
		"PutRancherEnvironment": named("PutRancherEnvironment", "DescribeRancherEnvironments", "environments", "environmentName",
			func(n int) []any { return []any{"hosts", []string{fmt.Sprint("host", n)}} }),
		"UpdateIntegration": {
			make: func(s *server) {
				if a := s.matching("", "ecrin", "CreateIntegration", "integrationName", "hub", "kind", "OCI", "registryHost",
					"docker.io"); a.Status != 200 {
					s.t.Fatal(a)
				}
			},
			tag: func(s *server) string {
				return s.member("ecrin", "DescribeIntegrations", "integrations.0.revision", "integrationName", "hub")
			},
			send: func(s *server, n int, match string) answer {
				return s.matching(match, "ecrin", "UpdateIntegration", "integrationName", "hub", "username", fmt.Sprint("n", n), "password", "p")
			}},
	}
}

// precondition returns the failure of an answer that is 412; "" for another answer.
func (a answer) precondition() string {
	if a.Status != http.StatusPreconditionFailed {
		return ""
	}
	if strings.Contains(a.Body, "PreconditionFailedException") || strings.Contains(a.Body, "<Code>PreconditionFailed</Code>") {
		return a.Body
	}
	return ""
}

// Every operation that takes If-Match replaces nothing but what the request has seen, also of requests at the same time that have seen the
// same: one replaces it, and the others are refused. "none" is what is not there.
func TestPreconditions(t *testing.T) {
	t.Parallel()
	for operation, c := range conditionals() {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil)
			c.make(s)
			if got := c.tag(s) == "none"; got != c.absent {
				t.Fatalf("at first: none is there: %t", got)
			}
			for _, wrong := range []string{strings.Repeat("0a", 32), "1"} {
				if a := c.send(s, 1, wrong); a.precondition() == "" {
					t.Errorf("another tag: got %s", a)
				}
			}
			if c.absent {
				if won := raceOf(t, s, c, "none", 0); won != 1 {
					t.Errorf("%d of 6 requests at once made what was not there, want 1", won)
				}
				if a := c.send(s, 8, "none"); a.precondition() == "" {
					t.Errorf("again: got %s", a)
				}
			}
			for round := range 2 {
				tag := c.tag(s)
				if tag == "none" {
					break // it was deleted
				}
				if won := raceOf(t, s, c, `"`+tag+`"`, 10*(round+1)); won != 1 {
					t.Errorf("%d of 6 requests at once replaced what all have seen, want 1", won)
				}
				if a := c.send(s, 9, tag); a.precondition() == "" && a.Status == 200 {
					t.Errorf("with the tag of before: got %s", a)
				}
			}
		})
	}
}

// raceOf sends requests at the same time with different values from first on, and returns how many succeeded; the others must fail by
// their precondition.
func raceOf(t *testing.T, s *server, c conditional, match string, first int) (won int) {
	t.Helper()
	var wg sync.WaitGroup
	answers := make([]answer, 6)
	for i := range answers {
		wg.Go(func() { answers[i] = c.send(s, first+i, match) })
	}
	wg.Wait()
	for _, a := range answers {
		switch {
		case a.Status == http.StatusOK:
			won++
		case strings.Contains(a.Body, "NotFoundException"), strings.Contains(a.Body, "the account already has a"): // deleted, or made meanwhile
		case a.precondition() == "":
			t.Errorf("got %s", a)
		}
	}
	return won
}

// An operation that replaces nothing refuses If-Match rather than to ignore it, as every API refuses one that it cannot read, and a caller
// without the permission does not learn whether the tag is right.
func TestPreconditionsOfOtherOperations(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	s.repository("app")
	for _, a := range []answer{
		s.matching("none", "ecr", "DescribeRepositories"), s.matching("none", "ecrin", "ListSecrets"),
		s.matching("none", "iam", "CreateUser", "UserName", "ann"), s.matching("none", "ecr", "SetRepositoryPolicy", "repositoryName", "app",
			"policyText", policyForAll), s.matching("*", "ecr", "GetLifecyclePolicy", "repositoryName", "app"),
		s.matching(`W/"1"`, "ecr", "PutLifecyclePolicy", "repositoryName", "app", "lifecyclePolicyText", "{}"),
	} {
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Body, "If-Match") {
			t.Errorf("got %s", a)
		}
	}
	s.mustQuery(s.key, "iam", "CreateUser", "UserName", "bob")
	bob := s.mustQuery(s.key, "iam", "CreateAccessKey", "UserName", "bob")
	for _, match := range []string{"none", "12"} {
		a := s.send(raw{key: bob, at: s.now(), service: "ecrin", target: ecrinTarget + "PutCluster", body: object("clusterName", "one", "region",
			"us-east-1", "principal", home), after: func(r *http.Request) { r.Header.Set("If-Match", match) }})
		if a.Type != "AccessDeniedException" {
			t.Errorf("without the permission, %s: got %s", match, a)
		}
	}
}
