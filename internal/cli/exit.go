package cli

import (
	"context"
	"errors"
	"fmt"
)

// Exit codes of every command.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitPartial     = 3  // some of the work was done
	ExitConflict    = 4  // somebody else changed the same thing first
	ExitInternal    = 70 // our own fault
	ExitUnavailable = 75 // the store cannot be reached, or another try may help
	ExitInterrupted = 130
)

type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// WithCode gives err an exit code; nil stays nil. The outermost code counts.
func WithCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codeError{code, err}
}

// Usagef is a mistake in how the command was called (code 2).
func Usagef(format string, args ...any) error {
	return &codeError{ExitUsage, fmt.Errorf(format, args...)}
}

// Silent ends the process with code and prints nothing: the results already said it.
func Silent(code int) error { return &codeError{code, errors.New("")} }

// ExitCode maps an error to the process's exit code.
func ExitCode(err error) int {
	var ce *codeError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &ce):
		return ce.code
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	default:
		return ExitFailed
	}
}
