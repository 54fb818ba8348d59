//! A drawing in SVG: lines, boxes and words.
//!
//! # Why
//! Two kinds of figures do not need a plotting library: it would be the largest dependency of this folder.

use std::fmt::Write as _;

/// A drawing that grows.
pub(in crate::cli::model::eval) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text stands relative to its point.
#[derive(Clone, Copy)]
pub(in crate::cli::model::eval) enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

impl Svg {
    /// An empty drawing of this width; its height is set at the end.
    pub(in crate::cli::model::eval) fn new(width: f64) -> Self {
        Self { width, height: 0.0, body: String::new() }
    }

    /// A filled box; `fill` is a colour of CSS.
    pub(in crate::cli::model::eval) fn area(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), fill: &str) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" fill="{fill}"/>"#
        ));
        self.height = self.height.max(y + h);
    }

    /// A line through points.
    pub(in crate::cli::model::eval) fn line(&mut self, points: &[(f64, f64)], stroke: &str, width: f64) {
        let mut path = String::new();
        for (x, y) in points {
            self.height = self.height.max(*y);
            // Writing to a string cannot fail.
            write!(path, "{x:.1},{y:.1} ").ok();
        }
        let path = path.trim_end();
        self.add(format_args!(
            r#"<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="{width}"/>"#
        ));
    }

    /// A text; `turn` in degrees clockwise.
    pub(in crate::cli::model::eval) fn text(
        &mut self,
        (x, y): (f64, f64),
        text: &str,
        anchor: Anchor,
        (size, turn): (f64, f64),
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let turn =
            if turn == 0.0 { String::new() } else { format!(r#" transform="rotate({turn} {x:.1} {y:.1})""#) };
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" text-anchor="{anchor}"{turn}>{text}</text>"#
        ));
        self.height = self.height.max(y + size);
    }

    /// The file.
    pub(in crate::cli::model::eval) fn finish(self, margin: f64) -> String {
        let (width, height) = (self.width, self.height + margin);
        let head = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {height:.0}" width="{width:.0}" height="{height:.0}" font-family="sans-serif">"#
        );
        format!("{head}\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n", self.body)
    }

    fn add(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        writeln!(self.body, "{element}").ok();
    }
}

/// A text as it may stand in XML; characters XML does not have are left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_any_kind_cannot_break_the_drawing() {
        let mut svg = Svg::new(100.0);
        svg.text((1.0, 2.0), "a<b & \"c\"\u{0}>", Anchor::Start, (10.0, 0.0));
        svg.area((0.0, 0.0), (10.0, 50.0), "black");
        let text = svg.finish(5.0);
        assert!(text.contains(">a&lt;b &amp; &quot;c&quot;&gt;</text>"), "{text}");
        assert!(text.contains(r#"viewBox="0 0 100 55""#), "{text}");
        assert_eq!(text.matches('<').count(), text.matches('>').count());
    }
}
