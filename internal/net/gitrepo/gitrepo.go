// Package gitrepo reads and changes one branch of a git repository elsewhere: by HTTPS, by SSH, or in a folder of this machine.
//
// It needs no working copy, no program and no files of its own. A fetch gets the last commit and its trees, without the contents of files
// if the server can leave them out; a push sends one commit on top of it, and fails if the branch has moved. Every connection passes the
// egress guard. The objects and the wire protocol are those of go-git; of it only packages are imported that do nothing when a program
// starts.
package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/ecrin-dev/ecrin/internal/word/secret"
)

// Access are the credentials for a repository.
type Access struct {
	Username   string        // of HTTPS; many hosts take any
	Password   secret.String // of HTTPS: a token or a password; "" for none
	Key        secret.String // of SSH: a private key in the form of OpenSSH or PEM, without a passphrase
	KnownHosts string        // of SSH: the keys of the host, in the form of known_hosts
}

// Remote is a branch of a repository elsewhere. It is safe for concurrent use.
type Remote struct {
	at     Location
	access Access
	guard  *egress.Guard
}

// New returns a Remote. A location on this machine is opened as it is: the caller has checked that it is allowed.
func New(guard *egress.Guard, at Location, access Access) *Remote {
	return &Remote{at: at, access: access, guard: guard}
}

// Reason is what kind of failure an error is.
type Reason string

// The reasons.
const (
	Away     Reason = "Unavailable"    // the network or the server fails
	Denied   Reason = "AccessDenied"   // the credentials are not accepted, or the key of the host is unknown
	Missing  Reason = "NotFound"       // there is no such repository or branch
	Rejected Reason = "Rejected"       // the server refuses the push: a protected branch, a hook, a quota
	Diverged Reason = "Diverged"       // another push has changed the branch meanwhile
	TooLarge Reason = "TooLarge"       // the last commit has more than is read
	Invalid  Reason = "InvalidContent" // the other side does not speak the protocol
)

// Error is the failure of a request to a repository.
type Error struct {
	Reason Reason
	Text   string // for the owner of the repository: printable ASCII, without secrets
	Err    error  // for the log; may be nil
}

// Error returns reason and text.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.Text }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether an error of this package has a reason.
func Is(err error, r Reason) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Reason == r
}

func fail(r Reason, cause error, format string, args ...any) error {
	return &Error{Reason: r, Text: printable(fmt.Sprintf(format, args...)), Err: cause}
}

// maxText limits what an error quotes of the other side, in bytes.
const maxText = 400

// printable returns the printable ASCII characters of a text, shortened.
func printable(text string) string {
	text = strings.TrimSpace(name.Printable(text))
	return text[:min(len(text), maxText)]
}

// trees returns objects that are stored or were fetched.
type trees interface {
	EncodedObject(plumbing.ObjectType, plumbing.Hash) (plumbing.EncodedObject, error)
}

// Tree is the content of the branch at one commit. It is not safe for concurrent use.
type Tree struct {
	head    plumbing.Hash // zero for a repository without commits
	root    plumbing.Hash // of the tree of head
	objects trees
	read    map[plumbing.Hash][]entry
	close   func()
}

// Head returns the id of the commit, "" if there is none.
func (t *Tree) Head() string { return idOf(t.head) }

// Close releases what the tree holds.
func (t *Tree) Close() {
	if t.close != nil {
		t.close()
	}
}

func idOf(h plumbing.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

// Commit says who makes a commit, and why.
type Commit struct {
	Author  string // name
	Email   string
	Message string
	At      time.Time
}

// maxWait limits the time of one request to a repository.
const maxWait = 2 * time.Minute

// Head returns the id of the last commit of the branch, "" for a repository without commits.
//
// Errors: *Error.
func (r *Remote) Head(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if r.at.Scheme == Local {
		l, err := openLocal(r.at)
		if err != nil {
			return "", err
		}
		h, err := l.head()
		return idOf(h), err
	}
	s, err := r.open(ctx, uploadPack)
	if err != nil {
		return "", err
	}
	defer s.end()
	h, err := r.headOf(s)
	return idOf(h), err
}

// Branches returns the names of the branches of the repository in their order, none for a repository without commits. The branch of the
// location does not matter.
//
// Errors: *Error.
func (r *Remote) Branches(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if r.at.Scheme == Local {
		l, err := openLocal(r.at)
		if err != nil {
			return nil, err
		}
		return l.branches()
	}
	s, err := r.open(ctx, uploadPack)
	if err != nil {
		return nil, err
	}
	defer s.end()
	var all []string
	for label := range s.refs().References {
		if one := plumbing.ReferenceName(label); one.IsBranch() {
			all = append(all, printable(one.Short()))
		}
	}
	slices.Sort(all)
	return all, nil
}

// Fetch returns the tree of the last commit of the branch.
//
// Errors: *Error.
func (r *Remote) Fetch(ctx context.Context) (*Tree, error) {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if r.at.Scheme == Local {
		return fetchLocal(r.at)
	}
	return r.fetch(ctx)
}

// Push makes a commit of changes to a tree that was fetched, sends it, and returns its id. A nil content removes a file. Nothing is forced:
// the branch must still be where it was.
//
// Errors: *Error, with Diverged if the branch has moved.
func (r *Remote) Push(ctx context.Context, t *Tree, changes map[string][]byte, c Commit) (string, error) {
	made, err := t.commit(changes, c)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	if r.at.Scheme == Local {
		return made.id.String(), pushLocal(r.at, t.head, made)
	}
	return made.id.String(), r.push(ctx, t.head, made)
}

// branch returns the full name of the branch.
func (l Location) branch() plumbing.ReferenceName { return plumbing.NewBranchReferenceName(l.Branch) }

// noBranch is the error of a repository that has commits and not the branch.
func (l Location) noBranch() error {
	return fail(Missing, nil, "the repository has no branch %s: push one, or give another one as ref", l.Branch)
}

// readAll reads an object of at most limit bytes.
func readAll(o plumbing.EncodedObject, limit int64) ([]byte, error) {
	if o.Size() > limit {
		return nil, fail(TooLarge, nil, "an object of the repository has %d bytes", o.Size())
	}
	in, err := o.Reader()
	if err != nil {
		return nil, fail(Invalid, err, "an object of the repository cannot be read")
	}
	defer func() { _ = in.Close() }() // it is only read
	b, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil || int64(len(b)) > limit {
		return nil, fail(Invalid, err, "an object of the repository cannot be read")
	}
	return b, nil
}
