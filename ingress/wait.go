package ingress

import (
	"fmt"
	"net/http"

	"github.com/funker-dispatch/funker-dispatch/queue"
)

// StatusWaiting is what a gateway of a cluster says of its health, with 503, while it does not reach most of the others.
// There is nothing wrong with itself.
const StatusWaiting = "waiting for the other gateways"

// Wait answers for a gateway that does not serve yet, as it waits for others: come again soon.
func Wait(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", contentJSON)
	if r.URL.Path == healthPath {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintf(w, `{"status":%q}`, StatusWaiting)
		return
	}
	w.Header().Set("Retry-After", meanings[queue.CodeStopping].retry)
	w.Header().Set("Funker-Error", codeUnavailable)
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintf(w, `{"error":{"code":%q,"message":"the gateway waits until it reaches most of the others: try again soon"}}`, codeUnavailable)
}
