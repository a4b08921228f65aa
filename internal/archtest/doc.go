// Package archtest holds the rules of the source tree as tests: which package may import
// which and why, where engines' SDKs and SQL drivers may be used, how packages are named and
// described, how long a file may grow.
package archtest
