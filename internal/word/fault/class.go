package fault

// Class is what a failure means to whoever called, whatever the thing is that it is about. A surface has a form for each class,
// and a table of the codes whose form is another one. The zero Class is none.
type Class uint8

// The classes.
const (
	_                    Class = iota
	ClassInternal              // a mistake of this program, or a broken machine
	ClassUnavailable           // it cannot be done now, here or where it depends on others; the same request may succeed later
	ClassThrottled             // the caller asks too often
	ClassTooLarge              // the request is larger than what is read
	ClassTimeout               // the request did not arrive in time
	ClassUnauthenticated       // it is not known who calls: credentials are absent, wrong, or have ended
	ClassDenied                // the caller is known and may not do it
	ClassUnsupported           // there is no such operation
	ClassNotFound              // the thing does not exist
	ClassConflict              // the state of the thing, or of another one, does not permit it
	ClassQuota                 // there would be more of something than is permitted
	ClassInvalid               // a value of the request, or the request as a whole, breaks a rule
	endClass
)

var classNames = [...]string{
	ClassInternal: "internal", ClassUnavailable: "unavailable", ClassThrottled: "throttled", ClassTooLarge: "too large",
	ClassTimeout: "timeout", ClassUnauthenticated: "unauthenticated", ClassDenied: "denied", ClassUnsupported: "unsupported",
	ClassNotFound: "not found", ClassConflict: "conflict", ClassQuota: "quota", ClassInvalid: "invalid",
}

// String gives the name of the class, for logs and metrics.
func (c Class) String() string {
	if int(c) < len(classNames) && classNames[c] != "" {
		return classNames[c]
	}
	return "Class(0)"
}

// Classes lists every class, so that a surface can prove its table complete.
func Classes() []Class {
	var all []Class
	for c := ClassInternal; c < endClass; c++ {
		all = append(all, c)
	}
	return all
}
