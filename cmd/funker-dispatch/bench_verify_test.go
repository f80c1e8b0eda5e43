package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// What is measured is the check of a signature: it fails when the body is another one.
func TestBench_VerifiesWhatIsSigned(t *testing.T) {
	all, err := verifications(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unsigned := []string{"webhook with a bearer token, 10 KiB", hashAlone, "github, 25 MB: HMAC, as of a forged one"}
	for _, v := range all {
		if slices.Contains(unsigned, v.what) {
			continue
		}
		at := max(bytes.Index(v.body, []byte("HelloIntent")), bytes.Index(v.body, []byte("Amazon S3")), bytes.Index(v.body, []byte("refs/heads")))
		v.body[at] ^= 'a' ^ 'A'
		var e *trigger.Error
		if err := v.do(t.Context()); !errors.As(err, &e) || e.Reason != trigger.ReasonForged {
			t.Errorf("%s, with another body: got %v", v.what, err)
		}
		v.body[at] ^= 'a' ^ 'A'
	}
}

func TestBench_LargeBodiesHaveTheirSize(t *testing.T) {
	for _, size := range []int{smallBody, smallBody + 1, 1 << 20} {
		body := filled(trigger.Sample(trigger.Stripe), size)
		if len(body) != size || trigger.CheckJSON(body) != nil {
			t.Errorf("got %d bytes, %v; want %d", len(body), trigger.CheckJSON(body), size)
		}
	}
}

func TestBench_SaysWhatIsWantedOfVerification(t *testing.T) {
	verified := func(what string, us float64, c cost) row {
		return row{What: what, Clients: 1, Rate: 1e6 / us, P50: us / 1e3, P99: us / 1e3, Cost: &c}
	}
	compared := verified("compared", 50, cost{LeastMB: 500, Speed: 1400})
	compared.Versus, compared.RateBy = hashAlone, 0.98
	var out strings.Builder
	err := printRows(&out, []row{
		{What: "a call", Clients: 1, Rate: 10, P50: 1, P99: 1},
		verified("fast", 50, cost{MostUS: 200}), verified("slow", 201, cost{MostUS: 200}), verified("plain", 50, cost{}),
		compared, verified("crawls", 50, cost{LeastMB: 500, Speed: 499}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]string{
		"a call": "1 10 1.00 1.00 0 a call", "fast": "50.0 50.0 0 0 0 ≤ 200 µs fast", "slow": "201.0 201.0 0 0 0 ≤ 200 µs: missed slow",
		"plain": "50.0 50.0 0 0 0 plain", "compared": "50.0 50.0 1400 0.98 × 0 0 ≥ 500 MB/s compared",
		"crawls": "50.0 50.0 499 0 0 ≥ 500 MB/s: missed crawls",
	} {
		found := 0
		for line := range strings.Lines(out.String()) {
			if strings.Join(strings.Fields(line), " ") == want {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: %q is there %d times in\n%s", what, want, found, &out)
		}
	}
}
