package console

import "strings"

// Row is one method of one path.
type Row struct {
	Method, Path string
	Open         bool
}

// Rows returns all requests that are served.
func Rows() (all []Row) {
	for _, r := range rows {
		all = append(all, Row{r.method, r.path, r.open})
	}
	return all
}

var (
	Shown       = shown
	Size        = size
	Instruction = instruction
	OwnPath     = ownPath
	CSVLine     = csvLine
	OpenSignOn  = openSignOn
	PlacesOf    = placesOf
)

// Sorted returns tags of one digest each in the order of the list: "1.0=a".
func Sorted(all ...string) (out []string) {
	var tags []tagged
	for _, text := range all {
		tag, digest, _ := strings.Cut(text, "=")
		tags = append(tags, tagged{Tag: tag, Digest: digest})
	}
	for _, t := range byVersion(tags) {
		mark := ""
		if t.Moves {
			mark = "~"
		}
		out = append(out, t.Tag+mark)
	}
	return out
}
