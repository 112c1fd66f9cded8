package fault

// Class is the meaning of a failure for the caller, independent of the kind of resource. A surface has a wire form for
// each class, and a table of the codes whose wire form differs from that of their class. The zero Class is not a class.
type Class uint8

// The classes.
const (
	_                    Class = iota
	ClassInternal              // a bug of this program, or a failure of the machine
	ClassUnavailable           // the server or another service cannot do it now; a later attempt may succeed
	ClassThrottled             // the caller sends too many requests
	ClassTooLarge              // the request exceeds a size limit
	ClassTimeout               // the request did not arrive in time
	ClassUnauthenticated       // the caller is unknown: credentials are missing, wrong or expired
	ClassDenied                // the caller is known and lacks the permission
	ClassUnsupported           // the operation does not exist
	ClassNotFound              // the resource does not exist
	ClassConflict              // the state of this or another resource does not permit the operation
	ClassQuota                 // the operation would exceed a permitted number
	ClassInvalid               // a value of the request, or the request as a whole, breaks a rule
	endClass
)

var classNames = [...]string{
	ClassInternal: "internal", ClassUnavailable: "unavailable", ClassThrottled: "throttled", ClassTooLarge: "too large",
	ClassTimeout: "timeout", ClassUnauthenticated: "unauthenticated", ClassDenied: "denied", ClassUnsupported: "unsupported",
	ClassNotFound: "not found", ClassConflict: "conflict", ClassQuota: "quota", ClassInvalid: "invalid",
}

// String returns the name of the class, for logs and metrics; "Class(0)" if c is not one of the constants.
func (c Class) String() string {
	if int(c) < len(classNames) && classNames[c] != "" {
		return classNames[c]
	}
	return "Class(0)"
}

// Classes returns every class, in the order of the constants. Tests use it to check that the table of a surface is
// complete.
func Classes() []Class {
	var all []Class
	for c := ClassInternal; c < endClass; c++ {
		all = append(all, c)
	}
	return all
}
