package gcs_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	"github.com/prairielambda/prairielambda/internal/blob"
	"github.com/prairielambda/prairielambda/internal/blob/blobtest"
	"github.com/prairielambda/prairielambda/internal/blob/gcs"
)

func client(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) *storage.Client {
	srv, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", PublicHost: "127.0.0.1"})
	require.NoError(t, err)
	t.Cleanup(srv.Stop)
	srv.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "b"})
	var rt http.RoundTripper = &http.Transport{}
	if wrap != nil {
		rt = wrap(rt)
	}
	c, err := storage.NewClient(t.Context(), option.WithEndpoint(srv.URL()+"/storage/v1/"), option.WithHTTPClient(&http.Client{Transport: rt}), storage.WithJSONReads())
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestConformance(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store { return gcs.Blobs(gcs.New(client(t, nil), "b", "some/prefix/")) })
}

func TestAMissingBucketIsNotAMissingBlob(t *testing.T) {
	s := gcs.Blobs(gcs.New(client(t, nil), "other", ""))
	_, err := s.Fetch(t.Context(), blob.Sum(nil))
	require.Error(t, err)
	require.NotErrorIs(t, err, blob.ErrNotFound)
	require.ErrorContains(t, err, "other")
	require.Error(t, s.List(t.Context(), func(blob.Info) error { return nil }))
}

// flaky fails a share of the requests, before or after they reached the server.
type flaky struct {
	next  http.RoundTripper
	count *atomic.Int64
}

func (f flaky) RoundTrip(r *http.Request) (*http.Response, error) {
	switch n := f.count.Add(1); {
	case n%5 == 0:
		return &http.Response{StatusCode: 503, Status: "503 flaky", Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	case n%7 == 0: // done, but the answer is lost
		resp, err := f.next.RoundTrip(r)
		if err == nil {
			resp.Body.Close()
		}
		return nil, fmt.Errorf("connection reset by peer: %w", context.DeadlineExceeded)
	}
	return f.next.RoundTrip(r)
}

func TestFlakyServerLosesNothing(t *testing.T) {
	var n atomic.Int64
	c := client(t, func(next http.RoundTripper) http.RoundTripper { return flaky{next, &n} })
	s := blob.Verified(gcs.Blobs(gcs.New(c, "b", "")))
	for i := range 12 {
		b := bytes.Repeat([]byte{byte(i)}, 1000*(i+1))
		require.NoError(t, s.Put(t.Context(), blob.Sum(b), b))
		got, err := s.Fetch(t.Context(), blob.Sum(b))
		require.NoError(t, err)
		require.Equal(t, b, got)
	}
}

func TestAnUploadInManyRequests(t *testing.T) {
	s := blob.Verified(gcs.Blobs(gcs.New(client(t, nil), "b", "")))
	b := make([]byte, 20<<20) // random enough not to shrink below the threshold
	for i, x := 0, uint64(1); i < len(b); i++ {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	require.NoError(t, s.Put(t.Context(), blob.Sum(b), b))
	got, err := s.Fetch(t.Context(), blob.Sum(b))
	require.NoError(t, err)
	require.True(t, bytes.Equal(b, got))
}

// TestAnUploadCutOff: an upload whose writer is killed in the middle leaves no
// object, and the next one succeeds.
func TestAnUploadCutOff(t *testing.T) {
	var cut atomic.Bool
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c := client(t, func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Content-Range") != "" && !cut.Swap(true) {
				cancel() // the process dies with its first chunk under way
			}
			return next.RoundTrip(r)
		})
	})
	s := gcs.Blobs(gcs.New(c, "b", ""))
	b := make([]byte, 20<<20)
	for i, x := 0, uint64(7); i < len(b); i++ {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	d := blob.Sum(b)
	require.Error(t, s.Put(ctx, d, b))
	require.True(t, cut.Load(), "the upload was one of many requests")
	_, err := s.Fetch(t.Context(), d)
	require.ErrorIs(t, err, blob.ErrNotFound)
	require.NoError(t, s.Put(t.Context(), d, b))
	_, err = s.Fetch(t.Context(), d)
	require.NoError(t, err)
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestAnExpiredToken: a refusal is an error at once, names the object, and is
// never "not found".
func TestAnExpiredToken(t *testing.T) {
	var n atomic.Int64
	c := client(t, func(http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			n.Add(1)
			if r.Body != nil {
				r.Body.Close()
			}
			return &http.Response{StatusCode: 401, Status: "401 Unauthorized", Body: http.NoBody, Header: http.Header{}, Request: r}, nil
		})
	})
	s := gcs.Blobs(gcs.New(c, "b", ""))
	d := blob.Sum([]byte("x"))
	for _, err := range []error{s.Put(t.Context(), d, []byte("x")), second(s.Fetch(t.Context(), d)), second(s.Probe(t.Context(), []blob.Digest{d}))} {
		require.ErrorContains(t, err, "401")
		require.ErrorContains(t, err, d.String())
		require.NotErrorIs(t, err, blob.ErrNotFound)
	}
	require.LessOrEqual(t, n.Load(), int64(4), "no retries")
}

func second[T any](_ T, err error) error { return err }
