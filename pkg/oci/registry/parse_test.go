package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestParseReference(t *testing.T) {
	const d = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	for s, want := range map[string]string{
		"alpine":                           "docker.io/library/alpine:latest",
		"alpine:3.20":                      "docker.io/library/alpine:3.20",
		"team/app":                         "docker.io/team/app:latest",
		"docker.io/alpine":                 "docker.io/library/alpine:latest",
		"index.docker.io/library/alpine:1": "docker.io/library/alpine:1",
		"registry-1.docker.io/team/app:1":  "docker.io/team/app:1",
		"registry.example/a/b/c:1":         "registry.example/a/b/c:1",
		"Registry.Example:5000/app":        "registry.example:5000/app:latest",
		"localhost/app":                    "localhost/app:latest",
		"[::1]:5000/app:1":                 "[::1]:5000/app:1",
		"alpine@" + d:                      "docker.io/library/alpine@" + d,
		"registry.example/app:1@" + d:      "registry.example/app:1@" + d,
		"":                                 "",
		"Alpine":                           "",
		"registry.example/":                "",
		"registry.example/../app":          "",
		"registry.example/a//b":            "",
		"registry.example/app:":            "",
		"registry.example/app:a b":         "",
		"registry.example/app@sha256:12":   "",
		"http://registry.example/app":      "",
		"registry.example/app?x=1":         "",
		"Docker.IO/alpine":                 "docker.io/library/alpine:latest",
		"registry-1.docker.io/alpine":      "docker.io/library/alpine:latest",
		"LOCALHOST/app":                    "localhost/app:latest",
		"Team/app":                         "",
		"[A00]/app":                        "",
		"[127.0.0.1]/app":                  "",
		"registry.example:0/app":           "",
		"registry.example:65536/app":       "",
		strings.Repeat("a", 1000):          "",
		strings.Repeat("a", 64):            "docker.io/library/" + strings.Repeat("a", 64) + ":latest",
	} {
		if s == strings.Repeat("a", 64) {
			want = "" // the identifier of an image on some Docker, not a name
		}
		got, err := ParseReference(s)
		if want == "" {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("ParseReference(%.80q) = %v, %v; want an error", s, got, err)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("ParseReference(%q) = %v, %v; want %s", s, got, err, want)
		}
		if again, err := ParseReference(want); err != nil || again != got {
			t.Errorf("%s is not canonical: %v, %v", want, again, err)
		}
	}
	if _, err := ParseRepository("registry.example/app:1"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a repository with a tag: %v", err)
	}
}

func TestParseChallenges(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		want   []challenge
	}{
		{"Docker Hub", []string{`Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"`}, []challenge{
			{"bearer", map[string]string{"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:library/alpine:pull"}},
		}},
		{"htpasswd", []string{`Basic realm="Registry Realm"`}, []challenge{{"basic", map[string]string{"realm": "Registry Realm"}}}},
		{"two in one, with commas in strings", []string{`Basic realm="a, b" , BEARER Realm=x , Scope="r:a:pull,push"`}, []challenge{
			{"basic", map[string]string{"realm": "a, b"}},
			{"bearer", map[string]string{"realm": "x", "scope": "r:a:pull,push"}},
		}},
		{"a token68 first", []string{`Negotiate YWJjZA==, Basic realm="x"`}, []challenge{
			{"negotiate", map[string]string{"ywjjza": ""}}, {"basic", map[string]string{"realm": "x"}},
		}},
		{"several headers", []string{"Negotiate", `Basic realm="x"`}, []challenge{{"negotiate", map[string]string{}}, {"basic", map[string]string{"realm": "x"}}}},
		{"escapes", []string{`Basic realm="say \"x\" \\"`}, []challenge{{"basic", map[string]string{"realm": `say "x" \`}}}},
		{"a string without end", []string{`Basic realm="x`}, []challenge{{"basic", map[string]string{}}}},
		{"nothing", []string{"", " , ", "=", `"`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parseChallenges(c.values), cmp.AllowUnexported(challenge{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := parseChallenges([]string{strings.Repeat("a, ", 1000)}); len(got) != maxChallenges {
		t.Errorf("%d challenges", len(got))
	}
}

func TestParseContentRange(t *testing.T) {
	for s, want := range map[string]contentRange{
		"bytes 7-9/10":  {7, 9, 10},
		"bytes 0-0/*":   {0, 0, -1},
		"Bytes  7-9/10": {7, 9, 10},
		"bytes */10":    {-1, -1, 10},
	} {
		if got, ok := parseContentRange(s); !ok || got != want {
			t.Errorf("%q: got %v, %t", s, got, ok)
		}
	}
	for _, s := range []string{"", "bytes", "bytes 7-9", "bytes */*", "bytes 9-7/10", "bytes 7-10/10", "bytes -1-9/10", "lines 7-9/10", "bytes 7-9/99999999999999999999", "bytes +7-9/10"} {
		if got, ok := parseContentRange(s); ok {
			t.Errorf("%q: got %v", s, got)
		}
	}
}

func TestParseLimit(t *testing.T) {
	for s, want := range map[string]struct {
		count  int64
		window time.Duration
	}{
		"100;w=21600":      {100, 6 * time.Hour},
		"100":              {100, 0},
		" 7 ; w=60 ":       {7, time.Minute},
		"100, 50;w=60":     {50, time.Minute},
		"0;w=21600":        {0, 6 * time.Hour},
		"":                 {-1, 0},
		"-1":               {-1, 0},
		"x;w=1":            {-1, 0},
		"5;w=x":            {5, 0},
		"5;w=999999999999": {5, maxAfter},
	} {
		if count, window := parseLimit(s); count != want.count || window != want.window {
			t.Errorf("%q: got %d, %v", s, count, window)
		}
	}
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2015, 10, 21, 7, 28, 0, 0, time.UTC)
	for s, want := range map[string]time.Duration{
		"":                               0,
		"120":                            2 * time.Minute,
		" 5 ":                            5 * time.Second,
		"-5":                             0,
		"1.5":                            0,
		"99999999999999999999":           0,
		"9999999999":                     maxAfter,
		"Wed, 21 Oct 2015 07:30:00 GMT":  2 * time.Minute,
		"Wed, 21 Oct 2015 07:00:00 GMT":  0,
		"Fri, 21 Oct 2095 07:00:00 GMT":  maxAfter,
		"Wednesday, 21-Oct-15 07:29 GMT": 0,
	} {
		if got := parseRetryAfter(s, now); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	for body, want := range map[string]string{
		`{"errors":[{"code":"A","message":"b"},{"code":"C"}]}`: "A: b; C",
		`{"details":"wrong"}`:             "wrong",
		`{"message":"wrong"}`:             "wrong",
		`{"errors":[]}`:                   "",
		"<html>x":                         "",
		"plain\r\n\x1b[31mtext":           "plain [31mtext",
		"see https://x.example/y?sig=1 z": "see https://x.example/y?… z",
		strings.Repeat("x", 300):          strings.Repeat("x", 200) + "…",
		`{"errors":[{"code":"A","message":"b","detail":{"token":"t"}}]}`: "A: b",
	} {
		if got := describe(body); got != want {
			t.Errorf("%.60q: got %q, want %q", body, got, want)
		}
	}
}
