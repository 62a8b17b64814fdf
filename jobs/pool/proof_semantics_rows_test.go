package pool

import (
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
)

// row is one fact that course code relies on, tried in a real sandbox. Its files
// lie below its own question (questions/NAME/), or, where their name begins with
// a slash, below the course.
type row struct {
	name   string
	server string            // server.py
	html   string            // question.html
	files  map[string]string // more of them
	ask    jobs.Invocation   // calls without a name mean the row's own question
	data   string            // {"params":{},"variant_seed":7} when empty

	fault  string // of the last call: a question error that says this
	code   string // or what is missing
	params string // params after it, as JSON
	page   string // or its HTML
	file   string // or its file
	output string // and what it printed
}

func call(method string) jobs.Invocation {
	return jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Method: method}}}
}

func render(page string) jobs.Invocation {
	inv := call("render")
	inv.Calls[0].HTML = &page
	return inv
}

func phase(methods ...string) (inv jobs.Invocation) {
	for _, m := range methods {
		inv.Calls = append(inv.Calls, jobs.Call{Type: jobs.Phase, Method: m})
	}
	return inv
}

func element(tag, method, html string) jobs.Invocation {
	return jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Element, Name: tag, Method: method, HTML: &html}}}
}

// puts makes a generate that leaves the value of a Python expression.
func puts(expr string) string { return "def generate(data): data['params']['x'] = " + expr + "\n" }

const seeded = `{"params":{},"correct_answers":{},"variant_seed":7}`

// answered is the data of a submission.
func answered(more string) string {
	return `{"params":{},"correct_answers":{},"variant_seed":7,"submitted_answers":{"a":"1"},"raw_submitted_answers":{"a":"1"},` +
		`"format_errors":{},"partial_scores":{},"score":0,"feedback":{},"gradable":true` + more + `}`
}

