package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"text/template/parse"
	"time"
	"unicode"

	"github.com/spf13/cobra"
)

// formatHelp is what the help of every command with --format says about it.
const formatHelp = `--format prints by a template, as docker does: the names are those of -o json, '{{.id}} {{.status}}', or of the Go client,
'{{.ID}} {{.Status}}'; "table " before it makes a table. There are the functions json, join, lower, split and upper.`

// formatFlag adds --format to a command that prints values of type T.
func formatFlag[T any](cmd *cobra.Command) *format {
	f := &format{of: reflect.TypeFor[T]()}
	cmd.Flags().Var(f, "format", "print by a Go `template`")
	complete(cmd, "format")
	return f
}

// format prints values by a template; the zero template is none.
type format struct {
	of       reflect.Type
	text     string
	template *template.Template // nil: none was given
	table    bool
	header   record // what a table says above each field
}

func (f *format) String() string { return f.text }
func (f *format) Type() string   { return "template" }

// Set implements pflag's Value. What the template asks for has to be there.
func (f *format) Set(s string) error {
	f.text = s
	s, f.table = strings.CutPrefix(s, "table ")
	s = strings.NewReplacer(`\t`, "\t", `\n`, "\n").Replace(s)
	t, err := template.New("format").Funcs(formatFunctions).Parse(s)
	if err != nil {
		return errors.New(templateError(err))
	}
	header := record{}
	addHeader(header, f.of)
	unknown := ""
	visitFields(t.Root, func(names []string) {
		switch inner, ok := header[names[0]]; {
		case !ok && unknown == "":
			unknown = names[0]
		case len(names) > 1:
			if entries, ok := inner.(mapHeader); ok {
				entries[names[1]] = strings.ToUpper(names[1])
			}
		}
	})
	if unknown != "" {
		known := slices.Sorted(maps.Keys(header))
		known = slices.DeleteFunc(known, func(n string) bool { return n != strings.ToLower(n) })
		return fmt.Errorf("there is no .%s; there are: %s", unknown, strings.Join(known, ", "))
	}
	f.template, f.header = t, header
	return nil
}

// given reports whether the flag was.
func (f *format) given() bool { return f.template != nil }

// printFormatted prints each value in lines of its own.
func printFormatted[T any](a *app, f *format, values ...T) error {
	var out io.Writer = a.stdout
	text := func(s string) string { return s }
	if terminalOf(nil, a.stdout).out != nil {
		text = printable
	}
	if f.table {
		tw := tabwriter.NewWriter(a.stdout, 0, 8, 3, ' ', 0)
		defer func() { _ = tw.Flush() }()
		out = tw
		if err := f.execute(out, f.header); err != nil {
			return err
		}
	}
	for _, v := range values {
		if err := f.execute(out, fieldsOf(reflect.ValueOf(v), text)); err != nil {
			return err
		}
	}
	return nil
}

func (f *format) execute(w io.Writer, v any) error {
	var line bytes.Buffer
	if err := f.template.Execute(&line, v); err != nil {
		return fmt.Errorf("--format: %s", templateError(err))
	}
	line.WriteByte('\n')
	_, err := w.Write(line.Bytes())
	return err
}

// templateError leaves out where in the code templates are.
func templateError(err error) string {
	s := strings.TrimPrefix(err.Error(), "template: ")
	return strings.ReplaceAll(strings.TrimPrefix(s, "format:"), `executing "format" at `, "")
}

var formatFunctions = template.FuncMap{
	"json": func(v any) (string, error) {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		err := enc.Encode(v)
		return strings.TrimSuffix(b.String(), "\n"), err
	},
	"join":  strings.Join,
	"lower": strings.ToLower,
	"split": strings.Split,
	"upper": strings.ToUpper,
}

// record is a struct for templates: its fields by their names in JSON and in Go, and under "" the
// struct itself.
type record map[string]any

