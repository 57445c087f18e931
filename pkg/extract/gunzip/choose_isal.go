//go:build isal

package gunzip

// Implementation names what inflates: "isa-l" or "klauspost".
const Implementation = "isa-l"

func newInflater() inflater { return newISAL() }
