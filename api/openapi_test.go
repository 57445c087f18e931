package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/trawl-scanner/trawl/api"
	"github.com/trawl-scanner/trawl/pkg/cluster/clustertest"
)

var update = flag.Bool("update", false, "write the golden files")

// description returns the OpenAPI document, indented and decoded.
var description = sync.OnceValues(func() ([]byte, map[string]any) {
	compact, err := json.Marshal(api.Description("0.0.0"))
	if err != nil {
		panic(err)
	}
	var text bytes.Buffer
	if err := json.Indent(&text, compact, "", "  "); err != nil {
		panic(err)
	}
	var decoded map[string]any
	if err := json.Unmarshal(compact, &decoded); err != nil {
		panic(err)
	}
	text.WriteByte('\n')
	return text.Bytes(), decoded
})

// golden holds content against a file.
func golden(t *testing.T, name string, content []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(content)); diff != "" {
		t.Errorf("%s is not current; go test ./api -update writes it (-want +got):\n%s", name, diff)
	}
}

// TestOpenAPI pins what clients are written against.
func TestOpenAPI(t *testing.T) {
	text, document := description()
	golden(t, "openapi.golden.json", text)
	if v := document["openapi"]; v != "3.1.0" {
		t.Errorf("version %v", v)
	}
	compiler := newCompiler(t)
	ids := make(map[string]bool)
	for path, item := range document["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			o := operation.(map[string]any)
			id, _ := o["operationId"].(string)
			if id == "" || ids[id] || o["summary"] == "" {
				t.Errorf("%s %s: operation %q has no name or summary of its own", method, path, id)
			}
			ids[id] = true
			var declared []string
			parameters, _ := o["parameters"].([]any)
			for _, p := range parameters {
				if p := p.(map[string]any); p["in"] == "path" {
					declared = append(declared, p["name"].(string))
				}
			}
			var named []string
			for _, m := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
				named = append(named, m[1])
			}
			if !slices.Equal(named, declared) {
				t.Errorf("%s %s declares the parameters %v", method, path, declared)
			}
		}
	}
	for pointer := range schemaPointers(document, "") {
		if _, err := compiler.Compile(documentURL + "#" + pointer); err != nil {
			t.Errorf("%s: %v", pointer, err)
		}
	}
}

// TestReportSchema keeps the published JSON Schema of the report what the API answers.
func TestReportSchema(t *testing.T) {
	_, document := description()
	components := document["components"].(map[string]any)["schemas"].(map[string]any)
	defs := make(map[string]any)
	var collect func(any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if name := strings.TrimPrefix(ref, "#/components/schemas/"); defs[name] == nil {
					defs[name] = components[name]
					collect(components[name])
				}
			}
			for _, inner := range v {
				collect(inner)
			}
		case []any:
			for _, inner := range v {
				collect(inner)
			}
		}
	}
	collect(map[string]any{"$ref": "#/components/schemas/Report"})
	text, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"$id":     "https://github.com/trawl-scanner/trawl/schemas/report-1.json",
		"title":   "Report of Trawl about one image",
		"$ref":    "#/$defs/Report",
		"$defs":   defs,
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("#/components/schemas/"), []byte("#/$defs/"))
	golden(t, "report.schema.json", append(text, '\n'))

	c := jsonschema.NewCompiler()
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.AddResource("report.json", decoded); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Compile("report.json"); err != nil {
		t.Error(err)
	}
}

const documentURL = "https://trawl.example/openapi.json"

func newCompiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	text, _ := description()
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource(documentURL, decoded); err != nil {
		t.Fatal(err)
	}
	return c
}

// schemaPointers returns JSON pointers to all schemas of a document.
func schemaPointers(v any, at string) map[string]bool {
	out := make(map[string]bool)
	merge := func(more map[string]bool) {
		for p := range more {
			out[p] = true
		}
	}
	switch v := v.(type) {
	case map[string]any:
		for key, inner := range v {
			pointer := at + "/" + escape(key)
			if key == "schema" || strings.HasPrefix(pointer, "/components/schemas/") && strings.Count(pointer, "/") == 3 {
				out[pointer] = true
			}
			merge(schemaPointers(inner, pointer))
		}
	case []any:
		for i, inner := range v {
			merge(schemaPointers(inner, at+"/"+strconv.Itoa(i)))
		}
	}
	return out
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// checkContract holds an answer against what the description says of it.
func checkContract(t *testing.T, method, path string, a answer) {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	contentType, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if !strings.HasPrefix(path, "/api/") || !strings.Contains(contentType, "json") {
		return
	}
	_, document := description()
	for template, item := range document["paths"].(map[string]any) {
		pattern := regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		operation, ok := item.(map[string]any)[strings.ToLower(method)].(map[string]any)
		if !ok || !regexp.MustCompile("^"+pattern+"$").MatchString(path) {
			continue
		}
		responses := operation["responses"].(map[string]any)
		status := strconv.Itoa(a.status)
		if responses[status] == nil && a.status >= http.StatusBadRequest {
			status = "default"
			if responses[status] == nil {
				status = "500" // what is said of one problem is true of all
			}
		}
		pointer := fmt.Sprintf("#/paths/%s/%s/responses/%s/content/%s/schema",
			escape(template), strings.ToLower(method), status, escape(contentType))
		schema, err := newCompiler(t).Compile(documentURL + pointer)
		if err != nil {
			t.Errorf("%s %s: the description says nothing of answer %d, %s: %v", method, path, a.status, contentType, err)
			return
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%s %s: answer %d is not as described: %v\n%s", method, path, a.status, err, a.body)
		}
		return
	}
	if a.status < http.StatusBadRequest {
		t.Errorf("%s %s is not in the description", method, path)
	}
}

// TestServedDescription holds that what is served is what is pinned.
func TestServedDescription(t *testing.T) {
	s := start(t, options{idle: true, api: func(c *api.Config) { c.Version = "0.0.0" }})
	a := s.do(http.MethodGet, "/openapi.json", nil)
	var served map[string]any
	a.read(t, &served)
	_, want := description()
	if diff := cmp.Diff(want, served); diff != "" || a.header.Get("Content-Type") != "application/openapi+json" {
		t.Errorf("%s (-pinned +served):\n%s", a.header.Get("Content-Type"), diff)
	}
	if a := s.do(http.MethodGet, "/", nil); a.status != http.StatusFound || a.header.Get("Location") != "/docs" {
		t.Errorf("root: %d, to %q", a.status, a.header.Get("Location"))
	}
}

// TestDescribedAnswers holds every kind of answer against the description: those of other tests are, too.
func TestDescribedAnswers(t *testing.T) {
	s := start(t, options{})
	index := s.registry.Push(t, "app", "1", clustertest.Debian("zlib1g 1"), clustertest.Layer())
	s.scan(index)
	broken := s.registry.Push(t, "broken", "1", []byte("no layer at all"))
	done := s.scan(broken)
	for _, path := range []string{
		"/api/v1/submissions/" + done.ID, "/api/v1/images?reference=" + index, "/api/v1/feeds", "/api/v1/status",
		"/api/v1/images/" + done.Images[0].Digest.String(), "/api/v1/images/" + done.Images[0].Digest.String() + "/report",
		"/api/v1/images/" + done.Images[0].Digest.String() + "/layers",
	} {
		s.do(http.MethodGet, path, nil)
	}
	s.do(http.MethodPost, "/api/v1/feeds/update", "{}")
}
