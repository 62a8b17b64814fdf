package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/test/course"
)

// chromium is a tab on a dev's page.
type chromium struct {
	t    testing.TB
	d    *dev
	ctx  context.Context
	mu   sync.Mutex // guards urls
	urls []string   // of every request
}

func openChromium(t testing.TB, d *dev) *chromium {
	t.Helper()
	ctx, cancel := chromedp.NewContext(theChromium(t), chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	c := &chromium{t: t, d: d, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		if r, ok := ev.(*network.EventRequestWillBeSent); ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.urls = append(c.urls, r.Request.URL)
		}
	}))
	call(c, network.Enable, network.EnableParams{})
	return c
}

// do runs steps within a bound, which has nothing to do with how fast they should be.
func (c *chromium) do(steps ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	get(c, chromedp.Steps(steps...))
}

func get[T any](c *chromium, a chromedp.Action[T]) T {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	require.NoError(c.t, err)
	return v
}

func eval[T any](c *chromium, script string) T {
	c.t.Helper()
	return get(c, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// wait polls a condition, also across navigations.
func (c *chromium) wait(condition string) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		ok, err := chromedp.Run(c.ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && ("+condition+")"))
		return err == nil && ok
	}, 4*time.Minute, 10*time.Millisecond, condition)
}

func call[P, R any](c *chromium, command cdp.Command[P, R], params P) {
	c.t.Helper()
	get(c, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, params) })
}

func (c *chromium) resize(width, height int64, mobile bool) {
	c.t.Helper()
	call(c, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: mobile,
	})
}

func key(keys string, mods ...chromedp.Modifier) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.KeyEvent(keys, chromedp.KeyModifiers(mods...)), chromedp.Sleep(30*time.Millisecond))
}

// open goes to a page and waits until every panel has told its height.
func (c *chromium) open(path string) {
	c.t.Helper()
	c.do(chromedp.Navigate(c.d.URL + path))
	c.settle()
}

const settled = `[...document.querySelectorAll("iframe.panel")].filter(f => f.checkVisibility()).every(f => f.style.height !== "")`

func (c *chromium) settle() {
	c.t.Helper()
	c.do(chromedp.WaitReady(chromedp.CSS("main")))
	c.wait(settled)
	c.do(chromedp.Sleep(50 * time.Millisecond))
}

func (c *chromium) text(selector string) string {
	c.t.Helper()
	return get(c, chromedp.Text(chromedp.CSS(selector)))
}

// enter moves the focus from the page into the question's first field, by keyboard. Its
// frame may be another process, which has the keys some time after the page gave them.
func (c *chromium) enter() {
	c.t.Helper()
	c.do(chromedp.Focus(chromedp.CSS(".home")), key(kb.Tab))
	for range 1000 {
		c.do(key("~")) // which means nothing to the page
		if eval[bool](c, `collect().then((typed) => JSON.stringify(typed).includes("~"))`) {
			return
		}
	}
	c.t.Fatal("no key comes to the question's fields")
}

// answer types answers into the question's fields by keyboard, and Enter.
func (c *chromium) answer(values ...string) {
	c.t.Helper()
	old := eval[int](c, `document.querySelectorAll(".attempts a").length`)
	c.enter()
	for i, v := range values {
		if i > 0 {
			c.do(key(kb.Tab))
		}
		c.do(key("a", chromedp.ModifierCtrl), key(v))
	}
	c.do(key(kb.Enter))
	c.wait(fmt.Sprintf(`document.querySelectorAll(".attempts a").length === %d`, old+1))
	c.settle()
}

// checkRequests fails on any request that is not for our own server.
func (c *chromium) checkRequests() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.urls {
		if !strings.HasPrefix(u, c.d.URL) && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:") {
			c.t.Errorf("the page asked for %s", u)
		}
	}
	require.NotEmpty(c.t, c.urls)
}

// correct are the answers of a seed of the cubic, from its own generate.
func (d *dev) correct(seed int) (derivative, slope string) {
	d.t.Helper()
	cmd := exec.Command("curl", "-s", d.URL+"/courses/sample/current/process/"+course.Cubic, "-d",
		fmt.Sprintf(`{"method":"generate","data":{"variant_seed":%d}}`, seed))
	out, err := cmd.Output()
	require.NoError(d.t, err)
	var data struct {
		Answers struct {
			Derivative string      `json:"derivative"`
			Slope      json.Number `json:"slope"`
		} `json:"correct_answers"`
	}
	require.NoError(d.t, json.Unmarshal(out, &data))
	return data.Answers.Derivative, data.Answers.Slope.String()
}

