package pool

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prairielambda/prairielambda/jobs"
	"github.com/prairielambda/prairielambda/jobs/runtime"
)

// A language is tried with one program of two files whose first argument says
// what to do, and with one that its compiler refuses.
type language struct {
	name   string
	files  []jobs.ProgramFile
	broken jobs.ProgramFile
	builds bool   // has a build step of its own
	crash  string // the signal that its crash ends with; "" where it cannot send itself one
}

func file(name, contents string) jobs.ProgramFile {
	return jobs.ProgramFile{Basename: name, Contents: contents}
}

var languages = []language{
	{
		name: "python", crash: "SIGABRT", broken: file("main.py", "def f(:\n"),
		files: []jobs.ProgramFile{file("helper.py", "def join(a, b): return a + '|' + b\n"), file("main.py", `
import os, sys, time, helper
do = sys.argv[1]
if do == "echo": print(helper.join(input(), sys.argv[2]))
elif do == "code": sys.exit(7)
elif do == "crash": os.abort()
elif do == "flood":
    while True: print("x" * 1000)
elif do == "sleep": time.sleep(1000)
elif do == "spin":
    while True: pass
elif do == "memory":
    held = [b"x" * (1 << 20) for _ in range(4096)]
    print("survived")
`)},
	},
	{
		name: "node", crash: "SIGABRT", broken: file("main.js", "function (\n"),
		files: []jobs.ProgramFile{file("helper.js", "exports.join = (a, b) => a + '|' + b;\n"), file("main.js", `
const { join } = require("./helper.js"), fs = require("fs"), [todo, arg] = process.argv.slice(2);
if (todo == "echo") console.log(join(fs.readFileSync(0, "utf8").trim(), arg));
else if (todo == "code") process.exit(7);
else if (todo == "crash") process.abort();
else if (todo == "flood") for (;;) fs.writeSync(1, "x".repeat(1000));
else if (todo == "sleep") setTimeout(() => {}, 1e6);
else if (todo == "spin") for (;;);
else if (todo == "memory") {
  const held = [];
  for (let i = 0; i < 4096; i++) held.push(Buffer.alloc(1 << 20, 1));
  console.log("survived");
}
`)},
	},
	{
		name: "php", crash: "SIGABRT", broken: file("main.php", "<?php function (\n"),
		files: []jobs.ProgramFile{file("helper.php", "<?php function join2($a, $b) { return $a . '|' . $b; }\n"), file("main.php", `<?php
require 'helper.php';
switch ($argv[1]) {
case "echo": echo join2(trim(fgets(STDIN)), $argv[2]), "\n"; break;
case "code": exit(7);
case "crash": posix_kill(posix_getpid(), 6); break;
case "flood": while (true) echo str_repeat("x", 1000);
case "sleep": sleep(1000);
case "spin": while (true);
case "memory":
  ini_set("memory_limit", -1);
  for ($i = 0; $i < 4096; $i++) $held[] = str_repeat(chr($i % 256), 1 << 20);
  echo "survived";
}
`)},
	},
	{
		name: "ruby", crash: "SIGABRT", broken: file("main.rb", "def (\n"),
		files: []jobs.ProgramFile{file("helper.rb", "def join(a, b) = a + '|' + b\n"), file("main.rb", `
require_relative "helper"
case ARGV[0]
when "echo" then puts join(STDIN.gets.strip, ARGV[1])
when "code" then exit 7
when "crash" then abort_by = Process.kill("ABRT", $$); sleep 5
when "flood" then loop { puts "x" * 1000 }
when "sleep" then sleep 1000
when "spin" then loop {}
when "memory"
  held = (0...4096).map { |i| (i % 256).chr * (1 << 20) }
  puts "survived #{held.size}"
end
`)},
	},
	{
		name: "bash", crash: "SIGABRT", broken: file("main.sh", "if then (\n"),
		files: []jobs.ProgramFile{file("helper.sh", "join() { echo \"$1|$2\"; }\n"), file("main.sh", `
. ./helper.sh
case $1 in
echo) read -r line; join "$line" "$2" ;;
code) exit 7 ;;
crash) kill -ABRT $$; sleep 5 ;;
flood) while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done ;;
sleep) sleep 1000 ;;
spin) while :; do :; done ;;
memory) held=$(head -c 4G /dev/zero | tr '\0' x); echo "survived ${#held}" ;;
esac
`)},
	},
	{
		name: "c", crash: "SIGSEGV", builds: true, broken: file("main.c", "int main(void) { return x; }\n"),
		files: []jobs.ProgramFile{
			file("helper.h", "void join(const char *a, const char *b);\n"),
			file("helper.c", "#include <stdio.h>\n#include \"helper.h\"\nvoid join(const char *a, const char *b) { printf(\"%s|%s\\n\", a, b); }\n"),
			file("main.c", `
#include "helper.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int n, char **v) {
	char line[99];
	switch (v[1][0]) {
	case 'e': scanf("%98s", line); join(line, v[2]); return 0;
	case 'c': if (v[1][1] == 'o') return 7; *(volatile int *)0 = 1;
	case 'f': for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	case 's': if (v[1][1] == 'l') sleep(1000); for (;;);
	case 'm': for (int i = 0; i < 4096; i++) memset(malloc(1 << 20), i | 1, 1 << 20); puts("survived");
	}
}
`),
		},
	},
	{
		name: "c++", crash: "SIGABRT", builds: true, broken: file("main.cpp", "int main() { return x; }\n"),
		files: []jobs.ProgramFile{
			file("helper.hpp", "#include <string>\nstd::string join(std::string a, std::string b);\n"),
			file("helper.cpp", "#include \"helper.hpp\"\nstd::string join(std::string a, std::string b) { return a + \"|\" + b; }\n"),
			file("main.cpp", `
#include "helper.hpp"
#include <chrono>
#include <iostream>
#include <stdexcept>
#include <thread>
#include <vector>
int main(int, char **v) {
	std::string todo = v[1], line;
	if (todo == "echo") { std::getline(std::cin, line); std::cout << join(line, v[2]) << std::endl; }
	if (todo == "code") return 7;
	if (todo == "crash") throw std::runtime_error("on purpose");
	if (todo == "flood") for (;;) std::cout << std::string(1000, 'x') << std::endl;
	if (todo == "sleep") std::this_thread::sleep_for(std::chrono::hours(1));
	if (todo == "spin") for (volatile int i = 0;; i = i + 1) {}
	if (todo == "memory") {
		std::vector<std::string> held;
		for (int i = 0; i < 4096; i++) held.emplace_back(1 << 20, 'x');
		std::cout << "survived" << held.size() << std::endl;
	}
}
`),
		},
	},
	{
		name: "go", crash: "SIGKILL", builds: true, broken: file("main.go", "package main\nfunc main() { return x }\n"),
		files: []jobs.ProgramFile{
			file("helper.go", "package main\nfunc join(a, b string) string { return a + \"|\" + b }\n"),
			file("main.go", `package main
import ("bufio"; "fmt"; "os"; "strings"; "syscall"; "time")
func main() {
	switch os.Args[1] {
	case "echo":
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Println(join(strings.TrimSpace(line), os.Args[2]))
	case "code": os.Exit(7)
	case "crash": syscall.Kill(os.Getpid(), syscall.SIGKILL); time.Sleep(time.Minute)
	case "flood": for { fmt.Println(strings.Repeat("x", 1000)) }
	case "sleep": time.Sleep(time.Hour)
	case "spin": for {}
	case "memory":
		var held [][]byte
		for range 4096 {
			b := make([]byte, 1<<20)
			for i := range b { b[i] = 1 }
			held = append(held, b)
		}
		fmt.Println("survived", len(held))
	}
}
`),
		},
	},
	{
		name: "java", builds: true, broken: file("Main.java", "public class Main { int f() { return x; } }\n"),
		files: []jobs.ProgramFile{
			file("Helper.java", "class Helper { static String join(String a, String b) { return a + \"|\" + b; } }\n"),
			file("Main.java", `
import java.util.*;
public class Main {
	public static void main(String[] a) throws Exception {
		switch (a[0]) {
		case "echo": System.out.println(Helper.join(new Scanner(System.in).nextLine(), a[1])); break;
		case "code": System.exit(7);
		case "flood": while (true) System.out.println("x".repeat(1000));
		case "sleep": Thread.sleep(1000000);
		case "spin": for (;;);
		case "memory":
			List<byte[]> held = new ArrayList<>();
			for (int i = 0; i < 4096; i++) held.add(new byte[1 << 20]);
			System.out.println("survived " + held.size());
		}
	}
}
`),
		},
	},
	{
		name: "ada", builds: true, broken: file("main.adb", "procedure Main is begin X := 1; end Main;\n"),
		files: []jobs.ProgramFile{
			file("helper.ads", "package Helper is\n   function Join (A, B : String) return String;\nend Helper;\n"),
			file("helper.adb", "package body Helper is\n   function Join (A, B : String) return String is (A & \"|\" & B);\nend Helper;\n"),
			file("main.adb", `
with Ada.Text_IO; use Ada.Text_IO;
with Ada.Command_Line; use Ada.Command_Line;
with Helper;
procedure Main is
   type Block is array (1 .. 2 ** 20) of Character;
   type Pointer is access Block;
   Held : array (1 .. 4096) of Pointer;
   Todo : constant String := Argument (1);
begin
   if Todo = "echo" then
      Put_Line (Helper.Join (Get_Line, Argument (2)));
   elsif Todo = "code" then
      Set_Exit_Status (7);
   elsif Todo = "flood" then
      loop
         Put_Line ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
      end loop;
   elsif Todo = "sleep" then
      delay 1000.0;
   elsif Todo = "spin" then
      loop
         null;
      end loop;
   elsif Todo = "memory" then
      for P of Held loop
         P := new Block'(others => 'x');
      end loop;
      Put_Line ("survived" & Held (4096).all (1));
   end if;
end Main;
`),
		},
	},
}

