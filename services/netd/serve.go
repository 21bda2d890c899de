package main

import (
	"io"
	"os"
)

func serve(channel, link *os.File) error {
	_, err := io.Copy(io.Discard, channel)
	return err
}
