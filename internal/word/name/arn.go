package name

import (
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// ARN is an Amazon resource name, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE. It identifies one resource. Patterns
// of ARNs, which policies contain, are not ARNs: [ParseARN] does not read them. The zero ARN means "none".
//
// Source: AWS general reference, Amazon Resource Names.
type ARN struct {
	Partition string  // aws, or aws followed by lower-case words, such as aws-cn and aws-us-gov
	Service   string  // lower-case letters, digits and "-"
	Region    string  // not checked; "" for a resource without a region
	Account   Account // the owner; the zero Account if the text has "" or aws as account
	AWS       bool    // the text has aws as account: the owner is AWS
	Resource  string  // the text after the fifth colon, which may contain colons; never ""
}

// ErrARNAccount is the cause of an error of [ParseARN] if only the account of the ARN is invalid.
var ErrARNAccount = errors.New("the account of an ARN is 12 digits, aws or empty")

// ParseARN parses an ARN. Region and Resource are not checked, except that Resource must not be empty. The String of
// the result is s.
//
// Errors: fault.InvalidParameter; it wraps [ErrARNAccount] if only the account is invalid.
func ParseARN(s string) (ARN, error) {
	rest, ok0 := strings.CutPrefix(s, "arn:")
	partition, rest, ok1 := strings.Cut(rest, ":")
	service, rest, ok2 := strings.Cut(rest, ":")
	region, rest, ok3 := strings.Cut(rest, ":")
	account, resource, ok4 := strings.Cut(rest, ":")
	complete := ok0 && ok1 && ok2 && ok3 && ok4 && resource != ""
	if !complete || !ValidPartition(partition) || !validService(service) {
		return ARN{}, fault.InvalidParameter.New("an ARN looks like arn:aws:iam::111122223333:role/ci, got %q", Clip(s))
	}
	a := ARN{Partition: partition, Service: service, Region: region, Resource: resource}
	switch account {
	case "":
	case "aws":
		a.AWS = true
	default:
		var err error
		if a.Account, err = ParseAccount(account); err != nil {
			return ARN{}, fault.InvalidParameter.New("the account of an ARN is 12 digits, aws or empty, got %q", Clip(s)).Because(ErrARNAccount)
		}
	}
	return a, nil
}

func validService(s string) bool {
	for i := range len(s) {
		if !lowerAlnum(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != ""
}

// String returns the text of the ARN, "" for the zero ARN.
func (a ARN) String() string {
	if a == (ARN{}) {
		return ""
	}
	return "arn:" + a.Partition + ":" + a.Service + ":" + a.Region + ":" + a.Owner() + ":" + a.Resource
}

// Owner returns the account of the text: 12 digits, aws or "".
func (a ARN) Owner() string {
	if a.AWS {
		return "aws"
	}
	return a.Account.s
}

// RepositoryARN returns the ARN of a repository of this registry. The name may contain wildcards, as in policies.
func (r Registry) RepositoryARN(name string) string {
	return "arn:" + r.Region.Partition() + ":ecr:" + r.Region.s + ":" + r.Account.s + ":repository/" + name
}

// ParseRepositoryARN parses arn:PARTITION:ecr:REGION:ACCOUNT:repository/NAME. The partition must be that of the
// region. Errors: fault.InvalidParameter.
func ParseRepositoryARN(s string) (Registry, Repo, error) {
	a, err := ParseARN(s)
	repository, ok := strings.CutPrefix(a.Resource, "repository/")
	if err == nil && ok && a.Service == "ecr" && a.Account != (Account{}) {
		region, err1 := ParseRegion(a.Region)
		repo, err2 := ParseRepo(repository)
		if err1 == nil && err2 == nil && a.Partition == region.Partition() {
			return Registry{a.Account, region}, repo, nil
		}
	}
	return Registry{}, Repo{}, fault.InvalidParameter.New("Invalid parameter at 'resourceArn' failed to satisfy constraint: 'Invalid ARN'")
}
