package configrepo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/integration"
	"github.com/ecrin-dev/ecrin/internal/core/jobs"
	"github.com/ecrin-dev/ecrin/internal/net/gitrepo"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

const (
	// lookEvery is the time between two looks for changes of others.
	lookEvery = 10 * time.Minute
	// keptTried is how long a content is known that an attempt was about to write and whose push may still arrive.
	keptTried = 15 * time.Minute
	// maxTried limits these contents of a file.
	maxTried = 8
	// maxRounds limits how often an attempt begins again because others push at the same time.
	maxRounds = 5
	// parallel is how many repositories a process writes at once, of different accounts: each may hold a commit in memory.
	parallel = 2
)

// AddWork adds the job that writes into configuration repositories.
func (s *Service) AddWork(r *jobs.Runner) {
	r.Add(jobs.Kind{Name: meta.ConfigRepositoryKind, What: "writing integrations into repositories of git", Parallel: parallel,
		Pause: 5 * time.Second, MaxPause: lookEvery, Work: s.work})
}

// attempt is one run of the job.
type attempt struct {
	*Service
	j      *jobs.Job
	c      meta.ConfigRepository
	v      Settings
	st     State
	remote *gitrepo.Remote

	content map[string][]byte // to be written, by path
	of      map[string]string // integration of a path of content
	sources map[string]string // by integration that has content
	gone    map[string]string // paths to be removed, with their integrations
	left    []string          // why integrations are not written
}

func (s *Service) work(ctx context.Context, j *jobs.Job) error {
	account, err := name.ParseAccount(j.Account())
	if err != nil {
		return jobs.Permanent(err)
	}
	a := &attempt{Service: s, j: j}
	a.c, err = s.meta.ConfigRepository(ctx, account)
	if errors.Is(err, fault.ObjectNotFound) {
		j.Forget()
		return nil
	}
	if err == nil {
		a.v, err = SettingsOf(a.c)
	}
	if err == nil {
		a.st, err = StateOf(a.c)
	}
	if err != nil {
		return err
	}
	seen := a.c.Wanted
	err = a.run(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, fault.TargetChanged) {
		return err // another process works on it: its state is the right one
	}
	if err == nil && a.c.Removing {
		return s.meta.ConfigRepositoryDone(ctx, a.c)
	}
	now := s.now()
	a.st.Seen, a.st.TriedAt, a.st.Error = seen, now, ""
	switch {
	case err != nil:
		a.st.Error = textOf(err)
	case len(a.left) > 0:
		a.st.Error = short(a.left)
	default:
		a.st.SyncedAt = now
	}
	if err := a.save(ctx); err != nil {
		return err
	}
	if a.st.Error != "" {
		return fault.IntegrationFailed.New("%s", a.st.Error).Because(err)
	}
	j.Next(now.Add(lookEvery))
	return nil
}

// save stores the state.
func (a *attempt) save(ctx context.Context) error {
	text, err := json.Marshal(a.st)
	if err != nil {
		return fmt.Errorf("encoding the state of a configuration repository: %w", err)
	}
	turn, err := a.meta.SaveConfigState(ctx, a.c, string(text))
	if err == nil {
		a.c.Turn = turn
	}
	return err
}

// run writes what is to be written.
func (a *attempt) run(ctx context.Context) error {
	at, err := gitrepo.ParseLocation(a.v.URL)
	if err != nil {
		return fault.IntegrationFailed.New("the URL of the configuration repository %s", err)
	}
	if at.Scheme == gitrepo.Local && !a.allowed(a.c.Account, at) {
		return fault.IntegrationFailed.New("the operator does not let this account use %s any more: see the setting config_repository_paths",
			a.v.URL)
	}
	secrets, err := a.Open(a.c)
	if err != nil {
		return err
	}
	a.remote = gitrepo.New(a.guard, at, gitrepo.Access{Username: a.v.Username, Password: secret.New(secrets.Password),
		Key: secret.New(secrets.Key), KnownHosts: a.v.KnownHosts})
	if err := a.plan(ctx, at); err != nil {
		return err
	}
	if len(a.content) == 0 && len(a.gone) == 0 && a.st.Seen != 0 && !a.waits() {
		head, err := a.remote.Head(ctx)
		if err != nil || head == a.st.Head {
			return err
		}
	}
	for round := 0; ; round++ {
		err := a.round(ctx, at)
		if !gitrepo.Is(err, gitrepo.Diverged) || round == maxRounds {
			return err
		}
	}
}

