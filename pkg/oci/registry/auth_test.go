package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/fault"
)

// guarded is a registry that wants a token, its token server, and the store to which it redirects
// for blobs. It writes down who was asked for what, and complains about what must not be sent.
type guarded struct {
	t         *testing.T
	mu        sync.Mutex
	log       []string // "registry 401 /v2/…", "token anonymous scope", "cdn 200 …"
	serial    int      // of tokens
	valid     map[string]string
	life      int                                       // expires_in; 0: not told
	field     string                                    // in which the token is told
	users     map[string]string                         // passwords; nil: everybody
	onToken   http.HandlerFunc                          // instead of a token
	challenge string                                    // instead of the usual
	onBlob    func(w http.ResponseWriter, sig int) bool // instead of the blob
}

const (
	authHost = "auth.example"
	cdnHost  = "cdn.example"
)

func newGuarded(t *testing.T, m *memoryNet) *guarded {
	g := &guarded{t: t, valid: map[string]string{}, field: "token"}
	m.serve(t, testHost, http.HandlerFunc(g.registry))
	m.serve(t, authHost, http.HandlerFunc(g.token))
	m.serve(t, cdnHost, http.HandlerFunc(g.cdn))
	return g
}

func (g *guarded) note(format string, args ...any) {
	g.log = append(g.log, fmt.Sprintf(format, args...))
}

func (g *guarded) took() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	log := g.log
	g.log = nil
	return log
}

func (g *guarded) registry(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/v2/")
	name, rest, _ := strings.Cut(name, "/manifests/")
	name, blob, isBlob := strings.Cut(name, "/blobs/")
	scope := "repository:" + name + ":pull"
	if auth := r.Header.Get("Authorization"); auth == "" || g.valid[strings.TrimPrefix(auth, "Bearer ")] != scope {
		g.note("registry 401 %s", name)
		w.Header().Set("Www-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token?x=1",service="registry",scope=%q`, authHost, scope))
		if g.challenge != "" {
			w.Header().Set("Www-Authenticate", g.challenge)
		}
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":"t0ken"}]}`)
		return
	}
	if isBlob {
		g.serial++
		g.note("registry 307 %s", name)
		http.Redirect(w, r, fmt.Sprintf("http://%s/%s?sig=s1gnature-%d", cdnHost, blob, g.serial), http.StatusTemporaryRedirect)
		return
	}
	g.note("registry 200 %s %s", name, rest)
	io.WriteString(w, "{}")
}

