// Package embedded provides the servers that Trawl needs, in or below one process, for those who have
// not installed any: [Start] brings up whichever of PostgreSQL, etcd and Kafka it is asked for, on one
// data directory that no other process may use meanwhile.
//
// It starts only what it is asked for; a caller asks for what it has no address of. Nothing of it can
// be reached from other processes but PostgreSQL, and that only by the user of this one. What the
// servers promise, and what they do not, stands with each of them: packages postgres, etcd, kafka and,
// for the directory, datadir. Package embeddedtest has databases for tests.
//
// # Layout
//
//	DIR/lock, DIR/owner.json    who owns the directory
//	DIR/postgres/               PostgreSQL, its socket and its log
//	DIR/etcd/, DIR/etcd.log     etcd; the log, and .1 before it, take at most 20 MB
//	DIR/kafka/, DIR/kafka.log   Kafka, likewise; may be removed while nothing runs
package embedded

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/trawl-scanner/trawl/pkg/embedded/datadir"
	"github.com/trawl-scanner/trawl/pkg/embedded/etcd"
	"github.com/trawl-scanner/trawl/pkg/embedded/internal/logfile"
	"github.com/trawl-scanner/trawl/pkg/embedded/kafka"
	"github.com/trawl-scanner/trawl/pkg/embedded/postgres"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// CloseTime bounds [Servers.Close].
const CloseTime = 45 * time.Second

// How long each server is given to stop in order. PostgreSQL writes a checkpoint, and where that takes
// longer needs up to 12 seconds more to end without one.
const (
	kafkaStopTime    = 5 * time.Second
	etcdStopTime     = 5 * time.Second
	postgresStopTime = 20 * time.Second
)

// Config says which servers to start, and where. A nil server is not started; in one that is not nil,
// Dir and Log may be left empty and are then the ones of the package's layout.
type Config struct {
	// Dir is the data directory. Made if missing. Where this process is root, PostgreSQL's account has
	// to be able to pass through the directories above, or the system to have user namespaces.
	Dir string
	// Wait waits, as long as the context lasts, for another process that owns Dir.
	Wait bool

	Postgres *postgres.Config
	Etcd     *etcd.Config
	Kafka    *kafka.Config
}

// Servers are the servers of a process. Safe for concurrent use. Whoever started them closes them.
type Servers struct {
	lock      *datadir.Lock
	postgres  *postgres.Server
	etcd      *etcd.Server
	kafka     *kafka.Server
	logs      []*logfile.File
	failed    chan struct{}
	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
	watch     sync.WaitGroup
}

// Start takes ownership of cfg.Dir and starts the servers beside one another. ctx bounds the start
// alone. When one cannot be started, the others are stopped, and nothing is left running.
//
// Where another process owns the directory the error is a [*datadir.OwnedError] (fault.Conflict) that
// says which one, and how to reach its API; the other errors are those of the servers.
func Start(ctx context.Context, cfg Config) (*Servers, error) {
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fault.Wrap("start servers in", cfg.Dir, err)
	}
	lock, err := datadir.Acquire(ctx, dir, cfg.Wait)
	if err != nil {
		return nil, err
	}
	s := &Servers{lock: lock, failed: make(chan struct{}), closing: make(chan struct{})}
	if err := s.start(ctx, dir, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.watch.Go(s.watchServers)
	return s, nil
}

// start starts what cfg asks for. Where it fails, what was started stands in s all the same. The error
// is the first one; those that follow from it are not told.
func (s *Servers) start(ctx context.Context, dir string, cfg Config) error {
	cfg, err := s.complete(dir, cfg)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	if cfg.Postgres != nil {
		group.Go(func() (err error) {
			s.postgres, err = postgres.Start(ctx, *cfg.Postgres)
			return err
		})
	}
	if cfg.Etcd != nil {
		group.Go(func() (err error) {
			s.etcd, err = etcd.Start(ctx, *cfg.Etcd)
			return err
		})
	}
	if cfg.Kafka != nil {
		group.Go(func() (err error) {
			s.kafka, err = kafka.Start(ctx, *cfg.Kafka)
			return err
		})
	}
	return group.Wait()
}

