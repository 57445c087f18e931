package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/advisory"
)

// Origin is what another store noted of a feed whose content comes from there. It is noted here in place of what is
// counted and of the time: the other store read the documents, and knows how old they are.
type Origin struct {
	Checked  time.Time // upstream was last known to say this
	Records  int
	Bad      int
	BadNamed []advisory.BadRecord
}

// counts returns what is to be noted of the feed: the records and bad ones, and when upstream was asked, null for now.
func (d *deltaTx) counts() (records, bad int, named []advisory.BadRecord, checked any) {
	if o := d.content.Origin; o != nil {
		return o.Records, o.Bad, o.BadNamed, timeOrNull(o.Checked)
	}
	return d.delta.Records, d.delta.Bad, d.delta.BadNamed, nil
}

// ApplyDescriptions brings the advisories of a source to what the records say of them, in one transaction. Ranges are left
// alone: the records have none. It returns how many there were.
func (s *Store) ApplyDescriptions(ctx context.Context, source string, records advisory.Records) (int, error) {
	n := 0
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		d := &deltaTx{tx: tx, content: FeedContent{Source: source, Records: withoutRanges(records)}}
		err := tx.QueryRow(ctx, `SELECT id FROM source WHERE name = $1`, source).Scan(&d.sourceID)
		if err != nil {
			return notFound(err, "apply descriptions", source, "there is no such source")
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared($1)`, int64(feedsLock)); err != nil {
			return err
		}
		if err := d.stage(ctx); err != nil {
			return err
		}
		n = d.delta.Records
		return d.ensureAdvisories(ctx)
	})
	return n, s.wrap("apply descriptions", ended(ctx, err))
}

// withoutRanges ends records at one that has a range.
func withoutRanges(records advisory.Records) advisory.Records {
	return func(yield func(advisory.Record, error) bool) {
		for r, err := range records {
			if err == nil && len(r.Affected) > 0 {
				err = fmt.Errorf("%s: a description has a range", r.ID)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// FeedKnown notes that upstream was known to say at a moment what the feed says here, and where whoever reads it next
// goes on. What is known of a later moment stays.
func (s *Store) FeedKnown(ctx context.Context, url, cursor string, checked time.Time) error {
	return s.write(ctx, "note unchanged feed", func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			UPDATE feed SET checked_at = greatest(checked_at, $3), cursor = $2, failures = 0, error = '', state = 1 WHERE url = $1`,
			url, cursor, timeOrNull(checked))
		return err
	})
}