func (g *guarded) token(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.ParseForm()
	who := "anonymous"
	user, password, ok := r.BasicAuth()
	if ok {
		who = user
		if r.Form.Get("account") != user {
			g.t.Errorf("account %q for user %q", r.Form.Get("account"), user)
		}
	}
	if r.Form.Get("refresh_token") != "" {
		who = fmt.Sprintf("%s %s %s", r.Form.Get("grant_type"), r.Form.Get("client_id"), r.Form.Get("refresh_token"))
	}
	g.note("token %s %s %s", r.Method, who, r.Form.Get("scope"))
	if r.Form.Get("service") != "registry" || r.Form.Get("x") != "" && r.Method == http.MethodPost && r.URL.Query().Get("x") != "1" {
		g.t.Errorf("token request %s", r.Form)
	}
	if g.onToken != nil {
		g.onToken(w, r)
		return
	}
	if g.users != nil && (!ok || g.users[user] != password) {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"details":"incorrect username or password"}`)
		return
	}
	g.serial++
	token := fmt.Sprintf("t0ken-%d", g.serial)
	g.valid[token] = r.Form.Get("scope")
	answer := map[string]any{g.field: token}
	if g.life != 0 {
		answer["expires_in"] = g.life
	}
	json.NewEncoder(w).Encode(answer)
}

func (g *guarded) cdn(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range []string{"Authorization", "Referer", "Cookie"} {
		if v := r.Header.Get(name); v != "" {
			g.t.Errorf("the store was sent %s: %s", name, v)
		}
	}
	var serial int
	fmt.Sscanf(r.URL.Query().Get("sig"), "s1gnature-%d", &serial)
	if g.onBlob != nil && g.onBlob(w, serial) {
		g.note("cdn refused")
		return
	}
	g.note("cdn 200")
	whole(blobContent)(w, r)
}

var blobContent = randomBytes(50_000)

func manifestOf(ctx context.Context, c *Client, name string) error {
	_, err := c.Manifest(ctx, Reference{Repository: Repository{testHost, name}, Tag: "1"})
	return err
}

func wantLog(t *testing.T, g *guarded, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, g.took()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

// fixedKeychain has one credential for all.
type fixedKeychain Credential

func (k fixedKeychain) Find(context.Context, string) Credential { return Credential(k) }

func guardedTest(t *testing.T, cfg Config, f func(t *testing.T, g *guarded, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newMemoryNet()
		g := newGuarded(t, m)
		f(t, g, m.client(t, cfg))
	})
}

func TestTokenIsKeptAndForetold(t *testing.T) {
	guardedTest(t, Config{}, func(t *testing.T, g *guarded, c *Client) {
		for _, name := range []string{"team/app", "team/app", "team/other"} {
			if err := manifestOf(t.Context(), c, name); err != nil {
				t.Fatal(err)
			}
		}
		wantLog(t, g,
			"registry 401 team/app", "token GET anonymous repository:team/app:pull", "registry 200 team/app 1",
			"registry 200 team/app 1",
			"token GET anonymous repository:team/other:pull", "registry 200 team/other 1", // no 401 any more
		)
	})
}

func TestTokenExpires(t *testing.T) {
	for _, c := range []struct {
		name        string
		life        int
		field       string
		good, stale time.Duration
	}{
		{"after the default", 0, "token", 53 * time.Second, 2 * time.Second},
		{"as told", 300, "access_token", 289 * time.Second, 2 * time.Second},
		{"absurdly soon", 1, "token", 800 * time.Millisecond, time.Second},
		{"absurdly late", 1e9, "token", 23 * time.Hour, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			guardedTest(t, Config{}, func(t *testing.T, g *guarded, cl *Client) {
				g.life, g.field = c.life, c.field
				ask := func() {
					if err := manifestOf(t.Context(), cl, "app"); err != nil {
						t.Fatal(err)
					}
				}
				ask()
				time.Sleep(c.good) // fake
				ask()
				wantLog(t, g, "registry 401 app", "token GET anonymous repository:app:pull", "registry 200 app 1", "registry 200 app 1")
				time.Sleep(c.stale) // fake
				ask()
				wantLog(t, g, "token GET anonymous repository:app:pull", "registry 200 app 1")
			})
		})
	}
}

func TestTokenRevoked(t *testing.T) {
	guardedTest(t, Config{}, func(t *testing.T, g *guarded, c *Client) {
		if err := manifestOf(t.Context(), c, "app"); err != nil {
			t.Fatal(err)
		}
		clear(g.valid)
		g.took()
		if err := manifestOf(t.Context(), c, "app"); err != nil {
			t.Fatal(err)
		}
		wantLog(t, g, "registry 401 app", "token GET anonymous repository:app:pull", "registry 200 app 1")
	})
}

func TestTokenIsFetchedOnceForMany(t *testing.T) {
	guardedTest(t, Config{}, func(t *testing.T, g *guarded, c *Client) {
		if err := manifestOf(t.Context(), c, "first"); err != nil {
			t.Fatal(err)
		}
		g.took()
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if err := manifestOf(t.Context(), c, "app"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		tokens := 0
		for _, line := range g.took() {
			if strings.HasPrefix(line, "token") {
				tokens++
			}
		}
		if tokens != 1 {
			t.Errorf("%d token requests for 16 questions", tokens)
		}
	})
}

func TestCredentials(t *testing.T) {
	for _, c := range []struct {
		name      string
		cred      Credential
		challenge string
		want      fault.Kind
		log       []string
		text      []string
	}{
		{
			name: "a password goes to the token server only",
			cred: Credential{Username: "ann", Password: "hunter2"},
			log:  []string{"registry 401 app", "token GET ann repository:app:pull", "registry 200 app 1"},
		},
		{
			name: "a wrong password",
			cred: Credential{Username: "bob", Password: "hunter2", Source: "/home/bob/.docker/config.json"},
			want: fault.Unauthorized,
			log:  []string{"registry 401 app", "token GET bob repository:app:pull"},
			text: []string{"get manifest registry.example/app:1: auth.example: 401 Unauthorized: incorrect username or password", `"bob" (/home/bob/.docker/config.json)`, "docker login registry.example"},
		},
		{
			name: "no credential",
			cred: Credential{Source: "no credentials: there is no /x/config.json"},
			want: fault.Unauthorized,
			log:  []string{"registry 401 app", "token GET anonymous repository:app:pull"},
			text: []string{"anonymous (no credentials: there is no /x/config.json)"},
		},
		{
			name: "an identity token is posted",
			cred: Credential{IdentityToken: "1dentity"},
			want: fault.Unauthorized, // the test's token server lets in users only
			log:  []string{"registry 401 app", "token POST refresh_token trawl 1dentity repository:app:pull"},
		},
		{
			name: "an access token is used as it is",
			cred: Credential{RegistryToken: "t0ken-fixed"},
			log:  []string{"registry 401 app", "registry 200 app 1"},
		},
		{
			name:      "a login of another kind",
			challenge: `Negotiate YWJj==, Digest realm="x"`,
			want:      fault.Unauthorized,
			log:       []string{"registry 401 app"},
			text:      []string{`no login that is known here: "negotiate", "digest"`},
		},
		{
			name:      "a login of no kind",
			challenge: `,`,
			want:      fault.Unauthorized,
			log:       []string{"registry 401 app"},
			text:      []string{"does not say which"},
		},
		{
			name:      "a password is asked for and there is none",
			challenge: `Basic realm="x"`,
			want:      fault.Unauthorized,
			log:       []string{"registry 401 app"},
			text:      []string{"UNAUTHORIZED: authentication required", "as anonymous", "docker login registry.example"},
		},
		{
			name:      "a password is asked for and is wrong",
			challenge: `Basic realm="x"`,
			cred:      Credential{Username: "ann", Password: "hunter2"},
			want:      fault.Unauthorized,
			log:       []string{"registry 401 app", "registry 401 app"},
			text:      []string{`as "ann"`},
		},
		{
			name:      "a token server that cannot be",
			challenge: `Bearer realm="file:///etc/passwd"`,
			want:      fault.Unauthorized,
			log:       []string{"registry 401 app"},
			text:      []string{"token server whose address cannot be read"},
		},
		{
			name:      "a token server with a password in its address",
			challenge: `Bearer realm="http://ann:hunter2@auth.example/token"`,
			want:      fault.Unauthorized,
			log:       []string{"registry 401 app"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			guardedTest(t, Config{Keychain: fixedKeychain(c.cred)}, func(t *testing.T, g *guarded, cl *Client) {
				g.users = map[string]string{"ann": "hunter2"}
				g.valid["t0ken-fixed"] = "repository:app:pull"
				g.challenge = c.challenge
				err := manifestOf(t.Context(), cl, "app")
				if c.want == fault.Unknown && err != nil {
					t.Error(err)
				}
				if c.want != fault.Unknown {
					wantKind(t, err, c.want)
					wantText(t, err, c.text...)
				}
				wantLog(t, g, c.log...)
			})
		})
	}
}

func TestTokenServerTrouble(t *testing.T) {
	for _, c := range []struct {
		name  string
		step  http.HandlerFunc
		want  fault.Kind
		after time.Duration
	}{
		{"it is over its limit", status(429, "Retry-After", "40"), fault.RateLimited, 40 * time.Second},
		{"it is broken", status(500), fault.Unavailable, 0},
		{"it is not there", status(404), fault.Unavailable, 0},
		{"it redirects", status(302, "Location", "http://elsewhere.example/"), fault.Unavailable, 0},
		{"it stalls", hanging(make([]byte, 900), 500), fault.Unavailable, 0},
		{"it stalls while it refuses", refusing(hanging(make([]byte, 900), 500)), fault.Unauthorized, 0},
		{"it answers something else", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, fault.Unavailable, 0},
		{"it answers no token", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }, fault.Unavailable, 0},
		{"its token would break the header", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"token":"a\r\nHost: b"}`) }, fault.Unavailable, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			guardedTest(t, Config{Retries: -1}, func(t *testing.T, g *guarded, cl *Client) {
				g.onToken = c.step
				err := manifestOf(t.Context(), cl, "app")
				wantKind(t, err, c.want)
				wantText(t, err, authHost)
				if got := fault.AfterOf(err); got != c.after {
					t.Errorf("after %v, want %v", got, c.after)
				}
			})
		})
	}
}

