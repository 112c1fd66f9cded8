package meta

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// sqlState returns the code of an error that the server has sent, "" for other errors. Source: PostgreSQL, appendix
// A.
func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// lost reports whether an error means that the connection cannot be used any more: it cannot be made, it broke, the
// server is stopping, or the server accepts only reads because another one is the primary now (25006, and 0A000 for a
// transaction that requests writes).
func lost(err error) bool {
	switch state := sqlState(err); {
	case state == "25006", state == "0A000", state == "25P03", strings.HasPrefix(state, "08"), strings.HasPrefix(state,
		"57P"), strings.HasPrefix(state, "28"), state == "53300":
		return true
	case state != "":
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, errNotDue) || errors.Is(err, errUndone) || errors.Is(err, pgconn.ErrConnClosed)
}

// hung reports whether an error means that the server took too long.
func hung(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

// retryable reports whether the server has undone a transaction because of concurrent ones, so that it must run
// again.
func retryable(err error) bool {
	state := sqlState(err)
	return state == "40001" || state == "40P01"
}

func fromPostgres(err error) bool { return sqlState(err) != "" || lost(err) }

// unavailable returns the public text for an error that means that the database is unavailable, "" for other errors.
func unavailable(err error) string {
	switch state := sqlState(err); {
	case state == "53100":
		return "the disk of the database server is full: free some space and repeat"
	case state == "25006", state == "0A000":
		return "the database server accepts no changes now (it is read-only)"
	case state == "53300":
		return "the database server has no free connection: repeat later, or raise its max_connections"
	case state == "57014", state == "55P03", state == "25P03", state == "57P05":
		return "the database server took too long: repeat later"
	case retryable(err):
		return "the database was busy with other changes: repeat"
	case strings.HasPrefix(state, "53"), strings.HasPrefix(state, "58"):
		return "the database server is out of resources or its disk fails"
	case lost(err):
		return "the database does not answer"
	}
	return ""
}

// advise adds advice for the operator to an error of the start.
func advise(err error) error {
	advice := ""
	switch state := sqlState(err); {
	case state == "28P01", state == "28000":
		advice = "the server refuses the user or the password of the address"
	case state == "3D000":
		advice = "make the database first: CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
	case state == "42501":
		advice = "make the user the owner of the database: ALTER DATABASE name OWNER TO user"
	case state == "42704":
		advice = "PostgreSQL 14 or newer is needed"
	case state == "57P03":
		advice = "the server is starting or stopping: try again"
	case lost(err):
		advice = "is the server running, and the address right?"
	}
	if advice == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, advice)
}

// scrubbed is an error whose text does not contain a password.
type scrubbed struct {
	err  error
	text string
}

func (s *scrubbed) Error() string { return s.text }
func (s *scrubbed) Unwrap() error { return s.err }

func scrub(err error, password string) error {
	if err == nil || password == "" {
		return err
	}
	if text := err.Error(); strings.Contains(text, password) {
		return &scrubbed{err, strings.ReplaceAll(text, password, "[secret]")}
	}
	return err
}
