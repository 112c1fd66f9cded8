package metatest

import (
	"strconv"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// An integration is stored, changed, found by its name and destination, and keeps its destination while a rule
// uses it.
func testIntegrations(fx *Fixture) {
	account(fx, other)
	west := name.Registry{Account: other, Region: london}
	in := meta.Integration{Account: Account, Name: "far", Kind: "OCI", Settings: `{"host":"x.invalid"}`, Scope: []string{"a", "b"},
		Sealed: []byte{0, 1}, Serves: west, CreatedBy: "arn"}
	made, err := fx.CreateIntegration(fx.Ctx, in, 3)
	fx.Must(err)
	got, err := fx.Integration(fx.Ctx, Account, "far")
	fx.Must(err)
	fx.Equal(got, made, "the stored integration")
	for what, find := range map[string]func() (meta.Integration, error){
		"by its id":          func() (meta.Integration, error) { return fx.IntegrationByID(fx.Ctx, made.ID) },
		"by its destination": func() (meta.Integration, error) { return fx.IntegrationFor(fx.Ctx, Account, west) },
	} {
		if got, err := find(); err != nil || got.Name != "far" {
			fx.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	_, err = fx.IntegrationFor(fx.Ctx, other, west)
	fx.Want(err, fault.IntegrationNotFound, "the destination for another account")
	_, err = fx.Integration(fx.Ctx, other, "far")
	fx.Want(err, fault.IntegrationNotFound, "the name in another account")
	_, err = fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: "far", Sealed: []byte{}}, 3)
	fx.Want(err, fault.IntegrationAlreadyExists, "the name again")
	_, err = fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: "second", Serves: west, Sealed: []byte{}}, 3)
	fx.Want(err, fault.IntegrationAlreadyExists, "the destination again")
	_, err = fx.CreateIntegration(fx.Ctx, meta.Integration{Account: nowhere, Name: "far", Sealed: []byte{}}, 3)
	fx.Want(err, fault.AccountNotFound, "an unknown account")
	for i := range 2 {
		_, err = fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: "a" + strconv.Itoa(i), Sealed: []byte{}}, 3)
		fx.Must(err)
	}
	_, err = fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: "more", Sealed: []byte{}}, 3)
	fx.Want(err, fault.LimitExceeded, "more than the limit")
	all, err := fx.Integrations(fx.Ctx, Account)
	fx.Must(err)
	if len(all) != 3 || all[0].Name != "a0" || all[2].Name != "far" {
		fx.Errorf("the integrations: got %+v, want a0, a1, far", all)
	}

	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, []meta.ReplicationRule{{Destinations: []name.Registry{west}}}))
	fx.Want(fx.DeleteIntegration(fx.Ctx, made), fault.IntegrationInUse, "deleting what a rule uses")
	moved := made
	moved.Serves = name.Registry{}
	_, err = fx.UpdateIntegration(fx.Ctx, moved)
	fx.Want(err, fault.IntegrationInUse, "taking away what a rule uses")
	changed := made
	changed.Settings, changed.Sealed, changed.Scope = `{"host":"y.invalid"}`, []byte{2}, nil
	fx.Must(fx.IntegrationTested(fx.Ctx, made, "broken", true))
	if got, err = fx.Integration(fx.Ctx, Account, "far"); err != nil || got.Error != "broken" || got.TestedAt.IsZero() {
		fx.Errorf("after a test: got %+v, %v", got, err)
	}
	after, err := fx.UpdateIntegration(fx.Ctx, changed)
	fx.Must(err)
	if got, err = fx.Integration(fx.Ctx, Account, "far"); err != nil || got.Error != "" || got.Settings != changed.Settings ||
		len(got.Scope) != 0 || got.Version == made.Version || got.Version != after.Version {
		fx.Errorf("after a change: got %+v, %v", got, err)
	}
	_, err = fx.UpdateIntegration(fx.Ctx, changed)
	fx.Want(err, fault.TargetChanged, "a change of what has changed")
	fx.Must(fx.IntegrationTested(fx.Ctx, made, "late", false)) // of the version before
	if got, err = fx.Integration(fx.Ctx, Account, "far"); err != nil || got.Error != "" {
		fx.Errorf("after the result of an old version: got %q, %v", got.Error, err)
	}
	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, nil))
	fx.Must(fx.DeleteIntegration(fx.Ctx, made))
	fx.Want(fx.DeleteIntegration(fx.Ctx, made), fault.IntegrationNotFound, "deleting again")
	_, err = fx.UpdateIntegration(fx.Ctx, after)
	fx.Want(err, fault.IntegrationNotFound, "changing what is deleted")
}

