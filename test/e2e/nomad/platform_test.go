package nomad

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// platform calls like a platform that knows every gateway: one that refuses the
// connection, drops it or answers 429 or 5xx is left for the next one, and after
// a round of them it rests, for patience in all.
type platform struct {
	d        *Deployment
	gateways []string
	client   http.Client

	mu       sync.Mutex // guards what follows
	answered int
	again    int // tries after a call's first
	failed   []error
	longest  time.Duration
}

const patience = time.Minute

func (p *platform) call(seed int) {
	start, again := time.Now(), 0
	err := p.once(p.gateways[seed%len(p.gateways)], seed)
	for err != nil && time.Since(start) < patience {
		again++
		if again%len(p.gateways) == 0 {
			time.Sleep(500 * time.Millisecond)
		}
		err = p.once(p.gateways[(seed+again)%len(p.gateways)], seed)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered++
	p.again += again
	p.longest = max(p.longest, time.Since(start))
	if err != nil {
		p.failed = append(p.failed, err)
	}
}

// errAnswer marks what a gateway said, apart from one that could not be reached.
var errAnswer = errors.New("answer")

func (p *platform) once(gateway string, seed int) error {
	path, body := mixed(seed)
	req, err := http.NewRequest(http.MethodPost, gateway+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.d.Secret)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w of %s: %s: %s", errAnswer, gateway, resp.Status, b)
	}
	return nil
}

// mixed is one of what platforms ask: mostly questions, now and then a whole
// phase, and a program.
func mixed(seed int) (path, body string) {
	data := fmt.Sprintf(`{"params":{},"variant_seed":%d}`, seed)
	cubic := "/question/calculus/derivatives/cubic"
	switch seed % 20 {
	case 7:
		return "/run", `{"runtime":"bash","files":[{"basename":"main.sh","contents":"echo $((6 * 7))"}]}`
	case 3, 13:
		return "/courses/sample/current" + strings.Replace(cubic, "question", "process", 1), `{"method":"generate","data":` + data + `}`
	}
	return "/courses/sample/current" + cubic, `{"method":"generate","data":` + data + `}`
}

// load calls 20 times a second until stop is closed, and less often where the
// machine is slower than that: no more than 8 calls wait at once.
func (p *platform) load(stop chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	seeds := make(chan int)
	wg.Go(func() {
		defer close(seeds)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for seed := 0; ; seed++ {
			select {
			case <-stop:
				return
			case <-tick.C:
				seeds <- seed
			}
		}
	})
	for range 8 {
		wg.Go(func() {
			for seed := range seeds {
				p.call(seed)
			}
		})
	}
	return wg.Wait
}

// more waits for n more answers.
func (p *platform) more(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.answered
	}
	want := count() + n
	require.NoError(t, Await(t.Context(), "answers", func() error {
		if got := count(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	}))
}

// take returns the figures since the last take.
func (p *platform) take() (answered, again int, failed []error, longest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answered, again, failed, longest = p.answered, p.again, p.failed, p.longest
	p.answered, p.again, p.failed, p.longest = 0, 0, nil, 0
	return
}

// runLong starts a long run and returns a function that follows it to its end,
// and fails unless it ran once and whole.
func (p *platform) runLong(seconds int) (finish func() error, err error) {
	program := submission(fmt.Sprintf("import time, uuid\nme = uuid.uuid4()\nfor i in range(%d):\n    print(i, me, flush=True)\n    time.sleep(1)\nprint('end', me)", seconds))
	id, run := rand.Text(), ""
	for i := range 40 { // as calls: the next gateway, under the same id
		if run, err = p.d.begin(p.gateways[i%len(p.gateways)], id, program); err == nil {
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("start a long run: %w", err)
	}
	return func() error {
		o, err := p.d.follow(p.gateways, run, 3*time.Minute)
		if err != nil {
			return err
		}
		var me string
		for i, line := range o.Lines {
			n, who, _ := strings.Cut(line, " ")
			if i == 0 {
				me = who
			}
			want := fmt.Sprint(i)
			if i == seconds {
				want = "end"
			}
			if n != want || who != me {
				return fmt.Errorf("line %d of a long run: %q", i, line)
			}
		}
		if len(o.Lines) != seconds+1 || o.Status != 0 {
			return fmt.Errorf("a long run ended with %d after %d lines: %s", o.Status, len(o.Lines), o.Message)
		}
		return nil
	}, nil
}

// begin starts two long runs, which last for so many seconds, and returns a
// function that follows both to their ends.
func (p *platform) begin(t *testing.T, seconds int) (finish func()) {
	t.Helper()
	var runs []func() error
	for range 2 {
		f, err := p.runLong(seconds)
		require.NoError(t, err)
		runs = append(runs, f)
	}
	return func() {
		t.Helper()
		for _, f := range runs {
			require.NoError(t, f(), "a long run is neither lost nor run twice")
		}
	}
}

// drill is one thing that happens to a cluster.
type drill struct {
	name string
	do   func(*testing.T)
	seen bool // by callers of a gateway that is away: they try the other one
}

// play does each under load and prints what callers saw of it. Long runs of
// eight seconds are in flight during each, or of so many as through says during all.
func (p *platform) play(t *testing.T, through int, all []drill) {
	stop := make(chan struct{})
	wait := p.load(stop)
	defer wait()
	defer close(stop)
	p.more(t, 10)
	if through > 0 {
		defer p.begin(t, through)()
	}
	p.take()
	var table strings.Builder
	for _, drill := range all {
		t.Run(drill.name, func(t *testing.T) {
			if through == 0 {
				defer p.begin(t, 8)()
			}
			start := time.Now()
			drill.do(t)
			_, err := p.d.Serving(t.Context())
			require.NoError(t, err)
			whole := time.Since(start)
			p.more(t, 20) // calls that the drill hit end, and more are made after it
			answered, again, failed, longest := p.take()
			fmt.Fprintf(&table, "| %s | %d | %d | %d | %.1f s | %.0f s |\n", drill.name, answered, again, len(failed), longest.Seconds(), whole.Seconds())
			require.Empty(t, failed)
			require.True(t, again == 0 || drill.seen, "%d calls were tried again by their callers", again)
		})
	}
	t.Logf("\n| drill | calls | tried again by the caller | failed | longest call | all serving again after |\n|---|---|---|---|---|---|\n%s", table.String())
}
