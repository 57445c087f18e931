package bundle

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/version"
)

var (
	checked = time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	records = []advisory.Record{
		{
			ID: "CVE-2026-0001", Aliases: []string{"GHSA-1"}, Severity: advisory.High, Description: "A line.\nAnother, with ‘ü’.", Link: "https://x.example",
			CVSS:       []advisory.CVSS{{Source: "nvd", Version: "3.1", Vector: "CVSS:3.1/AV:N", Score: 9.8}},
			Weaknesses: []string{"CWE-787"}, References: []string{"https://y.example"}, Published: checked, Modified: checked.Add(time.Second),
			Affected: []advisory.Range{
				{Namespace: "debian:12", Scheme: version.Dpkg, Name: "zlib", Introduced: "1", Fixed: "2", Status: advisory.Fixed, Severity: advisory.Low, Urgency: "low"},
				{Namespace: "debian:12", Scheme: version.Dpkg, Name: "perl", Last: "5", Status: advisory.UnderInvestigation, Problem: "odd"},
			},
		},
		{ID: "CVE-2026-0002"},
	}
	facts = []advisory.Exploitation{
		{CVE: "CVE-2026-0001", Known: &advisory.KnownExploited{Added: checked, Name: "Zlib"}},
		{CVE: "CVE-2026-0002", Score: &advisory.EPSS{Probability: 0.00042, Percentile: 0.1}},
	}
)

func each[T any](list []T) func(func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for _, item := range list {
			if !yield(item, nil) {
				return
			}
		}
	}
}

func feedNamed(url string) *Feed {
	return &Feed{URL: url, Version: Version{Cursor: "parser 1"}, Checked: checked, Changed: checked, Records: 2, Ranges: 2}
}

// write makes a bundle of three sections.
func write(t testing.TB, name string, key ed25519.PrivateKey) *Manifest {
	t.Helper()
	w, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Records(Section{Content: Ranges, Source: "debian", Feed: feedNamed("https://d.example")}, each(records)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Records(Section{Content: Descriptions, Source: "debian"}, each(records[1:])); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Exploitations(Section{Content: Scores, Source: "epss", Feed: feedNamed("https://e.example")}, each(facts)); err != nil {
		t.Fatal(err)
	}
	m, err := w.Finish(Manifest{Created: checked, Program: "test"}, key)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func keys(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	private, public, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sign, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	verify, err := ParsePublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return verify, sign
}

func collect[T any](t testing.TB, items func(func(T, error) bool)) (out []T) {
	t.Helper()
	for item, err := range items {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, item)
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	verify, sign := keys(t)
	other, _ := keys(t)
	for _, signed := range []bool{true, false} {
		name := filepath.Join(t.TempDir(), "feeds.tar.zst")
		key, trust := sign, Trust{Keys: []ed25519.PublicKey{other, verify}}
		if !signed {
			key, trust = nil, Trust{Unsigned: true}
		}
		m := write(t, name, key)
		r, err := Open(name, trust)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, r.Manifest()); diff != "" || r.Signed() != signed {
			t.Errorf("signed %v: %s", r.Signed(), diff)
		}
		var last int64
		for range 2 { // it can be gone through again
			if err := r.Verify(func(read, _ int64) { last = read }); err != nil || last == 0 {
				t.Fatal(err)
			}
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(records, collect(t, r.Records())); diff != "" {
				t.Error(diff)
			}
			if _, err := r.Next(); err != nil { // which is left out
				t.Fatal(err)
			}
			if s, err := r.Next(); err != nil || s.Content != Scores {
				t.Fatal(s, err)
			}
			if diff := cmp.Diff(facts, collect(t, r.Exploitations())); diff != "" {
				t.Error(diff)
			}
			if _, err := r.Next(); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(name), ".*")); err != nil || len(left) > 0 {
			t.Errorf("left %v, %v", left, err)
		}
	}
}

