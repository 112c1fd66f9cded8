package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync/atomic"
)

// The accounts beside an attack. The honest client is a user of the default account.
const (
	ownAccount   = "000000000000"
	otherAccount = "111111111111"
)

// A party is a user and what is needed to send requests as that user.
type party struct {
	account string // 12 digits
	root    account
	key     account
	door    *door // with the docker token of the user
}

// path returns a path of a repository of the party's account.
func (p party) path(repo, rest string) string {
	return "/v2/" + p.account + "/" + p.key.Region + "/" + repo + rest
}

// parties are the users of a server that is attacked. There is an attacker for each of the two places.
type parties struct {
	honest    party
	attackers map[string]party
}

// Where an attacker is, beside its address, which is always that of the honest client.
const (
	sameAddress = "same address"
	sameAccount = "same account"
)

const attackRepo = "attack/app"

// prepareAttack restarts the server that is attacked, so that each attack begins with the same memory and limits. At the first call it
// makes the accounts, users and repositories.
func (b *bench) prepareAttack(ctx context.Context) error {
	if err := b.attacked.stopped(); err != nil {
		return err
	}
	data := filepath.Join(b.dir, "attack-data")
	p, err := b.startEcrin(ctx, data, "")
	if err != nil {
		return err
	}
	*b.attacked = door{process: p}
	if b.parties.attackers == nil {
		if err := b.makeParties(ctx, data); err != nil {
			return err
		}
	}
	b.parties.honest = b.parties.honest.with(p)
	all := []party{b.parties.honest}
	for where, a := range b.parties.attackers {
		a = a.with(p)
		b.parties.attackers[where] = a
		all = append(all, a)
	}
	for _, one := range all {
		if err := one.door.login(ctx, one.key); err != nil {
			return err
		}
	}
	return nil
}

// with returns the party with a door to a new process; the door is shared by the copies of the party.
func (p party) with(to *process) party {
	if p.door == nil {
		p.door = &door{}
	}
	*p.door = door{process: to}
	return p
}

func (b *bench) makeParties(ctx context.Context, data string) error {
	if out, err := exec.CommandContext(ctx, b.ecrinPath, "account", "create", otherAccount, "--data", data).CombinedOutput(); err != nil {
		return fmt.Errorf("creating an account: %w: %s", err, out)
	}
	made := parties{attackers: map[string]party{}}
	for _, where := range []string{sameAddress, sameAccount} {
		a := party{account: otherAccount}
		if where == sameAccount {
			a.account = ownAccount
		}
		var err error
		if a.root, err = b.readAccount(ctx, data, "--account", a.account); err != nil {
			return err
		}
		if a.key, err = makeUser(ctx, b.attacked, a.root, "attacker",
			`{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}`,
			`{"Effect":"Allow","Action":"ecr:*","Resource":"arn:aws:ecr:*:*:repository/attack/*"}`); err != nil {
			return err
		}
		made.attackers[where] = a
		if err := b.attacked.api(ctx, a.root, "CreateRepository", map[string]string{"repositoryName": attackRepo}, &struct{}{}); err != nil {
			return err
		}
	}
	root := made.attackers[sameAccount].root
	key, err := makeUser(ctx, b.attacked, root, "honest", `{"Effect":"Allow","Action":"ecr:*","Resource":"*"}`)
	if err != nil {
		return err
	}
	made.honest = party{account: ownAccount, root: root, key: key}.with(b.attacked.process)
	if err := made.honest.door.login(ctx, key); err != nil {
		return err
	}
	if err := made.honest.door.api(ctx, key, "CreateRepository", map[string]string{"repositoryName": few}, &struct{}{}); err != nil {
		return err
	}
	if err := made.honest.door.push(few, fewTags); err != nil {
		return err
	}
	b.parties = made
	return nil
}

// An attackKind makes the assault of an attacker.
type attackKind struct {
	name   string // what happens beside the honest client
	parts  bool   // the honest client sends parts of layers instead of tags
	nobody bool   // the attacker has no account
	make   func(ctx context.Context, b *bench, by party) (assault, error)
}

// Limits of what an honest client sees beside an attack.
const (
	minBeside   = 0.5 // rate, as a part of that of the same client alone
	maxP99      = 100 // milliseconds
	maxAttackMB = 150 // resident
)

