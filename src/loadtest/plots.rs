//! Plots as inline SVG.

use plotters::{
    coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    prelude::*,
};

/// Width and height of a plot.
const SIZE: (u32, u32) = (760, 280);
/// Most points of a line; more are put together, the largest of each group shown.
const MAX_POINTS: usize = 800;
const COLOURS: [RGBColor; 4] =
    [RGBColor(31, 97, 141), RGBColor(202, 111, 30), RGBColor(146, 43, 33), RGBColor(30, 132, 73)];

/// A line with its name.
pub struct Line {
    /// What the legend says.
    pub name: &'static str,
    /// Points, ascending in x.
    pub points: Vec<(f64, f64)>,
}

/// How an axis is labelled.
pub type Label = fn(f64) -> String;

/// What is drawn.
pub struct Plot {
    /// What it shows.
    pub title: &'static str,
    /// The lines, at most four.
    pub lines: Vec<Line>,
    /// Whether y is logarithmic.
    pub log: bool,
    /// Labels of x.
    pub x_label: Label,
    /// Labels of y.
    pub y_label: Label,
}

impl Plot {
    /// The plot as an `<svg>` element; a sentence if there is nothing to draw.
    #[must_use]
    pub fn svg(&self) -> String {
        let lines: Vec<Line> = self.lines.iter().map(thin).collect();
        let all = || lines.iter().flat_map(|line| line.points.iter().copied());
        if all().count() < 2 {
            return format!("<p>{}: the run was too short to plot.</p>", self.title);
        }
        let low_x = all().map(|p| p.0).fold(f64::INFINITY, f64::min);
        let high_x = all().map(|p| p.0).fold(low_x + 1e-3, f64::max);
        let high_y = all().map(|p| p.1).fold(0.0, f64::max);
        let mut svg = String::new();
        let root = SVGBackend::with_string(&mut svg, SIZE);
        let drawn = if self.log {
            let low_y = all().map(|p| p.1).fold(f64::INFINITY, f64::min).max(1.0);
            let range = (low_y * 0.8..(high_y * 1.3).max(low_y * 2.0)).log_scale();
            self.draw(root, &lines, low_x..high_x, range)
        } else {
            self.draw(root, &lines, low_x..high_x, 0.0..(high_y * 1.1).max(1.0))
        };
        match drawn {
            Ok(()) => svg,
            Err(reason) => format!("<p>{}: cannot be plotted: {reason}.</p>", self.title),
        }
    }

    fn draw<Y>(
        &self,
        root: SVGBackend<'_>,
        lines: &[Line],
        x: std::ops::Range<f64>,
        y: Y,
    ) -> Result<(), String>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    {
        let told = |error: &dyn std::fmt::Display| error.to_string();
        let root = root.into_drawing_area();
        root.fill(&WHITE).map_err(|e| told(&e))?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 15))
            .margin(8)
            .margin_right(24)
            .x_label_area_size(28)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)
            .map_err(|e| told(&e))?;
        chart
            .configure_mesh()
            .light_line_style(RGBColor(244, 244, 244))
            .bold_line_style(RGBColor(224, 224, 224))
            .x_label_formatter(&|x| (self.x_label)(*x))
            .y_label_formatter(&|y| (self.y_label)(*y))
            .draw()
            .map_err(|e| told(&e))?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))
                .map_err(|e| told(&e))?
                .label(line.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(224, 224, 224))
            .draw()
            .map_err(|e| told(&e))?;
        root.present().map_err(|e| told(&e))
    }
}

/// At most [`MAX_POINTS`] points; a peak is never lost.
fn thin(line: &Line) -> Line {
    let group = line.points.len().div_ceil(MAX_POINTS).max(1);
    let highest = |points: &[(f64, f64)]| {
        points.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
    };
    Line { name: line.name, points: line.points.chunks(group).map(highest).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>, log: bool) -> String {
        let label: Label = |v| format!("{v}");
        let lines = vec![Line { name: "line one", points }];
        Plot { title: "title", lines, log, x_label: label, y_label: label }.svg()
    }

    #[test]
    fn a_plot_is_one_svg_with_its_names() {
        for log in [false, true] {
            let svg = plot((1..50).map(|n| (f64::from(n), f64::from(n * n))).collect(), log);
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg:.100}");
            assert!(svg.contains("title") && svg.contains("line one") && svg.contains("<polyline"));
        }
    }

    #[test]
    fn odd_data_is_drawn_or_told() {
        assert!(plot(vec![], false).contains("too short"));
        assert!(plot(vec![(1.0, 1.0)], true).contains("too short"));
        for flat in [0.0, 5.0] {
            for log in [false, true] {
                assert!(plot(vec![(0.0, flat), (0.0, flat)], log).starts_with("<svg"));
            }
        }
    }

    #[test]
    fn long_runs_keep_their_peaks() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|n| (f64::from(n), 1.0)).collect();
        points[77_777].1 = 9.0;
        let thin = thin(&Line { name: "", points });
        assert!(thin.points.len() <= MAX_POINTS);
        assert!(thin.points.contains(&(77_777.0, 9.0)));
    }
}
