package upstream

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/ecrin-dev/ecrin/internal/word/name"
)

const (
	maxBlob        = 64 << 30 // bytes of a blob whose size is not known; ECR permits 52,000 MiB
	maxResumes     = 5        // times in turn that a blob is resumed with less than resumeProgress between them
	maxAllResumes  = 100
	resumeProgress = 1 << 20 // bytes
)

// BlobOptions say what is known of a blob and where its reading begins.
type BlobOptions struct {
	Size   int64     // of the whole blob in bytes, from its descriptor; 0 means that it is not known
	Offset int64     // of the first byte to read
	Prefix hash.Hash // of the digest's algorithm, has read the first Offset bytes; nil with an Offset means that the caller verifies

	// CallerVerifies says that the caller compares the digest, which the reader then does not: the bytes are hashed once.
	CallerVerifies bool

	// Unplaced says that the content, once it is being received, takes no place of Limits.PerHost: the caller gives it to a client that
	// may read slowly, and limits such readers itself.
	Unplaced bool
}

// Blob reads the content of a blob. It is not safe for concurrent use.
type Blob struct {
	ctx    context.Context // of the call, for the requests that resume it
	r      *Registry
	repo   string
	digest name.Digest
	hash   hash.Hash // nil if the caller verifies
	body   io.ReadCloser
	size   int64 // -1 if it is not known
	offset int64
	err    error
	placed bool // the body has its place until it is closed

	resumes, inTurn int
	resumed         int64 // offset at the last resume
}

// Blob opens a blob. The reader reads every byte from Offset on and verifies size and digest at the end: it returns
// io.EOF only if they are right. Thus content is to be used only after io.EOF. If the connection breaks or stalls, the
// reader continues with another request. It must be closed; until then it takes one of Limits.PerHost places, unless it is Unplaced.
//
// Errors, also of Read: an [Error], or that of ctx.
func (r *Registry) Blob(ctx context.Context, repo string, d name.Digest, o BlobOptions) (*Blob, error) {
	if o.Offset < 0 || o.Size < 0 || o.Size > 0 && o.Offset > o.Size || d == (name.Digest{}) {
		return nil, invalid("the digest, size or offset of the blob is not valid")
	}
	b := &Blob{ctx: ctx, r: r, repo: repo, digest: d, size: -1, offset: o.Offset, resumed: o.Offset, hash: o.Prefix,
		placed: !o.Unplaced}
	if o.Size > 0 {
		b.size = o.Size
	}
	if o.Offset == 0 && !o.CallerVerifies {
		b.hash = newHash(d.Algorithm())
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

// Size returns the size of the whole blob in bytes; -1 if it is not known.
func (b *Blob) Size() int64 { return b.size }

// open requests the bytes from the offset on.
func (b *Blob) open() error {
	req, err := b.r.request(b.ctx, http.MethodGet, b.repo, "blobs", b.digest.String(), auth.ActionPull)
	if err != nil {
		return err
	}
	if b.offset > 0 {
		if b.offset == b.size { // a range would be empty
			b.body = http.NoBody
			return nil
		}
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
	}
	resp, err := b.r.send(req)
	if err != nil {
		return b.r.library(b.ctx, err)
	}
	if err := b.check(resp); err != nil {
		_ = resp.Body.Close() // the error of the response is returned
		return err
	}
	if body, ok := resp.Body.(*placed); ok && !b.placed {
		body.release()
	}
	b.body = resp.Body
	return nil
}

// check reads the header of a response, and skips what the response repeats.
func (b *Blob) check(resp *http.Response) error {
	r := b.r
	total := resp.ContentLength
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		var first, last int64
		var text string
		if n, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%s", &first, &last, &text); err != nil || n != 3 ||
			b.offset == 0 || first != b.offset {
			return r.fail(Lied, "the answer has another range than the one that was asked for")
		}
		total = -1
		if text != "*" {
			var err error
			if total, err = strconv.ParseInt(text, 10, 64); err != nil || last != total-1 {
				return r.fail(Lied, "the range of the answer is not valid")
			}
		}
	default:
		return r.fail(Lied, "the answer has the status %d", resp.StatusCode)
	}
	if isHTML(resp) && (b.size < 0 || total != b.size) {
		return r.page()
	}
	if _, err := r.digestHeader(resp, b.digest); err != nil {
		return err
	}
	if total >= 0 {
		if b.size >= 0 && total != b.size {
			return r.fail(Lied, "the blob has another size than its descriptor says")
		}
		if total > maxBlob {
			return r.fail(Lied, "the blob has more than %d bytes", int64(maxBlob))
		}
		b.size = total
	}
	if b.offset > b.size && b.size >= 0 {
		return r.fail(Lied, "the blob is shorter than what was read of it")
	}
	if resp.StatusCode == http.StatusOK && b.offset > 0 {
		if _, err := io.CopyN(io.Discard, resp.Body, b.offset); err != nil {
			return b.broken(err)
		}
	}
	return nil
}

// broken returns the error of a body that ended before its end.
func (b *Blob) broken(err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if cause := b.ctx.Err(); cause != nil {
		return network(b.ctx, b.r.host, cause)
	}
	return b.r.fail(Unavailable, "the connection ended before the end of the blob")
}

// Read reads the next bytes.
func (b *Blob) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	for {
		n, err := b.body.Read(p)
		if b.size >= 0 && int64(n) > b.size-b.offset || b.offset+int64(n) > maxBlob {
			b.err = b.r.fail(Lied, "the blob is longer than its size")
			return 0, b.err
		}
		if b.hash != nil {
			b.hash.Write(p[:n])
		}
		b.offset += int64(n)
		switch {
		case err == nil:
		case err == io.EOF && (b.size < 0 || b.offset == b.size):
			if b.err = io.EOF; b.hash != nil && name.NewDigest(b.digest.Algorithm(), b.hash.Sum(nil)) != b.digest {
				b.err = b.r.fail(Lied, "the blob does not have its digest")
			}
			return n, b.err
		default:
			if b.err = b.resume(b.broken(err)); b.err != nil {
				return n, b.err
			}
		}
		if n > 0 {
			return n, nil
		}
	}
}

// resume opens the blob again at the offset, after a failure. It returns that failure if there were too many.
func (b *Blob) resume(failed error) error {
	_ = b.body.Close() // it has failed
	b.body = http.NoBody
	for {
		if b.offset-b.resumed >= resumeProgress {
			b.inTurn, b.resumed = 0, b.offset
		}
		b.inTurn++
		b.resumes++
		if b.inTurn > maxResumes || b.resumes > maxAllResumes || !b.r.again(b.ctx, 1, failed) {
			return failed
		}
		if failed = b.open(); failed == nil || !passes(failed) {
			return failed
		}
	}
}

// Close ends the reading.
func (b *Blob) Close() error {
	if b.err == nil {
		b.err = errors.New("the blob is closed")
	}
	return b.body.Close()
}

// Exists reports whether a repository has a blob, and its size.
//
// Errors: an [Error], or that of ctx.
func (r *Registry) Exists(ctx context.Context, repo string, d name.Digest) (size int64, ok bool, err error) {
	from, err := r.repo(repo)
	if err != nil {
		return 0, false, err
	}
	found, err := from.Blobs().Resolve(ctx, d.String())
	if err = r.library(ctx, err); errors.Is(err, NotFound) {
		return 0, false, nil
	}
	return found.Size, err == nil, err
}

// descriptor returns a descriptor of oras-go.
func descriptor(mediaType string, d name.Digest, size int64) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(d.String()), Size: size}
}
