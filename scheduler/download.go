package scheduler

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/scheduler/fleet"
)

// project is a complete project: the runtime's base with a program's files in it.
type project struct {
	Files []jobs.ProgramFile `json:"files"`
}

// download answers a project as a zip archive. What the base project holds is the
// runtime's, so a worker puts it together; names are checked on both sides of the
// archive, because it is unpacked on somebody's machine.
func (g *Gateway) download(x *exchange) error {
	raw, err := g.body(x)
	if err != nil {
		return err
	}
	ctx, cancel := g.deadline(x)
	defer cancel()
	p, _, err := g.decodeSubmission(ctx, x, raw)
	if err != nil {
		return err
	}
	var label struct {
		Name string `json:"name"`
	}
	if err := decode(raw, &label); err != nil {
		return err
	}
	x.note.name, x.note.method = p.Runtime, "download"
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode program: %w", err)
	}
	req := fleet.Request{Path: "/v1/project", Body: body, Header: traceOf(x.r), ID: x.id}
	pl := plan{key: "run\x00" + p.Runtime, only: func(w *fleet.Worker) bool { return offers(w, p.Runtime) }}
	won, err := onFleet(ctx, g, pl, func(ctx context.Context, w *fleet.Worker) (*project, error) {
		var pr project
		return &pr, w.JSON(ctx, req, &pr)
	})
	x.note.trip = trip{worker: won.By, tries: won.Tries}
	if err != nil {
		return err
	}
	archive, err := zipped(won.Value.Files)
	if err != nil {
		return err
	}
	x.w.Header().Set("Content-Disposition", `attachment; filename="`+archiveName(label.Name)+`.zip"`)
	x.send("application/zip", archive)
	return nil
}

// zipped packs files in their order. Equal input gives equal bytes.
func zipped(files []jobs.ProgramFile) ([]byte, error) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	seen := map[string]bool{}
	for _, f := range files {
		if !isBasename(f.Basename) || seen[strings.ToLower(f.Basename)] {
			return nil, fmt.Errorf("project: %q cannot be packed", f.Basename)
		}
		seen[strings.ToLower(f.Basename)] = true
		content := []byte(f.Contents)
		if f.Encoding == "base64" {
			var err error
			if content, err = base64.StdEncoding.DecodeString(f.Contents); err != nil {
				return nil, fmt.Errorf("project: %s: %w", f.Basename, err)
			}
		}
		w, err := z.CreateHeader(&zip.FileHeader{Name: f.Basename, Method: zip.Deflate})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			return nil, fmt.Errorf("project: %s: %w", f.Basename, err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("project: %w", err)
	}
	return b.Bytes(), nil
}

// archiveName keeps letters, digits, dots and dashes of a label.
func archiveName(label string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r < 0x80 && (isLetter(byte(r)) || r >= '0' && r <= '9' || r == '-' || r == '_'):
			return r
		case r == ' ' || r == '.':
			return '_'
		}
		return -1
	}, label)
	if name = name[:min(len(name), 64)]; name == "" {
		return "project"
	}
	return name
}