// quick are limits under which a program's every end comes soon; its build has
// those of its runtime.
func quick(t *testing.T) *Pool {
	t.Helper()
	ls, err := runtime.LoadLanguages()
	require.NoError(t, err)
	return newPool(t, tree(t, map[string]string{"infoCourse.json": "{}"}), func(c *Config) {
		c.Languages, c.Spares = ls, -1
		c.Default = jobs.Limits{Wall: 4 * time.Second, CPU: 2 * time.Second, Memory: 192 << 20, Output: 64 << 10}
	})
}

// Every language reads its input and arguments from several files, ends with a
// code or a signal, meets each limit, and says what it used; each by its one file
// of data.
func TestEveryLanguage(t *testing.T) {
	p := quick(t)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
			defer cancel()
			cases := []jobs.ProgramCase{
				{Name: "echo", Args: []string{"echo", "; -x \"y\" $(id)"}, Stdin: "in\n", Expect: "in|; -x \"y\" $(id)"},
				{Name: "code", Args: []string{"code"}},
				{Name: "flood", Args: []string{"flood"}},
				{Name: "sleep", Args: []string{"sleep"}},
				{Name: "spin", Args: []string{"spin"}},
				{Name: "memory", Args: []string{"memory"}},
			}
			if l.crash != "" {
				cases = append(cases, jobs.ProgramCase{Name: "crash", Args: []string{"crash"}})
			}
			res, err := p.Run(ctx, &jobs.Program{Runtime: l.name, Files: l.files, Cases: cases})
			if err != nil && missingRuntime(t, err) {
				return
			}
			require.NoError(t, err)
			if l.builds {
				require.NotEmpty(t, res.Steps)
				require.Equal(t, "build", res.Steps[0].Name)
				require.Zero(t, res.Steps[0].ExitCode, "%+v", res.Steps[0])
				res.Steps = res.Steps[1:]
			}
			require.Len(t, res.Steps, len(cases))
			for i, s := range res.Steps {
				name, c := cases[i].Name, res.Cases[i]
				require.Equal(t, "run", s.Name)
				require.NotContains(t, s.Stdout, "survived")
				require.True(t, strings.HasPrefix(res.Runtime, l.name+"@"))
				require.Positive(t, s.Usage.Wall, "%s %+v", name, s)
				require.Positive(t, s.Usage.CPU, "%s %+v", name, s)
				require.Positive(t, s.Usage.Memory, "%s %+v", name, s)
				require.LessOrEqual(t, len(s.Stdout), 64<<10)
				switch name {
				case "echo":
					require.True(t, c.Passed, "%+v %+v", c, s)
				case "code":
					require.Equal(t, jobs.OK, c.Outcome, "%+v", s)
					require.Equal(t, 7, s.ExitCode)
				case "crash":
					require.Equal(t, l.crash, s.Signal, "%+v", s)
				case "flood":
					require.Equal(t, jobs.OutputTooLarge, c.Outcome, "%+v", c.ExitCode)
					require.True(t, s.Truncated)
				case "sleep":
					require.Equal(t, jobs.Timeout, c.Outcome, "%+v", s)
					require.GreaterOrEqual(t, s.Usage.Wall, 4*time.Second)
				case "spin":
					require.Equal(t, jobs.Timeout, c.Outcome, "%+v", s)
				case "memory": // the kernel ends it, or the language's own bound does
					require.True(t, c.Outcome == jobs.OutOfMemory || c.Outcome == jobs.OK && s.ExitCode != 0, "%+v", s)
				}
			}
		})
	}
}

