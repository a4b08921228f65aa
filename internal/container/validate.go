package container

import (
	"fmt"
	"maps"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/distribution/reference"
)

// Bounds of what a caller may ask for. They are far above what sessions need, and
// keep one request from weighing on the engine.
const (
	maxArguments = 1 << 20 // bytes of a command and its environment together
	maxLabels    = 128
	maxLabelSize = 64 << 10 // bytes of all labels together
	maxMounts    = 128      // binds and tmpfs together
	maxPorts     = 128
	maxPath      = 4096 // bytes; the kernel's PATH_MAX
	maxImage     = 512  // bytes of a reference
	maxSecret    = 64 << 10
	maxOutput    = 1 << 30

	minCPUs, maxCPUs     = 0.01, 4096
	minMemory, maxMemory = 6 << 20, 1 << 50
	minPIDs, maxPIDs     = 8, 4 << 20 // at most the kernel's PID_MAX_LIMIT
)

// FieldError is an argument that was refused: which, and what is allowed. It wraps
// [ErrInvalidArgument]; its text is made for the user, and holds no secrets.
type FieldError struct {
	Field   string // as in the API: "image", "binds[0]", "resources.memory"
	Problem string // the value, shortened, and what is allowed
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Unwrap gives ErrInvalidArgument.
func (e *FieldError) Unwrap() error { return ErrInvalidArgument }

func invalid(field, format string, args ...any) error {
	return &FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// quote shows a value that can be of any length and hold any byte.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(s[:most]) + "…"
	}
	return strconv.QuoteToASCII(s)
}

var (
	idForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$`)
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)
	accountForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$`)
	archForm    = regexp.MustCompile(`^[a-z0-9_]{1,32}/[a-z0-9_]{1,32}(/[a-z0-9_.]{1,32})?$`)
)

// ValidateSessionID accepts 1 to 63 letters, digits, '_', '.' and '-', of which the first
// is a letter or a digit. Everything else is [ErrInvalidArgument].
func ValidateSessionID(id string) error { return validateID("id", id) }

func validateID(field, id string) error {
	if !idForm.MatchString(id) {
		return invalid(field, "%s is not 1 to 63 letters, digits, '_', '.' or '-', the first a letter or digit",
			quote(id))
	}
	return nil
}

// ValidatePath accepts what [Copier] takes for a path in the container: absolute text. Everything
// else is [ErrInvalidArgument].
func ValidatePath(p string) error {
	if p == "" {
		return invalid("path", "is required")
	}
	return validatePath("path", p)
}

// Validate checks everything that can be checked without an engine, and gives the first
// trouble it finds as a [*FieldError].
func (o Options) Validate() error {
	checks := []func() error{
		func() error { return validateImage(o.Image) },
		func() error { return validateArguments(o.Cmd, o.Env) },
		o.validateMounts,
		func() error { return validateNetwork(o.NetworkMode) },
		func() error { return validateLabels(o.Labels) },
		func() error { _, err := o.Ports(); return err },
		o.validateOrigin,
		func() error { return validateWorkingDir(o.WorkingDir) },
		func() error { return validateUser(o.User) },
		o.Resources.validate,
		o.validateRuntime,
		o.Credentials.validate,
	}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the options, and cmd with them: [ErrInvalidArgument].
func (o ExecOptions) Validate(cmd []string) error {
	if len(cmd) == 0 || cmd[0] == "" {
		return invalid("cmd", "is empty; the program to run is required")
	}
	if o.MaxOutput < 0 || o.MaxOutput > maxOutput {
		return invalid("max_output", "%d is not between 0 and %d bytes", o.MaxOutput, int64(maxOutput))
	}
	return validateProcess(cmd, o.Env, o.WorkingDir, o.User, o.Rows, o.Cols)
}

// Validate checks the options: [ErrInvalidArgument].
func (o AttachOptions) Validate() error {
	if len(o.Cmd) > 0 && o.Cmd[0] == "" {
		return invalid("cmd", "starts with an empty string; it must name a program")
	}
	return validateProcess(o.Cmd, o.Env, o.WorkingDir, o.User, o.Rows, o.Cols)
}

func validateProcess(cmd, env []string, dir, user string, rows, cols uint) error {
	if err := validateArguments(cmd, env); err != nil {
		return err
	}
	if err := validateWorkingDir(dir); err != nil {
		return err
	}
	if err := validateUser(user); err != nil {
		return err
	}
	if rows > math.MaxUint16 || cols > math.MaxUint16 || (rows == 0) != (cols == 0) {
		return invalid("rows", "a terminal of %d by %d: rows and cols are both 0, or both between 1 and %d", rows, cols,
			math.MaxUint16)
	}
	return nil
}

func validateImage(image string) error {
	if image == "" {
		return invalid("image", "is required")
	}
	if len(image) > maxImage {
		return invalid("image", "%s is longer than %d bytes", quote(image), maxImage)
	}
	if _, err := reference.ParseNormalizedNamed(image); err != nil {
		return invalid("image", "%s is not an image reference such as \"debian:12\": %s", quote(image), err)
	}
	return nil
}

// validateText refuses what no engine carries faithfully through JSON and a C string.
func validateText(field, s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return invalid(field, "%s holds a NUL byte", quote(s))
	}
	if !utf8.ValidString(s) {
		return invalid(field, "%s is not valid UTF-8", quote(s))
	}
	return nil
}

