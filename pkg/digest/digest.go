// Package digest provides the content address of a blob as a comparable value.
//
// It knows the two algorithms that the OCI image specification registers
// (image-spec v1.1, descriptor.md, "Registered Algorithms"): sha256 and sha512.
// It does not read or fetch anything.
//
// # Format
//
// The text form is "sha256:" or "sha512:" followed by lower-case hexadecimal digits.
// The binary form, as stored in Postgres, is the raw sum; its length (32 or 64 bytes)
// tells the algorithm.
package digest

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// ErrInvalid is wrapped by the error of [Parse] and [FromBytes] when the input is not a digest.
var ErrInvalid = errors.New("not a digest")

// Digest is the content address of a blob. It is comparable and can be a map key.
// The zero value is no digest; see [Digest.IsZero].
type Digest struct {
	size uint8 // length of the sum in bytes; 0 for the zero value
	sum  [sha512.Size]byte
}

// Empty reports the two digests under which the empty layer is known: a gzip stream of an
// empty tar, as written by Docker before 1.10 and since. Such a layer is never worth a request.
var Empty = [...]Digest{
	MustParse("sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"),
	MustParse("sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1"),
}

// Parse reads the text form. Errors wrap [ErrInvalid].
func Parse(s string) (Digest, error) {
	algorithm, encoded, ok := strings.Cut(s, ":")
	if !ok {
		return Digest{}, fmt.Errorf("%q: %w: want sha256:HEX or sha512:HEX", clip(s), ErrInvalid)
	}
	var d Digest
	switch algorithm {
	case "sha256":
		d.size = sha256.Size
	case "sha512":
		d.size = sha512.Size
	default:
		return Digest{}, fmt.Errorf("%q: %w: unknown algorithm", clip(s), ErrInvalid)
	}
	if len(encoded) != 2*int(d.size) || strings.ToLower(encoded) != encoded {
		return Digest{}, fmt.Errorf("%q: %w: want %d lower-case hexadecimal digits", clip(s), ErrInvalid, 2*d.size)
	}
	if _, err := hex.Decode(d.sum[:], []byte(encoded)); err != nil {
		return Digest{}, fmt.Errorf("%q: %w: %w", clip(s), ErrInvalid, err)
	}
	return d, nil
}

// clip keeps a hostile string from filling an error message.
func clip(s string) string {
	const most = 160
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// MustParse is [Parse] for constants; it panics when s is not a digest.
func MustParse(s string) Digest {
	d, err := Parse(s)
	if err != nil {
		panic(err) //nolint:forbidigo // that is what Must says
	}
	return d
}

// FromBytes reads the binary form: a raw sum of 32 or 64 bytes. Errors wrap [ErrInvalid].
func FromBytes(sum []byte) (Digest, error) {
	if len(sum) != sha256.Size && len(sum) != sha512.Size {
		return Digest{}, fmt.Errorf("%d bytes: %w: want 32 or 64", len(sum), ErrInvalid)
	}
	d := Digest{size: uint8(len(sum))}
	copy(d.sum[:], sum)
	return d, nil
}

// SHA256 returns the sha256 digest of b.
func SHA256(b []byte) Digest {
	sum := sha256.Sum256(b)
	d := Digest{size: sha256.Size}
	copy(d.sum[:], sum[:])
	return d
}

// IsZero reports whether d is the zero value, no digest.
func (d Digest) IsZero() bool { return d.size == 0 }

// IsEmptyLayer reports whether d is a layer known to hold nothing.
func (d Digest) IsEmptyLayer() bool { return d == Empty[0] || d == Empty[1] }

// Algorithm returns "sha256", "sha512", or "" for the zero value.
func (d Digest) Algorithm() string {
	switch d.size {
	case sha256.Size:
		return "sha256"
	case sha512.Size:
		return "sha512"
	}
	return ""
}

// Hex returns the sum in lower-case hexadecimal digits.
func (d Digest) Hex() string { return hex.EncodeToString(d.sum[:d.size]) }

// Bytes returns a copy of the raw sum, the binary form.
func (d Digest) Bytes() []byte { return append([]byte(nil), d.sum[:d.size]...) }

// Compare orders digests by their raw sums, as Postgres orders the binary form.
func (d Digest) Compare(other Digest) int {
	return bytes.Compare(d.sum[:d.size], other.sum[:other.size])
}

// Equal reports whether the digests are the same, as == does.
func (d Digest) Equal(other Digest) bool { return d == other }

// Prefix returns the first eight bytes of the sum as a big-endian number.
// They are uniformly distributed, which is what sharding wants. Zero for the zero value.
func (d Digest) Prefix() uint64 { return binary.BigEndian.Uint64(d.sum[:8]) }

// String returns the text form, or "" for the zero value.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return d.Algorithm() + ":" + d.Hex()
}

// Short returns the first twelve hexadecimal digits, for people.
func (d Digest) Short() string { return d.Hex()[:min(12, 2*int(d.size))] }

// MarshalText implements [encoding.TextMarshaler] with the text form.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. Empty text is the zero value.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err == nil {
		*d = parsed
	}
	return err
}

// A Verifier sums what is written to it and tells whether the sum is the one wanted.
type Verifier struct {
	hash.Hash
	want Digest
}

// Verifier returns a new Verifier of d. The zero value verifies nothing: it accepts any content.
func (d Digest) Verifier() *Verifier {
	if d.size == sha512.Size {
		return &Verifier{sha512.New(), d}
	}
	return &Verifier{sha256.New(), d}
}

// Got returns the digest of what was written so far.
func (v *Verifier) Got() Digest {
	d := Digest{size: uint8(v.Size())}
	v.Sum(d.sum[:0])
	return d
}

// Err returns nil when what was written has the digest wanted, else a [*MismatchError].
func (v *Verifier) Err() error {
	if got := v.Got(); !v.want.IsZero() && got != v.want {
		return &MismatchError{Want: v.want, Got: got}
	}
	return nil
}

// ErrOther is what errors are that say that content is not what was asked for: it has another digest, or another length. Whoever
// gave it may have been wrong for a moment; a cache, say.
var ErrOther = errors.New("not the content that was asked for")

// MismatchError says that content does not have the digest it was asked for by.
// Its kind is [fault.Corrupt], and it is [ErrOther].
type MismatchError struct{ Want, Got Digest }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("digest mismatch: want %s, content has %s", e.Want, e.Got)
}

// Is makes the error an [ErrOther].
func (*MismatchError) Is(target error) bool { return target == ErrOther }

// FaultKind makes the error a [fault.Corrupt].
func (*MismatchError) FaultKind() fault.Kind { return fault.Corrupt }
