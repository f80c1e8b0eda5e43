package deploy_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

const nobody = 65534

func TestASecretFileThatMayNotBeReadIsRefused(t *testing.T) {
	dir := keyDir(t)
	if err := os.Chmod(filepath.Join(dir, "key"), 0); err != nil {
		t.Fatal(err)
	}
	parsed := make(chan error)
	go func() {
		// Root may read every file, so root reads as somebody else. The thread is not given back: it ends here.
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if err := syscall.Setfsuid(nobody); err != nil {
				t.Errorf("become nobody: %v", err)
			}
		}
		_, err := deploy.Parse("f.yaml", []byte("functions: {F: }\ntriggers:\n- {github: acme, function: F, secret-file: key}\n"), dir)
		parsed <- err
	}()
	faults, ok := errors.AsType[deploy.Faults](<-parsed)
	if !ok {
		t.Fatal("the file was read")
	}
	wantFaults(t, faults, "3:44: cannot be read: give this user the permission")
}
