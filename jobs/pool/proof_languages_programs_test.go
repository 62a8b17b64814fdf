package pool

import (
	"github.com/prairielambda/prairielambda/jobs"
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
memory) tail /dev/zero && echo survived ;; # in search of a line; bash itself is slow to take much
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
		name: "go", crash: "SIGKILL", builds: true, broken: file("main.go", "package main\nfunc main() { return x\n"),
		files: []jobs.ProgramFile{
			file("helper.go", "package main\nfunc join(a, b string) string { return a + \"|\" + b }\n"),
			// Few packages: the standard library is compiled with the program.
			file("main.go", `package main
import ("os"; "syscall"; "time")
func main() {
	switch os.Args[1] {
	case "echo":
		line := make([]byte, 100)
		n, _ := os.Stdin.Read(line)
		os.Stdout.WriteString(join(string(line[:n-1]), os.Args[2]) + "\n")
	case "code": os.Exit(7)
	case "crash": syscall.Kill(os.Getpid(), syscall.SIGKILL); time.Sleep(time.Minute)
	case "flood": for x := make([]byte, 1000); ; { os.Stdout.Write(x) }
	case "sleep": time.Sleep(time.Hour)
	case "spin": for {}
	case "memory":
		var held [][]byte
		for range 4096 {
			b := make([]byte, 1<<20)
			for i := range b { b[i] = 1 }
			held = append(held, b)
		}
		os.Stdout.WriteString("survived\n")
		_ = held
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
