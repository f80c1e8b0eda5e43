package trigger_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func TestCertificate_IsFetchedOnceForRequestsAtOnce(t *testing.T) {
	a := newAlexaSide(t)
	r := a.speaks(spoken("LaunchRequest", received))
	pem := a.files[certURL]
	synctest.Test(t, func(t *testing.T) {
		fetched := 0
		verify := must(t)(trigger.New(a.trusted(signedAlexa), func(context.Context, string) ([]byte, error) {
			fetched++
			time.Sleep(time.Second) // of the bubble
			return pem, nil
		}))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := verify(t.Context(), r); err != nil {
					t.Error(err)
				}
			})
		}
		if wg.Wait(); fetched != 1 {
			t.Errorf("fetched %d times", fetched)
		}
	})
}

// The first one's client goes: those who wait for the same certificate get it all the same.
func TestCertificate_DoesNotDependOnTheClientThatCameFirst(t *testing.T) {
	a := newAlexaSide(t)
	r := a.speaks(spoken("LaunchRequest", received))
	pem := a.files[certURL]
	synctest.Test(t, func(t *testing.T) {
		verify := must(t)(trigger.New(a.trusted(signedAlexa), func(ctx context.Context, _ string) ([]byte, error) {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Second):
				return pem, nil
			}
		}))
		first, gone := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = verify(first, r) })
		synctest.Wait()
		wg.Go(func() {
			if _, err := verify(t.Context(), r); err != nil {
				t.Error(err)
			}
		})
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		wg.Go(func() {
			_, err := verify(hasty, r)
			if wantRefusal(t, err, trigger.ReasonUnfetched); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the cause in it", err)
			}
		})
		gone()
		wg.Wait()
	})
}

func TestCertificate_ThatCouldNotBeFetchedIsTriedAgainAfterAWhile(t *testing.T) {
	a := newAlexaSide(t)
	pem := a.files[certURL]
	delete(a.files, certURL)
	verify := a.verifier(signedAlexa)
	try := func(after time.Duration) error {
		now := received.Add(after)
		_, err := verify(t.Context(), takenAt(a.speaks(spoken("LaunchRequest", now)), now))
		return err
	}
	for range 100 {
		err := try(0)
		if wantRefusal(t, err, trigger.ReasonUnfetched); !errors.Is(err, errNoFile) {
			t.Errorf("got %v, want the cause in it", err)
		}
	}
	if n := a.count(); n != 1 {
		t.Errorf("fetched %d times, want once", n)
	}
	a.put(certURL, pem)
	if err := try(6 * time.Second); err != nil {
		t.Errorf("six seconds later: %v", err)
	}
}

// Somebody who knows the skill names one URL after the other.
func TestCertificate_FloodOfURLsIsBoundedAndDoesNotPushOutTheOneInUse(t *testing.T) {
	a := newAlexaSide(t)
	verify := a.verifier(signedAlexa)
	ask := func(url string, after time.Duration) error {
		now := received.Add(after)
		r := takenAt(a.speaks(spoken("LaunchRequest", now)), now)
		if url != certURL {
			r.Header.Set("SignatureCertChainUrl", url)
			r.Header.Set("Signature-256", "AAAA")
		}
		_, err := verify(t.Context(), r)
		return err
	}
	if err := ask(certURL, 0); err != nil {
		t.Fatal(err)
	}
	other := a.chain(t, aKey(), func(leaf, _ *x509.Certificate) { leaf.NotAfter = received.AddDate(0, 2, 0) })
	for i := range 300 {
		url := fmt.Sprintf("https://s3.amazonaws.com/echo.api/%d.pem", i)
		if i%2 == 0 {
			a.put(url, other) // a good certificate, and a signature that is not
		}
		after := time.Duration(i) * 33 * time.Millisecond
		if err := ask(url, after); err == nil {
			t.Fatal("accepted")
		}
		if err := ask(certURL, after); err != nil {
			t.Fatalf("the good one, after %d others: %v", i, err)
		}
	}
	if n := a.count(); n > 1+3*16 {
		t.Errorf("%d fetches in ten seconds", n)
	}
	for _, url := range a.asked {
		if !strings.HasPrefix(url, "https://s3.amazonaws.com/echo.api/") {
			t.Errorf("fetched %s", url)
		}
	}
}

