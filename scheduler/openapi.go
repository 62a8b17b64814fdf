package scheduler

import _ "embed"

// openapi describes every route; a test holds it to the routes and to the types
// that they decode and encode.
//
//go:embed openapi.json
var openapi []byte

func (g *Gateway) serveOpenAPI(x *exchange) error {
	x.send("application/json", openapi)
	return nil
}
