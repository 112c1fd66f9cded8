package awsapi_test

import "testing"

// The creation of an entity is decided by the path of the new entity, not by that of an existing entity with the same
// name: the existing entity could be deleted between the decision and the action, and the action would then create an
// entity that no policy allows.
func TestNewEntityIsDecidedByItsOwnPath(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + home + `"},"Action":"sts:AssumeRole"}]}`
	for _, c := range []struct {
		operation, resource string
		pairs               []string
	}{
		{"CreateUser", "user", []string{"UserName", "taken"}},
		{"CreateGroup", "group", []string{"GroupName", "taken"}},
		{"CreateRole", "role", []string{"RoleName", "taken", "AssumeRolePolicyDocument", trust}},
		{"CreatePolicy", "policy", []string{"PolicyName", "taken", "PolicyDocument", allow("ecr:*")}},
		{"CreateInstanceProfile", "instance-profile", []string{"InstanceProfileName", "taken"}},
	} {
		in := func(path string) []string { return append([]string{"Path", path}, c.pairs...) }
		s.mustQuery(s.key, "iam", c.operation, in("/dev/")...)
		key := s.user("for-"+c.resource, rule("Allow", "Action", "arn:aws:iam::"+home+":"+c.resource+"/dev/*", "iam:"+c.operation))
		if got, want := s.callQuery(key, "iam", c.operation, in("/dev/")...).failure(), "EntityAlreadyExists"; got != want {
			t.Errorf("%s of a taken name at the path that is allowed: got %q, want %q", c.operation, got, want)
		}
		if got := s.callQuery(key, "iam", c.operation, in("/prod/")...); !got.denied() {
			t.Errorf("%s of a taken name at a path that is not allowed: got %s, want AccessDenied", c.operation, got)
		}
	}
}
