package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/trawl-scanner/trawl/pkg/digest"
	"github.com/trawl-scanner/trawl/pkg/store"
)

// Rate is how fast work was done lately.
type Rate struct {
	Seconds         int     `json:"seconds" doc:"That it is measured over"`
	ImagesPerSecond float64 `json:"imagesPerSecond" doc:"That got a result"`
	LayersPerSecond float64 `json:"layersPerSecond" doc:"That were analyzed"`
}

// Budget is what is known of what a registry allows.
type Budget struct {
	Host        string     `json:"host"`
	Kind        string     `json:"kind" enum:"manifest,blob,token" doc:"Of request, which registries count apart"`
	Account     string     `json:"account,omitempty" doc:"Whose credential is used; empty for nobody's. A token that has no name is called by the beginning of its SHA-256"`
	PausedUntil *time.Time `json:"pausedUntil,omitempty" doc:"Nobody asks before"`
	Reason      string     `json:"reason,omitempty" doc:"Why it is paused"`
	Limit       *int64     `json:"limit,omitempty" doc:"Requests that the registry says it allows in each window"`
	Remaining   *int64     `json:"remaining,omitempty" doc:"Of them, as it last said"`
	Seconds     int        `json:"seconds,omitempty" doc:"The window"`
	Observed    *time.Time `json:"observed,omitempty" doc:"When it last said"`
}

func budgetViews(budgets []store.Budget) []Budget {
	out := []Budget{}
	for _, b := range budgets {
		view := Budget{Host: b.Host, Kind: b.Kind, Account: b.Name, Seconds: int(b.Window / time.Second), Observed: timeOrNil(b.Observed)}
		if b.PausedUntil.After(time.Now()) {
			view.PausedUntil, view.Reason = timeOrNil(b.PausedUntil), b.Reason
		}
		if b.Limit >= 0 {
			view.Limit = &b.Limit
		}
		if b.Remaining >= 0 {
			view.Remaining = &b.Remaining
		}
		out = append(out, view)
	}
	return out
}

// Attention is what somebody may want to look at, of each kind the first.
type Attention struct {
	Parked []Matter `json:"parked" doc:"Waits for a time, the next first"`
	Failed []Matter `json:"failed" doc:"Given up, until it is requeued or asked for again"`
	Stuck  []Matter `json:"stuck" doc:"Ought to have gone on, the oldest first"`
}

// Matter is a submission or a layer.
type Matter struct {
	Kind       string        `json:"kind" enum:"image,layer" doc:"image: a submission, whose images are not known yet"`
	Submission string        `json:"submission,omitempty"`
	Layer      digest.Digest `json:"layer,omitzero"`
	Target     string        `json:"target,omitempty" doc:"Of a submission; of a layer a repository that has it"`
	Lane       string        `json:"lane" enum:"now,bulk"`
	Attempts   int           `json:"attempts" doc:"That failed"`
	Since      *time.Time    `json:"since,omitempty" doc:"When it was sent, or made"`
	Until      *time.Time    `json:"until,omitempty" doc:"When it is tried again"`
	Problem    *Problem      `json:"problem,omitempty" doc:"Of the last attempt that failed"`
}

func matterViews(matters []store.Matter) []Matter {
	out := []Matter{}
	for _, m := range matters {
		view := Matter{
			Kind: m.Kind, Submission: m.Submission, Layer: m.Layer, Target: m.Target, Lane: m.Lane.String(), Attempts: m.Attempts,
			Since: timeOrNil(m.Since), Until: timeOrNil(m.Until),
		}
		if m.Problem != nil {
			view.Problem = &Problem{Kind: m.Problem.Kind, Reason: m.Problem.Reason}
		}
		out = append(out, view)
	}
	return out
}

// Work that is under way longer than overdue is looked at, and of everything the first attentionLimit are listed.
const (
	overdue        = 10 * time.Minute
	attentionLimit = 20
)

// rateWindows are what rates are measured over.
var rateWindows = []time.Duration{time.Minute, 5 * time.Minute}

type statusOutput struct{ Body Status }

func (a *API) status(ctx context.Context, _ *struct{}) (*statusOutput, error) {
	out := &statusOutput{Body: Status{Version: a.config.Version, Rates: []Rate{}, Budgets: []Budget{}}}
	if err := a.storedStatus(ctx, &out.Body); err != nil {
		return nil, a.problem(ctx, err)
	}
	out.Body.Cluster.Members = []Member{}
	if a.config.Cluster != nil {
		var err error
		if out.Body.Cluster, err = a.config.Cluster(ctx); err != nil {
			a.log.Warn("cannot read the state of the cluster", "error", err)
		}
	}
	return out, nil
}

