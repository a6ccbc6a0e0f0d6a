//! The report as text.

use std::{collections::BTreeMap, fmt};

use super::report::Report;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.settings;
        let rate = |from: f64, to: f64| {
            if from == to { format!("{from}") } else { format!("{from}..{to}") }
        };
        writeln!(
            f,
            "run {}: {} connections ({}), {} rooms, {} senders, {} messages/s, {:.1} s{}",
            s.run,
            s.connections,
            s.wire,
            s.rooms,
            s.senders,
            rate(s.rate_from, s.rate_to),
            self.sending_seconds,
            if self.interrupted { " (ended early)" } else { "" },
        )?;
        writeln!(f, "opened      in {:.2} s", self.opening_seconds)?;
        writeln!(
            f,
            "messages    due {}  sent {}  acknowledged {}  refused {}  unanswered {}",
            self.due,
            self.sent,
            self.acked,
            self.refused.values().sum::<u64>(),
            self.unanswered,
        )?;
        if self.unsent_down + self.unsent_blocked + self.in_doubt + self.resent > 0 {
            writeln!(
                f,
                "            not sent: connection down {}, socket full {};  in doubt {}  sent again {}",
                self.unsent_down, self.unsent_blocked, self.in_doubt, self.resent,
            )?;
        }
        list(f, "refused", &self.refused)?;
        let per_second = self.delivered as f64 / self.sending_seconds.max(1e-3);
        writeln!(f, "delivered   {} ({per_second:.0}/s)", self.delivered)?;
        writeln!(f, "latency     {}", self.latency)?;
        writeln!(f, "ack         {}", self.ack_latency)?;
        if self.cycles > 0 {
            writeln!(f, "churn       {} cycles  {}", self.cycles, self.cycle_time)?;
        }
        list(f, "closed", &self.closes)?;
        if !self.closes.is_empty() {
            writeln!(f, "came back   {}", self.reconnects)?;
        }
        list(f, "failed to come back", &self.failed_attempts)?;
        if s.slow_readers > 0 {
            let closed: u64 = self.slow_closes.values().sum();
            writeln!(f, "slow        {} readers, {closed} closed by the hub", s.slow_readers)?;
        }
        if self.audit.unproven_rejoins > 0 {
            writeln!(f, "unproven    {} rejoins were told of a gap", self.audit.unproven_rejoins)?;
        }
        if self.audit.foreign_messages > 0 {
            writeln!(f, "foreign     {} messages of others", self.audit.foreign_messages)?;
        }
        write!(
            f,
            "own         {:.2} us CPU per delivery ({:.2} outside of the kernel), {:.0} % of {} cores, \
             busiest thread {:.0} %, send lag {}",
            self.own.cpu_us_per_delivery,
            self.own.user_us_per_delivery,
            self.own.cpu_percent,
            self.own.cores,
            self.own.busiest_thread * 100.0,
            self.own.send_lag,
        )?;
        if let Some(hubs) = &self.hubs {
            write!(
                f,
                "\nhub         {:.2} us CPU per delivery ({:.2} outside of the kernel), {:.2} KiB per \
                 connection, peak {:.1} MiB",
                hubs.cpu_us_per_delivery,
                hubs.user_us_per_delivery,
                hubs.resident_per_connection / 1024.0,
                hubs.resident_peak as f64 / 1048576.0,
            )?;
        }
        for limit in &self.own.limits {
            write!(f, "\nlimit       the load generator was itself the limit: {limit}")?;
        }
        if self.passed {
            return write!(f, "\naudit       passed: every copy came once, whole and in order");
        }
        for problem in &self.problems {
            write!(f, "\naudit       FAILED: {problem}")?;
        }
        for example in &self.audit.faults.examples {
            write!(f, "\n            {example}")?;
        }
        Ok(())
    }
}

/// Reasons with their counts, the most frequent first, at most eight.
fn list(f: &mut fmt::Formatter<'_>, title: &str, map: &BTreeMap<String, u64>) -> fmt::Result {
    let mut sorted: Vec<_> = map.iter().collect();
    sorted.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    for (reason, n) in sorted.into_iter().take(8) {
        writeln!(f, "{title:<11} {n} x {reason}")?;
    }
    Ok(())
}
