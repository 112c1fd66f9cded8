package awsapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// The operator sees who of all accounts may pull, page by page; the owner only its own users and the accounts that its policies name;
// another account its own users. A principal that its own account alone refuses is delegated.
func TestListRepositoryAccess(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	other := s.account("222222222222")
	s.account("333333333333")
	s.must("CreateRepository", `{"repositoryName":"app"}`)
	s.must("SetRepositoryPolicy", `{"repositoryName":"app","policyText":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",`+
		`\"Principal\":{\"AWS\":\"222222222222\"},\"Action\":[\"ecr:BatchGetImage\",\"ecr:GetDownloadUrlForLayer\"]}]}"}`)
	own := s.entity("AIDAOWN", meta.User, "own", "", `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`)
	if a := s.callQuery(other, "iam", "CreateUser", "UserName", "theirs"); a.Status != 200 {
		t.Fatal(a)
	}
	theirs := "arn:aws:iam::222222222222:user/theirs"
	list := func(call func(in ecrintypes.ListRepositoryAccessRequest) ecrintypes.ListRepositoryAccessResponse, p ecrintypes.Permission) (
		all []string) {
		one := int32(1)
		in := ecrintypes.ListRepositoryAccessRequest{RepositoryName: "app", RegistryId: home, Permission: p, MaxResults: &one}
		for more := true; more; more = in.NextToken != "" {
			out := call(in)
			for _, a := range out.Access {
				sign := "-"
				if a.Allowed {
					sign = "+"
				} else if a.Delegated {
					sign = "~"
				}
				all = append(all, sign+strings.TrimPrefix(a.Principal, "arn:aws:iam::"))
			}
			in.NextToken = out.NextToken
		}
		return all
	}
	operator := func(in ecrintypes.ListRepositoryAccessRequest) (out ecrintypes.ListRepositoryAccessResponse) {
		s.operator("ListRepositoryAccess", in, &out)
		return out
	}
	as := func(c any) func(in ecrintypes.ListRepositoryAccessRequest) ecrintypes.ListRepositoryAccessResponse {
		return func(in ecrintypes.ListRepositoryAccessRequest) (out ecrintypes.ListRepositoryAccessResponse) {
			key := s.key
			if c == "other" {
				key = other
			}
			body, _ := json.Marshal(in)
			a := s.callEcrin(key, "ListRepositoryAccess", string(body))
			if err := json.Unmarshal([]byte(a.Body), &out); err != nil || a.Status != 200 {
				t.Fatalf("got %d %s", a.Status, a.Body)
			}
			return out
		}
	}
	trim := func(arn string) string { return strings.TrimPrefix(arn, "arn:aws:iam::") }
	roots := []string{"+" + home + ":root", "+222222222222:root"}
	for _, c := range []struct {
		who  string
		got  []string
		want []string
	}{
		{"the operator", list(operator, ecrintypes.PermissionPULL), []string{"-*", "-STRANGER", roots[0], "+" + trim(own), roots[1],
			"~" + trim(theirs)}},
		{"the operator, pushes", list(operator, ecrintypes.PermissionPUSH),
			[]string{"-*", "-STRANGER", roots[0], "+" + trim(own), "-222222222222:root", "-" + trim(theirs)}},
		{"the owner", list(as("owner"), ecrintypes.PermissionPULL), []string{"-*", "-STRANGER", roots[0], "+" + trim(own), roots[1]}},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.who, c.got, c.want)
		}
	}
	if a := s.callEcrin(other, "ListRepositoryAccess",
		`{"repositoryName":"app","registryId":"`+home+`","permission":"PULL"}`); a.Status == 200 {
		t.Errorf("another account without the permission: got %s", a.Body)
	}
	s.must("SetRepositoryPolicy", `{"repositoryName":"app","policyText":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",`+
		`\"Principal\":{\"AWS\":\"222222222222\"},\"Action\":\"*\"}]}"}`)
	want := []string{"-*", "-STRANGER", roots[0], roots[1], "~" + trim(theirs)}
	if got := list(as("other"), ecrintypes.PermissionPULL); !slices.Equal(got, want) {
		t.Errorf("another account: got %v, want %v: no user of the owner", got, want)
	}
}
