//! Tables, and whether the cost grows faster than what causes it.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{run::Outcome, series::Series};

/// Head of the rows that are printed.
pub const HEAD: &str = "         x   conns   rooms  copies/s  us/msg  us/copy  us/join  memory MiB  p50 us   p99 us  load/hub";

/// A row for people.
pub fn row(o: &Outcome) -> String {
    let time = |name| o.report["latency"]["percentiles"][name].as_u64().unwrap_or(0);
    let limited = !o.report["own"]["limits"].as_array().is_none_or(Vec::is_empty);
    format!(
        "{:>10} {:>7} {:>7} {:>9.0} {:>7.0} {:>8.2} {:>8.1} {:>11.1} {:>7} {:>8} {:>9.2}{}",
        o.point.x,
        o.point.connections,
        o.point.rooms,
        o.deliveries,
        o.cpu_us_per_message,
        o.cpu_us_per_delivery,
        o.cpu_us_per_join,
        o.resident_bytes / 1_048_576.0,
        time("p50"),
        time("p99"),
        o.own_share,
        if limited { "  the load test was itself the limit" } else { "" },
    )
}

/// All rows as CSV.
pub fn table(all: &[Outcome]) -> String {
    let mut text = String::from(
        "x,workers,connections,rooms,rooms_per_connection,messages_per_second,deliveries_per_second,\
         cpu_us_per_message,cpu_us_per_delivery,cpu_us_per_join,resident_bytes,load_to_hub_cpu\n",
    );
    for o in all {
        let p = &o.point;
        // Writing to a `String` does not fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{:.0},{:.2},{:.3},{:.2},{:.0},{:.3}",
            p.x,
            p.workers,
            p.connections,
            p.rooms,
            p.rooms_each,
            p.rate,
            o.deliveries,
            o.cpu_us_per_message,
            o.cpu_us_per_delivery,
            o.cpu_us_per_join,
            o.resident_bytes,
            o.own_share,
        );
    }
    text
}

/// Everything that was measured but the samples of each second.
pub fn json(all: &[Outcome]) -> serde_json::Result<String> {
    let rows: Vec<Value> = all
        .iter()
        .map(|o| {
            let pick = |name: &str| o.report[name].clone();
            let percentiles = &o.report["latency"]["percentiles"];
            json!({
                "x": o.point.x, "workers": o.point.workers, "settings": pick("settings"),
                "latency_us": percentiles, "hubs": pick("hubs"), "own": {
                    "cpu_us_per_delivery": o.report["own"]["cpu_us_per_delivery"],
                    "user_us_per_delivery": o.report["own"]["user_us_per_delivery"],
                    "limits": o.report["own"]["limits"],
                },
                "sent": pick("sent"), "delivered": pick("delivered"),
                "opening_seconds": pick("opening_seconds"), "passed": pick("passed"),
            })
        })
        .collect();
    serde_json::to_string_pretty(&rows)
}

/// The exponent of the growth: 1 is linear, 0 is a cost that does not depend on x. The slope of the
/// line through the logarithms, by least squares.
pub fn exponent(series: &Series, all: &[Outcome]) -> Option<f64> {
    let points: Vec<(f64, f64)> = all
        .iter()
        .filter(|o| o.point.x >= series.from)
        .map(|o| ((o.point.x as f64).ln(), (series.cost)(o).max(1e-9).ln()))
        .collect();
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (top, bottom) = points
        .iter()
        .fold((0.0, 0.0), |(t, b), p| (t + (p.0 - x) * (p.1 - y), b + (p.0 - x).powi(2)));
    (points.len() > 1 && bottom > 0.0).then(|| top / bottom)
}

/// The growth in a sentence.
pub fn verdict(series: &Series, all: &[Outcome]) -> String {
    match exponent(series, all) {
        Some(exponent) => format!(
            "from {} {} on, {} grows with the power {exponent:.2} of them (1 is linear)",
            series.from, series.x, series.y
        ),
        None => "too few points to judge the growth".into(),
    }
}
