runtime "go" {
  aliases  = ["golang"]
  needs    = ["/usr/local/go/bin/go"]
  version  = ["/usr/local/go/bin/go", "env", "GOVERSION"]
  suffixes = [".go"]
  install  = "unpack Go into /usr/local/go, see https://go.dev/doc/install"
  env      = ["GOPATH=/tmp/go", "GOCACHE=/tmp/cache", "GOFLAGS=-mod=mod", "GOPROXY=off", "GOTOOLCHAIN=local", "CGO_ENABLED=0", "GO111MODULE=off"]
  step "build" {
    command    = ["/usr/local/go/bin/go", "build", "-p", "2", "-o", "/work/.program", "{switches.Compiler}", "{sources}"]
    seconds    = 120 # the standard library is compiled too
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