func TestEveryLanguageRefusesWhatDoesNotCompile(t *testing.T) {
	p := quick(t)
	for _, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			modes := []string{"compile", "run"}
			if l.name == "go" { // compiles its runtime first, each time
				modes = modes[1:]
			}
			for _, mode := range modes {
				res, err := p.Run(context.Background(), &jobs.Program{Runtime: l.name, Mode: mode, Files: []jobs.ProgramFile{l.broken}})
				if err != nil && missingRuntime(t, err) {
					return
				}
				require.NoError(t, err)
				want := jobs.OK
				if l.builds {
					want = jobs.BuildFailed
				}
				require.Equal(t, want, res.Outcome, "%+v", res)
				require.NotZero(t, res.ExitCode, "%+v", res)
				require.Contains(t, res.Stdout+res.Stderr, strings.TrimSuffix(l.broken.Basename, ".java"), "names the file")
			}
		})
	}
}

// The languages of this file are those that there are.
func TestNoLanguageIsForgotten(t *testing.T) {
	entries, err := os.ReadDir("../runtime/languages")
	require.NoError(t, err)
	require.Len(t, entries, len(languages))
}

// What cannot be proven for want of the prover is said so.
func TestProvingNeedsAProver(t *testing.T) {
	p := quick(t)
	files := []jobs.ProgramFile{file("main.adb", "procedure Main with SPARK_Mode is begin null; end Main;\n")}
	res, err := p.Run(context.Background(), &jobs.Program{Runtime: "ada", Mode: "prove", Files: files})
	if _, missing := os.Stat("/usr/bin/gnatprove"); missing == nil {
		require.NoError(t, err)
		require.Equal(t, jobs.OK, res.Outcome, "%+v", res)
		return
	}
	var je *jobs.Error
	require.True(t, errors.As(err, &je), "%v", err)
	require.Equal(t, "runtime_missing", je.Code)
	require.Contains(t, je.Message, "gnatprove")
}

// A new language is one file, here one that lies elsewhere.
func TestALanguageIsOneFile(t *testing.T) {
	ls, err := runtime.LoadLanguages(fstest.MapFS{"sed.hcl": {Data: []byte(`
runtime "sed" {
  needs    = ["/usr/bin/sed"]
  version  = ["/usr/bin/sed", "--version"]
  suffixes = [".sed"]
  install  = "apt install sed"
  step "run" { command = ["/usr/bin/sed", "-f", "{main}", "{args}"] }
  mode "run" { steps = ["run"] }
}`)}})
	require.NoError(t, err)
	require.True(t, slices.ContainsFunc(ls.Describe(), func(r jobs.Runtime) bool { return r.Name == "sed" }))
	p := newPool(t, tree(t, map[string]string{"infoCourse.json": "{}"}), func(c *Config) { c.Languages, c.Spares = ls, -1 })
	res, err := p.Run(context.Background(), &jobs.Program{Files: []jobs.ProgramFile{file("a.sed", "s/a/b/g\n")}, Stdin: "banana\n"})
	require.NoError(t, err)
	require.Equal(t, "bbnbnb\n", res.Stdout, "%+v", res)
}
