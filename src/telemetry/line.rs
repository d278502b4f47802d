//! One event, one line.
//!
//! Text is `time level span{field=value}: message field=value`. A value that is ambiguous (it has a
//! blank, a quote or an equals sign) is quoted, so that a client cannot add fields to a line.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, FormatEvent, FormatFields, Json, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::escape::{self, Escaping, bounded, debugged};
use crate::protocol::is_invisible;

/// A line of text, by its beginning.
pub(super) enum TextLine {
    /// The time and the level.
    Clock,
    /// The priority of sd-daemon(3); journald adds the time.
    Priority,
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = *event.metadata().level();
        match self {
            Self::Clock => {
                SystemTime.format_time(&mut writer)?;
                if writer.has_ansi_escapes() {
                    write!(writer, " \x1b[{}m{level:>5}\x1b[0m ", colour(level))?;
                } else {
                    write!(writer, " {level:>5} ")?;
                }
            }
            Self::Priority => write!(writer, "<{}>", priority(level))?,
        }
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            write!(writer, "{}", span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(writer, "{{{fields}}}")?;
            }
            writer.write_str(": ")?;
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// The fields of an event or a span as text.
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = TextVisitor { writer, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct TextVisitor<'writer> {
    writer: Writer<'writer>,
    first: bool,
    result: fmt::Result,
}

impl TextVisitor<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if !self.first {
            self.writer.write_char(' ')?;
        }
        self.first = false;
        if field.name() != "message" {
            write!(self.writer, "{}=", field.name())?;
            if !is_plain(value) && !is_quoted(value) {
                return write!(Escaping(&mut self.writer), "{value:?}");
            }
        }
        Escaping(&mut self.writer).write_str(value)
    }
}

impl Visit for TextVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if self.result.is_ok() {
            self.result = self.write(field, &bounded(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &debugged(value));
    }
}

/// Whether a value is one unambiguous word.
fn is_plain(value: &str) -> bool {
    let ambiguous =
        |c: char| c.is_whitespace() || is_invisible(c) || matches!(c, '"' | '=' | '{' | '}');
    !value.is_empty() && !value.contains(ambiguous)
}

/// Whether a value is one quoted string from beginning to end, as `Debug` writes it.
fn is_quoted(value: &str) -> bool {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut escaped = false;
    inner.is_some_and(|inner| {
        let whole = inner.chars().all(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            !ends
        });
        whole && !escaped
    })
}

fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG | Level::TRACE => 34,
    }
}

/// The priority of syslog(3).
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// A line that is a JSON object: time, level, message and fields side by side.
pub(super) struct JsonLine(Format<Json>);

impl JsonLine {
    pub(super) fn new() -> Self {
        Self(Format::default().json().flatten_event(true).with_current_span(false))
    }
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut object = String::new();
        self.0.format_event(context, Writer::new(&mut object), event)?;
        escape::json(object.trim_end(), &mut writer)?;
        writeln!(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_value_has_no_quote_before_its_end() {
        for quoted in [r#""""#, r#""a b""#, r#""a \" b""#, r#""a \\""#] {
            assert!(is_quoted(quoted), "{quoted}");
        }
        for other in [r#"""#, r#""a" b="c""#, r#""a\""#, r#"a"b""#, "", r#""a" "#] {
            assert!(!is_quoted(other), "{other}");
        }
    }

    #[test]
    fn a_plain_value_is_one_word() {
        for plain in ["a", "mrose@example.org", "[::1]:995", r"a\b", "ü"] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["", "a b", "a=b", "a\u{a0}b", "{a}", "\"", "a\u{202e}b", "a\nb"] {
            assert!(!is_plain(other), "{other:?}");
        }
    }
}