// refusing does what step does, with status 401.
func refusing(step http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "900")
		w.WriteHeader(http.StatusUnauthorized)
		step(w, r)
	}
}

func TestRealm(t *testing.T) {
	c, err := New(Config{Keychain: Anonymous{}, PlainHTTP: []string{"auth.lan", "registry.lan"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		registry, realm string
		ok              bool
	}{
		{"registry.example", "https://auth.example/token", true},
		{"registry.example", "http://auth.example/token", false},
		{"registry.example", "http://auth.lan/token", true},
		{"registry.lan", "http://auth.example/token", true},
		{"registry.example", "ftp://auth.example/token", false},
		{"registry.example", "//auth.example", false},
		{"registry.example", "https:auth", false},
	} {
		if _, err := c.realm(question{at: place{endpoint{host: x.registry}, "app"}}, x.realm); (err == nil) != x.ok {
			t.Errorf("realm %s of %s: %v", x.realm, x.registry, err)
		}
	}
}

// Tokens of many repositories and the names of many hosts do not fill the memory.
func TestMemoryIsBounded(t *testing.T) {
	hs := newHosts()
	h := hs.get("one.example")
	for i := range 3 * maxTokens {
		s := h.slot(fmt.Sprint(i), time.Now())
		s.expires = time.Now().Add(time.Hour * time.Duration(i%2*2-1))
	}
	if len(h.tokens) > maxTokens {
		t.Errorf("%d tokens", len(h.tokens))
	}
	for i := range 3 * maxHosts {
		hs.get(fmt.Sprint(i))
	}
	if len(hs.byName) > maxHosts {
		t.Errorf("%d hosts", len(hs.byName))
	}
}

func TestMirrors(t *testing.T) {
	const mirror, second = "mirror.example", "second.example"
	for _, c := range []struct {
		name          string
		first, secnd  http.HandlerFunc
		upstream      http.HandlerFunc
		want          fault.Kind
		asked         []string
		wantFromFirst bool
	}{
		{"the first has it", whole([]byte("1")), nil, nil, 0, []string{"mirror.example /v2/app/manifests/1"}, true},
		{"the second has it", status(404), whole([]byte("2")), nil, 0, []string{"mirror.example /v2/app/manifests/1", "second.example /v2/proxy/hub/app/manifests/1"}, false},
		{"only the registry has it", status(429), status(500), whole([]byte("3")), 0, []string{"mirror.example /v2/app/manifests/1", "second.example /v2/proxy/hub/app/manifests/1", "registry.example /v2/app/manifests/1"}, false},
		{"nobody has it", status(500), status(403), status(404), fault.NotFound, []string{"mirror.example /v2/app/manifests/1", "second.example /v2/proxy/hub/app/manifests/1", "registry.example /v2/app/manifests/1"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMemoryNet()
				var asked []string
				for host, h := range map[string]http.HandlerFunc{mirror: c.first, second: c.secnd, testHost: c.upstream} {
					m.serve(t, host, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						asked = append(asked, r.Host+" "+r.URL.Path)
						h(w, r)
					}))
				}
				cl := m.client(t, Config{Mirrors: map[string][]string{testHost: {mirror, "http://second.example/proxy/hub/"}}})
				err := manifestOf(t.Context(), cl, "app")
				if c.want != fault.Unknown {
					wantKind(t, err, c.want)
				} else if err != nil {
					t.Error(err)
				}
				if !slices.Equal(asked, c.asked) {
					t.Errorf("asked %q", asked)
				}
			})
		})
	}
}
