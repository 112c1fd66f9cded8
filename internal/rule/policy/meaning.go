package policy

import "strings"

// Level is how far an action goes, as the service authorization reference of AWS classifies actions.
type Level string

// The levels.
const (
	LevelList        Level = "List"
	LevelRead        Level = "Read"
	LevelWrite       Level = "Write"
	LevelPermissions Level = "Permissions management"
	LevelTagging     Level = "Tagging"
)

// Meaning says what an action of ECR allows.
type Meaning struct {
	Action       string // such as ecr:PutImage
	Level        Level
	Text         string // what its holder can do, a sentence
	OnRepository bool   // a statement can name repositories; otherwise its resource is *
}

// MeaningOf returns the meaning of an action of ECR, in whatever case it is written; ok is false for another action and for a pattern.
func MeaningOf(action string) (m Meaning, ok bool) {
	for _, known := range Actions() {
		if strings.EqualFold(known, action) {
			return meaning(known), true
		}
	}
	return m, false
}

// Meanings returns those of all actions of ECR, in the order of [Actions].
func Meanings() []Meaning {
	var all []Meaning
	for _, a := range Actions() {
		all = append(all, meaning(a))
	}
	return all
}

func meaning(action string) Meaning {
	short := strings.TrimPrefix(action, "ecr:")
	m := meanings[short]
	m.Action = action
	for _, a := range repositoryActions {
		m.OnRepository = m.OnRepository || a == short
	}
	return m
}

