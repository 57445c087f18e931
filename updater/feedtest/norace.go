//go:build !race

package feedtest

// instrumented says that the race detector is there, which takes memory of its own.
const instrumented = false
