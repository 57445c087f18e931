//go:build isal

package gunzip

/*
#cgo pkg-config: libisal
#cgo noescape trawl_inflate
#cgo nocallback trawl_inflate
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

// What one call of isal_inflate did.
struct trawl_result {
	int      code;   // an ISAL_ code
	uint32_t in;     // bytes taken from the input
	uint32_t out;    // bytes written to the output
	uint32_t unread; // once done: bytes taken that are behind the end of the stream
	int      done;   // the stream has ended
};

static struct inflate_state *trawl_new(void) { return malloc(sizeof(struct inflate_state)); }

static void trawl_reset(struct inflate_state *s) {
	isal_inflate_init(s); // raw deflate: crc_flag is ISAL_DEFLATE
}

static struct trawl_result trawl_inflate(struct inflate_state *s, uint8_t *in, uint32_t in_len, uint8_t *out, uint32_t out_len) {
	s->next_in = in;
	s->avail_in = in_len;
	s->next_out = out;
	s->avail_out = out_len;
	struct trawl_result r = { .code = isal_inflate(s) };
	r.in = in_len - s->avail_in;
	r.out = out_len - s->avail_out;
	r.done = s->block_state == ISAL_BLOCK_FINISH;
	r.unread = s->read_in_length > 0 ? s->read_in_length / 8 : 0;
	s->next_in = s->next_out = NULL; // no pointer to Go memory stays behind
	return r;
}
*/
import "C"

import (
	"io"
	"runtime"
	"unsafe"
)

// keepBytes is how far the source stays behind what ISA-L has taken: it takes up to eight bytes
// ahead of the bits it decodes, and those behind the end of the stream are given back.
const keepBytes = 8

// isal inflates with ISA-L (https://github.com/intel/isa-l).
type isal struct {
	state *C.struct_inflate_state
	free  runtime.Cleanup
	src   Source
	kept  int // bytes at the position of src that ISA-L has taken already; at most keepBytes
}

func newISAL() inflater {
	f := &isal{state: C.trawl_new()}
	if f.state == nil {
		return newPure() // no memory for it; the other one gives the same answers
	}
	f.free = runtime.AddCleanup(f, func(s *C.struct_inflate_state) { C.free(unsafe.Pointer(s)) }, f.state)
	return f
}

func (*isal) inPlace() bool { return true }

func (f *isal) reset(src Source) {
	C.trawl_reset(f.state)
	f.src, f.kept = src, 0
}

func (f *isal) close() {
	if f.state != nil {
		f.free.Stop()
		C.free(unsafe.Pointer(f.state))
		f.state = nil
	}
}

func (f *isal) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for first := true; ; first = false {
		in, err := f.input(first)
		if err != nil {
			return 0, err
		}
		r := C.trawl_inflate(f.state, (*C.uint8_t)(unsafe.SliceData(in)), C.uint32_t(len(in)),
			(*C.uint8_t)(unsafe.SliceData(p)), C.uint32_t(min(len(p), 1<<30)))
		n := int(r.out)
		if r.code != C.ISAL_DECOMP_OK {
			f.took(int(r.in), 0)
			return n, ErrDeflate
		}
		if r.done != 0 {
			f.took(int(r.in), int(r.unread))
			return n, io.EOF
		}
		f.took(int(r.in), keepBytes)
		if n > 0 {
			return n, nil
		}
	}
}

// input returns bytes that ISA-L has not taken yet. There may be none the first time: it may still hold
// content that did not fit into the last output.
func (f *isal) input(first bool) ([]byte, error) {
	if f.src.Buffered() <= f.kept && !first {
		if _, err := f.src.Peek(f.kept + 1); err == io.EOF {
			return nil, io.ErrUnexpectedEOF
		} else if err != nil {
			return nil, err
		}
	}
	b, err := f.src.Peek(f.src.Buffered())
	return b[f.kept:], err
}

// took moves the source by the n bytes that ISA-L has taken, less the last keep of them.
func (f *isal) took(n, keep int) {
	taken := f.kept + n
	f.kept = min(taken, keep)
	f.src.Discard(taken - f.kept) //nolint:errcheck // they are buffered
	if keep < keepBytes {
		f.kept = 0 // the end: the source stands where it has to
	}
}
