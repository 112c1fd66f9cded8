package awswire_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awsmodel"
	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/ecrtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

const repositoryPattern = `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`

func TestValidate(t *testing.T) {
	t.Parallel()
	const account, id = "012345678910", "01234567-89ab-cdef-0123-456789abcdef"
	for _, c := range []struct {
		in     awswire.Input
		member string // empty: no violation
		reason string
	}{
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "team/my-app__x"}, "", ""},
		{&ecrtypes.CreateRepositoryRequest{}, "repositoryName", "Member must have length greater than or equal to 2"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: strings.Repeat("a", 257)}, "repositoryName",
			"Member must have length less than or equal to 256"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "Team"}, "repositoryName", "must satisfy regular expression '" +
			repositoryPattern + "'"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "team\n"}, "repositoryName", "must satisfy regular expression '" +
			repositoryPattern + "'"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "x/../y"}, "repositoryName", "must satisfy regular expression '" +
			repositoryPattern + "'"},
		// Members are checked in their order, and the first violation is returned.
		{&ecrtypes.CreateRepositoryRequest{RegistryId: "1", RepositoryName: "A"}, "registryId", "must satisfy regular expression '[0-9]{12}'"},
		{&ecrtypes.CreateRepositoryRequest{RegistryId: account, RepositoryName: "ab", ImageTagMutability: "SOMETIMES"}, "imageTagMutability",
			"Member must satisfy enum value set: [MUTABLE, IMMUTABLE, IMMUTABLE_WITH_EXCLUSION, MUTABLE_WITH_EXCLUSION]"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "ab",
			ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{}},
			"imageTagMutabilityExclusionFilters", "Member must have length greater than or equal to 1"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "ab", ImageTagMutabilityExclusionFilters: []ecrtypes.ImageTagMutabilityExclusionFilter{
			{FilterType: "WILDCARD", Filter: "v*"}, {FilterType: "WILDCARD", Filter: "v?"}}},
			"imageTagMutabilityExclusionFilters.2.member.filter", "must satisfy regular expression '^[0-9a-zA-Z._*-]{1,128}$'"},
		{&ecrtypes.CreateRepositoryRequest{RepositoryName: "ab",
			EncryptionConfiguration: &ecrtypes.EncryptionConfiguration{EncryptionType: "ROT13"}},
			"encryptionConfiguration.encryptionType", "Member must satisfy enum value set: [AES256, KMS, KMS_DSSE]"},
		{&ecrtypes.DescribeImagesRequest{RepositoryName: "ab", MaxResults: new(int32(0))}, "maxResults",
			"Member must have value greater than or equal to 1"},
		{&ecrtypes.DescribeImagesRequest{RepositoryName: "ab", MaxResults: new(int32(1001))}, "maxResults",
			"Member must have value less than or equal to 1000"},
		{&ecrtypes.DescribeImagesRequest{RepositoryName: "ab", ImageIds: make([]ecrtypes.ImageIdentifier, 101)}, "imageIds",
			"Member must have length less than or equal to 100"},
		{&ecrtypes.DescribeImagesRequest{RepositoryName: "ab", Filter: &ecrtypes.DescribeImagesFilter{TagStatus: "?"}}, "filter.tagStatus",
			"Member must satisfy enum value set: [TAGGED, UNTAGGED, ANY]"},
		{&ecrtypes.DescribeRepositoriesRequest{RepositoryNames: []string{"ab", "A"}}, "repositoryNames",
			"Member must satisfy constraint: [Member must have length greater than or equal to 2]"},
		// A missing required list is returned before other violations.
		{&ecrtypes.BatchDeleteImageRequest{RepositoryName: "A"}, "imageIds", "Member must not be null"},
		{&ecrtypes.UploadLayerPartRequest{RepositoryName: "ab", UploadId: id}, "layerPartBlob", "Member must not be null"},
		{&ecrtypes.UploadLayerPartRequest{RepositoryName: "ab", UploadId: id, LayerPartBlob: make([]byte, 20<<20+1)}, "layerPartBlob",
			"Member must have length less than or equal to 20971520"},
		{&ecrtypes.UploadLayerPartRequest{RepositoryName: "ab", UploadId: id, PartFirstByte: -1, LayerPartBlob: []byte{}}, "partFirstByte",
			"Member must have value greater than or equal to 0"},
		{&ecrtypes.UploadLayerPartRequest{RepositoryName: "ab", UploadId: id, LayerPartBlob: []byte{}}, "", ""},
		{&ecrtypes.PutReplicationConfigurationRequest{}, "replicationConfiguration.rules", "Member must not be null"},
		{&ecrtypes.PutReplicationConfigurationRequest{ReplicationConfiguration: ecrtypes.ReplicationConfiguration{
			Rules: []ecrtypes.ReplicationRule{}}}, "", ""},
		{&ecrtypes.PutReplicationConfigurationRequest{ReplicationConfiguration: ecrtypes.ReplicationConfiguration{
			Rules: []ecrtypes.ReplicationRule{
				{Destinations: []ecrtypes.ReplicationDestination{{Region: "eu-west-1", RegistryId: "x"}}}}}},
			"replicationConfiguration.rules.1.member.destinations.1.member.registryId", "must satisfy regular expression '[0-9]{12}'"},
		// "" clears these members; it is not the same as absent.
		{&ecrtypes.UpdateRepositoryCreationTemplateRequest{Prefix: "ab", RepositoryPolicy: new(""), LifecyclePolicy: new("")}, "", ""},
		{&ecrtypes.PutLifecyclePolicyRequest{RepositoryName: "ab", LifecyclePolicyText: "{}"}, "lifecyclePolicyText",
			"Member must have length greater than or equal to 100"},
		{&ecrtypes.TagResourceRequest{Tags: []ecrtypes.Tag{{}}}, "", ""},
		// Lengths are in characters, not in bytes.
		{&ststypes.AssumeRoleRequest{RoleArn: strings.Repeat("é", 2048), RoleSessionName: "me"}, "", ""},
		{&ststypes.AssumeRoleRequest{RoleArn: strings.Repeat("é", 19), RoleSessionName: "me"}, "RoleArn",
			"Member must have length greater than or equal to 20"},
	} {
		err := c.in.Validate()
		v, _ := errors.AsType[*awswire.Violation](err)
		switch {
		case c.member == "" && err != nil, c.member != "" && (v == nil || v.Member != c.member || v.Reason != c.reason):
			t.Errorf("%T.Validate() = %v\nwant %s: %s", c.in, err, c.member, c.reason)
		case v != nil:
			want := "Invalid parameter at '" + c.member + "' failed to satisfy constraint: '" + c.reason + "'"
			if f := fault.From(err); f.Code != fault.InvalidParameter || f.Public != want {
				t.Errorf("fault of %T: %v %q, want %q", c.in, f.Code, f.Public, want)
			}
		}
	}
}

