package registry

import "strings"

// challenge is one of the ways in which a host wants to be told who asks (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string            // lower case: "bearer", "basic"
	params map[string]string // names in lower case
}

// maxChallenges bounds what one header may offer.
const maxChallenges = 16

// parseChallenges reads the values of WWW-Authenticate headers. It never fails: what it cannot
// read it leaves out.
func parseChallenges(values []string) []challenge {
	var all []challenge
	for _, v := range values {
		p := challengeParser{rest: v}
		for len(all) < maxChallenges {
			c, ok := p.next()
			if !ok {
				break
			}
			all = append(all, c)
		}
	}
	return all
}

type challengeParser struct{ rest string }

// next reads a scheme and its parameters, up to the next scheme.
func (p *challengeParser) next() (challenge, bool) {
	p.skip(" \t,")
	scheme := p.token()
	if scheme == "" {
		return challenge{}, false
	}
	c := challenge{scheme: strings.ToLower(scheme), params: map[string]string{}}
	for {
		before := p.rest
		p.skip(" \t,")
		name := p.token()
		p.skip(" \t")
		if name == "" || !strings.HasPrefix(p.rest, "=") {
			if name == "" && strings.HasPrefix(p.rest, "=") { // what is left of a token68
				p.skip("=")
				continue
			}
			p.rest = before // the next scheme, or the end
			return c, true
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		value, ok := p.value()
		if !ok {
			p.rest = ""
			return c, true
		}
		if name = strings.ToLower(name); c.params[name] == "" {
			c.params[name] = value
		}
	}
}

func (p *challengeParser) skip(set string) { p.rest = strings.TrimLeft(p.rest, set) }

func (p *challengeParser) token() string {
	n := 0
	for n < len(p.rest) && isTokenByte(p.rest[n]) {
		n++
	}
	token := p.rest[:n]
	p.rest = p.rest[n:]
	return token
}

// value reads a token or a quoted string. A quoted string without end is no value.
func (p *challengeParser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		return p.token(), true
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i < len(p.rest) {
				b.WriteByte(p.rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// isTokenByte reports whether c may stand in a token (RFC 9110, section 5.6.2). The slash of
// token68 is let through so that one is skipped as a whole.
func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~/", c) >= 0
}
