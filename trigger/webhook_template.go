package trigger

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// template is what is signed: text and headers by turns, and then the body. There
// must be one way only to take the signed text apart: else somebody who has seen
// one request could move bytes between a header and the body of it, and the
// signature would still be right. So a value never has the byte that ends it.
type template struct {
	fields []signedField
	tail   string // the text before the body
}

// signedField is the value of a header, and the text before it.
type signedField struct {
	text   string
	header string
	isTime bool
}

// bodyBegins are the bytes with which a body begins that stands right behind the
// value of a header: those of an object and an array.
const bodyBegins = "{["

// CheckTemplate returns an error when a template is not text with placeholders as
// these, of which the body is the last one:
//
//	{header:X-Request-Id}    the value of a header
//	{timestamp:X-Timestamp}  the same; it is the time of the signature
//	{body}                   the body as it was sent
//
// Text or {body} follows each of the others, and there is one time at most.
func CheckTemplate(s string) error {
	_, err := parseTemplate(s)
	return err
}

func parseTemplate(s string) (template, error) {
	var t template
	if s == "" {
		return t, nil
	}
	rest, ok := strings.CutSuffix(s, "{body}")
	if !ok {
		return t, errors.New("does not end with {body}: write for example {timestamp:X-Timestamp}.{body}")
	}
	for {
		text, more, found := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return t, errors.New("has a } without a {")
		}
		if !found {
			t.tail = text
			return t, nil
		}
		if text == "" && len(t.fields) > 0 {
			return t, errors.New("has placeholders without text between them: nobody could tell where the one ends and the other begins")
		}
		inside, after, _ := strings.Cut(more, "}")
		f, err := parseField(inside)
		if err != nil {
			return t, err
		}
		f.text, rest = text, after
		if f.isTime && t.hasTime() {
			return t, errors.New("has two times: leave one of them, and write {header:…} for the other")
		}
		t.fields = append(t.fields, f)
	}
}

// parseField reads what is between the braces.
func parseField(inside string) (signedField, error) {
	what, header, _ := strings.Cut(inside, ":")
	switch {
	case what == "body":
		return signedField{}, errors.New("has {body} twice: it is signed once, at the end")
	case what != "header" && what != "timestamp":
		return signedField{}, fmt.Errorf("has the unknown placeholder {%s}: use {header:<name>}, {timestamp:<name of the header>} and {body}", inside)
	case !isHeaderName(header):
		return signedField{}, fmt.Errorf("has {%s}: write {%s:<name of a header>}", inside, what)
	}
	return signedField{header: header, isTime: what == "timestamp"}, nil
}

func (t template) hasTime() bool {
	return slices.ContainsFunc(t.fields, func(f signedField) bool { return f.isTime })
}

func (t template) has(header string) bool {
	return slices.ContainsFunc(t.fields, func(f signedField) bool { return strings.EqualFold(f.header, header) })
}

// fill returns what is signed before the body, and the time in it.
func (t template) fill(h http.Header, body []byte) (before, when string, err error) {
	var b strings.Builder
	for i, f := range t.fields {
		value, err := valueIn(h, f.header, t.endOf(i))
		if err != nil {
			return "", "", err
		}
		if f.isTime {
			when = value
		}
		b.WriteString(f.text)
		b.WriteString(value)
	}
	if len(t.fields) > 0 && t.tail == "" && (len(body) == 0 || strings.IndexByte(bodyBegins, body[0]) < 0) {
		return "", "", refuse(ReasonMalformed, "the body must begin with { or [: it is signed right behind a header")
	}
	b.WriteString(t.tail)
	return b.String(), when, nil
}

// endOf are the bytes that may end the value of a field.
func (t template) endOf(field int) string {
	switch {
	case field+1 < len(t.fields):
		return t.fields[field+1].text[:1]
	case t.tail != "":
		return t.tail[:1]
	default:
		return bodyBegins
	}
}

// valueIn returns the one value of a header that is signed.
func valueIn(h http.Header, name, end string) (string, error) {
	value, err := needed(h, name, "it is part of what is signed")
	switch {
	case err != nil:
		return "", err
	case !isName(value):
		return "", refuse(ReasonMalformed, "the header %s is longer than %d bytes or has control characters", name, maxName)
	case slices.ContainsFunc([]byte(end), func(c byte) bool { return strings.IndexByte(value, c) >= 0 }):
		return "", refuse(ReasonMalformed, "the header %s has a %q, which is where it ends in what is signed", name, end)
	}
	return value, nil
}

// complete adds the headers of the template that are not there.
func (t template) complete(h http.Header, now time.Time) {
	for _, f := range t.fields {
		switch {
		case f.isTime:
			h.Set(f.header, strconv.FormatInt(now.Unix(), 10))
		case h.Get(f.header) == "":
			h.Set(f.header, newGUID())
		}
	}
}
