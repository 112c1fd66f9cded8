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

// Sizes of layers and their parts, in bytes. The service model limits the size of a part. Source: ECR user guide,
// service quotas.
const (
	MaxLayer int64 = 52_000 << 20
	MinPart  int64 = 5 << 20
	WantPart int64 = 20 << 20 // the part size in the answer of InitiateLayerUpload
)

// Values of Chunk.At and Chunk.Length if the request does not contain them.
const (
	AnyOffset    int64 = -1
	UnknownCount int64 = -1
)

// BeginUpload starts an upload, which only the same caller can continue.
//
// Errors: fault.RepositoryNotFound, fault.QuotaExceeded (the caller or the repository has too many uploads),
// fault.StorageQuotaExceeded (there is no room for a byte).
func (s *Service) BeginUpload(ctx context.Context, by identity.Caller, r meta.Repository, a name.Algorithm) (meta.Upload, error) {
	if err := s.meta.CheckRoom(ctx, r.Registry, r.Name, meta.Amounts{Bytes: 1}); err != nil {
		return meta.Upload{}, err
	}
	b, err := s.blobs.Begin(ctx, a)
	if err != nil {
		return meta.Upload{}, err
	}
	u := meta.Upload{ID: uuid.NewString(), Repository: r.ID, Principal: by.UserID, Blob: b, StartedAt: s.now()}
	q := meta.Quota{Key: by.LimitKey(), Max: s.maxUploads.PerPrincipal}
	return u, s.meta.PutUpload(ctx, r, u, q, s.maxUploads.ofRepository(owns(by, r)))
}

// owns reports whether the caller is the operator or a principal of the account of the repository.
func owns(by identity.Caller, r meta.Repository) bool {
	return by.Kind == identity.Operator || by.Account == r.Registry.Account
}

// ofRepository returns how many uploads a repository may have when another one begins. The principals of other accounts are
// refused when it has half of them, so that they cannot take the other half from the principals of its own account.
func (l UploadLimits) ofRepository(owner bool) int {
	if owner || l.PerRepository <= 0 {
		return l.PerRepository
	}
	return max(1, l.PerRepository/2)
}

// Upload returns the upload of the caller with the given id.
//
// Errors: fault.UploadNotFound, also if another caller began the upload or it belongs to another repository.
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

