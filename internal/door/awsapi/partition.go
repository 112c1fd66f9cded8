package awsapi

import (
	"errors"
	"strings"

	"github.com/ecrin-dev/ecrin/internal/model/awswire"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// The partition of the ARNs of IAM and STS follows the region of the call, as in AWS. The services and the store use
// these ARNs only in the default partition: this file converts those in requests and answers.

// arnMapper is a request or an answer of IAM or STS that contains ARNs.
type arnMapper interface {
	MapARNs(func(arn string) string) any
}

// inDefaultPartition returns an input whose ARNs of the given partition are replaced by those of the default partition.
// ARNs of other partitions are unchanged, and no service finds an entity by them. The input itself is not modified.
func inDefaultPartition(in awswire.Input, partition string) awswire.Input {
	m, ok := in.(arnMapper)
	if !ok || partition == name.DefaultPartition {
		return in
	}
	mapped, ok := m.MapARNs(func(arn string) string {
		if own, _, _ := name.CutPartition(arn); own == partition {
			return name.InPartition(arn, name.DefaultPartition)
		}
		return arn
	}).(awswire.Input)
	if !ok {
		return in
	}
	return mapped
}

// inPartition returns an output whose ARNs of IAM and STS are in the given partition.
func inPartition(out any, partition string) any {
	m, ok := out.(arnMapper)
	if !ok || partition == name.DefaultPartition {
		return out
	}
	return m.MapARNs(func(arn string) string { return name.InPartition(arn, partition) })
}

// errorIn returns an error of IAM or STS whose public text has ARNs in the given partition. Text that is quoted from a
// policy is unchanged.
func (s *service) errorIn(partition string, err error) error {
	var e *fault.Error
	if partition == name.DefaultPartition || s != iamService && s != stsService || !errors.As(err, &e) {
		return err
	}
	if e.Code == fault.MalformedPolicyDocument {
		return err
	}
	const front = "arn:" + name.DefaultPartition
	text := strings.NewReplacer(front+":iam::", "arn:"+partition+":iam::", front+":sts::", "arn:"+partition+":sts::").Replace(e.Public)
	if text == e.Public {
		return err
	}
	shown := *e
	shown.Public = text
	if err != error(e) {
		shown.Err = err // keeps the texts of the wrapping errors
	}
	return &shown
}
