// Package attacks holds programs that try to get out of a sandbox, to hurt what
// is beside it, or to outlive it. They are functions in testdata/*.py; every one
// runs on demand and on a warm spare, in the tiers root and userns, and what
// counts is asserted from outside: files, mounts, listeners, processes, the
// zygotes, and the answer to the next call.
//
// A new attack is one more function. It must be refused (raise), or have a row
// in wants_test.go that says what else counts as a failure of the attack.
package attacks
