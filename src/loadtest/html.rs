//! The report as one HTML file that needs nothing else: no script, no foreign resource.

use super::{
    plots::{Line, Plot},
    progress::{Sample, time},
    report::{Report, Times},
};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}table{border-collapse:collapse}\
td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}\
td.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}\
.good{color:#1e8449}.bad{color:#922b21}pre{overflow-x:auto;background:#f6f6f6;padding:.8rem}";

/// The page.
#[must_use]
pub fn page(report: &Report) -> String {
    let verdict = if report.passed {
        "<p class=\"good\"><b>Audit passed:</b> every copy came once, whole and in order.</p>"
            .into()
    } else {
        let problems: String =
            report.problems.iter().map(|p| format!("<li>{}</li>", escape(p))).collect();
        format!("<p class=\"bad\"><b>Audit failed:</b></p><ul class=\"bad\">{problems}</ul>")
    };
    let limits: String = report
        .own
        .limits
        .iter()
        .map(|l| {
            format!("<p class=\"bad\">The load generator was itself the limit: {}.</p>", escape(l))
        })
        .collect();
    let plots: String = plots(report).iter().map(Plot::svg).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>hubbub loadtest {run}</title><style>{STYLE}</style></head><body>\
         <h1>hubbub loadtest {run}</h1>{verdict}{limits}\
         <h2>Times</h2>{times}<h2>Plots</h2>{plots}\
         <h2>Summary</h2><pre>{summary}</pre></body></html>\n",
        run = escape(&report.settings.run),
        times = times(report),
        summary = escape(&report.to_string()),
    )
}

fn times(report: &Report) -> String {
    let names = ["p50", "p90", "p99", "p99.9", "p99.99"];
    let head: String = names.iter().map(|n| format!("<th>{n}</th>")).collect();
    let row = |name: &str, times: &Times| {
        if times.count == 0 {
            return String::new();
        }
        let value = |n: &&str| {
            let micros = times.percentiles.get(*n).copied().unwrap_or(0);
            format!("<td class=\"n\">{}</td>", time(micros))
        };
        let values: String = names.iter().map(value).collect();
        let (count, max) = (times.count, time(times.max));
        format!(
            "<tr><td>{name}</td>{values}<td class=\"n\">{max}</td><td class=\"n\">{count}</td></tr>"
        )
    };
    format!(
        "<table><tr><th></th>{head}<th>max</th><th>count</th></tr>{}{}{}{}{}</table>",
        row("due to delivered", &report.latency),
        row("due to acknowledged", &report.ack_latency),
        row("leave to joined again", &report.cycle_time),
        row("own delay in sending", &report.own.send_lag),
        row("own delay in reading", &report.own.read_lag),
    )
}

fn plots(report: &Report) -> Vec<Plot> {
    let series = |name, pick: fn(&Sample) -> f64| Line {
        name,
        points: report.samples.iter().map(|s| (s.at, pick(s))).collect(),
    };
    // A second without a copy has no latency.
    let latency = |name, pick: fn(&Sample) -> u64| Line {
        name,
        points: report
            .samples
            .iter()
            .filter(|s| s.max_us > 0)
            .map(|s| (s.at, pick(s) as f64))
            .collect(),
    };
    let seconds = |x: f64| format!("{x} s");
    let micros = |y: f64| time(y as u64);
    let number = |y: f64| match y {
        1e6.. => format!("{:.1}M", y / 1e6),
        1e4.. => format!("{:.0}k", y / 1e3),
        _ => format!("{y:.0}"),
    };
    // Whole steps are 0 %, 90 %, 99 %; between them there is nothing worth a number.
    let share = |x: f64| match x.fract() {
        0.0 => format!("{} %", 100.0 - 100.0 / 10f64.powf(x)),
        _ => String::new(),
    };
    let percent = |y: f64| format!("{y:.0} %");
    let curve = |name, times: &Times| Line {
        name,
        // 90 % is 1, 99 % is 2, 99.9 % is 3; the end of the curve has no place.
        points: times
            .curve
            .iter()
            .filter(|(share, _)| *share < 1.0)
            .map(|(share, micros)| (-(1.0 - share).log10(), *micros as f64))
            .collect(),
    };
    let plot = |title, lines, log, y_label| Plot { title, lines, log, x_label: seconds, y_label };
    let mut cpu = vec![series("load generator", |s| s.own_cpu)];
    if report.hubs.is_some() {
        cpu.push(series("hubs", |s| s.hub_cpu.unwrap_or(0.0)));
    }
    vec![
        plot(
            "Latency, from due to delivered",
            vec![
                latency("p50", |s| s.p50_us),
                latency("p99", |s| s.p99_us),
                latency("max", |s| s.max_us),
            ],
            true,
            micros,
        ),
        Plot {
            title: "Share of all copies and the time within which they came",
            lines: vec![
                curve("delivered", &report.latency),
                curve("acknowledged", &report.ack_latency),
            ],
            log: true,
            x_label: share,
            y_label: micros,
        },
        plot(
            "Messages a second",
            vec![series("due", |s| s.due), series("acknowledged", |s| s.acked)],
            false,
            number,
        ),
        plot("Copies a second", vec![series("delivered", |s| s.delivered)], false, number),
        plot("Connections", vec![series("open", |s| s.connections as f64)], false, number),
        plot("CPU, percent of a core", cpu, false, percent),
    ]
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
