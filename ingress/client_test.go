package ingress

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

var testProxies = proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

// request comes from an address, with headers: names and values in turn.
func requestFrom(remote string, header ...string) *http.Request {
	r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestProxies_TheClientIsTheRightmostAddressThatNoProxyOfOursHas(t *testing.T) {
	const x, f = "X-Forwarded-For", "Forwarded"
	const proxy, sender, spoofed = "10.0.0.1:4711", "203.0.113.7", "198.51.100.66"
	for name, c := range map[string]struct {
		remote string
		header []string
		want   string
	}{
		"no header":                            {proxy, nil, proxy},
		"one proxy":                            {proxy, []string{x, sender}, sender},
		"two proxies":                          {proxy, []string{x, sender + ", 10.9.9.9"}, sender},
		"with a port":                          {proxy, []string{x, sender + ":55555"}, sender},
		"IPv6":                                 {"[fd00::1]:1", []string{x, "2001:db8::7, fd00::2"}, "2001:db8::7"},
		"IPv6 with a port":                     {proxy, []string{x, "[2001:db8::7]:443"}, "2001:db8::7"},
		"IPv4 in IPv6":                         {"[::ffff:10.0.0.1]:1", []string{x, "::ffff:203.0.113.7, ::ffff:10.0.0.2"}, sender},
		"several lines":                        {proxy, []string{x, spoofed, x, sender}, sender},
		"all are proxies":                      {proxy, []string{x, "10.1.1.1,10.2.2.2"}, "10.1.1.1"},
		"Forwarded":                            {proxy, []string{f, `for=203.0.113.7;proto=https;by=10.0.0.1`}, sender},
		"Forwarded, two proxies":               {proxy, []string{f, `proto=https;For="[2001:db8::7]:4711", for=10.3.3.3`}, "2001:db8::7"},
		"Forwarded, several lines":             {proxy, []string{f, "for=" + spoofed, f, "for=" + sender}, sender},
		"both agree":                           {proxy, []string{x, sender, f, "for=" + sender}, sender},
		"spoofed by who is no proxy":           {sender + ":1", []string{x, spoofed, f, "for=" + spoofed}, sender + ":1"},
		"spoofed, and the proxy adds":          {proxy, []string{x, spoofed + ", " + sender}, sender},
		"a proxy of ours spoofed, and it adds": {proxy, []string{x, "10.7.7.7, " + sender}, sender},
		"spoofed in the header that the proxy does not know": {proxy, []string{x, sender, f, "for=" + spoofed}, proxy},
		"a name that hides the address":                      {proxy, []string{f, "for=_gazonk"}, proxy},
		"unknown":                                            {proxy, []string{x, sender + ", unknown"}, proxy},
		"garbage left of the sender":                         {proxy, []string{x, `"<script>, ` + sender}, sender},
		"garbage beside the other header":                    {proxy, []string{x, sender, f, "garbage"}, proxy},
		"empty":                                              {proxy, []string{x, ""}, proxy},
		"an open quote":                                      {proxy, []string{f, `for=198.51.100.66;x=", for=203.0.113.7`}, proxy},
		"an open quote, and the proxy quotes":                {proxy, []string{f, `for=198.51.100.66;x=", for="[2001:db8::7]:1"`}, proxy},
		"an escaped quote":                                   {proxy, []string{f, `for=198.51.100.66;x="\", for="[2001:db8::7]:1"`}, proxy},
		"no comma":                                           {proxy, []string{f, "for=203.0.113.7 for=198.51.100.66"}, proxy},
		"ends with a semicolon":                              {proxy, []string{f, "for=203.0.113.7;"}, proxy},
		"not a connection of TCP":                            {"@", []string{x, spoofed}, "@"},
	} {
		if got := testProxies.client(requestFrom(c.remote, c.header...)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
	if got := proxies(nil).client(requestFrom(proxy, x, spoofed)); got != proxy {
		t.Errorf("without proxies: got %s", got)
	}
}

func FuzzProxies_ASenderCannotChooseItsAddress(f *testing.F) {
	for _, made := range []string{"", "198.51.100.66", "10.0.0.9", "for=198.51.100.66", `for=198.51.100.66;x="`, `x="\`, `x="";`, ",", ";", "for="} {
		f.Add(made)
	}
	const proxy, sender = "10.0.0.1:4711", "203.0.113.7"
	f.Fuzz(func(t *testing.T, made string) {
		for header, added := range map[string]string{"X-Forwarded-For": sender, "Forwarded": "for=" + sender} {
			for _, lines := range [][]string{{header, made + ", " + added}, {header, made, header, added}} {
				if got := testProxies.client(requestFrom(proxy, lines...)); got != sender && got != proxy {
					t.Errorf("%q: got %s", lines, got)
				}
			}
		}
		both := requestFrom(proxy, "X-Forwarded-For", sender, "Forwarded", made)
		if got := testProxies.client(both); got != sender && got != proxy {
			t.Errorf("beside the other header: got %s", got)
		}
		quoted := requestFrom(proxy, "Forwarded", made+`, for="[2001:db8::7]:4711"`)
		if got := testProxies.client(quoted); got != "2001:db8::7" && got != proxy {
			t.Errorf("before a quoted address: got %s", got)
		}
	})
}

func TestServer_LogsAndSamplesTheClientBehindATrustedProxy(t *testing.T) {
	const spoofed, sender = "198.51.100.66", "203.0.113.7"
	header := func(text string) http.Header { return http.Header{"X-Forwarded-For": {text}} }
	trusting := start(t, func(o *Options) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	trusting.do("POST", "/github/acme", header(spoofed+", "+sender), strings.NewReader("{}")).refused(t, 401, "unsigned")
	if s := trusting.sender("github-acme", refusedTimes(1)).Samples; s[0].Remote != sender {
		t.Errorf("the sample is from %s", s[0].Remote)
	}
	trusting.Close() // waits for the line
	if log := trusting.log.String(); !strings.Contains(log, " client="+sender+" ") {
		t.Errorf("log: %s", log)
	}
	wary := start(t)
	wary.do("POST", "/github/acme", header(spoofed), strings.NewReader("{}")).refused(t, 401, "unsigned")
	if s := wary.sender("github-acme", refusedTimes(1)).Samples; !strings.HasPrefix(s[0].Remote, "127.0.0.1:") {
		t.Errorf("without trusted proxies the sample is from %s", s[0].Remote)
	}
	wary.Close()
	if log := wary.log.String(); !strings.Contains(log, " client=127.0.0.1:") {
		t.Errorf("log: %s", log)
	}
}
