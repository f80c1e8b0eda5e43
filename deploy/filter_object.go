package deploy

import (
	"encoding/json"
	"net/url"
	"slices"

	"github.com/funker-dispatch/funker-dispatch/trigger"
)

// storages are the kinds of sender that tell of objects in buckets.
var storages = []string{trigger.SNS, trigger.EventBridge, trigger.MinIO, trigger.RustFS}

// object is one that an event is about.
type object struct{ bucket, key string }

func (m *Matcher) addObjects(kind string, f Filter) error {
	given := len(f.Buckets)+len(f.Keys) > 0
	switch {
	case !given:
		return nil
	case !slices.Contains(storages, kind):
		return misplaced("buckets or keys", kind)
	}
	bucket, err := newGlob(orAll(f.Buckets))
	if err != nil {
		return err
	}
	key, err := newGlob(orAll(prefixes(f.Keys)))
	m.checks = append(m.checks, func(in *Incoming) (bool, error) {
		payload, err := in.decode()
		return slices.ContainsFunc(objectsIn(payload), func(o object) bool {
			return bucket.MatchString(o.bucket) && key.MatchString(o.key)
		}), err
	})
	return err
}

func orAll(patterns []string) []string {
	if len(patterns) == 0 {
		return []string{"**"}
	}
	return patterns
}

// prefixes completes patterns that end like folders: they stand for all in them.
func prefixes(patterns []string) []string {
	all := slices.Clone(patterns)
	for i, p := range all {
		if p != "" && p[len(p)-1] == '/' {
			all[i] += "**"
		}
	}
	return all
}

// objectsIn finds the objects of a decoded payload: the records of Amazon S3
// ("Event message structure") and MinIO, one of them alone, or the detail of
// EventBridge ("EventBridge event message structure"). Around the records there
// may be the envelope of SNS, whose Message is JSON in a text.
func objectsIn(payload any) []object {
	var found []object
	for _, path := range []string{"Records.s3", "s3"} {
		each(payload, path, func(s3 any) {
			found = append(found, object{textAt(s3, "bucket.name"), formDecoded(textAt(s3, "object.key"))})
		})
	}
	each(payload, "detail", func(detail any) {
		found = append(found, object{textAt(detail, "bucket.name"), textAt(detail, "object.key")})
	})
	if message := textAt(payload, "Message"); len(found) == 0 && message != "" {
		var inner map[string]any
		if json.Unmarshal([]byte(message), &inner) == nil {
			delete(inner, "Message")
			return objectsIn(inner)
		}
	}
	return slices.DeleteFunc(found, func(o object) bool { return o == object{} })
}

// formDecoded is the key that a record has: as in a form, a blank is a plus.
func formDecoded(key string) string {
	if decoded, err := url.QueryUnescape(key); err == nil {
		return decoded
	}
	return key
}