// waits reports whether an attempt whose end is not known may have written something.
func (a *attempt) waits() bool {
	for _, f := range a.st.Files {
		if len(f.Tried) > 0 {
			return true
		}
	}
	return false
}

// plan finds out what is to be written and removed. An integration that cannot be written stays as it was.
func (a *attempt) plan(ctx context.Context, at gitrepo.Location) error {
	a.content, a.of, a.sources, a.gone = map[string][]byte{}, map[string]string{}, map[string]string{}, map[string]string{}
	var all []meta.Integration
	var err error
	if !a.c.Removing {
		if all, err = a.meta.Integrations(ctx, a.c.Account); err != nil {
			return err
		}
	}
	live := map[string]bool{}
	for _, i := range all {
		live[i.Name] = true
		source, err := a.source(ctx, i, a.v)
		if err != nil {
			return err
		}
		if w := a.st.Written[i.Name]; w.Source == source {
			a.st.Written[i.Name] = Written{Source: source}
			continue
		}
		files, err := a.prepare(ctx, i)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			a.st.Written[i.Name] = Written{Source: a.st.Written[i.Name].Source, Failed: source, Error: textOf(err)}
			a.left = append(a.left, i.Name+": "+textOf(err))
			continue
		}
		a.sources[i.Name] = source
		for path, content := range files {
			if at.Folder != "" {
				path = at.Folder + "/" + path
			}
			a.content[path], a.of[path] = content, i.Name
		}
	}
	for path, f := range a.st.Files {
		_, changed := a.sources[f.Integration]
		if _, wanted := a.content[path]; !live[f.Integration] || changed && !wanted {
			a.gone[path] = f.Integration
		}
	}
	for label := range a.st.Written {
		if !live[label] {
			delete(a.st.Written, label)
		}
	}
	return nil
}

// prepare tests an integration and makes its files.
func (a *attempt) prepare(ctx context.Context, i meta.Integration) (map[string][]byte, error) {
	if !a.v.SkipTest {
		last, err := a.remotes.Probe(ctx, i)
		if err != nil {
			return nil, err
		}
		if !last.Passed {
			return nil, fault.IntegrationFailed.New("nothing is committed: %s", stepText(last))
		}
	}
	return a.render(ctx, i, a.v)
}

func stepText(s integration.Step) string {
	text := s.Message
	if s.Code != "" {
		text = s.Code + ": " + text
	}
	return s.Name + ": " + text + "; " + s.Cure
}

