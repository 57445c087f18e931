package oval

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/updater/feedtest"
)

// large is a document made as it is read: definitions with criteria as Oracle's have them, one for each test, and
// tests, objects and states of their own for each.
type large struct {
	definitions int
	section, at int
	rest        bytes.Buffer
}

// perDefinition is how many packages a definition has. Oracle's have 15 on average.
const perDefinition = 15

func (l *large) Read(p []byte) (int, error) {
	for l.rest.Len() < len(p) && l.section < len(largeSections) {
		s := largeSections[l.section]
		switch {
		case l.at == 0:
			l.rest.WriteString(s.open)
			fallthrough
		case l.at < l.definitions:
			s.item(&l.rest, l.at)
			l.at++
		default:
			l.rest.WriteString(s.shut)
			l.section, l.at = l.section+1, 0
		}
	}
	return l.rest.Read(p)
}

var largeSections = []struct {
	open, shut string
	item       func(w io.Writer, n int)
}{
	{"<oval_definitions><definitions>\n", "</definitions>\n", func(w io.Writer, n int) {
		fmt.Fprintf(w, "<definition id=\"oval:com.example:def:%d\" class=\"patch\"><metadata><title>ELSA-%d</title><description>%01000d</description></metadata>\n<criteria>\n", n, n, n)
		for arch := range 2 {
			for i := range perDefinition {
				fmt.Fprintf(w, "<criteria operator=\"AND\">\n<criterion test_ref=\"oval:com.oracle.elsa:tst:%d%03d\" comment=\"package%d-of-some-length is earlier than 0:1.%d.%d-9.el9_1\"/>\n", n, i, i, n, arch)
				fmt.Fprintf(w, "<criterion test_ref=\"oval:com.oracle.elsa:tst:%d%03d\" comment=\"package%d-of-some-length is signed with the Oracle Linux 9 key\"/>\n</criteria>\n", n, 500+i, i)
			}
		}
		io.WriteString(w, "</criteria></definition>\n")
	}},
	{"<tests>\n", "</tests>\n", func(w io.Writer, n int) {
		for i := range perDefinition {
			for _, kind := range []int{0, 500} {
				fmt.Fprintf(w, "<rpminfo_test id=\"oval:com.oracle.elsa:tst:%d%03d\"  version=\"501\" comment=\"package%d-of-some-length is earlier than 0:1.%d-9.el9_1\" check=\"at least one\" xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#linux\">\n<object object_ref=\"oval:com.oracle.elsa:obj:%d%03d\" />\n<state state_ref=\"oval:com.oracle.elsa:ste:%d%03d\" />\n</rpminfo_test>\n", n, kind+i, i, n, n, i, n, kind)
			}
		}
	}},
	{"<objects>\n", "</objects>\n", func(w io.Writer, n int) {
		for i := range perDefinition {
			fmt.Fprintf(w, "<rpminfo_object xmlns=\"http://oval.mitre.org/XMLSchema/oval-definitions-5#linux\" id=\"oval:com.oracle.elsa:obj:%d%03d\" version=\"501\">\n<name>package%d-of-some-length</name>\n</rpminfo_object>\n", n, i, i)
		}
	}},
	{"<states>\n", "</states></oval_definitions>\n", func(w io.Writer, n int) {
		fmt.Fprintf(w, "<rpminfo_state id=\"oval:com.oracle.elsa:ste:%d000\"><evr datatype=\"evr_string\" operation=\"less than\">0:1.%d-9.el9_1</evr></rpminfo_state>\n", n, n)
		fmt.Fprintf(w, "<rpminfo_state id=\"oval:com.oracle.elsa:ste:%d500\"><signature_keyid operation=\"equals\">82562ea9ad986da3</signature_keyid></rpminfo_state>\n", n)
	}},
}

// BenchmarkTenfold reads a document ten times as large as the largest known: 500 MB with a million entries.
func BenchmarkTenfold(b *testing.B) {
	const definitions = 19_000
	size, err := io.Copy(io.Discard, &large{definitions: definitions})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	for b.Loop() {
		began, count := time.Now(), 0
		peak := feedtest.Measure(b, "reading", func() {
			for d, err := range Read(func() (io.ReadCloser, error) { return io.NopCloser(&large{definitions: definitions}), nil }) {
				if err != nil {
					b.Fatal(err)
				}
				count += len(d.Packages())
			}
		})
		if count != definitions*2*perDefinition {
			b.Fatalf("%d packages", count)
		}
		b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
		if took := time.Since(began); peak > 256<<20 || took > time.Minute {
			b.Errorf("%d bytes in %v, %d MiB", size, took, peak>>20)
		}
	}
}
