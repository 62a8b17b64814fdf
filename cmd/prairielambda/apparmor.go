package main

import (
	"fmt"
	"io"
	"os"
)

// printAppArmor writes a profile that lets this very binary make user
// namespaces where AppArmor forbids them to programs without a profile.
func printAppArmor(w io.Writer) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	_, err = fmt.Fprintf(w, `abi <abi/4.0>,
include <tunables/global>

profile prairielambda %q flags=(unconfined) {
  userns,
  include if exists <local/prairielambda>
}
`, self)
	return err
}
