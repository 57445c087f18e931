package registry

import (
	"strings"
	"testing"
	"time"
)

func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"alpine", "registry.example:5000/a/b:1", "[::1]/a@sha256:" + strings.Repeat("0", 64), "docker.io/library/x", "a__b---c/d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(ref.String())
		if err != nil || again != ref {
			t.Errorf("%q is %q, which is %q: %v", s, ref, again, err)
		}
		if strings.Contains(ref.Name, "..") || strings.HasPrefix(ref.Name, "/") || ref.Host == "" || ref.Identifier() == "" {
			t.Errorf("%q: %#v", s, ref)
		}
		if r, err := ParseRepository(ref.Repository.String()); err != nil || r != ref.Repository {
			t.Errorf("repository %q is %q: %v", ref.Repository, r, err)
		}
	})
}

func FuzzParseChallenges(f *testing.F) {
	for _, s := range []string{`Bearer realm="https://x",service="y",scope="z"`, `Negotiate YWJj==, Basic realm="a\"b"`, `a=b=c,,"`, "Bearer realm"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := parseChallenges([]string{s, s})
		if len(got) > maxChallenges {
			t.Errorf("%d challenges", len(got))
		}
		for _, c := range got {
			if c.scheme == "" || c.scheme != strings.ToLower(c.scheme) || c.params == nil {
				t.Errorf("challenge %#v", c)
			}
		}
	})
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"bytes 7-9/10", "bytes */10", "bytes 0-0/*", "bytes 9223372036854775807-9223372036854775807/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, ok := parseContentRange(s)
		if !ok {
			return
		}
		if c.first > c.last || c.total >= 0 && c.last >= c.total || c.first < 0 && c.total < 0 {
			t.Errorf("%q: %+v", s, c)
		}
	})
}

func FuzzParseBudget(f *testing.F) {
	for _, s := range []string{"100;w=21600", "100, 50;w=60;x", "Wed, 21 Oct 2015 07:28:00 GMT", "120"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if count, window := parseLimit(s); count < -1 || window < 0 || window > maxAfter {
			t.Errorf("limit %q: %d, %v", s, count, window)
		}
		if after := parseRetryAfter(s, time.Unix(0, 0)); after < 0 || after > maxAfter {
			t.Errorf("after %q: %v", s, after)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{`{"token":"x","expires_in":60}`, `{"errors":[{"code":"A","message":"b"}]}`, "<html>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		token, err := parseToken("auth.example", strings.NewReader(s))
		if err == nil && (token.value == "" || token.life <= 0 || token.life > 24*time.Hour) {
			t.Errorf("token %+v", token)
		}
		if text := describe(s); len([]rune(text)) > 201 || strings.ContainsAny(text, "\r\n\x1b") {
			t.Errorf("description %q", text)
		}
	})
}
