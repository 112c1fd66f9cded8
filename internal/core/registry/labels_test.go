package registry_test

import (
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/blob/faultblob"
)

// A config that cannot be opened when its image is pushed does not fail the push: the image is due for labels, again an hour after the task
// could not open it either, and has them then.
func TestLabelsOfAConfigThatCouldNotBeOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, faults := newBlobFaults(t)
		config := `{"config":{"Labels":{"team":"web"}}}`
		c.must(t, c.blob(config))
		c.must(t, c.blob("layer"))
		faults.arm(faultblob.Open, 1, faultblob.Before)
		d := c.manifest(t, config, "layer", "v1")
		if hit := faults.disarm(); hit != faultblob.Open {
			t.Fatal("the push did not open the config")
		}
		labels := func(want string) {
			t.Helper()
			got, err := c.store.Labels(t.Context(), c.repo.ID, []string{d.String()})
			if text := fmt.Sprint(got[d.String()]); err != nil || text != want {
				t.Errorf("the labels: got %s, %v, want %s", text, err, want)
			}
		}
		if due, err := c.store.DueLabels(t.Context(), 10); err != nil || len(due) != 1 || due[0].Digest != d {
			t.Errorf("the images due for labels: got %v, %v, want the one that was pushed", due, err)
		}
		labels("map[]")
		opens := &blobFaults{}
		opens.arm(faultblob.Open, 1, faultblob.Before)
		quiet := slog.New(slog.DiscardHandler)
		if c.attempts(t.Context(), registry.LabelsWork, opens, quiet, 0, 30*time.Minute); opens.disarm() != faultblob.Open {
			t.Error("the task did not open the config")
		}
		labels("map[]")
		*c.clock = c.clock.Add(time.Hour)
		c.attempts(t.Context(), registry.LabelsWork, &blobFaults{}, quiet, 0, time.Minute)
		labels("map[team:web]")
	})
}