var rows = []row{
	// Course layout
	{name: "a/b/c", server: puts("__file__"), ask: call("generate"), params: `{"x":"/course/questions/a/b/c/server.py"}`},
	{name: "part-of-a-qid/q", server: puts("1"), ask: jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Name: "part-of-a-qid", Method: "generate"}}}, code: jobs.QuestionMissing},
	{name: "__drafts__/draft_1", server: puts("1"), ask: call("generate"), params: `{"x":1}`},
	{
		name: "other-questions-are-not-there", server: puts("sorted(__import__('os').listdir('/course/questions'))"), ask: call("generate"),
		params: `{"x":["other-questions-are-not-there"]}`,
	},
	{
		name: "controller-named-in-info", ask: element("x-named", "render", "<x-named></x-named>"), page: "<b>named</b>",
		files: map[string]string{
			"/elements/x-named/info.json": `{"controller":"other.py"}`,
			"/elements/x-named/other.py":  "def render(element_html, data): return '<b>named</b>'\n",
		},
	},
	{
		name: "extensions", html: "<x-extended></x-extended>", ask: phase("render"), page: "<i>e1</i>",
		files: map[string]string{
			"/elements/x-extended/info.json":               `{"controller":"x.py"}`,
			"/elements/x-extended/x.py":                    "def render(element_html, data): return '<i>' + ','.join(data['extensions']) + '</i>'\n",
			"/elementExtensions/x-extended/e1/info.json":   `{}`,
			"/elementExtensions/x-extended/e1/anything.py": "",
		},
	},
	{
		name: "files-of-instance-and-assessment", ask: func() jobs.Invocation {
			i := call("generate")
			i.CourseInstance, i.Assessment = "Fa/26", "hw/1"
			return i
		}(),
		server: puts("[open('/course/' + p).read() for p in ('clientFilesCourse/a', 'courseInstances/Fa/26/clientFilesCourseInstance/a', 'courseInstances/Fa/26/assessments/hw/1/clientFilesAssessment/a')]"),
		files: map[string]string{
			"/clientFilesCourse/a": "1", "/courseInstances/Fa/26/infoCourseInstance.json": "{}", "/courseInstances/Fa/26/clientFilesCourseInstance/a": "2",
			"/courseInstances/Fa/26/assessments/hw/1/infoAssessment.json": "{}", "/courseInstances/Fa/26/assessments/hw/1/clientFilesAssessment/a": "3",
		},
		params: `{"x":["1","2","3"]}`,
	},
	{
		name: "vendored-libraries", ask: call("generate"), params: `{"x":[3,0]}`,
		server: "import ctypes, os\ndef generate(data):\n    lib = ctypes.CDLL('/course/serverFilesCourse/lib.so')\n    lib.sqrt.restype, lib.sqrt.argtypes = ctypes.c_double, [ctypes.c_double]\n" +
			"    data['params']['x'] = [lib.sqrt(9.0), os.spawnv(os.P_WAIT, '/course/serverFilesCourse/tool', ['tool'])]\n",
		files: map[string]string{"/serverFilesCourse/lib.so": "<libm>", "/serverFilesCourse/tool": "<true>"},
	},

	// Calls
	{
		name: "every-function", server: "for f in ('generate', 'prepare', 'parse', 'grade', 'test'):\n    exec(f'def {f}(data): data[\"params\"][\"{f}\"] = 1')\n",
		ask: jobs.Invocation{Calls: []jobs.Call{
			{Type: jobs.Question, Method: "generate"},
			{Type: jobs.Question, Method: "prepare"},
			{Type: jobs.Question, Method: "parse"},
			{Type: jobs.Question, Method: "grade"},
			{Type: jobs.Question, Method: "test"},
		}},
		params: `{"generate":1,"prepare":1,"parse":1,"grade":1,"test":1}`,
	},
	{name: "render-has-two-arguments", server: "def render(data, html): return html.upper() + str(data['variant_seed'])\n", ask: render("<p>"), page: "<P>7"},
	{
		name: "element-html-is-bytes", ask: element("x-bytes", "render", "<x-bytes a=\"é\"></x-bytes>"), page: "bytes &#233;",
		files: map[string]string{
			"/elements/x-bytes/info.json":  `{"controller":"x.py"}`,
			"/elements/x-bytes/x.py":       "def render(element_html, data): return type(element_html).__name__ + ' ' + element_html.decode().split('\"')[1]\n",
			"/elements/x-legacy/info.json": `{"controller":"x.py"}`,
			"/elements/x-legacy/x.py":      "def prepare(element_html, element_index, data): data['params']['x'] = element_index\n",
		},
	},
	{name: "legacy-three-arguments", ask: element("x-legacy", "prepare", "<x-legacy></x-legacy>"), params: `{"x":null}`},
	{
		name: "import-path", server: "import os, sys, own, common\n" + puts("[own.X, common.X, os.getcwd(), sys.path[0], sys.path.index('/course/serverFilesCourse') > 0, 'server' in sys.modules]"),
		files: map[string]string{"own.py": "X = 'own'\n", "common.py": "X = 'own first'\n", "/serverFilesCourse/common.py": "X = 'common'\n"}, ask: call("generate"),
		params: `{"x":["own","own first","/course/questions/import-path","/course/questions/import-path",true,false]}`,
	},
	{name: "server-files-course", server: "import onlycommon\n" + puts("onlycommon.X"), files: map[string]string{"/serverFilesCourse/onlycommon.py": "X = 'common'\n"}, ask: call("generate"), params: `{"x":"common"}`},
	{
		name: "alarm-on-the-main-thread", ask: call("generate"), params: `{"x":"rang"}`,
		server: "import signal, threading, time\ndef generate(data):\n    def ring(*_): raise TimeoutError\n    signal.signal(signal.SIGALRM, ring)\n    signal.setitimer(signal.ITIMER_REAL, 0.05)\n" +
			"    try:\n        while True: time.sleep(1)\n    except TimeoutError:\n        data['params']['x'] = 'rang' if threading.current_thread() is threading.main_thread() else 'elsewhere'\n",
	},
	{
		name: "places-to-write", ask: call("generate"), params: `{"x":[true,true,true,true]}`,
		server: "import os, subprocess\ndef generate(data):\n    open('/tmp/a', 'w').write('x'); os.close(os.open('/tmp', os.O_TMPFILE | os.O_RDWR)); open('/dev/shm/a', 'w').write('x')\n" +
			"    def refused(p):\n        try: open(p, 'w')\n        except OSError: return True\n" +
			"    data['params']['x'] = [refused('/course/a'), refused('/course/questions/places-to-write/a'), refused('/usr/a'), subprocess.run(['/usr/bin/env', 'true']).returncode == 0]\n",
	},
	{
		name: "one-session", server: "import random\nn = 0\ndef generate(data):\n    global n\n    n += 1\n    data['params'][str(n)] = random.randint(0, 9999) >= 0 and n\nprepare = generate\n",
		ask:    jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Method: "generate"}, {Type: jobs.Question, Method: "prepare"}, {Type: jobs.Question, Method: "generate"}}},
		params: `{"1":1,"2":2,"3":3}`,
	},
	{
		name: "one-random-stream", server: "import random\nfirst = random.random()\ndef generate(data): data['params'].setdefault('x', []).append(random.random())\n",
		ask:    jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Method: "generate"}, {Type: jobs.Question, Method: "generate"}}},
		params: `{"x":[0.15084917392450192,0.6509344730398537]}`, // of random.seed(7), after the module's own draw
	},
	{
		name: "numpy-is-seeded", server: "import numpy\n" + puts("int(numpy.random.randint(1 << 30))"), ask: call("generate"),
		params: `{"x":327741615}`,
	},
	{name: "seed-out-of-range", data: `{"params":{},"variant_seed":4294967296}`, server: puts("1"), ask: call("generate"), fault: "variant_seed"},
	{name: "no-such-function", server: puts("1"), ask: call("grade"), code: jobs.MethodMissing},
	{name: "no-server-py", ask: call("generate"), code: jobs.MethodMissing},
	{name: "no-such-question", ask: jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Name: "nowhere", Method: "generate"}}}, code: jobs.QuestionMissing},
	{name: "no-such-element", ask: element("x-none", "render", "<x-none></x-none>"), code: jobs.ElementMissing},
	{name: "mutated-data", server: puts("'mutated'"), ask: call("generate"), params: `{"x":"mutated"}`},
	{name: "returned-data", server: "def generate(data): return {**data, 'params': {'x': 'returned'}}\n", ask: call("generate"), params: `{"x":"returned"}`},
	{name: "file-of-bytes", server: "def file(data): return b'\\0\\xff'\n", ask: call("file"), file: "\x00\xff"},
	{name: "file-of-nothing", server: "def file(data): return None\n", ask: call("file"), file: ""},
	{name: "file-like", server: "import io\ndef file(data):\n    f = io.BytesIO()\n    f.write(b'rewound')\n    return f\n", ask: call("file"), file: "rewound"},
	{name: "nan", server: puts("float('nan')"), ask: call("generate"), fault: "nan"},
	{name: "infinity", server: puts("float('inf')"), ask: call("generate"), fault: "inf"},
	{name: "large-int", server: puts("2 ** 53"), ask: call("generate"), fault: "2^53"},
	{name: "numpy-int", server: "import numpy\n" + puts("numpy.int64(1)"), ask: call("generate"), fault: "int64"},
	{name: "a-set", server: puts("{1}"), ask: call("generate"), fault: "set"},
	{name: "what-is-fine", server: "import numpy\n" + puts("[numpy.float64(2.5), (1, 2), {1: 'int key'}]"), ask: call("generate"), params: `{"x":[2.5,[1,2],{"1":"int key"}]}`},
	{
		name: "javascript-stands-between", server: puts("[2.0, -0.0, {'b': 1, '10': 2, '9': 3}]") + "def prepare(data): data['params']['x'] = repr(data['params']['x'])\n",
		ask:    jobs.Invocation{Calls: []jobs.Call{{Type: jobs.Question, Method: "generate"}, {Type: jobs.Question, Method: "prepare"}}},
		params: `{"x":"[2, 0, {'9': 3, '10': 2, 'b': 1}]"}`,
	},
	{
		name: "option-paths", server: "import os\n" + puts("[(k, v) for k, v in sorted(data['options'].items()) if k.endswith('_path') and v.startswith('/course')]"), ask: call("generate"),
		params: `{"x":[["client_files_course_path","/course/clientFilesCourse"],["client_files_question_path","/course/questions/option-paths/clientFilesQuestion"],` +
			`["course_extensions_path","/course/elementExtensions"],["question_path","/course/questions/option-paths"],["server_files_course_path","/course/serverFilesCourse"]]}`,
	},
	{name: "console-output-is-no-fault", server: "import sys\ndef generate(data):\n    print('out')\n    print('err', file=sys.stderr)\n    data['params']['x'] = 1\n", ask: call("generate"), params: `{"x":1}`, output: "out\nerr\n"},
	{name: "an-exception", server: "def generate(data): return 1 // 0\n", ask: call("generate"), fault: "division"},
	{name: "sys-exit", server: "import sys\ndef generate(data): sys.exit(0)\n", ask: call("generate"), fault: "called sys.exit(0)"},
	{name: "sixty-four-processes", server: "import os, time\ndef generate(data):\n    n = 1\n    try:\n        while True:\n            if os.fork() == 0: time.sleep(100)\n            n += 1\n    except BlockingIOError:\n        data['params']['x'] = n\n", ask: call("generate"), params: `{"x":64}`},

	// The whole question
	{
		name: "generate-is-server-py-alone", html: "<x-counts></x-counts>{{", server: puts("'server'"), ask: phase("generate"), params: `{"x":"server"}`,
		files: map[string]string{
			"/elements/x-counts/info.json": `{"controller":"x.py"}`,
			"/elements/x-counts/x.py": "def prepare(element_html, data): data['params']['n'] = data['params'].get('n', 0) + 1\n" +
				"def render(element_html, data): return '<x-inner></x-inner>'\n" +
				"def parse(element_html, data):\n    if data['submitted_answers'].get('a') == 'bad': data['format_errors']['a'] = 'no'\n" +
				"def grade(element_html, data):\n    data['partial_scores']['a'] = {'score': 1, 'weight': 3}\n    data['partial_scores']['b'] = {'score': 0}\n",
			"/elements/x-inner/info.json":  `{"controller":"x.py"}`,
			"/elements/x-inner/x.py":       "def render(element_html, data): return '<b>inner</b>'\n",
			"/elements/x-silent/info.json": `{"controller":"x.py"}`,
			"/elements/x-silent/x.py":      "def prepare(element_html, data): pass\n",
		},
	},
	{name: "prepare-runs-elements-then-server", html: "<x-counts></x-counts><x-counts></x-counts>", server: "def prepare(data): data['params']['server saw'] = data['params']['n']\n", ask: phase("prepare"), params: `{"n":2,"server saw":2}`},
	{name: "mustache", html: "{{params.x}}{{{params.h}}}{{params.h}}{{#params.l}}{{.}},{{/params.l}}", data: `{"params":{"x":2.0,"h":"<b>h</b>","l":[1,2]},"variant_seed":7}`, ask: phase("render"), page: "2<b>h</b>&lt;b&gt;h&lt;/b&gt;1,2,"},
	{name: "markdown", html: "<markdown>*so*</markdown>", ask: phase("render"), page: "<p><em>so</em></p>\n"},
	{name: "rendered-html-is-traversed-again", html: "<p><x-counts></x-counts></p>", ask: phase("render"), page: "<p><b>inner</b></p>"},
	{name: "without-render-an-element-disappears", html: "<p>a<x-silent></x-silent>b</p>", ask: phase("render"), page: "<p>ab</p>"},
	{name: "render-by-server", html: "<p>q</p>", server: "def render(data, html): return html + data['panel']\n", ask: phase("render"), page: "<p>q</p>question"},
	{name: "weighted-score", html: "<x-counts></x-counts>", data: answered(""), server: "def grade(data): data['params']['x'] = data['score']\n", ask: phase("grade"), params: `{"x":0.75}`, fault: ""},
	{name: "all-or-nothing", html: "<x-counts></x-counts>", data: answered(""), files: map[string]string{"info.json": `{"partialCredit":false}`}, server: "def grade(data): data['params']['x'] = data['score']\n", ask: phase("grade"), params: `{"x":0}`},
	{name: "server-has-the-last-word", html: "<x-counts></x-counts>", data: answered(""), server: "def grade(data): data['score'] = 0.5; data['params']['x'] = 1\n", ask: phase("grade"), params: `{"x":1}`},
	{
		name: "format-errors-are-not-graded", html: "<x-counts></x-counts>", data: strings.ReplaceAll(answered(""), `"a":"1"`, `"a":"bad"`),
		server: "def grade(data): data['params']['graded'] = 1\ndef parse(data): data['params'] = data['params']\n", ask: phase("parse", "grade"), params: `{}`,
	},
	{name: "a-key-removed", server: "def generate(data): del data['params']\n", ask: phase("generate"), fault: `data["params"] is missing`},
	{name: "a-key-of-another-type", server: "def generate(data): data['params'] = []\n", ask: phase("generate"), fault: "not of type object"},
	{name: "a-key-not-editable", server: "def generate(data): data['variant_seed'] = 8\n", ask: phase("generate"), fault: "illegally modified"},
	{name: "an-extra-key", server: "def generate(data): data['mine'] = 8\n", ask: phase("generate"), fault: "extra key"},
	{name: "an-unknown-key-of-the-caller", data: `{"variant_seed":1,"parms":{}}`, server: puts("1"), ask: phase("generate"), fault: "unknown key"},
	{name: "file-by-name", html: "", server: "def file(data): return data['filename']\n", data: answered(`,"filename":"a.txt"`), ask: phase("file"), file: "a.txt"},
	{name: "test-by-type", html: "", server: "def test(data): data['score'] = 1; data['raw_submitted_answers']['a'] = data['test_type']\n", data: answered(`,"test_type":"correct"`), ask: phase("test"), params: `{}`},
}

// keysOf are the keys of `data` that a phase shows, as PrairieLearn's documentation has them.
var keysOf = map[string]string{
	"generate": "correct_answers options params preferences variant_seed",
	"prepare":  "answers_names correct_answers options params preferences variant_seed",
	"render": "ai_grading correct_answer_shown correct_answers editable feedback format_errors manual_grading num_valid_submissions options panel params " +
		"partial_scores preferences raw_submitted_answers score submitted_answers variant_seed",
	"parse": "correct_answers feedback format_errors gradable options params preferences raw_submitted_answers submitted_answers variant_seed",
	"grade": "correct_answers feedback format_errors gradable options params partial_scores preferences raw_submitted_answers score submitted_answers variant_seed",
	"test":  "correct_answers feedback format_errors gradable options params partial_scores preferences raw_submitted_answers score test_type variant_seed",
	"file": "correct_answers feedback filename format_errors num_valid_submissions options params partial_scores preferences raw_submitted_answers score " +
		"submitted_answers variant_seed",
}
