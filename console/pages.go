package console

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"strconv"
)

// maxForm bounds the body of a form, in bytes.
const maxForm = 64 << 10

// pages is what people see of the console: forms and pages, without a line of script that they need.
func (s *Server) pages() {
	s.mux.HandleFunc("GET "+assetsPath+"{name}", asset)
	s.mux.HandleFunc("GET "+loginPath, s.askLogin)
	s.mux.HandleFunc("POST "+loginPath, s.login)
	s.mux.HandleFunc("POST "+logoutPath, s.logout)
	s.mux.HandleFunc("GET /{$}", s.overviewPage)
	s.mux.HandleFunc("GET /live", s.live)
	s.mux.HandleFunc("GET /triggers", s.triggersPage)
	s.mux.HandleFunc("GET /triggers/{source}", s.triggerPage)
	if s.tests != nil {
		s.testPages()
	}
	s.functionPages()
	s.manifestPages()
	s.mux.HandleFunc("GET /events", taking(s.eventsPage, append([]string{"cursor"}, searchKeys...)...))
	s.mux.HandleFunc("GET /events/{id}", s.eventPage)
	s.mux.HandleFunc("GET /events/{id}/body", s.bodyFile)
	s.mux.HandleFunc("POST /events/{id}/replay", s.replayForm)
	s.mux.HandleFunc("POST /events/{id}/drop", s.dropForm)
	s.mux.HandleFunc("GET /events/{id}/edit", s.editForm)
	s.mux.HandleFunc("POST /events/{id}/edit", s.sendEdit)
	s.mux.HandleFunc("GET /dead", taking(s.deadPage, "function", "reason", "cursor"))
	s.mux.HandleFunc("GET /dead/confirm", taking(s.confirmPage, "do", "function", "reason", "to"))
	s.mux.HandleFunc("POST /dead/bulk", s.doBulk)
}

// view is what the layout and the page in it show.
type view struct {
	Title   string
	Page    string // name of the template
	Visitor visitor
	Flash   *flash
	Assets  func(name string) string // the address of an asset
	Data    any
}

// render sends a page. Nothing is sent before all of it is made.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, page, title string, data any) {
	v := view{Title: title, Page: page, Visitor: visitorIn(r.Context()), Assets: assetAddress, Data: data}
	if v.Visitor.HasSession() {
		v.Flash = s.sessions.told(v.Visitor.session)
	}
	var b bytes.Buffer
	if err := templates()[page].ExecuteTemplate(&b, "layout", v); err != nil {
		s.log.Error("render page", "page", page, "error", err)
		refuse(w, http.StatusInternalServerError, "internal", "the page cannot be shown: see the log")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the client may have gone
}

// form reads what a form sends, or answers that it cannot be read.
func (s *Server) form(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.errorPage(w, r, http.StatusBadRequest, "The form cannot be read.")
		return nil, false
	}
	return r.PostForm, true
}

func (s *Server) errorPage(w http.ResponseWriter, r *http.Request, status int, message string) {
	s.render(w, r, status, "error", http.StatusText(status), message)
}

// pageTexts are what a page says in place of an error's text for programs.
var pageTexts = map[string]string{
	"not_found":        "Nothing is stored under that id. What is done is kept for 30 days at most.",
	"unknown_function": "There is no function of that name: the overview has those that there are.",
	"indexing":         "The gateway has just started and still reads what is stored. Please reload the page in a moment.",
}

// failPage says as a page what fail says as JSON.
func (s *Server) failPage(w http.ResponseWriter, r *http.Request, err error) {
	p := s.problemOf(r, err)
	s.errorPage(w, r, p.Status, cmp.Or(pageTexts[p.Code], p.Detail))
}
