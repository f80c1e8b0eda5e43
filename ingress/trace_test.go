package ingress

import (
	"net/http/httptest"
	"testing"
	"time"
)

func TestTrace_OffCostsNothing(t *testing.T) {
	s, x := &Server{}, &exchange{r: httptest.NewRequest("POST", "/x", nil), start: time.Now()}
	x.r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if n := testing.AllocsPerRun(100, func() { s.startSpan(x); s.endSpan(x) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
