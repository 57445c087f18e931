package extract

import (
	"bytes"
	"hash/maphash"
)

// seen is a set of paths that may take for seen what is not, but never the reverse: a Bloom filter. It tells whether
// a link may lead back to what was passed already.
type seen struct {
	seed maphash.Seed
	bits []uint64
}

const (
	seenBits   = 1 << 20 // 128 KiB; 100,000 paths and their directories leave 3 % mistakes
	seenHashes = 3
)

func newSeen() *seen { return &seen{maphash.MakeSeed(), make([]uint64, seenBits/64)} }

func (s *seen) clear() { clear(s.bits) }

// add adds a path and its directory.
func (s *seen) add(p []byte) {
	s.set(maphash.Bytes(s.seed, p))
	if slash := bytes.LastIndexByte(p, '/'); slash > 0 {
		s.set(maphash.Bytes(s.seed, p[:slash]))
	}
}

func (s *seen) set(h uint64) {
	for range seenHashes {
		s.bits[h%seenBits/64] |= 1 << (h % 64)
		h >>= 20
	}
}

// has reports whether the path may have been added.
func (s *seen) has(p string) bool {
	h := maphash.String(s.seed, p)
	for range seenHashes {
		if s.bits[h%seenBits/64]&(1<<(h%64)) == 0 {
			return false
		}
		h >>= 20
	}
	return true
}
