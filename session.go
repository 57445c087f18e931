package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/api/client"
	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/embedded"
	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/fault"
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
func (a *app) storeFlags(f *pflag.FlagSet) { a.postgresFlags(f) }

// glance is how often a command that waits for another one looks whether it may go on.
const glance = 100 * time.Millisecond

// connect finds the server that --server names or that runs on the data directory. Where there is none, this process
// does the work itself. Where another process has the data directory, it waits until that one is done, or turns out to
// be a server that is ready.
func (a *app) connect(ctx context.Context, n need) (*session, error) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for waiting := false; ; {
		if address := a.serverAddress(); address != "" {
			c, err := client.New(address)
			if err != nil {
				return nil, usageError(err)
			}
			return &session{client: c, close: func() error { return nil }}, nil
		}
		s, err := a.work(ctx, n)
		var owned *datadir.OwnedError
		if !errors.As(err, &owned) {
			return s, err
		}
		if !waiting {
			waiting = true
			a.note("waiting: %s is %v", a.dataDir, owned)
		}
		select {
		case <-ctx.Done():
			return nil, fault.Wrap("wait for", a.dataDir, ctx.Err())
		case <-tick.C:
		}
	}
}

// withStore does something with a server or with the store alone.
func (a *app) withStore(ctx context.Context, do func(context.Context, *session) error) (err error) {
	s, err := a.connect(ctx, needStore)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return do(ctx, s)
}

// serverAddress returns the address of the server to ask, or "" where there is none.
func (a *app) serverAddress() string {
	if a.server != "" || a.postgres != "" {
		return a.server
	}
	owner, err := datadir.OwnerOf(a.dataDir)
	if err != nil || owner.API == "" {
		return ""
	}
	if a.isVerbose() {
		a.note("asking the server at %s, which runs on %s", owner.API, a.dataDir)
	}
	return owner.API
}

// work opens what a command needs in this process.
func (a *app) work(ctx context.Context, n need) (*session, error) {
	a.beside = true
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
	u, err := updater.New(p.updaterConfig(a.outcomeLogger()))
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
	config := a.storeConfig()
	if config.DSN == "" {
		servers, err := embedded.Start(ctx, embedded.Config{Dir: a.dataDir, Postgres: &postgres.Config{}})
		if err != nil {
			return nil, err
		}
		closers = append(closers, servers.Close)
		config = store.Config{DSN: servers.Postgres().DSN()}
	}
	db, err := store.Open(ctx, config)
	if err != nil {
		return nil, cluster.Explain(cluster.ServerPostgres, err)
	}
	closers = append(closers, func() error { db.Close(); return nil })
	if err := db.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := db.RegisterSources(ctx, updater.Sources()); err != nil {
		return nil, err
	}
	if s.updater, err = updater.New(updater.Config{Store: db, Fetch: a.fetcher(), Logger: a.outcomeLogger()}); err != nil {
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
