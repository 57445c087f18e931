package job

import "time"

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
