// Package store provides the truth: submissions, images, layers, inventories, advisories and
// findings in Postgres, and the correlation between what is installed and what is known.
//
// It decides nothing about scheduling, pulls nothing and parses nothing. Every method is one
// transaction unless its comment says otherwise.
//
// # Guarantees
//
// Writes are addressed by content and idempotent: the same call made twice, or by two processes at
// once, leaves the same rows. A process that is killed in the middle of a call leaves what was there
// before. Rows that two transactions may both want are locked in ascending order of id or key, so
// that they cannot deadlock; should Postgres report a deadlock or a serialization failure all the
// same, the transaction is run again.
//
// # Cost
//
// Calls take batches and make a fixed number of round trips, whatever the size of the batch.
//
// Safe for concurrent use.
package store

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/retry"
)

// Store is a connection to the database.
type Store struct {
	pool *pgxpool.Pool
}

// Config says which database to use.
type Config struct {
	// DSN is a libpq connection string or URL, https://www.postgresql.org/docs/current/libpq-connect.html.
	DSN string
	// PasswordFile holds the password, which wins over that of the DSN. It is read for each connection, so that a password
	// that is changed counts without a restart. "" means that there is no such file.
	PasswordFile string
	// MaxConns bounds the connections of this process. Zero means 16.
	MaxConns int32
}

// connectTimeout is how long one connection may take to be made, where the address does not say.
const connectTimeout = 10 * time.Second

// idleTimeout is how long the database keeps the locks of a process that has begun a transaction and says nothing more,
// where the address does not say. Such a process is stopped, or cut off; one that lives pauses for milliseconds. Without it
// the next leader could not take office, nor anybody finish a layer, before that process is back.
const idleTimeout = "10s"

// idleSetting is the name of that setting, runtime-config-client in PostgreSQL's manual.
const idleSetting = "idle_in_transaction_session_timeout"

// Open connects, once. Call [Store.Migrate] before anything else on a database that may be older than
// the program. The caller closes the Store.
//
// Errors: [fault.Invalid] for an address that is none, [fault.Unauthorized], [fault.NotFound] where the
// server has no such database, [fault.Unavailable] where it does not answer.
func Open(ctx context.Context, config Config) (*Store, error) {
	pc, err := pgxpool.ParseConfig(config.DSN)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read database address", "", errors.Unwrap(err))
	}
	pc.MaxConns = config.MaxConns
	if pc.MaxConns == 0 {
		pc.MaxConns = 16
	}
	if pc.ConnConfig.ConnectTimeout == 0 {
		pc.ConnConfig.ConnectTimeout = connectTimeout
	}
	if pc.ConnConfig.RuntimeParams["application_name"] == "" {
		pc.ConnConfig.RuntimeParams["application_name"] = "trawl"
	}
	if pc.ConnConfig.RuntimeParams[idleSetting] == "" {
		// Not a parameter of the connection: poolers such as PgBouncer refuse those that they do not know.
		pc.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, "SET "+idleSetting+" = '"+idleTimeout+"'")
			return err
		}
	}
	if config.PasswordFile != "" {
		pc.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			text, err := os.ReadFile(config.PasswordFile)
			if err != nil {
				return fault.New(fault.Invalid, "read the database's password", config.PasswordFile, err)
			}
			c.Password = strings.TrimRight(string(text), "\r\n")
			return nil
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, pc)
	if err != nil {
		return nil, fault.Wrap("connect to database", pc.ConnConfig.Host, err)
	}
	s := &Store{pool: pool}
	if err := s.Ping(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

// Close closes all connections, waiting for calls under way.
func (s *Store) Close() { s.pool.Close() }

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return s.wrap("ping", s.pool.Ping(ctx))
}

// Begin-to-commit attempts of one transaction before its conflict is given to the caller.
const attempts = 8

// write runs f in a transaction, again when it lost a conflict. f must have no effect outside.
func (s *Store) write(ctx context.Context, op string, f func(pgx.Tx) error) error {
	var err error
	for attempt := range attempts {
		err = pgx.BeginFunc(ctx, s.pool, f)
		if !isConflict(err) {
			break
		}
		pause := time.Duration(rand.Int64N(int64(10*time.Millisecond) << attempt))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return s.wrap(op, ctx.Err())
		}
	}
	return s.wrap(op, ended(ctx, err))
}

// read runs f in one read-only snapshot.
func (s *Store) read(ctx context.Context, op string, f func(pgx.Tx) error) error {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return s.wrap(op, ended(ctx, pgx.BeginTxFunc(ctx, s.pool, options, f)))
}

// ended returns the cause of ctx's end where that is why there is an error: the driver has many words for it, that of a
// broken connection among them.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// wrap says what the database was asked to do, and of which kind its answer is.
func (s *Store) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	return fault.New(kindOf(err), "database", op, err)
}

// isConflict reports deadlock_detected and serialization_failure.
func isConflict(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40P01" || pg.Code == "40001")
}

// kindOf maps an error of the driver: the server is away, refuses, or was asked something wrong.
func kindOf(err error) fault.Kind {
	if kind := fault.KindOf(err); kind != fault.Unknown {
		return kind
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return kindOfState(pg.Code)
	}
	var connect *pgconn.ConnectError
	var network net.Error
	if errors.As(err, &connect) || errors.As(err, &network) || pgconn.SafeToRetry(err) {
		return fault.Unavailable
	}
	return fault.Unknown
}

// kindOfState maps an SQLSTATE, see appendix A of PostgreSQL's manual.
func kindOfState(code string) fault.Kind {
	switch code {
	case "3D000": // no such database
		return fault.NotFound
	case "42501": // insufficient privilege
		return fault.Unauthorized
	case "XX001", "XX002": // corrupted table or index
		return fault.Corrupt
	}
	switch code[:min(2, len(code))] {
	case "08", "25", "53", "57", "58": // connection, transaction state (a standby), resources, operator intervention, system error
		return fault.Unavailable
	case "28": // authorization
		return fault.Unauthorized
	case "40", "55": // rollback, object not in the state that is needed
		return fault.Conflict
	case "54": // program limit: an index row that is too long
		return fault.TooLarge
	case "22", "23": // data exception, integrity constraint: the same data is refused again
		return fault.Invalid
	}
	return fault.Unknown // a table that is not there may belong to another version, about to migrate
}

// refused reports whether the database would answer the same to the same data.
func refused(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.TooLarge, fault.Corrupt, fault.Unsupported:
		return true
	}
	return false
}

// Insist calls f, which uses a Store, until it succeeds, the data are refused for good, the term is over, or ctx is
// done; then it returns that error. Whatever else is wrong, such as a password that was changed or a schema
// that is not migrated yet, is an operator's to mend, and is waited for: it says nothing about the data. failed, if not
// nil, is told of each failure that will be tried again.
func Insist(ctx context.Context, failed func(err error, pause time.Duration), f func() error) error {
	var final error
	err := retry.Do(ctx, failed, func() error {
		err := f()
		switch {
		case refused(err), errors.Is(err, ErrFenced):
			final = err
			return nil
		case err != nil && !fault.Retryable(err):
			return fault.New(fault.Unavailable, "use", "database", err)
		}
		return err
	})
	return cmp.Or(final, err)
}

// errBug marks a state that the code's own invariants rule out.
func errBug(format string, args ...any) error {
	return fault.Newf(fault.Corrupt, "read", "database", "inconsistent data, please report this: "+format, args...)
}

// notFound turns an absent row into a fault of kind NotFound, and leaves other errors as they are.
func notFound(err error, op, subject, text string) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return fault.New(fault.NotFound, op, subject, errors.New(text))
	}
	return err
}
