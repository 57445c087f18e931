package queue

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// complaintAge is how long a complaint counts without being renewed. What goes wrong is tried again at least
// every few seconds, and a connection that hangs is given up after 10 s.
const complaintAge = 30 * time.Second

// health keeps what is wrong at the moment, by what it is about: a broker, a partition, the start of a lane.
// A complaint goes when what it is about goes well again, or when it is not renewed, as happens when
// a broker has left the cluster. Safe for concurrent use. It is a hook of kgo.
type health struct {
	mu         sync.Mutex
	complaints map[string]complaint
}

type complaint struct {
	err error
	at  time.Time
}

func (h *health) complain(about string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.complaints == nil {
		h.complaints = make(map[string]complaint)
	}
	h.complaints[about] = complaint{err, time.Now()}
}

func (h *health) clear(about ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range about {
		delete(h.complaints, a)
	}
}

// err returns all that is wrong in one error, or nil.
func (h *health) err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var about []string
	for a, c := range h.complaints {
		if time.Since(c.at) > complaintAge {
			delete(h.complaints, a)
			continue
		}
		about = append(about, a)
	}
	slices.Sort(about)
	var all []error
	for _, a := range about {
		all = append(all, wrap("read", a, h.complaints[a].err))
	}
	return errors.Join(all...)
}

// brokerName names a broker in complaints. The addresses that the client starts from have no number
// yet and share a name: it is enough that one of them answers.
func brokerName(meta kgo.BrokerMetadata) string {
	if meta.NodeID < 0 {
		return seedBrokers
	}
	return "broker " + strconv.Itoa(int(meta.NodeID))
}

const seedBrokers = "seed brokers"

// OnBrokerConnect implements [kgo.HookBrokerConnect].
func (h *health) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, kgo.ErrClientClosed) {
		h.complain(brokerName(meta), fmt.Errorf("connect %s:%d: %w", meta.Host, meta.Port, err))
	}
}

// OnBrokerE2E implements [kgo.HookBrokerE2E].
func (h *health) OnBrokerE2E(meta kgo.BrokerMetadata, _ int16, e2e kgo.BrokerE2E) {
	err := e2e.Err()
	switch {
	case err == nil:
		h.clear(brokerName(meta), seedBrokers)
	case errors.Is(err, context.Canceled), errors.Is(err, kgo.ErrClientClosed), errors.Is(err, net.ErrClosed):
		// We ended it.
	default:
		h.complain(brokerName(meta), err)
	}
}
