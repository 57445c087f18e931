package store

import "testing"

func TestJSONText(t *testing.T) {
	for in, want := range map[string]string{
		"plain":          `"plain"`,
		"a\x00b":         `"a\ufffdb"`,
		`a\x00`:          `"a\\x00"`,
		"\\u0000":        `"\\u0000"`,
		"\\\x00":         `"\\\ufffd"`,
		"bad \xff UTF-8": `"bad \ufffd UTF-8"`,
	} {
		if got, err := jsonText(in); err != nil || got != want {
			t.Errorf("jsonText(%q) = %s, %v; want %s", in, got, err, want)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x00b\xffc"); got != "a\uFFFDb\uFFFDc" {
		t.Errorf("got %q", got)
	}
}