func TestAQuestionFromListToScore(t *testing.T) {
	d := theSample(t)
	c := openChromium(t, d)
	c.open("/")
	c.do(key("/"), key("cubic"))
	require.Equal(t, 1, eval[int](c, `document.querySelectorAll(".group:not([hidden]) li:not([hidden])").length`), "the search leaves one question")
	c.do(key(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#question")))
	c.settle()
	require.Contains(t, c.text("h1"), "The derivative of a cubic")

	derivative, slope := d.correct(1)
	c.open("/question/" + course.Cubic + "?seed=1")
	c.answer(derivative, "12345")
	require.Contains(t, c.text("#score"), "66.7 %", "the derivative weighs two of three")
	c.answer("no x at all", slope)
	require.Contains(t, c.text("#score"), "Format errors")
	c.answer(derivative, slope)
	require.Contains(t, c.text("#score"), "100 %")
	c.do(chromedp.Reload())
	c.settle()
	require.Contains(t, c.text("#score"), "100 %", "a reload keeps it")
	require.Contains(t, c.text(".attempts"), "3")

	c.do(chromedp.Click(chromedp.CSS("#seeds summary")))
	require.Equal(t, "100", eval[string](c, `const seeds = document.querySelector("#run-seeds button"), n = seeds.value; seeds.value = 6; n`))
	c.do(chromedp.Click(chromedp.CSS("#run-seeds button")))
	c.wait(`document.documentElement.dataset.seeds === "6"`)
	require.Contains(t, c.text("#plot"), "6 of 6 fine")

	require.True(t, eval[bool](c, `document.querySelector("#question").contentDocument === null`), "a question's frame has no origin of ours")
	c.checkRequests()
}

// axe returns the source of axe-core, from the npm registry.
func axe(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, "axe-core@4.14.1")
	if out, err := cmd.CombinedOutput(); err != nil {
		need(t, "npm with a registry for axe-core: "+string(out))
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	require.NoError(t, err)
	return string(b)
}

// looks are the ways in which a page is looked at.
var looks = []struct {
	name          string
	scheme        string
	width, height int64
	mobile        bool
}{
	{"light", "light", 1280, 1000, false},
	{"dark", "dark", 1280, 1000, false},
	{"phone", "light", 390, 844, true},
}

// TestEveryViewInEveryLook checks accessibility and width, and leaves pictures in
// the directory that SCREENSHOTS names.
func TestEveryViewInEveryLook(t *testing.T) {
	d := startDev(t, sample(t))
	c := openChromium(t, d)
	source := axe(t)
	derivative, _ := d.correct(1)
	c.open("/question/" + course.Cubic + "?seed=1")
	c.answer(derivative, "12345")
	unfold := func(these string) string {
		return `for (const d of document.querySelectorAll("details[data-keep]")) d.open = "` + these + `".split(" ").includes(d.id)`
	}
	seeds := "4"
	if os.Getenv("SCREENSHOTS") != "" { // a plot worth looking at
		seeds = "12"
	}
	views := []struct{ name, path, prepare, ready string }{
		{"list", "/", "", ""},
		{"question", "/question/" + course.Cubic + "?seed=1", unfold("reveal times"), settled},
		{"issue", "/question/broken/chained", unfold("times"), ""},
		{"playground", "/play", "", ""},
		{"data", "/question/statistics/histogram?seed=3", unfold("reveal data"), settled},
		{
			"seeds", "/question/algebra/quadratic-roots?seed=3",
			unfold("reveal seeds") + `; document.querySelector("#run-seeds button").value = ` + seeds + `; document.querySelector("#run-seeds button").click()`,
			`document.documentElement.dataset.seeds === "` + seeds + `" && document.querySelector("#plot").textContent.includes("` + seeds + ` of ` + seeds + ` fine")`,
		},
	}
	for _, look := range looks {
		call(c, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}})
		c.resize(look.width, look.height, look.mobile)
		for _, v := range views {
			t.Run(v.name+"-"+look.name, func(t *testing.T) {
				c.t = t
				c.open(v.path)
				if v.prepare != "" {
					eval[bool](c, v.prepare+"; true")
				}
				if v.ready != "" {
					c.wait(v.ready)
				}
				// Frames outside the window are not painted: make the window as high as the page.
				high := max(eval[int64](c, `Math.ceil(document.documentElement.scrollHeight)`), look.height)
				c.resize(look.width, high, look.mobile)
				defer c.resize(look.width, look.height, look.mobile)
				c.settle()
				if os.Getenv("SCREENSHOTS") != "" { // frames may still be painting
					c.do(chromedp.Sleep(250 * time.Millisecond))
				}
				picture := get(c, chromedp.FullScreenshot(100))
				if dir := os.Getenv("SCREENSHOTS"); dir != "" {
					require.NoError(t, os.MkdirAll(dir, 0o755))
					require.NoError(t, os.WriteFile(filepath.Join(dir, v.name+"-"+look.name+".png"), picture, 0o644))
				}
				require.Greater(t, len(picture), 5000)
				require.LessOrEqual(t, eval[int](c, `document.documentElement.scrollWidth`), int(look.width), "the page fits its window")
				eval[bool](c, source+"; true")
				require.Empty(t, eval[string](c, `axe.run({iframes: false}).then(r => r.violations.filter(v => v.impact === "serious" || v.impact === "critical")
					.map(v => v.id + ": " + v.nodes.map(n => n.html.slice(0, 120) + " " + (n.any[0] ? n.any[0].message : "")).slice(0, 3).join(" | ")).join("\n"))`),
					"accessibility")
			})
		}
	}
	c.t = t
	c.checkRequests()
}

