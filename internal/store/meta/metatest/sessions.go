package metatest

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// session is a session that began at a time and lasts an hour.
func session(key string, begin time.Time) meta.Session {
	return meta.Session{
		AccessKey: key, Account: Account, Kind: meta.RoleSession, Principal: "AROAROLE", Name: "build", SealedSecret: []byte{0, 0xff}, IssuedAt: begin, ExpiresAt: begin.Add(time.Hour),
	}
}

func testSessions(w *World) {
	full := session("ASIAFULL", monday)
	full.Policies, full.PolicyARNs, full.Transitive = []string{policyText}, []string{awsPolicy, arn("p")}, []string{"Team"}
	full.Tags, full.Claims, full.Source = map[string]string{"Team": "a", "": "語"}, map[string]string{"token.example:sub": "repo:x"}, "alice"
	user := session("ASIAUSER", monday)
	user.Kind, user.Principal, user.Name = meta.UserSession, Account.String(), ""
	federated := session("ASIAFEDERATED", monday.Add(time.Microsecond))
	federated.Kind, federated.Principal = meta.FederatedSession, "AIDAUSER"
	for _, v := range []meta.Session{full, user, federated} {
		_, err := w.Session(w.Ctx, v.AccessKey)
		w.Want(err, fault.AccessKeyNotFound, "the session %s before it is made", v.AccessKey)
		w.Must(w.PutSession(w.Ctx, v))
		for range 2 { // from the database and from the cache
			got, err := w.Session(w.Ctx, v.AccessKey)
			w.Must(err)
			w.Equal(got, v, "Session %s", v.AccessKey)
		}
	}
	lost := session("ASIALOST", monday)
	lost.Account = nowhere
	w.Want(w.PutSession(w.Ctx, lost), fault.AccountNotFound, "a session of an account that is not there")

	// Sessions are kept for 13 hours after their end, and those that were just read are not kept longer.
	end := full.ExpiresAt
	w.Must(w.PutSession(w.Ctx, session("ASIALATE", end.Add(13*time.Hour))))
	for _, v := range []meta.Session{full, user, federated} {
		_, err := w.Session(w.Ctx, v.AccessKey)
		w.Want(err, 0, "the session %s at 13 hours after its end", v.AccessKey)
	}
	w.Must(w.PutSession(w.Ctx, session("ASIALATER", end.Add(13*time.Hour+time.Microsecond))))
	for _, v := range []meta.Session{full, user} {
		_, err := w.Session(w.Ctx, v.AccessKey)
		w.Want(err, fault.AccessKeyNotFound, "the session %s later", v.AccessKey)
	}
	for _, key := range []string{"ASIAFEDERATED", "ASIALATE", "ASIALATER"} {
		_, err := w.Session(w.Ctx, key)
		w.Want(err, 0, "the session %s", key)
	}
}

