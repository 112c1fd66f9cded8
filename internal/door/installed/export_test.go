package installed

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

// Hide is hide of some secrets.
func Hide(text string, all ...string) (string, bool) { return secrets(all).hide(text) }
