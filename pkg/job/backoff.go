package job

import (
	"time"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// Backoff returns how long a job is parked after it failed, given how often it had failed before. It grows
// from 5 seconds to a quarter of an hour; [MaxAttempts] span 13 minutes, longer than a restart of whatever was away.
func Backoff(failures int) time.Duration {
	const first, longest = 5 * time.Second, 15 * time.Minute
	pause := first
	for range min(failures, 10) {
		pause *= 5
	}
	return min(pause, longest)
}

// longestPark is the longest that a job is parked, whatever a registry asks for.
const longestPark = 24 * time.Hour

// Park returns how long a job is parked after err, given how often it had failed before: as long as err asks for, and at
// least what backoff says, [Backoff] for nil. Who is told to come back later, and not when, is in no hurry.
func Park(err error, failures int, backoff func(failures int) time.Duration) time.Duration {
	if backoff == nil {
		backoff = Backoff
	}
	if fault.KindOf(err) == fault.RateLimited {
		failures = max(failures, 2)
	}
	return min(max(fault.AfterOf(err), backoff(failures)), longestPark)
}
