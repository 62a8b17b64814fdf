// Package browser tests the author's page from outside: the real binary over a
// real course, asked over HTTP and looked at with a real Chromium. It refuses to
// pass where something is left behind: a process, a mount, a directory.
package browser
