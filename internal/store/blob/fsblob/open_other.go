//go:build !unix

package fsblob

import "os"

func openRead(path string) (*os.File, error) { return os.Open(path) }
