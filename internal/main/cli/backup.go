package cli

import (
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

	"github.com/spf13/cobra"

	"github.com/ecrin-dev/ecrin/internal/main/app"
	"github.com/ecrin-dev/ecrin/internal/model/ecrintypes"
	"github.com/ecrin-dev/ecrin/internal/store/durable"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// maxSnapshot is how long the copy of the database may take.
const maxSnapshot = time.Hour

const backupHelp = `Copy the running installation to a directory, which "ecrin restore" reads. Pushes and pulls go on meanwhile.

The database is copied as of one moment. Blobs are linked where the directory is on the same file system, and
copied elsewhere; one that the directory has already is left alone, so that the next backup to it takes only what
is new. Certificates and the files of the audit trail are copied too. At every moment of a backup the directory
holds either the earlier copy or the new one.

The master key is not in the backup: whoever has both can read every secret. Keep a copy of it in another place.
With PostgreSQL only the rest is copied: run pg_dump before this command.`

func (c *commands) backup() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup DIR", Args: exactly("DIR"), Short: "Copy the running installation to a directory", Long: backupHelp,
		Example: "  ecrin backup /backup/ecrin",
	}
	c.dataFlag(cmd)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd)
		if err != nil {
			return err
		}
		marker, err := sameInstallation(c.data, args[0])
		if err != nil {
			return err
		}
		// Nothing that the copy of the database names is deleted before it is copied.
		release, err := app.PinBlobs(cmd.Context(), c.data)
		if err != nil {
			return err
		}
		defer release()
		s.Patient(maxSnapshot)
		var out ecrintypes.SnapshotDatabaseResponse
		if err := s.Call(cmd.Context(), "SnapshotDatabase", &ecrintypes.SnapshotDatabaseRequest{}, &out); err != nil {
			return err
		}
		b := copier{from: c.data, to: args[0], link: true}
		snapshot := out.FileName
		if snapshot != "" {
			snapshot = filepath.Base(snapshot)
		}
		if err := b.backup(snapshot, marker); err != nil {
			return err
		}
		if len(b.damaged) > 0 {
			return fmt.Errorf("%s of the installation could not be copied because of damage: run `ecrin verify`",
				count(len(b.damaged), "blob"))
		}
		if *asJSON {
			return c.printJSON(map[string]any{"installation": marker.Installation, "new": b.copied, "kept": b.kept,
				"database": out.FileName != "", "masterKey": false,
				"masterKeyId": marker.MasterKey})
		}
		c.say("%s holds the installation %s: %s copied, %d there before", args[0], marker.Installation, count(b.copied, "blob"), b.kept)
		if out.FileName == "" {
			c.say("the metadata is in PostgreSQL: it is not in this backup, see pg_dump")
		}
		c.say("the master key%s is not in the backup: keep a copy of %s in another place", before(marker.MasterKey),
			filepath.Join(c.data, "master.key"))
		return nil
	}
	return cmd
}

// sameInstallation makes the directory of a backup, and refuses one that holds another installation.
func sameInstallation(data, to string) (app.Marker, error) {
	marker, err := app.ReadMarker(data)
	if err != nil {
		return marker, err
	}
	if err := durable.MkdirAll(to, 0o700); err != nil {
		return marker, fmt.Errorf("making the directory of the backup: %w", err)
	}
	there, err := app.ReadMarker(to)
	if err == nil && there.Installation != "" && there.Installation != marker.Installation {
		err = fmt.Errorf("%s holds a backup of the installation %s, not of %s: choose another directory", to,
			there.Installation, marker.Installation)
	}
	return marker, err
}

const restoreHelp = `Make a data directory from a backup. The directory that --data names must be new or empty but for a master.key.
Every blob is compared with its digest; the exit status is 1 if one is damaged or missing, after the rest was restored.

Put your copy of the master key into the data directory, or give it in ECRIN_MASTER_KEY, and start the server. Then
"ecrin verify" compares the database with what is stored.`

func (c *commands) restore() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore DIR", Args: exactly("DIR"), Short: "Make a data directory from a backup", Long: restoreHelp,
		Example: "  ecrin restore /backup/ecrin --data /var/lib/ecrin",
	}
	c.dataFlag(cmd)
	asJSON := c.jsonFlag(cmd)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		marker, err := app.ReadMarker(args[0])
		if err == nil && marker.Installation == "" {
			err = fmt.Errorf("%s holds no whole backup: there is no %s", args[0], app.MarkerFile)
		}
		if err != nil {
			return err
		}
		if err := emptyFor(c.data); err != nil {
			return err
		}
		r := copier{from: args[0], to: c.data}
		if err := r.restore(marker); err != nil {
			return err
		}
		if *asJSON {
			answer := map[string]any{"installation": marker.Installation, "restored": r.copied, "damaged": append([]string{}, r.damaged...),
				"masterKeyId": marker.MasterKey}
			if err := c.printJSON(answer); err != nil || len(r.damaged) == 0 {
				return err
			}
		} else {
			for _, d := range r.damaged {
				fmt.Fprintln(c.Out, "blob:", d)
			}
		}
		if len(r.damaged) > 0 {
			return fmt.Errorf("%s of the backup could not be restored because of damage; %d could", count(len(r.damaged), "blob"), r.copied)
		}
		c.say("restored the installation %s with %s to %s", marker.Installation, count(r.copied, "blob"), c.data)
		c.say("put your copy of the master key%s into %s, then start the server", before(marker.MasterKey), filepath.Join(c.data, "master.key"))
		return nil
	}
	return cmd
}

