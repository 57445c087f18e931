// Package bench holds the benchmarks that cross packages: layers against other inflaters, cold scans of whole images,
// versions of all schemes, the correlation of what a registry of the world has installed with all that is published,
// the updater's memory, and what clusters of processes do: how fast, how much faster with more workers, and how long nothing
// is done when a member dies or moves.
//
// It holds tests alone. What one package does by itself is measured beside that package.
package bench