// TestOtherTools holds that tar and openssl understand a bundle.
func TestOtherTools(t *testing.T) {
	for _, tool := range []string{"tar", "zstd", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("A BUNDLE IS NOT READ BY OTHER TOOLS:", err)
		}
	}
	private, public, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	sign, err := ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.tar.zst"), sign)
	if err := os.WriteFile(filepath.Join(dir, "key.pub"), public, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"tar --zstd -xf b.tar.zst",
		"openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in manifest.json -sigfile manifest.sig",
	} {
		command := exec.Command("sh", "-c", line)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", line, err, out)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "feeds/00000.ndjson")); err != nil || bytes.Count(text, []byte("\n")) != 2 {
		t.Errorf("%s, %v", text, err)
	}
}

// entry is one of a bundle that a test takes apart.
type entry struct {
	tar.Header
	content []byte
}

func unpack(t testing.TB, name string) (out []entry) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, entry{*h, content})
	}
}

func pack(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := tar.Header{Name: e.Name, Typeflag: e.Typeflag, Linkname: e.Linkname, Size: int64(len(e.content)), Mode: 0o644}
		if h.Typeflag == tar.TypeSymlink {
			h.Size = 0
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); h.Size > 0 && err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func openBytes(text []byte, trust Trust) error {
	r, err := newReader("b.tar.zst", bytes.NewReader(text), int64(len(text)), trust)
	if err != nil {
		return err
	}
	return errors.Join(r.Verify(nil), r.Close())
}

func TestHostile(t *testing.T) {
	verify, sign := keys(t)
	name := filepath.Join(t.TempDir(), "b.tar.zst")
	write(t, name, sign)
	trust := Trust{Keys: []ed25519.PublicKey{verify}}
	replace := func(n int, old, new string) func([]entry) []entry {
		return func(e []entry) []entry {
			if !bytes.Contains(e[n].content, []byte(old)) {
				t.Fatalf("%q does not stand in %s", old, e[n].Name)
			}
			e[n].content = bytes.Replace(e[n].content, []byte(old), []byte(new), 1)
			return e
		}
	}
	for title, c := range map[string]struct {
		change func([]entry) []entry
		trust  Trust
		kind   fault.Kind
		says   string
	}{
		"as it was":               {func(e []entry) []entry { return e }, trust, fault.Unknown, ""},
		"manifest changed":        {replace(0, `"debian"`, `"ubuntu"`), trust, fault.Unauthorized, "not trusted"},
		"signature changed":       {func(e []entry) []entry { e[1].content[0] ^= 1; return e }, trust, fault.Unauthorized, "not trusted"},
		"another key":             {func(e []entry) []entry { return e }, Trust{Keys: make([]ed25519.PublicKey, 1)}, fault.Unauthorized, "not trusted"},
		"nobody is trusted":       {func(e []entry) []entry { return e }, Trust{}, fault.Unauthorized, "not trusted"},
		"not signed":              {func(e []entry) []entry { return append(e[:1:1], e[2:]...) }, trust, fault.Unauthorized, "not signed"},
		"short signature":         {func(e []entry) []entry { e[1].content = e[1].content[:63]; return e }, trust, fault.Corrupt, "63 bytes"},
		"a word changed":          {replace(2, "low", "not"), trust, fault.Corrupt, "severity"},
		"a letter changed":        {replace(2, "GHSA-1", "GHSA-2"), trust, fault.Corrupt, "checksum"},
		"a line is missing":       {func(e []entry) []entry { e[4].content = e[4].content[:40]; return e }, trust, fault.Corrupt, "the manifest has"},
		"files in another order":  {func(e []entry) []entry { e[2], e[3] = e[3], e[2]; return e }, trust, fault.Corrupt, "00001.ndjson"},
		"a file is missing":       {func(e []entry) []entry { return e[:4] }, trust, fault.Corrupt, "unexpected EOF"},
		"a file more":             {func(e []entry) []entry { return append(e, e[4]) }, trust, fault.Corrupt, "not in the manifest"},
		"a path that leads away":  {func(e []entry) []entry { e[2].Name = "../../etc/passwd"; return e }, trust, fault.Corrupt, "etc/passwd"},
		"a link":                  {func(e []entry) []entry { e[2].Typeflag, e[2].Linkname = tar.TypeSymlink, "/etc/passwd"; return e }, trust, fault.Corrupt, "regular file"},
		"path in the manifest":    {replace(0, "feeds/00000.ndjson", "../../etc/passwd"), Trust{Unsigned: true}, fault.Corrupt, "etc/passwd"},
		"another format":          {replace(0, "trawl-feeds/1", "trawl-feeds/2"), Trust{Unsigned: true}, fault.Unsupported, "trawl-feeds/2"},
		"an unknown member":       {replace(0, `"program"`, `"extra": 1, "program"`), Trust{Unsigned: true}, fault.Corrupt, "extra"},
		"an unknown content":      {replace(0, `"scores"`, `"prizes"`), Trust{Unsigned: true}, fault.Corrupt, "prizes"},
		"a feed twice":            {replace(0, "https://e.example", "https://d.example"), Trust{Unsigned: true}, fault.Corrupt, "twice"},
		"no manifest":             {func(e []entry) []entry { return e[1:] }, Trust{Unsigned: true}, fault.Corrupt, "manifest.json"},
		"more than memory":        {replace(0, `"lines": 2`, `"lines": 2222222222`), Trust{Unsigned: true}, fault.Corrupt, "do not fit"},
		"more than a disk":        {replace(0, `"bytes": `, `"bytes": 9999999999`), Trust{Unsigned: true}, fault.Corrupt, "more than"},
		"a bomb":                  {replace(0, `"bytes": `, `"bytes": 9999999`), Trust{Unsigned: true}, fault.TooLarge, "for each compressed"},
		"whatever it says it has": {replace(0, `"lines": 2`, `"lines": 3`), Trust{Unsigned: true}, fault.Corrupt, "lines"},
	} {
		t.Run(title, func(t *testing.T) {
			err := openBytes(pack(t, c.change(unpack(t, name))), c.trust)
			if fault.KindOf(err) != c.kind || (c.says != "" && !strings.Contains(err.Error(), c.says)) {
				t.Errorf("got %v (%v), want %v with %q", fault.KindOf(err), err, c.kind, c.says)
			}
		})
	}
}

func TestTruncated(t *testing.T) {
	name := filepath.Join(t.TempDir(), "b.tar.zst")
	write(t, name, nil)
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := openBytes(whole, Trust{Unsigned: true}); err != nil {
		t.Fatal(err)
	}
	end := len(whole) - 40 // behind the last record there are zeros
	for n := range end {
		if err := openBytes(whole[:n], Trust{Unsigned: true}); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
}

// TestLongLine holds that a line is bounded, however well it compresses.
func TestLongLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "b.tar.zst")
	w, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	long := advisory.Record{ID: "CVE-2026-0001", Description: strings.Repeat("x", maxLineBytes)}
	_, err = w.Records(Section{Content: Descriptions, Source: "debian"}, each([]advisory.Record{long}))
	if fault.KindOf(err) != fault.TooLarge {
		t.Errorf("written: %v", err)
	}
	if _, err := w.Finish(Manifest{Created: checked}, nil); err == nil {
		t.Error("a bundle with half a section was finished")
	}
	write(t, name, nil)
	entries := unpack(t, name)
	entries[1].content = bytes.Repeat([]byte("x"), 2*maxLineBytes)
	var m Manifest
	if err := strict(entries[0].content, &m); err != nil {
		t.Fatal(err)
	}
	entries[0].content = bytes.Replace(entries[0].content, []byte(`"bytes": `+fmt.Sprint(m.Sections[0].Bytes)), []byte(`"bytes": `+fmt.Sprint(2*maxLineBytes)), 1)
	if err := openBytes(pack(t, entries), Trust{Unsigned: true}); fault.KindOf(err) != fault.TooLarge {
		t.Errorf("read: %v", err)
	}
}

