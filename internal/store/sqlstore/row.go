package sqlstore

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/octobot-run/octobot/internal/session"
)

// The JSON of a session's columns exit and failure.
type (
	exitRecord struct {
		Code      int       `json:"code"`
		OOMKilled bool      `json:"oom_killed,omitempty"`
		Reason    string    `json:"reason,omitempty"`
		At        time.Time `json:"at"`
	}
	failureRecord struct {
		Code   session.Code `json:"code"`
		Detail string       `json:"detail,omitempty"`
		At     time.Time    `json:"at"`
	}
)

// specRecord is the JSON of the column spec.
type specRecord struct {
	session.Spec
	Next *session.Spec `json:"next,omitempty"`
}

// sessionRow is a session in the types of its columns.
type sessionRow struct {
	session.Session
	createdAt     int64
	spec          string
	exit, failure sql.Null[string]
}

// encode checks the session and makes its row.
func encode(s session.Session) (sessionRow, error) {
	if err := checkStorable("session", reflect.ValueOf(s)); err != nil {
		return sessionRow{}, err
	}
	spec, err := json.Marshal(specRecord{s.Spec, s.Next})
	if err != nil {
		return sessionRow{}, fmt.Errorf("encode the spec: %w", err)
	}
	r := sessionRow{Session: s, createdAt: s.CreatedAt.UnixMicro(), spec: string(spec)}
	if s.Exit != nil {
		e := exitRecord(*s.Exit)
		e.At = toMicrosecond(e.At)
		if r.exit, err = encodeNull(e); err != nil {
			return sessionRow{}, fmt.Errorf("encode the exit: %w", err)
		}
	}
	if s.Failure != nil {
		f := failureRecord(*s.Failure)
		f.At = toMicrosecond(f.At)
		if r.failure, err = encodeNull(f); err != nil {
			return sessionRow{}, fmt.Errorf("encode the failure: %w", err)
		}
	}
	return r, nil
}

func encodeNull(v any) (sql.Null[string], error) {
	data, err := json.Marshal(v)
	return sql.Null[string]{V: string(data), Valid: true}, err
}

// insertArgs are the values of columns.
func (r sessionRow) insertArgs() []any {
	return append([]any{r.ID, r.ProjectID, r.createdAt, r.Origin, r.Version}, r.mutable()...)
}

// updateArgs are those of the update statement.
func (r sessionRow) updateArgs() []any {
	return append([]any{r.ID, r.Origin, r.Version}, r.mutable()...)
}

func (r sessionRow) mutable() []any {
	return []any{r.spec, string(r.Desired), string(r.Pending), micros(r.PendingSince), r.ContainerID,
		r.exit, r.failure, micros(r.StartedAt), micros(r.ActiveAt), micros(r.ClosedAt)}
}

// scanner is a *sql.Row or a *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// sessionReader reads columns. It is for one query, and keeps what reading a
// row needs from one row to the next.
type sessionReader struct {
	row  sessionRow
	dest []any // points into row
}

func (r *sessionReader) read(from scanner) (session.Session, error) {
	if r.dest == nil {
		w := &r.row
		r.dest = []any{&w.ID, &w.ProjectID, &w.createdAt, &w.Origin, &w.Version,
			&w.spec, (*string)(&w.Desired), (*string)(&w.Pending), (*micros)(&w.PendingSince), &w.ContainerID,
			&w.exit, &w.failure, (*micros)(&w.StartedAt), (*micros)(&w.ActiveAt), (*micros)(&w.ClosedAt)}
	}
	if err := from.Scan(r.dest...); err != nil {
		return session.Session{}, err
	}
	return r.row.decode()
}

// decode makes the session of a row whose plain columns are read.
func (r *sessionRow) decode() (session.Session, error) {
	s := r.Session
	s.CreatedAt = time.UnixMicro(r.createdAt).UTC()
	var spec specRecord
	if err := json.Unmarshal([]byte(r.spec), &spec); err != nil {
		return session.Session{}, fmt.Errorf("decode the spec of session %q: %w", s.ID, err)
	}
	s.Spec, s.Next = spec.Spec, spec.Next
	if r.exit.Valid {
		var e exitRecord
		if err := json.Unmarshal([]byte(r.exit.V), &e); err != nil {
			return session.Session{}, fmt.Errorf("decode the exit of session %q: %w", s.ID, err)
		}
		s.Exit = (*session.Exit)(&e)
	}
	if r.failure.Valid {
		var f failureRecord
		if err := json.Unmarshal([]byte(r.failure.V), &f); err != nil {
			return session.Session{}, fmt.Errorf("decode the failure of session %q: %w", s.ID, err)
		}
		s.Failure = (*session.Failure)(&f)
	}
	return s, nil
}

func scanSession(from scanner) (session.Session, error) { return new(sessionReader).read(from) }

func scanToken(from scanner) (session.Token, error) {
	var t session.Token
	var createdAt int64
	err := from.Scan(&t.Name, &t.Hash, &t.ProjectID, &createdAt, (*micros)(&t.ExpiresAt))
	if err != nil {
		return session.Token{}, err
	}
	t.CreatedAt = time.UnixMicro(createdAt).UTC()
	return t, nil
}

// collect reads all rows and closes them.
func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close()
	// In blocks: growing one slice would copy most rows several times.
	var blocks [][]T
	var block []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		if len(block) == cap(block) {
			blocks = append(blocks, block)
			block = make([]T, 0, min(2*cap(block)+16, 1024))
		}
		block = append(block, one)
	}
	if err := rows.Err(); err != nil {
		return nil, err // the rows read so far are no answer
	}
	return slices.Concat(append(blocks, block)...), nil
}

func toMicrosecond(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }

// micros is a time in a column of microseconds since 1970, NULL where it is zero.
type micros time.Time

// Value implements driver.Valuer.
func (m micros) Value() (driver.Value, error) {
	if time.Time(m).IsZero() {
		return nil, nil
	}
	return time.Time(m).UnixMicro(), nil
}

// Scan implements sql.Scanner.
func (m *micros) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*m = micros{}
	case int64:
		*m = micros(time.UnixMicro(v).UTC())
	default:
		return fmt.Errorf("a time is kept as %T", v)
	}
	return nil
}

// storable reports whether a database can hold text. PostgreSQL takes neither NUL
// nor what is not UTF-8, and JSON would quietly replace the latter.
func storable(text string) bool {
	return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0
}

// checkStorable refuses what can't be kept as it is: text that is not storable
// and times outside the years 0 to 9999, anywhere in v. The path leads to v, for
// the error.
func checkStorable(path string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		if !storable(v.String()) {
			return fmt.Errorf("%s: %q has a NUL or is not valid UTF-8", path, v.String())
		}
	case reflect.Pointer:
		if !v.IsNil() {
			return checkStorable(path, v.Elem())
		}
	case reflect.Struct:
		if t, ok := v.Interface().(time.Time); ok {
			if y := t.UTC().Year(); y < 0 || y > 9999 {
				return fmt.Errorf("%s: the year %d is out of range", path, y)
			}
			return nil
		}
		for i := range v.NumField() {
			if err := checkStorable(path+"."+v.Type().Field(i).Name, v.Field(i)); err != nil {
				return err
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return nil // bytes are no text
		}
		for i := range v.Len() {
			if err := checkStorable(fmt.Sprintf("%s[%d]", path, i), v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if err := checkStorable(path, it.Key()); err != nil {
				return err
			}
			if err := checkStorable(fmt.Sprintf("%s[%q]", path, it.Key()), it.Value()); err != nil {
				return err
			}
		}
	}
	return nil
}
