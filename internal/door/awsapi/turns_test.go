package awsapi

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// Operations that read many rows wait for one of few places, of which one principal has one while others wait; see package web.
func TestLongOperationsTakeTurns(t *testing.T) {
	t.Parallel()
	var long []string
	for name, op := range ecrinService.operations {
		if op.long {
			long = append(long, name)
		}
	}
	slices.Sort(long)
	want := []string{"GetUsageHistory", "ListDeployments", "ListImageLayers", "ListImageReports", "ListReportedRepositories",
		"ListRepositoryUsage", "ListTags", "PreviewEntitlement", "SearchImages", "SearchRepositories"}
	if !slices.Equal(long, want) {
		t.Errorf("operations that wait: got %q, want %q", long, want)
	}
	a := New(Options{})
	for range maxSearches {
		leave, err := a.searches.Enter(t.Context(), "greedy")
		if err != nil {
			t.Fatal(err)
		}
		defer leave()
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.searches.Enter(gone, "greedy"); !errors.Is(err, fault.RequestTimeout) {
		t.Errorf("one more than there are places: got %v, want that it waits", err)
	}
}
