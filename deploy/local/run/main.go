// Command run starts a whole cluster on this machine, says what is where, shows what goes wrong in it, and takes it
// away when it is interrupted. See package local for what it is made of; make cluster calls it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/trawl-scanner/trawl/deploy/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal is not waited for
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "cluster: %v\n", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	local.Config
	arguments []string
	load      int
	seed      uint64
	requests  int
	profile   time.Duration
	profiles  string
	startup   time.Duration
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	f := pflag.NewFlagSet("cluster", pflag.ContinueOnError)
	f.SetOutput(stderr)
	f.SortFlags = false
	f.StringVar(&o.Dir, "dir", "", "`directory` to keep everything in; default a temporary one that is removed at the end")
	f.StringVar(&o.Binary, "binary", "", "the `program`; default is to build it")
	f.IntVar(&o.Coordinators, "coordinators", 2, "how many of them")
	f.IntVar(&o.Workers, "workers", 3, "how many of them")
	f.IntVar(&o.Updaters, "updaters", 1, "how many of them")
	f.IntVar(&o.Notifiers, "notifiers", 1, "how many of them")
	f.IntVar(&o.APIs, "apis", 1, "how many of them")
	f.StringArrayVar(&o.arguments, "argument", nil, "`ROLE=FLAG` that processes of a role are given, such as updater=--mirror=/srv/mirror; may be repeated")
	f.StringVar(&o.KafkaVersion, "kafka", local.DefaultKafkaVersion, "`version` of Apache Kafka")
	f.IntVar(&o.load, "load", 0, "have this `number` of small images scanned, and print how fast that went")
	f.Uint64Var(&o.seed, "seed", 0, "`number` that makes another set of images")
	f.IntVar(&o.requests, "requests", 16, "how many images are being submitted at once")
	f.DurationVar(&o.profile, "profile", 0, "`time` for which CPU profiles are taken while they are scanned")
	f.StringVar(&o.profiles, "profiles", "profiles", "`directory` for them")
	f.DurationVar(&o.startup, "startup", 5*time.Minute, "how long the start may take, downloads included")
	f.Usage = func() {
		fmt.Fprintf(stderr, "Start a whole cluster on this machine until Ctrl-C.\n\n%s", f.FlagUsages())
	}
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("no arguments are taken, and %q was given", f.Args())
	}
	for _, n := range []*int{&o.Coordinators, &o.Workers, &o.Updaters, &o.Notifiers, &o.APIs} {
		if *n == 0 {
			*n = -1 // here none are none
		}
	}
	o.Arguments = make(map[string][]string)
	for _, argument := range o.arguments {
		role, flag, ok := strings.Cut(argument, "=")
		if !ok {
			return o, fmt.Errorf("argument %q: want ROLE=FLAG", argument)
		}
		o.Arguments[role] = append(o.Arguments[role], flag)
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "trawl-cluster-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	o.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	c, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer func() {
		if ctx.Err() != nil {
			err = nil // it was asked to end
		}
		fmt.Fprintln(stderr, "stopping…")
		err = errors.Join(err, c.Close())
	}()
	describe(stdout, c)
	if o.load > 0 {
		if err := scan(ctx, stdout, c, o); err != nil {
			return err
		}
	}
	fmt.Fprintln(stdout, "Ctrl-C ends it. What goes wrong in it is shown here:")
	return watch(ctx, stdout, c)
}

// start starts the cluster and waits until it is at work.
func start(ctx context.Context, o options) (*local.Cluster, error) {
	starting, cancel := context.WithTimeout(ctx, o.startup)
	defer cancel()
	c, err := local.Start(starting, o.Config)
	if err != nil {
		return nil, err
	}
	if err = c.Ready(starting); err == nil && o.APIs > 0 {
		_, err = c.Settled(starting)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// withoutTime leaves the time out of a record: it is now.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}
