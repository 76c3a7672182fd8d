//! Charts as inline SVG, made on the server. Each stands beside a table with its numbers.

use std::fmt::Write as _;

use crate::text::Count;

/// The box of a large chart, which the style sheet stretches.
pub(crate) const WIDTH: f64 = 760.0;
pub(crate) const HEIGHT: f64 = 170.0;

/// The points of a line through `values`, from left to right, for a `polyline` in a box of `width`
/// and `height`. The largest value touches the top; all values of 0 lie on the ground.
pub(crate) fn points(values: impl IntoIterator<Item = f64>, width: f64, height: f64) -> String {
    let values: Vec<f64> = values.into_iter().map(finite).collect();
    let top = values.iter().copied().fold(0.0, f64::max);
    let mut points = String::new();
    for (at, value) in values.iter().enumerate() {
        let (x, y) = (along(at, values.len()) * width, above(*value, top, height));
        let separator = if at == 0 { "" } else { " " };
        // A String takes any text.
        let _ = write!(points, "{separator}{x:.1},{y:.1}");
    }
    points
}

/// The points of a line through `values`, each at its place from 0 to 1, as [`points`] draws them.
/// Whole numbers are precise enough for a small line.
pub(crate) fn points_at(
    values: impl IntoIterator<Item = (f64, f64)>,
    width: f64,
    height: f64,
) -> String {
    let values: Vec<(f64, f64)> = values.into_iter().collect();
    let top = values
        .iter()
        .map(|(_, value)| finite(*value))
        .fold(0.0, f64::max);
    let mut points = String::new();
    for (place, value) in values {
        let (x, y) = (share(place, 1.0, width), above(value, top, height));
        let separator = if points.is_empty() { "" } else { " " };
        let _ = write!(points, "{separator}{x:.0},{y:.0}");
    }
    points
}

/// The path of an area from the ground up to `values`, in a box of `width` and `height` whose top
/// is `top`.
pub(crate) fn area(values: &[f64], top: f64, width: f64, height: f64) -> String {
    let mut path = format!("M0,{height}");
    for (at, value) in values.iter().enumerate() {
        let (x, y) = (
            along(at, values.len()) * width,
            above(finite(*value), top, height),
        );
        let _ = write!(path, " L{x:.1},{y:.1}");
    }
    let _ = write!(path, " L{width},{height} Z");
    path
}

/// A bar of a chart: where it begins, and how high it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bar {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// Bars side by side, one for each value, in a box of `width` and `height` whose top is `top`.
pub(crate) fn bars(values: &[f64], top: f64, width: f64, height: f64) -> Vec<Bar> {
    let each = width / to_f64(values.len().max(1));
    let bar = |(at, value): (usize, &f64)| {
        let y = above(finite(*value), top, height);
        Bar {
            x: to_f64(at).mul_add(each, each * 0.1),
            y,
            width: each * 0.8,
            height: height - y,
        }
    };
    values.iter().enumerate().map(bar).collect()
}

/// The share of `value` in `of`, from 0 to `width`.
pub(crate) fn share(value: f64, of: f64, width: f64) -> f64 {
    if of > 0.0 {
        (finite(value) / of).clamp(0.0, 1.0) * width
    } else {
        0.0
    }
}

fn along(at: usize, of: usize) -> f64 {
    to_f64(at) / to_f64(of.saturating_sub(1).max(1))
}

fn above(value: f64, top: f64, height: f64) -> f64 {
    height - share(value, top, height)
}

fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// A count as a position on a screen, or as a part of a rate of three digits.
#[expect(clippy::cast_precision_loss, reason = "nobody sees more digits")]
pub(crate) fn to_f64(number: impl Count) -> f64 {
    number.value() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reaches_the_top_and_the_ground() {
        assert_eq!(
            points([0.0, 2.0, 1.0], 10.0, 4.0),
            "0.0,4.0 5.0,0.0 10.0,2.0"
        );
        assert_eq!(points([0.0, 0.0], 10.0, 4.0), "0.0,4.0 10.0,4.0");
        assert_eq!(points([f64::NAN], 10.0, 4.0), "0.0,4.0");
        assert_eq!(points([], 10.0, 4.0), "");
        assert_eq!(
            points_at([(0.0, 0.0), (0.5, 2.0), (1.0, 1.0)], 10.0, 4.0),
            "0,4 5,0 10,2"
        );
        assert_eq!(points_at([(2.0, f64::INFINITY)], 10.0, 4.0), "10,4");
    }

    #[test]
    fn areas_and_bars_stay_in_their_box() {
        assert_eq!(
            area(&[1.0, 4.0], 2.0, 10.0, 4.0),
            "M0,4 L0.0,2.0 L10.0,0.0 L10,4 Z"
        );
        let bars = bars(&[0.0, 3.0], 6.0, 20.0, 10.0);
        assert_eq!((bars[0].height, bars[1].height), (0.0, 5.0));
        assert_eq!((bars[1].x, bars[1].width), (11.0, 8.0));
    }
}
