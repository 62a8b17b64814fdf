runtime "node" {
  aliases  = ["javascript", "js"]
  needs    = ["/usr/bin/node"]
  version  = ["/usr/bin/node", "-p", "process.versions.node"]
  suffixes = [".js", ".mjs", ".cjs"]
  install  = "apt install nodejs"
  step "run" {
    command   = ["/usr/bin/node", "{main}", "{args}"]
    processes = 64
  }
  step "compile" {
    command = ["/usr/bin/node", "--check", "{main}"]
  }
  mode "run" { steps = ["run"] }
  mode "compile" { steps = ["compile"] }
}
