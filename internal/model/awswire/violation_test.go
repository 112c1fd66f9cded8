package awswire_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/model/iamtypes"
	"github.com/ecrin-dev/ecrin/internal/model/ststypes"
)

// The query protocol names all violations of a request in one text, in the order of their members, in which STS has the values
// and IAM has not. Source: answers of IAM and STS.
func TestViolationsInTheQueryProtocol(t *testing.T) {
	t.Parallel()
	none, all := func(string) bool { return false }, func(string) bool { return true }
	const at = " failed to satisfy constraint: "
	pattern := awswire.NewPattern("[a-z]+")
	check := func(record func(c *awswire.Checker)) error {
		var c awswire.Checker
		record(&c)
		return c.Err()
	}
	for _, test := range []struct {
		err    error
		values func(string) bool
		want   string
	}{
		{(&iamtypes.CreateUserRequest{}).Validate(), none,
			"1 validation error detected: Value at 'userName'" + at + "Member must have length greater than or equal to 1"},
		{(&ststypes.AssumeRoleRequest{RoleArn: strings.Repeat("a", 20), RoleSessionName: "a:b"}).Validate(), all,
			"1 validation error detected: Value 'a:b' at 'roleSessionName'" + at +
				`Member must satisfy regular expression pattern: [\w+=,.@-]*`},
		{check(func(c *awswire.Checker) { c.Present("Tags", false) }), all,
			"1 validation error detected: Value null at 'tags'" + at + "Member must not be null"},
		{check(func(c *awswire.Checker) { c.Int("MaxItems", 0, awswire.IntRule{Min: 1, Max: 9}) }), all,
			"1 validation error detected: Value at 'maxItems'" + at + "Member must have value greater than or equal to 1"},
		// Of an enumeration, IAM does not show the values, and of the strings of a list the whole rule.
		{check(func(c *awswire.Checker) { c.String("Status", "x", &awswire.StringRule{Enum: []string{"A", "B"}}) }), none,
			"1 validation error detected: Value at 'status'" + at + "Member must satisfy enum value set"},
		{check(func(c *awswire.Checker) {
			c.Within("Names", awswire.Elements, "", &awswire.StringRule{Min: 1, Max: 3, Pattern: pattern})
		}), none, "1 validation error detected: Value at 'names'" + at + "Member must satisfy constraint: [Member must have length less than " +
			"or equal to 3, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [a-z]+]"},
		{check(func(c *awswire.Checker) {
			c.Within("Names", awswire.Keys, "abcd", &awswire.StringRule{Max: 3})
		}), none, "1 validation error detected: Value at 'names'" + at + "Map keys must satisfy constraint: [Member must have length less than " +
			"or equal to 3, Member must have length greater than or equal to 0]"},
		{check(func(c *awswire.Checker) {
			c.Within("Names", awswire.Elements, "ab", &awswire.StringRule{Max: 1})
		}), none, "1 validation error detected: Value at 'names'" + at + "Member must satisfy constraint: [Member must have length less than " +
			"or equal to 1, Member must have length greater than or equal to 0]"},
		{check(func(c *awswire.Checker) {
			c.Within("Names", awswire.Values, "C", &awswire.StringRule{Enum: []string{"A", "B"}})
		}), none, "1 validation error detected: Value at 'names'" + at + "Map value must satisfy constraint: [Member must satisfy enum value " +
			"set: [A, B]]"},
		// Several, in the order of the members, of each the first one.
		{check(func(c *awswire.Checker) {
			c.Fail("B", "second")
			c.Fail("C.2.member.Name", "third")
			c.Fail("A", "first")
			c.Fail("B", "again")
			c.Fail("A", "again")
		}), none, "3 validation errors detected: Value at 'a'" + at + "first; Value at 'b'" + at + "second; " +
			"Value at 'c.2.member.name'" + at + "third"},
	} {
		v, ok := errors.AsType[*awswire.Violation](test.err)
		if !ok {
			t.Errorf("got %v, want a violation: %s", test.err, test.want)
			continue
		}
		if got := v.Query(test.values); got != test.want {
			t.Errorf("\n got %s\nwant %s", got, test.want)
		}
	}
	// At most 20 are recorded.
	err := check(func(c *awswire.Checker) {
		for i := range 30 {
			c.Fail(fmt.Sprintf("M%02d", i), "x")
		}
	})
	const twenty = "20 validation errors detected: Value at 'm00'"
	if v, ok := errors.AsType[*awswire.Violation](err); !ok || !strings.HasPrefix(v.Query(none), twenty) {
		t.Errorf("got %v, want the first 20 of 30 violations", err)
	}
}