func TestCheckerWithinMaps(t *testing.T) {
	t.Parallel()
	rule := &awswire.StringRule{Max: 1}
	for _, c := range []struct{ what, want string }{
		{awswire.Elements, "Member must satisfy constraint: [Member must have length less than or equal to 1]"},
		{awswire.Keys, "Map keys must satisfy constraint: [Member must have length less than or equal to 1]"},
		{awswire.Values, "Map value must satisfy constraint: [Member must have length less than or equal to 1]"},
	} {
		var check awswire.Checker
		check.Within("m", c.what, "a", rule)
		if err := check.Err(); err != nil {
			t.Errorf("%s: got %v for a value that fits", c.what, err)
		}
		check.Within("m", c.what, "ab", rule)
		check.Fail("m", "a later one")
		if v, _ := errors.AsType[*awswire.Violation](check.Err()); v == nil || v.Reason != c.want {
			t.Errorf("%s: got %v, want %s", c.what, check.Err(), c.want)
		}
	}
}

// Every pattern of every model compiles in Go, and matches what the model means.
func TestCompilePattern(t *testing.T) {
	t.Parallel()
	for _, name := range awsmodel.Names() {
		m, err := awsmodel.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range m.Shapes {
			if _, err := awswire.CompilePattern(s.Pattern); err != nil {
				t.Errorf("%s %s: %v", name, s.Name, err)
			}
		}
	}
	const alias = `^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$`
	const planes = `[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+`
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{`a|b`, "a", true}, {`a|b`, "ab", false}, {`a`, "a\n", false}, {`^$|x`, "", true}, {`^$|x`, "yx", false},
		{`\u002F[\u0021-\u007F]*`, "/a~", true}, {`\u002F[\u0021-\u007F]*`, "/é", false},
		{planes, "aé😀", true}, {planes, "a\x07", false}, {planes, "\ufffe", false},
		{alias, "my-alias", true}, {alias, "my--alias", false}, {alias, "-my", false}, {alias, "my-", false},
		{`[\w+=,.@-]+`, "é", false},
		{`[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+`, "sha256:0f", true},
	} {
		if got := awswire.NewPattern(c.pattern).Match(c.s); got != c.want {
			t.Errorf("pattern %s on %q: got %t, want %t", c.pattern, c.s, got, c.want)
		}
	}
}
