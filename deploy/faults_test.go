package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/funker-dispatch/funker-dispatch/deploy"
)

// faultsOf parses a manifest that must be wrong; the secret file "key" exists.
func faultsOf(t *testing.T, text string) deploy.Faults {
	t.Helper()
	return faultsIn(t, text, keyDir(t))
}

func faultsIn(t *testing.T, text, dir string) deploy.Faults {
	t.Helper()
	m, err := deploy.Parse("f.yaml", []byte(text), dir)
	var faults deploy.Faults
	if !errors.As(err, &faults) || m != nil {
		t.Fatalf("got manifest %+v and error %v, want faults", m, err)
	}
	checkPlaces(t, faults)
	return faults
}

// wantFaults expects one fault for each want, "line:column: part of the message".
func wantFaults(t *testing.T, faults deploy.Faults, wants ...string) {
	t.Helper()
	for i := range max(len(faults), len(wants)) {
		got, want := "nothing", "nothing"
		if i < len(faults) {
			got = faults[i].String()
		}
		if i < len(wants) {
			want = "f.yaml:" + wants[i]
		}
		place, part, _ := strings.Cut(want, " ")
		if !strings.HasPrefix(got, place+" ") || !strings.Contains(got, part) {
			t.Errorf("fault %d:\n got %s\nwant %s", i+1, got, want)
		}
	}
}

func TestAllFaultsOfAManifestAreReportedAtOnceWithTheirPlaces(t *testing.T) {
	faults := faultsOf(t, `version: "2"
functions:
  HelloIntent:
    adresses: [127.0.0.1]
    timeout: 30
    concurrency: 0
  HelloIntent:
    image: hello
triggers:
  - alexa: amzn1.ask.skill.one
    intents: {AMAZON.HelpIntent: HeloIntent}
  - github: acme
    secret-file: missing
    path: github
    function: CommitFetch
  - s3: acme
  - github: widgets
    path: /alexa
    insecure: true
    function: HelloIntent
trigger: []
`)
	wantFaults(t, faults,
		`4:5: unknown key "adresses" in function "HelloIntent": did you mean "addresses"?`,
		`5:14: timeout "30" has no unit: write 30s for seconds, or use ms, m or h`,
		`6:18: concurrency is 0: write a whole number from 1 to 1000`,
		`7:3: "HelloIntent" is twice in functions, first in line 3: remove or rename one`,
		`11:34: intent "AMAZON.HelpIntent": there is no function "HeloIntent": did you mean "HelloIntent"?`,
		`13:18: does not exist: create it or correct the path`,
		`14:11: path "github" does not begin with /: add it`,
		`15:15: function: there is no function "CommitFetch": add it to functions`,
		`16:5: s3 sends nothing by itself: its events come through a trigger of the kind sns, eventbridge or minio`,
		`18:5: path /alexa belongs to the trigger of line 10: give this one another path`,
		`21:1: unknown key "trigger" in the manifest: did you mean "triggers"?`,
	)
	if got := len(strings.Split(faults.Error(), "\n")); got != len(faults) {
		t.Errorf("the error has %d lines, want one for each of %d faults", got, len(faults))
	}
}

