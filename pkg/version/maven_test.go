package version

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// mavenCircles are versions of which Maven puts the first before the second, the second before the third,
// and the third before the first. The third relation is the one that keys do not follow.
var mavenCircles = [][3]string{
	{"1-rc", "1", "1.foo.2"},
	{"3.14.0.rc.3", "3.14.0", "3.14.0-04"}, // of real artifacts, as the next
	{"3.0.0.alpha.5.0.4", "3", "3.0-pre4"},
	{"1-ga-rc", "1", "1-foo"},
	{"1-0-alpha", "1", "1-foo"},
	{"2.1-SNAPSHOT", "2.1", "2.1.jbossorg-1"},
}

func TestMavenCircles(t *testing.T) {
	for _, c := range mavenCircles {
		for _, pair := range [][2]int{{0, 1}, {1, 2}, {0, 2}} {
			a, b := c[pair[0]], c[pair[1]]
			if got := compare(t, Maven, a, b); got != -1 {
				t.Errorf("Compare(%s, %s) is %+d", a, b, got)
			}
			want := -1
			if pair == [2]int{0, 2} {
				want = +1
			}
			if got := refMavenLiteral(a, b); got != want {
				t.Errorf("Maven says %+d of %s and %s, want %+d", got, a, b, want)
			}
		}
	}
}

// TestMavenOnlyCircles holds that keys differ from Maven only where Maven contradicts itself, and that
// they then side with the version that the two share.
func TestMavenOnlyCircles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := draw(t, Maven)
		b := draw(t, Maven, a)
		key, maven := mustCompare(t, Maven, a, b), refMavenLiteral(a, b)
		if key == maven {
			return
		}
		shared := refMavenShared(a, b)
		if key == 0 || refMavenLiteral(a, shared) != key || refMavenLiteral(shared, b) != key {
			t.Errorf("%s and %s: Compare says %+d, Maven %+d, and %s does not decide", a, b, key, maven, shared)
		}
	})
}

// TestMavenLiteral asks Maven about pairs that no run drew before, circles not left out: the literal
// reference says what Maven says, also about the version that two share.
func TestMavenLiteral(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: asks the real tool")
	}
	program := mavenTool(t)
	seed := uint64(time.Now().UnixNano())
	p := seeded(seed)
	var pairs [][2]string
	circles := 0
	for len(pairs) < 4000 {
		a, b := grammars[Maven].pair(p)
		if !refMavenValid.MatchString(a) || !refMavenValid.MatchString(b) || beyondTools[Maven].MatchString(a+" "+b) {
			continue
		}
		pairs = append(pairs, [2]string{a, b})
		if refMavenLiteral(a, b) != refMavenCompare(a, b) {
			circles++
			shared := refMavenShared(a, b)
			pairs = append(pairs, [2]string{a, shared}, [2]string{shared, b})
		}
	}
	answers := program.order(t, pairs)
	for i, pair := range pairs {
		if got := string("<=>"[refMavenLiteral(pair[0], pair[1])+1]); got != answers[i] {
			t.Errorf("%s %s %s by the reference; %s says %s", pair[0], got, pair[1], program.name, answers[i])
		}
	}
	if circles == 0 {
		t.Error("no circles drawn")
	}
	t.Logf("%d circles among %d pairs drawn with seed %d", circles, len(pairs), seed)
}

// TestMavenSorts holds that versions sorted by their keys are sorted as releases of one artifact are meant.
func TestMavenSorts(t *testing.T) {
	want := []string{
		"1.0-alpha-1", "1.0-alpha2", "1.0-beta", "1.0-M1", "1.0.RC1", "1.0-SNAPSHOT", "1.0", "1.0-sp", "1.0.0.Final-redhat-1",
		"1.0-1", "1.0.1-SNAPSHOT", "1.0.1", "1.0.10",
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b string) int { return compare(t, Maven, a, b) })
	if !slices.Equal(got, want) {
		t.Errorf("got %s", got)
	}
}
