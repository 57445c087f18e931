package cluster_test

import (
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/trawl-scanner/trawl/pkg/cluster"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
	"github.com/trawl-scanner/trawl/pkg/membership"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// TestEtcdLogin opens a cluster whose etcd knows its users, as one that may do with /trawl and nothing else.
func TestEtcdLogin(t *testing.T) {
	s := clustertest.Start(t)
	root := etcdClient(t, s.Etcd)
	ctx := t.Context()
	for _, step := range []func() error{
		func() error { _, err := root.UserAdd(ctx, "root", "root's"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.RoleAdd(ctx, "trawl"); return err },
		func() error {
			_, err := root.RoleGrantPermission(ctx, "trawl", "/trawl", clientv3.GetPrefixRangeEnd("/trawl"), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := root.UserAdd(ctx, "trawl", "trawl's"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "trawl", "trawl"); return err },
		func() error { _, err := root.UserAdd(ctx, "guest", "guest's"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, user, password string
		problem              cluster.Problem
	}{
		{"the right password", "trawl", "trawl's", 0},
		{"a wrong password", "trawl", "root's", cluster.BadLogin},
		{"no login", "", "", cluster.BadLogin},
		{"a user without permission", "guest", "guest's", cluster.NotPermitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			opened, err := cluster.Open(ctx, cluster.Config{
				Postgres:    store.Config{DSN: s.DSN},
				EtcdServers: cluster.Etcd{Endpoints: []string{s.Etcd}, User: c.user, Password: c.password},
				Kafka:       queue.Connection{Brokers: s.Kafka},
				Member:      membership.Config{Name: "a"},
				Patience:    time.Minute,
			})
			if err == nil {
				defer opened.Close()
				if _, err := opened.Picture(ctx); err != nil {
					t.Error(err)
				}
				_, unlock, err := opened.TryLock(ctx, "test")
				if err != nil {
					t.Error(err)
				} else {
					unlock()
				}
			}
			var refusal *cluster.Refusal
			errors.As(err, &refusal)
			switch {
			case c.problem == 0 && err != nil, c.problem != 0 && (refusal == nil || refusal.Problem != c.problem || refusal.Server != cluster.ServerEtcd):
				t.Errorf("%v (%+v), want problem %d", err, refusal, c.problem)
			}
		})
	}
}
