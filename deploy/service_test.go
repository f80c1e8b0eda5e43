package deploy_test

import "testing"

func TestSettingsOfAServiceAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		"functions: {F: {image: a, configs: [-x]}}":                      `1:37: configs: "-x" is not the name of a Docker config`,
		"functions: {F: {image: a, labels: {funker.role: gateway}}}":     `1:36: labels: "funker.role" begins with funker., which is taken`,
		"functions: {F: {image: a, labels: {com.docker.x: y}}}":          `1:36: labels: "com.docker.x" begins with com.docker.`,
		"functions: {F: {image: a, labels: {'a b': y}}}":                 `1:36: labels: "a b" has blanks or control characters`,
		"functions: {F: {image: a, labels: {'': y}}}":                    `1:36: labels: "" is no name: write one`,
		"functions: {F: {image: a, labels: {a: }}}":                      `1:36: labels: "a" has no value: write ""`,
		"functions: {F: {image: a, labels: {a: [b]}}}":                   `1:39: labels: the value of "a" must be a text, not a list`,
		"functions: {F: {image: a, resources: {cpu: 1}}}":                `1:39: unknown key "cpu" in resources: did you mean "cpus"?`,
		"functions: {F: {image: a, resources: {cpus: many}}}":            `1:45: cpus "many" is not a number: write how many CPUs`,
		"functions: {F: {image: a, resources: {cpus: 0}}}":               `1:45: cpus is 0: write a number from 0.001 to 1024`,
		"functions: {F: {image: a, resources: {cpus: NaN}}}":             `1:45: cpus is NaN: write a number`,
		"functions: {F: {image: a, resources: {memory: 128}}}":           `1:47: memory "128" is not a size: write a whole number and KiB`,
		"functions: {F: {image: a, resources: {memory: 1MiB}}}":          `1:47: memory is 1MiB: write a size from 6MiB to 16TiB`,
		"functions: {F: {image: a, resources: {memory: 9999999999TiB}}}": `1:47: memory is 9999999999TiB: write a size`,
		"functions: {F: {input: session}}":                               `1:24: input must be a list, such as [session, request], not a text`,
		"functions: {F: {input: [a, a]}}":                                `1:28: input: "a" is there twice`,
	} {
		wantFaults(t, faultsOf(t, text), want)
	}
}

func TestSettingsOfAServiceWithoutImageAreRemarkedOn(t *testing.T) {
	m := mustParse(t, "functions: {F: {configs: [a], labels: {b: c}, resources: {cpus: 1}}}")
	if len(m.Warnings) != 3 {
		t.Errorf("got %q, want a warning for each of the three", m.Warnings)
	}
}

func TestAFunctionThatTakesNothingIsNotOneThatTakesAll(t *testing.T) {
	m := mustParse(t, "functions: {Nothing: {input: []}, All: }")
	if nothing, all := m.Functions[0].Input, m.Functions[1].Input; nothing == nil || len(nothing) != 0 || all != nil {
		t.Errorf("got %#v and %#v, want an empty list and nil", nothing, all)
	}
}