// MathJax is our own copy, and works where there is no origin.
func TestMathematicsIsDrawn(t *testing.T) {
	d := theSample(t)
	d.write("own/formulas", map[string]string{
		"info.json":     `{"title": "Formulas", "type": "v3"}`,
		"question.html": `<p>The area is \(\frac{a^2}{2}\), or $$\int_0^a x\,dx.$$</p>`,
	})
	c := openChromium(t, d)
	m := frameURL.FindStringSubmatch(d.shown("/question/own/formulas"))
	require.NotNil(t, m)
	c.do(chromedp.Navigate(d.URL + m[1]))
	c.wait(`document.querySelectorAll("mjx-container svg").length === 2`)
	require.Equal(t, "null", eval[string](c, `origin`), "the frame has no origin")
	c.checkRequests()
}

// What is typed survives an edit, and a phase that fails where students do not look is an issue.
func TestTypedAnswersSurviveAnEdit(t *testing.T) {
	d := theSample(t)
	d.copy("physics/incline", "own/incline")
	c := openChromium(t, d)
	c.open("/question/own/incline?seed=1")
	c.enter()
	c.do(key("a", chromedp.ModifierCtrl), key("31.5"))
	words := []string{"rests on a slope", "stands on a hill", "lies in a valley"}
	for i := range 2 { // and the second comes, as the click does, while the frame is a new one
		before := eval[string](c, `document.documentElement.dataset.refreshed || ""`)
		d.edit("questions/own/incline/question.html", words[i], words[i+1])
		c.wait(fmt.Sprintf(`document.documentElement.dataset.refreshed > %q`, before))
	}
	c.do(chromedp.Click(chromedp.CSS("#answer .primary")))
	c.wait(`document.querySelector("#score") !== null`)
	c.do(chromedp.Click(chromedp.CSS("#data summary")))
	require.Contains(t, c.text("#data"), `"31.5"`)

	// A change that comes while an answer is on its way takes neither the answer nor its form.
	c.open("/question/own/incline?seed=2")
	c.enter()
	c.do(key("a", chromedp.ModifierCtrl), key("32.5"))
	eval[int](c, `const send = document.querySelector("#answer .primary"); send.click(); send.click(); refresh(); 0`)
	c.wait(`document.querySelector("#score") !== null`)
	require.Equal(t, 1, eval[int](c, `document.querySelectorAll(".attempts a").length`), "a click that comes twice sends one answer")
	require.Contains(t, c.text("#data"), `"32.5"`)
}
