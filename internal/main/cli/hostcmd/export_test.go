package hostcmd

import "github.com/ecrin-dev/ecrin/internal/host/doctor"

// Tuned gives options whose doctor looks at another machine.
func Tuned(o Options, tune func(*doctor.Options)) Options {
	o.tune = tune
	return o
}
