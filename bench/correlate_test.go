package bench

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// BenchmarkCorrelation fills a database, set up as the embedded one is, with a million releases, reads feeds of 600,000
// ranges, which finds what there is to find, and then reads what feeds bring day by day:
//
//   - full: all feeds, each from its first record to the commit of its findings;
//   - delta: 1,000 advisories that came, changed or went, as Red Hat and others publish them;
//   - document-delta: the same in a document of 30,000 advisories, as Debian publishes it;
//   - unchanged-bytes: the same bytes again, though upstream did not say so;
//   - unchanged-records: other bytes that say the same.
//
// In short mode all is a hundredth.
func BenchmarkCorrelation(b *testing.B) {
	u := newUniverse(1)
	if testing.Short() {
		u = newUniverse(0.01)
	}
	c := &correlation{universe: u, feed: u.families[0]}
	b.Run("full", func(sub *testing.B) { c.full(sub, b) })
	if c.database == nil { // that was not asked for
		c.open(b)
		c.readAll(b)
	}
	b.Run("delta", c.delta)
	b.Run("document-delta", c.documentDelta)
	b.Run("unchanged-bytes", c.unchangedBytes)
	b.Run("unchanged-records", c.unchangedRecords)
	c.stop()
}

// correlation is what these benchmarks share: the database, and how often the feed that changes has done so.
type correlation struct {
	universe
	*database
	feed     family
	revision int
}

// document returns the feed of a family, with what changed for those advisories of which changed, unless nil, reports true,
// and with some new ones then.
func (c *correlation) document(f family, changed func(index int) bool) store.FeedContent {
	c.revision++
	revision, sum := c.revision, sha256.Sum256(fmt.Append(nil, f.source, c.revision))
	return store.FeedContent{
		Source: f.source, URL: "https://" + f.source + ".example/feed", Checksum: sum[:],
		Records: func(yield func(advisory.Record, error) bool) {
			total := c.scaled(f.advisories)
			for i := range total {
				r := f.record(i)
				if changed != nil && changed(i) {
					r = f.revised(i, revision)
				}
				if len(r.Affected) > 0 && !yield(r, nil) {
					return
				}
			}
			if changed != nil {
				c.fresh(f, revision, yield)
			}
		},
	}
}

// fresh yields advisories that were not there before a revision. It reports whether more are wanted.
func (c *correlation) fresh(f family, revision int, yield func(advisory.Record, error) bool) bool {
	first := c.scaled(f.advisories) + revision*freshSize
	for i := range c.scaled(freshSize) {
		if !yield(f.record(first+i), nil) {
			return false
		}
	}
	return true
}

// open makes the database and installs what is installed.
func (c *correlation) open(owner *testing.B) (releases int) {
	c.database = openDatabase(owner)
	return c.install(owner, c.universe)
}

func (c *correlation) readAll(b *testing.B) (sum store.Delta) {
	for _, f := range c.families {
		started := time.Now()
		delta := c.apply(b, c.document(f, nil))
		b.Logf("%-10s %7d ranges, %8d findings, %.1f s", f.source, delta.Added, delta.Findings, time.Since(started).Seconds())
		sum.Ranges += delta.Ranges
		sum.Findings += delta.Findings
	}
	return sum
}

// full reads all feeds into a new database, which stays open for the owner.
func (c *correlation) full(b, owner *testing.B) {
	var releases int
	var sum store.Delta
	var cpu float64
	for b.Loop() {
		b.StopTimer()
		if c.database != nil {
			c.stop()
		}
		releases = c.open(owner)
		cpu -= c.cpuSeconds(b)
		b.StartTimer()
		sum = c.readAll(b)
		cpu += c.cpuSeconds(b)
	}
	b.ReportMetric(cpu/float64(b.N), "cpu-s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric(float64(releases), "releases")
	b.ReportMetric(float64(sum.Ranges), "ranges")
	b.ReportMetric(float64(sum.Findings), "findings")
}

// How many advisories change at full scale, and how many are new.
const (
	changedSize = 700
	freshSize   = 300
)

// chosen returns which advisories of the feed change: each time others.
func (c *correlation) chosen() func(index int) bool {
	every, offset := c.scaled(c.feed.advisories)/c.scaled(changedSize), c.revision
	return func(index int) bool { return (index+offset*7)%every == 0 }
}

func (c *correlation) delta(b *testing.B) {
	var delta store.Delta
	cpu := c.cpuSeconds(b)
	for b.Loop() {
		content, chosen := c.document(c.feed, nil), c.chosen()
		revision := c.revision
		content.Partial = true
		content.Records = func(yield func(advisory.Record, error) bool) {
			for i := range c.scaled(c.feed.advisories) {
				if chosen(i) && !yield(c.feed.revised(i, revision), nil) {
					return
				}
			}
			c.fresh(c.feed, revision, yield)
		}
		delta = c.apply(b, content)
	}
	c.report(b, cpu, delta)
}

func (c *correlation) documentDelta(b *testing.B) {
	var delta store.Delta
	var cpu float64
	for b.Loop() {
		b.StopTimer()
		c.apply(b, c.document(c.feed, nil)) // as it was
		cpu -= c.cpuSeconds(b)
		b.StartTimer()
		delta = c.apply(b, c.document(c.feed, c.chosen()))
		cpu += c.cpuSeconds(b)
	}
	cpu = c.cpuSeconds(b) - cpu
	c.report(b, cpu, delta)
}

func (c *correlation) unchangedBytes(b *testing.B) {
	content := c.document(c.feed, nil)
	c.apply(b, content)
	cpu := c.cpuSeconds(b)
	for b.Loop() {
		if delta := c.apply(b, content); !delta.Unchanged {
			b.Fatalf("%+v", delta)
		}
	}
	c.report(b, cpu, store.Delta{})
}

func (c *correlation) unchangedRecords(b *testing.B) {
	c.apply(b, c.document(c.feed, nil))
	var delta store.Delta
	cpu := c.cpuSeconds(b)
	for b.Loop() {
		delta = c.apply(b, c.document(c.feed, nil))
		if delta.Added+delta.Removed+delta.Changed > 0 {
			b.Fatalf("%+v", delta)
		}
	}
	c.report(b, cpu, delta)
}

// report reports what the last of the runs did, and how long each took; cpu is the processor time when they began.
func (c *correlation) report(b *testing.B, cpu float64, d store.Delta) {
	b.ReportMetric((c.cpuSeconds(b)-cpu)/float64(b.N), "cpu-s")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s")
	b.ReportMetric(float64(d.Records), "records")
	b.ReportMetric(float64(d.Ranges), "ranges")
	b.ReportMetric(float64(d.Added+d.Removed+d.Changed), "ranges-changed")
	b.ReportMetric(float64(d.Findings+d.Withdrawn), "findings-changed")
	b.ReportMetric(float64(d.Changes), "changes")
}
