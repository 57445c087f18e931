package api

import (
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/trawl-scanner/trawl/pkg/advisory"
	"github.com/trawl-scanner/trawl/pkg/report"
)

// Description returns the OpenAPI document that /openapi.json answers, for a version of the program.
func Description(version string) *huma.OpenAPI {
	h := humago.New(http.NewServeMux(), openAPI(version))
	register(h, &API{})
	return h.OpenAPI()
}

// openAPI returns the head of the description.
func openAPI(version string) huma.Config {
	config := huma.DefaultConfig("Trawl", version)
	config.Info.Description = "Finds known vulnerabilities in container images."
	config.Components.Schemas = huma.NewMapRegistry("#/components/schemas/", schemaName)
	// Answers get more fields in time, and who reads them has to expect that. Requests say that they take no others.
	config.AllowAdditionalPropertiesByDefault = true
	config.CreateHooks = nil // no "$schema" in each answer: a report is the same wherever it comes from
	config.Transformers = append(config.Transformers, withType)
	config.Tags = []*huma.Tag{
		{Name: "submissions", Description: "Have images scanned."},
		{Name: "images", Description: "What is known of images."},
		{Name: "watches", Description: "References that are scanned again when they move."},
		{Name: "feeds", Description: "Sources of advisories."},
		{Name: "cluster", Description: "The service itself."},
	}
	return config
}

// schemaName names a type in the description. The parts of a report share names with other things: Image, Layer,
// Source.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.PkgPath() == reflect.TypeFor[report.Report]().PkgPath() && t.Name() != "Report" {
		return "Report" + name
	}
	return name
}

// pendingReport describes the answer of an image that has no result yet.
func pendingReport(h huma.API) *huma.Response {
	schema := h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[report.Report](), true, "Report")
	return &huma.Response{
		Description: "There is no result yet; ask again.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: schema}},
		Headers:     map[string]*huma.Param{"Retry-After": {Schema: &huma.Schema{Type: huma.TypeString}, Description: "Seconds"}},
	}
}

// register lists every operation. The description is made of this list and of the types of its handlers.
func register(h huma.API, a *API) {
	huma.Register(h, huma.Operation{
		OperationID: "submit", Method: http.MethodPost, Path: "/api/v1/submissions", Tags: []string{"submissions"},
		Summary: "Have a reference scanned", DefaultStatus: http.StatusAccepted,
		Errors: []int{http.StatusUnprocessableEntity, http.StatusServiceUnavailable},
	}, a.submit)
	huma.Register(h, huma.Operation{
		OperationID: "upload", Method: http.MethodPost, Path: "/api/v1/archives", Tags: []string{"submissions"},
		Summary: "Have an archive scanned", DefaultStatus: http.StatusAccepted,
		Description: "The body is the archive: of docker save, an OCI layout as tar, an ACI, or a tar of a root file system, compressed or not.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}},
		Errors: []int{http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity},
	}, a.upload)
	huma.Register(h, huma.Operation{
		OperationID: "submission", Method: http.MethodGet, Path: "/api/v1/submissions/{id}", Tags: []string{"submissions"},
		Summary: "How far a submission is", Errors: []int{http.StatusNotFound},
	}, a.submission)
	registerEvents(h, a)
	huma.Register(h, huma.Operation{
		OperationID: "images", Method: http.MethodGet, Path: "/api/v1/images", Tags: []string{"images"},
		Summary: "The images that a reference points at", Errors: []int{http.StatusNotFound},
	}, a.images)
	huma.Register(h, huma.Operation{
		OperationID: "image", Method: http.MethodGet, Path: "/api/v1/images/{digest}", Tags: []string{"images"},
		Summary: "How far an image is", Errors: []int{http.StatusNotFound},
	}, a.image)
	huma.Register(h, huma.Operation{
		OperationID: "report", Method: http.MethodGet, Path: "/api/v1/images/{digest}/report", Tags: []string{"images"},
		Summary:     "The report of an image, correlated as of now",
		Description: "202 means that there is no result yet.",
		Responses:   map[string]*huma.Response{"202": pendingReport(h)},
		Errors:      []int{http.StatusNotFound},
	}, a.report)
	huma.Register(h, huma.Operation{
		OperationID: "layers", Method: http.MethodGet, Path: "/api/v1/images/{digest}/layers", Tags: []string{"images"},
		Summary: "The layers of an image, base first", Errors: []int{http.StatusNotFound},
	}, a.layers)
	registerWatches(h, a)
	huma.Register(h, huma.Operation{
		OperationID: "feeds", Method: http.MethodGet, Path: "/api/v1/feeds", Tags: []string{"feeds"},
		Summary: "The sources of advisories and how old their data is",
	}, a.feeds)
	huma.Register(h, huma.Operation{
		OperationID: "update-feeds", Method: http.MethodPost, Path: "/api/v1/feeds/update", Tags: []string{"feeds"},
		Summary: "Ask for sources to be read now", DefaultStatus: http.StatusAccepted, Errors: []int{http.StatusNotFound},
	}, a.updateFeeds)
	huma.Register(h, huma.Operation{
		OperationID: "status", Method: http.MethodGet, Path: "/api/v1/status", Tags: []string{"cluster"},
		Summary: "Leader, members, shards and backlog",
	}, a.status)
	registerRequeue(h, a)
	refine(h.OpenAPI())
}

// requestBodies are the schemas of what clients send; all others are of what they get.
var requestBodies = map[string]bool{"NewSubmission": true, "Requeue": true, "NewWatch": true, "FeedUpdate": true}

// refine says in the description what types do not tell: which words a text can be, and that lists in answers are
// never null.
func refine(d *huma.OpenAPI) {
	schemas := d.Components.Schemas.Map()
	for _, field := range []string{"type", "instance"} { // huma says "uri", which must not be relative
		schemas["ErrorModel"].Properties[field].Format = "uri-reference"
	}
	for at, words := range words() {
		schemas[at.schema].Properties[at.field].Enum = words
	}
	for name, schema := range schemas {
		for _, property := range schema.Properties {
			property.Nullable = property.Nullable && (property.Type != huma.TypeArray || requestBodies[name])
		}
	}
	for _, path := range d.Paths {
		for _, operation := range []*huma.Operation{path.Get, path.Post, path.Put} {
			if operation == nil {
				continue
			}
			for _, response := range operation.Responses {
				if body := response.Content["application/json"]; body != nil && body.Schema.Type == huma.TypeArray {
					body.Schema.Nullable = false
				}
			}
		}
	}
}

// field is one field of one schema.
type field struct{ schema, field string }

// words returns the texts that are one of a few words. Within version 1 none is added.
func words() map[field][]any {
	var severities, statuses []any
	for _, s := range advisory.Severities() {
		severities = append(severities, s.String())
	}
	for s := advisory.UnderInvestigation; s < advisory.NotAffected; s++ {
		statuses = append(statuses, s.String())
	}
	return map[field][]any{
		{"Report", "state"}:           {report.Pending, report.Complete, report.Incomplete},
		{"ReportLayer", "state"}:      {"pending", "analyzed", "failed"},
		{"ReportFinding", "severity"}: severities,
		{"ReportFinding", "state"}:    statuses,
		{"ReportCoverage", "status"}: {
			report.Covered, report.Partial, report.NotYetRead, report.NoSource, report.NoDistribution, report.NoPackages,
		},
	}
}
