package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/inventory"
)

func TestHeader(t *testing.T) {
	name, version, release := text(tagName, "bind-libs"), text(tagVersion, "9.3.6"), text(tagRelease, "25.P1.el5")
	for _, c := range []struct {
		name string
		blob []byte
		want inventory.Package
		err  string
	}{
		{"all there is", header(name, version, release, number(tagEpoch, 30), text(tagArch, "x86_64"), text(tagSourceRPM, "bind-9.3.6-25.P1.el5.src.rpm")),
			inventory.Package{Kind: inventory.RPM, Name: "bind-libs", Version: "30:9.3.6-25.P1.el5", Arch: "x86_64", SourceName: "bind", SourceVersion: "30:9.3.6-25.P1.el5"}, ""},
		{"epoch 0 is none", header(name, version, release, number(tagEpoch, 0), text(tagSourceRPM, "(none)")),
			inventory.Package{Kind: inventory.RPM, Name: "bind-libs", Version: "9.3.6-25.P1.el5", SourceName: "bind-libs", SourceVersion: "9.3.6-25.P1.el5"}, ""},
		{"a source of another version", header(name, version, release, number(tagEpoch, 30), text(tagSourceRPM, "bind-tools-1.0-2.nosrc.rpm")),
			inventory.Package{Kind: inventory.RPM, Name: "bind-libs", Version: "30:9.3.6-25.P1.el5", SourceName: "bind-tools", SourceVersion: "1.0-2"}, ""},
		{"a module", header(name, version, release, text(tagModularity, "nodejs:18:9020020230327152102:rhel9")),
			inventory.Package{Kind: inventory.RPM, Name: "bind-libs", Version: "9.3.6-25.P1.el5", SourceName: "bind-libs", SourceVersion: "9.3.6-25.P1.el5", Module: "nodejs:18:9020020230327152102:rhel9"}, ""},
		{"a source file that is misnamed", header(name, version, release, text(tagSourceRPM, "bind.src.rpm")),
			inventory.Package{Kind: inventory.RPM, Name: "bind-libs", Version: "9.3.6-25.P1.el5", SourceName: "bind-libs", SourceVersion: "9.3.6-25.P1.el5"}, ""},
		{"a tag that was added wins", header(name, version, release, text(tagArch, "noarch"), text(tagArch, "aarch64")),
			inventory.Package{Kind: inventory.RPM, Name: "bind-libs", Version: "9.3.6-25.P1.el5", Arch: "aarch64", SourceName: "bind-libs", SourceVersion: "9.3.6-25.P1.el5"}, ""},
		{"no name", header(version, release), inventory.Package{}, "no name"},
		{"no version", header(name, release), inventory.Package{Name: "bind-libs"}, "no version"},
		{"no release", header(name, version), inventory.Package{Name: "bind-libs"}, "no release"},
		{"short", []byte("1234567"), inventory.Package{}, "7 bytes"},
		{"index longer than the header", header(name, version, release)[:30], inventory.Package{}, "index of 3 entries for 26 bytes in 22"},
		{"a string without end", header(tag{tagName, typeString, []byte("abc")}), inventory.Package{}, "tag 1000 is no string"},
		{"a name that is a number", header(number(tagName, 7)), inventory.Package{}, "tag 1000 is no string"},
		{"an epoch that is a string", header(name, text(tagEpoch, "7777777")), inventory.Package{Name: "bind-libs"}, "tag 1003 is no number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseHeader(c.blob)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("got %v, want %q", err, c.err)
			}
		})
	}
}

