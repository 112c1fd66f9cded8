//go:build unix

package identity

import (
	"io/fs"
	"os"
	"syscall"
)

// tooOpen reports whether users other than the owner have any access to a key file that this process's user owns. A
// file of another user, such as one that root has mounted for the process, is not checked. Source: OpenSSH,
// sshkey_perm_ok.
func tooOpen(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Getuid() && info.Mode().Perm()&0o077 != 0
}
