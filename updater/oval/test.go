package oval

// Test is what a test is about, as far as packages, platforms and modules need it.
type Test struct {
	Kind  string   // "rpminfo", "dpkginfo", "rpmverifyfile", "textfilecontent54", "uname"; "" for an unknown test
	Names []string // of the packages it is about, any of them
	Path  string   // of the file it looks into
	State State    // zero where existence is enough
	// None says that the test is true when nothing is found.
	None bool
	// Unclear is why the test cannot be understood, or "".
	Unclear string
}

// State is what a package has to be like. Values are empty where they do not matter.
type State struct {
	EVR, Version, Release, Name Value
	Text                        string // a regular expression for the content of a file
	Signature, Arch             bool   // the signing key or the architecture matters
}

// Value is a comparison: "less than" "0:1.2-3", "pattern match" "^8".
type Value struct{ Operation, Text string }

// test returns the test of that id.
func (t *tables) test(id string) Test {
	row, ok := t.tests[keyOf(id)]
	if !ok {
		return Test{}
	}
	out := Test{Kind: t.words.texts[row.kind], None: row.none}
	if row.object > 0 {
		object := t.objects.rows[row.object-1]
		out.Path = t.words.texts[object.path]
		switch {
		case object.pattern && object.name > 0:
			out.Unclear = "its name is a pattern"
		case object.variable > 0:
			out.Names = t.namesOf(object.variable - 1)
		case object.name > 0:
			out.Names = []string{t.words.texts[object.name]}
		}
	}
	if row.states > 1 {
		out.Unclear = "it has several states"
	}
	if row.state > 0 {
		state := t.states.rows[row.state-1]
		out.State = State{
			EVR: t.value(state.evr), Version: t.value(state.version), Release: t.value(state.release), Name: t.value(state.name),
			Text: t.words.texts[state.text], Signature: state.signature, Arch: state.arch,
		}
	}
	return out
}

// namesOf returns the values of a variable, the same slice each time.
func (t *tables) namesOf(variable uint32) []string {
	if out, ok := t.names[variable]; ok {
		return out
	}
	var out []string
	for _, name := range t.variables.rows[variable] {
		out = append(out, t.words.texts[name])
	}
	t.names[variable] = out
	return out
}

func (t *tables) value(v valueRow) Value {
	return Value{t.words.texts[v.operation], t.words.texts[v.text]}
}
