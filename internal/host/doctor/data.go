package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Free space in bytes below which there is a warning, and below which pushes may fail at any moment.
const (
	freeWarn = 5 << 30
	freeFail = 500 << 20
)

// checkData checks the server's data folder: its permissions, those of its keys, and the free space.
func (d *doctor) checkData(context.Context) []Check {
	if d.DataDir == "" {
		return []Check{{"data folder", Skip, "the server's data is not on this machine", ""}}
	}
	info, err := os.Stat(d.DataDir)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return []Check{{"data folder", Skip, d.DataDir + " belongs to another user; run this as the server's user to check it", ""}}
	case err != nil:
		return []Check{{"data folder", Fail, err.Error(), "Name the folder that the server uses: ecrin doctor --data DIR"}}
	case !info.IsDir():
		return []Check{{"data folder", Fail, d.DataDir + " is not a folder", "Name the folder that the server uses: ecrin doctor --data DIR"}}
	}
	c := Check{"data folder", OK, fmt.Sprintf("%s has mode %04o", d.DataDir, info.Mode().Perm()), ""}
	if info.Mode().Perm()&0o077 != 0 {
		c.Status, c.Detail = Warn, c.Detail+": other users can read it"
		if info.Mode().Perm()&0o022 != 0 {
			c.Status, c.Detail = Fail, fmt.Sprintf("%s has mode %04o: other users can change what is in it", d.DataDir, info.Mode().Perm())
		}
		c.Fix = "Keep it to the server's user: chmod 700 " + quote(d.DataDir)
	}
	return []Check{c, d.keys(), d.space()}
}

// keys checks every file whose name is that of a key.
func (d *doctor) keys() Check {
	c := Check{Name: "key files", Status: OK}
	var open, seen []string
	for _, dir := range []string{d.DataDir, filepath.Join(d.DataDir, "tls")} {
		for _, path := range matches(dir, "*key*") {
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || filepath.Ext(path) == ".pub" {
				continue
			}
			seen = append(seen, path)
			if info.Mode().Perm()&0o077 != 0 {
				open = append(open, quote(path))
			}
		}
	}
	switch {
	case len(open) > 0:
		c.Status, c.Detail = Fail, "other users can read "+strings.Join(open, ", ")
		c.Fix = "Keep them to the server's user: chmod 600 " + strings.Join(open, " ")
	case len(seen) == 0:
		c.Status, c.Detail = Skip, "there are none in "+d.DataDir+" (they may come from the environment or a KMS)"
	default:
		c.Detail = fmt.Sprintf("%d, readable by their owner only", len(seen))
	}
	return c
}

func (d *doctor) space() Check {
	free, err := d.Free(d.DataDir)
	if err != nil {
		return Check{"disk space", Skip, err.Error(), ""}
	}
	c := Check{"disk space", OK, fmt.Sprintf("%.1f GiB are free", float64(free)/(1<<30)), ""}
	if free < freeWarn {
		c.Status = Warn
		if free < freeFail {
			c.Status = Fail
		}
		c.Fix = "Free some space, or move the data to a larger disk; see what uses it: du -sh " + quote(d.DataDir) + "/*"
	}
	return c
}
