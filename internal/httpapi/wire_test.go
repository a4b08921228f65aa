package httpapi

import (
	"reflect"
	"slices"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/session"
)

// setAll gives every field below v a value that is not its zero. A string is "off", which means
// something to the one that is not passed on as it is, session.Spec.Agent.
func setAll(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(t, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			setAll(t, v.Field(i))
		}
	case reflect.String:
		v.SetString("off")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Float64:
		v.SetFloat(7)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setAll(t, v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), reflect.ValueOf("x"))
	default:
		t.Fatalf("no value for a %v", v.Type())
	}
}

// TestNoFieldOfASpecIsForgotten: what a client sends is recorded, and what is recorded a client
// sees.
func TestNoFieldOfASpecIsForgotten(t *testing.T) {
	var sent v1.Spec
	setAll(t, reflect.ValueOf(&sent).Elem())
	if back := fromSpec(toSpec(sent)); !reflect.DeepEqual(back, sent) {
		t.Errorf("sent %+v, seen %+v", sent, back)
	}
	var recorded session.Spec
	setAll(t, reflect.ValueOf(&recorded).Elem())
	if back := toSpec(fromSpec(recorded)); !reflect.DeepEqual(back, recorded) {
		t.Errorf("recorded %+v, sent and recorded again %+v", recorded, back)
	}
}

// TestNoOptionIsForgotten: what is recorded reaches the engine, and what an engine can be asked for
// can be recorded.
func TestNoOptionIsForgotten(t *testing.T) {
	own := []string{"IdleTimeout", "MaxAge", "OnExpire", "Record"} // not the engine's business
	spec := reflect.TypeFor[session.Spec]()
	for i := range spec.NumField() {
		var one session.Session
		setAll(t, reflect.ValueOf(&one.Spec).Elem().Field(i))
		if name := spec.Field(i).Name; !slices.Contains(own, name) && reflect.ValueOf(one.Options()).IsZero() {
			t.Errorf("session.Spec.%s is nowhere in the options", name)
		}
	}
	whole := session.Session{ProjectID: "p", Origin: "o"}
	setAll(t, reflect.ValueOf(&whole.Spec).Elem())
	opts := whole.Options()
	for _, v := range []reflect.Value{reflect.ValueOf(opts), reflect.ValueOf(opts.Resources)} {
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if v.Field(i).IsZero() && !slices.Contains([]string{"Credentials", "Progress", "Pulling", "Program"},
				name) {
				t.Errorf("%v.%s comes from nowhere in the record", v.Type(), name)
			}
		}
	}
}
