runtime "php" {
  needs    = ["/usr/bin/php"]
  version  = ["/usr/bin/php", "-r", "echo PHP_VERSION;"]
  suffixes = [".php"]
  install  = "apt install php-cli"
  step "run" {
    command = ["/usr/bin/php", "{main}", "{args}"]
  }
  step "compile" {
    command = ["/usr/bin/php", "-l", "{main}"]
  }
  mode "run" { steps = ["run"] }
  mode "compile" { steps = ["compile"] }
}