func TestFaultsInSettingsOfFunctionsSayWhatToDo(t *testing.T) {
	for setting, want := range map[string]string{
		`image: "a b"`:                          `image "a b" has blanks`,
		`image:`:                                `image has no value: write one, or remove the key`,
		`image: [a]`:                            `image must be a text, not a list`,
		`image: ""`:                             `image is empty`,
		`{image: a, addresses: [h]}`:            `addresses and image exclude each other`,
		`addresses: h`:                          `addresses must be a list, such as [127.0.0.1:9999], not a text`,
		`addresses: [{a: b}]`:                   `an entry of addresses must be a text, not a mapping`,
		`addresses: ["tcp://h:1"]`:              `"tcp://h:1" has a scheme: write host:port only`,
		`addresses: ["h:0"]`:                    `"h:0" has no port from 1 to 65535`,
		`addresses: ["h:65536"]`:                `"h:65536" has no port from 1 to 65535`,
		`addresses: ["h:http"]`:                 `"h:http" has no port from 1 to 65535`,
		`addresses: ["1:2:3:x:y"]`:              `"1:2:3:x:y" is not host:port`,
		`addresses: [":9999"]`:                  `":9999" has no IP address or host name before the port`,
		`addresses: [999.1.1.1]`:                `"999.1.1.1" has no IP address or host name`,
		`addresses: ["a/b"]`:                    `"a/b" has no IP address or host name`,
		`addresses: [h, "h:9999"]`:              `"h:9999" is there twice: remove one`,
		`lifecycle: oneshot`:                    `lifecycle "oneshot" is unknown: did you mean "one-shot"?`,
		`lifecycle: forever`:                    `lifecycle "forever" is unknown: use one of auto, one-shot, server`,
		`{lifecycle: one-shot, concurrency: 2}`: `a one-shot task takes one connection: write 1, or lifecycle: server`,
		`concurrency: "2"`:                      `concurrency must be a whole number from 1 to 1000, not a text`,
		`concurrency: 1.5`:                      `concurrency must be a whole number from 1 to 1000, not a number`,
		`concurrency: 1001`:                     `concurrency is 1001: write a whole number from 1 to 1000`,
		`concurrency: -1`:                       `concurrency is -1: write a whole number from 1 to 1000`,
		`concurrency: 99999999999999999999`:     `concurrency must be a whole number`,
		`concurrency: 0x10`:                     `concurrency is 0x10: write a whole number`,
		`timeout: soon`:                         `timeout "soon" is not a duration: write a number and ms, s, m or h, such as 30s`,
		`timeout: 0s`:                           `timeout is 0s: write a duration above zero`,
		`timeout: -1s`:                          `timeout is -1s: write a duration above zero`,
		`timeout: 25h`:                          `timeout is 25h: the limit is 24h0m0s`,
		`replicas: 3`:                           `replicas must be a mapping (lines of key: value), not a number`,
		`replicas: {min: 3, max: 2}`:            `replicas: min 3 is above max 2: raise max or lower min`,
		`replicas: {max: 0}`:                    `max is 0: write a whole number from 1 to 1000`,
		`replicas: {minimum: 1}`:                `unknown key "minimum" in replicas: use one of max, min`,
		`retry: {attempts: 0}`:                  `attempts is 0: write a whole number from 1 to 100`,
		`retry: {initial: 2m, max: 1m}`:         `retry: initial 2m0s is above max 1m0s`,
		`retry: {max-age: 48h}`:                 `max-age is 48h: the limit is 47h0m0s`,
		`retry: {max_age: 1h}`:                  `unknown key "max_age" in retry: did you mean "max-age"?`,
		`env: [A=b]`:                            `env must be a mapping (lines of key: value), not a list`,
		`env: {A: [b]}`:                         `env: the value of "A" must be a text, not a list`,
		`env: {A: }`:                            `env: "A" has no value: write "" for an empty one`,
		`env: {"A=B": c}`:                       `env: "A=B" cannot name a variable`,
		`env: {A: "x\0"}`:                       `env: the value of "A" has a NUL`,
		`secrets: [a/b]`:                        `"a/b" is not the name of a Docker secret`,
		`constraints: [node.role]`:              `"node.role" is not a constraint: write key==value or key!=value`,
		`constraints: [a==b, a==b]`:             `constraints: "a==b" is there twice`,
		`{a: b c: d}`:                           `a colon and a blank in a text without quotes`,
	} {
		t.Run(setting, func(t *testing.T) {
			if !strings.HasPrefix(setting, "{") {
				setting = "{" + setting + "}"
			}
			faults := faultsOf(t, "functions:\n  F: "+setting+"\n")
			if len(faults) != 1 || faults[0].Line != 2 || !strings.Contains(faults[0].Message, want) {
				t.Errorf("got %v\nwant %s", faults, want)
			}
		})
	}
}

