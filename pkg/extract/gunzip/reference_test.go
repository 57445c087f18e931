//go:build isal

package gunzip

import "errors"

// reference inflates a raw deflate stream the slow and obvious way, as RFC 1951 has it. incomplete reports that a
// Huffman code in it leaves some bit sequences without a meaning. What is sane of such a stream, all of it that does
// not use those sequences, has one meaning only; decoders differ in whether they take it.
func reference(stream []byte, most int) (content []byte, consumed int, incomplete bool, err error) {
	r := refReader{in: stream}
	defer func() {
		if e := recover(); e != nil {
			err = e.(error) // only refErrors are thrown here
		}
	}()
	for final := uint(0); final == 0 && len(r.out) <= most; {
		final = r.bits(1)
		switch r.bits(2) {
		case 0:
			r.stored()
		case 1:
			r.block(fixedLengths())
		case 2:
			r.block(r.dynamic())
		default:
			panic(errRef)
		}
	}
	return r.out, r.pos, r.incomplete, nil
}

var errRef, errRefEnd = errors.New("invalid"), errors.New("unexpected end")

type refReader struct {
	in, out    []byte
	pos        int
	held       uint
	count      uint
	incomplete bool
}

func (r *refReader) bits(n uint) uint {
	for r.count < n {
		if r.pos == len(r.in) {
			panic(errRefEnd)
		}
		r.held |= uint(r.in[r.pos]) << r.count
		r.pos++
		r.count += 8
	}
	v := r.held & (1<<n - 1)
	r.held >>= n
	r.count -= n
	return v
}

func (r *refReader) stored() {
	r.held, r.count = 0, 0
	length, inverse := r.bits(16), r.bits(16)
	if length != ^inverse&0xffff {
		panic(errRef)
	}
	for range length {
		r.out = append(r.out, byte(r.bits(8)))
	}
}

// code returns the function that reads a symbol of the canonical code with these lengths.
func (r *refReader) code(lengths []byte) func() int {
	var counts, next [16]int
	for _, l := range lengths {
		counts[l]++
	}
	counts[0] = 0
	left, used := 1, 0
	for l := 1; l <= 15; l++ {
		if left = left<<1 - counts[l]; left < 0 {
			panic(errRef)
		}
		used += counts[l]
		next[l] = (next[l-1] + counts[l-1]) << 1
	}
	if left > 0 && used > 0 && (used != 1 || counts[1] != 1) { // a single code of one bit is allowed, 3.2.7
		r.incomplete = true
	}
	symbols := map[[2]int]int{}
	for s, l := range lengths {
		if l > 0 {
			symbols[[2]int{int(l), next[l]}] = s
			next[l]++
		}
	}
	return func() int {
		code := 0
		for l := 1; l <= 15; l++ {
			code = code<<1 | int(r.bits(1))
			if s, ok := symbols[[2]int{l, code}]; ok {
				return s
			}
		}
		panic(errRef)
	}
}

func fixedLengths() (literals, distances []byte) {
	literals, distances = make([]byte, 288), make([]byte, 32)
	for s := range literals {
		switch {
		case s < 144, s >= 280:
			literals[s] = 8
		case s < 256:
			literals[s] = 9
		default:
			literals[s] = 7
		}
	}
	for s := range distances {
		distances[s] = 5
	}
	return literals, distances
}

func (r *refReader) dynamic() (literals, distances []byte) {
	nLiterals, nDistances, nLengths := int(r.bits(5))+257, int(r.bits(5))+1, int(r.bits(4))+4
	if nLiterals > 286 || nDistances > 30 {
		panic(errRef)
	}
	lengths := make([]byte, 19)
	for i := range nLengths {
		lengths[[]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[i]] = byte(r.bits(3))
	}
	code := r.code(lengths)
	var all []byte
	for len(all) < nLiterals+nDistances {
		var value byte
		repeat := 1
		switch s := code(); s {
		case 16:
			if len(all) == 0 {
				panic(errRef)
			}
			value, repeat = all[len(all)-1], 3+int(r.bits(2))
		case 17:
			repeat = 3 + int(r.bits(3))
		case 18:
			repeat = 11 + int(r.bits(7))
		default:
			value = byte(s)
		}
		for range repeat {
			all = append(all, value)
		}
	}
	if len(all) > nLiterals+nDistances {
		panic(errRef)
	}
	return all[:nLiterals], all[nLiterals:]
}

func (r *refReader) block(literals, distances []byte) {
	literal, distance := r.code(literals), r.code(distances)
	for {
		s := literal()
		switch {
		case s < 256:
			r.out = append(r.out, byte(s))
			continue
		case s == 256:
			return
		case s > 285:
			panic(errRef)
		}
		length := refLength(s, r)
		d := distance()
		if d > 29 {
			panic(errRef)
		}
		back := 1 + d
		if d > 3 {
			extra := uint(d/2 - 1)
			back = 1 + (2+d%2)<<extra + int(r.bits(extra))
		}
		if back > len(r.out) {
			panic(errRef)
		}
		for range length {
			r.out = append(r.out, r.out[len(r.out)-back])
		}
	}
}

func refLength(s int, r *refReader) int {
	switch {
	case s < 265:
		return s - 254
	case s == 285:
		return 258
	}
	extra := uint((s - 261) / 4)
	return 3 + (4+(s-265)%4)<<extra + int(r.bits(extra))
}
