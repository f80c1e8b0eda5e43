package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// numbered gives the references 0 to n-1.
func numbered(n int) References {
	return func(_ context.Context, visit func(string) error) error {
		for i := range n {
			if err := visit(fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestBulk_WorksOnSixteenAtATimeAndReportsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		var reported []string
		b := Bulk[string]{
			Do: func(_ context.Context, ref string) (string, error) {
				n := now.Add(1)
				most.Store(max(most.Load(), n))
				time.Sleep(time.Duration(100-len(ref)*20) * time.Millisecond) // later ones are faster
				now.Add(-1)
				return ref, nil
			},
			Report: func(_ Reach, line string, err error) error {
				reported = append(reported, line)
				return err
			},
		}
		got, err := b.Run(t.Context(), numbered(200))
		if err != nil || got != (Reach{Done: 200, Last: "199"}) {
			t.Errorf("got %+v, %v", got, err)
		}
		if most.Load() != BulkInFlight {
			t.Errorf("%d at a time, want %d", most.Load(), BulkInFlight)
		}
		for i, line := range reported {
			if line != fmt.Sprint(i) {
				t.Fatalf("report %d was of %s", i, line)
			}
		}
	})
}

func TestBulk_FailuresDoNotStopTheOthers(t *testing.T) {
	b := Bulk[string]{
		Do: func(_ context.Context, ref string) (string, error) {
			if strings.HasSuffix(ref, "7") {
				return "", ErrNotFound
			}
			return "", nil
		},
		Report: func(Reach, string, error) error { return nil },
	}
	if got, err := b.Run(t.Context(), numbered(40)); err != nil || got != (Reach{Done: 36, Failed: 4, Last: "39"}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestBulk_StopsWhenTheQueueTakesNoMoreAndNamesTheLastThatIsCertain(t *testing.T) {
	for _, hopeless := range []error{ErrUnavailable, ErrFull} {
		b := Bulk[string]{
			Do: func(_ context.Context, ref string) (string, error) {
				if ref == "5" {
					return "", fmt.Errorf("replay: %w", hopeless)
				}
				return "", nil
			},
			Report: func(Reach, string, error) error { return nil },
		}
		got, err := b.Run(t.Context(), numbered(10_000))
		if !errors.Is(err, hopeless) || got.Last != "4" || got.Failed != 1 || got.Sum() > 5+3*BulkInFlight {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

func TestBulk_FinishesWhatIsUnderWayWhenItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var begun atomic.Int32
		b := Bulk[string]{
			Do: func(ctx context.Context, ref string) (string, error) {
				begun.Add(1)
				time.Sleep(time.Second)
				return ref, ctx.Err()
			},
			Report: func(Reach, string, error) error { return nil },
		}
		time.AfterFunc(2500*time.Millisecond, stop)
		got, err := b.Run(ctx, numbered(1000))
		n := int(begun.Load())
		if !errors.Is(err, context.Canceled) || got != (Reach{Done: n, Last: fmt.Sprint(n - 1)}) || n != 3*BulkInFlight {
			t.Errorf("%d begun, got %+v, %v", n, got, err)
		}
	})
}

func TestBulk_StopsWhenNobodyTakesItsReport(t *testing.T) {
	broken := errors.New("broken pipe")
	b := Bulk[string]{
		Do:     func(context.Context, string) (string, error) { return "", nil },
		Report: func(Reach, string, error) error { return broken },
	}
	if got, err := b.Run(t.Context(), numbered(10_000)); !errors.Is(err, broken) || got.Sum() > 3*BulkInFlight {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestPace_KeepsTheRateAndCatchesUpALittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pace{rate: 100}
		var at []time.Duration
		begin := time.Now()
		for i := range 300 {
			if i == 200 {
				time.Sleep(10 * time.Second) // a delay is no reason for a flood
			}
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Since(begin))
		}
		if d := at[199] - at[0]; d < 1900*time.Millisecond || d > 2*time.Second {
			t.Errorf("200 took %s", d)
		}
		if d := at[299] - at[200]; d < 900*time.Millisecond || d > time.Second {
			t.Errorf("the 100 after a delay took %s", d)
		}
		if !slices.IsSorted(at) {
			t.Error("out of order")
		}
		unlimited, now := pace{}, time.Now()
		for range 1000 {
			if err := unlimited.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(now); d != 0 {
			t.Errorf("without a limit 1000 took %s", d)
		}
	})
}
