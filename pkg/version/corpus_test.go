package version

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The corpora, testdata/SCHEME.txt, have facts that the real tools stated about versions drawn from
// the grammars: "a < b", "a = b", and "! a" for a string that is no version (which rpm cannot be asked;
// for it, the reference tells). To have them stated anew:
//
//	TRAWL_TEST_APK=…/apk TRAWL_TEST_COMPOSER=…/autoload.php go test ./pkg/version -run TestCorpus -update
//
// -update also rewrites the golden keys, which must not change while KeyFormat stays the same.
var update = flag.Bool("update", false, "rewrite the files under testdata with the real tools")

const (
	corpusPairs   = 4000
	corpusInvalid = 500
)

func TestCorpus(t *testing.T) {
	for _, scheme := range Schemes() {
		t.Run(string(scheme), func(t *testing.T) {
			name := filepath.Join("testdata", string(scheme)+".txt")
			if *update {
				writeCorpus(t, scheme, name)
			}
			facts := 0
			for _, line := range readLines(t, name) {
				checkFact(t, scheme, line)
				facts++
			}
			if facts < corpusPairs*9/10 {
				t.Errorf("%d facts in %s, want %d or more", facts, name, corpusPairs*9/10)
			}
		})
	}
}

// checkFact checks one line of a corpus, in both directions, with the keys and with the reference.
func checkFact(t *testing.T, scheme Scheme, line string) {
	t.Helper()
	f := strings.Fields(line)
	if len(f) == 2 && f[0] == "!" {
		if key, err := Key(scheme, f[1]); err == nil {
			t.Errorf("%s: no version, but has key %x", f[1], key)
		}
		return
	}
	if len(f) != 3 {
		t.Fatalf("line %q of the corpus is malformed", line)
	}
	want := strings.Index("<=>", f[1]) - 1
	if got := compare(t, scheme, f[0], f[2]); got != want {
		t.Errorf("%s: Compare is %+d", line, got)
	}
	if got := compare(t, scheme, f[2], f[0]); got != -want {
		t.Errorf("%s: Compare the other way round is %+d", line, got)
	}
	if got := references[scheme].compare(f[0], f[2]); got != want {
		t.Errorf("%s: the reference says %+d", line, got)
	}
}

func compare(t *testing.T, scheme Scheme, a, b string) int {
	t.Helper()
	c, err := Compare(scheme, a, b)
	if err != nil {
		t.Error(err)
	}
	return c
}

func writeCorpus(t *testing.T, scheme Scheme, name string) {
	program := tools[scheme](t)
	pairs, invalid := drawPairs(t, scheme, program, 20240229, corpusPairs)
	lines := make([]string, 0, len(pairs)+len(invalid))
	for i, op := range program.order(t, pairs) {
		a, b := pairs[i][0], pairs[i][1]
		if op == ">" {
			a, op, b = b, "<", a
		}
		lines = append(lines, a+" "+op+" "+b)
	}
	for _, s := range invalid {
		lines = append(lines, "! "+s)
	}
	slices.Sort(lines)
	header := fmt.Sprintf("# Stated by %s about drawn versions; see corpus_test.go.\n", program.name)
	if err := os.WriteFile(name, []byte(header+strings.Join(slices.Compact(lines), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// drawPairs draws n pairs of versions that the tool (or, where it cannot tell, the reference) calls
// valid, and returns beside them the strings it does not.
func drawPairs(t *testing.T, scheme Scheme, program tool, seed uint64, n int) (pairs [][2]string, invalid []string) {
	valid := func(s string) bool {
		if program.valid == nil || !references[scheme].valid(s) {
			return references[scheme].valid(s)
		}
		return program.valid(t, s)
	}
	p := seeded(seed)
	for len(pairs) < n {
		a, b := grammars[scheme].pair(p)
		switch {
		case apart(scheme, a, b):
		case !valid(a):
			invalid = append(invalid, a)
		case !valid(b):
			invalid = append(invalid, b)
		default:
			pairs = append(pairs, [2]string{a, b})
		}
	}
	invalid = slices.DeleteFunc(invalid, func(s string) bool {
		return s == "" || program.valid != nil && program.valid(t, s)
	})
	return pairs, invalid[:min(len(invalid), corpusInvalid)]
}

// beyondTools matches the pairs of versions about which the tools are known to say something else, or
// nothing.
var beyondTools = map[Scheme]*regexp.Regexp{
	APK:       regexp.MustCompile(`[0-9]{20}`),                                     // keeps the last 64 bits of a number
	Semver:    regexp.MustCompile(`[0-9]{20}`),                                     // the crate has numbers of 64 bits
	NPM:       regexp.MustCompile(`[0-9]{16}`),                                     // rounds numbers from 2^53 on
	Go:        regexp.MustCompile(`^go.* [^g]|^[^g].* go|go1\.[1-9][0-9]+(-| |$)`), // module and toolchain; a language
	Maven:     regexp.MustCompile(`(^|[^0-9])0{10}`),                               // takes zeros for a large number
	RubyGems:  regexp.MustCompile(`[a-zA-Z-][^ ]*0[.-]*[a-zA-Z-]`),                 // RubyGems 3.6 may leave out such a zero
	Packagist: regexp.MustCompile(`[0-9]{19}`),                                     // has numbers of 63 bits
}

func apart(scheme Scheme, a, b string) bool {
	r := beyondTools[scheme]
	return r != nil && r.MatchString(a+" "+b) ||
		scheme == Maven && refMavenLiteral(a, b) != refMavenCompare(a, b) // see TestMavenCircles
}

// TestTools asks the tools about pairs that no run drew before.
func TestTools(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tools")
	}
	processes := map[Scheme]bool{Dpkg: true, APK: true} // one for each question
	for _, scheme := range Schemes() {
		t.Run(string(scheme), func(t *testing.T) {
			program := tools[scheme](t)
			n := 4000
			if processes[scheme] {
				n = 500
			}
			seed := uint64(time.Now().UnixNano())
			pairs, _ := drawPairs(t, scheme, tool{}, seed, n)
			for i, op := range program.order(t, pairs) {
				checkFact(t, scheme, pairs[i][0]+" "+op+" "+pairs[i][1])
			}
			if t.Failed() {
				t.Logf("drawn with seed %d; stated by %s", seed, program.name)
			}
		})
	}
}

// readLines returns the lines of a file that are neither blank nor comments.
func readLines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var lines []string
	scanner := bufio.NewScanner(f)
	for scanner.Scan() {
		if line := scanner.Text(); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
