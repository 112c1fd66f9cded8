package metatest

import (
	"errors"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// testConfigRepositories: a configuration repository is stored once and changed only with its version, its state only with its turn; each
// change of what is kept in it queues one job.
func testConfigRepositories(fx *Fixture) {
	jobs := func(want int, what string) {
		fx.Helper()
		all, _, err := fx.LeaseJobs(fx.Ctx, meta.ConfigRepositoryKind, "", 10, time.Minute)
		fx.Must(err)
		if len(all) != want {
			fx.Errorf("after %s: got %d jobs, want %d", what, len(all), want)
		}
		for _, j := range all {
			if j.Key != Account.String() || j.Account != Account.String() {
				fx.Errorf("after %s: got the job %+v, want one of the account", what, j)
			}
			fx.Must(fx.EndJob(fx.Ctx, j, meta.JobEnd{State: meta.JobDone, Forget: true}))
		}
	}
	i, err := fx.CreateIntegration(fx.Ctx, meta.Integration{Account: Account, Name: "a", Sealed: []byte("x")}, 0)
	fx.Must(err)
	jobs(0, "an integration of an account without repository")
	if _, err := fx.ConfigRepository(fx.Ctx, Account); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("no repository: got %v, want %v", err, fault.ObjectNotFound)
	}
	if _, err := fx.SyncConfigRepository(fx.Ctx, Account); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("no repository: got %v, want %v", err, fault.ObjectNotFound)
	}
	first := meta.ConfigRepository{Account: Account, Settings: `{"a":1}`, Sealed: []byte("x")}
	c, err := fx.PutConfigRepository(fx.Ctx, first)
	fx.Must(err)
	jobs(1, "a new repository")
	if _, err := fx.PutConfigRepository(fx.Ctx, first); !errors.Is(err, fault.TargetChanged) {
		fx.Errorf("a second repository: got %v, want %v", err, fault.TargetChanged)
	}
	old := c
	c.Settings = `{"a":2}`
	c, err = fx.PutConfigRepository(fx.Ctx, c)
	fx.Must(err)
	if c.Turn != old.Turn || c.Wanted <= old.Wanted || c.Version <= old.Version {
		fx.Errorf("a change: got %+v after %+v, want another version, more wanted and the same turn", c, old)
	}
	if _, err := fx.PutConfigRepository(fx.Ctx, old); !errors.Is(err, fault.TargetChanged) {
		fx.Errorf("a change of an old version: got %v, want %v", err, fault.TargetChanged)
	}
	jobs(1, "a change")
	i, err = fx.UpdateIntegration(fx.Ctx, i)
	fx.Must(err)
	jobs(1, "a changed integration")
	_, err = fx.PutObject(fx.Ctx, newObject(meta.KindCloud, "aws"))
	fx.Must(err)
	jobs(1, "a cloud integration")
	fx.Must(fx.DeleteIntegration(fx.Ctx, i))
	jobs(1, "a deleted integration")
	_, err = fx.PutObject(fx.Ctx, newObject(meta.KindRuntime, "west"))
	fx.Must(err)
	jobs(0, "a runtime")
	turn, err := fx.SaveConfigState(fx.Ctx, c, `{"seen":1}`)
	fx.Must(err)
	if _, err := fx.SaveConfigState(fx.Ctx, c, `{"seen":2}`); !errors.Is(err, fault.TargetChanged) {
		fx.Errorf("a state of an old turn: got %v, want %v", err, fault.TargetChanged)
	}
	got, err := fx.ConfigRepository(fx.Ctx, Account)
	if err != nil || got.State != `{"seen":1}` || got.Turn != turn || got.Settings != `{"a":2}` {
		fx.Errorf("got %+v and %v, want the first state", got, err)
	}
	fx.Must(fx.ConfigRepositoryDone(fx.Ctx, got))
	fx.Must(fx.RemoveConfigRepository(fx.Ctx, Account, false))
	jobs(1, "the removal")
	if got, err := fx.ConfigRepository(fx.Ctx, Account); err != nil || !got.Removing {
		fx.Errorf("got %+v and %v, want it to be removed", got, err)
	}
	fx.Must(fx.ConfigRepositoryDone(fx.Ctx, got))
	if _, err := fx.ConfigRepository(fx.Ctx, Account); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("after its end: got %v, want %v", err, fault.ObjectNotFound)
	}
	_, err = fx.PutConfigRepository(fx.Ctx, first)
	fx.Must(err)
	fx.Must(fx.RemoveConfigRepository(fx.Ctx, Account, true))
	if _, err := fx.ConfigRepository(fx.Ctx, Account); !errors.Is(err, fault.ObjectNotFound) {
		fx.Errorf("after a removal that keeps the files: got %v, want %v", err, fault.ObjectNotFound)
	}
}
