//! The live view: a screen that is redrawn on a terminal, one line a second anywhere else.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::demo::picture::{Picture, StreamPicture};
use crate::demo::plant::SPEED;
use crate::demo::script::Script;
use crate::demo::streams::Stream;
use crate::demo::summary::Figures;
use crate::flow::Level;
use crate::units::Bytes;

/// Redraws a second on a terminal.
const FRAMES: u8 = 5;

/// Characters of a gauge.
const GAUGE: usize = 16;

/// Ends of the thermometer, °C: the made-up board idles above the one and slows itself below the other.
const COLD: f64 = 40.0;
const HOT: f64 = 85.0;

/// A backlog that fills its gauge, unless there was a larger one.
const BACKLOG_SCALE: u64 = 20;

/// Everything there is to see at one moment.
pub(in crate::demo) struct Frame<'a> {
    pub(in crate::demo) script: &'a Script,
    /// Since the start of the script; `None`: not started yet.
    pub(in crate::demo) at: Option<Duration>,
    pub(in crate::demo) picture: &'a Picture,
    pub(in crate::demo) figures: Figures,
}

/// Where it is shown.
pub(in crate::demo) enum View {
    Terminal { screen: Screen, paint: Paint },
    Lines { told: Option<u64> },
}

/// The lines of the terminal.
pub(in crate::demo) struct Screen {
    all: MultiProgress,
    head: ProgressBar,
    lines: Vec<ProgressBar>,
}

/// Whether there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Paint {
    Plain,
    Colours,
}

#[derive(Clone, Copy)]
enum Colour {
    Red,
    Green,
    Yellow,
    Cyan,
    Dim,
    Bold,
}

impl View {
    /// On a terminal a screen, else lines. Colours unless `NO_COLOR` is set.
    pub(in crate::demo) fn open() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines { told: None };
        }
        let paint = if std::env::var_os("NO_COLOR").is_some() { Paint::Plain } else { Paint::Colours };
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(FRAMES));
        let template = match paint {
            Paint::Plain => "tidegate demo  {msg}  {wide_bar}",
            Paint::Colours => "{prefix}  {msg}  {wide_bar:.cyan/238}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let head = all.add(ProgressBar::new(1_000).with_style(style.progress_chars("━╸─")));
        head.set_prefix(paint.dye(Colour::Bold, "tidegate demo"));
        Self::Terminal { screen: Screen { all, head, lines: Vec::new() }, paint }
    }

    /// Shows a moment.
    pub(in crate::demo) fn show(&mut self, frame: &Frame<'_>) {
        match self {
            Self::Terminal { screen, paint } => screen.draw(frame, *paint),
            Self::Lines { told } => {
                let second = frame.at.map(|at| at.as_secs());
                if second.is_some() && *told != second {
                    *told = second;
                    // Nobody reads it any more: the demonstration goes on for its result.
                    writeln!(std::io::stderr(), "{}", line(frame)).ok();
                }
            }
        }
    }

    /// Leaves the last moment on the screen and draws no more.
    pub(in crate::demo) fn close(&mut self) {
        match self {
            Self::Terminal { screen, .. } => {
                screen.head.abandon();
                screen.lines.iter().for_each(ProgressBar::abandon);
                // The cursor stands behind the last line.
                writeln!(std::io::stderr()).ok();
            }
            Self::Lines { .. } => {}
        }
    }
}

impl Screen {
    fn draw(&mut self, frame: &Frame<'_>, paint: Paint) {
        let length = frame.script.length();
        let at = frame.at.unwrap_or_default();
        let permille = 1_000.0 * at.as_secs_f32() / length.as_secs_f32();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1000")]
        self.head.set_position(permille.clamp(0.0, 1_000.0) as u64);
        self.head.set_message(format!("{} of {}", clock(at), clock(length)));
        let texts = lines(frame, paint);
        while self.lines.len() < texts.len() {
            let style =
                ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
            self.lines.push(self.all.add(ProgressBar::new(1).with_style(style)));
        }
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text);
        }
    }
}

