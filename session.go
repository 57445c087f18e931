package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/embedded"
	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/store"
	"github.com/trawl-scanner/trawl/updater"
)

// session is what a command works with: a server, or the same in this process.
type session struct {
	client *client.Client
	// local says that it is this process that does the work: it can read this machine's files.
	local bool
	// updater reads advisories where no server does.
	updater *updater.Updater
	close   func() error
}

// need is what a command needs where there is no server.
type need int

const (
	needStore need = iota // what is stored
	needScan              // the whole pipeline
)

// storeFlags are those of the commands that need what is stored.
func (a *app) storeFlags(f *pflag.FlagSet) {
	f.StringVar(&a.postgres, "postgres", "", "`address` of the database (DSN or URL); default a private one below the data directory")
}

// connect finds the server that --server names or that runs on the data directory. Where there is none, it does the
// work itself.
func (a *app) connect(ctx context.Context, n need) (*session, error) {
	address := a.server
	if address == "" && a.postgres == "" {
		if owner, err := datadir.OwnerOf(a.dataDir); err == nil && owner.API != "" {
			address = owner.API
			if a.isVerbose() {
				a.note("asking the server at %s, which runs on %s", address, a.dataDir)
			}
		}
	}
	if address != "" {
		c, err := client.New(address)
		return &session{client: c, close: func() error { return nil }}, err
	}
	a.logOffset = 1 // what a scan logs is for those who ask
	if n == needScan {
		return a.scanSession(ctx)
	}
	return a.storeSession(ctx)
}

// scanSession runs the whole pipeline in this process.
func (a *app) scanSession(ctx context.Context) (*session, error) {
	p, err := a.startProcess(ctx, true, roleCoordinator, roleWorker, roleAPI)
	if err != nil {
		return nil, err
	}
	u, err := updater.New(p.updaterConfig(p.log))
	if err == nil {
		err = p.cluster.Store.RegisterSources(ctx, updater.Sources())
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- p.run(running) }()
	return &session{client: client.Inside(p.api.Handler()), local: true, updater: u, close: func() error {
		stop()
		return errors.Join(<-ended, p.close())
	}}, nil
}

// storeSession opens the database alone.
func (a *app) storeSession(ctx context.Context) (_ *session, err error) {
	var closers []func() error
	s := &session{local: true, close: func() error {
		var failed []error
		for i := len(closers) - 1; i >= 0; i-- {
			failed = append(failed, closers[i]())
		}
		return errors.Join(failed...)
	}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	dsn := a.postgres
	if dsn == "" {
		servers, err := a.startEmbedded(ctx, embedded.Config{Dir: a.dataDir, Postgres: &postgres.Config{}})
		if err != nil {
			return nil, err
		}
		closers = append(closers, servers.Close)
		dsn = servers.Postgres().DSN()
	}
	db, err := store.Open(ctx, store.Config{DSN: dsn})
	if err != nil {
		return nil, err
	}
	closers = append(closers, func() error { db.Close(); return nil })
	if err := db.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := db.RegisterSources(ctx, updater.Sources()); err != nil {
		return nil, err
	}
	if s.updater, err = updater.New(updater.Config{Store: db, Fetch: a.fetcher(), Logger: a.logger()}); err != nil {
		return nil, err
	}
	handler, err := api.New(api.Config{Version: version, Store: db})
	if err != nil {
		return nil, err
	}
	closers = append(closers, func() error { handler.Close(); return nil })
	s.client = client.Inside(handler.Handler())
	return s, nil
}