// A push to a destination for which an integration stands waits for the job of the integration; its end is recorded only for the version
// that was sent; deleting the integration ends it.
func testOutsideCopies(fx *Fixture) {
	west := name.Registry{Account: other, Region: london}
	i, err := fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: "far", Kind: "OCI", Sealed: []byte{}, Serves: west}, 0)
	fx.Must(err)
	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, []meta.ReplicationRule{{Destinations: []name.Registry{west}}}))
	r := fx.Repo("team/app")
	im := fx.Image(r, "x", "v1")
	all, err := fx.Jobs(fx.Ctx, Account.String(), 0, 10)
	fx.Must(err)
	if len(all) != 1 || all[0].Kind != meta.OutsideKind || all[0].Key != strconv.FormatInt(i.ID, 10) {
		fx.Fatalf("the jobs of a push: got %+v, want the one of the integration", all)
	}
	due := func() []meta.OutsideCopy {
		fx.Helper()
		all, err := fx.OutsideCopies(fx.Ctx, i.ID, 10)
		fx.Must(err)
		return all
	}
	state := func() meta.Replication {
		fx.Helper()
		all, err := fx.Replications(fx.Ctx, r.ID, im.Digest)
		fx.Must(err)
		if len(all) != 1 {
			fx.Fatalf("the replications: got %+v, want one", all)
		}
		return all[0]
	}
	first := due()
	if len(first) != 1 || first[0].Input.Digest != im.Digest.String() || state().State != meta.ReplicationStarted {
		fx.Fatalf("what waits: got %+v", first)
	}
	waiting, err := fx.OutsideWaiting(fx.Ctx)
	fx.Must(err)
	if !waiting["OCI"].Equal(first[0].Since) {
		fx.Errorf("since when the oldest waits: got %v, want %v", waiting, first[0].Since)
	}
	fx.Must(fx.CopyOutside(fx.Ctx, r, first[0].Input, i.ID)) // a later push
	fx.Must(fx.OutsideCopied(fx.Ctx, first[0], r, im.Digest, nil))
	fx.Must(fx.OutsideFailed(fx.Ctx, first[0], r, im.Digest, "Old", time.Time{}))
	second := due()
	if len(second) != 1 || second[0].Version == first[0].Version || state().State != meta.ReplicationStarted {
		fx.Errorf("after the end of the copy before: got %+v, %+v, want it to wait", second, state())
	}
	later := second[0].Since.Add(time.Hour)
	fx.Must(fx.OutsideFailed(fx.Ctx, second[0], r, im.Digest, "Code", later))
	if got := state(); got.State != meta.ReplicationFailed || got.Code != "Code" || len(due()) != 0 {
		fx.Errorf("after a failure: got %+v and %d due copies", got, len(due()))
	}
	if next, err := fx.NextOutsideCopy(fx.Ctx, i.ID); err != nil || !next.Equal(later) {
		fx.Errorf("when the next copy is due: got %s, %v, want %s", next, err, later)
	}
	fx.Must(fx.OutsideCopied(fx.Ctx, second[0], r, im.Digest, nil))
	if next, err := fx.NextOutsideCopy(fx.Ctx, i.ID); err != nil || !next.IsZero() || state().State != meta.ReplicationComplete {
		fx.Errorf("after the copy: got %s, %v, %+v", next, err, state())
	}
	fx.Must(fx.CopyOutside(fx.Ctx, r, second[0].Input, i.ID))
	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, nil))
	fx.Must(fx.DeleteIntegration(fx.Ctx, i))
	if got := state(); got.State != meta.ReplicationFailed || got.Code != "IntegrationDeleted" {
		fx.Errorf("after the end of the integration: got %+v", got)
	}
}

// A copy that a client asks for is one job as long as it is live, and those of an account are limited.
func testSends(fx *Fixture) {
	one := meta.SendInput{Integration: 1, Repository: 2, Digest: "sha256:x", To: "app", Tags: []string{"v1"}}
	id, err := fx.StartSend(fx.Ctx, Account, one, 2)
	fx.Must(err)
	two := one
	two.To = "other"
	second, err := fx.StartSend(fx.Ctx, Account, two, 2)
	fx.Must(err)
	again, err := fx.StartSend(fx.Ctx, Account, one, 2)
	if fx.Must(err); again != id || second == id {
		fx.Errorf("the jobs: got %d, %d and %d for the first again", id, second, again)
	}
	three := one
	three.Tags = nil
	_, err = fx.StartSend(fx.Ctx, Account, three, 2)
	fx.Want(err, fault.LimitExceeded, "a third copy of an account that may have two")
	_, err = fx.StartSend(fx.Ctx, other, three, 2)
	fx.Must(err)
	leased, _, err := fx.LeaseJobs(fx.Ctx, meta.SendKind, "", 1, time.Minute)
	fx.Must(err)
	if len(leased) != 1 || leased[0].ID != id {
		fx.Fatalf("the due job: got %+v, want %d", leased, id)
	}
	_, err = fx.StartSend(fx.Ctx, Account, one, 2) // while it runs: once more
	fx.Must(err)
	fx.Must(fx.EndJob(fx.Ctx, leased[0], meta.JobEnd{State: meta.JobDone}))
	if j, err := fx.Job(fx.Ctx, id); err != nil || j.State != meta.JobQueued {
		fx.Errorf("after the first run of two: got %+v, %v, want it queued", j, err)
	}
	_, err = fx.CancelJob(fx.Ctx, id)
	fx.Must(err)
	next, err := fx.StartSend(fx.Ctx, Account, one, 2)
	if fx.Must(err); next == id {
		fx.Errorf("a copy after one that was canceled: got the same job")
	}
}
