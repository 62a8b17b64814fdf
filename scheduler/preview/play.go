package preview

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/prairielambda/prairielambda/jobs"
)

// The playground runs programs of every runtime that the machine has, as the
// /run route does for a platform. What is on it is kept for a while, in memory.

// starter is a program to begin with, which reads what stands in the input.
type starter struct{ file, source string }

var starters = map[string]starter{
	"python": {"main.py", "import sys\n\nfor line in sys.stdin:\n    print(sum(map(int, line.split())))\n"},
	"c":      {"main.c", "#include <stdio.h>\n\nint main(void) {\n  int x, sum = 0;\n  while (scanf(\"%d\", &x) == 1) sum += x;\n  printf(\"%d\\n\", sum);\n}\n"},
	"cpp":    {"main.cpp", "#include <iostream>\n\nint main() {\n  int sum = 0;\n  for (int x; std::cin >> x;) sum += x;\n  std::cout << sum << \"\\n\";\n}\n"},
	"ada": {"main.adb", "with Ada.Integer_Text_IO; use Ada.Integer_Text_IO;\nwith Ada.Text_IO; use Ada.Text_IO;\n\nprocedure Main is\n   X, Sum : Integer := 0;\nbegin\n" +
		"   while not End_Of_File loop\n      Get (X);\n      Sum := Sum + X;\n   end loop;\n   Put_Line (Sum'Image);\nend Main;\n"},
	"bash": {"main.sh", "sum=0\nfor x in $(cat); do sum=$((sum + x)); done\necho $sum\n"},
	"go":   {"main.go", "package main\n\nimport \"fmt\"\n\nfunc main() {\n\tvar x, sum int\n\tfor {\n\t\tif _, err := fmt.Scan(&x); err != nil {\n\t\t\tbreak\n\t\t}\n\t\tsum += x\n\t}\n\tfmt.Println(sum)\n}\n"},
	"java": {"Main.java", "import java.util.Scanner;\n\npublic class Main {\n  public static void main(String[] args) {\n    int sum = 0;\n    for (Scanner in = new Scanner(System.in); in.hasNextInt();) sum += in.nextInt();\n    System.out.println(sum);\n  }\n}\n"},
	"node": {"main.js", "const words = require(\"fs\").readFileSync(0, \"utf8\").split(/\\s+/).filter(Boolean);\nconsole.log(words.reduce((sum, x) => sum + Number(x), 0));\n"},
	"php":  {"main.php", "<?php\necho array_sum(preg_split('/\\s+/', trim(stream_get_contents(STDIN)))), \"\\n\";\n"},
	"ruby": {"main.rb", "puts STDIN.read.split.sum(&:to_i)\n"},
}

// played is one program and what became of it.
type played struct {
	Program jobs.Program        `json:"program"`
	Result  *jobs.ProgramResult `json:"result"`
	Fault   string              `json:"fault"` // why it did not run
}

// play shows the playground, with a program that ran or one to begin with.
func (s *Server) play(w http.ResponseWriter, r *http.Request) error {
	if s.cfg.Run == nil || len(s.cfg.Runtimes) == 0 {
		return refuse(http.StatusNotFound, "no runtime for programs is installed here")
	}
	p := played{}
	if doc := s.plays.get(r.URL.Query().Get("run")); doc != nil {
		if err := json.Unmarshal(doc, &p); err != nil {
			return err
		}
	} else {
		p.Program.Runtime = s.runtime(r.URL.Query().Get("runtime")).Name
		start, ok := starters[p.Program.Runtime]
		if !ok {
			start.file = "main"
		}
		p.Program.Files = []jobs.ProgramFile{{Basename: start.file, Contents: start.source}}
		p.Program.Stdin = "1 2 39\n"
	}
	rt := s.runtime(p.Program.Runtime)
	told := s.hub.number()
	version, _ := s.current()
	s.render(w, http.StatusOK, "play", map[string]any{
		"Title": "Playground", "Version": version, "Tier": s.cfg.Tier, "Told": told, "Runtimes": s.cfg.Runtimes, "Runtime": rt, "Played": p,
		"File": p.Program.Files[0], "Token": s.token("play", ""),
	})
	return nil
}

// runtime is one of ours by name, or the first.
func (s *Server) runtime(name string) jobs.Runtime {
	i := slices.IndexFunc(s.cfg.Runtimes, func(rt jobs.Runtime) bool { return rt.Name == name })
	return s.cfg.Runtimes[max(i, 0)]
}

// runProgram runs what was sent, and leads to what came of it.
func (s *Server) runProgram(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := s.checkToken(r, "play", ""); err != nil {
		return err
	}
	if s.cfg.Run == nil {
		return refuse(http.StatusNotFound, "no runtime for programs is installed here")
	}
	p := played{Program: jobs.Program{
		Runtime: r.PostFormValue("runtime"), Mode: r.PostFormValue("mode"), Stdin: r.PostFormValue("stdin"), Main: r.PostFormValue("file"),
		Files: []jobs.ProgramFile{{Basename: r.PostFormValue("file"), Contents: r.PostFormValue("source")}},
	}}
	var err error
	if p.Result, err = s.cfg.Run(r.Context(), &p.Program); err != nil {
		var refused *jobs.Error
		if !errors.As(err, &refused) || refused.Retryable {
			return err
		}
		p.Fault = refused.Message
	}
	doc, err := json.Marshal(p)
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/play?"+url.Values{"run": {s.plays.put(doc)}}.Encode()+"#result", http.StatusSeeOther)
	return nil
}
