package preview

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// At the end those who listen go first: what is being answered still has the database.
func TestListenersGoBeforeTheDatabase(t *testing.T) {
	page, err := New(t.Context(), Config{Dir: t.TempDir()})
	require.NoError(t, err)
	srv := httptest.NewServer(page)
	events, err := http.Get(srv.URL + "/events")
	require.NoError(t, err)
	defer events.Body.Close()
	stream := bufio.NewReader(events.Body)
	_, err = stream.ReadString('\n')
	require.NoError(t, err)
	page.Hush()
	_, err = io.Copy(io.Discard, stream)
	require.NoError(t, err, "the stream has an end")
	srv.Close() // which waits for every answer
	_, err = page.store.last(t.Context(), "q")
	require.NoError(t, err)
	require.NoError(t, page.Close())
}
