package ociapi_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecrin-dev/ecrin/internal/test/apptest"
	"github.com/ecrin-dev/ecrin/internal/test/ocitest"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/slowtest"
)

// atOnce runs n goroutines that start together, and waits for them.
func atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}

// Of several requests that write to one upload at the same offset, exactly one succeeds, and the upload has its bytes.
func TestWritersOfOneUpload(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	const writers, rounds, size = 6, 8, 50_000
	for round := range rounds {
		location := repo.Begin(t)
		contents := make([][]byte, writers)
		answers := make([]*ocitest.Answer, writers)
		for i := range contents {
			contents[i] = ocitest.Bytes(uint64(round*100+i), size)
		}
		atOnce(writers, func(i int) {
			a, err := repo.Try(t.Context(), http.MethodPatch, location, bytes.NewReader(contents[i]), "Content-Range", fmt.Sprintf("0-%d", size-1))
			if err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
			answers[i] = a
		})
		winner := -1
		for i, a := range answers {
			switch {
			case a == nil:
				return
			case a.Status == http.StatusAccepted && winner < 0:
				winner = i
			case a.Status == http.StatusAccepted:
				t.Errorf("round %d: writers %d and %d were both accepted", round, winner, i)
			case a.Status != http.StatusConflict && a.Status != http.StatusRequestedRangeNotSatisfiable:
				t.Errorf("round %d: writer %d got %d %s, want 409 or 416", round, i, a.Status, a.Body)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: no writer was accepted", round)
		}
		d := ocitest.SHA256(contents[winner])
		repo.Do(t, http.MethodPut, location+"?digest="+d, nil).Want(t, http.StatusCreated)
		if got := repo.Blob(t, d).Want(t, http.StatusOK); !bytes.Equal(got.Body, contents[winner]) {
			t.Errorf("round %d: the content of the blob differs from that of the accepted writer", round)
		}
	}
}

// A thousand clients push one tag at the same time: no push fails, the tag names the image of the last push, and its
// history contains every move in order. All images have the same subject, so the list of referrers is also tested.
func TestThousandPushesOfOneTag(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	repo := s.Root(t).CreateRepository(t, "team/app")
	pushes := slowtest.Rounds(100, 1000)
	im := ocitest.NewImage(1, 10)
	repo.Push(t, "subject", im)
	repo.PutBlob(t, []byte("{}"))
	config, subject := ocitest.Describe(ocitest.EmptyType, []byte("{}")), im.Descriptor()
	pushed := sync.Map{}
	atOnce(pushes, func(i int) {
		body := ocitest.Manifest{SchemaVersion: 2, MediaType: ocitest.ImageType, ArtifactType: "application/vnd.example.race",
			Config: &config, Subject: &subject,
			Annotations: map[string]string{"n": fmt.Sprint(i)}}.JSON()
		a, err := repo.Try(t.Context(), http.MethodPut, repo.Path("/manifests/latest"), bytes.NewReader(body), "Content-Type", ocitest.ImageType)
		if err != nil || a.Status != http.StatusCreated {
			t.Errorf("push %d: %+v, %v", i, a, err)
		}
		pushed.Store(ocitest.SHA256(body), true)
	})
	r, err := s.Meta().Repository(t.Context(), s.Registry(), name.MustRepo("team/app"))
	if err != nil {
		t.Fatal(err)
	}
	moves, err := s.Meta().TagHistory(t.Context(), r.ID, "latest", 0, 2*pushes)
	if err != nil || len(moves) != pushes {
		t.Fatalf("the history has %d moves, %v; want %d", len(moves), err, pushes)
	}
	seen := map[string]bool{}
	for i, m := range moves { // latest first
		from, at := "", m.At
		if i+1 < len(moves) {
			from, at = moves[i+1].To, moves[i+1].At
		}
		if _, known := pushed.Load(m.To); m.From != from || seen[m.To] || !known || m.At.Before(at) {
			t.Fatalf("move %d is from %s to %s at %s, after one to %s at %s", i, m.From, m.To, m.At, from, at)
		}
		seen[m.To] = true
	}
	repo.Manifest(t, "latest").Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", moves[0].To)
	listed, pages := map[string]bool{}, 0
	for next := repo.Path("/referrers/" + im.Digest); next != "" && pages <= pushes; pages++ {
		var page ocitest.Manifest
		a := repo.Do(t, http.MethodGet, next, nil).Want(t, http.StatusOK).JSON(t, &page)
		for _, d := range page.Manifests {
			listed[d.Digest] = true
		}
		next = a.Next(t)
	}
	if len(listed) != pushes {
		t.Errorf("%d referrers in %d pages, want %d", len(listed), pages, pushes)
	}
}

// Of many concurrent pushes of different images to one immutable tag exactly one succeeds.
func TestImmutableTagRace(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	if _, err := root.ECR().PutImageTagMutability(t.Context(),
		&ecr.PutImageTagMutabilityInput{RepositoryName: aws.String("team/app"),
			ImageTagMutability: types.ImageTagMutabilityImmutable}); err != nil {
		t.Fatal(err)
	}
	const contenders = 20
	images := make([]ocitest.Image, contenders)
	for i := range images {
		images[i] = ocitest.NewImage(uint64(i))
		repo.PushBlobs(t, images[i])
	}
	for round := range 5 {
		tag := fmt.Sprintf("v%d", round)
		var won atomic.Pointer[string]
		atOnce(contenders, func(i int) {
			a, err := repo.Try(t.Context(), http.MethodPut, repo.Path("/manifests/"+tag), bytes.NewReader(images[i].Manifest),
				"Content-Type", ocitest.ImageType)
			switch {
			case err != nil:
				t.Error(err)
			case a.Status == http.StatusCreated:
				if !won.CompareAndSwap(nil, &images[i].Digest) {
					t.Errorf("%s: two pushes were accepted", tag)
				}
			case a.Status != http.StatusBadRequest:
				t.Errorf("%s: got %d %s, want 201 or 400", tag, a.Status, a.Body)
			}
		})
		if won.Load() == nil {
			t.Fatalf("%s: no push was accepted", tag)
		}
		repo.Manifest(t, tag).Want(t, http.StatusOK).WantHeader(t, "Docker-Content-Digest", *won.Load())
	}
}

// Pushes run concurrently with deletions of their repository. Each answer is consistent with the state at one moment,
// none is an internal error, and all images that exist at the end are complete.
func TestPushRacesRepositoryDelete(t *testing.T) {
	t.Parallel()
	s := apptest.Start(t, apptest.Options{})
	root := s.Root(t)
	repo := root.CreateRepository(t, "team/app")
	api, repository := root.ECR(), aws.String("team/app")
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var accepted atomic.Int64
	for pusher := range 4 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				a, err := repo.TryPush(context.WithoutCancel(ctx), fmt.Sprintf("p%d-%d", pusher, i), ocitest.NewImage(uint64(pusher*1000+i%7), 2000))
				switch {
				case err != nil:
					t.Error(err)
					return
				case a.Status == http.StatusCreated:
					accepted.Add(1)
				case a.Status != http.StatusNotFound:
					t.Errorf("%s: got %d %s, want 201 or 404", a.Asked, a.Status, a.Body)
				}
			}
		})
	}
	for round := range 12 {
		eventually(t, "pushes between two deletions", func() bool { return accepted.Load() > int64(round) })
		if _, err := api.DeleteRepository(t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: repository, Force: true}); err != nil {
			t.Error(err)
		}
		if _, err := api.CreateRepository(t.Context(), &ecr.CreateRepositoryInput{RepositoryName: repository}); err != nil {
			t.Error(err)
		}
	}
	stop()
	wg.Wait()
	if _, err := repo.VerifyAll(t.Context()); err != nil {
		t.Errorf("after %d accepted pushes: %v", accepted.Load(), err)
	}
}
