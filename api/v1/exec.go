package v1

import (
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// EncodingBase64 says that strings hold standard base64 instead of text.
const EncodingBase64 = "base64"

// ExecRequest is the body of POST /v1/sessions/{id}/exec, and what starts a
// command on the WebSocket of that path; see [Control].
type ExecRequest struct {
	Cmd           []string `json:"cmd" nullable:"false" minItems:"1" doc:"The program and its arguments. No shell reads them."`
	Env           []string `json:"env,omitempty" nullable:"false" doc:"NAME=value, on top of the container's."`
	WorkingDir    string   `json:"working_dir,omitempty" doc:"Absolute path; absent for the container's."`
	User          string   `json:"user,omitempty" doc:"name, uid, name:group or uid:gid; absent for the container's."`
	Tty           bool     `json:"tty,omitempty" doc:"Run it on a terminal: all output is on stdout then, with CRLF line ends."`
	Stdin         string   `json:"stdin,omitempty" doc:"The command's whole input."`
	StdinEncoding string   `json:"stdin_encoding,omitempty" enum:"base64" doc:"How stdin is written; absent for plain text."`
	Timeout       Duration `json:"timeout,omitzero" doc:"After it the command and its children are killed, and what it has written is in the error: 30s. Absent: the server's limit, if it has one."`
}

// SetStdin puts any bytes into the request.
func (r *ExecRequest) SetStdin(b []byte) {
	r.Stdin, r.StdinEncoding = string(b), ""
	if !utf8.Valid(b) {
		r.Stdin, r.StdinEncoding = base64.StdEncoding.EncodeToString(b), EncodingBase64
	}
}

// StdinBytes gives what SetStdin was given.
func (r ExecRequest) StdinBytes() ([]byte, error) {
	return decode("stdin", r.Stdin, r.StdinEncoding)
}

// ExecResponse is how a command ended, and what it wrote.
type ExecResponse struct {
	ExitCode  int    `json:"exit_code" doc:"128+n where signal n ended it."`
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Encoding  string `json:"encoding,omitempty" enum:"base64" doc:"base64 where either stream is not valid UTF-8, or text would be longer: both are base64 then. Absent: plain text."`
	Truncated bool   `json:"truncated" doc:"A stream was longer than the server keeps, 16 MiB or less where it keeps much already, and was cut there."`
}

// ExecOutput is what a command had written until it was cut short.
type ExecOutput struct {
	Stdout    string `json:"stdout"`
	Stderr    string `json:"stderr"`
	Encoding  string `json:"encoding,omitempty" enum:"base64" doc:"As in ExecResponse."`
	Truncated bool   `json:"truncated" doc:"A stream was longer than the server keeps, and was cut there."`
}

// Bytes gives the raw bytes of both streams.
func (o ExecOutput) Bytes() (stdout, stderr []byte, err error) {
	return ExecResponse{Stdout: o.Stdout, Stderr: o.Stderr, Encoding: o.Encoding}.Output()
}

// Output gives the raw bytes of both streams.
func (r ExecResponse) Output() (stdout, stderr []byte, err error) {
	if stdout, err = decode("stdout", r.Stdout, r.Encoding); err != nil {
		return nil, nil, err
	}
	if stderr, err = decode("stderr", r.Stderr, r.Encoding); err != nil {
		return nil, nil, err
	}
	return stdout, stderr, nil
}

func decode(field, s, encoding string) ([]byte, error) {
	switch encoding {
	case "":
		return []byte(s), nil
	case EncodingBase64:
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, fmt.Errorf("%s: not base64", field)
		}
		return b, nil
	default:
		return nil, fmt.Errorf("%s: unknown encoding %q", field, encoding)
	}
}
