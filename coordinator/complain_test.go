package coordinator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// TestAwayFromEtcd runs a coordinator whose etcd is not there.
func TestAwayFromEtcd(t *testing.T) {
	t.Parallel()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var b bytes.Buffer
	c, err := New(Config{ID: "a", Etcd: client, LeaseTTL: 2 * time.Second, Logger: slog.New(slog.NewTextHandler(&b, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := c.Run(ctx); err != nil {
		t.Error(err)
	}
	if said := b.String(); strings.Count(said, "cannot lead") != 1 || !strings.Contains(said, "take lease for /trawl/coordinator") {
		t.Errorf("it said:\n%s", said)
	}
}

func TestComplaints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		c := &complaints{log: slog.New(slog.NewTextHandler(&b, nil))}
		lines := func() int { return strings.Count(b.String(), "\n") }
		check := func(when string, want int) {
			t.Helper()
			if got := lines(); got != want {
				t.Errorf("%s: %d lines, want %d:\n%s", when, got, want, b.String())
			}
		}
		away, denied := errors.New("away"), errors.New("denied")
		for range 100 {
			c.report(away)
			<-time.After(100 * time.Millisecond)
		}
		check("ten seconds of one error", 1)
		c.report(denied)
		check("another error", 2)
		if !strings.Contains(b.String(), "not_logged=99") {
			t.Errorf("how many were not logged is not said:\n%s", b.String())
		}
		for range 100 {
			c.report(away)
			c.report(denied)
			<-time.After(time.Second)
		}
		check("two errors in turn", 2)
		<-time.After(repeatAfter)
		c.report(away)
		check("much later", 3)
		for n := range 100 {
			c.report(fmt.Errorf("port %d", n))
			<-time.After(time.Second)
		}
		check("a hundred seconds of errors that are all new", 12)
		c.forget()
		c.report(away)
		check("after all was well", 13)
		c.told(denied)
		<-time.After(quietFor)
		c.report(denied)
		check("what somebody else said", 13)
	})
}
