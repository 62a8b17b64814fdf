// Command visitor lies in a course, setuid, and tells what it can do there.
package main

import (
	"fmt"
	"os"
)

func main() {
	b, err := os.ReadFile("/course/infoCourse.json")
	fmt.Println("read", len(b) > 0, err)
	fmt.Println("user", os.Geteuid())
	for _, name := range []string{"/course/new", "/course/infoCourse.json", "/course/questions/new"} {
		fmt.Println("wrote", os.WriteFile(name, []byte("x"), 0o666) == nil)
	}
	fmt.Println("removed", os.Remove("/course/infoCourse.json") == nil)
	fmt.Println("mode", os.Chmod("/course/infoCourse.json", 0o777) == nil)
}
