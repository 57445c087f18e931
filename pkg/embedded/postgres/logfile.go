package postgres

import (
	"os"
	"strings"
	"sync"
)

// logBytes is the size at which a log is put aside, and tailBytes how much of it is kept at hand.
const (
	logBytes  = 10 << 20
	tailBytes = 4 << 10
)

// logFile is a log of bounded size: when full it becomes PATH.1, in place of the one before.
// Safe for concurrent use.
type logFile struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
	tail []byte // the last of what was written by this process
}

func openLog(path string) (*logFile, error) {
	l := &logFile{path: path}
	return l, l.open()
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.size = f, info.Size()
	return nil
}

// Write never fails: a server must not stall because its log cannot be kept, and on a full disk the
// last of it, kept in memory, says why.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, p...)
	if extra := len(l.tail) - tailBytes; extra > 0 {
		l.tail = append(l.tail[:0], l.tail[extra:]...)
	}
	if l.file == nil {
		return len(p), nil
	}
	if l.size > 0 && l.size+int64(len(p)) > logBytes {
		l.file.Close()
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
func (l *logFile) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := string(l.tail)
	if len(l.tail) == tailBytes {
		_, tail, _ = strings.Cut(tail, "\n")
	}
	return strings.TrimSpace(tail)
}

// Close closes the file. What is written after it goes nowhere but to the tail.
func (l *logFile) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}
