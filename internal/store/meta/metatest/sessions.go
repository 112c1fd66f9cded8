package metatest

import (
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// session returns a session that began at a time and lasts an hour.
func session(key string, begin time.Time) meta.Session {
	return meta.Session{
		AccessKey: key, Account: Account, Kind: meta.RoleSession, Principal: "AROAROLE", Name: "build", SealedSecret: []byte{0,
			0xff}, IssuedAt: begin, ExpiresAt: begin.Add(time.Hour),
	}
}

func testSessions(fx *Fixture) {
	full := session("ASIAFULL", monday)
	full.Policies, full.PolicyARNs, full.Transitive = []string{policyText}, []string{awsPolicy, arn("p")}, []string{"Team"}
	full.Tags, full.Claims, full.Source = map[string]string{"Team": "a", "": "語"}, map[string]string{"token.example:sub": "repo:x"}, "alice"
	user := session("ASIAUSER", monday)
	user.Kind, user.Principal, user.Name = meta.UserSession, Account.String(), ""
	federated := session("ASIAFEDERATED", monday.Add(time.Microsecond))
	federated.Kind, federated.Principal = meta.FederatedSession, "AIDAUSER"
	for _, v := range []meta.Session{full, user, federated} {
		_, err := fx.Session(fx.Ctx, v.AccessKey)
		fx.Want(err, fault.AccessKeyNotFound, "the session %s before it is made", v.AccessKey)
		fx.Must(fx.PutSession(fx.Ctx, v, meta.Quota{}))
		for range 2 { // from the database and from the cache
			got, err := fx.Session(fx.Ctx, v.AccessKey)
			fx.Must(err)
			fx.Equal(got, v, "Session %s", v.AccessKey)
		}
	}
	lost := session("ASIALOST", monday)
	lost.Account = nowhere
	fx.Want(fx.PutSession(fx.Ctx, lost, meta.Quota{}), fault.AccountNotFound, "a session of an unknown account")

	// Sessions are kept for 13 hours after they have expired, not longer if they were just read.
	end := full.ExpiresAt
	expired := func(at time.Time, limit, want int) {
		fx.Helper()
		n, err := fx.DeleteExpired(fx.Ctx, at, limit)
		fx.Must(err)
		fx.Equal(n, want, "sessions deleted at %s", at)
	}
	for _, key := range []string{"ASIALATE", "ASIALATER"} {
		fx.Must(fx.PutSession(fx.Ctx, session(key, end.Add(13*time.Hour)), meta.Quota{}))
	}
	expired(end.Add(13*time.Hour), 10, 0)
	for _, v := range []meta.Session{full, user, federated} {
		_, err := fx.Session(fx.Ctx, v.AccessKey)
		fx.Want(err, 0, "the session %s at 13 hours after its end", v.AccessKey)
	}
	expired(end.Add(13*time.Hour+time.Microsecond), 1, 1)
	expired(end.Add(13*time.Hour+time.Microsecond), 10, 1)
	for _, v := range []meta.Session{full, user} {
		_, err := fx.Session(fx.Ctx, v.AccessKey)
		fx.Want(err, fault.AccessKeyNotFound, "the session %s later", v.AccessKey)
	}
	for _, key := range []string{"ASIAFEDERATED", "ASIALATE", "ASIALATER"} {
		_, err := fx.Session(fx.Ctx, key)
		fx.Want(err, 0, "the session %s", key)
	}
}

func testUses(fx *Fixture) {
	role, user := fx.entity(meta.Role, "r"), fx.entity(meta.User, "u")
	first, second := Key(Account, "AKIA2"), Key(Account, "AKIA1")
	first.Principal, second.Principal = user.ID, user.ID
	for _, k := range []meta.AccessKey{first, second} {
		fx.Must(fx.PutAccessKey(fx.Ctx, k, 2))
	}
	use := meta.Use{At: monday, Region: "eu-west-1", Service: "ecr"}
	check := func(what string, want meta.Use) {
		fx.Helper()
		got, err := fx.AccessKeysOf(fx.Ctx, Account, user.ID)
		fx.Must(err)
		used := first
		used.Used = want
		fx.Equal(got, []meta.AccessKey{second, used}, "%s: AccessKeysOf the user, in the order of ids for one time", what)
		e, err := fx.Entity(fx.Ctx, Account, meta.Role, "r")
		fx.Must(err)
		fx.Equal([]any{e.LastUsedAt, e.LastUsedRegion}, []any{want.At, want.Region}, "%s: the role's last use", what)
	}
	check("at first", meta.Use{})
	fx.Must(fx.SetUsed(fx.Ctx, map[string]meta.Use{first.ID: use, "AKIANONE": use}, map[string]meta.Use{role.ID: use, "AROANONE": use}))
	check("after a use", use)
	before := meta.Use{At: monday.Add(-time.Second), Region: "us-east-1", Service: "sts"}
	fx.Must(fx.SetUsed(fx.Ctx, map[string]meta.Use{first.ID: before}, map[string]meta.Use{role.ID: before}))
	check("after an earlier use that is recorded later", use)
	_, err := fx.UpdateEntity(fx.Ctx, role, func(e *meta.Entity) error { e.Description, e.LastUsedRegion = "new", "lost"; return nil })
	fx.Must(err)
	check("after a change of the role", use)
	later := meta.Use{At: monday.Add(time.Second), Region: "us-east-1", Service: "sts"}
	fx.Must(fx.SetUsed(fx.Ctx, map[string]meta.Use{first.ID: later}, map[string]meta.Use{role.ID: later}))
	check("after a later use", later)
	fx.Must(fx.SetUsed(fx.Ctx, nil, nil))

	root, err := fx.AccessKeysOf(fx.Ctx, Account, Account.String())
	fx.Must(err)
	fx.Equal(root, []meta.AccessKey{Key(Account, "AKIAEXAMPLEEXAMPLE01")}, "AccessKeysOf the root user")
	none, err := fx.AccessKeysOf(fx.Ctx, other, user.ID)
	fx.Must(err)
	fx.Equal(len(none), 0, "keys of the user in another account")
}

func testAliases(fx *Fixture) {
	account(fx, other) // its alias is two
	alias := func() string {
		fx.Helper()
		a, err := fx.Account(fx.Ctx, Account)
		fx.Must(err)
		return a.Alias
	}
	fx.Must(fx.SetAlias(fx.Ctx, Account, "one"))
	fx.Must(fx.SetAlias(fx.Ctx, Account, "one"))
	fx.Want(fx.SetAlias(fx.Ctx, Account, "two"), fault.EntityAlreadyExists, "the alias of another account")
	fx.Equal(alias(), "one", "after a refusal")
	for i, taken := range []string{"one", "two"} {
		err := fx.CreateAccount(fx.Ctx, meta.Account{ID: nowhere, Alias: taken}, Key(nowhere, "AKIANOWHERE"))
		fx.Want(err, fault.AccountAlreadyExists, "alias %d of another account, for a new account", i)
	}
	_, err := fx.Account(fx.Ctx, nowhere)
	fx.Want(err, fault.AccountNotFound, "an account that was refused because of its alias")
	fx.Must(fx.SetAlias(fx.Ctx, other, ""))
	fx.Must(fx.SetAlias(fx.Ctx, Account, "two"))
	fx.Equal(alias(), "two", "an alias that is not used any more")
	fx.Want(fx.DeleteAlias(fx.Ctx, Account, "one"), fault.NoSuchEntity, "deleting an alias that was replaced")
	fx.Equal(alias(), "two", "the alias that replaced it")
	fx.Must(fx.DeleteAlias(fx.Ctx, Account, "two"))
	fx.Equal(alias(), "", "no alias, like another account")
	fx.Want(fx.DeleteAlias(fx.Ctx, Account, ""), fault.NoSuchEntity, "deleting no alias")
	fx.Must(fx.SetAlias(fx.Ctx, Account, ""))
	fx.Want(fx.SetAlias(fx.Ctx, nowhere, "three"), fault.AccountNotFound, "an unknown account")
	fx.Equal(race(fx, 8, fault.EntityAlreadyExists, func(i int) error {
		id := Account
		if i%2 == 1 {
			id = other
		}
		return fx.SetAlias(fx.Ctx, id, "same")
	}), 4, "acknowledged calls for the account that got the alias first")
	all, err := fx.Accounts(fx.Ctx)
	fx.Must(err)
	if all[0].Alias == all[1].Alias {
		fx.Errorf("both accounts have the alias %q", all[0].Alias)
	}
}