impl Paint {
    fn dye(self, colour: Colour, text: &str) -> String {
        let code = match (self, colour) {
            (Self::Plain, _) => return text.to_owned(),
            (Self::Colours, Colour::Red) => "31",
            (Self::Colours, Colour::Green) => "32",
            (Self::Colours, Colour::Yellow) => "33",
            (Self::Colours, Colour::Cyan) => "36",
            (Self::Colours, Colour::Dim) => "2",
            (Self::Colours, Colour::Bold) => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The screen below its head; fits 80 columns but for the longest decisions.
fn lines(frame: &Frame<'_>, paint: Paint) -> Vec<String> {
    let Frame { picture, figures, .. } = frame;
    let label = |name: &str| paint.dye(Colour::Dim, &format!("{name:<10}"));
    let (messages, bytes) = (figures.received, Bytes(figures.bytes_in));
    let streams = picture.named().map(|(named, stream)| stream_line(named, stream, paint));
    let mut lines = vec![
        String::new(),
        format!("{} {}", label("now"), paint.dye(Colour::Bold, words(frame))),
        String::new(),
        format!(
            "{} {messages} messages, {bytes}: two rigs and what people write, time x{SPEED}",
            label("plant")
        ),
        String::new(),
    ];
    lines.extend(streams);
    let fill = gauge(picture.backlog as f64 / picture.backlog_max.max(BACKLOG_SCALE) as f64);
    let fill = paint.dye(Colour::Yellow, &fill);
    let (waiting, most, stored) = (picture.backlog, picture.backlog_max, figures.durable);
    let upstream = &picture.upstream;
    lines.extend([
        String::new(),
        format!("{} {}", label("board"), board(frame, paint)),
        format!("{} {}", label("link"), link(frame, paint)),
        format!("{} {waiting:>5} {fill} wait, at most {most} did; {stored} stored", label("outbox")),
        format!(
            "{} {:>5} events{}; {} late, {} duplicates removed",
            label("upstream"),
            upstream.events.len(),
            figures
                .bytes_in
                .checked_div(upstream.bytes)
                .map_or(String::new(), |ratio| format!(", 1/{ratio} of the bytes")),
            upstream.historical,
            upstream.duplicates
        ),
    ]);
    lines
}

fn stream_line(Stream { name, lane, .. }: &Stream, stream: &StreamPicture, paint: Paint) -> String {
    let alarm = if stream.alarm { paint.dye(Colour::Red, "ALARM") } else { " ".repeat(5) };
    let name = paint.dye(Colour::Cyan, &format!("{name:<12}"));
    let lane = paint.dye(Colour::Dim, &format!("{lane:<6}"));
    let last = if stream.last.is_empty() { "…" } else { &stream.last };
    format!("{name} {lane} {:>4} {alarm} {last}", stream.decisions)
}

/// A bar for a share from 0 to 1.
fn gauge(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the width of a gauge")]
    let filled = (share.clamp(0.0, 1.0) * GAUGE as f64).round() as usize;
    format!("{}{}", "■".repeat(filled), "·".repeat(GAUGE - filled))
}

/// The moment in one line.
fn line(frame: &Frame<'_>) -> String {
    let Frame { picture, figures, .. } = frame;
    let decided: u64 = picture.streams.iter().map(|stream| stream.decisions).sum();
    let mut line = clock(frame.at.unwrap_or_default());
    // Writing to a String cannot fail.
    write!(
        line,
        "  in {:>6}  decided {decided:>4}  link {:<10}  outbox {:>3}  arrived {:>4}  {:>4} {:<8}  {}",
        figures.received,
        picture.link,
        picture.backlog,
        picture.upstream.events.len(),
        degrees(picture),
        picture.level.as_str(),
        words(frame),
    )
    .ok();
    line
}

fn words(frame: &Frame<'_>) -> &'static str {
    match frame.at {
        None => "starting two brokers and the gateway, examining the models",
        Some(at) if at >= frame.script.length() => "the plant has ended: what is under way is delivered",
        Some(at) => frame.script.act(at).words(),
    }
}

fn link(frame: &Frame<'_>, paint: Paint) -> String {
    let word = match frame.picture.link.as_str() {
        "up" => paint.dye(Colour::Green, "   up"),
        "" => "    …".to_owned(),
        _ => paint.dye(Colour::Red, " down"),
    };
    let again = frame.figures.connects > 1 && frame.picture.link == "up";
    format!("{word}{}", if again { " again" } else { "" })
}

fn board(frame: &Frame<'_>, paint: Paint) -> String {
    let (colour, allowed) = match frame.picture.level {
        Level::Nominal => (Colour::Green, "everything is judged"),
        Level::Warm => (Colour::Yellow, "work waits for full batches"),
        Level::Hot => (Colour::Yellow, "hops are stretched, bulk is shed"),
        Level::Critical => (Colour::Red, "only alarms are judged"),
        Level::Emergency => (Colour::Red, "nothing is judged, all is stored"),
    };
    let level = paint.dye(colour, frame.picture.level.as_str());
    let heat = frame.picture.temperature.map_or(0.0, |degrees| (degrees - COLD) / (HOT - COLD));
    let heat = paint.dye(colour, &gauge(heat));
    format!("{:>5} {heat} {level}: {allowed}; {} shed", degrees(frame.picture), frame.figures.shed)
}

fn degrees(picture: &Picture) -> String {
    picture.temperature.map_or("…".to_owned(), |degrees| format!("{degrees:.0} °C"))
}

fn clock(time: Duration) -> String {
    format!("{:02}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_there_is_no_escape_and_with_them_the_words_are_the_same() {
        let mut picture =
            Picture { link: "waiting".to_owned(), backlog: 3, level: Level::Critical, ..Picture::default() };
        picture.streams[0].alarm = true;
        let script = Script::new(Duration::from_secs(45));
        let frame = Frame {
            script: &script,
            at: Some(Duration::from_secs(10)),
            picture: &picture,
            figures: Figures::default(),
        };
        let plain = lines(&frame, Paint::Plain);
        assert!(!plain.concat().contains('\u{1b}') && !line(&frame).contains('\u{1b}'));
        let mut painted = lines(&frame, Paint::Colours).concat();
        for code in ["31", "32", "33", "36", "2", "1", "0"] {
            painted = painted.replace(&format!("\u{1b}[{code}m"), "");
        }
        assert_eq!(painted, plain.concat());
        assert!(plain.concat().contains("ALARM") && plain.concat().contains("    3 ■■···"));
    }
}
