package registry

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

func TestPolicy(t *testing.T) {
	open, strict := policy{}, policy{denyLoopback: true, denyPrivate: true}
	for _, c := range []struct {
		address      string
		open, strict bool // allowed
	}{
		{"93.184.216.34", true, true},
		{"2606:2800:220:1::1", true, true},
		{"127.0.0.1", true, false},
		{"127.8.9.10", true, false},
		{"::1", true, false},
		{"::ffff:127.0.0.1", true, false},
		{"10.0.0.1", true, false},
		{"172.31.255.255", true, false},
		{"192.168.1.1", true, false},
		{"100.64.0.1", true, false},
		{"fd12:3456::1", true, false},
		{"64:ff9b::10.0.0.1", true, false},
		{"2002:0a00:0001::1", true, false},
		{"169.254.169.254", false, false},
		{"::ffff:169.254.169.254", false, false},
		{"64:ff9b::169.254.169.254", false, false},
		{"2002:a9fe:a9fe::1", false, false},
		{"::169.254.169.254", false, false},
		{"fe80::1%eth0", false, false},
		{"fd00:ec2::254", false, false},
		{"100.100.100.200", false, false},
		{"168.63.129.16", false, false},
		{"0.0.0.0", false, false},
		{"0.1.2.3", false, false},
		{"::", false, false},
		{"224.0.0.1", false, false},
		{"ff02::1", false, false},
		{"255.255.255.255", false, false},
	} {
		ip := netip.MustParseAddr(c.address)
		if why := open.refuse(ip); (why == "") != c.open {
			t.Errorf("%s: %q", c.address, why)
		}
		if why := strict.refuse(ip); (why == "") != c.strict {
			t.Errorf("%s with everything denied: %q", c.address, why)
		}
		if why := open.refuseHost(c.address); (why == "") != c.open {
			t.Errorf("host %s: %q", c.address, why)
		}
	}
	for host, allowed := range map[string]bool{
		"registry.example": true, "localhost": true, "3com.example": true, "2852039166": false, "0xa9fea9fe": false, "169.254.43518": false, "10.1": false,
	} {
		if why := open.refuseHost(host); (why == "") != allowed {
			t.Errorf("host %s: %q", host, why)
		}
	}
}

// The address that a name has is looked at when it is dialed, and so are those of redirects and
// token servers.
func TestPolicyIsEnforced(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/redirect/"):
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data?sig=s1gnature")
			w.WriteHeader(http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/v2/token/"):
			w.Header().Set("Www-Authenticate", `Bearer realm="http://169.254.169.254/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Write([]byte("{}"))
		}
	}))
	defer srv.Close()
	local := strings.TrimPrefix(srv.URL, "http://")
	named := strings.Replace(local, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		name string
		cfg  Config
		ref  string
		text string // of the error; "": none
	}{
		{"loopback is allowed", Config{}, local + "/app", ""},
		{"by its name too", Config{}, named + "/app", ""},
		{"or denied", Config{DenyLoopback: true}, local + "/app", "refused: 127.0.0.1 is a loopback address"},
		{"by its name too", Config{DenyLoopback: true, PlainHTTP: []string{named}}, named + "/app", "is a loopback address"},
		{"link-local is refused", Config{PlainHTTP: []string{"169.254.169.254"}}, "169.254.169.254/app", "refused: 169.254.169.254 is a link-local address"},
		{"in a redirect", Config{}, local + "/redirect/app", "refused: 169.254.169.254 is a link-local address"},
		{"as a token server", Config{}, local + "/token/app", "refused: 169.254.169.254 is a link-local address"},
		{"private is denied", Config{DenyPrivate: true, PlainHTTP: []string{"10.255.255.1"}}, "10.255.255.1/app", "refused: 10.255.255.1 is a private address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Keychain = Anonymous{}
			cl, err := New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			ref, err := ParseReference(c.ref)
			if err != nil {
				t.Fatal(err)
			}
			_, err = cl.Manifest(t.Context(), ref)
			if c.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantKind(t, err, fault.Invalid)
			wantText(t, err, c.text)
		})
	}
}

// A proxy is what the operator chose and may be anywhere; what it is asked for may not.
func TestProxy(t *testing.T) {
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Host)
		w.Write([]byte("{}"))
	}))
	defer proxy.Close()
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	cl, err := New(Config{
		Keychain: Anonymous{}, DenyLoopback: true, DenyPrivate: true, Proxy: http.ProxyURL(u),
		PlainHTTP: []string{"registry.example", "10.0.0.1", "169.254.169.254", "2852039166:80"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for _, host := range []string{"registry.example", "10.0.0.1", "169.254.169.254", "2852039166:80"} {
		_, err := cl.Manifest(t.Context(), Reference{Repository: Repository{host, "app"}, Tag: "1"})
		if allowed := host == "registry.example"; (err == nil) != allowed {
			t.Errorf("%s: %v", host, err)
		}
	}
	if len(asked) != 1 || asked[0] != "registry.example" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// A loopback registry is tried with TLS first.
func TestLoopbackScheme(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("{}")) })
	plain := httptest.NewServer(handler)
	defer plain.Close()
	secret := httptest.NewTLSServer(handler)
	defer secret.Close()
	cl, err := New(Config{Keychain: Anonymous{}, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ref := func(s string) Reference {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return Reference{Repository: Repository{u.Host, "app"}, Tag: "1"}
	}
	for range 2 {
		if _, err := cl.Manifest(t.Context(), ref(plain.URL)); err != nil {
			t.Error(err)
		}
	}
	if scheme, known := cl.schemeOf(endpoint{host: ref(plain.URL).Host}); scheme != "http" || !known {
		t.Errorf("%s, known: %t", scheme, known)
	}
	_, err = cl.Manifest(t.Context(), ref(secret.URL))
	wantKind(t, err, fault.Unavailable)
	wantText(t, err, "authority that is not trusted here")
}

func TestExplain(t *testing.T) {
	secret := httptest.NewTLSServer(http.NotFoundHandler())
	defer secret.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	plainHost := func(s string) string { return s[strings.Index(s, "://")+3:] }
	for _, c := range []struct {
		name, host, text string
		cfg              Config
		kind             fault.Kind
	}{
		{"nothing listens", plainHost(closed.URL), "connection refused", Config{}, fault.Unavailable},
		{"no such name", "no-such-host.invalid", "", Config{}, fault.Unavailable},
		{"TLS where none was expected", plainHost(secret.URL), "do not list it as plain HTTP", Config{PlainHTTP: []string{plainHost(secret.URL)}}, fault.Invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Keychain, c.cfg.Retries = Anonymous{}, -1
			cl, err := New(c.cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			_, err = cl.Manifest(t.Context(), Reference{Repository: Repository{c.host, "app"}, Tag: "1"})
			wantKind(t, err, c.kind)
			wantText(t, err, c.host, c.text)
		})
	}
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]Config{
		"a mirror with a scheme of its own": {Mirrors: map[string][]string{"docker.io": {"ftp://x"}}},
		"a mirror without a host":           {Mirrors: map[string][]string{"docker.io": {"http:///x"}}},
		"a mirror with an odd prefix":       {Mirrors: map[string][]string{"docker.io": {"x.example/../y"}}},
		"a plain host with a scheme":        {PlainHTTP: []string{"http://x"}},
		"an authority that is not there":    {CAFiles: []string{"testdata/none.pem"}},
		"an authority that is none":         {CAFiles: []string{"network_test.go"}},
	} {
		if _, err := New(cfg); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}