// meanings are in the words of ecrin; levels are those of the service authorization reference of ECR.
var meanings = map[string]Meaning{
	"BatchCheckLayerAvailability": {Level: LevelRead,
		Text: "Ask which layers a repository has. Clients ask before they push, so as not to send a layer twice, " +
			"and some before they pull."},
	"BatchDeleteImage": {Level: LevelWrite, Text: "Delete images, or take tags from them. ecrin keeps what was deleted for a while."},
	"BatchGetImage": {Level: LevelRead,
		Text: "Read manifests of images by tag or digest: the first half of a pull, and what a referrer of an image is read by."},
	"BatchGetRepositoryScanningConfiguration": {Level: LevelRead, Text: "Read when images of repositories are to be scanned."},
	"BatchImportUpstreamImage": {Level: LevelWrite,
		Text: "Have an image fetched from another registry by a pull-through cache rule, at its first pull."},
	"CompleteLayerUpload": {Level: LevelWrite, Text: "End the upload of a layer, after which the repository has it."},
	"CreateRepository": {Level: LevelWrite,
		Text: "Create a repository, also by the first push or pull under a name for which a creation template or a cache rule applies."},
	"DeleteLifecyclePolicy": {Level: LevelWrite, Text: "Remove the lifecycle policy of a repository, after which nothing expires."},
	"DeleteRepository":      {Level: LevelWrite, Text: "Delete a repository, with force also one that has images."},
	"DeleteRepositoryPolicy": {Level: LevelPermissions,
		Text: "Remove the policy of a repository, after which only principals of its own account reach it."},
	"DescribeImageReplicationStatus": {Level: LevelRead, Text: "Read to where an image was copied, and where a copy has failed."},
	"DescribeImageScanFindings":      {Level: LevelRead, Text: "Read what a scan has found in an image. ecrin does not scan."},
	"DescribeImageSigningStatus":     {Level: LevelRead, Text: "Read whether an image was signed after its push. ecrin does not sign."},
	"DescribeImages": {Level: LevelRead,
		Text: "Read what images of a repository are: tags, digests, sizes, times of push and pull."},
	"DescribeRepositories": {Level: LevelRead, Text: "Read what repositories are: names, URIs, whether tags can move."},
	"GetDownloadUrlForLayer": {Level: LevelRead,
		Text: "Read layers and configurations: the second half of a pull."},
	"GetImageCopyStatus": {Level: LevelRead, Text: "Read how far the copy of an image between two registries of ECR has come."},
	"GetLifecyclePolicy": {Level: LevelRead, Text: "Read the lifecycle policy of a repository."},
	"GetLifecyclePolicyPreview": {Level: LevelRead,
		Text: "Read which images a lifecycle policy would expire, after its preview was started."},
	"GetRepositoryPolicy": {Level: LevelRead, Text: "Read the policy of a repository."},
	"InitiateLayerUpload": {Level: LevelWrite,
		Text: "Begin to upload a layer: the first action of a push that sends something."},
	"ListImages":          {Level: LevelList, Text: "List the tags and digests of a repository, as docker's list of tags does."},
	"ListTagsForResource": {Level: LevelRead, Text: "Read the tags of a repository, the keys and values that policies can test."},
	"PutImage": {Level: LevelWrite,
		Text: "Store the manifest of an image, and have a tag point to it: the last action of a push. It moves tags that can move."},
	"PutImageScanningConfiguration": {Level: LevelWrite, Text: "Set whether images of a repository are to be scanned at their push."},
	"PutImageTagMutability":         {Level: LevelWrite, Text: "Set whether a push can have a tag point to another image."},
	"PutLifecyclePolicy": {Level: LevelWrite,
		Text: "Store the lifecycle policy of a repository, by which images expire without a further request."},
	"ReplicateImage": {Level: LevelWrite,
		Text: "Copy images from another account to this registry. Registry policies allow it to accounts, never to people."},
	"SetRepositoryPolicy": {Level: LevelPermissions,
		Text: "Store the policy of a repository, and so decide who reaches it, from any account."},
	"StartImageScan": {Level: LevelWrite, Text: "Have an image scanned. ecrin does not scan."},
	"StartLifecyclePolicyPreview": {Level: LevelWrite,
		Text: "Find out which images a lifecycle policy would expire. Nothing is deleted."},
	"TagResource": {Level: LevelTagging, Text: "Set tags of a repository, the keys and values that policies can test."},
	"UntagResource": {Level: LevelTagging,
		Text: "Remove tags of a repository, the keys and values that policies can test."},
	"UpdateImageStorageClass": {Level: LevelWrite, Text: "Move an image to the archive or back. ecrin has one storage class."},
	"UploadLayerPart":         {Level: LevelWrite, Text: "Send a part of a layer whose upload has begun."},

	"CreatePullThroughCacheRule": {Level: LevelWrite,
		Text: "Add a rule by which names with a prefix are fetched from another registry."},
	"CreateRepositoryCreationTemplate": {Level: LevelWrite,
		Text: "Add a template with the settings of repositories that are created by themselves."},
	"DeletePullThroughCacheRule":       {Level: LevelWrite, Text: "Remove a pull-through cache rule. What it has fetched stays."},
	"DeleteRegistryPolicy":             {Level: LevelPermissions, Text: "Remove the policy of the registry."},
	"DeleteRepositoryCreationTemplate": {Level: LevelWrite, Text: "Remove a repository creation template."},
	"DeleteSigningConfiguration": {Level: LevelWrite,
		Text: "Remove the rules by which images are signed after their push. ecrin does not sign."},
	"DeregisterPullTimeUpdateExclusion": {Level: LevelWrite,
		Text: "Have the pulls of a principal count again for the last pull of an image."},
	"DescribePullThroughCacheRules": {Level: LevelRead, Text: "Read the pull-through cache rules of the registry."},
	"DescribeRegistry": {Level: LevelRead,
		Text: "Read the settings of the registry, its replication rules among them."},
	"DescribeReplicationBackfillResults":  {Level: LevelRead, Text: "Read what a backfill has copied, image by image."},
	"DescribeRepositoryCreationTemplates": {Level: LevelRead, Text: "Read the repository creation templates of the registry."},
	"GetAccountSetting":                   {Level: LevelRead, Text: "Read a setting of the account."},
	"GetAuthorizationToken": {Level: LevelRead,
		Text: "Log in: get a token of twelve hours for docker and its like. Each pull and push with a token needs " +
			"it, and only an identity policy gives it."},
	"GetRegistryPolicy":                {Level: LevelRead, Text: "Read the policy of the registry."},
	"GetRegistryScanningConfiguration": {Level: LevelRead, Text: "Read by which rules images of the registry are to be scanned."},
	"GetSigningConfiguration": {Level: LevelRead,
		Text: "Read the rules by which images are signed after their push. ecrin does not sign."},
	"ListPullTimeUpdateExclusions": {Level: LevelList,
		Text: "List the principals whose pulls do not count for the last pull of an image."},
	"ListReplicationBackfills": {Level: LevelList, Text: "List the backfills of the registry."},
	"PutAccountSetting":        {Level: LevelWrite, Text: "Change a setting of the account."},
	"PutRegistryPolicy": {Level: LevelPermissions,
		Text: "Store the policy of the registry, which can let other accounts copy images to it and fetch through its cache rules."},
	"PutRegistryScanningConfiguration": {Level: LevelWrite, Text: "Store the rules by which images of the registry are to be scanned."},
	"PutReplicationConfiguration": {Level: LevelWrite,
		Text: "Store the rules by which images are copied to other regions and accounts."},
	"PutSigningConfiguration": {Level: LevelWrite,
		Text: "Store the rules by which images are signed after their push. ecrin does not sign."},
	"RegisterPullTimeUpdateExclusion": {Level: LevelWrite,
		Text: "Have the pulls of a principal, such as a scanner, not count for the last pull of an image."},
	"StartReplicationBackfill":         {Level: LevelWrite, Text: "Copy images that were there before a replication rule."},
	"StopReplicationBackfill":          {Level: LevelWrite, Text: "End a backfill before it has copied everything."},
	"UpdatePullThroughCacheRule":       {Level: LevelWrite, Text: "Change the credential of a pull-through cache rule."},
	"UpdateRepositoryCreationTemplate": {Level: LevelWrite, Text: "Change a repository creation template."},
	"ValidatePullThroughCacheRule":     {Level: LevelRead, Text: "Find out whether the credential of a pull-through cache rule works."},
}
