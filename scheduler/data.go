package scheduler

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// maxDepth is how deep a data object may be nested: Python's own JSON goes about
// as deep, and nothing that a question holds comes near.
const maxDepth = 500

// checkData refuses what no sandbox need be asked: data that is no object, is
// nested too deeply, or has a seed that no random stream can begin with. data is
// valid JSON.
func checkData(data json.RawMessage) error {
	if len(data) == 0 || bytes.TrimLeft(data, " \t\r\n")[0] != '{' {
		return refuse(http.StatusBadRequest, "bad_request", "data is missing or not an object")
	}
	depth, seed := scanData(data)
	if depth > maxDepth {
		return refuse(http.StatusBadRequest, "bad_request", "data is nested more than "+strconv.Itoa(maxDepth)+" levels deep")
	}
	if seed != nil && string(seed) != "null" {
		if _, err := strconv.ParseUint(string(seed), 10, 32); err != nil {
			return refuse(http.StatusBadRequest, "bad_request", "data.variant_seed is not an integer from 0 to 4294967295")
		}
	}
	return nil
}

// scanData walks once over an object: how deep it is nested, and the value of its
// own variant_seed, nil without one. The last of equal keys counts, as in Python;
// encoding/json would take VariantSeed for it too.
func scanData(b []byte) (depth int, seed []byte) {
	level, key, value := 0, []byte(nil), -1
	end := func(i int) {
		if level == 1 && value >= 0 && isSeed(key) {
			seed = bytes.TrimSpace(b[value:i])
		}
		if level == 1 {
			key, value = nil, -1
		}
	}
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			start := i
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if level == 1 && value < 0 {
				key = b[start:min(i+1, len(b))]
			}
		case ':':
			if level == 1 && value < 0 {
				value = i + 1
			}
		case ',':
			end(i)
		case '{', '[':
			level++
			depth = max(depth, level)
		case '}', ']':
			end(i)
			level--
		}
	}
	return depth, seed
}

func isSeed(key []byte) bool {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key) == `"variant_seed"`
	}
	var s string
	return json.Unmarshal(key, &s) == nil && s == "variant_seed"
}
