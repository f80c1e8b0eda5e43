package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"

	"go.uber.org/zap/zapcore"
)

// zapCore passes what certmagic logs on to the log of the gateway. What it tells of its normal course is only interesting
// when something is looked for, and what it says for debugging has whole requests in it.
type zapCore struct {
	log  *slog.Logger
	with []zapcore.Field
}

func (z *zapCore) level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (z *zapCore) Enabled(l zapcore.Level) bool {
	return l >= zapcore.InfoLevel && z.log.Enabled(context.Background(), z.level(l))
}

func (z *zapCore) With(fields []zapcore.Field) zapcore.Core {
	return &zapCore{z.log, append(slices.Clip(z.with), fields...)}
}

func (z *zapCore) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !z.Enabled(e.Level) {
		return c
	}
	return c.AddCore(e, z)
}

func (z *zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := z.level(e.Level)
	values := zapcore.NewMapObjectEncoder()
	for _, f := range append(slices.Clip(z.with), fields...) {
		f.AddTo(values)
		if err, ok := f.Interface.(error); ok && errors.Is(err, context.Canceled) {
			level = slog.LevelDebug // the gateway stops
		}
	}
	attrs := []slog.Attr{slog.String("message", e.Message)}
	for _, key := range slices.Sorted(maps.Keys(values.Fields)) {
		attrs = append(attrs, slog.Any(key, values.Fields[key]))
	}
	z.log.LogAttrs(context.Background(), level, "acme", attrs...)
	return nil
}

func (z *zapCore) Sync() error { return nil }
