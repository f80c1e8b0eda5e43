package trigger

import (
	"cmp"
	"encoding/json"
	"strings"
)

// s3Record is a record of a change in a bucket, as the Amazon S3 user guide has it
// in "Event message structure", and MinIO with its own additions:
//
//	{"eventName","eventSource","awsRegion","s3":{"bucket":{"name"},"object":{"key","versionId","sequencer"}},…}
type s3Record struct {
	body                            []byte
	name, region                    string
	bucket, key, version, sequencer string
}

// s3Record takes a record.
func (s *scanner) s3Record() (r s3Record, err error) {
	s.next()
	start := s.pos
	err = s.fields(func(name string) error {
		switch name {
		case "eventName":
			return s.into(&r.name)
		case "awsRegion":
			return s.into(&r.region)
		case "s3":
			return s.inside(func(name string) error { return s.s3Member(name, &r) })
		}
		return s.value()
	})
	r.body = s.data[start:s.pos:s.pos]
	return r, err
}

// s3Records takes an array of records.
func (s *scanner) s3Records() (all []s3Record, err error) {
	err = s.elements(func() error {
		if len(all) == maxRecords {
			return tooManyRecords()
		}
		r, err := s.s3Record()
		all = append(all, r)
		return err
	})
	return all, err
}

// inside is fields for a value that need not be an object.
func (s *scanner) inside(take func(name string) error) error {
	if s.next() != '{' {
		return s.value()
	}
	return s.fields(take)
}

func (s *scanner) s3Member(name string, r *s3Record) error {
	switch name {
	case "bucket":
		return s.inside(func(name string) error {
			if name == "name" {
				return s.into(&r.bucket)
			}
			return s.value()
		})
	case "object":
		return s.inside(func(name string) error { return s.s3Object(name, r) })
	}
	return s.value()
}

func (s *scanner) s3Object(name string, r *s3Record) error {
	switch name {
	case "key":
		return s.whole(&r.key)
	case "versionId":
		return s.into(&r.version)
	case "sequencer":
		return s.into(&r.sequencer)
	}
	return s.value()
}

// whole takes a value as it stands there, as keys can be longer than names.
func (s *scanner) whole(text *string) error {
	raw, err := s.raw()
	*text = string(raw)
	return err
}

// identity is that of the change, "" when the record does not tell it apart from
// others.
func (r s3Record) identity() string {
	if r.bucket == "" || r.key == "" || r.sequencer == "" || r.name == "" {
		return ""
	}
	return digest("object", r.bucket, r.key, r.version, r.sequencer, r.name)
}

// defaultRegion is the region for which MinIO takes requests when it has none.
const defaultRegion = "us-east-1"

// normal is the record as Amazon writes it: the name without s3:, the source aws:s3,
// and never without a region. The rest stays byte for byte what was sent.
func (r s3Record) normal() ([]byte, error) {
	out := []byte{'{'}
	for _, m := range []struct{ key, value string }{
		{"eventSource", "aws:s3"},
		{"awsRegion", cmp.Or(r.region, defaultRegion)},
		{"eventName", strings.TrimPrefix(r.name, "s3:")},
	} {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		out = appendMember(out, []byte(m.key), value)
	}
	out, err := appendMembers(out, r.body, func(name []byte) bool { return !isNormal(string(name)) })
	return append(out, '}'), err
}

// isNormal says whether normal writes the member itself.
func isNormal(name string) bool {
	return name == "eventSource" || name == "awsRegion" || name == "eventName"
}