func testUses(w *World) {
	role, user := w.entity(meta.Role, "r"), w.entity(meta.User, "u")
	first, second := Key(Account, "AKIA2"), Key(Account, "AKIA1")
	first.Principal, second.Principal = user.ID, user.ID
	for _, k := range []meta.AccessKey{first, second} {
		w.Must(w.PutAccessKey(w.Ctx, k, 2))
	}
	use := meta.Use{At: monday, Region: "eu-west-1", Service: "ecr"}
	check := func(what string, want meta.Use) {
		w.Helper()
		got, err := w.AccessKeysOf(w.Ctx, Account, user.ID)
		w.Must(err)
		used := first
		used.Used = want
		w.Equal(got, []meta.AccessKey{second, used}, "%s: AccessKeysOf the user, in the order of ids for one time", what)
		e, err := w.Entity(w.Ctx, Account, meta.Role, "r")
		w.Must(err)
		w.Equal([]any{e.LastUsedAt, e.LastUsedRegion}, []any{want.At, want.Region}, "%s: the role's last use", what)
	}
	check("at first", meta.Use{})
	w.Must(w.SetUsed(w.Ctx, map[string]meta.Use{first.ID: use, "AKIANONE": use}, map[string]meta.Use{role.ID: use, "AROANONE": use}))
	check("after a use", use)
	before := meta.Use{At: monday.Add(-time.Second), Region: "us-east-1", Service: "sts"}
	w.Must(w.SetUsed(w.Ctx, map[string]meta.Use{first.ID: before}, map[string]meta.Use{role.ID: before}))
	check("after an earlier use that is told later", use)
	_, err := w.UpdateEntity(w.Ctx, role, func(e *meta.Entity) error { e.Description, e.LastUsedRegion = "new", "lost"; return nil })
	w.Must(err)
	check("after a change of the role", use)
	later := meta.Use{At: monday.Add(time.Second), Region: "us-east-1", Service: "sts"}
	w.Must(w.SetUsed(w.Ctx, map[string]meta.Use{first.ID: later}, map[string]meta.Use{role.ID: later}))
	check("after a later use", later)
	w.Must(w.SetUsed(w.Ctx, nil, nil))

	root, err := w.AccessKeysOf(w.Ctx, Account, Account.String())
	w.Must(err)
	w.Equal(root, []meta.AccessKey{Key(Account, "AKIAEXAMPLEEXAMPLE01")}, "AccessKeysOf the root user")
	none, err := w.AccessKeysOf(w.Ctx, other, user.ID)
	w.Must(err)
	w.Equal(len(none), 0, "keys of the user in another account")
}

func testAliases(w *World) {
	account(w, other) // its alias is two
	alias := func() string {
		w.Helper()
		a, err := w.Account(w.Ctx, Account)
		w.Must(err)
		return a.Alias
	}
	w.Must(w.SetAlias(w.Ctx, Account, "one"))
	w.Must(w.SetAlias(w.Ctx, Account, "one"))
	w.Want(w.SetAlias(w.Ctx, Account, "two"), fault.EntityAlreadyExists, "the alias of another account")
	w.Equal(alias(), "one", "after a refusal")
	for i, taken := range []string{"one", "two"} {
		err := w.CreateAccount(w.Ctx, meta.Account{ID: nowhere, Alias: taken}, Key(nowhere, "AKIANOWHERE"))
		w.Want(err, fault.AccountAlreadyExists, "alias %d of another account, for a new one", i)
	}
	_, err := w.Account(w.Ctx, nowhere)
	w.Want(err, fault.AccountNotFound, "an account that was refused for its alias")
	w.Must(w.SetAlias(w.Ctx, other, ""))
	w.Must(w.SetAlias(w.Ctx, Account, "two"))
	w.Equal(alias(), "two", "an alias that is free again")
	w.Want(w.DeleteAlias(w.Ctx, Account, "one"), fault.NoSuchEntity, "deleting an alias that was replaced")
	w.Equal(alias(), "two", "the alias in its place")
	w.Must(w.DeleteAlias(w.Ctx, Account, "two"))
	w.Equal(alias(), "", "no alias, as another account")
	w.Want(w.DeleteAlias(w.Ctx, Account, ""), fault.NoSuchEntity, "deleting no alias")
	w.Must(w.SetAlias(w.Ctx, Account, ""))
	w.Want(w.SetAlias(w.Ctx, nowhere, "three"), fault.AccountNotFound, "an account that is not there")
	w.Equal(race(w, 8, fault.EntityAlreadyExists, func(i int) error {
		id := Account
		if i%2 == 1 {
			id = other
		}
		return w.SetAlias(w.Ctx, id, "same")
	}), 4, "times that the account which was first got it")
	all, err := w.Accounts(w.Ctx)
	w.Must(err)
	if all[0].Alias == all[1].Alias {
		w.Errorf("both accounts have the alias %q", all[0].Alias)
	}
}
