package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/google/uuid"

	"github.com/ecrin-dev/ecrin/internal/core/identity"
	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/store/meta"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// Sizes of layers and their parts, in bytes; the service model bounds a part from above. Source: ECR user guide, service
// quotas.
const (
	MaxLayer int64 = 52_000 << 20
	MinPart  int64 = 5 << 20
	WantPart int64 = 20 << 20 // what InitiateLayerUpload tells clients to send
)

// What a Chunk says of where it starts and how long it is when the client has not told.
const (
	AnyOffset    int64 = -1
	UnknownCount int64 = -1
)

// BeginUpload starts an upload that only this caller can go on with. Errors: fault.RepositoryNotFound.
func (s *Service) BeginUpload(ctx context.Context, by identity.Caller, r meta.Repository, a name.Algorithm) (meta.Upload, error) {
	b, err := s.blobs.Begin(ctx, a)
	if err != nil {
		return meta.Upload{}, err
	}
	u := meta.Upload{ID: uuid.NewString(), Repository: r.ID, Principal: by.UserID, Blob: b, StartedAt: s.now()}
	return u, s.meta.PutUpload(ctx, r, u)
}

// Upload finds an upload of the caller. One of another caller or repository is as unknown as none.
// Errors: fault.UploadNotFound.
func (s *Service) Upload(ctx context.Context, by identity.Caller, r meta.Repository, id string) (meta.Upload, error) {
	unknown := fault.UploadNotFound.New("the upload with id '%s' does not exist in the repository with name '%s'", name.Clip(id), r.Name)
	parsed, err := uuid.Parse(id)
	if err != nil || parsed.String() != id {
		return meta.Upload{}, unknown
	}
	u, err := s.meta.Upload(ctx, r.ID, id)
	if errors.Is(err, fault.UploadNotFound) || err == nil && u.Principal != by.UserID {
		return meta.Upload{}, unknown
	}
	return u, err
}

