//go:build !isal

package gunzip

// Implementation names what inflates: "isa-l" or "klauspost".
const Implementation = "klauspost"

func newInflater() inflater { return newPure() }
