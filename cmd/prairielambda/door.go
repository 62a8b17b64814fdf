package main

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// door stands before a page that others than this machine can reach. A URL that
// was printed opens it once, for the browser that comes with it; the next URL is
// printed then. Names of what a panel loads cannot be guessed and need no key:
// panels have no origin, so that no cookie comes with what they ask for.
type door struct {
	next http.Handler
	url  string    // of the page
	out  io.Writer // where the next key is printed
	seat string    // the cookie of everybody let in

	mu  sync.Mutex // guards key
	key string
}

const seatName = "prairie-seat"

func newDoor(next http.Handler, url string, out io.Writer) *door {
	return &door{next: next, url: url, out: out, seat: rand.Text(), key: rand.Text()}
}

// address is where to go with the key of now.
func (d *door) address() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.url + "/?token=" + d.key
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := r.Cookie(seatName)
	if err == nil && same(c.Value, d.seat) || nameless(r) {
		d.next.ServeHTTP(w, r)
		return
	}
	if r.Method == http.MethodGet && r.URL.Path == "/" && d.turn(r.URL.Query().Get("token")) {
		http.SetCookie(w, &http.Cookie{Name: seatName, Value: d.seat, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		w.Header().Set("Referrer-Policy", "no-referrer")
		http.Redirect(w, r, "/", http.StatusSeeOther)
		fmt.Fprintf(d.out, "For another browser: %s\n", d.address())
		return
	}
	http.Error(w, "open this page by the address that prairielambda dev printed last; each works once", http.StatusForbidden)
}

// turn uses the key up.
func (d *door) turn(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !same(key, d.key) {
		return false
	}
	d.key = rand.Text()
	return true
}

// nameless requests name what only a page that was let in can know.
func nameless(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, prefix := range []string{"/static/", "/frame/", "/files/", "/dynamic/", "/submission/"} {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return true
		}
	}
	return false
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