func TestUnchanged(t *testing.T) {
	name := filepath.Join(t.TempDir(), "b.tar.zst")
	w, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	w.Unchanged(Section{Content: Ranges, Source: "debian", Feed: feedNamed("https://d.example")}, Version{Cursor: "before"})
	if _, err := w.Finish(Manifest{Created: checked}, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("it stands on nothing: %v", err)
	}
	_, sign := keys(t)
	base := &Base{Created: checked, SHA256: make(Sum, 32)}
	if _, err := w.Finish(Manifest{Created: checked, Base: base}, sign); err != nil {
		t.Fatal(err)
	}
	for _, trust := range []Trust{{Unsigned: true}, {Keys: []ed25519.PublicKey{sign.Public().(ed25519.PublicKey)}}} {
		r, err := Open(name, trust)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Verify(nil); err != nil {
			t.Error(err)
		}
		if s, err := r.Next(); err != nil || s.File != "" || s.Base.Cursor != "before" {
			t.Errorf("%+v, %v", s, err)
		}
		r.Close()
	}
	m, sum, err := ManifestOf(name)
	if err != nil || len(sum) != 32 || m.Base == nil {
		t.Errorf("%+v, %v", m, err)
	}
	alone := filepath.Join(t.TempDir(), "m.json")
	if err := os.WriteFile(alone, unpack(t, name)[0].content, 0o600); err != nil {
		t.Fatal(err)
	}
	again, same, err := ManifestOf(alone)
	if err != nil || !bytes.Equal(sum, same) || cmp.Diff(m, again) != "" {
		t.Errorf("%+v, %v", again, err)
	}
	if _, _, err := ManifestOf(filepath.Join(t.TempDir(), "none")); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	private, public, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{nil, public, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")} {
		if _, err := ParsePrivateKey(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range [][]byte{nil, private, []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")} {
		if _, err := ParsePublicKey(text); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLines(t *testing.T) {
	text := rapid.StringMatching(`[a-zü"\\\n\x00-\x1f]{0,9}`)
	rapid.Check(t, func(t *rapid.T) {
		r := advisory.Record{
			ID: "x" + text.Draw(t, "id"), Description: text.Draw(t, "description"),
			Severity: advisory.Severity(rapid.IntRange(0, 5).Draw(t, "severity")), Aliases: rapid.SliceOf(text).Draw(t, "aliases"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			r.Affected = append(r.Affected, advisory.Range{
				Namespace: "debian:12", Scheme: version.Dpkg, Name: "x" + text.Draw(t, "name"), Fixed: text.Draw(t, "fixed"),
				Status: advisory.Status(rapid.IntRange(0, 6).Draw(t, "status")),
			})
		}
		line, err := formatRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseRecord(line)
		if diff := cmp.Diff(r, got, cmpopts.EquateEmpty()); err != nil || diff != "" || bytes.ContainsRune(line, '\n') {
			t.Fatal(diff, err)
		}
	})
	for _, line := range []string{
		``, `{}`, `[]`, `{"id":"x"} {}`, `{"id":"x","other":1}`, `{"id":"x","ranges":[{"in":"a","name":"b","scheme":"runes","status":"fixed"}]}`,
	} {
		if _, err := parseRecord([]byte(line)); err == nil {
			t.Errorf("%s is a record", line)
		}
	}
	for _, line := range []string{``, `{}`, `{"cve":"x"}`, `{"cve":"x","known":{},"score":{}}`} {
		if _, err := parseExploitation([]byte(line)); err == nil {
			t.Errorf("%s is a fact", line)
		}
	}
}

// FuzzReader reads any bytes as a bundle, as they are and as the inside of the compression.
func FuzzReader(f *testing.F) {
	name := filepath.Join(f.TempDir(), "b.tar.zst")
	write(f, name, nil)
	whole, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, false)
	z, err := zstd.NewReader(nil)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := z.DecodeAll(whole, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, true)
	f.Add([]byte("{}"), false)
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte, inside bool) {
		if inside {
			text = e.EncodeAll(text, nil)
		}
		if err := openBytes(text, Trust{Unsigned: true}); err != nil && fault.KindOf(err) == fault.Unknown {
			t.Errorf("an error without a kind: %v", err)
		}
	})
}
