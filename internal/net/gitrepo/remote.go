package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/ecrin-dev/ecrin/internal/net/egress"
)

// The services of the protocol.
const (
	uploadPack  = "git-upload-pack"
	receivePack = "git-receive-pack"
)

const (
	maxRefs   = 16 << 20 // bytes of the list of references
	maxPack   = 32 << 20 // bytes of what is fetched
	maxObject = 16 << 20 // bytes of one object of it
	maxTotal  = 64 << 20 // bytes of all objects of it
	maxCount  = 200_000  // objects of it
	maxReport = 1 << 20  // bytes of the answer to a push
)

// session is one service of a repository, whose references have been read.
type session interface {
	// refs returns what the server has said about its references.
	refs() *packp.AdvRefs
	// request sends a request and returns the answer. It is called once.
	request(ctx context.Context, body []byte) (io.ReadCloser, error)
	// end ends the session.
	end()
}

// open begins a session.
func (r *Remote) open(ctx context.Context, service string) (session, error) {
	if r.at.Scheme == SSH {
		return r.openSSH(ctx, service)
	}
	return r.openHTTP(ctx, service)
}

// decodeRefs reads the list of references.
func decodeRefs(in io.Reader) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	err := refs.Decode(&limited{r: in, left: maxRefs})
	if err != nil && !errors.Is(err, packp.ErrEmptyAdvRefs) {
		return nil, err
	}
	return refs, nil
}

// headOf returns the last commit of the branch, zero for a repository without commits.
func (r *Remote) headOf(s session) (plumbing.Hash, error) {
	refs := s.refs()
	if h, ok := refs.References[r.at.branch().String()]; ok {
		return h, nil
	}
	for label := range refs.References {
		if plumbing.ReferenceName(label).IsBranch() {
			return plumbing.ZeroHash, r.at.noBranch()
		}
	}
	return plumbing.ZeroHash, nil
}

func (r *Remote) fetch(ctx context.Context) (*Tree, error) {
	s, err := r.open(ctx, uploadPack)
	if err != nil {
		return nil, err
	}
	defer s.end()
	t := &Tree{read: map[plumbing.Hash][]entry{}}
	if t.head, err = r.headOf(s); err != nil || t.head.IsZero() {
		return t, err
	}
	req := packp.NewUploadPackRequest()
	caps := s.refs().Capabilities
	req.Wants = []plumbing.Hash{t.head}
	for _, c := range []capability.Capability{capability.Sideband64k, capability.OFSDelta, capability.NoProgress} {
		if caps.Supports(c) {
			_ = req.Capabilities.Set(c) // fails for capabilities with a value only
		}
	}
	if caps.Supports(capability.Shallow) {
		_ = req.Capabilities.Set(capability.Shallow)
		req.Depth = packp.DepthCommits(1)
	}
	if caps.Supports(capability.Filter) {
		_ = req.Capabilities.Set(capability.Filter)
		req.Filter = packp.FilterBlobNone()
	}
	var body bytes.Buffer
	if err := req.UploadRequest.Encode(&body); err != nil {
		return nil, fail(Invalid, err, "a request for the branch cannot be made")
	}
	body.WriteString("0009done\n")
	in, err := s.request(ctx, body.Bytes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // it was read
	answer := packp.NewUploadPackResponse(req)
	if err := answer.Decode(io.NopCloser(&limited{r: in, left: maxPack})); err != nil {
		return nil, r.broken(ctx, err, "the answer to a fetch cannot be read")
	}
	var pack io.Reader = answer
	if req.Capabilities.Supports(capability.Sideband64k) {
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	}
	b, err := io.ReadAll(pack)
	if err != nil {
		return nil, r.broken(ctx, err, "the answer to a fetch cannot be read")
	}
	objects, err := unpack(b)
	if err != nil {
		return nil, err
	}
	t.objects = objects
	t.root, err = rootOf(objects, t.head)
	return t, err
}

// unpack returns the objects of a pack. Their sizes are checked before any of them is kept, since a pack of a few bytes can stand for
// objects of any size.
func unpack(b []byte) (*memory.ObjectStorage, error) {
	if err := measure(b); err != nil {
		return nil, err
	}
	objects := &memory.NewStorage().ObjectStorage
	p, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(b)), objects)
	if err == nil {
		_, err = p.Parse()
	}
	if err != nil {
		return nil, fail(Invalid, err, "what was fetched is not valid")
	}
	return objects, nil
}

