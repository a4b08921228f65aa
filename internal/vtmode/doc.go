// Package vtmode follows what programs write to a terminal, and knows which modes a terminal is in
// that has shown it: the alternate screen, the mouse, the colours of the text to come. It does not
// know what stands on the screen. The language is that of xterm and its relatives, in UTF-8:
// controls of eight bits are none.
//
// A [Tracker] reads output and writes the sequences that put a fresh terminal into the state it has
// seen, or a terminal in that state back into order. A [Replay] makes output fit to be shown again,
// in a terminal that must not answer the questions of programs long gone.
//
// The output is not trusted. Whatever it is, both take some KiB, and time in proportion to it.
package vtmode