func TestFaultsInTriggersSayWhatToDo(t *testing.T) {
	long := strings.Repeat("x", 64)
	for entry, want := range map[string]string{
		`alexa: id, verify: certificate`:                                               `verify "certificate" is unknown: use id-only`,
		`alexa: id, verify: id-only, insecure: true`:                                   `insecure: true and verify exclude each other`,
		`alexa: , verify: id-only`:                                                     `the alexa trigger has no skill id`,
		`alexa: [], verify: id-only`:                                                   `the alexa trigger has no skill id`,
		`alexa: [a, a], verify: id-only`:                                               `alexa: "a" is there twice`,
		`alexa: "a b", verify: id-only`:                                                `alexa: "a b" has blanks`,
		`alexa: {a: b}, verify: id-only`:                                               `alexa must be a text, not a mapping`,
		`alexa: id, secret-file: key, insecure: true`:                                  `unknown key "secret-file" in the alexa trigger`,
		`alexa: id, insecure: true, timeout: 8s`:                                       `timeout of an alexa trigger is 8s: the limit is 7s`,
		`alexa: id, insecure: true, apology: ""`:                                       `apology is empty`,
		`alexa: id, insecure: true, apology: ` + strings.Repeat(long, 10):              `apology is longer than 600 characters`,
		`alexa: id, insecure: true, name: "a b"`:                                       `name "a b" is not a name: use letters, digits and - _ .`,
		`alexa: id, insecure: true, function: G`:                                       `function: there is no function "G"`,
		`alexa: id, insecure: true, intents: [F]`:                                      `intents must be a mapping`,
		`alexa: id, insecure: true, intents: {A: G}`:                                   `intent "A": there is no function "G"`,
		`alexa: id, insecure: true, intents: {A: }`:                                    `intent "A" has no value`,
		`alexa: id, github: acme`:                                                      `a trigger has one kind, here are alexa and github`,
		`github: acme, function: F`:                                                    `nothing verifies the github trigger: add secret-file: <file>, or insecure: true (everybody may call)`,
		`github: acme, function: F, insecure: yes, secret-file: key`:                   `insecure must be true or false, not a text`,
		`github: acme, function: F, insecure: true, secret-file: key`:                  `insecure: true and secret-file exclude each other`,
		`github: acme, insecure: true`:                                                 `the github trigger has no function: add function: <name>`,
		`github: , function: F, insecure: true`:                                        `github has no value`,
		`github: a/b, function: F, insecure: true`:                                     `github "a/b" is not a name`,
		`github: .., function: F, insecure: true`:                                      `github ".." is not a name`,
		`github: ` + long + `, function: F, insecure: true`:                            `is too long: github-`,
		`github: acme, function: F, insecure: true, verify: id-only`:                   `unknown key "verify" in the github trigger`,
		`github: acme, function: F, insecure: true, events: push`:                      `events must be a list, such as [push, release], not a text`,
		`github: acme, function: F, insecure: true, events: []`:                        `events is empty, so nothing would ever run`,
		`github: acme, function: F, insecure: true, events: [Push!]`:                   `"Push!" is not an event`,
		`github: acme, function: F, insecure: true, path: acme`:                        `path "acme" does not begin with /: add it`,
		`github: acme, function: F, insecure: true, path: /`:                           `path "/" is taken for requests that are known by their shape`,
		`github: acme, function: F, insecure: true, path: /healthz`:                    `path "/healthz" is taken by the gateway itself`,
		`github: acme, function: F, insecure: true, path: /functions/F`:                `path "/functions/F" is taken by the gateway itself`,
		`github: acme, function: F, insecure: true, path: /functions`:                  `path "/functions" is taken by the gateway itself`,
		`github: acme, function: F, insecure: true, path: /a/`:                         `path "/a/" is not in its shortest form: write /a`,
		`github: acme, function: F, insecure: true, path: /x/../functions/F`:           `is not in its shortest form: write /functions/F`,
		`github: acme, function: F, insecure: true, path: "/a{b}"`:                     `has other characters than`,
		`github: acme, function: F, insecure: true, path: /` + strings.Repeat(long, 4): `is longer than 255 bytes`,
		`cloudwatch: acme, function: F`:                                                `cloudwatch sends nothing by itself: its events come through a trigger of the kind sns, eventbridge or firehose`,
		`gihtub: acme`:                                                                 `unknown trigger kind "gihtub": did you mean "github"?`,
		`github: a, insecure: true, function: F, routes: [{function: F}]`:              `function and routes exclude each other`,
		`github: a, insecure: true, routes: []`:                                        `routes has 0 entries: write 1 to 32`,
		`github: a, insecure: true, routes: [{events: [push]}]`:                        `the route has no function: add function: <name>`,
		`github: a, insecure: true, routes: [{function: F}, {function: F}]`:            `function "F" has two routes: make one of them`,
		`github: a, secret-file: [], function: F`:                                      `secret-file names 0 files: name 1 to 8`,
		`path: /x`: `the trigger has no kind: begin it with alexa: <skill id>, or with one of `,
	} {
		t.Run(entry, func(t *testing.T) {
			faults := faultsOf(t, "functions: {F: }\ntriggers:\n- {"+entry+"}\n")
			if len(faults) != 1 || faults[0].Line != 3 || !strings.Contains(faults[0].Message, want) {
				t.Errorf("got %v\nwant %s", faults, want)
			}
		})
	}
}

