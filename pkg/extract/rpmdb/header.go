package rpmdb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/trawl-scanner/trawl/pkg/inventory"
)

// The tags that count here; rpm's include/rpm/rpmtag.h lists them all.
const (
	tagName       = 1000
	tagVersion    = 1001
	tagRelease    = 1002
	tagEpoch      = 1003
	tagArch       = 1022
	tagSourceRPM  = 1044
	tagModularity = 5096

	typeInt32       = 4
	typeString      = 6
	typeStringArray = 8
	typeI18NString  = 9

	entryBytes = 16      // of the index: tag, type, offset, count
	maxEntries = 1 << 16 // rpm's own limit
)

// tags is what counts of a header. A string that is not there is "".
type tags struct {
	name, version, release, arch, source, module string
	epoch                                        uint32
}

// parseHeader reads a header as rpm stores it: the number of index entries and of data bytes, both big-endian,
// then index and data. Regions, which tell what was signed, are of no concern; a tag that was added
// after the build ("dribble") stands behind them and wins. With an error the package may have its name.
func parseHeader(blob []byte) (inventory.Package, error) {
	var t tags
	if err := t.read(blob); err != nil {
		return inventory.Package{Name: t.name}, err
	}
	switch {
	case t.name == "":
		return inventory.Package{}, errors.New("no name")
	case t.version == "":
		return inventory.Package{Name: t.name}, errors.New("no version")
	case t.release == "" && t.name != "gpg-pubkey":
		return inventory.Package{Name: t.name}, errors.New("no release")
	}
	return t.pkg(), nil
}

func (t *tags) read(blob []byte) error {
	if len(blob) < 8 {
		return fmt.Errorf("%d bytes", len(blob))
	}
	entries, length := binary.BigEndian.Uint32(blob), binary.BigEndian.Uint32(blob[4:])
	blob = blob[8:]
	if entries == 0 || entries > maxEntries || uint64(entries)*entryBytes+uint64(length) > uint64(len(blob)) {
		return fmt.Errorf("index of %d entries for %d bytes in %d", entries, length, len(blob))
	}
	index, data := blob[:entries*entryBytes], blob[entries*entryBytes:][:length]
	for ; len(index) > 0; index = index[entryBytes:] {
		if err := t.entry(index[:entryBytes], data); err != nil {
			return err
		}
	}
	return nil
}

// entry takes in one entry of the index.
func (t *tags) entry(entry, data []byte) error {
	var text *string
	tag := binary.BigEndian.Uint32(entry)
	switch tag {
	case tagName:
		text = &t.name
	case tagVersion:
		text = &t.version
	case tagRelease:
		text = &t.release
	case tagArch:
		text = &t.arch
	case tagSourceRPM:
		text = &t.source
	case tagModularity:
		text = &t.module
	case tagEpoch:
	default:
		return nil
	}
	kind, offset := binary.BigEndian.Uint32(entry[4:]), binary.BigEndian.Uint32(entry[8:])
	if uint64(offset) >= uint64(len(data)) {
		return fmt.Errorf("tag %d beyond the data", tag)
	}
	value := data[offset:]
	if text == nil {
		if kind != typeInt32 || len(value) < 4 {
			return fmt.Errorf("tag %d is no number", tag)
		}
		t.epoch = binary.BigEndian.Uint32(value)
		return nil
	}
	end := bytes.IndexByte(value, 0)
	if end < 0 || kind != typeString && kind != typeStringArray && kind != typeI18NString {
		return fmt.Errorf("tag %d is no string", tag)
	}
	if *text = string(value[:end]); *text == "(none)" {
		*text = ""
	}
	return nil
}

// pkg returns the package that the tags describe. Its version is written "epoch:version-release", without the
// epoch where it is none or 0, as rpm prints and advisories compare it: both are the same to rpm.
func (t *tags) pkg() inventory.Package {
	versionRelease := t.version + "-" + t.release
	p := inventory.Package{
		Kind: inventory.RPM, Name: t.name, Version: versionRelease, Arch: t.arch, Module: t.module,
	}
	if t.epoch != 0 {
		p.Version = strconv.FormatUint(uint64(t.epoch), 10) + ":" + versionRelease
	}
	name, version, ok := parseSourceRPM(t.source)
	switch {
	case !ok:
		p.SourceName, p.SourceVersion = p.Name, p.Version
	case version == versionRelease:
		// The file name does not tell the epoch. A package has that of its source unless it sets its own.
		p.SourceName, p.SourceVersion = name, p.Version
	default:
		p.SourceName, p.SourceVersion = name, version
	}
	return p
}

// parseSourceRPM splits the name of a source package file, "name-version-release.src.rpm".
func parseSourceRPM(file string) (name, versionRelease string, ok bool) {
	s, isSource := strings.CutSuffix(file, ".src.rpm")
	if !isSource {
		if s, isSource = strings.CutSuffix(file, ".nosrc.rpm"); !isSource {
			return "", "", false
		}
	}
	release := strings.LastIndexByte(s, '-')
	if release < 0 {
		return "", "", false
	}
	version := strings.LastIndexByte(s[:release], '-')
	if version <= 0 || version+1 == release || release+1 == len(s) {
		return "", "", false
	}
	return s[:version], s[version+1:], true
}