// hold excludes all other writers from an upload until release is called, and checks that u is the current state.
// Without that, another request could replace the bytes of a chunk before they are recorded, and the record would
// describe other bytes. The lock is in memory, which suffices because one process writes to a data directory; several
// nodes will need a lease in the row.
//
// Errors: fault.UploadConflict (another request is writing, or has written since u was read), fault.UploadNotFound.
func (s *Service) hold(ctx context.Context, u meta.Upload) (release func(), err error) {
	if u.ID == "" { // an upload of PutBlob: no other request can refer to it
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

// keySet is a set of keys that are in use. It is safe for concurrent use.
type keySet struct {
	mu   sync.Mutex
	keys map[string]bool
}

// take adds a key and reports whether it was absent.
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

// Chunk is a part of the content of an upload.
type Chunk struct {
	Body   io.Reader
	At     int64 // offset of the first byte; AnyOffset for the end of the upload
	Length int64 // number of bytes; UnknownCount if the request does not declare it
}

// Append appends a chunk and returns the new state of the upload. On failure no byte of the chunk becomes part of the
// upload.
//
// Errors: fault.RangeInvalid (At is not the end of the upload; the member size is), fault.SizeInvalid (shorter or
// longer than Length), fault.UploadConflict (another writer), fault.Unavailable (disk full), fault.StorageQuotaExceeded (the repository
// has no room for the upload with the chunk; the upload is deleted).
func (s *Service) Append(ctx context.Context, r meta.Repository, u meta.Upload, c Chunk) (meta.Upload, error) {
	if err := startsAtEnd(u, c); err != nil {
		return u, err
	}
	release, err := s.hold(ctx, u)
	if err != nil {
		return u, err
	}
	defer release()
	if err := s.roomFor(ctx, r, u, c); err != nil {
		return u, err
	}
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

// forgetIfGone deletes the record of an upload if err says that its bytes do not exist, so that later requests receive
// fault.UploadNotFound. A crash between the end of an upload and the record of its blob leaves such a record.
func (s *Service) forgetIfGone(ctx context.Context, u meta.Upload, err error) error {
	if errors.Is(err, fault.UploadNotFound) && u.ID != "" {
		return errors.Join(err, s.meta.DeleteUpload(ctx, u.ID))
	}
	return err
}

// Complete appends a last chunk, whose Body may be nil, checks the digest, and adds the blob to the repository.
//
// Errors: those of Append; fault.DigestInvalid (the content has another digest; the upload stays),
// fault.RepositoryNotFound. After fault.StorageQuotaExceeded the upload is deleted.
func (s *Service) Complete(ctx context.Context, r meta.Repository, u meta.Upload, c Chunk, want name.Digest) (blob.Info, error) {
	return s.complete(ctx, r, u, c, want, s.meta.AddBlob)
}

// complete is Complete with the function that records the blob.
func (s *Service) complete(ctx context.Context, r meta.Repository, u meta.Upload, c Chunk, want name.Digest,
	record func(context.Context, meta.Repository, blob.Info, string) (bool, error)) (blob.Info, error) {
	if err := startsAtEnd(u, c); err != nil {
		return blob.Info{}, err
	}
	release, err := s.hold(ctx, u)
	if err != nil {
		return blob.Info{}, err
	}
	defer release()
	if err := s.roomFor(ctx, r, u, c); err != nil {
		return blob.Info{}, err
	}
	if err := s.landing.enter(ctx, want); err != nil {
		return blob.Info{}, err
	}
	defer s.landing.leave(want)
	if u, _, err = s.hash(ctx, u, want.Algorithm()); err != nil {
		return blob.Info{}, err
	}
	var last io.Reader
	if c.Body != nil {
		last = exactly(c)
	}
	info, err := s.blobs.Commit(ctx, u.Blob, last, layerLimit(u, c), want)
	if err != nil {
		return blob.Info{}, s.forgetIfGone(ctx, u, err)
	}
	// The blob is stored, so it is recorded even if the client has disconnected.
	kept := context.WithoutCancel(ctx)
	added, err := record(kept, r, info, u.ID)
	if err == nil && added && s.stored != nil {
		s.stored(ctx, r, info.Size)
	}
	if err != nil {
		if lost := s.meta.AddBlobCandidates(kept, []name.Digest{want}); lost != nil {
			s.unrecorded.add(want)
			err = errors.Join(err, lost)
		}
		if errors.Is(err, fault.StorageQuotaExceeded) && u.ID != "" {
			err = errors.Join(err, s.meta.DeleteUpload(kept, u.ID)) // its bytes are those of the candidate
		}
	}
	return info, err
}

// hash returns the digest of an upload with an algorithm, and the upload in its new state. The caller holds the upload. If the
// bytes were read for the hash, the new state is stored, even if the client has disconnected: no other attempt to complete
// the upload reads them again, however many wrong digests the client sends.
//
// Errors: those of blob.Store.Hash.
func (s *Service) hash(ctx context.Context, u meta.Upload, a name.Algorithm) (meta.Upload, name.Digest, error) {
	ctx = context.WithoutCancel(ctx)
	after, d, err := s.blobs.Hash(ctx, u.Blob, a)
	if err != nil {
		return u, name.Digest{}, s.forgetIfGone(ctx, u, err)
	}
	if bytes.Equal(after.State, u.Blob.State) || u.ID == "" {
		return u, d, nil
	}
	u.Blob = after
	return u, d, s.meta.AdvanceUpload(ctx, u, u.Blob.Size)
}

// PutBlob stores a whole blob in one call, without an upload that could be continued.
//
// Errors: those of Complete.
func (s *Service) PutBlob(ctx context.Context, r meta.Repository, c Chunk, want name.Digest) (blob.Info, error) {
	b, err := s.blobs.Begin(ctx, want.Algorithm())
	if err != nil {
		return blob.Info{}, err
	}
	info, err := s.Complete(ctx, r, meta.Upload{Blob: b}, c, want)
	if err != nil {
		// No request can continue this upload, so its bytes are deleted now, even if the client has disconnected.
		err = errors.Join(err, s.blobs.Abort(context.WithoutCancel(ctx), b))
	}
	return info, err
}

// Cancel deletes an upload.
//
// Errors: fault.UploadConflict (another request is writing to it).
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

// roomFor refuses a chunk if the quotas of the repository have no room for the upload with it, before it is read. A chunk whose length is
// not declared counts nothing: the record of the blob decides.
//
// The upload is deleted then, because it cannot succeed. The caller holds it.
//
// Errors: fault.StorageQuotaExceeded.
func (s *Service) roomFor(ctx context.Context, r meta.Repository, u meta.Upload, c Chunk) error {
	kept := context.WithoutCancel(ctx)
	err := s.meta.CheckRoom(kept, r.Registry, r.Name, meta.Amounts{Bytes: u.Blob.Size + max(c.Length, 0)})
	if !errors.Is(err, fault.StorageQuotaExceeded) || u.ID == "" { // PutBlob deletes its own upload
		return err
	}
	return errors.Join(err, s.blobs.Abort(kept, u.Blob), s.meta.DeleteUpload(kept, u.ID))
}

func startsAtEnd(u meta.Upload, c Chunk) error {
	if c.At != AnyOffset && c.At != u.Blob.Size {
		return fault.RangeInvalid.New("First byte of the layer part is %d instead of %d", c.At, u.Blob.Size).With("size", u.Blob.Size)
	}
	return nil
}

// layerLimit returns the maximum number of bytes that the store reads from a chunk: its length, or what remains up to
// MaxLayer if that is less.
func layerLimit(u meta.Upload, c Chunk) int64 {
	limit := MaxLayer - u.Blob.Size
	if c.Length != UnknownCount {
		limit = min(limit, c.Length)
	}
	return limit
}

// exactly returns the body of a chunk. It fails at the end of a body that is shorter than c.Length; the store refuses a
// longer body.
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

// Blob returns the holding of a blob in the repository.
//
// Errors: fault.BlobNotFound.
func (s *Service) Blob(ctx context.Context, r meta.Repository, d name.Digest) (meta.Holding, error) {
	h, err := s.meta.Holding(ctx, r.ID, d)
	if err == nil && s.quirks.LayerNeedsImage && !h.Referenced {
		return meta.Holding{}, fault.BlobNotFound.New("blob %s is unknown to this repository", d)
	}
	return h, err
}

// OpenBlob opens a blob that the repository holds; see blob.Store.Open.
//
// Errors: fault.BlobNotFound, ErrBytesLost.
func (s *Service) OpenBlob(ctx context.Context, r meta.Repository, d name.Digest) (io.ReadSeekCloser, meta.Holding, error) {
	h, err := s.Blob(ctx, r, d)
	if err != nil {
		return nil, meta.Holding{}, err
	}
	f, info, err := s.blobs.Open(ctx, d)
	switch {
	case errors.Is(err, fault.BlobNotFound):
		if _, err := s.Blob(ctx, r, d); errors.Is(err, fault.BlobNotFound) { // it was collected since the first look
			return nil, meta.Holding{}, err
		}
		return nil, meta.Holding{}, fmt.Errorf("blob %s of repository %s: %w", d, r.ARN(), ErrBytesLost)
	case errors.Is(err, blob.ErrDamaged):
		_, qerr := s.quarantine(ctx, info, err)
		return nil, meta.Holding{}, errors.Join(fmt.Errorf("%w: %w", ErrBytesLost, err), qerr)
	case err != nil:
		return nil, meta.Holding{}, err
	case info.Size != h.Size:
		err := fmt.Errorf("the file of blob %s has %d bytes instead of %d: %w", d, info.Size, h.Size, ErrBytesLost)
		_, qerr := s.quarantine(ctx, info, err)
		return nil, meta.Holding{}, errors.Join(err, f.Close(), qerr)
	}
	return f, h, nil
}

// Mount adds a blob of one repository to another repository of the same registry without copying its bytes.
//
// Errors: fault.BlobNotFound (also if the settings do not permit the mount, or the bytes are lost),
// fault.RepositoryNotFound.
func (s *Service) Mount(ctx context.Context, from, to meta.Repository, d name.Digest) error {
	setting, err := s.meta.Setting(ctx, to.Registry, meta.SettingBlobMounting)
	if err != nil {
		return err
	}
	if setting == meta.Disabled || s.quirks.MountSetting && setting != meta.Enabled || from.Registry != to.Registry ||
		from.Encryption != to.Encryption || from.KMSKey != to.KMSKey {
		return fault.BlobNotFound.New("blob %s cannot be mounted here", d)
	}
	h, err := s.Blob(ctx, from, d)
	if err == nil {
		err = s.sound(ctx, h)
	}
	if err != nil {
		return err
	}
	return s.meta.MountBlob(ctx, from, to, d)
}

// UploadPart appends a part of the ECR API: bytes first to last of the layer, inclusive.
//
// Errors: fault.InvalidLayerPart (data is empty, has another length, or does not start after the last byte received;
// with the members of the modelled exception), and those of Append.
func (s *Service) UploadPart(ctx context.Context, r meta.Repository, u meta.Upload, first, last int64, data []byte) (meta.Upload, error) {
	if first != u.Blob.Size || last-first+1 != int64(len(data)) || len(data) == 0 {
		return u, invalidPart(r, u, first, last, len(data))
	}
	if u.SmallPart == 0 && int64(len(data)) < MinPart {
		u.SmallPart = int64(len(data))
	} else if u.SmallPart > 0 {
		u.SmallPart = -u.SmallPart // negative: the small part is not the last, so CompleteParts will refuse the upload
	}
	u, err := s.Append(ctx, r, u, Chunk{Body: bytes.NewReader(data), At: first, Length: int64(len(data))})
	if errors.Is(err, fault.UploadConflict) {
		return u, invalidPart(r, u, first, last, len(data)).Because(err)
	}
	return u, err
}

func invalidPart(r meta.Repository, u meta.Upload, first, last int64, n int) *fault.Error {
	e := fault.InvalidLayerPart.New("Layer part bytes %d to %d with %d bytes of data do not follow the %d bytes received",
		first, last, n, u.Blob.Size).
		With("registryId", r.Registry.Account.String()).With("repositoryName", r.Name.String()).With("uploadId", u.ID)
	return e.With("lastValidByteReceived", max(u.Blob.Size-1, 0))
}

// CompleteParts completes an upload of the ECR API. One of digests must be that of the layer.
//
// Errors: fault.EmptyUpload, fault.LayerPartTooSmall, fault.InvalidLayer, fault.LayerAlreadyExists, and those of
// Complete.
func (s *Service) CompleteParts(ctx context.Context, r meta.Repository, u meta.Upload, digests []name.Digest) (name.Digest, error) {
	switch {
	case u.Parts == 0:
		return name.Digest{}, fault.EmptyUpload.New("The upload with id '%s' has no layer parts", u.ID)
	case u.SmallPart < 0:
		return name.Digest{}, fault.LayerPartTooSmall.New("A layer part has %d bytes; every part but the last has at least %d",
			-u.SmallPart, MinPart)
	}
	u, d, err := s.match(ctx, u, digests)
	if err != nil {
		return name.Digest{}, err
	}
	_, err = s.meta.Holding(ctx, r.ID, d)
	held := err == nil
	if err != nil && !errors.Is(err, fault.BlobNotFound) {
		return name.Digest{}, err
	}
	info, err := s.Complete(ctx, r, u, Chunk{At: AnyOffset, Length: UnknownCount}, d)
	if err == nil && held {
		err = LayerAlreadyExists(r, d)
	}
	if err != nil {
		return name.Digest{}, err
	}
	return info.Digest, nil
}

// match returns the first of the digests that is that of the upload, and the upload in its new state: for each algorithm the
// bytes are hashed once.
//
// Errors: fault.InvalidLayer (none is), and those of hold and hash.
func (s *Service) match(ctx context.Context, u meta.Upload, digests []name.Digest) (meta.Upload, name.Digest, error) {
	release, err := s.hold(ctx, u)
	if err != nil {
		return u, name.Digest{}, err
	}
	defer release()
	have := map[name.Algorithm]name.Digest{}
	for _, d := range digests {
		a := d.Algorithm()
		if _, known := have[a]; !known {
			if u, have[a], err = s.hash(ctx, u, a); err != nil {
				return u, name.Digest{}, err
			}
		}
		if have[a] == d {
			return u, d, nil
		}
	}
	return u, name.Digest{}, fault.InvalidLayer.New("None of the provided layer digests match the calculated layer digest")
}

// LayerAlreadyExists returns the error for a layer that the repository already holds, in the words of ECR.
func LayerAlreadyExists(r meta.Repository, d name.Digest) *fault.Error {
	return fault.LayerAlreadyExists.New("Layer with digest '%s' already exists in the repository with name '%s' in the registry with id '%s'", d, r.Name, r.Registry.Account)
}