func TestFunctionNamesThatCannotBeEscapedAreRefused(t *testing.T) {
	for name, want := range map[string]string{
		`""`:                               `function name is empty`,
		strings.Repeat("x", 200):           `takes 200 bytes, the limit is 63`,
		strings.Repeat("x", 64):            `takes 64 bytes, the limit is 63`,
		strings.Repeat("ü", 11):            `takes 66 bytes, the limit is 63 (each byte other than A-Z a-z 0-9 _ - counts as three): shorten it`,
		`"a\nb"`:                           `has control characters`,
		`" a"`:                             `has a blank at its begin or end`,
		`~`:                                `a key of functions must be a text: put it in quotes`,
		`"` + strings.Repeat(" ", 5) + `"`: `has a blank at its begin or end`,
	} {
		faults := faultsOf(t, "functions:\n  "+name+":\n")
		wantFaults(t, faults, "2:3: "+want)
	}
}

func TestTwoTriggersMayNotShareAPathOrAName(t *testing.T) {
	faults := faultsOf(t, `functions: {F: }
triggers:
- {alexa: one, verify: id-only}
- {alexa: two, verify: id-only}
- {alexa: three, verify: id-only, name: kitchen, path: /kitchen}
- {github: acme, insecure: true, function: F}
- {github: acme, insecure: true, function: F, path: /kitchen}
`)
	wantFaults(t, faults,
		"4:4: path /alexa belongs to the trigger of line 3",
		"4:4: the trigger of line 3 is called alexa too",
		"7:4: the trigger of line 6 is called github-acme too",
		"7:47: path /kitchen belongs to the trigger of line 5",
	)
}

func TestTextThatIsNoManifestIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "1:1: the manifest is empty",
		" \n# nothing\n":                     "1:1: the manifest is empty",
		"---\n":                              "1:1: the manifest is empty",
		"hello":                              "1:1: the manifest must be a mapping (lines of key: value), not a text",
		"- a\n":                              "1:1: the manifest must be a mapping (lines of key: value), not a list",
		"functions: [F]\n":                   "1:12: functions must be a mapping (lines of key: value), not a list",
		"functions:\n- F\n":                  "2:1: functions must be a mapping (lines of key: value), not a list",
		"triggers:\n  alexa: x\n":            "2:3: triggers must be a list, such as - github: acme, not a mapping",
		"triggers: [x]\n":                    "1:12: a trigger must be a mapping (lines of key: value), not a text",
		"version: 3\n":                       `1:10: version "3" is unknown: write "2", or "1.0" for a services.json`,
		"version:\n":                         "1:10: version has no value",
		"version: 2\nversion: 2\n":           `2:1: "version" is twice in the manifest, first in line 1`,
		"functions:\n\tF:\n":                 "2:1: a tab cannot indent YAML: use blanks",
		"functions:\n  F:\n \tG:\n":          "3:2: a tab cannot indent YAML: use blanks",
		"functions: {F: \n":                  "1:14: not valid YAML",
		"functions: \"F\n":                   "1:12: not valid YAML",
		"functions:\n  F:\n G:\n":            "3:2: not valid YAML",
		"functions: &a\n  F:\n":              "1:12: anchors (&name) are not supported",
		"functions: *a\n":                    "1:12: aliases (*name) are not supported",
		"<<: {a: b}\n":                       "1:1: merge keys (<<) are not supported",
		"version: !!str 2\n":                 "1:10: tags (!name) are not supported",
		"? version\n: 2\n":                   "1:1: keys with ? are not supported",
		"%YAML 1.2\n---\nversion: 2\n":       "1:1: directives (%NAME) are not supported",
		"version: 2\n---\nversion: 2\n":      "2:1: a second document begins here",
		"version: 2\n...\nversion: 2\n":      "3:1: a second document begins here",
		"a: 1\nb: \xff\n":                    "2:4: not UTF-8: save the file in that encoding",
		"\xff\xfea\x00:\x00":                 "1:1: not UTF-8",
		"ü: \"\x01\"\n":                      "1:5: control character U+0001",
		"a: b\rc: d\n":                       "1:5: control character U+000D",
		"a: |\n" + strings.Repeat("\n", 200): "102:1: more than 100 blank lines in a row",
		"a: \"" + strings.Repeat("\t", 200):  "1:1: more than 100 tabs in a line",
	} {
		t.Run(fmt.Sprintf("%.30q", text), func(t *testing.T) {
			wantFaults(t, faultsOf(t, text), want)
		})
	}
}