// before returns a word with a space before it, "" for none.
func before(word string) string {
	if word == "" {
		return ""
	}
	return " " + word
}

// emptyFor makes a data directory to restore to, and refuses one that has anything but a master key.
func emptyFor(dir string) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "master.key" {
			return fmt.Errorf("the data directory %s has %s in it: restore to a new one", dir, e.Name())
		}
	}
	return nil
}

// copier copies between a data directory and a backup, which have the same layout.
type copier struct {
	from, to string
	link     bool // link blobs where possible; otherwise copy them and compare each with its digest

	copied, kept int
	damaged      []string // digests
}

// backup copies everything, the database last: whatever ecrin.db of the backup names is in it.
func (b *copier) backup(snapshot string, marker app.Marker) error {
	fresh := filepath.Join(b.to, "."+app.DatabaseFile+".new")
	if snapshot != "" {
		path := filepath.Join(b.from, snapshot)
		if err := copyFile(path, fresh, nil); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	if err := b.rest(); err != nil {
		return err
	}
	if snapshot != "" {
		if err := durable.Rename(fresh, filepath.Join(b.to, app.DatabaseFile)); err != nil {
			return err
		}
	}
	return app.WriteMarker(b.to, marker)
}

// restore copies everything, the database and the marker last: a server does not start on a part.
func (b *copier) restore(marker app.Marker) error {
	if err := b.rest(); err != nil {
		return err
	}
	err := copyFile(filepath.Join(b.from, app.DatabaseFile), filepath.Join(b.to, app.DatabaseFile), nil)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // with PostgreSQL there is none
		return err
	}
	return app.WriteMarker(b.to, marker)
}

// rest copies blobs, certificates and the audit trail.
func (b *copier) rest() error {
	for _, algorithm := range []string{"sha256", "sha512"} {
		if err := b.blobs(algorithm); err != nil {
			return err
		}
	}
	for _, folder := range []string{app.TLSFolder, app.AuditFolder, filepath.Join(app.AuditFolder, app.StrangersFolder)} {
		entries, err := os.ReadDir(filepath.Join(b.from, folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = durable.MkdirAll(filepath.Join(b.to, folder), 0o700)
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() {
				continue
			}
			if err := copyFile(filepath.Join(b.from, folder, e.Name()), filepath.Join(b.to, folder, e.Name()), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// blobs copies the blobs of an algorithm.
func (b *copier) blobs(algorithm string) error {
	root := filepath.Join(app.BlobsFolder, algorithm)
	folders, err := os.ReadDir(filepath.Join(b.from, root))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, folder := range folders {
		below := filepath.Join(root, folder.Name())
		entries, err := os.ReadDir(filepath.Join(b.from, below))
		if err != nil {
			return err
		}
		if err := durable.MkdirAll(filepath.Join(b.to, below), 0o700); err != nil {
			return err
		}
		for _, e := range entries {
			d, err := name.ParseDigest(algorithm + ":" + e.Name())
			if err != nil || !e.Type().IsRegular() {
				continue
			}
			if err := b.blob(filepath.Join(below, e.Name()), d); err != nil {
				return err
			}
		}
		if err := durable.SyncDir(filepath.Join(b.to, below)); err != nil {
			return err
		}
	}
	return nil
}

// blob copies one blob, at a path below both directories.
func (b *copier) blob(path string, d name.Digest) error {
	from, to := filepath.Join(b.from, path), filepath.Join(b.to, path)
	if !b.link {
		err := copyFile(from, to, &d)
		if errors.Is(err, errOtherDigest) {
			b.damaged = append(b.damaged, d.String())
			return nil
		}
		b.copied++
		return err
	}
	now, err := os.Stat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // moved to the quarantine since the folder was read
	}
	if err != nil {
		return err
	}
	switch there, err := os.Stat(to); {
	case err == nil && there.Size() == now.Size():
		b.kept++
		return nil
	case err == nil: // one of the two is damaged: only bytes with the right digest replace it
		if err := copyFile(from, to, &d); !errors.Is(err, errOtherDigest) {
			b.copied++
			return err
		}
		b.damaged = append(b.damaged, d.String())
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	b.copied++
	// A blob is never written in place, so a link stays what it is.
	if os.Link(from, to) == nil {
		return nil
	}
	return copyFile(from, to, nil)
}

// digester returns the hash for a digest, nil for none.
func digester(d *name.Digest) hash.Hash {
	switch {
	case d == nil:
		return nil
	case d.Algorithm() == name.SHA512:
		return sha512.New()
	}
	return sha256.New()
}

// errOtherDigest is the error of copyFile for bytes that have another digest.
var errOtherDigest = errors.New("the file has another digest")

// copyFile copies a file durably, under its name when it is whole. If want is not nil, the bytes must have this digest.
//
// Errors: errOtherDigest.
func copyFile(from, to string, want *name.Digest) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), ".copy-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(out.Name())
			err = fmt.Errorf("copying %s to %s: %w", from, to, err)
		}
	}()
	w := io.Writer(out)
	h := digester(want)
	if h != nil {
		w = io.MultiWriter(out, h)
	}
	if _, err := io.Copy(w, in); err != nil {
		return err
	}
	if h != nil && name.NewDigest(want.Algorithm(), h.Sum(nil)) != *want {
		return errOtherDigest
	}
	if err := durable.SyncData(out); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return durable.Rename(out.Name(), to)
}
