//! Prometheus text, as far as the tests read it.

/// One answer of `/metrics`.
pub struct Metrics(pub String);

impl Metrics {
    /// The sum of all series of a name whose labels contain all of `labels`
    /// (`reason="stalled"`); 0 if there is none.
    pub fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        self.0
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let (series, value) = line.rsplit_once(' ')?;
                let (found, given) = series.split_once('{').unwrap_or((series, ""));
                let fits = found == name && labels.iter().all(|l| given.contains(l));
                fits.then(|| value.parse::<f64>().ok()).flatten()
            })
            .sum()
    }

    /// Whether a metric of the name is there at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&format!("\n# TYPE {name} "))
            || self.0.starts_with(&format!("# TYPE {name} "))
            || self.0.contains(&format!("# HELP {name} "))
    }
}
