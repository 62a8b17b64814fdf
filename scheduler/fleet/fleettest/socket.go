package fleettest

import (
	"encoding/json"
	"net/http"

	"github.com/coder/websocket"
)

// socket is one session: state that lives as long as the socket. Every line is
// answered with how many lines the session has seen; a line whose fcn is "die"
// breaks the connection as a killed worker would.
func (w *Worker) socket(rw http.ResponseWriter, r *http.Request, st State) {
	if _, _, e := st.find(r.URL.Query().Get("course"), r.URL.Query().Get("version")); e != nil {
		refuse(rw, http.StatusNotFound, e)
		return
	}
	c, err := websocket.Accept(rw, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(64 << 20)
	w.Sessions.Add(1)
	defer w.Sessions.Add(-1)
	for seen := 1; ; seen++ {
		_, line, err := c.Read(r.Context())
		var call struct {
			Fcn string `json:"fcn"`
		}
		if err != nil || json.Unmarshal(line, &call) != nil || call.Fcn == "die" {
			return
		}
		answer, _ := json.Marshal(map[string]any{"data": seen, "output": "", "functionMissing": false})
		if c.Write(r.Context(), websocket.MessageText, answer) != nil {
			return
		}
	}
}
