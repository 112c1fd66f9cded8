package cli

import (
	"strings"
	"testing"
)

// Cells that a spreadsheet would execute begin with an apostrophe; others stay as they are, also those with commas and quotation marks.
func TestSheet(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	to := newSheet(&out)
	if err := to.row(`=HYPERLINK("http://x")`, "+1", "-1", "@SUM(A1)", "\tx", "\rx", " =1", "a=1", "", "12", `a,"b"`,
		"sha256:ab"); err != nil {
		t.Fatal(err)
	}
	if err := to.end(); err != nil {
		t.Fatal(err)
	}
	const want = `"'=HYPERLINK(""http://x"")",'+1,'-1,'@SUM(A1),'	x,"'` + "\r" + `x",' =1,a=1,,12,"a,""b""",sha256:ab` + "\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
