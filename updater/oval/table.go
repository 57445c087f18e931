package oval

import (
	"crypto/sha256"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/limits"
	"github.com/trawl-scanner/trawl/updater/xmlstream"
)

// The bounds of what is kept of a document while its definitions are read. The largest feed known has 0.1 million
// entries with 1 MB of names and versions.
const (
	maxEntries   = 4_000_000
	maxNameBytes = 64 << 20
)

// tables are what the definitions of a document refer to.
type tables struct {
	tests     map[key]testRow
	objects   numbered[objectRow]
	states    numbered[stateRow]
	variables numbered[[]word]
	values    int // of all variables
	words     words
	names     map[uint32][]string // of variables, as they are asked for
}

// key stands for an id: ids are long, and there are up to millions of them. Of SHA-256 half is enough, for nobody
// finds two texts of which it is the same.
type key [sha256.Size / 2]byte

func keyOf(id string) key {
	sum := sha256.Sum256([]byte(id))
	return key(sum[:len(key{})])
}

// numbered are the rows of a table, counted in the order in which their ids come up.
type numbered[T any] struct {
	numbers map[key]uint32
	rows    []T
}

// number returns the number of an id, which may have been referred to only.
func (t *numbered[T]) number(id string) uint32 {
	if t.numbers == nil {
		t.numbers = make(map[key]uint32)
	}
	k := keyOf(id)
	n, ok := t.numbers[k]
	if !ok {
		n = uint32(len(t.rows))
		t.numbers[k] = n
		t.rows = append(t.rows, *new(T))
	}
	return n
}

// word is the number of a text in words.
type word uint32

// words holds each text once. Number 0 is "".
type words struct {
	numbers map[string]word
	texts   []string
	bytes   int64
}

func newWords() words { return words{numbers: map[string]word{"": 0}, texts: []string{""}} }

func (w *words) number(text string) word {
	n, ok := w.numbers[text]
	if !ok {
		text = strings.Clone(text)
		n = word(len(w.texts))
		w.numbers[text] = n
		w.texts = append(w.texts, text)
		w.bytes += int64(len(text))
	}
	return n
}

type testRow struct {
	kind   word
	object uint32 // number + 1; 0 for none
	state  uint32 // number + 1, of the first; 0 for none
	states uint8  // how many there are, 2 for more
	none   bool   // it is true when nothing is found
}

type objectRow struct {
	name     word
	variable uint32 // number + 1, of what has the names
	path     word   // of the file that is looked into
	pattern  bool   // the name is a regular expression
}

type valueRow struct{ operation, text word }

type stateRow struct {
	evr, version, release, name valueRow
	text                        word // a regular expression for the content of a file
	signature, arch             bool
}

// readTables reads all of a document but its definitions.
func readTables(open Opener) (*tables, error) {
	t := &tables{tests: make(map[key]testRow), words: newWords(), names: make(map[uint32][]string)}
	sections := map[string]func(*xmlstream.Walker, xmlstream.Element) error{
		"tests": t.readTest, "objects": t.readObject, "states": t.readState, "variables": t.readVariable,
	}
	err := walk(open, func(w *xmlstream.Walker, section xmlstream.Element) error {
		read, ok := sections[section.Name]
		if !ok {
			return nil
		}
		return w.Children(func(e xmlstream.Element) error {
			if err := read(w, e); err != nil {
				return err
			}
			return t.check()
		})
	})
	t.objects.numbers, t.states.numbers, t.variables.numbers = nil, nil, nil
	t.words.numbers = nil
	return t, err
}

// check bounds the tables.
func (t *tables) check() error {
	entries := len(t.tests) + len(t.objects.rows) + len(t.states.rows) + len(t.variables.rows) + len(t.words.texts) + t.values
	if err := limits.Check("what definitions refer to", "entries", maxEntries, int64(entries)); err != nil {
		return err
	}
	return limits.Check("names and versions", "bytes", maxNameBytes, t.words.bytes)
}

func (t *tables) readTest(w *xmlstream.Walker, e xmlstream.Element) error {
	check, existence := e.Attribute("check"), e.Attribute("check_existence")
	row := testRow{
		kind: t.words.number(strings.TrimSuffix(e.Name, "_test")),
		none: check == "none satisfy" || check == "none exist" || existence == "none_exist",
	}
	id := keyOf(e.Attribute("id"))
	err := w.Children(func(e xmlstream.Element) error {
		switch e.Name {
		case "object":
			row.object = t.objects.number(e.Attribute("object_ref")) + 1
		case "state":
			if row.states++; row.states == 1 {
				row.state = t.states.number(e.Attribute("state_ref")) + 1
			}
			row.states = min(row.states, 2)
		}
		return nil
	})
	t.tests[id] = row
	return err
}

func (t *tables) readObject(w *xmlstream.Walker, e xmlstream.Element) error {
	var row objectRow
	n := t.objects.number(e.Attribute("id"))
	err := w.Children(func(e xmlstream.Element) error {
		variable, operation := e.Attribute("var_ref"), e.Attribute("operation")
		switch e.Name {
		case "name":
			if variable != "" {
				row.variable = t.variables.number(variable) + 1
				return nil
			}
			row.pattern = operation != "" && operation != "equals"
			return t.readWord(w, &row.name)
		case "filepath":
			return t.readWord(w, &row.path)
		}
		return nil
	})
	t.objects.rows[n] = row
	return err
}

func (t *tables) readState(w *xmlstream.Walker, e xmlstream.Element) error {
	var row stateRow
	n := t.states.number(e.Attribute("id"))
	err := w.Children(func(e xmlstream.Element) error {
		var value *valueRow
		switch e.Name {
		case "evr":
			value = &row.evr
		case "version":
			value = &row.version
		case "release":
			value = &row.release
		case "name":
			value = &row.name
		case "text":
			return t.readWord(w, &row.text)
		case "arch":
			row.arch = true
			return nil
		case "signature_keyid":
			row.signature = true
			return nil
		default:
			return nil
		}
		value.operation = t.words.number(e.Attribute("operation"))
		return t.readWord(w, &value.text)
	})
	t.states.rows[n] = row
	return err
}

func (t *tables) readVariable(w *xmlstream.Walker, e xmlstream.Element) error {
	n := t.variables.number(e.Attribute("id"))
	if e.Name != "constant_variable" {
		return nil
	}
	var values []word
	err := w.Children(func(e xmlstream.Element) error {
		if e.Name != "value" {
			return nil
		}
		var value word
		err := t.readWord(w, &value)
		values = append(values, value)
		if t.values++; err == nil {
			err = t.check()
		}
		return err
	})
	t.variables.rows[n] = values
	return err
}

// readWord reads the text of the open element.
func (t *tables) readWord(w *xmlstream.Walker, into *word) error {
	text, err := w.Text()
	*into = t.words.number(strings.TrimSpace(text))
	return err
}
