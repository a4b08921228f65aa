package toybox

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxArgument bounds a script, a line that a shell reads, an environment, and what variables put
// into one command.
const maxArgument = 1 << 20

// item is a pipeline in a list.
type item struct {
	commands   []simple
	after      string // the operator before it, where it matters: "&&", "||"
	background bool
}

// simple is one command with its variables and redirections.
type simple struct {
	assigns   []word
	words     []word
	redirects []redirect
}

type redirect struct {
	op     string
	target word // nil for >&2 and 2>&1
}

// word is a sequence of parts that were quoted in different ways.
type word []part

type part struct {
	text    string
	quoted  bool
	literal bool // variables are not expanded
}

// token is a word or an operator.
type token struct {
	word word
	op   string
}

// operators, longer ones before their beginnings.
var operators = []string{"2>&1", "1>&2", "2>>", ">&2", "2>", "&&", "||", ">>", ";", "&", "|", ">", "<", "\n"}

var (
	assignment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)
	variable   = regexp.MustCompile(`\$(\{[A-Za-z_][A-Za-z0-9_]*\}|[A-Za-z_][A-Za-z0-9_]*|[?$!])`)
	// keywords are of grammar that the scripted shell lacks.
	keywords = []string{"if", "for", "while", "until", "case", "function", "{", "!"}
)

func expandVariables(s string, value func(name string) string) string {
	return variable.ReplaceAllStringFunc(s, func(ref string) string {
		return value(strings.Trim(ref[1:], "{}"))
	})
}

// tokenize splits a script into words and operators.
func tokenize(s string) ([]token, error) {
	var tokens []token
	for s != "" {
		switch {
		case s[0] == ' ' || s[0] == '\t' || s[0] == '\r':
			s = s[1:]
			continue
		case s[0] == '#':
			_, after, _ := strings.Cut(s, "\n")
			s = "\n" + after
		}
		if i := slices.IndexFunc(operators, func(op string) bool { return strings.HasPrefix(s, op) }); i >= 0 {
			tokens = append(tokens, token{op: operators[i]})
			s = s[len(operators[i]):]
			continue
		}
		w, rest, err := readWord(s)
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, token{word: w})
		s = rest
	}
	return tokens, nil
}

func readWord(s string) (w word, rest string, err error) {
	for s != "" {
		switch c := s[0]; {
		case strings.IndexByte(" \t\r\n;&|<>", c) >= 0:
			return w, s, nil
		case c == '(' || c == ')' || c == '`':
			return nil, "", fmt.Errorf("syntax error: %q is not supported by the scripted shell", c)
		case c == '\\' && len(s) > 1:
			w, s = append(w, part{text: s[1:2], quoted: true, literal: true}), s[2:]
		case c == '\'' || c == '"':
			end := closing(s)
			if end < 0 {
				return nil, "", fmt.Errorf("syntax error: unterminated quoted string")
			}
			text := s[1:end]
			if c == '"' {
				text = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(text)
			}
			w, s = append(w, part{text: text, quoted: true, literal: c == '\''}), s[end+1:]
		default:
			n := strings.IndexAny(s[1:], " \t\r\n;&|<>()`\\'\"")
			if n < 0 {
				n = len(s) - 1
			}
			w, s = append(w, part{text: s[:n+1]}), s[n+1:]
		}
	}
	return w, s, nil
}

// closing finds the quote that ends the string which s starts with.
func closing(s string) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return i
		case s[i] == '\\' && s[0] == '"':
			i++
		}
	}
	return -1
}

// parse reads a script.
func parse(script string) ([]item, error) {
	if len(script) > maxArgument {
		return nil, fmt.Errorf("script too long")
	}
	tokens, err := tokenize(script)
	if err != nil {
		return nil, err
	}
	var (
		items   []item
		current item
		command simple
	)
	endCommand := func() {
		if len(command.words)+len(command.assigns)+len(command.redirects) > 0 {
			current.commands = append(current.commands, command)
		}
		command = simple{}
	}
	endItem := func(op string) error {
		endCommand()
		if len(current.commands) == 0 {
			if op != "\n" {
				return fmt.Errorf("syntax error: %q unexpected", op)
			}
			return nil
		}
		current.background = op == "&"
		items = append(items, current)
		current = item{}
		if op == "&&" || op == "||" {
			current.after = op
		}
		return nil
	}
	for i := 0; i < len(tokens); i++ {
		switch t := tokens[i]; t.op {
		case "":
			if err := command.add(t.word); err != nil {
				return nil, err
			}
		case ";", "&", "&&", "||", "\n":
			if err := endItem(t.op); err != nil {
				return nil, err
			}
		case "|":
			before := len(current.commands)
			if endCommand(); len(current.commands) == before {
				return nil, fmt.Errorf("syntax error: \"|\" unexpected")
			}
		case ">&2", "1>&2", "2>&1":
			command.redirects = append(command.redirects, redirect{op: t.op})
		default:
			if i++; i == len(tokens) || tokens[i].op != "" {
				return nil, fmt.Errorf("syntax error: nothing after %q", t.op)
			}
			command.redirects = append(command.redirects, redirect{t.op, tokens[i].word})
		}
	}
	return items, endItem("\n")
}

func (c *simple) add(w word) error {
	if len(c.words) == 0 {
		if !w[0].quoted && assignment.MatchString(w[0].text) {
			c.assigns = append(c.assigns, w)
			return nil
		}
		if len(w) == 1 && !w[0].quoted && slices.Contains(keywords, w[0].text) {
			return fmt.Errorf("syntax error: %q is not supported by the scripted shell", w[0].text)
		}
	}
	c.words = append(c.words, w)
	return nil
}
