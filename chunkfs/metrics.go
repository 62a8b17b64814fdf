package chunkfs

import (
	"bytes"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// Collector shows the mount's state to Prometheus.
func (f *FS) Collector() prometheus.Collector { return collector{f} }

type collector struct{ fs *FS }

var (
	descRequests = prometheus.NewDesc("chunkfs_requests_total", "Requests of the kernel.", []string{"op"}, nil)
	descErrors   = prometheus.NewDesc("chunkfs_errors_total", "Requests answered EIO.", nil, nil)
	descHits     = prometheus.NewDesc("chunkfs_cache_hits_total", "Reads that needed no store.", []string{"tier"}, nil)
	descMisses   = prometheus.NewDesc("chunkfs_cache_misses_total", "Blobs fetched from the store.", nil, nil)
	descFailures = prometheus.NewDesc("chunkfs_fetch_failures_total", "Fetches that failed.", nil, nil)
	descAhead    = prometheus.NewDesc("chunkfs_prefetches_total", "Fetches started before a reader came.", nil, nil)
	descFetched  = prometheus.NewDesc("chunkfs_fetched_bytes_total", "Bytes fetched from the store, uncompressed.", nil, nil)
	descLatency  = prometheus.NewDesc("chunkfs_fetch_seconds", "Time of a fetch.", nil, nil)
	descEvicted  = prometheus.NewDesc("chunkfs_cache_evictions_total", "Files evicted from the cache.", nil, nil)
	descBad      = prometheus.NewDesc("chunkfs_cache_quarantined_total", "Cache files that were not what they had been.", nil, nil)
	descDisk     = prometheus.NewDesc("chunkfs_disk_errors_total", "System calls on the cache's disk that failed.", nil, nil)
	descUncached = prometheus.NewDesc("chunkfs_uncached_total", "Blobs served that did not fit into the cache.", nil, nil)
	descBytes    = prometheus.NewDesc("chunkfs_cache_bytes", "Allocated bytes of the cache.", []string{"state"}, nil)
	descFiles    = prometheus.NewDesc("chunkfs_cache_files", "Files of the cache.", []string{"state"}, nil)
	descMemory   = prometheus.NewDesc("chunkfs_memory_bytes", "Memory that holds content.", []string{"what"}, nil)
	descVersions = prometheus.NewDesc("chunkfs_versions", "Versions that the mount knows.", nil, nil)
	descBreaker  = prometheus.NewDesc("chunkfs_breaker_open", "1 while misses fail at once because the store does not answer.", nil, nil)
	descHedges   = prometheus.NewDesc("chunkfs_hedged_gets_total", "GETs that were asked a second time.", nil, nil)
)

// Describe sends nothing: the metrics are those that Collect sends.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads counters; it waits for nobody.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.fs.Status()
	counter := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	for op, n := range s.Requests {
		counter(descRequests, n, op)
	}
	counter(descErrors, s.Errors)
	counter(descHits, s.Cache.MemoryHits, "memory")
	counter(descHits, s.Cache.DiskHits, "disk")
	counter(descMisses, s.Cache.Misses)
	counter(descFailures, s.Cache.Failures)
	counter(descAhead, s.Cache.Prefetches)
	counter(descFetched, s.Cache.FetchedBytes)
	ch <- prometheus.MustNewConstHistogram(descLatency, uint64(s.Cache.Fetches), s.Cache.FetchSeconds, s.Cache.FetchBuckets)
	counter(descEvicted, s.Cache.Evictions)
	counter(descBad, s.Cache.Quarantined)
	counter(descDisk, s.Cache.DiskErrors)
	counter(descUncached, s.Cache.Uncached)
	gauge(descBytes, s.Cache.Bytes, "used")
	gauge(descBytes, s.Cache.Reserved, "reserved")
	gauge(descBytes, s.Cache.MaxBytes, "limit")
	gauge(descFiles, s.Cache.Files, "used")
	gauge(descFiles, s.Cache.MaxFiles, "limit")
	gauge(descMemory, s.Cache.MemoryBytes, "blobs")
	gauge(descMemory, s.ManifestBytes, "manifests")
	gauge(descVersions, int64(s.Versions))
	if s.Origin != nil {
		open := int64(0)
		if s.Origin.Open {
			open = 1
		}
		gauge(descBreaker, open)
		counter(descHedges, s.Origin.Hedges)
	}
}

// metricsText is the same for cat.
func (f *FS) metricsText() []byte {
	reg := prometheus.NewRegistry()
	reg.MustRegister(f.Collector())
	families, err := reg.Gather()
	if err != nil {
		return []byte("# " + err.Error() + "\n")
	}
	var b bytes.Buffer
	for _, mf := range families {
		if _, err := expfmt.MetricFamilyToText(&b, mf); err != nil {
			return []byte("# " + err.Error() + "\n")
		}
	}
	return b.Bytes()
}
