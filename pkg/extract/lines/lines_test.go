package lines

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func read(r io.Reader) (got []string, err error) {
	l := NewReader(r)
	for {
		line, err := l.Next()
		if err != nil {
			return got, err
		}
		s := string(line)
		if len(s) > 20 {
			s = fmt.Sprintf("%.3s…%d", s, len(s))
		}
		got = append(got, fmt.Sprintf("%d %q %t", l.Number(), s, l.Cut()))
	}
}

func TestNext(t *testing.T) {
	long := strings.Repeat("x", MaxBytes)
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"\n", []string{`1 "" false`}},
		{"a\n\nb", []string{`1 "a" false`, `2 "" false`, `3 "b" false`}},
		{"a\r\nb\r\n", []string{`1 "a" false`, `2 "b" false`}},
		{long[1:] + "\nb", []string{`1 "xxx…16383" false`, `2 "b" false`}},
		{long + "\nb\n", []string{`1 "xxx…16384" true`, `2 "b" false`}},
		{long + long + long + "y\nb\n", []string{`1 "xxx…16384" true`, `2 "b" false`}},
		{"a\n" + long + long, []string{`1 "a" false`, `2 "xxx…16384" true`}},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.text), iotest.OneByteReader(strings.NewReader(c.text))} {
			got, err := read(r)
			if diff := cmp.Diff(c.want, got); diff != "" || err != io.EOF {
				t.Errorf("%.20q: %v, want (-), got (+):\n%s", c.text, err, diff)
			}
		}
	}
}

func TestError(t *testing.T) {
	broken := errors.New("connection reset")
	for _, text := range []string{"", "a\n", "a\nhalf a line", strings.Repeat("x", 3*MaxBytes)} {
		_, err := read(io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)))
		if err != broken { // it must be the very same
			t.Errorf("%.20q: got %v", text, err)
		}
	}
}
