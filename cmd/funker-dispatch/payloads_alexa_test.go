package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

var (
	requestTime = regexp.MustCompile(`("timestamp":\s*)"[^"]*"`)
	skillID     = regexp.MustCompile(`"applicationId":\s*"([^"]*)"`)
)

const alexaChainURL = "https://s3.amazonaws.com" + goodChain

// redated is a request as it would be if it had been sent some time ago: what is older than 150 seconds is refused, and
// the recorded ones are.
func (b *builder) redated(body string, ago time.Duration) string {
	return requestTime.ReplaceAllString(body, `${1}"`+b.now.Add(-ago).UTC().Format(time.RFC3339)+`"`)
}

// alexa begins the delivery of a request that Amazon has signed.
func (b *builder) alexa(body string, ago time.Duration) *delivery {
	b.t.Helper()
	body = b.redated(body, ago)
	d := b.on("alexa: "+skillID.FindStringSubmatch(body)[1]+", name: NAME", "").fetching(alexaChainURL)
	d.header, d.body = b.amazon.speaks(body), body
	return d
}

func alexaAnswered(b *builder, body string) { b.alexa(body, 0).answered(silentReply) }

func alexaUnheard(b *builder, body string) { b.alexa(body, 0).unheard() }

// alexaReplied is of a file that a function answers with. White space around JSON is no part of it.
func alexaReplied(b *builder, reply string) {
	reply = strings.TrimSpace(reply)
	b.alexa(b.sampleOf(trigger.Alexa), 0).answered(reply)
}

// alexaCertificateURLs: what is not Amazon's is not even fetched, though there is a good chain.
func alexaCertificateURLs(b *builder, data string) {
	var file struct {
		Cases []struct {
			URL string
			OK  bool
		}
	}
	b.read(data, &file)
	for i, c := range file.Cases {
		d := b.alexa(b.sampleOf(trigger.Alexa), 0).named(fmt.Sprint(i)).with("SignatureCertChainUrl", c.URL)
		if c.OK {
			d.answered(silentReply).fetching("https://s3.amazonaws.com/echo.api/echo-api-cert.pem")
		} else {
			d.refused("forged").fetching()
		}
	}
}

// alexaRealChain: Amazon's own chain has ended in 2023, and only Amazon could sign by it. That it leads to a root of the
// system is tested in the package trigger, with the clock of that time.
func alexaRealChain(b *builder, data string) {
	var file struct{ PEM string }
	b.read(data, &file)
	const path = "/echo.api/real.pem"
	b.amazon.chains[path] = []byte(file.PEM)
	b.alexa(b.sampleOf(trigger.Alexa), 0).
		with("SignatureCertChainUrl", "https://s3.amazonaws.com"+path).refused("forged").fetching("https://s3.amazonaws.com" + path)
}

// alexaVectorFile is a request, chains, times and signatures.
type alexaVectorFile struct {
	Body   string
	Chains []struct {
		Name string
		OK   bool
	}
	Clock []struct {
		Now time.Time
		OK  bool
	} `json:"clock_cases"`
	Signatures []vector `json:"signature_cases"`
}

// alexaVectors: nobody has the key of the vectors, and their time has passed. So they are signed anew, by the key of a
// chain that is made like theirs.
func alexaVectors(b *builder, data string) {
	var file alexaVectorFile
	b.read(data, &file)
	for _, c := range file.Chains {
		url := "https://s3.amazonaws.com/echo.api/" + c.Name + ".pem"
		b.alexa(file.Body, 0).named("chain "+c.Name).with("SignatureCertChainUrl", url).fetching(url).answeredIf(c.OK, "forged")
	}
	var sent struct{ Request struct{ Timestamp time.Time } }
	b.read(file.Body, &sent)
	for i, c := range file.Clock {
		// They are on the border, one on each side of it, and the clock goes on.
		ago := c.Now.Sub(sent.Request.Timestamp) - time.Minute
		d := b.alexa(file.Body, ago).named(fmt.Sprint("clock ", i))
		if d.answeredIf(c.OK, "stale"); !c.OK {
			d.fetching()
		}
	}
	for _, c := range file.Signatures {
		b.alexaSignature(file.Body, c)
	}
}

// alexaSignature has the signature of body, and something else besides.
func (b *builder) alexaSignature(body string, c vector) {
	d := b.alexa(body, 0).named(c.text("name"))
	if other := c.text("body"); other != "" {
		d.body = b.redated(other, 0)
	}
	code := "forged"
	if signature, given := c["Signature-256"]; given {
		d.header.Set("Signature-256", "")
		if code = "unsigned"; signature == nil {
			d.header.Del("Signature-256")
		}
		d.fetching()
	}
	d.answeredIf(c["ok"] == true, code)
}

func (d *delivery) answeredIf(ok bool, code string) {
	if ok {
		d.answered(silentReply)
	} else {
		d.refused(code)
	}
}
