// Package faultmeta makes the statements of a metadata store fail, for the tests of the packages that use a store.
//
// A test that imports it gets another driver below [meta.OpenSQLite]: it passes all calls on to SQLite and, for the data
// directory of a test, lets one of them fail. Stores are opened as always, so that neither meta nor the packages above it
// know of faults, and everything between a request and the database is tested.
package faultmeta

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"modernc.org/sqlite"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
)

// ErrInjected is in the chain of every injected error.
var ErrInjected = errors.New("injected fault")

// Fault says how one statement fails.
type Fault int

// The faults. A correct caller must handle all of them, and the outcome of a COMMIT with After is unknown to it.
const (
	Before Fault = iota // the statement fails without effect
	After               // the statement takes effect, then fails; a query fails without rows
	Rows                // a query begins and its first row cannot be read; other statements fail as with Before
	Tail                // a query fails after its first row, if the caller reads on; other statements fail as with Before
	Faults              // the number of faults
)

func (f Fault) String() string {
	if f < 0 || f >= Faults {
		return fmt.Sprint(int(f))
	}
	return [...]string{"before", "after", "rows", "tail"}[f]
}

// Injector lets statements of the stores of one data directory fail. It is safe for concurrent use.
type Injector struct {
	mu    sync.Mutex
	until int // number of statements until one fails; 0 for none
	every bool
	fault Fault
	n     int
	only  func(text string) bool // nil for every statement
	hit   []string

	recording bool
	texts     []string
}

// injectors are those of the data directories.
var injectors sync.Map

// In returns the injector of a data directory. Stores that were opened before may use it too.
func In(dir string) *Injector {
	one, _ := injectors.LoadOrStore(key(dir), &Injector{})
	return one.(*Injector)
}

func key(dir string) string {
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	return absolute
}

// Arm lets the n-th statement from now (from 1) fail, and no other. It forgets what was armed before.
func (i *Injector) Arm(n int, f Fault) { i.arm(n, f, false, nil) }

// ArmText lets the n-th of the statements (from 1) fail whose text contains part.
func (i *Injector) ArmText(part string, n int, f Fault) {
	i.arm(n, f, false, func(text string) bool { return strings.Contains(text, part) })
}

// ArmAll lets all statements fail until Disarm whose text contains part; "" for all.
func (i *Injector) ArmAll(part string, f Fault) {
	i.arm(1, f, true, func(text string) bool { return strings.Contains(text, part) })
}

func (i *Injector) arm(n int, f Fault, every bool, only func(string) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.until, i.fault, i.every, i.only, i.n, i.hit = n, f, every, only, 0, nil
}

// Disarm lets all further statements succeed. It returns the texts of those that have failed since they were armed, and
// the number of statements since then.
func (i *Injector) Disarm() (failed []string, statements int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.until, i.every = 0, false
	return i.hit, i.n
}

// Record keeps the texts of the statements that run from now on.
func (i *Injector) Record() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recording, i.texts = true, nil
}

// Recorded returns the texts of the statements since Record, in their order, and ends the recording.
func (i *Injector) Recorded() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.recording = false
	return i.texts
}

// next counts a statement and reports whether it fails, and how.
func (i *Injector) next(text string) (Fault, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.recording {
		i.texts = append(i.texts, text)
	}
	if i.only != nil && !i.only(text) {
		return 0, false
	}
	i.n++
	if i.until == 0 {
		return 0, false
	}
	if i.until--; i.until > 0 {
		return 0, false
	}
	if i.every {
		i.until = 1
	}
	return i.fault, true
}

// failed records that a statement has failed.
func (i *Injector) failed(text string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.hit = append(i.hit, text)
}

// driverName is the name of the driver of this package in database/sql.
const driverName = "sqlite with faults"

func init() {
	db, err := sql.Open("sqlite", ":memory:") // no connection is made
	if err != nil {
		panic(err) // the driver is linked into the program
	}
	sql.Register(driverName, driverOf{db.Driver().(*sqlite.Driver)})
	meta.SetSQLiteDriver(driverName)
}

// injectorOf returns the injector for a data source name, which has the path of the database as meta writes it.
func injectorOf(dsn string) (*Injector, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, fmt.Errorf("faultmeta: reading the data source name: %w", err)
	}
	path, err := url.PathUnescape(u.Opaque)
	if err != nil || path == "" {
		path = u.Path
	}
	return In(filepath.Dir(path)), nil
}
