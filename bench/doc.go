// Package bench holds the benchmarks that cross packages: layers against other inflaters, cold scans of whole images,
// and versions of all schemes.
//
// It holds tests alone. What one package does by itself is measured beside that package.
package bench
