// Package recording keeps recordings of terminals: files in the format asciicast v2, which
// asciinema and its relatives play (https://docs.asciinema.org/manual/asciicast/v2/).
//
// A recording is at <session>/<terminal>.<terminal ID>.cast below a directory that is its owner's
// alone, and is opened so that no name leads out of that. Its header has a member of ours,
// "octobot", which says what was recorded, and since when, more exactly than its timestamp can.
// Output is UTF-8: a character that is split between two writes is written whole, with the second,
// and a byte that belongs to none is U+FFFD. So the output that was recorded can't be counted in
// the file, and its position stands there: after each portion that is written follows an event of a
// kind of ours, which players pass over,
//
//	[12.25,"p","4711 0 live"]
//
// the position in the terminal's output of the byte that was not recorded yet, how many before it
// were missed, and whether the recording goes on: live, ended, or full. A portion and its position
// are written at once, by one write. What a crash has left of one is cut off when the directory is
// opened next, to behind the last position: the terminal still has those bytes, nearly always, and
// gives them again from exactly there. Positions are in the file itself, and not beside it, because
// two files can't be written at once.
//
// Nothing is synced to the disk: what survives a crash of the host is what the file system lets.
package recording
