package hostcmd

import "github.com/ecrin-dev/ecrin/internal/host/doctor"

// Tuned returns o with a function that makes the doctor examine another machine.
func Tuned(o Options, tune func(*doctor.Options)) Options {
	o.tune = tune
	return o
}