func measure(b []byte) error {
	s := packfile.NewScanner(bytes.NewReader(b))
	_, count, err := s.Header()
	if err != nil {
		return fail(Invalid, err, "what was fetched is not valid")
	}
	if count > maxCount {
		return tooLarge()
	}
	total := int64(0)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return fail(Invalid, err, "what was fetched is not valid")
		}
		out := &measured{left: maxObject}
		if _, _, err = s.NextObject(out); err != nil {
			if out.full {
				return tooLarge()
			}
			return fail(Invalid, err, "what was fetched is not valid")
		}
		size := max(h.Length, out.size)
		if h.Type == plumbing.OFSDeltaObject || h.Type == plumbing.REFDeltaObject {
			size = max(size, targetOf(out.begin))
		}
		if total += size; size > maxObject || total > maxTotal {
			return tooLarge()
		}
	}
	return nil
}

func tooLarge() error {
	return fail(TooLarge, nil,
		"the last commit has too many or too large files: let the server leave them out (git config uploadpack.allowFilter true)")
}

// measured counts what is written to it, and keeps the beginning.
type measured struct {
	begin      []byte
	size, left int64
	full       bool
}

func (m *measured) Write(b []byte) (int, error) {
	if len(m.begin) < 32 {
		m.begin = append(m.begin, b[:min(len(b), 32-len(m.begin))]...)
	}
	if m.size += int64(len(b)); m.size > m.left {
		m.full = true
		return 0, errors.New("an object is too large")
	}
	return len(b), nil
}

// targetOf returns the size of what a delta makes: the second of two numbers at its beginning.
func targetOf(delta []byte) (size int64) {
	for range 2 {
		size = 0
		for shift := 0; len(delta) > 0 && shift < 63; shift += 7 {
			c := delta[0]
			delta = delta[1:]
			size |= int64(c&0x7f) << shift
			if c&0x80 == 0 {
				break
			}
		}
	}
	return size
}

func (r *Remote) push(ctx context.Context, from plumbing.Hash, m made) error {
	s, err := r.open(ctx, receivePack)
	if err != nil {
		return err
	}
	defer s.end()
	now, err := r.headOf(s)
	switch {
	case err != nil:
		return err
	case now != from:
		return fail(Diverged, nil, "another push has changed the branch %s", r.at.Branch)
	case !s.refs().Capabilities.Supports(capability.ReportStatus):
		return fail(Invalid, nil, "the server does not say whether it accepts a push")
	}
	objects := &memory.NewStorage().ObjectStorage
	var ids []plumbing.Hash
	for _, o := range m.objects {
		stored := objects.NewEncodedObject()
		stored.SetType(o.kind)
		w, err := stored.Writer()
		if err == nil {
			_, err = w.Write(o.content)
		}
		if err == nil {
			_, err = objects.SetEncodedObject(stored)
		}
		if err != nil {
			return fmt.Errorf("keeping an object of a commit: %w", err)
		}
		ids = append(ids, o.id)
	}
	req := packp.NewReferenceUpdateRequest()
	_ = req.Capabilities.Set(capability.ReportStatus) // fails for capabilities with a value only
	req.Commands = []*packp.Command{{Name: r.at.branch(), Old: from, New: m.id}}
	var pack, body bytes.Buffer
	if _, err := packfile.NewEncoder(&pack, objects, false).Encode(ids, 0); err != nil {
		return fmt.Errorf("packing the objects of a commit: %w", err)
	}
	req.Packfile = io.NopCloser(&pack)
	if err := req.Encode(&body); err != nil {
		return fmt.Errorf("encoding a push: %w", err)
	}
	in, err := s.request(ctx, body.Bytes())
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // it was read
	said := packp.NewReportStatus()
	if err := said.Decode(&limited{r: in, left: maxReport}); err != nil {
		return r.broken(ctx, err, "the answer to a push cannot be read: whether the commit has arrived is not known yet")
	}
	if said.UnpackStatus != "ok" {
		return fail(Rejected, nil, "the server could not store the push: %s", said.UnpackStatus)
	}
	for _, one := range said.CommandStatuses {
		if one.Status != "ok" {
			return fail(Rejected, nil, "the server refuses the push to %s: %s", r.at.Branch, one.Status)
		}
	}
	return nil
}

// broken returns the error of a connection that ended, or of an answer that is no such answer.
func (r *Remote) broken(ctx context.Context, err error, what string) error {
	if ctx.Err() != nil {
		return fail(Away, context.Cause(ctx), "the server takes too long")
	}
	if errors.Is(err, errLimit) {
		return tooLarge()
	}
	return fail(Invalid, err, "%s", what)
}

// away returns the error of a server that cannot be reached.
func away(ctx context.Context, err error) error {
	if refused, ok := errors.AsType[*egress.RefusedError](err); ok {
		return fail(Away, refused, "this server does not connect to the address of the host; the operator can allow private ones by egress_allow")
	}
	if ctx.Err() != nil {
		return fail(Away, context.Cause(ctx), "the server takes too long")
	}
	return fail(Away, err, "the server cannot be reached from here, or its certificate is not trusted")
}

var errLimit = errors.New("the answer is too long")

// limited is a reader that fails after a number of bytes.
type limited struct {
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errLimit
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}
