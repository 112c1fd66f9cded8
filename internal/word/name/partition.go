package name

import (
	"slices"
	"strings"
)

// DefaultPartition is the partition of the commercial regions of AWS.
const DefaultPartition = "aws"

// partitions are the partitions other than [DefaultPartition], by the prefix of their region names.
// Source: partitions.json of the AWS SDKs.
var partitions = []struct{ prefix, partition string }{
	{"cn-", "aws-cn"}, {"us-gov-", "aws-us-gov"}, {"eusc-", "aws-eusc"},
	{"us-iso-", "aws-iso"}, {"us-isob-", "aws-iso-b"}, {"eu-isoe-", "aws-iso-e"}, {"us-isof-", "aws-iso-f"},
}

// Partitions returns the partitions that regions can belong to, [DefaultPartition] first.
func Partitions() []string {
	all := []string{DefaultPartition}
	for _, p := range partitions {
		all = append(all, p.partition)
	}
	return all
}

// Partition returns the partition of the region: [DefaultPartition] for a region that AWS does not have, and for the
// zero Region.
func (r Region) Partition() string {
	for _, p := range partitions {
		if strings.HasPrefix(r.s, p.prefix) {
			return p.partition
		}
	}
	return DefaultPartition
}

// ValidPartition reports whether s has the form of a partition: aws, or aws followed by words of lower-case letters,
// each after a "-".
func ValidPartition(s string) bool {
	words, ok := strings.CutPrefix(s, "aws")
	if !ok || words == "" {
		return ok
	}
	for i := range len(words) {
		letter := 'a' <= words[i] && words[i] <= 'z'
		last := i == len(words)-1
		if !letter && (words[i] != '-' || last || words[i+1] == '-') || i == 0 && words[i] != '-' {
			return false
		}
	}
	return true
}

// entityServices are the services whose resources belong to an account in all partitions of an installation.
var entityServices = []string{"iam", "sts", "ecrin"}

// CutPartition splits the text of an ARN of IAM, STS or ecrin after its partition. rest begins with the colon before the
// service; the text after the service is not checked. ok is false for every other text: only an [Entity] has ARNs in
// several partitions.
func CutPartition(arn string) (partition, rest string, ok bool) {
	text, ok := strings.CutPrefix(arn, "arn:")
	if !ok {
		return "", "", false
	}
	end := strings.IndexByte(text, ':')
	if end < 0 || !ValidPartition(text[:end]) {
		return "", "", false
	}
	partition, rest = text[:end], text[end:]
	service, _, ok := strings.Cut(rest[1:], ":")
	if !ok || !slices.Contains(entityServices, service) {
		return "", "", false
	}
	return partition, rest, true
}

// InPartition returns an ARN of IAM, STS or ecrin with another partition. Every other text is returned unchanged.
//
// In AWS an account belongs to one partition. An account of an installation is the same account in all partitions: each
// of its users, roles and policies has an ARN in every partition, and all of these ARNs identify the same entity.
func InPartition(arn, partition string) string {
	if have, rest, ok := CutPartition(arn); ok && have != partition {
		return "arn:" + partition + rest
	}
	return arn
}

// SameARN reports whether two texts are equal, or are ARNs of IAM, STS or ecrin that differ only in the partition.
func SameARN(a, b string) bool {
	if a == b {
		return true
	}
	_, restA, okA := CutPartition(a)
	_, restB, okB := CutPartition(b)
	return okA && okB && restA == restB
}
