package deploy

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// Limits of the expression of a filter, in CEL (cel.dev, "Language Definition").
const (
	maxExpression = 4096 // characters
	maxRegex      = 250  // instructions of a compiled pattern of matches()

	// maxCost is how much one evaluation may cost, in units of CEL: a look at some
	// 3,000 elements of a list, or 60 ms on a server. Ten times as much would
	// take a hundred times as long, because of how cel-go keeps its account.
	maxCost = 20_000
)

// celEnvironment knows the variables of expressions.
var celEnvironment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("event", cel.StringType),
		cel.Variable("source", cel.StringType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.DynType),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	)
})

// mistake is a fault in an expression.
type mistake struct {
	line, column int // from 1; in characters
	text         string
}

// mistakes are the faults of an expression.
type mistakes []mistake

func (m mistakes) Error() string {
	lines := make([]string, len(m))
	for i, one := range m {
		lines[i] = fmt.Sprintf("if: line %d, column %d: %s", one.line, one.column, one.text)
	}
	return strings.Join(lines, "\n")
}

// compile checks the types too. The error is mistakes.
func compile(expression string) (cel.Program, error) {
	env, err := celEnvironment()
	if err != nil {
		return nil, err
	}
	if n := utf8.RuneCountInString(expression); n > maxExpression {
		return nil, mistakes{{1, 1, fmt.Sprintf("the expression has %d characters: the limit is %d", n, maxExpression)}}
	}
	ast, issues := env.Compile(expression)
	if issues.Err() != nil {
		return nil, mistakesOf(issues.Errors())
	}
	if out := ast.OutputType(); !out.IsExactType(cel.BoolType) {
		return nil, mistakes{{1, 1, fmt.Sprintf("the result is of the type %s, not true or false: compare it, as in body.draft == true", out)}}
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, mistakes{{1, 1, err.Error()}}
	}
	return program, nil
}

// maxMistakes of one expression: the later ones tend to follow from the first.
const maxMistakes = 3

func mistakesOf(found []*cel.Error) mistakes {
	var all mistakes
	for _, e := range found[:min(len(found), maxMistakes)] {
		text := strings.TrimSuffix(e.Message, " (in container '')")
		if strings.HasPrefix(text, "undeclared reference") {
			text += ": the variables are event, source, headers and body"
		}
		all = append(all, mistake{max(1, e.Location.Line()), max(0, e.Location.Column()) + 1, text})
	}
	return all
}

func (m *Matcher) addCondition(expression string) error {
	if expression == "" {
		return nil
	}
	program, err := compile(expression)
	m.checks = append(m.checks, func(in *Incoming) (bool, error) { return holds(program, in) })
	return err
}

// holds evaluates an expression. One that asks for a member that is not there does not hold.
func holds(program cel.Program, in *Incoming) (bool, error) {
	out, _, err := program.Eval(variables{in})
	var failed *FilterError
	switch {
	case err == nil:
		return out == types.True, nil
	case isMissing(err):
		return false, nil
	case errors.As(err, &failed):
		return false, failed
	}
	return false, &FilterError{Reason: "the expression of if cannot be evaluated", Detail: err.Error()}
}

// isMissing tells by the text, which CEL defines: its types are not exported.
func isMissing(err error) bool {
	return strings.HasPrefix(err.Error(), "no such key") || strings.HasPrefix(err.Error(), "no such attribute")
}

// variables are those of an expression. The payload is decoded when it is asked for.
type variables struct{ *Incoming }

// ResolveName implements cel.Activation.
func (v variables) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return v.Event, true
	case "source":
		return v.Source, true
	case "headers":
		return v.lowered(), true
	case "body":
		payload, err := v.decode()
		if err != nil {
			return types.WrapErr(err), true
		}
		return payload, true
	}
	return nil, false
}

// Parent implements cel.Activation.
func (variables) Parent() cel.Activation { return nil }
