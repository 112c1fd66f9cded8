package policy

import "strings"

// repositoryActions are the actions on a repository, without the prefix. ReplicateImage, BatchImportUpstreamImage and
// GetImageCopyStatus are rights without an operation of their name; ListImageReferrers is an operation that asks for
// BatchGetImage. Source: service authorization reference of ECR.
var repositoryActions = strings.Fields(`
	BatchCheckLayerAvailability BatchDeleteImage BatchGetImage BatchGetRepositoryScanningConfiguration
	BatchImportUpstreamImage CompleteLayerUpload CreateRepository DeleteLifecyclePolicy DeleteRepository
	DeleteRepositoryPolicy DescribeImageReplicationStatus DescribeImageScanFindings DescribeImageSigningStatus
	DescribeImages DescribeRepositories GetDownloadUrlForLayer GetImageCopyStatus GetLifecyclePolicy
	GetLifecyclePolicyPreview GetRepositoryPolicy InitiateLayerUpload ListImages ListTagsForResource PutImage
	PutImageScanningConfiguration PutImageTagMutability PutLifecyclePolicy ReplicateImage SetRepositoryPolicy
	StartImageScan StartLifecyclePolicyPreview TagResource UntagResource UpdateImageStorageClass UploadLayerPart
`)

// registryActions have no repository: only the resource * grants them. Those of replication backfills are newer than
// the reference, and stand here by our choice.
var registryActions = strings.Fields(`
	CreatePullThroughCacheRule CreateRepositoryCreationTemplate DeletePullThroughCacheRule DeleteRegistryPolicy
	DeleteRepositoryCreationTemplate DeleteSigningConfiguration DeregisterPullTimeUpdateExclusion
	DescribePullThroughCacheRules DescribeRegistry DescribeReplicationBackfillResults
	DescribeRepositoryCreationTemplates GetAccountSetting GetAuthorizationToken GetRegistryPolicy
	GetRegistryScanningConfiguration GetSigningConfiguration ListPullTimeUpdateExclusions
	ListReplicationBackfills PutAccountSetting PutRegistryPolicy PutRegistryScanningConfiguration
	PutReplicationConfiguration PutSigningConfiguration RegisterPullTimeUpdateExclusion StartReplicationBackfill
	StopReplicationBackfill UpdatePullThroughCacheRule UpdateRepositoryCreationTemplate
	ValidatePullThroughCacheRule
`)

// Actions lists the actions of ECR, such as ecr:PutImage: first those on a repository, then those that need the
// resource *.
func Actions() []string {
	var all []string
	for _, list := range [][]string{repositoryActions, registryActions} {
		for _, a := range list {
			all = append(all, "ecr:"+a)
		}
	}
	return all
}

// nearest gives the action that is written most like the given one.
func nearest(action string) string {
	best, least := "", -1
	for _, known := range Actions() {
		if d := distance(strings.ToLower(action), strings.ToLower(known)); least < 0 || d < least {
			best, least = known, d
		}
	}
	return best
}

// distance is the effort to make b of a: 1 to put a byte in, for people shorten names, and 2 to take one out or replace it.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = 2 * (i + 1)
		for j := range len(b) {
			above := row[j+1]
			cost := 2
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above+2, row[j]+1, diagonal+cost)
			diagonal = above
		}
	}
	return row[len(b)]
}