func TestForms(t *testing.T) {
	headers, want := numbered(700) // so many that the trees of SQLite have three levels
	databases := map[string][]byte{
		"ndb":                              buildNDB(headers),
		"Berkeley DB":                      buildHash(binary.LittleEndian, 4096, headers),
		"Berkeley DB, big-endian":          buildHash(binary.BigEndian, 4096, headers),
		"Berkeley DB with pages of 512 B":  buildHash(binary.LittleEndian, 512, headers),
		"Berkeley DB with pages of 64 KiB": buildHash(binary.LittleEndian, 64<<10, headers),
	}
	for _, size := range []int{512, 1024, 4096, 65536} {
		db := newSQLite(t, fmt.Sprintf("page_size=%d", size))
		db.insert(t, headers)
		content, err := os.ReadFile(db.file)
		if err != nil {
			t.Fatal(err)
		}
		databases[fmt.Sprintf("SQLite with pages of %d B", size)] = content
	}
	for name, content := range databases {
		t.Run(name, func(t *testing.T) {
			got, bad, err := readAll(bytesSection(content), nil)
			if len(bad) > 0 || err != nil {
				t.Errorf("bad records: %v; %v", bad, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// TestWriteAheadLog reads a database whose last changes are in the log only.
func TestWriteAheadLog(t *testing.T) {
	headers, packages := numbered(60)
	db := newSQLite(t, "journal_mode=WAL", "wal_autocheckpoint=0")
	db.insert(t, headers[:20])
	db.exec(t, "PRAGMA wal_checkpoint(RESTART)")
	db.insert(t, headers[20:])
	db.exec(t, "DELETE FROM Packages WHERE hnum <= 5")

	got, bad, err := readFile(t, db.file)
	if diff := cmp.Diff(packages[5:], got); diff != "" || len(bad) > 0 || err != nil {
		t.Errorf("with the log: %v, %v, want (-), got (+):\n%s", bad, err, diff)
	}
	got, bad, err = readAll(section(t, db.file), nil)
	if diff := cmp.Diff(packages[:20], got); diff != "" || len(bad) > 0 || err != nil {
		t.Errorf("without the log: %v, %v, want (-), got (+):\n%s", bad, err, diff)
	}

	wal, err := os.ReadFile(db.file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	db.exec(t, "PRAGMA wal_checkpoint(TRUNCATE)")
	for _, c := range []struct {
		name string
		wal  []byte
	}{
		{"no byte", nil}, {"less than a header", wal[:20]}, {"only a header", wal[:32]}, {"half a frame", wal[:32+24+100]},
		{"a header that is damaged", append([]byte{0}, wal[1:]...)},
	} {
		got, bad, err := readAll(section(t, db.file), bytesSection(c.wal))
		if diff := cmp.Diff(packages[5:], got); diff != "" || len(bad) > 0 || err != nil {
			t.Errorf("a log with %s: %v, %v, want (-), got (+):\n%s", c.name, bad, err, diff)
		}
	}
}

func TestLeftOut(t *testing.T) {
	key := header(text(tagName, "gpg-pubkey"), text(tagVersion, "352c64e5"), text(tagRelease, "52ae6884"))
	bash := header(text(tagName, "bash"), text(tagVersion, "5"), text(tagRelease, "1"))
	broken := header(text(tagName, "broken"), text(tagVersion, "5"))
	got, bad, err := readAll(bytesSection(buildNDB([][]byte{key, broken, bash})), nil)
	want := []string{"header 2 (broken): no release"}
	if len(got) != 1 || got[0].Name != "bash" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	if diff := cmp.Diff(want, bad); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	headers, _ := numbered(3)
	hash, ndb := buildHash(binary.LittleEndian, 4096, headers), buildNDB(headers)
	patched := func(b []byte, offset int, patch ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[offset:], patch)
		return b
	}
	loop := bytes.Clone(hash)
	for at := 4096; at < len(loop); at += 4096 {
		if loop[at+25] == pageOverflow {
			binary.LittleEndian.PutUint32(loop[at+16:], uint32(at/4096)) // it goes on on itself
		}
	}
	db := newSQLite(t)
	db.exec(t, "DROP TABLE Packages")
	noTable, err := os.ReadFile(db.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		content  []byte
		packages int
		bad      int
		kind     fault.Kind
		err      string
	}{
		{"no byte", nil, 0, 0, fault.Unknown, ""},
		{"something else", []byte(strings.Repeat("text ", 100)), 0, 0, fault.Unsupported, "not an rpm database"},
		{"a byte", []byte{1}, 0, 0, fault.Unsupported, "not an rpm database"},
		{"hash: encrypted", patched(hash, 24, 1), 0, 0, fault.Unsupported, "it is encrypted"},
		{"hash: a tree", patched(hash, 25, 9), 0, 0, fault.Corrupt, "page 0 is of type 9"},
		{"hash: odd pages", patched(hash, 20, 1, 16), 0, 0, fault.Corrupt, "pages of 4097 bytes"},
		{"hash: cut", hash[:len(hash)-100], 2, 1, fault.Unknown, ""},
		{"hash: links in a circle", loop, 2, 1, fault.Unknown, ""},
		{"ndb: another version", patched(ndb, 4, 7), 0, 0, fault.Unsupported, "ndb of version 7"},
		{"ndb: too many slots", patched(ndb, 12, 255, 255, 255, 255), 0, 0, fault.Corrupt, "4294967295 slot pages"},
		{"ndb: a slot that is none", patched(ndb, 32, 0), 2, 1, fault.Unknown, ""},
		{"ndb: a slot leads nowhere", patched(ndb, 32+8, 255, 255, 255, 255), 2, 1, fault.Unknown, ""},
		{"ndb: a header without end", patched(ndb, 4096+12, 255, 255, 255, 255), 2, 1, fault.Unknown, ""},
		{"ndb: a header of the wrong package", patched(ndb, 4096+4, 99), 2, 1, fault.Unknown, ""},
		{"sqlite: no table", noTable, 0, 0, fault.Unsupported, "no table Packages"},
		{"sqlite: cut", noTable[:50], 0, 0, fault.Corrupt, "beyond the end of the file"},
		{"sqlite: UTF-16", patched(noTable, 56, 0, 0, 0, 2), 0, 0, fault.Unsupported, "text encoding 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, bad, err := readAll(bytesSection(c.content), nil)
			if len(got) != c.packages || len(bad) != c.bad {
				t.Errorf("%d packages, want %d; bad records %v, want %d", len(got), c.packages, bad, c.bad)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || fault.KindOf(err) != c.kind) {
				t.Errorf("got %v of kind %v, want %q of kind %v", err, fault.KindOf(err), c.err, c.kind)
			}
		})
	}
}

// TestSharedPages holds that headers which claim the same pages do not multiply the work.
func TestSharedPages(t *testing.T) {
	headers := [][]byte{bytes.Repeat([]byte{7}, 1<<20)}
	content := buildNDB(headers)
	for slot := ndbHeaderBytes; slot < ndbPageBytes; slot += ndbSlotBytes {
		copy(content[slot:], content[ndbHeaderBytes:][:ndbSlotBytes])
	}
	_, bad, err := readAll(bytesSection(content), nil)
	if !errors.Is(err, errExhausted) || len(bad) != 1 {
		t.Errorf("got %v after %d bad records", err, len(bad))
	}
}

// TestReadError holds that an error of reading the file comes out as it is, wherever it strikes.
func TestReadError(t *testing.T) {
	headers, _ := numbered(10)
	db := newSQLite(t)
	db.insert(t, headers)
	lite, err := os.ReadFile(db.file)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	for name, content := range map[string][]byte{"hash": buildHash(binary.LittleEndian, 4096, headers), "ndb": buildNDB(headers), "sqlite": lite} {
		reads := &failing{r: bytes.NewReader(content), after: 1 << 30}
		readAll(io.NewSectionReader(reads, 0, int64(len(content))), nil) // it only counts
		for n := range reads.n {
			failing := &failing{r: bytes.NewReader(content), after: n, err: broken}
			_, bad, err := readAll(io.NewSectionReader(failing, 0, int64(len(content))), nil)
			if err != broken || len(bad) > 0 { // it must be the very same
				t.Fatalf("%s, read %d fails: %v, bad records %v", name, n, err, bad)
			}
		}
	}
}

// failing fails after some reads.
type failing struct {
	r        io.ReaderAt
	n, after int
	err      error
}

func (f *failing) ReadAt(p []byte, offset int64) (int, error) {
	if f.n++; f.n > f.after {
		return 0, f.err
	}
	return f.r.ReadAt(p, offset)
}

// TestDamage changes real and made databases at random: whatever comes out, it comes out soon.
func TestDamage(t *testing.T) {
	headers, _ := numbered(50)
	db := newSQLite(t, "page_size=1024")
	db.insert(t, headers)
	lite, err := os.ReadFile(db.file)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for name, content := range map[string][]byte{
		"hash": buildHash(binary.LittleEndian, 1024, headers), "ndb": buildNDB(headers), "sqlite": lite,
	} {
		for range 300 {
			damaged := bytes.Clone(content)
			for range 1 + r.IntN(100) {
				damaged[r.IntN(len(damaged))] = byte(r.Uint32())
			}
			for range r.IntN(20) { // links and types are at the beginnings of pages
				damaged[r.IntN(len(damaged)/1024)*1024+r.IntN(40)] = byte(r.Uint32())
			}
			packages, _, _ := readAll(bytesSection(damaged[:len(damaged)-r.IntN(2)*r.IntN(2000)]), nil)
			if len(packages) > 100 {
				t.Errorf("%s: %d packages out of 50", name, len(packages))
			}
		}
	}
}

func FuzzPackages(f *testing.F) {
	headers, _ := numbered(4)
	db := newSQLite(f, "page_size=512", "journal_mode=WAL", "wal_autocheckpoint=0")
	db.insert(f, headers[:2])
	db.exec(f, "PRAGMA wal_checkpoint(RESTART)")
	db.insert(f, headers[2:])
	var files [][]byte
	for _, file := range []string{db.file, db.file + "-wal"} {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		files = append(files, b)
	}
	f.Add(files[0], files[1])
	f.Add(buildHash(binary.LittleEndian, 512, headers), []byte(nil))
	f.Add(buildHash(binary.BigEndian, 512, headers), []byte(nil))
	f.Add(buildNDB(headers), []byte(nil))
	f.Fuzz(func(t *testing.T, db, wal []byte) {
		packages, _, err := readAll(bytesSection(db), bytesSection(wal))
		for _, p := range packages {
			if p.Name == "" || p.Version == "" || p.SourceName == "" || p.SourceVersion == "" {
				t.Errorf("%+v", p)
			}
		}
		if k := fault.KindOf(err); err != nil && k != fault.Corrupt && k != fault.Unsupported {
			t.Errorf("%v of kind %v", err, k)
		}
	})
}
