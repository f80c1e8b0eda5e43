package trigger_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

func nested(levels int) []byte {
	return []byte(strings.Repeat("[", levels) + strings.Repeat("]", levels))
}

func TestCheckJSON_SaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		body []byte
		want trigger.Reason
	}{
		"no body":                      {nil, trigger.ReasonEmpty},
		"empty body":                   {[]byte{}, trigger.ReasonEmpty},
		"white space":                  {[]byte(" \r\n\t"), trigger.ReasonSyntax},
		"text":                         {[]byte("Hello, World!"), trigger.ReasonSyntax},
		"two values":                   {[]byte("{} {}"), trigger.ReasonSyntax},
		"comma after the last":         {[]byte(`{"a":1,}`), trigger.ReasonSyntax},
		"comma in an array":            {[]byte(`[1,]`), trigger.ReasonSyntax},
		"cut off":                      {[]byte(`{"a":"b`), trigger.ReasonSyntax},
		"cut off in an escape":         {[]byte(`"\u00`), trigger.ReasonSyntax},
		"cut off at the backslash":     {[]byte(`"\`), trigger.ReasonSyntax},
		"unknown escape":               {[]byte(`"\x41"`), trigger.ReasonSyntax},
		"line break in a string":       {[]byte("\"a\nb\""), trigger.ReasonSyntax},
		"NUL":                          {[]byte("{}\x00"), trigger.ReasonSyntax},
		"form feed as white space":     {[]byte("\f{}"), trigger.ReasonSyntax},
		"byte order mark":              {[]byte("\xef\xbb\xbf{}"), trigger.ReasonSyntax},
		"single quotes":                {[]byte(`{'a':1}`), trigger.ReasonSyntax},
		"key without quotes":           {[]byte(`{a:1}`), trigger.ReasonSyntax},
		"key without value":            {[]byte(`{"a"}`), trigger.ReasonSyntax},
		"leading zero":                 {[]byte(`01`), trigger.ReasonSyntax},
		"plus sign":                    {[]byte(`+1`), trigger.ReasonSyntax},
		"no digit before the point":    {[]byte(`.5`), trigger.ReasonSyntax},
		"no digit after the point":     {[]byte(`1.`), trigger.ReasonSyntax},
		"no digit in the exponent":     {[]byte(`1e+`), trigger.ReasonSyntax},
		"NaN":                          {[]byte(`NaN`), trigger.ReasonSyntax},
		"half a literal":               {[]byte(`tru`), trigger.ReasonSyntax},
		"literal in capitals":          {[]byte(`True`), trigger.ReasonSyntax},
		"brackets of two kinds":        {[]byte(`[}`), trigger.ReasonSyntax},
		"invalid UTF-8 in a string":    {[]byte("\"\xff\""), trigger.ReasonEncoding},
		"invalid UTF-8 in a key":       {[]byte("{\"\xc3\":1}"), trigger.ReasonEncoding},
		"overlong UTF-8":               {[]byte("\"\xc0\xa0\""), trigger.ReasonEncoding},
		"a surrogate in UTF-8":         {[]byte("\"\xed\xa0\x80\""), trigger.ReasonEncoding},
		"UTF-16":                       {[]byte("\xff\xfe{\x00}\x00"), trigger.ReasonEncoding},
		"one level too deep":           {nested(trigger.MaxDepth + 1), trigger.ReasonDepth},
		"10,000 brackets":              {nested(10_000), trigger.ReasonDepth},
		"10,000 open brackets":         {bytes.Repeat([]byte("["), 10_000), trigger.ReasonDepth},
		"10,000 objects":               {bytes.Repeat([]byte(`{"a":`), 10_000), trigger.ReasonDepth},
		"1,000,000 open brackets":      {bytes.Repeat([]byte("["), 1_000_000), trigger.ReasonDepth},
		"closing bracket too many":     {[]byte(`[]]`), trigger.ReasonSyntax},
		"closing bracket too few":      {[]byte(`[[]`), trigger.ReasonSyntax},
		"gzip":                         {[]byte("\x1f\x8b\x08\x00"), trigger.ReasonEncoding},
		"form instead of JSON":         {[]byte("payload=%7B%7D"), trigger.ReasonSyntax},
		"comment":                      {[]byte("{} // none"), trigger.ReasonSyntax},
		"only a comma in an array":     {[]byte("[,]"), trigger.ReasonSyntax},
		"array elements without comma": {[]byte("[1 2]"), trigger.ReasonSyntax},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, trigger.CheckJSON(c.body), c.want)
		})
	}
}

func TestCheckJSON_AcceptsEveryValue(t *testing.T) {
	bodies := [][]byte{
		[]byte(`null`), []byte(`true`), []byte(`false`), []byte(` 0 `), []byte(`-0.0e-0`), []byte(`1E400`),
		[]byte(`12345678901234567890.5e+12`), []byte(`""`), []byte(`"ünï ☀ \ud83d\ude00 \ud800 \u0000"`), []byte("\"\x7f\""),
		[]byte(`[]`), []byte(`{}`), []byte(`{"a":1,"a":2}`), []byte("\t[ 1 , { \"\" : [ ] } ]\r\n"),
		nested(trigger.MaxDepth),
		[]byte(`"` + strings.Repeat("[", 10_000) + `"`),
		[]byte("[" + strings.Repeat("[],", 10_000) + "{}]"),
	}
	for _, body := range bodies {
		if err := trigger.CheckJSON(body); err != nil {
			t.Errorf("CheckJSON(%.40q) = %v, want nil", body, err)
		}
	}
}

func TestCheckJSON_PointsAtTheFirstWrongByte(t *testing.T) {
	for body, want := range map[string]string{
		`{"a":x}`:     "from byte 5 on",
		`{"a":1`:      "after 6 bytes",
		"{\"a\":\xff": "from byte 5 on",
		`{"ü":1} ;`:   "from byte 9 on",
	} {
		err := trigger.CheckJSON([]byte(body))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckJSON(%q) = %v, want %q in it", body, err, want)
		}
	}
}

func TestCheckJSON_NeverQuotesTheBody(t *testing.T) {
	err := trigger.CheckJSON([]byte(`{"token":"hunter2", hunter2}`))
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the refusal shows what was sent: %v", err)
	}
}

func TestCheckJSON_AcceptsWhatEncodingJSONWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(anyValue(4).Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "indent") {
			var indented bytes.Buffer
			if err := json.Indent(&indented, body, " ", "\t"); err != nil {
				t.Fatal(err)
			}
			body = indented.Bytes()
		}
		if err := trigger.CheckJSON(body); err != nil {
			t.Fatalf("CheckJSON(%s) = %v", body, err)
		}
	})
}

// anyValue generates values whose JSON is nested at most levels deep.
func anyValue(levels int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just(any(nil)), rapid.Bool().AsAny(), rapid.Float64Range(-1e300, 1e300).AsAny(), rapid.String().AsAny(),
	}
	if levels == 0 {
		return rapid.OneOf(scalars...)
	}
	deeper := rapid.Deferred(func() *rapid.Generator[any] { return anyValue(levels - 1) })
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(deeper, 0, 4).AsAny(), rapid.MapOfN(rapid.String(), deeper, 0, 4).AsAny())...)
}

func FuzzCheckJSON(f *testing.F) {
	seeds := []string{
		`{"a":[1,-2.5e+3,true,false,null,"\u00e9\n\""]}`, ` [ ] `, `{"a":}`, `"\ud800"`, "\"\xff\"", `0.`, `-`, `[1,]`, `{"a":1 "b":2}`, `1 2`, `tru`, `nul`,
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Add(nested(trigger.MaxDepth))
	f.Add(nested(trigger.MaxDepth + 1))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, want := trigger.CheckJSON(body), expectJSON(body)
		if want == "" && got != nil {
			t.Fatalf("got %v, want no refusal", got)
		}
		if want != "" {
			wantRefusal(t, got, want)
		}
	})
}

// expectJSON decides with the standard library what CheckJSON must say.
func expectJSON(body []byte) trigger.Reason {
	switch {
	case len(body) == 0:
		return trigger.ReasonEmpty
	case !utf8.Valid(body):
		return trigger.ReasonEncoding
	case tooDeep(body):
		return trigger.ReasonDepth
	case !json.Valid(body):
		return trigger.ReasonSyntax
	default:
		return ""
	}
}

// tooDeep says whether the first value, as far as it is JSON, has too many levels.
func tooDeep(body []byte) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		switch token {
		case json.Delim('['), json.Delim('{'):
			depth++
		case json.Delim(']'), json.Delim('}'):
			depth--
		}
		if depth == 0 || depth > trigger.MaxDepth {
			return depth > 0
		}
	}
}
