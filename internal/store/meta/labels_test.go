package meta_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/store/meta/metatest"
)

// Labels of an image that is put without them are due, once they are stored they are found, and a config that a cache fetches makes them
// due again. What cannot be read is tried again every hour for a day, and an image that is collected leaves nothing.
func TestLabelsAreRead(t *testing.T) {
	now := time.Now().Truncate(time.Microsecond)
	s, err := meta.OpenSQLite(t.Context(), t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	fx := metatest.NewFixture(t, s)
	r := fx.Repo("team/app")
	fx.Blob(r, "config")
	due := func(want int) []meta.DueLabels {
		t.Helper()
		all, err := s.DueLabels(t.Context(), 100)
		if err != nil || len(all) != want {
			t.Fatalf("DueLabels: got %d, %v, want %d", len(all), err, want)
		}
		return all
	}
	set := func(of []meta.DueLabels, labels string) {
		t.Helper()
		var text []byte
		if labels != "" {
			text = []byte(labels)
		}
		fx.Must(s.SetLabels(t.Context(), of, [][]byte{text}))
	}
	labels := func(want string, digests ...string) {
		t.Helper()
		if got, err := s.Labels(t.Context(), r.ID, digests); err != nil || fmt.Sprint(got) != want {
			t.Errorf("Labels: got %v, %v, want %s", got, err, want)
		}
	}
	known, unknown := metatest.Variant(1, "config"), metatest.Variant(2, "config")
	known.Labels = []byte(`{"a":"1"}`)
	fx.Must(s.PutImage(t.Context(), r, known))
	due(0)
	fx.Must(s.PutImage(t.Context(), r, unknown))
	k, u := known.Digest.String(), unknown.Digest.String()
	labels(fmt.Sprintf("map[%s:map[a:1]]", k), k, u)
	set(due(1), `{"b":"2"}`)
	due(0)
	labels(fmt.Sprintf("map[%s:map[b:2]]", u), u)

	config := blob.Info{Digest: metatest.Digest("config"), Size: 6}
	if _, err := s.AddFetchedBlob(t.Context(), r, config, ""); err != nil {
		t.Fatal(err)
	}
	was := due(2)
	now = now.Add(time.Second)
	if _, err := s.AddFetchedBlob(t.Context(), r, config, ""); err != nil { // while they are read
		t.Fatal(err)
	}
	fx.Must(s.SetLabels(t.Context(), was, [][]byte{[]byte("{}"), []byte("{}")}))
	all := due(2)
	set(all[:1], `{"c":"3"}`)
	for range 24 {
		all = due(1)
		set(all, "")
		due(0)
		now = now.Add(time.Hour)
	}
	due(0) // given up

	fx.Must(s.Write(t.Context(), func(tx *meta.Tx) error {
		_, err := tx.Exec(`INSERT INTO labels_due (repository, digest, due_at, tries) VALUES ($1, $2, 0, 0)`, r.ID, u)
		return err
	}))
	for _, d := range []meta.Put{known, unknown} {
		if _, err := s.DeleteImage(t.Context(), r, d.Digest, nil, metatest.Principal); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(24 * time.Hour)
	for more := true; more; {
		if _, more, err = s.CollectImage(t.Context(), now); err != nil {
			t.Fatal(err)
		}
	}
	due(0)
	labels("map[]", k, u)
}
