package version

// identifiers draws a pre-release of Semantic Versioning.
func (p picker) identifiers() string {
	s := ""
	for i := range 1 + p(3) {
		if i > 0 {
			s += "."
		}
		s += p.of(p.number(), p.of("alpha", "beta", "rc", "a", "Z", "-", "a-b", "0a", "x", "-1", "RC", "Alpha")+p.of("", p.number()))
	}
	return s
}

func (p picker) triple() string { return p.number() + "." + p.number() + "." + p.number() }

func semverVersion(p picker) string {
	s := p.triple()
	if !p.chance(3) {
		s += "-" + p.identifiers()
	}
	if p.chance(6) {
		s += "+" + p.of("001", "build.5", "-", "a-b.0", "20130313144700")
	}
	return s
}

func npmVersion(p picker) string {
	s := p.of("", "", "", "v", "=", "=v") + p.triple()
	switch p(4) {
	case 0:
		s += "-" + p.identifiers()
	case 1:
		s += p.of("beta", "rc", "a-", "-", "x") + p.of("", ".") + p.identifiers()
	case 2:
		s += p.of("-beta", "-0", "-alpha.", "-rc") + p.number()
	}
	return s + p.of("", "", "", "+build")
}

func goVersion(p picker) string {
	switch p(6) {
	case 0:
		return "go1." + p.number() + p.of("", "."+p.number(), "rc"+p.number(), "beta"+p.number(), "rc", "x") + p.of("", "", "-vendor")
	case 1:
		return p.of("v", "") + p.triple() + "-" + p.of("", "0.", "rc.1.0.") +
			p.of("20191109021931", "20191109021932", "20230817204526") + "-" + p.of("daa7c04131f5", "0123456789ab", "000000000000")
	case 2:
		return "v" + p.of(p.number(), p.number()+"."+p.number())
	}
	return p.of("v", "v", "") + semverVersion(p) + p.of("", "", "+incompatible")
}

func pypiVersion(p picker) string {
	separator := func() string { return p.of("", "", ".", "-", "_") }
	s := p.of("", "", "", "", "v", "V") + p.of("", "", "", "", "0!", "1!", "2!") + p.dotted()
	if p.chance(3) {
		s += separator() + p.of("a", "b", "c", "rc", "alpha", "beta", "pre", "preview", "RC", "A", "Beta") + separator() + p.of("", p.number())
	}
	if p.chance(4) {
		s += p.of("-"+p.number(), separator()+p.of("post", "r", "rev", "POST")+separator()+p.of("", p.number()))
	}
	if p.chance(4) {
		s += separator() + p.of("dev", "dev", "DEV") + separator() + p.of("", p.number())
	}
	if p.chance(5) {
		s += "+" + p.of("local", "ubuntu", "abc", "ABC", "0a", p.number()) + p.of("", p.of(".", "-", "_")+p.of("1", "a", "b2", p.number()))
	}
	return s
}

func mavenVersion(p picker) string {
	word := func() string {
		return p.of("alpha", "a", "beta", "b", "milestone", "m", "rc", "cr", "CR", "snapshot", "SNAPSHOT", "ga", "final", "Final",
			"release", "RELEASE", "sp", "SP", "foo", "x", "jre", "_", "redhat", "v", "z~")
	}
	s := p.of(p.number(), p.number(), p.number(), word())
	for range p(6) {
		s += p.of(".", ".", ".", "-", "-", "", "..", "--", ".-", "-.") + p.of(p.number(), p.number(), "0", "1", word())
	}
	return s
}

func gemVersion(p picker) string {
	s := p.dotted()
	for range p(5) {
		s += p.of(".", ".", "", "-") + p.of(p.number(), "0", "0", "a", "b", "pre", "rc", "beta", "RC", "pr", "prea", "z", "Pre")
	}
	return s + p.of("", "", ".0", ".0.0")
}

func nugetVersion(p picker) string {
	s := p.number()
	for range p(4) {
		s += "." + p.number()
	}
	if !p.chance(3) {
		s += "-" + p.of(p.identifiers(), p.identifiers(), "beta."+p.of("2147483647", "2147483648", "20240102030405", "99999999999"))
	}
	return s + p.of("", "", "", "+sha.0a1b")
}

func packagistVersion(p picker) string {
	s := p.of("", "", "v", "V")
	switch p(6) {
	case 0:
		s += p.of("2019", "2020", "2020") + p.of("01", "-01", ".02", ":02") + p.of("", "-03", "03", ".04") + p.of("", "-05", "0607", ".123") + p.of("", "-1", ".22")
	case 1:
		s += p.number() + p.of("", "."+p.number()) + p.of(".x", ".x.x", ".*", ".X", "") + p.of("-dev", ".dev", "dev")
	default:
		s += p.dotted()
	}
	if p.chance(2) {
		s += p.of("", "-", ".", "_") + p.of("alpha", "a", "beta", "b", "RC", "rc", "patch", "p", "pl", "stable", "Stable", "BETA") +
			p.of("", p.number(), "."+p.number(), "-"+p.number()+"."+p.number())
	}
	if p.chance(5) {
		s += p.of("-dev", "dev", ".dev", "-", "+build", "+a.b-c")
	}
	return s
}
