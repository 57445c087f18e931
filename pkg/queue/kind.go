package queue

import (
	"context"
	"errors"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// wrap says what was being done when Kafka, or the way to it, gave err.
func wrap(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(kindOf(err), op, subject, err)
}

// kinds tells what the errors mean that are more than "not now". The first that is in the chain counts.
var kinds = []struct {
	err  error
	kind fault.Kind
}{
	{context.Canceled, fault.Canceled},
	{kgo.ErrClientClosed, fault.Canceled},
	{context.DeadlineExceeded, fault.Unavailable},
	{kgo.ErrRecordTimeout, fault.Unavailable},
	{kgo.ErrRecordRetries, fault.Unavailable},
	{kgo.ErrMaxBuffered, fault.Unavailable},
	{kerr.UnknownTopicOrPartition, fault.NotFound},
	{kerr.UnknownTopicID, fault.Conflict}, // the topic was deleted and created anew
	{kerr.TopicAlreadyExists, fault.Conflict},
	{kerr.UnknownMemberID, fault.Conflict}, // the group has real members
	{kerr.IllegalGeneration, fault.Conflict},
	{kerr.RebalanceInProgress, fault.Conflict},
	{kerr.TopicAuthorizationFailed, fault.Unauthorized},
	{kerr.GroupAuthorizationFailed, fault.Unauthorized},
	{kerr.ClusterAuthorizationFailed, fault.Unauthorized},
	{kerr.SaslAuthenticationFailed, fault.Unauthorized},
	{kerr.UnsupportedSaslMechanism, fault.Unauthorized},
	{kerr.MessageTooLarge, fault.TooLarge},
	{kerr.RecordListTooLarge, fault.TooLarge},
	{kerr.CorruptMessage, fault.Corrupt},
	{kerr.InvalidRecord, fault.Invalid},
	{kerr.InvalidTopicException, fault.Invalid},
	{kerr.InvalidPartitions, fault.Invalid},
	{kerr.InvalidReplicationFactor, fault.Invalid},
	{kerr.InvalidConfig, fault.Invalid},
	{kerr.PolicyViolation, fault.Invalid},
	{kerr.UnsupportedVersion, fault.Unsupported},
	{kerr.UnsupportedCompressionType, fault.Unsupported},
}

func kindOf(err error) fault.Kind {
	if kind := fault.KindOf(err); kind != fault.Unknown {
		return kind
	}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	var network net.Error
	var loss *kgo.ErrDataLoss
	var hungUp *kgo.ErrFirstReadEOF // without a login that is wanted, or of a broker that is about to end
	switch {
	case kerr.IsRetriable(err), errors.As(err, &hungUp), errors.As(err, &network), errors.Is(err, net.ErrClosed):
		return fault.Unavailable
	case errors.As(err, &loss):
		return fault.Corrupt
	}
	return fault.Unknown
}
