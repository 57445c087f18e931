package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/job"
)

// The names of the topics. Names are never used again for anything else.
const (
	TopicImages        = "trawl.images"
	TopicImagesNow     = "trawl.images.now"
	TopicLayers        = "trawl.layers"
	TopicLayersNow     = "trawl.layers.now"
	TopicNotifications = "trawl.notifications"
	TopicDeadLetters   = "trawl.dead-letters"
)

// The numbers of partitions. They cannot change while messages are under way.
const (
	ImagePartitions        = 16
	LayerPartitions        = 256 // one for each shard, see shard.Count
	NotificationPartitions = 16
)

// ImagesTopic returns the topic of the images of a lane.
func ImagesTopic(lane job.Lane) string {
	if lane == job.Now {
		return TopicImagesNow
	}
	return TopicImages
}

// LayersTopic returns the topic of the layers of a lane.
func LayersTopic(lane job.Lane) string {
	if lane == job.Now {
		return TopicLayersNow
	}
	return TopicLayers
}

// Topic is a topic as it ought to be.
type Topic struct {
	Name       string
	Partitions int
	// Retention is how long a message is kept. Jobs that outlive it are found in the store and sent again.
	Retention time.Duration
	// MaxMessageBytes is the largest batch that the broker takes, as it is sent: compressed.
	MaxMessageBytes int64
}

const day = 24 * time.Hour

// Topics returns the table of topics. Messages are deleted by age alone, never compacted, and kept
// compressed as the producer sent them. Jobs are references of some hundred bytes; the bound leaves room for batches.
func Topics() []Topic {
	return []Topic{
		{TopicImages, ImagePartitions, 14 * day, 1 << 20},
		{TopicImagesNow, ImagePartitions, 2 * day, 1 << 20},
		{TopicLayers, LayerPartitions, 14 * day, 1 << 20},
		{TopicLayersNow, LayerPartitions, 2 * day, 1 << 20},
		{TopicNotifications, NotificationPartitions, 30 * day, 1 << 20},
		{TopicDeadLetters, 1, 90 * day, 1 << 20},
	}
}

// configs returns the settings of a topic, for a replication factor.
func (t Topic) configs(replicas int16) map[string]*string {
	inSync := 1
	if replicas > 2 {
		inSync = 2 // one broker may be away, and what is acknowledged is on two
	}
	return map[string]*string{
		"cleanup.policy":      kadm.StringPtr("delete"),
		"retention.ms":        kadm.StringPtr(strconv.FormatInt(t.Retention.Milliseconds(), 10)),
		"retention.bytes":     kadm.StringPtr("-1"),
		"max.message.bytes":   kadm.StringPtr(strconv.FormatInt(t.MaxMessageBytes, 10)),
		"compression.type":    kadm.StringPtr("producer"),
		"min.insync.replicas": kadm.StringPtr(strconv.Itoa(inSync)),
	}
}

// EnsureTopics creates the topics that are missing, with min(3, brokers) replicas, and checks that
// those that exist have the right number of partitions. Other settings of an existing topic are its operator's affair and
// stay as they are. Several processes may call it at once.
//
// Errors: [fault.Conflict] when numbers of partitions are wrong, naming each; [fault.Unauthorized]; [fault.Unavailable].
func EnsureTopics(ctx context.Context, conn Connection, topics []Topic) error {
	const op, subject = "ensure topics of", "kafka"
	client, err := conn.client()
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	brokers, err := admin.ListBrokers(ctx)
	if err != nil {
		return wrap(op, subject, err)
	}
	missing, err := checkTopics(ctx, admin, topics)
	if err != nil {
		return wrap(op, subject, err)
	}
	replicas := int16(min(3, max(1, len(brokers))))
	for _, t := range missing {
		created, err := admin.CreateTopic(ctx, int32(t.Partitions), replicas, t.configs(replicas), t.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			if created.ErrMessage != "" {
				err = fmt.Errorf("%w: %s", err, created.ErrMessage)
			}
			return wrap("create topic", t.Name, err)
		}
	}
	// Someone else may have been faster, with another number.
	missing, err = awaitTopics(ctx, admin, topics)
	if err == nil && len(missing) > 0 {
		err = fault.Newf(fault.Unavailable, "find topic", missing[0].Name, "created and not there yet")
	}
	return wrap(op, subject, err)
}

// What was just created is waited for this long, and looked for this often at least. A broker of its own makes the
// files of 500 partitions in some seconds.
const (
	topicWait  = 10 * time.Second
	topicPause = 250 * time.Millisecond
)

// awaitTopics is [checkTopics] that waits some time for what was just created: brokers hear of it one after another.
func awaitTopics(ctx context.Context, admin *kadm.Client, topics []Topic) ([]Topic, error) {
	var waited time.Duration
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, topicPause) {
		missing, err := checkTopics(ctx, admin, topics)
		if err != nil || len(missing) == 0 || waited >= topicWait {
			return missing, err
		}
		waited += pause
		select {
		case <-ctx.Done():
			return missing, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// checkTopics returns the topics that do not exist.
func checkTopics(ctx context.Context, admin *kadm.Client, topics []Topic) (missing []Topic, err error) {
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	found, err := admin.ListTopics(ctx, names...)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, t := range topics {
		detail, listed := found[t.Name]
		switch {
		case !listed || errors.Is(detail.Err, kerr.UnknownTopicOrPartition):
			missing = append(missing, t)
		case detail.Err != nil:
			return nil, wrap("describe topic", t.Name, detail.Err)
		case len(detail.Partitions) != t.Partitions:
			wrong = append(wrong, fmt.Sprintf("%s has %d partitions instead of %d", t.Name, len(detail.Partitions), t.Partitions))
		}
	}
	if len(wrong) > 0 {
		return nil, fault.Newf(fault.Conflict, "check", "partitions", "%s; delete the topic when it is drained, and it is created anew",
			strings.Join(wrong, "; "))
	}
	return missing, nil
}
