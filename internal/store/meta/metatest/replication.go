package metatest

import (
	"slices"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// A push enqueues a job for each destination of the rules that select the repository, in its transaction; what was pushed before and
// what is refused enqueue none.
func testReplicationRules(fx *Fixture) {
	account(fx, other)
	east, west := name.Registry{Account: other, Region: london}, name.Registry{Account: Account, Region: london}
	rules := []meta.ReplicationRule{
		{Destinations: []name.Registry{east, west}, Prefixes: []string{"team/", "x"}},
		{Destinations: []name.Registry{west}},
	}
	r := fx.Repo("team/app")
	fx.Image(r, "before", "v0")
	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, rules))
	got, err := fx.ReplicationRules(fx.Ctx, Registry)
	fx.Must(err)
	fx.Equal(got, rules, "the rules")
	if none, err := fx.ReplicationRules(fx.Ctx, east); err != nil || none != nil {
		fx.Errorf("the rules of a registry without any: got %v, %v", none, err)
	}
	im := fx.Image(r, "after", "v1")
	all, err := fx.Jobs(fx.Ctx, Account.String(), 0, 10)
	fx.Must(err)
	if len(all) != 2 || all[0].Kind != meta.ReplicationKind || all[0].Key == all[1].Key {
		fx.Fatalf("the jobs of a push: got %+v, want one for each destination", all)
	}
	states, err := fx.Replications(fx.Ctx, r.ID, im.Digest)
	fx.Must(err)
	fx.Equal(states, []meta.Replication{{To: west, State: meta.ReplicationStarted}, {To: east, State: meta.ReplicationStarted}},
		"the replications")
	in := meta.ReplicationInput{Repository: r.ID, Digest: im.Digest.String(), Account: other.String(), Region: london.String()}
	for range 2 {
		fx.Must(fx.FailReplication(fx.Ctx, in, r, im.Digest, east, "Code"))
	}
	states, err = fx.Replications(fx.Ctx, r.ID, im.Digest)
	fx.Must(err)
	if states[1].State != meta.ReplicationFailed || states[1].Code != "Code" {
		fx.Errorf("a failed replication: got %+v", states[1])
	}
	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, nil))
	nobody := name.Registry{Account: nowhere, Region: london}
	fx.Want(fx.PutReplicationRules(fx.Ctx, nobody, rules), fault.AccountNotFound, "an unknown account")
}

// A copy is in the other repository with its blobs and tags, and is not copied on if it is the last.
func testCopyImage(fx *Fixture) {
	from, to := fx.Repo("from"), fx.Repo("to")
	im := fx.Image(from, "one", "v1", "v2")
	there := []name.Registry{{Account: Account, Region: london}}
	fx.Must(fx.PutReplicationRules(fx.Ctx, Registry, []meta.ReplicationRule{{Destinations: there}}))
	p := im
	p.Tags, p.Principal = nil, Principal
	out, err := fx.CopyImage(fx.Ctx, from, to, p, meta.CopyOptions{AllTags: true, Last: true})
	fx.Must(err)
	if !out.New || len(out.Tags) != 2 || out.Kept != nil {
		fx.Errorf("the copy: got %+v, want a new image with two tags", out)
	}
	if jobs, err := fx.Jobs(fx.Ctx, "", 0, 10); err != nil || len(jobs) != 0 {
		fx.Errorf("jobs after a last copy: got %d, %v", len(jobs), err)
	}
	tags, err := fx.Tags(fx.Ctx, to.ID, "", 10)
	fx.Must(err)
	fx.Equal(tags, []string{"v1", "v2"}, "the tags of the copy")
	for _, b := range im.Manifest.Blobs() {
		if _, err := fx.Holding(fx.Ctx, to.ID, b.Digest); err != nil {
			fx.Errorf("the blob %s of the copy: %v", b.Digest, err)
		}
	}
	again, err := fx.CopyImage(fx.Ctx, from, to, p, meta.CopyOptions{AllTags: true})
	fx.Must(err)
	if again.New || len(again.Tags) != 0 {
		fx.Errorf("the same copy again: got %+v, want no change", again)
	}
	p.Tags = []name.Tag{name.MustTag("promoted")}
	if out, err = fx.CopyImage(fx.Ctx, from, to, p, meta.CopyOptions{}); err != nil || !slices.Equal(out.Tags, p.Tags) {
		fx.Errorf("a copy with a tag: got %+v, %v", out, err)
	}
	if jobs, err := fx.Jobs(fx.Ctx, "", 0, 10); err != nil || len(jobs) != 1 {
		fx.Errorf("jobs after a copy that is a push: got %d, %v, want 1", len(jobs), err)
	}
	fx.Must(fx.SetMutability(fx.Ctx, to, meta.Mutability{Mode: meta.Immutable}))
	two := fx.Image(from, "two", "v1")
	two.Tags, two.Principal = nil, Principal
	out, err = fx.CopyImage(fx.Ctx, from, to, two, meta.CopyOptions{AllTags: true})
	if err != nil || !out.New || len(out.Tags) != 0 || len(out.Kept) != 1 {
		fx.Errorf("a copy under an immutable tag: got %+v, %v, want it without the tag", out, err)
	}
	two.Tags = []name.Tag{name.MustTag("v1")}
	_, err = fx.CopyImage(fx.Ctx, from, to, two, meta.CopyOptions{})
	fx.Want(err, fault.ImageTagAlreadyExists, "a copy to an immutable tag that is asked for")
	absent := fx.Image(to, "absent")
	_, err = fx.CopyImage(fx.Ctx, from, to, absent, meta.CopyOptions{})
	fx.Want(err, fault.ImageNotFound, "an image that the source does not have")
}
