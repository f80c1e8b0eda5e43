package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
)

// registry serves an image "hello:1.0" without layers, which note makes another one.
func registry(address, note string) error {
	const kind = "application/vnd.docker.distribution.manifest.list.v2+json"
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"note":%q}}`, kind, note)
	sum := sha256.Sum256(manifest)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	show := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Content-Length", fmt.Sprint(len(manifest)))
		w.Write(manifest)
	}
	http.HandleFunc("/v2/{$}", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("/v2/hello/manifests/1.0", show)
	http.HandleFunc("/v2/hello/manifests/"+digest, show)
	return http.ListenAndServe(address, nil)
}
