package registry_test

import (
	"strings"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/core/registry"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// A caller learns that the job of its collection was canceled, and a token of another job is refused.
func TestGCThatWasCanceled(t *testing.T) {
	t.Parallel()
	c := newFixture(t, nil, registry.Quirks{})
	id, err := c.store.StartJob(t.Context(), meta.NewJob{Kind: registry.CollectNowWork, Node: "another", Input: `{}`})
	if err != nil {
		t.Fatal(err)
	}
	if _, ended, err := c.RequestedProgress(t.Context(), id); err != nil || ended {
		t.Errorf("a job that nobody does: got %t, %v, want that it has not ended", ended, err)
	}
	if _, err := c.store.CancelJob(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, ended, err := c.RequestedProgress(t.Context(), id); err == nil || !ended || !strings.Contains(err.Error(), "the collection ended") {
		t.Errorf("a canceled job: got %t, %v, want an error", ended, err)
	}
	if id, err = c.store.StartJob(t.Context(), meta.NewJob{Kind: "none", Input: `{}`}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.RequestedProgress(t.Context(), id); err == nil || !strings.Contains(err.Error(), "is no collection") {
		t.Errorf("another job: got %v, want a refusal", err)
	}
}