func TestAManifestThatWouldExpandOrNestWithoutEndIsRefused(t *testing.T) {
	bomb := "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
	if faults := faultsOf(t, bomb); len(faults) != 7 {
		t.Errorf("got %d faults, want one for each of 3 anchors and 4 aliases:\n%v", len(faults), faults)
	}
	deep := "functions:\n"
	for i := range 200 {
		deep += strings.Repeat(" ", i+1) + "a:\n"
	}
	for _, text := range []string{strings.Repeat("[", 40_000), strings.Repeat("- ", 20_000), strings.Repeat("{a: ", 15_000), deep} {
		faults := faultsOf(t, text)
		if len(faults) != 1 || !strings.Contains(faults[0].Message, "nested more than 32 levels deep") {
			t.Errorf("%.20q: got %v, want a fault on nesting", text, faults)
		}
	}
}

func TestAManifestThatIsTooLargeIsRefused(t *testing.T) {
	comment := strings.Repeat("# "+strings.Repeat("x", 1022)+"\n", 1024)
	wantFaults(t, faultsOf(t, comment+"version: 2\n"), "1:1: the manifest is larger than 1 MiB")
	wantFaults(t, faultsOf(t, strings.Repeat("- a\n", 40_000)), "30001:1: too much for one manifest (60000 words and signs)")

	file := filepath.Join(t.TempDir(), "f.yaml")
	writeFile(t, file, comment+comment)
	if _, err := deploy.Load(file); err == nil || !strings.Contains(err.Error(), file+":1:1: the manifest is larger than 1 MiB") {
		t.Errorf("got %v, want the size limit", err)
	}
}

func TestFaultsNeverShowTheValuesOfTheEnvironmentOrOfSecrets(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "key"), "swordfish")
	for _, text := range []string{
		"functions: {F: {env: {TOKEN: [swordfish]}}}",
		"functions: {F: {env: {TOKEN: \"swordfish\\0\"}}}",
		"functions: {F: {env: {TOKEN: swordfish, TOKEN: swordfish}}}",
		"functions: {F: {image: a, env: {TOKEN: swordfish}, x: y}}",
		"functions:\n  F:\n    env:\n      TOKEN: \"swordfish\n",
		"triggers: [{github: acme, secret: swordfish}]",
		"triggers: [{github: acme, secret-file: key, path: x}]",
	} {
		if faults := faultsIn(t, text, dir); strings.Contains(faults.Error(), "swordfish") {
			t.Errorf("a fault shows a secret: %v", faults)
		}
	}
}

func TestASecretFileThatCannotServeIsRefused(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "empty"), "")
	writeFile(t, filepath.Join(dir, "blank"), " \r\n\n")
	writeFile(t, filepath.Join(dir, "large"), strings.Repeat("x", 64<<10+1))
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"missing":   "does not exist: create it or correct the path",
		"empty":     "is empty: write the secret into it",
		"blank":     "is empty: write the secret into it",
		"large":     "is larger than 64 KiB",
		"folder":    "is not a regular file",
		"empty/a":   "cannot be read",
		`"a\0b"`:    "cannot be read",
		"/dev/null": "is not a regular file",
	} {
		faults := faultsIn(t, "functions: {F: }\ntriggers:\n- github: acme\n  function: F\n  secret-file: "+file+"\n", dir)
		wantFaults(t, faults, "5:16: "+want)
	}
}

func TestASecretFileThatHoldsMoreThanTheSecretIsAWarning(t *testing.T) {
	dir := t.TempDir()
	for content, want := range map[string]string{
		"key":           "",
		"key\r\n\n":     "",
		"two words\n":   "",
		"key \n":        "has blanks before or behind the secret",
		"\tkey":         "has blanks before or behind the secret",
		"\nkey":         "has several lines",
		"key\nanother":  "has several lines",
		"\ufeffkey\r\n": "begins with a byte order mark",
	} {
		writeFile(t, filepath.Join(dir, "key"), content)
		m, err := deploy.Parse("f.yaml", []byte("functions: {F: }\ntriggers:\n- {github: a, function: F, secret-file: key}\n"), dir)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case want == "" && len(m.Warnings) != 0, want != "" && len(m.Warnings) != 1:
			t.Errorf("%q: got %q", content, m.Warnings)
		case want != "" && (!strings.HasPrefix(m.Warnings[0], "f.yaml:3:41: secret-file ") || !strings.Contains(m.Warnings[0], want) || strings.Contains(m.Warnings[0], "another")):
			t.Errorf("%q: got %q, want %q", content, m.Warnings, want)
		}
	}
}
