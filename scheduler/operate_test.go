package scheduler_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A dashboard or an alert about a metric that nobody exports is silent for ever.
func TestDashboardAndAlertsNameMetricsThatExist(t *testing.T) {
	_, url := one(t)
	post(t, url+"/courses/tam212/current/question/addNumbers", generate)
	post(t, url+"/courses/tam212/current/element/my-element", render)
	exported := get(t, url+"/metrics")
	require.Equal(t, http.StatusOK, exported.status)
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, file := range []string{"dashboard.json", "alerts.yml"} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		names := regexp.MustCompile(`prairie_gateway_[a-z_]+`).FindAllString(string(b), -1)
		require.NotEmpty(t, names)
		for _, name := range names {
			if name == "prairie_gateway_worker_probe_failures_total" {
				continue // has no series before a probe fails
			}
			require.Regexp(t, `(?m)^`+name+`[ {]`, exported.body, file)
		}
		for _, book := range regexp.MustCompile(`README\.md#([a-z-]+)`).FindAllStringSubmatch(string(b), -1) {
			require.Contains(t, string(readme), `id="`+book[1]+`"`)
		}
		if file == "alerts.yml" {
			require.Equal(t, strings.Count(string(b), "- alert:"), strings.Count(string(b), "runbook:"))
		}
	}
}
