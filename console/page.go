package console

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// A list goes on at the link "next" of its header (RFC 8288). The cursor in it stands for a place in the streams, not for
// a number of rows: what is stored meanwhile moves nothing.

// linkNext names the request that goes on: the same one, with some parameters set to something else.
func linkNext(w http.ResponseWriter, r *http.Request, cursor string, fixed url.Values) {
	w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, nextAddress(r, cursor, fixed)))
}

func nextAddress(r *http.Request, cursor string, fixed url.Values) string {
	query := r.URL.Query()
	maps.Copy(query, fixed)
	query.Set("cursor", base64.RawURLEncoding.EncodeToString([]byte(cursor)))
	return r.URL.EscapedPath() + "?" + query.Encode()
}

// cursorOf reads the place that linkNext wrote, "" for none.
func cursorOf(v url.Values) (string, error) {
	place, err := base64.RawURLEncoding.DecodeString(v.Get("cursor"))
	if err != nil {
		return "", fmt.Errorf("%w: the cursor is none of ours: take the link \"next\" of the answer before", queue.ErrArgument)
	}
	return string(place), nil
}
