package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// stillness is how long nothing of what is left may change before it is called stuck, where nothing is parked. A leader that
// died is followed within seconds, and then looks every second for what ought to be under way.
const stillness = 75 * time.Second

// done waits until no work is left in the database of so many submissions, all of which were accepted. Its error tells what is
// left and where that stands, and whether it is stuck or slow.
func done(ctx context.Context, dsn string, accepted int) error {
	p := progress{changed: time.Now()}
	for {
		seen, err := left(ctx, dsn)
		switch {
		case err != nil: // it may answer next time
		case seen.accepted < accepted:
			return fmt.Errorf("of %d submissions that were accepted, %d are not there", accepted, accepted-seen.accepted)
		case len(seen.stages) == 0:
			return nil
		default:
			if err := p.see(seen, time.Now()); err != nil {
				return err
			}
		}
		if !wait(ctx, 200*time.Millisecond) {
			return errors.Join(fmt.Errorf("slow: %s: %w", p, context.Cause(ctx)), err)
		}
	}
}

// progress is what becomes of work that is left.
type progress struct {
	now, before work      // what was seen last, and what that was before it last changed
	changed     time.Time // when that was
}

// see notes what is left at a time. Its error tells that this is stuck.
func (p *progress) see(seen work, at time.Time) error {
	if !slices.Equal(seen.stages, p.now.stages) {
		p.before, p.changed = p.now, at
	}
	p.now = seen
	if at.Sub(p.changed) > stillness && seen.parked == 0 {
		return fmt.Errorf("stuck: nothing is parked until later, and %s", p)
	}
	return nil
}

func (p progress) String() string {
	return fmt.Sprintf("left are %s; that last changed at %s, from %s", p.now, p.changed.UTC().Format(time.TimeOnly), p.before)
}

// work is what is left to do, and how many submissions there are at all.
type work struct {
	accepted int
	stages   []stage
	parked   time.Duration // until the last of what is parked is due
}

// stage is how much stands where.
type stage struct {
	name  string
	count int
}

func (w work) String() string {
	if len(w.stages) == 0 {
		return "nothing"
	}
	var out []string
	for _, s := range w.stages {
		out = append(out, fmt.Sprint(s.count, " ", s.name))
	}
	if w.parked > 0 {
		out = append(out, fmt.Sprintf("the last of them parked for %s more", w.parked.Round(time.Second)))
	}
	return strings.Join(out, ", ")
}

// unfinished are the stages of what is left, and for how long it is parked.
const unfinished = `
	SELECT stage, count(*), coalesce(extract(epoch FROM max(parked)), 0)::float8 FROM (
		SELECT 'submissions ' || CASE WHEN not_before > now() THEN 'parked' WHEN sent_at IS NULL THEN 'to be sent' ELSE 'sent' END AS stage, not_before - now() AS parked
		FROM submission WHERE state = 0
		UNION ALL
		SELECT 'layers ' || CASE WHEN not_before > now() THEN 'parked' WHEN state = 0 THEN 'to be sent' ELSE 'sent' END, not_before - now()
		FROM layer WHERE state < 2
		UNION ALL
		SELECT 'edges from images to layers ' || CASE WHEN l.state < 2 THEN 'to be analyzed' ELSE 'with a result' END, NULL
		FROM pending_layer p JOIN layer l ON l.id = p.layer_id
	) x GROUP BY stage ORDER BY stage`

func left(ctx context.Context, dsn string) (w work, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return w, err
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, `SELECT count(*) FROM submission`).Scan(&w.accepted); err != nil {
		return w, err
	}
	rows, err := conn.Query(ctx, unfinished)
	if err != nil {
		return w, err
	}
	w.stages, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (s stage, err error) {
		var seconds float64
		err = row.Scan(&s.name, &s.count, &seconds)
		w.parked = max(w.parked, time.Duration(seconds*float64(time.Second)))
		return s, err
	})
	return w, err
}
