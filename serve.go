package main

import (
	"context"
	"errors"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) serveCommand() *cobra.Command {
	command := &cobra.Command{
		Use: "serve", Short: "Run all roles in one process", Args: noArguments,
		Long: `Run all roles in one process: API, coordinator, worker, updater and notifier.

Where no address of etcd, Kafka or Postgres is given, they run in or below this process and keep their data in the data
directory. SIGTERM lets work in hand finish. After a kill, start it again: nothing is lost.`,
		Example: `  trawl serve
  trawl serve --listen 0.0.0.0:6060 --mirror /srv/mirror
  trawl serve --postgres postgres://trawl@db/trawl --etcd etcd:2379 --kafka kafka:9092`,
		RunE: func(command *cobra.Command, _ []string) error {
			return a.serveRoles(command.Context(), roleCoordinator, roleWorker, roleUpdater, roleNotifier, roleAPI)
		},
	}
	f := command.Flags()
	a.servingFlags(f)
	a.apiFlags(f)
	a.coordinatorFlags(f)
	a.workerFlags(f)
	a.updaterFlags(f)
	a.registryFlags(f)
	return command
}

// roleCommand is a command that runs one role of a cluster.
func (a *app) roleCommand(role, short string, flags ...func(*pflag.FlagSet)) *cobra.Command {
	command := &cobra.Command{
		Use: role, Short: short, Args: noArguments,
		Example: "  trawl " + role + " --postgres postgres://trawl@db/trawl --etcd etcd:2379 --kafka kafka:9092\n" +
			"  trawl " + role + " --postgres 'postgres://trawl@db/trawl?sslmode=verify-full&sslrootcert=ca.pem' --postgres-password-file db.pass \\\n" +
			"    --etcd https://etcd:2379 --etcd-ca ca.pem --etcd-cert trawl.pem --etcd-key trawl-key.pem \\\n" +
			"    --kafka kafka:9093 --kafka-ca ca.pem --kafka-user trawl --kafka-password-file kafka.pass --gossip-key-file gossip.key",
		RunE: func(command *cobra.Command, _ []string) error {
			if a.postgres == "" || len(a.etcd) == 0 || len(a.kafka) == 0 {
				return usageError(errors.New("one role alone needs the cluster's servers: --postgres, --etcd and --kafka; trawl serve brings its own"))
			}
			return a.serveRoles(command.Context(), role)
		},
	}
	a.servingFlags(command.Flags())
	for _, add := range flags {
		add(command.Flags())
	}
	return command
}

func (a *app) coordinatorCommand() *cobra.Command {
	return a.roleCommand(roleCoordinator, "Run a coordinator: resolves images, assigns shards, sends what got lost", a.coordinatorFlags, a.registryFlags)
}

func (a *app) workerCommand() *cobra.Command {
	return a.roleCommand(roleWorker, "Run a worker: analyzes layers", a.workerFlags, a.registryFlags)
}

func (a *app) updaterCommand() *cobra.Command {
	return a.roleCommand(roleUpdater, "Run an updater: reads advisories", a.updaterFlags)
}

func (a *app) notifierCommand() *cobra.Command {
	return a.roleCommand(roleNotifier, "Run a notifier: tells others what changed")
}

func (a *app) apiCommand() *cobra.Command {
	return a.roleCommand(roleAPI, "Run an API server", a.apiFlags)
}

// serveRoles runs roles until told to stop.
func (a *app) serveRoles(ctx context.Context, roles ...string) (err error) {
	serving := false
	for _, role := range roles {
		serving = serving || role == roleAPI
	}
	var listener net.Listener
	if serving { // first, so that a port that is taken is known before anything else is started
		if listener, err = listen(ctx, a.listen); err != nil {
			return err
		}
		if a.uploadAddress == "" {
			a.uploadAddress = reachable(listener.Addr())
		}
	}
	p, err := a.startProcess(ctx, false, roles...)
	if err != nil {
		if listener != nil {
			_ = listener.Close()
		}
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if serving {
		p.serveOn(listener, p.api.Handler())
		if p.servers != nil {
			if err := p.servers.Lock().Announce("http://" + reachable(listener.Addr())); err != nil {
				return err
			}
		}
		a.note("serving on http://%s", reachable(listener.Addr()))
	}
	return p.run(ctx)
}
