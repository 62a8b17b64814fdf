package scheduler_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/scheduler"
	"github.com/prairielambda/prairielambda/scheduler/fleet/fleettest"
)

func TestBrowsersThatWereTricked(t *testing.T) {
	w := fleettest.New(t, sample())
	_, url := gateway(t, scheduler.Config{Hosts: []string{"gateway.example"}, Origins: []string{"https://pl.example"}}, w)
	for name, tc := range map[string]struct {
		header []string
		want   int
	}{
		"plain":                    {nil, 200},
		"by name":                  {[]string{"Host", "gateway.example:7300"}, 200},
		"localhost":                {[]string{"Host", "LocalHost:7300"}, 200},
		"v6":                       {[]string{"Host", "[::1]:7300"}, 200},
		"curl -d":                  {[]string{"Content-Type", "application/x-www-form-urlencoded"}, 200},
		"vendor JSON":              {[]string{"Content-Type", "application/vnd.api+json; charset=utf-8"}, 200},
		"own page":                 {[]string{"Host", "localhost:80", "Origin", "http://localhost:80", "Sec-Fetch-Site", "same-origin"}, 200},
		"configured page":          {[]string{"Origin", "https://pl.example", "Sec-Fetch-Site", "cross-site"}, 200},
		"rebound name":             {[]string{"Host", "evil.example"}, 421},
		"rebound localhost":        {[]string{"Host", "localhost.evil.example"}, 421},
		"rebound address":          {[]string{"Host", "127.0.0.1.evil.example"}, 421},
		"foreign page":             {[]string{"Origin", "https://evil.example"}, 403},
		"sandboxed page":           {[]string{"Origin", "null"}, 403},
		"scheme of another kind":   {[]string{"Host", "localhost", "Origin", "file://localhost"}, 403},
		"page of another port":     {[]string{"Host", "localhost:80", "Origin", "http://localhost:81"}, 403},
		"no-cors":                  {[]string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		"text/plain":               {[]string{"Content-Type", "text/plain"}, 415},
		"multipart":                {[]string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		"form of a page":           {[]string{"Content-Type", "application/x-www-form-urlencoded", "Referer", "https://evil.example/"}, 415},
		"type that does not parse": {[]string{"Content-Type", "application/json; ="}, 415},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.Invocations.Load()
			r := post(t, url+"/courses/tam212/"+v1+"/question/addNumbers", `{"method":"generate","data":{}}`, tc.header...)
			require.Equal(t, tc.want, r.status, r.body)
			if tc.want != http.StatusOK {
				require.Equal(t, before, w.Invocations.Load())
				require.NotContains(t, r.body, "params")
			}
		})
	}
}
