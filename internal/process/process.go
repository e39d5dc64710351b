// SPDX-License-Identifier: Apache-2.0

// Package process says how every process of Bourse shows itself: its log and its version.
package process

import (
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"

	"github.com/go-logr/logr"
)

// NewLogger returns a logger of JSON lines, or of text for people. Debug shows logr's V(1), which controllers keep for debugging.
func NewLogger(output io.Writer, level, format string) (logr.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "error": slog.LevelError}
	least, known := levels[level]
	if !known {
		return logr.Logger{}, fmt.Errorf("--log-level: %q is none of debug, info and error", level)
	}
	options := &slog.HandlerOptions{Level: least, ReplaceAttr: nameLevel}
	switch format {
	case "json":
		return logr.FromSlogHandler(slog.NewJSONHandler(output, options)), nil
	case "console":
		return logr.FromSlogHandler(slog.NewTextHandler(output, options)), nil
	default:
		return logr.Logger{}, fmt.Errorf("--log-format: %q is neither json nor console", format)
	}
}

// nameLevel gives the levels of logr, which has numbers between slog's, the names that log readers know.
func nameLevel(groups []string, attribute slog.Attr) slog.Attr {
	level, ok := attribute.Value.Any().(slog.Level)
	if !ok || len(groups) > 0 || attribute.Key != slog.LevelKey {
		return attribute
	}
	switch {
	case level < slog.LevelInfo:
		return slog.String(slog.LevelKey, "debug")
	case level < slog.LevelError:
		return slog.String(slog.LevelKey, "info")
	default:
		return slog.String(slog.LevelKey, "error")
	}
}

// Version names this build: the release, else the module's version and the commit.
func Version(release string) string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			return info.Main.Version + " " + setting.Value
		}
	}
	return info.Main.Version
}
