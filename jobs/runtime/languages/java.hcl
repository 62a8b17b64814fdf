runtime "java" {
  needs    = ["/usr/bin/javac", "/usr/bin/java"]
  version  = ["/usr/bin/javac", "-version"]
  suffixes = [".java"]
  install  = "apt install default-jdk-headless"
  step "build" {
    command    = ["/usr/bin/javac", "-J-Xmx256m", "-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-d", "/work/.classes", "{switches.Compiler}", "{sources}"]
    seconds    = 60
    memory_mib = 768
    processes  = 128
  }
  step "run" {
    command    = ["/usr/bin/java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", "/work/.classes", "{stem}", "{args}"]
    memory_mib = 512
    processes  = 128
  }
  mode "run" { steps = ["build", "run"] }
  mode "compile" { steps = ["build"] }
}
