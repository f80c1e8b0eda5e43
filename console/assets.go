package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

const assetsPath = "/assets/"

//go:embed assets templates
var files embed.FS

// assetAge is how long a browser keeps an asset: its address changes with what is in it.
const assetAge = "public, max-age=31536000, immutable"

// versions are the hashes of the assets, by name.
var versions = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	entries, err := fs.ReadDir(files, "assets")
	if err != nil {
		panic(err) // they are in the program
	}
	for _, e := range entries {
		data, err := files.ReadFile("assets/" + e.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		all[e.Name()] = hex.EncodeToString(sum[:6])
	}
	return all
})

func assetAddress(name string) string { return assetsPath + name + "?v=" + versions()[name] }

// asset serves GET /assets/{name}.
func asset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	data, err := files.ReadFile("assets/" + name)
	if err != nil {
		refuse(w, http.StatusNotFound, "not_found", "there is no such asset")
		return
	}
	if r.URL.Query().Get("v") == versions()[name] {
		w.Header().Set("Cache-Control", assetAge)
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}

// templates are the pages by name, each with the layout around it.
var templates = sync.OnceValue(func() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(templateFunctions).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	all := map[string]*template.Template{}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is right
	}
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name != "layout" && name != "parts" {
			all[name] = template.Must(template.Must(shared.Clone()).ParseFS(files, file))
		}
	}
	return all
})
