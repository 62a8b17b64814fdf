package course

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// The shape of real courses: a question is info.json, question.html, mostly
// a server.py and sometimes pictures, 1 to 3 KB in the median, up to 35 KB in
// nine of ten, 3 MB at most.
const (
	minGenerated   = 45
	maxPicture     = 3 << 20
	pictureShare   = 0.12 // questions with a clientFilesQuestion
	serverPyShare  = 0.8  // questions with code
	questionsShare = 0.9  // files that belong to questions
)

// Stats is what Generated wrote.
type Stats struct {
	Files     int
	Bytes     int64
	Questions int
}

// Generated writes a synthetic course of exactly that many files, 45 or more,
// into dir, which need not exist. Equal arguments write equal bytes.
func Generated(dir string, files int, seed uint64) (Stats, error) {
	if files < minGenerated {
		return Stats{}, fmt.Errorf("generate course: %d files: %d is the least", files, minGenerated)
	}
	g := &generator{dir: dir, rand: rand.New(rand.NewPCG(seed, uint64(files)))}
	g.course()
	for g.err == nil && float64(g.Files) < questionsShare*float64(files) && g.Files+6 < files {
		g.question()
	}
	for g.err == nil && g.Files < files {
		g.other()
	}
	if g.err != nil {
		return Stats{}, fmt.Errorf("generate course: %w", g.err)
	}
	return g.Stats, nil
}

type generator struct {
	Stats
	dir  string
	rand *rand.Rand
	err  error // the first failure; nothing is written after it
}

func (g *generator) write(path, content string) {
	if g.err != nil {
		return
	}
	name := filepath.Join(g.dir, filepath.FromSlash(path))
	if g.err = os.MkdirAll(filepath.Dir(name), 0o755); g.err != nil {
		return
	}
	g.err = create(name, []byte(content), 0o644)
	g.Files++
	g.Bytes += int64(len(content))
}

// course writes what every course has, whatever its size.
func (g *generator) course() {
	g.write("infoCourse.json", fmt.Sprintf(`{"uuid": %q, "name": "GEN", "title": "Generated", "topics": [], "tags": []}`+"\n", g.uuid()))
	g.write("serverFilesCourse/shared.py", "def answer(a, b):\n    return a + b\n")
	g.write("clientFilesCourse/logo.svg", `<svg xmlns="http://www.w3.org/2000/svg"/>`+"\n")
	const element = "import lxml.html\n\n\ndef render(element_html, data):\n    return lxml.html.fragment_fromstring(element_html.decode()).text or \"\"\n"
	g.write("elements/gen-text/info.json", `{"controller": "gen-text.py"}`+"\n")
	g.write("elements/gen-text/gen-text.py", element)
	g.write("courseInstances/now/infoCourseInstance.json", fmt.Sprintf(`{"uuid": %q, "longName": "Now", "allowAccess": []}`+"\n", g.uuid()))
	g.write("courseInstances/now/assessments/hw1/infoAssessment.json",
		fmt.Sprintf(`{"uuid": %q, "type": "Homework", "title": "One", "set": "Homework", "number": "1", "zones": []}`+"\n", g.uuid()))
}

func (g *generator) question() {
	n := g.Questions
	g.Questions++
	// Twenty to a folder, twenty folders to a topic, as courses grow.
	root := fmt.Sprintf("questions/topic%03d/unit%02d/q%06d/", n/400, n/20%20, n)
	g.write(root+"info.json", fmt.Sprintf(`{
  "uuid": %q,
  "title": "Question %d",
  "topic": "Topic %d",
  "tags": ["generated"],
  "type": "v3"
}
`, g.uuid(), n, n/400))
	g.write(root+"question.html", fmt.Sprintf("<gen-text>What is {{params.a}} + {{params.b}}? (%d)</gen-text>\n%s", n, g.text(700, 0.8)))
	if g.rand.Float64() < serverPyShare {
		g.write(root+"server.py", fmt.Sprintf(`import random

from shared import answer


def generate(data):
    data["params"]["a"] = random.randint(0, %d)
    data["params"]["b"] = random.randint(0, 99)
    data["correct_answers"]["sum"] = answer(data["params"]["a"], data["params"]["b"])


NOTES = """
%s"""
`, 99+n, g.text(500, 0.9)))
	}
	if g.rand.Float64() < pictureShare {
		for range 1 + g.rand.IntN(2) {
			name := fmt.Sprintf("clientFilesQuestion/figure%d.png", g.Files)
			g.write(root+name, g.noise(g.size(20<<10, 1.1)))
		}
	}
}

// other writes one more file outside the questions.
func (g *generator) other() {
	switch g.rand.IntN(3) {
	case 0:
		g.write(fmt.Sprintf("serverFilesCourse/library/part%06d.py", g.Files), "TEXT = \"\"\"\n"+g.text(1500, 1)+"\"\"\"\n")
	case 1:
		g.write(fmt.Sprintf("clientFilesCourse/figures/figure%06d.png", g.Files), g.noise(g.size(8<<10, 1)))
	default:
		g.write(fmt.Sprintf("courseInstances/now/clientFilesCourseInstance/sheet%06d.txt", g.Files), g.text(1200, 1))
	}
}

// size is log-normal around a median.
func (g *generator) size(median int, sigma float64) int {
	return min(maxPicture, int(float64(median)*math.Exp(sigma*g.rand.NormFloat64())))
}

// text is prose-like: it compresses as course text does.
func (g *generator) text(median int, sigma float64) string {
	words := strings.Fields("the slope of a line through two points is rise over run so find both and divide then check your units again")
	var b strings.Builder
	for size := min(32<<10, g.size(median, sigma)); b.Len() < size; {
		b.WriteString(words[g.rand.IntN(len(words))])
		b.WriteByte(" \n"[g.rand.IntN(8)/7])
	}
	b.WriteByte('\n')
	return b.String()
}

// noise does not compress, as pictures do not.
func (g *generator) noise(size int) string {
	b := make([]byte, size)
	for i := range b {
		if i%8 == 0 {
			v := g.rand.Uint64()
			for j := i; j < min(i+8, size); j++ {
				b[j] = byte(v >> (8 * (j - i)))
			}
		}
	}
	return "\x89PNG\r\n\x1a\n" + string(b)
}

func (g *generator) uuid() string {
	a, b := g.rand.Uint64(), g.rand.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", a>>32, a>>16&0xffff, a&0xfff, b>>48&0xfff, b&0xffffffffffff)
}
