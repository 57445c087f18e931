package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Account is what a registry counts by: a host, a kind of request, and whose credential is used.
type Account struct {
	Host, Kind string
	Name       string // "" is nobody's; never a secret
}

// Budget is what the processes of a cluster share of one account with a registry.
type Budget struct {
	Account
	PausedUntil time.Time     // nobody asks before; zero if it is not paused
	Reason      string        // why it was paused last
	Limit       int64         // requests that the registry allows in each Window; -1 where it did not tell
	Remaining   int64         // of them, when it last told
	Window      time.Duration // 0 where not told
	Observed    time.Time     // when the registry last told; zero if never
}

// DrawBudget takes up to want requests, at least one, out of an account that is filled by rate requests a second and holds burst of
// them at most. It returns how many it got; where it is none, wait is when to come again. It is one short statement, so
// that a batch of requests costs one.
func (s *Store) DrawBudget(ctx context.Context, a Account, rate float64, burst, want int) (got int, wait time.Duration, err error) {
	err = s.write(ctx, "draw budget", func(tx pgx.Tx) error {
		var tokens float64
		var pause time.Duration
		// What is there is what was left and what came since, which is nothing where the clock was put back; it is repeated
		// because every expression sees the old row.
		const there = `least($4::float8, b.tokens + $3::float8 * greatest(0, extract(epoch FROM clock_timestamp() - b.filled_at)))`
		const taken = `CASE WHEN b.paused_until > clock_timestamp() THEN 0 ELSE floor(greatest(0, least(` + there + `, $5::float8))) END`
		err := tx.QueryRow(ctx, `
			INSERT INTO registry_account AS b (host, kind, name, tokens, filled_at, granted)
			VALUES ($1, $2, $6, $4::float8 - least($4::float8, $5::float8), clock_timestamp(), least($4::float8, $5::float8))
			ON CONFLICT (host, kind, name) DO UPDATE
			SET tokens = `+there+` - `+taken+`, filled_at = clock_timestamp(), granted = `+taken+`
			RETURNING granted::int, tokens, greatest(coalesce(paused_until, 'epoch') - clock_timestamp(), interval '0')`,
			a.Host, a.Kind, rate, burst, want, clean(a.Name)).Scan(&got, &tokens, &pause)
		if err == nil && got == 0 {
			wait = max(pause, time.Duration((1-tokens)/rate*float64(time.Second)))
		}
		return err
	})
	return got, wait, err
}

// NoteBudgets notes what registries told: of each budget a pause that is longer than the one that is known, and the
// limits of those that were observed later than what is known, and not in a future by the clock of the database.
func (s *Store) NoteBudgets(ctx context.Context, notes []Budget) error {
	if len(notes) == 0 {
		return nil
	}
	return s.write(ctx, "note budgets", func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		sortBudgets(notes) // so that two processes never wait for each other
		const newer = `excluded.observed_at > coalesce(b.observed_at, 'epoch')`
		for _, n := range notes {
			batch.Queue(`
				INSERT INTO registry_account AS b (host, kind, name, paused_until, reason, "limit", remaining, "window", observed_at)
				VALUES ($1, $2, $9, $3, $4, $5, $6, $7, CASE WHEN $8 > clock_timestamp() THEN clock_timestamp() ELSE $8::timestamptz END)
				ON CONFLICT (host, kind, name) DO UPDATE SET
					reason = CASE WHEN excluded.paused_until > coalesce(b.paused_until, 'epoch') THEN excluded.reason ELSE b.reason END,
					paused_until = greatest(b.paused_until, excluded.paused_until),
					"limit" = CASE WHEN `+newer+` THEN excluded."limit" ELSE b."limit" END,
					remaining = CASE WHEN `+newer+` THEN excluded.remaining ELSE b.remaining END,
					"window" = CASE WHEN `+newer+` THEN excluded."window" ELSE b."window" END,
					observed_at = greatest(excluded.observed_at, b.observed_at)`,
				n.Host, n.Kind, timeOrNull(n.PausedUntil), clean(n.Reason), n.Limit, n.Remaining, n.Window, timeOrNull(n.Observed), clean(n.Name))
		}
		return tx.SendBatch(ctx, batch).Close()
	})
}

// mostBudgets is how many budgets are read at most: hosts are named by whoever submits something.
const mostBudgets = 1000

// Budgets returns the budgets of registries that were asked of late or are paused, the latest [mostBudgets] of them, by name.
func (s *Store) Budgets(ctx context.Context) (out []Budget, err error) {
	err = s.read(ctx, "read budgets", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			SELECT host, kind, name, coalesce(paused_until, 'epoch'), reason, "limit", remaining, "window", coalesce(observed_at, 'epoch')
			FROM registry_account WHERE greatest(paused_until, observed_at, filled_at) > now() - interval '1 day'
			ORDER BY greatest(least(coalesce(paused_until, 'epoch'), now()), observed_at, filled_at) DESC LIMIT $1`, mostBudgets)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (b Budget, err error) {
			err = row.Scan(&b.Host, &b.Kind, &b.Name, &b.PausedUntil, &b.Reason, &b.Limit, &b.Remaining, &b.Window, &b.Observed)
			b.PausedUntil, b.Observed = fromEpoch(b.PausedUntil), fromEpoch(b.Observed)
			return b, err
		})
		sortBudgets(out)
		return err
	})
	return out, err
}

// sortBudgets sorts by name.
func sortBudgets(budgets []Budget) {
	slices.SortFunc(budgets, func(a, b Budget) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}
