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
// and one format may be compared. The first byte of every key is between 0x02 and 0xfe, so the empty
// string sorts before all keys and the single byte 0xff after all of them; both can serve as open ends
// of a range. Keys are at most half as long again as the version (Maven's: twice as long) plus 8 bytes.
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
//
// semver, npm, go and nuget, base 0x02:
//
//	numbers      n three times, of nuget four times
//	pre-release  identifiers, then 00; ff where there is none
//	identifier   number: n | text: 80 + ASCII of its characters (of nuget in lower case)
//	             with 01 between a text and an identifier that follows it
//
// pypi, base 0x7c:
//
//	epoch        n; that of 0 where there is none
//	release      n for each number, without zeros at the end
//	pre-release  a 03 n | b 04 n | rc 05 n | none 06 | none, with dev-release and without post-release 02 n
//	post, dev    post 03 n where there is one, then dev 01 n or 02; nothing after 02 n
//	local        segments, then 01
//	segment      number: n | text: ASCII of its characters in lower case
//	             with 02 between a text and a segment that follows it
//
// maven, base 0x36: tokens, then 0a, without what is null at the end of a list
//
//	known words   alpha 02 | beta 03 | milestone 04 | rc 05 | snapshot 06 | sp 0c
//	other words   0d + place of the first character, c0 + place of each other, in mavenCharacters
//	null words    0b; 07 where the next token that is neither null nor a list is from 02 to 06
//	lists         35; 08 where the same is so
//	numbers       n; 09 for 0 where the same is so
//
// rubygems, base 0x08: segments without zeros before the first word and at the end, then 06
//
//	word     pre 03 | before pre 02, after pre 04, then 80 + ASCII of its letters
//	number   n | 0: 05 where the next segment that is not 0 is a word, 07 where it is a number
//
// packagist, base 0x7c: the numbers of the normal form, then stability and dev where they are, then 06
//
//	stability  stable 01 | alpha 03 | beta 04 | RC 05 | patch ff, then its numbers
//	dev        02
package version
