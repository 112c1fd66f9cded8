package awsapi_test

import "testing"

// A new entity is decided about by the path that it gets, and not by that of a namesake: the namesake could be deleted
// between the decision and the action, which would then make an entity that nothing allowed.
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
		s.gets(s.key, "iam", c.operation, in("/dev/")...)
		key := s.user("for-"+c.resource, rule("Allow", "Action", "arn:aws:iam::"+home+":"+c.resource+"/dev/*", "iam:"+c.operation))
		if got, want := s.asks(key, "iam", c.operation, in("/dev/")...).failure(), "EntityAlreadyExists"; got != want {
			t.Errorf("%s of a taken name at the path that is allowed: got %q, want %q", c.operation, got, want)
		}
		if got := s.asks(key, "iam", c.operation, in("/prod/")...); !got.denied() {
			t.Errorf("%s of a taken name at a path that is not allowed: got %s, want AccessDenied", c.operation, got)
		}
	}
}
