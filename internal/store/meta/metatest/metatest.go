// Package metatest is the test suite for meta.Store on every database.
package metatest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Run tests the store's methods, the rules that concurrent requests could break, and paging. open returns a new empty
// store for each call; its clock may be frozen.
func Run(t *testing.T, open func(t *testing.T) *meta.Store) {
	for _, c := range []struct {
		name string
		test func(*Fixture)
	}{
		{"Backfills", testBackfills},
		{"Usage", testUsage},
		{"Replace", testReplace},
		{"ReplicationRules", testReplicationRules},
		{"CopyImage", testCopyImage},
		{"Integrations", testIntegrations},
		{"Objects", testObjects},
		{"IssuerKeys", testIssuerKeys},
		{"ConfigRepositories", testConfigRepositories},
		{"Applications", testApplications},
		{"SharedRegistries", testSharedRegistries},
		{"ApplicationHosts", testApplicationHosts},
		{"Releases", testReleases},
		{"Charts", testCharts},
		{"Instances", testInstances},
		{"Customers", testCustomers},
		{"Entitlements", testEntitlements},
		{"Reports", testReports},
		{"ReportedRepositories", testReportedRepositories},
		{"Deployments", testDeployments},
		{"OutsideCopies", testOutsideCopies},
		{"Sends", testSends},
		{"Jobs", testJobs},
		{"JobAgain", testJobAgain},
		{"JobLeaseEnds", testJobLeaseEnds},
		{"CancelJob", testCancelJob},
		{"JobTurns", testJobTurns},
		{"JobRace", testJobRace},
		{"JobList", testJobList},
		{"Schedule", testSchedule},
		{"Events", testEvents},
		{"AttachedEvents", testAttachedEvents},
		{"DeleteEvents", testDeleteEvents},
		{"Webhooks", testWebhooks},
		{"Deliveries", testDeliveries},
		{"DeadDeliveries", testDeadDeliveries},
		{"DeleteAccountEvents", testDeleteAccountEvents},
		{"Lifecycle", testLifecycle},
		{"LifecycleGeneration", testGeneration},
		{"LifecycleImages", testLifecycleImages},
		{"ExpireImages", testExpireImages},
		{"ExpireImagesRefuses", testExpireRefuses},
		{"LifecyclePreview", testPreview},
		{"LifecycleGoes", testLifecycleGoes},
		{"Pins", testPins},
		{"ImageUses", testImageUses},
		{"Accounts", testAccounts},
		{"RegistriesInUse", testRegistriesInUse},
		{"DeleteAccount", testDeleteAccount},
		{"AccessKeys", testAccessKeys},
		{"AccessKeyLimitRace", testAccessKeyLimitRace},
		{"Tokens", testTokens},
		{"RevokeTokens", testRevokeTokens},
		{"Settings", testSettings},
		{"Repositories", testRepositories},
		{"RepositoryAgain", testRepositoryAgain},
		{"RepositoryRace", testRepositoryRace},
		{"RepositoryDeleted", testRepositoryDeleted},
		{"RestoreRepository", testRestoreRepository},
		{"RepositorySettings", testRepositorySettings},
		{"ResourceTags", testResourceTags},
		{"ResourceTagRace", testResourceTagRace},
		{"PlaceholdersOutOfOrder", testPlaceholders},
		{"Texts", testTexts},
		{"Blobs", testBlobs},
		{"Holders", testHolders},
		{"Uploads", testUploads},
		{"UploadRace", testUploadRace},
		{"MountDuringDelete", testMountDuringDelete},
		{"PutImage", testPutImage},
		{"PutImageRefuses", testPutImageRefuses},
		{"RefuseSame", testRefuseSame},
		{"Index", testIndex},
		{"IndexDepth", testIndexDepth},
		{"SparseIndex", testSparseIndex},
		{"TagsLeadingTo", testTagsLeadingTo},
		{"SomeTagsLeadingTo", testSomeTagsLeadingTo},
		{"Quotas", testQuotas},
		{"Mutability", testMutability},
		{"ImmutableTagRace", testImmutableTagRace},
		{"TagRaceHistory", testTagRaceHistory},
		{"CollectImage", testCollectImage},
		{"CollectRestored", testCollectRestored},
		{"CollectUnused", testCollectUnused},
		{"CollectRepository", testCollectRepository},
		{"CollectLargeImage", testCollectLargeImage},
		{"CollectDuringPush", testCollectDuringPush},
		{"CollectAccount", testCollectAccount},
		{"Collectable", testCollectable},
		{"CollectKeepsExternalLayers", testCollectKeepsExternalLayers},
		{"PrepareCollection", testPrepareCollection},
		{"Referrers", testReferrers},
		{"Pulled", testPulled},
		{"DeleteImage", testDeleteImage},
		{"DeleteTag", testDeleteTag},
		{"LastTagRace", testLastTagRace},
		{"DeleteReferenced", testDeleteReferenced},
		{"DeleteDuringPush", testDeleteDuringPush},
		{"DeleteChildDuringIndexPush", testDeleteChildDuringIndexPush},
		{"Restore", testRestore},
		{"HistoryOfEveryMove", testHistory},
		{"PagesOfRepositories", testRepositoryPages},
		{"PagesOfTags", testTagPages},
		{"PagesOfImages", testImagePages},
		{"PagesOfImageIDs", testImageIDPages},
		{"PagesOfReferrers", testReferrerPages},
		{"PagesOfHistory", testHistoryPages},
		{"Isolation", testIsolation},
		{"Entities", testEntities},
		{"EntityTexts", testEntityTexts},
		{"PagesOfEntities", testEntityPages},
		{"UpdateEntity", testUpdateEntity},
		{"DeleteEntity", testDeleteEntity},
		{"EntityDeleted", testEntityDeleted},
		{"EntityNameRace", testEntityNameRace},
		{"EntityTags", testEntityTags},
		{"EntityTagRace", testEntityTagRace},
		{"InlinePolicies", testInlinePolicies},
		{"Attachments", testAttachments},
		{"AttachedTo", testAttachedTo},
		{"AttachRace", testAttachRace},
		{"PolicyVersions", testPolicyVersions},
		{"PolicyVersionRace", testPolicyVersionRace},
		{"Members", testMembers},
		{"MemberRace", testMemberRace},
		{"Sessions", testSessions},
		{"LoginProfiles", testLoginProfiles},
		{"CacheRules", testCacheRules},
		{"CacheFetches", testCacheFetches},
		{"Secrets", testSecrets},
		{"CachedImages", testCachedImages},
		{"RowQuotas", testRowQuotas},
		{"RowQuotaRace", testRowQuotaRace},
		{"StorageQuotas", testStorageQuotas},
		{"UsageHistory", testUsageHistory},
		{"UsageOfNames", testUsageOf},
		{"ReleasedBytes", testReleasedBytes},
		{"ImagePulls", testImagePulls},
		{"CacheCounts", testCacheCounts},
		{"RepositoryAndTagOrders", testOrders},
		{"Waiting", testWaiting},
		{"StorageQuotaRace", testStorageQuotaRace},
		{"Uses", testUses},
		{"Aliases", testAliases},
		{"RegistryPolicies", testRegistryPolicies},
		{"ControlPolicies", testControlPolicies},
		{"IdentityGeneration", testIdentityGeneration},
		{"ConsoleSessions", testConsoleSessions},
		{"DeleteAccountIdentity", testDeleteAccountIdentity},
		{"ResourceTagsAgain", testResourceTagsAgain},
		{"ReplacePolicy", testReplacePolicy},
		{"Templates", testTemplates},
		{"PagesOfTemplates", testTemplatePages},
		{"TemplateFor", testTemplateFor},
		{"CreateByTemplate", testCreateByTemplate},
		{"TemplateRaces", testTemplateRaces},
		{"TemplateEvents", testTemplateEvents},
		{"TemplatesOfDeletedAccount", testTemplatesOfDeletedAccount},
		{"PullExclusions", testPullExclusions},
		{"Protection", testProtection},
		{"ProtectionRace", testProtectionRace},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(NewFixture(t, open(t)))
		})
	}
}

// race calls fn n times concurrently, with 0 to n-1, and returns the number of successful calls. The others must fail
// with code.
func race(fx *Fixture, n int, code fault.Code, fn func(i int) error) int {
	fx.Helper()
	var won atomic.Int32
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			err := fn(i)
			if err == nil {
				won.Add(1)
			} else {
				fx.Want(err, code, "call %d of the race", i)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

// both calls two functions concurrently, exactly one of which must succeed; codes are the allowed errors of the
// other.
func both(fx *Fixture, what string, codes []fault.Code, one, two func() error) {
	fx.Helper()
	calls := []func() error{one, two}
	errs := make([]error, len(calls))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i, call := range calls {
		wg.Go(func() {
			<-start
			errs[i] = call()
		})
	}
	close(start)
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		fx.Errorf("%s: got %v and %v, want one to succeed", what, errs[0], errs[1])
	}
	for i, err := range errs {
		if err != nil {
			fx.Want(err, codes[i], "%s: call %d", what, i)
		}
	}
}
