package cli

import "testing"

// Pages of the program are unmapped, and it goes on with what the system reads again.
func TestUnmapProgram(t *testing.T) {
	n, err := unmapProgram()
	if err != nil || n < 1<<20 {
		t.Fatalf("unmapped: got %d bytes, %v, want the pages of a test of some MB", n, err)
	}
	if _, err := unmapProgram(); err != nil {
		t.Errorf("again: %v", err)
	}
}
