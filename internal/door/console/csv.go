package console

import (
	"io"
	"net/http"
	"strings"
)

// maxSheetParts is how many times sheet asks for lines.
const maxSheetParts = 100

// sheet sends lines of a table as CSV. next returns the next lines, and false after the last ones; it is called maxSheetParts times at
// most, and the last line then says that more follow, and where. A failure after the first bytes ends the answer in the middle, so that
// it is not taken for a whole one.
func (x *request) sheet(file string, head []string, where string, next func() (lines [][]string, more bool, err error)) error {
	lines, more, err := next()
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="`+file+`"`)
	var text strings.Builder
	text.WriteString(csvLine(head...))
	for part := 1; ; part++ {
		for _, line := range lines {
			text.WriteString(csvLine(line...))
		}
		if part == maxSheetParts && more {
			text.WriteString(csvLine("more lines follow: " + where))
			more = false
		}
		if _, err := io.WriteString(x.w, text.String()); err != nil || !more {
			return nil // a client that is gone needs no answer
		}
		text.Reset()
		if lines, more, err = next(); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}
