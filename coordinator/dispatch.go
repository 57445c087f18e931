package coordinator

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
	"github.com/trawl-scanner/trawl/pkg/queue"
	"github.com/trawl-scanner/trawl/pkg/shard"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// dispatcher sends jobs for what Postgres says is to be done. It is safe for concurrent use.
type dispatcher struct {
	term     int64
	store    *store.Store
	kafka    queue.Connection
	producer *queue.Producer
	overdue  time.Duration
	log      *slog.Logger
	metrics  *metrics

	// sending is held from the moment at which layers are found unsent until they are marked as sent,
	// so that the sweep does not send a second time what is on its way.
	sending sync.Mutex
}

// sendLayers sends jobs for layers that were found to be unsent at that time, and marks them as sent. traces are the spans
// that the jobs belong to, as far as known.
func (d *dispatcher) sendLayers(ctx context.Context, asOf time.Time, layers []job.Layer, traces map[digest.Digest]string) error {
	if len(layers) == 0 {
		return nil
	}
	messages := make([]queue.Message, len(layers))
	digests := make([]digest.Digest, len(layers))
	for i, layer := range layers {
		layer.Term = d.term
		var err error
		if messages[i], err = queue.LayerMessage(layer, shard.Of(layer.Digest)); err != nil {
			return err
		}
		digests[i] = layer.Digest
		messages[i].Trace(traces[layer.Digest])
		d.metrics.layersSent.WithLabelValues(layer.Lane.String()).Inc()
	}
	if err := d.produce(ctx, messages); err != nil {
		return err
	}
	return d.store.MarkLayersSent(ctx, d.term, asOf, digests)
}

// produce sends messages. Where Kafka has lost the topics, it makes them anew: what they held is in Postgres.
func (d *dispatcher) produce(ctx context.Context, messages []queue.Message) error {
	err := d.producer.Produce(ctx, messages)
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	d.log.Warn("topics are missing, making them anew", "error", err)
	if err := queue.EnsureTopics(ctx, d.kafka, queue.Topics()); err != nil {
		return err
	}
	return d.producer.Produce(ctx, messages)
}

// bury sends dead letters.
func (d *dispatcher) bury(ctx context.Context, letters []job.DeadLetter) error {
	if len(letters) == 0 {
		return nil
	}
	messages := make([]queue.Message, len(letters))
	for i, letter := range letters {
		var err error
		if messages[i], err = queue.DeadLetterMessage(letter); err != nil {
			return err
		}
		d.metrics.dead.WithLabelValues(letter.Kind).Inc()
	}
	return d.produce(ctx, messages)
}

// What one round of the sweep sends at most, and how often it looks.
const (
	sweepLimit    = 2000
	sweepInterval = time.Second
)

// sweep looks in Postgres for what ought to be under way and is not, and sends it, until ctx is done: new
// submissions whose sender died, parked jobs whose time has come, jobs that Kafka lost.
func (d *dispatcher) sweep(ctx context.Context) error {
	return repeat(ctx, d.log, "sweep", sweepInterval, func(ctx context.Context) (bool, error) {
		n, err := d.sweepOnce(ctx)
		if err == nil && n > 0 {
			d.log.Info("sent what was not under way", "jobs", n)
			d.metrics.swept.Add(float64(n))
		}
		return false, err
	})
}

func (d *dispatcher) sweepOnce(ctx context.Context) (int, error) {
	images, asOf, err := d.store.UnsentSubmissions(ctx, d.overdue, sweepLimit)
	if err != nil {
		return 0, err
	}
	if err := d.sendImages(ctx, asOf, images); err != nil {
		return 0, err
	}
	d.sending.Lock()
	defer d.sending.Unlock()
	layers, asOf, err := d.store.UnsentLayers(ctx, d.overdue, sweepLimit)
	if err != nil {
		return 0, err
	}
	return len(images) + len(layers), d.sendLayers(ctx, asOf, layers, nil)
}

func (d *dispatcher) sendImages(ctx context.Context, asOf time.Time, images []job.Image) error {
	if len(images) == 0 {
		return nil
	}
	messages := make([]queue.Message, len(images))
	ids := make([]string, len(images))
	for i, image := range images {
		var err error
		if messages[i], err = queue.ImageMessage(image); err != nil {
			return err
		}
		ids[i] = image.Submission
	}
	if err := d.produce(ctx, messages); err != nil {
		return err
	}
	return d.store.MarkSubmissionsSent(ctx, asOf, ids)
}
