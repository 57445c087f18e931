package api

import "context"

type feedsOutput struct{ Body []Source }

func (a *API) feeds(ctx context.Context, _ *struct{}) (*feedsOutput, error) {
	statuses, err := a.config.Store.SourceStatuses(ctx)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	out := &feedsOutput{Body: []Source{}}
	for _, s := range statuses {
		out.Body = append(out.Body, sourceView(s))
	}
	return out, nil
}

// FeedUpdate says which sources are to be read now.
type FeedUpdate struct {
	_       struct{} `additionalProperties:"false"`
	Sources []string `json:"sources,omitempty" maxItems:"100" doc:"Names; all by default"`
}

type updateFeedsInput struct {
	Body *FeedUpdate // nil asks for all sources
}

type updateFeedsOutput struct {
	Body struct {
		Requested []string `json:"requested" doc:"Sources that the updater was asked to run"`
	}
}

func (a *API) updateFeeds(ctx context.Context, in *updateFeedsInput) (*updateFeedsOutput, error) {
	if in.Body == nil {
		in.Body = new(FeedUpdate)
	}
	names, err := a.config.Store.RequestRun(ctx, in.Body.Sources)
	if err != nil {
		return nil, a.problem(ctx, err)
	}
	out := &updateFeedsOutput{}
	out.Body.Requested = names
	return out, nil
}