// attackRows returns a row for each attack: an honest client alone, then beside an attacker with the same address in another account, then
// beside one in its own account.
func (b *bench) attackRows() (rows []row) {
	for _, a := range attacks {
		places := []string{sameAddress, sameAccount}
		if a.nobody {
			places = places[:1]
		}
		kinds := []string{pulls, pushes}
		if a.parts {
			kinds[1] = sends
		}
		r := row{name: "beside " + a.name, unit: "req/s", prepare: b.prepareAttack, rounds: 1, contenders: []contender{
			{name: alone, parts: func(ctx context.Context) (map[string]measure, error) {
				return b.honest(ctx, a.parts)
			}},
		}}
		for _, where := range places {
			r.contenders = append(r.contenders, contender{name: where, parts: func(ctx context.Context) (map[string]measure, error) {
				return b.attack(ctx, a, where)
			}})
			for i, kind := range kinds {
				who := kind + ", " + where
				r.targets = append(r.targets, target{who: who, peer: kind + ", " + alone, of: value, goal: minBeside},
					target{who: who, of: p99, what: "p99", less: true, goal: maxP99, unit: "ms"},
					target{who: who, of: limited, less: true, goal: 0, unit: "× 429"},
					target{who: who, of: failed, less: true, goal: 0, unit: "failures"})
				if i == 0 {
					r.targets = append(r.targets, target{who: who, of: memory, what: "peak", less: true, goal: maxAttackMB, unit: "MB"})
				}
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// The requests of the honest client.
const (
	alone  = "alone"
	pulls  = "manifest GET"
	pushes = "PUT of a tag"
	sends  = "part of 5 MiB"
)

// Connections of the honest client, which makes a request on each of them after the other. An attacker that sends as fast as possible
// has as many.
const (
	pullConnections = 6
	pushConnections = 2
)

// honest measures the honest client.
func (b *bench) honest(ctx context.Context, parts bool) (map[string]measure, error) {
	h := b.parties.honest
	shares := []share{{pulls, pullConnections, http.StatusOK, always(manifestOf(h.door, few, fewTags)())}}
	if parts {
		shares = append(shares, share{sends, pushConnections, http.StatusOK, func(i int) turn { return h.parts(ctx, byte(i)) }})
	} else {
		shares = append(shares, share{pushes, pushConnections, http.StatusCreated, func(int) turn { return h.tags() }})
	}
	seen, took, err := work(b.attacked.address, b.length, shares)
	if err != nil {
		return nil, err
	}
	all := map[string]measure{}
	for name, c := range seen {
		m := c.measure(took)
		m.Memory = b.attacked.memory("VmHWM")
		all[name] = m
		if c.first != nil {
			b.note("%s: the first of %d failures: %v", name, c.failed, c.first)
		}
	}
	return all, nil
}

func always(streams func(int) stream) func(int) turn {
	return func(i int) turn {
		next := streams(i)
		return func(bool) ([]byte, io.Reader, error) {
			header, body := next()
			return header, body, nil
		}
	}
}

// tagNumber makes the tags of honest clients different.
var tagNumber atomic.Int64

// tags puts new tags on an existing image.
func (p party) tags() turn {
	body := imageManifest(0)
	return func(bool) ([]byte, io.Reader, error) {
		path := fmt.Sprintf("/v2/%s/manifests/put-%d", few, tagNumber.Add(1))
		return append(p.door.request(http.MethodPut, path, len(body), "Content-Type: "+manifestType), body...), nil, nil
	}
}

const (
	partBytes = 5 << 20
	maxParts  = 20 // of a layer of an honest client
)

// parts sends parts of layers with UploadLayerPart, and begins another layer after some, and after a part was refused.
func (p party) parts(ctx context.Context, seed byte) turn {
	text := base64.StdEncoding.EncodeToString(randomBytes(seed, partBytes))
	body := make([]byte, 0, len(text)+200)
	upload, n := "", 0
	return func(failed bool) ([]byte, io.Reader, error) {
		if upload == "" || failed || n == maxParts {
			var out struct{ UploadID string }
			if err := p.door.api(ctx, p.key, "InitiateLayerUpload", map[string]string{"repositoryName": few}, &out); err != nil {
				return nil, nil, err
			}
			upload, n = out.UploadID, 0
		}
		body = fmt.Appendf(body[:0], `{"repositoryName":%q,"uploadId":%q,"partFirstByte":%d,"partLastByte":%d,"layerPartBlob":"`, few, upload,
			n*partBytes, (n+1)*partBytes-1)
		body = append(append(body, text...), `"}`...)
		n++
		header, err := p.door.signHeader(ctx, p.key, "UploadLayerPart", body, len(body))
		return header, bytes.NewReader(body), err
	}
}

// layerPart is the input of UploadLayerPart.
type layerPart struct {
	RepositoryName string `json:"repositoryName"`
	UploadID       string `json:"uploadId"`
	First          int    `json:"partFirstByte"`
	Last           int    `json:"partLastByte"`
	Blob           []byte `json:"layerPartBlob"`
}

// attack measures the honest client beside an attacker.
func (b *bench) attack(ctx context.Context, a attackKind, where string) (all map[string]measure, err error) {
	todo, err := a.make(ctx, b, b.parties.attackers[where])
	if err != nil {
		return nil, fmt.Errorf("making the attack: %w", err)
	}
	todo.Address = b.attacked.address
	if err := b.attacked.resetPeak(); err != nil {
		return nil, err
	}
	t, err := b.beside(todo, func() (err error) {
		end, err := b.profile(ctx, b.attacked, a.name+" "+where, int(b.length.Seconds()))
		if err != nil {
			return err
		}
		all, err = b.honest(ctx, a.parts)
		return errors.Join(err, end())
	})
	if err != nil {
		return nil, err
	}
	b.note("beside %s, %s: %s", a.name, where, t)
	return all, nil
}
