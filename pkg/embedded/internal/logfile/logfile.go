// Package logfile provides the log of a server: a file of bounded size whose last lines are at hand.
package logfile

import (
	"os"
	"strings"
	"sync"
)

// MaxBytes is the size at which a log is put aside, and tailBytes how much of it is kept at hand.
const (
	MaxBytes  = 10 << 20
	tailBytes = 4 << 10
)

// File is a log: when it is full it becomes PATH.1, in place of the one before, so that both together
// take at most twice MaxBytes. Safe for concurrent use.
type File struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	tail []byte // the last of what was written by this process
}

// Open opens the log at path and makes it if it is missing.
func Open(path string) (*File, error) {
	l := &File{path: path}
	return l, l.open()
}

func (l *File) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write never fails: a server must not stall because its log cannot be kept, and on a full disk the
// last of it, kept in memory, says why.
func (l *File) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if extra := len(l.tail) - tailBytes; extra > 0 {
		l.tail = append(l.tail[:0], l.tail[extra:]...)
	}
	if l.file == nil {
		return len(p), nil
	}
	if l.size > 0 && l.size+int64(len(p)) > MaxBytes {
		_ = l.file.Close()
		l.file = nil
		_ = os.Rename(l.path, l.path+".1") // if it cannot be, the log goes on where it is
		if l.open() != nil {
			return len(p), nil
		}
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
	return len(p), nil
}

// Tail returns the last lines written, the first of them whole.
func (l *File) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := string(l.tail)
	if len(l.tail) == tailBytes {
		_, tail, _ = strings.Cut(tail, "\n")
	}
	return strings.TrimSpace(tail)
}

// Close closes the file. What is written after it goes nowhere but to the tail.
func (l *File) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}
