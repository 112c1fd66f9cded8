package metatest

import (
	"fmt"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// testRowQuotas checks the quotas of uploads, tokens and sessions: they count the rows of a key that have not
// expired, whatever the principal in the row is, and deleted rows make room at once.
func testRowQuotas(fx *Fixture) {
	r, second := fx.Repo("team/app"), fx.Repo("team/second")
	mallory, alice := meta.Quota{Key: "AROAMALLORY", Max: 3}, meta.Quota{Key: "AIDAALICE", Max: 3}
	upload := func(r meta.Repository, q meta.Quota, id string, maxOfRepository int) error {
		return fx.PutUpload(fx.Ctx, r, meta.Upload{ID: id, Principal: q.Key + ":" + id, StartedAt: monday}, q, maxOfRepository)
	}
	for i := range 3 {
		fx.Must(upload([]meta.Repository{r, second}[i%2], mallory, fmt.Sprint("u", i), 0))
	}
	for range 2 {
		fx.Want(upload(second, mallory, "u3", 0), fault.QuotaExceeded, "a fourth upload of three")
		_, err := fx.Upload(fx.Ctx, second.ID, "u3")
		fx.Want(err, fault.UploadNotFound, "the refused upload")
	}
	fx.Must(upload(second, alice, "a0", 0))
	fx.Must(fx.DeleteUpload(fx.Ctx, "u0"))
	fx.Must(upload(r, mallory, "u3", 0))
	fx.Want(upload(r, mallory, "u4", 0), fault.QuotaExceeded, "an upload after the room of a cancelled one was taken")
	_, err := fx.AddBlob(fx.Ctx, r, blob.Info{Digest: Digest("layer"), Size: 10}, "u2")
	fx.Must(err)
	fx.Must(upload(r, mallory, "u4", 0))

	fx.Want(upload(r, alice, "a1", 2), fault.QuotaExceeded, "a third upload of a repository for two") // u3 and u4
	fx.Must(upload(second, alice, "a1", 3))                                                           // after a0 and u1
	fx.Want(upload(second, alice, "a2", 3), fault.QuotaExceeded, "a fourth upload of a repository for three")
	fx.Must(fx.DeleteRepository(fx.Ctx, r, true))
	third := fx.Repo("team/third")
	fx.Must(upload(third, mallory, "u5", 2)) // after u1
	fx.Must(upload(third, alice, "a2", 2))

	token := func(q meta.Quota, id string, at, end time.Time) error {
		return fx.PutToken(fx.Ctx, meta.Token{ID: id, Account: Account, Principal: id, Region: london, IssuedAt: at, ExpiresAt: end}, q)
	}
	put := func(q meta.Quota, id string, at, end time.Time) error {
		v := session(id, at)
		v.ExpiresAt = end
		return fx.PutSession(fx.Ctx, v, q)
	}
	for what, put := range map[string]func(q meta.Quota, id string, at, end time.Time) error{"token": token, "session": put} {
		for i := range 3 {
			fx.Must(put(mallory, fmt.Sprint(what, i), monday, monday.Add(time.Duration(i+1)*time.Hour)))
		}
		fx.Want(put(mallory, "more", monday, monday.Add(time.Hour)), fault.QuotaExceeded, "a fourth %s of three", what)
		fx.Must(put(alice, what+" of alice", monday, monday.Add(9*time.Hour)))
		n, err := fx.DeleteExpired(fx.Ctx, monday.Add(26*time.Hour), 10)
		fx.Must(err)
		fx.Equal(n > 0, true, "%ss that were deleted", what)
		fx.Must(put(mallory, what+" after", monday, monday.Add(9*time.Hour)))

		bob := meta.Quota{Key: "AROABOB", Max: 3}
		for i := range 5 { // the first two have expired before the fourth and the fifth
			at := monday.Add(time.Duration(i) * time.Hour)
			fx.Must(put(bob, fmt.Sprint(what, " of bob ", i), at, at.Add(150*time.Minute)))
		}
		at := monday.Add(4 * time.Hour)
		fx.Want(put(bob, "another", at, at.Add(time.Hour)), fault.QuotaExceeded, "a fourth %s of three that have not expired", what)
	}
}

func testRowQuotaRace(fx *Fixture) {
	r := fx.Repo("team/app")
	q := meta.Quota{Key: "AROAMALLORY", Max: 5}
	won := race(fx, 20, fault.QuotaExceeded, func(i int) error {
		return fx.PutUpload(fx.Ctx, r, meta.Upload{ID: fmt.Sprint("u", i), StartedAt: monday}, q, 100)
	})
	fx.Equal(won, 5, "acknowledged uploads within the quota of the principal")
	won = race(fx, 20, fault.QuotaExceeded, func(i int) error {
		q := meta.Quota{Key: fmt.Sprint("AIDA", i), Max: 5}
		return fx.PutUpload(fx.Ctx, r, meta.Upload{ID: fmt.Sprint("v", i), StartedAt: monday}, q, 12)
	})
	fx.Equal(won, 7, "further uploads within the quota of the repository")
}
