package oci

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/fault"
	"github.com/trawl-scanner/trawl/pkg/oci/registry"
	"github.com/trawl-scanner/trawl/pkg/oci/tarfile"
)

// Serve returns a handler that serves archives as repositories of a read-only registry
// (distribution-spec v1.1, "Pull"), so that other machines can read what was uploaded to this one.
// find returns the archive that is the repository of that name; its errors are answered by their kind.
//
// Any tag names the archive as a whole. Layers that an archive stores compressed and names by their
// diff ID are served inflated, so that the name is right; ranges are then not supported, nor are
// they for an archive that is compressed as a whole. Authentication is the caller's business.
func Serve(find func(ctx context.Context, name string) (*Archive, error)) http.Handler {
	return &server{find}
}

type server struct {
	find func(context.Context, string) (*Archive, error)
}

// ServeHTTP implements [http.Handler].
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answerError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/")
	if ok && path == "" {
		answer(w, r, "application/json", []byte("{}"))
		return
	}
	name, kind, ref, ok := splitPath(path)
	if !ok {
		answerError(w, http.StatusNotFound, "NAME_UNKNOWN", "no such address")
		return
	}
	a, err := s.find(r.Context(), name)
	if err != nil {
		answerFault(w, "NAME_UNKNOWN", err)
		return
	}
	if kind == "manifests" {
		a.serveManifest(w, r, ref)
		return
	}
	a.serveBlob(w, r, ref)
}

// splitPath splits "NAME/manifests/REF" and "NAME/blobs/DIGEST".
func splitPath(path string) (name, kind, ref string, ok bool) {
	rest, ref, ok := cutLast(path)
	if !ok {
		return "", "", "", false
	}
	name, kind, ok = cutLast(rest)
	if !ok || kind != "manifests" && kind != "blobs" {
		return "", "", "", false
	}
	_, err := registry.ParseRepository("x.example/" + name)
	return name, kind, ref, err == nil && ref != ""
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

func (a *Archive) serveManifest(w http.ResponseWriter, r *http.Request, ref string) {
	raw, mediaType, d := a.root.raw, a.root.mediaType, a.root.digest
	if asked, err := digest.Parse(ref); err == nil && asked != d {
		raw, _, err = a.holdings.manifest(r.Context(), asked)
		if err != nil {
			answerFault(w, "MANIFEST_UNKNOWN", err)
			return
		}
		doc, _, err := readDocument(raw, "", asked)
		if err != nil {
			answerFault(w, "MANIFEST_INVALID", err)
			return
		}
		mediaType, d = doc.mediaType, asked
	}
	w.Header().Set("Docker-Content-Digest", d.String())
	answer(w, r, string(mediaType), raw)
}

func (a *Archive) serveBlob(w http.ResponseWriter, r *http.Request, ref string) {
	d, err := digest.Parse(ref)
	if err != nil {
		answerError(w, http.StatusBadRequest, "DIGEST_INVALID", err.Error())
		return
	}
	s, ok := a.holdings.stat(d)
	if !ok {
		answerError(w, http.StatusNotFound, "BLOB_UNKNOWN", "not in the archive")
		return
	}
	w.Header().Set("Docker-Content-Digest", d.String())
	w.Header().Set("Content-Type", "application/octet-stream")
	inflate := s.diffID && s.compression != tarfile.None
	if r.Method == http.MethodHead {
		if !inflate { // else the length is not known
			w.Header().Set("Content-Length", strconv.FormatInt(s.size, 10))
		}
		return
	}
	blob, _, err := a.holdings.open(r.Context(), d)
	if err != nil {
		answerFault(w, "BLOB_UNKNOWN", err)
		return
	}
	defer blob.Close()
	if inflate {
		inflated, err := tarfile.Inflate(blob, s.compression)
		if err != nil {
			answerFault(w, "BLOB_UNKNOWN", err)
			return
		}
		defer inflated.Close()
		copyBody(w, inflated)
		return
	}
	if seeker, ok := blob.(io.ReadSeeker); ok {
		w.Header().Set("Etag", strconv.Quote(d.String()))
		http.ServeContent(w, r, "", time.Time{}, seeker)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(s.size, 10))
	copyBody(w, blob)
}

// copyBody sends a body. When its source fails the connection is cut: that it is incomplete must be
// seen.
func copyBody(w http.ResponseWriter, body io.Reader) {
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // how net/http is told to do so
	}
}

func answer(w http.ResponseWriter, r *http.Request, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body) //nolint:errcheck // the client is gone, which is its business
	}
}

// answerFault answers an error by its kind. What is in the error stays here: it names files.
func answerFault(w http.ResponseWriter, code string, err error) {
	status := http.StatusInternalServerError
	switch fault.KindOf(err) {
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Unavailable, fault.Conflict, fault.Canceled, fault.RateLimited:
		status, code = http.StatusServiceUnavailable, "UNAVAILABLE"
	case fault.Unauthorized:
		status, code = http.StatusForbidden, "DENIED"
	}
	answerError(w, status, code, fault.KindOf(err).String())
}

// answerError answers in the form of distribution-spec v1.1, "Error Codes".
func answerError(w http.ResponseWriter, status int, code, message string) {
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	body, err := json.Marshal(map[string][]item{"errors": {{code, message}}})
	if err != nil {
		body = fmt.Appendf(nil, "{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // as above
}
