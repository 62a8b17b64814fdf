runtime "go" {
  aliases  = ["golang"]
  needs    = ["/usr/local/go/bin/go"]
  version  = ["/usr/local/go/bin/go", "env", "GOVERSION"]
  suffixes = [".go"]
  install  = "unpack Go into /usr/local/go, see https://go.dev/doc/install"
  env      = ["GOPATH=/tmp/go", "GOCACHE=/tmp/cache", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GO111MODULE=off"]
  ahead "GOCACHE" { # what programs import; the rest of the library is compiled when one does
    command = [
      "/usr/local/go/bin/go", "build", "-p", "2", "bufio", "bytes", "cmp", "container/heap", "container/list", "context", "errors", "flag", "fmt", "io", "log",
      "maps", "math", "math/big", "math/bits", "math/cmplx", "math/rand", "math/rand/v2", "os", "path/filepath", "regexp", "slices", "sort", "strconv",
      "strings", "sync", "sync/atomic", "text/tabwriter", "time", "unicode", "unicode/utf8", "encoding/json",
    ]
    seconds    = 300
    memory_mib = 1024
    files_mib  = 256
    processes  = 128
  }
  step "build" {
    command    = ["/usr/local/go/bin/go", "build", "-p", "2", "-o", "/work/.program", "{switches.Compiler}", "{sources}"]
    seconds    = 120 # the first program's compiles the standard library too
    memory_mib = 1024
    files_mib  = 512
    processes  = 128
  }
  step "run" {
    command   = ["/work/.program", "{args}"]
    processes = 64
  }
  mode "run" { steps = ["build", "run"] }
  mode "compile" { steps = ["build"] }
}
