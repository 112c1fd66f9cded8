package web

import (
	"net/http"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
)

// statuses are the statuses of classes of errors, at doors whose protocol has none of its own.
var statuses = map[fault.Class]int{
	fault.ClassInternal:        http.StatusInternalServerError,
	fault.ClassUnavailable:     http.StatusServiceUnavailable,
	fault.ClassThrottled:       http.StatusTooManyRequests,
	fault.ClassTooLarge:        http.StatusRequestEntityTooLarge,
	fault.ClassTimeout:         http.StatusRequestTimeout,
	fault.ClassUnauthenticated: http.StatusUnauthorized,
	fault.ClassDenied:          http.StatusForbidden,
	fault.ClassUnsupported:     http.StatusNotFound,
	fault.ClassNotFound:        http.StatusNotFound,
	fault.ClassConflict:        http.StatusConflict,
	fault.ClassQuota:           http.StatusBadRequest,
	fault.ClassInvalid:         http.StatusBadRequest,
}

// StatusOf returns the status of an error.
func StatusOf(err error) int { return statuses[FaultOf(err).Code.Class()] }
