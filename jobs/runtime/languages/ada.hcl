runtime "ada" {
  needs    = ["/usr/bin/gnatmake", "/usr/bin/gprbuild"]
  version  = ["/usr/bin/gnatmake", "--version"]
  suffixes = [".adb", ".ads"]
  install  = "apt install gnat gprbuild"
  file "main.gpr" {
    contents = <<-GPR
      project Main is
         for Source_Dirs use (".");
         for Object_Dir use ".obj";
         for Create_Missing_Dirs use "True";
         for Main use ("{main}");
         package Compiler is
            for Default_Switches ("Ada") use ("-g", "-O1", "-gnata", "-gnatwa"{switches.Compiler});
         end Compiler;
         package Builder is
            for Default_Switches ("Ada") use ("-g"{switches.Builder});
         end Builder;
      end Main;
    GPR
  }
  step "build" {
    command = ["/usr/bin/gprbuild", "-q", "-P", "main.gpr", "-o", "../.program"]
    seconds = 60
  }
  step "run" {
    command = ["/work/.program", "{args}"]
  }
  step "prove" {
    needs   = ["/usr/bin/gnatprove"]
    install = "install gnatprove from https://alire.ada.dev"
    command = ["/usr/bin/gnatprove", "-P", "main.gpr", "--checks-as-errors", "--level=0"]
    seconds = 120
  }
  step "prove_flow" {
    needs   = ["/usr/bin/gnatprove"]
    install = "install gnatprove from https://alire.ada.dev"
    command = ["/usr/bin/gnatprove", "-P", "main.gpr", "--checks-as-errors", "--level=0", "--mode=flow"]
    seconds = 120
  }
  step "prove_report_all" {
    needs   = ["/usr/bin/gnatprove"]
    install = "install gnatprove from https://alire.ada.dev"
    command = ["/usr/bin/gnatprove", "-P", "main.gpr", "--checks-as-errors", "--level=0", "--report=all"]
    seconds = 120
  }
  step "prove_flow_report_all" {
    needs   = ["/usr/bin/gnatprove"]
    install = "install gnatprove from https://alire.ada.dev"
    command = ["/usr/bin/gnatprove", "-P", "main.gpr", "--checks-as-errors", "--level=0", "--mode=flow", "--report=all"]
    seconds = 120
  }
  mode "run" { steps = ["build", "run"] }
  mode "compile" { steps = ["build"] }
  mode "prove" { steps = ["prove"] }
  mode "prove_flow" { steps = ["prove_flow"] }
  mode "prove_report_all" { steps = ["prove_report_all"] }
  mode "prove_flow_report_all" { steps = ["prove_flow_report_all"] }
}
