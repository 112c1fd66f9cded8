package app

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// DatabaseFile is the name of the SQLite database in a data directory and in a backup.
const DatabaseFile = "ecrin.db"

// BackupDamage is something in a backup that is not as it should be.
type BackupDamage struct {
	Digest   string
	Manifest bool   // it is a manifest, otherwise a blob
	Reason   string // for people
}

// VerifiedBackup is what was read of a backup.
type VerifiedBackup struct {
	Installation     string
	Database         bool // the backup has one; with PostgreSQL it has none
	Blobs, Manifests int64
	Bytes            int64
}

// VerifyBackup reads a whole backup and compares its blobs and manifests with their digests, and the recorded blobs with
// those that are there. It calls damaged for each damage, and changes nothing. rate is how many bytes it reads in a second at
// most, 0 for no limit.
//
// Errors have no code: the directory holds no whole backup or is that of a server; the database is damaged; a file cannot be
// read; ctx ends.
func VerifyBackup(ctx context.Context, dir string, rate int64, damaged func(BackupDamage)) (VerifiedBackup, error) {
	marker, err := ReadMarker(dir)
	if err == nil && marker.Installation == "" {
		err = fmt.Errorf("%s holds no whole backup: there is no %s", dir, MarkerFile)
	}
	if err == nil {
		if _, serr := os.Stat(filepath.Join(dir, "lock")); serr == nil {
			err = fmt.Errorf("%s is the data directory of a server: verify it with --data %s, while the server runs", dir, dir)
		}
	}
	if err != nil {
		return VerifiedBackup{}, err
	}
	v := &backupVerifier{dir: dir, rate: rate, begun: time.Now(), damaged: damaged}
	v.out.Installation = marker.Installation
	for _, algorithm := range []name.Algorithm{name.SHA256, name.SHA512} {
		if err := v.blobs(ctx, algorithm); err != nil {
			return v.out, err
		}
	}
	path := filepath.Join(dir, DatabaseFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return v.out, nil
	}
	db, err := meta.OpenCopy(ctx, path)
	if err != nil {
		return v.out, err
	}
	v.out.Database = true
	return v.out, errors.Join(v.recorded(ctx, db), v.manifests(ctx, db), db.Close())
}

type backupVerifier struct {
	dir     string
	rate    int64
	begun   time.Time
	damaged func(BackupDamage)
	out     VerifiedBackup
}

func (v *backupVerifier) report(d string, manifest bool, format string, args ...any) {
	v.damaged(BackupDamage{Digest: d, Manifest: manifest, Reason: fmt.Sprintf(format, args...)})
}

func (v *backupVerifier) path(d name.Digest) string {
	return filepath.Join(v.dir, BlobsFolder, string(d.Algorithm()), d.Hex()[:2], d.Hex())
}

// read counts n bytes, and waits until the rate permits the next.
func (v *backupVerifier) read(ctx context.Context, n int) error {
	v.out.Bytes += int64(n)
	if v.rate <= 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(v.out.Bytes) / float64(v.rate) * float64(time.Second))
	wait := time.NewTimer(due - time.Since(v.begun))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blobs reads the blobs of an algorithm.
func (v *backupVerifier) blobs(ctx context.Context, algorithm name.Algorithm) error {
	root := filepath.Join(v.dir, BlobsFolder, string(algorithm))
	folders, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(filepath.Join(root, folder.Name()))
		if err != nil {
			return err
		}
		for _, e := range entries {
			d, err := name.ParseDigest(string(algorithm) + ":" + e.Name())
			if err != nil || d.Hex()[:2] != folder.Name() {
				continue // a copy that was interrupted
			}
			if err := v.blob(ctx, d, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *backupVerifier) blob(ctx context.Context, d name.Digest, e fs.DirEntry) error {
	if !e.Type().IsRegular() {
		v.report(d.String(), false, "it is not a regular file")
		return nil
	}
	f, err := os.Open(v.path(d))
	if err != nil {
		return err
	}
	defer f.Close()
	v.out.Blobs++
	h := newHash(d.Algorithm())
	buffer := make([]byte, 256<<10)
	if v.rate > 0 {
		buffer = buffer[:min(int64(len(buffer)), v.rate)]
	}
	size := int64(0)
	for {
		n, rerr := f.Read(buffer)
		h.Write(buffer[:n])
		size += int64(n)
		if err := v.read(ctx, n); err != nil {
			return err
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil { // bytes that cannot be read are damage
			v.report(d.String(), false, "its bytes cannot be read: %v", rerr)
			return nil
		}
	}
	if got := name.NewDigest(d.Algorithm(), h.Sum(nil)); got != d {
		v.report(d.String(), false, "its %d bytes have the digest %s", size, got)
	}
	return nil
}

// recorded looks for recorded blobs that are not there.
func (v *backupVerifier) recorded(ctx context.Context, db *meta.Copy) error {
	for after := ""; ; {
		page, err := db.RecordedBlobs(ctx, after, "", 1000)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, text := range page {
			after = text
			d, err := name.ParseDigest(text)
			if err != nil {
				return fmt.Errorf("reading the recorded blobs: %w", err)
			}
			if _, err := os.Lstat(v.path(d)); errors.Is(err, fs.ErrNotExist) {
				v.report(text, false, "it is recorded, and its bytes are missing")
			} else if err != nil {
				return err
			}
		}
	}
}

// manifests reads the manifests of the database.
func (v *backupVerifier) manifests(ctx context.Context, db *meta.Copy) error {
	for after := ""; ; {
		page, err := db.Manifests(ctx, after, 16)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, m := range page {
			after = m.Digest
			v.out.Manifests++
			d, err := name.ParseDigest(m.Digest)
			if err != nil {
				v.report(m.Digest, true, "its digest cannot be read")
				continue
			}
			h := newHash(d.Algorithm())
			h.Write(m.Body)
			if got := name.NewDigest(d.Algorithm(), h.Sum(nil)); got != d {
				v.report(m.Digest, true, "its %d bytes have the digest %s", len(m.Body), got)
			}
			if err := v.read(ctx, len(m.Body)); err != nil {
				return err
			}
		}
	}
}

func newHash(a name.Algorithm) hash.Hash {
	if a == name.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}
