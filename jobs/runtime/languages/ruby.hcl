runtime "ruby" {
  needs    = ["/usr/bin/ruby"]
  version  = ["/usr/bin/ruby", "-e", "print RUBY_VERSION"]
  suffixes = [".rb"]
  install  = "apt install ruby"
  step "run" {
    command = ["/usr/bin/ruby", "{main}", "{args}"]
  }
  step "compile" {
    command = ["/usr/bin/ruby", "-c", "{main}"]
  }
  mode "run" { steps = ["run"] }
  mode "compile" { steps = ["compile"] }
}
