package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

func testConsoleSessions(fx *Fixture) {
	made := func(n int, principal string) meta.ConsoleSession {
		at := monday.Add(time.Duration(n) * time.Minute)
		c := meta.ConsoleSession{Hash: fmt.Sprint("hash", n), ID: fmt.Sprint("id", n), Principal: principal, AccessKey: "AKIAX", Proof: "p",
			CreatedAt: at, UsedAt: at, EndsAt: at.Add(12 * time.Hour), Address: "192.0.2.1", Agent: "browser"}
		fx.Must(fx.PutConsoleSession(fx.Ctx, c, 3))
		return c
	}
	_, err := fx.ConsoleSession(fx.Ctx, "hash1")
	fx.Want(err, fault.ObjectNotFound, "a session before it is made")
	other := made(0, "AIDAOTHER")
	var all []meta.ConsoleSession
	for n := 1; n <= 4; n++ {
		all = append(all, made(n, "AIDAX"))
	}
	_, err = fx.ConsoleSession(fx.Ctx, all[0].Hash)
	fx.Want(err, fault.ObjectNotFound, "the first of four sessions where three may be")
	for _, want := range append(all[1:], other) {
		got, err := fx.ConsoleSession(fx.Ctx, want.Hash)
		fx.Must(err)
		fx.Equal(got, want, "session %s", want.ID)
	}

	// The one that was not used for longest makes room, not the oldest.
	used := monday.Add(time.Hour)
	fx.Must(fx.ConsoleSessionUsed(fx.Ctx, all[1].Hash, used))
	fx.Must(fx.ConsoleSessionUsed(fx.Ctx, all[1].Hash, monday)) // an earlier use changes nothing
	fx.Must(fx.ConsoleSessionUsed(fx.Ctx, "none", used))
	all[1].UsedAt = used
	fifth := made(5, "AIDAX")
	got, err := fx.ConsoleSessions(fx.Ctx, "AIDAX")
	fx.Must(err)
	fx.Equal(got, []meta.ConsoleSession{all[1], fifth, all[3]}, "the sessions of a principal")

	fx.Must(fx.SwitchConsoleSession(fx.Ctx, fifth.Hash, "ASIAROLE"))
	fx.Want(fx.SwitchConsoleSession(fx.Ctx, "none", "ASIAROLE"), fault.ObjectNotFound, "switching a session that has ended")
	one, err := fx.ConsoleSession(fx.Ctx, fifth.Hash)
	fx.Must(err)
	fx.Equal(one.Switched, "ASIAROLE", "the role")

	fx.Want(fx.DeleteConsoleSession(fx.Ctx, "AIDAOTHER", fifth.ID), fault.ObjectNotFound, "ending a session of another principal")
	fx.Must(fx.DeleteConsoleSession(fx.Ctx, "AIDAX", fifth.ID))
	_, err = fx.ConsoleSession(fx.Ctx, fifth.Hash)
	fx.Want(err, fault.ObjectNotFound, "a session after its end")

	n, err := fx.DeleteExpired(fx.Ctx, other.EndsAt.Add(time.Hour), 10)
	fx.Must(err)
	fx.Equal(n, 0, "sessions deleted an hour after their end")
	for want := range 2 { // the newest of the others stays
		n, err = fx.DeleteExpired(fx.Ctx, all[1].EndsAt.Add(time.Hour+time.Microsecond), 1)
		fx.Must(err)
		fx.Equal(n, 1, "sessions deleted, the time %d", want)
	}
}
