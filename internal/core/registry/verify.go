package registry

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/ecrin-dev/ecrin/internal/store/blob"
	"github.com/ecrin-dev/ecrin/internal/word/fault"
	"github.com/ecrin-dev/ecrin/internal/word/name"
)

// VerifyPlace is where a verification goes on. The zero value is its beginning; Stage is VerifyDone at its end.
type VerifyPlace struct {
	Stage VerifyStage
	After string // digest of the last blob or manifest that is verified

	// A large blob is read in several calls: what is known of the one after After.
	Blob     string
	Offset   int64  // bytes read
	State    []byte // of the hash
	StoredAt time.Time
}

// VerifyStage is a part of a verification.
type VerifyStage int

// The stages, in their order.
const (
	VerifyBlobs VerifyStage = iota
	VerifyManifests
	VerifyDone
)

// Damage is something stored that is not as it should be.
type Damage struct {
	Digest      string
	Manifest    bool   // it is a manifest, otherwise a blob
	Reason      string // for people
	Quarantined bool   // its bytes were moved to the quarantine
}

// Verified is what one call of Verify found.
type Verified struct {
	Blobs, Manifests int   // that were read to their end
	Bytes            int64 // that were read
	Damages          []Damage
	Next             VerifyPlace
}

const (
	// defaultVerifyTime is how long one call of Verify goes on.
	defaultVerifyTime = 5 * time.Second
	// maxVerified is the number of blobs or manifests that one call of Verify reads.
	maxVerified  = 5000
	verifyBuffer = 256 << 10
	// maxVerifyWait keeps a call short also if a manifest is large and the rate low.
	maxVerifyWait = 5 * time.Second
)

// Verify reads a part of everything that is stored, from a place on, and compares it with its digest: first the blobs,
// whether a repository holds them or not, then the manifests. It also finds blobs that are recorded and not stored. A
// damaged blob is moved to the quarantine; the next push of the blob stores it again. Verify returns after a few seconds;
// rate is how many bytes it reads in a second at most, 0 for no limit. Blobs that are pushed meanwhile may be left out.
//
// Errors: fault.InvalidParameter (from is no place that an earlier call returned).
func (s *Service) Verify(ctx context.Context, from VerifyPlace, rate int64) (Verified, error) {
	v := &verifier{s: s, rate: rate, begun: time.Now(), out: Verified{Next: from}}
	var err error
	switch from.Stage {
	case VerifyBlobs:
		err = v.blobs(ctx)
	case VerifyManifests:
		err = v.manifests(ctx)
	default:
		err = fault.InvalidParameter.New("the verification is at its end")
	}
	return v.out, err
}

// verifier is one call of Verify.
type verifier struct {
	s     *Service
	rate  int64
	begun time.Time
	out   Verified
}

func (v *verifier) spent() bool { return time.Since(v.begun) >= v.s.verifyTime }

func (v *verifier) damaged(d string, manifest bool, quarantined bool, format string, args ...any) {
	v.out.Damages = append(v.out.Damages, Damage{Digest: d, Manifest: manifest, Reason: fmt.Sprintf(format, args...),
		Quarantined: quarantined})
}

