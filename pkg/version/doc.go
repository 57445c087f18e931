// Package version provides sort keys for package versions: bytes whose plain order is the order of
// the ecosystem.
//
// For every scheme and any two versions a and b of it
//
//	Compare(scheme, a, b) == bytes.Compare(Key(scheme, a), Key(scheme, b))
//
// and two keys are equal exactly when the package manager of the ecosystem calls the versions equal
// (1.0 and 0:1.00-0 of dpkg). A database can therefore store keys in a column of plain bytes (bytea
// in Postgres, whose order is that of bytes.Compare), index it, and answer "introduced <= version and
// version < fixed" without knowing any ecosystem.
//
// A string that is no version of its scheme is a [*ParseError], never some place in the order: what
// cannot be read is not known to be affected, and not known to be unaffected. What counts as a
// version is what the tool of the ecosystem accepts when it builds a package; dpkg.go, rpm.go and
// apk.go say it in detail.
//
// The package orders versions and does nothing else: it knows no ranges, it does not find versions
// inside longer strings, and it cannot turn a key back into the version it was made of. It has no
// state and is safe for concurrent use.
//
// # Format
//
// This is key format 1 ([KeyFormat]). A key says nothing about its scheme; only keys of one scheme
// and one format may be compared. Every key has at least two bytes and its first is between 0x02 and
// 0xfe, so the empty string sorts before all keys and the single byte 0xff after all of them; both
// can serve as open ends of a range. Keys are at most half as long again as the version plus 8 bytes.
//
// A key is the sequence of the version's tokens, with codes chosen such that at any point where two
// keys part, the lesser byte belongs to the lesser version. What a byte means may depend on the bytes
// before it, never on those after it.
//
// Numbers of any length are written as n(base), where base depends on the scheme. Leading zeros are
// dropped; then, for a number v,
//
//	base+v                                 v < 122
//	base+121+k, then v-122 in k bytes      122 <= v < 10^19; k from 1 to 8, as few as hold it, big-endian
//	base+130, then n(base) of the number   more than 19 digits
//	of digits, then the digits in ASCII
//
// dpkg, base 0x02:
//
//	epoch      n
//	upstream   part
//	revision   part; that of "0" where there is none
//	part       runs of non-digits and numbers in turn, a number last (0 where the text has none), then 0x02
//	run        ~ 01 | letters 80 + ASCII | + fb | - fc | . fd | : fe
//
// rpm, base 0x7c:
//
//	epoch      n; that of 0 where there is none
//	version    part
//	release    part; nothing at all where there is none
//	part       tokens, then 0x02; separators are left out
//	token      ~ 01 | ^ 03 | word: its letters in ASCII | number: n
//	           with 04 between a word and a word or number that follows it
//
// apk, base 0x7c:
//
//	first      n
//	component  n | 0: 7b | zero and more digits: 7c, what follows the zero in ASCII, 00
//	letter     its ASCII
//	suffix     _alpha 01 | _beta 02 | _pre 03 | _rc 04 | _cvs 09 | _svn 0a | _git 0b | _hg 0c | _p 0d,
//	           then 08 n where it has a number
//	hash       07, its digits in ASCII
//	revision   06 n; 05 where there is none
package version
