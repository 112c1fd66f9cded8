package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
)

// backgroundWork is work of the server beside which an honest client is measured.
type backgroundWork struct {
	name string // of the row, after "beside "
	repo string // in which it works; it has many images
	kind string // of its job
	// begin starts the work and returns a function that ends it.
	begin func(b *bench, ctx context.Context, repo string) (end func() error, err error)
}

const (
	maxBeside   = 1.2 // p99, as a multiple of that of the same client alone
	blobPulls   = "blob GET 1 MB"
	keptImages  = 10 // by the lifecycle policy
	otherRegion = "eu-west-1"
	blobMBytes  = 1 << 20
	blobConns   = 2
)

func backgroundWorks(many int) []backgroundWork {
	return []backgroundWork{
		{"a collection of " + thousands(many) + " images", "bench/collected", "requested_collection", (*bench).beginCollection},
		{"a lifecycle run over " + thousands(many) + " images", "bench/expired", "lifecycle", (*bench).beginLifecycle},
		{"a replication backfill of " + thousands(many) + " images", "bench/copied", "replication_backfill", (*bench).beginBackfill},
	}
}

// backgroundRows returns a row for each kind of work: an honest client alone, and then beside the work.
func (b *bench) backgroundRows() (rows []row) {
	for _, w := range backgroundWorks(b.many) {
		r := row{name: "beside " + w.name, unit: "req/s", rounds: 1,
			prepare: func(ctx context.Context) error { return b.prepareBackground(ctx, w) },
			contenders: []contender{
				{name: alone, parts: func(ctx context.Context) (map[string]measure, error) { return b.client(ctx) }},
				{name: "beside", parts: func(ctx context.Context) (map[string]measure, error) { return b.besideWork(ctx, w) }},
			}}
		for _, kind := range []string{pulls, blobPulls, pushes} {
			who, peer := kind+", beside", kind+", "+alone
			r.targets = append(r.targets, target{who: who, peer: peer, of: p99, what: "p99", less: true, goal: maxBeside},
				target{who: who, peer: peer, of: value, goal: 1 / maxBeside})
		}
		rows = append(rows, r)
	}
	return rows
}

