package store

import (
	"context"
	"embed"
	"io/fs"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to this version of the program. It holds a Postgres advisory lock,
// so that any number of processes may call it at once; the others wait. It is not one transaction:
// each step is.
func (s *Store) Migrate(ctx context.Context) error {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return s.wrap("migrate", err)
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return s.wrap("migrate", err)
	}
	db := stdlib.OpenDBFromPool(s.pool)
	defer db.Close()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, steps, goose.WithSessionLocker(locker))
	if err != nil {
		return s.wrap("migrate", err)
	}
	if pending, err := provider.HasPending(ctx); err != nil || !pending {
		return s.wrap("migrate", err)
	}
	_, err = provider.Up(ctx)
	return s.wrap("migrate", err)
}
