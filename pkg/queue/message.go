package queue

import "github.com/trawl-scanner/trawl/pkg/job"

// Trace has the message carry a trace context, unless it is "".
func (m *Message) Trace(parent string) {
	if parent != "" {
		m.Headers = append(m.Headers, Header{Key: TraceParent, Value: []byte(parent)})
	}
}

// ImageMessage returns the message that carries an image job.
func ImageMessage(image job.Image) (Message, error) {
	value, err := image.Encode()
	return Message{
		Topic: ImagesTopic(image.Lane), Partition: Spread(image.Key(), ImagePartitions), Key: image.Key(), Value: value,
	}, err
}

// LayerMessage returns the message that carries a layer job; the partition is the layer's shard.
func LayerMessage(layer job.Layer, shard int) (Message, error) {
	value, err := layer.Encode()
	return Message{Topic: LayersTopic(layer.Lane), Partition: shard, Key: layer.Key(), Value: value}, err
}

// DeadLetterMessage returns the message that carries a dead letter.
func DeadLetterMessage(letter job.DeadLetter) (Message, error) {
	value, err := letter.Encode()
	return Message{Topic: TopicDeadLetters, Key: letter.Key(), Value: value}, err
}
