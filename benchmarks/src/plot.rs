//! Figures as bars, in SVG.

use std::{fs, path::Path};

use anyhow::{Result, anyhow};
use plotters::{
    backend::SVGBackend,
    drawing::IntoDrawingArea as _,
    element::{Rectangle, Text},
    style::{Color as _, IntoFont as _, RGBColor, WHITE},
};

use crate::{markdown::number, report::Report};

const WIDTH: i32 = 760;
const LABELS: i32 = 190;
const VALUES: i32 = 100;
const ROW: i32 = 26;
const TITLE: i32 = 40;
const BAR: i32 = 16;

const VERK: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const FLOOR: RGBColor = RGBColor(0x7f, 0x7f, 0x7f);
const PEER: RGBColor = RGBColor(0xff, 0x9f, 0x40);

/// One file for each figure of each system: `WHAT-FIGURE.svg`.
pub(crate) fn write(report: &Report, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    for name in report.verk.names() {
        let bars: Vec<(&str, f64)> = report
            .systems()
            .filter_map(|(system, outcome)| Some((system, outcome.figure(name)?)))
            .collect();
        let path = directory.join(format!("{}-{name}.svg", report.what));
        let title = format!("{}: {}", report.what, name.replace('_', " "));
        draw(&path, &title, &bars).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn draw(path: &Path, title: &str, bars: &[(&str, f64)]) -> Result<(), Box<dyn std::error::Error>> {
    let rows = i32::try_from(bars.len())?;
    let height = u32::try_from(TITLE + ROW * rows + BAR)?;
    let root = SVGBackend::new(path, (WIDTH as u32, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = ("sans-serif", 14).into_font();
    root.draw(&Text::new(
        title.to_owned(),
        (10, 12),
        ("sans-serif", 17).into_font(),
    ))?;
    let longest = bars
        .iter()
        .map(|(_, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    for ((system, value), row) in bars.iter().zip(0..) {
        let top = TITLE + ROW * row;
        let length = (value / longest * f64::from(WIDTH - LABELS - VALUES)).round() as i32;
        let colour = match *system {
            "verk" => VERK,
            "floor" => FLOOR,
            _ => PEER,
        };
        let corners = [(LABELS, top), (LABELS + length.max(1), top + BAR)];
        root.draw(&Text::new(
            system.replace('_', " "),
            (10, top),
            text.clone(),
        ))?;
        root.draw(&Rectangle::new(corners, colour.filled()))?;
        root.draw(&Text::new(
            number(*value),
            (LABELS + length + 8, top),
            text.clone(),
        ))?;
    }
    root.present()?;
    Ok(())
}
