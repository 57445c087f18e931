package queue

import (
	"time"

	"github.com/trawl-scanner/trawl/pkg/job"
)

// What is done about jobs is recorded in batches: one costs Postgres and Kafka much the same, whatever is in it.
const (
	nowPatience  = 10 * time.Millisecond
	bulkPatience = 50 * time.Millisecond
)

// Patience is how long a job of a lane may wait for others, to share a batch with them.
func Patience(lane job.Lane) time.Duration {
	if lane == job.Now {
		return nowPatience
	}
	return bulkPatience
}

// Gather returns the first of a batch and those that come while nobody in it has lost [Patience], up to so many, or until
// there will be no more.
func Gather[T any](first T, more <-chan T, most int, lane func(T) job.Lane) []T {
	batch := []T{first}
	until := time.Now().Add(Patience(lane(first)))
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for len(batch) < most {
		select {
		case next, ok := <-more:
			if !ok {
				return batch
			}
			batch = append(batch, next)
			if sooner := time.Now().Add(Patience(lane(next))); sooner.Before(until) {
				until = sooner
				timer.Reset(time.Until(until))
			}
		case <-timer.C:
			return batch
		}
	}
	return batch
}
