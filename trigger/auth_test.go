package trigger

import (
	"errors"
	"net/http"
	"testing"
)

func TestAuth_TakesTheRightCredentialsAndNoOthers(t *testing.T) {
	keys := []Secret{[]byte("old"), []byte("new: with a colon")}
	for name, c := range map[string]struct {
		cfg  Config
		h    http.Header
		want Reason
	}{
		"bearer":                 {Config{Secrets: keys}, http.Header{"Authorization": {"Bearer old"}}, ""},
		"bearer, second secret":  {Config{Secrets: keys}, http.Header{"Authorization": {"bearer new: with a colon"}}, ""},
		"bearer, wrong":          {Config{Secrets: keys}, http.Header{"Authorization": {"Bearer Old"}}, ReasonForged},
		"bearer, begin of it":    {Config{Secrets: keys}, http.Header{"Authorization": {"Bearer ol"}}, ReasonForged},
		"bearer, empty":          {Config{Secrets: keys}, http.Header{"Authorization": {"Bearer "}}, ReasonUnsigned},
		"bearer, another scheme": {Config{Secrets: keys}, http.Header{"Authorization": {"Basic old"}}, ReasonUnsigned},
		"bearer, without scheme": {Config{Secrets: keys}, http.Header{"Authorization": {"old"}}, ReasonUnsigned},
		"bearer, twice":          {Config{Secrets: keys}, http.Header{"Authorization": {"Bearer old", "Bearer x"}}, ReasonForged},
		"nothing":                {Config{Secrets: keys}, http.Header{}, ReasonUnsigned},
		"basic":                  {Config{Auth: AuthBasic, User: "bob", Secrets: keys}, http.Header{"Authorization": {"Basic Ym9iOm9sZA=="}}, ""},
		"basic, another user":    {Config{Auth: AuthBasic, User: "eve", Secrets: keys}, http.Header{"Authorization": {"Basic Ym9iOm9sZA=="}}, ReasonForged},
		"basic, no base64":       {Config{Auth: AuthBasic, User: "bob", Secrets: keys}, http.Header{"Authorization": {"Basic bob:old"}}, ReasonForged},
		"API key":                {Config{Auth: AuthAPIKey, Header: "X-Key", Secrets: keys}, http.Header{"X-Key": {"old"}}, ""},
		"API key, empty":         {Config{Auth: AuthAPIKey, Header: "X-Key", Secrets: keys}, http.Header{"X-Key": {""}}, ReasonUnsigned},
		"API key elsewhere":      {Config{Auth: AuthAPIKey, Header: "X-Key", Secrets: keys}, http.Header{"X-Kee": {"old"}}, ReasonUnsigned},
		"insecure":               {Config{Insecure: true}, http.Header{}, ""},
	} {
		a, err := newAuth(c.cfg, auth{scheme: AuthBearer})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var bad *Error
		err = a.check(c.h)
		if errors.As(err, &bad) && bad.Reason == c.want || err == nil && c.want == "" {
			continue
		}
		t.Errorf("%s: got %v, want %q", name, err, c.want)
	}
}

func TestAuth_FailsClosed(t *testing.T) {
	key := []Secret{[]byte("k")}
	for name, cfg := range map[string]Config{
		"no secret":                    {},
		"basic without a user":         {Auth: AuthBasic, Secrets: key},
		"API key without a header":     {Auth: AuthAPIKey, Secrets: key},
		"unknown way":                  {Auth: "digest", Secrets: key},
		"unknown way, although unsafe": {Auth: "digest", Insecure: true},
	} {
		if a, err := newAuth(cfg, auth{scheme: AuthBearer}); err == nil || a != nil {
			t.Errorf("%s: got %v, want an error", name, a)
		}
	}
}

func TestAuth_TakesWhatItSigns(t *testing.T) {
	for _, cfg := range []Config{
		{Secrets: []Secret{[]byte("k")}}, {Auth: AuthBasic, User: "ü", Secrets: []Secret{[]byte("k:ü")}},
		{Auth: AuthAPIKey, Header: "x-key", Secrets: []Secret{[]byte("k")}}, {Insecure: true},
	} {
		a, err := newAuth(cfg, auth{scheme: AuthBearer})
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{}
		a.sign(h)
		if err := a.check(h); err != nil {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
