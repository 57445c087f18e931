package shard

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// seed returns the number that stands for a worker: the first eight bytes, big-endian, of the
// sha256 of its ID.
func seed(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:8])
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
// Generators", OOPSLA 2014; constants of Stafford's variant 13): a bijection with full avalanche.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash returns the pseudo-random number of a shard and a worker: mix(seed + mix(golden × (shard+1))), where golden
// is 2^64 divided by the golden ratio.
func hash(shard int, seed uint64) uint64 {
	return mix(seed + mix(0x9e3779b97f4a7c15*uint64(shard+1)))
}

// fraction is the number of binary digits of a logarithm behind the point.
const fraction = 57

// logTable holds log2(1 + i/256) for i from 0 to 256, in units of 2^-fraction, rounded down.
type logTable [257]uint64

// newLogTable computes the table bit by bit: squaring a number in [1, 2) doubles its logarithm, and
// where the square reaches 2, the next bit of the logarithm is 1. (Knuth, TAOCP 1, section 1.2.2, exercise 25.)
func newLogTable() *logTable {
	var t logTable
	for i := range uint64(256) {
		x := 1<<63 + i<<55 // 1 + i/256, with 63 binary digits behind the point
		for bit := range fraction {
			hi, lo := bits.Mul64(x, x) // 126 digits behind the point, in [1, 4)
			if hi >= 1<<63 {
				t[i] |= 1 << (fraction - 1 - bit)
				x = hi
			} else {
				x = hi<<1 | lo>>63
			}
		}
	}
	t[256] = 1 << fraction
	return &t
}

// negLog returns -log2(h / 2^64) in units of 2^-fraction, by linear interpolation in the table: it
// falls as h rises, and is off by less than 3e-6. h must not be 0.
func (t *logTable) negLog(h uint64) uint64 {
	n := bits.LeadingZeros64(h)
	m := h << n // in [1, 2), with 63 digits behind the point
	i := m << 1 >> 56
	rest := m << 9 >> 9 // 55 digits
	hi, lo := bits.Mul64(t[i+1]-t[i], rest)
	log := t[i] + (hi<<9 | lo>>55)
	return uint64(n+1)<<fraction - log
}

// cost returns how dear a shard is to a worker: an exponentially distributed number divided by the
// weight, so that the cheapest of all workers is each of them with a probability in proportion to its weight.
// (Mosharaf, Schindelhauer, "Weighted distributed hash tables", SPAA 2005: the logarithmic method.)
func (t *logTable) cost(shard int, seed uint64, weight int) uint64 {
	return t.negLog(hash(shard, seed)|1) / uint64(weight)
}
