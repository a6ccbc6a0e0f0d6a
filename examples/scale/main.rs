//! How the cost of one node grows: rooms from 1 to 100,000, members of a room from 2 to 15,000,
//! connections up to 15,000, workers from 1 to 2. Starts a hub for each point, loads it with
//! `hubbub loadtest`, and writes a table (CSV), all numbers (JSON) and a plot (SVG) for each series.
//!
//! ```sh
//! cargo build --release && cargo run --release --example scale -- all
//! cargo run --release --example scale -- members --out /tmp/scale --seconds 5
//! ```
//!
//! Everything is on loopback. The hub is pinned to the first core and the load to the second, but
//! for the series with workers. Each point ends within [`run::POINT_TIMEOUT`].

use std::{error::Error, fs, path::PathBuf};

mod growth;
mod plot;
mod run;
mod series;

use series::{SERIES, Series};

/// Where the results go, and what is measured.
struct Wanted {
    series: Vec<&'static Series>,
    out: PathBuf,
    hub: PathBuf,
    seconds: u32,
}

fn wanted() -> Result<Wanted, String> {
    let mut wanted = Wanted {
        series: Vec::new(),
        out: "docs/images".into(),
        hub: "target/release/hubbub".into(),
        seconds: 4,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--out" => wanted.out = value()?.into(),
            "--hub" => wanted.hub = value()?.into(),
            "--seconds" => wanted.seconds = value()?.parse().map_err(|_| "--seconds: a number")?,
            "all" => wanted.series.extend(&SERIES),
            name => match SERIES.iter().find(|s| s.name == name) {
                Some(series) => wanted.series.push(series),
                None => return Err(format!("{name}: there is no such series")),
            },
        }
    }
    if wanted.series.is_empty() {
        let names: Vec<&str> = SERIES.iter().map(|s| s.name).collect();
        return Err(format!("say what to measure: all, {}", names.join(", ")));
    }
    if !(1..=60).contains(&wanted.seconds) {
        return Err("--seconds must be 1 to 60".into());
    }
    Ok(wanted)
}

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = wanted()?;
    fs::create_dir_all(&wanted.out)?;
    for series in &wanted.series {
        let mut results = Vec::new();
        println!("{}\n{}", series.title, growth::HEAD);
        for point in series.points() {
            let result = run::run(&wanted.hub, &point, wanted.seconds)?;
            println!("{}", growth::row(&result));
            results.push(result);
        }
        println!("{}\n", growth::verdict(series, &results));
        let path = |kind: &str| wanted.out.join(format!("scale-{}.{kind}", series.name));
        fs::write(path("csv"), growth::table(&results))?;
        fs::write(path("json"), growth::json(&results)?)?;
        fs::write(path("svg"), plot::svg(series, &results)?)?;
    }
    Ok(())
}