func TestTestSignature_StandsForAmazonsOnlyWhereItIsConfigured(t *testing.T) {
	withTest := func(cfg trigger.Config) trigger.Config {
		cfg.TestSecrets = []trigger.Secret{[]byte("old"), []byte(secret)}
		return cfg
	}
	for _, cfg := range []trigger.Config{
		{Kind: trigger.Alexa, SkillIDs: []string{skill}},
		{Kind: trigger.SNS, Topics: []string{topic}},
	} {
		body := trigger.SampleFor(cfg, received)
		header := func(key string) trigger.Request {
			h := sign(t, trigger.Config{Kind: cfg.Kind, Insecure: true}, body)
			h.Set("Funker-Test-Signature", signature(key, body))
			return trigger.Request{Header: h, Body: body, Time: received}
		}
		open := must(t)(trigger.New(withTest(cfg), noFetch))
		for _, key := range []string{secret, "old"} {
			if _, err := open(t.Context(), header(key)); err != nil {
				t.Errorf("%s: %v", cfg.Kind, err)
			}
		}
		signed := withTest(cfg)
		if _, err := open(t.Context(), trigger.Request{Header: sign(t, signed, body), Body: body, Time: received}); err != nil {
			t.Errorf("%s: what Sign makes: %v", cfg.Kind, err)
		}
		_, err := must(t)(trigger.New(cfg, noFetch))(t.Context(), header(secret))
		if reason := reasonOf(t, err); reason != trigger.ReasonUnsigned && reason != trigger.ReasonUnfetched {
			t.Errorf("%s without test secrets: got %v", cfg.Kind, err)
		}
		for name, change := range map[string]func(*trigger.Request){
			"another secret":  func(r *trigger.Request) { r.Header = header("another").Header },
			"the empty one":   func(r *trigger.Request) { r.Header = header("").Header },
			"another body":    func(r *trigger.Request) { r.Body = append([]byte(" "), r.Body...) },
			"no prefix":       func(r *trigger.Request) { r.Header.Set("Funker-Test-Signature", signature(secret, body)[7:]) },
			"an hour and six": func(r *trigger.Request) { r.Time = received.Add(66 * time.Minute) },
			"twice":           func(r *trigger.Request) { r.Header.Add("Funker-Test-Signature", signature(secret, body)) },
			"an empty header": func(r *trigger.Request) { r.Header.Set("Funker-Test-Signature", "") },
		} {
			r := header(secret)
			change(&r)
			if _, err := open(t.Context(), r); err == nil {
				t.Errorf("%s, %s: accepted", cfg.Kind, name)
			} else {
				reasonOf(t, err)
			}
		}
		foreign := withTest(cfg)
		foreign.SkillIDs, foreign.Topics = []string{"another"}, []string{"another"}
		if _, err := must(t)(trigger.New(foreign, noFetch))(t.Context(), header(secret)); err == nil {
			t.Errorf("%s: accepted for another skill or topic", cfg.Kind)
		}
		empty := cfg
		empty.TestSecrets = []trigger.Secret{{}}
		if _, err := trigger.New(empty, noFetch); !errors.Is(err, trigger.ErrUnverified) {
			t.Errorf("%s with an empty test secret: %v", cfg.Kind, err)
		}
		if _, err := trigger.Sign(cfg, body, received); err == nil || !strings.Contains(err.Error(), "test-secret-file") {
			t.Errorf("%s: Sign without a test secret: %v", cfg.Kind, err)
		}
	}
}