// read counts n bytes, and waits until the rate permits the next.
func (v *verifier) read(ctx context.Context, n int) error {
	v.out.Bytes += int64(n)
	if v.rate <= 0 {
		return ctx.Err()
	}
	due := time.Duration(float64(v.out.Bytes) / float64(v.rate) * float64(time.Second))
	wait := time.NewTimer(min(due-time.Since(v.begun), maxVerifyWait))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blobs verifies the blobs of the store that follow the place, and looks for recorded blobs between them that are missing.
func (v *verifier) blobs(ctx context.Context) error {
	next := &v.out.Next
	first := next.After
	after, err := placeDigest(first)
	if err != nil {
		return err
	}
	stored := map[string]bool{}
	ended := true
	for info, err := range v.s.blobs.List(ctx, after) {
		if err != nil {
			return err
		}
		if v.out.Blobs >= maxVerified || v.out.Blobs > 0 && v.spent() {
			ended = false
			break
		}
		whole, err := v.blob(ctx, info)
		if err != nil {
			return err
		}
		if !whole {
			ended = false
			break
		}
		stored[info.Digest.String()] = true
		*next = VerifyPlace{After: info.Digest.String()}
		v.out.Blobs++
	}
	last := next.After
	switch {
	case !ended && last == first:
		return nil // the time has ended within the first blob
	case ended:
		last = ""
		*next = VerifyPlace{Stage: VerifyManifests}
	}
	return v.missing(ctx, first, last, stored)
}

// missing reports the recorded blobs after first, up to last ("" for all), whose bytes are not stored.
func (v *verifier) missing(ctx context.Context, first, last string, stored map[string]bool) error {
	for {
		page, err := v.s.meta.RecordedBlobs(ctx, first, last, 1000)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, text := range page {
			first = text
			if stored[text] {
				continue
			}
			d, err := name.ParseDigest(text)
			if err != nil {
				return fmt.Errorf("reading the recorded blobs: %w", err)
			}
			switch was, err := v.s.blobs.Stat(ctx, d); {
			case errors.Is(err, fault.BlobNotFound):
				held, err := v.s.meta.Held(ctx, d)
				if err != nil {
					return err
				}
				if held { // otherwise it was collected since the records were read
					v.damaged(text, false, false, "it is recorded, and its bytes are missing")
				}
			case errors.Is(err, blob.ErrDamaged): // what is no file is not listed
				moved, qerr := v.s.quarantine(ctx, was, err)
				if qerr != nil {
					return qerr
				}
				v.damaged(text, false, moved, "%v", err)
			case err != nil:
				return err
			}
		}
	}
}

// blob verifies one blob, or goes on with it. whole is false if the time has ended before the blob.
func (v *verifier) blob(ctx context.Context, info blob.Info) (whole bool, err error) {
	d, next := info.Digest, &v.out.Next
	f, now, err := v.s.blobs.Open(ctx, d)
	if errors.Is(err, fault.BlobNotFound) {
		return true, nil // deleted since it was listed
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	h := newHash(d.Algorithm())
	offset := int64(0)
	if next.Blob == d.String() && next.StoredAt.Equal(now.StoredAt) && resumeHash(h, next.State) == nil {
		if _, err := f.Seek(next.Offset, io.SeekStart); err != nil {
			return false, fmt.Errorf("verifying blob %s: %w", d, err)
		}
		offset = next.Offset
	}
	buffer := make([]byte, verifyBuffer)
	if v.rate > 0 {
		buffer = buffer[:min(verifyBuffer, v.rate)] // so that no wait is longer than a second
	}
	for {
		n, rerr := f.Read(buffer)
		h.Write(buffer[:n])
		offset += int64(n)
		if rerr == io.EOF {
			break
		}
		if rerr != nil { // bytes that cannot be read are damage; the error says more
			moved, err := v.s.quarantine(ctx, now, rerr)
			v.damaged(d.String(), false, moved, "its bytes cannot be read: %v", rerr)
			return true, err
		}
		if err := v.read(ctx, n); err != nil {
			return false, err
		}
		if v.spent() {
			if state, err := hashState(h); err == nil {
				next.Blob, next.Offset, next.State, next.StoredAt = d.String(), offset, state, now.StoredAt
				return false, nil
			}
		}
	}
	if got := name.NewDigest(d.Algorithm(), h.Sum(nil)); got != d {
		cause := fmt.Errorf("its %d bytes have the digest %s", offset, got)
		moved, err := v.s.quarantine(ctx, now, cause)
		if moved || err != nil { // otherwise it was pushed again meanwhile
			v.damaged(d.String(), false, moved, "%v", cause)
		}
		return true, err
	}
	return true, nil
}

// manifests verifies the manifests that follow the place.
func (v *verifier) manifests(ctx context.Context) error {
	next := &v.out.Next
	for first := true; first || v.out.Manifests < maxVerified && !v.spent(); first = false {
		page, err := v.s.meta.Manifests(ctx, next.After, 16)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			*next = VerifyPlace{Stage: VerifyDone}
			return nil
		}
		for _, m := range page {
			d, err := name.ParseDigest(m.Digest)
			if err != nil {
				v.damaged(m.Digest, true, false, "its digest cannot be read")
			} else if got := DigestOf(d.Algorithm(), m.Body); got != d {
				v.damaged(m.Digest, true, false, "its %d bytes have the digest %s", len(m.Body), got)
			}
			next.After = m.Digest
			v.out.Manifests++
			if err := v.read(ctx, len(m.Body)); err != nil {
				return err
			}
		}
	}
	return nil
}

// placeDigest reads the digest of a place, the zero Digest for "".
func placeDigest(text string) (name.Digest, error) {
	if text == "" {
		return name.Digest{}, nil
	}
	return name.ParseDigest(text)
}

func newHash(a name.Algorithm) hash.Hash {
	if a == name.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

func hashState(h hash.Hash) ([]byte, error) {
	m, ok := h.(encoding.BinaryMarshaler)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return m.MarshalBinary()
}

func resumeHash(h hash.Hash, state []byte) error {
	m, ok := h.(encoding.BinaryUnmarshaler)
	if !ok {
		return errors.ErrUnsupported
	}
	return m.UnmarshalBinary(state)
}
