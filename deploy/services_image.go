package deploy

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	"golang.org/x/sync/errgroup"
)

const (
	registryTimeout = 10 * time.Second
	registryCalls   = 4 // at a time
)

// fullImage writes a reference as Docker keeps it: "hello" is "hello:latest". IDs stay as they are.
func fullImage(written string) (string, error) {
	ref, err := reference.ParseAnyReference(written)
	if err != nil {
		return "", fmt.Errorf("the image %q is no reference that Docker takes (%w): write for example registry.example.org/hello:1.0", written, err)
	}
	if named, ok := ref.(reference.Named); ok {
		return reference.FamiliarString(reference.TagNameOnly(named)), nil
	}
	return written, nil
}

// tagged tells whether an image is named by a tag alone, which may point to another image tomorrow.
func tagged(image string) bool {
	ref, err := reference.ParseAnyReference(image)
	if err != nil {
		return false
	}
	_, named := ref.(reference.Named)
	_, digested := ref.(reference.Digested)
	return named && !digested
}

// shortImage leaves out most of a digest.
func shortImage(image string) string {
	const shown = 12
	at := strings.Index(image, "sha256:")
	if at < 0 || len(image) < at+len("sha256:")+shown {
		return image
	}
	return image[:at+len("sha256:")+shown]
}

// digests asks the registries what their tags stand for now. An image whose registry does not answer is looked for on
// this node, which may have pulled it before; failing that it is left out, with the reason in missed.
func (e *Engine) digests(ctx context.Context, images []string) (found map[string]string, missed map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, registryTimeout)
	defer cancel()
	found, missed = make(map[string]string), make(map[string]error)
	var mu sync.Mutex
	var calls errgroup.Group
	calls.SetLimit(registryCalls)
	for _, image := range images {
		calls.Go(func() error {
			digest, err := e.digest(ctx, image)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				missed[image] = err
			} else {
				found[image] = digest
			}
			return nil
		})
	}
	_ = calls.Wait() // the calls report by image
	return found, missed
}

func (e *Engine) digest(ctx context.Context, image string) (string, error) {
	answer, err := e.docker.DistributionInspect(ctx, image, "")
	if err == nil {
		return answer.Descriptor.Digest.String(), nil
	}
	local, localErr := e.docker.ImageInspect(context.WithoutCancel(ctx), image)
	if localErr != nil {
		return "", explain(err)
	}
	for _, d := range local.RepoDigests {
		if name, digest, ok := strings.Cut(d, "@"); ok && sameRepository(name, image) {
			return digest, nil
		}
	}
	return "", explain(err)
}

func sameRepository(a, b string) bool {
	x, err := reference.ParseNormalizedNamed(a)
	if err != nil {
		return false
	}
	y, err := reference.ParseNormalizedNamed(b)
	return err == nil && x.Name() == y.Name()
}
