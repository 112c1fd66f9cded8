// Package metatest is the suite that meta.Store must pass on every database.
package metatest

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Run checks the store's methods, the rules that concurrent requests could break, and paging. open gives an empty store
// of its own for each call; its clock may stand still.
func Run(t *testing.T, open func(t *testing.T) *meta.Store) {
	for _, c := range []struct {
		name string
		test func(*World)
	}{
		{"Accounts", testAccounts},
		{"DeleteAccount", testDeleteAccount},
		{"AccessKeys", testAccessKeys},
		{"AccessKeyLimitRace", testAccessKeyLimitRace},
		{"Tokens", testTokens},
		{"RevokeTokens", testRevokeTokens},
		{"Settings", testSettings},
		{"Repositories", testRepositories},
		{"RepositoryAgain", testRepositoryAgain},
		{"RepositoryRace", testRepositoryRace},
		{"RepositoryGone", testRepositoryGone},
		{"RepositorySettings", testRepositorySettings},
		{"ResourceTags", testResourceTags},
		{"ResourceTagRace", testResourceTagRace},
		{"PlaceholdersOutOfOrder", testPlaceholders},
		{"Texts", testTexts},
		{"Blobs", testBlobs},
		{"Holders", testHolders},
		{"Uploads", testUploads},
		{"UploadRace", testUploadRace},
		{"MountBesideDelete", testMountBesideDelete},
		{"PutImage", testPutImage},
		{"PutImageRefuses", testPutImageRefuses},
		{"RefuseSame", testRefuseSame},
		{"Index", testIndex},
		{"IndexDepth", testIndexDepth},
		{"Quotas", testQuotas},
		{"Mutability", testMutability},
		{"ImmutableTagRace", testImmutableTagRace},
		{"TagRaceHistory", testTagRaceHistory},
		{"Referrers", testReferrers},
		{"Pulled", testPulled},
		{"DeleteImage", testDeleteImage},
		{"DeleteTag", testDeleteTag},
		{"LastTagRace", testLastTagRace},
		{"DeleteReferenced", testDeleteReferenced},
		{"DeleteBesidePush", testDeleteBesidePush},
		{"ChildBesideIndex", testChildBesideIndex},
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
		{"EntityGone", testEntityGone},
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
		{"Uses", testUses},
		{"Aliases", testAliases},
		{"RegistryPolicies", testRegistryPolicies},
		{"ControlPolicies", testControlPolicies},
		{"IdentityGeneration", testIdentityGeneration},
		{"DeleteAccountIdentity", testDeleteAccountIdentity},
		{"ResourceTagsAgain", testResourceTagsAgain},
		{"ReplacePolicy", testReplacePolicy},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(NewWorld(t, open(t)))
		})
	}
}

// race calls fn n times at once, with 0 to n-1, and counts those that did not fail. The others must fail with code.
func race(w *World, n int, code fault.Code, fn func(i int) error) int {
	w.Helper()
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
				w.Want(err, code, "call %d of the race", i)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

// both calls two functions at once, of which exactly one may succeed; codes are what the other one may say.
func both(w *World, what string, codes []fault.Code, one, two func() error) {
	w.Helper()
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
		w.Errorf("%s: got %v and %v, want one to succeed", what, errs[0], errs[1])
	}
	for i, err := range errs {
		if err != nil {
			w.Want(err, codes[i], "%s: call %d", what, i)
		}
	}
}