// MarshalJSON gives the struct's own JSON.
func (r record) MarshalJSON() ([]byte, error) { return json.Marshal(r[""]) }

// fieldsOf makes records of structs; text is applied to every text. Nil pointers are empty.
func fieldsOf(v reflect.Value, text func(string) string) any {
	if t, ok := v.Interface().(time.Time); ok {
		return t.Format(time.RFC3339Nano)
	}
	switch v.Kind() {
	case reflect.Pointer:
		switch {
		case !v.IsNil():
			return fieldsOf(v.Elem(), text)
		case v.Type().Elem().Kind() == reflect.Struct && v.Type().Elem() != reflect.TypeFor[time.Time]():
			return record(nil)
		}
		return ""
	case reflect.Struct:
		r := record{"": v.Interface()}
		for _, field := range reflect.VisibleFields(v.Type()) {
			if name, ok := nameOf(field); ok {
				value := fieldsOf(v.FieldByIndex(field.Index), text)
				r[name], r[field.Name] = value, value
			}
		}
		return r
	case reflect.String:
		return text(v.String())
	case reflect.Slice:
		switch v.Type().Elem().Kind() {
		case reflect.String:
			list := make([]string, v.Len())
			for i := range list {
				list[i] = text(v.Index(i).String())
			}
			return list
		case reflect.Struct, reflect.Pointer:
			list := make([]any, v.Len())
			for i := range list {
				list[i] = fieldsOf(v.Index(i), text)
			}
			return list
		}
	case reflect.Map:
		if m, ok := v.Interface().(map[string]string); ok {
			texts := make(map[string]string, len(m))
			for key, value := range m {
				texts[text(key)] = text(value)
			}
			return texts
		}
	}
	return v.Interface()
}

// mapHeader is the header of a map, whose entries are named by those who ask for them.
type mapHeader map[string]string

// addHeader adds what a table says above each field of a struct.
func addHeader(r record, t reflect.Type) {
	for _, field := range reflect.VisibleFields(t) {
		name, ok := nameOf(field)
		if !ok {
			continue
		}
		var header any = strings.ToUpper(strings.ReplaceAll(name, "_", " "))
		of := field.Type
		if of.Kind() == reflect.Pointer {
			of = of.Elem()
		}
		switch {
		case of == reflect.TypeFor[map[string]string]():
			header = mapHeader{}
		case of.Kind() == reflect.Struct && of != reflect.TypeFor[time.Time]():
			inner := record{}
			addHeader(inner, of)
			header = inner
		}
		r[name], r[field.Name] = header, header
	}
}

// nameOf gives a field's name in JSON; ok is false for one that has none.
func nameOf(field reflect.StructField) (name string, ok bool) {
	name, _, _ = strings.Cut(field.Tag.Get("json"), ",")
	return name, field.IsExported() && name != "" && name != "-"
}

// visitFields calls visit with the names that a template asks of the value itself: of .exit.code,
// both.
func visitFields(node parse.Node, visit func(names []string)) {
	visitAll := func(nodes ...parse.Node) {
		for _, n := range nodes {
			visitFields(n, visit)
		}
	}
	if node == nil || reflect.ValueOf(node).IsNil() {
		return
	}
	switch n := node.(type) {
	case *parse.ListNode:
		visitAll(n.Nodes...)
	case *parse.ActionNode:
		visitAll(n.Pipe)
	case *parse.IfNode:
		visitAll(n.Pipe, n.List, n.ElseList)
	case *parse.RangeNode: // inside, it is about something else
		visitAll(n.Pipe, n.ElseList)
	case *parse.WithNode:
		visitAll(n.Pipe, n.ElseList)
	case *parse.ChainNode:
		visitAll(n.Node)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			visitAll(c.Args...)
		}
	case *parse.FieldNode:
		visit(n.Ident)
	}
}

// printable keeps texts of others from spoiling the terminal; lines and tabs are left.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return '\uFFFD'
	}, s)
}