// round compares the branch with what is known and pushes one commit.
func (a *attempt) round(ctx context.Context, at gitrepo.Location) error {
	t, err := a.remote.Fetch(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	drift, found, err := a.compare(t)
	if err != nil {
		return err
	}
	held := map[string]bool{} // integrations of which nothing is written, because of drift
	for _, d := range drift {
		held[d.Integration] = true
	}
	changes := map[string][]byte{}
	for path, content := range a.content {
		if !held[a.of[path]] {
			changes[path] = content
		}
	}
	removed := map[string]bool{}
	for path, label := range a.gone {
		_, rewritten := a.sources[label]
		switch {
		case rewritten && held[label], isDrift(drift, path):
		case found[path] != "":
			changes[path] = nil
			removed[path] = true
		default:
			removed[path] = true
		}
	}
	head := t.Head()
	if len(changes) > 0 {
		if err := a.intend(ctx, changes); err != nil {
			return err
		}
		if head, err = a.remote.Push(ctx, t, changes, a.commit(changes)); err != nil {
			return err
		}
	}
	a.record(found, held, changes, removed)
	a.st.Drift, a.st.Head = drift, head
	return nil
}

func isDrift(all []Drift, path string) bool {
	return slices.ContainsFunc(all, func(d Drift) bool { return d.Path == path })
}

// compare returns the files that are not as they were written, and the content ids of all that matter.
func (a *attempt) compare(t *gitrepo.Tree) (drift []Drift, found map[string]string, err error) {
	paths := map[string]string{}
	for path, f := range a.st.Files {
		paths[path] = f.Integration
	}
	maps.Copy(paths, a.of)
	found = map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		id, err := t.File(path)
		if err != nil {
			return nil, nil, err
		}
		found[path] = id
		f, known := a.st.Files[path]
		_, leaves := a.gone[path]
		_, arrives := a.content[path]
		kind := ""
		switch {
		case f.has(id):
		case id == "" && (f.ID == "" || leaves): // not written yet, or gone as it shall be
		case id == "":
			kind = Deleted
		case known && f.ID != "":
			kind = Changed
		case arrives || known:
			kind = Foreign
		}
		if kind != "" {
			drift = append(drift, Drift{path, paths[path], kind})
		}
	}
	return drift, found, nil
}

// intend stores what the attempt is about to write: if the process is killed after the push, the files are known as its own.
func (a *attempt) intend(ctx context.Context, changes map[string][]byte) error {
	for path, content := range changes {
		if content == nil {
			continue
		}
		f := a.st.Files[path]
		f.Integration, f.TriedAt = a.of[path], a.now()
		f.Tried = append(slices.Clone(f.Tried), gitrepo.BlobID(content))
		f.Tried = f.Tried[max(0, len(f.Tried)-maxTried):]
		a.st.Files[path] = f
	}
	if err := a.save(ctx); err != nil {
		return err
	}
	return a.j.Save(ctx, struct{}{}, 0, 0)
}

// record notes what the branch has now.
func (a *attempt) record(found map[string]string, held map[string]bool, changes map[string][]byte, removed map[string]bool) {
	now := a.now()
	for path, f := range a.st.Files {
		if content, written := changes[path]; written && content != nil {
			f.ID, f.Tried, f.TriedAt = gitrepo.BlobID(content), nil, time.Time{}
		} else if f.has(found[path]) {
			f.ID = found[path]
		}
		if now.Sub(f.TriedAt) > keptTried {
			f.Tried, f.TriedAt = nil, time.Time{}
		}
		a.st.Files[path] = f
		if removed[path] {
			if len(f.Tried) == 0 {
				delete(a.st.Files, path)
			} else {
				f.ID = ""
				a.st.Files[path] = f
			}
		}
	}
	for label, source := range a.sources {
		if !held[label] {
			a.st.Written[label] = Written{Source: source}
		}
	}
}

// The author of commits if the settings name none.
const (
	defaultAuthor = "ecrin"
	defaultEmail  = "ecrin@localhost"
)

// commit returns the head of a commit. Its message has names of integrations only.
func (a *attempt) commit(changes map[string][]byte) gitrepo.Commit {
	c := gitrepo.Commit{Author: a.v.AuthorName, Email: a.v.AuthorEmail, At: a.now()}
	if c.Author == "" {
		c.Author = defaultAuthor
	}
	if c.Email == "" {
		c.Email = defaultEmail
	}
	did := map[string]string{}
	for path, content := range changes {
		label := a.of[path]
		if content == nil {
			label = a.gone[path]
		}
		_, lives := a.sources[label]
		switch f := a.st.Files[path]; {
		case !lives:
			did[label] = "remove"
		case f.ID == "" && did[label] != "update" && content != nil:
			did[label] = "add"
		default:
			did[label] = "update"
		}
	}
	var lines []string
	for _, label := range slices.Sorted(maps.Keys(did)) {
		lines = append(lines, did[label]+" "+label)
	}
	c.Message = "Integrations: " + strings.Join(lines, ", ")
	return c
}
