package trigger

// For tests: New without the limit of age that the recorded messages have passed,
// and the rules for URLs alone.
var (
	NewSNSOfAge  = newSNSOfAge
	SNSCertURL   = snsCertURL
	AlexaCertURL = alexaCertURL
)
