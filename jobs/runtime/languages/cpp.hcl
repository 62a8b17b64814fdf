runtime "c++" {
  aliases  = ["cpp", "cxx"]
  needs    = ["/usr/bin/g++"]
  version  = ["/usr/bin/g++", "-dumpfullversion"]
  suffixes = [".cpp", ".cc", ".cxx"]
  install  = "apt install g++"
  step "build" {
    command = ["/usr/bin/g++", "-O2", "-Wall", "-std=c++20", "-o", "/work/.program", "{switches.Compiler}", "{sources}", "{switches.Linker}"]
    seconds = 60
  }
  step "run" {
    command = ["/work/.program", "{args}"]
  }
  mode "run" { steps = ["build", "run"] }
  mode "compile" { steps = ["build"] }
}