func validateArguments(cmd, env []string) error {
	size := 0
	for i, arg := range cmd {
		if err := validateText(fmt.Sprintf("cmd[%d]", i), arg); err != nil {
			return err
		}
		size += len(arg) + 1
	}
	for i, e := range env {
		if err := validateEnv(fmt.Sprintf("env[%d]", i), e); err != nil {
			return err
		}
		size += len(e) + 1
	}
	if size > maxArguments {
		return invalid("cmd", "the command and its environment are %d bytes, more than %d", size, maxArguments)
	}
	return nil
}

// validateEnv never shows a variable's value, which may be a secret.
func validateEnv(field, e string) error {
	name, value, ok := strings.Cut(e, "=")
	if !ok || name == "" {
		return invalid(field, "%s is not NAME=value", quote(name))
	}
	if err := validateText(field, name); err != nil {
		return err
	}
	if validateText(field, value) != nil {
		return invalid(field, "the value of %s holds a NUL byte or is not valid UTF-8", quote(name))
	}
	return nil
}

func validateNetwork(mode string) error {
	if mode == "" {
		return nil
	}
	// The form leaves out every mode with a colon: container:…, ns:…, and the
	// options of slirp4netns and pasta that open the host's network.
	if strings.EqualFold(mode, "host") || !nameForm.MatchString(mode) {
		return invalid("network_mode",
			"%s is not \"none\" or the name of a network; the network of the host or of another container can't be joined", quote(mode))
	}
	return nil
}

func validateLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return invalid("labels", "%d labels are more than %d", len(labels), maxLabels)
	}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		field := "labels[" + quote(key) + "]"
		if key == "" || !utf8.ValidString(key) || strings.ContainsFunc(key, unicode.IsControl) {
			return invalid(field, "a label's name is printable text and not empty")
		}
		if strings.HasPrefix(key, LabelPrefix) {
			return invalid(field, "names that start with %q are reserved", LabelPrefix)
		}
		if err := validateText(field, labels[key]); err != nil {
			return err
		}
		size += len(key) + len(labels[key])
	}
	if size > maxLabelSize {
		return invalid("labels", "%d bytes are more than %d", size, maxLabelSize)
	}
	return nil
}

func (o Options) validateOrigin() error {
	if o.ProjectID != "" {
		if err := validateID("project", o.ProjectID); err != nil {
			return err
		}
	}
	printable := !strings.ContainsFunc(o.Origin, func(r rune) bool { return r < ' ' || r > '~' })
	if len(o.Origin) > 128 || !printable {
		return invalid("origin", "%s is not at most 128 printable ASCII characters", quote(o.Origin))
	}
	return nil
}

func validateWorkingDir(dir string) error {
	if dir == "" {
		return nil
	}
	return validatePath("working_dir", dir)
}

func validatePath(field, p string) error {
	if err := validateText(field, p); err != nil {
		return err
	}
	if !path.IsAbs(p) || len(p) > maxPath {
		return invalid(field, "%s is not an absolute path of at most %d bytes", quote(p), maxPath)
	}
	return nil
}

func validateUser(user string) error {
	if user == "" {
		return nil
	}
	name, group, hasGroup := strings.Cut(user, ":")
	if !validAccount(name) || hasGroup && !validAccount(group) {
		return invalid("user", "%s is not \"name\", \"uid\", \"name:group\" or \"uid:gid\"", quote(user))
	}
	return nil
}

// validAccount refuses numbers above what the kernel and the engines take for an ID.
func validAccount(s string) bool {
	if !accountForm.MatchString(s) {
		return false
	}
	if strings.Trim(s, "0123456789") != "" {
		return true
	}
	_, err := strconv.ParseInt(s, 10, 32)
	return err == nil
}

func (r Resources) validate() error {
	// Written so that NaN, which compares as false, is refused.
	if r.CPUs != 0 && !(r.CPUs >= minCPUs && r.CPUs <= maxCPUs) {
		return invalid("resources.cpus", "%v is not 0 or between %v and %v cores", r.CPUs, minCPUs, maxCPUs)
	}
	if r.Memory != 0 && (r.Memory < minMemory || r.Memory > maxMemory) {
		return invalid("resources.memory", "%d is not 0 or between %d and %d bytes", r.Memory, int64(minMemory),
			int64(maxMemory))
	}
	if r.PIDs != 0 && (r.PIDs < minPIDs || r.PIDs > maxPIDs) {
		return invalid("resources.pids", "%d is not 0 or between %d and %d", r.PIDs, minPIDs, maxPIDs)
	}
	return nil
}

func (o Options) validateRuntime() error {
	if o.Runtime != "" && !nameForm.MatchString(o.Runtime) {
		return invalid("runtime", "%s is not the name of an OCI runtime such as \"runsc\"", quote(o.Runtime))
	}
	if o.Platform != "" && !archForm.MatchString(o.Platform) {
		return invalid("platform", "%s is not os/arch[/variant] such as \"linux/arm64\"", quote(o.Platform))
	}
	return nil
}

func (c *Credentials) validate() error {
	if c == nil {
		return nil
	}
	for field, s := range map[string]string{"credentials.username": c.Username, "credentials.password": c.Password} {
		if validateText(field, s) != nil || len(s) > maxSecret {
			return invalid(field, "is not valid UTF-8 without NUL bytes, of at most %d bytes", maxSecret)
		}
	}
	return nil
}
