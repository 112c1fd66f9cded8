package endpoint_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ecrin-dev/ecrin/internal/rule/endpoint"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

func TestServedSubtrees(t *testing.T) {
	t.Parallel()
	s := endpoint.Served{Regions: []name.Region{name.MustRegion("eu-west-1")}, Domains: []string{"ecr.example.com."}}
	want := []string{"dkr-ecr-fips.eu-west-1.on.aws", "dkr-ecr.eu-west-1.on.aws", "ecr-fips.eu-west-1.amazonaws.com",
		"ecr-fips.eu-west-1.api.aws",
		"ecr.eu-west-1.amazonaws.com", "ecr.eu-west-1.api.aws", "ecr.example.com", "localhost"}
	if diff := cmp.Diff(want, s.Subtrees()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for host, want := range map[string]bool{
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com": true, "api.ecr.eu-west-1.amazonaws.com": true, "ecr.eu-west-1.amazonaws.com": true,
		"111122223333.dkr.ecr-fips.eu-west-1.amazonaws.com": true, "111122223333.dkr-ecr.eu-west-1.on.aws": true,
		"localhost": true, "a.ecr.example.com": true, "ecr.example.com": true,
		"111122223333.dkr.ecr.us-east-1.amazonaws.com": false, "amazonaws.com": false, "s3.amazonaws.com": false,
		"eu-west-1.amazonaws.com": false, "xecr.eu-west-1.amazonaws.com": false, "example.com": false, "notecr.example.com": false,
		"sts.eu-west-1.amazonaws.com": false, "sts.amazonaws.com": false, "iam.amazonaws.com": false, "": false,
	} {
		if got := endpoint.Within(host, s.Subtrees()); got != want {
			t.Errorf("Within(%q): got %v, want %v", host, got, want)
		}
	}
	s.IAMSTS = true
	for _, host := range []string{"sts.eu-west-1.amazonaws.com", "sts.amazonaws.com", "iam.amazonaws.com"} {
		if !endpoint.Within(host, s.Subtrees()) {
			t.Errorf("with IAMSTS, %s is not served", host)
		}
	}
	if endpoint.Within("sts.us-east-1.amazonaws.com", s.Subtrees()) {
		t.Error("with IAMSTS, the STS of another region is served")
	}
}

// The subtrees of each partition, with IAM and STS: those of its own domains, and no others.
func TestServedSubtreesOfEachPartition(t *testing.T) {
	t.Parallel()
	for region, want := range map[name.Region][]string{
		name.MustRegion("us-east-1"): {"dkr-ecr-fips.us-east-1.on.aws", "dkr-ecr.us-east-1.on.aws", "ecr-fips.us-east-1.amazonaws.com",
			"ecr-fips.us-east-1.api.aws", "ecr.us-east-1.amazonaws.com", "ecr.us-east-1.api.aws", "iam.amazonaws.com",
			"iam.us-east-1.amazonaws.com", "localhost", "sts-fips.us-east-1.amazonaws.com", "sts.amazonaws.com",
			"sts.us-east-1.amazonaws.com"},
		name.MustRegion("cn-north-1"): {"dkr-ecr-fips.cn-north-1.on.amazonwebservices.com.cn", "dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
			"ecr-fips.cn-north-1.amazonaws.com.cn", "ecr-fips.cn-north-1.api.amazonwebservices.com.cn",
			"ecr.cn-north-1.amazonaws.com.cn", "ecr.cn-north-1.api.amazonwebservices.com.cn", "iam.amazonaws.com.cn",
			"iam.cn-north-1.amazonaws.com.cn", "localhost", "sts-fips.cn-north-1.amazonaws.com.cn", "sts.amazonaws.com.cn",
			"sts.cn-north-1.amazonaws.com.cn"},
		name.MustRegion("eusc-de-east-1"): {"ecr-fips.eusc-de-east-1.amazonaws.com", "ecr-fips.eusc-de-east-1.amazonaws.eu",
			"ecr-fips.eusc-de-east-1.api.amazonwebservices.eu", "ecr.eusc-de-east-1.amazonaws.com", "ecr.eusc-de-east-1.amazonaws.eu",
			"ecr.eusc-de-east-1.api.amazonwebservices.eu", "iam.amazonaws.com", "iam.amazonaws.eu",
			"iam.eusc-de-east-1.amazonaws.com", "iam.eusc-de-east-1.amazonaws.eu", "localhost",
			"sts-fips.eusc-de-east-1.amazonaws.com", "sts-fips.eusc-de-east-1.amazonaws.eu", "sts.amazonaws.com",
			"sts.amazonaws.eu", "sts.eusc-de-east-1.amazonaws.com", "sts.eusc-de-east-1.amazonaws.eu"},
	} {
		s := endpoint.Served{Regions: []name.Region{region, region}, IAMSTS: true}
		if diff := cmp.Diff(want, s.Subtrees()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", region, diff)
		}
	}
	if diff := cmp.Diff([]string{"localhost"}, endpoint.Served{IAMSTS: true}.Subtrees()); diff != "" {
		t.Errorf("without regions (-want +got):\n%s", diff)
	}
}

// No setting opens a whole domain of AWS: not as a domain of the operator, and not by a region of any partition.
func TestServedNeverContainsADomainOfAWS(t *testing.T) {
	t.Parallel()
	var regions []name.Region
	for _, r := range []string{"us-east-1", "cn-north-1", "us-gov-west-1", "eusc-de-east-1", "us-iso-east-1", "us-isob-east-1"} {
		region, err := name.ParseRegion(r)
		if err != nil {
			t.Fatal(err)
		}
		regions = append(regions, region)
	}
	s := endpoint.Served{Regions: regions, IAMSTS: true, Domains: []string{
		"amazonaws.com", "AMAZONAWS.com.", "com.cn", "amazonaws.com.cn", "aws", "on.aws", "api.aws", "amazonaws.eu", ".", "com",
	}}
	subtrees := s.Subtrees()
	for _, host := range []string{
		"amazonaws.com", "amazonaws.com.cn", "on.aws", "api.aws", "amazonaws.eu", "s3.amazonaws.com", "ec2.us-east-1.amazonaws.com",
		"us-east-1.amazonaws.com", "signin.aws", "com", "com.cn", "example.com",
	} {
		if endpoint.Within(host, subtrees) {
			t.Errorf("%s is served by %v", host, subtrees)
		}
	}
	if !endpoint.Within("111122223333.dkr.ecr.cn-north-1.amazonaws.com.cn", subtrees) ||
		endpoint.Within("111122223333.dkr.ecr.us-east-1.amazonaws.com.cn", subtrees) {
		t.Errorf("a region is served in the domain of its partition, and in no other: %v", subtrees)
	}
}

// The setting that Advice names serves the host.
func TestAdviceServesTheHost(t *testing.T) {
	t.Parallel()
	twice := []name.Region{name.MustRegion("us-east-1"), name.MustRegion("us-east-1")} // is named once
	s := endpoint.Served{Regions: twice}
	for host, want := range map[string]string{
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com": "--tls-regions us-east-1,eu-west-1",
		"api.ecr.eu-west-1.amazonaws.com":              "--tls-regions us-east-1,eu-west-1",
		"sts.amazonaws.com":                            "--tls-iam-sts",
		"iam.amazonaws.com":                            "--tls-iam-sts",
		"sts.us-east-1.amazonaws.com":                  "--tls-iam-sts",
		"sts.eu-west-1.amazonaws.com":                  "--tls-iam-sts --tls-regions us-east-1,eu-west-1",
		"s3.amazonaws.com":                             "no setting",
		"1.dkr.ecr.eu-west-1.amazonaws.com":            "no setting",
		// a region in the domain of another partition
		"111122223333.dkr.ecr.eu-west-1.amazonaws.com.cn": "no setting",
		"sts.cn-north-1.amazonaws.com":                    "no setting",
		"reg.example.com":                                 "--domain reg.example.com",
		"registry":                                        "--tls=files",
	} {
		advice := s.Advice(host)
		if !strings.HasSuffix(advice, want) && !strings.Contains(advice, want) {
			t.Errorf("Advice(%q): got %q, want %q in it", host, advice, want)
		}
		_, flags, ok := strings.Cut(advice, ": --")
		if !ok {
			continue
		}
		with := endpoint.Served{Regions: s.Regions}
		words := strings.Fields("--" + flags)
		for i, w := range words {
			switch w {
			case "--tls-iam-sts":
				with.IAMSTS = true
			case "--tls-regions":
				with.Regions = nil
				for r := range strings.SplitSeq(words[i+1], ",") {
					region, err := name.ParseRegion(r)
					if err != nil {
						t.Fatal(err)
					}
					with.Regions = append(with.Regions, region)
				}
			case "--domain":
				with.Domains = []string{words[i+1]}
			}
		}
		if !endpoint.Within(host, with.Subtrees()) {
			t.Errorf("Advice(%q) is %q, with which the host is not served: %v", host, advice, with.Subtrees())
		}
	}
}

// An installation without regions gets no advice to add a region without a name.
func TestAdviceNamesTheRegion(t *testing.T) {
	t.Parallel()
	if got, want := (endpoint.Served{}).Advice("sts.amazonaws.com"), "it is a name of AWS that no setting serves"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	got, want := endpoint.Served{}.Advice("ecr.eu-west-1.amazonaws.com"), "--tls-regions eu-west-1"
	if !strings.HasSuffix(got, " "+want) {
		t.Errorf("got %q, want %q at its end", got, want)
	}
}

func FuzzAdvice(f *testing.F) {
	for _, s := range []string{"a", "a.b", "sts.amazonaws.com", "1.dkr.ecr.eu-west-1.amazonaws.com", "..", "ecr.aws"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		s := endpoint.Served{Regions: []name.Region{name.MustRegion("us-east-1")}, Domains: []string{host}}
		if s.Advice(host) == "" {
			t.Errorf("Advice(%q) is empty", host)
		}
		if got := s.Subtrees(); !slices.IsSorted(got) || endpoint.Within("other.amazonaws.com", got) && !strings.Contains(host, "other") {
			t.Errorf("Subtrees with the domain %q: %v", host, got)
		}
	})
}