// complete returns cfg with the directories and logs of the package's layout where none are given.
func (s *Servers) complete(dir string, cfg Config) (Config, error) {
	if cfg.Postgres != nil {
		c := *cfg.Postgres
		c.Dir = cmp.Or(c.Dir, filepath.Join(dir, "postgres"))
		cfg.Postgres = &c
	}
	if cfg.Etcd != nil {
		c := *cfg.Etcd
		c.Dir = cmp.Or(c.Dir, filepath.Join(dir, "etcd"))
		if err := s.openLog(&c.Log, filepath.Join(dir, "etcd.log")); err != nil {
			return cfg, err
		}
		cfg.Etcd = &c
	}
	if cfg.Kafka != nil {
		c := *cfg.Kafka
		c.Dir = cmp.Or(c.Dir, filepath.Join(dir, "kafka"))
		if err := s.openLog(&c.Log, filepath.Join(dir, "kafka.log")); err != nil {
			return cfg, err
		}
		cfg.Kafka = &c
	}
	return cfg, nil
}

// openLog sets *log, unless it is set, to a file that is closed with the servers.
func (s *Servers) openLog(log *io.Writer, path string) error {
	if *log != nil {
		return nil
	}
	file, err := logfile.Open(path)
	if err != nil {
		return fault.Wrap("open log", path, err)
	}
	s.logs = append(s.logs, file)
	*log = file
	return nil
}

// Postgres returns the PostgreSQL server, or nil where none was asked for.
func (s *Servers) Postgres() *postgres.Server { return s.postgres }

// Etcd returns the etcd server, or nil where none was asked for.
func (s *Servers) Etcd() *etcd.Server { return s.etcd }

// Kafka returns the Kafka broker, or nil where none was asked for.
func (s *Servers) Kafka() *kafka.Server { return s.kafka }

// Lock returns the ownership of the data directory, on which to announce the API. It is released by
// Close.
func (s *Servers) Lock() *datadir.Lock { return s.lock }

// Failed is closed when one of the servers has ended unasked. Then [Servers.Err] says which and why.
func (s *Servers) Failed() <-chan struct{} { return s.failed }

// Err returns why servers have ended that nobody stopped, or nil.
func (s *Servers) Err() error {
	var errs []error
	if s.postgres != nil {
		errs = append(errs, s.postgres.Err())
	}
	if s.etcd != nil {
		errs = append(errs, s.etcd.Err())
	}
	return errors.Join(errs...)
}

// watchServers closes failed when the first server ends before they are closed.
func (s *Servers) watchServers() {
	var postgresDone, etcdDone <-chan struct{} // nil, which never comes, where there is no server
	if s.postgres != nil {
		postgresDone = s.postgres.Done()
	}
	if s.etcd != nil {
		etcdDone = s.etcd.Done()
	}
	select {
	case <-postgresDone:
	case <-etcdDone:
	case <-s.closing:
		return
	}
	close(s.failed)
}

// Close stops the servers, Kafka first and PostgreSQL last, and gives the directory up. It returns
// within [CloseTime], and then what could not be stopped in order is in the error. The clients of the
// servers are to be closed before. Closing twice is no error.
func (s *Servers) Close() error {
	s.closeOnce.Do(func() {
		close(s.closing)
		s.watch.Wait()
		var errs []error
		if s.kafka != nil {
			errs = append(errs, within(kafkaStopTime, s.kafka.Stop))
		}
		if s.etcd != nil {
			errs = append(errs, within(etcdStopTime, s.etcd.Stop))
		}
		if s.postgres != nil {
			errs = append(errs, within(postgresStopTime, s.postgres.Stop))
		}
		for _, log := range s.logs {
			log.Close()
		}
		errs = append(errs, s.lock.Release())
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

// within runs stop with a context that ends after d.
func within(d time.Duration, stop func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return stop(ctx)
}
