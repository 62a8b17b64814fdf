runtime "bash" {
  aliases  = ["sh"]
  needs    = ["/bin/bash"]
  version  = ["/bin/bash", "-c", "echo $${BASH_VERSION%%(*}"]
  suffixes = [".sh", ".bash"]
  install  = "apt install bash"
  step "run" {
    command = ["/bin/bash", "{main}", "{args}"]
  }
  step "compile" {
    command = ["/bin/bash", "-n", "{main}"]
  }
  mode "run" { steps = ["run"] }
  mode "compile" { steps = ["compile"] }
}
