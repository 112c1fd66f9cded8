package pack

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

// Binary is a static Linux program for one architecture.
type Binary struct {
	Arch string // as in Go and OCI: amd64, arm64
	Path string // path of the file
}

// Spec describes an image made of binaries.
type Spec struct {
	File    string              // the program's file name in the image's root directory; "/"+File is the entrypoint
	Cmd     []string            // default arguments
	Env     []string            // KEY=value
	Ports   map[string]struct{} // as in the image configuration: "5100/tcp"
	Volumes map[string]struct{} // directories that outlive a container
	Files   map[string][]byte   // other files, by their names without the leading slash, mode 0644, owner root; their folders too
	Owned   []string            // directories of the image that belong to User, without the leading slash
	User    int                 // number of the user and of the group that the program runs as; 0 for root
	Labels  map[string]string   // labels of each image, annotations of the index
	Name    string              // name in the layout, for example a tag; may be ""
	Created time.Time           // the zero time means 1970-01-01, so that the digests depend on the content only
}

// Build writes an OCI index with one image for each binary to dir, which must not exist or must be empty. Each
// image has one layer with the program, with mode 0755, owner root and a fixed time. The same input gives the
// same digests.
//
// Errors: fault.InvalidParameter (a file is not a static program for its architecture; dir is not empty). After an error
// the content of dir is undefined.
func Build(ctx context.Context, dir string, spec Spec, binaries []Binary) (*Image, error) {
	l, err := createLayout(dir, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if spec.Created.IsZero() {
		spec.Created = time.Unix(0, 0)
	}
	spec.Created = spec.Created.UTC().Truncate(time.Second)

	images := make([]ocispec.Descriptor, len(binaries))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, b := range binaries {
		group.Go(func() (err error) {
			images[i], err = l.addImage(groupCtx, &spec, b)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	root, err := l.putJSON(ctx, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageIndex,
		Manifests:   images,
		Annotations: spec.Labels,
	})
	if err != nil {
		return nil, err
	}
	return l.image(ctx, root, spec.Name)
}

// image completes the layout with root as its only image.
func (l *layout) image(ctx context.Context, root ocispec.Descriptor, called string) (*Image, error) {
	blobs, err := Verify(ctx, l.dir, root)
	if err != nil {
		return nil, err
	}
	image := &Image{Dir: l.dir, Name: called, Root: root, Blobs: blobs}
	return image, l.finish(image)
}

func (l *layout) addImage(ctx context.Context, spec *Spec, b Binary) (ocispec.Descriptor, error) {
	layer, diffID, err := l.addLayer(ctx, spec, b)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("packing %s: %w", b.Path, err)
	}
	platform := ocispec.Platform{OS: "linux", Architecture: b.Arch}
	if b.Arch == "arm64" {
		platform.Variant = "v8"
	}
	config, err := l.putJSON(ctx, ocispec.MediaTypeImageConfig, ocispec.Image{
		Created:  &spec.Created,
		Platform: platform,
		Config: ocispec.ImageConfig{
			Entrypoint: []string{"/" + spec.File}, Cmd: spec.Cmd, Env: spec.Env, WorkingDir: "/",
			User: userOf(spec.User), ExposedPorts: spec.Ports, Volumes: spec.Volumes, Labels: spec.Labels,
		},
		RootFS:  ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.Digest(diffID.String())}},
		History: []ocispec.History{{Created: &spec.Created, CreatedBy: "COPY " + spec.File + " /" + spec.File}},
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	image, err := l.putJSON(ctx, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest,
		Config:    config,
		Layers:    []ocispec.Descriptor{layer},
	})
	image.Platform = &platform
	return image, err
}

// addLayer stores the gzipped layer and returns the digest of the uncompressed layer, in one pass over the
// program.
func (l *layout) addLayer(ctx context.Context, spec *Spec, b Binary) (layer ocispec.Descriptor, diffID name.Digest, err error) {
	f, err := os.Open(b.Path)
	if err != nil {
		return layer, diffID, err
	}
	defer f.Close()
	if err := checkStatic(f, b.Arch); err != nil {
		return layer, diffID, err
	}
	info, err := f.Stat()
	if err != nil {
		return layer, diffID, err
	}
	blob, err := l.create(name.SHA256)
	if err != nil {
		return layer, diffID, err
	}
	plain := sha256.New()
	zipped := gzip.NewWriter(blob)
	archive := tar.NewWriter(io.MultiWriter(plain, zipped))
	for _, dir := range spec.Owned {
		err = errors.Join(err, archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o700, Uid: spec.User,
			Gid: spec.User, ModTime: spec.Created, Format: tar.FormatUSTAR}))
	}
	err = errors.Join(err, addFiles(archive, spec))
	header := tar.Header{
		Typeflag: tar.TypeReg, Name: spec.File, Size: info.Size(), Mode: 0o755,
		ModTime: spec.Created, Format: tar.FormatUSTAR,
	}
	err = errors.Join(err, archive.WriteHeader(&header))
	if err == nil {
		_, err = io.Copy(archive, readerUntil(ctx, f))
	}
	if err := errors.Join(err, archive.Close(), zipped.Close()); err != nil {
		blob.abort()
		return layer, diffID, err
	}
	d, size, err := blob.commit()
	return describe(ocispec.MediaTypeImageLayerGzip, d, size), name.NewDigest(name.SHA256, plain.Sum(nil)), err
}

// addFiles writes the other files of an image and their folders, in the order of their names.
func addFiles(archive *tar.Writer, spec *Spec) error {
	made := map[string]bool{}
	for _, label := range slices.Sorted(maps.Keys(spec.Files)) {
		for i, c := range label {
			if dir := label[:i+1]; c == '/' && !made[dir] {
				made[dir] = true
				if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755, ModTime: spec.Created,
					Format: tar.FormatUSTAR}); err != nil {
					return err
				}
			}
		}
		body := spec.Files[label]
		err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: label, Size: int64(len(body)), Mode: 0o644, ModTime: spec.Created,
			Format: tar.FormatUSTAR})
		if err == nil {
			_, err = archive.Write(body)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// userOf returns the user of an image configuration, with the group; "" for root.
func userOf(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%[1]d", number)
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkStatic returns an error for a program that cannot run in an image without other files: one for another
// architecture, or one that needs a dynamic loader.
func checkStatic(r io.ReaderAt, arch string) error {
	want, ok := machines[arch]
	if !ok {
		return fault.InvalidParameter.New("architecture %q is not known: use amd64 or arm64", arch)
	}
	program, err := elf.NewFile(r)
	if err != nil {
		return fault.InvalidParameter.New("the file is not a Linux program").Because(err)
	}
	if program.Machine != want {
		return fault.InvalidParameter.New("the program is for %s, not for %s", program.Machine, want)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return fault.InvalidParameter.New("the program is linked dynamically; build it with CGO_ENABLED=0")
		}
	}
	return nil
}
