package policy

import "strings"

// repositoryActions are the actions on a repository, without the prefix ecr:. ReplicateImage, BatchImportUpstreamImage
// and GetImageCopyStatus are actions without an operation of the same name. The operation ListImageReferrers requires
// the action BatchGetImage. Source: service authorization reference of ECR.
var repositoryActions = strings.Fields(`
	BatchCheckLayerAvailability BatchDeleteImage BatchGetImage BatchGetRepositoryScanningConfiguration
	BatchImportUpstreamImage CompleteLayerUpload CreateRepository DeleteLifecyclePolicy DeleteRepository
	DeleteRepositoryPolicy DescribeImageReplicationStatus DescribeImageScanFindings DescribeImageSigningStatus
	DescribeImages DescribeRepositories GetDownloadUrlForLayer GetImageCopyStatus GetLifecyclePolicy
	GetLifecyclePolicyPreview GetRepositoryPolicy InitiateLayerUpload ListImages ListTagsForResource PutImage
	PutImageScanningConfiguration PutImageTagMutability PutLifecyclePolicy ReplicateImage SetRepositoryPolicy
	StartImageScan StartLifecyclePolicyPreview TagResource UntagResource UpdateImageStorageClass UploadLayerPart
`)

// registryActions are the actions without a repository: a statement allows them only with the resource *. The actions
// of replication backfills are newer than the reference; their place in this list is a decision of ecrin.
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

// Actions returns the actions of ECR, such as ecr:PutImage: first the actions on a repository, then the actions that
// need the resource *.
func Actions() []string {
	var all []string
	for _, list := range [][]string{repositoryActions, registryActions} {
		for _, a := range list {
			all = append(all, "ecr:"+a)
		}
	}
	return all
}

// Nearest returns the action with the smallest distance from the given action; "" if there is none.
func Nearest(action string, actions []string) string {
	best, least := "", -1
	for _, known := range actions {
		if d := distance(strings.ToLower(action), strings.ToLower(known)); least < 0 || d < least {
			best, least = known, d
		}
	}
	return best
}

// distance returns the cost of turning a into b: 1 for each inserted byte, because people shorten names, and 2 for each
// deleted or replaced byte.
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
