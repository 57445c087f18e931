package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Blob opens a blob at its first byte. size is how many bytes it has, or 0 where that is not known.
//
// A transfer that breaks is taken up again at the byte where it broke, with a Range request; where
// that is answered with the whole blob, what was read before is skipped. There is no If-Range: a
// blob is named by its content and cannot change. Its length can be wrong, and is compared.
//
// A transfer that stands still for [Config.IdleTimeout], or is not answered in time, is taken up once more, and again only
// when another 8 MiB have come: so one that stalls for good ends after a minute by default, as [fault.Unavailable].
//
// The reader gives at most size bytes. Its errors, like those of Blob, are [fault.NotFound],
// [fault.Unauthorized], [fault.RateLimited] with its delay, and after [Config.Retries]
// [fault.Unavailable], and [fault.Corrupt] for a blob that is longer or shorter than size. The
// context applies until the reader is closed, which is for the caller to do.
func (c *Client) Blob(ctx context.Context, r Repository, d digest.Digest, size int64) (io.ReadCloser, error) {
	b := &blob{c: c, ctx: ctx, repository: r, digest: d, size: size, total: -1, budget: c.cfg.Retries, refill: refillBytes}
	if err := b.connect(nil); err != nil {
		return nil, err
	}
	return b, nil
}

// refillBytes is how much progress earns a transfer another retry.
const refillBytes = 8 << 20

// blob is a transfer that outlives the connections it is made over.
type blob struct {
	c          *Client
	ctx        context.Context //nolint:containedctx // of the transfer as a whole, as in http.Request
	repository Repository
	digest     digest.Digest
	size       int64 // as the caller has it; 0: not known
	total      int64 // as the registry has it; -1: not known
	offset     int64 // of the next byte
	budget     int   // retries that are left
	refill     int64 // the offset at which another is earned
	body       io.ReadCloser
	host       string // that body comes from
	err        error  // for good
}

func (b *blob) Read(p []byte) (int, error) {
	if len(p) == 0 || b.err != nil {
		return 0, b.err
	}
	for {
		if want := b.want(); want >= 0 && b.offset == want {
			b.err = b.finish()
			return 0, b.err
		} else if want >= 0 {
			p = p[:min(int64(len(p)), want-b.offset)]
		}
		n, err := b.body.Read(p)
		b.advance(n)
		if n > 0 || err == nil {
			return n, nil // an error comes again with the next read
		}
		if err == io.EOF && b.want() < 0 {
			b.err = io.EOF
			return 0, b.err
		}
		if b.err = b.resume(err); b.err != nil {
			return 0, b.err
		}
	}
}

// want returns the length of the blob, or -1 where nobody knows it.
func (b *blob) want() int64 {
	if b.size > 0 {
		return b.size
	}
	return b.total
}

func (b *blob) advance(n int) {
	b.offset += int64(n)
	for ; b.offset >= b.refill; b.refill += refillBytes {
		b.budget = min(b.budget+1, b.c.cfg.Retries)
	}
}

// finish looks for bytes where the blob must end. That a connection breaks there does no harm.
func (b *blob) finish() error {
	if b.total == b.offset {
		return io.EOF // the transport has counted them
	}
	var extra [1]byte
	if n, _ := io.ReadFull(b.body, extra[:]); n > 0 {
		return b.wrap(fault.Newf(fault.Corrupt, b.host, "", "the blob is longer than the %d bytes that its manifest says: %w", b.size, digest.ErrOther))
	}
	return io.EOF
}

// resume connects again after the body has broken.
func (b *blob) resume(cause error) error {
	_ = b.body.Close()
	if b.ctx.Err() != nil {
		return b.wrap(context.Cause(b.ctx))
	}
	if cause == io.EOF {
		cause = errors.New("it ended early")
	}
	return b.connect(fault.Newf(fault.Unavailable, b.host, "", "transfer interrupted at byte %d: %w", b.offset, cause))
}

// connect opens the blob at the offset, anywhere. With a cause it is a retry from the first.
func (b *blob) connect(cause error) error {
	for {
		if cause != nil {
			if timedOut(cause) { // whoever reads holds a place all the while
				b.budget = min(b.budget, 1)
			}
			if b.budget == 0 || !b.passing(cause) {
				return b.wrap(cause)
			}
			if !b.c.pause(b.ctx, b.c.cfg.Retries-b.budget, cause) {
				return b.wrap(context.Cause(b.ctx))
			}
			b.budget--
		}
		if cause = b.c.anywhere(b.ctx, b.repository, b.openAt); cause == nil {
			return nil
		}
	}
}

// passing is [passing], and for a transfer under way also says yes to a short wait for a budget:
// to begin it anew costs more. Another length than the manifest says, which is all that is Corrupt
// here, may be that of one cache among several.
func (b *blob) passing(err error) bool {
	after := fault.AfterOf(err)
	return passing(err) || fault.KindOf(err) == fault.Corrupt || b.offset > 0 && fault.KindOf(err) == fault.RateLimited && 0 < after && after <= maxPause
}

func (b *blob) openAt(at place) error {
	header := http.Header{"Accept-Encoding": {"identity"}}
	if b.offset > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", b.offset))
	}
	r, err := b.c.ask(b.ctx, question{
		repository: b.repository, at: at, kind: KindBlob, method: http.MethodGet,
		path: "blobs/" + b.digest.String(), header: header,
	})
	if err != nil {
		return err
	}
	skip, err := b.check(r)
	if err == nil && skip > 0 {
		if _, err = io.CopyN(io.Discard, r.Body, skip); err != nil {
			err = fault.Newf(fault.Unavailable, r.host, "", "transfer interrupted at byte %d again: %w", b.offset, err)
		}
	}
	if err != nil {
		_ = r.Body.Close()
		return err
	}
	b.body, b.host = r.Body, r.host
	return nil
}

// check looks at the answer to a request for the blob from the offset on. It returns how many bytes
// to skip.
func (b *blob) check(r *reply) (skip int64, err error) {
	var total int64
	part, isPart := parseContentRange(r.Header.Get("Content-Range"))
	switch {
	case r.StatusCode == http.StatusOK:
		total, skip = r.ContentLength, b.offset
	case r.StatusCode == http.StatusPartialContent && b.offset > 0 && isPart && part.first == b.offset:
		total = part.total
	case r.StatusCode == http.StatusPartialContent:
		return 0, fault.Newf(fault.Unavailable, r.host, "",
			"it answers with another part than was asked for, %q", printable(r.Header.Get("Content-Range")))
	case r.StatusCode == http.StatusRequestedRangeNotSatisfiable && isPart && part.total != b.want():
		total = part.total
	default:
		return 0, statusError(r.refusal(b.repository.Host))
	}
	if total < 0 {
		return skip, nil
	}
	if b.size > 0 && total != b.size {
		return 0, fault.Newf(fault.Corrupt, r.host, "", "the blob has %d bytes, its manifest says %d: %w", total, b.size, digest.ErrOther)
	}
	if b.total >= 0 && total != b.total || total < b.offset {
		return 0, fault.Newf(fault.Corrupt, r.host, "", "the blob has %d bytes, and had %d before: %w", total, max(b.total, b.offset), digest.ErrOther)
	}
	b.total = total
	return skip, nil
}

func (b *blob) wrap(err error) error {
	return fault.Wrap("get blob", b.repository.String()+"@"+b.digest.String(), err)
}

// Close ends the transfer.
func (b *blob) Close() error {
	if b.err == nil {
		b.err = b.wrap(fault.New(fault.Canceled, "read", "", errors.New("closed")))
	}
	return b.body.Close()
}
