package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// ErrFenced is wrapped by the error of a leader's write after a newer leader was elected.
// Trying again does not help: the term is over.
var ErrFenced = errors.New("a newer leader has been elected")

// Office names what a leader is elected for.
const officeCoordinator = "coordinator"

// TakeOffice records that a leader with this term has been elected. It waits for the writes under way
// of older terms, and from its return on none of them can commit.
func (s *Store) TakeOffice(ctx context.Context, term int64) error {
	return s.write(ctx, "take office", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `
			INSERT INTO fence (name, term) VALUES ($1, $2)
			ON CONFLICT (name) DO UPDATE SET term = excluded.term WHERE fence.term <= excluded.term`,
			officeCoordinator, term)
		if err == nil && tag.RowsAffected() == 0 {
			err = fault.New(fault.Conflict, "take office", officeCoordinator, ErrFenced)
		}
		return err
	})
}

// writeAs is write for a leader: it fails with [ErrFenced] once the term is over.
func (s *Store) writeAs(ctx context.Context, term int64, op string, f func(pgx.Tx) error) error {
	return s.write(ctx, op, func(tx pgx.Tx) error {
		var newest int64
		err := tx.QueryRow(ctx, `SELECT term FROM fence WHERE name = $1 FOR SHARE`, officeCoordinator).Scan(&newest)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if newest != term {
			return fault.New(fault.Canceled, op, "", ErrFenced)
		}
		return f(tx)
	})
}
