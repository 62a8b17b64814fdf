package runs

import (
	"encoding/json"

	"github.com/prairielambda/prairielambda/jobs"
)

// Poll is the body of /check_output/. Which of Read and AlreadyRead is there
// chooses the shape of the answer; Wait makes it a long poll.
type Poll struct {
	Identifier  string  `json:"identifier"`
	Read        *int    `json:"read"`
	AlreadyRead *int    `json:"already_read"`
	Wait        float64 `json:"wait"` // seconds
}

// From is the number of frames that the client has; ok is false when it is negative.
func (p *Poll) From() (n int, ok bool) {
	switch {
	case p.Read != nil:
		n = *p.Read
	case p.AlreadyRead != nil:
		n = *p.AlreadyRead
	}
	return n, n >= 0
}

// Output is the answer of the second generation, and without Msg's wrapping the
// third's frame.
type Output struct {
	Output    []Item `json:"output"`
	Status    int    `json:"status"`
	Completed bool   `json:"completed"`
	Message   string `json:"message"`
}

// Item is one piece of output.
type Item struct {
	Msg Msg    `json:"msg"`
	Ref string `json:"ref,omitempty"` // the lab case it belongs to
}

// Msg is a type and what was said.
type Msg struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
}

// Lines is the answer of the first generation.
type Lines struct {
	OutputLines []string `json:"output_lines"`
	Status      int      `json:"status"`
	Completed   bool     `json:"completed"`
	Message     string   `json:"message"`
}

// Frame is what the third generation gets over its WebSocket.
type Frame struct {
	Output    []FrameItem `json:"output"`
	Status    int         `json:"status"`
	Completed bool        `json:"completed"`
	Message   string      `json:"message"`
}

// FrameItem is a Msg with its case beside it.
type FrameItem struct {
	Msg
	Ref string `json:"ref,omitempty"`
}

// Answer shapes a chunk as the poll asked for it.
func (p *Poll) Answer(c *jobs.RunChunk) any {
	if p.Read == nil && p.AlreadyRead != nil {
		l := Lines{OutputLines: []string{}, Status: c.Status, Completed: c.Completed, Message: c.Message}
		for _, f := range c.Frames {
			l.OutputLines = append(l.OutputLines, line(f))
		}
		return l
	}
	o := Output{Output: []Item{}, Status: c.Status, Completed: c.Completed, Message: c.Message}
	for _, f := range c.Frames {
		o.Output = append(o.Output, Item{Msg{f.Type, f.Data}, f.Ref})
	}
	return o
}

// FrameOf shapes a chunk for a WebSocket.
func FrameOf(c *jobs.RunChunk) Frame {
	o := Frame{Output: []FrameItem{}, Status: c.Status, Completed: c.Completed, Message: c.Message}
	for _, f := range c.Frames {
		o.Output = append(o.Output, FrameItem{Msg{f.Type, f.Data}, f.Ref})
	}
	return o
}

// line is the text of a frame; a report is its JSON.
func line(f jobs.RunFrame) string {
	var s string
	if json.Unmarshal(f.Data, &s) == nil {
		return s
	}
	return string(f.Data)
}
