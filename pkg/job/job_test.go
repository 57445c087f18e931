package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

var update = flag.Bool("update", false, "write the golden files of the current version")

const submission = "01890a5d-ac96-774b-bcce-b302099a8057"

var (
	hello = digest.SHA256([]byte("hello"))

	image = Image{Submission: submission, Lane: Now, Attempt: 2}
	layer = Layer{
		Digest: hello, MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Size: 29_150_123,
		Repositories: []string{"docker.io/library/debian", "quay.io/a/b"}, Lane: Bulk, Attempt: 1, Term: 4711,
	}
	upload = Layer{
		Digest: hello, Inflated: true, Prefix: "rootfs",
		Repositories: []string{"http://10.0.0.7:6060/uploads/<7>&x"}, Lane: Now,
	}
	letter = DeadLetter{
		Kind: KindLayer, Subject: hello.String(), Reason: "pull docker.io/library/debian: gzip: invalid header",
		FaultKind: fault.Corrupt.String(), Attempts: 5, Job: json.RawMessage(`{"v":1,"digest":"x"}`),
		At: time.Date(2026, 11, 24, 20, 45, 0, 123456789, time.UTC),
	}
)

// TestWire pins the wire form: what version 1 wrote is what version 1 reads, for ever.
func TestWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		value  any
		encode func() ([]byte, error)
		decode func([]byte) (any, error)
	}{
		{"image", image, image.Encode, decodeAny(DecodeImage)},
		{"layer", layer, layer.Encode, decodeAny(DecodeLayer)},
		{"upload", upload, upload.Encode, decodeAny(DecodeLayer)},
		{"dead-letter", letter, letter.Encode, decodeAny(DecodeDeadLetter)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.encode()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "v1", c.name+".json")
			if *update {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			back, err := c.decode(want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.value, back, cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func decodeAny[T any](decode func([]byte) (T, error)) func([]byte) (any, error) {
	return func(b []byte) (any, error) { return decode(b) }
}

func TestDecodeLayerRefuses(t *testing.T) {
	const good = `{"v":1,"digest":"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824","repositories":["a/b"],"lane":"bulk"}`
	if _, err := DecodeLayer([]byte(good)); err != nil {
		t.Fatalf("the message that the others are made from: %v", err)
	}
	for _, c := range []struct {
		name, old, new string
		kind           fault.Kind
	}{
		{"a later version", `"v":1`, `"v":2`, fault.Unsupported},
		{"a later version with other types", good, `{"v":7,"digest":{"sha256":"…"},"lane":3}`, fault.Unsupported},
		{"no version", `"v":1,`, ``, fault.Corrupt},
		{"a version of zero", `"v":1`, `"v":0`, fault.Corrupt},
		{"a negative version", `"v":1`, `"v":-1`, fault.Corrupt},
		{"a version that is no whole number", `"v":1`, `"v":1.5`, fault.Corrupt},
		{"nothing", good, ``, fault.Corrupt},
		{"null", good, `null`, fault.Corrupt},
		{"an array", good, `[1]`, fault.Corrupt},
		{"two values", good, good + good, fault.Corrupt},
		{"half a message", good, good[:40], fault.Corrupt},
		{"no digest", `"digest"`, `"other"`, fault.Corrupt},
		{"an unknown algorithm", `sha256`, `sha255`, fault.Corrupt},
		{"an unknown lane", `"bulk"`, `"express"`, fault.Corrupt},
		{"no repository", `["a/b"]`, `[]`, fault.Corrupt},
		{"an empty repository", `"a/b"`, `""`, fault.Corrupt},
		{"five repositories", `"a/b"`, `"a","b","c","d","e"`, fault.Corrupt},
		{"a repository of 2 KiB", `"a/b"`, `"` + strings.Repeat("r", 2048) + `"`, fault.Corrupt},
		{"a negative size", `"v":1`, `"v":1,"size":-1`, fault.Corrupt},
		{"a size beyond 64 bits", `"v":1`, `"v":1,"size":9223372036854775808`, fault.Corrupt},
		{"a negative attempt", `"v":1`, `"v":1,"attempt":-1`, fault.Corrupt},
		{"a negative term", `"v":1`, `"v":1,"term":-1`, fault.Corrupt},
		{"a message of 1 MiB", `"v":1`, `"v":1,"x":"` + strings.Repeat("x", 1<<20) + `"`, fault.TooLarge},
		{"deep nesting", `"v":1`, `"v":1,"x":` + strings.Repeat("[", 30_000), fault.Corrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := DecodeLayer([]byte(strings.Replace(good, c.old, c.new, 1)))
			if got := fault.KindOf(err); err == nil || got != c.kind {
				t.Fatalf("error %v, kind %v; want kind %v", err, got, c.kind)
			}
			if len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if fault.Retryable(err) {
				t.Errorf("%v is retryable: it would be tried for nothing", err)
			}
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	i, err := DecodeImage([]byte(`{"v":1,"submission":"` + submission + `","lane":"now","later":{"a":[1]},"attempt":2}`))
	if err != nil || i != image {
		t.Errorf("got %+v, %v; want %+v", i, err, image)
	}
}

func TestEncodeRefuses(t *testing.T) {
	with := func(change func(*Layer)) Layer {
		l := layer
		change(&l)
		return l
	}
	for _, c := range []struct {
		name   string
		encode func() ([]byte, error)
	}{
		{"an upper-case UUID", Image{Submission: strings.ToUpper(submission)}.Encode},
		{"a UUID in braces", Image{Submission: "{" + submission + "}"}.Encode},
		{"a UUID with its dashes elsewhere", Image{Submission: "01890a5da-c96-774b-bcce-b302099a8057"}.Encode},
		{"an unknown lane", Image{Submission: submission, Lane: 2}.Encode},
		{"no digest", with(func(l *Layer) { l.Digest = digest.Digest{} }).Encode},
		{"no repository", with(func(l *Layer) { l.Repositories = nil }).Encode},
		{"text that is not UTF-8", with(func(l *Layer) { l.Prefix = "\xff" }).Encode},
		{"an unknown kind of dead letter", DeadLetter{Kind: "crawl"}.Encode},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := c.encode(); fault.KindOf(err) != fault.Invalid {
				t.Errorf("error %v, want one of kind invalid", err)
			}
		})
	}
}

// TestDeadLetterTakesAnything holds that no message, however odd, keeps its own dead letter from being written.
func TestDeadLetterTakesAnything(t *testing.T) {
	for name, raw := range map[string][]byte{
		"nothing":        nil,
		"binary":         {0, 0xff, 0xfe},
		"text":           []byte("hello"),
		"half an object": []byte(`{"v":1,`),
		"1 MiB of JSON":  []byte(`"` + strings.Repeat("x", 1<<20) + `"`),
		"1 MiB of \\xff": bytes.Repeat([]byte{0xff}, 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			d := DeadLetter{Kind: KindLayer, Subject: strings.Repeat("\xff", 1<<20), Reason: strings.Repeat("é", 1<<20), Job: raw}
			value, err := d.Encode()
			if err != nil {
				t.Fatal(err)
			}
			back, err := DecodeDeadLetter(value)
			if err != nil {
				t.Fatal(err)
			}
			if !utf8.ValidString(back.Reason) || len(back.Reason) > maxReasonBytes || !strings.HasSuffix(back.Reason, "é…") {
				t.Errorf("reason has %d bytes and ends in %q", len(back.Reason), back.Reason[len(back.Reason)-8:])
			}
			if len(raw) > 0 && len(back.Job) == 0 {
				t.Error("the message is not quoted")
			}
		})
	}
}

func TestLane(t *testing.T) {
	for _, lane := range Lanes {
		if got, err := ParseLane(lane.String()); err != nil || got != lane {
			t.Errorf("ParseLane(%q) = %v, %v", lane.String(), got, err)
		}
	}
	if _, err := ParseLane(strings.Repeat("x", 1<<20)); fault.KindOf(err) != fault.Invalid || len(err.Error()) > 300 {
		t.Errorf("ParseLane of a long string: %v", err)
	}
	if Lanes[0] != Now {
		t.Error("now must be served first")
	}
}

func TestLayerRoundTrip(t *testing.T) {
	text := func(most int) *rapid.Generator[string] { return rapid.StringN(0, most, most) }
	rapid.Check(t, func(t *rapid.T) {
		l := Layer{
			Digest:    digest.SHA256(rapid.SliceOf(rapid.Byte()).Draw(t, "content")),
			MediaType: text(maxMediaTypeBytes).Draw(t, "media type"),
			Size:      rapid.Int64Min(0).Draw(t, "size"),
			Inflated:  rapid.Bool().Draw(t, "inflated"),
			Prefix:    text(maxPrefixBytes).Draw(t, "prefix"),
			Repositories: rapid.SliceOfN(rapid.StringN(1, maxRepositoryBytes, maxRepositoryBytes), 1, MaxRepositories).
				Draw(t, "repositories"),
			Lane:    rapid.SampledFrom(Lanes[:]).Draw(t, "lane"),
			Attempt: rapid.IntMin(0).Draw(t, "attempt"),
			Term:    rapid.Int64Min(0).Draw(t, "term"),
		}
		value, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeLayer(value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, back, cmpopts.EquateComparable(digest.Digest{})); diff != "" {
			t.Errorf("(-sent +read):\n%s", diff)
		}
	})
}

// TestWorstCaseFits holds that whatever passes the check of its parts is within the bound of the whole.
func TestWorstCaseFits(t *testing.T) {
	l := layer
	l.MediaType = strings.Repeat("\x01", maxMediaTypeBytes)
	l.Prefix = strings.Repeat("\x01", maxPrefixBytes)
	l.Repositories = nil
	for range MaxRepositories {
		l.Repositories = append(l.Repositories, strings.Repeat("\x01", maxRepositoryBytes))
	}
	if value, err := l.Encode(); err != nil {
		t.Errorf("%d bytes: %v", len(value), err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, encode := range []func() ([]byte, error){image.Encode, layer.Encode, upload.Encode, letter.Encode} {
		value, err := encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		i, err := DecodeImage(value)
		refuzz(t, i, err, Image.Encode, DecodeImage)
		l, err := DecodeLayer(value)
		refuzz(t, l, err, Layer.Encode, DecodeLayer)
		d, err := DecodeDeadLetter(value)
		refuzz(t, d, err, DeadLetter.Encode, DecodeDeadLetter)
		if raw := Raw(value); len(raw) > 0 && !json.Valid(raw) {
			t.Errorf("Raw(%q) = %q: not JSON", value, raw)
		}
	})
}

// refuzz holds that an error is a typed one, and that what was read can be sent and read again:
// what comes back the second time is what came the first.
func refuzz[T any](t *testing.T, v T, err error, encode func(T) ([]byte, error), decode func([]byte) (T, error)) {
	t.Helper()
	if err != nil {
		var typed *fault.Error
		if !errors.As(err, &typed) || fault.KindOf(err) == fault.Unknown {
			t.Errorf("error without a kind: %v", err)
		}
		return
	}
	first, err := encode(v)
	if err != nil {
		t.Fatalf("encode %+v: %v", v, err)
	}
	again, err := decode(first)
	if err != nil {
		t.Fatalf("decode %s: %v", first, err)
	}
	if second, err := encode(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("encoded %s, then %s (%v)", first, second, err)
	}
}
