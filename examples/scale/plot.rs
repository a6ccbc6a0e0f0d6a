//! A series as a plot: the cost in relation to its least, both axes logarithmic.

use std::error::Error;

use plotters::prelude::*;

use crate::{growth::exponent, run::Outcome, series::Series};

const SIZE: (u32, u32) = (720, 320);
const MEASURED: RGBColor = RGBColor(31, 97, 141);
const LINEAR: RGBColor = RGBColor(160, 160, 160);

/// The plot.
pub fn svg(series: &Series, all: &[Outcome]) -> Result<String, Box<dyn Error>> {
    let points: Vec<(f64, f64)> =
        all.iter().map(|o| (o.point.x as f64, (series.cost)(o).max(1e-9))).collect();
    let edge = |pick: fn(&(f64, f64)) -> f64, from: f64, choose: fn(f64, f64) -> f64| {
        points.iter().map(pick).fold(from, choose)
    };
    let (low_x, high_x) = (edge(|p| p.0, f64::INFINITY, f64::min), edge(|p| p.0, 0.0, f64::max));
    let (low_y, high_y) = (edge(|p| p.1, f64::INFINITY, f64::min), edge(|p| p.1, 0.0, f64::max));
    // A line of power 1 that ends where the measured one ends.
    let last = points.last().copied().unwrap_or((1.0, 1.0));
    let linear: Vec<(f64, f64)> = points
        .iter()
        .map(|(x, _)| (*x, last.1 * x / last.0))
        .filter(|(_, y)| *y >= low_y * 0.7)
        .collect();
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let power = exponent(series, all).map_or(String::new(), |e| format!(", power {e:.2}"));
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{}: {}{power}", series.title, series.y), ("sans-serif", 14))
            .margin(8)
            .margin_right(28)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(
                (low_x * 0.9..(high_x * 1.1).max(low_x * 2.0)).log_scale(),
                (low_y * 0.7..(high_y * 1.4).max(low_y * 2.0)).log_scale(),
            )?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(246, 246, 246))
            .bold_line_style(RGBColor(226, 226, 226))
            .x_desc(series.x)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| if *y < 10.0 { format!("{y:.1}") } else { format!("{y:.0}") })
            .draw()?;
        chart
            .draw_series(LineSeries::new(linear, LINEAR.stroke_width(1)))?
            .label("linear")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], LINEAR.stroke_width(1)));
        chart
            .draw_series(LineSeries::new(points, MEASURED.stroke_width(2)))?
            .label("measured")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], MEASURED.stroke_width(2)));
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(224, 224, 224))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}
