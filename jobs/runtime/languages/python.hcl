runtime "python" {
  needs    = ["/usr/bin/python3"]
  version  = ["/usr/bin/python3", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"]
  suffixes = [".py"]
  install  = "apt install python3"
  step "run" {
    command = ["/usr/bin/python3", "-B", "{main}", "{args}"]
  }
  step "compile" {
    command = ["/usr/bin/python3", "-c", "import sys; [compile(open(f).read(), f, 'exec') for f in sys.argv[1:]]", "{sources}"]
  }
  mode "run" { steps = ["run"] }
  mode "compile" { steps = ["compile"] }
}
