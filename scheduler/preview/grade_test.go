package preview

import (
	"context"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/question"
)

// What a worker has no room for is no fault of the question, and can be sent again.
func TestABusyGraderIsNotTheQuestionsFault(t *testing.T) {
	answer := &jobs.Error{Code: "busy", Message: "no room", Retryable: true}
	page, err := New(t.Context(), Config{
		Dir: t.TempDir(),
		Files: func(string) fs.FS {
			return fstest.MapFS{"questions/q/info.json": {Data: []byte(`{"title": "Q", "gradingMethod": "External", "externalGradingOptions": {"enabled": true}}`)}}
		},
		Grade: func(context.Context, *jobs.Grading) (*jobs.Grade, string, error) { return nil, "", answer },
	})
	require.NoError(t, err)
	defer page.Close()
	v, err := page.store.keep(t.Context(), "q", "v", &question.Variant{})
	require.NoError(t, err)
	id, err := page.store.submit(t.Context(), v.ID, &question.Submission{Gradable: true})
	require.NoError(t, err)

	require.ErrorIs(t, page.grade(t.Context(), id), answer)
	sub, err := page.store.submission(t.Context(), id)
	require.NoError(t, err)
	require.Empty(t, sub.Steps)

	answer.Code, answer.Retryable = "environment_missing", false
	require.NoError(t, page.grade(t.Context(), id))
	sub, err = page.store.submission(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "no room", sub.Steps[0].Message)
}
