package deploy_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

func reconciler(t *testing.T, host string) *deploy.Reconciler {
	t.Helper()
	engine, err := deploy.OpenEngine(host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	r, err := deploy.NewReconciler(engine, deploy.NewCatalog(nil), deploy.ReconcileOptions{Gateway: "one", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnEngineThatIsTooOldIsRefused(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.40")
		if r.URL.Path != "/_ping" && r.URL.Path != "/v1.40/services" {
			t.Errorf("it was asked for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "[]")
	}))
	defer old.Close()
	r := reconciler(t, strings.Replace(old.URL, "http://", "tcp://", 1))
	err := r.Reconcile(t.Context())
	if !errors.Is(err, deploy.ErrOldEngine) || !strings.Contains(err.Error(), "1.40") {
		t.Errorf("got %v, want %v with the version", err, deploy.ErrOldEngine)
	}
}

func TestAnEngineThatDoesNotAnswerIsAnErrorOfItsOwn(t *testing.T) {
	r := reconciler(t, "unix://"+t.TempDir()+"/docker.sock")
	if err := r.Reconcile(t.Context()); !errors.Is(err, deploy.ErrNoEngine) {
		t.Errorf("got %v, want %v", err, deploy.ErrNoEngine)
	}
	if _, err := r.States(t.Context()); !errors.Is(err, deploy.ErrNoEngine) {
		t.Errorf("got %v, want %v", err, deploy.ErrNoEngine)
	}
}

func TestAReconcilerNeedsTheIDOfItsGateway(t *testing.T) {
	if _, err := deploy.NewReconciler(nil, deploy.NewCatalog(nil), deploy.ReconcileOptions{}); err == nil {
		t.Error("got no error")
	}
}
