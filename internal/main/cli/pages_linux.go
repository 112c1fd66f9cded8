package cli

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// unmapProgram unmaps the pages of this program's file from the process: they are read again when they are used, mostly from the cache
// of the system. The initialization of packages touches places all over the file, and the kernel maps the pages around each, so that most
// of the resident memory of an idle process is pages that it never uses. Mappings with pages that differ from the file are left. It returns
// how many bytes of memory were unmapped.
//
// Errors: the mappings cannot be read, or the system refuses.
func unmapProgram() (unmapped int64, _ error) {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return unmapped, err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return unmapped, err
	}
	defer f.Close()
	var begin, end uintptr
	var mapped int64 // kB of the mapping
	var candidate, known, changed bool
	drop := func() error {
		if !candidate || !known || changed {
			return nil
		}
		if _, _, code := syscall.Syscall(syscall.SYS_MADVISE, begin, end-begin, syscall.MADV_DONTNEED); code != 0 {
			return fmt.Errorf("unmapping pages of the program: %w", code)
		}
		unmapped += mapped << 10
		return nil
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if strings.HasSuffix(fields[0], ":") { // such as "Anonymous: 4 kB"
			switch {
			case len(fields) < 2:
			case fields[0] == "Rss:":
				mapped, _ = strconv.ParseInt(fields[1], 10, 64) // only counted
			case fields[0] == "Anonymous:": // a page that was written is one of these
				known, changed = true, fields[1] != "0"
			}
			continue
		}
		if err := drop(); err != nil {
			return unmapped, err
		}
		candidate, known, changed = false, false, false
		from, to, ok := strings.Cut(fields[0], "-")
		if !ok || len(fields) < 6 || strings.Contains(fields[1], "w") || fields[1][3] != 'p' || strings.Join(fields[5:], " ") != own {
			continue
		}
		low, err := strconv.ParseUint(from, 16, int(unsafe.Sizeof(begin))*8)
		if err != nil {
			return unmapped, err
		}
		high, err := strconv.ParseUint(to, 16, int(unsafe.Sizeof(end))*8)
		if err != nil {
			return unmapped, err
		}
		begin, end, candidate = uintptr(low), uintptr(high), true
	}
	if err := lines.Err(); err != nil {
		return unmapped, err
	}
	err = drop()
	return unmapped, err
}
