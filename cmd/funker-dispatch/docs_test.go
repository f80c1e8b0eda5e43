package main

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funker-dispatch/funker-dispatch/console/browsertest"
	"github.com/funker-dispatch/funker-dispatch/deploy"
)

const root = "../.."

// documents returns the text of every document by its path from the root of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	files := glob(t, root+"/docs/*.md", root+"/deploy/functions/README.md", root+"/deploy/functions/*/README.md")
	if len(files) < 12 {
		t.Fatalf("there are only %d documents", len(files))
	}
	for _, name := range []string{"README.md", "DESIGN.md", "CONTRIBUTING.md", "CHANGELOG.md"} {
		files = append(files, filepath.Join(root, name))
	}
	texts := make(map[string]string, len(files))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(root, f)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(data)
	}
	return texts
}

// blocks returns the fenced blocks of a language.
func blocks(text, language string) []string {
	var found []string
	for _, part := range strings.Split("\n"+text, "\n```"+language+"\n")[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		found = append(found, block)
	}
	return found
}

var (
	fenced   = regexp.MustCompile("(?s)```.*?```")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	noAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the fragments of a document's headings, as GitHub makes them.
func anchors(text string) []string {
	var found []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		found = append(found, strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return found
}

func TestDocs_EveryRelativeLinkLeadsSomewhere(t *testing.T) {
	texts := documents(t)
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if path != "" {
				target = filepath.Join(filepath.Dir(name), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(texts[target]), anchor) {
				t.Errorf("%s: link to %s: %s has no such heading", name, m[1], target)
			}
		}
	}
}

var secretFile = regexp.MustCompile(`secret-file: (\[[^\]]*\]|[^\s,}]+)`)

// anySecret is good for every kind of trigger.
var anySecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a secret of thirty-two bytes, ok"))

// The manifest's own page is tested where the manifest is read.
func TestDocs_EveryManifestIsValid(t *testing.T) {
	tested := 0
	for name, text := range documents(t) {
		for _, block := range blocks(text, "yaml") {
			if name == filepath.Join("docs", "manifest.md") || !strings.Contains(block, "functions:") {
				continue
			}
			tested++
			dir := t.TempDir()
			block = secretFile.ReplaceAllString(block, "secret-file: secret")
			if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(anySecret), 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := deploy.Parse(name, []byte(block), dir)
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, block)
			} else if len(m.Warnings) > 0 {
				t.Errorf("%s: %v\n%s", name, m.Warnings, block)
			}
		}
	}
	if tested == 0 {
		t.Error("there is no manifest in the documents")
	}
}

// ourCommand finds our command lines, in containers too, whose image may be ${FUNKER_IMAGE:-funker-dispatch}; what follows a
// pipe, a redirection or ; is not ours.
var ourCommand = regexp.MustCompile(`(?:^|[\s/(]|:-)funker-dispatch}? +([a-z][^|;>)]*)`)

func TestDocs_EveryCommandAndFlagExists(t *testing.T) {
	tested := 0
	for name, text := range documents(t) {
		for _, block := range blocks(text, "sh") {
			for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
				for _, m := range ourCommand.FindAllStringSubmatch(line, -1) {
					tested++
					if fault := check(strings.Fields(m[1])); fault != "" {
						t.Errorf("%s: %s: %s", name, strings.TrimSpace(line), fault)
					}
				}
			}
		}
	}
	if tested == 0 {
		t.Error("there is no command in the documents")
	}
}

// check says what is wrong with a command line, "" when nothing is.
func check(args []string) string {
	cmd, rest, err := command(new(bool)).Find(args)
	if err != nil {
		return err.Error()
	}
	if cmd.Runnable() && cmd.HasSubCommands() && cmd.Name() != "functions" { // which lists them by itself
		return "the subcommand is missing"
	}
	flags := cmd.Flags()
	flags.AddFlagSet(cmd.InheritedFlags())
	for _, a := range rest {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		switch {
		case strings.HasPrefix(a, "--") && flags.Lookup(name) == nil:
			return "no flag " + a
		case strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && (len(a) != 2 || flags.ShorthandLookup(a[1:]) == nil):
			return "no flag " + a
		}
	}
	return ""
}

var variable = regexp.MustCompile(`\bFUNKER_[A-Z_]+`)

func TestDocs_EveryEnvironmentVariableBelongsToAFlag(t *testing.T) {
	known := []string{"FUNKER_", "FUNKER_EVENTS", "FUNKER_CALLS", "FUNKER_RETRY", "FUNKER_DEAD", "FUNKER_LOG", "FUNKER_ADVISORY", "FUNKER_NOTICE", // the streams
		browsertest.Pictures}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		note := func(f *pflag.Flag) { known = append(known, variableOf(f.Name)) }
		cmd.Flags().VisitAll(note)
		cmd.PersistentFlags().VisitAll(note)
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(command(new(bool)))
	for _, file := range glob(t, stacks+"/*.yml") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\$\{(FUNKER_[A-Z_]+)`).FindAllSubmatch(text, -1) {
			known = append(known, string(m[1]))
		}
	}
	for name, text := range documents(t) {
		for _, v := range variable.FindAllString(text, -1) {
			if !slices.Contains(known, v) {
				t.Errorf("%s: %s belongs to no flag", name, v)
			}
		}
	}
}

func variableOf(flag string) string {
	return "FUNKER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func TestDocs_EveryTestThatIsNamedExists(t *testing.T) {
	var tests []string
	for _, file := range glob(t, "../../*/*_test.go", "*_test.go") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllSubmatch(data, -1) {
			tests = append(tests, string(m[1]))
		}
	}
	for name, text := range documents(t) {
		for _, m := range regexp.MustCompile("`(Test\\w+)…?`").FindAllStringSubmatch(text, -1) {
			if !slices.ContainsFunc(tests, func(test string) bool { return strings.HasPrefix(test, m[1]) }) {
				t.Errorf("%s: there is no test %s", name, m[1])
			}
		}
	}
}

func glob(t *testing.T, patterns ...string) (files []string) {
	t.Helper()
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, found...)
	}
	return files
}