// prepareBackground starts a server whose repository has many images, in a data directory of its own.
func (b *bench) prepareBackground(ctx context.Context, w backgroundWork) error {
	if err := b.working.stopped(); err != nil {
		return err
	}
	data := filepath.Join(b.dir, "background-data")
	open := func() error {
		p, err := b.startEcrin(ctx, data, "")
		if err != nil {
			return err
		}
		*b.working = door{process: p}
		if b.workingKey, err = b.readAccount(ctx, data); err != nil {
			return err
		}
		return b.working.login(ctx, b.workingKey)
	}
	if err := open(); err != nil {
		return err
	}
	repos := []string{w.repo}
	if !b.workingReady {
		repos = append(repos, few)
	}
	for _, repo := range repos {
		if err := b.working.api(ctx, b.workingKey, "CreateRepository", map[string]string{"repositoryName": repo}, &struct{}{}); err != nil {
			return err
		}
		if err := b.working.push(repo, fewTags); err != nil {
			return err
		}
	}
	if !b.workingReady {
		c, err := b.working.dial()
		if err != nil {
			return err
		}
		content := randomBytes(9, blobMBytes)
		if err = b.working.putBlob(c, few, content, digestOf(content)); err == nil { // an image has it, so that no collection removes it
			body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[`+
				`{"mediaType":%q,"digest":%q,"size":%d}]}`, manifestType, configType, digestOf(imageConfig), len(imageConfig), layerType,
				digestOf(content), len(content))
			_, err = b.working.callOn(c, http.MethodPut, "/v2/"+few+"/manifests/blob", body, http.StatusCreated, "Content-Type: "+manifestType)
		}
		if c.close(); err != nil {
			return err
		}
		b.workingReady = true
	}
	if err := b.working.stop(); err != nil {
		return err
	}
	b.say("filling a repository with %d images", b.many)
	if err := fill(ctx, data, ownAccount, b.workingKey.Region, w.repo, 0, b.many); err != nil {
		return err
	}
	return open()
}

// client measures the honest client.
func (b *bench) client(context.Context) (map[string]measure, error) {
	blob := digestOf(randomBytes(9, blobMBytes))
	p := party{door: b.working}
	seen, took, err := work(b.working.address, b.length, []share{
		{pulls, pullConnections - blobConns, http.StatusOK, always(manifestOf(b.working, few, fewTags)())},
		{blobPulls, blobConns, http.StatusOK, always(blobOf(b.working, blob)())},
		{pushes, pushConnections, http.StatusCreated, func(int) turn { return p.tags() }},
	})
	if err != nil {
		return nil, err
	}
	all := map[string]measure{}
	for name, c := range seen {
		m := c.measure(took)
		m.Memory = b.working.memory("VmHWM")
		all[name] = m
		if c.first != nil {
			b.note("%s: the first of %d failures: %v", name, c.failed, c.first)
		}
	}
	return all, nil
}

// besideWork measures the honest client while the work goes on, and notes if the work came to its end before the measurement.
func (b *bench) besideWork(ctx context.Context, w backgroundWork) (map[string]measure, error) {
	end, err := w.begin(b, ctx, w.repo)
	if err != nil {
		return nil, err
	}
	stop, err := b.profile(ctx, b.working, "beside "+w.kind, 2)
	if err != nil {
		return nil, err
	}
	all, err := b.client(ctx)
	if err := errors.Join(err, stop()); err != nil {
		return nil, errors.Join(err, end())
	}
	out, err := b.command(ctx, "job", "list", "--kind", w.kind, "--state", "RUNNING")
	if err == nil && !strings.Contains(out, w.kind) {
		b.note("beside %s: the work ended before the measurement", w.name)
	}
	return all, errors.Join(err, end())
}

// command runs a command of ecrin for the server.
func (b *bench) command(ctx context.Context, args ...string) (string, error) {
	return b.runEcrin(ctx, filepath.Join(b.dir, "background-data"), args...)
}

// runEcrin runs a command of ecrin for the server of a data directory.
func (b *bench) runEcrin(ctx context.Context, data string, args ...string) (string, error) {
	args = append(args, "--data", data)
	out, err := exec.CommandContext(ctx, b.ecrinPath, args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("ecrin %s: %w: %s", args[0], err, out)
	}
	return string(out), err
}

// beginCollection deletes the repository and collects it.
func (b *bench) beginCollection(ctx context.Context, repo string) (end func() error, err error) {
	in := map[string]any{"repositoryName": repo, "force": true}
	if err := b.working.api(ctx, b.workingKey, "DeleteRepository", in, &struct{}{}); err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.command(ctx, "gc", "--grace", "0s")
		done <- err
	}()
	return func() error { return <-done }, nil
}

// beginLifecycle sets a policy that deletes nearly all images.
func (b *bench) beginLifecycle(ctx context.Context, repo string) (end func() error, err error) {
	policy := fmt.Sprintf(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":%d},`+
		`"action":{"type":"expire"}}]}`, keptImages)
	return func() error { return nil }, b.working.api(ctx, b.workingKey, "PutLifecyclePolicy",
		map[string]string{"repositoryName": repo, "lifecyclePolicyText": policy}, &struct{}{})
}

// beginBackfill copies all images to another region of the installation.
func (b *bench) beginBackfill(ctx context.Context, repo string) (end func() error, err error) {
	to := map[string]string{"region": otherRegion, "registryId": ownAccount}
	rule := map[string]any{"destinations": []any{to},
		"repositoryFilters": []any{map[string]string{"filter": repo, "filterType": "PREFIX_MATCH"}}}
	if err := b.working.api(ctx, b.workingKey, "PutReplicationConfiguration",
		map[string]any{"replicationConfiguration": map[string]any{"rules": []any{rule}}}, &struct{}{}); err != nil {
		return nil, err
	}
	return func() error { return nil }, b.working.api(ctx, b.workingKey, "StartReplicationBackfill",
		map[string]any{"destination": to}, &struct{}{})
}