// hold keeps every other writer away from an upload until release is called, and makes sure that u is how it stands now:
// between the bytes of a chunk and the record of them nobody may get at the file, or the record would tell of other
// bytes. This process is the only writer of its data directory; several nodes will need a lease in the row.
// Errors: fault.UploadConflict (someone is writing, or has written since u was read), fault.UploadNotFound.
func (s *Service) hold(ctx context.Context, u meta.Upload) (release func(), err error) {
	if u.ID == "" { // PutBlob's: nobody else knows of it
		return func() {}, nil
	}
	conflict := fault.UploadConflict.New("another request is writing to the upload %s", u.ID)
	if !s.held.take(u.ID) {
		return nil, conflict
	}
	release = func() { s.held.leave(u.ID) }
	now, err := s.meta.Upload(ctx, u.Repository, u.ID)
	if err == nil && (now.Blob.Size != u.Blob.Size || !bytes.Equal(now.Blob.State, u.Blob.State)) {
		err = conflict
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// keySet is a set of keys that are in use.
type keySet struct {
	mu   sync.Mutex
	keys map[string]bool
}

func (k *keySet) take(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys[key] {
		return false
	}
	if k.keys == nil {
		k.keys = map[string]bool{}
	}
	k.keys[key] = true
	return true
}

func (k *keySet) leave(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, key)
}

// Chunk is a piece of an upload's content.
type Chunk struct {
	Body   io.Reader
	At     int64 // where it must start, or AnyOffset for "at the end"
	Length int64 // how many bytes it must have, or UnknownCount
}

// Append adds a chunk and returns the upload after it. When it fails, nothing of the chunk counts.
// Errors: fault.RangeInvalid (not at the end; member size tells where that is), fault.SizeInvalid (shorter or longer than
// Length), fault.UploadConflict (another writer), fault.Unavailable (disk full).
func (s *Service) Append(ctx context.Context, u meta.Upload, c Chunk) (meta.Upload, error) {
	if err := startsAtEnd(u, c); err != nil {
		return u, err
	}
	release, err := s.hold(ctx, u)
	if err != nil {
		return u, err
	}
	defer release()
	before := u.Blob.Size
	after, err := s.blobs.Append(ctx, u.Blob, exactly(c), layerLimit(u, c))
	if err != nil {
		return u, s.forgetIfGone(ctx, u, err)
	}
	u.Blob = after
	u.Parts++
	if err := s.meta.AdvanceUpload(ctx, u, before); err != nil {
		return u, err
	}
	return u, nil
}

// forgetIfGone drops the record of an upload whose bytes are gone, so that nobody is told again to go on with it. A crash
// between the end of an upload and the record of its blob leaves such a one.
func (s *Service) forgetIfGone(ctx context.Context, u meta.Upload, err error) error {
	if errors.Is(err, fault.UploadNotFound) && u.ID != "" {
		return errors.Join(err, s.meta.DeleteUpload(ctx, u.ID))
	}
	return err
}

// Complete adds a last chunk (Body may be nil), checks the digest, and makes the blob one of the repository's.
// Errors: those of Append; fault.DigestInvalid (content has another digest; the upload stays), fault.RepositoryNotFound.
func (s *Service) Complete(ctx context.Context, r meta.Repository, u meta.Upload, c Chunk, want name.Digest) (blob.Info, error) {
	if err := startsAtEnd(u, c); err != nil {
		return blob.Info{}, err
	}
	release, err := s.hold(ctx, u)
	if err != nil {
		return blob.Info{}, err
	}
	defer release()
	var last io.Reader
	if c.Body != nil {
		last = exactly(c)
	}
	info, err := s.blobs.Commit(ctx, u.Blob, last, layerLimit(u, c), want)
	if err != nil {
		return blob.Info{}, s.forgetIfGone(ctx, u, err)
	}
	// The blob is stored; the client going away now must not undo that.
	_, err = s.meta.AddBlob(context.WithoutCancel(ctx), r, info, u.ID)
	return info, err
}

// PutBlob stores a whole blob in one call, without an upload that could be continued.
// Errors: those of Complete.
func (s *Service) PutBlob(ctx context.Context, r meta.Repository, c Chunk, want name.Digest) (blob.Info, error) {
	b, err := s.blobs.Begin(ctx, want.Algorithm())
	if err != nil {
		return blob.Info{}, err
	}
	info, err := s.Complete(ctx, r, meta.Upload{Blob: b}, c, want)
	if err != nil {
		// Nobody can continue it, so its bytes go at once, whatever happened to the client.
		err = errors.Join(err, s.blobs.Abort(context.WithoutCancel(ctx), b))
	}
	return info, err
}

// Cancel drops an upload. Errors: fault.UploadConflict (someone is writing to it now).
func (s *Service) Cancel(ctx context.Context, u meta.Upload) error {
	release, err := s.hold(ctx, u)
	if err != nil {
		return err
	}
	defer release()
	if err := s.blobs.Abort(ctx, u.Blob); err != nil {
		return err
	}
	return s.meta.DeleteUpload(ctx, u.ID)
}

func startsAtEnd(u meta.Upload, c Chunk) error {
	if c.At != AnyOffset && c.At != u.Blob.Size {
		return fault.RangeInvalid.New("First byte of the layer part is %d instead of %d", c.At, u.Blob.Size).With("size", u.Blob.Size)
	}
	return nil
}

// layerLimit is the most bytes the store may take from a chunk: its length, and never more than a layer can have.
func layerLimit(u meta.Upload, c Chunk) int64 {
	limit := MaxLayer - u.Blob.Size
	if c.Length != UnknownCount {
		limit = min(limit, c.Length)
	}
	return limit
}

// exactly fails at the end of a body that is shorter than it was announced; the store refuses a longer one.
func exactly(c Chunk) io.Reader {
	if c.Length == UnknownCount {
		return c.Body
	}
	return &countedReader{r: c.Body, left: c.Length, want: c.Length}
}

type countedReader struct {
	r          io.Reader
	left, want int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if (err == io.EOF || err == io.ErrUnexpectedEOF) && c.left > 0 {
		err = fault.SizeInvalid.New("the body ended after %d of %d bytes", c.want-c.left, c.want)
	}
	return n, err
}

// Blob tells how the repository holds a blob. Errors: fault.BlobNotFound.
func (s *Service) Blob(ctx context.Context, r meta.Repository, d name.Digest) (meta.Holding, error) {
	h, err := s.meta.Holding(ctx, r.ID, d)
	if err == nil && s.quirks.LayerNeedsImage && !h.Referenced {
		return meta.Holding{}, fault.BlobNotFound.New("blob %s is unknown to this repository", d)
	}
	return h, err
}

// OpenBlob reads a blob that the repository holds; see blob.Store.Open. Errors: fault.BlobNotFound.
func (s *Service) OpenBlob(ctx context.Context, r meta.Repository, d name.Digest) (io.ReadSeekCloser, meta.Holding, error) {
	h, err := s.Blob(ctx, r, d)
	if err != nil {
		return nil, meta.Holding{}, err
	}
	f, _, err := s.blobs.Open(ctx, d)
	if errors.Is(err, fault.BlobNotFound) {
		// The metadata says that it is there: this is a loss, not a wrong request.
		return nil, meta.Holding{}, fmt.Errorf("blob %s of repository %s is recorded but its bytes are gone", d, r.ARN())
	}
	return f, h, err
}

// Mount makes a blob of one repository a blob of another one of the same registry, without its bytes.
// Errors: fault.BlobNotFound, fault.RepositoryNotFound.
func (s *Service) Mount(ctx context.Context, from, to meta.Repository, d name.Digest) error {
	setting, err := s.meta.Setting(ctx, to.Registry, meta.SettingBlobMounting)
	if err != nil {
		return err
	}
	if setting == meta.Disabled || s.quirks.MountSetting && setting != meta.Enabled || from.Registry != to.Registry ||
		from.Encryption != to.Encryption || from.KMSKey != to.KMSKey {
		return fault.BlobNotFound.New("blob %s cannot be mounted here", d)
	}
	if _, err := s.Blob(ctx, from, d); err != nil {
		return err
	}
	return s.meta.MountBlob(ctx, from, to, d)
}

// UploadPart adds a part by the ECR API: bytes first to last of the layer, inclusive.
// Errors: fault.InvalidLayerPart (not right after the last byte; members of the model), and those of Append.
func (s *Service) UploadPart(ctx context.Context, r meta.Repository, u meta.Upload, first, last int64, data []byte) (meta.Upload, error) {
	if first != u.Blob.Size || last-first+1 != int64(len(data)) || len(data) == 0 {
		return u, invalidPart(r, u, first, last, len(data))
	}
	if u.SmallPart == 0 && int64(len(data)) < MinPart {
		u.SmallPart = int64(len(data))
	} else if u.SmallPart > 0 {
		u.SmallPart = -u.SmallPart // a part follows a small one: completing will be refused
	}
	u, err := s.Append(ctx, u, Chunk{Body: bytes.NewReader(data), At: first, Length: int64(len(data))})
	if errors.Is(err, fault.UploadConflict) {
		return u, invalidPart(r, u, first, last, len(data)).Because(err)
	}
	return u, err
}

func invalidPart(r meta.Repository, u meta.Upload, first, last int64, n int) *fault.Error {
	e := fault.InvalidLayerPart.New("Layer part bytes %d to %d with %d bytes of data do not follow the %d bytes received", first, last, n, u.Blob.Size).
		With("registryId", r.Registry.Account.String()).With("repositoryName", r.Name.String()).With("uploadId", u.ID)
	return e.With("lastValidByteReceived", max(u.Blob.Size-1, 0))
}

// CompleteParts ends an upload by the ECR API. One of the digests must be the layer's.
// Errors: fault.EmptyUpload, fault.LayerPartTooSmall, fault.InvalidLayer, fault.LayerAlreadyExists, and those of Complete.
func (s *Service) CompleteParts(ctx context.Context, r meta.Repository, u meta.Upload, digests []name.Digest) (name.Digest, error) {
	switch {
	case u.Parts == 0:
		return name.Digest{}, fault.EmptyUpload.New("The upload with id '%s' has no layer parts", u.ID)
	case u.SmallPart < 0:
		return name.Digest{}, fault.LayerPartTooSmall.New("A layer part has %d bytes; every part but the last has at least %d", -u.SmallPart, MinPart)
	}
	for _, d := range digests {
		_, err := s.meta.Holding(ctx, r.ID, d)
		held := err == nil
		info, err := s.Complete(ctx, r, u, Chunk{At: AnyOffset, Length: UnknownCount}, d)
		switch {
		case errors.Is(err, fault.DigestInvalid):
			continue
		case err != nil:
			return name.Digest{}, err
		case held:
			return name.Digest{}, LayerAlreadyExists(r, d)
		}
		return info.Digest, nil
	}
	return name.Digest{}, fault.InvalidLayer.New("None of the provided layer digests match the calculated layer digest")
}

// LayerAlreadyExists is the answer for a layer that the repository holds already, in ECR's words.
func LayerAlreadyExists(r meta.Repository, d name.Digest) *fault.Error {
	return fault.LayerAlreadyExists.New("Layer with digest '%s' already exists in the repository with name '%s' in the registry with id '%s'", d, r.Name, r.Registry.Account)
}