// storedStatus fills in what the database knows.
func (a *API) storedStatus(ctx context.Context, out *Status) error {
	backlog, err := a.config.Store.Backlog(ctx)
	if err != nil {
		return err
	}
	totals, err := a.config.Store.Totals(ctx)
	if err != nil {
		return err
	}
	attention, err := a.config.Store.Attention(ctx, overdue, attentionLimit)
	if err != nil {
		return err
	}
	done, err := a.config.Store.Rates(ctx, rateWindows...)
	if err != nil {
		return err
	}
	out.Backlog = Backlog{
		SubmissionsQueued: backlog.SubmissionsQueued, SubmissionsParked: backlog.SubmissionsParked, SubmissionsFailed: attention.SubmissionsFailed,
		ImagesPending: backlog.ImagesPending, LayersUnsent: backlog.LayersUnsent, LayersParked: backlog.LayersParked,
		LayersSent: backlog.LayersSent, LayersFailed: backlog.LayersFailed, Oldest: timeOrNil(backlog.Oldest),
	}
	budgets, err := a.config.Store.Budgets(ctx)
	if err != nil {
		return err
	}
	out.Totals, out.Budgets = Totals(totals), budgetViews(budgets)
	out.Attention = Attention{
		Parked: matterViews(attention.Parked), Failed: matterViews(attention.Failed), Stuck: matterViews(attention.Stuck),
	}
	for i, window := range rateWindows {
		seconds := window.Seconds()
		out.Rates = append(out.Rates, Rate{
			Seconds: int(seconds), ImagesPerSecond: float64(done[i].Images) / seconds, LayersPerSecond: float64(done[i].Layers) / seconds,
		})
	}
	return nil
}

// Requeue is the body of a request to try again what was given up. What fits one of the fields is taken.
type Requeue struct {
	_          struct{} `additionalProperties:"false"`
	All        bool     `json:"all,omitempty" doc:"Everything that was given up"`
	Digests    []string `json:"digests,omitempty" maxItems:"1000" doc:"Of layers, or of images whose layers are meant"`
	References []string `json:"references,omitempty" maxItems:"1000" doc:"As they were asked for, or in canonical form"`
	Reason     string   `json:"reason,omitempty" maxLength:"1000" doc:"A part of the reason for which it was given up"`
	DryRun     bool     `json:"dryRun,omitempty" doc:"Tell what would be done, and do nothing"`
}

// Requeued is what is tried again.
type Requeued struct {
	Submissions []Matter `json:"submissions"`
	Layers      []Matter `json:"layers"`
	More        bool     `json:"more" doc:"There may be more that fits: ask again"`
}

type (
	requeueInput  struct{ Body Requeue }
	requeueOutput struct{ Body Requeued }
)

func registerRequeue(h huma.API, a *API) {
	huma.Register(h, huma.Operation{
		OperationID: "requeue", Method: http.MethodPost, Path: "/api/v1/requeue", Tags: []string{"cluster"},
		Summary: "Try again what was given up",
		Description: "Submissions and layers that failed get their attempts back and are sent again within seconds; images keep their result until they have a new one. " +
			"A request takes a bounded number of them, and says whether there are more.",
		Errors: []int{http.StatusUnprocessableEntity},
	}, a.requeue)
}

func (a *API) requeue(ctx context.Context, in *requeueInput) (*requeueOutput, error) {
	filter := store.Requeue{All: in.Body.All, References: in.Body.References, Reason: in.Body.Reason, DryRun: in.Body.DryRun}
	for _, text := range in.Body.Digests {
		d, err := digest.Parse(text)
		if err != nil {
			return nil, a.problem(ctx, err)
		}
		filter.Digests = append(filter.Digests, d)
	}
	submissions, layers, err := a.config.Store.Requeue(ctx, filter)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	if !filter.DryRun {
		a.log.Info("requeued what was given up", "submissions", len(submissions), "layers", len(layers))
	}
	return &requeueOutput{Body: Requeued{
		Submissions: matterViews(submissions), Layers: matterViews(layers),
		More: max(len(submissions), len(layers)) == store.RequeueLimit,
	}}, nil
}
