package oci

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
)

// schema1JSON returns a schema 1 manifest of layers, topmost first; true for those that are throwaways.
func schema1JSON(t testing.TB, layers []digest.Digest, throwaway []bool) string {
	t.Helper()
	m := map[string]any{"schemaVersion": 1, "name": "team/app", "tag": "1", "architecture": "amd64"}
	var fsLayers, history []map[string]string
	for i, d := range layers {
		fsLayers = append(fsLayers, map[string]string{"blobSum": d.String()})
		step := map[string]any{"id": fmt.Sprint(i), "created": "2015-03-19T12:00:00.5Z"}
		if throwaway[i] {
			step["throwaway"] = true
		}
		if i == 0 {
			step["os"], step["architecture"] = "linux", "amd64"
		}
		history = append(history, map[string]string{"v1Compatibility": mustJSON(t, step)})
	}
	m["fsLayers"], m["history"] = fsLayers, history
	b, err := json.MarshalIndent(m, "", "   ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sign signs a JSON document as Docker did: in place, with the signature before the last brace.
func sign(t testing.TB, payload string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	body := strings.TrimRight(strings.TrimSuffix(strings.TrimRight(payload, "\n"), "}"), "\n")
	tail := payload[len(body):]
	protected := encode([]byte(mustJSON(t, map[string]any{"formatLength": len(body), "formatTail": encode([]byte(tail)), "time": "2015-03-19T12:00:00Z"})))
	sum := sha256.Sum256([]byte(protected + "." + encode([]byte(payload))))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	pad := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
	signature := mustJSON(t, []map[string]any{{
		"header":    map[string]any{"jwk": map[string]string{"crv": "P-256", "kty": "EC", "x": encode(point[1:33]), "y": encode(point[33:])}, "alg": "ES256"},
		"signature": encode(append(pad(r), pad(s)...)),
		"protected": protected,
	}})
	return body + ",\n   \"signatures\": " + signature + tail
}

func TestSchema1(t *testing.T) {
	empty := digest.Empty[0]
	base, middle, top := digest.SHA256([]byte("base")), digest.SHA256([]byte("middle")), digest.SHA256([]byte("top"))
	payload := schema1JSON(t, []digest.Digest{empty, top, empty, middle, base}, []bool{true, false, true, true, false})
	want := []Layer{
		{Digest: base, MediaType: "application/vnd.docker.container.image.rootfs.diff+x-gtar"},
		{Digest: top, MediaType: "application/vnd.docker.container.image.rootfs.diff+x-gtar"},
	}
	for _, c := range []struct{ name, contentType, body string }{
		{"signed", typeSchema1Signed, sign(t, payload)},
		{"unsigned", typeSchema1, payload},
		{"announced as something else", "application/json; charset=utf-8", sign(t, payload)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTestRegistry(t)
			asked := ""
			r.before = func(w http.ResponseWriter, req *http.Request) bool {
				asked = req.URL.Path
				w.Header().Set("Content-Type", c.contentType)
				w.Header().Set("Docker-Content-Digest", digest.SHA256([]byte(payload)).String())
				io.WriteString(w, c.body)
				return true
			}
			for _, ref := range []string{":1", "@" + digest.SHA256([]byte(payload)).String()} {
				got, err := r.client(Config{}).Resolve(t.Context(), r.target(ref), nil)
				if err != nil {
					t.Fatal(err)
				}
				image := got.Images[0]
				if image.Digest != digest.SHA256([]byte(payload)) || image.Platform != amd64 || image.Created.Year() != 2015 {
					t.Errorf("got %+v, asked %s", got, asked)
				}
				if diff := cmp.Diff(want, image.Layers, cmp.Comparer(func(a, b digest.Digest) bool { return a == b })); diff != "" {
					t.Errorf("layers (-want +got):\n%s", diff)
				}
			}
			_, err := r.client(Config{}).Resolve(t.Context(), r.target("@"+digest.SHA256([]byte("x")).String()), nil)
			wantKind(t, err, fault.Corrupt, "digest mismatch")
		})
	}
}

// A signature that covers another document than the one around it does not smuggle that one in.
func TestSchema1ReadsThePayload(t *testing.T) {
	good := schema1JSON(t, []digest.Digest{digest.SHA256([]byte("good"))}, []bool{false})
	evil := schema1JSON(t, []digest.Digest{digest.SHA256([]byte("evil"))}, []bool{false})
	encode := base64.RawURLEncoding.EncodeToString
	protected := encode([]byte(mustJSON(t, map[string]any{"formatLength": 0, "formatTail": encode([]byte(good))})))
	raw := strings.TrimSuffix(evil, "\n}") + `,"signatures":[{"protected":"` + protected + `"}]` + strings.Repeat(" ", len(good)) + "}"
	doc, d, err := readDocument([]byte(raw), typeSchema1Signed, digest.SHA256([]byte(good)))
	if err != nil || d != digest.SHA256([]byte(good)) || doc.schema1.layers[0] != digest.SHA256([]byte("good")) {
		t.Errorf("got %+v, %v, %v", doc.schema1, d, err)
	}
}

func TestSchema1Trouble(t *testing.T) {
	good := schema1JSON(t, []digest.Digest{digest.SHA256([]byte("a"))}, []bool{false})
	protected := func(s string) string {
		return `{"schemaVersion":1,"signatures":[{"protected":"` + base64.RawURLEncoding.EncodeToString([]byte(s)) + `"}]}`
	}
	for name, raw := range map[string]string{
		"no layers":                   `{"schemaVersion":1}`,
		"more history than layers":    strings.Replace(good, `"history": [`, `"history": [{"v1Compatibility":"{}"},`, 1),
		"a digest that is none":       strings.Replace(good, "sha256:", "md5:", 1),
		"a header that is not base64": `{"schemaVersion":1,"signatures":[{"protected":"!"}]}`,
		"a header that is not JSON":   protected("x"),
		"a length too large":          protected(`{"formatLength":9999}`),
		"a length too small":          protected(`{"formatLength":-1}`),
		"a tail that is not base64":   protected(`{"formatTail":"!"}`),
		"a payload of schema 2":       `{"schemaVersion":1,"fsLayers":[{"blobSum":"` + digest.SHA256(nil).String() + `"}],"history":[{}],"signatures":[]}x`,
	} {
		if _, _, err := readDocument([]byte(raw), typeSchema1Signed, digest.Digest{}); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A step that cannot be read is one like any other.
	odd := strings.Replace(good, `"v1Compatibility": "`, `"v1Compatibility": "x`, 1)
	if doc, _, err := readDocument([]byte(odd), typeSchema1, digest.Digest{}); err != nil || len(doc.schema1.layers) != 1 {
		t.Errorf("odd history: %+v, %v", doc.schema1, err)
	}
}
