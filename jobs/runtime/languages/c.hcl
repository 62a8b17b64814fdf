runtime "c" {
  needs    = ["/usr/bin/gcc"]
  version  = ["/usr/bin/gcc", "-dumpfullversion"]
  suffixes = [".c"]
  install  = "apt install gcc libc6-dev"
  step "build" {
    command = ["/usr/bin/gcc", "-O2", "-Wall", "-o", "/work/.program", "{switches.Compiler}", "{sources}", "-lm", "{switches.Linker}"]
    seconds = 30
  }
  step "run" {
    command = ["/work/.program", "{args}"]
  }
  mode "run" { steps = ["build", "run"] }
  mode "compile" { steps = ["build"] }
}
