package version

import "math/bits"

// Numbers within keys, as the package comment describes them. Their codes take the bytes from base to
// base+longNumber; no number's bytes begin those of another, so anything may follow.
const (
	inlineNumbers = 122               // the numbers below are one byte
	longNumber    = inlineNumbers + 8 // after the codes for 1 to 8 bytes: the one for longer runs of digits
	uintDigits    = 19                // as many digits fit 64 bits, whatever they are
)

// appendNumber appends the value of a run of decimal digits, 0 for an empty one.
func appendNumber(dst []byte, base byte, digits string) []byte {
	digits = significant(digits)
	if len(digits) > uintDigits {
		dst = append(dst, base+longNumber)
		dst = appendUint(dst, base, uint64(len(digits)))
		return append(dst, digits...)
	}
	return appendUint(dst, base, valueOf(digits))
}

// significant returns digits without the zeros that lead them.
func significant(digits string) string {
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

// valueOf returns the value of up to 19 digits.
func valueOf(digits string) uint64 {
	var v uint64
	for i := range len(digits) {
		v = v*10 + uint64(digits[i]-'0')
	}
	return v
}

// above reports whether the value of a run of digits is greater than most.
func above(digits string, most uint64) bool {
	digits = significant(digits)
	return len(digits) > uintDigits || valueOf(digits) > most
}

// appendUint appends a number below 10^19.
func appendUint(dst []byte, base byte, v uint64) []byte {
	if v < inlineNumbers {
		return append(dst, base+byte(v))
	}
	v -= inlineNumbers
	n := max(1, (bits.Len64(v)+7)/8)
	dst = append(dst, base+inlineNumbers+byte(n-1))
	for shift := 8 * (n - 1); shift >= 0; shift -= 8 {
		dst = append(dst, byte(v>>shift))
	}
	return dst
}

// digitsEnd returns the end of the run of decimal digits that starts at i.
func digitsEnd(s string, i int) int {
	for i < len(s) && isDigit(s[i]) {
		i++
	}
	return i
}
