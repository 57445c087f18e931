package digest

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

const helloSHA256 = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func TestParse(t *testing.T) {
	for _, s := range []string{helloSHA256, "sha512:" + strings.Repeat("0f", 64)} {
		d, err := Parse(s)
		if err != nil {
			t.Fatalf("Parse(%q): %v", s, err)
		}
		if d.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, d.String())
		}
		back, err := FromBytes(d.Bytes())
		if err != nil || back != d {
			t.Errorf("FromBytes(Bytes()) = %v, %v; want %v", back, err, d)
		}
	}
	for _, s := range []string{
		"", "sha256", "sha256:", "sha256:zz", "md5:d41d8cd98f00b204e9800998ecf8427e",
		strings.ToUpper(helloSHA256), "sha256:" + strings.Repeat("A", 64), helloSHA256 + "0",
		"sha512:" + strings.Repeat("0", 64), strings.Repeat("x", 1<<20),
	} {
		if _, err := Parse(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("Parse(%.40q) = %v, want ErrInvalid", s, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("Parse of a long string has an error of %d bytes", len(err.Error()))
		}
	}
}

func TestVerifier(t *testing.T) {
	v := MustParse(helloSHA256).Verifier()
	if _, err := v.Write([]byte("hell")); err != nil {
		t.Fatal(err)
	}
	var mismatch *MismatchError
	if err := v.Err(); !errors.As(err, &mismatch) {
		t.Errorf("half the content: got %v, want a MismatchError", err)
	}
	if _, err := v.Write([]byte("o")); err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); err != nil {
		t.Errorf("whole content: %v", err)
	}
	if v.Got() != SHA256([]byte("hello")) {
		t.Error("Got differs from SHA256 of the same bytes")
	}
	if err := (Digest{}).Verifier().Err(); err != nil {
		t.Errorf("the zero digest must accept anything: %v", err)
	}
}

func TestText(t *testing.T) {
	in := map[Digest]Digest{MustParse(helloSHA256): {}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out := map[Digest]Digest{}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if len(out) != 1 || out[MustParse(helloSHA256)] != (Digest{}) {
		t.Errorf("round trip of %s gave %v", b, out)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(helloSHA256)
	f.Fuzz(func(t *testing.T, s string) {
		d, err := Parse(s)
		if err == nil && d.String() != s {
			t.Errorf("Parse(%q).String() = %q", s, d)
		}
	})
}
