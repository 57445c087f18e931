package local

import (
	"context"
	"log/slog"
)

// Jars returns the directory that holds the jars of a version of Apache Kafka, for a broker that is set up in another
// way than [Start] does. "" means [DefaultKafkaVersion]. They are fetched where they are not cached, which is logged.
func Jars(ctx context.Context, version string, log *slog.Logger) (string, error) {
	if version == "" {
		version = DefaultKafkaVersion
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{config: Config{KafkaVersion: version}, log: log}
	return c.jars(ctx)
}
