package gcs_test

import (
	"net/http"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"
	"google.golang.org/api/option"

	blobgcs "github.com/prairielambda/prairielambda/internal/blob/gcs"
	"github.com/prairielambda/prairielambda/internal/head"
	"github.com/prairielambda/prairielambda/internal/head/gcs"
	"github.com/prairielambda/prairielambda/internal/head/headtest"
)

func TestConformance(t *testing.T) {
	headtest.Test(t, func(t *testing.T) head.Store {
		srv, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1", PublicHost: "127.0.0.1"})
		require.NoError(t, err)
		t.Cleanup(srv.Stop)
		srv.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "b"})
		c, err := storage.NewClient(t.Context(), option.WithEndpoint(srv.URL()+"/storage/v1/"), option.WithHTTPClient(&http.Client{Transport: &http.Transport{}}), storage.WithJSONReads())
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return gcs.New(blobgcs.New(c, "b", "p/"))
	})
}
